//! What the checks share: runtimes, a log of what happened in which order, and words for durations.

use std::fmt::Display;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::Duration;

use filch::Builder;

use crate::story::{Halves, Story};

/// Runs `future` on a runtime whose clock jumps to the next deadline when no task can run.
pub(super) fn paused<F: Future>(future: F) -> F::Output {
    seeded(1, future)
}

/// The same, with an order of polls that `seed` decides.
pub(super) fn seeded<F: Future>(seed: u64, future: F) -> F::Output {
    Builder::new().paused_clock(seed).build().expect("a runtime without threads").block_on(future)
}

/// Runs `future` on a runtime with two workers.
pub(super) fn on_tasks<F: Future>(future: F) -> F::Output {
    two_workers().block_on(future)
}

/// A runtime with two workers.
pub(super) fn two_workers() -> filch::Runtime {
    Builder::new().workers(2).build().expect("two threads can be started")
}

/// The half of a demo on threads, as the check of a row.
pub(super) fn demo_on_threads(demo: impl Halves, story: &mut Story) {
    let runtime = two_workers();
    let _inside = runtime.handle().enter();
    demo.threads(story);
}

/// The half of a demo on tasks, as the check of a row.
pub(super) fn demo_on_tasks<H: Halves>(demo: H, story: &mut Story) {
    if H::VIRTUAL { paused(demo.tasks(story)) } else { on_tasks(demo.tasks(story)) }
}

pub(super) fn ms(ms: u64) -> Duration {
    Duration::from_millis(ms)
}

/// How long something is waited for that does not come.
pub(super) const BRIEFLY: Duration = Duration::from_millis(5);
/// Longer than anything here takes.
pub(super) const LONG: Duration = Duration::from_secs(30);

/// Notes in the order in which they were made.
#[derive(Clone, Default)]
pub(super) struct Log(Arc<Mutex<Vec<String>>>);

impl Log {
    pub(super) fn note(&self, what: impl Display) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).push(what.to_string());
    }

    /// All notes so far, with a space between them.
    pub(super) fn told(&self) -> String {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).join(" ")
    }

    /// How many there are.
    pub(super) fn len(&self) -> usize {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).len()
    }
}

/// Notes its name when it is dropped.
pub(super) struct Leaves(pub(super) &'static str, pub(super) Log);

impl Drop for Leaves {
    fn drop(&mut self) {
        self.1.note(self.0);
    }
}

/// A panic that nobody hears of: what the guides raise. The hook that prints panics does not see it.
pub(super) fn raise<T>(message: &'static str) -> T {
    std::panic::resume_unwind(Box::new(message))
}

/// What was raised.
pub(super) fn raised(payload: Box<dyn std::any::Any + Send>) -> &'static str {
    payload.downcast_ref().copied().unwrap_or("something else")
}

/// Lets others run until `so`.
pub(super) fn until(so: impl Fn() -> bool) {
    while !so() {
        thread::yield_now();
    }
}

/// Lets other tasks run until `so`.
pub(super) async fn yield_until(so: impl Fn() -> bool) {
    while !so() {
        filch::yield_now().await;
    }
}
