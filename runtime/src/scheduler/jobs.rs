//! Layer 2, scheduler. The queue of the blocking pool, and the accounts of its threads.
//!
//! Owns the jobs that wait, and the counts by which it is decided whether to wake a thread for a job, to start
//! one, or neither. All of it changes under one mutex. A thread that waits is *idle* until it has the mutex again,
//! and then looks at the queue before it gives up: so as long as there are as many idle threads as jobs, each job
//! is taken, whichever of them was notified, and none falls to a thread that is about to end (tokio #8056).
//! Generic over the job; called by `blocking` on any thread.
#![forbid(unsafe_code)]

use std::collections::VecDeque;
use std::time::Duration;

use crate::shim::{Condvar, Mutex};

pub(crate) struct Jobs<T> {
    state: Mutex<State<T>>,
    /// There is a job, or the queue is closed.
    job: Condvar,
    threads_max: usize,
}

struct State<T> {
    queue: VecDeque<T>,
    threads: usize,
    idle: usize,
    /// How many threads were ever to be started.
    started: usize,
    closed: bool,
}

impl<T> Jobs<T> {
    pub(crate) fn new(threads_max: usize) -> Jobs<T> {
        let state = State { queue: VecDeque::new(), threads: 0, idle: 0, started: 0, closed: false };
        Jobs { state: Mutex::new(state), job: Condvar::new(), threads_max: threads_max.max(1) }
    }

    /// How many threads there are, and how many jobs wait for one.
    pub(crate) fn depth(&self) -> (usize, usize) {
        let state = self.state.lock();
        (state.threads, state.queue.len())
    }

    /// Queues a job. With a number: the caller must start a thread, which is counted already. Gives the job back
    /// when the queue is closed.
    pub(crate) fn push(&self, job: T) -> Result<Option<usize>, T> {
        let mut state = self.state.lock();
        if state.closed {
            return Err(job);
        }
        state.queue.push_back(job);
        if state.queue.len() <= state.idle {
            // Without the lock, which the thread that wakes wants first of all.
            drop(state);
            self.job.notify_one();
        } else if state.threads < self.threads_max {
            state.threads += 1;
            state.started += 1;
            return Ok(Some(state.started));
        }
        // Else all are at work, or about to be, and each looks here before it waits.
        Ok(None)
    }

    /// A thread could not be started. Returns the jobs, if there is no other to take them in its turn.
    pub(crate) fn not_started(&self) -> Vec<T> {
        let mut state = self.state.lock();
        state.threads -= 1;
        if state.threads == 0 { state.queue.drain(..).collect() } else { Vec::new() }
    }

    /// The next job for a thread, which waits for it while `left` is not zero. `None`: the thread ends.
    pub(crate) fn next(&self, left: impl Fn() -> Duration) -> Option<T> {
        let mut state = self.state.lock();
        loop {
            if let Some(job) = state.queue.pop_front() {
                return Some(job);
            }
            let left = left();
            if state.closed || left.is_zero() {
                state.threads -= 1;
                return None;
            }
            state.idle += 1;
            state = self.job.wait_timeout(state, left);
            state.idle -= 1;
        }
    }

    /// Ends the waits under way: each thread looks whether there is a job, and whether to wait on.
    pub(crate) fn rouse(&self) {
        self.job.notify_all();
    }

    /// No job is taken in from now on. Returns those that were not begun.
    pub(crate) fn close(&self) -> Vec<T> {
        let mut state = self.state.lock();
        state.closed = true;
        self.rouse();
        state.queue.drain(..).collect()
    }
}
