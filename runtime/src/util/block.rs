//! Layer 0. Blocks a plain thread on one future.
//!
//! Called by `JoinHandle::join_blocking` and by `block_on` where the caller can be no worker.
#![forbid(unsafe_code)]

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, Wake, Waker};
use std::time::Duration;

use filch_channels::probe;

use crate::util::parker::Parker;

struct Unparker(Parker);

impl Wake for Unparker {
    fn wake(self: std::sync::Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &std::sync::Arc<Self>) {
        let _ = self.0.unpark();
    }
}

/// Polls `future` on this thread until it is ready, or `timeout` is over (`None`; the future stays usable).
pub(crate) fn on<F: Future + Unpin>(future: &mut F, timeout: Option<Duration>) -> Option<F::Output> {
    // `None`: for ever, or so long that the clock cannot say it.
    let until = timeout.and_then(|timeout| std::time::Instant::now().checked_add(timeout));
    let unparker = std::sync::Arc::new(Unparker(Parker::new()));
    let waker = Waker::from(unparker.clone());
    let mut cx = Context::from_waker(&waker);
    loop {
        // This may be a job of the blocking pool, which has a task's budget: nobody refills it while the
        // thread waits here, and a thread that waits has nobody to yield to.
        let budget = probe::set_budget(u8::MAX);
        let polled = Pin::new(&mut *future).poll(&mut cx);
        probe::set_budget(budget);
        if let Poll::Ready(output) = polled {
            return Some(output);
        }
        let left = until.map(|until| until.saturating_duration_since(std::time::Instant::now()));
        if left.is_some_and(|left| left.is_zero()) {
            return None;
        }
        unparker.0.park(left);
    }
}
