//! Layer 3, pool. `WorkerPool` and its options: calls and futures, by rank, with workers that are watched.
//!
//! Owns the two queues, and the end. `job` is a job on its way, `board` the record of who does what and the rules,
//! `crew` the workers, `supervisor` the task that replaces them, `report` what is told. Called by user code.
#![forbid(unsafe_code)]

mod board;
mod crew;
mod job;
mod report;
mod supervisor;
#[cfg(test)]
mod tests;

use std::fmt;
use std::io;
use std::panic::Location;
use std::time::Duration;

use filch_channels::sync::{Event, Notify, PriorityQueue};

use super::job::Run;
use crate::Handle;
use crate::shim::{Arc, Mutex};
use crate::time::{Instant, timeout};
use board::{Board, Rules};
use job::{Entry, Task};
use supervisor::Watch;

pub use job::{JobContext, Priority, Submission, SubmitError};
pub use report::{
    Death, DeathCause, Health, RunningJob, WorkerHealth, WorkerKind, WorkerPoolReport, WorkerState,
};

/// More workers of a kind are a mistake in a computation of their number.
const WORKERS_MAX: usize = 1 << 15;

/// Threads for calls and tasks for futures behind one door, and a supervisor that looks after them.
///
/// | to …                                       | use                                                         |
/// |--------------------------------------------|-------------------------------------------------------------|
/// | have a closure called on a thread          | [`call`](Self::call)                                        |
/// | have a future driven by a task             | [`spawn`](Self::spawn)                                      |
/// | … with its rank, its name, its heartbeat   | the methods of [`Submission`]                               |
/// | hand it over, from a task or a thread      | [`Submission::submit`] and its like                         |
/// | have its output, or end it                 | [`Job`](super::Job)                                         |
/// | see who does what                          | [`health`](Self::health)                                    |
/// | end it in order                            | [`shutdown`](Self::shutdown)                                |
///
/// **Backpressure.** Calls and futures wait in a queue each. When it is full, whoever submits waits, or is told so.
///
/// **Supervision.** A job that panics is its own error, and its worker goes on. A worker that dies all the same, or
/// hangs, is replaced at once, but no more than so many in a span of time: see
/// [`restarts`](WorkerPoolBuilder::restarts). Nobody looks each second: deaths are told by whoever dies, and those who
/// hang are found when the first heartbeat could be over.
///
/// **Heartbeats.** With [`heartbeat`](WorkerPoolBuilder::heartbeat) a job that gives no sign of life for so long
/// counts as *hung*. Each poll of a future is one, and so is [`JobContext::beat`]. Its context is cancelled, a
/// future is dropped where it waits, and another worker takes the place of its own. A thread cannot be stopped from
/// outside: it leaves when its call comes back. So that not ever more of them pile up, none is replaced while more
/// are away than the pool has workers of that kind.
///
/// The pool belongs to the runtime it was built on: that has the tasks, and its clock is the pool's. With it the pool
/// ends: what waits is refused. On a paused clock heartbeats and deadlines go by that; but threads take no time there,
/// so a call counts as hung as soon as all tasks wait, unless it was told to have no heartbeat.
///
/// Cloned freely: all clones are the same pool. When the last one is dropped, what was submitted is still done.
///
/// # Examples
/// ```
/// use std::time::Duration;
///
/// use filch::pool::{Priority, WorkerPool};
///
/// # fn main() -> std::io::Result<()> {
/// filch::run(async {
///     let pool = WorkerPool::new(4, 2)?;
///     // From a task ...
///     let call = pool.call(|| (1..=20).product::<u64>()).submit().await.unwrap();
///     let future = pool.spawn(async { 6 * 7 }).priority(Priority::High).name("answer").submit().await.unwrap();
///     assert_eq!((call.await.unwrap(), future.await.unwrap()), (2_432_902_008_176_640_000, 42));
///     // ... and from a thread.
///     let other = pool.clone();
///     let thread = std::thread::spawn(move || other.spawn(async { 7 }).submit_blocking().unwrap().join());
///     assert_eq!(thread.join().unwrap().unwrap(), 7);
///
///     let report = pool.shutdown(Duration::from_secs(10)).await;
///     assert!(report.is_complete() && report.done == 3, "{report}");
///     assert!(pool.call(|| ()).try_submit().is_err());
///     Ok(())
/// })
/// # }
/// ```
///
/// A call that is hung by its own fault, found by its heartbeat:
/// ```
/// use std::time::Duration;
///
/// use filch::pool::{DeathCause, WorkerPool};
/// use filch::channel;
///
/// # fn main() -> std::io::Result<()> {
/// filch::run(async {
///     let (tell, deaths) = channel::unbounded();
///     let pool = WorkerPool::builder()
///         .threads(1)
///         .heartbeat(Duration::from_millis(20))
///         .on_death(move |death| drop(tell.try_send(death.clone())))
///         .build()?;
///     let stuck = pool.call_with(|job| {
///         while !job.is_cancelled() {
///             std::thread::yield_now();
///         }
///     });
///     let stuck = stuck.name("stuck").submit().await.unwrap();
///     let death = deaths.recv().await.unwrap();
///     assert!(matches!(&death.cause, DeathCause::Hung(job) if job.name.as_deref() == Some("stuck")), "{death}");
///     // Another thread is there already.
///     assert_eq!(pool.call(|| 1).submit().await.unwrap().await.unwrap(), 1);
///     // This one was told to stop, and did.
///     stuck.await.unwrap();
///     Ok(())
/// })
/// # }
/// ```
#[derive(Clone)]
pub struct WorkerPool(Arc<Owner>);

/// The clones together.
struct Owner(Arc<Shared>);

impl Drop for Owner {
    fn drop(&mut self) {
        self.0.close();
    }
}

struct Shared {
    name: Arc<str>,
    rules: Rules,
    grace: Duration,
    on_death: Box<dyn Fn(&Death) + Send + Sync>,
    handle: Handle,
    calls: PriorityQueue<Entry<dyn Run>>,
    tasks: PriorityQueue<Entry<dyn Task>>,
    board: Mutex<Board>,
    /// Has the supervisor look.
    bell: Notify,
    /// All workers have gone, and none will come.
    left: Event,
}

/// Options of a [`WorkerPool`].
#[must_use = "nothing is started before `build`"]
pub struct WorkerPoolBuilder {
    name: String,
    threads: usize,
    tasks: usize,
    queue: usize,
    ageing: u64,
    rules: Rules,
    grace: Duration,
    on_death: Box<dyn Fn(&Death) + Send + Sync>,
    handle: Option<Handle>,
}

impl WorkerPool {
    /// A pool of so many threads and so many tasks, with queues without a limit; [`builder`](Self::builder) has more
    /// options.
    ///
    /// # Errors
    /// As [`WorkerPoolBuilder::build`].
    pub fn new(threads: usize, tasks: usize) -> io::Result<WorkerPool> {
        WorkerPool::builder().threads(threads).tasks(tasks).build()
    }

    /// Options.
    pub fn builder() -> WorkerPoolBuilder {
        let rules =
            Rules { heartbeat: None, restarts: 10, within: Duration::from_secs(1), fresh_after_panic: false };
        WorkerPoolBuilder {
            name: "workers".to_owned(),
            threads: std::thread::available_parallelism().map_or(1, usize::from),
            tasks: 64,
            queue: 0,
            ageing: 64,
            rules,
            grace: Duration::from_secs(1),
            on_death: Box::new(|death| eprintln!("filch: {death}")),
            handle: None,
        }
    }

    /// Has `f` called on one of the threads, where it may block.
    #[track_caller]
    pub fn call<F, T>(&self, f: F) -> Submission<'_, T>
    where
        F: FnOnce() -> T + Send + 'static,
        T: Send + 'static,
    {
        Submission::call(self, Location::caller(), move |_| f())
    }

    /// As [`call`](Self::call), for one that works for long: it is given the context of the job, by which it hears
    /// that it should stop, and says that it lives.
    #[track_caller]
    pub fn call_with<F, T>(&self, f: F) -> Submission<'_, T>
    where
        F: FnOnce(&JobContext) -> T + Send + 'static,
        T: Send + 'static,
    {
        Submission::call(self, Location::caller(), f)
    }

    /// Has `future` driven by one of the tasks, which does no other job meanwhile.
    #[track_caller]
    pub fn spawn<F>(&self, future: F) -> Submission<'_, F::Output>
    where
        F: Future + Send + 'static,
        F::Output: Send + 'static,
    {
        Submission::task(self, Location::caller(), |_| future)
    }

    /// As [`spawn`](Self::spawn), for a future that is made with the context of its job.
    #[track_caller]
    pub fn spawn_with<F>(&self, make: impl FnOnce(JobContext) -> F) -> Submission<'_, F::Output>
    where
        F: Future + Send + 'static,
        F::Output: Send + 'static,
    {
        Submission::task(self, Location::caller(), make)
    }

    /// Who does what, and what was done so far. It waits for nobody, so it works while all workers hang.
    pub fn health(&self) -> Health {
        let shared = self.shared();
        let mut health = shared.board.lock().health(shared.now());
        (health.waiting_calls, health.waiting_tasks) = (shared.calls.len(), shared.tasks.len());
        health
    }

    /// Ends the pool: nothing is taken in any more, and what there is is done. After `within` what has not begun is
    /// cancelled, futures are dropped where they wait, and calls are told to stop by their contexts. What still runs
    /// after a [grace](WorkerPoolBuilder::grace) is named in the report, and left to itself.
    ///
    /// A second call waits for the same end, and its deadline counts, too.
    ///
    /// # Panics
    /// Outside of a runtime of filch, when there is something to wait for.
    ///
    /// # Cancel safety
    /// **Strict.** The pool stays closed. Without another call nothing is cancelled.
    pub async fn shutdown(&self, within: Duration) -> WorkerPoolReport {
        let shared = self.shared();
        shared.close();
        let mut drained = timeout(within, shared.drained()).await.is_ok();
        if !drained {
            shared.force(SHUT_DOWN);
            drained = timeout(shared.grace, shared.drained()).await.is_ok();
        }
        if drained {
            // Workers without a job leave at once, whatever the clock says.
            shared.left.wait().await;
        }
        shared.report()
    }

    /// As [`shutdown`](Self::shutdown), and blocks the thread. Its time is the machine's also where the clock of the
    /// runtime is paused.
    pub fn shutdown_blocking(&self, within: Duration) -> WorkerPoolReport {
        let shared = self.shared();
        shared.close();
        let mut drained = shared.drained_timeout(within);
        if !drained {
            shared.force(SHUT_DOWN);
            drained = shared.drained_timeout(shared.grace);
        }
        if drained {
            shared.left.wait_blocking();
        }
        shared.report()
    }

    /// Whether it was shut down, or its runtime has ended.
    pub fn is_shut_down(&self) -> bool {
        self.shared().calls.is_closed()
    }

    fn shared(&self) -> &Shared {
        &self.0.0
    }
}

const SHUT_DOWN: &str = "the pool was shut down, and the deadline for that is over";

impl Shared {
    /// By the clock of the runtime, on whatever thread.
    fn now(&self) -> Instant {
        let _inside = self.handle.enter();
        Instant::now()
    }

    /// Whether a job waits or runs.
    fn has_work(&self) -> bool {
        self.calls.unfinished() > 0 || self.tasks.unfinished() > 0
    }

    fn close(&self) {
        self.calls.close();
        self.tasks.close();
        self.board.lock().close();
        self.settle();
        self.bell.notify_one();
    }

    /// Says so if the last one has gone. Whoever may have been the last calls it, after it has given back its job.
    fn settle(&self) {
        let over = !self.has_work() && self.board.lock().is_over();
        if over {
            self.left.set();
        }
    }

    /// Waits until no job waits or runs.
    async fn drained(&self) {
        self.calls.join().await;
        self.tasks.join().await;
    }

    /// As `drained`, on a thread. False: not in time.
    fn drained_timeout(&self, within: Duration) -> bool {
        let began = std::time::Instant::now();
        self.calls.join_timeout(within).is_ok()
            && self.tasks.join_timeout(within.saturating_sub(began.elapsed())).is_ok()
    }

    /// Cancels what waits, and tells what runs to stop. After `close`.
    fn force(&self, why: &str) {
        let calls = self.calls.close_now().into_iter().filter(|entry| entry.job.refuse()).count();
        let tasks = self.tasks.close_now().into_iter().filter(|entry| entry.job.refuse()).count();
        let running = {
            let mut board = self.board.lock();
            board.totals.cancelled += (calls + tasks) as u64;
            board.contexts()
        };
        running.iter().for_each(|context| context.stop(why.to_owned()));
        self.settle();
        self.bell.notify_one();
    }

    fn report(&self) -> WorkerPoolReport {
        let now = self.now();
        let board = self.board.lock();
        let totals = board.totals;
        WorkerPoolReport {
            done: totals.done,
            panicked: totals.panicked,
            stopped: totals.stopped,
            cancelled: totals.cancelled,
            stuck: board.running(now),
        }
    }
}

impl WorkerPoolBuilder {
    /// How many threads: as many as there are processors, if not said otherwise.
    pub fn threads(mut self, threads: usize) -> WorkerPoolBuilder {
        self.threads = threads;
        self
    }

    /// How many tasks, and so how many futures at the same time: 64, if not said otherwise.
    pub fn tasks(mut self, tasks: usize) -> WorkerPoolBuilder {
        self.tasks = tasks;
        self
    }

    /// What the pool is called, and its threads and tasks after it: `workers`, if not said otherwise.
    pub fn name(mut self, name: impl Into<String>) -> WorkerPoolBuilder {
        self.name = name.into();
        self
    }

    /// How many calls may wait, and how many futures. `0`, as if not said: no limit. A job that is cancelled keeps its
    /// place until it is passed over.
    pub fn queue(mut self, jobs: usize) -> WorkerPoolBuilder {
        self.queue = jobs;
        self
    }

    /// How many jobs of a higher rank may be begun before one that was there before them: 64, if not said otherwise.
    /// After that it is next. `0`: first come, first served.
    pub fn ageing(mut self, jobs: u64) -> WorkerPoolBuilder {
        self.ageing = jobs;
        self
    }

    /// How long a job may give no sign of life before it counts as hung; it is found at the latest after twice that
    /// time. Without it none does. A [`Submission`] may say otherwise of itself.
    pub fn heartbeat(mut self, heartbeat: Duration) -> WorkerPoolBuilder {
        self.rules.heartbeat = Some(heartbeat);
        self
    }

    /// How many workers that died or hang are replaced in each span of `within`: 10 a second, if not said otherwise.
    /// Further ones are replaced as soon as there are fewer; until then the pool goes on with the workers that it has.
    pub fn restarts(mut self, workers: usize, within: Duration) -> WorkerPoolBuilder {
        (self.rules.restarts, self.rules.within) = (workers, within);
        self
    }

    /// Whether a worker whose job panicked is done with, and replaced: where jobs leave something in their thread that
    /// a panic may have left half done. If not said, it goes on.
    pub fn fresh_after_panic(mut self, fresh: bool) -> WorkerPoolBuilder {
        self.rules.fresh_after_panic = fresh;
        self
    }

    /// What is told of each worker that dies or hangs, by the supervisor. Without it, stderr is.
    pub fn on_death(mut self, hook: impl Fn(&Death) + Send + Sync + 'static) -> WorkerPoolBuilder {
        self.on_death = Box::new(hook);
        self
    }

    /// How long a shutdown waits, after its deadline, for what it told to stop: 1 s, if not said otherwise.
    pub fn grace(mut self, grace: Duration) -> WorkerPoolBuilder {
        self.grace = grace;
        self
    }

    /// Which runtime it belongs to: the one it is built in, if not said otherwise.
    pub fn runtime(mut self, handle: &Handle) -> WorkerPoolBuilder {
        self.handle = Some(handle.clone());
        self
    }

    /// Starts the workers.
    ///
    /// # Errors
    /// When the number of threads or of tasks is zero or over 32,768, a time is zero that may not be, the number of
    /// restarts is, or the name has a NUL byte; outside of a runtime of filch; and when the system starts no more
    /// threads. Those that were started end again.
    pub fn build(self) -> io::Result<WorkerPool> {
        self.check()?;
        let handle = match self.handle {
            Some(handle) => handle,
            None => Handle::try_current().ok_or_else(|| {
                io::Error::other(
                    "a worker pool belongs to a filch runtime, and there is none on this thread: build it in a task, \
                     or give it one by `runtime`",
                )
            })?,
        };
        let queue = self.queue;
        let shared = Arc::new(Shared {
            name: self.name.as_str().into(),
            rules: self.rules,
            grace: self.grace,
            on_death: self.on_death,
            handle,
            calls: PriorityQueue::by(queue, |a: &Entry<dyn Run>, b| {
                b.ticket.priority.cmp(&a.ticket.priority)
            })
            .with_ageing(self.ageing),
            tasks: PriorityQueue::by(queue, |a: &Entry<dyn Task>, b| {
                b.ticket.priority.cmp(&a.ticket.priority)
            })
            .with_ageing(self.ageing),
            board: Mutex::new(Board::new(&self.name, self.threads, self.tasks)),
            bell: Notify::new(),
            left: Event::new(),
        });
        let pool = WorkerPool(Arc::new(Owner(shared.clone())));
        let seats = shared.board.lock().open();
        for (at, seat) in seats.into_iter().enumerate() {
            crew::start(&shared, seat).map_err(|error| {
                let text =
                    format!("only {at} workers of the pool {:?} could be started: {error}", shared.name);
                io::Error::new(error.kind(), text)
            })?;
        }
        let name = format!("{}-supervisor", shared.name);
        let watch = Watch::new(shared.clone());
        let supervisor = supervisor::supervise(watch);
        drop(crate::task::Builder::new().name(name).spawn_on(supervisor, &shared.handle));
        Ok(pool)
    }

    fn check(&self) -> io::Result<()> {
        let invalid = |text: String| Err(io::Error::new(io::ErrorKind::InvalidInput, text));
        for (what, count) in [("threads", self.threads), ("tasks", self.tasks)] {
            if count == 0 || count > WORKERS_MAX {
                return invalid(format!("a worker pool has 1 to {WORKERS_MAX} {what}, not {count}"));
            }
        }
        if self.name.contains('\0') {
            return invalid(format!("the name of a worker pool, {:?}, has a NUL byte", self.name));
        }
        if self.rules.heartbeat.is_some_and(|heartbeat| heartbeat.is_zero()) {
            return invalid("with a heartbeat of zero every job hangs; without `heartbeat` none does".into());
        }
        if self.rules.restarts == 0 || self.rules.within.is_zero() {
            return invalid(
                "a worker pool needs one restart at least, and a span of time in which so many are allowed"
                    .into(),
            );
        }
        Ok(())
    }
}

impl fmt::Debug for WorkerPool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("WorkerPool").field("name", &self.shared().name).finish_non_exhaustive()
    }
}

impl fmt::Debug for WorkerPoolBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("WorkerPoolBuilder")
            .field("name", &self.name)
            .field("threads", &self.threads)
            .field("tasks", &self.tasks)
            .field("queue", &self.queue)
            .field("rules", &self.rules)
            .finish_non_exhaustive()
    }
}
