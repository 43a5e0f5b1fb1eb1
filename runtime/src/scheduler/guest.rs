//! Layer 2, scheduler. `block_on`: the calling thread polls the root, and runs what the root woke while it
//! waits.
//!
//! Owns the root's place on the caller's stack. A caller gets a core of its own, a guest's, so that what
//! passes between the root and the tasks it talks to crosses no thread. The root is never in a queue; being
//! woken, it is polled before any task. Other workers steal from a guest's queue at once, for a root may
//! block its thread; see `Core::push_woken`.
//!
//! A guest helps with nothing else: it runs what its root woke or spawned, and what comes of that, so that it
//! comes back to its root soon. It takes no injected task, steals none and does not wait in the reactor. And
//! it runs even that only once the root has come back by itself a few times; before, it goes to the workers
//! when the root's poll ends. So the only tasks that can hold up a root by blocking are its own. Once one
//! does, the monitor takes the core away, and from then on this guest runs its root only.
//!
//! Inside a worker, the worker's core goes to another thread first, and the caller only waits. In the
//! single-threaded flavour there is no other, and elsewhere they may all be waiting like this one: then the
//! same core goes on here, inside the poll.

use std::cell::Cell;
use std::future::Future;
use std::panic::{Location, resume_unwind};
use std::pin::pin;
use std::ptr;

use super::arrival::Arrival;
use super::core::{Core, Role, Tell};
use super::shared::{Scheduler, next_id};
use super::shutdown;
use super::worker::{Lost, Worker};
use crate::context;
use crate::shim::Arc;
use crate::shim::Ordering::Relaxed;
use crate::task::{Birth, PanicHook, Root, RootPolled, Runnable, Schedule};
use crate::util::parker::Unpark;
use crate::util::wake::{drop_payload, guarded};

/// How many times in a row a root is polled while tasks wait.
const ROOT_POLLS_MAX: u32 = 16;

/// Where a root's wakes go. On the stack of `block_on`, which does not return before the last of them
/// arrived: a wake that makes the `Runnable` keeps the root from being polled, hence from ending, until it is
/// here.
struct RootSchedule {
    worker: Arc<Worker>,
    /// The `Runnable` is with the owner: it may poll.
    arrived: Arrival,
    panic_hook: PanicHook,
}

// SAFETY: see above: it stays until the root is done.
unsafe impl Schedule for RootSchedule {
    fn schedule(&self, _: Runnable) {
        // On the root's own thread: its loop looks at `arrived` before it sleeps.
        if context::with_worker(|worker| {
            worker.is_some_and(|worker| ptr::eq(worker, &raw const *self.worker))
        }) {
            self.arrived.give_here();
            return;
        }
        self.arrived.give(&self.worker, Worker::unpark);
    }

    fn panic_hook(&self) -> PanicHook {
        self.panic_hook.clone()
    }
}

impl RootSchedule {
    fn has_arrived(&self) -> bool {
        self.arrived.is_there()
    }
}

impl Worker {
    /// Ends this thread's sleep, wherever it sleeps.
    pub(crate) fn unpark(&self) {
        if self.parker.unpark() == Unpark::WakeReactor {
            // Which reactor it polls, the core says; without a look at that, all are woken. There are few.
            for reactor in self.scheduler.driver.reactors() {
                let _ = reactor.wake();
            }
        }
    }
}

/// Runs `future` to its end on this thread.
pub(crate) fn block_on<F: Future>(
    scheduler: &Arc<Scheduler>,
    future: F,
    location: &'static Location<'static>,
) -> F::Output {
    let nested = context::current_worker().filter(|worker| Arc::ptr_eq(&worker.scheduler, scheduler));
    let Some(worker) = nested else {
        let worker = Worker::new(scheduler.clone());
        let _here = context::enter_worker(&worker);
        let core = scheduler.take_guest(&worker);
        let (output, core) = Guest::new(&worker, location).run(core, future);
        scheduler.give_back(&worker, core);
        return output.unwrap_or_else(|payload| resume_unwind(payload));
    };
    let core = worker.lease.take();
    let was_in_root = core.as_ref().is_some_and(|core| core.in_root);
    // The core goes on without this thread, which has none when the poll it is in goes on. With nobody to
    // take it, it goes on here.
    let kept = match core {
        Some(core) if !scheduler.is_single_threaded() => {
            scheduler.crew.offer(scheduler, core).err().map(|(_, core)| core)
        }
        core => core,
    };
    if kept.is_some() || scheduler.is_single_threaded() {
        let (output, core) = Guest::new(&worker, location).run(kept, future);
        if let Some(mut core) = core {
            core.in_root = was_in_root;
            worker.lease.put(core);
        }
        return output.unwrap_or_else(|payload| resume_unwind(payload));
    }
    let waiting = Worker::new(scheduler.clone());
    let _here = context::enter_worker(&waiting);
    let (output, core) = Guest::new(&waiting, location).run(None, future);
    // It may have borrowed a guest's.
    scheduler.give_back(&waiting, core);
    output.unwrap_or_else(|payload| resume_unwind(payload))
}

struct Guest<'a> {
    worker: &'a Arc<Worker>,
    schedule: RootSchedule,
    location: &'static Location<'static>,
    /// A task took so long on this thread that the core was taken away.
    held_up: Cell<bool>,
}

type Hands = Option<Box<Core>>;

impl<'a> Guest<'a> {
    fn new(worker: &'a Arc<Worker>, location: &'static Location<'static>) -> Guest<'a> {
        let schedule = RootSchedule {
            worker: worker.clone(),
            arrived: Arrival::new(),
            panic_hook: worker.scheduler.config.panic_hook.clone(),
        };
        Guest { worker, schedule, location, held_up: Cell::new(false) }
    }

    /// Polls the root whenever it is woken, and otherwise works as any worker does while it has a core.
    fn run<F: Future>(self, mut core: Hands, future: F) -> (std::thread::Result<F::Output>, Hands) {
        let scheduler = &self.worker.scheduler;
        let (id, parent) = (next_id(), filch_channels::probe::current_id());
        let list = core.as_ref().map_or(0, |core| core.index as u16);
        let birth = Birth { id, parent, location: self.location, name: None, list };
        // SAFETY: `self.schedule` stays where it is until `complete`, below.
        let (root, runnable) = unsafe { Root::new(&raw const self.schedule, birth) };
        let listed = scheduler.admit(&runnable);
        let mut future = pin!(Some(future));
        let mut in_a_row = 0;
        let output = loop {
            let arrived = self.schedule.has_arrived();
            if !arrived || in_a_row == ROOT_POLLS_MAX {
                in_a_row = 0;
                core = if arrived { self.turn(core) } else { self.work(core) };
                continue;
            }
            in_a_row += 1;
            self.schedule.arrived.clear();
            if core.is_none() && !scheduler.is_single_threaded() {
                // It was lost to a root that took long, which is over.
                core = self.retake();
            }
            let polled;
            (polled, core) = self.outside(core, &root, || {
                root.poll(|cx| future.as_mut().as_pin_mut().expect("it is not done").poll(cx))
            });
            match polled {
                RootPolled::Done(output) => break output,
                RootPolled::Again => {
                    // It woke itself: it yields to the others.
                    in_a_row = ROOT_POLLS_MAX;
                    self.schedule.arrived.give_here();
                }
                RootPolled::Idle => {}
            }
        };
        let dropped;
        (dropped, core) = self.outside(core, &root, || root.within(|| future.set(None)));
        let output = match (output, dropped) {
            (output, Ok(())) => output,
            (Ok(output), Err(payload)) => {
                guarded("dropping the output of a root whose drop panicked", || drop(output));
                Err(payload)
            }
            (Err(payload), Err(second)) => {
                drop_payload(second);
                Err(payload)
            }
        };
        let done = root.complete();
        if listed {
            scheduler.finish(done);
        } else {
            done.release();
        }
        (output, core)
    }

    /// Runs the root's own code: its poll, its drop. The core is put down meanwhile.
    fn outside<T>(&self, core: Hands, root: &Root, f: impl FnOnce() -> T) -> (T, Hands) {
        if let Some(mut core) = core {
            self.worker.found(&mut core);
            self.worker.begin_poll(root.id());
            core.in_root = !self.worker.scheduler.is_single_threaded();
            self.worker.lease.put(core);
        }
        let result = f();
        // Also if there was none before: a `block_on` inside may have got one, and left it here.
        let mut core = self.worker.lease.take();
        let scheduler = &self.worker.scheduler;
        if let Some(core) = &mut core {
            if core.end_root_poll(&scheduler.injector) {
                scheduler.tell(Tell::OneForSure);
            }
            let remote = &scheduler.cores[core.index];
            remote.keeps.store(core.keeps(), Relaxed);
        }
        (result, core)
    }

    /// One task, if there is one: the root may go on, and lets the others have their turn.
    fn turn(&self, core: Hands) -> Hands {
        let Some(core) = core else {
            return if self.worker.scheduler.is_single_threaded() { self.retake() } else { None };
        };
        match self.worker.find_near(core) {
            Ok((mut core, Some(runnable))) => {
                self.worker.found(&mut core);
                self.worker.run_one(core, runnable).ok()
            }
            Ok((core, None)) => Some(core),
            Err(Lost) => None,
        }
    }

    /// One task, or sleep.
    fn work(&self, core: Hands) -> Hands {
        let Some(core) = core else {
            // In the single-threaded flavour another caller may have had the core, and given it back.
            let core = if self.worker.scheduler.is_single_threaded() { self.retake() } else { None };
            if core.is_none() {
                self.worker.parker.park(None);
            }
            return core;
        };
        let next = match self.worker.find(core) {
            Ok((mut core, Some(runnable))) => {
                self.worker.found(&mut core);
                let ran = self.worker.run_one(core, runnable);
                if ran.is_err() {
                    self.held_up.set(true);
                }
                ran
            }
            // What `find` looked at may have woken the root, on this thread, without a token for the parker.
            Ok((core, None)) if self.schedule.has_arrived() => Ok(core),
            Ok((core, None)) => self.worker.park(core),
            Err(Lost) => Err(Lost),
        };
        next.ok()
    }

    fn retake(&self) -> Hands {
        self.worker.scheduler.crew.detach(self.worker);
        let mut core = self.worker.scheduler.take_guest(self.worker)?;
        if self.held_up.get() && core.role == Role::Guest {
            core.role = Role::ShyGuest;
        }
        Some(core)
    }
}

impl Scheduler {
    /// A core for a caller of `block_on`. `None`: there is none left, and the caller can only wait for
    /// others.
    fn take_guest(&self, worker: &Arc<Worker>) -> Hands {
        let mut core = self.crew.take_guest(worker)?;
        core.root_trust = 0;
        if core.role == Role::ShyGuest {
            core.role = Role::Guest;
        }
        core.slept();
        self.adopt(&core);
        self.attend(&core, worker);
        Some(core)
    }

    fn give_back(&self, worker: &Arc<Worker>, core: Hands) {
        self.crew.detach(worker);
        if let Some(core) = core {
            self.abandon(core, |state, core| state.put_guest(core));
        }
        shutdown::leave(&worker.scheduler);
    }
}
