//! Layer 2, scheduler. Which threads there are, and which of them has which core.
//!
//! Owns the threads of the workers, and the cores that nobody has. A core that its thread cannot serve, because
//! that is stuck, or waits in a `block_on`, is *abandoned*: what it has to do goes to the others, and it lies here
//! until a thread *adopts* it. A thread without a core waits for one as a spare for a while, then ends; a core
//! for which there is no spare gets a new thread. Called by `Builder::build` at the start, by `monitor` when a
//! core was taken away, by `guest` for a core of its own, and by `shutdown`.
#![forbid(unsafe_code)]
// Cores go from hand to hand, and are some cache lines long.
#![allow(clippy::vec_box)]

use std::io;
use std::panic::Location;
use std::time::{Duration, Instant};

use super::core::{Core, Tell};
use super::shared::Scheduler;
use super::worker::{Hands, Worker};
use crate::context;
use crate::shim::Ordering::{Relaxed, SeqCst};
use crate::shim::thread::{self, JoinHandle};
use crate::shim::{Arc, Mutex};
use crate::util::wake::WakeOnDrop;

/// How long a spare thread waits for a core before it ends.
const SPARE_KEPT: Duration = Duration::from_secs(10);

pub(crate) struct Crew {
    pub(super) state: Mutex<State>,
}

#[derive(Default)]
pub(crate) struct State {
    /// Every thread that may have a core: for the monitor.
    pub(super) attached: Vec<Arc<Worker>>,
    /// Threads of ours that have no core and wait for one.
    spares: Vec<Arc<Worker>>,
    /// Threads that were started, and will look for a core.
    coming: usize,
    /// Workers' cores that nobody has.
    free: Vec<Box<Core>>,
    /// Guests' cores that nobody has; in the single-threaded flavour, the only core.
    guests: Vec<Box<Core>>,
    pub(super) threads: Vec<JoinHandle<()>>,
    /// How many threads were ever started, for their names.
    started: usize,
}

impl Crew {
    pub(super) fn new(workers: usize, mut cores: Vec<Box<Core>>) -> Crew {
        let guests = cores.split_off(workers);
        Crew { state: Mutex::new(State { free: cores, guests, ..State::default() }) }
    }

    /// How many threads there are.
    pub(super) fn threads(&self) -> usize {
        self.state.lock().count_threads()
    }

    /// How many guests' cores nobody has.
    #[cfg(test)]
    pub(super) fn guests(&self) -> usize {
        self.state.lock().guests.len()
    }

    pub(crate) fn detach(&self, worker: &Arc<Worker>) {
        self.state.lock().attached.retain(|attached| !Arc::ptr_eq(attached, worker));
    }

    /// Ends the sleep of every thread.
    pub(super) fn unpark_all(&self) {
        self.state.lock().attached.iter().for_each(|worker| worker.unpark());
    }

    /// Sees to it that each worker's core that nobody has finds a thread: a spare one, or a new one. Fails when
    /// there can be none.
    pub(super) fn staff(&self, scheduler: &Arc<Scheduler>) -> io::Result<()> {
        let mut state = self.state.lock();
        if scheduler.is_stopping() {
            return Err(io::Error::other("the runtime ends"));
        }
        if !state.free.is_empty() {
            state.spares.iter().for_each(|spare| spare.unpark());
        }
        while state.free.len() > state.spares.len() + state.coming {
            // Each worker stuck and replaced, and two more.
            if state.count_threads() >= 2 * scheduler.config.workers + 2 {
                return Err(io::Error::other("all substitutes are stuck too"));
            }
            let name = format!("{}-{}", scheduler.config.name, state.started);
            let of_thread = scheduler.clone();
            state.threads.push(thread::Builder::new().name(name).spawn(move || thread_main(&of_thread))?);
            state.started += 1;
            state.coming += 1;
        }
        Ok(())
    }

    /// A core for a thread of ours, which may wait for it for a while. `None`: the thread should end.
    fn next_core(&self, worker: &Arc<Worker>) -> Hands {
        let until = Instant::now() + SPARE_KEPT;
        let mut state = self.state.lock();
        state.spares.push(worker.clone());
        let core = loop {
            let left = until.saturating_duration_since(Instant::now());
            if worker.scheduler.is_stopping() {
                break None;
            }
            let core = state.free.pop();
            if core.is_some() || left.is_zero() || state.spares.len() > worker.scheduler.config.workers {
                break core;
            }
            drop(state);
            worker.parker.park(Some(left));
            state = self.state.lock();
        };
        state.spares.retain(|spare| !Arc::ptr_eq(spare, worker));
        core
    }
}

impl State {
    fn count_threads(&mut self) -> usize {
        self.threads.retain(|thread| !thread.is_finished());
        self.threads.len()
    }
}

/// Joins the threads that have ended, or are about to: what they leave to be dropped is gone. One that is stuck at
/// the deadline is left to itself, and so is the calling one.
pub(super) fn join_all(threads: impl IntoIterator<Item = JoinHandle<()>>, deadline: Option<Instant>) {
    for thread in threads {
        if thread.thread().id() != thread::current().id() && wait(deadline, || thread.is_finished()) {
            let _ = thread.join();
        }
    }
}

/// Waits until `done`, or the deadline. True: done. For the end of a runtime, where nobody tells what is waited
/// for.
pub(super) fn wait(deadline: Option<Instant>, mut done: impl FnMut() -> bool) -> bool {
    let mut pause = Duration::from_micros(50);
    while !done() {
        if deadline.is_some_and(|deadline| Instant::now() >= deadline) {
            return false;
        }
        thread::park_timeout(pause);
        pause = (pause * 2).min(Duration::from_millis(1));
    }
    true
}

/// What a worker's thread does, from its start to its end.
fn thread_main(scheduler: &Arc<Scheduler>) {
    let here = context::enter_worker(scheduler.clone());
    scheduler.crew.state.lock().coming -= 1;
    while let Some(core) = scheduler.crew.next_core(&here.worker) {
        let core = scheduler.adopt(core, &here.worker);
        // It comes back from a run, but for one that was lost to a long poll.
        if let Some(core) = here.worker.run(core) {
            scheduler.abandon(core);
        }
    }
}

impl Scheduler {
    /// `worker`'s thread has the core from now on, which nobody had.
    fn adopt(&self, mut core: Box<Core>, worker: &Arc<Worker>) -> Box<Core> {
        let remote = &self.cores[core.index];
        *remote.attendant.lock() = Some(worker.clone());
        self.idle.join(core.guest);
        // Ordering: SeqCst: with the loads in `unpark_timers` and `prepare_timers`.
        if remote.orphan.swap(false, SeqCst) {
            self.orphans.fetch_sub(1, SeqCst);
        }
        remote.timers.unparked();
        core.slept();
        self.monitor.rouse();
        core
    }

    /// Takes a core out of those that nobody has, for `worker`: a guest's, or one of the workers'.
    pub(super) fn take(&self, guest: bool, worker: &Arc<Worker>) -> Hands {
        let mut state = self.crew.state.lock();
        let core = if guest { state.guests.pop() } else { state.free.pop() };
        drop(state);
        core.map(|core| self.adopt(core, worker))
    }

    /// Nobody has the core any more: its tasks go to the others, and its timers are served by whoever parks.
    pub(super) fn abandon(&self, mut core: Box<Core>) {
        let index = core.index;
        let remote = &self.cores[index];
        *remote.attendant.lock() = None;
        remote.keeps.store(0, Relaxed);
        // It may come from inside user code, which goes on without it.
        (core.in_batch, core.in_root, core.trusted) = (false, false, false);
        if std::mem::take(&mut core.searching) {
            let _ = self.idle.end_search();
        }
        self.injector.push_batch(core.drain());
        for waker in core.wakers.drain(..).rev().map(WakeOnDrop) {
            // Left behind by a thread that is stuck in the waker before; and this one may be like that, too.
            drop(self.spawn(async { drop(waker) }, None, Location::caller()));
        }
        self.idle.leave(core.guest);
        // A worker's also without timers: threads that have no core leave theirs to one of these.
        let orphaned = (!core.guest || !remote.timers.is_empty()) && !remote.orphan.swap(true, SeqCst);
        if orphaned {
            self.orphans.fetch_add(1, SeqCst);
        }
        let mut state = self.crew.state.lock();
        if index < self.config.workers {
            state.free.push(core);
        } else {
            state.guests.push(core);
            if self.is_single_threaded() {
                // Callers of `block_on` that found no core cannot go on without it.
                state.attached.iter().for_each(|waiting| waiting.unpark());
            }
        }
        drop(state);
        // Three things may have been left to this core: deadlines, which whoever sleeps must know of now;
        // what came while it counted as awake (the look that follows each `leave`); and the reactor.
        let reactor = self.driver.reactor(index);
        if orphaned || self.has_work() || reactor.sources() > 0 {
            self.tell(Tell::OneForSure);
        }
    }
}
