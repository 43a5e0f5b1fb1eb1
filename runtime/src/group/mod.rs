//! Tasks that belong together: `TaskGroup`.
//!
//! A group's children are tasks, and run in parallel. None of them outlives the group: whoever joins it has waited
//! for all, and if one fails, the others are cancelled first. For children that borrow, and run in turn inside their
//! parent, there is [`scope`](crate::scope()).
//!
//! | to …                                        | use                                                       |
//! |---------------------------------------------|-----------------------------------------------------------|
//! | wait for all, outputs in order, or all errors | [`join`](TaskGroup::join)                               |
//! | have every result, errors among them | [`collect_all`](TaskGroup::collect_all), [`settled`](TaskGroup::settled) |
//! | have each as it is done | [`as_completed`](TaskGroup::as_completed), [`join_next`](TaskGroup::join_next) |
//! | spawn from a child                          | [`handle`](TaskGroup::handle)                             |
//! | end it early | [`cancel`](TaskGroup::cancel), [`within`](TaskGroup::within), `wait_for(group.join(), limit)` |
//! | let children end by themselves first        | [`grace`](TaskGroup::grace), and [`CancelToken::current`] |
//! | serve for long, without outputs             | [`discard_outputs`](TaskGroup::discard_outputs)           |
#![forbid(unsafe_code)]

// Layer 5. `shared` is the group; this is what its owner holds. `child` is what runs, `error` and `outcome` are what
// comes of it.
mod child;
mod error;
mod outcome;
mod shared;

use std::borrow::Cow;
use std::fmt;
use std::future::{Future, poll_fn};
use std::panic::Location;
use std::pin::Pin;
use std::task::{Context, Poll};

use futures_core::Stream;

pub use self::error::{Cause, ChildError, GroupError};
pub use self::outcome::Outcome;

use self::shared::{Ended, Next, Options, Shared};
use crate::cancel::{CancelToken, Reason};
use crate::shim::Arc;
use crate::task::Id;
use crate::time::Duration;
use crate::{AbortHandle, Handle};

/// What a child came to, and its id.
pub type Completion<R> = (Id, Result<<R as Outcome>::Value, ChildError<<R as Outcome>::Error>>);

/// A group of tasks that ends as a whole. Python's `asyncio.TaskGroup`, trio's nursery, tokio's `JoinSet`.
///
/// When a child returns an error or panics, the group is cancelled: its [token](Self::token) tells why, its other
/// children are aborted, at once or after a [grace period](Self::grace), and no new ones come in.
/// [`join`](Self::join) returns when all have ended, with all errors. The group acts by itself: nobody need be
/// waiting for it.
///
/// `R` is what children return: a `Result`, or a plain value, see [`Outcome`]. They are spawned on the runtime of
/// the thread that spawns them.
///
/// A group that is dropped aborts its children. A drop cannot wait: they end promptly, each at its next turn, but may
/// be in a poll still when the drop returns. To leave a group in order, [`cancel`](Self::cancel) and join it.
///
/// A group that is made in a child of another group, or of a scope, is cancelled with that, which waits for the
/// children of this one too.
///
/// # Examples
/// ```
/// # filch::run(async {
/// let group = filch::TaskGroup::new();
/// for n in ["1", "2", "3"] {
///     group.spawn(async move { n.parse::<u32>() });
/// }
/// assert_eq!(group.join().await.unwrap(), [1, 2, 3]);
///
/// let group = filch::TaskGroup::new();
/// group.spawn(std::future::pending());
/// group.spawn(async { "x".parse::<u32>() });
/// let error = group.join().await.unwrap_err();
/// assert_eq!(error.first().unwrap().error().unwrap().to_string(), "invalid digit found in string");
/// assert_eq!(error.cancelled(), 1);
/// # });
/// ```
///
/// Children are spawned from children by a handle:
/// ```
/// # filch::run(async {
/// let group = filch::TaskGroup::new();
/// let handle = group.handle();
/// group.spawn(async move {
///     handle.spawn(async { 2 });
///     1
/// });
/// assert_eq!(group.join().await.unwrap(), [1, 2]);
/// # });
/// ```
pub struct TaskGroup<R: Outcome> {
    handle: GroupHandle<R>,
    location: &'static Location<'static>,
}

impl<R: Outcome> TaskGroup<R> {
    /// An empty group.
    #[must_use]
    #[track_caller]
    pub fn new() -> TaskGroup<R> {
        let location = Location::caller();
        TaskGroup { handle: GroupHandle { shared: Shared::new(Options::default(), location) }, location }
    }

    fn shared(&self) -> &Arc<Shared<R>> {
        &self.handle.shared
    }

    /// The same group with other options.
    #[track_caller]
    fn with(mut self, set: impl FnOnce(&mut Options)) -> TaskGroup<R> {
        assert!(!self.shared().has_spawned(), "the options of a group are chosen before its first child");
        let mut options = self.shared().options.clone();
        set(&mut options);
        self.handle.shared = Shared::new(options, self.location);
        self
    }

    /// Lets the others go on when a child fails: [`join`](Self::join) gives all errors in the end. To have the
    /// outputs as well, use [`settled`](Self::settled).
    ///
    /// # Panics
    /// This, like all options, is chosen before the first child, and before a handle or the token is handed out.
    #[must_use]
    #[track_caller]
    pub fn collect_all(self) -> TaskGroup<R> {
        self.with(|options| options.collects_all = true)
    }

    /// Gives children time to end by themselves when the group is cancelled: so long from then, before they are
    /// aborted. Zero unless this is called.
    ///
    /// A child sees the cancellation by [`CancelToken::current`].
    ///
    /// # Examples
    /// ```
    /// use std::time::Duration;
    /// use filch::CancelToken;
    ///
    /// # filch::run(async {
    /// let group = filch::TaskGroup::new().grace(Duration::from_secs(1));
    /// group.spawn(async {
    ///     let reason = CancelToken::current().unwrap().cancelled().await;
    ///     Err(format!("saved what there was: {}", reason.text()))
    /// });
    /// group.spawn(async { Ok(()) });
    /// group.cancel("closing time");
    /// let error = group.join().await.unwrap_err();
    /// assert_eq!(error.first().unwrap().error().unwrap(), "saved what there was: closing time");
    /// # });
    /// ```
    ///
    /// # Panics
    /// As [`collect_all`](Self::collect_all).
    #[must_use]
    #[track_caller]
    pub fn grace(self, grace: Duration) -> TaskGroup<R> {
        self.with(|options| options.grace = grace)
    }

    /// Cancels the group when `parent` is.
    ///
    /// # Panics
    /// As [`collect_all`](Self::collect_all).
    #[must_use]
    #[track_caller]
    pub fn within(self, parent: &CancelToken) -> TaskGroup<R> {
        self.with(|options| options.parent = Some(parent.clone()))
    }

    /// Spawns the children on the runtime of `handle`, from wherever.
    ///
    /// # Panics
    /// As [`collect_all`](Self::collect_all).
    #[must_use]
    #[track_caller]
    pub fn on(self, handle: &Handle) -> TaskGroup<R> {
        self.with(|options| options.home = Some(handle.clone()))
    }

    /// Drops the output of each child that ends well, as it ends: for a group that lives long. Nothing is kept of
    /// such a child; of the others, the errors are, until somebody takes them.
    ///
    /// # Panics
    /// As [`collect_all`](Self::collect_all).
    #[must_use]
    #[track_caller]
    pub fn discard_outputs(self) -> TaskGroup<R> {
        self.with(|options| options.discards = true)
    }

    /// Starts `future` as a child.
    ///
    /// Once the group was cancelled, or joined, no child comes in: `future` is dropped unpolled, and the handle is
    /// that of a task which was cancelled. A child that is aborted by its handle does not cancel the others.
    ///
    /// # Panics
    /// Outside of a runtime, unless [`on`](Self::on) named one.
    #[track_caller]
    pub fn spawn<F>(&self, future: F) -> AbortHandle
    where
        F: Future<Output = R> + Send + 'static,
    {
        self.handle.spawn(future)
    }

    /// As [`spawn`](Self::spawn), for a child with a name, which errors and reports then tell.
    ///
    /// # Panics
    /// As [`spawn`](Self::spawn).
    #[track_caller]
    pub fn spawn_named<F>(&self, name: impl Into<String>, future: F) -> AbortHandle
    where
        F: Future<Output = R> + Send + 'static,
    {
        self.handle.spawn_named(name, future)
    }

    /// Starts a call that blocks as a child, as [`spawn_blocking`](crate::spawn_blocking). One that has begun cannot
    /// be cancelled: the group waits for its end.
    ///
    /// # Panics
    /// As [`spawn`](Self::spawn).
    #[track_caller]
    pub fn spawn_blocking(&self, job: impl FnOnce() -> R + Send + 'static) -> AbortHandle {
        self.shared().spawn_blocking(job)
    }

    /// A way to spawn into the group from its children. Does not keep the group.
    #[must_use]
    pub fn handle(&self) -> GroupHandle<R> {
        self.handle.clone()
    }

    /// The group's token: a child of that which it was [put under](Self::within), or which the group or scope has
    /// whose child made it. To cancel it is to cancel the group.
    #[must_use]
    pub fn token(&self) -> CancelToken {
        self.handle.token()
    }

    /// Cancels the group, and tells why. Never waits; [`join`](Self::join) does. False: it was cancelled before.
    #[track_caller]
    pub fn cancel(&self, reason: impl Into<Cow<'static, str>>) -> bool {
        self.handle.cancel(reason)
    }

    /// How many children have not ended.
    #[must_use]
    pub fn len(&self) -> usize {
        self.shared().len()
    }

    /// Whether no child is running.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Has `work` done at the end of [`join`](Self::join), after the children, the last one first; by the runtime if
    /// the group is dropped: see [`cleanup`](crate::cleanup).
    pub fn defer<F>(&self, work: F)
    where
        F: IntoFuture<Output = (), IntoFuture: Send + 'static>,
    {
        self.shared().defer(Box::pin(work.into_future()));
    }

    /// Waits for all children, those to come too: all outputs in the order in which they were spawned, or all
    /// errors. Then shuts the group.
    ///
    /// What [`join_next`](Self::join_next) or a stream has given before is not given again. Futures that children have
    /// [shielded](crate::shield) are waited for as well.
    ///
    /// # Errors
    /// [`GroupError`] when a child failed, panicked or was cancelled. The outputs of the others are dropped.
    ///
    /// # Cancel safety
    /// **Strict.** The children go on, and what they come to stays in the group; to have them end, cancel it, or drop
    /// it. So `wait_for(group.join(), limit)` may be followed by another join.
    pub async fn join(&self) -> Result<Vec<R::Value>, GroupError<R::Error>> {
        let kept = self.collect().await;
        let reason = self.shared().region.token.reason();
        let (mut values, mut errors, mut cancelled) = (Vec::with_capacity(kept.len()), Vec::new(), 0);
        for Ended { index, result, .. } in kept {
            match result {
                Ok(value) => values.push((index, value)),
                // It was the group's doing.
                Err(error) if error.is_cancelled() && reason.is_some() => cancelled += 1,
                Err(error) => errors.push(error),
            }
        }
        if !errors.is_empty() || cancelled > 0 {
            return Err(GroupError { errors, cancelled, reason });
        }
        values.sort_unstable_by_key(|(index, _)| *index);
        Ok(values.into_iter().map(|(_, value)| value).collect())
    }

    /// Waits for all children, as [`join`](Self::join), and gives what each came to, in the order in which they were
    /// spawned. `asyncio.gather(.., return_exceptions=True)`, for a group that [collects all](Self::collect_all).
    ///
    /// # Examples
    /// ```
    /// # filch::run(async {
    /// let group = filch::TaskGroup::new().collect_all();
    /// for text in ["1", "x", "3"] {
    ///     group.spawn(async move { text.parse::<u32>() });
    /// }
    /// let results = group.settled().await;
    /// assert_eq!((results[0].as_ref().unwrap(), results[2].as_ref().unwrap()), (&1, &3));
    /// assert_eq!(results[1].as_ref().unwrap_err().index(), 1);
    /// # });
    /// ```
    ///
    /// # Cancel safety
    /// **Strict**, as [`join`](Self::join).
    pub async fn settled(&self) -> Vec<Result<R::Value, ChildError<R::Error>>> {
        let mut kept = self.collect().await;
        kept.sort_unstable_by_key(|ended| ended.index);
        kept.into_iter().map(|ended| ended.result).collect()
    }

    /// All that the children came to, in the order in which they ended.
    async fn collect(&self) -> Vec<Ended<R>> {
        let shared = self.shared();
        shared.settled().await;
        shared.region.settled().await;
        if let Some(mut stack) = shared.take_stack() {
            stack.close().await;
        }
        shared.take_kept()
    }

    /// Waits for the next child to be done; `None` when there is none. tokio's `JoinSet::join_next_with_id`.
    ///
    /// The group stays open. Several may wait at once; each child is given to one of them.
    ///
    /// # Examples
    /// ```
    /// # filch::run(async {
    /// let group = filch::TaskGroup::new();
    /// let two = group.spawn(async { 2 });
    /// let (id, output) = group.join_next().await.unwrap();
    /// assert_eq!((id, output.unwrap()), (two.id(), 2));
    /// assert!(group.join_next().await.is_none());
    /// # });
    /// ```
    ///
    /// # Cancel safety
    /// **Strict.** What a child came to is taken only by the call that gives it.
    pub async fn join_next(&self) -> Option<Completion<R>> {
        let mut next = Next::new(self.shared());
        poll_fn(|cx| next.poll(cx)).await.map(|ended| (ended.id, ended.result))
    }

    /// What the children come to, in the order in which they end, each with its id: a [`Stream`]. It ends when no
    /// child is left; others may be spawned meanwhile.
    ///
    /// # Examples
    /// ```
    /// use filch::time::{Duration, sleep};
    ///
    /// # filch::Builder::new().paused_clock(1).build()?.block_on(async {
    /// let group = filch::TaskGroup::new();
    /// for n in [20, 1, 10] {
    ///     group.spawn(async move {
    ///         sleep(Duration::from_millis(n)).await;
    ///         n
    ///     });
    /// }
    /// let mut order = Vec::new();
    /// let mut done = group.as_completed();
    /// while let Some((_id, n)) = done.next().await {
    ///     order.push(n.unwrap());
    /// }
    /// assert_eq!(order, [1, 10, 20]);
    /// # });
    /// # Ok::<(), std::io::Error>(())
    /// ```
    ///
    /// # Cancel safety
    /// **Strict.** What a child came to is taken only by the poll that gives it; to drop the stream leaves the group
    /// as it is.
    pub fn as_completed(&self) -> Completed<'_, R> {
        Completed(Next::new(self.shared()))
    }
}

impl<R: Outcome> Default for TaskGroup<R> {
    #[track_caller]
    fn default() -> TaskGroup<R> {
        TaskGroup::new()
    }
}

impl<R: Outcome> Drop for TaskGroup<R> {
    fn drop(&mut self) {
        if !self.is_empty() {
            let reason = Reason::new(self.location, "the group was dropped".into());
            self.shared().region.token.cancel_for(&reason);
        }
        self.shared().abort_all();
        // To the runtime, if a handle outlives us.
        drop(self.shared().take_stack());
    }
}

impl<R: Outcome> fmt::Debug for TaskGroup<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (len, token) = (self.len(), &self.shared().region.token);
        f.debug_struct("TaskGroup").field("len", &len).field("token", token).finish_non_exhaustive()
    }
}

/// A way to spawn into a [`TaskGroup`] from its children, or from anywhere. Cloned freely.
pub struct GroupHandle<R: Outcome> {
    shared: Arc<Shared<R>>,
}

impl<R: Outcome> GroupHandle<R> {
    /// As [`TaskGroup::spawn`].
    ///
    /// # Panics
    /// As there.
    #[track_caller]
    pub fn spawn<F>(&self, future: F) -> AbortHandle
    where
        F: Future<Output = R> + Send + 'static,
    {
        self.shared.spawn(future, None)
    }

    /// As [`TaskGroup::spawn_named`].
    ///
    /// # Panics
    /// As there.
    #[track_caller]
    pub fn spawn_named<F>(&self, name: impl Into<String>, future: F) -> AbortHandle
    where
        F: Future<Output = R> + Send + 'static,
    {
        self.shared.spawn(future, Some(name.into().into_boxed_str()))
    }

    /// As [`TaskGroup::token`].
    #[must_use]
    pub fn token(&self) -> CancelToken {
        self.shared.region.token.clone()
    }

    /// As [`TaskGroup::cancel`].
    #[track_caller]
    pub fn cancel(&self, reason: impl Into<Cow<'static, str>>) -> bool {
        let reason = Reason::new(Location::caller(), reason.into());
        self.shared.region.token.cancel_for(&reason)
    }
}

impl<R: Outcome> Clone for GroupHandle<R> {
    fn clone(&self) -> GroupHandle<R> {
        GroupHandle { shared: self.shared.clone() }
    }
}

impl<R: Outcome> fmt::Debug for GroupHandle<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("GroupHandle").field("len", &self.shared.len()).finish_non_exhaustive()
    }
}

/// The stream of [`TaskGroup::as_completed`].
#[must_use = "streams do nothing unless they are polled"]
pub struct Completed<'a, R: Outcome>(Next<'a, R>);

impl<R: Outcome> Completed<'_, R> {
    /// The next child that is done; `None` when none is left.
    ///
    /// # Cancel safety
    /// **Strict.** What a child came to is taken only by the poll that gives it.
    pub async fn next(&mut self) -> Option<Completion<R>> {
        poll_fn(|cx| Pin::new(&mut *self).poll_next(cx)).await
    }
}

impl<R: Outcome> Unpin for Completed<'_, R> {}

impl<R: Outcome> Stream for Completed<'_, R> {
    type Item = Completion<R>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Completion<R>>> {
        self.0.poll(cx).map(|ended| ended.map(|ended| (ended.id, ended.result)))
    }
}

impl<R: Outcome> fmt::Debug for Completed<'_, R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Completed").finish_non_exhaustive()
    }
}
