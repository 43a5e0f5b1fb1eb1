//! The demo `shared_memory`: a value and an array that several processes have in their memory at the same
//! place.
//!
//! Owns the command line, the jobs and both halves. What is shared is in `map`.

mod map;

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::{self, ExitCode};
use std::sync::atomic::Ordering::Relaxed;

use filch::process::{Job, JobError, Pool};

use crate::story::{self, Halves, Story};
use map::Shared;

pub(crate) const ABOUT: &str =
    "a value with its lock, and an array of atomics, in the memory of several processes";

/// Several processes count in memory that they share: under a lock, and with atomics.
///
/// The lock is the system's, on the file that the memory is of: a process that is killed while it has it
/// gives it back.
#[derive(Debug, clap::Parser)]
#[command(name = "shared_memory")]
struct Args {
    #[command(flatten)]
    plan: Plan,
    /// How many worker threads the runtime has; 0 for one a CPU
    #[arg(long, default_value_t = 0)]
    workers: usize,
}

/// Who counts how far.
#[derive(Clone, Copy, Debug, clap::Args)]
pub struct Plan {
    /// How many processes count
    #[arg(long, default_value_t = 4, value_parser = clap::value_parser!(u32).range(1..=64))]
    pub processes: u32,
    /// How far each of them counts
    #[arg(long, default_value_t = 1_000, value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    pub times: u32,
    /// How many cells the array has
    #[arg(long, default_value_t = 10, value_parser = clap::value_parser!(u32).range(1..=100_000))]
    pub cells: u32,
}

/// Runs the demo.
pub fn run(arguments: Vec<OsString>) -> ExitCode {
    match crate::parse::<Args>(arguments) {
        Ok(Args { plan, workers }) => story::run(plan, workers),
        Err(code) => code,
    }
}

/// Counts under the lock, in two steps that nobody may come between.
pub(crate) static COUNT_LOCKED: Job<(PathBuf, u32), ()> =
    Job::new("shared_memory::count_locked", |(path, times)| {
        let shared = open(&path);
        for _ in 0..times {
            let value = shared.lock().expect("the lock");
            let seen = value.cells()[0].load(Relaxed);
            value.cells()[0].store(seen + 1, Relaxed);
        }
    });
/// Counts without: each step is one that cannot be divided.
pub(crate) static COUNT_ATOMIC: Job<(PathBuf, u32), ()> =
    Job::new("shared_memory::count_atomic", |(path, times)| {
        let shared = open(&path);
        for _ in 0..times {
            shared.cells()[0].fetch_add(1, Relaxed);
        }
    });
/// The guides' worker: each cell becomes twice its place. `(path, process, of how many)`.
pub(crate) static DOUBLE: Job<(PathBuf, u32, u32), ()> =
    Job::new("shared_memory::double", |(path, me, of)| {
        let shared = open(&path);
        for (place, cell) in shared.cells().iter().enumerate().skip(me as usize).step_by(of as usize) {
            cell.store(place as u64 * 2, Relaxed);
        }
    });
/// Crashes with the lock in its hands.
pub(crate) static CRASH: Job<PathBuf, ()> = Job::new("shared_memory::crash", |path| {
    let shared = open(&path);
    let _locked = shared.lock().expect("the lock");
    process::abort()
});

fn open(path: &Path) -> Shared {
    Shared::open(path).expect("the memory that the parent has made")
}

/// What one half works on.
struct Work {
    pool: Pool,
    value: Shared,
    array: Shared,
}

impl Work {
    fn new(plan: &Plan) -> Work {
        let pool = Pool::new(plan.processes as usize).expect("a pool, if `main` begins with `init`");
        let shared = |cells| Shared::create(cells).expect("shared memory");
        Work { pool, value: shared(1), array: shared(plan.cells as usize) }
    }

    fn counts(&self, plan: &Plan) -> Vec<(PathBuf, u32)> {
        vec![(self.value.path(), plan.times); plan.processes as usize]
    }

    fn doubles(&self, plan: &Plan) -> Vec<(PathBuf, u32, u32)> {
        (0..plan.processes).map(|me| (self.array.path(), me, plan.processes)).collect()
    }
}

impl Halves for Plan {
    fn about(&self) -> String {
        let Plan { processes, times, cells } = self;
        format!(
            "{processes} processes count to {times} each in one place, and fill an array of {cells} cells."
        )
    }

    fn threads(&self, story: &mut Story) {
        let work = Work::new(self);
        let jobs = work.pool.map(&COUNT_LOCKED, work.counts(self)).join();
        tell_value(story, self, &work, &jobs, "A value with its lock");
        let jobs = work.pool.map(&COUNT_ATOMIC, work.counts(self)).join();
        tell_value(story, self, &work, &jobs, "An atomic, without");
        let jobs = work.pool.map(&DOUBLE, work.doubles(self)).join();
        tell_array(story, &work, &jobs);
        let crash = work.pool.apply(&CRASH, work.value.path()).join();
        tell_crash(story, &work, &crash);
    }

    async fn tasks(self, story: &mut Story) {
        let work = Work::new(&self);
        let jobs = work.pool.map(&COUNT_LOCKED, work.counts(&self)).await;
        tell_value(story, &self, &work, &jobs, "A value with its lock");
        let jobs = work.pool.map(&COUNT_ATOMIC, work.counts(&self)).await;
        tell_value(story, &self, &work, &jobs, "An atomic, without");
        let jobs = work.pool.map(&DOUBLE, work.doubles(&self)).await;
        tell_array(story, &work, &jobs);
        let crash = work.pool.apply(&CRASH, work.value.path()).await;
        tell_crash(story, &work, &crash);
    }
}

type Ended = Result<(), JobError>;

fn tell_value(story: &mut Story, plan: &Plan, work: &Work, jobs: &[Ended], title: &str) {
    story.part(title);
    let failed: Vec<_> = jobs.iter().filter_map(|job| job.as_ref().err()).collect();
    story.equal("jobs that failed", failed, Vec::new());
    let counted = work.value.cells()[0].swap(0, Relaxed);
    let expected = u64::from(plan.processes) * u64::from(plan.times);
    story.equal("the value", counted, expected);
}

fn tell_array(story: &mut Story, work: &Work, jobs: &[Ended]) {
    story.part("An array, of which each process fills a part");
    story.is("no job failed", jobs.iter().all(Result::is_ok));
    let cells: Vec<u64> = work.array.cells().iter().map(|cell| cell.load(Relaxed)).collect();
    story.note(format_args!("it begins with {:?}", &cells[..cells.len().min(10)]));
    let right = cells.iter().enumerate().all(|(place, cell)| *cell == place as u64 * 2);
    story.is("each cell is twice its place", right);
}

fn tell_crash(story: &mut Story, work: &Work, crash: &Ended) {
    story.part("A process that crashes with the lock in its hands");
    let crashed = JobError::Crashed { signal: Some(libc::SIGABRT), code: None };
    story.equal("how it ended", crash.clone(), Err(crashed));
    story.is("the lock is free again", work.value.try_lock().is_ok());
}
