//! Layer 2, scheduler. A thread at work on a core: find a task, run it, look around, sleep.
//!
//! Owns the search order. The loop holds the core in its hands, and puts it down (see `lease`) whenever user
//! code runs: polls, wakers, drops. Called by `crew` on workers' threads and by `guest` on the caller's of
//! `block_on`.
#![forbid(unsafe_code)]

use std::sync::Weak;
use std::time::Duration;

use super::core::{Core, Tell};
use super::lease::Lease;
use super::shared::{Remote, Scheduler};
use crate::context;
use crate::driver::clock::NEVER;
use crate::driver::reactor::Polling;
use crate::shim::Arc;
use crate::shim::Mutex;
use crate::shim::Ordering::{Relaxed, SeqCst};
use crate::shim::owner::{AtomicU32, AtomicU64};
use crate::task::{Ran, Runnable};
use crate::util::parker::{Parker, Unpark};
use crate::util::wake::guarded;

/// At most so many tasks are taken from the injector at once.
const BATCH_MAX: usize = 64;

/// One thread that can work on a core. Shared with the monitor, and with whoever unparks it.
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
    pub(crate) me: Weak<Worker>,
    /// Only the monitor's.
    pub(super) watch: Mutex<super::monitor::Watch>,
}

/// The core that a thread has. `None`: it has none, for one was taken away while user code ran.
pub(super) type Hands = Option<Box<Core>>;

impl Worker {
    /// For the calling thread. The monitor looks after it until `Crew::detach`.
    pub(crate) fn new(scheduler: Arc<Scheduler>) -> Arc<Worker> {
        let worker = Arc::new_cyclic(|me| Worker {
            scheduler,
            lease: Lease::new(),
            parker: Parker::new(),
            polls: AtomicU32::new(0),
            current: AtomicU64::new(0),
            thread: context::thread_number(),
            me: me.clone(),
            watch: Mutex::default(),
        });
        worker.scheduler.crew.state.lock().attached.push(worker.clone());
        worker
    }

    /// Works until the runtime stops, or the core is lost.
    pub(super) fn run(&self, mut core: Box<Core>) -> Hands {
        loop {
            core = match self.step(core) {
                (core, true) => core?,
                (core, false) if self.scheduler.is_stopping() => return core,
                (core, false) => self.park(core?)?,
            }
        }
    }

    /// Runs the next task, if there is one: whether there was.
    #[inline]
    pub(super) fn step(&self, core: Box<Core>) -> (Hands, bool) {
        match self.find(core) {
            Some((mut core, Some(runnable))) => {
                self.found(&mut core);
                (self.run_one(core, runnable), true)
            }
            Some((core, None)) => (Some(core), false),
            None => (None, false),
        }
    }

    /// Ends this thread's sleep, wherever it sleeps. Any thread.
    pub(crate) fn unpark(&self) {
        if self.parker.unpark() == Unpark::WakeReactor {
            // Which reactor it polls, the core says; without a look at that, all are woken. There are few.
            // An eventfd that is full is one that will be seen: nothing is lost by an error.
            self.scheduler.driver.reactors.iter().for_each(|reactor| _ = reactor.wake());
        }
    }

    fn remote(&self, core: &Core) -> &Remote {
        &self.scheduler.cores[core.index]
    }

    /// The next task, in this order: when it is due a look at the timers, the reactor and the injector; the
    /// core's own; the injector; another's queue.
    fn find(&self, mut core: Box<Core>) -> Option<(Box<Core>, Option<Runnable>)> {
        if core.is_look_due() {
            core = self.look(core)?;
        }
        let mut next = core.next(&self.scheduler.injector);
        if !core.guest {
            next = next.or_else(|| self.take_injected(&mut core)).or_else(|| self.search(&mut core));
        }
        Some((core, next))
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
                self.scheduler.tell(Tell::OneForSure);
            }
        }
    }

    /// Polls one task.
    #[inline]
    fn run_one(&self, core: Box<Core>, runnable: Runnable) -> Hands {
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
        let mut hands = self.lease.take();
        if let Some(runnable) = again {
            match &mut hands {
                Some(core) => core.push_back(runnable, &self.scheduler.injector),
                None => self.scheduler.inject(runnable),
            }
        }
        hands
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
    fn wake(&self, mut core: Box<Core>) -> Hands {
        core.in_batch = !core.wakers.is_empty();
        // From the end, without moving the others each time.
        core.wakers.reverse();
        while let Some(waker) = core.wakers.pop() {
            self.begin_poll(0);
            self.lease.put(core);
            guarded("a waker", || waker.wake());
            core = self.lease.take()?;
        }
        // One is run here and now; for more there may be help.
        if std::mem::take(&mut core.in_batch) && core.len() > 1 {
            self.scheduler.tell(Tell::One);
        }
        Some(core)
    }

    /// A busy worker's look at timers, reactor and injector.
    pub(super) fn look(&self, mut core: Box<Core>) -> Hands {
        core.looked();
        self.remote(&core).counts.looks.add(1);
        self.fire(&mut core);
        if !core.guest {
            let reactor = self.scheduler.driver.reactor(core.index);
            if let Some(polling) = (reactor.sources() > 0).then(|| reactor.try_lock()).flatten() {
                poll(polling, Some(Duration::ZERO), &mut core);
            }
            if let Some(runnable) = self.take_injected(&mut core) {
                core.push_back(runnable, &self.scheduler.injector);
            }
        }
        self.wake(core)
    }

    /// Collects the wakers of timers that are due: the core's own, and those of cores that nobody attends.
    fn fire(&self, core: &mut Core) {
        let clock = &self.scheduler.driver.clock;
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

    /// Sleeps until there is something to do.
    ///
    /// A guest sleeps until its root is woken or a timer of its own is due. Nobody else counts on it: what lay in
    /// its queue it has run, and of the rest the workers take care.
    pub(super) fn park(&self, mut core: Box<Core>) -> Hands {
        let Scheduler { idle, monitor, .. } = &*self.scheduler;
        self.remote(&core).counts.parks.add(1);
        let found = if core.guest {
            idle.leave(true);
            false
        } else {
            idle.sleep(core.index, core.searching);
            // The look after the fence; see `idle`. It includes the timers: a core that is abandoned from now
            // on finds this worker asleep, and one that was before is seen.
            self.scheduler.has_work() || self.scheduler.is_stopping() && !self.scheduler.is_single_threaded()
        };
        if !found {
            let until = self.prepare_timers(&core);
            self.block(&mut core, until);
        }
        if core.guest {
            idle.join(true);
        } else {
            core.searching = idle.wake(core.index, found);
        }
        monitor.rouse();
        self.remote(&core).timers.unparked();
        core.slept();
        self.fire(&mut core);
        self.wake(core)
    }

    /// Publishes until when this thread sleeps: the first deadline of the core's timers, and for a worker of those
    /// that nobody attends.
    fn prepare_timers(&self, core: &Core) -> u64 {
        let own = self.remote(core).timers.prepare_park();
        if core.guest || self.scheduler.orphans.load(SeqCst) == 0 {
            return own;
        }
        self.orphans().map(|orphan| orphan.timers.prepare_park()).fold(own, u64::min)
    }

    /// Blocks in the reactor if it is free, else on the own parker, until `until` at most.
    fn block(&self, core: &mut Core, until: u64) {
        let clock = &self.scheduler.driver.clock;
        let reactor = self.scheduler.driver.reactor(core.index);
        // A virtual clock is not waited for. It jumps, unless the sockets have something now.
        let jumps = clock.is_virtual() && until != NEVER;
        let timeout = match until {
            NEVER => None,
            _ if jumps => Some(Duration::ZERO),
            _ => Some(Duration::from_nanos(until.saturating_sub(clock.now()))),
        };
        if timeout == Some(Duration::ZERO) && !jumps {
            return;
        }
        let polling = if core.guest || jumps && reactor.sources() == 0 { None } else { reactor.try_lock() };
        let unparked = match polling {
            None => self.parker.park(timeout),
            Some(polling) => {
                !self.parker.start_polling() || {
                    poll(polling, timeout, core);
                    self.parker.end_polling()
                }
            }
        };
        if jumps && !unparked && core.wakers.is_empty() {
            clock.advance_to(until);
        }
    }
}

/// Collects the wakers of those who waited for the events of the reactor. Should that fail, sockets are without
/// events, so it is said; a pause keeps it from being said too often.
fn poll(mut polling: Polling<'_>, timeout: Option<Duration>, core: &mut Core) {
    if let Err(error) = polling.poll(timeout, &mut core.wakers) {
        eprintln!("filch: waiting for events failed: {error}");
        crate::shim::thread::park_timeout(Duration::from_millis(10));
    }
}
