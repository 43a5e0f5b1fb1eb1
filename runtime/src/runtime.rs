//! Layer 4. The front door: `Builder`, `Runtime`, `Handle`, and the free functions that use the runtime of
//! the thread.
//!
//! Owns the order in which a runtime is built and ended; everything else it hands to `scheduler`.
#![forbid(unsafe_code)]

use std::fmt;
use std::future::Future;
use std::io;
use std::panic::Location;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use filch_channels::probe::{self, Wait};

use crate::context;
use crate::driver::Driver;
use crate::driver::clock::Clock;
use crate::local;
use crate::scheduler::guest;
use crate::scheduler::metrics::Metrics;
use crate::scheduler::shared::{Config, Scheduler, SlowPoll, SlowPollHook};
use crate::scheduler::shutdown::{self, ShutdownReport};
use crate::shim::{Arc, Mutex};
use crate::task::{Id, JoinHandle, PanicHook, Task, TaskPanic};
use crate::task_local::{self, WithInherited};

/// More than this many workers help nobody, and are taken for a mistake.
pub const WORKERS_MAX: usize = 1024;

/// How long a runtime that is dropped waits for what is left in it.
const DROP_WITHIN: Duration = Duration::from_secs(1);

/// What an unobserved panic does: the panic of a task whose [`JoinHandle`] was dropped before anybody looked.
///
/// A panic that is looked at, through the handle, is the caller's affair, whatever the policy.
pub enum PanicPolicy {
    /// Print it, with the task's name and where it was spawned, and go on. The default.
    Store,
    /// Print it, and shut the runtime down: all tasks are cancelled, and later spawns fail.
    Shutdown,
    /// Print it, and abort the process.
    Abort,
    /// Call this, on the thread where the panic became unobserved.
    Call(Box<dyn Fn(&TaskPanic) + Send + Sync>),
}

impl fmt::Debug for PanicPolicy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            PanicPolicy::Store => "Store",
            PanicPolicy::Shutdown => "Shutdown",
            PanicPolicy::Abort => "Abort",
            PanicPolicy::Call(_) => "Call",
        })
    }
}

/// Builds a [`Runtime`].
///
/// # Examples
/// ```
/// # fn main() -> std::io::Result<()> {
/// let runtime = filch::Builder::new().workers(2).name("web").build()?;
/// assert_eq!(runtime.block_on(async { 1 + 1 }), 2);
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct Builder {
    workers: Option<usize>,
    single: bool,
    name: String,
    panic: PanicPolicy,
    slow_poll: Option<SlowPollOption>,
    paused: Option<u64>,
    spin: Duration,
    blocking_threads: usize,
    reactors: Reactors,
}

struct SlowPollOption(Duration, SlowPollHook);

impl fmt::Debug for SlowPollOption {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Reactors {
    Shared,
    PerWorker,
}

impl Default for Builder {
    fn default() -> Builder {
        Builder::new()
    }
}

impl Builder {
    /// A multi-threaded runtime with one worker a processor.
    pub fn new() -> Builder {
        Builder {
            workers: None,
            single: false,
            name: "filch".to_owned(),
            panic: PanicPolicy::Store,
            slow_poll: None,
            paused: None,
            spin: Duration::ZERO,
            blocking_threads: 512,
            reactors: Reactors::Shared,
        }
    }

    /// A runtime without threads of its own: tasks run while a thread is in [`Runtime::block_on`], on that
    /// thread, in the order in which they became ready. [`spawn_local`](crate::spawn_local) works in it
    /// without a `LocalSet`.
    pub fn single_thread() -> Builder {
        Builder { single: true, ..Builder::new() }
    }

    /// How many threads run tasks, from 1 to [`WORKERS_MAX`]. Not for the single-threaded flavour.
    #[must_use]
    pub fn workers(mut self, workers: usize) -> Builder {
        self.workers = Some(workers);
        self
    }

    /// The runtime's name: its threads are called `name-0`, `name-1`, and so on. Not empty, and without NUL.
    #[must_use]
    pub fn name(mut self, name: impl Into<String>) -> Builder {
        self.name = name.into();
        self
    }

    /// What a panic does that nobody looks at.
    #[must_use]
    pub fn on_panic(mut self, policy: PanicPolicy) -> Builder {
        self.panic = policy;
        self
    }

    /// Calls `callback` when a poll has run for `limit` and still does, once a poll, on a thread of its own.
    ///
    /// It is found by looking every few milliseconds, so that polls cost nothing more: a poll that is over
    /// between two looks is not reported. asyncio's `slow_callback_duration`, but while the poll runs.
    #[must_use]
    pub fn on_slow_poll(
        mut self,
        limit: Duration,
        callback: impl Fn(&SlowPoll) + Send + Sync + 'static,
    ) -> Builder {
        self.slow_poll = Some(SlowPollOption(limit, Arc::new(callback)));
        self
    }

    /// A runtime for tests: one thread, a clock that stands still while a task can run and jumps to the next
    /// deadline when none can, and an order of polls that `seed` decides: the same seed gives the same order.
    ///
    /// Blocking jobs run where they are spawned. With sockets registered, they are looked at before each
    /// jump, and the order then depends on the outer world. Other threads may wake tasks, with the same
    /// effect.
    #[must_use]
    pub fn paused_clock(mut self, seed: u64) -> Builder {
        self.paused = Some(seed);
        self
    }

    /// How long a worker with nothing to do looks for work before it sleeps: at most 5 µs, and nothing (the
    /// default) when there are more workers than processors.
    #[must_use]
    pub fn spin(mut self, spin: Duration) -> Builder {
        self.spin = spin;
        self
    }

    /// How many threads the blocking pool may have; 512 unless said otherwise.
    #[must_use]
    pub fn blocking_threads(mut self, threads: usize) -> Builder {
        self.blocking_threads = threads;
        self
    }

    /// Gives each worker a reactor of its own, in place of one for all. For comparison; see ARCHITECTURE.md
    /// for what was measured.
    #[doc(hidden)]
    #[must_use]
    pub fn reactor_per_worker(mut self) -> Builder {
        self.reactors = Reactors::PerWorker;
        self
    }

    /// Builds the runtime and starts its threads.
    ///
    /// # Errors
    /// `InvalidInput`, when the options make no sense, with a text that says which and what would. Whatever
    /// the operating system says when a thread or the event queue cannot be had; what was started by then is
    /// ended.
    pub fn build(self) -> io::Result<Runtime> {
        let workers = self.check()?;
        crate::shim::barrier::register();
        crate::task::install_probe();
        let clock = if self.paused.is_some() { Clock::virtual_() } else { Clock::real() };
        let reactors = if self.reactors == Reactors::PerWorker { workers } else { 1 };
        let driver = Driver::new(reactors, clock).map_err(|error| {
            explain(error, "cannot open the runtime's event queue", "close some descriptors")
        })?;
        let processors = std::thread::available_parallelism().map_or(1, usize::from);
        let slow_poll = self.slow_poll.map(|SlowPollOption(limit, hook)| (limit, hook));
        let watched = slow_poll.is_some();
        let doomed = Arc::new(Mutex::new(None));
        let config = Config {
            workers,
            name: self.name,
            seed: self.paused,
            panic_hook: panic_hook(self.panic, doomed.clone()),
            slow_poll,
            spin: if workers > processors { Duration::ZERO } else { self.spin.min(Duration::from_micros(5)) },
            blocking_inline: self.paused.is_some(),
            blocking_threads_max: self.blocking_threads,
        };
        let (scheduler, cores) = Scheduler::new(config, driver);
        *doomed.lock() = Some(Arc::downgrade(&scheduler));
        let runtime = Runtime { handle: Handle(scheduler), ended: false };
        let scheduler = &runtime.handle.0;
        // An error drops `runtime`, which ends what was started.
        let advice = "ask for fewer workers, or raise the limit on threads";
        scheduler
            .start(cores, workers > 0 || watched)
            .map_err(|error| explain(error, "cannot start a worker", advice))?;
        Ok(runtime)
    }

    /// How many workers there are to be; `0` for the single-threaded flavours.
    fn check(&self) -> io::Result<usize> {
        let invalid = |what: String| Err(io::Error::new(io::ErrorKind::InvalidInput, what));
        if self.name.is_empty() || self.name.contains('\0') {
            return invalid(format!(
                "{:?} cannot be a runtime's name: give it at least one character, and no NUL",
                self.name
            ));
        }
        match self.workers {
            Some(0) => invalid(
                "0 workers: a runtime needs at least 1; Builder::single_thread() makes one without threads of its own".to_owned(),
            ),
            Some(workers) if workers > WORKERS_MAX => {
                invalid(format!("{workers} workers: the most is {WORKERS_MAX}; a few for each processor are plenty"))
            }
            Some(workers) if workers > 1 && self.paused.is_some() => {
                invalid(format!("{workers} workers with a paused clock: its order is that of one thread; leave workers() out"))
            }
            Some(workers) if workers > 1 && self.single => {
                invalid(format!("{workers} workers in Builder::single_thread(): use Builder::new() for more than one"))
            }
            _ if self.single || self.paused.is_some() => Ok(0),
            Some(workers) => Ok(workers),
            None => Ok(std::thread::available_parallelism().map_or(1, usize::from).min(WORKERS_MAX)),
        }
    }
}

fn explain(error: io::Error, what: &str, advice: &str) -> io::Error {
    io::Error::new(error.kind(), format!("{what}: {error}; {advice}"))
}

type Doomed = Arc<Mutex<Option<std::sync::Weak<Scheduler>>>>;

fn panic_hook(policy: PanicPolicy, runtime: Doomed) -> PanicHook {
    match policy {
        PanicPolicy::Store => Arc::new(|panic| eprintln!("filch: {panic} (nobody joined it)")),
        PanicPolicy::Call(call) => Arc::from(call),
        PanicPolicy::Abort => Arc::new(|panic| {
            eprintln!("filch: {panic} (nobody joined it): aborting, as the panic policy says");
            std::process::abort();
        }),
        PanicPolicy::Shutdown => Arc::new(move |panic| {
            eprintln!("filch: {panic} (nobody joined it): shutting down, as the panic policy says");
            let runtime = runtime.lock().take();
            if let Some(scheduler) = runtime.and_then(|weak| weak.upgrade()) {
                shutdown::shutdown_apart(scheduler, DROP_WITHIN);
            }
        }),
    }
}

/// A runtime: workers, timers, reactor and blocking pool.
///
/// Dropping it is [`shutdown`](Self::shutdown) within a second; what did not end in time is printed. Dropped
/// inside itself, it is shut down in the background.
#[derive(Debug)]
pub struct Runtime {
    handle: Handle,
    ended: bool,
}

/// A way to a runtime from anywhere: to spawn, to look, to block. Cloned freely; does not keep the runtime
/// running.
#[derive(Clone, Debug)]
pub struct Handle(pub(crate) Arc<Scheduler>);

impl Runtime {
    /// A runtime with [`Builder::new`]'s options.
    ///
    /// # Errors
    /// As [`Builder::build`].
    pub fn new() -> io::Result<Runtime> {
        Builder::new().build()
    }

    /// Runs `future` to its end on the calling thread, which works on other tasks while it waits.
    ///
    /// The future may borrow and need not be `Send`: it stays on this thread. What it spawns can run on other
    /// threads at once. Inside a task of this runtime it is legal: another thread takes over the worker's
    /// queue first.
    ///
    /// # Panics
    /// When `future` does.
    #[track_caller]
    pub fn block_on<F: Future>(&self, future: F) -> F::Output {
        self.handle.block_on(future)
    }

    /// Starts `future` as a task.
    #[track_caller]
    pub fn spawn<F>(&self, future: F) -> JoinHandle<F::Output>
    where
        F: Future + Send + 'static,
        F::Output: Send + 'static,
    {
        self.handle.spawn(future)
    }

    /// Runs a blocking call on the blocking pool; see [`spawn_blocking`].
    #[track_caller]
    pub fn spawn_blocking<F, R>(&self, job: F) -> JoinHandle<R>
    where
        F: FnOnce() -> R + Send + 'static,
        R: Send + 'static,
    {
        self.handle.spawn_blocking(job)
    }

    /// A handle to this runtime.
    pub fn handle(&self) -> &Handle {
        &self.handle
    }

    /// What the runtime counted so far.
    pub fn metrics(&self) -> Metrics {
        self.handle.metrics()
    }

    /// Ends the runtime: no task is taken in any more, those that live are cancelled at their next turn, and
    /// threads are waited for, for at most `within`. The report says what finished, what was cancelled, and
    /// what did not come back.
    pub fn shutdown(mut self, within: Duration) -> ShutdownReport {
        self.ended = true;
        shutdown::shutdown(&self.handle.0, within)
    }
}

impl Drop for Runtime {
    fn drop(&mut self) {
        if !self.ended {
            shutdown::shutdown_on_drop(self.handle.0.clone(), DROP_WITHIN);
        }
    }
}

impl Handle {
    /// The runtime of this thread.
    ///
    /// # Panics
    /// Outside of a runtime; see [`try_current`](Self::try_current).
    #[track_caller]
    pub fn current() -> Handle {
        match context::scheduler() {
            Ok(scheduler) => Handle(scheduler),
            Err(error) => panic!("{error}"),
        }
    }

    /// The runtime of this thread, if it is in one.
    pub fn try_current() -> Option<Handle> {
        context::scheduler().ok().map(Handle)
    }

    /// Makes this runtime the calling thread's, for `spawn`, timers and sockets, until the guard is dropped.
    pub fn enter(&self) -> EnterGuard {
        EnterGuard { _entered: context::enter(self.0.clone()) }
    }

    /// As [`Runtime::block_on`].
    ///
    /// # Panics
    /// When `future` does.
    #[track_caller]
    pub fn block_on<F: Future>(&self, future: F) -> F::Output {
        let location = Location::caller();
        if self.0.is_single_threaded() {
            return guest::block_on(&self.0, local::run_root(future), location);
        }
        guest::block_on(&self.0, future, location)
    }

    /// As [`Runtime::spawn`], from any thread. After the runtime has shut down, the task is cancelled at
    /// once: its handle says so.
    #[track_caller]
    pub fn spawn<F>(&self, future: F) -> JoinHandle<F::Output>
    where
        F: Future + Send + 'static,
        F::Output: Send + 'static,
    {
        spawn_named(&self.0, future, None, Location::caller())
    }

    /// As [`spawn_blocking`], from any thread.
    #[track_caller]
    pub fn spawn_blocking<F, R>(&self, job: F) -> JoinHandle<R>
    where
        F: FnOnce() -> R + Send + 'static,
        R: Send + 'static,
    {
        self.0.spawn_blocking(job, None, Location::caller())
    }

    /// What the runtime counted so far.
    pub fn metrics(&self) -> Metrics {
        self.0.metrics()
    }

    /// All tasks that are not done, without polling any: it works while workers are stuck. A report, not a
    /// moment: tasks go on while it is made.
    pub fn tasks(&self) -> Vec<TaskInfo> {
        let mut tasks: Vec<TaskInfo> =
            self.0.tasks().iter().filter(|task| !task.is_done()).map(TaskInfo::new).collect();
        tasks.sort_by_key(|task| task.id);
        tasks
    }
}

/// See [`Handle::enter`].
#[derive(Debug)]
#[must_use = "the runtime is left when the guard is dropped"]
pub struct EnterGuard {
    _entered: context::Entered,
}

/// What a live task is doing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum TaskState {
    /// It waits to be woken.
    Waiting,
    /// It was woken, and waits for its turn.
    Scheduled,
    /// It is being polled.
    Running,
    /// It will be dropped at its next turn.
    Cancelled,
}

/// What is known of a live task; see [`Handle::tasks`].
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct TaskInfo {
    /// Its id.
    pub id: Id,
    /// Its name, if it was given one.
    pub name: Option<String>,
    /// Where it was spawned.
    pub location: &'static Location<'static>,
    /// The task that spawned it, if a task did.
    pub parent: Option<Id>,
    /// What it does now.
    pub state: TaskState,
    /// How often it was polled.
    pub polls: u32,
    /// What it waits for, as its last leaf said that was not ready. `Unknown` without the feature `probe`.
    pub wait: Wait,
    /// The address of what it waits for, or the id of the task that it joins; `0`: none.
    pub wait_resource: usize,
    /// The line that waits, where the leaf noted it.
    pub wait_location: Option<&'static Location<'static>>,
}

impl TaskInfo {
    fn new(task: &Task) -> TaskInfo {
        let header = task.probe();
        let state = if header.is_running() {
            TaskState::Running
        } else if task.is_cancelled() {
            TaskState::Cancelled
        } else if task.is_woken() {
            TaskState::Scheduled
        } else {
            TaskState::Waiting
        };
        let (wait, wait_resource, wait_location) = header.wait();
        TaskInfo {
            id: Id(header.id()),
            name: task.name().map(str::to_owned),
            location: task.location(),
            parent: Some(task.parent()).filter(|parent| *parent != 0).map(Id),
            state,
            polls: header.polls(),
            wait,
            wait_resource,
            wait_location,
        }
    }
}

/// A future larger than this is put into a box of its own at once, so that it is not copied from frame to frame.
const LARGE: usize = 16 << 10;

/// Spawns on `scheduler`, with what the current task hands down.
#[inline]
pub(crate) fn spawn_named<F>(
    scheduler: &Scheduler,
    future: F,
    name: Option<Box<str>>,
    location: &'static Location<'static>,
) -> JoinHandle<F::Output>
where
    F: Future + Send + 'static,
    F::Output: Send + 'static,
{
    if size_of::<F>() > LARGE {
        let boxed: Pin<Box<dyn Future<Output = F::Output> + Send>> = Box::pin(future);
        return spawn_named(scheduler, boxed, name, location);
    }
    match task_local::inherited() {
        None => scheduler.spawn(future, name, location),
        Some(inherited) => scheduler.spawn(WithInherited::new(inherited, future), name, location),
    }
}

/// Builds a default runtime, runs `future` on the calling thread, and ends the runtime in order: what is left
/// in it is cancelled, and waited for. Python's `asyncio.run`.
///
/// # Examples
/// ```
/// let answer = filch::run(async { filch::spawn(async { 42 }).await });
/// assert_eq!(answer.unwrap(), 42);
/// ```
///
/// # Panics
/// When the runtime cannot be built, with the reason; [`Builder::build`] gives it as an error. When `future`
/// does.
#[track_caller]
pub fn run<F: Future>(future: F) -> F::Output {
    match Runtime::new() {
        Ok(runtime) => runtime.block_on(future),
        Err(error) => panic!("filch::run: {error}"),
    }
}

/// Runs `future` on the calling thread, on the runtime that the thread is in.
///
/// # Panics
/// Outside of a runtime; [`run`] makes one. When `future` does.
#[track_caller]
pub fn block_on<F: Future>(future: F) -> F::Output {
    Handle::current().block_on(future)
}

/// Starts `future` as a task of the runtime that the thread is in. It runs whether or not the handle is
/// awaited, and goes on when the handle is dropped.
///
/// # Panics
/// Outside of a runtime.
#[track_caller]
#[inline]
pub fn spawn<F>(future: F) -> JoinHandle<F::Output>
where
    F: Future + Send + 'static,
    F::Output: Send + 'static,
{
    let location = Location::caller();
    match context::with_scheduler(|scheduler| spawn_named(scheduler, future, None, location)) {
        Ok(handle) => handle,
        Err(error) => panic!("cannot spawn: {error}"),
    }
}

/// Runs a call that blocks on a thread of its own, out of a pool of at most 512. Python's
/// `asyncio.to_thread`.
///
/// A job that has not begun is cancelled by [`JoinHandle::abort`]; one that has begun runs to its end. If no
/// thread can be started for it, and there is none, the handle gives an error that says so.
///
/// # Examples
/// ```
/// filch::run(async {
///     let lines = filch::spawn_blocking(|| std::fs::read_to_string("Cargo.toml")).await.unwrap().unwrap();
///     assert!(lines.contains("[package]"));
/// });
/// ```
///
/// # Panics
/// Outside of a runtime.
#[track_caller]
pub fn spawn_blocking<F, R>(job: F) -> JoinHandle<R>
where
    F: FnOnce() -> R + Send + 'static,
    R: Send + 'static,
{
    let location = Location::caller();
    match context::with_scheduler(|scheduler| scheduler.spawn_blocking(job, None, location)) {
        Ok(handle) => handle,
        Err(error) => panic!("cannot spawn: {error}"),
    }
}

/// Spawns a task with a name, which reports and errors then tell. `task::Builder`.
///
/// # Examples
/// ```
/// filch::run(async {
///     let handle = filch::task::Builder::new().name("counter").spawn(async { 7 });
///     assert_eq!(handle.await.unwrap(), 7);
/// });
/// ```
#[derive(Debug, Default)]
#[must_use = "nothing is spawned before one of the spawn methods is called"]
pub struct TaskBuilder {
    name: Option<Box<str>>,
}

impl TaskBuilder {
    /// A task without a name.
    pub fn new() -> TaskBuilder {
        TaskBuilder::default()
    }

    /// Names the task.
    pub fn name(mut self, name: impl Into<String>) -> TaskBuilder {
        self.name = Some(name.into().into_boxed_str());
        self
    }

    /// As [`spawn`].
    ///
    /// # Panics
    /// Outside of a runtime.
    #[track_caller]
    pub fn spawn<F>(self, future: F) -> JoinHandle<F::Output>
    where
        F: Future + Send + 'static,
        F::Output: Send + 'static,
    {
        self.spawn_on(future, &Handle::current())
    }

    /// As [`Handle::spawn`].
    #[track_caller]
    pub fn spawn_on<F>(self, future: F, handle: &Handle) -> JoinHandle<F::Output>
    where
        F: Future + Send + 'static,
        F::Output: Send + 'static,
    {
        spawn_named(&handle.0, future, self.name, Location::caller())
    }

    /// As [`spawn_local`](crate::spawn_local).
    ///
    /// # Panics
    /// Outside of a `LocalSet`.
    #[track_caller]
    pub fn spawn_local<F>(self, future: F) -> JoinHandle<F::Output>
    where
        F: Future + 'static,
        F::Output: 'static,
    {
        crate::local::spawn_local_named(future, self.name, Location::caller())
    }

    /// As [`spawn_blocking`].
    ///
    /// # Panics
    /// Outside of a runtime.
    #[track_caller]
    pub fn spawn_blocking<F, R>(self, job: F) -> JoinHandle<R>
    where
        F: FnOnce() -> R + Send + 'static,
        R: Send + 'static,
    {
        let location = Location::caller();
        match context::with_scheduler(|scheduler| scheduler.spawn_blocking(job, self.name, location)) {
            Ok(handle) => handle,
            Err(error) => panic!("cannot spawn: {error}"),
        }
    }
}

/// Lets other tasks run: the task goes to the end of its queue. `asyncio.sleep(0)`.
///
/// # Cancel safety
/// **Strict.** There is nothing to lose.
pub fn yield_now() -> YieldNow {
    YieldNow { yielded: false }
}

/// See [`yield_now`].
#[derive(Debug)]
#[must_use = "futures do nothing unless polled"]
pub struct YieldNow {
    yielded: bool,
}

impl Future for YieldNow {
    type Output = ();

    #[inline]
    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        if std::mem::replace(&mut self.yielded, true) {
            return Poll::Ready(());
        }
        probe::waiting(Wait::Yield, std::ptr::null(), None);
        cx.waker().wake_by_ref();
        Poll::Pending
    }
}
