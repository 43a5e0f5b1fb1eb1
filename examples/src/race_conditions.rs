//! The demo `race_conditions`: updates that get lost though each step is sound, on threads and across an await.
//!
//! Owns the command line and both halves. A race on the data itself does not compile in Rust; what is left is the race
//! of logic: to look, and to act on what was seen when it is so no more.

use std::ffi::OsString;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use filch::sync::{Barrier, Lock};

use crate::story::{self, Halves, Story, each_task, each_thread};

pub(crate) const ABOUT: &str =
    "lost updates and checks that are out of date, on threads and across an await; each with its cure";

/// Many change a number together, step by step, and changes get lost; then in one step, and none does.
///
/// What is rare elsewhere is made to happen each time: between look and act, everybody waits for the others.
#[derive(Debug, clap::Parser)]
#[command(name = "race_conditions")]
struct Args {
    #[command(flatten)]
    plan: Plan,
    /// How many worker threads the runtime has; 0 for one a CPU
    #[arg(long, default_value_t = 0)]
    workers: usize,
}

/// Who changes the number how often.
#[derive(Clone, Copy, Debug, clap::Args)]
pub struct Plan {
    /// How many threads, and how many tasks
    #[arg(long, default_value_t = 4, value_parser = clap::value_parser!(u32).range(2..=64))]
    pub people: u32,
    /// How often each of them adds one and takes one away
    #[arg(long, default_value_t = 10_000, value_parser = clap::value_parser!(u32).range(1..=10_000_000))]
    pub times: u32,
}

impl Default for Plan {
    fn default() -> Plan {
        Plan { people: 4, times: 1_000 }
    }
}

/// Runs the demo.
pub fn run(arguments: Vec<OsString>) -> ExitCode {
    match crate::parse::<Args>(arguments) {
        Ok(Args { plan, workers }) => story::run(plan, workers),
        Err(code) => code,
    }
}

/// A number that is read and written, each soundly, and changed in one step too.
///
/// Without the atomic it does not compile: two threads would change what both borrow.
/// ```compile_fail,E0499
/// let mut number = 0;
/// std::thread::scope(|scope| {
///     scope.spawn(|| number += 1);
///     scope.spawn(|| number += 1);
/// });
/// ```
#[derive(Default)]
pub struct Number {
    value: AtomicI64,
}

impl std::fmt::Debug for Number {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Number").field(&self.get()).finish()
    }
}

impl Number {
    // Ordering: Relaxed in all of them: it is about the number alone.
    fn get(&self) -> i64 {
        self.value.load(Ordering::Relaxed)
    }

    fn set(&self, value: i64) {
        self.value.store(value, Ordering::Relaxed);
    }

    /// In one step.
    fn add(&self, n: i64) {
        self.value.fetch_add(n, Ordering::Relaxed);
    }

    /// To check and to act in one step: whether there was enough.
    fn withdraw(&self, amount: i64) -> bool {
        let enough = |balance: i64| (balance >= amount).then_some(balance - amount);
        self.value.fetch_update(Ordering::Relaxed, Ordering::Relaxed, enough).is_ok()
    }
}

impl Halves for Plan {
    fn about(&self) -> String {
        format!("{} change a number together, {} times up and down.", self.people, self.times)
    }

    fn threads(&self, story: &mut Story) {
        let (number, all_looked) = (Number::default(), Barrier::new(self.people as usize));
        each_thread(self.people, |_| {
            let seen = number.get();
            all_looked.wait_blocking();
            number.set(seen + 1);
        });
        let lost = number.get();
        number.set(0);
        each_thread(self.people, |_| {
            all_looked.wait_blocking();
            number.add(1);
        });
        tell_updates(story, self, lost, number.get());

        number.set(0);
        each_thread(self.people, |_| {
            for _ in 0..self.times {
                number.set(number.get() + 1);
                number.set(number.get() - 1);
            }
        });
        let wrong = number.get();
        number.set(0);
        each_thread(self.people, |_| {
            for _ in 0..self.times {
                number.add(1);
                number.add(-1);
            }
        });
        tell_up_and_down(story, wrong, number.get());

        number.set(100);
        let paid = each_thread(self.people, |_| {
            let enough = number.get() >= 100;
            all_looked.wait_blocking();
            if enough {
                number.add(-100);
            }
            enough
        });
        let overdrawn = number.get();
        number.set(100);
        let cured = each_thread(self.people, |_| number.withdraw(100));
        tell_check(story, self, (overdrawn, count(&paid)), (number.get(), count(&cured)));
    }

    async fn tasks(self, story: &mut Story) {
        let shared = Arc::new((Lock::new(0), Barrier::new(self.people as usize)));
        let people = |step: fn(Arc<Shared>) -> Step| {
            let shared = shared.clone();
            each_task(self.people, move |_| step(shared.clone()))
        };
        people(|shared| Box::pin(look_await_act(shared))).await;
        let lost = std::mem::take(&mut *shared.0.lock().await);
        people(|shared| Box::pin(await_in_one_step(shared))).await;
        tell_updates(story, &self, lost, std::mem::take(&mut *shared.0.lock().await));

        let wrong = up_and_down(&self, &shared, false).await;
        tell_up_and_down(story, wrong, up_and_down(&self, &shared, true).await);

        *shared.0.lock().await = 100;
        let paid = people(|shared| Box::pin(check_await_act(shared))).await;
        let overdrawn = std::mem::replace(&mut *shared.0.lock().await, 100);
        let cured = people(|shared| Box::pin(check_and_act(shared))).await;
        let left = *shared.0.lock().await;
        tell_check(story, &self, (overdrawn, count(&paid)), (left, count(&cured)));
    }
}

type Shared = (Lock<i64>, Barrier);
type Step = std::pin::Pin<Box<dyn Future<Output = bool> + Send>>;

/// Each access has the lock, but not both together: the await between them lets the others in.
async fn look_await_act(shared: Arc<Shared>) -> bool {
    let seen = *shared.0.lock().await;
    shared.1.wait().await;
    *shared.0.lock().await = seen + 1;
    true
}

async fn await_in_one_step(shared: Arc<Shared>) -> bool {
    shared.1.wait().await;
    let mut number = shared.0.lock().await;
    let seen = *number;
    // An await with the guard in hand: the others wait.
    filch::yield_now().await;
    *number = seen + 1;
    true
}

async fn check_await_act(shared: Arc<Shared>) -> bool {
    let enough = *shared.0.lock().await >= 100;
    shared.1.wait().await;
    if enough {
        *shared.0.lock().await -= 100;
    }
    enough
}

async fn check_and_act(shared: Arc<Shared>) -> bool {
    let mut balance = shared.0.lock().await;
    let enough = *balance >= 100;
    filch::yield_now().await;
    if enough {
        *balance -= 100;
    }
    enough
}

/// All add one and take one away, again and again: in two steps each, or in one.
async fn up_and_down(plan: &Plan, shared: &Arc<Shared>, in_one_step: bool) -> i64 {
    *shared.0.lock().await = 0;
    let times = plan.times;
    let all = each_task(plan.people, |_| {
        let shared = shared.clone();
        async move {
            for change in [1, -1].into_iter().cycle().take(2 * times as usize) {
                if in_one_step {
                    *shared.0.lock().await += change;
                } else {
                    let seen = *shared.0.lock().await;
                    filch::yield_now().await;
                    *shared.0.lock().await = seen + change;
                }
            }
        }
    });
    all.await;
    *shared.0.lock().await
}

fn count(paid: &[bool]) -> i64 {
    paid.iter().filter(|paid| **paid).count() as i64
}

fn tell_updates(story: &mut Story, plan: &Plan, lost: i64, kept: i64) {
    story.part("All look at the number, then each writes one more than it saw");
    story.equal("the number, of which all updates but one are lost", lost, 1);
    story.equal("when each adds in one step", kept, i64::from(plan.people));
}

fn tell_up_and_down(story: &mut Story, wrong: i64, right: i64) {
    story.part("All add one and take one away, again and again");
    story.note(format_args!("left to chance, in two steps, the number at the end is {wrong}"));
    story.equal("in one step it is", right, 0);
}

fn tell_check(story: &mut Story, plan: &Plan, wrong: (i64, i64), right: (i64, i64)) {
    story.part("All see that there is 100 in the account, and take 100 out");
    let people = i64::from(plan.people);
    story.equal("what is left, and how many were paid", wrong, (100 - 100 * people, people));
    story.equal("when each checks and acts in one step", right, (0, 1));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn updates_are_lost_in_two_steps_and_kept_in_one() {
        for (people, times) in [(4, 100), (2, 1), (8, 50)] {
            story::assert_holds(Plan { people, times });
        }
    }
}
