//! Layer 0. Wakes a batch of wakers after all locks are dropped.
//!
//! A waker is user code: it may panic, and the others must be woken all the same. Called by `scheduler` with
//! what the driver collected, and by `driver` when it shuts down.
#![forbid(unsafe_code)]

use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::task::Waker;

/// Wakes all of `wakers` and leaves the vector empty, its memory kept. A waker's panic is caught and
/// reported.
pub(crate) fn wake_all(wakers: &mut Vec<Waker>) {
    for waker in wakers.drain(..) {
        guarded("a waker", || waker.wake());
    }
}

/// Wakes when it is dropped: what takes it over may refuse to run it.
pub(crate) struct WakeOnDrop(pub(crate) Waker);

impl Drop for WakeOnDrop {
    fn drop(&mut self) {
        guarded("a waker", || self.0.wake_by_ref());
    }
}

/// Runs user code that must not unwind into the runtime. A panic was reported by the panic hook already; here
/// it is said where it ended.
pub(crate) fn guarded(what: &str, f: impl FnOnce()) {
    if let Err(payload) = catch_unwind(AssertUnwindSafe(f)) {
        eprintln!("filch: {what} panicked: {}", message(&*payload));
        drop_payload(payload);
    }
}

/// The text of a panic, where it has one.
pub(crate) fn message(payload: &(dyn Any + Send)) -> &str {
    if let Some(text) = payload.downcast_ref::<&'static str>() {
        text
    } else if let Some(text) = payload.downcast_ref::<String>() {
        text
    } else {
        "(a payload without text)"
    }
}

/// Drops what a panic carried. Its own drop may panic too; what that one carries is leaked, for there must be
/// an end.
pub(crate) fn drop_payload(payload: Box<dyn Any + Send>) {
    if let Err(second) = catch_unwind(AssertUnwindSafe(|| drop(payload))) {
        std::mem::forget(second);
    }
}
