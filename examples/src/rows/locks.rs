//! Rows 35 to 41 and 48 to 51: locks, who may take them again, in which order, and semaphores.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread;

use filch::sync::{Lock, RLock, Semaphore, lock_all, lock_all_blocking};
use filch::time::sleep;
use filch::{Backoff, Handle, TaskInfo, WaitKind, holder_of, wait_for};

use super::Half::{Tasks, Threads};
use super::help::{
    BRIEFLY, LONG, Log, demo_on_tasks, demo_on_threads, ms, on_tasks, paused, seeded, yield_until,
};
use super::{Check, row};
use crate::fair_lock;
use crate::story::{Story, each_task, each_thread};

pub(super) const CHECKS: &[Check] = &[
    row(35, Threads, lock_on_threads),
    row(35, Tasks, lock),
    row(36, Threads, acquire_in_time_on_threads),
    row(36, Tasks, acquire_in_time),
    row(37, Tasks, held_across_await),
    row(38, Threads, rlock_on_threads),
    row(38, Tasks, rlock),
    row(39, Threads, recursion_on_threads),
    row(39, Tasks, recursion),
    row(40, Threads, semaphore_on_threads),
    row(40, Tasks, semaphore),
    row(41, Threads, bounded_semaphore_on_threads),
    row(41, Tasks, bounded_semaphore),
    row(48, Threads, fair_lock_on_threads),
    row(48, Tasks, fair_lock_on_tasks),
    row(49, Threads, back_off_on_threads),
    row(49, Tasks, back_off),
    row(50, Threads, in_order_on_threads),
    row(50, Tasks, in_order),
    row(51, Threads, ranks_on_threads),
    row(51, Tasks, ranks),
];

fn lock_on_threads(story: &mut Story) {
    let count = Lock::new(0);
    each_thread(4, |_| {
        for _ in 0..100 {
            let mut held = count.lock_blocking();
            let before = *held;
            thread::yield_now();
            *held = before + 1;
        }
    });
    story.equal("4 read, yield and write 100 times: nobody comes between", *count.lock_blocking(), 400);
    let held = count.lock_blocking();
    story.is("its holder does not get it a second time", count.lock_timeout(BRIEFLY).is_err());
    // Not `unlock` by anyone: the guard is the right to do so, and can be handed over.
    thread::scope(|scope| scope.spawn(move || drop(held)).join().expect("no panic"));
    story.is("another thread may release it, who is given the guard", count.try_lock().is_ok());
}

fn lock(story: &mut Story) {
    on_tasks(async {
        let count = Arc::new(Lock::new(0));
        let counting = each_task(4, |_| {
            let count = count.clone();
            async move {
                for _ in 0..100 {
                    let mut held = count.lock().await;
                    let before = *held;
                    filch::yield_now().await;
                    *held = before + 1;
                }
            }
        });
        counting.await;
        story.equal("4 read, yield and write 100 times: nobody comes between", *count.lock().await, 400);
        let held = count.clone().lock_owned().await;
        story.is("its holder does not get it a second time", wait_for(count.lock(), BRIEFLY).await.is_err());
        filch::spawn(async move { drop(held) }).await.expect("no panic");
        story.is("another task may release it, which is given the guard", count.try_lock().is_ok());
    });
}

fn acquire_in_time_on_threads(story: &mut Story) {
    let lock = Lock::new(());
    let held = lock.lock_blocking();
    let refused = thread::scope(|scope| scope.spawn(|| lock.lock_timeout(BRIEFLY).is_err()).join());
    story.is("the time is up, and it is refused", refused.expect("no panic"));
    story.equal("who gave up is not in line any more", lock.stats().waiting, 0);
    drop(held);
    story.is("and does not get it when it is released: others do", lock.lock_timeout(LONG).is_ok());
}

fn acquire_in_time(story: &mut Story) {
    paused(async {
        let lock = Lock::new(());
        let held = lock.lock().await;
        story.is("the time is up, and it is refused", wait_for(lock.lock(), ms(1_000)).await.is_err());
        story.equal("who gave up is not in line any more", lock.stats().waiting, 0);
        drop(held);
        story.is("and does not get it when it is released: others do", lock.try_lock().is_ok());
    });
}

fn held_across_await(story: &mut Story) {
    let (log, lock) = (Log::default(), Arc::new(Lock::fair(())));
    paused(async {
        let held = lock.lock().await;
        let mut tasks = Vec::new();
        for who in 0..4 {
            let (lock, log) = (lock.clone(), log.clone());
            let waiting = lock.clone();
            tasks.push(filch::spawn(async move {
                let _held = lock.lock().await;
                log.note(format_args!("{who}("));
                sleep(ms(10)).await;
                log.note(format_args!("){who}"));
            }));
            yield_until(|| waiting.stats().waiting > who).await;
        }
        drop(held);
        for task in tasks {
            task.await.expect("no panic");
        }
    });
    let expected = "0( )0 1( )1 2( )2 3( )3";
    story.equal("each in turn keeps it while it sleeps", log.told().as_str(), expected);
}

fn rlock_on_threads(story: &mut Story) {
    let lock = RLock::new(AtomicU32::new(0));
    let others_get_it =
        || thread::scope(|scope| scope.spawn(|| lock.try_lock().is_ok()).join()).expect("no panic");
    let outer = lock.lock_blocking();
    let inner = lock.lock_blocking();
    inner.fetch_add(1, Ordering::Relaxed);
    story.equal("its owner takes it again; taken so often", lock.depth(), 2);
    story.is("others do not get it", !others_get_it());
    drop(inner);
    story.equal("released once, it is taken once", lock.depth(), 1);
    story.is("and others do not get it", !others_get_it());
    drop(outer);
    story.is("released as often as it was taken, others do", others_get_it());
}

fn rlock(story: &mut Story) {
    on_tasks(async {
        let lock = Arc::new(RLock::new(AtomicU32::new(0)));
        let others_get_it = async || {
            let lock = lock.clone();
            filch::spawn(async move { lock.try_lock().is_ok() }).await.expect("no panic")
        };
        let outer = lock.lock().await.expect("under filch it is never refused");
        let inner = lock.lock().await.expect("under filch it is never refused");
        inner.fetch_add(1, Ordering::Relaxed);
        story.equal("its owner takes it again; taken so often", lock.depth(), 2);
        story.is("others do not get it", !others_get_it().await);
        drop(inner);
        story.equal("released once, it is taken once", lock.depth(), 1);
        story.is("and others do not get it", !others_get_it().await);
        drop(outer);
        story.is("released as often as it was taken, others do", others_get_it().await);
    });
}

fn recursion_on_threads(story: &mut Story) {
    fn with_rlock(lock: &RLock<()>, n: u64) -> u64 {
        let _held = lock.lock_blocking();
        if n < 2 { 1 } else { n * with_rlock(lock, n - 1) }
    }
    fn with_lock(lock: &Lock<()>, n: u64) -> Option<u64> {
        // Without the limit it would hang here, the second time.
        let _held = lock.lock_timeout(BRIEFLY).ok()?;
        if n < 2 { Some(1) } else { with_lock(lock, n - 1).map(|rest| n * rest) }
    }
    story.equal("5! under an RLock", with_rlock(&RLock::new(()), 5), 120);
    story.equal(
        "under a Lock the second call waits for the first, until the time is up",
        with_lock(&Lock::new(()), 5),
        None,
    );
}

fn recursion(story: &mut Story) {
    async fn with_rlock(lock: &RLock<()>, n: u64) -> u64 {
        let _held = lock.lock().await.expect("under filch it is never refused");
        if n < 2 { 1 } else { n * Box::pin(with_rlock(lock, n - 1)).await }
    }
    async fn with_lock(lock: &Lock<()>, n: u64) -> u64 {
        let _held = lock.lock().await;
        if n < 2 { 1 } else { n * Box::pin(with_lock(lock, n - 1)).await }
    }
    paused(async {
        story.equal("5! under an RLock", with_rlock(&RLock::new(()), 5).await, 120);
        let hangs = filch::spawn(async { with_lock(&Lock::new(()), 5).await });
        sleep(ms(10)).await;
        let known = Handle::current().tasks().into_iter().find(|task| task.id == hangs.id());
        let waits =
            |task: &TaskInfo| (task.wait, holder_of(task.wait_resource).and_then(|holder| holder.task));
        let found = known.as_ref().map(waits);
        story.equal(
            "under a Lock it hangs, and the report says on whom",
            found,
            Some((WaitKind::Lock, known.map(|task| task.id.as_u64()))),
        );
        hangs.abort();
    });
}

fn semaphore_on_threads(story: &mut Story) {
    let (permits, inside, most) = (Semaphore::new(2), AtomicU32::new(0), AtomicU32::new(0));
    each_thread(6, |_| {
        let _permit = permits.acquire_blocking().expect("nobody closes it");
        most.fetch_max(inside.fetch_add(1, Ordering::Relaxed) + 1, Ordering::Relaxed);
        thread::yield_now();
        inside.fetch_sub(1, Ordering::Relaxed);
    });
    story.holds(
        "of 6, at most 2 are inside",
        most.load(Ordering::Relaxed) <= 2,
        most.load(Ordering::Relaxed),
    );
    let both = [permits.acquire_blocking(), permits.acquire_blocking()];
    story.equal("each acquire takes one", (both.len(), permits.available_permits()), (2, 0));
    story.is("at 0 they wait", permits.acquire_timeout(BRIEFLY).is_err());
    permits.add_permits(1);
    story.is("anybody may release, who never acquired", permits.try_acquire().is_ok());
    drop(both);
    story.equal("so that there are more than at first", permits.available_permits(), 3);
}

fn semaphore(story: &mut Story) {
    on_tasks(async {
        let shared = Arc::new((Semaphore::new(2), AtomicU32::new(0), AtomicU32::new(0)));
        let all = each_task(6, |_| {
            let shared = shared.clone();
            async move {
                let (permits, inside, most) = &*shared;
                let _permit = permits.acquire().await.expect("nobody closes it");
                most.fetch_max(inside.fetch_add(1, Ordering::Relaxed) + 1, Ordering::Relaxed);
                filch::yield_now().await;
                inside.fetch_sub(1, Ordering::Relaxed);
            }
        });
        all.await;
        let (permits, most) = (&shared.0, shared.2.load(Ordering::Relaxed));
        story.holds("of 6, at most 2 are inside", most <= 2, most);
        let both = [permits.acquire().await, permits.acquire().await];
        story.equal("each acquire takes one", (both.len(), permits.available_permits()), (2, 0));
        story.is("at 0 they wait", wait_for(permits.acquire(), BRIEFLY).await.is_err());
        permits.add_permits(1);
        story.is("anybody may release, who never acquired", permits.try_acquire().is_ok());
        drop(both);
        story.equal("so that there are more than at first", permits.available_permits(), 3);
    });
}

fn bounded_semaphore_on_threads(story: &mut Story) {
    let permits = Semaphore::new(1);
    for _ in 0..10 {
        // A permit is given back by being dropped, once: there is no second release to forget or to do twice.
        drop(permits.acquire_blocking());
    }
    story.equal("ten are taken and given back: there is still one", permits.available_permits(), 1);
    let held = permits.acquire_blocking().expect("nobody closes it");
    thread::scope(|scope| scope.spawn(move || drop(held)).join().expect("no panic"));
    story.equal("as binary semaphore it is given back by another thread", permits.available_permits(), 1);
    let mutex = Lock::new(());
    let held = mutex.lock_blocking();
    let by_others = thread::scope(|scope| scope.spawn(|| mutex.try_lock().is_ok()).join());
    story.equal("while nobody without the guard frees a mutex", by_others.ok(), Some(false));
    drop(held);
}

fn bounded_semaphore(story: &mut Story) {
    on_tasks(async {
        let permits = Arc::new(Semaphore::new(1));
        for _ in 0..10 {
            drop(permits.acquire().await);
        }
        story.equal("ten are taken and given back: there is still one", permits.available_permits(), 1);
        let held = permits.clone().acquire_owned().await.expect("nobody closes it");
        filch::spawn(async move { drop(held) }).await.expect("no panic");
        story.equal("as binary semaphore it is given back by another task", permits.available_permits(), 1);
        let mutex = Arc::new(Lock::new(()));
        let (held, other) = (mutex.lock().await, mutex.clone());
        let by_others = filch::spawn(async move { other.try_lock().is_ok() }).await;
        story.equal("while nobody without the guard frees a mutex", by_others.ok(), Some(false));
        drop(held);
    });
}

fn fair_lock_on_threads(story: &mut Story) {
    demo_on_threads(fair_lock::Plan { waiters: 6 }, story);
}

fn fair_lock_on_tasks(story: &mut Story) {
    demo_on_tasks(fair_lock::Plan { waiters: 6 }, story);
}

fn back_off_on_threads(story: &mut Story) {
    let locks = [Lock::new(0), Lock::new(0)];
    each_thread(2, |who| {
        let (first, second) = (&locks[who as usize], &locks[1 - who as usize]);
        let mut pauses = Backoff::jittered(ms(0), ms(2)).forever().pauses();
        for _ in 0..20 {
            loop {
                let mut first = first.lock_blocking();
                if let Ok(mut second) = second.try_lock() {
                    (*first, *second) = (*first + 1, *second + 1);
                    break;
                }
                // The guides' listing forgets to give the first back when what it does inside fails.
                drop(first);
                thread::sleep(pauses.next().expect("there is always one"));
            }
        }
    });
    let counts = locks.map(Lock::into_inner);
    story.equal("two want both locks 20 times, in opposite order: both get them", counts, [40, 40]);
}

fn back_off(story: &mut Story) {
    let run = |seed| {
        seeded(seed, async {
            let locks = Arc::new([Lock::new(0), Lock::new(0)]);
            let both = each_task(2, |who| {
                let locks = locks.clone();
                async move {
                    let (first, second) = (&locks[who as usize], &locks[1 - who as usize]);
                    let mut pauses = Backoff::jittered(ms(10), ms(100)).forever().pauses();
                    for _ in 0..20 {
                        loop {
                            let mut first = first.lock().await;
                            filch::yield_now().await;
                            if let Ok(mut second) = second.try_lock() {
                                (*first, *second) = (*first + 1, *second + 1);
                                break;
                            }
                            drop(first);
                            sleep(pauses.next().expect("there is always one")).await;
                        }
                    }
                }
            });
            both.await;
            [*locks[0].lock().await, *locks[1].lock().await]
        })
    };
    let counts: Vec<_> = (1..=5).map(run).collect();
    story.equal(
        "two want both locks 20 times, in opposite order, in 5 orders of polls",
        counts,
        vec![[40, 40]; 5],
    );
}

fn in_order_on_threads(story: &mut Story) {
    let accounts = [Lock::new(1_000), Lock::new(1_000)];
    each_thread(4, |who| {
        let (from, to) = (&accounts[who as usize % 2], &accounts[1 - who as usize % 2]);
        for _ in 0..200 {
            let [mut from, mut to] = lock_all_blocking([from, to]);
            (*from, *to) = (*from - 1, *to + 1);
        }
    });
    let sum = accounts.map(Lock::into_inner).iter().sum::<i32>();
    story.equal("transfers both ways, named in any order, come to their end: the sum", sum, 2_000);
}

fn in_order(story: &mut Story) {
    on_tasks(async {
        let accounts = Arc::new([Lock::new(1_000), Lock::new(1_000)]);
        let transfers = each_task(4, |who| {
            let accounts = accounts.clone();
            async move {
                let (from, to) = (&accounts[who as usize % 2], &accounts[1 - who as usize % 2]);
                for _ in 0..200 {
                    let [mut from, mut to] = lock_all([from, to]).await;
                    filch::yield_now().await;
                    (*from, *to) = (*from - 1, *to + 1);
                }
            }
        });
        transfers.await;
        let sum = *accounts[0].lock().await + *accounts[1].lock().await;
        story.equal("transfers both ways, named in any order, come to their end: the sum", sum, 2_000);
    });
}

/// In a release build ranks cost nothing, and nobody looks at them.
const CHECKED: bool = cfg!(debug_assertions);

fn ranks_on_threads(story: &mut Story) {
    let (database, table) = (Lock::ranked(1, ()), Lock::ranked(2, ()));
    let upwards = catch_unwind(AssertUnwindSafe(|| {
        let _first = database.lock_blocking();
        drop(table.lock_blocking());
    }));
    story.is("locks may be taken in the order of their ranks", upwards.is_ok());
    let held = table.lock_blocking();
    let downwards = panics(|| drop(database.lock_blocking()));
    story.equal("in the other order it panics, in a debug build, before it can wait", downwards, CHECKED);
    drop(held);
}

fn ranks(story: &mut Story) {
    on_tasks(async {
        let locks = Arc::new((Lock::ranked(1, ()), Lock::ranked(2, ())));
        let both = locks.clone();
        let upwards = filch::spawn(async move {
            let _first = both.0.lock().await;
            drop(both.1.lock().await);
        });
        story.is("locks may be taken in the order of their ranks", upwards.await.is_ok());
        let downwards = filch::spawn(async move {
            let _first = locks.1.lock().await;
            drop(locks.0.lock().await);
        });
        let refused = downwards.await.is_err_and(|error| error.is_panic());
        story.equal("in the other order it panics, in a debug build, before it can wait", refused, CHECKED);
    });
}

/// Whether `f` panics.
fn panics(f: impl FnOnce()) -> bool {
    catch_unwind(AssertUnwindSafe(f)).is_err()
}
