//! Layer 3, pool. The threads of a pool, and their end.
//!
//! Owns what each of them runs just now, and how many there are. Each takes a job from the queue, runs it,
//! and looks again; it ends when the queue is closed and empty. Called by `ThreadPool`, and by `fork` to lend
//! a hand.
#![forbid(unsafe_code)]

use std::fmt;
use std::io;
use std::panic::Location;
use std::time::{Duration, Instant};

use filch_channels::channel::Receiver;

use super::job::{Ran, Run};
use crate::shim::Ordering::Relaxed;
use crate::shim::owner::AtomicU64;
use crate::shim::thread::{self, ThreadId};
use crate::shim::{Arc, Condvar, Mutex, OnceLock};
use crate::util::pad::Padded;
use crate::util::wake::guarded;

pub(super) struct Crew {
    name: String,
    jobs: Receiver<Arc<dyn Run>>,
    members: Vec<Padded<Member>>,
    /// How many threads have not ended.
    alive: Mutex<usize>,
    ended: Condvar,
    cancelled: Mutex<usize>,
}

/// On a line of its own, as its thread writes to it with each job.
struct Member {
    thread: OnceLock<ThreadId>,
    /// Where the job that runs was submitted.
    job: Mutex<Option<&'static Location<'static>>>,
    finished: AtomicU64,
}

/// What became of the jobs of a [`ThreadPool`](super::ThreadPool).
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct PoolReport {
    /// How many were run to their end, or panicked, since the pool was made.
    pub finished: u64,
    /// How many were in the queue when the time was over, and were cancelled.
    pub cancelled: usize,
    /// Those that were running when the time was over, and still are.
    pub unfinished: Vec<Unfinished>,
}

impl PoolReport {
    /// Whether all jobs that were submitted have been run.
    pub fn is_complete(&self) -> bool {
        self.cancelled == 0 && self.unfinished.is_empty()
    }
}

impl fmt::Display for PoolReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let PoolReport { finished, cancelled, unfinished } = self;
        write!(f, "{finished} jobs finished, {cancelled} cancelled, {} still running", unfinished.len())?;
        unfinished.iter().try_for_each(|job| write!(f, "\n  {job}"))
    }
}

/// A job that did not end in time.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Unfinished {
    /// The thread that runs it.
    pub thread: String,
    /// Where it was submitted.
    pub location: &'static Location<'static>,
}

impl fmt::Display for Unfinished {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} runs the job submitted at {}", self.thread, self.location)
    }
}

impl Crew {
    /// Starts the threads. If one cannot be, those before it end, as the queue closes.
    pub(super) fn start(name: String, threads: usize, jobs: Receiver<Arc<dyn Run>>) -> io::Result<Arc<Crew>> {
        let member =
            || Member { thread: OnceLock::new(), job: Mutex::new(None), finished: AtomicU64::new(0) };
        let members = (0..threads).map(|_| Padded(member())).collect();
        let (alive, cancelled) = (Mutex::new(threads), Mutex::new(0));
        let crew = Arc::new(Crew { name, jobs, members, alive, ended: Condvar::new(), cancelled });
        for index in 0..threads {
            let (member, name) = (crew.clone(), crew.thread_name(index));
            if let Err(error) = thread::Builder::new().name(name).spawn(move || member.work(index)) {
                crew.jobs.close();
                let text =
                    format!("only {index} of {threads} threads of the pool {:?} could be started", crew.name);
                return Err(io::Error::new(error.kind(), format!("{text}: {error}")));
            }
        }
        Ok(crew)
    }

    pub(super) fn name(&self) -> &str {
        &self.name
    }

    pub(super) fn threads(&self) -> usize {
        self.members.len()
    }

    fn thread_name(&self, index: usize) -> String {
        format!("{}-{}", self.name, index + 1)
    }

    fn work(&self, index: usize) {
        let _ = self.members[index].thread.set(thread::current().id());
        loop {
            let job = match self.jobs.try_recv() {
                Ok(job) => job,
                Err(_) => match self.jobs.recv_blocking() {
                    Ok(job) => job,
                    Err(_) => break,
                },
            };
            self.run(index, job);
        }
        *self.alive.lock() -= 1;
        self.ended.notify_all();
    }

    /// Runs a job on the thread of the member.
    fn run(&self, index: usize, job: Arc<dyn Run>) {
        let member = &self.members[index];
        let before = member.job.lock().replace(job.location());
        if job.run(&self.name) != Ran::Not {
            // Ordering: Relaxed: only this thread writes, and the count takes part in no decision.
            member.finished.store(member.finished.load(Relaxed) + 1, Relaxed);
        }
        *member.job.lock() = before;
        // The output may go with it, whose drop is code of others: no thread is lost to that.
        guarded("dropping a job", || drop(job));
    }

    /// Which member the calling thread is, if it is one.
    pub(super) fn member(&self) -> Option<usize> {
        let here = thread::current().id();
        self.members.iter().position(|member| member.thread.get() == Some(&here))
    }

    /// Runs the next job, if there is one, on the calling thread, which is this member's.
    pub(super) fn lend_a_hand(&self, index: usize) -> bool {
        let job = self.jobs.try_recv();
        job.map(|job| self.run(index, job)).is_ok()
    }

    /// Waits for the threads, and cancels what is left in the queue, which is closed, when the time is over.
    pub(super) fn end(&self, within: Duration) -> PoolReport {
        // `None`: so long that the clock cannot say it.
        let until = Instant::now().checked_add(within);
        let mut alive = self.alive.lock();
        while *alive > 0 {
            let left = until.map(|until| until.saturating_duration_since(Instant::now()));
            match left {
                Some(left) if left.is_zero() => break,
                Some(left) => alive = self.ended.wait_timeout(alive, left),
                None => alive = self.ended.wait(alive),
            }
        }
        drop(alive);
        // A job may be taken by a thread at the same time: then it runs, and is in the other list.
        let cancelled = self.jobs.try_iter().filter(|job| job.refuse()).count();
        let cancelled = {
            let mut total = self.cancelled.lock();
            *total += cancelled;
            *total
        };
        let mut report = PoolReport { finished: 0, cancelled, unfinished: Vec::new() };
        for (index, member) in self.members.iter().enumerate() {
            report.finished += member.finished.load(Relaxed);
            if let Some(location) = *member.job.lock() {
                report.unfinished.push(Unfinished { thread: self.thread_name(index), location });
            }
        }
        report
    }
}
