//! Layer 0. Blocks one thread, on its own or in a reactor, until another unparks it.
//!
//! Owns one atomic word. Called by `scheduler::worker` on its own thread, and by whoever has work for it.
//!
//! | state      | the thread is                           | `unpark` must                    |
//! |------------|------------------------------------------|----------------------------------|
//! | `EMPTY`    | awake                                    | leave a token: `NOTIFIED`         |
//! | `PARKED`   | blocked in the operating system, or about to be | unpark the thread          |
//! | `POLLING`  | blocked in its reactor, or about to be   | wake the reactor                 |
//! | `NOTIFIED` | awake, and its next wait returns at once | nothing                          |
//!
//! Each wait starts with an exchange from `EMPTY`, so a token left before is not slept over; each `unpark` is
//! a swap, so one of two concurrent ones does the waking. Both are read-modify-writes on one word: no other
//! fence is needed for what the unparking thread wrote before to be visible after the wait.
#![forbid(unsafe_code)]

use std::time::{Duration, Instant};

use crate::shim::Ordering::{AcqRel, Acquire, Relaxed};
use crate::shim::loses_wake_up;
use crate::shim::owner::AtomicU32;
use crate::shim::thread::{self, Thread};

const EMPTY: u32 = 0;
const PARKED: u32 = 1;
const POLLING: u32 = 2;
const NOTIFIED: u32 = 3;

#[derive(Debug)]
pub(crate) struct Parker {
    state: AtomicU32,
    thread: Thread,
}

/// What is left for the caller of [`Parker::unpark`].
#[must_use]
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Unpark {
    Done,
    /// The thread waits in its reactor: wake that.
    WakeReactor,
}

impl Parker {
    /// A parker for the calling thread.
    pub(crate) fn new() -> Parker {
        Parker { state: AtomicU32::new(EMPTY), thread: thread::current() }
    }

    /// Blocks until `unpark` or for `timeout`. True: there was an `unpark`. Only on the parker's own thread.
    pub(crate) fn park(&self, timeout: Option<Duration>) -> bool {
        // Ordering: Acquire, here and below, pairs with the Release in `unpark`: what was written before it
        // is visible.
        if self.state.compare_exchange(EMPTY, PARKED, AcqRel, Acquire).is_err() {
            return self.take();
        }
        // `None`: for ever, or so long that the clock cannot say it.
        let until = timeout.and_then(|timeout| Instant::now().checked_add(timeout));
        loop {
            match until {
                None => thread::park(),
                Some(until) => {
                    let left = until.saturating_duration_since(Instant::now());
                    if left.is_zero() {
                        return self.take();
                    }
                    park_timeout(left);
                }
            }
            // A spurious return, or a token that foreign code left for this thread: look again.
            if self.state.load(Relaxed) == NOTIFIED {
                return self.take();
            }
        }
    }

    /// Says that the thread will block in its reactor. False: there was an `unpark`, do not block.
    pub(crate) fn start_polling(&self) -> bool {
        if self.state.compare_exchange(EMPTY, POLLING, AcqRel, Acquire).is_err() {
            self.take();
            return false;
        }
        true
    }

    /// The thread is back from its reactor. True: there was an `unpark`.
    pub(crate) fn end_polling(&self) -> bool {
        self.take()
    }

    fn take(&self) -> bool {
        self.state.swap(EMPTY, AcqRel) == NOTIFIED
    }

    /// Ends the wait under way, or the next one. Any thread.
    pub(crate) fn unpark(&self) -> Unpark {
        // Ordering: Release pairs with the Acquire of the swap in `take`.
        match self.state.swap(NOTIFIED, AcqRel) {
            PARKED => {
                if !loses_wake_up() {
                    self.thread.unpark();
                }
                Unpark::Done
            }
            POLLING => Unpark::WakeReactor,
            _ => Unpark::Done,
        }
    }
}

#[cfg(not(filch_loom))]
fn park_timeout(timeout: Duration) {
    thread::park_timeout(timeout);
}

#[cfg(filch_loom)]
fn park_timeout(_: Duration) {
    unreachable!("models park without a timeout");
}

#[cfg(test)]
mod tests;
