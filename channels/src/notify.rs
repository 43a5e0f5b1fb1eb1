//! Layer 2. `Notify`: wakes one waiter, or all of them, and carries no data.
//!
//! Owns one word, the stored notification and the number of calls of `notify_waiters`, and a [`WaitQueue`]
//! whose waiters are told how they were woken. The surface and its meaning are tokio's. Called by users.
#![forbid(unsafe_code)]

use std::fmt;
use std::future::Future;
use std::panic::Location;
use std::pin::Pin;
use std::task::{Context, Poll, Waker, ready};
use std::time::{Duration, Instant};

use pin_project_lite::pin_project;

use crate::block::deadline_after;
use crate::probe::{self, Wait};
use crate::shim::Ordering::{AcqRel, Acquire, Relaxed, SeqCst};
use crate::shim::const_unless_model;
use crate::shim::task::AtomicUsize;
use crate::wait_queue::{Outcome, WaitQueue, Waiter};

#[cfg(test)]
mod tests;

/// In the word: a notification is stored for whoever comes next. What stands above it counts
/// `notify_waiters`.
const STORED: usize = 1;
/// In the word: one call of `notify_waiters`.
const CALL: usize = 2;

/// What a waiter is told, so that it can pass on what was meant for one only.
const BY_ONE: usize = 0;
const BY_LAST: usize = 1;
const BY_ALL: usize = 2;

/// Tells one waiter, or all, that something has happened.
///
/// [`notify_one`](Self::notify_one) wakes the waiter that has waited longest. When nobody waits it is stored,
/// and the next [`notified`](Self::notified) is ready at once; one notification is stored at most.
/// [`notify_waiters`](Self::notify_waiters) wakes all who have called `notified` before, and stores nothing.
///
/// Like a semaphore that starts empty and holds one permit at most. What happened is for you to keep: look at
/// it again after you were notified.
///
/// # Examples
/// ```
/// use std::sync::atomic::{AtomicU32, Ordering};
/// use filch_channels::sync::Notify;
///
/// let (inbox, news) = (AtomicU32::new(0), Notify::new());
/// std::thread::scope(|scope| {
///     scope.spawn(|| {
///         inbox.store(7, Ordering::Relaxed);
///         news.notify_one();
///     });
///     futures_lite::future::block_on(news.notified());
///     assert_eq!(inbox.load(Ordering::Relaxed), 7);
/// });
/// ```
///
/// # Cancel safety
/// **Strict.** A notification meant for one waiter, and not seen by it, goes to the next, or is stored.
///
/// # Memory ordering
/// What happened before a notification is visible to whoever receives it; also when several calls of
/// `notify_one` were stored as one.
pub struct Notify {
    /// Twice the number of calls of `notify_waiters`, wrapping, plus [`STORED`].
    word: AtomicUsize,
    queue: WaitQueue,
}

impl Notify {
    const_unless_model! {
        /// A `Notify` with nothing stored.
        #[must_use]
        pub fn new() -> Notify {
            Notify { word: AtomicUsize::new(0), queue: WaitQueue::new() }
        }
    }

    /// Wakes the waiter that has waited longest, or stores the notification.
    pub fn notify_one(&self) {
        self.notify(BY_ONE);
    }

    /// Wakes the waiter that came last, or stores the notification.
    ///
    /// Last in, first out is kinder to caches, and unfair.
    pub fn notify_last(&self) {
        self.notify(BY_LAST);
    }

    fn notify(&self, by: usize) {
        // A waiter that is in line for the caller to know of shows in a plain load.
        if self.queue.is_empty() {
            // Ordering: SeqCst: Release pairs with `take_stored`, and also when one is stored already: it is
            // a read-modify-write, so that the one notification carries what both callers did. The rest is
            // the handshake with `WaitQueue`: either a waiter that registers meanwhile finds this, or we find
            // it.
            self.word.fetch_or(STORED, SeqCst);
            if self.queue.is_empty_after_rmw() {
                return;
            }
            let line = self.queue.lock();
            if line.is_empty() || !self.take_stored() {
                // It stays stored, or somebody has received it already.
                return;
            }
            Self::tell(line, by);
        } else {
            let line = self.queue.lock();
            if line.is_empty() {
                // Ordering: SeqCst, as above; whoever registers does so under the lock, and looks here
                // afterwards.
                self.word.fetch_or(STORED, SeqCst);
            } else {
                Self::tell(line, by);
            }
        }
    }

    fn tell(line: crate::wait_queue::Locked<'_>, by: usize) {
        if by == BY_LAST {
            line.notify_last(by)
        } else {
            line.notify_one(by)
        };
    }

    /// Wakes everybody whose `notified()` was called before, whether or not it was polled. Stores nothing.
    pub fn notify_waiters(&self) {
        // Ordering: SeqCst: Release pairs with the load in `look`. The rest is the handshake with
        // `WaitQueue`.
        let now = self.word.fetch_add(CALL, SeqCst).wrapping_add(CALL) / CALL;
        if !self.queue.is_empty_after_rmw() {
            self.queue.lock().notify_all_where(BY_ALL, |calls| calls != now);
        }
    }

    fn calls(&self) -> usize {
        // Ordering: Acquire pairs with `notify_waiters`: calls that are counted here are not waited for any
        // more.
        self.word.load(Acquire) / CALL
    }

    /// Takes the stored notification, if there is one.
    fn take_stored(&self) -> bool {
        // Ordering: Relaxed: a hint that spares the exchange. Acquire pairs with the storing in `notify`.
        self.word.load(Relaxed) & STORED != 0 && self.word.fetch_and(!STORED, AcqRel) & STORED != 0
    }

    /// What a waiter that was created after `calls` looks for.
    fn look(&self, calls: usize) -> Option<()> {
        (self.calls() != calls || self.take_stored()).then_some(())
    }

    /// Waits to be notified.
    ///
    /// The future counts from this call on for [`notify_waiters`](Self::notify_waiters); for
    /// [`notify_one`](Self::notify_one) it stands in line from its first poll, or from [`Notified::enable`]
    /// on.
    ///
    /// # Examples
    /// ```
    /// # use filch_channels::sync::Notify;
    /// # futures_lite::future::block_on(async {
    /// let notify = Notify::new();
    /// let notified = notify.notified();
    /// notify.notify_waiters();
    /// notified.await;
    /// # });
    /// ```
    ///
    /// # Cancel safety
    /// **Strict.** A notification that it was given and has not seen goes to the next, or is stored. It loses
    /// its place in line.
    #[inline]
    #[track_caller]
    pub fn notified(&self) -> Notified<'_> {
        Notified {
            notify: self,
            calls: self.calls(),
            done: false,
            location: Location::caller(),
            waiter: Waiter::new(),
        }
    }

    /// Takes the notification that is stored, if one is. Never waits.
    ///
    /// # Examples
    /// ```
    /// # use filch_channels::sync::Notify;
    /// let news = Notify::new();
    /// assert!(!news.try_notified());
    /// news.notify_one();
    /// assert!(news.try_notified());
    /// assert!(!news.try_notified());
    /// ```
    #[must_use]
    pub fn try_notified(&self) -> bool {
        let taken = self.take_stored();
        if taken {
            probe::spend();
        }
        taken
    }

    /// Blocks this thread until it is notified.
    pub fn notified_blocking(&self) {
        self.block(None);
    }

    /// Blocks this thread until it is notified, but no longer than `timeout`. False: the time was up.
    ///
    /// `Duration::MAX` means for ever. A task bounds [`notified`](Self::notified) with its runtime's timeout
    /// instead.
    #[must_use]
    pub fn notified_timeout(&self, timeout: Duration) -> bool {
        self.block(deadline_after(timeout))
    }

    /// [`notified_timeout`](Self::notified_timeout), until a moment.
    #[must_use]
    pub fn notified_deadline(&self, deadline: Instant) -> bool {
        self.block(Some(deadline))
    }

    fn block(&self, deadline: Option<Instant>) -> bool {
        let calls = self.calls();
        Waiter::told_blocking(&self.queue, calls, || self.look(calls), deadline).is_some()
    }
}

impl Default for Notify {
    fn default() -> Notify {
        Notify::new()
    }
}

impl fmt::Debug for Notify {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Ordering: Relaxed: a report.
        let stored = self.word.load(Relaxed) & STORED != 0;
        f.debug_struct("Notify")
            .field("stored", &stored)
            .field("waiting", &self.queue.count_waiters())
            .finish()
    }
}

pin_project! {
    /// The future of [`Notify::notified`].
    ///
    /// # Cancel safety
    /// **Strict.** A notification that it was given and has not seen goes to the next, or is stored.
    #[must_use = "futures do nothing unless they are awaited"]
    pub struct Notified<'a> {
        notify: &'a Notify,
        calls: usize,
        done: bool,
        location: &'static Location<'static>,
        #[pin]
        waiter: Waiter,
    }

    impl PinnedDrop for Notified<'_> {
        fn drop(this: Pin<&mut Self>) {
            let this = this.project();
            if let Some(by @ (BY_ONE | BY_LAST)) = this.waiter.leave() {
                this.notify.notify(by);
            }
        }
    }
}

impl Notified<'_> {
    /// Gets in line, as the first poll would. True: it was notified already, and is ready.
    ///
    /// Between this call and the await no notification is missed, so that you can look at your own state
    /// there.
    ///
    /// # Examples
    /// ```
    /// use std::pin::pin;
    /// use filch_channels::sync::Notify;
    ///
    /// # futures_lite::future::block_on(async {
    /// let notify = Notify::new();
    /// let mut first = pin!(notify.notified());
    /// assert!(!first.as_mut().enable());
    /// notify.notify_one();
    /// // It went to `first`, and is not stored.
    /// assert!(!pin!(notify.notified()).enable());
    /// first.await;
    /// # });
    /// ```
    pub fn enable(self: Pin<&mut Self>) -> bool {
        self.wait(&mut Context::from_waker(Waker::noop())).is_ready()
    }

    #[inline]
    fn wait(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let this = self.project();
        if *this.done {
            return Poll::Ready(());
        }
        let (notify, calls) = (*this.notify, *this.calls);
        let outcome = ready!(this.waiter.poll_told(&notify.queue, calls, || notify.look(calls), cx));
        debug_assert!(matches!(outcome, Outcome::Taken(()) | Outcome::Told(BY_ONE | BY_LAST | BY_ALL)));
        *this.done = true;
        Poll::Ready(())
    }
}

impl Future for Notified<'_> {
    type Output = ();

    #[inline]
    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        ready!(probe::poll_budget(cx));
        if self.as_mut().wait(cx).is_ready() {
            probe::spend();
            return Poll::Ready(());
        }
        probe::waiting(Wait::Notify, (&raw const *self.notify).cast(), Some(self.location));
        Poll::Pending
    }
}

impl fmt::Debug for Notified<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Notified").field("done", &self.done).field("waiter", &self.waiter).finish()
    }
}
