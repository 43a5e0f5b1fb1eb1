//! The demo `counters`: six ways for many to count together, and one by which counts get lost.
//!
//! Owns the command line and both halves, and a counter of each kind.

use std::ffi::OsString;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use filch::channel::{self, Receiver, Sender};
use filch::sync::{Barrier, Counter, Lock, Queue};

use crate::story::{self, Halves, Story, each_task, each_thread};

pub(crate) const ABOUT: &str =
    "many count together: with a lock, with several, sharded, through a queue, by a channel, atomically";

/// Many count together, on threads and on tasks, in six ways, and none of them loses a count.
///
/// It prints what a count costs in each. The seventh way reads, adds and writes in three steps, and loses one.
#[derive(Debug, clap::Parser)]
#[command(name = "counters")]
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
    /// How many threads, and how many tasks, count
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..=256))]
    pub people: u32,
    /// How often each of them adds one
    #[arg(long, default_value_t = 10_000, value_parser = clap::value_parser!(u32).range(1..=10_000_000))]
    pub times: u32,
}

impl Plan {
    fn all(&self) -> u64 {
        u64::from(self.people) * u64::from(self.times)
    }
}

/// Runs the demo.
pub fn run(arguments: Vec<OsString>) -> ExitCode {
    match crate::parse::<Args>(arguments) {
        Ok(Args { plan, workers }) => story::run(plan, workers),
        Err(code) => code,
    }
}

/// The ways to count.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Way {
    Lock,
    Buckets,
    Sharded,
    Queue,
    Channel,
    Atomic,
}

const WAYS: [(Way, &str); 6] = [
    (Way::Lock, "a lock"),
    (Way::Buckets, "16 locks, each with its part of the sum"),
    (Way::Sharded, "`Counter`: a part of the sum for each processor"),
    (Way::Queue, "a queue for one, which holds the number"),
    (Way::Channel, "a channel to the one who counts"),
    (Way::Atomic, "an atomic"),
];

struct Counters {
    lock: Lock<u64>,
    buckets: [Lock<u64>; 16],
    sharded: Counter,
    queue: Queue<u64>,
    to_owner: Sender<u64>,
    atomic: AtomicU64,
}

impl Counters {
    /// All at 0, and where the owner gets its numbers from.
    fn new() -> (Counters, Receiver<u64>) {
        let (to_owner, numbers) = channel::bounded(64);
        let queue = Queue::new(1);
        queue.try_put(0).expect("there is room for one");
        let counters = Counters {
            lock: Lock::new(0),
            buckets: [const { Lock::new(0) }; 16],
            sharded: Counter::new(),
            queue,
            to_owner,
            atomic: AtomicU64::new(0),
        };
        (counters, numbers)
    }

    fn bucket(&self, who: u32) -> &Lock<u64> {
        &self.buckets[who as usize % self.buckets.len()]
    }

    fn add_blocking(&self, way: Way, who: u32) {
        match way {
            Way::Lock => *self.lock.lock_blocking() += 1,
            Way::Buckets => *self.bucket(who).lock_blocking() += 1,
            Way::Sharded => self.sharded.increment(),
            // While one has the number, the queue is empty and the others wait for it.
            Way::Queue => {
                let number = self.queue.get_blocking().expect("nobody closes it");
                self.queue.put_blocking(number + 1).expect("nobody closes it");
            }
            Way::Channel => self.to_owner.send_blocking(1).expect("the owner is there"),
            // Ordering: Relaxed: no count is lost, and nothing else is read on the strength of it.
            Way::Atomic => drop(self.atomic.fetch_add(1, Ordering::Relaxed)),
        }
    }

    async fn add(&self, way: Way, who: u32) {
        match way {
            Way::Lock => *self.lock.lock().await += 1,
            Way::Buckets => *self.bucket(who).lock().await += 1,
            Way::Sharded => self.sharded.increment(),
            Way::Queue => {
                let number = self.queue.get().await.expect("nobody closes it");
                self.queue.put(number + 1).await.expect("nobody closes it");
            }
            Way::Channel => self.to_owner.send(1).await.expect("the owner is there"),
            Way::Atomic => drop(self.atomic.fetch_add(1, Ordering::Relaxed)),
        }
    }

    /// How far they got, when nobody counts any more. The owner counts by itself, and ends with this.
    fn total(self, way: Way) -> Option<u64> {
        match way {
            Way::Lock => Some(self.lock.into_inner()),
            // Each part under its own lock: while others count, that is no number that ever was.
            Way::Buckets => Some(self.buckets.into_iter().map(Lock::into_inner).sum()),
            Way::Sharded => u64::try_from(self.sharded.get()).ok(),
            Way::Queue => self.queue.try_get().ok(),
            Way::Channel => None,
            Way::Atomic => Some(self.atomic.into_inner()),
        }
    }
}

fn count_blocking(plan: &Plan, way: Way) -> (u64, Duration) {
    let began = Instant::now();
    let (counters, numbers) = Counters::new();
    thread::scope(|scope| {
        let owner = scope.spawn(move || numbers.iter().sum());
        each_thread(plan.people, |who| (0..plan.times).for_each(|_| counters.add_blocking(way, who)));
        let total = counters.total(way);
        let counted = owner.join().expect("the owner does not panic");
        (total.unwrap_or(counted), began.elapsed())
    })
}

async fn count(plan: &Plan, way: Way) -> (u64, Duration) {
    let began = Instant::now();
    let (counters, numbers) = Counters::new();
    let owner = filch::spawn(async move {
        let mut sum = 0;
        while let Ok(number) = numbers.recv().await {
            sum += number;
        }
        sum
    });
    let (counters, times) = (Arc::new(counters), plan.times);
    let all = each_task(plan.people, |who| {
        let counters = counters.clone();
        async move {
            for _ in 0..times {
                counters.add(way, who).await;
            }
        }
    });
    all.await;
    let total = Arc::into_inner(counters).and_then(|counters| counters.total(way));
    let counted = owner.await.expect("the owner does not panic");
    (total.unwrap_or(counted), began.elapsed())
}

impl Halves for Plan {
    fn about(&self) -> String {
        format!("{} people count {} times each.", self.people, self.times)
    }

    fn threads(&self, story: &mut Story) {
        story.part("Everybody counts; how far, and at what cost for each count");
        for (way, name) in WAYS {
            tell_count(story, self, name, count_blocking(self, way));
        }

        let shared = AtomicU64::new(0);
        let new = each_thread(self.people, |_| {
            (0..self.times).map(|_| 1 + shared.fetch_add(1, Ordering::Relaxed)).collect()
        });
        tell_distinct(story, self, new);

        let (shared, both_read) = (AtomicU64::new(0), Barrier::new(2));
        each_thread(2, |_| {
            let read = shared.load(Ordering::Relaxed);
            both_read.wait_blocking();
            shared.store(read + 1, Ordering::Relaxed);
        });
        tell_lost(story, shared.into_inner());
    }

    async fn tasks(self, story: &mut Story) {
        story.part("Everybody counts; how far, and at what cost for each count");
        for (way, name) in WAYS {
            tell_count(story, &self, name, count(&self, way).await);
        }

        let shared = Arc::new(AtomicU64::new(0));
        let new = each_task(self.people, |_| {
            let shared = shared.clone();
            async move { (0..self.times).map(|_| 1 + shared.fetch_add(1, Ordering::Relaxed)).collect() }
        });
        tell_distinct(story, &self, new.await);

        let shared = Arc::new((AtomicU64::new(0), Barrier::new(2)));
        let both = each_task(2, |_| {
            let shared = shared.clone();
            async move {
                let read = shared.0.load(Ordering::Relaxed);
                shared.1.wait().await;
                shared.0.store(read + 1, Ordering::Relaxed);
            }
        });
        both.await;
        tell_lost(story, shared.0.load(Ordering::Relaxed));
    }
}

fn tell_count(story: &mut Story, plan: &Plan, name: &str, (total, took): (u64, Duration)) {
    story.equal(name, total, plan.all());
    story.note(format_args!("{:.0} ns", took.as_secs_f64() * 1e9 / plan.all() as f64));
}

fn tell_distinct(story: &mut Story, plan: &Plan, new: Vec<Vec<u64>>) {
    story.part("The new value that each addition to an atomic returns");
    let rising = new.iter().all(|values| values.is_sorted());
    story.is("for each of them the values rise", rising);
    let mut values = new.concat();
    values.sort_unstable();
    story.is("no two are the same, and none is left out", values.into_iter().eq(1..=plan.all()));
}

fn tell_lost(story: &mut Story, total: u64) {
    story.part("Two read the number, and then each writes what it read and one more");
    story.equal("how far they get", total, 1);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_way_loses_a_count() {
        for (people, times) in [(5, 500), (1, 3), (20, 20)] {
            story::assert_holds(Plan { people, times });
        }
    }
}
