//! The demo `gather_errors`: what becomes of the others when one of several fails.
//!
//! Owns the command line and both halves. A job is a square; some jobs fail, with an error or with a panic.
#![forbid(unsafe_code)]

use std::any::Any;
use std::ffi::OsString;
use std::panic::resume_unwind;
use std::process::ExitCode;
use std::thread;

use filch::time::{Duration, sleep};

use crate::story::{self, Halves, Log, Story, Threads};

pub(crate) const ABOUT: &str =
    "gathered jobs of which some fail: errors and panics as values, or the first of them ends all";

/// Gathers jobs of which one fails and one panics.
///
/// Their results come in the order of the arguments, errors in their places; a panic is one more error where that was
/// asked for. `try_gather` ends with the first error and drops the other jobs; jobs that are tasks of their own go on.
#[derive(Debug, clap::Parser)]
#[command(name = "gather_errors")]
struct Args {
    #[command(flatten)]
    plan: Plan,
    /// How many worker threads the runtime has; 0 for one a CPU
    #[arg(long, default_value_t = 0)]
    workers: usize,
}

/// The jobs.
#[derive(Clone, Copy, Debug, clap::Args)]
pub struct Plan {
    /// How many jobs; the second one fails, and the third one panics where that is asked for
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u32).range(3..=100))]
    pub jobs: u32,
}

/// Runs the demo.
pub fn run(arguments: Vec<OsString>) -> ExitCode {
    match crate::parse::<Args>(arguments) {
        Ok(Args { plan, workers }) => story::run(plan, workers),
        Err(code) => code,
    }
}

const FAILS: u32 = 1;
const PANICS: u32 = 2;

type Outcome = Result<u32, String>;

/// The square, but for the job that fails.
fn square(number: u32) -> Outcome {
    if number == FAILS { Err(format!("job {number} failed")) } else { Ok(number * number) }
}

/// As [`square`], and one job panics. Not by `panic!`, which would print a message in the middle of the demo.
fn square_or_panic(number: u32) -> Outcome {
    if number == PANICS {
        resume_unwind(Box::new(format!("job {number} panicked")));
    }
    square(number)
}

/// The text that a panic carries.
fn text(payload: &(dyn Any + Send)) -> String {
    payload.downcast_ref::<String>().cloned().unwrap_or_default()
}

const IN_PLACE: &str = "results in the order of the arguments, the error in its place";
const CAUGHT: &str = "the panic is an error in its place, and says what happened";
const WENT_ON: &str = "the others went on to their end";

impl Plan {
    fn squares(self) -> Vec<Outcome> {
        (0..self.jobs).map(square).collect()
    }

    fn squares_and_panic(self) -> Vec<Outcome> {
        let panicked = |number| Err(format!("job {number} panicked"));
        (0..self.jobs)
            .map(|number| if number == PANICS { panicked(number) } else { square(number) })
            .collect()
    }

    /// The job `number`: later ones take longer, so that the one that fails is not the last.
    async fn job(self, number: u32, ended: Log<u32>) -> Outcome {
        sleep(Duration::from_secs(u64::from(number))).await;
        ended.note(number);
        square(number)
    }
}

impl Halves for Plan {
    const THREADS: Threads = Threads::Some;
    const VIRTUAL: bool = true;

    fn about(&self) -> String {
        format!("{} jobs; number {FAILS} fails, and number {PANICS} panics where it says so.", self.jobs)
    }

    fn threads(&self, story: &mut Story) {
        let ended = Log::new();
        let settle = |job: fn(u32) -> Outcome| {
            let threads: Vec<_> = (0..self.jobs)
                .map(|number| {
                    let ended = ended.clone();
                    thread::spawn(move || {
                        let outcome = job(number);
                        ended.note(number);
                        outcome
                    })
                })
                .collect();
            let join = |thread: thread::JoinHandle<Outcome>| {
                thread.join().unwrap_or_else(|payload| Err(text(&*payload)))
            };
            threads.into_iter().map(join).collect::<Vec<_>>()
        };
        story.part("Each joined, whatever became of the others");
        story.equal(IN_PLACE, settle(square), self.squares());
        story.equal(WENT_ON, ended.take().len(), self.jobs as usize);
        story.equal(CAUGHT, settle(square_or_panic), self.squares_and_panic());
    }

    async fn tasks(self, story: &mut Story) {
        story.part("`gather`: each result as it is");
        let ended = Log::new();
        let outcomes = filch::gather((0..self.jobs).map(|number| self.job(number, ended.clone()))).await;
        story.equal(IN_PLACE, outcomes, self.squares());
        story.equal(WENT_ON, ended.take().len(), self.jobs as usize);

        story.part("`gather(..).settled()`: panics as values, too");
        let settled =
            filch::gather((0..self.jobs).map(async |number| square_or_panic(number))).settled().await;
        let outcomes = settled
            .into_iter()
            .map(|settled| settled.unwrap_or_else(|error| Err(text(&*error.into_panic()))));
        story.equal(CAUGHT, outcomes.collect::<Vec<_>>(), self.squares_and_panic());

        story.part("`try_gather`: the first error ends the whole");
        let jobs = (0..self.jobs).map(|number| self.job(number, ended.clone()));
        let first = filch::try_gather(jobs).await;
        story.equal("its error is the first that came", first, Err(format!("job {FAILS} failed")));
        sleep(Duration::from_secs(2 * u64::from(self.jobs))).await;
        story.equal("the jobs behind it were dropped", ended.take(), (0..=FAILS).collect());

        story.part("`try_gather` of tasks: the first error ends the wait only");
        let tasks: Vec<_> =
            (0..self.jobs).map(|number| filch::spawn(self.job(number, ended.clone()))).collect();
        let outcomes = tasks.into_iter().map(async |task| task.await.expect("no task panics"));
        let first = filch::try_gather(outcomes).await;
        story.equal("its error is the first that came", first, Err(format!("job {FAILS} failed")));
        sleep(Duration::from_secs(2 * u64::from(self.jobs))).await;
        story.equal(WENT_ON, ended.take().len(), self.jobs as usize);

        story.part("`TaskGroup`: the first error cancels the others, and is given when all are gone");
        let group = filch::TaskGroup::new();
        for number in 0..self.jobs {
            group.spawn(self.job(number, ended.clone()));
        }
        let error = group.join().await.expect_err("one job fails");
        let first = error.first().and_then(|child| child.error()).cloned();
        story.equal("its first error", first, Some(format!("job {FAILS} failed")));
        story.equal("so many were cancelled", error.cancelled(), (self.jobs - FAILS - 1) as usize);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_are_values_or_end_the_whole() {
        for jobs in [3, 5, 20] {
            story::assert_holds(Plan { jobs });
        }
    }
}
