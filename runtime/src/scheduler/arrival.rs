//! Layer 2, scheduler. The sign that a root was woken, on the stack of the `block_on` that waits for it.
//!
//! Owns one flag. The waiting thread may return, and the flag with its frame be gone, as soon as it is set:
//! so whoever sets it takes what it needs for the waking beforehand, and touches nothing of the frame
//! afterwards.
#![forbid(unsafe_code)]

use crate::shim::Arc;
use crate::shim::Ordering::{Acquire, Relaxed, Release};
use crate::shim::task::AtomicBool;

pub(crate) struct Arrival(AtomicBool);

impl Arrival {
    /// With the sign given: the first poll needs no wake.
    pub(crate) fn new() -> Arrival {
        Arrival(AtomicBool::new(true))
    }

    /// From another thread: gives the sign, then has `waiter` woken.
    pub(crate) fn give<W>(&self, waiter: &Arc<W>, unpark: impl FnOnce(&W)) {
        let waiter = waiter.clone();
        // Ordering: Release pairs with the Acquire in `is_there`: all uses of the frame are before the end of it.
        self.0.store(true, Release);
        unpark(&waiter);
    }

    /// On the waiting thread itself, which looks before it sleeps.
    pub(crate) fn give_here(&self) {
        self.0.store(true, Relaxed);
    }

    pub(crate) fn is_there(&self) -> bool {
        self.0.load(Acquire)
    }

    /// Takes the sign back, before a poll: until that has ended, no other is given.
    pub(crate) fn clear(&self) {
        self.0.store(false, Relaxed);
    }
}
