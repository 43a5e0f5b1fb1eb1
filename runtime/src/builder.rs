//! Layer 4. What a runtime is to be: `Builder` and `PanicPolicy`.
//!
//! Owns the options, the checks of them, and the order in which a runtime is put together.
#![forbid(unsafe_code)]

use std::fmt;
use std::io;
use std::sync::Weak;
use std::time::Duration;

use crate::driver::Driver;
use crate::driver::clock::Clock;
use crate::runtime::{DROP_WITHIN, Handle, Runtime};
use crate::scheduler::shared::{Config, Scheduler, SlowPoll};
use crate::scheduler::shutdown;
use crate::shim::{Arc, Mutex};
use crate::task::{PanicHook, TaskPanic};

/// More than this many workers help nobody, and are taken for a mistake.
pub const WORKERS_MAX: usize = 1024;

/// What an unobserved panic does: the panic of a task whose [`JoinHandle`](crate::JoinHandle) was dropped
/// before anybody looked.
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
pub struct Builder {
    config: Config,
    workers: Option<usize>,
    single: bool,
    panic: PanicPolicy,
    reactor_per_worker: bool,
}

impl fmt::Debug for Builder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Builder { config, workers, panic, .. } = self;
        let mut f = f.debug_struct("Builder");
        f.field("name", &config.name).field("workers", workers).field("panic", panic).finish_non_exhaustive()
    }
}

impl Default for Builder {
    fn default() -> Builder {
        Builder::new()
    }
}

impl Builder {
    /// A multi-threaded runtime with one worker a processor.
    pub fn new() -> Builder {
        let name = "filch".to_owned();
        let config = Config { workers: 0, name, seed: None, slow_poll: None, blocking_threads: 512 };
        let panic = PanicPolicy::Store;
        Builder { config, workers: None, single: false, panic, reactor_per_worker: false }
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
        self.config.name = name.into();
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
        self.config.slow_poll = Some((limit, Arc::new(callback)));
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
        self.config.seed = Some(seed);
        self
    }

    /// How many threads the blocking pool may have; 512 unless said otherwise.
    #[must_use]
    pub fn blocking_threads(mut self, threads: usize) -> Builder {
        self.config.blocking_threads = threads;
        self
    }

    /// Gives each worker a reactor of its own, in place of one for all. For comparison; see ARCHITECTURE.md
    /// for what was measured.
    #[doc(hidden)]
    #[must_use]
    pub fn reactor_per_worker(mut self) -> Builder {
        self.reactor_per_worker = true;
        self
    }

    /// Builds the runtime and starts its threads.
    ///
    /// # Errors
    /// `InvalidInput`, when the options make no sense, with a text that says which and what would. Whatever
    /// the operating system says when a thread or the event queue cannot be had; what was started by then is
    /// ended.
    pub fn build(mut self) -> io::Result<Runtime> {
        self.config.workers = self.check()?;
        crate::shim::barrier::register();
        crate::task::install_probe();
        let clock = if self.config.seed.is_some() { Clock::virtual_() } else { Clock::real() };
        let reactors = if self.reactor_per_worker { self.config.workers } else { 1 };
        let driver = Driver::new(reactors, clock).map_err(|error| {
            explain(error, "cannot open the runtime's event queue", "close some descriptors")
        })?;
        let scheduler = Scheduler::new(self.config, driver, |runtime| panic_hook(self.panic, runtime));
        let runtime = Runtime { handle: Handle(scheduler), ended: false };
        // An error drops `runtime`, which ends what was started.
        let advice = "ask for fewer workers, or raise the limit on threads";
        runtime.handle.0.start().map_err(|error| explain(error, "cannot start a worker", advice))?;
        Ok(runtime)
    }

    /// How many workers there are to be; `0` for the single-threaded flavours.
    fn check(&self) -> io::Result<usize> {
        let processors = || std::thread::available_parallelism().map_or(1, usize::from);
        let name = &self.config.name;
        let problem = match self.workers {
            _ if name.is_empty() || name.contains('\0') => {
                format!("{name:?} cannot be a runtime's name: give it at least one character, and no NUL")
            }
            Some(0) => "0 workers: a runtime needs at least 1; Builder::single_thread() makes one without \
                        threads of its own"
                .to_owned(),
            Some(workers) if workers > WORKERS_MAX => {
                format!("{workers} workers: the most is {WORKERS_MAX}; a few for each processor are plenty")
            }
            Some(workers) if workers > 1 && self.config.seed.is_some() => format!(
                "{workers} workers with a paused clock: its order is that of one thread; \
                 leave workers() out"
            ),
            Some(workers) if workers > 1 && self.single => {
                format!("{workers} workers in Builder::single_thread(): use Builder::new() for more than one")
            }
            _ if self.single || self.config.seed.is_some() => return Ok(0),
            workers => return Ok(workers.unwrap_or_else(|| processors().min(WORKERS_MAX))),
        };
        Err(io::Error::new(io::ErrorKind::InvalidInput, problem))
    }
}

fn explain(error: io::Error, what: &str, advice: &str) -> io::Error {
    io::Error::new(error.kind(), format!("{what}: {error}; {advice}"))
}

fn panic_hook(policy: PanicPolicy, runtime: Weak<Scheduler>) -> PanicHook {
    match policy {
        PanicPolicy::Store => Arc::new(|panic| eprintln!("filch: {panic} (nobody joined it)")),
        PanicPolicy::Call(call) => Arc::from(call),
        PanicPolicy::Abort => Arc::new(|panic| {
            eprintln!("filch: {panic} (nobody joined it): aborting, as the panic policy says");
            std::process::abort();
        }),
        PanicPolicy::Shutdown => {
            // Once is enough.
            let runtime = Mutex::new(Some(runtime));
            Arc::new(move |panic| {
                eprintln!("filch: {panic} (nobody joined it): shutting down, as the panic policy says");
                let runtime = runtime.lock().take();
                if let Some(scheduler) = runtime.and_then(|weak| weak.upgrade()) {
                    shutdown::shutdown_apart(scheduler, DROP_WITHIN);
                }
            })
        }
    }
}
