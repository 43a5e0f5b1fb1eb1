//! Layer 1, task. A task's `Waker`: its address, and one table for all tasks.
//!
//! One table, so that `will_wake` is true between any two wakers of a task. Called by user code on any
//! thread.

use std::mem::ManuallyDrop;
use std::task::{Context, RawWaker, RawWakerVTable, Waker};

use super::raw::TaskPtr;

// "The data of a waker is a counted, live task": `clone` counts, `wake` and `drop` give back, and `lend`
// vouches for the one that is not counted. Every block below rests on that.

static VTABLE: RawWakerVTable = RawWakerVTable::new(
    |data| {
        // SAFETY: the data of a waker is a live task.
        unsafe { TaskPtr::from_raw(data) }.state.add_ref();
        RawWaker::new(data, &VTABLE)
    },
    // SAFETY: the data of a waker is a live task, whose one reference this gives back.
    |data| unsafe { TaskPtr::from_raw(data).wake_by_val() },
    // SAFETY: the data of a waker is a live task.
    |data| unsafe { TaskPtr::from_raw(data) }.wake_by_ref(),
    // SAFETY: the data of a waker is a live task, whose one reference this gives back.
    |data| unsafe { TaskPtr::from_raw(data).drop_ref() },
);

/// Runs `f` with a waker that is not counted: it borrows what keeps the task until `f` has returned.
#[inline]
pub(super) fn lend<R>(task: TaskPtr, f: impl FnOnce(&mut Context<'_>) -> R) -> R {
    // SAFETY: the table's functions take `data` to be a live task, and it is one while `f` runs; each clone
    // counts a reference of its own.
    let waker = ManuallyDrop::new(unsafe { Waker::new(task.cast().as_ptr(), &VTABLE) });
    f(&mut Context::from_waker(&waker))
}
