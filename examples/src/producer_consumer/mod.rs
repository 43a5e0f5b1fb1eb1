//! The demo `producer_consumer`: a queue between those who make things and those who use them, and its end.
//!
//! Owns the command line, the plan and what must hold of every run. `threads` and `tasks` each do it twice, once
//! with a sentinel for each consumer and once by closing the queue.

mod tasks;
mod threads;

use std::ffi::OsString;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use filch::sync::{Queue, QueueStats};

pub(crate) const ABOUT: &str =
    "a queue evens out producers and consumers, and ends by a sentinel or by close, on threads and on tasks";

/// Producers put items into a bounded queue, consumers take them out, each at its own speed.
///
/// It is done four times: on threads and on tasks, with a sentinel for each consumer and by closing the queue.
/// Each time every item must be consumed once, in order, and the queue never hold more than it may.
#[derive(Debug, clap::Parser)]
#[command(name = "producer_consumer")]
struct Args {
    #[command(flatten)]
    plan: Plan,
    /// How many worker threads the runtime has; 0 for one a CPU
    #[arg(long, default_value_t = 0)]
    workers: usize,
}

/// Who does how much, and how fast.
#[derive(Clone, Copy, Debug, clap::Args)]
pub struct Plan {
    /// How many producers there are
    #[arg(long, default_value_t = 2, value_parser = clap::value_parser!(u32).range(1..=256))]
    pub producers: u32,
    /// How many consumers there are
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..=256))]
    pub consumers: u32,
    /// How many items each producer makes
    #[arg(long, default_value_t = 20, value_parser = clap::value_parser!(u32).range(..=1_000_000))]
    pub items: u32,
    /// How many items the queue holds; 0 for no limit
    #[arg(long, default_value_t = 10)]
    pub maxsize: usize,
    /// How many microseconds it takes to make an item
    #[arg(long, default_value_t = 500)]
    pub produce_us: u64,
    /// How many microseconds it takes to use one
    #[arg(long, default_value_t = 2_000)]
    pub consume_us: u64,
}

impl Plan {
    fn produce(&self) -> Duration {
        Duration::from_micros(self.produce_us)
    }

    fn consume(&self) -> Duration {
        Duration::from_micros(self.consume_us)
    }
}

/// An item: who made it, and its number.
pub type Item = (u32, u32);

/// What came of a run.
#[derive(Debug)]
pub struct Outcome {
    /// What each consumer used, in its order.
    pub consumed: Vec<Vec<Item>>,
    /// The queue after the end.
    pub stats: QueueStats,
    /// How long it took.
    pub took: Duration,
}

impl Outcome {
    fn new<T>(consumed: Vec<Vec<Item>>, queue: &Queue<T>, began: Instant) -> Outcome {
        Outcome { consumed, stats: queue.stats(), took: began.elapsed() }
    }

    /// What a run promises.
    ///
    /// # Errors
    /// Says what did not hold.
    pub fn check(&self, plan: &Plan) -> Result<(), String> {
        for (consumer, items) in self.consumed.iter().enumerate() {
            for producer in 0..plan.producers {
                if !items.iter().filter(|item| item.0 == producer).is_sorted() {
                    return Err(format!("consumer {consumer} got what {producer} made in another order"));
                }
            }
        }
        let mut all = self.consumed.concat();
        all.sort_unstable();
        let made = (0..plan.producers).flat_map(|who| (0..plan.items).map(move |number| (who, number)));
        if !all.into_iter().eq(made) {
            return Err("not every item was consumed once".into());
        }
        if plan.maxsize != 0 && self.stats.peak > plan.maxsize {
            return Err(format!("{} items were in a queue for {}", self.stats.peak, plan.maxsize));
        }
        match (self.stats.unfinished, self.stats.len) {
            (0, 0) => Ok(()),
            (unfinished, len) => Err(format!("{unfinished} items are not done, {len} are left")),
        }
    }
}

/// A name of a run, and what came of it.
pub type Named = (&'static str, Outcome);

/// All four runs.
pub async fn all(plan: Plan) -> Result<[Named; 4], filch::JoinError> {
    // The threads block, so they are waited for where that harms nobody.
    let (sentinel, close) =
        filch::spawn_blocking(move || (threads::with_sentinels(&plan), threads::with_close(&plan))).await?;
    Ok([
        ("threads, a sentinel each", sentinel),
        ("threads, close", close),
        ("tasks, a sentinel each", tasks::with_sentinels(plan).await?),
        ("tasks, close", tasks::with_close(plan).await?),
    ])
}

/// Runs the demo.
pub fn run(arguments: Vec<OsString>) -> ExitCode {
    let Args { plan, workers } = match crate::parse(arguments) {
        Ok(args) => args,
        Err(code) => return code,
    };
    let runtime = match crate::runtime(workers) {
        Ok(runtime) => runtime,
        Err(code) => return code,
    };
    println!(
        "{} producers make {} items each, one every {:?}; {} consumers use them, one every {:?}.",
        plan.producers,
        plan.items,
        plan.produce(),
        plan.consumers,
        plan.consume()
    );
    let runs = match runtime.block_on(all(plan)) {
        Ok(runs) => runs,
        Err(error) => {
            eprintln!("producer_consumer: {error}");
            return ExitCode::FAILURE;
        }
    };
    let mut code = ExitCode::SUCCESS;
    for (name, outcome) in runs {
        let shares: Vec<_> = outcome.consumed.iter().map(Vec::len).collect();
        println!(
            "  {name:25} {:>9.1?}, at most {} in the queue, consumed {shares:?}",
            outcome.took, outcome.stats.peak
        );
        if let Err(error) = outcome.check(&plan) {
            println!("  FAIL: {error}");
            code = ExitCode::FAILURE;
        }
    }
    code
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_run_holds() {
        for (producers, consumers, maxsize) in [(1, 1, 1), (2, 3, 10), (4, 2, 0)] {
            let plan = Plan { producers, consumers, items: 50, maxsize, produce_us: 0, consume_us: 0 };
            let runtime = crate::runtime(2).unwrap();
            for (name, outcome) in runtime.block_on(all(plan)).unwrap() {
                outcome.check(&plan).unwrap_or_else(|error| panic!("{name}: {error}"));
                assert_eq!(outcome.consumed.len(), consumers as usize);
            }
        }
    }

    #[test]
    fn a_run_that_went_wrong_is_found() {
        let plan = Plan { producers: 1, consumers: 1, items: 2, maxsize: 2, produce_us: 0, consume_us: 0 };
        let outcome = |items: &[Item], left: u32| {
            let queue = Queue::new(0);
            for number in 0..left {
                queue.try_put(number).unwrap();
            }
            Outcome::new(vec![items.to_vec()], &queue, Instant::now()).check(&plan)
        };
        assert_eq!(outcome(&[(0, 0), (0, 1)], 0), Ok(()));
        for (items, left) in [
            (&[(0, 0)][..], 0),
            (&[(0, 1), (0, 0)], 0),
            (&[(0, 0), (0, 1), (0, 1)], 0),
            (&[(0, 0), (0, 1)], 1),
            (&[(0, 0), (0, 1)], 3),
        ] {
            assert!(outcome(items, left).is_err());
        }
    }
}
