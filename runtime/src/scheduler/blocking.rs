//! Layer 2, scheduler. Threads for calls that block.
//!
//! Owns a queue of jobs in a mutex and up to 512 threads, each kept for ten seconds without a job. Whether to
//! wake a thread or to start one is decided under the mutex, from counts that change only there: a job cannot
//! fall between (tokio #8056). A job is a task whose future blocks in its one poll. Called by
//! `spawn_blocking` on any thread.

use std::collections::VecDeque;
use std::future::Future;
use std::panic::Location;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use filch_channels::probe::{self, Wait};

use super::hands::{Call, Hands};
use super::shared::{Scheduler, next_id};
use crate::context;
use crate::shim::thread::{self, JoinHandle as Thread};
use crate::shim::{Arc, Condvar, Mutex, MutexGuard};
use crate::task::{self, Birth, JoinHandle, Ran, Runnable};

/// How long a thread without a job is kept.
const KEPT: Duration = Duration::from_secs(10);

#[derive(Debug)]
pub(crate) struct Pool {
    state: Mutex<State>,
    /// There is a job, or the pool closes.
    job: Condvar,
    threads_max: usize,
}

#[derive(Debug, Default)]
struct State {
    jobs: VecDeque<Runnable>,
    hands: Hands,
    closed: bool,
    handles: Vec<Thread<()>>,
    /// How many were ever started, for their names.
    started: usize,
}

/// A closure as a future that is ready in its first poll.
struct Job<F>(Option<F>);

impl<F> Unpin for Job<F> {}

impl<F: FnOnce() -> R, R> Future for Job<F> {
    type Output = R;

    fn poll(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<R> {
        let job = self.0.take().expect("a job is polled once");
        probe::waiting(Wait::Blocking, std::ptr::null(), None);
        Poll::Ready(job())
    }
}

impl Pool {
    pub(super) fn new(threads_max: usize) -> Pool {
        Pool { state: Mutex::default(), job: Condvar::new(), threads_max: threads_max.max(1) }
    }

    /// How many threads there are, and how many jobs wait for one.
    pub(super) fn depth(&self) -> (usize, usize) {
        let state = self.state.lock();
        (state.hands.threads, state.jobs.len())
    }

    /// No job is started from now on. Returns those that were not; the caller cancels them.
    pub(super) fn close(&self) -> Vec<Runnable> {
        let mut state = self.state.lock();
        state.closed = true;
        self.job.notify_all();
        state.jobs.drain(..).collect()
    }

    /// Waits for the threads to end. What is left at the deadline is left to itself.
    pub(super) fn join(&self, deadline: Option<Instant>) {
        // Taken first: the threads need the lock for their end.
        let handles = std::mem::take(&mut self.state.lock().handles);
        super::crew::join_all(handles, deadline);
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
        let id = next_id();
        let list = (id % self.cores.len() as u64) as u16;
        let birth = Birth { id, parent: probe::current_id(), location, name, list };
        // SAFETY: the scheduler outlives its tasks, and the job is `Send`. It is never woken while it does
        // not run, so it does not reach the queues of the workers.
        let (runnable, handle) = unsafe { task::new(Job(Some(job)), self, birth) };
        if !self.admit(&runnable) {
            runnable.cancel(None).release();
        } else if self.config.blocking_inline {
            self.run_job(runnable);
        } else {
            self.push_job(runnable);
        }
        handle
    }

    fn push_job(&self, runnable: Runnable) {
        let pool = &self.blocking;
        let mut state = pool.state.lock();
        if state.closed {
            drop(state);
            self.finish(runnable.cancel(None));
            return;
        }
        state.jobs.push_back(runnable);
        match state.hands.call(pool.threads_max) {
            Call::Notify => {
                // Without the lock, which the thread that wakes wants first of all.
                drop(state);
                return pool.job.notify_one();
            }
            Call::Nothing => return,
            Call::Start => {}
        }
        // The thread waits for the lock that we hold, so it finds itself counted.
        let scheduler = self.arc();
        let name = format!("{}-blocking-{}", self.config.name, state.started);
        match thread::Builder::new().name(name).spawn(move || scheduler.blocking_thread()) {
            Ok(handle) => {
                state.started += 1;
                state.hands.started();
                state.handles.retain(|handle| !handle.is_finished());
                state.handles.push(handle);
            }
            // Another thread takes the job in its turn.
            Err(_) if state.hands.threads > 0 => {}
            Err(error) => {
                let job = state.jobs.pop_back();
                drop(state);
                if let Some(job) = job {
                    self.finish(job.cancel(Some(error)));
                }
            }
        }
    }

    fn blocking_thread(self: Arc<Self>) {
        let _here = context::enter(self.clone());
        let pool = &self.blocking;
        let mut state = pool.state.lock();
        loop {
            while let Some(job) = state.jobs.pop_front() {
                drop(state);
                self.run_job(job);
                state = pool.state.lock();
            }
            let go_on;
            (state, go_on) = wait_for_job(pool, state);
            if !go_on {
                state.hands.give_up();
                return;
            }
        }
    }

    fn run_job(&self, job: Runnable) {
        match job.run() {
            Ran::Done(done) => self.finish(done),
            Ran::Idle | Ran::Again(_) => unreachable!("a job is ready in its first poll"),
        }
    }
}

/// Waits until there may be a job. False: none came for so long that the thread should end.
fn wait_for_job<'a>(pool: &'a Pool, mut state: MutexGuard<'a, State>) -> (MutexGuard<'a, State>, bool) {
    let until = Instant::now() + KEPT;
    state.hands.wait();
    loop {
        if state.hands.answer() {
            return (state, true);
        }
        let left = until.saturating_duration_since(Instant::now());
        if state.closed || left.is_zero() {
            return (state, false);
        }
        state = pool.job.wait_timeout(state, left);
    }
}
