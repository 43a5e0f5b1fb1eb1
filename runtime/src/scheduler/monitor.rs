//! Layer 2, scheduler. The thread that sees a poll which does not come back, and takes the core from under
//! it.
//!
//! Owns one thread a runtime, which sleeps while all workers do, and ticks every few milliseconds while one
//! is awake. A worker counts its polls; one that is in the same poll at two ticks is stuck, and its core goes
//! to another thread. That costs a worker two plain stores a poll. Go's `sysmon` does the same (`retake`);
//! here it never reads a clock for each poll either. Called by `Builder::build` (start), by `worker` when it
//! wakes (`rouse`), by `shutdown` (stop).
#![forbid(unsafe_code)]

use std::io;
use std::time::{Duration, Instant};

use super::crew::join_all;
use super::idle::Doze;
use super::shared::{Scheduler, SlowPoll};
use super::worker::Worker;
use crate::shim::Ordering::{Relaxed, SeqCst};
use crate::shim::shared::AtomicBool;
use crate::shim::thread::{self, JoinHandle};
use crate::shim::{Arc, Mutex};
use crate::util::wake::guarded;

/// Between two looks, when the first found a worker in a poll; and when it did not. A stuck worker loses its core
/// after one tick of either kind and one of the first: within the 20 ms that are promised, with room for a substitute
/// to start.
const TICK: Duration = Duration::from_millis(4);
const QUIET_TICK: Duration = Duration::from_millis(10);
/// Ticks with all workers asleep before the monitor sleeps too: waking it costs more than a few idle ticks.
const QUIET_TICKS: u32 = 10;
/// How often at most it is said that no substitute can be started.
const SAY_AGAIN: Duration = Duration::from_secs(60);

pub(crate) struct Monitor {
    doze: Doze,
    stop: AtomicBool,
    thread: Mutex<Option<JoinHandle<()>>>,
}

/// What the monitor knows of one worker.
#[derive(Default)]
pub(crate) struct Watch {
    polls: u32,
    /// When it was first seen in that poll.
    since: Option<Instant>,
    /// How long the thread had waited for a processor by then.
    waited: Duration,
    reported: bool,
}

impl Monitor {
    pub(super) fn new() -> Monitor {
        Monitor { doze: Doze::new(), stop: AtomicBool::new(false), thread: Mutex::new(None) }
    }

    /// Starts the thread.
    pub(crate) fn start(&self, scheduler: &Arc<Scheduler>) -> io::Result<()> {
        let of_thread = scheduler.clone();
        let name = format!("{}-monitor", scheduler.config.name);
        let started = thread::Builder::new().name(name).spawn(move || of_thread.monitor.run(&of_thread))?;
        *self.thread.lock() = Some(started);
        Ok(())
    }

    /// A worker is awake: so must the monitor be.
    #[inline]
    pub(super) fn rouse(&self) {
        if self.doze.must_rouse() {
            self.unpark();
        }
    }

    fn unpark(&self) {
        if let Some(thread) = &*self.thread.lock() {
            thread.thread().unpark();
        }
    }

    /// Ends the thread, and waits for that unless it is the calling one.
    pub(super) fn stop(&self) {
        self.stop.store(true, SeqCst);
        self.unpark();
        let thread = self.thread.lock().take();
        join_all(thread, None);
    }

    fn run(&self, scheduler: &Arc<Scheduler>) {
        let tick = match scheduler.config.slow_poll {
            Some((limit, _)) => (limit / 2).clamp(Duration::from_millis(1), TICK),
            None => TICK,
        };
        let (mut quiet, mut busy, mut said) = (0, true, None);
        // An unpark may be spurious, or taken by a callback that parks: each turn looks for itself.
        while !self.stop.load(SeqCst) {
            quiet = if scheduler.idle.all_asleep() { quiet + 1 } else { 0 };
            if quiet > QUIET_TICKS {
                if self.doze.begin(&scheduler.idle) && !self.stop.load(SeqCst) {
                    thread::park();
                }
                self.doze.end();
                quiet = 0;
            } else {
                thread::park_timeout(if busy { tick } else { QUIET_TICK.max(tick) });
            }
            busy = look(scheduler, &mut said);
        }
    }
}

/// One look at all workers. Whether any of them was in a poll. `said`: when it was last said that there is no
/// substitute.
fn look(scheduler: &Arc<Scheduler>, said: &mut Option<Instant>) -> bool {
    let now = Instant::now();
    let mut stuck = Vec::new();
    let mut busy = false;
    for worker in &scheduler.crew.state.lock().attached {
        busy |= worker.lease.is_out();
        if let Some(since) = in_same_poll(worker, now) {
            stuck.push((worker.clone(), since));
        }
    }
    for (worker, since) in stuck {
        report(scheduler, &worker, now - since);
        // In the single-threaded flavour there is nobody to take over.
        if scheduler.is_single_threaded() {
            continue;
        }
        if let Some(core) = worker.lease.revoke() {
            scheduler.rescues.add(1);
            scheduler.abandon(core);
        }
    }
    // Also for cores that found no thread before.
    if let Err(error) = scheduler.crew.staff(scheduler) {
        if !scheduler.is_stopping() && said.is_none_or(|said| now - said > SAY_AGAIN) {
            *said = Some(now);
            eprintln!(
                "filch: a worker of \"{}\" is stuck in a task, and no substitute can take its place: {error}; move \
                 the blocking call into spawn_blocking",
                scheduler.config.name
            );
        }
    }
    busy
}

impl Worker {
    /// The task that it was seen in for some time, by id, and since when.
    pub(super) fn seen(&self) -> Option<(u64, Instant)> {
        self.watch.lock().since.map(|since| (self.current.load(Relaxed), since))
    }
}

/// Since when the worker has been seen in the poll that it is in, if it was there at the last look already.
fn in_same_poll(worker: &Worker, now: Instant) -> Option<Instant> {
    let polls = worker.polls.load(Relaxed);
    let mut watch = worker.watch.lock();
    if !worker.lease.is_out() {
        watch.since = None;
        return None;
    }
    let waited = waited_for_processor(worker.thread);
    let Some(since) = watch.since.filter(|_| watch.polls == polls) else {
        *watch = Watch { polls, since: Some(now), waited, reported: false };
        return None;
    };
    // A thread that waits for a processor is not stuck, and another one in its place would wait, too.
    let delayed = waited.saturating_sub(watch.waited);
    (now.saturating_duration_since(since).saturating_sub(delayed) >= TICK * 3 / 4).then_some(since)
}

/// How long a thread has been ready to run, and did not, since its start; zero where the kernel does not say.
fn waited_for_processor(thread: u32) -> Duration {
    let stat = std::fs::read_to_string(format!("/proc/self/task/{thread}/schedstat")).unwrap_or_default();
    let nanos = stat.split_whitespace().nth(1).and_then(|nanos| nanos.parse().ok());
    Duration::from_nanos(nanos.unwrap_or(0))
}

/// Tells `on_slow_poll`, once a poll.
fn report(scheduler: &Scheduler, worker: &Worker, running_for: Duration) {
    let Some((limit, hook)) = &scheduler.config.slow_poll else { return };
    if running_for < *limit || std::mem::replace(&mut worker.watch.lock().reported, true) {
        return;
    }
    let id = worker.current.load(Relaxed);
    let task = scheduler.tasks().into_iter().find(|task| task.probe.id() == id);
    let location = task.as_ref().map(|task| task.location);
    let name = task.as_ref().and_then(|task| task.name()).map(str::to_owned);
    let slow = SlowPoll { id: if task.is_some() { id } else { 0 }, name, location, running_for };
    guarded("the on_slow_poll callback", || hook(&slow));
}
