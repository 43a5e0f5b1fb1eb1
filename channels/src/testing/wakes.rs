//! Layer 3, tests. Polls by hand: a waker that counts, and the least that it takes to drive a future.
//!
//! Owns `Wakes`. Called by tests, of this crate and of others, and in the models of this crate under loom too.
#![forbid(unsafe_code)]

use std::future::{Future, poll_fn};
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll, Wake, Waker};

use crate::shim::Ordering::SeqCst;
use crate::shim::Parker;
use crate::shim::task::{AtomicBool, AtomicUsize};

/// Counts how often a waker was woken.
///
/// # Examples
/// ```
/// use std::pin::pin;
/// use filch_channels::sync::Notify;
/// use filch_channels::testing::{Wakes, poll_with};
///
/// let notify = Notify::new();
/// let mut waiting = pin!(notify.notified());
/// let (wakes, waker) = Wakes::new();
/// assert!(poll_with(waiting.as_mut(), &waker).is_pending());
/// notify.notify_one();
/// assert_eq!(wakes.count(), 1);
/// assert!(poll_with(waiting, &waker).is_ready());
/// ```
#[derive(Debug)]
pub struct Wakes {
    count: AtomicUsize,
    panics: AtomicBool,
    parker: Parker,
}

impl Wakes {
    /// A counter, and the waker that it counts; clones of the waker count here too.
    #[must_use]
    pub fn new() -> (Arc<Wakes>, Waker) {
        let wakes = Arc::new(Wakes {
            count: AtomicUsize::new(0),
            panics: AtomicBool::new(false),
            parker: Parker::new(),
        });
        (wakes.clone(), Waker::from(wakes))
    }

    /// How often it was woken.
    pub fn count(&self) -> usize {
        // Ordering: SeqCst, here and below: a test may reason from the count, and pays nothing for being sure.
        self.count.load(SeqCst)
    }

    /// Blocks this thread until it was woken `n` times. Only on the thread that made it: no other is woken.
    pub fn wait_for(&self, n: usize) {
        while self.count() < n {
            self.parker.park_until(None);
        }
    }

    /// From now on waking it panics, after it was counted.
    pub fn set_panic(&self) {
        // Ordering: SeqCst, as in `count`.
        self.panics.store(true, SeqCst);
    }
}

impl Wake for Wakes {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        // Ordering: SeqCst, as in `count`.
        self.count.fetch_add(1, SeqCst);
        self.parker.unpark();
        // Ordering: SeqCst, as in `count`.
        assert!(!self.panics.load(SeqCst), "a waker of a test panics");
    }
}

/// Polls once, with `waker`.
pub fn poll_with<F: Future + ?Sized>(future: Pin<&mut F>, waker: &Waker) -> Poll<F::Output> {
    future.poll(&mut Context::from_waker(waker))
}

/// Polls once, with a waker that does nothing.
pub fn poll_once<F: Future + ?Sized>(future: Pin<&mut F>) -> Poll<F::Output> {
    poll_with(future, Waker::noop())
}

/// Polls a future to its end on this thread, which sleeps in between.
///
/// # Examples
/// ```
/// use filch_channels::testing::{block_on, yield_now};
///
/// assert_eq!(block_on(async { yield_now().await; 7 }), 7);
/// ```
pub fn block_on<F: Future>(future: F) -> F::Output {
    let mut future = pin!(future);
    crate::block::block_on(|cx| future.as_mut().poll(cx))
}

/// Is ready at its second poll, and has the task polled again for that: lets others go first.
pub async fn yield_now() {
    let mut yielded = false;
    poll_fn(|cx| {
        if std::mem::replace(&mut yielded, true) {
            return Poll::Ready(());
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    })
    .await;
}
