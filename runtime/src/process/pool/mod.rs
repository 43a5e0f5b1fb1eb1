//! Layer 3, process. Functions that run in other processes: `Pool`, and what belongs to it (feature
//! `process-pool`).
//!
//! Owns the public face. `job` is the table of functions, `worker` the child's side, `frame` what passes
//! between. In the parent `shared` has the queue, `crew` a task for each process, `link` the process, `call`
//! the handles. `connection`, `queue` and `remote` carry values between processes that have no such pool. Called by
//! user code.
#![deny(unsafe_code)] // Not `forbid`: that would reach `inherit`.

mod call;
mod connection;
mod crew;
mod error;
mod frame;
mod inherit;
mod job;
mod link;
mod queue;
mod remote;
mod shared;
mod worker;

use std::fmt;
use std::io;
use std::path::PathBuf;
use std::time::Duration;

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::Handle;
use crate::context;
use crate::shim::Arc;
use shared::Shared;

pub use call::{Apply, Call, Map, Outputs, Unordered};
pub use connection::{Connection, pipe};
pub use error::JobError;
pub use job::{AnyJob, Job};
pub use queue::{Queue, QueueError};
pub use remote::RemoteQueue;
pub use worker::init;

/// How many processes a pool may have.
const WORKERS_MAX: usize = 1024;

#[derive(Debug)]
struct Settings {
    workers: usize,
    frame_limit: usize,
    start_timeout: Duration,
    tasks_per_process: Option<u32>,
    program: PathBuf,
}

/// Processes of this program that run its functions: `multiprocessing.Pool`, with crashes contained and kills
/// that kill.
///
/// A [`Job`] that runs on a thread cannot be stopped from outside, and takes the program with it when it
/// crashes. One that runs here can, and does not:
///
/// * a job that takes too long, or whose future is dropped, is **killed** (`SIGKILL`), with all that it has
///   started;
/// * a job that crashes has the error [`JobError::Crashed`], and no other job suffers;
/// * a job that panics has the error [`JobError::Panicked`], and its process goes on.
///
/// The price: arguments and outputs are copied (as [postcard](https://docs.rs/postcard) writes them), and
/// memory is not shared. For work that is merely long, threads do
/// ([`spawn_blocking`](crate::spawn_blocking)).
///
/// The program's `main` begins with [`init`], where a worker process begins its work, too. Processes are
/// started when there are jobs for them, as this program itself without arguments, with an empty standard
/// input; what they print goes where ours does. Each has a process group of its own. When the pool's process
/// ends, by whatever, they end, too.
///
/// A pool belongs to the runtime it was made on, whose tasks look after its processes. Jobs can be sent off
/// from any thread ([`Apply::start`]), and waited for there ([`Call::join`]).
///
/// Dropping the pool kills what is under way; [`shutdown`](Self::shutdown) waits.
///
/// # Examples
/// ```standalone_crate
/// use std::time::Duration;
///
/// use filch::process::{self, Job, JobError, Pool};
///
/// static SQUARE: Job<u64, u64> = Job::new("square", |n| n * n);
/// static POWER: Job<(u64, u32), u64> = Job::new("power", |(base, exponent)| base.pow(exponent));
/// static ABORT: Job<(), ()> = Job::new("abort", |()| std::process::abort());
/// static STUCK: Job<(), ()> = Job::new("stuck", |()| loop {
///     std::thread::park();
/// });
///
/// fn main() {
///     process::init(&[&SQUARE, &POWER, &ABORT, &STUCK]);
///     filch::run(async {
///         let pool = Pool::new(2).expect("a pool");
///         let squares: Result<Vec<u64>, JobError> = pool.map(&SQUARE, 0..10).await.into_iter().collect();
///         assert_eq!(squares.unwrap(), [0, 1, 4, 9, 16, 25, 36, 49, 64, 81]);
///         let powers = pool.starmap(&POWER, [(2, 10), (3, 3)]).await;
///         assert_eq!(powers, [Ok(1024), Ok(27)]);
///
///         let crashed = pool.apply(&ABORT, ()).await;
///         assert_eq!(crashed, Err(JobError::Crashed { signal: Some(6), code: None }));
///         let limit = Duration::from_millis(20);
///         let late = pool.apply(&STUCK, ()).timeout(limit).await;
///         assert_eq!(late, Err(JobError::TimedOut { limit }));
///
///         let report = pool.shutdown(Duration::from_secs(10)).await;
///         assert!(report.killed.is_empty());
///     });
/// }
/// ```
pub struct Pool {
    shared: Arc<Shared>,
}

impl Pool {
    /// A pool of at most so many processes; `0`: as many as there are processors. None is started yet.
    ///
    /// # Errors
    /// As [`PoolBuilder::build`].
    pub fn new(workers: usize) -> io::Result<Pool> {
        Pool::builder().workers(workers).build()
    }

    /// A pool with other settings.
    #[must_use]
    pub fn builder() -> PoolBuilder {
        PoolBuilder::default()
    }

    /// Calls `job` with `argument` in one of the processes: await it, or [`start`](Apply::start) or
    /// [`join`](Apply::join) it.
    ///
    /// # Errors
    /// [`JobError`] says what has become of the job.
    ///
    /// # Cancel safety
    /// Dropping the future ends the job; see [`Call`].
    pub fn apply<A, R>(&self, job: &'static Job<A, R>, argument: A) -> Apply<'_, A, R>
    where
        A: Serialize + DeserializeOwned + 'static,
        R: Serialize + DeserializeOwned + 'static,
    {
        Apply { shared: &self.shared, job, argument, timeout: None }
    }

    /// Calls `job` with each of the arguments. The outputs come in their order, each with its own error:
    /// await it, or have them [as they come](Map::unordered).
    ///
    /// # Cancel safety
    /// Dropping the future ends the jobs; see [`Outputs`].
    pub fn map<A, R, I>(&self, job: &'static Job<A, R>, arguments: I) -> Map<'_, A, R, I::IntoIter>
    where
        A: Serialize + DeserializeOwned + 'static,
        R: Serialize + DeserializeOwned + 'static,
        I: IntoIterator<Item = A>,
    {
        Map { shared: &self.shared, job, arguments: arguments.into_iter(), timeout: None, chunk: 1 }
    }

    /// [`map`](Self::map) for a job of several arguments, which come as tuples.
    pub fn starmap<A, R, I>(&self, job: &'static Job<A, R>, arguments: I) -> Map<'_, A, R, I::IntoIter>
    where
        A: Serialize + DeserializeOwned + 'static,
        R: Serialize + DeserializeOwned + 'static,
        I: IntoIterator<Item = A>,
    {
        self.map(job, arguments)
    }

    /// What the pool does just now, and what it has done.
    #[must_use]
    pub fn stats(&self) -> PoolStats {
        self.shared.stats()
    }

    /// Takes no more jobs, and waits until those that there are have been done, but no longer than
    /// `deadline`. Then it kills the rest. When this returns no process is left.
    ///
    /// # Cancel safety
    /// **Not cancel safe:** dropping it drops the pool, which kills what is under way.
    pub async fn shutdown(self, deadline: Duration) -> PoolReport {
        self.shared.close();
        let mut left = (Vec::new(), 0);
        if crate::time::timeout(deadline, self.shared.empty.wait()).await.is_err() {
            left = self.shared.halt();
            self.shared.empty.wait().await;
        }
        self.shared.report(left)
    }

    /// [`shutdown`](Self::shutdown) on a thread, which blocks. Not for tasks.
    pub fn shutdown_blocking(self, deadline: Duration) -> PoolReport {
        self.shared.close();
        let mut left = (Vec::new(), 0);
        if !self.shared.empty.wait_timeout(deadline) {
            left = self.shared.halt();
            self.shared.empty.wait_blocking();
        }
        self.shared.report(left)
    }
}

impl Drop for Pool {
    fn drop(&mut self) {
        self.shared.close();
        self.shared.halt();
    }
}

impl fmt::Debug for Pool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pool").field("stats", &self.stats()).finish_non_exhaustive()
    }
}

/// How a [`Pool`] is to be.
#[derive(Clone, Debug)]
pub struct PoolBuilder {
    workers: usize,
    frame_limit: usize,
    start_timeout: Duration,
    tasks_per_process: Option<u32>,
}

impl Default for PoolBuilder {
    fn default() -> PoolBuilder {
        let start_timeout = Duration::from_secs(10);
        PoolBuilder { workers: 0, frame_limit: frame::LIMIT, start_timeout, tasks_per_process: None }
    }
}

impl PoolBuilder {
    /// At most so many processes; `0`, the default: as many as there are processors.
    #[must_use]
    pub fn workers(mut self, workers: usize) -> PoolBuilder {
        self.workers = workers;
        self
    }

    /// How many bytes an argument, or an output, may take: 64 MiB if not said otherwise, from 4 KiB to 2 GiB.
    #[must_use]
    pub fn frame_limit(mut self, bytes: usize) -> PoolBuilder {
        self.frame_limit = bytes;
        self
    }

    /// How long a process may take to start, and to announce itself by calling [`init`]: 10 s if not said
    /// otherwise.
    #[must_use]
    pub fn start_timeout(mut self, limit: Duration) -> PoolBuilder {
        self.start_timeout = limit;
        self
    }

    /// After so many jobs a process exits, and another takes its place: for functions that leak. No limit if
    /// not said otherwise.
    #[must_use]
    pub fn max_tasks_per_process(mut self, jobs: u32) -> PoolBuilder {
        self.tasks_per_process = Some(jobs);
        self
    }

    /// The pool. No process is started yet.
    ///
    /// # Errors
    /// When `main` has not called [`init`]; outside of a runtime; when a number makes no sense; when this
    /// program cannot be found to be started again.
    pub fn build(self) -> io::Result<Pool> {
        let invalid = |text: String| Err(io::Error::new(io::ErrorKind::InvalidInput, text));
        if job::table().is_none() {
            return Err(io::Error::other(
                "a process pool starts this program again, and main has not said what it is to do then: call \
                 filch::process::init(&[...]) first thing in main",
            ));
        }
        context::reactor()?;
        let workers = match self.workers {
            0 => std::thread::available_parallelism().map_or(1, usize::from).min(WORKERS_MAX),
            workers if workers <= WORKERS_MAX => workers,
            workers => return invalid(format!("a pool has at most {WORKERS_MAX} processes, not {workers}")),
        };
        let (least, most) = (frame::LIMIT_LEAST, frame::LIMIT_MOST);
        if !(least..=most).contains(&self.frame_limit) {
            let given = self.frame_limit;
            return invalid(format!("the limit of a frame is from {least} to {most} bytes, not {given}"));
        }
        if self.tasks_per_process == Some(0) {
            return invalid("a process that may do 0 jobs is of no use; say at least 1".to_owned());
        }
        let settings = Settings {
            workers,
            frame_limit: self.frame_limit,
            start_timeout: self.start_timeout,
            tasks_per_process: self.tasks_per_process,
            program: link::program()?,
        };
        Ok(Pool { shared: Arc::new(Shared::new(settings, Handle::current())) })
    }
}

/// What a [`Pool`] does just now, and what it has done.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct PoolStats {
    /// Jobs that wait for a process.
    pub queued: usize,
    /// Jobs that were handed to one.
    pub running: usize,
    /// Processes that there are.
    pub processes: usize,
    /// Processes that were started, since the pool was made.
    pub started: u64,
    /// Jobs that were done, well or with a panic.
    pub answered: u64,
    /// Jobs whose process ended in them.
    pub crashed: u64,
    /// Jobs that were killed: too late, not wanted any more, or with a process that talked nonsense.
    pub killed: u64,
}

/// How a [`Pool`] has ended.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct PoolReport {
    /// Jobs that were done, in its whole life, well or with a panic.
    pub answered: u64,
    /// Jobs whose process ended in them.
    pub crashed: u64,
    /// The names of jobs that ran when the deadline came, and were killed.
    pub killed: Vec<&'static str>,
    /// How many jobs had not begun then.
    pub dropped: usize,
}
