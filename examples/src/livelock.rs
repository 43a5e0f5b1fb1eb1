//! The demo `livelock`: two who make way for each other for ever, and two ways out.
//!
//! Owns the command line and both halves. Each of the two needs both of two locks, and takes them in its own order. Who
//! finds the second one taken gives the first one back, politely, and tries again after a pause.
#![forbid(unsafe_code)]

use std::ffi::OsString;
use std::process::ExitCode;
use std::sync::{Arc, Barrier};
use std::thread;

use filch::Backoff;
use filch::sync::Lock;
use filch::time::{Duration, sleep};

use crate::story::{self, Halves, Story, each_thread};

pub(crate) const ABOUT: &str =
    "two who make way for each other for ever; a pause of chance, or the same order, lets both through";

/// Two people in a hallway: each needs two locks, takes one, finds the other one taken, and gives way.
///
/// In step they do so for ever, and both are busy all the time. Pauses of random length bring them out of step; to take
/// the locks in the same order needs no chance.
#[derive(Debug, clap::Parser)]
#[command(name = "livelock")]
struct Args {
    #[command(flatten)]
    plan: Plan,
    /// How many worker threads the runtime has; 0 for one a CPU
    #[arg(long, default_value_t = 0)]
    workers: usize,
}

/// How patient one is.
#[derive(Clone, Copy, Debug, clap::Args)]
pub struct Plan {
    /// After how many rounds without progress it is called a livelock
    #[arg(long, default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..=100_000))]
    pub rounds: u32,
}

/// Runs the demo.
pub fn run(arguments: Vec<OsString>) -> ExitCode {
    match crate::parse::<Args>(arguments) {
        Ok(Args { plan, workers }) => story::run(plan, workers),
        Err(code) => code,
    }
}

type Locks = [Lock<()>; 2];

/// The pauses that bring the two out of step.
fn pauses(most: Duration) -> impl Iterator<Item = Duration> {
    Backoff::jittered(Duration::ZERO, most).forever().pauses()
}

/// On threads nothing keeps two in step, so a barrier does: before each of them looks, and before it gives way.
fn in_step_blocking(locks: &Locks, step: &Barrier, who: usize, rounds: u32) -> (bool, u32) {
    for round in 0..rounds {
        let first = locks[who].lock_blocking();
        step.wait();
        let second = locks[1 - who].try_lock();
        step.wait();
        if second.is_ok() {
            return (true, round);
        }
        drop((first, second));
        step.wait();
    }
    (false, rounds)
}

fn by_chance_blocking(locks: &Locks, who: usize) -> (bool, u32) {
    let mut round = 0;
    for pause in pauses(Duration::from_micros(200)) {
        let first = locks[who].lock_blocking();
        if locks[1 - who].try_lock().is_ok() {
            break;
        }
        drop(first);
        round += 1;
        thread::sleep(pause);
    }
    (true, round)
}

const TICK: Duration = Duration::from_millis(10);

/// On tasks the clock keeps them in step: each thinks as long as the other.
async fn in_step(locks: Arc<Locks>, who: usize, rounds: u32) -> (bool, u32) {
    for round in 0..rounds {
        let first = locks[who].lock().await;
        sleep(TICK).await;
        let second = locks[1 - who].try_lock();
        if second.is_ok() {
            return (true, round);
        }
        drop(second);
        // One last look, in which the other sees us just as we see it.
        sleep(TICK).await;
        drop(first);
        sleep(TICK).await;
    }
    (false, rounds)
}

async fn by_chance(locks: Arc<Locks>, who: usize) -> (bool, u32) {
    let mut round = 0;
    for pause in pauses(TICK * 5) {
        let first = locks[who].lock().await;
        sleep(TICK).await;
        if locks[1 - who].try_lock().is_ok() {
            break;
        }
        drop(first);
        round += 1;
        sleep(pause).await;
    }
    (true, round)
}

impl Halves for Plan {
    const VIRTUAL: bool = true;

    fn about(&self) -> String {
        format!("Two need both of two locks; after {} rounds in vain it is a livelock.", self.rounds)
    }

    fn threads(&self, story: &mut Story) {
        let (locks, step) = (Locks::default(), Barrier::new(2));
        let ended = each_thread(2, |who| in_step_blocking(&locks, &step, who as usize, self.rounds));
        self.tell_livelock(story, &ended);
        let ended = each_thread(2, |who| by_chance_blocking(&locks, who as usize));
        self.tell_chance(story, &ended);
        let ended = each_thread(2, |_| {
            let _first = locks[0].lock_blocking();
            let _second = locks[1].lock_blocking();
            (true, 0)
        });
        self.tell_order(story, &ended);
    }

    async fn tasks(self, story: &mut Story) {
        let locks = Arc::new(Locks::default());
        let both = [0, 1].map(|who| in_step(locks.clone(), who, self.rounds));
        self.tell_livelock(story, &filch::gather(both).await);
        let both = [0, 1].map(|who| by_chance(locks.clone(), who));
        self.tell_chance(story, &filch::gather(both).await);
        let both = [0, 1].map(async |_| {
            let _first = locks[0].lock().await;
            sleep(TICK).await;
            let _second = locks[1].lock().await;
            (true, 0)
        });
        self.tell_order(story, &filch::gather(both).await);
    }
}

impl Plan {
    fn tell_livelock(self, story: &mut Story, ended: &[(bool, u32)]) {
        story.part("Both in step: each takes one lock, finds the other one taken, and gives way");
        let expected = [(false, self.rounds); 2];
        story.equal("nobody gets through, after so many rounds", ended, expected.as_slice());
    }

    fn tell_chance(self, story: &mut Story, ended: &[(bool, u32)]) {
        story.part("The same, with pauses of random length");
        story.is("both get through", ended.iter().all(|(through, _)| *through));
        let rounds: Vec<_> = ended.iter().map(|(_, rounds)| rounds).collect();
        story.note(format_args!("so often they gave way: {rounds:?}"));
    }

    fn tell_order(self, story: &mut Story, ended: &[(bool, u32)]) {
        story.part("Both take the locks in the same order");
        story.equal("both get through, and nobody gives way", ended, [(true, 0); 2].as_slice());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn chance_or_order_ends_it() {
        for rounds in [1, 100] {
            story::assert_holds(Plan { rounds });
        }
    }
}
