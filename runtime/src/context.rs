//! Layer 2. The crate's only `thread_local!`: which runtime and which worker am I on?
//!
//! Owns one pointer, to the worker whose thread this is, and for threads that are none (`Handle::enter`, the
//! blocking pool) the stack of runtimes entered. Layer 3 asks here for what it needs of the runtime, and
//! learns nothing else about it.

use std::cell::{Cell, RefCell};
use std::fmt;
use std::marker::PhantomData;
use std::ptr;

use crate::driver::clock::Clock;
use crate::driver::reactor::Reactor;
use crate::driver::timers::TimerShard;
use crate::scheduler::shared::Scheduler;
use crate::scheduler::worker::Worker;
use crate::shim::Arc;

thread_local! {
    /// Read at every wake: const and without a destructor, so that it costs a load.
    static WORKER: Cell<*const Worker> = const { Cell::new(ptr::null()) };
    /// `0`: not asked for yet.
    static THREAD: Cell<u32> = const { Cell::new(0) };
    static ENTERED: RefCell<Vec<(u64, Arc<Scheduler>)>> = const { RefCell::new(Vec::new()) };
}

/// There is no filch runtime on this thread.
#[derive(Clone, Copy, Debug)]
pub(crate) struct NoRuntime;

impl fmt::Display for NoRuntime {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(
            "no filch runtime on this thread: call this from a task, from inside `filch::run` or \
             `Runtime::block_on`, or while a guard of `Handle::enter` is alive",
        )
    }
}

impl std::error::Error for NoRuntime {}

impl From<NoRuntime> for std::io::Error {
    fn from(error: NoRuntime) -> std::io::Error {
        std::io::Error::other(error)
    }
}

/// The operating system's number of this thread; `0` where it does not tell (other than Linux).
pub(crate) fn thread_number() -> u32 {
    if THREAD.get() == 0 {
        let link = std::fs::read_link("/proc/thread-self").unwrap_or_default();
        let number = link.file_name().and_then(|name| name.to_str()).and_then(|name| name.parse().ok());
        THREAD.set(number.unwrap_or(0));
    }
    THREAD.get()
}

/// This thread is a worker of `scheduler` until the guard is dropped, and the monitor looks after it.
pub(crate) fn enter_worker(scheduler: Arc<Scheduler>) -> WorkerGuard {
    let worker = Worker::new(scheduler);
    let before = WORKER.replace(Arc::as_ptr(&worker));
    WorkerGuard { worker, before, _here: PhantomData }
}

/// Keeps the worker alive for as long as it is this thread's. Stays on its thread, and in its scope.
pub(crate) struct WorkerGuard {
    pub(crate) worker: Arc<Worker>,
    before: *const Worker,
    _here: PhantomData<*const ()>,
}

impl Drop for WorkerGuard {
    fn drop(&mut self) {
        WORKER.set(self.before);
        self.worker.scheduler.crew.detach(&self.worker);
    }
}

/// Calls `f` with this thread's worker.
#[inline]
pub(crate) fn with_worker<R>(f: impl FnOnce(Option<&Worker>) -> R) -> R {
    // A thread that is being torn down has no worker.
    let worker = WORKER.try_with(Cell::get).unwrap_or(ptr::null());
    // SAFETY: not null only while a `WorkerGuard` in a frame below ours keeps the worker.
    f(unsafe { worker.as_ref() })
}

/// This thread's worker, counted.
pub(crate) fn current_worker() -> Option<Arc<Worker>> {
    with_worker(|worker| worker?.me.upgrade())
}

/// Makes a thread that runs no tasks know `scheduler`, until the guard is dropped.
pub(crate) fn enter(scheduler: Arc<Scheduler>) -> EnterGuard {
    ENTERED.with_borrow_mut(|entered| {
        let token = entered.last().map_or(0, |(token, _)| token + 1);
        entered.push((token, scheduler));
        EnterGuard { token, _here: PhantomData }
    })
}

/// See [`Handle::enter`](crate::Handle::enter). Guards may be dropped in any order: the one entered last, of those
/// that live, counts.
#[derive(Debug)]
#[must_use = "the runtime is left when the guard is dropped"]
pub struct EnterGuard {
    token: u64,
    _here: PhantomData<*const ()>,
}

impl Drop for EnterGuard {
    fn drop(&mut self) {
        // The scheduler is dropped after the borrow has ended: it may be the last one, and its end is long.
        let _scheduler = ENTERED.try_with(|entered| {
            let mut entered = entered.borrow_mut();
            entered.iter().position(|(token, _)| *token == self.token).map(|at| entered.remove(at))
        });
    }
}

/// The runtime of this thread.
pub(crate) fn scheduler() -> Result<Arc<Scheduler>, NoRuntime> {
    with_scheduler(Scheduler::arc)
}

/// Calls `f` with the runtime of this thread.
#[inline]
pub(crate) fn with_scheduler<R>(f: impl FnOnce(&Scheduler) -> R) -> Result<R, NoRuntime> {
    with_worker(|worker| match worker {
        Some(worker) => Ok(f(&worker.scheduler)),
        None => {
            let entered =
                ENTERED.try_with(|entered| entered.borrow().last().map(|(_, scheduler)| scheduler.clone()));
            match entered {
                Ok(Some(scheduler)) => Ok(f(&scheduler)),
                _ => Err(NoRuntime),
            }
        }
    })
}

/// The core that this thread has, if it is in a poll, and its runtime.
fn with_core<R>(f: impl FnOnce(&Scheduler, usize) -> R) -> Result<R, NoRuntime> {
    with_worker(|worker| match worker {
        Some(worker) => {
            let core = worker.lease.enter().map_or(0, |core| core.index);
            Ok(f(&worker.scheduler, core))
        }
        None => with_scheduler(|scheduler| f(scheduler, 0)),
    })
}

/// The timers that a future polled here should use.
pub(crate) fn timers() -> Result<Arc<TimerShard>, NoRuntime> {
    with_core(|scheduler, core| scheduler.cores[core].timers.clone())
}

/// The reactor that a socket made here should use.
pub(crate) fn reactor() -> Result<Arc<Reactor>, NoRuntime> {
    with_core(|scheduler, core| scheduler.driver.reactor(core).clone())
}

/// The clock of this thread's runtime, if that is not the real one.
pub(crate) fn clock() -> Option<Clock> {
    with_scheduler(|scheduler| Some(&scheduler.driver.clock).filter(|clock| clock.is_virtual()).cloned())
        .ok()
        .flatten()
}
