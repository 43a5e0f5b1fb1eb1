//! Layer 2, scheduler. The orderly end of a runtime, within a deadline, and the report of it.
//!
//! In this order: no task comes in any more; every live one is asked to end, and the workers, still at work,
//! drop its future; when none is left, or at the deadline, the workers and the blocking threads are told to
//! stop, and waited for; what waits on sockets elsewhere is told. What did not come back is in the report.
//! Late tasks, which clean up, come in until the deadline, and are only then asked to end.
//! Called by `Runtime::shutdown` and by its drop.
#![forbid(unsafe_code)]

use std::fmt;
use std::panic::Location;
use std::time::{Duration, Instant};

use super::crew::{join_all, wait};
use super::shared::Scheduler;
use crate::context;
use crate::driver::clock::{self, ticks};
use crate::shim::Arc;
use crate::shim::Ordering::SeqCst;
use crate::shim::thread;
use crate::task::{self, Task};
use crate::util::wake::wake_all;

/// How long those that clean up and are cut at the deadline are waited for; each needs one turn.
const CUT_WITHIN: Duration = Duration::from_millis(100);
/// How long a caller of `block_on` stays for tasks that were cancelled; each needs one turn.
const LEAVE_WITHIN: Duration = Duration::from_secs(1);

/// How a runtime ended.
#[derive(Debug, Clone, Default)]
#[non_exhaustive]
pub struct ShutdownReport {
    /// Tasks that came to their own end while the runtime stopped.
    pub finished: usize,
    /// Tasks whose future was dropped before its end.
    pub cancelled: usize,
    /// Tasks and blocking jobs that were still running at the deadline, and were left to themselves; and clean-ups
    /// that had not come to their end, and were cancelled.
    pub abandoned: Vec<Abandoned>,
}

/// A task, a blocking job or a clean-up that did not come to its end before the deadline of a shutdown.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Abandoned {
    /// The task's id.
    pub id: u64,
    /// Its name, if it was given one.
    pub name: Option<String>,
    /// Where it was spawned.
    pub location: &'static Location<'static>,
    /// For how long it was seen running: a lower bound.
    pub running_for: Duration,
}

impl fmt::Display for ShutdownReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} finished, {} cancelled, {} abandoned",
            self.finished,
            self.cancelled,
            self.abandoned.len()
        )?;
        self.abandoned.iter().try_for_each(|abandoned| write!(f, "; {abandoned}"))
    }
}

impl fmt::Display for Abandoned {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let head = task::head(self.id, self.name.as_deref(), self.location);
        write!(f, "{head}, ran for more than {:?}", self.running_for)
    }
}

/// Ends the runtime. Only the first call does something.
pub(crate) fn shutdown(scheduler: &Arc<Scheduler>, within: Duration) -> ShutdownReport {
    let start = Instant::now();
    let deadline = start.checked_add(within);
    let inside = is_on_own_thread(scheduler);
    let close = || scheduler.cores.iter().flat_map(|core| core.tasks.lock().close()).collect::<Vec<Task>>();
    // Some have ended already, and are about to leave their list.
    let mut tasks: Vec<Task> = close().into_iter().filter(|task| !task.state.is_done()).collect();
    for job in scheduler.blocking.jobs.close() {
        scheduler.finish(job.cancel(None));
    }
    tasks.iter().filter(|task| !task.is_late()).for_each(Task::abort);
    let wait_for = |within, done: &dyn Fn() -> bool| match scheduler.is_single_threaded() {
        false => _ = wait(Instant::now().checked_add(within), done),
        true if !inside => drive(scheduler, within),
        true => {}
    };
    // From inside, the calling task cannot be waited for. Others that are in a poll can, by their threads.
    let running =
        |task: &&Task| inside && task.probe.is_running() && !task.state.is_done() && !task.is_late();
    wait_for(within, &|| scheduler.live_tasks() <= tasks.iter().filter(running).count());
    let cut: Vec<Task> = close().into_iter().filter(|task| task.is_late() && !task.state.is_done()).collect();
    if !cut.is_empty() {
        cut.iter().for_each(Task::abort);
        wait_for(CUT_WITHIN, &|| cut.iter().all(|task| task.state.is_done()));
    }
    tasks.retain(|task| cut.iter().all(|cut| cut.probe.id() != task.probe.id()));
    // Ordering: SeqCst, with those that wake or go to sleep: see `Scheduler::is_stopping`.
    scheduler.stopping.store(true, SeqCst);
    scheduler.monitor.stop();
    scheduler.crew.unpark_all();
    // Taken first: the threads need the locks for their end.
    let threads = std::mem::take(&mut scheduler.crew.state.lock().threads);
    let of_jobs = std::mem::take(&mut *scheduler.blocking.threads.lock());
    join_all(threads.into_iter().chain(of_jobs), deadline);
    // Whoever waits elsewhere for a timer or a socket of this runtime looks again, and finds it gone.
    let mut wakers = Vec::new();
    scheduler.cores.iter().for_each(|core| while core.timers.fire(clock::NEVER, &mut wakers) > 0 {});
    scheduler.driver.reactors.iter().for_each(|reactor| reactor.shutdown(&mut wakers));
    wake_all(&mut wakers);
    let report = report(scheduler, &tasks, &cut, start);
    if scheduler.live_tasks() > 0 {
        // What is abandoned may still call the scheduler: it must stay.
        std::mem::forget(scheduler.clone());
    }
    report
}

/// A caller of `block_on` leaves a single-threaded runtime that was shut down meanwhile: it runs what that left to it.
pub(super) fn leave(scheduler: &Arc<Scheduler>) {
    if scheduler.is_single_threaded() && scheduler.is_stopping() {
        drive(scheduler, LEAVE_WITHIN);
    }
}

/// Runs the tasks of a single-threaded runtime to their ends. A virtual clock jumps, but no further than `within`.
fn drive(scheduler: &Arc<Scheduler>, within: Duration) {
    let clock = &scheduler.driver.clock;
    let (deadline, until) = (Instant::now().checked_add(within), clock.now().saturating_add(ticks(within)));
    let here = context::enter_worker(scheduler.clone());
    let mut hands = None;
    let done = || {
        // A `block_on` may have the core, and work on what was aborted; or it ends first, and leaves that to us.
        while let Some(core) = hands.take().or_else(|| scheduler.take(true, &here.worker)) {
            let ran;
            (hands, ran) = here.worker.step(core);
            if deadline.is_some_and(|deadline| Instant::now() >= deadline) {
                break;
            } else if !ran && scheduler.live_tasks() > 0 {
                // What is left waits, is on its way here, or runs on a thread that does not come back.
                hands = hands.take().and_then(|core| here.worker.look(core));
                let next = scheduler.cores[0].timers.earliest();
                if hands.as_ref().is_some_and(|core| core.len() > 0) {
                    continue;
                } else if !clock.is_virtual() || next == clock::NEVER {
                    break;
                } else if next > until {
                    return true;
                }
                clock.advance_to(next);
            } else if !ran {
                break;
            }
        }
        scheduler.live_tasks() == 0
    };
    wait(deadline, done);
    hands.into_iter().for_each(|core| scheduler.abandon(core));
}

fn is_on_own_thread(scheduler: &Arc<Scheduler>) -> bool {
    context::current_worker().is_some_and(|worker| Arc::ptr_eq(&worker.scheduler, scheduler))
}

fn report(scheduler: &Scheduler, tasks: &[Task], cut: &[Task], start: Instant) -> ShutdownReport {
    let seen: Vec<_> =
        scheduler.crew.state.lock().attached.iter().filter_map(|worker| worker.seen()).collect();
    let mut report = ShutdownReport::default();
    for task in tasks.iter().chain(cut) {
        let id = task.probe.id();
        if task.is_late() && task.state.is_cancelled() || !task.state.is_done() {
            let since = seen.iter().find(|(seen, _)| *seen == id).map_or(start, |(_, since)| *since);
            let name = task.name().map(str::to_owned);
            let running_for = since.elapsed();
            report.abandoned.push(Abandoned { id, name, location: task.location, running_for });
        } else if task.state.is_cancelled() {
            report.cancelled += 1;
        } else {
            report.finished += 1;
        }
    }
    report
}

/// As [`shutdown_on_drop`], and never on this thread.
pub(crate) fn shutdown_apart(scheduler: Arc<Scheduler>, within: Duration) {
    let name = format!("{}-shutdown", scheduler.config.name);
    let for_thread = scheduler.clone();
    let started =
        thread::Builder::new().name(name).spawn(move || print(&shutdown(&for_thread, within), &for_thread));
    if let Err(error) = started {
        eprintln!(
            "filch: the runtime \"{}\" could not be shut down, for want of a thread ({error}); its own go on",
            scheduler.config.name
        );
    }
}

/// The end of a runtime that nobody waits for: on a thread of its own, if it must not block this one.
pub(crate) fn shutdown_on_drop(scheduler: Arc<Scheduler>, within: Duration) {
    if !is_on_own_thread(&scheduler) {
        return print(&shutdown(&scheduler, within), &scheduler);
    }
    shutdown_apart(scheduler, within);
}

fn print(report: &ShutdownReport, scheduler: &Scheduler) {
    for abandoned in &report.abandoned {
        eprintln!("filch: the runtime \"{}\" ended without {abandoned}", scheduler.config.name);
    }
}
