//! The demo `async_generator`: streams written as a loop that emits one item after another.
//!
//! Owns the command line and what is shown. The guides have generators on tasks only, so there are no threads here.
#![forbid(unsafe_code)]

use std::ffi::OsString;
use std::num::ParseIntError;
use std::process::ExitCode;

use filch::stream::{Stream, StreamExt};
use filch::time::{Duration, Instant, sleep};

use crate::story::{self, Halves, Log, Story, Threads};

pub(crate) const ABOUT: &str =
    "streams written as a loop: lazy, at rest between two items, closed early, answered, and failing";

/// Writes streams as loops that emit their items.
///
/// Nothing runs before the first item is asked for, and the loop rests where it emitted until the next one is. Who
/// wants no more can close it and wait for its clean-up. An item can be answered, and a body that fails ends the
/// stream.
#[derive(Debug, clap::Parser)]
#[command(name = "async_generator")]
struct Args {
    #[command(flatten)]
    plan: Plan,
    /// How many worker threads the runtime has; 0 for one a CPU
    #[arg(long, default_value_t = 0)]
    workers: usize,
}

/// What is emitted.
#[derive(Clone, Copy, Debug, clap::Args)]
pub struct Plan {
    /// How many items
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u32).range(2..=1_000))]
    pub items: u32,
    /// How long each takes to make, in milliseconds, on the clock of the tasks
    #[arg(long, default_value_t = 100, value_parser = clap::value_parser!(u64).range(1..=60_000))]
    pub every_ms: u64,
}

/// Runs the demo.
pub fn run(arguments: Vec<OsString>) -> ExitCode {
    match crate::parse::<Args>(arguments) {
        Ok(Args { plan, workers }) => story::run(plan, workers),
        Err(code) => code,
    }
}

impl Plan {
    fn every(self) -> Duration {
        Duration::from_millis(self.every_ms)
    }

    /// The numbers, each after a while.
    fn ticks(self, log: Log<u32>) -> impl Stream<Item = u32> {
        filch::generator(async move |mut y| {
            for number in 0..self.items {
                log.note(number);
                sleep(self.every()).await;
                y.emit(number).await;
            }
        })
    }

    fn numbers(self) -> Vec<u32> {
        (0..self.items).collect()
    }
}

impl Halves for Plan {
    const THREADS: Threads = Threads::None;
    const VIRTUAL: bool = true;

    fn about(&self) -> String {
        format!("A loop emits {} numbers, each {} ms after it was asked for.", self.items, self.every_ms)
    }

    fn threads(&self, _: &mut Story) {}

    async fn tasks(self, story: &mut Story) {
        self.lazily(story).await;
        self.closed(story).await;
        self.answered(story).await;
        self.failing(story).await;
    }
}

impl Plan {
    async fn lazily(self, story: &mut Story) {
        story.part("A loop that emits");
        let (begun, start) = (Log::new(), Instant::now());
        let mut ticks = Box::pin(self.ticks(begun.clone()));
        sleep(self.every() * 10).await;
        story.equal("nothing runs before the first item is asked for", begun.take(), Vec::new());
        let (mut items, mut ahead) = (Vec::new(), 0);
        while let Some(item) = ticks.next().await {
            // A consumer that takes its time. The loop does not run on meanwhile.
            sleep(self.every()).await;
            ahead += usize::from(begun.take() != [item]);
            items.push(item);
        }
        story.equal("each item comes once, in order", items, self.numbers());
        story.equal("so often the loop ran ahead of who asks", ahead, 0);
        story.equal("so both took turns", start.elapsed(), self.every() * (10 + 2 * self.items));
        story.is("after its end there is nothing more", ticks.next().await.is_none());
        let even: Vec<u32> = self.ticks(begun).filter(|number| number % 2 == 0).collect().await;
        story.equal("it is a stream, with all that those can", even, (0..self.items).step_by(2).collect());
    }

    async fn closed(self, story: &mut Story) {
        story.part("Closed early");
        let log = Log::new();
        let cleaned = log.clone();
        let mut ticks = filch::generator(async move |mut y| {
            let mut number = 0;
            while y.emit_or_closed(number).await.is_ok() {
                number += 1;
            }
            sleep(self.every()).await;
            cleaned.note("cleaned up");
        });
        let _first = ticks.next().await;
        let start = Instant::now();
        ticks.close().await;
        story.equal("the loop hears of it, and cleans up", log.take(), vec!["cleaned up"]);
        story.equal("and that was waited for", start.elapsed(), self.every());
        story.is("it has ended", ticks.next().await.is_none());

        struct Guard(Log<&'static str>);
        impl Drop for Guard {
            fn drop(&mut self) {
                self.0.note("dropped");
            }
        }
        let guard = Guard(log.clone());
        let mut ticks = filch::generator(async move |mut y| {
            let _guard = guard;
            y.emit(1).await;
            unreachable!("nobody asks for a second item");
        });
        let _first = ticks.next().await;
        drop(ticks);
        story.equal("one that is dropped instead drops all that it holds", log.take(), vec!["dropped"]);
    }

    async fn answered(self, story: &mut Story) {
        story.part("Answered: Python's `asend`");
        let mut sums = filch::generator_with::<u32, _, _>(async |mut y| {
            let mut sum = y.first().unwrap_or(0);
            loop {
                sum += y.emit(sum).await;
            }
        });
        let (mut got, mut expected, mut sum) = (Vec::new(), Vec::new(), 0);
        for number in 0..self.items {
            got.extend(sums.resume_with(number).await);
            sum += number;
            expected.push(sum);
        }
        story.equal("running sums of what is sent in", got, expected);
    }

    async fn failing(self, story: &mut Story) {
        story.part("Failing");
        let mut numbers = filch::try_generator::<u32, ParseIntError, _>(async |mut y| {
            for word in ["1", "2", "three", "4"] {
                y.emit(word.parse()?).await;
            }
            Ok(())
        });
        let mut got = Vec::new();
        let error = loop {
            match numbers.next().await {
                Some(Ok(number)) => got.push(number),
                Some(Err(error)) => break Some(error.to_string()),
                None => break None,
            }
        };
        story.equal("the items before the error", got, vec![1, 2]);
        story.equal("the error", error.as_deref(), Some("invalid digit found in string"));
        story.is("and nothing after it", numbers.next().await.is_none());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn loops_emit() {
        for (items, every_ms) in [(5, 100), (2, 1), (100, 3)] {
            story::assert_holds(Plan { items, every_ms });
        }
    }
}
