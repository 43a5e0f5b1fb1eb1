//! The demo `starvation`: somebody who never gets a turn, and what gives it one.
//!
//! Owns the command line and both halves. Three ways to starve: behind a stream of what is more urgent, behind somebody
//! who takes a lock again as soon as it is free, and behind a task that always has something to do.
#![forbid(unsafe_code)]

use std::ffi::OsString;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering::Relaxed};
use std::thread;

use filch::sync::{Lock, PriorityQueue};

use crate::story::{self, Halves, Story, Threads};

pub(crate) const ABOUT: &str =
    "who never gets a turn: behind urgent jobs, a greedy neighbour, a busy task; ageing and fairness end it";

/// A job that is not urgent, among jobs that are; a patient neighbour of a greedy one; a task beside one that never
/// waits.
///
/// A queue that minds the age of its jobs lets the first one through after so many others, a fair lock goes by the
/// line, and a task that always has something to do makes room for the others all the same.
#[derive(Debug, clap::Parser)]
#[command(name = "starvation")]
struct Args {
    #[command(flatten)]
    plan: Plan,
    /// How many worker threads the runtime has; 0 for one a CPU
    #[arg(long, default_value_t = 0)]
    workers: usize,
}

/// How much there is of what is more urgent.
#[derive(Clone, Copy, Debug, clap::Args)]
pub struct Plan {
    /// How many urgent jobs come, a new one whenever one is done
    #[arg(long, default_value_t = 1_000, value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    pub urgent: u32,
    /// How many others may overtake a job in the queue that minds their age
    #[arg(long, default_value_t = 10, value_parser = clap::value_parser!(u32).range(0..=1_000_000))]
    pub age: u32,
}

/// Runs the demo.
pub fn run(arguments: Vec<OsString>) -> ExitCode {
    match crate::parse::<Args>(arguments) {
        Ok(Args { plan, workers }) => story::run(plan, workers),
        Err(code) => code,
    }
}

const URGENT: u8 = 0;
const PATIENT: u8 = 1;

impl Plan {
    /// The queue: a job that is not urgent, and one that is.
    fn begin(self, ageing: bool) -> PriorityQueue<u8> {
        let queue = PriorityQueue::new(0);
        let queue = if ageing { queue.with_ageing(self.age.into()) } else { queue };
        for job in [PATIENT, URGENT] {
            queue.try_put(job).expect("there is room, and it is open");
        }
        queue
    }

    /// After a job: another one that is urgent comes, unless there were enough.
    fn after(self, queue: &PriorityQueue<u8>, done: u32) {
        if done < self.urgent {
            queue.try_put(URGENT).expect("there is room, and it is open");
        }
    }

    /// How many overtake the patient one, if each may that is urgent.
    fn overtaken(self, ageing: bool) -> u32 {
        if ageing { self.age.min(self.urgent) } else { self.urgent }
    }

    fn tell_queue(self, story: &mut Story, [plain, ageing]: [u32; 2]) {
        story.part("A job that is not urgent, in a queue of those that are");
        story.equal("all of them overtake it", plain, self.overtaken(false));
        story.equal("so many, if the queue minds their age", ageing, self.overtaken(true));
    }

    fn tell_lock(self, story: &mut Story, fair: u32, plain: u32) {
        story.part("One waits for a lock that another takes again and again");
        story.equal("the fair lock: so often the greedy one gets ahead", fair, 0);
        story.holds("the plain lock: so often, and not for ever", plain < 1_000_000, plain);
    }
}

impl Halves for Plan {
    const THREADS: Threads = Threads::Some;
    const VIRTUAL: bool = true;

    fn about(&self) -> String {
        format!("{} urgent jobs, and one that is not.", self.urgent)
    }

    fn threads(&self, story: &mut Story) {
        let overtaken = [false, true].map(|ageing| {
            let queue = self.begin(ageing);
            let mut done = 0;
            while queue.get_blocking().expect("it is open") == URGENT {
                done += 1;
                self.after(&queue, done);
            }
            done
        });
        self.tell_queue(story, overtaken);
        self.tell_lock(story, greedy_blocking(&Lock::fair(())), greedy_blocking(&Lock::new(())));
    }

    async fn tasks(self, story: &mut Story) {
        let mut overtaken = [0; 2];
        for (done, ageing) in overtaken.iter_mut().zip([false, true]) {
            let queue = self.begin(ageing);
            while queue.get().await.expect("it is open") == URGENT {
                *done += 1;
                self.after(&queue, *done);
            }
        }
        self.tell_queue(story, overtaken);
        self.tell_lock(story, greedy(Lock::fair(())).await, greedy(Lock::new(())).await);
        busy(story).await;
    }
}

/// How often somebody who locks again at once gets ahead of one who waits. It yields while it has the lock, so that the
/// other finds it taken.
fn greedy_blocking(lock: &Lock<()>) -> u32 {
    let (held, served) = (lock.lock_blocking(), AtomicBool::new(false));
    thread::scope(|scope| {
        scope.spawn(|| {
            let _turn = lock.lock_blocking();
            served.store(true, Relaxed);
        });
        while lock.stats().waiting == 0 {
            thread::yield_now();
        }
        drop(held);
        let mut ahead = 0;
        loop {
            let _turn = lock.lock_blocking();
            // Its store came before it gave back the lock that we have now.
            if served.load(Relaxed) {
                return ahead;
            }
            ahead += 1;
            thread::yield_now();
        }
    })
}

async fn greedy(lock: Lock<()>) -> u32 {
    let shared = Arc::new((lock, AtomicBool::new(false)));
    let held = shared.0.lock().await;
    let waiter = filch::spawn({
        let shared = shared.clone();
        async move {
            let _turn = shared.0.lock().await;
            shared.1.store(true, Relaxed);
        }
    });
    while shared.0.stats().waiting == 0 {
        filch::yield_now().await;
    }
    drop(held);
    let mut ahead = 0;
    loop {
        let turn = shared.0.lock().await;
        if shared.1.load(Relaxed) {
            break;
        }
        ahead += 1;
        filch::yield_now().await;
        drop(turn);
    }
    waiter.await.expect("no task panics");
    ahead
}

/// A task that takes a lock which is always free never waits; on the one thread here, the other gets its turn only if
/// the first one is made to make room.
async fn busy(story: &mut Story) {
    let (stop, done) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU32::new(0)));
    let (told, counted) = (stop.clone(), done.clone());
    let busy = filch::spawn(async move {
        let lock = Lock::new(());
        while !told.load(Relaxed) {
            drop(lock.lock().await);
            counted.fetch_add(1, Relaxed);
        }
    });
    while done.load(Relaxed) == 0 {
        filch::yield_now().await;
    }
    stop.store(true, Relaxed);
    busy.await.expect("no task panics");
    let done = done.load(Relaxed);
    story.part("A task beside one that always has something to do, on one thread");
    story.holds("it gets its turn, after so many operations of the other", done <= 1_000, done);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nobody_starves_where_it_was_promised() {
        for (urgent, age) in [(1_000, 10), (1, 0), (5, 100)] {
            story::assert_holds(Plan { urgent, age });
        }
    }
}
