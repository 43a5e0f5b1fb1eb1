//! The demo `timeouts`: limits on how long is waited, for one thing and for many together.
//!
//! Owns the command line and both halves.
#![forbid(unsafe_code)]

use std::ffi::OsString;
use std::process::ExitCode;
use std::sync::Arc;

use filch::sync::{Event, Queue};
use filch::time::{Duration, Instant, sleep, timeout_at};
use filch::wait_for;

use crate::story::{self, Halves, Log, Story, Threads};

pub(crate) const ABOUT: &str =
    "waits with a limit: what is dropped when it is over, what goes on, and one limit for many steps";

/// Waits for what is slow, with a limit.
///
/// `wait_for` drops what was not ready in time, unless it is shielded or a task that is kept; what is ready at the last
/// moment wins. One deadline can stand over many steps. Threads have limits, too, on each of their waits.
#[derive(Debug, clap::Parser)]
#[command(name = "timeouts")]
struct Args {
    #[command(flatten)]
    plan: Plan,
    /// How many worker threads the runtime has; 0 for one a CPU
    #[arg(long, default_value_t = 0)]
    workers: usize,
}

/// How long things take, on the clock of the tasks.
#[derive(Clone, Copy, Debug, clap::Args)]
pub struct Plan {
    /// How long the slow thing takes, in seconds
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u64).range(2..=86_400))]
    pub slow: u64,
    /// How long is waited for it, in seconds; less
    #[arg(long, default_value_t = 2, value_parser = clap::value_parser!(u64).range(1..=86_399))]
    pub limit: u64,
}

/// Runs the demo.
pub fn run(arguments: Vec<OsString>) -> ExitCode {
    match crate::parse::<Args>(arguments) {
        Ok(Args { plan, .. }) if plan.limit >= plan.slow => {
            eprintln!(
                "--limit must be less than --slow, or nothing is late: {} and {}",
                plan.limit, plan.slow
            );
            ExitCode::from(crate::USAGE)
        }
        Ok(Args { plan, workers }) => story::run(plan, workers),
        Err(code) => code,
    }
}

/// Longer than anything here takes.
const LONG: Duration = Duration::from_secs(60);
/// For what never comes in time.
const SHORT: Duration = Duration::from_millis(2);

const GIVEN_UP: &str = "what is not there in time is given up";
const IN_TIME: &str = "what is there in time is had";
const HANDLE: &str = "a handle that was given up on gives its result later";
const QUEUE: &str = "a get with a limit takes nothing when it is over";

/// Notes when it is dropped before its end.
struct Dropped(Log<&'static str>);

impl Drop for Dropped {
    fn drop(&mut self) {
        self.0.note("dropped");
    }
}

impl Plan {
    fn slow(self) -> Duration {
        Duration::from_secs(self.slow)
    }

    fn limit(self) -> Duration {
        Duration::from_secs(self.limit)
    }

    async fn slow_work(self, log: Log<&'static str>) -> &'static str {
        let dropped = Dropped(log.clone());
        sleep(self.slow()).await;
        log.note("done");
        std::mem::forget(dropped);
        "done"
    }
}

impl Halves for Plan {
    const THREADS: Threads = Threads::Some;
    const VIRTUAL: bool = true;

    fn about(&self) -> String {
        format!("Something takes {} s, and is waited for {} s.", self.slow, self.limit)
    }

    fn threads(&self, story: &mut Story) {
        story.part("Limits of what blocks");
        let event = Arc::new(Event::new());
        story.is(GIVEN_UP, !event.wait_timeout(SHORT));
        let setter = event.clone();
        let setter = std::thread::spawn(move || setter.set());
        story.is(IN_TIME, event.wait_timeout(LONG));
        setter.join().expect("no thread panics");

        let told = Arc::new(Event::new());
        let teller = told.clone();
        let mut handle = filch::spawn(async move { told.wait().await });
        let early = handle.join_timeout(SHORT).is_none();
        teller.set();
        story.is(HANDLE, early && handle.join_blocking().is_ok());

        let queue = Queue::new(0);
        let early = queue.get_timeout(SHORT).is_err();
        queue.put_blocking(7).expect("it is open");
        story.is(QUEUE, early && queue.get_timeout(LONG).ok() == Some(7));
    }

    async fn tasks(self, story: &mut Story) {
        self.wait_for_one(story).await;
        self.wait_and_keep(story).await;
        self.one_deadline(story).await;
    }
}

impl Plan {
    async fn wait_for_one(self, story: &mut Story) {
        let (log, start) = (Log::new(), Instant::now());
        story.part("`wait_for`");
        let late = wait_for(self.slow_work(log.clone()), self.limit()).await;
        story.is(GIVEN_UP, late.is_err());
        story.equal("at the limit, to the tick", start.elapsed(), self.limit());
        story.equal("and it is dropped by then", log.take(), vec!["dropped"]);
        story.equal(IN_TIME, wait_for(self.slow_work(log.clone()), self.slow() * 2).await.ok(), Some("done"));
        let last = wait_for(self.slow_work(log.clone()), self.slow()).await;
        story.equal("what is ready just as the time is over is had, too", last.ok(), Some("done"));
    }

    async fn wait_and_keep(self, story: &mut Story) {
        let log = Log::new();
        story.part("What goes on though nobody waits any more");
        let shielded = filch::shield(self.slow_work(log.clone()));
        let late = wait_for(shielded, self.limit()).await.is_err();
        sleep(self.slow()).await;
        story.holds("what is shielded", late && log.take() == ["done"], "it came to its end");
        let mut handle = filch::spawn(self.slow_work(log.clone()));
        let early = wait_for(&mut handle, self.limit()).await.is_err();
        story.is(HANDLE, early && handle.await.ok() == Some("done"));

        let queue = Queue::new(0);
        let early = wait_for(queue.get(), self.limit()).await.is_err();
        queue.put(7).await.expect("it is open");
        story.is(QUEUE, early && queue.get().await.ok() == Some(7));
    }

    async fn one_deadline(self, story: &mut Story) {
        story.part("One deadline for many steps");
        let steps = Log::new();
        let deadline = Instant::now() + self.limit();
        let late = timeout_at(deadline, async {
            for step in 1..=self.slow {
                sleep(Duration::from_secs(1)).await;
                steps.note(step);
            }
        });
        story.is("they did not all get done", late.await.is_err());
        story.equal("those within the limit were", steps.take(), (1..=self.limit).collect());

        let waits = (1..=self.slow).map(async |seconds| {
            sleep(Duration::from_secs(seconds)).await;
            seconds
        });
        let mut outputs = filch::as_completed(waits).timeout(self.limit());
        let (mut had, mut over) = (Vec::new(), false);
        while let Some(output) = outputs.next().await {
            match output {
                Ok(seconds) => had.push(seconds),
                Err(_) => over = true,
            }
        }
        story.equal(
            "`as_completed(..).timeout(..)` gives those that are in time",
            had,
            (1..=self.limit).collect(),
        );
        story.is("and then says that it is over", over);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn limits_hold() {
        for (slow, limit) in [(5, 2), (2, 1), (3_600, 59)] {
            story::assert_holds(Plan { slow, limit });
        }
    }

    #[test]
    fn a_limit_that_is_none_is_refused() {
        let arguments = ["timeouts", "--slow", "2", "--limit", "2"].map(OsString::from);
        assert_eq!(run(arguments.to_vec()), ExitCode::from(crate::USAGE));
    }
}
