//! Layer 2, scheduler. What all threads of one runtime share, and how a task gets in and out.
//!
//! Owns, for each core, the other threads' end of it ([`Remote`]), the injector, the idle set, the driver,
//! the blocking pool and the crew. Called by `runtime` (spawn), by wakers on any thread (`Schedule`), by
//! `worker` (`finish`).
//!
//! A task that is not done keeps a bare pointer to its [`Scheduler`]. It stays valid because the last owner
//! of the scheduler, `shutdown`, ends all tasks first, and leaks the scheduler if it cannot.

use std::fmt;
use std::future::Future;
use std::io;
use std::panic::Location;
use std::ptr;
use std::sync::Weak;
use std::time::Duration;

use filch_channels::probe;

use super::blocking;
use super::core::{Core, Tell};
use super::crew::Crew;
use super::idle::Idle;
use super::injector::Injector;
use super::metrics::{Count, Counts, Metrics};
use super::monitor::Monitor;
use super::queue::{self, Item, LocalQueue, Stealer};
use super::worker::Worker;
use crate::context;
use crate::driver::Driver;
use crate::driver::timers::TimerShard;
use crate::shim::Ordering::{Relaxed, SeqCst};
use crate::shim::owner::AtomicU8;
use crate::shim::shared::{AtomicBool, AtomicU64, AtomicUsize};
use crate::shim::{Arc, Mutex};
use crate::task::{self, Birth, Done, JoinHandle, PanicHook, Runnable, Schedule, Task, TaskList};
use crate::util::pad::Padded;

/// Callers of `block_on` that can work on tasks at the same time; more of them only wait.
pub(crate) const GUESTS: usize = 4;

/// Ids are given out for the whole process, so that no two tasks share one; `0` is nobody.
static NEXT_ID: AtomicU64 = AtomicU64::new(1);

/// A poll that takes long, as `on_slow_poll` sees it.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct SlowPoll {
    /// The task's id; `0` when it could not be told any more.
    pub id: u64,
    /// The task's name, if it was given one.
    pub name: Option<String>,
    /// Where it was spawned.
    pub location: Option<&'static Location<'static>>,
    /// How long the poll has been seen running, and still is: a lower bound.
    pub running_for: Duration,
}

pub(crate) type SlowPollHook = Arc<dyn Fn(&SlowPoll) + Send + Sync>;

/// What `Builder` decided.
pub(crate) struct Config {
    /// Threads that run tasks. `0`: only callers of `block_on` do (the single-threaded flavour).
    pub(crate) workers: usize,
    pub(crate) name: String,
    /// The paused flavour: in which order tasks are polled, and blocking jobs run in place.
    pub(crate) seed: Option<u64>,
    pub(crate) slow_poll: Option<(Duration, SlowPollHook)>,
    pub(crate) blocking_threads: usize,
}

/// What others may do with a core, whoever has it.
pub(crate) struct Remote {
    pub(super) stealer: Stealer<Runnable>,
    pub(crate) timers: Arc<TimerShard>,
    /// The tasks that were spawned with this core, wherever they run.
    pub(super) tasks: Mutex<TaskList>,
    /// The thread that has the core now.
    pub(super) attendant: Mutex<Option<Arc<Worker>>>,
    /// Nobody has the core, and its timers are served by whoever parks.
    pub(super) orphan: AtomicBool,
    pub(super) counts: Counts,
    /// How many tasks thieves leave to this core; see `Core::keeps`.
    pub(super) keeps: AtomicU8,
}

impl Remote {
    /// Whether there is something to steal.
    pub(super) fn has_prey(&self) -> bool {
        // Ordering: Relaxed: a hint. A root that was trusted and blocks all the same loses its core to the monitor.
        self.stealer.len() > usize::from(self.keeps.load(Relaxed))
    }
}

pub(crate) struct Scheduler {
    /// Workers' first, then guests'.
    pub(crate) cores: Box<[Padded<Remote>]>,
    pub(crate) injector: Injector<Runnable>,
    pub(super) idle: Idle,
    pub(crate) driver: Driver,
    pub(super) blocking: blocking::Pool,
    pub(crate) crew: Crew,
    pub(super) monitor: Monitor,
    pub(super) config: Config,
    panic_hook: PanicHook,
    /// How many remotes are orphans: most of the time none.
    pub(super) orphans: AtomicUsize,
    pub(super) stopping: AtomicBool,
    pub(super) rescues: Count,
    me: Weak<Scheduler>,
}

// SAFETY: a `Runnable` is transparent round a pointer to its task, and may be sent.
unsafe impl Item for Runnable {}

// SAFETY: see the top of the file.
unsafe impl Schedule for Scheduler {
    #[inline]
    fn schedule(&self, runnable: Runnable) {
        context::with_worker(|worker| match worker {
            Some(worker) if ptr::eq(&raw const *worker.scheduler, self) => {
                if let Some(mut core) = worker.lease.enter() {
                    let tell = core.push_woken(runnable, &self.injector);
                    drop(core);
                    self.tell(tell);
                } else {
                    self.inject(runnable);
                }
            }
            _ => self.inject(runnable),
        });
    }

    fn panic_hook(&self) -> PanicHook {
        self.panic_hook.clone()
    }
}

impl fmt::Debug for Scheduler {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Config { workers, name, .. } = &self.config;
        f.debug_struct("Runtime").field("name", name).field("workers", workers).finish_non_exhaustive()
    }
}

impl Scheduler {
    /// Nobody attends its cores yet.
    pub(crate) fn new(
        config: Config,
        driver: Driver,
        panic_hook: impl FnOnce(Weak<Scheduler>) -> PanicHook,
    ) -> Arc<Scheduler> {
        Arc::new_cyclic(|me: &Weak<Scheduler>| {
            let single = config.workers == 0;
            let guests = if single { 1 } else { GUESTS };
            let mut cores = Vec::with_capacity(config.workers + guests);
            let mut remotes = Vec::with_capacity(config.workers + guests);
            for index in 0..config.workers + guests {
                let (queue, stealer): (LocalQueue<Runnable>, _) = queue::new();
                let guest = !single && index >= config.workers;
                let up = me.clone();
                let unpark = move |_| up.upgrade().into_iter().for_each(|all| all.unpark_timers(index));
                cores.push(Box::new(Core::new(index, queue, single, guest, config.seed)));
                remotes.push(Padded(Remote {
                    stealer,
                    timers: TimerShard::new(driver.clock.clone(), Box::new(unpark)),
                    tasks: Mutex::default(),
                    attendant: Mutex::new(None),
                    orphan: AtomicBool::new(false),
                    counts: Counts::default(),
                    keeps: AtomicU8::new(0),
                }));
            }
            Scheduler {
                cores: remotes.into(),
                injector: Injector::new(),
                idle: Idle::new(config.workers),
                driver,
                blocking: blocking::Pool::new(config.blocking_threads),
                crew: Crew::new(config.workers, cores),
                monitor: Monitor::new(),
                config,
                panic_hook: panic_hook(me.clone()),
                orphans: AtomicUsize::new(0),
                stopping: AtomicBool::new(false),
                rescues: Count::default(),
                me: me.clone(),
            }
        })
    }

    /// Starts the workers' threads, and the monitor's if it has something to do.
    pub(crate) fn start(self: &Arc<Self>) -> io::Result<()> {
        self.crew.staff(self)?;
        match self.config.slow_poll {
            None if self.is_single_threaded() => Ok(()),
            _ => self.monitor.start(self),
        }
    }

    /// Whether only callers of `block_on` run tasks.
    pub(crate) fn is_single_threaded(&self) -> bool {
        self.config.workers == 0
    }

    /// The scheduler again, counted. A caller that holds a task which is not done may rely on it.
    pub(crate) fn arc(&self) -> Arc<Scheduler> {
        self.me.upgrade().expect("a scheduler outlives its tasks")
    }

    /// Makes a task of `future` and puts it where it will be run.
    #[inline]
    pub(crate) fn spawn<F>(
        &self,
        future: F,
        name: Option<Box<str>>,
        location: &'static Location<'static>,
    ) -> JoinHandle<F::Output>
    where
        F: Future + Send + 'static,
        F::Output: Send + 'static,
    {
        context::with_worker(|worker| {
            let worker = worker.filter(|worker| ptr::eq(&raw const *worker.scheduler, self));
            let mut core = worker.and_then(|worker| worker.lease.enter());
            let birth = match &mut core {
                Some(core) => {
                    let (id, list) = (core.next_id(), core.index as u16);
                    Birth { id, parent: probe::current_id(), location, name, list }
                }
                None => self.birth(name, location),
            };
            // SAFETY: `self` outlives its tasks (top of the file), and `F` is `Send`.
            let (runnable, handle) = unsafe { task::new(future, self, birth) };
            if !self.admit(&runnable) {
                // The runtime has shut down: the handle says so. The future is dropped here, with no lock held.
                drop(core);
                runnable.cancel(None).release();
            } else if let Some(mut core) = core {
                let tell = core.push_spawned(runnable, &self.injector);
                drop(core);
                self.tell(tell);
            } else {
                self.inject(runnable);
            }
            handle
        })
    }

    /// As `spawn`, for what a shutdown is to wait for: it takes this in, and does not cancel it before its deadline.
    pub(crate) fn spawn_late<F>(&self, future: F, name: &str, location: &'static Location<'static>)
    where
        F: Future<Output = ()> + Send + 'static,
    {
        let mut birth = self.birth(Some(name.into()), location);
        birth.list |= task::LATE;
        // SAFETY: as in `spawn`.
        let (runnable, _) = unsafe { task::new(future, self, birth) };
        match self.admit(&runnable) {
            true => self.inject(runnable),
            false => runnable.cancel(None).release(),
        }
    }

    /// What a task is born with that no worker spawns.
    pub(super) fn birth(&self, name: Option<Box<str>>, location: &'static Location<'static>) -> Birth {
        let id = next_id();
        let list = (id % self.cores.len() as u64) as u16;
        Birth { id, parent: probe::current_id(), location, name, list }
    }

    /// Puts a new task into the list it was born with. False: the runtime has shut down.
    #[inline]
    pub(super) fn admit(&self, runnable: &Runnable) -> bool {
        self.cores[usize::from(runnable.list())].tasks.lock().push(runnable)
    }

    /// A task is done: takes it out of its list and lets go of it.
    #[inline]
    pub(super) fn finish(&self, done: Done) {
        self.cores[usize::from(done.list())].tasks.lock().remove(&done);
        done.release();
    }

    /// Queues a task that was woken by a thread which is none of this runtime's workers.
    #[cold]
    #[inline(never)]
    pub(super) fn inject(&self, runnable: Runnable) {
        // Once it is queued, the task may run and end, and the runtime with it: keep the scheduler until we
        // have told.
        let keep = self.arc();
        self.injector.push(runnable);
        keep.tell(Tell::OneForSure);
    }

    #[inline]
    pub(super) fn tell(&self, tell: Tell) {
        let sleeper = match tell {
            Tell::Nobody => return,
            Tell::One => self.idle.notify_local(),
            Tell::OneForSure => self.idle.notify(),
        };
        if let Some(core) = sleeper {
            self.unpark(core);
        }
    }

    /// Ends the sleep of the thread that has `core`, if any has.
    pub(crate) fn unpark(&self, core: usize) {
        self.cores[core].attendant.lock().iter().for_each(|worker| worker.unpark());
    }

    /// A timer of the core is due before its owner will wake by itself.
    fn unpark_timers(&self, index: usize) {
        if self.cores[index].orphan.load(SeqCst) {
            // Served by whoever parks: all that sleep must look again, for any of them may be the one.
            self.crew.unpark_all();
        } else {
            self.unpark(index);
        }
    }

    /// Whether there is work in any queue. After a fence; see `idle`.
    pub(super) fn has_work(&self) -> bool {
        !self.injector.is_empty() || self.cores.iter().any(|core| core.has_prey())
    }

    pub(super) fn is_stopping(&self) -> bool {
        // Ordering: SeqCst: set before all sleepers are unparked, read after a core was put to sleep.
        self.stopping.load(SeqCst)
    }

    /// All live tasks, without polling any.
    pub(crate) fn tasks(&self) -> Vec<Task> {
        self.cores.iter().flat_map(|core| core.tasks.lock().tasks()).collect()
    }

    pub(crate) fn live_tasks(&self) -> usize {
        self.cores.iter().map(|core| core.tasks.lock().len()).sum()
    }

    pub(crate) fn metrics(&self) -> Metrics {
        let sum = |count: fn(&Counts) -> &Count| {
            self.cores.iter().map(|core| count(&core.counts).get()).sum::<u64>()
        };
        let (blocking_threads, blocking_queue_depth) = self.blocking.jobs.depth();
        Metrics {
            workers: self.config.workers,
            threads: self.crew.threads(),
            live_tasks: self.live_tasks(),
            spawned: self.cores.iter().map(|core| core.tasks.lock().taken_in).sum(),
            polls: sum(|counts| &counts.polls),
            steals: sum(|counts| &counts.steals),
            parks: sum(|counts| &counts.parks),
            looks: sum(|counts| &counts.looks),
            rescues: self.rescues.get(),
            local_queue_depth: self.cores.iter().map(|core| core.stealer.len()).sum(),
            injector_depth: self.injector.len(),
            blocking_threads,
            blocking_queue_depth,
        }
    }
}

pub(crate) fn next_id() -> u64 {
    next_ids(1)
}

/// The first of `count` ids.
pub(super) fn next_ids(count: u64) -> u64 {
    // Ordering: Relaxed: all that is asked of it is to give each number once.
    NEXT_ID.fetch_add(count, Relaxed)
}
