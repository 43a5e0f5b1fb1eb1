//! Layer 3, pool. One job, from submit to result.
//!
//! Owns the closure until it runs and the output until it is taken, in one block with one lock, which is held
//! for a few instructions and never while code of others runs. Two parties hold the block: the queue or the
//! thread that runs it ([`Run`]), and the handle ([`Job`]).
//!
//! | phase   | who goes on                                                              |
//! |---------|--------------------------------------------------------------------------|
//! | queued  | whoever takes the closure out: a thread to run it, the handle to cancel  |
//! | running | whoever took it: nobody else ends it                                     |
//! | done    | the handle, which takes the output                                       |
//! | taken   | nobody                                                                   |
//!
//! *Nobody waits for ever*: a waker is left under the lock while the phase is not `done`, and `finish` takes
//! it under the lock as it sets `done`. *No callback is forgotten*: `finish` sets `done` only under a lock
//! under which there were none, and one that comes later finds `done` and runs where it is given.
#![forbid(unsafe_code)]

use std::any::Any;
use std::error::Error;
use std::fmt;
use std::future::Future;
use std::mem;
use std::panic::{AssertUnwindSafe, Location, catch_unwind};
use std::pin::Pin;
// The real one: behind it are trait objects, which loom's cannot have.
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use crate::shim::Mutex;
use crate::util::block;
use crate::util::wake::{drop_payload, guarded, message};

#[cfg(test)]
mod tests;

type Callback<T> = Box<dyn FnOnce(&Result<T, JobError>) + Send>;

/// A job, for the queue and for who runs it.
pub(super) trait Run: Send + Sync {
    /// Runs it, unless it was cancelled. `pool` is for errors.
    fn run(&self, pool: &str) -> Ran;
    /// Ends it unrun, since the pool is shut down. True: it had not begun.
    fn refuse(&self) -> bool;
    fn location(&self) -> &'static Location<'static>;
}

/// What running a job came to.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Ran {
    /// It was cancelled before it began.
    Not,
    /// It has an output.
    Ended,
    Panicked,
    /// A future that was dropped before its end.
    #[cfg_attr(filch_loom, allow(dead_code))]
    Stopped,
}

/// A job, for its handle.
pub(super) trait Claim<T>: Send + Sync {
    fn poll_take(&self, waker: &Waker) -> Poll<Result<T, JobError>>;
    fn cancel(&self) -> CancelOutcome;
    fn is_done(&self) -> bool;
    fn on_done(&self, callback: Callback<T>);
    fn detach(&self);
}

/// A job.
pub(super) struct Work<F, T> {
    slot: Mutex<Slot<F, T>>,
    location: &'static Location<'static>,
    /// Half of a fork: whoever forked it runs it, if nobody else does.
    forked: bool,
}

struct Slot<F, T> {
    phase: Phase<F, T>,
    waker: Option<Waker>,
    callbacks: Vec<Callback<T>>,
    /// The handle is gone.
    detached: bool,
}

enum Phase<F, T> {
    Queued(F),
    Running,
    Done(Result<T, JobError>),
    /// A callback looks at the output, which comes back.
    Lent,
    Taken,
}

impl<F: FnOnce() -> T + Send, T: Send> Work<F, T> {
    pub(super) fn new(job: F, location: &'static Location<'static>) -> Arc<Work<F, T>> {
        Arc::new(Work::made(job, location, false))
    }

    pub(super) fn forked(job: F, location: &'static Location<'static>) -> Arc<Work<F, T>> {
        Arc::new(Work::made(job, location, true))
    }
}

/// `F` is a closure, or a future.
impl<F: Send, T: Send> Work<F, T> {
    pub(super) fn made(job: F, location: &'static Location<'static>, forked: bool) -> Work<F, T> {
        let (phase, callbacks) = (Phase::Queued(job), Vec::new());
        let slot = Slot { phase, waker: None, callbacks, detached: false };
        Work { slot: Mutex::new(slot), location, forked }
    }

    /// Takes the closure, if it has not begun; whoever has it must end the job.
    pub(super) fn claim(&self) -> Option<F> {
        let mut slot = self.slot.lock();
        match mem::replace(&mut slot.phase, Phase::Running) {
            Phase::Queued(job) => Some(job),
            phase => {
                slot.phase = phase;
                None
            }
        }
    }

    /// The closure of a job that was not queued.
    pub(super) fn take_back(&self) -> F {
        self.claim().expect("nobody else knows of it")
    }

    pub(super) fn finish(&self, result: Result<T, JobError>) {
        loop {
            let mut slot = self.slot.lock();
            let callbacks = mem::take(&mut slot.callbacks);
            if callbacks.is_empty() {
                let waker = slot.waker.take();
                if slot.detached {
                    slot.phase = Phase::Taken;
                    drop(slot);
                    unobserved(result);
                } else {
                    slot.phase = Phase::Done(result);
                    drop(slot);
                }
                if let Some(waker) = waker {
                    guarded("a waker", || waker.wake());
                }
                return;
            }
            drop(slot);
            for callback in callbacks {
                guarded("a callback of a job", || callback(&result));
            }
        }
    }

    /// What `finish` is given of a panic.
    pub(super) fn panicked(&self, pool: &str, payload: Box<dyn Any + Send>) -> JobError {
        JobError::new(self.location, Why::Panic(pool.to_owned(), Payload(Mutex::new(Some(payload)))))
    }

    /// Ends it unrun, since the pool is shut down. True: it had not begun.
    pub(super) fn refused(&self) -> bool {
        !self.forked && self.end_unrun(Why::ShutDown)
    }

    /// Where it was submitted.
    pub(super) fn place(&self) -> &'static Location<'static> {
        self.location
    }

    /// Ends it unrun. False: it had begun.
    fn end_unrun(&self, why: Why) -> bool {
        let Some(job) = self.claim() else { return false };
        guarded("dropping a job", || drop(job));
        self.finish(Err(JobError::new(self.location, why)));
        true
    }

    /// The output, if it is there.
    pub(super) fn take_done(&self) -> Option<Result<T, JobError>> {
        let mut slot = self.slot.lock();
        match mem::replace(&mut slot.phase, Phase::Taken) {
            Phase::Done(result) => Some(result),
            Phase::Taken => panic!("a Job was polled again after it had been ready"),
            phase => {
                slot.phase = phase;
                None
            }
        }
    }

    /// The output, or `waker` is woken when there is one.
    pub(super) fn take_or_wait(&self, waker: &Waker) -> Poll<Result<T, JobError>> {
        if let Some(result) = self.take_done() {
            return Poll::Ready(result);
        }
        // Cloned and dropped without the lock: that is code of others.
        let mut ours = Some(waker.clone());
        let mut slot = self.slot.lock();
        if !matches!(slot.phase, Phase::Done(_)) {
            mem::swap(&mut slot.waker, &mut ours);
            return Poll::Pending;
        }
        drop(slot);
        self.take_done().map_or(Poll::Pending, Poll::Ready)
    }
}

impl<F: FnOnce() -> T + Send, T: Send> Run for Work<F, T> {
    fn run(&self, pool: &str) -> Ran {
        let Some(job) = self.claim() else { return Ran::Not };
        match catch_unwind(AssertUnwindSafe(job)) {
            Ok(output) => {
                self.finish(Ok(output));
                Ran::Ended
            }
            Err(payload) => {
                self.finish(Err(self.panicked(pool, payload)));
                Ran::Panicked
            }
        }
    }

    fn refuse(&self) -> bool {
        self.refused()
    }

    fn location(&self) -> &'static Location<'static> {
        self.location
    }
}

impl<F: Send, T: Send> Claim<T> for Work<F, T> {
    fn poll_take(&self, waker: &Waker) -> Poll<Result<T, JobError>> {
        self.take_or_wait(waker)
    }

    fn cancel(&self) -> CancelOutcome {
        if self.end_unrun(Why::Cancelled) {
            CancelOutcome::NotStarted
        } else if self.is_done() {
            CancelOutcome::Done
        } else {
            CancelOutcome::Running
        }
    }

    fn is_done(&self) -> bool {
        matches!(self.slot.lock().phase, Phase::Done(_) | Phase::Lent | Phase::Taken)
    }

    fn on_done(&self, callback: Callback<T>) {
        let mut slot = self.slot.lock();
        assert!(!matches!(slot.phase, Phase::Taken), "on_done after the output was taken");
        slot.callbacks.push(callback);
        while let Phase::Done(_) = slot.phase {
            let Phase::Done(result) = mem::replace(&mut slot.phase, Phase::Lent) else {
                unreachable!("seen")
            };
            let callbacks = mem::take(&mut slot.callbacks);
            drop(slot);
            for callback in callbacks {
                guarded("a callback of a job", || callback(&result));
            }
            slot = self.slot.lock();
            slot.phase = Phase::Done(result);
            if slot.callbacks.is_empty() {
                return;
            }
        }
    }

    fn detach(&self) {
        let mut slot = self.slot.lock();
        slot.detached = true;
        let waker = slot.waker.take();
        let phase = match &slot.phase {
            Phase::Done(_) => mem::replace(&mut slot.phase, Phase::Taken),
            _ => Phase::Taken,
        };
        drop(slot);
        guarded("dropping the waker of a job", || drop(waker));
        if let Phase::Done(result) = phase {
            unobserved(result);
        }
    }
}

/// An output that nobody takes. A panic is told, never silent.
fn unobserved<T>(result: Result<T, JobError>) {
    if let Err(error) = &result {
        if error.is_panic() {
            eprintln!("filch: {error}");
        }
    }
    guarded("dropping the output of a job", || drop(result));
}

/// The claim on the output of a job: for tasks a future, for threads [`join`](Self::join).
///
/// Dropping it detaches the job, which is run all the same. A panic of a job whose handle is gone is told on
/// stderr.
///
/// # Panics
/// When it is polled again after it was ready.
///
/// # Cancel safety
/// **Strict.** The output is taken only by the poll that returns it.
#[must_use = "a job whose handle is dropped is run, and its output thrown away: say so with `drop`"]
pub struct Job<T>(Arc<dyn Claim<T>>);

impl<T: Send + 'static> Job<T> {
    pub(super) fn new<F: FnOnce() -> T + Send + 'static>(work: Arc<Work<F, T>>) -> Job<T> {
        Job(work)
    }

    /// The handle of what is no closure.
    #[cfg(not(filch_loom))]
    pub(super) fn of(claim: Arc<dyn Claim<T>>) -> Job<T> {
        Job(claim)
    }
}

impl<T> Job<T> {
    /// Blocks the calling thread until the job is done, and gives its output. A task uses `.await`.
    ///
    /// A job that joins another one of its pool keeps a thread from it; if all threads do, that is a
    /// deadlock. To split a job in two there is [`ThreadPool::join`](super::ThreadPool::join).
    ///
    /// # Errors
    /// When it panicked, was cancelled, or the pool was shut down before it began.
    pub fn join(mut self) -> Result<T, JobError> {
        match self.poll_now() {
            Some(result) => result,
            None => block::on(&mut self, None).expect("waits without a limit"),
        }
    }

    /// As [`join`](Self::join), for at most `timeout`. After `None` the handle is as it was.
    ///
    /// # Errors
    /// The inner result is as that of [`join`](Self::join).
    ///
    /// # Panics
    /// When the output was taken before.
    pub fn join_timeout(&mut self, timeout: Duration) -> Option<Result<T, JobError>> {
        block::on(self, Some(timeout))
    }

    /// Takes the job out of the queue, if it is in there. One that has begun goes on, unless it is a future in a
    /// [`WorkerPool`](super::WorkerPool): that is dropped where it waits.
    pub fn cancel(&self) -> CancelOutcome {
        self.0.cancel()
    }

    /// Whether it is done: run, panicked, or cancelled.
    pub fn is_finished(&self) -> bool {
        self.0.is_done()
    }

    /// Calls `callback` with the result when there is one: on the thread that ran the job, before the handle
    /// hears of it, or right here when it is done already. Any number of them, in the order they were given.
    ///
    /// A panic of the callback is caught and told.
    ///
    /// # Panics
    /// When the output was taken before.
    pub fn on_done(&self, callback: impl FnOnce(&Result<T, JobError>) + Send + 'static) {
        self.0.on_done(Box::new(callback));
    }

    fn poll_now(&mut self) -> Option<Result<T, JobError>> {
        match self.0.poll_take(Waker::noop()) {
            Poll::Ready(result) => Some(result),
            Poll::Pending => None,
        }
    }
}

impl<T> Future for Job<T> {
    type Output = Result<T, JobError>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        self.0.poll_take(cx.waker())
    }
}

impl<T> Drop for Job<T> {
    fn drop(&mut self) {
        self.0.detach();
    }
}

impl<T> fmt::Debug for Job<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Job").field("finished", &self.is_finished()).finish()
    }
}

/// What [`Job::cancel`] did.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[must_use = "it says whether the job will run"]
pub enum CancelOutcome {
    /// The job had not begun, and will not run: its closure is dropped.
    NotStarted,
    /// The job is running, and goes on.
    Running,
    /// The job is a future that has begun, and is dropped when it waits for something, or has ended.
    Requested,
    /// The job was done, or cancelled, before.
    Done,
}

/// Why a job has no output. Keeps where it was submitted, and for a panic what it carried.
pub struct JobError {
    location: &'static Location<'static>,
    why: Box<Why>,
}

enum Why {
    Cancelled,
    ShutDown,
    TimedOut,
    /// A future that was dropped before its end: why.
    Stopped(String),
    /// The pool, and what was carried.
    Panic(String, Payload),
}

/// The mutex is for `Sync`: a payload need not be.
struct Payload(Mutex<Option<Box<dyn Any + Send>>>);

impl Drop for Payload {
    fn drop(&mut self) {
        if let Some(payload) = self.0.lock().take() {
            // With care: its drop may panic, too.
            drop_payload(payload);
        }
    }
}

impl JobError {
    fn new(location: &'static Location<'static>, why: Why) -> JobError {
        JobError { location, why: Box::new(why) }
    }

    pub(super) fn timed_out(location: &'static Location<'static>) -> JobError {
        JobError::new(location, Why::TimedOut)
    }

    #[cfg(not(filch_loom))]
    pub(super) fn stopped(location: &'static Location<'static>, why: String) -> JobError {
        JobError::new(location, Why::Stopped(why))
    }

    pub(super) fn shut_down(location: &'static Location<'static>) -> JobError {
        JobError::new(location, Why::ShutDown)
    }

    /// Where the job was submitted.
    pub fn location(&self) -> &'static Location<'static> {
        self.location
    }

    /// Whether the job panicked.
    pub fn is_panic(&self) -> bool {
        matches!(*self.why, Why::Panic(..))
    }

    /// Whether the job was never run, as it was cancelled or its pool shut down; or was a future that was dropped
    /// before its end.
    pub fn is_cancelled(&self) -> bool {
        matches!(*self.why, Why::Cancelled | Why::ShutDown | Why::Stopped(_))
    }

    /// Whether the deadline of a [`map`](super::ThreadPool::map) was over before the job was done.
    pub fn is_timeout(&self) -> bool {
        matches!(*self.why, Why::TimedOut)
    }

    /// What the job's panic carried.
    ///
    /// # Panics
    /// When the job did not panic; see [`is_panic`](Self::is_panic).
    pub fn into_panic(self) -> Box<dyn Any + Send> {
        self.try_into_panic()
            .unwrap_or_else(|error| panic!("into_panic on an error that is no panic: {error}"))
    }

    /// What the job's panic carried, or the error back when it did not panic.
    ///
    /// # Errors
    /// The error itself, when the job did not panic.
    pub fn try_into_panic(self) -> Result<Box<dyn Any + Send>, JobError> {
        let payload = match &*self.why {
            Why::Panic(_, payload) => payload.0.lock().take(),
            _ => None,
        };
        payload.ok_or(self)
    }
}

impl fmt::Display for JobError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the job submitted at {} ", self.location)?;
        match &*self.why {
            Why::Cancelled => f.write_str("was cancelled"),
            Why::ShutDown => f.write_str("was not run: its pool has been shut down"),
            Why::TimedOut => f.write_str("was not done before the deadline"),
            Why::Stopped(why) => write!(f, "was stopped before its end: {why}"),
            Why::Panic(pool, payload) => {
                // Copied out: the formatter is code of others.
                let text = payload
                    .0
                    .lock()
                    .as_ref()
                    .map_or_else(String::new, |payload| message(&**payload).to_owned());
                write!(f, "of the pool {pool:?} panicked: {text}")
            }
        }
    }
}

impl fmt::Debug for JobError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "JobError({self})")
    }
}

impl Error for JobError {}

impl From<JobError> for std::io::Error {
    fn from(error: JobError) -> std::io::Error {
        std::io::Error::other(error)
    }
}
