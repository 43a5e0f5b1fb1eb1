//! The demo `retry_backoff`: what failed is tried again, after pauses that grow.
//!
//! Owns the command line and both halves. Threads take the pauses of the same policy, and wait themselves.
#![forbid(unsafe_code)]

use std::ffi::OsString;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering::Relaxed};
use std::thread;

use filch::time::{Duration, Instant};
use filch::{Backoff, GaveUp, Retry, retry};

use crate::story::{self, Halves, Log, Story, Threads};

pub(crate) const ABOUT: &str =
    "what failed is tried again: pauses that grow, chance in them, and when it is not worth it any more";

/// Tries again what failed, with pauses that double, until it works or the policy gives up.
///
/// With some chance in the pauses, many who failed together do not come back together. A limit on the attempts or on
/// the time ends it, and so does an error that will not go away.
#[derive(Debug, clap::Parser)]
#[command(name = "retry_backoff")]
struct Args {
    #[command(flatten)]
    plan: Plan,
    /// How many worker threads the runtime has; 0 for one a CPU
    #[arg(long, default_value_t = 0)]
    workers: usize,
}

/// What fails, and how often.
#[derive(Clone, Copy, Debug, clap::Args)]
pub struct Plan {
    /// How often it fails before it works
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..=10))]
    pub failures: u32,
    /// The first pause of the tasks, in milliseconds; threads have a thousandth of that
    #[arg(long, default_value_t = 100, value_parser = clap::value_parser!(u64).range(1..=60_000))]
    pub first_ms: u64,
}

/// Runs the demo.
pub fn run(arguments: Vec<OsString>) -> ExitCode {
    match crate::parse::<Args>(arguments) {
        Ok(Args { plan, workers }) => story::run(plan, workers),
        Err(code) => code,
    }
}

const WORKS: &str = "it works in the end, at this attempt";
const GIVES_UP: &str = "with too few attempts it gives up, after so many";

/// Works after so many failures.
struct Flaky {
    failures: u32,
    calls: AtomicU32,
}

impl Flaky {
    fn new(failures: u32) -> Flaky {
        Flaky { failures, calls: AtomicU32::new(0) }
    }

    fn call(&self) -> Result<u32, &'static str> {
        let call = self.calls.fetch_add(1, Relaxed) + 1;
        if call > self.failures { Ok(call) } else { Err("busy") }
    }
}

/// The loop that threads need: a pause of the policy between two attempts.
fn retry_blocking<T, E>(backoff: &Backoff, mut operation: impl FnMut() -> Result<T, E>) -> Result<T, E> {
    let mut pauses = backoff.pauses();
    loop {
        match (operation(), pauses.next()) {
            (Ok(value), _) => return Ok(value),
            (Err(error), None) => return Err(error),
            (Err(_), Some(pause)) => thread::sleep(pause),
        }
    }
}

impl Plan {
    fn backoff(self, first: Duration) -> Backoff {
        Backoff::exponential(first).attempts(self.failures + 1)
    }

    fn first(self) -> Duration {
        Duration::from_millis(self.first_ms)
    }

    /// Of all pauses, where chance takes nothing away.
    fn sum(self) -> Duration {
        (0..self.failures).map(|pause| self.first() * 2_u32.pow(pause)).sum()
    }
}

impl Halves for Plan {
    const THREADS: Threads = Threads::Some;
    const VIRTUAL: bool = true;

    fn about(&self) -> String {
        format!("Something fails {} times before it works.", self.failures)
    }

    fn threads(&self, story: &mut Story) {
        story.part("With pauses between the attempts");
        let (flaky, backoff) =
            (Flaky::new(self.failures), self.backoff(Duration::from_micros(self.first_ms)));
        story.equal(WORKS, retry_blocking(&backoff, || flaky.call()), Ok(self.failures + 1));
        let flaky = Flaky::new(self.failures + 1);
        assert!(retry_blocking(&backoff, || flaky.call()).is_err(), "it fails once more");
        story.equal(GIVES_UP, flaky.calls.load(Relaxed), self.failures + 1);
    }

    async fn tasks(self, story: &mut Story) {
        self.pauses(story).await;
        self.chance(story);
        self.ends(story).await;
    }
}

impl Plan {
    async fn pauses(self, story: &mut Story) {
        story.part("With pauses between the attempts");
        let (flaky, start) = (Flaky::new(self.failures), Instant::now());
        let backoff = self.backoff(self.first()).cap(Duration::MAX).no_jitter();
        let told = Log::new();
        let works = Retry::new(backoff.clone())
            .on_retry(|_, attempt, pause| told.note((attempt, pause)))
            .run_fn(|| async { flaky.call() })
            .await;
        story.equal(WORKS, works.ok(), Some(self.failures + 1));
        let pauses = (0..self.failures).map(|pause| (pause + 1, self.first() * 2_u32.pow(pause))).collect();
        story.equal("each pause is twice the one before", told.take(), pauses);
        story.equal("no other time is lost", start.elapsed(), self.sum());

        let flaky = Flaky::new(self.failures + 1);
        let failed =
            Retry::new(backoff).run_fn(|| async { flaky.call() }).await.expect_err("it fails once more");
        story.equal(GIVES_UP, failed.attempts(), self.failures + 1);
        story.equal("and says why", (failed.gave_up(), failed.into_inner()), (GaveUp::Attempts, "busy"));
    }

    fn chance(self, story: &mut Story) {
        story.part("With chance in the pauses");
        let longest = self.first() * 4;
        let constant = Backoff::constant(longest).attempts(101);
        for (jitter, backoff, least) in [
            ("full", constant.clone().full_jitter(), Duration::ZERO),
            ("equal", constant.equal_jitter(), longest / 2),
            ("between two pauses", Backoff::jittered(self.first(), longest).attempts(101), self.first()),
        ] {
            let mut pauses: Vec<_> = backoff.pauses().collect();
            story.is(
                &format!("{jitter}: within its bounds"),
                pauses.iter().all(|it| (least..=longest).contains(it)),
            );
            pauses.sort_unstable();
            pauses.dedup();
            story.holds("100 who fail together come back at many times", pauses.len() > 50, pauses.len());
        }
    }

    async fn ends(self, story: &mut Story) {
        story.part("Not worth another attempt");
        let (flaky, start) = (Arc::new(Flaky::new(u32::MAX)), Instant::now());
        let limited = Backoff::constant(self.first()).forever().deadline(self.first() * 10);
        let failed = retry(limited, async move || flaky.call()).await.expect_err("it never works");
        story.equal("there is a limit on the time, too", failed.gave_up(), GaveUp::Deadline);
        story.holds(
            "which is kept",
            start.elapsed() <= self.first() * 10,
            format_args!("{:?}", start.elapsed()),
        );

        let (calls, start) = (AtomicU32::new(0), Instant::now());
        let failed =
            Retry::new(self.backoff(self.first())).when(|error: &&str| *error == "busy").run_fn(|| async {
                calls.fetch_add(1, Relaxed);
                Err::<(), _>("no such file")
            });
        let failed = failed.await.expect_err("it never works");
        story.equal("an error that will not go away", failed.into_inner(), "no such file");
        story.equal("is had at once", (calls.load(Relaxed), start.elapsed()), (1, Duration::ZERO));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_failed_is_tried_again() {
        for (failures, first_ms) in [(3, 100), (1, 1), (10, 7)] {
            story::assert_holds(Plan { failures, first_ms });
        }
    }
}
