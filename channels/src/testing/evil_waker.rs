//! Layer 3, tests. The waker of an `Evil`: what `std::task::Wake` cannot say, since a clone of an `Arc` runs no
//! code of ours.
//!
//! Owns the table of functions. Its data is an `Arc<Plan>` as a raw pointer, and each waker has one count of it.

use std::mem::ManuallyDrop;
use std::sync::Arc;
use std::task::{RawWaker, RawWakerVTable, Waker};

use super::evil::{Moment, Plan};

static TABLE: RawWakerVTable = RawWakerVTable::new(clone, wake, wake_by_ref, drop);

pub(super) fn waker(plan: Arc<Plan>) -> Waker {
    // SAFETY: `raw` makes the data that the functions of `TABLE` want, and they do what a waker's must: `clone`
    // takes one count more, `wake` and `drop` give theirs back. `Plan` is `Send` and `Sync`.
    unsafe { Waker::from_raw(raw(plan)) }
}

fn raw(plan: Arc<Plan>) -> RawWaker {
    RawWaker::new(Arc::into_raw(plan).cast(), &TABLE)
}

/// The count that a waker has.
///
/// # Safety
/// `data` comes from `raw`, and the waker still has its count.
unsafe fn count(data: *const ()) -> ManuallyDrop<Arc<Plan>> {
    // SAFETY: `raw` got this pointer from `Arc::into_raw`; whether the count is used up is the caller's choice.
    ManuallyDrop::new(unsafe { Arc::from_raw(data.cast()) })
}

fn clone(data: *const ()) -> RawWaker {
    // SAFETY: only `TABLE` names this function, so a waker calls it, which lives on.
    let plan = unsafe { count(data) };
    plan.at(Moment::Clone);
    raw(Arc::clone(&plan))
}

fn wake(data: *const ()) {
    // SAFETY: as in `clone`; the waker ends here, and its count goes with it.
    let plan = ManuallyDrop::into_inner(unsafe { count(data) });
    plan.woken();
}

fn wake_by_ref(data: *const ()) {
    // SAFETY: as in `clone`.
    unsafe { count(data) }.woken();
}

fn drop(data: *const ()) {
    // SAFETY: as in `wake`.
    let plan = ManuallyDrop::into_inner(unsafe { count(data) });
    plan.at(Moment::Drop);
}
