//! Layer 0, chain. Blocks of slots, and which of them are in use.
//!
//! Owns the layout of a block, and the stock of those that are in neither end's way: kept for reuse, or still
//! being read. Knows nothing of the ends; called by them.

use std::mem::MaybeUninit;
use std::ptr::{self, NonNull};

use crate::shim::Ordering::Relaxed;
use crate::shim::task::AtomicPtr;
use crate::shim::{Stamp, UnsafeCell};

/// Slots of a block. One more is a power of two, so that positions wrap well.
#[cfg(not(filch_loom))]
pub(super) const SLOTS: u64 = 31;
#[cfg(filch_loom)]
pub(super) const SLOTS: u64 = 3;
/// Positions of a block: one for each slot, and one at which the end is moved to the next block.
pub(super) const LAP: u64 = SLOTS + 1;
/// How much of memory is kept for reuse: as many blocks as lie in so many bytes, one at least.
const SPARE_BYTES: usize = 16 * 1024;

/// One step of a position, in `tail` and in `head`.
pub(super) const ONE: u64 = 1 << 21;
/// In a stamp, beside the position: the value is there.
pub(super) const WRITTEN: u64 = 1;
/// In a stamp, beside the position: the value is out, and its reader will not look at the slot again.
pub(super) const READ: u64 = 2;

/// One place. For the slot of position `p`:
///
/// | stamp         | the slot is                                  | who may touch `value`         |
/// |---------------|----------------------------------------------|-------------------------------|
/// | anything else | free, or claimed by a producer               | whoever moved `tail` from `p` |
/// | `p`, WRITTEN  | full, or claimed by a consumer               | whoever moved `head` from `p` |
/// | `p`, READ     | empty until its block stands elsewhere       | nobody                        |
///
/// In the last slot of a block READ is never written: whoever reads it decides about the block. Nor is it where
/// there is one consumer: when that one reads the last slot, it has read the others.
pub(super) struct Slot<T> {
    pub(super) stamp: Stamp,
    pub(super) value: UnsafeCell<MaybeUninit<T>>,
}

pub(super) struct Block<T> {
    /// Null until there is a next one.
    pub(super) next: AtomicPtr<Block<T>>,
    pub(super) slots: [Slot<T>; SLOTS as usize],
}

/// A position that was claimed at one end and is not done with, and its block.
pub(super) struct Claim<T> {
    pub(super) block: NonNull<Block<T>>,
    pub(super) position: u64,
}

// SAFETY: it is the right to one slot (table at `Slot`), or to a block; a value may be moved in by one thread
// and out by another, so `T: Send`. No `&T` is ever handed out. By this, and as the rest of them allows it, a
// `Stock` may be sent, and so a `Chain`, which owns the other blocks by atomic pointers, sent and shared.
unsafe impl<T: Send> Send for Claim<T> {}

/// Blocks that are in neither end's way.
pub(super) struct Stock<T> {
    /// Nobody looks at these.
    pub(super) spare: Vec<Box<Block<T>>>,
    /// Left by `head`; some slots may still be read. The claims are of the first slots.
    pub(super) aside: Vec<Claim<T>>,
}

/// Where in its block a position is.
#[inline(always)]
pub(super) fn offset(word: u64) -> u64 {
    word / ONE % LAP
}

impl<T> Block<T> {
    /// Made where it stays: a block of large values may be more than a stack holds.
    pub(super) fn new() -> Box<Block<T>> {
        let mut block = Box::<Block<T>>::new_uninit();
        let to = block.as_mut_ptr();
        // SAFETY: this writes to the block's memory, which is ours, and reads nothing. Then both fields have
        // been written: every slot, and the link.
        unsafe {
            for at in 0..SLOTS as usize {
                // No position has both marks.
                let stamp = Stamp::new(WRITTEN | READ);
                let value = UnsafeCell::new(MaybeUninit::uninit());
                (&raw mut (*to).slots[at]).write(Slot { stamp, value });
            }
            (&raw mut (*to).next).write(AtomicPtr::new(ptr::null_mut()));
            block.assume_init()
        }
    }
}

impl<T> Claim<T> {
    #[inline(always)]
    pub(super) fn block(&self) -> &Block<T> {
        // SAFETY: blocks are freed by the stock only, which is given one after its last slot was read, and
        // then waits until all others are READ. Ours is neither, as long as this claim stands; or it is a claim
        // of the stock itself.
        unsafe { self.block.as_ref() }
    }

    #[inline(always)]
    pub(super) fn slot(&self) -> &Slot<T> {
        &self.block().slots[offset(self.position) as usize]
    }
}

impl<T> Stock<T> {
    /// Looks whether blocks that were put aside have been read to the end meanwhile, as they have unless there
    /// are `many` consumers. Returns those that are
    /// too many, for the caller to drop after the lock.
    #[must_use]
    pub(super) fn sort(&mut self, many: bool) -> Vec<Box<Block<T>>> {
        let mut surplus = Vec::new();
        let mut at = 0;
        while let Some(first) = self.aside.get(at) {
            let is_read = !many
                || (0..SLOTS - 1).rev().all(|step| {
                    let position = first.position.wrapping_add(step * ONE);
                    // Set in `Places::next`: its reader is through.
                    first.block().slots[step as usize].stamp.is(position | READ)
                });
            if is_read {
                let first = self.aside.swap_remove(at);
                // SAFETY: from `Box::into_raw`, in `link` or `Chain::new`. Both ends are past it, and every
                // slot was read: the last one before it came here.
                let block = unsafe { Box::from_raw(first.block.as_ptr()) };
                surplus.extend(self.keep(block));
            } else {
                at += 1;
            }
        }
        surplus
    }

    /// How many blocks are kept for reuse.
    pub(super) const SPARE: usize = {
        let blocks = SPARE_BYTES / size_of::<Block<T>>();
        if blocks == 0 { 1 } else { blocks }
    };

    /// Keeps a block that nobody looks at, or returns it for the caller to drop after the lock.
    #[must_use]
    pub(super) fn keep(&mut self, block: Box<Block<T>>) -> Option<Box<Block<T>>> {
        if self.spare.len() >= Self::SPARE {
            return Some(block);
        }
        // Ordering: Relaxed: the block is published when it is linked.
        block.next.store(ptr::null_mut(), Relaxed);
        self.spare.push(block);
        None
    }
}
