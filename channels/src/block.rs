//! Layer 1. Drives one poll function on a thread, for the `_blocking` and `_timeout` forms of the channels.
//!
//! Owns the waker of a parked thread: a flag and its parker. The flag, not the token of
//! `thread::park`, says whether a wake-up came, so that others may use the token too. Polls spend no task's
//! budget: the functions given here leave it alone, as a thread that waits has no other task to yield to.
#![forbid(unsafe_code)]

use std::sync::Arc;
use std::task::{Context, Poll, Wake, Waker};
use std::time::{Duration, Instant};

use crate::shim::Ordering::{Acquire, Release};
use crate::shim::Parker;
use crate::shim::task::AtomicBool;

struct Parked {
    woken: AtomicBool,
    parker: Parker,
}

impl Wake for Parked {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        // Ordering: Release pairs with the Acquire swap in `block_until`: who sees the flag sees what led to
        // it. A swap, not a store, as whoever finds the flag up need not unpark again (and loom orders stores
        // and swaps loosely).
        if !self.woken.swap(true, Release) {
            self.parker.unpark();
        }
    }
}

/// Polls until ready.
pub(crate) fn block_on<T>(poll: impl FnMut(&mut Context<'_>) -> Poll<T>) -> T {
    block_until(None, poll).unwrap_or_else(|| unreachable!("there is no deadline"))
}

/// Polls until ready; `None` when `deadline` passed first. A value that is ready at the deadline wins.
pub(crate) fn block_until<T>(
    deadline: Option<Instant>,
    mut poll: impl FnMut(&mut Context<'_>) -> Poll<T>,
) -> Option<T> {
    let parked = Arc::new(Parked { woken: AtomicBool::new(false), parker: Parker::new() });
    let waker = Waker::from(parked.clone());
    let mut cx = Context::from_waker(&waker);
    loop {
        if let Poll::Ready(value) = poll(&mut cx) {
            return Some(value);
        }
        // Ordering: Acquire pairs with the Release in `wake_by_ref`.
        while !parked.woken.swap(false, Acquire) {
            if !parked.parker.park_until(deadline) {
                return match poll(&mut cx) {
                    Poll::Ready(value) => Some(value),
                    Poll::Pending => None,
                };
            }
        }
    }
}

/// When `timeout` is over, for all blocking forms; `None`, never, when that is past what the clock can say.
pub(crate) fn deadline_after(timeout: Duration) -> Option<Instant> {
    Instant::now().checked_add(timeout)
}
