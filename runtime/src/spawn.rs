//! Layer 4. The free functions that use the runtime of the thread, and `TaskBuilder`.
//!
//! Owns what a new task is given besides its future: a name, where it was spawned, and what its parent hands
//! down.
#![forbid(unsafe_code)]

use std::future::Future;
use std::panic::Location;
use std::pin::Pin;
use std::task::{Context, Poll};

use filch_channels::probe::{self, Wait};

use crate::context;
use crate::runtime::{Handle, Runtime};
use crate::scheduler::shared::Scheduler;
use crate::task::JoinHandle;
use crate::task_local::{self, WithInherited};

/// A future larger than this is put into a box of its own at once, so that it is not copied from frame to frame.
const LARGE: usize = 16 << 10;

/// Spawns on `scheduler`, with what the current task hands down.
#[inline]
pub(crate) fn spawn_named<F>(
    scheduler: &Scheduler,
    future: F,
    name: Option<Box<str>>,
    location: &'static Location<'static>,
) -> JoinHandle<F::Output>
where
    F: Future + Send + 'static,
    F::Output: Send + 'static,
{
    if size_of::<F>() > LARGE {
        let boxed: Pin<Box<dyn Future<Output = F::Output> + Send>> = Box::pin(future);
        return spawn_named(scheduler, boxed, name, location);
    }
    match task_local::inherited() {
        None => scheduler.spawn(future, name, location),
        Some(inherited) => scheduler.spawn(WithInherited::new(inherited, future), name, location),
    }
}

/// Spawns on the runtime of this thread.
#[track_caller]
#[inline]
fn spawn_here<T>(spawn: impl FnOnce(&Scheduler) -> JoinHandle<T>) -> JoinHandle<T> {
    match context::with_scheduler(spawn) {
        Ok(handle) => handle,
        Err(error) => panic!("cannot spawn: {error}"),
    }
}

/// Builds a default runtime, runs `future` on the calling thread, and ends the runtime in order: what is left
/// in it is cancelled, and waited for. Python's `asyncio.run`.
///
/// # Examples
/// ```
/// let answer = filch::run(async { filch::spawn(async { 42 }).await });
/// assert_eq!(answer.unwrap(), 42);
/// ```
///
/// # Panics
/// When the runtime cannot be built, with the reason; [`Builder::build`](crate::Builder::build) gives it as an
/// error. When `future` does.
#[track_caller]
pub fn run<F: Future>(future: F) -> F::Output {
    match Runtime::new() {
        Ok(runtime) => runtime.block_on(future),
        Err(error) => panic!("filch::run: {error}"),
    }
}

/// Runs `future` on the calling thread, on the runtime that the thread is in.
///
/// # Panics
/// Outside of a runtime; [`run`] makes one. When `future` does.
#[track_caller]
pub fn block_on<F: Future>(future: F) -> F::Output {
    Handle::current().block_on(future)
}

/// Starts `future` as a task of the runtime that the thread is in. It runs whether or not the handle is
/// awaited, and goes on when the handle is dropped.
///
/// # Panics
/// Outside of a runtime.
#[track_caller]
#[inline]
pub fn spawn<F>(future: F) -> JoinHandle<F::Output>
where
    F: Future + Send + 'static,
    F::Output: Send + 'static,
{
    let location = Location::caller();
    spawn_here(|scheduler| spawn_named(scheduler, future, None, location))
}

/// Runs a call that blocks on a thread of its own, out of a pool of at most 512. Python's
/// `asyncio.to_thread`.
///
/// A job that has not begun is cancelled by [`JoinHandle::abort`]; one that has begun runs to its end. If no
/// thread can be started for it, and there is none, the handle gives an error that says so.
///
/// # Examples
/// ```
/// filch::run(async {
///     let lines = filch::spawn_blocking(|| std::fs::read_to_string("Cargo.toml")).await.unwrap().unwrap();
///     assert!(lines.contains("[package]"));
/// });
/// ```
///
/// # Panics
/// Outside of a runtime.
#[track_caller]
pub fn spawn_blocking<F, R>(job: F) -> JoinHandle<R>
where
    F: FnOnce() -> R + Send + 'static,
    R: Send + 'static,
{
    TaskBuilder::new().spawn_blocking(job)
}

/// Spawns a task with a name, which reports and errors then tell. `task::Builder`.
///
/// # Examples
/// ```
/// filch::run(async {
///     let handle = filch::task::Builder::new().name("counter").spawn(async { 7 });
///     assert_eq!(handle.await.unwrap(), 7);
/// });
/// ```
#[derive(Debug, Default)]
#[must_use = "nothing is spawned before one of the spawn methods is called"]
pub struct TaskBuilder {
    name: Option<Box<str>>,
}

impl TaskBuilder {
    /// A task without a name.
    pub fn new() -> TaskBuilder {
        TaskBuilder::default()
    }

    /// Names the task.
    pub fn name(mut self, name: impl Into<String>) -> TaskBuilder {
        self.name = Some(name.into().into_boxed_str());
        self
    }

    /// As [`spawn`].
    ///
    /// # Panics
    /// Outside of a runtime.
    #[track_caller]
    pub fn spawn<F>(self, future: F) -> JoinHandle<F::Output>
    where
        F: Future + Send + 'static,
        F::Output: Send + 'static,
    {
        self.spawn_on(future, &Handle::current())
    }

    /// As [`Handle::spawn`].
    #[track_caller]
    pub fn spawn_on<F>(self, future: F, handle: &Handle) -> JoinHandle<F::Output>
    where
        F: Future + Send + 'static,
        F::Output: Send + 'static,
    {
        spawn_named(&handle.0, future, self.name, Location::caller())
    }

    /// As [`spawn_local`](crate::spawn_local).
    ///
    /// # Panics
    /// Outside of a `LocalSet`.
    #[track_caller]
    pub fn spawn_local<F>(self, future: F) -> JoinHandle<F::Output>
    where
        F: Future + 'static,
        F::Output: 'static,
    {
        crate::local::spawn_local_named(future, self.name, Location::caller())
    }

    /// As [`spawn_blocking`].
    ///
    /// # Panics
    /// Outside of a runtime.
    #[track_caller]
    pub fn spawn_blocking<F, R>(self, job: F) -> JoinHandle<R>
    where
        F: FnOnce() -> R + Send + 'static,
        R: Send + 'static,
    {
        let location = Location::caller();
        spawn_here(|scheduler| scheduler.spawn_blocking(job, self.name, location))
    }
}

/// Lets other tasks run: the task goes to the end of its queue. `asyncio.sleep(0)`.
///
/// # Cancel safety
/// **Strict.** There is nothing to lose.
pub fn yield_now() -> YieldNow {
    YieldNow { yielded: false }
}

/// See [`yield_now`].
#[derive(Debug)]
#[must_use = "futures do nothing unless polled"]
pub struct YieldNow {
    yielded: bool,
}

impl Future for YieldNow {
    type Output = ();

    #[inline]
    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        if std::mem::replace(&mut self.yielded, true) {
            return Poll::Ready(());
        }
        probe::waiting(Wait::Yield, std::ptr::null(), None);
        cx.waker().wake_by_ref();
        Poll::Pending
    }
}
