//! Layer 2, scheduler. Which threads there are, and which of them has which core.
//!
//! Owns the threads of the workers, the spare ones that wait for a core, and the cores that wait for a
//! thread. A thread that comes back from a long poll without its core stays as a spare for a while, then
//! ends. Called by `Runtime` at its start, by `monitor` when a core was taken away, by `guest` for a core of
//! its own, and by `shutdown`.
#![forbid(unsafe_code)]
// Cores go from hand to hand, and are some cache lines long.
#![allow(clippy::vec_box)]

use std::io;
use std::panic::Location;
use std::task::Waker;
use std::time::{Duration, Instant};

use super::core::{Core, Role};
use super::shared::Scheduler;
use super::worker::{Left, Worker};
use crate::context;
use crate::shim::Ordering::{Relaxed, SeqCst};
use crate::shim::thread::{self, JoinHandle};
use crate::shim::{Arc, Condvar, Mutex, MutexGuard};

/// How long a spare thread waits for a core before it ends.
const SPARE_KEPT: Duration = Duration::from_secs(10);

/// How often at most it is said that no substitute can be started.
const SAY_AGAIN: Duration = Duration::from_secs(60);

#[derive(Debug)]
pub(crate) struct Crew {
    workers: usize,
    state: Mutex<State>,
    /// A thread or a task ended while the runtime stops.
    progress: Condvar,
}

#[derive(Debug, Default)]
pub(super) struct State {
    /// Every thread that may have a core: for the monitor.
    pub(super) attached: Vec<Arc<Worker>>,
    /// Threads of ours that wait for a core, the latest last, and what each was handed.
    spares: Vec<Arc<Worker>>,
    /// Workers' cores that nobody has: they were taken from a stuck thread, and no other could be had.
    homeless: Vec<Box<Core>>,
    /// Guests' cores that nobody has.
    guests: Vec<Box<Core>>,
    /// Cores on their way to a spare thread.
    handed: Vec<(Arc<Worker>, Box<Core>)>,
    /// Callers of `block_on` that found no core, in the single-threaded flavour: they cannot go on without
    /// one.
    waiting: Vec<Arc<Worker>>,
    threads: Vec<JoinHandle<()>>,
    /// Threads started and not ended.
    live: usize,
    /// How many were ever started, for their names.
    started: usize,
    stopping: bool,
    /// When it was last said that no substitute can be started.
    failure_said: Option<Instant>,
}

impl Crew {
    pub(super) fn new(workers: usize) -> Crew {
        Crew { workers, state: Mutex::default(), progress: Condvar::new() }
    }

    /// Most threads at a time: each worker stuck and replaced, and two more.
    fn threads_max(&self) -> usize {
        2 * self.workers + 2
    }

    pub(super) fn threads(&self) -> usize {
        self.state.lock().live
    }

    /// How many guests' cores nobody has.
    #[cfg(test)]
    pub(super) fn guests(&self) -> usize {
        self.state.lock().guests.len()
    }

    /// Which tasks were seen running, by id, and since when.
    pub(super) fn running(&self) -> Vec<(u64, Instant)> {
        self.state.lock().attached.iter().filter_map(|worker| worker.seen()).collect()
    }

    pub(super) fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock()
    }

    /// Starts a thread for each worker's core, and keeps those of guests.
    pub(crate) fn start(&self, scheduler: &Arc<Scheduler>, cores: Vec<Box<Core>>) -> io::Result<()> {
        for core in cores {
            if core.index < self.workers {
                scheduler.idle.join();
                self.start_thread(scheduler, core).map_err(|(error, _)| error)?;
            } else {
                self.state.lock().guests.push(core);
            }
        }
        Ok(())
    }

    fn start_thread(
        &self,
        scheduler: &Arc<Scheduler>,
        core: Box<Core>,
    ) -> Result<(), (io::Error, Box<Core>)> {
        let mut state = self.state.lock();
        let name = format!("{}-{}", scheduler.config.name, state.started);
        // Handed over by a cell, so that the core comes back when the thread cannot be started.
        let cell = Arc::new(Mutex::new(Some(core)));
        let (for_thread, scheduler) = (cell.clone(), scheduler.clone());
        let started = thread::Builder::new().name(name).spawn(move || {
            let core = for_thread.lock().take();
            drop(for_thread);
            thread_main(scheduler, core.expect("put there for this thread"));
        });
        match started {
            Ok(handle) => {
                state.started += 1;
                state.live += 1;
                state.threads.retain(|thread| !thread.is_finished());
                state.threads.push(handle);
                Ok(())
            }
            Err(error) => {
                let core = cell.lock().take().expect("no thread took it");
                Err((error, core))
            }
        }
    }

    /// Gives a core to another thread: a spare one, or a new one. A guest's goes back to where guests' are.
    /// Fails, and gives the core back, when no thread can be had.
    pub(super) fn offer(
        &self,
        scheduler: &Arc<Scheduler>,
        mut core: Box<Core>,
    ) -> Result<(), (io::Error, Box<Core>)> {
        // It comes from inside user code, which goes on without it.
        core.in_batch = false;
        core.in_root = false;
        if core.index >= self.workers {
            scheduler.abandon(core, |state, core| state.put_guest(core));
            return Ok(());
        }
        let mut state = self.state.lock();
        if let Some(spare) = state.spares.pop() {
            state.handed.push((spare.clone(), core));
            drop(state);
            spare.unpark();
            return Ok(());
        }
        let full = state.live >= self.threads_max() || state.stopping;
        drop(state);
        if full {
            return Err((io::Error::other("all substitutes are stuck too"), core));
        }
        self.start_thread(scheduler, core)
    }

    /// A core was taken from a stuck thread: finds another for it, or leaves what it has to the others.
    pub(super) fn replace(&self, scheduler: &Arc<Scheduler>, core: Box<Core>) {
        let Err((error, core)) = self.offer(scheduler, core) else { return };
        let mut state = self.state.lock();
        if !state.stopping && state.failure_said.is_none_or(|said| said.elapsed() > SAY_AGAIN) {
            state.failure_said = Some(Instant::now());
            eprintln!(
                "filch: a worker of \"{}\" is stuck in a task, and no substitute can take its place: {error}; move \
                 the blocking call into spawn_blocking",
                scheduler.config.name
            );
        }
        drop(state);
        scheduler.abandon(core, |state, core| state.homeless.push(core));
    }

    /// Tries again for cores that found no thread. Called by the monitor at each tick.
    pub(super) fn retry(&self, scheduler: &Arc<Scheduler>) {
        let core = {
            let mut state = self.state.lock();
            if state.stopping || (state.live >= self.threads_max() && state.spares.is_empty()) {
                return;
            }
            state.homeless.pop()
        };
        if let Some(core) = core {
            scheduler.adopt(&core);
            self.replace(scheduler, core);
        }
    }

    /// A core for a caller of `block_on`, if there is one.
    pub(super) fn take_guest(&self, worker: &Arc<Worker>) -> Option<Box<Core>> {
        let mut state = self.state.lock();
        match state.guests.pop() {
            Some(core) => {
                state.attached.push(worker.clone());
                state.waiting.retain(|waiting| !Arc::ptr_eq(waiting, worker));
                Some(core)
            }
            None => {
                if self.workers == 0 {
                    state.waiting.push(worker.clone());
                }
                None
            }
        }
    }

    pub(super) fn detach(&self, worker: &Arc<Worker>) {
        let mut state = self.state.lock();
        state.attached.retain(|attached| !Arc::ptr_eq(attached, worker));
        state.waiting.retain(|waiting| !Arc::ptr_eq(waiting, worker));
    }

    /// Something ended while the runtime stops: whoever waits for that looks again.
    pub(super) fn progress(&self) {
        let _state = self.state.lock();
        self.progress.notify_all();
    }

    /// Waits until `done` or the deadline. True: done.
    pub(super) fn wait_until(&self, deadline: Option<Instant>, mut done: impl FnMut(&State) -> bool) -> bool {
        let mut state = self.state.lock();
        loop {
            if done(&state) {
                return true;
            }
            let left = deadline.map(|deadline| deadline.saturating_duration_since(Instant::now()));
            state = match left {
                Some(Duration::ZERO) => return false,
                Some(left) => self.progress.wait_timeout(state, left),
                None => self.progress.wait(state),
            };
        }
    }

    /// Sends the spares home; the others end when they see that the runtime stops.
    pub(super) fn stop(&self) {
        let mut state = self.state.lock();
        state.stopping = true;
        for spare in &state.spares {
            let _ = spare.parker.unpark();
        }
    }

    /// Whether the calling thread is one of the crew's.
    pub(super) fn is_own_thread(&self) -> bool {
        let here = thread::current().id();
        self.state.lock().threads.iter().any(|thread| thread.thread().id() == here)
    }

    /// Joins the threads that have ended, or are about to: what they leave to be dropped is gone. One that is
    /// stuck in a task is left to itself, and so is the calling one.
    pub(super) fn join(&self, deadline: Option<Instant>) {
        // Taken first: the threads need the lock for their end.
        let threads = std::mem::take(&mut self.state.lock().threads);
        join_all(threads, deadline);
    }
}

/// Waits for `threads` to end, but for the calling one. What is left at the deadline is left to itself.
pub(super) fn join_all(threads: Vec<JoinHandle<()>>, deadline: Option<Instant>) {
    for thread in threads {
        if thread.thread().id() == thread::current().id() {
            continue;
        }
        while !thread.is_finished() && deadline.is_none_or(|deadline| Instant::now() < deadline) {
            thread::park_timeout(Duration::from_micros(200));
        }
        if thread.is_finished() {
            let _ = thread.join();
        }
    }
}

impl State {
    pub(super) fn live(&self) -> usize {
        self.live
    }

    /// A core that nobody has, when the runtime is over.
    pub(super) fn take_core(&mut self) -> Option<Box<Core>> {
        let handed = |(_, core): (Arc<Worker>, Box<Core>)| core;
        self.guests.pop().or_else(|| self.homeless.pop()).or_else(|| self.handed.pop().map(handed))
    }

    /// Gives back what `take_core` gave.
    pub(super) fn put_back(&mut self, core: Box<Core>) {
        match core.role {
            Role::Worker if self.started > 0 => self.homeless.push(core),
            _ => self.put_guest(core),
        }
    }

    /// A guest's core is free again; one who waits for it is told.
    pub(super) fn put_guest(&mut self, core: Box<Core>) {
        self.guests.push(core);
        for waiting in self.waiting.drain(..) {
            waiting.unpark();
        }
    }
}

/// What a worker's thread does, from its start to its end.
fn thread_main(scheduler: Arc<Scheduler>, core: Box<Core>) {
    let worker = Worker::new(scheduler.clone());
    scheduler.crew.state.lock().attached.push(worker.clone());
    let _here = context::enter_worker(&worker);
    let mut next = Some(core);
    while let Some(core) = next {
        scheduler.attend(&core, &worker);
        next = match worker.run(core) {
            Left::Stopped(core) => {
                // The attendant keeps the scheduler, which keeps the attendant.
                *scheduler.cores[core.index].attendant.lock() = None;
                scheduler.crew.state.lock().put_back(core);
                None
            }
            Left::Lost => wait_for_core(&scheduler, &worker),
        };
    }
    scheduler.crew.detach(&worker);
    let mut state = scheduler.crew.state.lock();
    state.live -= 1;
    scheduler.crew.progress.notify_all();
}

/// A thread that came back from a long poll without its core: takes one that has no thread, or waits for one.
fn wait_for_core(scheduler: &Arc<Scheduler>, worker: &Arc<Worker>) -> Option<Box<Core>> {
    let crew = &scheduler.crew;
    let until = Instant::now() + SPARE_KEPT;
    let mut state = crew.state.lock();
    if let Some(core) = state.homeless.pop() {
        drop(state);
        scheduler.adopt(&core);
        return Some(core);
    }
    if state.spares.len() >= crew.workers {
        return None;
    }
    state.spares.push(worker.clone());
    loop {
        if let Some(at) = state.handed.iter().position(|(spare, _)| Arc::ptr_eq(spare, worker)) {
            return Some(state.handed.swap_remove(at).1);
        }
        let left = until.saturating_duration_since(Instant::now());
        if state.stopping || left.is_zero() {
            state.spares.retain(|spare| !Arc::ptr_eq(spare, worker));
            return None;
        }
        drop(state);
        worker.parker.park(Some(left));
        state = crew.state.lock();
    }
}

impl Scheduler {
    /// Starts the workers' threads, and the monitor's if it has something to do.
    pub(crate) fn start(self: &Arc<Self>, cores: Vec<Box<Core>>, monitored: bool) -> io::Result<()> {
        self.crew.start(self, cores)?;
        if monitored { self.monitor.start(self) } else { Ok(()) }
    }

    /// `worker`'s thread has the core from now on.
    pub(super) fn attend(&self, core: &Core, worker: &Arc<Worker>) {
        *self.cores[core.index].attendant.lock() = Some(worker.clone());
    }

    /// A core that nobody had counts again.
    pub(super) fn adopt(&self, core: &Core) {
        let remote = &self.cores[core.index];
        match core.role {
            Role::Worker => self.idle.join(),
            Role::Guest | Role::ShyGuest => self.idle.guest_wakes(),
        }
        // Ordering: SeqCst: with the loads in `unpark_timers` and `prepare_timers`.
        if remote.orphan.swap(false, SeqCst) {
            self.orphans.fetch_sub(1, SeqCst);
        }
        remote.timers.unparked();
        self.monitor.rouse();
    }

    /// Nobody has the core any more: its tasks go to the others, and its timers are served by whoever parks.
    pub(super) fn abandon(&self, mut core: Box<Core>, keep: impl FnOnce(&mut State, Box<Core>)) {
        let index = core.index;
        let remote = &self.cores[index];
        *remote.attendant.lock() = None;
        remote.keeps.store(0, Relaxed);
        if std::mem::take(&mut core.searching) {
            let _ = self.idle.end_search();
        }
        self.injector.push_batch(core.drain());
        let batch = std::mem::take(&mut core.batch);
        if !batch.is_empty() {
            // Left behind by a thread that is stuck in the waker before them.
            drop(self.spawn(async { batch.into_iter().for_each(Waker::wake) }, None, Location::caller()));
        }
        match core.role {
            Role::Worker => self.idle.leave(),
            Role::Guest | Role::ShyGuest => self.idle.guest_sleeps(),
        }
        let orphaned = !remote.timers.is_empty() && !remote.orphan.swap(true, SeqCst);
        if orphaned {
            self.orphans.fetch_add(1, SeqCst);
        }
        keep(&mut self.crew.state.lock(), core);
        // Three things may have been left to this core: deadlines, which whoever sleeps must know of now;
        // what came while it counted as awake (the look that follows each `leave`); and the reactor.
        let reactor = self.driver.reactor(index);
        if orphaned || self.has_work() || reactor.sources() > 0 {
            if let Some(sleeper) = self.idle.notify() {
                self.unpark(sleeper);
            }
        }
    }
}
