//! The demo `context_manager`: what is opened is closed, however its use ends.
//!
//! Owns the command line and both halves. On threads a guard closes, by its destructor; on tasks opening and closing
//! wait, which a destructor cannot.
#![forbid(unsafe_code)]

use std::ffi::OsString;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::process::ExitCode;

use filch::AsyncResource;
use filch::cleanup::ExitStack;
use filch::time::{Duration, Instant, sleep};

use crate::story::{self, Halves, Log, Story, Threads};

pub(crate) const ABOUT: &str =
    "what is opened is closed: after a result, an error, a panic, and when nobody waits any more";

/// Opens something, uses it and closes it, where each of these waits.
///
/// It is closed, and the close is waited for, whether the use ends with a result, with an error or with a panic; if the
/// whole is dropped half way, by a time limit for example, the runtime closes it. A stack of such things goes
/// backwards.
#[derive(Debug, clap::Parser)]
#[command(name = "context_manager")]
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
    /// How long it takes to open, and to close, in milliseconds
    #[arg(long, default_value_t = 100, value_parser = clap::value_parser!(u64).range(1..=60_000))]
    pub open_ms: u64,
    /// How long it is used, in milliseconds
    #[arg(long, default_value_t = 1_000, value_parser = clap::value_parser!(u64).range(1..=60_000))]
    pub use_ms: u64,
}

/// Runs the demo.
pub fn run(arguments: Vec<OsString>) -> ExitCode {
    match crate::parse::<Args>(arguments) {
        Ok(Args { plan, workers }) => story::run(plan, workers),
        Err(code) => code,
    }
}

/// What the use of it comes to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    Result,
    Error,
    Panic,
}

const ENDS: [End; 3] = [End::Result, End::Error, End::Panic];
const IN_ORDER: [&str; 3] = ["opened", "used", "closed"];

fn claim(end: End) -> &'static str {
    match end {
        End::Result => "after a result",
        End::Error => "after an error",
        End::Panic => "after a panic",
    }
}

fn come_to(end: End) -> Result<&'static str, &'static str> {
    match end {
        End::Result => Ok("a result"),
        End::Error => Err("an error"),
        // Not by `panic!`, which would print a message in the middle of the demo.
        End::Panic => resume_unwind(Box::new("a panic")),
    }
}

/// On threads: closes when it is dropped.
struct Guard(Log<&'static str>);

impl Guard {
    fn open(log: &Log<&'static str>) -> Guard {
        log.note("opened");
        Guard(log.clone())
    }
}

impl Drop for Guard {
    fn drop(&mut self) {
        self.0.note("closed");
    }
}

/// On tasks: knows how to open, and how to close.
struct Connect {
    plan: Plan,
    log: Log<&'static str>,
    works: bool,
}

struct Connection {
    plan: Plan,
    log: Log<&'static str>,
}

impl AsyncResource for Connect {
    type Value = Connection;
    type Error = &'static str;

    async fn open(self) -> Result<Connection, &'static str> {
        sleep(Duration::from_millis(self.plan.open_ms)).await;
        if !self.works {
            return Err("nobody there");
        }
        self.log.note("opened");
        Ok(Connection { plan: self.plan, log: self.log })
    }

    async fn close(connection: Connection) -> Result<(), &'static str> {
        sleep(Duration::from_millis(connection.plan.open_ms)).await;
        connection.log.note("closed");
        Ok(())
    }
}

impl Halves for Plan {
    const THREADS: Threads = Threads::Some;
    const VIRTUAL: bool = true;

    fn about(&self) -> String {
        format!("Something takes {} ms to open and to close, and is used {} ms.", self.open_ms, self.use_ms)
    }

    fn threads(&self, story: &mut Story) {
        story.part("Opened, used, closed, by a guard");
        for end in ENDS {
            let log = Log::new();
            let used = catch_unwind(AssertUnwindSafe(|| {
                let guard = Guard::open(&log);
                guard.0.note("used");
                come_to(end)
            }));
            assert_eq!(used.is_err(), end == End::Panic, "it comes to that");
            story.equal(claim(end), log.take(), IN_ORDER.to_vec());
        }
    }

    async fn tasks(self, story: &mut Story) {
        story.part("Opened, used, closed, and each of these waits");
        for end in ENDS {
            let (log, start) = (Log::new(), Instant::now());
            let used = filch::spawn(self.with(log.clone(), end)).await;
            assert_eq!(used.is_err(), end == End::Panic, "it comes to that");
            story.equal(claim(end), log.take(), IN_ORDER.to_vec());
            let took = Duration::from_millis(2 * self.open_ms + self.use_ms);
            story.equal("all was waited for", start.elapsed(), took);
        }

        story.part("Given up half way");
        let (log, half) = (Log::new(), Duration::from_millis(self.open_ms + self.use_ms / 2));
        let late = filch::wait_for(self.with(log.clone(), End::Result), half).await;
        story.holds(
            "it was opened, and is not in use any more",
            late.is_err() && log.take() == ["opened"],
            "",
        );
        sleep(Duration::from_millis(self.open_ms * 2)).await;
        story.equal("the runtime closes it", log.take(), vec!["closed"]);

        story.part("Not opened");
        let connect = Connect { plan: self, log: log.clone(), works: false };
        let failed = filch::with(connect, async |_: filch::cleanup::Opened<Connect>| ()).await;
        story.equal("the error is told", failed, Err("nobody there"));
        story.equal("and there is nothing to close", log.take(), Vec::<&str>::new());

        story.part("A stack of things to undo");
        let mut stack = ExitStack::new();
        for (done, undone) in [("connect", "disconnect"), ("log in", "log out"), ("lock", "unlock")] {
            log.note(done);
            let log = log.clone();
            stack.push(async move { log.note(undone) });
        }
        stack.close().await;
        let expected = vec!["connect", "log in", "lock", "unlock", "log out", "disconnect"];
        story.equal("the last one first", log.take(), expected);
    }
}

impl Plan {
    async fn with(self, log: Log<&'static str>, end: End) -> Result<(), &'static str> {
        let connect = Connect { plan: self, log, works: true };
        let used = filch::with(connect, async move |connection: filch::cleanup::Opened<Connect>| {
            sleep(Duration::from_millis(self.use_ms)).await;
            connection.log.note("used");
            come_to(end)
        });
        used.await?.map(drop)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_opened_is_closed() {
        for (open_ms, use_ms) in [(100, 1_000), (1, 2), (60_000, 1)] {
            story::assert_holds(Plan { open_ms, use_ms });
        }
    }
}
