//! Layer 3, process. What the pool's handles and its tasks share: the queue, who is idle, what is under way.
//!
//! Owns the lock round all of that. A job is in one place: in the queue, with one task, or answered. Tasks
//! that have nothing to do leave a `Notify` of their own in `idle`; whoever brings jobs takes it from there
//! and notifies it, the one that came last first, whose process is warm. Answers are sent, and what was taken
//! out is dropped, after the lock: both wake whoever waits. Called by `Pool` and the handles on any thread,
//! by `crew` on its tasks.
#![forbid(unsafe_code)]

use std::collections::{BTreeMap, VecDeque};
use std::mem;
use std::ops::Range;
use std::time::Duration;

use filch_channels::channel::Sender;
use filch_channels::sync::{Event, Notify};

use super::error::JobError;
use super::{PoolReport, PoolStats, Settings, crew, frame};
use crate::Handle;
use crate::shim::{Arc, Mutex};

/// A body that is an output, or why there is none.
pub(super) type Outcome = Result<Vec<u8>, JobError>;

/// How often in a row a worker may fail to start before the pool gives up; each task of it may do so once
/// more.
const FAILURES_MOST: usize = 3;

/// A job that is not answered.
#[derive(Debug)]
pub(super) struct Pending {
    pub(super) id: u64,
    pub(super) name: &'static str,
    /// The whole frame; counted, as it may have to be written again.
    pub(super) frame: Arc<Vec<u8>>,
    pub(super) timeout: Option<Duration>,
    /// Which `map` it belongs to, and how many of those are handed over at once.
    pub(super) group: u64,
    pub(super) chunk: usize,
    /// Its place in the `map`.
    pub(super) index: usize,
    pub(super) reply: Sender<(usize, Outcome)>,
}

#[derive(Debug)]
pub(super) struct Shared {
    pub(super) settings: Settings,
    handle: Handle,
    state: Mutex<State>,
    /// Set: kill everything.
    pub(super) stop: Event,
    /// Set once the pool is closed and the last task has left.
    pub(super) empty: Event,
}

#[derive(Debug, Default)]
struct State {
    queue: BTreeMap<u64, Pending>,
    next: u64,
    /// By the number of the task.
    idle: Vec<(u64, Arc<Notify>)>,
    tasks: usize,
    tasks_ever: u64,
    under_way: BTreeMap<u64, &'static str>,
    closed: bool,
    /// Why the pool has given up.
    broken: Option<String>,
    failures: usize,
    counts: Counts,
}

#[derive(Clone, Copy, Debug, Default)]
struct Counts {
    processes: usize,
    started: u64,
    answered: u64,
    crashed: u64,
    killed: u64,
}

/// What a task is to do next.
pub(super) enum Next {
    Jobs(VecDeque<Pending>),
    Wait(Arc<Notify>),
    End,
}

impl Shared {
    pub(super) fn new(settings: Settings, handle: Handle) -> Shared {
        let state = Mutex::new(State::default());
        Shared { settings, handle, state, stop: Event::new(), empty: Event::new() }
    }

    /// Takes jobs in, gives them their ids, and finds tasks for them. An error: none was taken in.
    pub(super) fn submit(self: &Arc<Self>, mut jobs: Vec<Pending>) -> Result<Range<u64>, JobError> {
        let (range, woken, new) = {
            let mut state = self.state.lock();
            let state = &mut *state;
            if state.closed {
                return Err(JobError::Closed);
            }
            if let Some(reason) = &state.broken {
                return Err(JobError::NotStarted { reason: reason.clone() });
            }
            let first = state.next;
            // A chunk occupies one task.
            let chunks = jobs.len().div_ceil(jobs.first().map_or(1, |job| job.chunk));
            for mut job in jobs.drain(..) {
                job.id = state.next;
                job.group = first;
                frame::set_id(&mut Arc::make_mut(&mut job.frame)[..], job.id);
                state.next += 1;
                state.queue.insert(job.id, job);
            }
            let woken = state.idle.split_off(state.idle.len().saturating_sub(chunks));
            let new = (chunks - woken.len()).min(self.settings.workers - state.tasks);
            state.tasks += new;
            let first_task = state.tasks_ever;
            state.tasks_ever += new as u64;
            (first..state.next, woken, first_task..state.tasks_ever)
        };
        for (_, notify) in woken.iter().rev() {
            notify.notify_one();
        }
        for number in new {
            let seat = Seat { shared: self.clone(), number, notify: Arc::new(Notify::new()) };
            // A runtime that has ended drops it, and that is the end of the pool.
            drop(self.handle.spawn(crew::work(seat)));
        }
        Ok(range)
    }

    /// Takes out those of them that are still in the queue.
    pub(super) fn forget(&self, ids: &Range<u64>) {
        let forgotten: Vec<Pending> = {
            let mut state = self.state.lock();
            let ids: Vec<u64> = state.queue.range(ids.clone()).map(|(id, _)| *id).collect();
            ids.iter().filter_map(|id| state.queue.remove(id)).collect()
        };
        drop(forgotten);
    }

    /// A job is done with.
    pub(super) fn settle(&self, job: Pending, outcome: Outcome) {
        {
            let mut state = self.state.lock();
            state.under_way.remove(&job.id);
            match &outcome {
                Err(JobError::Crashed { .. }) => state.counts.crashed += 1,
                Err(JobError::TimedOut { .. } | JobError::Protocol { .. }) => state.counts.killed += 1,
                Err(JobError::NotStarted { .. } | JobError::Closed) => {}
                Ok(_) | Err(_) => state.counts.answered += 1,
            }
        }
        // Nobody may be listening any more.
        let _ = job.reply.try_send((job.index, outcome));
    }

    /// A running job nobody listens for was killed.
    pub(super) fn cancelled(&self, job: Pending) {
        {
            let mut state = self.state.lock();
            state.under_way.remove(&job.id);
            state.counts.killed += 1;
        }
        drop(job);
    }

    /// Puts jobs that have not begun back to where they were, but for those that nobody waits for.
    pub(super) fn put_back(&self, jobs: impl IntoIterator<Item = Pending>) {
        let mut dropped = Vec::new();
        {
            let mut state = self.state.lock();
            for job in jobs {
                state.under_way.remove(&job.id);
                // Closed for good: the queue is not looked at any more.
                if job.reply.is_closed() || self.stop.is_set() {
                    dropped.push(job);
                } else {
                    state.queue.insert(job.id, job);
                }
            }
        }
        drop(dropped);
    }

    /// No worker could be started. True: try again. Otherwise the pool has given up, and all that wait are
    /// told.
    pub(super) fn failed(&self, reason: &str) -> bool {
        let waiting = {
            let mut state = self.state.lock();
            state.failures += 1;
            if state.failures < FAILURES_MOST + self.settings.workers && state.broken.is_none() {
                return true;
            }
            state.broken.get_or_insert_with(|| reason.to_owned());
            mem::take(&mut state.queue)
        };
        for job in waiting.into_values() {
            self.settle(job, Err(JobError::NotStarted { reason: reason.to_owned() }));
        }
        false
    }

    /// A worker works.
    pub(super) fn succeeded(&self) {
        self.state.lock().failures = 0;
    }

    /// A process was started, or has ended.
    pub(super) fn count_process(&self, started: bool) {
        let mut state = self.state.lock();
        if started {
            state.counts.processes += 1;
            state.counts.started += 1;
        } else {
            state.counts.processes -= 1;
        }
    }

    /// No new jobs.
    pub(super) fn close(&self) {
        let idle = {
            let mut state = self.state.lock();
            state.closed = true;
            if state.tasks > 0 { Some(mem::take(&mut state.idle)) } else { None }
        };
        match idle {
            Some(idle) => idle.iter().for_each(|(_, notify)| notify.notify_one()),
            None => self.empty.set(),
        }
    }

    /// Kills what is under way and drops what is not; returns the names of the former and the number of the
    /// latter.
    pub(super) fn halt(&self) -> (Vec<&'static str>, usize) {
        let (under_way, queue) = {
            let mut state = self.state.lock();
            state.closed = true;
            (state.under_way.values().copied().collect(), mem::take(&mut state.queue))
        };
        self.stop.set();
        (under_way, queue.len())
    }

    pub(super) fn stats(&self) -> PoolStats {
        let state = self.state.lock();
        PoolStats {
            queued: state.queue.len(),
            running: state.under_way.len(),
            processes: state.counts.processes,
            started: state.counts.started,
            answered: state.counts.answered,
            crashed: state.counts.crashed,
            killed: state.counts.killed,
        }
    }

    pub(super) fn report(&self, (killed, dropped): (Vec<&'static str>, usize)) -> PoolReport {
        PoolReport { answered: self.stats().answered, crashed: self.stats().crashed, killed, dropped }
    }
}

/// A task of the pool. When it is dropped the task has left, for whatever reason.
#[derive(Debug)]
pub(super) struct Seat {
    pub(super) shared: Arc<Shared>,
    number: u64,
    notify: Arc<Notify>,
}

impl Seat {
    /// What to do now: at most `most` jobs of one group.
    pub(super) fn next(&self, most: usize) -> Next {
        let mut state = self.shared.state.lock();
        let state = &mut *state;
        let Some((_, first)) = state.queue.pop_first() else {
            if state.closed {
                return Next::End;
            }
            state.idle.push((self.number, self.notify.clone()));
            return Next::Wait(self.notify.clone());
        };
        let (group, most) = (first.group, most.min(first.chunk));
        let mut jobs = VecDeque::from([first]);
        while jobs.len() < most {
            match state.queue.first_entry() {
                Some(entry) if entry.get().group == group => jobs.push_back(entry.remove()),
                _ => break,
            }
        }
        state.under_way.extend(jobs.iter().map(|job| (job.id, job.name)));
        Next::Jobs(jobs)
    }

    /// It waits no more: it was notified, or has found something else to do.
    pub(super) fn not_idle(&self) {
        self.shared.state.lock().idle.retain(|(number, _)| *number != self.number);
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        self.not_idle();
        let left = {
            let mut state = self.shared.state.lock();
            state.tasks -= 1;
            // Only a runtime that ends, or a halt, leaves something: then nobody will come for it.
            if state.tasks == 0 { Some((state.closed, mem::take(&mut state.queue))) } else { None }
        };
        if let Some((closed, queue)) = left {
            drop(queue);
            if closed {
                self.shared.empty.set();
            }
        }
    }
}
