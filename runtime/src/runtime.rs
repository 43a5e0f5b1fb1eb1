//! Layer 4. A runtime and the ways to it: `Runtime`, `Handle`, and the guard of a thread that has entered one.
//!
//! Owns the end of a runtime, and how long a drop waits for it. How it is built is in `builder`, the functions
//! that use the runtime of the thread are in `spawn`; everything else it hands to `scheduler`.
#![forbid(unsafe_code)]

use std::future::Future;
use std::io;
use std::panic::Location;
use std::time::Duration;

use crate::builder::Builder;
use crate::context::{self, EnterGuard};
use crate::local;
use crate::scheduler::guest;
use crate::scheduler::metrics::Metrics;
use crate::scheduler::shared::Scheduler;
use crate::scheduler::shutdown::{self, ShutdownReport};
use crate::shim::Arc;
use crate::spawn::spawn_named;
use crate::task::JoinHandle;
use crate::task_info::TaskInfo;

/// How long a runtime that is dropped waits for what is left in it.
pub(crate) const DROP_WITHIN: Duration = Duration::from_secs(1);

/// A runtime: workers, timers, reactor and blocking pool.
///
/// Dropping it is [`shutdown`](Self::shutdown) within a second; what did not end in time is printed. Dropped
/// inside itself, it is shut down in the background.
#[derive(Debug)]
pub struct Runtime {
    pub(crate) handle: Handle,
    pub(crate) ended: bool,
}

/// A way to a runtime from anywhere: to spawn, to look, to block. Cloned freely; does not keep the runtime
/// running.
#[derive(Clone, Debug)]
pub struct Handle(pub(crate) Arc<Scheduler>);

impl Runtime {
    /// A runtime with [`Builder::new`]'s options.
    ///
    /// # Errors
    /// As [`Builder::build`].
    pub fn new() -> io::Result<Runtime> {
        Builder::new().build()
    }

    /// Runs `future` to its end on the calling thread, which runs tasks that the future woke or spawned while it
    /// waits.
    ///
    /// The future may borrow and need not be `Send`: it stays on this thread. Other threads can take what it spawns. If
    /// a task that runs here blocks the thread, `future` waits for that task; after that, no task runs here any more.
    /// Inside a task of this runtime the call is legal: another thread takes over the worker's queue first, and where
    /// none can be had, the queue is worked on here.
    ///
    /// # Panics
    /// When `future` does.
    #[track_caller]
    pub fn block_on<F: Future>(&self, future: F) -> F::Output {
        self.handle.block_on(future)
    }

    /// Starts `future` as a task.
    #[track_caller]
    pub fn spawn<F>(&self, future: F) -> JoinHandle<F::Output>
    where
        F: Future + Send + 'static,
        F::Output: Send + 'static,
    {
        self.handle.spawn(future)
    }

    /// Runs a blocking call on the blocking pool; see [`spawn_blocking`](crate::spawn_blocking).
    #[track_caller]
    pub fn spawn_blocking<F, R>(&self, job: F) -> JoinHandle<R>
    where
        F: FnOnce() -> R + Send + 'static,
        R: Send + 'static,
    {
        self.handle.spawn_blocking(job)
    }

    /// A handle to this runtime.
    pub fn handle(&self) -> &Handle {
        &self.handle
    }

    /// What the runtime counted so far.
    pub fn metrics(&self) -> Metrics {
        self.handle.metrics()
    }

    /// Ends the runtime: no task is taken in any more, those that live are cancelled at their next turn, and
    /// threads are waited for, for at most `within`. The report says what finished, what was cancelled, and
    /// what did not come back.
    pub fn shutdown(mut self, within: Duration) -> ShutdownReport {
        self.ended = true;
        shutdown::shutdown(&self.handle.0, within)
    }
}

impl Drop for Runtime {
    fn drop(&mut self) {
        if !self.ended {
            shutdown::shutdown_on_drop(self.handle.0.clone(), DROP_WITHIN);
        }
    }
}

impl Handle {
    /// The runtime of this thread.
    ///
    /// # Panics
    /// Outside of a runtime; see [`try_current`](Self::try_current).
    #[track_caller]
    pub fn current() -> Handle {
        match context::scheduler() {
            Ok(scheduler) => Handle(scheduler),
            Err(error) => panic!("{error}"),
        }
    }

    /// The runtime of this thread, if it is in one.
    pub fn try_current() -> Option<Handle> {
        context::scheduler().ok().map(Handle)
    }

    /// Makes this runtime the calling thread's, for `spawn`, timers and sockets, until the guard is dropped.
    pub fn enter(&self) -> EnterGuard {
        context::enter(self.0.clone())
    }

    /// As [`Runtime::block_on`].
    ///
    /// # Panics
    /// When `future` does.
    #[track_caller]
    pub fn block_on<F: Future>(&self, future: F) -> F::Output {
        let location = Location::caller();
        if self.0.is_single_threaded() {
            return guest::block_on(&self.0, local::run_root(future), location);
        }
        guest::block_on(&self.0, future, location)
    }

    /// As [`Runtime::spawn`], from any thread. After the runtime has shut down, the task is cancelled at
    /// once: its handle says so.
    #[track_caller]
    pub fn spawn<F>(&self, future: F) -> JoinHandle<F::Output>
    where
        F: Future + Send + 'static,
        F::Output: Send + 'static,
    {
        spawn_named(&self.0, future, None, Location::caller())
    }

    /// As [`spawn_blocking`](crate::spawn_blocking), from any thread.
    #[track_caller]
    pub fn spawn_blocking<F, R>(&self, job: F) -> JoinHandle<R>
    where
        F: FnOnce() -> R + Send + 'static,
        R: Send + 'static,
    {
        self.0.spawn_blocking(job, None, Location::caller())
    }

    /// What the runtime counted so far.
    pub fn metrics(&self) -> Metrics {
        self.0.metrics()
    }

    /// All tasks that are not done, without polling any: it works while workers are stuck. A report, not a
    /// moment: tasks go on while it is made.
    pub fn tasks(&self) -> Vec<TaskInfo> {
        let mut tasks: Vec<TaskInfo> =
            self.0.tasks().iter().filter(|task| !task.state.is_done()).map(TaskInfo::new).collect();
        tasks.sort_by_key(|task| task.id);
        tasks
    }
}
