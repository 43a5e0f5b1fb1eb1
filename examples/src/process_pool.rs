//! The demo `process_pool`: functions of this program that run in other processes, where they can be killed.
//!
//! Owns the command line, the jobs and both halves. The program's `main` must begin with [`crate::init`].

use std::collections::BTreeSet;
use std::ffi::OsString;
use std::process::{self, ExitCode};
use std::time::Duration;

use filch::process::{Job, JobError, Pool, PoolStats, Queue, RemoteQueue};
use filch::stream::StreamExt;

use crate::story::{self, Halves, Story};

pub(crate) const ABOUT: &str =
    "functions that run in other processes: map and starmap, limits that kill, crashes that are contained";

/// Runs functions of this program in processes of their own, waited for by threads and by tasks.
///
/// Outputs come in order; a job that takes too long is killed, one that crashes has an error of its own, and
/// neither harms another. At last two processes talk through a queue.
#[derive(Debug, clap::Parser)]
#[command(name = "process_pool")]
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
    /// How many processes there are at most
    #[arg(long, default_value_t = 4, value_parser = clap::value_parser!(u32).range(2..=64))]
    pub processes: u32,
    /// How many numbers are squared
    #[arg(long, default_value_t = 1_000, value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    pub numbers: u32,
    /// How many of them are handed to a process at once
    #[arg(long, default_value_t = 50, value_parser = clap::value_parser!(u32).range(1..=100_000))]
    pub chunk: u32,
}

/// Runs the demo.
pub fn run(arguments: Vec<OsString>) -> ExitCode {
    match crate::parse::<Args>(arguments) {
        Ok(Args { plan, workers }) => story::run(plan, workers),
        Err(code) => code,
    }
}

pub(crate) static SQUARE: Job<u64, u64> = Job::new("process_pool::square", |n| n * n);
pub(crate) static ADD: Job<(u64, u64), u64> = Job::new("process_pool::add", |(a, b)| a + b);
pub(crate) static WHO: Job<(), u32> = Job::new("process_pool::who", |()| process::id());
/// Crashes, if it is told so.
pub(crate) static FRAGILE: Job<bool, u32> = Job::new("process_pool::fragile", |crash| {
    if crash {
        process::abort();
    }
    process::id()
});
pub(crate) static PICKY: Job<i64, i64> = Job::new("process_pool::picky", |n| {
    assert!(n >= 0, "{n} has no square root");
    n.isqrt()
});
pub(crate) static STUCK: Job<(), ()> = Job::new("process_pool::stuck", |()| {
    loop {
        std::thread::park();
    }
});
/// The guides' two ends of a queue, which end by a sentinel.
pub(crate) static PRODUCE: Job<(RemoteQueue<Option<String>>, u32), ()> =
    Job::new("process_pool::produce", |(queue, count)| {
        for i in 0..count {
            queue.put(&Some(format!("item-{i}"))).expect("the queue");
        }
        queue.put(&None).expect("the queue");
    });
pub(crate) static CONSUME: Job<RemoteQueue<Option<String>>, Vec<String>> =
    Job::new("process_pool::consume", |queue| {
        let mut items = Vec::new();
        while let Some(item) = queue.get().expect("the queue") {
            items.push(item);
        }
        items
    });

const LIMIT: Duration = Duration::from_millis(20);
const PATIENCE: Duration = Duration::from_secs(10);
const ITEMS: u32 = 10;

impl Plan {
    fn numbers(&self) -> impl Iterator<Item = u64> + use<> {
        0..u64::from(self.numbers)
    }
}

fn pool(plan: &Plan) -> Pool {
    Pool::new(plan.processes as usize).expect("a pool, if `main` begins with `init`")
}

impl Halves for Plan {
    fn about(&self) -> String {
        let Plan { processes, numbers, .. } = self;
        format!("Up to {processes} processes square {numbers} numbers, get stuck, crash, panic, and talk.")
    }

    fn threads(&self, story: &mut Story) {
        let (plan, pool) = (*self, pool(self));
        let squares = pool.map(&SQUARE, plan.numbers()).chunk(plan.chunk as usize).join();
        let sums = pool.starmap(&ADD, [(1, 2), (3, 4)]).join();
        let (one, other) = (pool.apply(&SQUARE, 10).start(), pool.apply(&SQUARE, 20).start());
        tell_outputs(story, &plan, &squares, &sums, &[one.join(), other.join()]);
        tell_who(story, &plan, &pool.map(&WHO, vec![(); 50]).join());

        tell_limit(story, &pool.apply(&STUCK, ()).timeout(LIMIT).join(), pool.stats());
        tell_crash(story, &pool.map(&FRAGILE, (0..6).map(|n| n == 3)).join());
        tell_panic(story, &pool.map(&PICKY, [16, -1, 25]).join());

        let queue = Queue::new(4).expect("a queue");
        let consumer = pool.apply(&CONSUME, queue.remote()).start();
        let producer = pool.apply(&PRODUCE, (queue.remote(), ITEMS)).join();
        tell_queue(story, &producer, &consumer.join());
        tell_end(story, pool.shutdown_blocking(PATIENCE).killed.len());
    }

    async fn tasks(self, story: &mut Story) {
        let (plan, pool) = (self, pool(&self));
        // As they are done, and put in order by hand.
        let mut done = pool.map(&SQUARE, plan.numbers()).chunk(plan.chunk as usize).unordered();
        let mut squares = Vec::new();
        while let Some(output) = done.next().await {
            squares.push(output);
        }
        squares.sort_by_key(|(place, _)| *place);
        let squares: Vec<_> = squares.into_iter().map(|(_, square)| square).collect();
        let sums = pool.starmap(&ADD, [(1, 2), (3, 4)]).await;
        let both = filch::gather([10, 20].map(|n| pool.apply(&SQUARE, n).start())).await;
        tell_outputs(story, &plan, &squares, &sums, &both);
        tell_who(story, &plan, &pool.map(&WHO, vec![(); 50]).await);

        tell_limit(story, &pool.apply(&STUCK, ()).timeout(LIMIT).await, pool.stats());
        tell_crash(story, &pool.map(&FRAGILE, (0..6).map(|n| n == 3)).await);
        tell_panic(story, &pool.map(&PICKY, [16, -1, 25]).await);

        let queue = Queue::new(4).expect("a queue");
        let consumer = pool.apply(&CONSUME, queue.remote()).start();
        let producer = pool.apply(&PRODUCE, (queue.remote(), ITEMS)).await;
        tell_queue(story, &producer, &consumer.await);
        tell_end(story, pool.shutdown(PATIENCE).await.killed.len());
    }
}

type Outputs<T> = [Result<T, JobError>];

fn tell_outputs(
    story: &mut Story,
    plan: &Plan,
    squares: &Outputs<u64>,
    sums: &Outputs<u64>,
    both: &Outputs<u64>,
) {
    story.part("map, starmap and apply");
    let right = plan.numbers().map(|n| Ok(n * n)).eq(squares.iter().cloned());
    story.holds("squares, each in its place", right, squares.len());
    story.equal("1 + 2 and 3 + 4", sums, &[Ok(3), Ok(7)]);
    story.equal("10 and 20 squared, both under way at once", both, &[Ok(100), Ok(400)]);
}

fn tell_who(story: &mut Story, plan: &Plan, who: &Outputs<u32>) {
    let who: BTreeSet<u32> = who.iter().flatten().copied().collect();
    story.note(format_args!("50 jobs were done by the processes {who:?}"));
    let few = !who.is_empty() && who.len() <= plan.processes as usize;
    story.is(
        "they are no more than were allowed, and this one is not among them",
        few && !who.contains(&process::id()),
    );
}

fn tell_limit(story: &mut Story, late: &Result<(), JobError>, stats: PoolStats) {
    story.part("A job that never ends, with a limit of 20 ms");
    story.equal("its output", late.clone(), Err(JobError::TimedOut { limit: LIMIT }));
    story.equal("jobs killed", stats.killed, 1);
    story.equal("processes that have gone with it", stats.started - stats.processes as u64, 1);
}

fn tell_crash(story: &mut Story, fragile: &Outputs<u32>) {
    story.part("Six jobs, of which the fourth crashes");
    let errors: Vec<_> = fragile.iter().map(|output| output.as_ref().err()).collect();
    let crashed = JobError::Crashed { signal: Some(libc::SIGABRT), code: None };
    story.equal("who has an error", errors, vec![None, None, None, Some(&crashed), None, None]);
}

fn tell_panic(story: &mut Story, picky: &Outputs<i64>) {
    story.part("Three jobs, of which the second panics");
    let message = "-1 has no square root".to_owned();
    story.equal("their outputs", picky, &[Ok(4), Err(JobError::Panicked { message }), Ok(5)]);
}

fn tell_queue(story: &mut Story, producer: &Result<(), JobError>, consumer: &Result<Vec<String>, JobError>) {
    story.part("A producer and a consumer in two processes, a queue with 4 places between them");
    let items: Vec<String> = (0..ITEMS).map(|i| format!("item-{i}")).collect();
    story.equal("the producer ends", producer.clone(), Ok(()));
    story.equal("what was consumed", consumer.clone(), Ok(items));
}

fn tell_end(story: &mut Story, killed: usize) {
    story.part("The end of the pool");
    story.equal("jobs that had to be killed", killed, 0);
}
