//! The demo `debounce_throttle`: calls that come too often, thinned out.
//!
//! Owns the command line and what is shown: somebody types, and somebody scrolls. JavaScript has one thread, so there
//! are no others here.
#![forbid(unsafe_code)]

use std::ffi::OsString;
use std::process::ExitCode;

use filch::limit::{Debounce, LimitExt, Throttle};
use filch::stream::{Stream, StreamExt};
use filch::time::{Duration, Instant, sleep};

use crate::story::{self, Halves, Log, Story, Threads};

pub(crate) const ABOUT: &str = "calls that come too often: the last once it is quiet, or one in an interval";

/// Somebody types, and a search is made when the typing stops; somebody scrolls, and not every event is drawn.
///
/// `Debounce` makes the last call once it has been quiet for a while. `Throttle` makes a call at once, but not another
/// one for a while; if asked, it makes the last of those that it left out at the end. Streams have both, too.
#[derive(Debug, clap::Parser)]
#[command(name = "debounce_throttle")]
struct Args {
    #[command(flatten)]
    plan: Plan,
    /// How many worker threads the runtime has; 0 for one a CPU
    #[arg(long, default_value_t = 0)]
    workers: usize,
}

/// How fast things come, on the clock of the tasks.
#[derive(Clone, Copy, Debug, clap::Args)]
pub struct Plan {
    /// How quiet it must be before a search is made, in milliseconds; keys come three times as fast
    #[arg(long, default_value_t = 300, value_parser = clap::value_parser!(u64).range(3..=60_000))]
    pub quiet_ms: u64,
    /// How long nothing is drawn after an event was, in milliseconds; events come ten times as fast
    #[arg(long, default_value_t = 100, value_parser = clap::value_parser!(u64).range(10..=60_000))]
    pub interval_ms: u64,
}

/// Runs the demo.
pub fn run(arguments: Vec<OsString>) -> ExitCode {
    match crate::parse::<Args>(arguments) {
        Ok(Args { plan, workers }) => story::run(plan, workers),
        Err(code) => code,
    }
}

const TYPED: [&str; 5] = ["f", "fi", "fil", "filc", "filch"];
const EVENTS: u32 = 25;

impl Plan {
    fn quiet(self) -> Duration {
        Duration::from_millis(self.quiet_ms)
    }

    fn key(self) -> Duration {
        self.quiet() / 3
    }

    fn interval(self) -> Duration {
        Duration::from_millis(self.interval_ms)
    }

    fn event(self) -> Duration {
        self.interval() / 10
    }

    /// What is typed, each key a while after the one before.
    fn typing(self) -> impl Stream<Item = &'static str> {
        filch::generator(async move |mut y| {
            for text in TYPED {
                y.emit(text).await;
                sleep(self.key()).await;
            }
            sleep(self.quiet()).await;
        })
    }

    fn scrolling(self) -> impl Stream<Item = u32> {
        filch::generator(async move |mut y| {
            for event in 0..EVENTS {
                y.emit(event).await;
                sleep(self.event()).await;
            }
        })
    }

    fn drawn() -> Vec<u32> {
        (0..EVENTS).step_by(10).collect()
    }
}

impl Halves for Plan {
    const THREADS: Threads = Threads::None;
    const VIRTUAL: bool = true;

    fn about(&self) -> String {
        format!("Keys come every {:?}, and scroll events every {:?}.", self.key(), self.event())
    }

    fn threads(&self, _: &mut Story) {}

    async fn tasks(self, story: &mut Story) {
        self.debounce(story).await;
        self.throttle(story).await;
        self.streams(story).await;
    }
}

impl Plan {
    async fn debounce(self, story: &mut Story) {
        story.part("Debounce: a search when the typing stops");
        let (log, start) = (Log::new(), Instant::now());
        let searches = log.clone();
        let search = Debounce::new(self.quiet(), move |text: &str| searches.note((text, start.elapsed())));
        for text in TYPED {
            search.call(text);
            sleep(self.key()).await;
        }
        sleep(self.quiet()).await;
        let last = self.key() * (TYPED.len() as u32 - 1);
        story.equal(
            "one search, of the last text, after the quiet",
            log.take(),
            vec![("filch", last + self.quiet())],
        );

        for text in ["again", "again!"] {
            search.call(text);
            sleep(self.quiet() + self.key()).await;
        }
        let texts: Vec<_> = log.take().into_iter().map(|(text, _)| text).collect();
        story.equal("two, if it is quiet in between", texts, vec!["again", "again!"]);

        search.call("never mind");
        story.equal("one that is pending can be called off", search.cancel(), Some("never mind"));
        search.call("now");
        story.is("or be made at once", search.flush().await);
        sleep(self.quiet() * 2).await;
        let texts: Vec<_> = log.take().into_iter().map(|(text, _)| text).collect();
        story.equal("and is not made twice", texts, vec!["now"]);
    }

    async fn throttle(self, story: &mut Story) {
        story.part("Throttle: no more than one drawing in an interval");
        for trailing in [false, true] {
            let log = Log::new();
            let drawn = log.clone();
            let draw = Throttle::new(self.interval(), move |event: u32| drawn.note(event));
            let draw = if trailing { draw.trailing() } else { draw };
            let mut at_once = Vec::new();
            for event in 0..EVENTS {
                if draw.call(event) {
                    at_once.push(event);
                }
                sleep(self.event()).await;
            }
            sleep(self.interval() * 2).await;
            let drawn = log.take();
            if trailing {
                story.equal(
                    "of those left out, the last is drawn in the end",
                    drawn.last(),
                    Some(&(EVENTS - 1)),
                );
                let most = drawn.len() <= 2 + EVENTS as usize / 10 + 1;
                story.holds("and they are still few", most, format_args!("{drawn:?}"));
            } else {
                story.equal("one at the beginning of each interval", drawn, Plan::drawn());
                story.equal("who calls is told which", at_once, Plan::drawn());
            }
        }
    }

    async fn streams(self, story: &mut Story) {
        story.part("The same of streams");
        let searches: Vec<_> = Box::pin(self.typing()).debounce(self.quiet()).collect().await;
        story.equal("debounced", searches, vec!["filch"]);
        let drawn: Vec<_> = Box::pin(self.scrolling()).throttle(self.interval()).collect().await;
        story.equal("throttled", drawn, Plan::drawn());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn calls_are_thinned_out() {
        for (quiet_ms, interval_ms) in [(300, 100), (3, 10), (60_000, 60_000)] {
            story::assert_holds(Plan { quiet_ms, interval_ms });
        }
    }
}
