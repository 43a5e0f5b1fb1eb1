//! Layer 2, scheduler. A thread at work on a core: find a task, run it, look around, sleep.
//!
//! Owns the search order. The loop holds the core in its hands, and puts it down (see `lease`) whenever user
//! code runs: polls, wakers, drops. Called by `crew` on workers' threads and by `guest` on the caller's of
//! `block_on`.
#![forbid(unsafe_code)]

use std::time::{Duration, Instant};

use super::core::{Core, Role, Tell};
use super::lease::Lease;
use super::shared::{Remote, Scheduler};
use crate::context;
use crate::shim::Arc;
use crate::shim::Mutex;
use crate::shim::Ordering::{Relaxed, SeqCst};
use crate::shim::owner::{AtomicU32, AtomicU64};
use crate::task::{Ran, Runnable};
use crate::util::parker::Parker;
use crate::util::wake::guarded;

/// At most so many tasks are taken from the injector at once.
const BATCH_MAX: usize = 64;

/// One thread that can work on a core. Shared with the monitor, and with whoever unparks it.
#[derive(Debug)]
pub(crate) struct Worker {
    pub(crate) scheduler: Arc<Scheduler>,
    pub(crate) lease: Lease<Core>,
    pub(crate) parker: Parker,
    /// Polls begun on this thread; the monitor sees a poll that takes long by it. Only this thread writes.
    pub(super) polls: AtomicU32,
    /// The id of the task polled last. Only this thread writes.
    pub(super) current: AtomicU64,
    /// The operating system's number of the thread.
    pub(super) thread: u32,
    /// Only the monitor's.
    pub(super) watch: Mutex<super::monitor::Watch>,
}

/// Why a worker's loop ended.
pub(super) enum Left {
    /// The core was taken away while a task was polled.
    Lost,
    /// The runtime stops.
    Stopped(Box<Core>),
}

impl Worker {
    /// For the calling thread.
    pub(super) fn new(scheduler: Arc<Scheduler>) -> Arc<Worker> {
        Arc::new(Worker {
            scheduler,
            lease: Lease::new(),
            parker: Parker::new(),
            polls: AtomicU32::new(0),
            current: AtomicU64::new(0),
            thread: context::thread_number(),
            watch: Mutex::default(),
        })
    }

    /// Works until the runtime stops or the core is lost.
    pub(super) fn run(&self, core: Box<Core>) -> Left {
        // It may come from a thread that is stuck in a waker, with others left to be woken.
        let Ok(mut core) = self.wake(core) else { return Left::Lost };
        loop {
            let next = match self.find(core) {
                Ok((mut core, Some(runnable))) => {
                    self.found(&mut core);
                    self.run_one(core, runnable)
                }
                Ok((core, None)) if self.scheduler.is_stopping() => return Left::Stopped(core),
                Ok((core, None)) => self.park(core),
                Err(Lost) => return Left::Lost,
            };
            match next {
                Ok(back) => core = back,
                Err(Lost) => return Left::Lost,
            }
        }
    }

    fn remote(&self, core: &Core) -> &Remote {
        &self.scheduler.cores[core.index]
    }

    /// The next task, in this order: when it is due a look at the timers, the reactor and the injector; the
    /// core's own; the injector; another's queue.
    pub(super) fn find(&self, core: Box<Core>) -> Result<(Box<Core>, Option<Runnable>), Lost> {
        let (mut core, next) = self.find_near(core)?;
        let next = match core.role {
            Role::Worker => next.or_else(|| self.search(&mut core)),
            Role::Guest | Role::ShyGuest => next,
        };
        Ok((core, next))
    }

    /// As `find`, without a search in others' queues.
    pub(super) fn find_near(&self, mut core: Box<Core>) -> Result<(Box<Core>, Option<Runnable>), Lost> {
        if core.is_look_due() {
            core = self.look(core)?;
        }
        let mut next = core.next(&self.scheduler.injector);
        if core.role == Role::Worker {
            next = next.or_else(|| self.take_injected(&mut core));
        }
        Ok((core, next))
    }

    /// Takes a share of what was injected: one to run, the rest into the own queue.
    fn take_injected(&self, core: &mut Core) -> Option<Runnable> {
        let injector = &self.scheduler.injector;
        if injector.is_empty() {
            return None;
        }
        let share = injector.len() / self.scheduler.config.workers.max(1);
        let queue = &mut core.queue;
        // The queue was empty, or (on a look) has room for a few: what does not fit stays where it is.
        let room = super::queue::CAPACITY - queue.len();
        let first = injector.pop_batch(share.min(room / 2).min(BATCH_MAX), |runnable| {
            if queue.push(runnable).is_err() {
                unreachable!("only the owner fills a queue, and it counted the room");
            }
        });
        if !queue.is_empty() {
            self.scheduler.tell(Tell::One);
        }
        first
    }

    /// Takes half of another worker's queue.
    fn search(&self, core: &mut Core) -> Option<Runnable> {
        let cores = &self.scheduler.cores;
        if cores.len() == 1 || !(core.searching || self.scheduler.idle.start_search()) {
            return None;
        }
        core.searching = true;
        let start = core.rng.below(cores.len() as u32) as usize;
        for i in 0..cores.len() {
            let victim = (start + i) % cores.len();
            if victim == core.index || !cores[victim].has_prey() {
                continue;
            }
            if let Some(runnable) = cores[victim].stealer.steal_into(&mut core.queue) {
                self.remote(core).counts.steals.add(1);
                return Some(runnable);
            }
        }
        // Between the look at the injector and here, one may have come.
        self.take_injected(core)
    }

    /// A task is about to be run: the search, if there was one, is over, and the next searcher is sent out.
    #[inline]
    pub(super) fn found(&self, core: &mut Core) {
        if core.searching {
            core.searching = false;
            if self.scheduler.idle.end_search() {
                if let Some(sleeper) = self.scheduler.idle.notify() {
                    self.scheduler.unpark(sleeper);
                }
            }
        }
    }

    /// Polls one task.
    #[inline]
    pub(super) fn run_one(&self, core: Box<Core>, runnable: Runnable) -> Result<Box<Core>, Lost> {
        self.remote(&core).counts.polls.add(1);
        self.begin_poll(runnable.id());
        self.lease.put(core);
        let again = match runnable.run() {
            Ran::Idle => None,
            Ran::Again(runnable) => Some(runnable),
            Ran::Done(done) => {
                self.scheduler.finish(done);
                None
            }
        };
        match (self.lease.take(), again) {
            (Some(mut core), Some(runnable)) => {
                core.push_back(runnable, &self.scheduler.injector);
                Ok(core)
            }
            (Some(core), None) => Ok(core),
            (None, again) => {
                if let Some(runnable) = again {
                    self.scheduler.inject(runnable);
                }
                Err(Lost)
            }
        }
    }

    /// Tells the monitor that a poll begins.
    #[inline]
    pub(super) fn begin_poll(&self, id: u64) {
        // Ordering: Relaxed: the monitor compares two looks, milliseconds apart.
        self.polls.store(self.polls.load(Relaxed).wrapping_add(1), Relaxed);
        self.current.store(id, Relaxed);
    }

    /// Runs user code that is no poll: wakers. What it wakes goes to the own queue. One at a time, and the
    /// others with the core meanwhile: should one not come back, whoever gets the core goes on with them.
    fn wake(&self, mut core: Box<Core>) -> Result<Box<Core>, Lost> {
        let Core { batch, wakers, .. } = &mut *core;
        batch.extend(wakers.drain(..));
        core.in_batch = !core.batch.is_empty();
        while let Some(waker) = core.batch.pop_front() {
            self.begin_poll(0);
            self.lease.put(core);
            guarded("a waker", || waker.wake());
            core = self.lease.take().ok_or(Lost)?;
        }
        // One is run here and now; for more there may be help.
        if std::mem::take(&mut core.in_batch) && core.len() > 1 {
            self.scheduler.tell(Tell::One);
        }
        Ok(core)
    }

    /// A busy worker's look at timers, reactor and injector.
    fn look(&self, mut core: Box<Core>) -> Result<Box<Core>, Lost> {
        core.looked();
        self.remote(&core).counts.looks.add(1);
        self.fire(&mut core);
        if core.role == Role::Worker {
            self.poll_reactor(&mut core);
            if let Some(runnable) = self.take_injected(&mut core) {
                core.push_back(runnable, &self.scheduler.injector);
            }
        }
        self.wake(core)
    }

    /// Collects the wakers of timers that are due: the core's own, and those of cores that nobody attends.
    fn fire(&self, core: &mut Core) {
        let clock = self.scheduler.driver.clock();
        let mut fire = |remote: &Remote| {
            // Most of the time there is no timer near, and then no look at the clock either.
            if remote.timers.earliest() != u64::MAX {
                let now = clock.now();
                if remote.timers.earliest() <= now {
                    while remote.timers.fire(now, &mut core.wakers) > 0 {}
                }
            }
        };
        fire(&self.scheduler.cores[core.index]);
        if self.scheduler.orphans.load(Relaxed) > 0 {
            self.orphans().for_each(fire);
        }
    }

    fn orphans(&self) -> impl Iterator<Item = &Remote> {
        self.scheduler.cores.iter().map(|core| &**core).filter(|core| core.orphan.load(Relaxed))
    }

    fn poll_reactor(&self, core: &mut Core) {
        let reactor = self.scheduler.driver.reactor(core.index);
        if reactor.sources() == 0 {
            return;
        }
        if let Some(mut polling) = reactor.try_lock() {
            if let Err(error) = polling.poll(Some(Duration::ZERO), &mut core.wakers) {
                report(&error);
            }
        }
    }

    /// Sleeps until there is something to do.
    pub(super) fn park(&self, mut core: Box<Core>) -> Result<Box<Core>, Lost> {
        let idle = &self.scheduler.idle;
        if core.role != Role::Worker {
            return self.park_guest(core);
        }
        if self.spin(&mut core) {
            return Ok(core);
        }
        self.remote(&core).counts.parks.add(1);
        idle.sleep(core.index, core.searching);
        // The look after the fence; see `idle`. It includes the timers: a core that is abandoned from now on
        // finds this worker asleep, and one that was before is seen.
        let found = self.scheduler.has_work();
        if !found && (self.scheduler.is_single_threaded() || !self.scheduler.is_stopping()) {
            let until = self.prepare_timers(&core);
            self.block(&mut core, until);
        }
        core.searching = idle.wake(core.index, found);
        self.scheduler.monitor.rouse();
        self.remote(&core).timers.unparked();
        core.slept();
        self.fire(&mut core);
        self.wake(core)
    }

    /// A guest sleeps until its root is woken or a timer of its own is due. Nobody else counts on it: what
    /// lies in its queue it has run, and of the rest the workers take care.
    fn park_guest(&self, mut core: Box<Core>) -> Result<Box<Core>, Lost> {
        let timers = &self.remote(&core).timers;
        let until = timers.prepare_park();
        self.scheduler.idle.guest_sleeps();
        let timeout = self.timeout(until);
        if timeout.is_none_or(|timeout| !timeout.is_zero()) {
            self.parker.park(timeout);
        }
        self.scheduler.idle.guest_wakes();
        self.scheduler.monitor.rouse();
        timers.unparked();
        core.slept();
        self.fire(&mut core);
        self.wake(core)
    }

    /// How long it is until `until`. `None`: for ever.
    fn timeout(&self, until: u64) -> Option<Duration> {
        match until {
            u64::MAX => None,
            until => Some(Duration::from_nanos(until.saturating_sub(self.scheduler.driver.clock().now()))),
        }
    }

    /// Publishes until when this thread sleeps: the first deadline of the core's timers, and of those that
    /// nobody attends.
    fn prepare_timers(&self, core: &Core) -> u64 {
        let own = self.remote(core).timers.prepare_park();
        if self.scheduler.orphans.load(SeqCst) == 0 {
            return own;
        }
        self.orphans().map(|orphan| orphan.timers.prepare_park()).fold(own, u64::min)
    }

    /// Blocks in the reactor if it is free, else on the own parker.
    fn block(&self, core: &mut Core, until: u64) {
        let clock = self.scheduler.driver.clock();
        if clock.is_virtual() {
            return self.block_virtual(core, until);
        }
        let timeout = self.timeout(until);
        if timeout.is_some_and(|timeout| timeout.is_zero()) {
            return;
        }
        let reactor = self.scheduler.driver.reactor(core.index);
        let Some(mut polling) = reactor.try_lock() else {
            self.parker.park(timeout);
            return;
        };
        if self.parker.start_polling() {
            let polled = polling.poll(timeout, &mut core.wakers);
            self.parker.end_polling();
            if let Err(error) = polled {
                report(&error);
            }
        }
    }

    /// Under the virtual clock: what the sockets have now, else a jump to the next deadline, else a wait for
    /// other threads.
    #[cold]
    fn block_virtual(&self, core: &mut Core, until: u64) {
        let reactor = self.scheduler.driver.reactor(core.index);
        let timeout = if until == u64::MAX { None } else { Some(Duration::ZERO) };
        if timeout.is_none() || reactor.sources() > 0 {
            if let Some(mut polling) = reactor.try_lock() {
                if !self.parker.start_polling() {
                    return;
                }
                let polled = polling.poll(timeout, &mut core.wakers);
                let unparked = self.parker.end_polling();
                if let Err(error) = polled {
                    report(&error);
                }
                if unparked || !core.wakers.is_empty() {
                    return;
                }
            }
        }
        if until != u64::MAX {
            self.scheduler.driver.clock().advance_to(until);
        }
    }

    /// Looks for work a little longer before the sleep. True: there is some.
    fn spin(&self, core: &mut Core) -> bool {
        let spin = self.scheduler.config.spin;
        if spin.is_zero() || !core.searching {
            return false;
        }
        let start = Instant::now();
        while start.elapsed() < spin {
            if self.scheduler.has_work() {
                return true;
            }
            std::hint::spin_loop();
        }
        false
    }
}

/// The core was taken away.
#[derive(Debug, Clone, Copy)]
pub(super) struct Lost;

/// The reactor failed. That leaves sockets without events, so it is said; a pause keeps it from being said
/// too often.
#[cold]
fn report(error: &std::io::Error) {
    eprintln!("filch: waiting for events failed: {error}");
    crate::shim::thread::park_timeout(Duration::from_millis(10));
}
