//! Layer 1. Drives one poll function on a thread, for the `_blocking` and `_timeout` forms of the channels.
//!
//! Owns the waker of a parked thread: a flag and the thread's handle. The flag, not the token of
//! `thread::park`, says whether a wake-up came, so that others may use the token too. Polls spend no task's
//! budget: the functions given here leave it alone, as a thread that waits has no other task to yield to.
#![forbid(unsafe_code)]

use std::sync::Arc;
use std::task::{Context, Poll, Wake, Waker};
use std::time::Instant;

use crate::shim::Ordering::{Acquire, Release};
use crate::shim::task::AtomicBool;
use crate::shim::thread::{self, Thread};

struct Parked {
    woken: AtomicBool,
    thread: Thread,
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
            self.thread.unpark();
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
    let parked = Arc::new(Parked { woken: AtomicBool::new(false), thread: thread::current() });
    let waker = Waker::from(parked.clone());
    let mut cx = Context::from_waker(&waker);
    loop {
        if let Poll::Ready(value) = poll(&mut cx) {
            return Some(value);
        }
        // Ordering: Acquire pairs with the Release in `wake_by_ref`.
        while !parked.woken.swap(false, Acquire) {
            match deadline {
                None => thread::park(),
                Some(deadline) => {
                    let left = deadline.saturating_duration_since(Instant::now());
                    if left.is_zero() {
                        return match poll(&mut cx) {
                            Poll::Ready(value) => Some(value),
                            Poll::Pending => None,
                        };
                    }
                    park_timeout(left);
                }
            }
        }
    }
}

#[cfg(not(filch_loom))]
use crate::shim::thread::park_timeout;

/// Models have no clock: time stands still there.
#[cfg(filch_loom)]
fn park_timeout(_: std::time::Duration) {
    thread::park();
}

/// When `timeout` is over; `None`, never, when that is past what the clock can say.
pub(crate) fn deadline(timeout: std::time::Duration) -> Option<Instant> {
    Instant::now().checked_add(timeout)
}
