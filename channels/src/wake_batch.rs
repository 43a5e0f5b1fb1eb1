//! Layer 0. A handful of wakers, collected under a lock and woken after it.
//!
//! Owns the rule that a waker is foreign code: it may re-enter the primitive that wakes it, and it may panic.
//! Hence the batch is filled while the lock is held, which runs none of that code, and emptied afterwards. A
//! waker's panic is caught, so that the others are woken all the same, and not raised again: it belongs to
//! whoever waits, has been reported by the panic hook, and must not cost the caller what it has just
//! acquired. Called by `wait_queue` alone.
#![forbid(unsafe_code)]

use std::mem::{self, ManuallyDrop};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::task::Waker;

use crate::shim::{Parker, loses_wake_up};

/// How many are woken between two acquisitions of the lock.
#[cfg(not(filch_loom))]
const CAPACITY: usize = 8;
#[cfg(filch_loom)]
const CAPACITY: usize = 2;

/// Whom to wake: a task through its waker, or a thread that has parked.
#[derive(Debug)]
pub(crate) enum Wake {
    Task(Waker),
    Thread(Parker),
}

impl Wake {
    /// Must not be called under a lock.
    #[inline]
    #[cfg_attr(filch_loom, track_caller)]
    pub(crate) fn wake(self) {
        if loses_wake_up() {
            return;
        }
        match self {
            Wake::Task(waker) => quietly(|| waker.wake()),
            Wake::Thread(thread) => thread.unpark(),
        }
    }
}

/// Runs foreign code whose panic must not change what we do next.
pub(crate) fn quietly(f: impl FnOnce()) {
    if let Err(payload) = catch_unwind(AssertUnwindSafe(f)) {
        // Dropping the payload could panic once more.
        mem::forget(payload);
    }
}

/// See the head of this file.
///
/// Mostly empty, or nearly so: dropping one looks at those that are there, not at all that might be.
#[derive(Debug, Default)]
pub(crate) struct WakeBatch {
    wakes: ManuallyDrop<[Option<Wake>; CAPACITY]>,
    len: usize,
}

impl WakeBatch {
    #[inline]
    pub(crate) fn new() -> WakeBatch {
        WakeBatch::default()
    }

    pub(crate) fn is_full(&self) -> bool {
        self.len == CAPACITY
    }

    /// The batch must have room: see [`is_full`](Self::is_full).
    pub(crate) fn push(&mut self, wake: Option<Wake>) {
        if wake.is_some() {
            self.wakes[self.len] = wake;
            self.len += 1;
        }
    }

    /// Wakes all of them, in the order in which they were pushed. Must not be called under a lock.
    #[inline]
    pub(crate) fn wake_all(&mut self) {
        if self.len != 0 {
            self.wake_those();
        }
    }

    fn wake_those(&mut self) {
        for wake in &mut self.wakes[..mem::take(&mut self.len)] {
            if let Some(wake) = wake.take() {
                wake.wake();
            }
        }
    }
}

impl Drop for WakeBatch {
    #[inline]
    fn drop(&mut self) {
        for wake in &mut self.wakes[..mem::take(&mut self.len)] {
            quietly(|| drop(wake.take()));
        }
    }
}
