//! What the black-box tests share: a watchdog, waiting without sleeping, child processes. The harness that cancels an
//! operation at every await, and hostile wakers, are `filch::testing`.
//!
//! No test sleeps to wait for something, and none asserts on wall time. Whoever waits blocks on a channel that only the
//! code under test can feed, or looks at a condition again and again ([`until`]); [`watched`] ends both when they hang.

pub mod catalogue;
mod child;
mod drops;
mod harness;

use std::future::{Future, poll_fn};
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::pin::pin;
use std::sync::Arc;
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, Sender};
use std::task::{Poll, Wake, Waker};
use std::thread;
use std::time::Duration;

pub use child::{Child, child_case};
pub use drops::{Drops, OnDrop, on_drop};
pub use harness::{Test, harness};

/// How long a test may take before it counts as hanging.
pub const PATIENCE: Duration = Duration::from_secs(30);

/// Runs `body` on a thread of its own, and fails when it has not ended after [`PATIENCE`].
///
/// # Panics
/// When `body` does, or hangs.
#[track_caller]
pub fn watched<T: Send + 'static>(body: impl FnOnce() -> T + Send + 'static) -> T {
    let name = thread::current().name().unwrap_or("test").to_owned();
    let (done, ended) = mpsc::channel();
    let thread = thread::Builder::new()
        .name(name.clone())
        .spawn(move || {
            let result = catch_unwind(AssertUnwindSafe(body));
            let _ = done.send(result);
        })
        .expect("a thread for the test");
    match ended.recv_timeout(PATIENCE) {
        Ok(Ok(value)) => {
            let _ = thread.join();
            value
        }
        Ok(Err(payload)) => resume_unwind(payload),
        Err(RecvTimeoutError::Timeout) => panic!("{name} hangs: it has not ended after {PATIENCE:?}"),
        Err(RecvTimeoutError::Disconnected) => unreachable!("the result is sent before the thread ends"),
    }
}

/// Looks at `condition` until it holds. Only inside [`watched`].
pub fn until(mut condition: impl FnMut() -> bool) {
    while !condition() {
        thread::yield_now();
    }
}

/// As [`until`], in a task: others run between two looks.
pub async fn until_yielding(mut condition: impl FnMut() -> bool) {
    while !condition() {
        filch::yield_now().await;
    }
}

/// Polls `future` once, with the waker of the task.
pub async fn poll_once<F: Future + Unpin>(future: &mut F) -> Option<F::Output> {
    let mut future = pin!(future);
    poll_fn(|cx| match future.as_mut().poll(cx) {
        Poll::Ready(value) => Poll::Ready(Some(value)),
        Poll::Pending => Poll::Ready(None),
    })
    .await
}

/// A waker that sends on a channel, each time it is called.
pub fn channel_waker() -> (Waker, Receiver<()>) {
    struct Sends(Sender<()>);
    impl Wake for Sends {
        fn wake(self: Arc<Self>) {
            let _ = self.0.send(());
        }
    }
    let (sender, woken) = mpsc::channel();
    (Waker::from(Arc::new(Sends(sender))), woken)
}

/// The text of a panic.
pub fn panic_text(payload: &(dyn std::any::Any + Send)) -> &str {
    payload
        .downcast_ref::<&'static str>()
        .copied()
        .or_else(|| payload.downcast_ref::<String>().map(String::as_str))
        .unwrap_or("(no text)")
}

/// Runs `f`, which must panic, and returns the text.
///
/// # Panics
/// When `f` does not.
#[track_caller]
pub fn panics(f: impl FnOnce()) -> String {
    match catch_unwind(AssertUnwindSafe(f)) {
        Ok(()) => panic!("no panic"),
        Err(payload) => panic_text(&*payload).to_owned(),
    }
}

/// A multi-threaded runtime with so many workers.
///
/// # Panics
/// When it cannot be built.
#[track_caller]
pub fn workers(workers: usize) -> filch::Runtime {
    filch::Builder::new().workers(workers).build().expect("a runtime")
}

/// A single-threaded runtime.
///
/// # Panics
/// When it cannot be built.
#[track_caller]
pub fn single() -> filch::Runtime {
    filch::Builder::single_thread().build().expect("a runtime")
}

/// How many threads of this process have a name that starts with `prefix` (of at most 15 bytes, as Linux keeps them).
///
/// # Panics
/// When `/proc` cannot be read.
pub fn threads_named(prefix: &str) -> usize {
    let tasks = std::fs::read_dir("/proc/self/task").expect("/proc");
    tasks
        .filter_map(|task| std::fs::read_to_string(task.ok()?.path().join("comm")).ok())
        .filter(|name| name.starts_with(prefix))
        .count()
}
