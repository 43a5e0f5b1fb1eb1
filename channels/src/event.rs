//! Layer 2. `Event`: a flag that tasks and threads wait for.
//!
//! Owns one word, which counts how often the flag was set and cleared, and a [`WaitQueue`] whose waiters note
//! the count from which they wait. The meaning is asyncio's and threading's: whoever waits when the event is
//! set is woken, also when it is cleared right afterwards. Called by users and by `once_cell`.
#![forbid(unsafe_code)]

use std::fmt;
use std::future::Future;
use std::panic::Location;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};

use pin_project_lite::pin_project;

use crate::block::deadline_after;
use crate::probe::{self, Wait};
use crate::shim::Ordering::{AcqRel, Acquire, Relaxed, SeqCst};
use crate::shim::const_unless_model;
use crate::shim::task::AtomicUsize;
use crate::wait_queue::{WaitQueue, Waiter};

#[cfg(test)]
mod tests;

/// In the word: the event is set. As each `set` and each `clear` moves the word up by one, it is the lowest
/// bit of their count.
const SET: usize = 1;

/// A flag that tasks and threads wait for. It stays set until it is cleared.
///
/// [`set`](Self::set) wakes all who wait, and whoever waits while it is set does not have to. A wait that was
/// begun before `set` ends, whatever comes after: also when the event is cleared again before the waiter runs.
/// It begins with the call of [`wait`](Self::wait), not with the first poll.
///
/// # Examples
/// ```
/// use filch_channels::sync::Event;
///
/// let ready = Event::new();
/// std::thread::scope(|scope| {
///     scope.spawn(|| ready.wait_blocking());
///     scope.spawn(|| futures_lite::future::block_on(ready.wait()));
///     ready.set();
/// });
/// assert!(ready.is_set());
/// ready.clear();
/// assert!(!ready.is_set());
/// ```
///
/// # Cancel safety
/// **Strict.** An event concerns all who wait, so nothing is lost when one of them goes.
///
/// # Memory ordering
/// What happened before a `set` is visible to those whose wait it ends, and to those who find the event set;
/// also when it was set already.
pub struct Event {
    /// How often the event was set or cleared, wrapping: odd while it is [`SET`].
    word: AtomicUsize,
    queue: WaitQueue,
}

impl Event {
    const_unless_model! {
        /// An event that is not set.
        #[must_use]
        pub fn new() -> Event {
            Event { word: AtomicUsize::new(0), queue: WaitQueue::new() }
        }
    }

    /// Sets the event and wakes all who wait. Does nothing to an event that is set.
    pub fn set(&self) {
        // Ordering: SeqCst: Release pairs with the loads in `is_set` and `was_set_since`, also when the event
        // is set already, as this is a read-modify-write. The rest is the handshake with `WaitQueue`: either
        // a waiter that registers meanwhile finds this, or we find it.
        let before = self.word.fetch_or(SET, SeqCst);
        if before & SET == 0 && !self.queue.is_empty_after_rmw() {
            // Those who came after a `clear` that was quicker than we are here wait for the next `set`.
            self.queue.lock().notify_all_where(0, |began| !is_newer(began, before));
        }
    }

    /// Clears the event: whoever waits from now on waits for the next [`set`](Self::set).
    pub fn clear(&self) {
        let mut word = self.word.load(Relaxed);
        while word & SET != 0 {
            // Ordering: AcqRel: who finds the event cleared also sees what was done before that, and what the
            // setters before it did.
            match self.word.compare_exchange_weak(word, word.wrapping_add(1), AcqRel, Relaxed) {
                Ok(_) => return,
                Err(now) => word = now,
            }
        }
    }

    /// Whether the event is set.
    pub fn is_set(&self) -> bool {
        // Ordering: Acquire pairs with `set`.
        self.word.load(Acquire) & SET != 0
    }

    fn now(&self) -> usize {
        // Ordering: Acquire pairs with `set`, as whoever finds it set need not look again.
        self.word.load(Acquire)
    }

    /// What those who have waited since the word was `began` look for.
    fn was_set_since(&self, began: usize) -> Option<()> {
        (began & SET != 0 || self.now() != began).then_some(())
    }

    /// Waits until the event is set.
    ///
    /// The wait begins with this call, so that a `set` that comes before the first poll is not missed.
    ///
    /// # Examples
    /// ```
    /// # use filch_channels::sync::Event;
    /// # futures_lite::future::block_on(async {
    /// let event = Event::new();
    /// let wait = event.wait();
    /// event.set();
    /// event.clear();
    /// wait.await;
    /// # });
    /// ```
    ///
    /// # Cancel safety
    /// **Strict.**
    #[inline]
    #[track_caller]
    pub fn wait(&self) -> EventWait<'_> {
        EventWait { event: self, began: self.now(), location: Location::caller(), waiter: Waiter::new() }
    }

    /// Blocks this thread until the event is set.
    pub fn wait_blocking(&self) {
        self.block(None);
    }

    /// Blocks this thread until the event is set, but no longer than `timeout`. False: the time was up.
    ///
    /// `Duration::MAX` means for ever. A task bounds [`wait`](Self::wait) with its runtime's timeout instead.
    #[must_use]
    pub fn wait_timeout(&self, timeout: Duration) -> bool {
        self.block(deadline_after(timeout))
    }

    /// Blocks this thread until the event is set, but no longer than to `deadline`. False: the time was up.
    #[must_use]
    pub fn wait_deadline(&self, deadline: Instant) -> bool {
        self.block(Some(deadline))
    }

    fn block(&self, deadline: Option<Instant>) -> bool {
        let began = self.now();
        Waiter::told_blocking(&self.queue, began, || self.was_set_since(began), deadline).is_some()
    }
}

/// Whether the first of two counts that wrap is the later one.
fn is_newer(count: usize, than: usize) -> bool {
    count != than && count.wrapping_sub(than) <= usize::MAX / 2
}

impl Default for Event {
    fn default() -> Event {
        Event::new()
    }
}

impl fmt::Debug for Event {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Event")
            .field("set", &self.is_set())
            .field("waiting", &self.queue.count_waiters())
            .finish()
    }
}

pin_project! {
    /// The future of [`Event::wait`].
    ///
    /// # Cancel safety
    /// **Strict.**
    #[must_use = "futures do nothing unless they are awaited"]
    pub struct EventWait<'a> {
        event: &'a Event,
        began: usize,
        location: &'static Location<'static>,
        #[pin]
        waiter: Waiter,
    }
}

impl Future for EventWait<'_> {
    type Output = ();

    #[inline]
    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        ready!(probe::poll_budget(cx));
        let this = self.project();
        let (event, began) = (*this.event, *this.began);
        if this.waiter.poll_told(&event.queue, began, || event.was_set_since(began), cx).is_pending() {
            probe::waiting(Wait::Notify, (&raw const *event).cast(), Some(this.location));
            return Poll::Pending;
        }
        probe::spend();
        Poll::Ready(())
    }
}

impl fmt::Debug for EventWait<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("EventWait").field("waiter", &self.waiter).finish_non_exhaustive()
    }
}
