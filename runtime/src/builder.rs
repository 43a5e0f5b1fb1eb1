//! Layer 4. What a runtime is to be: `Builder` and `PanicPolicy`.
//!
//! Owns the options, the checks of them, and the order in which a runtime is put together.
#![forbid(unsafe_code)]

use std::fmt;
use std::io;
use std::time::Duration;

use crate::driver::Driver;
use crate::driver::clock::Clock;
use crate::runtime::{DROP_WITHIN, Handle, Runtime};
use crate::scheduler::shared::{Config, Scheduler, SlowPoll, SlowPollHook};
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
    reactor_per_worker: bool,
}

struct SlowPollOption(Duration, SlowPollHook);

impl fmt::Debug for SlowPollOption {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
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
        Builder {
            workers: None,
            single: false,
            name: "filch".to_owned(),
            panic: PanicPolicy::Store,
            slow_poll: None,
            paused: None,
            spin: Duration::ZERO,
            blocking_threads: 512,
            reactor_per_worker: false,
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
        self.reactor_per_worker = true;
        self
    }

    /// Builds the runtime and starts its threads.
    ///
    /// # Errors
    /// `InvalidInput`, when the options make no sense, with a text that says which and what would. Whatever
    /// the operating system says when a thread or the event queue cannot be had; what was started by then is
    /// ended.
    pub fn build(self) -> io::Result<Runtime> {
        let processors = std::thread::available_parallelism().map_or(1, usize::from);
        let workers = self.check(processors)?;
        crate::shim::barrier::register();
        crate::task::install_probe();
        let clock = if self.paused.is_some() { Clock::virtual_() } else { Clock::real() };
        let reactors = if self.reactor_per_worker { workers } else { 1 };
        let driver = Driver::new(reactors, clock).map_err(|error| {
            explain(error, "cannot open the runtime's event queue", "close some descriptors")
        })?;
        let slow_poll = self.slow_poll.map(|SlowPollOption(limit, hook)| (limit, hook));
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
        let scheduler = Scheduler::new(config, driver);
        *doomed.lock() = Some(Arc::downgrade(&scheduler));
        let runtime = Runtime { handle: Handle(scheduler), ended: false };
        let scheduler = &runtime.handle.0;
        // An error drops `runtime`, which ends what was started.
        let advice = "ask for fewer workers, or raise the limit on threads";
        scheduler.start().map_err(|error| explain(error, "cannot start a worker", advice))?;
        Ok(runtime)
    }

    /// How many workers there are to be; `0` for the single-threaded flavours.
    fn check(&self, processors: usize) -> io::Result<usize> {
        let problem = match self.workers {
            _ if self.name.is_empty() || self.name.contains('\0') => {
                let name = &self.name;
                format!("{name:?} cannot be a runtime's name: give it at least one character, and no NUL")
            }
            Some(0) => "0 workers: a runtime needs at least 1; Builder::single_thread() makes one without \
                        threads of its own"
                .to_owned(),
            Some(workers) if workers > WORKERS_MAX => {
                format!("{workers} workers: the most is {WORKERS_MAX}; a few for each processor are plenty")
            }
            Some(workers) if workers > 1 && self.paused.is_some() => format!(
                "{workers} workers with a paused clock: its order is that of one thread; \
                 leave workers() out"
            ),
            Some(workers) if workers > 1 && self.single => {
                format!("{workers} workers in Builder::single_thread(): use Builder::new() for more than one")
            }
            _ if self.single || self.paused.is_some() => return Ok(0),
            workers => return Ok(workers.unwrap_or(processors.min(WORKERS_MAX))),
        };
        Err(io::Error::new(io::ErrorKind::InvalidInput, problem))
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
