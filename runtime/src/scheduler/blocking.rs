//! Layer 2, scheduler. Threads for calls that block.
//!
//! Owns up to 512 threads, each kept for ten seconds without a job; when there is one more is up to `jobs`. A job
//! is a task whose future blocks in its one poll. Called by `spawn_blocking` on any thread.

use std::io;
use std::panic::Location;
use std::time::{Duration, Instant};

use filch_channels::probe::{self, Wait};

use super::jobs::Jobs;
use super::shared::Scheduler;
use crate::context;
use crate::shim::thread::{self, JoinHandle as Thread};
use crate::shim::{Arc, Mutex};
use crate::task::{self, JoinHandle, Ran, Runnable};

/// How long a thread without a job is kept.
const KEPT: Duration = Duration::from_secs(10);

pub(crate) struct Pool {
    pub(super) jobs: Jobs<Runnable>,
    pub(super) threads: Mutex<Vec<Thread<()>>>,
}

impl Pool {
    pub(super) fn new(threads_max: usize) -> Pool {
        Pool { jobs: Jobs::new(threads_max), threads: Mutex::default() }
    }
}

impl Scheduler {
    /// Runs `job` on a thread of the blocking pool.
    pub(crate) fn spawn_blocking<F, R>(
        &self,
        job: F,
        name: Option<Box<str>>,
        location: &'static Location<'static>,
    ) -> JoinHandle<R>
    where
        F: FnOnce() -> R + Send + 'static,
        R: Send + 'static,
    {
        // Ready in its first poll.
        let job = async move {
            probe::waiting(Wait::Blocking, std::ptr::null(), None);
            job()
        };
        // SAFETY: the scheduler outlives its tasks, and the job is `Send`. It is never woken while it does
        // not run, so it does not reach the queues of the workers.
        let (runnable, handle) = unsafe { task::new(job, self, self.birth(name, location)) };
        if !self.admit(&runnable) {
            runnable.cancel(None).release();
        } else if self.config.seed.is_some() {
            self.run_job(runnable);
        } else {
            self.push_job(runnable);
        }
        handle
    }

    fn push_job(&self, job: Runnable) {
        let jobs = &self.blocking.jobs;
        let number = match jobs.push(job) {
            Ok(None) => return,
            Ok(Some(number)) => number,
            Err(job) => return self.finish(job.cancel(None)),
        };
        let (name, scheduler) = (format!("{}-blocking-{number}", self.config.name), self.arc());
        match thread::Builder::new().name(name).spawn(move || scheduler.blocking_thread()) {
            Ok(thread) => {
                let mut threads = self.blocking.threads.lock();
                threads.retain(|thread| !thread.is_finished());
                threads.push(thread);
            }
            Err(error) => {
                for job in jobs.not_started() {
                    self.finish(job.cancel(Some(io::Error::new(error.kind(), error.to_string()))));
                }
            }
        }
    }

    fn blocking_thread(self: Arc<Self>) {
        let _here = context::enter(self.clone());
        let until = || Instant::now() + KEPT;
        let mut end = until();
        while let Some(job) = self.blocking.jobs.next(|| end.saturating_duration_since(Instant::now())) {
            self.run_job(job);
            end = until();
        }
    }

    fn run_job(&self, job: Runnable) {
        match job.run() {
            Ran::Done(done) => self.finish(done),
            Ran::Idle | Ran::Again(_) => unreachable!("a job is ready in its first poll"),
        }
    }
}
