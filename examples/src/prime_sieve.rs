//! The demo `prime_sieve`: a chain of channels, with a stage for each prime number, as in many a guide to Go.
//!
//! Owns the command line and both halves. The numbers come from a source; each stage keeps the first number that it
//! gets, a prime, and passes on those that it does not divide. Nobody tells the stages to stop: they end when nobody
//! receives from them any more.

use std::ffi::OsString;
use std::process::ExitCode;
use std::thread;
use std::time::{Duration, Instant};

use filch::channel::{self, Receiver, Sender};

use crate::story::{self, Halves, Story};

pub(crate) const ABOUT: &str =
    "a chain of channels, a thread or a task for each prime; it ends when nobody listens any more";

/// Finds prime numbers by a chain of stages, each a thread or a task, with a channel between any two.
///
/// When enough are found, the end of the chain is dropped, and all stages end, one after the other.
#[derive(Debug, clap::Parser)]
#[command(name = "prime_sieve")]
struct Args {
    #[command(flatten)]
    plan: Plan,
    /// How many worker threads the runtime has; 0 for one a CPU
    #[arg(long, default_value_t = 0)]
    workers: usize,
}

/// How long the chain gets.
#[derive(Clone, Copy, Debug, clap::Args)]
pub struct Plan {
    /// How many primes to find: as many threads, and as many tasks, there will be
    #[arg(long, default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..=1_000))]
    pub primes: u32,
    /// How many numbers a channel holds; 0 for one that hands them over
    #[arg(long, default_value_t = 0, value_parser = clap::value_parser!(u32).range(0..=1_000_000))]
    pub capacity: u32,
}

impl Plan {
    fn channel(&self) -> (Sender<u32>, Receiver<u32>) {
        match self.capacity {
            0 => channel::rendezvous(),
            capacity => channel::bounded(capacity as usize),
        }
    }
}

/// Runs the demo.
pub fn run(arguments: Vec<OsString>) -> ExitCode {
    match crate::parse::<Args>(arguments) {
        Ok(Args { plan, workers }) => story::run(plan, workers),
        Err(code) => code,
    }
}

/// What came out of a chain.
struct Sieved {
    primes: Vec<u32>,
    /// How many numbers each part of the chain has passed on: first the source, then the stages.
    passed: Vec<u64>,
    took: Duration,
}

fn source_blocking(to: &Sender<u32>) -> u64 {
    let mut passed = 0;
    for number in 2.. {
        if to.send_blocking(number).is_err() {
            break;
        }
        passed += 1;
    }
    passed
}

async fn source(to: Sender<u32>) -> u64 {
    let mut passed = 0;
    for number in 2.. {
        if to.send(number).await.is_err() {
            break;
        }
        passed += 1;
    }
    passed
}

fn stage_blocking(prime: u32, from: &Receiver<u32>, to: &Sender<u32>) -> u64 {
    let mut passed = 0;
    for number in from.iter().filter(|number| !number.is_multiple_of(prime)) {
        if to.send_blocking(number).is_err() {
            break;
        }
        passed += 1;
    }
    passed
}

async fn stage(prime: u32, from: Receiver<u32>, to: Sender<u32>) -> u64 {
    let mut passed = 0;
    while let Ok(number) = from.recv().await {
        if number.is_multiple_of(prime) {
            continue;
        }
        if to.send(number).await.is_err() {
            break;
        }
        passed += 1;
    }
    passed
}

impl Halves for Plan {
    fn about(&self) -> String {
        let held = match self.capacity {
            0 => "that hand over".to_owned(),
            capacity => format!("for {capacity}"),
        };
        format!("The first {} primes, by a chain of channels {held}.", self.primes)
    }

    fn threads(&self, story: &mut Story) {
        let began = Instant::now();
        let (to, mut numbers) = self.channel();
        let mut parts = vec![thread::spawn(move || source_blocking(&to))];
        let mut primes = Vec::new();
        for _ in 0..self.primes {
            let prime = numbers.recv_blocking().expect("numbers never end");
            primes.push(prime);
            let (to, next) = self.channel();
            let from = std::mem::replace(&mut numbers, next);
            parts.push(thread::spawn(move || stage_blocking(prime, &from, &to)));
        }
        drop(numbers);
        let passed = parts.into_iter().map(|part| part.join().expect("no part panics")).collect();
        tell(story, self, &Sieved { primes, passed, took: began.elapsed() });
    }

    async fn tasks(self, story: &mut Story) {
        let began = Instant::now();
        let (to, mut numbers) = self.channel();
        let mut parts = vec![filch::spawn(source(to))];
        let mut primes = Vec::new();
        for _ in 0..self.primes {
            let prime = numbers.recv().await.expect("numbers never end");
            primes.push(prime);
            let (to, next) = self.channel();
            let from = std::mem::replace(&mut numbers, next);
            parts.push(filch::spawn(stage(prime, from, to)));
        }
        drop(numbers);
        let mut passed = Vec::new();
        for part in parts {
            passed.push(part.await.expect("no part panics"));
        }
        tell(story, &self, &Sieved { primes, passed, took: began.elapsed() });
    }
}

fn tell(story: &mut Story, plan: &Plan, sieved: &Sieved) {
    story.part("Each stage keeps a prime and passes on what it does not divide");
    let is_prime = |n: &u32| (2..*n).take_while(|d| d * d <= *n).all(|d| !n.is_multiple_of(d));
    let right = (2..).filter(is_prime).take(plan.primes as usize);
    story.is("they are the first primes, in order", sieved.primes.iter().copied().eq(right));
    story.equal(
        "parts of the chain that have ended, the source too",
        sieved.passed.len(),
        plan.primes as usize + 1,
    );
    story.is(
        "none has passed on more than it got",
        sieved.passed.is_sorted_by(|before, after| before > after),
    );
    let all: u64 = sieved.passed.iter().sum();
    let last = sieved.primes.last().unwrap_or(&0);
    story.note(format_args!("the last one is {last}; {all} numbers were passed on, in {:.1?}", sieved.took));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_chain_finds_primes_and_ends() {
        for (primes, capacity) in [(30, 0), (30, 1), (20, 16), (1, 0)] {
            story::assert_holds(Plan { primes, capacity });
        }
    }
}
