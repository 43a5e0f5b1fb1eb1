//! Rows 101 to 105: what goes wrong, and the advice that the guides give.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::mpsc;
use std::thread;

use filch::sync::{Barrier, Condition, Lock, PriorityQueue, Semaphore};
use filch::time::sleep;
use filch::{Backoff, Builder, Handle, WaitKind, holder_of, wait_for};

use super::Half::{Tasks, Threads};
use super::help::{
    BRIEFLY, LONG, Log, demo_on_tasks, demo_on_threads, ms, on_tasks, paused, until, yield_until,
};
use super::{Check, row};
use crate::story::{Story, each_task, each_thread};
use crate::{deadlock, race_conditions};

pub(super) const CHECKS: &[Check] = &[
    row(101, Threads, deadlock_on_threads),
    row(101, Tasks, deadlock_on_tasks),
    row(102, Threads, livelock_on_threads),
    row(102, Tasks, livelock),
    row(103, Threads, starvation_on_threads),
    row(103, Tasks, starvation),
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

/// How often each gets both, in ten rounds in which both act at the same moment.
fn livelock_on_threads(story: &mut Story) {
    let (locks, in_step) = ([Lock::new(()), Lock::new(())], Barrier::new(2));
    let progress = each_thread(2, |who| {
        let round = |_: &u32| {
            let own = locks[who as usize].lock_blocking();
            in_step.wait_blocking();
            let got_both = locks[1 - who as usize].try_lock().is_ok();
            in_step.wait_blocking();
            drop(own);
            got_both
        };
        (0..10).filter(round).count()
    });
    story.equal("both act ten times, politely and in step: how often each gets on", progress, vec![0, 0]);
    let tries = each_thread(2, |who| {
        let mut pauses = Backoff::jittered(ms(0), ms(1)).forever().pauses();
        loop {
            let own = locks[who as usize].lock_blocking();
            if locks[1 - who as usize].try_lock().is_ok() {
                return true;
            }
            drop(own);
            pauses.next().into_iter().for_each(thread::sleep);
        }
    });
    story.equal("with pauses left to chance both get on", tries, vec![true; 2]);
}

fn livelock(story: &mut Story) {
    paused(async {
        let locks = Arc::new([Lock::new(()), Lock::new(())]);
        let polite = |who: u32, chance: bool, tries: u32| {
            let locks = locks.clone();
            async move {
                let mut pauses = Backoff::jittered(ms(1), ms(100)).forever().pauses();
                for tried in 1..=tries {
                    let own = locks[who as usize].lock().await;
                    sleep(ms(1)).await;
                    let got_both = locks[1 - who as usize].try_lock().is_ok();
                    // The other has looked as well by then: they are in step.
                    sleep(ms(1)).await;
                    drop(own);
                    if got_both {
                        return Some(tried);
                    }
                    sleep(if chance { pauses.next().unwrap_or_default() } else { ms(10) }).await;
                }
                None
            }
        };
        let in_step = each_task(2, |who| polite(who, false, 50)).await;
        story.equal("both act 50 times, politely and in step: neither gets on", in_step, vec![None, None]);
        let by_chance = each_task(2, |who| polite(who, true, 10_000)).await;
        let found = format!("after {by_chance:?} tries");
        story.holds("with pauses left to chance both get on", by_chance.iter().all(Option::is_some), found);
    });
}

/// Jobs are taken from the queue, lowest first, and for each a new one comes in with priority 1. After how many is
/// the one with priority 9 taken, of 100?
fn until_low_runs(queue: &PriorityQueue<u32>) -> Option<usize> {
    [9, 1].into_iter().for_each(|job| queue.try_put(job).expect("there is room"));
    (0..100).position(|_| {
        let job = queue.try_get().expect("there is always one");
        queue.try_put(1).expect("there is room");
        job == 9
    })
}

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

fn tell_starvation(story: &mut Story, never: Option<usize>, aged: Option<usize>, orders: [String; 2]) {
    story.equal("low priority, while others keep coming: runs after so many of 100", never, None);
    story.equal("with ageing, after so many", aged, Some(10));
    let [inverted, boosted] = orders;
    story.equal(
        "inversion: the highest waits for the lowest, and so for all between",
        inverted.as_str(),
        "middle middle low high",
    );
    story.equal("the holder boosted, it does not", boosted.as_str(), "low high middle middle");
}

fn starvation_on_threads(story: &mut Story) {
    let never = until_low_runs(&PriorityQueue::new(0));
    let aged = until_low_runs(&PriorityQueue::new(0).with_ageing(10));
    let orders = [false, true].map(|boost| {
        thread::spawn(move || futures_lite::future::block_on(inversion(boost))).join().expect("no panic")
    });
    tell_starvation(story, never, aged, orders);
}

fn starvation(story: &mut Story) {
    paused(async {
        let never = until_low_runs(&PriorityQueue::new(0));
        let aged = until_low_runs(&PriorityQueue::new(0).with_ageing(10));
        let orders = [inversion(false).await, inversion(true).await];
        tell_starvation(story, never, aged, orders);
    });
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
        assert!(!changed.wait_timeout(ready.lock_blocking(), BRIEFLY).1.timed_out() || !waits.is_finished());
        *ready.lock_blocking() = true;
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
