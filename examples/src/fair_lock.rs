//! The demo `fair_lock`: first come, first served; and what becomes of those who leave the line.
//!
//! Owns the command line and both halves, and the guides' lock, made of an event for each waiter. `Lock::fair` does
//! what that does, and also serves those who come behind somebody who gave up.

use std::collections::VecDeque;
use std::ffi::OsString;
use std::process::ExitCode;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::Duration;

use filch::sync::{Event, Lock};
use filch::wait_for;

use crate::story::{self, Halves, Story};

pub(crate) const ABOUT: &str =
    "a lock that is first come, first served: the order, a greedy neighbour, and one who leaves the line";

/// A lock that serves in the order in which they came, on threads and on tasks.
///
/// Built by hand as in the guides, of an event for each who waits, and as filch has it. A greedy neighbour never gets
/// ahead in line; and one who gives up leaves the line, which the lock made by hand gets wrong.
#[derive(Debug, clap::Parser)]
#[command(name = "fair_lock")]
struct Args {
    #[command(flatten)]
    plan: Plan,
    /// How many worker threads the runtime has; 0 for one a CPU
    #[arg(long, default_value_t = 0)]
    workers: usize,
}

/// How many wait.
#[derive(Clone, Copy, Debug, clap::Args)]
pub struct Plan {
    /// How many stand in line
    #[arg(long, default_value_t = 8, value_parser = clap::value_parser!(u32).range(1..=256))]
    pub waiters: u32,
}

/// Runs the demo.
pub fn run(arguments: Vec<OsString>) -> ExitCode {
    match crate::parse::<Args>(arguments) {
        Ok(Args { plan, workers }) => story::run(plan, workers),
        Err(code) => code,
    }
}

/// How long the one who gives up waits. The lock is held all the while.
const PATIENCE: Duration = Duration::from_millis(5);

/// Longer than anything here takes.
const LONG: Duration = Duration::from_secs(60);

/// The guides' lock: whoever must wait puts an event of its own into a queue; whoever releases sets the first one.
#[derive(Default)]
struct HandMade {
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    locked: bool,
    line: VecDeque<Arc<Event>>,
}

impl HandMade {
    /// `None`: it is ours. Else what to wait for.
    fn acquire(&self) -> Option<Arc<Event>> {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        if !state.locked {
            state.locked = true;
            return None;
        }
        let event = Arc::new(Event::new());
        state.line.push_back(event.clone());
        Some(event)
    }

    /// Hands it to the first in line. It cannot know whether that one still waits.
    fn release(&self) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        match state.line.pop_front() {
            Some(event) => event.set(),
            None => state.locked = false,
        }
    }

    fn waiting(&self) -> usize {
        self.state.lock().unwrap_or_else(PoisonError::into_inner).line.len()
    }
}

impl Halves for Plan {
    fn about(&self) -> String {
        format!("{} stand in line for a lock, one after the other.", self.waiters)
    }

    fn threads(&self, story: &mut Story) {
        let (served, lock) = (Mutex::new(Vec::new()), HandMade::default());
        assert!(lock.acquire().is_none(), "the lock is new");
        thread::scope(|scope| {
            for who in 0..self.waiters {
                let (lock, served) = (&lock, &served);
                scope.spawn(move || {
                    if let Some(turn) = lock.acquire() {
                        turn.wait_blocking();
                    }
                    note(served, who);
                    lock.release();
                });
                wait_until(|| lock.waiting() > who as usize);
            }
            lock.release();
        });
        tell_order(story, self, "A lock made by hand, of an event for each in line", &served);

        let (served, lock) = (Mutex::new(Vec::new()), Lock::fair(()));
        let held = lock.lock_blocking();
        thread::scope(|scope| {
            for who in 0..self.waiters {
                let (lock, served) = (&lock, &served);
                scope.spawn(move || {
                    let _turn = lock.lock_blocking();
                    note(served, who);
                });
                wait_until(|| lock.stats().waiting > who as usize);
            }
            drop(held);
        });
        tell_order(story, self, "`Lock::fair`", &served);

        let overtaken = [Lock::fair(()), Lock::new(())].map(|lock| overtake_blocking(&lock));
        tell_greed(story, overtaken);

        tell_leaving(story, leave_hand_made_blocking(), leave_blocking(&Lock::fair(())));
    }

    async fn tasks(self, story: &mut Story) {
        let (served, lock) = (Arc::new(Mutex::new(Vec::new())), Arc::new(HandMade::default()));
        assert!(lock.acquire().is_none(), "the lock is new");
        let mut waiters = Vec::new();
        for who in 0..self.waiters {
            let (lock, served) = (lock.clone(), served.clone());
            let in_line = lock.clone();
            waiters.push(filch::spawn(async move {
                if let Some(turn) = lock.acquire() {
                    turn.wait().await;
                }
                note(&served, who);
                lock.release();
            }));
            yield_until(|| in_line.waiting() > who as usize).await;
        }
        lock.release();
        join(waiters).await;
        tell_order(story, &self, "A lock made by hand, of an event for each in line", &served);

        let (served, lock) = (Arc::new(Mutex::new(Vec::new())), Arc::new(Lock::fair(())));
        let held = lock.lock().await;
        let mut waiters = Vec::new();
        for who in 0..self.waiters {
            let (waiter, served) = (lock.clone(), served.clone());
            waiters.push(filch::spawn(async move {
                let _turn = waiter.lock().await;
                note(&served, who);
            }));
            yield_until(|| lock.stats().waiting > who as usize).await;
        }
        drop(held);
        join(waiters).await;
        tell_order(story, &self, "`Lock::fair`", &served);

        let overtaken = [overtake(Lock::fair(())).await, overtake(Lock::new(())).await];
        tell_greed(story, overtaken);

        tell_leaving(story, leave_hand_made().await, leave(Lock::fair(())).await);
    }
}

/// How often somebody who locks again at once gets the lock while another waits for it.
///
/// It yields while it has the lock, so that the other finds it taken.
fn overtake_blocking(lock: &Lock<()>) -> u32 {
    let (held, served) = (lock.lock_blocking(), AtomicBool::new(false));
    thread::scope(|scope| {
        scope.spawn(|| {
            let _turn = lock.lock_blocking();
            served.store(true, Ordering::Relaxed);
        });
        wait_until(|| lock.stats().waiting == 1);
        drop(held);
        let mut overtaken = 0;
        loop {
            let _greedy = lock.lock_blocking();
            // Its store came before it gave back the lock that we have now.
            if served.load(Ordering::Relaxed) {
                return overtaken;
            }
            overtaken += 1;
            thread::yield_now();
        }
    })
}

async fn overtake(lock: Lock<()>) -> u32 {
    let shared = Arc::new((lock, AtomicBool::new(false)));
    let (lock, served) = (&shared.0, &shared.1);
    let held = lock.lock().await;
    let waiter = filch::spawn({
        let shared = shared.clone();
        async move {
            let _turn = shared.0.lock().await;
            shared.1.store(true, Ordering::Relaxed);
        }
    });
    yield_until(|| lock.stats().waiting == 1).await;
    drop(held);
    let mut overtaken = 0;
    loop {
        let greedy = lock.lock().await;
        if served.load(Ordering::Relaxed) {
            break;
        }
        overtaken += 1;
        filch::yield_now().await;
        drop(greedy);
    }
    join(vec![waiter]).await;
    overtaken
}

/// Whether the first in line could give up, and whether the next was served.
type Left = (bool, bool);

fn leave_hand_made_blocking() -> Left {
    let lock = HandMade::default();
    assert!(lock.acquire().is_none(), "the lock is new");
    let first = lock.acquire().expect("it is taken");
    let gave_up = !first.wait_timeout(PATIENCE);
    let next = lock.acquire().expect("it is taken");
    lock.release();
    (gave_up, next.is_set())
}

async fn leave_hand_made() -> Left {
    let lock = HandMade::default();
    assert!(lock.acquire().is_none(), "the lock is new");
    let first = lock.acquire().expect("it is taken");
    let gave_up = wait_for(first.wait(), PATIENCE).await.is_err();
    let next = lock.acquire().expect("it is taken");
    lock.release();
    (gave_up, next.is_set())
}

fn leave_blocking(lock: &Lock<()>) -> Left {
    let held = lock.lock_blocking();
    let gave_up = lock.lock_timeout(PATIENCE).is_err();
    thread::scope(|scope| {
        let next = scope.spawn(|| lock.lock_timeout(LONG).is_ok());
        wait_until(|| lock.stats().waiting == 1);
        drop(held);
        (gave_up, next.join().expect("no thread panics"))
    })
}

async fn leave(lock: Lock<()>) -> Left {
    let lock = Arc::new(lock);
    let held = lock.lock().await;
    let gave_up = wait_for(lock.lock(), PATIENCE).await.is_err();
    let next = filch::spawn({
        let lock = lock.clone();
        async move { wait_for(lock.lock(), LONG).await.is_ok() }
    });
    yield_until(|| lock.stats().waiting == 1).await;
    drop(held);
    (gave_up, next.await.expect("no task panics"))
}

fn note(served: &Mutex<Vec<u32>>, who: u32) {
    served.lock().unwrap_or_else(PoisonError::into_inner).push(who);
}

fn wait_until(so: impl Fn() -> bool) {
    while !so() {
        thread::yield_now();
    }
}

async fn yield_until(so: impl Fn() -> bool) {
    while !so() {
        filch::yield_now().await;
    }
}

async fn join(tasks: Vec<filch::JoinHandle<()>>) {
    for task in tasks {
        task.await.expect("no task panics");
    }
}

fn tell_order(story: &mut Story, plan: &Plan, title: &str, served: &Mutex<Vec<u32>>) {
    story.part(title);
    let served = std::mem::take(&mut *served.lock().unwrap_or_else(PoisonError::into_inner));
    story.equal("served", served, (0..plan.waiters).collect());
}

fn tell_greed(story: &mut Story, [fair, plain]: [u32; 2]) {
    story.part("One waits while another locks again and again");
    story.equal("`Lock::fair`: the greedy one gets ahead so often", fair, 0);
    story.note(format_args!("`Lock::new`: {plain} times, as it spares a switch for each, but not for ever"));
}

fn tell_leaving(story: &mut Story, hand_made: Left, fair: Left) {
    story.part("The first in line gives up, another comes, and the lock is released");
    story.equal(
        "the lock made by hand lets it go, but is handed to it and not to the next",
        hand_made,
        (true, false),
    );
    story.equal("`Lock::fair` lets it go, and serves the next", fair, (true, true));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_line_is_kept() {
        for waiters in [1, 2, 8] {
            story::assert_holds(Plan { waiters });
        }
    }
}
