//! The demo `bounded_buffer`: a buffer that makes fast producers wait, built twice by hand, and as it comes.
//!
//! Owns the command line and what must hold of every run. `monitor` is the guides' buffer, a lock with two
//! condition variables; `counted` is one of two semaphores; the third is `filch::sync::Queue`. `drive` runs
//! producers and consumers on threads and on tasks.

mod counted;
mod drive;
mod monitor;

use std::ffi::OsString;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use filch::sync::Queue;

use counted::Counted;
use monitor::Monitor;

pub(crate) const ABOUT: &str =
    "a buffer for a few items, built of a lock, of semaphores, and as a queue, on threads and tasks";

/// Producers and consumers share a buffer with room for a few items: who puts waits while it is full, who gets
/// waits while it is empty.
///
/// The buffer is built of a lock and two condition variables (for threads alone), of two semaphores (for threads
/// and tasks), and as the queue that filch has. Each time every item must come out once and in order, and the
/// buffer never hold more than it may.
#[derive(Debug, clap::Parser)]
#[command(name = "bounded_buffer")]
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
    /// How many items the buffer holds
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    pub capacity: u32,
    /// How many producers, and how many consumers there are
    #[arg(long, default_value_t = 2, value_parser = clap::value_parser!(u32).range(1..=256))]
    pub each: u32,
    /// How many items each producer puts
    #[arg(long, default_value_t = 10_000, value_parser = clap::value_parser!(u32).range(1..=10_000_000))]
    pub items: u32,
}

/// An item: who put it, and its number.
pub type Item = (u32, u32);

/// A buffer that threads can use.
trait Blocking: Sync {
    fn put_blocking(&self, item: Item);
    fn get_blocking(&self) -> Item;
}

/// A buffer that tasks can use.
trait Waiting: Send + Sync + 'static {
    fn put(&self, item: Item) -> impl Future<Output = ()> + Send;
    fn get(&self) -> impl Future<Output = Item> + Send;
}

impl Blocking for Queue<Item> {
    fn put_blocking(&self, item: Item) {
        Queue::put_blocking(self, item).expect("nobody closes it");
    }

    fn get_blocking(&self) -> Item {
        Queue::get_blocking(self).expect("nobody closes it")
    }
}

impl Waiting for Queue<Item> {
    async fn put(&self, item: Item) {
        Queue::put(self, item).await.expect("nobody closes it");
    }

    async fn get(&self) -> Item {
        Queue::get(self).await.expect("nobody closes it")
    }
}

/// What came of a run.
#[derive(Debug)]
pub struct Outcome {
    /// What was run.
    pub name: &'static str,
    /// What each consumer got, in its order.
    pub got: Vec<Vec<Item>>,
    /// The most items there ever were in the buffer.
    pub peak: usize,
    /// How long it took.
    pub took: Duration,
}

impl Outcome {
    /// What a buffer promises.
    ///
    /// # Errors
    /// Says what did not hold.
    pub fn check(&self, plan: &Plan) -> Result<(), String> {
        if self.peak > plan.capacity as usize {
            return Err(format!("{} items were in a buffer for {}", self.peak, plan.capacity));
        }
        for items in &self.got {
            if !(0..plan.each).all(|who| items.iter().filter(|item| item.0 == who).is_sorted()) {
                return Err("the items of one producer came in another order".into());
            }
        }
        let mut all = self.got.concat();
        all.sort_unstable();
        let put = (0..plan.each).flat_map(|who| (0..plan.items).map(move |number| (who, number)));
        if all.into_iter().eq(put) { Ok(()) } else { Err("not every item came out once".into()) }
    }
}

/// All runs.
///
/// # Errors
/// When one of the tasks panics.
pub async fn all(plan: Plan) -> Result<Vec<Outcome>, filch::JoinError> {
    let capacity = plan.capacity as usize;
    // The threads block, so they are waited for where that harms nobody.
    let mut all = filch::spawn_blocking(move || {
        let (monitor, counted, queue) =
            (Monitor::new(capacity), Counted::new(capacity), Queue::new(capacity));
        vec![
            drive::on_threads("threads, lock and conditions", &plan, &monitor, || monitor.peak()),
            drive::on_threads("threads, semaphores", &plan, &counted, || counted.peak()),
            drive::on_threads("threads, Queue", &plan, &queue, || queue.stats().peak),
        ]
    })
    .await?;
    let (counted, queue) = (Arc::new(Counted::new(capacity)), Arc::new(Queue::new(capacity)));
    all.push(drive::on_tasks("tasks, semaphores", plan, &counted, || counted.peak()).await?);
    all.push(drive::on_tasks("tasks, Queue", plan, &queue, || queue.stats().peak).await?);
    let queue = Arc::new(Queue::new(capacity));
    all.push(drive::on_both("threads to tasks, Queue", plan, &queue, || queue.stats().peak).await?);
    Ok(all)
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
        "{} producers put {} items each into a buffer for {}; as many consumers take them out.",
        plan.each, plan.items, plan.capacity
    );
    let outcomes = match runtime.block_on(all(plan)) {
        Ok(outcomes) => outcomes,
        Err(error) => {
            eprintln!("bounded_buffer: {error}");
            return ExitCode::FAILURE;
        }
    };
    let mut code = ExitCode::SUCCESS;
    for outcome in outcomes {
        let each = outcome.took.as_secs_f64() * 1e9 / (f64::from(plan.each) * f64::from(plan.items));
        println!("  {:29} {each:>7.0} ns an item, at most {} at a time", outcome.name, outcome.peak);
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
    fn every_buffer_holds() {
        for (capacity, each) in [(1, 1), (1, 3), (5, 2), (1_000, 2)] {
            let plan = Plan { capacity, each, items: 200 };
            let outcomes = crate::runtime(2).unwrap().block_on(all(plan)).unwrap();
            assert_eq!(outcomes.len(), 6);
            for outcome in outcomes {
                outcome.check(&plan).unwrap_or_else(|error| panic!("{}: {error}", outcome.name));
                assert!(outcome.peak > 0);
            }
        }
    }

    #[test]
    fn a_buffer_that_went_wrong_is_found() {
        let plan = Plan { capacity: 2, each: 1, items: 2 };
        let check = |got: &[Item], peak| {
            Outcome { name: "", got: vec![got.to_vec()], peak, took: Duration::ZERO }.check(&plan)
        };
        assert_eq!(check(&[(0, 0), (0, 1)], 2), Ok(()));
        for (got, peak) in [
            (&[(0, 0), (0, 1)][..], 3),
            (&[(0, 1), (0, 0)], 1),
            (&[(0, 0)], 1),
            (&[(0, 0), (0, 0), (0, 1)], 1),
        ] {
            assert!(check(got, peak).is_err());
        }
    }
}
