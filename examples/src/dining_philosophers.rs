//! The demo `dining_philosophers`: each needs two forks, each fork lies between two of them.
//!
//! Owns the command line and both halves: the deadlock, the livelock, and three ways out of both.

use std::ffi::OsString;
use std::process::ExitCode;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use filch::sync::{Barrier, Lock, lock_all, lock_all_blocking};
use filch::time::sleep;
use filch::wait_for;

use crate::story::{self, Halves, Story, each_task, each_thread};

pub(crate) const ABOUT: &str =
    "a circle of locks, deadlock and livelock; the cures: order, `lock_all`, back-off by chance";

/// Philosophers sit round a table, with a fork between any two, and each needs both of its forks to eat.
///
/// First, each takes the left one and waits for the right one, and nobody eats. Then nobody waits, but all do the same
/// in step, and nobody eats either. At last they take the forks in an order, or both at once, or back off for a time
/// left to chance, and all get their meals. On threads and on tasks.
#[derive(Debug, clap::Parser)]
#[command(name = "dining_philosophers")]
struct Args {
    #[command(flatten)]
    plan: Plan,
    /// How many worker threads the runtime has; 0 for one a CPU
    #[arg(long, default_value_t = 0)]
    workers: usize,
}

/// Who eats how often.
#[derive(Clone, Copy, Debug, clap::Args)]
pub struct Plan {
    /// How many sit at the table
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u32).range(2..=128))]
    pub philosophers: u32,
    /// How many meals each of them wants
    #[arg(long, default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..=100_000))]
    pub meals: u32,
    /// Where the chance by which they back off begins
    #[arg(long, default_value_t = 1)]
    pub seed: u64,
}

/// Runs the demo.
pub fn run(arguments: Vec<OsString>) -> ExitCode {
    match crate::parse::<Args>(arguments) {
        Ok(Args { plan, workers }) => story::run(plan, workers),
        Err(code) => code,
    }
}

/// How long a philosopher waits for the right fork, which it will not get.
const PATIENCE: Duration = Duration::from_millis(20);
/// How often all of them try in step.
const ROUNDS: u32 = 10;

/// The forks. Each knows how often it was used.
struct Table {
    forks: Vec<Lock<u64>>,
    /// Where all do what they do at the same time.
    in_step: Barrier,
}

impl Table {
    fn new(plan: &Plan) -> Table {
        let forks = (0..plan.philosophers).map(|_| Lock::new(0)).collect();
        Table { forks, in_step: Barrier::new(plan.philosophers as usize) }
    }

    /// The forks have levels: in a debug build, whoever takes them in another order is told so by a panic.
    fn ranked(plan: &Plan) -> Table {
        let forks = (0..plan.philosophers).map(|level| Lock::ranked(level, 0)).collect();
        Table { forks, ..Table::new(plan) }
    }

    fn left(&self, who: u32) -> &Lock<u64> {
        &self.forks[who as usize]
    }

    fn right(&self, who: u32) -> &Lock<u64> {
        &self.forks[(who as usize + 1) % self.forks.len()]
    }

    /// The two forks, the one with the lower number first: the last philosopher begins with the right one, and so
    /// there is no circle.
    fn in_order(&self, who: u32) -> [&Lock<u64>; 2] {
        let (left, right) = (self.left(who), self.right(who));
        if who as usize + 1 == self.forks.len() { [right, left] } else { [left, right] }
    }

    fn uses(&self) -> u64 {
        self.forks.iter().map(|fork| *fork.try_lock().expect("all have left the table")).sum()
    }
}

fn eat(one: &mut u64, other: &mut u64) {
    *one += 1;
    *other += 1;
}

/// Chance, for how long to back off: a linear congruential generator, each philosopher has its own.
struct Chance(u64);

impl Chance {
    fn new(plan: &Plan, who: u32) -> Chance {
        Chance(plan.seed ^ u64::from(who) << 32)
    }

    /// Up to 20 us at first, and twice as much each time, up to 1.3 ms.
    fn pause(&mut self, tries: u32) -> Duration {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        Duration::from_nanos((self.0 >> 33) % (20_000 << tries.min(6)))
    }
}

/// What became of the philosophers: how many meals, how many tries in vain, how long.
struct Evening {
    meals: u64,
    uses: u64,
    in_vain: u64,
    took: Duration,
}

/// A way out: how a philosopher gets its forks. Returns how often it had to give one back.
#[derive(Clone, Copy)]
enum Way {
    Ordered,
    Together,
    BackOff,
}

const WAYS: [(Way, &str); 3] = [
    (Way::Ordered, "The fork with the lower number first"),
    (Way::Together, "Both at once, by `lock_all`"),
    (Way::BackOff, "If the right one is taken, the left one is given back for a time left to chance"),
];

impl Way {
    fn table(self, plan: &Plan) -> Table {
        if matches!(self, Way::Ordered) { Table::ranked(plan) } else { Table::new(plan) }
    }

    fn dine_blocking(self, table: &Table, who: u32, chance: &mut Chance) -> u64 {
        match self {
            Way::Ordered => {
                let [first, second] = table.in_order(who);
                let mut first = first.lock_blocking();
                thread::yield_now();
                eat(&mut first, &mut second.lock_blocking());
                0
            }
            Way::Together => {
                let [mut left, mut right] = lock_all_blocking([table.left(who), table.right(who)]);
                thread::yield_now();
                eat(&mut left, &mut right);
                0
            }
            Way::BackOff => {
                for tries in 0.. {
                    let mut left = table.left(who).lock_blocking();
                    thread::yield_now();
                    if let Ok(mut right) = table.right(who).try_lock() {
                        eat(&mut left, &mut right);
                        return u64::from(tries);
                    }
                    drop(left);
                    thread::sleep(chance.pause(tries));
                }
                unreachable!("it goes on until it has eaten")
            }
        }
    }

    async fn dine(self, table: &Table, who: u32, chance: &mut Chance) -> u64 {
        match self {
            Way::Ordered => {
                let [first, second] = table.in_order(who);
                let mut first = first.lock().await;
                filch::yield_now().await;
                eat(&mut first, &mut *second.lock().await);
                0
            }
            Way::Together => {
                let [mut left, mut right] = lock_all([table.left(who), table.right(who)]).await;
                filch::yield_now().await;
                eat(&mut left, &mut right);
                0
            }
            Way::BackOff => {
                for tries in 0.. {
                    let mut left = table.left(who).lock().await;
                    filch::yield_now().await;
                    if let Ok(mut right) = table.right(who).try_lock() {
                        eat(&mut left, &mut right);
                        return u64::from(tries);
                    }
                    drop(left);
                    sleep(chance.pause(tries)).await;
                }
                unreachable!("it goes on until it has eaten")
            }
        }
    }
}

/// All have the left fork and wait for the right one. How many get it?
fn deadlock_blocking(plan: &Plan) -> usize {
    let table = Table::new(plan);
    let ate = each_thread(plan.philosophers, |who| {
        let _left = table.left(who).lock_blocking();
        table.in_step.wait_blocking();
        let ate = table.right(who).lock_timeout(PATIENCE).is_ok();
        // Nobody gives up its fork before all have given up hope: who did would free its neighbour.
        table.in_step.wait_blocking();
        ate
    });
    ate.into_iter().filter(|ate| *ate).count()
}

async fn deadlock(plan: &Plan) -> usize {
    let table = Arc::new(Table::new(plan));
    let ate = each_task(plan.philosophers, |who| {
        let table = table.clone();
        async move {
            let _left = table.left(who).lock().await;
            table.in_step.wait().await;
            let ate = wait_for(table.right(who).lock(), PATIENCE).await.is_ok();
            table.in_step.wait().await;
            ate
        }
    });
    ate.await.into_iter().filter(|ate| *ate).count()
}

/// Nobody waits for the right fork, but all take the left one, try, and give it back at the same time, again and
/// again. How many eat?
fn livelock_blocking(plan: &Plan) -> usize {
    let table = Table::new(plan);
    let ate = each_thread(plan.philosophers, |who| {
        let mut ate = 0;
        for _ in 0..ROUNDS {
            let left = table.left(who).lock_blocking();
            table.in_step.wait_blocking();
            ate += usize::from(table.right(who).try_lock().is_ok());
            table.in_step.wait_blocking();
            drop(left);
            table.in_step.wait_blocking();
        }
        ate
    });
    ate.into_iter().sum()
}

async fn livelock(plan: &Plan) -> usize {
    let table = Arc::new(Table::new(plan));
    let ate = each_task(plan.philosophers, |who| {
        let table = table.clone();
        async move {
            let mut ate = 0;
            for _ in 0..ROUNDS {
                let left = table.left(who).lock().await;
                table.in_step.wait().await;
                ate += usize::from(table.right(who).try_lock().is_ok());
                table.in_step.wait().await;
                drop(left);
                table.in_step.wait().await;
            }
            ate
        }
    });
    ate.await.into_iter().sum()
}

impl Halves for Plan {
    fn about(&self) -> String {
        format!("{} philosophers want {} meals each.", self.philosophers, self.meals)
    }

    fn threads(&self, story: &mut Story) {
        tell_trouble(story, deadlock_blocking(self), livelock_blocking(self));
        for (way, name) in WAYS {
            let (table, began) = (way.table(self), Instant::now());
            let in_vain = each_thread(self.philosophers, |who| {
                let mut chance = Chance::new(self, who);
                (0..self.meals).map(|_| way.dine_blocking(&table, who, &mut chance)).collect::<Vec<_>>()
            });
            tell_evening(story, self, name, &Evening::new(&in_vain, &table, began));
        }
    }

    async fn tasks(self, story: &mut Story) {
        tell_trouble(story, deadlock(&self).await, livelock(&self).await);
        for (way, name) in WAYS {
            let (table, began) = (Arc::new(way.table(&self)), Instant::now());
            let in_vain = each_task(self.philosophers, |who| {
                let table = table.clone();
                async move {
                    let (mut chance, mut in_vain) = (Chance::new(&self, who), Vec::new());
                    for _ in 0..self.meals {
                        in_vain.push(way.dine(&table, who, &mut chance).await);
                    }
                    in_vain
                }
            });
            let in_vain = in_vain.await;
            tell_evening(story, &self, name, &Evening::new(&in_vain, &table, began));
        }
    }
}

impl Evening {
    /// `in_vain`: for each philosopher, and each of its meals, how often it had to give a fork back.
    fn new(in_vain: &[Vec<u64>], table: &Table, began: Instant) -> Evening {
        let meals = in_vain.iter().map(|meals| meals.len() as u64).sum();
        let in_vain = in_vain.iter().flatten().sum();
        Evening { meals, uses: table.uses(), in_vain, took: began.elapsed() }
    }
}

fn tell_trouble(story: &mut Story, deadlock: usize, livelock: usize) {
    story.part("Everybody takes the left fork and waits for the right one");
    story.equal("who eats", deadlock, 0);
    story.part(format_args!("Nobody waits, but all take, try and give back in step, {ROUNDS} times"));
    story.equal("who eats so", livelock, 0);
}

fn tell_evening(story: &mut Story, plan: &Plan, name: &str, evening: &Evening) {
    story.part(name);
    let all = u64::from(plan.philosophers) * u64::from(plan.meals);
    story.equal("meals, and uses of forks", (evening.meals, evening.uses), (all, 2 * all));
    let given_back = match evening.in_vain {
        0 => String::new(),
        times => format!(", forks given back {times} times"),
    };
    story.note(format_args!("{:.1?}{given_back}", evening.took));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn everybody_eats_in_the_end() {
        for (philosophers, meals) in [(5, 30), (2, 20), (9, 5)] {
            story::assert_holds(Plan { philosophers, meals, seed: 7 });
        }
    }

    #[test]
    fn a_pause_is_short_and_left_to_chance() {
        let plan = Plan { philosophers: 2, meals: 1, seed: 1 };
        let (mut one, mut other) = (Chance::new(&plan, 0), Chance::new(&plan, 1));
        let pauses: Vec<_> = (0..20).map(|tries| (one.pause(tries), other.pause(tries))).collect();
        assert!(pauses.iter().all(|pause| pause.0 < Duration::from_millis(2)));
        assert!(pauses.iter().filter(|pause| pause.0 != pause.1).count() > 15);
    }
}
