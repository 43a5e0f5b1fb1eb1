//! The demo `event_loop_order`: who runs when on one thread. The guides' puzzle prints 1, 4, 3, 2.
//!
//! Owns the command line and the three programs. Each runs on the clock that jumps, in as many orders of polls as are
//! asked for, so what is claimed does not hang on luck.

use std::ffi::OsString;
use std::process::ExitCode;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use filch::time::sleep;
use filch::{Builder, yield_now};

use crate::story::Story;

pub(crate) const ABOUT: &str =
    "who runs when on one thread: what is called, what is ready, what waits for a timer (1, 4, 3, 2)";

/// The guides' puzzle of the event loop, and two more: what runs first on one thread?
///
/// What is called runs to its end, then what is ready, then what waits for a timer. It is so in every order in which
/// the ready ones may be polled; which of them is first is left to the seed.
#[derive(Debug, clap::Parser)]
#[command(name = "event_loop_order")]
struct Args {
    /// In how many orders of polls each program is run
    #[arg(long, default_value_t = 50, value_parser = clap::value_parser!(u64).range(1..=100_000))]
    seeds: u64,
}

/// Runs the demo.
pub fn run(arguments: Vec<OsString>) -> ExitCode {
    let Args { seeds } = match crate::parse::<Args>(arguments) {
        Ok(args) => args,
        Err(code) => return code,
    };
    let mut story = Story::default();
    tell(&mut story, seeds);
    println!("Three programs on one thread, in {seeds} orders of polls each.\n{story}");
    if story.failures().next().is_none() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// What happened, in order.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<String>>);

impl Log {
    fn note(&self, what: &str) {
        let mut text = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if !text.is_empty() {
            text.push(' ');
        }
        text.push_str(what);
    }

    fn told(&self) -> String {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// JavaScript's `setTimeout(f, 0)`, which is at least a millisecond there, too.
const SET_TIMEOUT_0: Duration = Duration::from_millis(1);

/// The puzzle. In JavaScript: `log(1)`, `setTimeout(() => log(2), 0)`, `Promise.resolve().then(() => log(3))`,
/// `log(4)`.
pub(crate) async fn guides() -> String {
    let log = Log::default();
    log.note("1");
    let (second, third) = (log.clone(), log.clone());
    let timer = filch::spawn(async move {
        sleep(SET_TIMEOUT_0).await;
        second.note("2");
    });
    let ready = filch::spawn(async move { third.note("3") });
    log.note("4");
    filch::gather([timer, ready]).await;
    log.told()
}

/// A task that is ready again and again, as a chain of `then`, goes before a timer that is due all the while.
async fn chain_before_timer() -> String {
    let log = Log::default();
    let (chain, timer) = (log.clone(), log.clone());
    let timer = filch::spawn(async move {
        sleep(SET_TIMEOUT_0).await;
        timer.note("timer");
    });
    let chain = filch::spawn(async move {
        for step in ["a", "b", "c"] {
            chain.note(step);
            yield_now().await;
        }
    });
    filch::gather([timer, chain]).await;
    log.told()
}

/// An await of something that is ready goes on at once, without letting others run: in JavaScript it does not.
async fn await_of_ready() -> String {
    let log = Log::default();
    let other = log.clone();
    let other = filch::spawn(async move { other.note("other") });
    log.note("before");
    std::future::ready(()).await;
    log.note("after-ready");
    yield_now().await;
    other.await.expect("it does not panic");
    log.note("after-yield");
    log.told()
}

/// The orders that came of `program`, each once.
fn orders<F: Future<Output = String>>(seeds: u64, program: impl Fn() -> F) -> Vec<String> {
    let runtime = |seed| Builder::new().paused_clock(seed).build().expect("it starts no thread");
    let mut orders: Vec<_> = (0..seeds).map(|seed| runtime(seed).block_on(program())).collect();
    orders.sort_unstable();
    orders.dedup();
    orders
}

fn tell(story: &mut Story, seeds: u64) {
    story.part("What is called, then what is ready, then what waits for a timer");
    story.equal("the guides' puzzle", orders(seeds, guides), vec!["1 4 3 2".into()]);
    story.part("A timer of 1 ms, and a task that yields three times");
    story.equal("all of it goes first", orders(seeds, chain_before_timer), vec!["a b c timer".into()]);
    story.part("An await that need not wait");
    let expected = vec!["before after-ready other after-yield".into()];
    story.equal("lets nobody else run; a yield does", orders(seeds, await_of_ready), expected);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_order_is_the_same_whatever_the_seed() {
        let mut story = Story::default();
        tell(&mut story, 100);
        assert_eq!(story.failures().count(), 0, "{story}");
    }
}
