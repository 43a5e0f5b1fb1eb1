//! Rows 101 to 105: what goes wrong, and the advice that the guides give.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::mpsc;
use std::thread;

use filch::sync::{Condition, Lock, PriorityQueue, Semaphore};
use filch::time::sleep;
use filch::{Builder, Handle, WaitKind, holder_of, wait_for};

use super::Half::{Tasks, Threads};
use super::help::{
    BRIEFLY, LONG, Log, demo_on_tasks, demo_on_threads, ms, on_tasks, paused, until, yield_until,
};
use super::{Check, row};
use crate::story::{Story, each_thread};
use crate::{deadlock, livelock, race_conditions, starvation};

pub(super) const CHECKS: &[Check] = &[
    row(101, Threads, deadlock_on_threads),
    row(101, Tasks, deadlock_on_tasks),
    row(102, Threads, livelock_on_threads),
    row(102, Tasks, livelock_on_tasks),
    row(103, Threads, starvation_on_threads),
    row(103, Tasks, starvation_on_tasks),
    row(104, Threads, races_on_threads),
    row(104, Tasks, races),
    row(105, Threads, advice_on_threads),
    row(105, Tasks, advice),
];

fn deadlock_on_threads(story: &mut Story) {
    demo_on_threads(deadlock::Plan { times: 10 }, story);
    let [one, other] = [Lock::new(()), Lock::new(())];
    let (held, line) = (one.lock_blocking(), line!());
    let holder = one.holder().and_then(|holder| holder.location).map(|location| location.line());
    story.equal("mutual exclusion: a lock that is taken is refused", one.try_lock().is_err(), true);
    story.equal("and says where it was taken", holder, Some(line));
    let second = other.lock_timeout(LONG);
    story.is("hold and wait: with one in hand, another may be waited for", second.is_ok());
    (0..100).for_each(|_| thread::yield_now());
    story.is("no pre-emption: nobody takes it away", one.is_locked());
    drop(held);
}

fn deadlock_on_tasks(story: &mut Story) {
    demo_on_tasks(deadlock::Plan { times: 10 }, story);
    paused(async {
        let locks = Arc::new([Lock::new(()), Lock::new(())]);
        let tasks = [0, 1].map(|who| {
            let locks = locks.clone();
            filch::spawn(async move {
                let _first = locks[who].lock().await;
                sleep(ms(1)).await;
                let _second = locks[1 - who].lock().await;
            })
        });
        sleep(ms(10)).await;
        let known = Handle::current().tasks();
        let waits: Vec<_> = known.iter().filter(|task| task.wait == WaitKind::Lock).collect();
        story.equal("mutual exclusion: tasks that wait for a lock", waits.len(), 2);
        let holders = waits.iter().filter_map(|task| holder_of(task.wait_resource)?.task);
        let others = waits.iter().rev().map(|task| task.id.as_u64());
        story.is("hold and wait, in a circle: each waits for what the other holds", holders.eq(others));
        sleep(LONG).await;
        story.is("no pre-emption: for ever", locks.iter().all(Lock::is_locked));
        tasks.iter().for_each(|task| task.abort());
    });
}

fn livelock_on_threads(story: &mut Story) {
    demo_on_threads(livelock::Plan { rounds: 20 }, story);
}

fn livelock_on_tasks(story: &mut Story) {
    demo_on_tasks(livelock::Plan { rounds: 20 }, story);
}

const STARVATION: starvation::Plan = starvation::Plan { urgent: 100, age: 10 };

/// One worker, three priorities: `low` has a lock that `high` wants, and `middle` wants nothing but to run. The order
/// in which their steps are run; with `boost`, who holds what a higher one waits for goes on at once.
async fn inversion(boost: bool) -> String {
    let (lock, queue, log) = (Lock::new(()), PriorityQueue::new(0), Log::default());
    let mut held = Some(lock.lock().await);
    let jobs = [(1, "high"), (2, "middle"), (2, "middle"), (3, "low")];
    for job in jobs {
        queue.put(job).await.expect("it is open");
    }
    let mut low_is_boosted = false;
    while let Ok((priority, who)) = queue.try_get() {
        match (who, lock.try_lock()) {
            ("high", Err(_)) => {
                // It must come again; and `low` first, if it is boosted.
                if boost && !low_is_boosted {
                    queue.put((0, "low")).await.expect("it is open");
                    low_is_boosted = true;
                }
                queue.put((if boost { priority } else { 4 }, who)).await.expect("it is open");
                continue;
            }
            ("low", Err(_)) => drop(held.take()),
            // Its second time in the queue, after it was boosted.
            ("low", Ok(_)) => continue,
            _ => {}
        }
        log.note(who);
    }
    log.told()
}

fn tell_inversion(story: &mut Story, [inverted, boosted]: [String; 2]) {
    story.part("Priority inversion: the highest waits for the lowest, and so for all between");
    story.equal("in their order", inverted.as_str(), "middle middle low high");
    story.equal("the one that the highest waits for boosted", boosted.as_str(), "low high middle middle");
}

fn starvation_on_threads(story: &mut Story) {
    demo_on_threads(STARVATION, story);
    let on_a_thread = |boost| thread::spawn(move || futures_lite::future::block_on(inversion(boost)));
    tell_inversion(story, [false, true].map(|boost| on_a_thread(boost).join().expect("no panic")));
}

fn starvation_on_tasks(story: &mut Story) {
    demo_on_tasks(STARVATION, story);
    tell_inversion(story, paused(async { [inversion(false).await, inversion(true).await] }));
}

fn races_on_threads(story: &mut Story) {
    demo_on_threads(race_conditions::Plan::default(), story);
}

fn races(story: &mut Story) {
    demo_on_tasks(race_conditions::Plan::default(), story);
}

fn advice_on_threads(story: &mut Story) {
    let (ready, changed, looks) = (Lock::new(false), Condition::new(), AtomicU32::new(0));
    thread::scope(|scope| {
        let waits = scope.spawn(|| {
            let mut ready = ready.lock_blocking();
            while !*ready {
                looks.fetch_add(1, Ordering::Relaxed);
                ready = changed.wait_blocking(ready);
            }
        });
        // Time enough for very many looks, if it were spinning.
        let (mut held, _) = changed.wait_timeout(ready.lock_blocking(), BRIEFLY);
        *held = true;
        drop(held);
        changed.notify_all();
        waits.join().expect("no panic");
    });
    let looks = looks.into_inner();
    story.holds("a condition in place of a loop: so many looks", looks <= 2, looks);

    let busy = Lock::new(());
    let held = busy.lock_blocking();
    thread::scope(|scope| {
        (0..3).for_each(|_| drop(scope.spawn(|| drop(busy.lock_blocking()))));
        until(|| busy.stats().waiting == 3);
        drop(held);
    });
    let stats = busy.stats();
    story.equal("contention shows in a lock's statistics: most that waited at a time", stats.waiting_max, 3);
    story.equal("and how often it was taken, and after a wait", (stats.taken, stats.waited), (4, 3));

    let shared: Arc<[u32]> = (1..=100).collect();
    let sums = each_thread(4, |_| shared.iter().sum::<u32>());
    story.equal("what nobody changes needs no lock", sums, vec![5_050; 4]);
    let limit = Semaphore::new(2);
    let inside = each_thread(6, |_| {
        let _permit = limit.acquire_blocking().expect("nobody closes it");
        2 - limit.available_permits()
    });
    story.holds("workers are limited", inside.iter().all(|inside| *inside <= 2), format_args!("{inside:?}"));
    story.is("and waits have a time limit", Lock::new(()).lock_timeout(LONG).is_ok());
}

fn advice(story: &mut Story) {
    let (tells, told) = mpsc::channel();
    let runtime = Builder::new().workers(1).on_slow_poll(ms(10), move |slow| {
        let _ = tells.send(slow.name.clone());
    });
    let runtime = runtime.build().expect("a thread can be started");
    let _inside = runtime.handle().enter();
    let (release, released) = mpsc::channel::<()>();
    // It blocks its worker until the warning has come: nothing else ends it.
    let blocks = filch::task::Builder::new().name("blocks").spawn(async move { released.recv().is_err() });
    let warned = told.recv_timeout(LONG).ok().flatten();
    drop(release);
    story.equal("a task that blocks its worker is told of, by name", warned.as_deref(), Some("blocks"));
    story.equal("and goes on", blocks.join_blocking().ok(), Some(true));

    on_tasks(async {
        let lock = Arc::new(Lock::new(()));
        let held = lock.lock().await;
        let waiters = [(); 3].map(|()| {
            let lock = lock.clone();
            filch::spawn(async move { drop(lock.lock().await) })
        });
        yield_until(|| lock.stats().waiting == 3).await;
        drop(held);
        filch::gather(waiters).await;
        story.equal("contention shows in a lock's statistics", lock.stats().waiting_max, 3);
        story.is("waits have a time limit", wait_for(lock.lock(), LONG).await.is_ok());
    });
    paused(async {
        let spins = Arc::new(AtomicBool::new(false));
        let (seen, polled) = (spins.clone(), Arc::new(AtomicU32::new(0)));
        let counts = polled.clone();
        let busy = filch::spawn(async move {
            while !seen.load(Ordering::Relaxed) {
                counts.fetch_add(1, Ordering::Relaxed);
                filch::yield_now().await;
            }
        });
        let waits = filch::spawn(sleep(ms(10)));
        for _ in 0..100 {
            filch::yield_now().await;
        }
        let polls =
            |id| Handle::current().tasks().into_iter().find(|task| task.id == id).map(|task| task.polls);
        let (spun, waited) = (polled.load(Ordering::Relaxed), polls(waits.id()));
        story.holds("one that spins is polled again and again", spun > 10, spun);
        story.equal("one that waits, once", waited, Some(1));
        spins.store(true, Ordering::Relaxed);
        busy.await.expect("no panic");
    });
}
