//! The demo `readers_writers`: many who read at a time, or one who writes, and who of them goes first.
//!
//! Owns the command line and both halves. The guides' lock lets readers in always, so that writers starve; here that
//! is one of three policies of `RwLock`, and each is shown at work.

use std::ffi::OsString;
use std::process::ExitCode;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::Duration;

use filch::sync::{Barrier, RwLock, RwLockPolicy, RwLockUpgradableReadGuard, Semaphore};
use filch::wait_for;
use futures_lite::future::block_on;

use crate::story::{self, Halves, Story, each_task, each_thread, once_in_line};

pub(crate) const ABOUT: &str =
    "many read or one writes: fair, readers first, writers first; and how to go from reading to writing";

/// Many read a value at a time, or one writes it, on threads and on tasks.
///
/// Readers are in together and never see half of a write. Then the policies: who is served in which order, and
/// whether a writer starves while readers keep coming. At last, many find an entry missing and only one fills it in.
#[derive(Debug, clap::Parser)]
#[command(name = "readers_writers")]
struct Args {
    #[command(flatten)]
    plan: Plan,
    /// How many worker threads the runtime has; 0 for one a CPU
    #[arg(long, default_value_t = 0)]
    workers: usize,
}

/// How many read and write.
#[derive(Clone, Copy, Debug, clap::Args)]
pub struct Plan {
    /// How many readers there are
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..=128))]
    pub readers: u32,
    /// How many writers there are
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..=128))]
    pub writers: u32,
    /// How often each of them does
    #[arg(long, default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..=100_000))]
    pub times: u32,
}

/// Runs the demo.
pub fn run(arguments: Vec<OsString>) -> ExitCode {
    match crate::parse::<Args>(arguments) {
        Ok(Args { plan, workers }) => story::run(plan, workers),
        Err(code) => code,
    }
}

const POLICIES: [RwLockPolicy; 3] =
    [RwLockPolicy::Fair, RwLockPolicy::ReadersFirst, RwLockPolicy::WritersFirst];

/// In this order they get in line behind a writer: `R` wants to read, `W` to write.
const LINE: [char; 4] = ['W', 'R', 'W', 'R'];

/// How long a writer waits that is expected to starve, and one that is not.
const PATIENCE: Duration = Duration::from_millis(10);
const LONG: Duration = Duration::from_secs(60);

/// A value of two halves, which are equal but for the moment of a write.
#[derive(Default)]
struct Shared {
    value: RwLock<(u64, u64)>,
    reading: AtomicU32,
    reading_max: AtomicU32,
    /// How often a reader found the halves unequal, or a writer found a reader.
    wrong: AtomicU32,
}

impl Shared {
    fn read_blocking(&self, meanwhile: impl FnOnce()) {
        let value = self.value.read_blocking();
        self.begin_read(&value);
        meanwhile();
        self.reading.fetch_sub(1, Ordering::Relaxed);
    }

    async fn read<F: Future<Output = ()>>(&self, meanwhile: impl FnOnce() -> F) {
        let value = self.value.read().await;
        self.begin_read(&value);
        meanwhile().await;
        self.reading.fetch_sub(1, Ordering::Relaxed);
    }

    fn write_blocking(&self) {
        let mut value = self.value.write_blocking();
        self.begin_write();
        value.0 += 1;
        thread::yield_now();
        value.1 += 1;
    }

    async fn write(&self) {
        let mut value = self.value.write().await;
        self.begin_write();
        value.0 += 1;
        filch::yield_now().await;
        value.1 += 1;
    }

    fn begin_read(&self, value: &(u64, u64)) {
        let reading = 1 + self.reading.fetch_add(1, Ordering::Relaxed);
        self.reading_max.fetch_max(reading, Ordering::Relaxed);
        self.wrong.fetch_add(u32::from(value.0 != value.1), Ordering::Relaxed);
    }

    fn begin_write(&self) {
        let reading = self.reading.load(Ordering::Relaxed);
        self.wrong.fetch_add(u32::from(reading != 0), Ordering::Relaxed);
    }
}

impl Halves for Plan {
    fn about(&self) -> String {
        let Plan { readers, writers, times } = self;
        format!("{readers} read a value {times} times each, while {writers} write it {times} times each.")
    }

    fn threads(&self, story: &mut Story) {
        let shared = Shared::default();
        let together = Barrier::new(self.readers as usize);
        // Without a writer: one in line would keep out those who have not come yet, and all would wait for ever.
        each_thread(self.readers, |_| {
            shared.read_blocking(|| {
                together.wait_blocking();
            });
        });
        each_thread(self.readers + self.writers, |who| {
            for _ in 0..self.times {
                if who < self.readers { shared.read_blocking(|| {}) } else { shared.write_blocking() }
            }
        });
        tell_access(story, self, &shared);

        tell_line(story, POLICIES.map(line_of_threads));

        let starved = overlap_blocking(RwLockPolicy::ReadersFirst, PATIENCE);
        tell_starving(story, overlap_blocking(RwLockPolicy::Fair, LONG), starved);

        let (cache, all_looked) = (RwLock::new(0), Barrier::new(self.readers as usize));
        each_thread(self.readers, |_| {
            if *cache.read_blocking() == 0 {
                all_looked.wait_blocking();
                *cache.write_blocking() += 1;
            }
        });
        let filled = *cache.read_blocking();
        *cache.write_blocking() = 0;
        let own = each_thread(self.readers, |_| {
            let seen = cache.upgradable_read_blocking();
            (*seen == 0).then(|| {
                let mut entry = RwLockUpgradableReadGuard::upgrade_blocking(seen);
                *entry += 1;
                *entry.downgrade()
            })
        });
        tell_upgrade(story, self, filled, own);
    }

    async fn tasks(self, story: &mut Story) {
        let shared = Arc::new(Shared::default());
        let together = Arc::new(Barrier::new(self.readers as usize));
        let meeting = each_task(self.readers, |_| {
            let (shared, together) = (shared.clone(), together.clone());
            async move {
                let meets = async || _ = together.wait().await;
                shared.read(meets).await
            }
        });
        meeting.await;
        let all = each_task(self.readers + self.writers, |who| {
            let shared = shared.clone();
            async move {
                for _ in 0..self.times {
                    if who < self.readers { shared.read(async || {}).await } else { shared.write().await }
                }
            }
        });
        all.await;
        tell_access(story, &self, &shared);

        let [fair, readers, writers] = POLICIES;
        let lines = [line_of_tasks(fair).await, line_of_tasks(readers).await, line_of_tasks(writers).await];
        tell_line(story, lines);

        let starved = overlap(RwLockPolicy::ReadersFirst, PATIENCE).await;
        tell_starving(story, overlap(RwLockPolicy::Fair, LONG).await, starved);

        let cache = Arc::new((RwLock::new(0), Barrier::new(self.readers as usize)));
        let all = each_task(self.readers, |_| {
            let cache = cache.clone();
            async move {
                // The guard of this look is gone before the body runs.
                let missing = *cache.0.read().await == 0;
                if missing {
                    cache.1.wait().await;
                    *cache.0.write().await += 1;
                }
            }
        });
        all.await;
        let filled = *cache.0.read().await;
        *cache.0.write().await = 0;
        let own = each_task(self.readers, |_| {
            let cache = cache.clone();
            async move {
                let seen = cache.0.upgradable_read().await;
                if *seen != 0 {
                    return None;
                }
                let mut entry = RwLockUpgradableReadGuard::upgrade(seen).await;
                *entry += 1;
                Some(*entry.downgrade())
            }
        });
        tell_upgrade(story, &self, filled, own.await);
    }
}

/// Those of [`LINE`] get in line while somebody writes. In which order are they served?
fn line_of_threads(policy: RwLockPolicy) -> String {
    let (lock, in_line) = (RwLock::with_policy((), policy), Semaphore::new(0));
    let served = Mutex::new(String::new());
    let held = lock.write_blocking();
    thread::scope(|scope| {
        for who in LINE {
            let (lock, in_line, served) = (&lock, &in_line, &served);
            // A thread may block on a task's form too. So it can say when it is in line.
            scope.spawn(move || block_on(get_in_line(who, lock, in_line, served)));
            next_is_in_line(in_line.acquire_blocking());
        }
        drop(held);
    });
    served.into_inner().unwrap_or_else(PoisonError::into_inner)
}

async fn line_of_tasks(policy: RwLockPolicy) -> String {
    let shared = Arc::new((RwLock::with_policy((), policy), Semaphore::new(0), Mutex::default()));
    let held = shared.0.write().await;
    let mut tasks = Vec::new();
    for who in LINE {
        let all = shared.clone();
        tasks.push(filch::spawn(async move { get_in_line(who, &all.0, &all.1, &all.2).await }));
        next_is_in_line(shared.1.acquire().await);
    }
    drop(held);
    for task in tasks {
        task.await.expect("no task panics");
    }
    shared.2.lock().unwrap_or_else(PoisonError::into_inner).clone()
}

async fn get_in_line(who: char, lock: &RwLock<()>, in_line: &Semaphore, served: &Mutex<String>) {
    let note = || served.lock().unwrap_or_else(PoisonError::into_inner).push(who);
    if who == 'R' {
        let _guard = once_in_line(lock.read(), || in_line.add_permits(1)).await;
        note();
    } else {
        let _guard = once_in_line(lock.write(), || in_line.add_permits(1)).await;
        note();
    }
}

fn next_is_in_line(permit: Result<filch::sync::SemaphorePermit<'_>, filch::sync::AcquireError>) {
    permit.expect("nobody closes it").forget();
}

/// Readers overlap, so that there is always one, until a newcomer is kept out or the writer gives up. Was a reader
/// kept out, and did the writer get the lock?
fn overlap_blocking(policy: RwLockPolicy, patience: Duration) -> (bool, bool) {
    let lock = RwLock::with_policy((), policy);
    let mut reader = lock.read_blocking();
    thread::scope(|scope| {
        let writer = scope.spawn(|| lock.write_timeout(patience).is_ok());
        let mut kept_out = false;
        while !kept_out && !writer.is_finished() {
            match lock.try_read() {
                // Only now does the one before leave.
                Ok(next) => reader = next,
                Err(_) => kept_out = true,
            }
            thread::yield_now();
        }
        drop(reader);
        (kept_out, writer.join().expect("no thread panics"))
    })
}

async fn overlap(policy: RwLockPolicy, patience: Duration) -> (bool, bool) {
    let lock = Arc::new(RwLock::with_policy((), policy));
    let mut reader = lock.read().await;
    let writer = filch::spawn({
        let lock = lock.clone();
        async move { wait_for(lock.write(), patience).await.is_ok() }
    });
    let mut kept_out = false;
    while !kept_out && !writer.is_finished() {
        match lock.try_read() {
            Ok(next) => reader = next,
            Err(_) => kept_out = true,
        }
        filch::yield_now().await;
    }
    drop(reader);
    (kept_out, writer.await.expect("no task panics"))
}

fn tell_access(story: &mut Story, plan: &Plan, shared: &Shared) {
    story.part("Many read at a time, or one writes");
    let value = *shared.value.try_read().expect("all are done");
    let written = u64::from(plan.writers) * u64::from(plan.times);
    story.equal("most readers at a time", shared.reading_max.load(Ordering::Relaxed), plan.readers);
    story.equal("half a write seen, or a reader beside a writer", shared.wrong.load(Ordering::Relaxed), 0);
    story.equal("both halves of the value, a write each", value, (written, written));
}

fn tell_line(story: &mut Story, served: [String; 3]) {
    let came: String = LINE.iter().collect();
    story.part(format_args!("In line behind a writer came {came}; served are"));
    let [fair, readers, writers] = served.each_ref().map(String::as_str);
    story.equal("fair", fair, "WRWR");
    story.equal("readers first", readers, "RRWW");
    story.equal("writers first", writers, "WWRR");
}

fn tell_starving(story: &mut Story, fair: (bool, bool), readers_first: (bool, bool)) {
    story.part("A writer waits while readers keep coming: is a reader kept out, is the writer served?");
    story.equal("fair", fair, (true, true));
    story.equal("readers first, until the writer gives up", readers_first, (false, false));
}

fn tell_upgrade(story: &mut Story, plan: &Plan, filled: u32, own: Vec<Option<u32>>) {
    story.part("All look for an entry, and fill it in if it is missing");
    story.equal("filled in, when each looks as a reader and then writes", filled, plan.readers);
    let own: Vec<_> = own.into_iter().flatten().collect();
    story.equal("filled in and read back, when each upgrades", own, vec![1]);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn readers_and_writers_keep_apart() {
        for (readers, writers, times) in [(5, 3, 50), (1, 1, 10), (8, 1, 20), (2, 6, 20)] {
            story::assert_holds(Plan { readers, writers, times });
        }
    }
}
