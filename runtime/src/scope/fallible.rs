//! Layer 5, scope. `try_scope`: children that may fail, which ends the others.
//!
//! Owns the errors that have come. Called by users.
#![forbid(unsafe_code)]

use std::borrow::Cow;
use std::fmt;
use std::future::Future;
use std::panic::{Location, resume_unwind};
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use filch_channels::channel::oneshot;
use pin_project_lite::pin_project;

use super::engine::{Ended, Lazy, Shared};
use super::plain::{ScopedHandle, SendChild, handle};
use crate::JoinError;
use crate::cancel::{CancelToken, Reason};
use crate::cleanup::caught;
use crate::group::{Cause, ChildError, GroupError};
use crate::shim::{Arc, Mutex};
use crate::time::{Duration, Instant};

/// [`scope`](crate::scope()) for children that may fail: the first that returns an error or panics cancels the scope,
/// and so does a body that returns an error. All errors are kept.
///
/// The output is that of the body, if all ended well. When the scope is cancelled, by a failure, by
/// [`cancel`](TryScope::cancel) or at its [deadline](TryScopeFuture::deadline), body and children are dropped, at once
/// or after its [grace period](TryScopeFuture::grace), in which they may come to their ends.
///
/// # Examples
/// ```
/// use filch::time::{Duration, sleep};
///
/// # filch::run(async {
/// let prices = [3, 4, 5];
/// let prices = &prices;
/// let sum = filch::try_scope(|s| async move {
///     let children: Vec<_> = prices.iter().map(|price| s.spawn(async move { Ok::<_, String>(price * 2) })).collect();
///     let mut sum = 0;
///     for child in children {
///         sum += child.await.unwrap();
///     }
///     Ok(sum)
/// });
/// assert_eq!(sum.await.unwrap(), 24);
///
/// let error = filch::try_scope(|s| async move {
///     s.spawn(async { Err::<(), _>("out of stock") });
///     sleep(Duration::MAX).await; // Dropped.
///     Ok(())
/// });
/// assert_eq!(error.await.unwrap_err().first().unwrap().error(), Some(&"out of stock"));
/// # });
/// ```
///
/// # Errors
/// [`GroupError`] when a child failed or panicked, when the body failed, or when something was dropped because the
/// scope was cancelled.
///
/// # Panics
/// When the body does: after all else was dropped, and what was [put off](TryScope::defer) was done.
///
/// # Cancel safety
/// **Not cancel safe:** body and children are dropped where they stand.
#[track_caller]
pub fn try_scope<'env, F, B, T, E>(body: F) -> TryScopeFuture<'env, F, B, E>
where
    F: FnOnce(TryScope<'env, E>) -> B,
    B: Future<Output = Result<T, E>>,
{
    let failures = Arc::new(Failures { errors: Mutex::default() });
    let mut lazy = Lazy::new(body, Location::caller());
    lazy.options.stops_body = true;
    TryScopeFuture { lazy, failures, collects_all: false }
}

struct Failures<E> {
    errors: Mutex<Vec<ChildError<E>>>,
}

/// The way to spawn children into a [`try_scope`]. Cloned freely, also into children.
pub struct TryScope<'env, E> {
    shared: Arc<Shared<SendChild<'env>>>,
    failures: Arc<Failures<E>>,
    collects_all: bool,
}

handle!(TryScope<'env, E>);

impl<E> TryScope<'_, E> {
    /// Keeps an error, and cancels the scope for it.
    fn fail(&self, index: usize, location: &'static Location<'static>, cause: Cause<E>, text: &'static str) {
        self.failures.errors.lock().push(ChildError { index, name: None, location, cause });
        if !self.collects_all {
            self.shared.region.token.cancel_for(&Reason::new(location, text.into()));
        }
    }
}

impl<'env, E: Send + 'env> TryScope<'env, E> {
    /// Puts a child into the scope. It is polled when the scope is, from its next turn on.
    ///
    /// The handle gives what the child returned in `Ok`; its error goes to the scope, and the handle only says that
    /// there is nothing to come. Once the scope was cancelled, or has ended, no child comes in: `future` is dropped
    /// unpolled.
    #[track_caller]
    pub fn spawn<F, T>(&self, future: F) -> ScopedHandle<T>
    where
        F: Future<Output = Result<T, E>> + Send + 'env,
        T: Send + 'env,
    {
        let (sender, receiver) = oneshot::channel();
        let (scope, index, location) = (self.clone(), self.shared.number(), Location::caller());
        let child = async move {
            match caught(future).await {
                Ok(Ok(output)) => drop(sender.send(output)),
                Ok(Err(error)) => {
                    scope.fail(index, location, Cause::Error(error), "a child of the scope failed");
                }
                Err(payload) => {
                    let panic = Cause::Panic(JoinError::of_child(index, location, payload));
                    scope.fail(index, location, panic, "a child of the scope panicked");
                }
            }
        };
        self.shared.push(Box::pin(self.shared.region.within(child)));
        ScopedHandle::new(receiver, &self.shared.region.token)
    }
}

impl<E> Clone for TryScope<'_, E> {
    fn clone(&self) -> Self {
        TryScope {
            shared: self.shared.clone(),
            failures: self.failures.clone(),
            collects_all: self.collects_all,
        }
    }
}

pin_project! {
    /// The body: its error is one of the scope's.
    struct Body<'env, B, E> {
        #[pin]
        body: B,
        scope: TryScope<'env, E>,
    }
}

impl<T, E, B: Future<Output = Result<T, E>>> Future for Body<'_, B, E> {
    /// `None`: it failed.
    type Output = Option<T>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<T>> {
        let this = self.project();
        Poll::Ready(match ready!(this.body.poll(cx)) {
            Ok(output) => Some(output),
            Err(error) => {
                let location = this.scope.shared.location;
                this.scope.fail(usize::MAX, location, Cause::Error(error), "the body of the scope failed");
                None
            }
        })
    }
}

pin_project! {
    /// The future of [`try_scope`]. Its options are chosen before its first poll.
    #[must_use = "futures do nothing unless they are awaited"]
    pub struct TryScopeFuture<'env, F, B, E>
    where
        Body<'env, B, E>: Future,
    {
        #[pin]
        lazy: Lazy<F, Body<'env, B, E>, SendChild<'env>>,
        failures: Arc<Failures<E>>,
        collects_all: bool,
    }
}

impl<'env, F, B, T, E> TryScopeFuture<'env, F, B, E>
where
    B: Future<Output = Result<T, E>>,
{
    /// Cancels the scope when `parent` is cancelled.
    pub fn within(mut self, parent: &CancelToken) -> Self {
        self.lazy.options.parent = Some(parent.clone());
        self
    }

    /// Gives body and children time to end by themselves when the scope is cancelled: so long from then, before they
    /// are dropped. Zero unless this is called. Needs a runtime of ours, for its timer.
    pub fn grace(mut self, grace: Duration) -> Self {
        self.lazy.options.grace = grace;
        self
    }

    /// Cancels the scope at `deadline`. What is ready by then counts. Needs a runtime of ours, for its timer.
    ///
    /// Other than a timeout round the scope it tells children why, and leaves them the grace period. The earlier of
    /// two deadlines, of a scope and of one in it, holds for both.
    pub fn deadline(mut self, deadline: Instant) -> Self {
        self.lazy.options.deadline = Some(deadline);
        self
    }

    /// A [`deadline`](Self::deadline), so long from now.
    pub fn timeout(self, limit: Duration) -> Self {
        self.deadline(Instant::now() + limit)
    }

    /// Lets the others go on when a child fails, or the body: the scope gives all errors in the end.
    pub fn collect_all(mut self) -> Self {
        self.collects_all = true;
        self
    }
}

impl<'env, F, B, T, E> Future for TryScopeFuture<'env, F, B, E>
where
    F: FnOnce(TryScope<'env, E>) -> B,
    B: Future<Output = Result<T, E>>,
{
    type Output = Result<T, GroupError<E>>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.project();
        let (failures, collects_all) = (this.failures, *this.collects_all);
        let ended = ready!(this.lazy.poll(cx, |start, shared| {
            let scope = TryScope { shared, failures: failures.clone(), collects_all };
            Body { body: start(scope.clone()), scope }
        }));
        let Ended { output, dropped, reason } = match ended {
            Ok(ended) => ended,
            Err(payload) => resume_unwind(payload),
        };
        let errors = std::mem::take(&mut *failures.errors.lock());
        Poll::Ready(match output.flatten() {
            Some(output) if errors.is_empty() && dropped == 0 => Ok(output),
            _ => Err(GroupError { errors, cancelled: dropped, reason }),
        })
    }
}

impl<F, B, T, E> fmt::Debug for TryScopeFuture<'_, F, B, E>
where
    B: Future<Output = Result<T, E>>,
{
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TryScopeFuture").finish_non_exhaustive()
    }
}
