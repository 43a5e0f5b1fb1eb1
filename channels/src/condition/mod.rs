//! Layer 3. `Condition`: waits, without a lock, until somebody says that what the lock guards has changed.
//!
//! Owns the line of those who wait to be notified, and the knowledge of which lock they have given back. A
//! wait is two waits in turn, in the line of the condition and in that of the lock, by one and the same
//! `Waiter`. Called by users.
#![forbid(unsafe_code)]

use std::fmt;
use std::future::Future;
use std::marker::PhantomData;
use std::ops::Deref;
use std::panic::Location;
use std::pin::{Pin, pin};
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};

use pin_project_lite::pin_project;

use crate::block::{block_on, block_until, deadline_after};
use crate::lock::{Form, Granted, Holds, WholeGuard};
use crate::probe::{self, Wait};
use crate::shim::{Mutex, const_unless_model};
use crate::wait_queue::{Outcome, WaitQueue, Waiter};

#[cfg(test)]
mod tests;

/// What a waiter is told, so that it can pass on what was meant for one only.
const BY_ONE: usize = 0;
const BY_ALL: usize = 1;

/// Waits until somebody says that the value of a [`Lock`](crate::sync::Lock) has changed.
///
/// [`wait`](Self::wait) takes the guard, gives the lock back and gets in line in one step, and has the lock
/// again when it returns. Whoever changes the value notifies one waiter or all. A notification that comes when
/// nobody waits is gone.
///
/// The value may have changed once more before a waiter has the lock again, so look at it in a loop, or let
/// [`wait_while`](Self::wait_while) do so. Waiters do not wake without a reason, but whoever was notified and
/// gave up passes that on.
///
/// A condition belongs to no lock: those who wait at the same time must have come with the same one. Several
/// conditions may be used with one lock.
///
/// # Examples
/// A buffer for one item, between a thread and a task.
/// ```
/// use filch_channels::sync::{Condition, Lock};
///
/// let (slot, filled, emptied) = (Lock::new(None), Condition::new(), Condition::new());
/// std::thread::scope(|scope| {
///     scope.spawn(|| {
///         for item in 1..=3 {
///             let mut slot = emptied.wait_while_blocking(slot.lock_blocking(), |slot| slot.is_some());
///             *slot = Some(item);
///             filled.notify_one();
///         }
///     });
///     let sum = futures_lite::future::block_on(async {
///         let mut sum = 0;
///         for _ in 0..3 {
///             let mut slot = filled.wait_while(slot.lock().await, |slot| slot.is_none()).await;
///             sum += slot.take().unwrap();
///             emptied.notify_one();
///         }
///         sum
///     });
///     assert_eq!(sum, 6);
/// });
/// ```
///
/// # Cancel safety
/// **Loses its place in line.** A notification meant for one waiter goes to the next. The guard is gone: a
/// future that is dropped leaves the lock to others.
///
/// # Memory ordering
/// That of the lock. Notifying while holding it, or after, makes sure that no waiter misses the change.
pub struct Condition {
    queue: WaitQueue,
    bound: Mutex<Bound>,
}

/// The lock that those who wait have given back.
#[derive(Debug)]
struct Bound {
    waiting: usize,
    // The address of the lock and the line of one who waits with it. Of no meaning while nobody does.
    lock: usize,
    location: Option<&'static Location<'static>>,
}

impl Condition {
    const_unless_model! {
        /// A condition that nobody waits for.
        #[must_use]
        pub fn new() -> Condition {
            let bound = Bound { waiting: 0, lock: 0, location: None };
            Condition { queue: WaitQueue::new(), bound: Mutex::new(bound) }
        }
    }

    /// Gives the lock back, waits to be notified, and takes the lock again.
    ///
    /// The lock is held until the first poll, which gets in line before it gives the lock back.
    ///
    /// # Examples
    /// ```
    /// # use filch_channels::sync::{Condition, Lock};
    /// # use futures_lite::future;
    /// let (ready, changed) = (Lock::new(false), Condition::new());
    /// let waits = async {
    ///     let mut guard = ready.lock().await;
    ///     while !*guard {
    ///         guard = changed.wait(guard).await;
    ///     }
    /// };
    /// let sets = async {
    ///     *ready.lock().await = true;
    ///     changed.notify_all();
    /// };
    /// future::block_on(future::zip(waits, sets));
    /// ```
    ///
    /// # Panics
    /// At the first poll, when others wait who have come with another lock, or when the lock is
    /// [ranked](crate::sync::Lock::ranked) and one of the same or a higher level is held, too. The lock is
    /// free then.
    ///
    /// # Cancel safety
    /// **Loses its place in line.** A notification meant for one waiter goes to the next. The guard is gone:
    /// a future that is dropped leaves the lock to others.
    #[track_caller]
    pub fn wait<G: WholeGuard>(&self, guard: G) -> ConditionWait<'_, G> {
        ConditionWait { inner: Inner::new(self, guard, Form::Async, Location::caller()), guard: PhantomData }
    }

    /// Waits for as long as `condition` says yes to the value. It asks at once, and after each notification.
    ///
    /// # Examples
    /// ```
    /// # use filch_channels::sync::{Condition, Lock};
    /// # use futures_lite::future;
    /// let (items, filled) = (Lock::new(Vec::new()), Condition::new());
    /// let takes = async { filled.wait_while(items.lock().await, |items| items.is_empty()).await.pop() };
    /// let fills = async {
    ///     items.lock().await.push(7);
    ///     filled.notify_one();
    /// };
    /// assert_eq!(future::block_on(future::zip(takes, fills)).0, Some(7));
    /// ```
    ///
    /// # Panics
    /// As [`wait`](Self::wait). If `condition` panics, the lock is free.
    ///
    /// # Cancel safety
    /// **Loses its place in line.** As [`wait`](Self::wait).
    #[track_caller]
    pub fn wait_while<G, F>(&self, guard: G, condition: F) -> impl Future<Output = G>
    where
        G: WholeGuard,
        F: FnMut(&mut <G as Deref>::Target) -> bool,
    {
        let location = Location::caller();
        async move {
            let (mut guard, mut condition) = (guard, condition);
            while condition(&mut guard) {
                let inner = Inner::new(self, guard, Form::Async, location);
                guard = ConditionWait { inner, guard: PhantomData }.await;
            }
            guard
        }
    }

    /// [`wait`](Self::wait), on this thread.
    ///
    /// # Panics
    /// As there.
    #[track_caller]
    pub fn wait_blocking<G: WholeGuard>(&self, guard: G) -> G {
        self.block(guard, None, Location::caller()).0
    }

    /// [`wait_while`](Self::wait_while), on this thread.
    ///
    /// # Panics
    /// As there.
    #[track_caller]
    pub fn wait_while_blocking<G, F>(&self, guard: G, condition: F) -> G
    where
        G: WholeGuard,
        F: FnMut(&mut <G as Deref>::Target) -> bool,
    {
        self.block_while(guard, condition, None, Location::caller()).0
    }

    /// [`wait`](Self::wait), on this thread and no longer than `timeout`; that it has the lock again may take
    /// longer.
    ///
    /// `Duration::MAX` means for ever. A task bounds the async form with its runtime's timeout instead.
    ///
    /// # Examples
    /// ```
    /// use std::time::Duration;
    /// use filch_channels::sync::{Condition, Lock};
    ///
    /// let (lock, condition) = (Lock::new(1), Condition::new());
    /// let (guard, result) = condition.wait_timeout(lock.lock_blocking(), Duration::from_millis(1));
    /// assert!(result.timed_out());
    /// assert_eq!(*guard, 1);
    /// ```
    ///
    /// # Panics
    /// As there.
    #[track_caller]
    pub fn wait_timeout<G: WholeGuard>(&self, guard: G, timeout: Duration) -> (G, WaitTimeoutResult) {
        self.block(guard, deadline_after(timeout), Location::caller())
    }

    /// [`wait`](Self::wait), on this thread and not past `deadline`; that it has the lock again may take
    /// longer.
    ///
    /// # Panics
    /// As there.
    #[track_caller]
    pub fn wait_deadline<G: WholeGuard>(&self, guard: G, deadline: Instant) -> (G, WaitTimeoutResult) {
        self.block(guard, Some(deadline), Location::caller())
    }

    /// [`wait_while`](Self::wait_while), on this thread and no longer than `timeout` in all.
    ///
    /// # Panics
    /// As there.
    #[track_caller]
    pub fn wait_while_timeout<G, F>(
        &self,
        guard: G,
        condition: F,
        timeout: Duration,
    ) -> (G, WaitTimeoutResult)
    where
        G: WholeGuard,
        F: FnMut(&mut <G as Deref>::Target) -> bool,
    {
        self.block_while(guard, condition, deadline_after(timeout), Location::caller())
    }

    /// [`wait_while`](Self::wait_while), on this thread and not past `deadline`; that it has the lock again may
    /// take longer.
    ///
    /// # Examples
    /// ```
    /// use std::time::{Duration, Instant};
    /// use filch_channels::sync::{Condition, Lock};
    ///
    /// let (lock, condition) = (Lock::new(0), Condition::new());
    /// let soon = Instant::now() + Duration::from_millis(1);
    /// let (guard, result) = condition.wait_while_deadline(lock.lock_blocking(), |n| *n == 0, soon);
    /// assert!(result.timed_out());
    /// assert_eq!(*guard, 0);
    /// ```
    ///
    /// # Panics
    /// As there.
    #[track_caller]
    pub fn wait_while_deadline<G, F>(
        &self,
        guard: G,
        condition: F,
        deadline: Instant,
    ) -> (G, WaitTimeoutResult)
    where
        G: WholeGuard,
        F: FnMut(&mut <G as Deref>::Target) -> bool,
    {
        self.block_while(guard, condition, Some(deadline), Location::caller())
    }

    /// Notifies the one who has waited longest. False: nobody waits.
    pub fn notify_one(&self) -> bool {
        self.queue.notify_one(BY_ONE)
    }

    /// The same as [`notify_one`](Self::notify_one).
    pub fn notify(&self) -> bool {
        self.notify_one()
    }

    /// Notifies all who wait, and returns how many those are. They have the lock one after the other.
    pub fn notify_all(&self) -> usize {
        self.queue.notify_all(BY_ALL)
    }

    #[track_caller]
    fn block<G: WholeGuard>(
        &self,
        guard: G,
        deadline: Option<Instant>,
        location: &'static Location<'static>,
    ) -> (G, WaitTimeoutResult) {
        let mut inner = pin!(Inner::new(self, guard, Form::Blocking, location));
        let told = block_until(deadline, |cx| inner.as_mut().poll_told(cx));
        if told.is_none() {
            inner.as_mut().give_up();
        }
        let timed_out = inner.told.is_none();
        let grant = block_on(|cx| inner.as_mut().poll_lock(cx));
        (G::from_grant(grant), WaitTimeoutResult(timed_out))
    }

    #[track_caller]
    fn block_while<G, F>(
        &self,
        mut guard: G,
        mut condition: F,
        deadline: Option<Instant>,
        location: &'static Location<'static>,
    ) -> (G, WaitTimeoutResult)
    where
        G: WholeGuard,
        F: FnMut(&mut <G as Deref>::Target) -> bool,
    {
        let mut result = WaitTimeoutResult(false);
        while condition(&mut guard) {
            if result.timed_out() {
                return (guard, result);
            }
            (guard, result) = self.block(guard, deadline, location);
        }
        (guard, WaitTimeoutResult(false))
    }

    /// Counts one who waits with the lock at this address.
    #[track_caller]
    fn bind(&self, lock: usize, location: &'static Location<'static>) {
        let mut bound = self.bound.lock();
        if bound.waiting == 0 {
            (bound.lock, bound.location) = (lock, Some(location));
        }
        let (other, first) = (bound.lock != lock, bound.location);
        bound.waiting += usize::from(!other);
        drop(bound);
        if other {
            let first = first.map_or_else(|| "another place".to_owned(), ToString::to_string);
            panic!(
                "a condition with two locks: the one to be given back at {location} is not the one of those \
                 who wait since {first}"
            );
        }
    }

    fn unbind(&self) {
        self.bound.lock().waiting -= 1;
    }
}

impl Default for Condition {
    fn default() -> Condition {
        Condition::new()
    }
}

impl fmt::Debug for Condition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Condition").field("waiting", &self.queue.count_waiters()).finish()
    }
}

/// Whether a timed wait ended because the time was up, rather than by a notification.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct WaitTimeoutResult(bool);

impl WaitTimeoutResult {
    /// Whether the time was up.
    #[must_use]
    pub fn timed_out(self) -> bool {
        self.0
    }
}

pin_project! {
    /// A wait, with the lock that `P` keeps at hand.
    ///
    /// | stage        | `grant` | `lock` | `bound` | `told` | `waiter` is in the line of |
    /// |--------------|---------|--------|---------|--------|----------------------------|
    /// | not polled   | Some    | None   | no      | None   | none                       |
    /// | waits        | None    | Some   | yes     | None   | the condition              |
    /// | was notified | None    | Some   | no      | Some   | none, or the lock          |
    /// | gave up      | None    | Some   | no      | None   | none, or the lock          |
    /// | over         | None    | None   | no      | None   | none                       |
    struct Inner<'a, P: Holds> {
        condition: &'a Condition,
        grant: Option<Granted<P>>,
        lock: Option<P>,
        bound: bool,
        told: Option<usize>,
        form: Form,
        location: &'static Location<'static>,
        #[pin]
        waiter: Waiter,
    }

    impl<P: Holds> PinnedDrop for Inner<'_, P> {
        fn drop(this: Pin<&mut Self>) {
            this.give_up_for_good();
        }
    }
}

impl<'a, P: Holds> Inner<'a, P> {
    fn new<G: WholeGuard<Lock = P>>(
        condition: &'a Condition,
        guard: G,
        form: Form,
        location: &'static Location<'static>,
    ) -> Inner<'a, P> {
        let grant = Some(guard.into_grant());
        let waiter = Waiter::new();
        Inner { condition, grant, lock: None, bound: false, told: None, form, location, waiter }
    }

    /// Gets in line and gives the lock back; then waits to be notified.
    #[track_caller]
    fn poll_told(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let this = self.as_mut().project();
        if this.told.is_some() {
            return Poll::Ready(());
        }
        let first = this.grant.take();
        if let Some(grant) = &first {
            let raw = grant.lock().raw();
            raw.check_rank_again(*this.form, this.location);
            this.condition.bind(std::ptr::from_ref(raw).addr(), this.location);
            *this.bound = true;
        }
        let told = this.waiter.poll_told(&this.condition.queue, 0, || None::<()>, cx);
        if let Some(grant) = first {
            // In line. Whoever has the lock from now on, and notifies, finds us there.
            *this.lock = Some(grant.give_back());
        }
        match told {
            Poll::Ready(Outcome::Told(by)) => {
                *this.told = Some(by);
                *this.bound = false;
                this.condition.unbind();
                Poll::Ready(())
            }
            Poll::Ready(Outcome::Taken(())) => unreachable!("a condition has nothing to take"),
            Poll::Pending => {
                probe::waiting(Wait::Notify, (&raw const **this.condition).cast(), Some(this.location));
                Poll::Pending
            }
        }
    }

    /// Takes the lock again. Its rank was looked at when it was given back.
    fn poll_lock(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Granted<P>> {
        let this = self.project();
        let raw = this.lock.as_ref().expect("polled after it was ready").raw();
        ready!(raw.poll_take(this.waiter, *this.form, this.location, cx));
        *this.told = None;
        Poll::Ready(Granted::new(this.lock.take().expect("looked at above")))
    }

    /// Leaves the line of the condition; what it was told at the last moment counts.
    fn give_up(self: Pin<&mut Self>) {
        let this = self.project();
        if *this.bound {
            *this.told = this.waiter.leave();
            *this.bound = false;
            this.condition.unbind();
        }
    }

    /// Leaves either line, and passes on what was meant for one only.
    fn give_up_for_good(mut self: Pin<&mut Self>) {
        self.as_mut().give_up();
        let this = self.project();
        this.waiter.leave();
        if this.told.take() == Some(BY_ONE) {
            this.condition.notify_one();
        }
    }
}

impl<P: Holds> fmt::Debug for Inner<'_, P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Inner")
            .field("notified", &self.told.is_some())
            .field("location", &self.location)
            .field("waiter", &self.waiter)
            .finish_non_exhaustive()
    }
}

pin_project! {
    /// The future of [`Condition::wait`].
    ///
    /// # Panics
    /// When it is polled after it was ready, and as [`Condition::wait`] says.
    ///
    /// # Cancel safety
    /// **Loses its place in line.** A notification meant for one waiter goes to the next. The guard is gone:
    /// a future that is dropped leaves the lock to others.
    #[must_use = "futures do nothing unless they are awaited; this one holds a lock until then"]
    pub struct ConditionWait<'a, G: WholeGuard> {
        #[pin]
        inner: Inner<'a, G::Lock>,
        guard: PhantomData<fn() -> G>,
    }
}

impl<G: WholeGuard> Future for ConditionWait<'_, G> {
    type Output = G;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<G> {
        let mut inner = self.project().inner;
        if inner.lock.is_none() || inner.bound {
            assert!(inner.grant.is_some() || inner.lock.is_some(), "polled after it was ready");
            ready!(inner.as_mut().poll_told(cx));
        }
        inner.poll_lock(cx).map(G::from_grant)
    }
}

impl<G: WholeGuard> fmt::Debug for ConditionWait<'_, G> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("ConditionWait").field(&self.inner).finish()
    }
}
