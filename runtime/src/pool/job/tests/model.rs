//! Models of a job, on the code that ships: the thread that runs it against a handle that waits, cancels,
//! watches or goes.

use std::sync::Arc;

use crate::pool::job::{CancelOutcome, Job, Ran, Run, Work};
use crate::shim::Ordering::Relaxed;
use crate::shim::shared::AtomicUsize;
use crate::shim::{model, thread};

/// Counts its drops.
struct Counted(Arc<AtomicUsize>);

impl Drop for Counted {
    fn drop(&mut self) {
        // Relaxed: read after the threads were joined.
        self.0.fetch_add(1, Relaxed);
    }
}

fn job<T: Send + 'static>(f: impl FnOnce() -> T + Send + 'static) -> (Job<T>, Arc<dyn Run>) {
    let work = Work::new(f, std::panic::Location::caller());
    (Job::new(work.clone()), work)
}

#[test]
fn a_wait_ends() {
    model(|| {
        let (job, run) = job(|| 7);
        let thread = thread::spawn(move || assert_eq!(run.run("model"), Ran::Ended));
        assert_eq!(job.join().unwrap(), 7);
        thread.join().unwrap();
    });
}

#[test]
fn a_job_is_run_or_cancelled() {
    model(|| {
        let ran = Arc::new(AtomicUsize::new(0));
        let counted = ran.clone();
        let (job, run) = job(move || counted.fetch_add(1, Relaxed));
        let thread = thread::spawn(move || run.run("model") == Ran::Ended);
        let outcome = job.cancel();
        // Cancelled or not, there is an end.
        let result = job.join();
        let was_run = thread.join().unwrap();
        assert_eq!(was_run, outcome != CancelOutcome::NotStarted);
        assert_eq!((result.is_ok(), ran.load(Relaxed)), (was_run, usize::from(was_run)));
    });
}

#[test]
fn a_callback_is_called_once_and_before_the_wait_ends() {
    model(|| {
        let called = Arc::new(AtomicUsize::new(0));
        let (job, run) = job(|| 7);
        let thread = thread::spawn(move || run.run("model") == Ran::Ended);
        let counted = called.clone();
        job.on_done(move |result| {
            assert_eq!(*result.as_ref().unwrap(), 7);
            counted.fetch_add(1, Relaxed);
        });
        assert_eq!(job.join().unwrap(), 7);
        assert_eq!(called.load(Relaxed), 1);
        thread.join().unwrap();
    });
}

#[test]
fn an_output_is_dropped_once_though_nobody_takes_it() {
    model(|| {
        let drops = Arc::new(AtomicUsize::new(0));
        let counted = Counted(drops.clone());
        let (job, run) = job(move || counted);
        let thread = thread::spawn(move || run.run("model") == Ran::Ended);
        drop(job);
        assert!(thread.join().unwrap());
        assert_eq!(drops.load(Relaxed), 1);
    });
}

#[test]
fn a_refused_job_and_a_cancelled_one_end_once() {
    model(|| {
        let drops = Arc::new(AtomicUsize::new(0));
        let counted = Counted(drops.clone());
        let (job, run) = job(move || drop(counted));
        let thread = thread::spawn(move || run.refuse());
        let cancelled = job.cancel() == CancelOutcome::NotStarted;
        assert!(job.join().unwrap_err().is_cancelled());
        assert_ne!(thread.join().unwrap(), cancelled);
        assert_eq!(drops.load(Relaxed), 1);
    });
}
