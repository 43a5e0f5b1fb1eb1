//! Layer 3, pool. What a `WorkerPool` tells of itself: its health, the deaths of workers, and what became of all jobs.
//!
//! Owns types and their texts only. Made by `board`; read by user code.
#![forbid(unsafe_code)]

use std::fmt;
use std::panic::Location;
use std::time::Duration;

/// What a worker of a [`WorkerPool`](super::WorkerPool) is.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum WorkerKind {
    /// A thread, for calls.
    Thread,
    /// A task, for futures.
    Task,
}

/// A job that runs.
#[derive(Clone, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub struct RunningJob {
    /// The worker that has it.
    pub worker: String,
    /// What that is.
    pub kind: WorkerKind,
    /// What the job is called, if it was given a name.
    pub name: Option<String>,
    /// Where it was submitted.
    pub location: &'static Location<'static>,
    /// How long ago it began.
    pub running_for: Duration,
    /// How long ago it was seen to give a sign of life.
    pub silent_for: Duration,
}

impl fmt::Display for RunningJob {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} has ", self.worker)?;
        write_job(f, self.name.as_deref(), self.location)?;
        write!(f, " since {:.1?}", self.running_for)?;
        if self.silent_for < self.running_for {
            write!(f, ", and heard nothing of it for {:.1?}", self.silent_for)?;
        }
        Ok(())
    }
}

fn write_job(f: &mut fmt::Formatter<'_>, name: Option<&str>, location: &Location<'_>) -> fmt::Result {
    match name {
        Some(name) => write!(f, "the job {name:?}, submitted at {location},"),
        None => write!(f, "the job submitted at {location}"),
    }
}

/// Why a worker is no more.
#[derive(Clone, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum DeathCause {
    /// Its job gave no sign of life for as long as its heartbeat says. The job's context is cancelled, and a future
    /// is dropped. A thread cannot be stopped: it leaves when it comes back.
    Hung(RunningJob),
    /// Its job panicked, and the pool was built with
    /// [`fresh_after_panic`](super::WorkerPoolBuilder::fresh_after_panic).
    Panicked {
        /// What the job is called, if it was given a name.
        name: Option<String>,
        /// Where it was submitted.
        location: &'static Location<'static>,
    },
    /// The system would not start it, and said this.
    NotStarted(String),
    /// It ended, which it should not. Its job, if it had one, has an error.
    Ended,
}

/// What a supervisor is told of a worker that is no more: see
/// [`WorkerPoolBuilder::on_death`](super::WorkerPoolBuilder::on_death).
#[derive(Clone, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub struct Death {
    /// Which one.
    pub worker: String,
    /// What it was.
    pub kind: WorkerKind,
    /// Why.
    pub cause: DeathCause,
    /// When another takes its place. Zero: now. `None`: when one that hangs comes back, as there are enough of these;
    /// or never, as the pool ends.
    pub restart_in: Option<Duration>,
}

impl fmt::Display for Death {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.cause {
            DeathCause::Hung(job) => {
                write!(f, "{} hangs: ", self.worker)?;
                write_job(f, job.name.as_deref(), job.location)?;
                write!(f, " gave no sign of life for {:.1?}", job.silent_for)?;
            }
            DeathCause::Panicked { name, location } => {
                write!(f, "{} is done with, as ", self.worker)?;
                write_job(f, name.as_deref(), location)?;
                f.write_str(" panicked")?;
            }
            DeathCause::NotStarted(error) => write!(f, "{} could not be started: {error}", self.worker)?,
            DeathCause::Ended => write!(f, "{} ended", self.worker)?,
        }
        match self.restart_in {
            None => Ok(()),
            Some(time) if time.is_zero() => f.write_str("; another takes its place"),
            Some(time) => write!(f, "; another takes its place in {time:.1?}"),
        }
    }
}

/// What a worker does just now.
#[derive(Clone, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum WorkerState {
    /// It waits for a job.
    Idle,
    /// It has one.
    Busy(RunningJob),
    /// It is dead, or hangs.
    Down {
        /// When another takes its place, if that is known.
        restart_in: Option<Duration>,
    },
    /// It has gone, as the pool is shut down.
    Left,
}

/// One worker of a [`WorkerPool`](super::WorkerPool): see [`Health`].
#[derive(Clone, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub struct WorkerHealth {
    /// What it is called: the pool's name, its kind and its number. A worker that takes the place of another is called
    /// as that was.
    pub name: String,
    /// What it is.
    pub kind: WorkerKind,
    /// What it does.
    pub state: WorkerState,
    /// How many jobs it and those before it have done.
    pub done: u64,
    /// How many there were before it.
    pub restarts: u64,
}

/// How a [`WorkerPool`](super::WorkerPool) is: one moment of it, from [`health`](super::WorkerPool::health).
#[derive(Clone, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub struct Health {
    /// Each worker.
    pub workers: Vec<WorkerHealth>,
    /// Jobs that count as hung, and have not come to their end.
    pub hung: Vec<RunningJob>,
    /// Calls in the queue.
    pub waiting_calls: usize,
    /// Futures in the queue.
    pub waiting_tasks: usize,
    /// Jobs that came to their end.
    pub done: u64,
    /// Jobs that panicked.
    pub panicked: u64,
    /// Futures that were dropped before their end.
    pub stopped: u64,
    /// Workers that died or hung.
    pub deaths: u64,
    /// Workers that took the place of others.
    pub restarts: u64,
    /// Whether it takes jobs.
    pub open: bool,
}

impl Health {
    /// Jobs that run, those that hang included.
    pub fn running(&self) -> usize {
        let busy = self.workers.iter().filter(|worker| matches!(worker.state, WorkerState::Busy(_)));
        busy.count() + self.hung.len()
    }

    /// Whether each worker is there, and none hangs.
    pub fn is_well(&self) -> bool {
        let there = |worker: &WorkerHealth| matches!(worker.state, WorkerState::Idle | WorkerState::Busy(_));
        self.hung.is_empty() && self.workers.iter().all(there)
    }
}

impl fmt::Display for Health {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Health { waiting_calls, waiting_tasks, done, panicked, stopped, deaths, restarts, .. } = self;
        write!(
            f,
            "{done} jobs done, {panicked} panicked, {stopped} stopped; {waiting_calls} calls and {waiting_tasks} \
             futures wait; {deaths} workers died, {restarts} took their places"
        )?;
        for worker in &self.workers {
            write!(f, "\n  ")?;
            match &worker.state {
                WorkerState::Idle => write!(f, "{} is idle", worker.name)?,
                WorkerState::Busy(job) => write!(f, "{job}")?,
                WorkerState::Down { .. } => write!(f, "{} is down", worker.name)?,
                WorkerState::Left => write!(f, "{} has left", worker.name)?,
            }
        }
        self.hung.iter().try_for_each(|job| write!(f, "\n  hung: {job}"))
    }
}

/// What became of the jobs of a [`WorkerPool`](super::WorkerPool), since it was made.
#[derive(Clone, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub struct WorkerPoolReport {
    /// How many came to their end.
    pub done: u64,
    /// How many panicked.
    pub panicked: u64,
    /// How many futures were dropped before their end: cancelled, hung, or at the deadline.
    pub stopped: u64,
    /// How many waited when the time was over, and were not begun.
    pub cancelled: u64,
    /// Those that were told to stop, and still run.
    pub stuck: Vec<RunningJob>,
}

impl WorkerPoolReport {
    /// Whether all jobs have been run to their end, or panicked.
    pub fn is_complete(&self) -> bool {
        self.stopped == 0 && self.cancelled == 0 && self.stuck.is_empty()
    }
}

impl fmt::Display for WorkerPoolReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let WorkerPoolReport { done, panicked, stopped, cancelled, stuck } = self;
        write!(
            f,
            "{done} jobs done, {panicked} panicked, {stopped} stopped, {cancelled} cancelled, {} stuck",
            stuck.len()
        )?;
        stuck.iter().try_for_each(|job| write!(f, "\n  {job}"))
    }
}
