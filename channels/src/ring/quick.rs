//! Layer 0, ring. What a push and a pop do mostly, and when they wait for more to do.
//!
//! Owns the short way, in which a message costs one look at the own end and one exchange, and nothing is decided.
//! Whatever else there is to see is seen by `push` and `pop`. Called by `channel`.
#![forbid(unsafe_code)]

use super::{ONE, Places, Ring, Users, linger, position, ready, used};
use crate::shim::Ordering::{Acquire, Relaxed, SeqCst};

/// So many places, or values, make it worth while to look for them; a quarter of the capacity if that is less.
const ENOUGH: u64 = 32 * ONE;

impl<T, C: Users> Ring<T, C> {
    /// What `push` does mostly: one look at the own end, and one exchange. False: it takes more than that.
    ///
    /// Apart, as a caller that has this and no loop in its own code keeps all it needs in registers.
    #[inline(always)]
    pub(crate) fn push_at_once(&self, value: &mut Option<T>) -> bool {
        // Ordering: as in `claim` and `room`.
        let tail = self.tail.word.load(Acquire);
        let len = tail.wrapping_sub(self.tail.seen.load(Acquire));
        if tail & (ONE - 1) != 0 || len >= self.tail.peak.load(Relaxed) || value.is_none() {
            return false;
        }
        if self.tail.word.compare_exchange(tail, tail.wrapping_add(ONE), SeqCst, Relaxed).is_err() {
            return false;
        }
        if let Some(value) = value.take() {
            self.place(tail).write(value);
        }
        true
    }

    /// How many places, or values, make it worth while to look for them, in steps.
    fn enough(&self) -> u64 {
        (self.capacity / 4).clamp(ONE, ENOUGH)
    }

    /// Waits for more values, if those are likely to come at once.
    #[cold]
    pub(super) fn linger_for_values(&self, head: u64) {
        linger(&self.head.rest, self.head.seen.load(Relaxed), self.enough(), || {
            let tail = position(self.tail.word.load(Acquire));
            (tail, ready(head, tail))
        });
    }

    /// Waits for more room, if that is likely to come at once.
    #[cold]
    pub(super) fn linger_for_room(&self) {
        linger(&self.tail.rest, self.tail.seen.load(Relaxed), self.enough(), || {
            // Ordering: Acquire keeps the two looks in this order.
            let head = self.head.word.load(Acquire);
            (head, self.capacity.saturating_sub(used(self.tail.word.load(Acquire), head)))
        });
    }
}

impl<T> Ring<T> {
    /// What `pop` does mostly: one look at the own end, and one exchange. None: it takes more than that.
    #[inline(always)]
    pub(crate) fn pop_at_once(&self) -> Option<T> {
        // Ordering: as in `lift`.
        let head = self.head.word.load(Acquire);
        if ready(head, self.head.seen.load(Acquire)) == 0 {
            return None;
        }
        let end = head.wrapping_add(ONE);
        self.head.word.compare_exchange(head, end, SeqCst, Relaxed).ok()?;
        Places { ring: self, position: head, end }.next()
    }
}
