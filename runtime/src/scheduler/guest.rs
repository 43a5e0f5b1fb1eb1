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

use std::future::Future;
use std::panic::{Location, resume_unwind};
use std::pin::pin;
use std::ptr;

use super::arrival::Arrival;
use super::core::Tell;
use super::shared::Scheduler;
use super::shutdown;
use super::worker::{Hands, Worker};
use crate::context;
use crate::shim::Arc;
use crate::shim::Ordering::Relaxed;
use crate::task::{PanicHook, Root, RootPolled, Runnable, Schedule, outcome};

/// How many times in a row a root is polled while tasks wait.
const ROOT_POLLS_MAX: u32 = 16;
/// How often a root must have come back by itself before what it wakes is left to its own thread.
const ROOT_TRUST_MIN: u32 = 3;

/// Where a root's wakes go. On the stack of `block_on`, which does not return before the last of them
/// arrived: a wake that makes the `Runnable` keeps the root from being polled, hence from ending, until it is
/// here.
struct RootSchedule {
    worker: Arc<Worker>,
    /// The `Runnable` is with the owner: it may poll.
    arrived: Arrival,
}

// SAFETY: see above: it stays until the root is done.
unsafe impl Schedule for RootSchedule {
    fn schedule(&self, _: Runnable) {
        // On the root's own thread: its loop looks at `arrived` before it sleeps.
        let own = &raw const *self.worker;
        if context::with_worker(|here| here.is_some_and(|here| ptr::eq(here, own))) {
            return self.arrived.give_here();
        }
        self.arrived.give(&self.worker, Worker::unpark);
    }

    fn panic_hook(&self) -> PanicHook {
        self.worker.scheduler.panic_hook()
    }
}

/// Runs `future` to its end on this thread.
pub(crate) fn block_on<F: Future>(
    scheduler: &Arc<Scheduler>,
    future: F,
    location: &'static Location<'static>,
) -> F::Output {
    let outer = context::current_worker().filter(|worker| Arc::ptr_eq(&worker.scheduler, scheduler));
    let here;
    let (worker, mut hands) = match &outer {
        None => {
            here = context::enter_worker(scheduler.clone());
            (&here.worker, scheduler.take(true, &here.worker))
        }
        Some(worker) => (worker, worker.lease.take()),
    };
    let was_in_root = hands.as_ref().is_some_and(|core| core.in_root);
    if outer.is_some() && !scheduler.is_single_threaded() {
        // The core goes on without this thread, which has none when the poll it is in goes on. With nobody to
        // take it, it goes on here.
        hands.into_iter().for_each(|core| scheduler.abandon(core));
        hands = scheduler.crew.staff(scheduler).err().and_then(|_| scheduler.take(false, worker));
    }
    let schedule = RootSchedule { worker: worker.clone(), arrived: Arrival::new() };
    let mut guest = Guest { worker, schedule: &schedule, hands, root_polls: 0, held_up: false };
    let output = guest.run(future, location);
    match guest.hands {
        Some(mut core) if outer.is_some() && !core.guest => {
            core.in_root = was_in_root;
            worker.lease.put(core);
        }
        hands => {
            hands.into_iter().for_each(|core| scheduler.abandon(core));
            if outer.is_none() {
                shutdown::leave(scheduler);
            }
        }
    }
    output.unwrap_or_else(|payload| resume_unwind(payload))
}

struct Guest<'a> {
    worker: &'a Arc<Worker>,
    schedule: &'a RootSchedule,
    hands: Hands,
    /// How often the root has come back by itself since this thread has its core.
    root_polls: u32,
    /// A task took so long on this thread that the core was taken away.
    held_up: bool,
}

impl Guest<'_> {
    /// Polls the root whenever it is woken, and otherwise works as any worker does while it has a core.
    fn run<F: Future>(
        &mut self,
        future: F,
        location: &'static Location<'static>,
    ) -> std::thread::Result<F::Output> {
        let scheduler = &self.worker.scheduler;
        let (schedule, arrived) = (self.schedule, &self.schedule.arrived);
        let birth = scheduler.birth(None, location);
        // SAFETY: the schedule stays where it is until `complete`, below.
        let (root, runnable) = unsafe { Root::new(&raw const *schedule, birth) };
        let listed = scheduler.admit(&runnable);
        let mut future = pin!(Some(future));
        let mut in_a_row = 0;
        let output = loop {
            if !arrived.is_there() || in_a_row == ROOT_POLLS_MAX {
                in_a_row = 0;
                self.work();
                continue;
            }
            in_a_row += 1;
            arrived.clear();
            if !scheduler.is_single_threaded() {
                // It was lost to a root that took long, which is over.
                self.retake();
            }
            let poll = || root.poll(|cx| future.as_mut().as_pin_mut().expect("it is not done").poll(cx));
            match self.outside(&root, poll) {
                RootPolled::Done(output) => break output,
                RootPolled::Again => {
                    // It woke itself: it yields to the others.
                    in_a_row = ROOT_POLLS_MAX;
                    arrived.give_here();
                }
                RootPolled::Idle => {}
            }
        };
        let dropped = self.outside(&root, || root.within(|| future.set(None)));
        let done = root.complete();
        if listed {
            scheduler.finish(done);
        } else {
            done.release();
        }
        outcome(output, dropped.err())
    }

    /// Runs the root's own code: its poll, its drop. The core is put down meanwhile.
    fn outside<T>(&mut self, root: &Root, f: impl FnOnce() -> T) -> T {
        let scheduler = &self.worker.scheduler;
        if let Some(mut core) = self.hands.take() {
            self.worker.found(&mut core);
            self.worker.begin_poll(root.id());
            core.in_root = !scheduler.is_single_threaded();
            self.worker.lease.put(core);
        }
        let result = f();
        // Also if there was none before: a `block_on` inside may have got one, and left it here.
        self.hands = self.worker.lease.take();
        self.root_polls = self.root_polls.saturating_add(1);
        if let Some(core) = &mut self.hands {
            if core.end_root_poll(&scheduler.injector) {
                scheduler.tell(Tell::OneForSure);
            }
            core.trusted = core.guest && !self.held_up && self.root_polls >= ROOT_TRUST_MIN;
            scheduler.cores[core.index].keeps.store(core.keeps(), Relaxed);
        }
        result
    }

    /// One task, or sleep, unless the root may go on.
    fn work(&mut self) {
        if self.worker.scheduler.is_single_threaded() {
            // Another caller may have had the core, and given it back.
            self.retake();
        }
        let arrived = &self.schedule.arrived;
        self.hands = match self.hands.take().map(|core| self.worker.step(core)) {
            Some((hands, true)) => {
                self.held_up |= hands.is_none();
                hands
            }
            // What `step` looked at may have woken the root, on this thread, without a token for the parker.
            Some((Some(core), false)) if !arrived.is_there() => self.worker.park(core),
            Some((hands, false)) => hands,
            None => {
                if !arrived.is_there() {
                    self.worker.parker.park(None);
                }
                None
            }
        };
    }

    /// Takes a core, if this thread has none and there is one.
    fn retake(&mut self) {
        if self.hands.is_none() {
            self.hands = self.worker.scheduler.take(true, self.worker);
            self.root_polls = 0;
        }
    }
}
