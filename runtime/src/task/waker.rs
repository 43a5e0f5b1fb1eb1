//! Layer 1, task. A task's `Waker`: its address, and one table for all tasks.
//!
//! One table, so that `will_wake` is true between any two wakers of a task. Called by user code on any
//! thread.

use std::mem::ManuallyDrop;
use std::ptr::NonNull;
use std::task::{RawWaker, RawWakerVTable, Waker};

use super::raw::{self, Header};
use super::state::WakeByVal;

static VTABLE: RawWakerVTable = RawWakerVTable::new(clone, wake, wake_by_ref, drop);

/// A waker that borrows the caller's reference: it must not outlive it, and must not be dropped.
///
/// # Safety
/// `header` is alive for as long as the result is used.
#[inline]
pub(super) unsafe fn borrowed(header: NonNull<Header>) -> ManuallyDrop<Waker> {
    // SAFETY: the table's functions take `data` to be a live header, which the caller vouches for; each clone
    // counts a reference of its own.
    ManuallyDrop::new(unsafe { Waker::new(header.as_ptr() as *const (), &VTABLE) })
}

// "The data of a waker is a counted, live header": `clone` counts, `wake` and `drop` give back, and
// `borrowed` vouches for the one that is not counted. Every block below rests on that.

unsafe fn clone(data: *const ()) -> RawWaker {
    // SAFETY: the data of a waker is a live header.
    unsafe { (*data.cast::<Header>()).state.add_ref() };
    RawWaker::new(data, &VTABLE)
}

unsafe fn wake(data: *const ()) {
    // SAFETY: the data of a waker is a live header, and never null.
    let ptr = unsafe { NonNull::new_unchecked(data.cast::<Header>().cast_mut()) };
    // SAFETY: as above; the reference is given back only by the last use of `header`.
    let header = unsafe { ptr.as_ref() };
    if header.probe.is_current() {
        header.probe.wake_self();
        // The poll under way holds the scheduler's reference, so this is not the last one.
        let last = header.state.drop_ref();
        debug_assert!(!last);
        return;
    }
    match header.state.wake_by_val() {
        WakeByVal::Nothing => {}
        // SAFETY: this wake made the `Runnable`, so the task is not done and its scheduler is there.
        WakeByVal::Schedule => unsafe { raw::schedule(ptr) },
        // SAFETY: that was the last reference.
        WakeByVal::Free => unsafe { raw::free(ptr) },
    }
}

unsafe fn wake_by_ref(data: *const ()) {
    // SAFETY: the data of a waker is a live header, and never null.
    let ptr = unsafe { NonNull::new_unchecked(data.cast::<Header>().cast_mut()) };
    // SAFETY: as above.
    let header = unsafe { ptr.as_ref() };
    if header.probe.is_current() {
        header.probe.wake_self();
    } else if header.state.wake_by_ref() {
        // SAFETY: this wake made the `Runnable`, so the task is not done and its scheduler is there.
        unsafe { raw::schedule(ptr) };
    }
}

unsafe fn drop(data: *const ()) {
    // SAFETY: the data of a waker is a live header, whose one reference this gives back.
    unsafe { raw::drop_ref(NonNull::new_unchecked(data.cast::<Header>().cast_mut())) };
}
