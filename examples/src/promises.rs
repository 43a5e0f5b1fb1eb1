//! The demo `promises`: what JavaScript says with `Promise.all`, `allSettled`, `race`, `any`, `then` and `finally`.
//!
//! Owns the command line and what is shown. Servers answer after a while, or refuse. JavaScript has one thread, so
//! there are no others here.
#![forbid(unsafe_code)]

use std::ffi::OsString;
use std::process::ExitCode;

use filch::FutureExt;
use filch::time::{Duration, Instant, sleep};

use crate::story::{self, Halves, Log, Story, Threads};

pub(crate) const ABOUT: &str =
    "Promise.all, allSettled, race and any, and what comes of the others; then, catch, finally";

/// Asks several servers at once, and waits for all of them, for the first, or for the first that does not refuse.
///
/// As `Promise.all`, `allSettled`, `race` and `any` do; but here the others are dropped as soon as they do not matter
/// any more. Then a chain of `then`, `catch` and `finally`.
#[derive(Debug, clap::Parser)]
#[command(name = "promises")]
struct Args {
    #[command(flatten)]
    plan: Plan,
    /// How many worker threads the runtime has; 0 for one a CPU
    #[arg(long, default_value_t = 0)]
    workers: usize,
}

/// The servers.
#[derive(Clone, Copy, Debug, clap::Args)]
pub struct Plan {
    /// How many servers; number 0 takes longest, the last one is quickest, and refuses where that matters
    #[arg(long, default_value_t = 4, value_parser = clap::value_parser!(u32).range(2..=1_000))]
    pub servers: u32,
}

/// Runs the demo.
pub fn run(arguments: Vec<OsString>) -> ExitCode {
    match crate::parse::<Args>(arguments) {
        Ok(Args { plan, workers }) => story::run(plan, workers),
        Err(code) => code,
    }
}

type Answer = Result<String, String>;

/// Which servers refuse.
#[derive(Clone, Copy)]
enum Refuse {
    None,
    Quickest,
    All,
}

impl Plan {
    fn quickest(self) -> u32 {
        self.servers - 1
    }

    fn takes(self, server: u32) -> Duration {
        Duration::from_secs(u64::from(self.servers - server))
    }

    fn answer(self, server: u32, refuse: Refuse) -> Answer {
        let refuses = match refuse {
            Refuse::None => false,
            Refuse::Quickest => server == self.quickest(),
            Refuse::All => true,
        };
        if refuses { Err(format!("server {server} refuses")) } else { Ok(format!("data of server {server}")) }
    }

    fn answers(self, refuse: Refuse) -> Vec<Answer> {
        (0..self.servers).map(|server| self.answer(server, refuse)).collect()
    }

    /// Asks each of them. `answered` has those that came to answer.
    fn ask(self, refuse: Refuse, answered: &Log<u32>) -> Vec<impl Future<Output = Answer> + use<>> {
        let ask = |server| {
            let answered = answered.clone();
            async move {
                sleep(self.takes(server)).await;
                answered.note(server);
                self.answer(server, refuse)
            }
        };
        (0..self.servers).map(ask).collect()
    }
}

impl Halves for Plan {
    const THREADS: Threads = Threads::None;
    const VIRTUAL: bool = true;

    fn about(&self) -> String {
        format!("{} servers, which take {} s down to 1 s.", self.servers, self.servers)
    }

    fn threads(&self, _: &mut Story) {}

    async fn tasks(self, story: &mut Story) {
        self.all(story).await;
        self.first(story).await;
        self.chain(story).await;
    }
}

impl Plan {
    async fn all(self, story: &mut Story) {
        let answered = Log::new();
        story.part("`Promise.all`: `try_gather`");
        let start = Instant::now();
        let all = filch::try_gather(self.ask(Refuse::None, &answered)).await;
        story.equal(
            "all answers, in the order of the servers",
            all,
            self.answers(Refuse::None).into_iter().collect(),
        );
        story.equal("after as long as the slowest takes", start.elapsed(), self.takes(0));
        answered.take();

        let start = Instant::now();
        let first = filch::try_gather(self.ask(Refuse::Quickest, &answered)).await;
        story.equal(
            "or the first refusal",
            first.err(),
            self.answer(self.quickest(), Refuse::Quickest).err(),
        );
        story.equal("as soon as it comes", start.elapsed(), self.takes(self.quickest()));
        sleep(self.takes(0)).await;
        story.equal("the others are dropped", answered.take(), vec![self.quickest()]);

        story.part("`Promise.allSettled`: `gather`");
        let settled = filch::gather(self.ask(Refuse::Quickest, &answered)).await;
        story.equal(
            "answers and refusals, in the order of the servers",
            settled,
            self.answers(Refuse::Quickest),
        );
        answered.take();
    }

    async fn first(self, story: &mut Story) {
        let answered = Log::new();
        story.part("`Promise.race`: `race`");
        for refuse in [Refuse::None, Refuse::Quickest] {
            let start = Instant::now();
            let first = filch::race(self.ask(refuse, &answered)).await;
            story.equal("the first, be it a refusal", first, self.answer(self.quickest(), refuse));
            story.equal("as soon as it comes", start.elapsed(), self.takes(self.quickest()));
        }
        sleep(self.takes(0)).await;
        story.equal("the losers are dropped", answered.take(), vec![self.quickest(); 2]);

        story.part("`Promise.any`: `any`");
        let start = Instant::now();
        let first = filch::any(self.ask(Refuse::Quickest, &answered)).await;
        let second = self.quickest() - 1;
        story.equal("the first that does not refuse", first.ok(), self.answer(second, Refuse::None).ok());
        story.equal("as soon as it comes", start.elapsed(), self.takes(second));
        let failed = filch::any(self.ask(Refuse::All, &answered)).await;
        let errors = failed.err().map(|failed| failed.errors.len());
        story.equal("or all refusals, if all refuse", errors, Some(self.servers as usize));
    }

    async fn chain(self, story: &mut Story) {
        story.part("`then`, `catch`, `finally`: `and_then`, `or_else`, `finally`");
        for (refuse, expected) in [
            (Refuse::None, ["users", "posts of users", "done"].as_slice()),
            (Refuse::All, ["caught: no users", "done"].as_slice()),
        ] {
            let log = Log::new();
            let refused = matches!(refuse, Refuse::All);
            let (users, caught, done) = (log.clone(), log.clone(), log.clone());
            let chain =
                async move { if refused { Err("no users".to_owned()) } else { Ok("users".to_owned()) } }
                    .and_then(|got: String| async move {
                        users.note(got.clone());
                        sleep(Duration::from_secs(1)).await;
                        Ok::<_, String>(format!("posts of {got}"))
                    })
                    .or_else(|error| async move { Ok::<_, String>(format!("caught: {error}")) })
                    .map(move |last| caught.note(last.expect("errors are caught")))
                    .finally(move || done.note("done".to_owned()));
            chain.await;
            let what =
                if refused { "a refusal goes past to where it is caught" } else { "one after the other" };
            story.equal(what, log.take(), expected.iter().map(ToString::to_string).collect());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn servers_answer_and_refuse() {
        for servers in [2, 4, 100] {
            story::assert_holds(Plan { servers });
        }
    }
}
