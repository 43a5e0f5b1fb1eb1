//! The demo `sequential_concurrent`: the same waits one after the other, and all at once.
//!
//! Owns the command line and both halves. Threads wait by the clock on the wall; tasks by one that jumps, on which
//! what it takes can be read to the tick.
#![forbid(unsafe_code)]

use std::ffi::OsString;
use std::fmt::Debug;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::Barrier;
use std::sync::atomic::{AtomicU32, Ordering::Relaxed};
use std::thread;

use filch::time::{Duration, Instant, sleep};

use crate::story::{self, Halves, Story, each_thread};

pub(crate) const ABOUT: &str =
    "the same waits one after the other, gathered, and as tasks: their sum, or the longest";

/// Waits for several things, one after the other and all at once.
///
/// One after the other takes the sum of the waits; at once, by `gather` or as tasks that were spawned before the first
/// is awaited, takes the longest of them. The results come in the order of the arguments all the same.
#[derive(Debug, clap::Parser)]
#[command(name = "sequential_concurrent")]
struct Args {
    #[command(flatten)]
    plan: Plan,
    /// How many worker threads the runtime has; 0 for one a CPU
    #[arg(long, default_value_t = 0)]
    workers: usize,
}

/// What is waited for.
#[derive(Clone, Copy, Debug, clap::Args)]
pub struct Plan {
    /// How many waits; the first takes that many units, the last one unit
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u32).range(2..=100))]
    pub waits: u32,
    /// The unit for the threads, in milliseconds; tasks have seconds
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u64).range(0..=1_000))]
    pub unit_ms: u64,
}

/// Runs the demo.
pub fn run(arguments: Vec<OsString>) -> ExitCode {
    match crate::parse::<Args>(arguments) {
        Ok(Args { plan, workers }) => story::run(plan, workers),
        Err(code) => code,
    }
}

/// Counts who has begun, and knows how many had when the first was done.
#[derive(Default)]
struct Begun {
    now: AtomicU32,
    at_first_end: AtomicU32,
}

impl Begun {
    fn begin(&self) {
        self.now.fetch_add(1, Relaxed);
    }

    fn end(&self) {
        let _ = self.at_first_end.compare_exchange(0, self.now.load(Relaxed), Relaxed, Relaxed);
    }

    fn at_first_end(&self) -> u32 {
        self.at_first_end.load(Relaxed)
    }
}

/// What one way of waiting came to.
struct Came<T> {
    results: Vec<u32>,
    begun: u32,
    took: T,
}

impl Plan {
    /// How many units the wait with this number takes.
    fn units(self, number: u32) -> u32 {
        self.waits - number
    }

    fn sum(self) -> u32 {
        (0..self.waits).map(|number| self.units(number)).sum()
    }

    fn tell<T: Debug + PartialOrd>(
        self,
        story: &mut Story,
        title: &str,
        came: Came<T>,
        begun: u32,
        least: T,
    ) {
        story.part(title);
        story.equal("results, in the order of the arguments", came.results, (0..self.waits).collect());
        story.equal("so many had begun when the first was done", came.begun, begun);
        story.holds("it took no less than it must", came.took >= least, format_args!("{:?}", came.took));
    }

    async fn wait(self, number: u32, begun: Arc<Begun>) -> u32 {
        begun.begin();
        sleep(Duration::from_secs(self.units(number).into())).await;
        begun.end();
        number
    }
}

impl Halves for Plan {
    const VIRTUAL: bool = true;

    fn about(&self) -> String {
        format!("{} waits, of {} units down to 1.", self.waits, self.waits)
    }

    fn threads(&self, story: &mut Story) {
        let unit = Duration::from_millis(self.unit_ms);
        let (begun, start) = (Begun::default(), std::time::Instant::now());
        let results = (0..self.waits).inspect(|&number| {
            begun.begin();
            thread::sleep(unit * self.units(number));
            begun.end();
        });
        let results = results.collect();
        let came = Came { results, begun: begun.at_first_end(), took: start.elapsed() };
        self.tell(story, "One after the other", came, 1, unit * self.sum());

        for title in ["Gathered", "Spawned, and then awaited"] {
            // On a loaded machine a thread may begin late: they begin together.
            let (begun, all) = (Begun::default(), Barrier::new(self.waits as usize));
            let start = std::time::Instant::now();
            let results = each_thread(self.waits, |number| {
                begun.begin();
                all.wait();
                thread::sleep(unit * self.units(number));
                begun.end();
                number
            });
            let came = Came { results, begun: begun.at_first_end(), took: start.elapsed() };
            self.tell(story, title, came, self.waits, unit * self.waits);
        }
    }

    async fn tasks(self, story: &mut Story) {
        let (sum, longest) = (Duration::from_secs(self.sum().into()), Duration::from_secs(self.waits.into()));
        let (begun, start, mut results) = (Arc::<Begun>::default(), Instant::now(), Vec::new());
        for number in 0..self.waits {
            results.push(self.wait(number, begun.clone()).await);
        }
        let came = Came { results, begun: begun.at_first_end(), took: start.elapsed() };
        exactly(story, came.took, sum);
        self.tell(story, "One after the other", came, 1, sum);

        let (begun, start) = (Arc::<Begun>::default(), Instant::now());
        let results = filch::gather((0..self.waits).map(|number| self.wait(number, begun.clone()))).await;
        let came = Came { results, begun: begun.at_first_end(), took: start.elapsed() };
        exactly(story, came.took, longest);
        self.tell(story, "Gathered", came, self.waits, longest);

        let (begun, start, mut results) = (Arc::<Begun>::default(), Instant::now(), Vec::new());
        let tasks: Vec<_> =
            (0..self.waits).map(|number| filch::spawn(self.wait(number, begun.clone()))).collect();
        for task in tasks {
            results.push(task.await.expect("no task panics"));
        }
        let came = Came { results, begun: begun.at_first_end(), took: start.elapsed() };
        exactly(story, came.took, longest);
        self.tell(story, "Spawned, and then awaited", came, self.waits, longest);
    }
}

/// On the clock that jumps nothing takes longer than it must. A claim only when that is not so: the threads, whose
/// clock does not, have none.
fn exactly(story: &mut Story, took: Duration, must: Duration) {
    if took != must {
        story.equal("it took exactly as long as it must", took, must);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_add_up_or_overlap() {
        for waits in [2, 3, 10] {
            story::assert_holds(Plan { waits, unit_ms: 1 });
        }
    }
}
