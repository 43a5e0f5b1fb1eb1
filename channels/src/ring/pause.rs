//! Layer 0, ring. Short pauses of a thread while another one is at work on the same lines of memory.
//!
//! Owns when one pauses, and for how long. Called by `ring` and `chain`. Nothing depends on a pause: it is left
//! out, cut short or made longer without harm.
//!
//! A line of memory that two processors write goes back and forth between them, 50 to 100 ns each way, and a
//! message costs 10 ns without that. So it is quicker by far, for both and in processor time too, if one of them
//! does a good many messages while the other one stands back. Hence the two pauses here; kanal's lock and
//! crossfire's back-off come to the same.
//!
//! *For how long.* A pause of the processor takes 26 ns (AMD Zen 3) to 50 ns (Intel since Skylake). An operation
//! makes 96 of them after lost exchanges, and 96 in [`linger`]: 5 µs in all, and 10 at the very most.
#![forbid(unsafe_code)]

use std::hint;

use crate::shim::Ordering::Relaxed;
use crate::shim::task::AtomicU32;

/// How many pauses follow the first exchange that was lost; twice as many follow the second.
const FIRST_PAUSES: u32 = 32;
/// How many pauses there are between two looks at the other end.
const PAUSES: u32 = 16;
/// How often one looks at the other end in a row.
const LOOKS: u32 = 6;
/// How often one does not linger, after it was of no use.
const REST: u32 = 64;

fn pause(times: u32) {
    // A model would be outgrown.
    if !cfg!(filch_loom) {
        (0..times).for_each(|_| hint::spin_loop());
    }
}

/// Stands back after an exchange that was lost to another thread at the same end.
#[derive(Debug)]
pub(crate) struct Backoff(u32);

impl Backoff {
    #[inline(always)]
    pub(crate) fn new() -> Backoff {
        Backoff(0)
    }

    /// To be called after each.
    #[cold]
    pub(crate) fn turn(&mut self) {
        pause(if self.0 < 2 { FIRST_PAUSES << self.0 } else { 1 });
        self.0 += 1;
    }
}

/// Lets the other side get ahead, if it is seen to be at work.
///
/// `look` says where the other end is, and how much it has left for us by that; `before` is where it was when
/// we looked last. If it has moved since, but there is not `enough` yet, somebody is at it right now: then the
/// two ends would fetch each other's line for each message from here on. So we look a few times more, with
/// pauses, for as long as it moves on. If it has not moved, nobody is there to be waited for, and there is no
/// pause. `rest` keeps count of the times that it is left out, as the other side has turned out to be slow.
#[cold]
pub(crate) fn linger(rest: &AtomicU32, before: u64, enough: u64, look: impl Fn() -> (u64, u64)) {
    let (mut at, there) = look();
    if at == before || there >= enough || cfg!(filch_loom) {
        return;
    }
    // Ordering: Relaxed, here and below: it guards nothing, and that a change of it is lost does no harm.
    let left = rest.load(Relaxed);
    if left > 0 {
        rest.store(left - 1, Relaxed);
        return;
    }
    for _ in 0..LOOKS {
        pause(PAUSES);
        let (now, there) = look();
        if there >= enough {
            return;
        }
        if now == at {
            rest.store(REST, Relaxed);
            return;
        }
        at = now;
    }
}
