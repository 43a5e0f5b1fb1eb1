//! Layer 3, pool. One job of a `WorkerPool`: a closure or a future, on its way in, waiting, and at work.
//!
//! Owns what the pool knows of it: its rank and name, its heartbeat, and the context through which it hears that
//! it should stop. `Work`, of `ThreadPool`, has its output. A future is dropped where it waits when its context
//! is cancelled, and when its worker is dropped in the middle, as at the end of the runtime; either way its
//! handle hears of it. Called by `WorkerPool`, and by `crew`, which runs jobs.
#![forbid(unsafe_code)]

use std::any::Any;
use std::error::Error;
use std::fmt;
use std::future::{Future, poll_fn};
use std::panic::{AssertUnwindSafe, Location, catch_unwind};
use std::pin::{Pin, pin};
use std::task::{Poll, Waker};
use std::time::Duration;

use super::super::job::{CancelOutcome, Claim, Job, JobError, Ran, Run, Work};
use super::WorkerPool;
use crate::cancel::CancelToken;
use crate::shim::Arc;
use crate::shim::Ordering::Relaxed;
use crate::shim::shared::AtomicU64;
use crate::util::wake::guarded;

/// Which jobs of a [`WorkerPool`] are begun first.
///
/// Those of the same rank are begun in the order in which they were submitted. No job is overtaken for ever; see
/// [`WorkerPoolBuilder::ageing`](super::WorkerPoolBuilder::ageing).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default)]
pub enum Priority {
    /// After all others.
    Low,
    /// What is not said otherwise.
    #[default]
    Normal,
    /// Before all others.
    High,
}

/// What a job of a [`WorkerPool`] is told, and what it tells: that it should stop, and that it lives.
///
/// Cloned freely: all clones belong to the same job.
#[derive(Clone)]
pub struct JobContext(Arc<Life>);

struct Life {
    token: CancelToken,
    /// Signs of life. Only whether there are new ones is of interest.
    beats: AtomicU64,
}

impl JobContext {
    pub(super) fn new() -> JobContext {
        JobContext(Arc::new(Life { token: CancelToken::new(), beats: AtomicU64::new(0) }))
    }

    /// Says that the job lives and gets on. One that does not for as long as its heartbeat says counts as hung;
    /// see [`WorkerPoolBuilder::heartbeat`](super::WorkerPoolBuilder::heartbeat). Costs a few nanoseconds.
    pub fn beat(&self) {
        // Ordering: Relaxed: the supervisor only compares it with what it saw before.
        self.0.beats.fetch_add(1, Relaxed);
    }

    /// Whether the job should stop: it counts as hung, or the deadline of a shutdown is over.
    pub fn is_cancelled(&self) -> bool {
        self.0.token.is_cancelled()
    }

    /// What is cancelled when the job should stop, with the reason: to wait for, or to pass on.
    pub fn token(&self) -> &CancelToken {
        &self.0.token
    }

    pub(super) fn beats(&self) -> u64 {
        self.0.beats.load(Relaxed)
    }

    pub(super) fn stop(&self, why: String) {
        // Wakers of others are called by it.
        guarded("a waker", || {
            let _ = self.0.token.cancel(why);
        });
    }
}

impl fmt::Debug for JobContext {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("JobContext").field("cancelled", &self.is_cancelled()).finish()
    }
}

/// What the pool knows of a job besides what it does.
pub(super) struct Ticket {
    pub(super) priority: Priority,
    pub(super) name: Option<Arc<str>>,
    pub(super) location: &'static Location<'static>,
    /// `None`: it cannot hang.
    pub(super) heartbeat: Option<Duration>,
    pub(super) context: JobContext,
}

/// A job in the queue.
pub(super) struct Entry<J: ?Sized> {
    pub(super) ticket: Ticket,
    pub(super) job: Arc<J>,
}

/// A future, for the queue and for who runs it.
pub(super) trait Task: Send + Sync {
    /// What runs it, unless it was cancelled. `pool` is for errors.
    fn begin(self: Arc<Self>, pool: Arc<str>) -> Option<Pin<Box<dyn Future<Output = Ran> + Send>>>;
    /// Ends it unrun, since the pool is shut down. True: it had not begun.
    fn refuse(&self) -> bool;
}

struct Awaited<F, T> {
    work: Work<F, T>,
    context: JobContext,
}

impl<F, T> Task for Awaited<F, T>
where
    F: Future<Output = T> + Send + 'static,
    T: Send + 'static,
{
    fn begin(self: Arc<Self>, pool: Arc<str>) -> Option<Pin<Box<dyn Future<Output = Ran> + Send>>> {
        let future = self.work.claim()?;
        Some(Box::pin(run(Begun { task: self, future: Some(Box::pin(future)) }, pool)))
    }

    fn refuse(&self) -> bool {
        self.work.refused()
    }
}

impl<F: Send, T: Send> Claim<T> for Awaited<F, T> {
    fn poll_take(&self, waker: &Waker) -> Poll<Result<T, JobError>> {
        self.work.poll_take(waker)
    }

    fn cancel(&self) -> CancelOutcome {
        match self.work.cancel() {
            CancelOutcome::Running => {
                self.context.stop("its handle cancelled it".to_owned());
                CancelOutcome::Requested
            }
            outcome => outcome,
        }
    }

    fn is_done(&self) -> bool {
        self.work.is_done()
    }

    fn on_done(&self, callback: Box<dyn FnOnce(&Result<T, JobError>) + Send>) {
        self.work.on_done(callback);
    }

    fn detach(&self) {
        self.work.detach();
    }
}

/// A future that has begun. Whoever drops it in the middle ends it.
struct Begun<F: Send, T: Send> {
    task: Arc<Awaited<F, T>>,
    future: Option<Pin<Box<F>>>,
}

impl<F: Send, T: Send> Begun<F, T> {
    /// First what the future has is given back, then its handle hears of it.
    fn end(&mut self, result: Result<T, JobError>) {
        let future = self.future.take();
        guarded("dropping a job", || drop(future));
        self.task.work.finish(result);
    }
}

impl<F: Send, T: Send> Drop for Begun<F, T> {
    fn drop(&mut self) {
        if self.future.is_some() {
            let why = "the runtime that its worker belonged to has ended".to_owned();
            self.end(Err(JobError::stopped(self.task.work.place(), why)));
        }
    }
}

enum End<T> {
    Output(T),
    Panic(Box<dyn Any + Send>),
    Stop(String),
}

async fn run<F, T>(mut begun: Begun<F, T>, pool: Arc<str>) -> Ran
where
    F: Future<Output = T> + Send,
    T: Send,
{
    let context = begun.task.context.clone();
    let mut stop = pin!(context.token().cancelled());
    let end = poll_fn(|cx| {
        // That it is polled is a sign of life.
        context.beat();
        if let Some(future) = &mut begun.future {
            match catch_unwind(AssertUnwindSafe(|| future.as_mut().poll(cx))) {
                Ok(Poll::Pending) => {}
                Ok(Poll::Ready(output)) => return Poll::Ready(End::Output(output)),
                Err(payload) => return Poll::Ready(End::Panic(payload)),
            }
        }
        stop.as_mut().poll(cx).map(|reason| End::Stop(reason.text().to_owned()))
    })
    .await;
    let work = &begun.task.work;
    let (result, ran) = match end {
        End::Output(output) => (Ok(output), Ran::Ended),
        End::Panic(payload) => (Err(work.panicked(&pool, payload)), Ran::Panicked),
        End::Stop(why) => (Err(JobError::stopped(work.place(), why)), Ran::Stopped),
    };
    begun.end(result);
    ran
}

/// A job on its way into a [`WorkerPool`]: [`WorkerPool::call`] and [`WorkerPool::spawn`] make it, and one of its
/// four `submit`s hands it over.
///
/// When the queue has no room, [`submit`](Self::submit) waits as a task does,
/// [`submit_blocking`](Self::submit_blocking) as a thread does, and the other two say so. Dropping it drops the job.
#[must_use = "nothing is submitted before one of the four `submit`s is called"]
pub struct Submission<'a, T> {
    pool: &'a WorkerPool,
    what: What,
    ticket: Ticket,
    handle: Job<T>,
}

enum What {
    Call(Arc<dyn Run>),
    Task(Arc<dyn Task>),
}

impl<'a, T: Send + 'static> Submission<'a, T> {
    pub(super) fn call<F>(
        pool: &'a WorkerPool,
        location: &'static Location<'static>,
        f: F,
    ) -> Submission<'a, T>
    where
        F: FnOnce(&JobContext) -> T + Send + 'static,
    {
        let context = JobContext::new();
        let inside = context.clone();
        let work = Work::new(move || f(&inside), location);
        let (what, handle) = (What::Call(work.clone()), Job::new(work));
        Submission { pool, what, ticket: Ticket::new(pool, location, context), handle }
    }

    pub(super) fn task<F>(
        pool: &'a WorkerPool,
        location: &'static Location<'static>,
        make: impl FnOnce(JobContext) -> F,
    ) -> Submission<'a, T>
    where
        F: Future<Output = T> + Send + 'static,
    {
        let context = JobContext::new();
        let work = Work::made(make(context.clone()), location, false);
        let task = Arc::new(Awaited { work, context: context.clone() });
        let (what, handle) = (What::Task(task.clone()), Job::of(task));
        Submission { pool, what, ticket: Ticket::new(pool, location, context), handle }
    }

    /// Which jobs it goes before.
    pub fn priority(mut self, priority: Priority) -> Submission<'a, T> {
        self.ticket.priority = priority;
        self
    }

    /// What reports call it.
    pub fn name(mut self, name: impl Into<String>) -> Submission<'a, T> {
        self.ticket.name = Some(name.into().into());
        self
    }

    /// How long it may give no sign of life, in place of what the pool was built with; `None`: for ever.
    pub fn heartbeat(mut self, heartbeat: Option<Duration>) -> Submission<'a, T> {
        self.ticket.heartbeat = heartbeat;
        self
    }

    /// Hands the job over. While the queue is full, waits for room.
    ///
    /// # Errors
    /// [`SubmitError::Closed`] when the pool was shut down. The job is dropped.
    ///
    /// # Cancel safety
    /// **Loses its place in line.** The job is dropped with the future.
    pub async fn submit(self) -> Result<Job<T>, SubmitError> {
        let Submission { pool, what, ticket, handle } = self;
        let put = match what {
            What::Call(job) => pool.shared().calls.put(Entry { ticket, job }).await.is_ok(),
            What::Task(job) => pool.shared().tasks.put(Entry { ticket, job }).await.is_ok(),
        };
        if put { Ok(handle) } else { Err(SubmitError::Closed) }
    }

    /// As [`submit`](Self::submit), and blocks the thread while the queue is full. A job of this same pool should
    /// not, as all of its workers may.
    ///
    /// # Errors
    /// As [`submit`](Self::submit).
    pub fn submit_blocking(self) -> Result<Job<T>, SubmitError> {
        let Submission { pool, what, ticket, handle } = self;
        let put = match what {
            What::Call(job) => pool.shared().calls.put_blocking(Entry { ticket, job }).is_ok(),
            What::Task(job) => pool.shared().tasks.put_blocking(Entry { ticket, job }).is_ok(),
        };
        if put { Ok(handle) } else { Err(SubmitError::Closed) }
    }

    /// As [`submit_blocking`](Self::submit_blocking), and waits for room no longer than `timeout`.
    ///
    /// # Errors
    /// [`SubmitError::TimedOut`] when there was none in time, and [`SubmitError::Closed`]. The job is dropped.
    pub fn submit_timeout(self, timeout: Duration) -> Result<Job<T>, SubmitError> {
        let Submission { pool, what, ticket, handle } = self;
        let refused = match what {
            What::Call(job) => {
                let put = pool.shared().calls.put_timeout(Entry { ticket, job }, timeout);
                put.err().map(|error| error.is_closed())
            }
            What::Task(job) => {
                let put = pool.shared().tasks.put_timeout(Entry { ticket, job }, timeout);
                put.err().map(|error| error.is_closed())
            }
        };
        answer(refused, SubmitError::TimedOut, handle)
    }

    /// Hands the job over if there is room.
    ///
    /// # Errors
    /// [`SubmitError::Full`] when there is none, and [`SubmitError::Closed`]. The job is dropped.
    pub fn try_submit(self) -> Result<Job<T>, SubmitError> {
        let Submission { pool, what, ticket, handle } = self;
        let refused = match what {
            What::Call(job) => {
                pool.shared().calls.try_put(Entry { ticket, job }).err().map(|error| error.is_closed())
            }
            What::Task(job) => {
                pool.shared().tasks.try_put(Entry { ticket, job }).err().map(|error| error.is_closed())
            }
        };
        answer(refused, SubmitError::Full, handle)
    }
}

/// `refused`: whether it was since the queue is closed.
fn answer<T>(refused: Option<bool>, early: SubmitError, handle: Job<T>) -> Result<Job<T>, SubmitError> {
    match refused {
        None => Ok(handle),
        Some(true) => Err(SubmitError::Closed),
        Some(false) => Err(early),
    }
}

impl<T> fmt::Debug for Submission<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Submission")
            .field("name", &self.ticket.name)
            .field("priority", &self.ticket.priority)
            .finish_non_exhaustive()
    }
}

impl Ticket {
    fn new(pool: &WorkerPool, location: &'static Location<'static>, context: JobContext) -> Ticket {
        let heartbeat = pool.shared().rules.heartbeat;
        Ticket { priority: Priority::Normal, name: None, location, heartbeat, context }
    }
}

/// Why a [`WorkerPool`] did not take a job.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum SubmitError {
    /// The pool was shut down, or its runtime has ended: Python's `RuntimeError`.
    Closed,
    /// Its queue is full.
    Full,
    /// Its queue was full for all that time.
    TimedOut,
}

impl fmt::Display for SubmitError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            SubmitError::Closed => "the worker pool has been shut down, and takes no more jobs",
            SubmitError::Full => "the queue of the worker pool is full",
            SubmitError::TimedOut => "the queue of the worker pool had no room in time",
        })
    }
}

impl Error for SubmitError {}
