//! Layer 3, pool. `ThreadPool` and its options: how jobs get in, and the end.
//!
//! Owns the sending end of the queue. Called by user code, and by `map` and `fork`.
#![forbid(unsafe_code)]

use std::fmt;
use std::io;
use std::panic::Location;
use std::time::Duration;

use filch_channels::channel::error::{SendTimeoutError, TrySendError};
use filch_channels::channel::{self, Sender};

use super::crew::{Crew, PoolReport};
use super::job::{Job, Run, Work};
use crate::shim::Arc;

/// So many threads at most: more is a mistake in a computation of their number.
const THREADS_MAX: usize = 1 << 15;

/// Threads that run jobs, first come, first served. See the [module](super).
///
/// Cloned freely: all clones are the same pool. When the last one is dropped, what was submitted is still
/// done, and nobody waits for it; to wait, use [`shutdown`](Self::shutdown).
#[derive(Clone)]
pub struct ThreadPool(pub(super) Arc<Inner>);

pub(super) struct Inner {
    pub(super) queue: Sender<Arc<dyn Run>>,
    pub(super) crew: Arc<Crew>,
}

/// Options of a [`ThreadPool`].
///
/// # Examples
/// ```
/// # fn main() -> std::io::Result<()> {
/// let pool = filch::pool::Builder::new().threads(2).name("thumbs").queue(16).build()?;
/// let name = pool.submit(|| std::thread::current().name().map(str::to_owned)).join().unwrap();
/// assert!(name.unwrap().starts_with("thumbs-"));
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug, Default)]
pub struct Builder {
    threads: Option<usize>,
    name: Option<String>,
    queue: Option<usize>,
}

impl Builder {
    /// As many threads as there are processors, named `pool-1` and so on, and a queue without a limit.
    #[must_use]
    pub fn new() -> Builder {
        Builder::default()
    }

    /// How many threads.
    #[must_use]
    pub fn threads(mut self, threads: usize) -> Builder {
        self.threads = Some(threads);
        self
    }

    /// What the threads are called, with a number after it, and what errors call the pool.
    #[must_use]
    pub fn name(mut self, name: impl Into<String>) -> Builder {
        self.name = Some(name.into());
        self
    }

    /// How many jobs may wait for a thread. Whoever submits more has to wait, or is told so.
    #[must_use]
    pub fn queue(mut self, jobs: usize) -> Builder {
        self.queue = Some(jobs);
        self
    }

    /// Starts the threads.
    ///
    /// # Errors
    /// When the number of threads is zero or over 32,768, the queue has no room, or the name a NUL byte; and
    /// when the system starts no more threads. Those that were started end again.
    pub fn build(self) -> io::Result<ThreadPool> {
        let invalid = |text: String| Err(io::Error::new(io::ErrorKind::InvalidInput, text));
        let threads = match self.threads {
            Some(threads) => threads,
            None => std::thread::available_parallelism().map_or(1, usize::from),
        };
        if threads == 0 || threads > THREADS_MAX {
            return invalid(format!("a pool has 1 to {THREADS_MAX} threads, not {threads}"));
        }
        if self.queue == Some(0) {
            return invalid(
                "a pool's queue needs room for a job at least; without `queue` it has no limit".into(),
            );
        }
        let name = self.name.unwrap_or_else(|| "pool".to_owned());
        if name.contains('\0') {
            return invalid(format!(
                "the name of a pool, {name:?}, has a NUL byte, which a thread's may not"
            ));
        }
        let (queue, jobs) = match self.queue {
            Some(jobs) => channel::bounded(jobs),
            None => channel::unbounded(),
        };
        let crew = Crew::start(name, threads, jobs)?;
        Ok(ThreadPool(Arc::new(Inner { queue, crew })))
    }
}

impl ThreadPool {
    /// A pool of so many threads, with a queue without a limit; [`builder`](Self::builder) has more options.
    ///
    /// # Errors
    /// As [`Builder::build`].
    pub fn new(threads: usize) -> io::Result<ThreadPool> {
        Builder::new().threads(threads).build()
    }

    /// Options, for all other pools.
    #[must_use]
    pub fn builder() -> Builder {
        Builder::new()
    }

    /// How many threads it has.
    pub fn threads(&self) -> usize {
        self.0.crew.threads()
    }

    /// How many jobs wait for a thread.
    pub fn queued(&self) -> usize {
        self.0.queue.len()
    }

    /// Gives `job` to the next thread that is free.
    ///
    /// If the queue is limited and full, the calling thread waits for room; a task uses
    /// [`submit_async`](Self::submit_async), and a job of this same pool should not wait, as all its threads
    /// may. After the pool was shut down the job is not run, and its handle says so.
    #[track_caller]
    pub fn submit<F, T>(&self, job: F) -> Job<T>
    where
        F: FnOnce() -> T + Send + 'static,
        T: Send + 'static,
    {
        let work = Work::new(job, Location::caller());
        match self.0.queue.try_send(work.clone()) {
            Ok(()) => {}
            Err(TrySendError::Full(run)) => {
                if let Err(closed) = self.0.queue.send_blocking(run) {
                    closed.0.refuse();
                }
            }
            Err(TrySendError::Closed(run)) => {
                run.refuse();
            }
        }
        Job::new(work)
    }

    /// As [`submit`](Self::submit), for tasks: waits for room in the queue without blocking the thread.
    ///
    /// # Cancel safety
    /// **Loses its place in line.** A job that is not in the queue yet is dropped.
    #[track_caller]
    #[allow(clippy::async_yields_async, reason = "first the room, then the output")]
    pub fn submit_async<F, T>(&self, job: F) -> impl Future<Output = Job<T>> + use<'_, F, T>
    where
        F: FnOnce() -> T + Send + 'static,
        T: Send + 'static,
    {
        let work = Work::new(job, Location::caller());
        async move {
            if let Err(closed) = self.0.queue.send(work.clone()).await {
                closed.0.refuse();
            }
            Job::new(work)
        }
    }

    /// As [`submit`](Self::submit), if there is room in the queue.
    ///
    /// # Errors
    /// The job itself, when there is none, and after the pool was shut down.
    #[track_caller]
    pub fn try_submit<F, T>(&self, job: F) -> Result<Job<T>, F>
    where
        F: FnOnce() -> T + Send + 'static,
        T: Send + 'static,
    {
        let work = Work::new(job, Location::caller());
        match self.0.queue.try_send(work.clone()) {
            Ok(()) => Ok(Job::new(work)),
            Err(_) => Err(work.take_back()),
        }
    }

    /// As [`submit`](Self::submit), and waits for room no longer than `timeout`. Blocks the thread.
    ///
    /// # Errors
    /// The job itself, when there was none in time, and after the pool was shut down.
    #[track_caller]
    pub fn submit_timeout<F, T>(&self, job: F, timeout: Duration) -> Result<Job<T>, F>
    where
        F: FnOnce() -> T + Send + 'static,
        T: Send + 'static,
    {
        let work = Work::new(job, Location::caller());
        match self.0.queue.send_timeout(work.clone(), timeout) {
            Ok(()) => Ok(Job::new(work)),
            Err(SendTimeoutError::Timeout(_) | SendTimeoutError::Closed(_)) => Err(work.take_back()),
        }
    }

    /// Ends the pool: nothing is taken in any more, what is in the queue is done, and the threads are waited
    /// for. After `within` what is still in the queue is cancelled, and jobs that are running are named in
    /// the report, and left to themselves. Blocks the thread; a task gives it to
    /// [`spawn_blocking`](crate::spawn_blocking). A second call waits for the same end.
    ///
    /// # Examples
    /// ```
    /// use std::time::Duration;
    ///
    /// # fn main() -> std::io::Result<()> {
    /// let pool = filch::pool::ThreadPool::new(1)?;
    /// let (stop, stopped) = std::sync::mpsc::channel::<()>();
    /// let stuck = pool.submit(move || stopped.recv());
    /// let queued = pool.submit(|| 1);
    ///
    /// let report = pool.shutdown(Duration::from_millis(10));
    /// assert_eq!((report.cancelled, report.unfinished.len()), (1, 1));
    /// assert!(queued.join().unwrap_err().is_cancelled());
    /// println!("{}", report.unfinished[0]);
    /// # drop(stop);
    /// # drop(stuck.join());
    /// # Ok(())
    /// # }
    /// ```
    pub fn shutdown(&self, within: Duration) -> PoolReport {
        self.0.queue.close();
        self.0.crew.end(within)
    }

    /// Whether it was shut down.
    pub fn is_shut_down(&self) -> bool {
        self.0.queue.is_closed()
    }
}

impl fmt::Debug for ThreadPool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ThreadPool")
            .field("name", &self.0.crew.name())
            .field("threads", &self.threads())
            .field("queued", &self.queued())
            .finish()
    }
}
