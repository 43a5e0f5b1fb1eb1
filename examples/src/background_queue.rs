//! The demo `background_queue`: jobs that are put aside, done by a few workers, and outlived by them if they fail.
//!
//! Owns the command line and both halves. A queue of filch counts what is not done, so to wait is to join it; a job
//! that panics is noted, and its worker goes on with the next.

use std::any::Any;
use std::ffi::OsString;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::pin::Pin;
use std::process::ExitCode;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;

use filch::JoinHandle;
use filch::sync::{PutError, Queue, QueueStats};

use crate::story::{self, Halves, Story};

pub(crate) const ABOUT: &str =
    "jobs done in the background by a few workers, which outlive those that fail; submit, wait, close";

/// Jobs are submitted to a queue and done by a few workers in the background, on threads and on tasks.
///
/// Some fail: that is noted, and their workers go on. To wait is to wait until all are done, the failed ones too.
#[derive(Debug, clap::Parser)]
#[command(name = "background_queue")]
struct Args {
    #[command(flatten)]
    plan: Plan,
    /// How many worker threads the runtime has; 0 for one a CPU
    #[arg(long, default_value_t = 0)]
    workers: usize,
}

/// Who does how much.
#[derive(Clone, Copy, Debug, clap::Args)]
pub struct Plan {
    /// How many work in the background
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..=64))]
    pub background: u32,
    /// How many jobs there are; each third one fails
    #[arg(long, default_value_t = 12, value_parser = clap::value_parser!(u32).range(..=100_000))]
    pub jobs: u32,
}

impl Default for Plan {
    fn default() -> Plan {
        Plan { background: 3, jobs: 12 }
    }
}

/// Runs the demo.
pub fn run(arguments: Vec<OsString>) -> ExitCode {
    match crate::parse::<Args>(arguments) {
        Ok(Args { plan, workers }) => story::run(plan, workers),
        Err(code) => code,
    }
}

/// What the jobs did, and what failed: the guides print that.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<(Vec<u32>, Vec<String>)>>);

impl Log {
    fn done(&self, number: u32) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).0.push(number);
    }

    fn failed(&self, payload: &(dyn Any + Send)) {
        let why = payload.downcast_ref::<String>().cloned().unwrap_or_default();
        self.0.lock().unwrap_or_else(PoisonError::into_inner).1.push(why);
    }

    /// Both, sorted: they come in any order.
    fn told(&self) -> (Vec<u32>, Vec<String>) {
        let mut told = self.0.lock().unwrap_or_else(PoisonError::into_inner).clone();
        told.0.sort_unstable();
        told.1.sort_unstable();
        told
    }
}

/// Does job `number`, or fails.
fn work(number: u32, log: &Log) {
    if number.is_multiple_of(3) {
        // As a panic, without the message of one.
        resume_unwind(Box::new(format!("job {number:05} failed")));
    }
    log.done(number);
}

type Job = Box<dyn FnOnce() + Send>;

/// The guides' `BackgroundTaskQueue`, on threads. They are daemons: nobody joins them.
struct OnThreads(Arc<Queue<Job>>);

impl OnThreads {
    fn new(workers: u32, log: &Log) -> OnThreads {
        let queue = Arc::new(Queue::<Job>::new(0));
        for _ in 0..workers {
            let (queue, log) = (queue.clone(), log.clone());
            thread::spawn(move || {
                while let Ok(job) = queue.get_blocking() {
                    if let Err(payload) = catch_unwind(AssertUnwindSafe(job)) {
                        log.failed(&*payload);
                    }
                    queue.task_done().expect("once for each item");
                }
            });
        }
        OnThreads(queue)
    }

    fn submit(&self, job: impl FnOnce() + Send + 'static) -> Result<(), PutError<Job>> {
        self.0.put_blocking(Box::new(job))
    }

    fn wait(&self) {
        self.0.join_blocking();
    }
}

type Future = Pin<Box<dyn std::future::Future<Output = ()> + Send>>;

/// The same on tasks: a job is a task of its own, so that what it panics is its own, too.
struct OnTasks(Arc<Queue<Future>>);

impl OnTasks {
    fn new(workers: u32, log: &Log) -> OnTasks {
        let queue = Arc::new(Queue::<Future>::new(0));
        for _ in 0..workers {
            let (queue, log) = (queue.clone(), log.clone());
            let worker: JoinHandle<()> = filch::spawn(async move {
                while let Ok(job) = queue.get().await {
                    if let Err(error) = filch::spawn(job).await {
                        log.failed(&*error.into_panic());
                    }
                    queue.task_done().expect("once for each item");
                }
            });
            drop(worker);
        }
        OnTasks(queue)
    }

    async fn submit(
        &self,
        job: impl std::future::Future<Output = ()> + Send + 'static,
    ) -> Result<(), PutError<Future>> {
        self.0.put(Box::pin(job)).await
    }

    async fn wait(&self) {
        self.0.join().await;
    }
}

impl Halves for Plan {
    fn about(&self) -> String {
        format!("{} jobs are done in the background by {}; each third one fails.", self.jobs, self.background)
    }

    fn threads(&self, story: &mut Story) {
        let log = Log::default();
        let background = OnThreads::new(self.background, &log);
        for number in 1..=self.jobs {
            let log = log.clone();
            background.submit(move || work(number, &log)).expect("it is open");
        }
        background.wait();
        let stats = background.0.stats();
        background.0.close();
        let refused = background.submit(|| ()).is_err();
        tell(story, self, &log, stats, refused);
    }

    async fn tasks(self, story: &mut Story) {
        let log = Log::default();
        let background = OnTasks::new(self.background, &log);
        for number in 1..=self.jobs {
            let log = log.clone();
            let job = async move {
                filch::yield_now().await;
                work(number, &log);
            };
            background.submit(job).await.expect("it is open");
        }
        background.wait().await;
        let stats = background.0.stats();
        background.0.close();
        let refused = background.submit(async {}).await.is_err();
        tell(story, &self, &log, stats, refused);
    }
}

fn tell(story: &mut Story, plan: &Plan, log: &Log, stats: QueueStats, refused: bool) {
    let (done, failed) = log.told();
    story.is(
        "every job that does not fail is done, once",
        done.into_iter().eq((1..=plan.jobs).filter(|n| n % 3 != 0)),
    );
    story.equal("those that fail are noted", failed.len() as u32, plan.jobs / 3);
    let first = failed.first().map(String::as_str);
    story.equal("with what they said", first, (plan.jobs > 2).then_some("job 00003 failed"));
    story.equal("the wait ends when nothing is unfinished", (stats.unfinished, stats.len), (0, 0));
    let survived = stats.put == u64::from(plan.jobs) && stats.taken == stats.put;
    story.holds("the workers outlive their failures: taken", survived, stats.taken);
    story.is("after the close nothing is taken on", refused);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_job_is_done_or_noted() {
        for (background, jobs) in [(3, 12), (1, 4), (8, 2), (2, 0)] {
            story::assert_holds(Plan { background, jobs });
        }
    }
}
