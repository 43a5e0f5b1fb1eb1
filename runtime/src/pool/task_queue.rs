//! Layer 3, pool. A queue of background work: handed over and forgotten, tried again when it fails, waited
//! for together.
//!
//! Owns the workers, each a job of a `ThreadPool` that takes tasks from a `Queue` until that is closed and
//! empty, and the accounts. The queue counts what is not done, so that a wait is its `join`. Called by user
//! code.
#![forbid(unsafe_code)]

use std::error::Error;
use std::fmt;
use std::io;
use std::panic::{AssertUnwindSafe, Location, catch_unwind};
use std::time::Duration;

use filch_channels::sync::{Event, Queue};

use super::crew::Unfinished;
use super::thread_pool::ThreadPool;
use crate::shim::Ordering::Relaxed;
use crate::shim::shared::AtomicU64;
use crate::shim::{Arc, Mutex};
use crate::util::wake::{drop_payload, guarded, message};

/// Why a task failed, as it says itself; its text, if it panicked.
type Cause = Box<dyn Error + Send + Sync>;

/// What is told of each failure.
type Hook = Arc<dyn Fn(&TaskFailure) + Send + Sync>;

/// Background work on a few threads: given and forgotten, tried again when it fails, and waited for together.
///
/// Unlike a [`ThreadPool`]'s jobs, tasks have no handles: what they have to say goes to the error hook. No
/// worker is lost to one that fails or panics. Dropping the queue takes nothing more in; what was submitted
/// is still done, and nobody waits for it.
///
/// # Examples
/// ```
/// use std::sync::atomic::{AtomicU32, Ordering::SeqCst};
/// use std::sync::{Arc, Mutex};
/// use std::time::Duration;
///
/// use filch::pool::TaskQueue;
///
/// # fn main() -> std::io::Result<()> {
/// let failures = Arc::new(Mutex::new(Vec::new()));
/// let told = failures.clone();
/// let queue = TaskQueue::builder()
///     .workers(2)
///     .retries(3, Duration::from_millis(1), Duration::from_millis(10))
///     .on_error(move |failure| told.lock().unwrap().push(failure.to_string()))
///     .build()?;
///
/// let tries = Arc::new(AtomicU32::new(0));
/// let count = tries.clone();
/// // Fails twice, and then does not.
/// queue.submit(move || if count.fetch_add(1, SeqCst) < 2 { Err("busy") } else { Ok(()) }).unwrap();
/// queue.wait_blocking();
/// assert_eq!(tries.load(SeqCst), 3);
/// assert!(failures.lock().unwrap()[0].contains("busy"));
/// # Ok(())
/// # }
/// ```
pub struct TaskQueue {
    queue: Arc<Queue<Entry>>,
    pool: ThreadPool,
    shared: Arc<Shared>,
}

struct Entry {
    task: Box<dyn FnMut() -> Result<(), Cause> + Send>,
    location: &'static Location<'static>,
}

struct Shared {
    options: Options,
    /// Ends the pauses before further tries.
    hurry: Event,
    /// Where the task was submitted that each worker has.
    running: Vec<Mutex<Option<&'static Location<'static>>>>,
    done: AtomicU64,
    failed: AtomicU64,
    cancelled: AtomicU64,
}

#[derive(Clone)]
struct Options {
    retries: u32,
    pause: Duration,
    pause_max: Duration,
    on_error: Hook,
}

/// Options of a [`TaskQueue`].
#[derive(Clone)]
pub struct TaskQueueBuilder {
    workers: usize,
    name: String,
    limit: usize,
    options: Options,
}

impl TaskQueueBuilder {
    /// How many threads: one, if not said otherwise.
    #[must_use]
    pub fn workers(mut self, workers: usize) -> TaskQueueBuilder {
        self.workers = workers;
        self
    }

    /// What the threads are called, with a number after it: `tasks`, if not said otherwise.
    #[must_use]
    pub fn name(mut self, name: impl Into<String>) -> TaskQueueBuilder {
        self.name = name.into();
        self
    }

    /// How many tasks may wait for a worker; whoever submits more waits. `0`, as if not said: no limit.
    #[must_use]
    pub fn queue(mut self, tasks: usize) -> TaskQueueBuilder {
        self.limit = tasks;
        self
    }

    /// How often a task that fails is tried again, after a pause that is doubled each time, up to
    /// `pause_max`. Its worker waits with it. A panic is a mistake, and not tried again.
    #[must_use]
    pub fn retries(mut self, retries: u32, pause: Duration, pause_max: Duration) -> TaskQueueBuilder {
        self.options.retries = retries;
        self.options.pause = pause;
        self.options.pause_max = pause_max;
        self
    }

    /// What is called after each try that failed, on the worker. Without it, tasks that are given up are told
    /// on stderr.
    #[must_use]
    pub fn on_error(mut self, hook: impl Fn(&TaskFailure) + Send + Sync + 'static) -> TaskQueueBuilder {
        self.options.on_error = Arc::new(hook);
        self
    }

    /// Starts the workers.
    ///
    /// # Errors
    /// As [`Builder::build`](super::Builder::build).
    pub fn build(self) -> io::Result<TaskQueue> {
        let pool = ThreadPool::builder().threads(self.workers).name(self.name).build()?;
        let shared = Arc::new(Shared {
            options: self.options,
            hurry: Event::new(),
            running: (0..self.workers).map(|_| Mutex::new(None)).collect(),
            done: AtomicU64::new(0),
            failed: AtomicU64::new(0),
            cancelled: AtomicU64::new(0),
        });
        let queue = Arc::new(Queue::new(self.limit));
        for worker in 0..self.workers {
            let (queue, shared) = (queue.clone(), shared.clone());
            drop(pool.submit(move || shared.work(worker, &queue)));
        }
        Ok(TaskQueue { queue, pool, shared })
    }
}

impl Shared {
    fn work(&self, worker: usize, queue: &Queue<Entry>) {
        while let Ok(mut item) = queue.get_item_blocking() {
            *self.running[worker].lock() = Some(item.location);
            self.attempt(&mut item);
            *self.running[worker].lock() = None;
            // The closure goes with it. Its drop is code of others; the item counts as done in any case.
            guarded("dropping a task", || drop(item));
        }
    }

    /// Runs a task until it succeeds or is given up.
    fn attempt(&self, entry: &mut Entry) {
        let (mut tries, mut pause) = (0, self.options.pause);
        loop {
            tries += 1;
            let result = catch_unwind(AssertUnwindSafe(&mut entry.task));
            let (error, panicked) = match result {
                Ok(Ok(())) => {
                    // Relaxed, here and below: counts that take part in no decision.
                    self.done.fetch_add(1, Relaxed);
                    return;
                }
                Ok(Err(error)) => (error, false),
                Err(payload) => {
                    let text = message(&*payload).to_owned();
                    drop_payload(payload);
                    (text.into(), true)
                }
            };
            let again = !panicked && tries <= self.options.retries;
            let retry_in = again.then(|| pause.min(self.options.pause_max));
            let failure = TaskFailure { location: entry.location, tries, error, panicked, retry_in };
            guarded("the error hook of a task queue", || (self.options.on_error)(&failure));
            guarded("dropping the error of a task", || drop(failure));
            let Some(time) = retry_in else {
                self.failed.fetch_add(1, Relaxed);
                return;
            };
            // The queue is about to end: at once, then.
            let _ = self.hurry.wait_timeout(time);
            pause = pause.saturating_mul(2);
        }
    }
}

impl TaskQueue {
    /// A queue with so many workers, without a limit, that tries nothing again.
    ///
    /// # Errors
    /// As [`TaskQueueBuilder::build`].
    pub fn new(workers: usize) -> io::Result<TaskQueue> {
        TaskQueue::builder().workers(workers).build()
    }

    /// Options.
    #[must_use]
    pub fn builder() -> TaskQueueBuilder {
        let on_error = |failure: &TaskFailure| {
            if failure.retry_in.is_none() {
                eprintln!("filch: {failure}");
            }
        };
        let (pause, pause_max) = (Duration::ZERO, Duration::ZERO);
        let options = Options { retries: 0, pause, pause_max, on_error: Arc::new(on_error) };
        TaskQueueBuilder { workers: 1, name: "tasks".to_owned(), limit: 0, options }
    }

    /// Gives a task to the next worker that is free. If the queue is limited and full, the thread waits for
    /// room.
    ///
    /// # Errors
    /// When the queue was shut down; the task is dropped.
    #[track_caller]
    pub fn submit<F, E>(&self, task: F) -> Result<(), TaskQueueClosed>
    where
        F: FnMut() -> Result<(), E> + Send + 'static,
        E: Into<Box<dyn Error + Send + Sync>>,
    {
        let entry = Entry::new(task, Location::caller());
        self.queue.put_blocking(entry).map_err(|_| TaskQueueClosed)
    }

    /// As [`submit`](Self::submit), for tasks of a runtime: waits for room without blocking the thread.
    ///
    /// # Errors
    /// As [`submit`](Self::submit).
    ///
    /// # Cancel safety
    /// **Loses its place in line.** What is not in the queue yet is dropped.
    #[track_caller]
    pub fn submit_async<F, E>(
        &self,
        task: F,
    ) -> impl Future<Output = Result<(), TaskQueueClosed>> + use<'_, F, E>
    where
        F: FnMut() -> Result<(), E> + Send + 'static,
        E: Into<Box<dyn Error + Send + Sync>>,
    {
        let put = self.queue.put(Entry::new(task, Location::caller()));
        async move { put.await.map_err(|_| TaskQueueClosed) }
    }

    /// Waits until all that was submitted is done or given up.
    ///
    /// # Cancel safety
    /// **Strict.**
    #[track_caller]
    pub fn wait(&self) -> impl Future<Output = ()> + '_ {
        self.queue.join()
    }

    /// As [`wait`](Self::wait), for threads.
    pub fn wait_blocking(&self) {
        self.queue.join_blocking();
    }

    /// As [`wait_blocking`](Self::wait_blocking), for at most `timeout`. False: not all is done.
    pub fn wait_timeout(&self, timeout: Duration) -> bool {
        self.queue.join_timeout(timeout).is_ok()
    }

    /// How many tasks are waiting, running, or between two tries.
    pub fn unfinished(&self) -> u64 {
        self.queue.unfinished()
    }

    /// Ends the queue: nothing is taken in any more, what is in it is done (with no more pauses before
    /// further tries), and the workers are waited for. After `within` what has not begun is cancelled, and
    /// tasks that are running are named in the report, and left to themselves. Blocks the thread.
    pub fn shutdown(&self, within: Duration) -> TaskQueueReport {
        self.queue.close();
        self.shared.hurry.set();
        let threads = self.pool.shutdown(within);
        let left = self.queue.close_now();
        self.shared.cancelled.fetch_add(left.len() as u64, Relaxed);
        left.into_iter().for_each(|entry| guarded("dropping a task", || drop(entry)));
        let running = threads.unfinished.into_iter().filter_map(|unfinished| {
            let worker =
                unfinished.thread.rsplit('-').next().and_then(|number| number.parse::<usize>().ok())?;
            let location = (*self.shared.running.get(worker.checked_sub(1)?)?.lock())?;
            Some(Unfinished { location, ..unfinished })
        });
        TaskQueueReport {
            unfinished: running.collect(),
            done: self.shared.done.load(Relaxed),
            failed: self.shared.failed.load(Relaxed),
            cancelled: self.shared.cancelled.load(Relaxed),
        }
    }
}

impl Entry {
    fn new<F, E>(mut task: F, location: &'static Location<'static>) -> Entry
    where
        F: FnMut() -> Result<(), E> + Send + 'static,
        E: Into<Cause>,
    {
        Entry { task: Box::new(move || task().map_err(Into::into)), location }
    }
}

impl Drop for TaskQueue {
    fn drop(&mut self) {
        self.queue.close();
    }
}

impl fmt::Debug for TaskQueue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TaskQueue").field("pool", &self.pool).field("unfinished", &self.unfinished()).finish()
    }
}

impl fmt::Debug for TaskQueueBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TaskQueueBuilder")
            .field("workers", &self.workers)
            .field("name", &self.name)
            .field("queue", &self.limit)
            .field("retries", &self.options.retries)
            .finish_non_exhaustive()
    }
}

/// A try of a task that failed.
#[derive(Debug)]
#[non_exhaustive]
pub struct TaskFailure {
    /// Where the task was submitted.
    pub location: &'static Location<'static>,
    /// How often it has been tried.
    pub tries: u32,
    /// What it gave; the text of a panic.
    pub error: Box<dyn Error + Send + Sync>,
    /// Whether it panicked.
    pub panicked: bool,
    /// After which pause it is tried again; `None`: it is given up.
    pub retry_in: Option<Duration>,
}

impl fmt::Display for TaskFailure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let verb = if self.panicked { "panicked" } else { "failed" };
        write!(f, "the task submitted at {} {verb}: {}", self.location, self.error)?;
        match self.retry_in {
            Some(pause) => write!(f, "; try {} follows in {pause:?}", self.tries + 1),
            None if self.tries > 1 => write!(f, "; given up after {} tries", self.tries),
            None => Ok(()),
        }
    }
}

/// What became of the tasks of a [`TaskQueue`].
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct TaskQueueReport {
    /// How many succeeded, since the queue was made.
    pub done: u64,
    /// How many were given up.
    pub failed: u64,
    /// How many were not begun.
    pub cancelled: u64,
    /// Those that were running when the time was over, and still are.
    pub unfinished: Vec<Unfinished>,
}

/// The queue was shut down, and takes no more tasks.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct TaskQueueClosed;

impl fmt::Display for TaskQueueClosed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the task queue has been shut down, and takes no more tasks")
    }
}

impl Error for TaskQueueClosed {}
