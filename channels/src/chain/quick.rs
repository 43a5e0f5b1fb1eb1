//! Layer 0, chain. What a push and a pop do mostly.
//!
//! Owns the short way, in which a message costs one look at the own end and one exchange, and no block is left or
//! added. Whatever else there is to see is seen by `push` and `pop`. Called by `channel`.
#![forbid(unsafe_code)]

use std::ptr::NonNull;

use super::block::{Claim, ONE, SLOTS, offset};
use super::{CLOSED, Chain, Place, Places, is_past, position};
use crate::ring::Users;
use crate::shim::Ordering::{Acquire, Relaxed, Release, SeqCst};

impl<T, C: Users> Chain<T, C> {
    /// What `push` does mostly: one look at the own end, and one exchange. False: it takes more than that.
    #[inline(always)]
    pub(crate) fn push_at_once(&self, value: &mut Option<T>) -> bool {
        // Ordering: as in `claim`.
        let tail = self.tail.word.load(Acquire);
        if tail & CLOSED != 0 || offset(tail) + 1 >= SLOTS || value.is_none() {
            return false;
        }
        let block = self.tail.block.load(Acquire);
        if self.tail.word.compare_exchange(tail, tail.wrapping_add(ONE), SeqCst, Relaxed).is_err() {
            return false;
        }
        let block = NonNull::new(block).expect("each end has a block");
        if let Some(value) = value.take() {
            Place(Claim { block, position: position(tail) }).write(value);
        }
        self.notice(tail);
        true
    }

    /// [`next`](Self::next), if there is nothing to look for.
    #[inline(always)]
    pub(super) fn next_at_once(&self) -> Option<T> {
        // Ordering: as in `claim`.
        let head = self.head.word.load(Acquire);
        if offset(head) + 1 >= SLOTS || !is_past(self.head.seen.load(Acquire), head) {
            return None;
        }
        // Ordering: Relaxed: nobody else moves it.
        let block = NonNull::new(self.head.block.load(Relaxed))?;
        self.head.word.store(head.wrapping_add(ONE), Release);
        Places(Claim { block, position: head }, 1, self).next()
    }
}

impl<T> Chain<T> {
    /// What `pop` does mostly: one look at the own end, and one exchange. None: it takes more than that.
    #[inline(always)]
    pub(crate) fn pop_at_once(&self) -> Option<T> {
        // Ordering: as in `lift`.
        let head = self.head.word.load(Acquire);
        if offset(head) + 1 >= SLOTS || !is_past(self.head.seen.load(Acquire), head) {
            return None;
        }
        let block = NonNull::new(self.head.block.load(Acquire))?;
        self.head.word.compare_exchange(head, head.wrapping_add(ONE), Release, Relaxed).ok()?;
        Places(Claim { block, position: head }, 1, self).next()
    }
}
