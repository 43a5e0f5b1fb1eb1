//! The demo `deadlock`: two who wait for each other, found from the list of tasks, and three cures.
//!
//! Owns the command line, both halves, and the search: each task says which lock it waits for, each lock who holds
//! it, and a circle of these is a deadlock, with names and lines.

use std::ffi::OsString;
use std::fmt;
use std::panic::Location;
use std::process::ExitCode;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use filch::sync::{Barrier, Lock, lock_all, lock_all_blocking};
use filch::time::sleep;
use filch::{Backoff, Handle, TaskInfo, WaitKind, holder_of, wait_for};

use crate::story::{self, Halves, Story, each_task, each_thread};

pub(crate) const ABOUT: &str =
    "two wait for each other for ever, which is found from the list of tasks; then three cures";

/// Two take two locks in opposite order, and wait for each other for ever.
///
/// On tasks the demo finds it from what the runtime knows: which task waits for which lock, who holds it, since which
/// line. Then the same is done in an order, with a time limit, and by trying, and comes to its end.
#[derive(Debug, clap::Parser)]
#[command(name = "deadlock")]
struct Args {
    #[command(flatten)]
    plan: Plan,
    /// How many worker threads the runtime has; 0 for one a CPU
    #[arg(long, default_value_t = 0)]
    workers: usize,
}

/// How often the cures are tried.
#[derive(Clone, Copy, Debug, clap::Args)]
pub struct Plan {
    /// How often each of the two takes both locks, with each cure
    #[arg(long, default_value_t = 20, value_parser = clap::value_parser!(u32).range(1..=100_000))]
    pub times: u32,
}

/// Runs the demo.
pub fn run(arguments: Vec<OsString>) -> ExitCode {
    match crate::parse::<Args>(arguments) {
        Ok(Args { plan, workers }) => story::run(plan, workers),
        Err(code) => code,
    }
}

/// How long a thread waits that waits in vain: threads are in no list, so a time limit has to find them.
const PATIENCE: Duration = Duration::from_millis(20);

/// A task that waits for a lock, and who holds that.
#[derive(Clone, Debug)]
struct Link {
    task: u64,
    name: String,
    waits_at: Option<&'static Location<'static>>,
    holder: u64,
    held_since: Option<&'static Location<'static>>,
}

impl Link {
    /// `None`: it waits for nothing that somebody holds.
    fn of(task: &TaskInfo) -> Option<Link> {
        if task.wait != WaitKind::Lock {
            return None;
        }
        let holder = holder_of(task.wait_resource)?;
        Some(Link {
            task: task.id.as_u64(),
            name: task.name.clone().unwrap_or_else(|| "without a name".into()),
            waits_at: task.wait_location,
            holder: holder.task?,
            held_since: holder.location,
        })
    }
}

impl fmt::Display for Link {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let line = |at: Option<&'static Location<'static>>| at.map_or("?".into(), |at| at.to_string());
        write!(f, "task {}, {}, waits at {}", self.task, self.name, line(self.waits_at))?;
        write!(f, " for what task {} took at {}", self.holder, line(self.held_since))
    }
}

/// The first circle among the tasks: each waits for the next, and the last for the first.
fn find_cycle(tasks: &[TaskInfo]) -> Option<Vec<Link>> {
    let links: Vec<_> = tasks.iter().filter_map(Link::of).collect();
    let next = |link: &Link| links.iter().find(|other| other.task == link.holder);
    links.iter().find_map(|first| {
        let mut circle = vec![first.clone()];
        // Each step is to another task, or the circle is closed without the first; that one is found from there.
        while circle.len() <= links.len() {
            match next(circle.last()?)? {
                link if link.task == first.task => return Some(circle),
                link => circle.push(link.clone()),
            }
        }
        None
    })
}

/// Two locks. `both_hold` is where each has its first, so that what is rare elsewhere happens each time.
struct Table {
    locks: [Lock<u32>; 2],
    both_hold: Barrier,
}

impl Table {
    fn new() -> Table {
        Table { locks: [Lock::new(0), Lock::new(0)], both_hold: Barrier::new(2) }
    }

    /// In the order in which `who` wants them.
    fn wanted(&self, who: u32) -> [&Lock<u32>; 2] {
        let [one, other] = &self.locks;
        if who == 0 { [one, other] } else { [other, one] }
    }

    fn counts(&self) -> [u32; 2] {
        self.locks.each_ref().map(|lock| *lock.try_lock().expect("nobody holds it any more"))
    }
}

/// The deadlock on threads: whether each was still waiting when its time was over.
fn deadlock_blocking() -> Vec<bool> {
    let table = Table::new();
    each_thread(2, |who| {
        let [first, second] = table.wanted(who);
        let _first = first.lock_blocking();
        table.both_hold.wait_blocking();
        let waited_in_vain = second.lock_timeout(PATIENCE).is_err();
        // Nobody gives back its first before both have given up.
        table.both_hold.wait_blocking();
        waited_in_vain
    })
}

/// The deadlock on tasks: the circle, whether both were still waiting after a while, and how many got both locks
/// when one of the two was aborted.
async fn deadlock() -> (Vec<Link>, bool, [u32; 2]) {
    let table = Arc::new(Table::new());
    let [one, other] = [0, 1].map(|who| {
        let table = table.clone();
        let name = ["from A to B", "from B to A"][who as usize];
        filch::task::Builder::new().name(name).spawn(async move {
            let [first, second] = table.wanted(who);
            let mut first = first.lock().await;
            table.both_hold.wait().await;
            let mut second = second.lock().await;
            (*first, *second) = (*first + 1, *second + 1);
        })
    });
    let circle = loop {
        if let Some(circle) = find_cycle(&Handle::current().tasks()) {
            break circle;
        }
        filch::yield_now().await;
    };
    sleep(PATIENCE).await;
    let waiting = !one.is_finished() && !other.is_finished();
    one.abort();
    // Its first lock went back with it.
    other.await.expect("it does not panic");
    (circle, waiting, table.counts())
}

/// A cure: how one takes both locks.
#[derive(Clone, Copy)]
enum Cure {
    Together,
    TimeLimit,
    Trying,
}

const CURES: [(Cure, &str); 3] = [
    (Cure::Together, "no circle: both at once, in the order of their addresses, by `lock_all`"),
    (Cure::TimeLimit, "no waiting for ever: a time limit for the second, and the first is given back"),
    (Cure::Trying, "no waiting with a lock in hand: `try_lock`, and back-off for a time left to chance"),
];

/// Between two tries, so that the two do not come back together.
fn back_off() -> Backoff {
    Backoff::jittered(Duration::ZERO, Duration::from_millis(2)).forever()
}

/// Longer than the other needs, if it is not in a deadlock.
const SECOND_WITHIN: Duration = Duration::from_millis(2);

impl Cure {
    fn take_blocking(self, [first, second]: [&Lock<u32>; 2]) {
        let mut pauses = back_off().pauses();
        loop {
            if let Cure::Together = self {
                let [mut first, mut second] = lock_all_blocking([first, second]);
                (*first, *second) = (*first + 1, *second + 1);
                return;
            }
            let mut first = first.lock_blocking();
            let second = match self {
                Cure::TimeLimit => second.lock_timeout(SECOND_WITHIN).ok(),
                _ => second.try_lock().ok(),
            };
            if let Some(mut second) = second {
                (*first, *second) = (*first + 1, *second + 1);
                return;
            }
            drop(first);
            pauses.next().into_iter().for_each(thread::sleep);
        }
    }

    async fn take(self, [first, second]: [&Lock<u32>; 2]) {
        let mut pauses = back_off().pauses();
        loop {
            if let Cure::Together = self {
                let [mut first, mut second] = lock_all([first, second]).await;
                (*first, *second) = (*first + 1, *second + 1);
                return;
            }
            let mut first = first.lock().await;
            let second = match self {
                Cure::TimeLimit => wait_for(second.lock(), SECOND_WITHIN).await.ok(),
                _ => second.try_lock().ok(),
            };
            if let Some(mut second) = second {
                (*first, *second) = (*first + 1, *second + 1);
                return;
            }
            drop(first);
            sleep(pauses.next().unwrap_or_default()).await;
        }
    }
}

impl Halves for Plan {
    fn about(&self) -> String {
        format!(
            "Two take two locks in opposite order, and then {} times with each of three cures.",
            self.times
        )
    }

    fn threads(&self, story: &mut Story) {
        let in_vain = deadlock_blocking();
        tell_deadlock(story, in_vain.iter().all(|in_vain| *in_vain));
        for (cure, name) in CURES {
            let table = Table::new();
            each_thread(2, |who| (0..self.times).for_each(|_| cure.take_blocking(table.wanted(who))));
            tell_cure(story, self, name, table.counts());
        }
    }

    async fn tasks(self, story: &mut Story) {
        let (circle, waiting, after) = deadlock().await;
        tell_deadlock(story, waiting && circle.len() == 2 && after == [1, 1]);
        circle.iter().for_each(|link| story.note(link));
        for (cure, name) in CURES {
            let table = Arc::new(Table::new());
            let both = each_task(2, |who| {
                let table = table.clone();
                async move {
                    for _ in 0..self.times {
                        cure.take(table.wanted(who)).await;
                    }
                }
            });
            both.await;
            tell_cure(story, &self, name, table.counts());
        }
    }
}

fn tell_deadlock(story: &mut Story, found: bool) {
    story.part("One takes A and then B, the other B and then A, and each has its first");
    story.is("both wait for ever", found);
}

fn tell_cure(story: &mut Story, plan: &Plan, name: &str, counts: [u32; 2]) {
    story.part(name);
    story.equal("uses of each lock", counts, [2 * plan.times; 2]);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_found_and_cured() {
        story::assert_holds(Plan { times: 10 });
    }

    #[test]
    fn the_circle_names_tasks_and_lines_and_is_gone_when_one_is_aborted() {
        let runtime = crate::runtime(2).unwrap();
        runtime.block_on(async {
            let (circle, waiting, after) = deadlock().await;
            assert!(waiting);
            assert_eq!(after, [1, 1], "the one that is left got both");
            assert_eq!(circle.len(), 2);
            for (link, next) in [(0, 1), (1, 0)] {
                assert_eq!(circle[link].holder, circle[next].task);
                let text = circle[link].to_string();
                assert!(text.contains("deadlock.rs:") && text.contains("from "), "{text}");
            }
            assert!(find_cycle(&Handle::current().tasks()).is_none());
        });
    }

    #[test]
    fn who_waits_for_one_that_does_not_wait_is_in_no_circle() {
        let runtime = crate::runtime(1).unwrap();
        runtime.block_on(async {
            let lock = Arc::new(Lock::new(()));
            let held = lock.lock().await;
            let waits = filch::spawn({
                let lock = lock.clone();
                async move { drop(lock.lock().await) }
            });
            while lock.stats().waiting == 0 {
                filch::yield_now().await;
            }
            assert!(find_cycle(&Handle::current().tasks()).is_none());
            drop(held);
            waits.await.unwrap();
        });
    }
}
