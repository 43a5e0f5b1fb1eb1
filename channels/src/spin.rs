//! Layer 0. A short wait for another thread that is between two steps of its own.
//!
//! Owns the patience: a few pauses of the processor, as the other one has a handful of instructions to go,
//! then the rest of the time slice, over and over, as it has lost its processor. Nothing of the user's runs
//! between those two steps, and no lock is taken there, so the wait ends whenever the system lets the other
//! thread run. Called by `ring` and `chain`.
#![forbid(unsafe_code)]

use crate::shim::thread;

/// How many pauses come before the first `yield_now`. Under a model every turn lets the others run.
#[cfg(not(filch_loom))]
const PAUSES: u32 = 100;
#[cfg(filch_loom)]
const PAUSES: u32 = 0;

/// See the head of this file.
#[derive(Debug)]
pub(crate) struct Spin(u32);

impl Spin {
    #[inline]
    pub(crate) fn new() -> Spin {
        Spin(0)
    }

    /// Waits a little; longer when it is called again.
    #[cold]
    pub(crate) fn turn(&mut self) {
        if self.0 < PAUSES {
            self.0 += 1;
            std::hint::spin_loop();
        } else {
            thread::yield_now();
        }
    }
}
