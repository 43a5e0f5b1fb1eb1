//! Layer 0. A place for one waker, written by one side of a pair and read by both.
//!
//! Owns the cell and nothing else: when it may be read and who may use what was read is decided by the state
//! word of its owner, `channel::oneshot`, its only caller. In place of the usual lock bits (futures'
//! `AtomicWaker`, tokio's oneshot) a slot is *copied* before a state change and the copy is used only by the
//! side whose change went through, so that a send needs one locked operation, and touches the allocation for
//! the last time in it.

use std::mem::{ManuallyDrop, MaybeUninit};
use std::task::Waker;

use crate::shim::UnsafeCell;

/// Room for one waker. Dropping it drops no waker.
#[derive(Debug)]
pub(crate) struct WakerSlot(UnsafeCell<MaybeUninit<Waker>>);

impl WakerSlot {
    pub(crate) fn new() -> WakerSlot {
        WakerSlot(UnsafeCell::new(MaybeUninit::uninit()))
    }

    /// Stores `waker` over whatever was there, without dropping that.
    ///
    /// # Safety
    /// Nobody reads or writes the slot meanwhile, and what was there belongs to nobody or was copied out.
    pub(crate) unsafe fn write(&self, waker: Waker) {
        self.0.with_mut(|slot| {
            // SAFETY: the pointer is the cell's own, and the caller promises that nobody else looks.
            unsafe { (*slot).write(waker) };
        });
    }

    /// A bitwise copy. It may be compared (`will_wake` looks at its two pointers, and at nothing behind them),
    /// also when the other side has used the waker up in the meantime.
    ///
    /// # Safety
    /// The slot was written, that write happened before, and nobody writes meanwhile. The copy becomes a
    /// `Waker` (`ManuallyDrop::into_inner`) only in the hands of the side whose state change says so; until
    /// then it is bits, which nothing drops, and which nobody wakes or clones.
    pub(crate) unsafe fn copy(&self) -> ManuallyDrop<Waker> {
        // SAFETY: the pointer is the cell's own, and the caller promises that it was written and that nobody
        // writes; and that of the two wakers one is used only.
        self.0.with(|slot| unsafe { slot.cast::<ManuallyDrop<Waker>>().read() })
    }
}
