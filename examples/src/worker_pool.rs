//! The demo `worker_pool`: the guides' expert challenge, with functions and futures, ranks, a supervisor, and an end.
//!
//! Owns the command line and both halves. The threads' half submits from threads, the tasks' half from tasks, to the
//! same pool; what hangs is found by the clock, which jumps on tasks.

use std::ffi::OsString;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use filch::pool::{
    Death, DeathCause, Health, Job, JobError, Priority, SubmitError, WorkerPool, WorkerPoolReport,
};
use filch::sync::Event;

use crate::story::{self, Halves, Log, Story};

pub(crate) const ABOUT: &str =
    "functions and futures in one pool: ranks, hung workers replaced, an end that names what is stuck";

/// One pool takes functions, which go to threads, and futures, which become tasks, from threads and from tasks.
///
/// Urgent ones go first; a full queue makes wait; what panics or hangs harms nobody else; the end drains, cancels at
/// its deadline, and names what is stuck.
#[derive(Debug, clap::Parser)]
#[command(name = "worker_pool")]
struct Args {
    #[command(flatten)]
    plan: Plan,
    /// How many worker threads the runtime has; 0 for one a CPU
    #[arg(long, default_value_t = 0)]
    workers: usize,
}

/// How many do how much.
#[derive(Clone, Copy, Debug, clap::Args)]
pub struct Plan {
    /// How many threads the pool has
    #[arg(long, default_value_t = 4, value_parser = clap::value_parser!(u32).range(2..=64))]
    pub threads: u32,
    /// How many tasks it has
    #[arg(long, default_value_t = 2, value_parser = clap::value_parser!(u32).range(1..=64))]
    pub tasks: u32,
    /// How many functions and how many futures are submitted
    #[arg(long, default_value_t = 50, value_parser = clap::value_parser!(u32).range(1..=100_000))]
    pub jobs: u32,
}

impl Default for Plan {
    fn default() -> Plan {
        Plan { threads: 4, tasks: 2, jobs: 50 }
    }
}

/// Runs the demo.
pub fn run(arguments: Vec<OsString>) -> ExitCode {
    match crate::parse::<Args>(arguments) {
        Ok(Args { plan, workers }) => story::run(plan, workers),
        Err(code) => code,
    }
}

/// How long a job may be silent, here.
const HEARTBEAT: Duration = Duration::from_millis(50);

/// The guides' function for the processor.
fn sum_of_squares(n: u64) -> u64 {
    (0..n).map(|i| i * i).sum()
}

/// A panic that is only a result.
fn fails() -> u32 {
    std::panic::resume_unwind(Box::new("no disk"))
}

/// A pool of the plan, and what is told of deaths.
fn pool(plan: Plan, deaths: &Log<Death>) -> WorkerPool {
    let told = deaths.clone();
    let builder = WorkerPool::builder().threads(plan.threads as usize).tasks(plan.tasks as usize);
    let builder = builder.on_death(move |death| told.note(death.clone())).grace(Duration::from_millis(20));
    builder.build().expect("a pool, in a runtime")
}

/// A pool of one thread with room for three jobs, given one that ends when it is released.
fn small() -> (WorkerPool, Gated) {
    let pool = WorkerPool::builder().threads(1).tasks(1).queue(3).build().expect("a pool, in a runtime");
    let gated = Gated::new(&pool);
    (pool, gated)
}

/// A function that says when it has begun, and then waits to be released.
struct Gated {
    job: Job<()>,
    begun: Arc<Event>,
    release: Arc<Event>,
}

impl Gated {
    fn new(pool: &WorkerPool) -> Gated {
        let (begun, release) = (Arc::new(Event::new()), Arc::new(Event::new()));
        let (begins, released) = (begun.clone(), release.clone());
        let deaf = move || {
            begins.set();
            released.wait_blocking();
        };
        let job = pool.call(deaf).name("deaf").try_submit().expect("there is room");
        Gated { job, begun, release }
    }
}

fn ranked(pool: &WorkerPool, log: &Log<&'static str>) -> Vec<Job<()>> {
    let ranks = [("low", Priority::Low), ("normal", Priority::Normal), ("high", Priority::High)];
    let jobs = ranks.map(|(name, rank)| {
        let log = log.clone();
        pool.call(move || log.note(name)).priority(rank).try_submit().expect("there is room for three")
    });
    jobs.into()
}

/// A function that never says that it lives, and ends when it is told to stop.
fn silent(job: &filch::pool::JobContext) -> bool {
    while !job.is_cancelled() {
        std::thread::yield_now();
    }
    true
}

impl Halves for Plan {
    fn about(&self) -> String {
        let Plan { threads, tasks, jobs } = self;
        format!(
            "A pool of {threads} threads and {tasks} tasks is given {jobs} functions and {jobs} futures, and trouble."
        )
    }

    fn threads(&self, story: &mut Story) {
        let deaths = Log::new();
        let pool = pool(*self, &deaths);
        let both: Vec<_> = (0..u64::from(self.jobs))
            .map(|n| {
                let call = pool.call(move || sum_of_squares(n)).submit_blocking().expect("it is open");
                let future = async move {
                    filch::yield_now().await;
                    n
                };
                (call, pool.spawn(future).submit_blocking().expect("it is open"))
            })
            .collect();
        tell_results(story, both.into_iter().map(|(call, future)| (call.join(), future.join())));
        tell_failure(story, pool.call(fails).submit_blocking().expect("it is open").join());

        let hung = pool.call_with(silent).heartbeat(Some(HEARTBEAT)).name("hung").submit_blocking();
        let told = hung.expect("it is open").join();
        let pending = pool.spawn(std::future::pending::<()>()).heartbeat(Some(HEARTBEAT)).submit_blocking();
        tell_hung(story, told, pending.expect("it is open").join(), &deaths.take());
        tell_health(story, self, &pool.health());

        let (one, busy) = small();
        busy.begun.wait_blocking();
        let log = Log::new();
        let jobs = ranked(&one, &log);
        let refused = one.call(|| ()).submit_timeout(Duration::ZERO).err();
        busy.release.set();
        jobs.into_iter().chain([busy.job]).for_each(|job| job.join().expect("no panic"));
        tell_ranks(story, &log.take(), refused, SubmitError::TimedOut);

        let deaf = Gated::new(&pool);
        deaf.begun.wait_blocking();
        let report = pool.shutdown_blocking(Duration::from_millis(5));
        tell_end(story, &report, pool.call(|| ()).submit_blocking().err());
        deaf.release.set();
        story.is("which goes on to its end", deaf.job.join().is_ok());
    }

    async fn tasks(self, story: &mut Story) {
        let deaths = Log::new();
        let pool = pool(self, &deaths);
        let mut both = Vec::new();
        for n in 0..u64::from(self.jobs) {
            let call = pool.call(move || sum_of_squares(n)).submit().await.expect("it is open");
            let future = async move {
                filch::yield_now().await;
                n
            };
            both.push((call, pool.spawn(future).submit().await.expect("it is open")));
        }
        let mut results = Vec::new();
        for (call, future) in both {
            results.push((call.await, future.await));
        }
        tell_results(story, results.into_iter());
        tell_failure(story, pool.call(fails).submit().await.expect("it is open").await);

        let hung = pool.call_with(silent).heartbeat(Some(HEARTBEAT)).name("hung").submit().await;
        let told = hung.expect("it is open").await;
        let pending = pool.spawn(std::future::pending::<()>()).heartbeat(Some(HEARTBEAT)).submit().await;
        tell_hung(story, told, pending.expect("it is open").await, &deaths.take());
        tell_health(story, &self, &pool.health());

        let (one, busy) = small();
        busy.begun.wait().await;
        let log = Log::new();
        let jobs = ranked(&one, &log);
        let refused = one.call(|| ()).try_submit().err();
        busy.release.set();
        for job in jobs.into_iter().chain([busy.job]) {
            job.await.expect("no panic");
        }
        tell_ranks(story, &log.take(), refused, SubmitError::Full);

        let deaf = Gated::new(&pool);
        deaf.begun.wait().await;
        let report = pool.shutdown(Duration::from_millis(5)).await;
        tell_end(story, &report, pool.call(|| ()).submit().await.err());
        deaf.release.set();
        story.is("which goes on to its end", deaf.job.await.is_ok());
    }
}

type Output<T> = Result<T, JobError>;

fn tell_results(story: &mut Story, results: impl Iterator<Item = (Output<u64>, Output<u64>)>) {
    let right = |(n, (call, future)): (u64, (Output<u64>, Output<u64>))| {
        call.is_ok_and(|sum| sum == sum_of_squares(n)) && future.is_ok_and(|same| same == n)
    };
    story.is("each function and each future has its result", (0..).zip(results).all(right));
}

fn tell_failure(story: &mut Story, result: Output<u32>) {
    let error = result.err().map(|error| error.to_string()).unwrap_or_default();
    story.holds("one that panics has an error, with its place", error.ends_with("panicked: no disk"), error);
}

fn tell_hung(story: &mut Story, call: Output<bool>, future: Output<()>, deaths: &[Death]) {
    story.equal("a function that hangs is told to stop", call.ok(), Some(true));
    let error = future.err().map(|error| error.to_string()).unwrap_or_default();
    let name = error.split_once("end: ").map_or("", |(_, why)| why).to_owned();
    story.holds("a future that hangs is dropped", name.starts_with("it gave no sign of life"), name);
    let hung = deaths.iter().filter(|death| matches!(death.cause, DeathCause::Hung(_))).count();
    story.equal("the supervisor is told of both", (deaths.len(), hung), (2, 2));
    let at_once = deaths.iter().all(|death| death.restart_in == Some(Duration::ZERO));
    story.is("and has others take their places at once", at_once);
    deaths.iter().for_each(|death| story.note(death));
}

fn tell_health(story: &mut Story, plan: &Plan, health: &Health) {
    story.equal("as many workers as before", health.workers.len() as u32, plan.threads + plan.tasks);
    story.equal("the failure is counted", health.panicked, 1);
}

fn tell_ranks(story: &mut Story, order: &[&str], refused: Option<SubmitError>, expected: SubmitError) {
    story.equal("higher ranks go first", order.join(" "), "high normal low".to_owned());
    story.is("a full queue says so, or makes wait", refused == Some(expected));
}

fn tell_end(story: &mut Story, report: &WorkerPoolReport, refused: Option<SubmitError>) {
    let stuck: Vec<_> = report.stuck.iter().map(|job| job.name.clone().unwrap_or_default()).collect();
    story.equal("after the deadline of the shutdown, what is stuck is named", stuck, vec!["deaf".to_owned()]);
    story.note(report);
    story.equal("it takes no more", refused, Some(SubmitError::Closed));
    let waited = report.cancelled == 0 && report.done > 0;
    story.is("and nothing that was submitted is lost", waited);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn trouble_harms_nobody_else() {
        for (threads, tasks, jobs) in [(4, 2, 50), (2, 1, 1), (8, 8, 200)] {
            story::assert_holds(Plan { threads, tasks, jobs });
        }
    }
}
