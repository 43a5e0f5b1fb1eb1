//! Rows 42 to 45 and 54: events, conditions, and an atomic that one waits for.

use std::collections::VecDeque;
use std::sync::Arc;
use std::thread;

use filch::sync::{AtomicWait, Barrier, Condition, Event, Lock, WaitOutcome};
use filch::wait_for;

use super::Half::{Tasks, Threads};
use super::help::{BRIEFLY, LONG, Log, on_tasks, until, yield_until};
use super::{Check, row};
use crate::story::{Story, each_task, each_thread, once_in_line};

pub(super) const CHECKS: &[Check] = &[
    row(42, Threads, event_on_threads),
    row(42, Tasks, event),
    row(43, Threads, start_and_stop_on_threads),
    row(43, Tasks, start_and_stop),
    row(44, Threads, condition_on_threads),
    row(44, Tasks, condition),
    row(45, Threads, two_conditions_on_threads),
    row(45, Tasks, two_conditions),
    row(54, Threads, atomic_wait_on_threads),
    row(54, Tasks, atomic_wait),
];

fn event_on_threads(story: &mut Story) {
    let event = Event::new();
    story.is("at first it is not set", !event.is_set() && !event.wait_timeout(BRIEFLY));
    let woken = thread::scope(|scope| {
        let waiters = [(); 3].map(|()| scope.spawn(|| event.wait_timeout(LONG)));
        event.set();
        waiters.map(|waiter| waiter.join().expect("no panic"))
    });
    story.equal("set wakes all", woken, [true; 3]);
    story.is("it stays set: who comes later does not wait", event.is_set() && event.wait_timeout(BRIEFLY));
    event.clear();
    story.is("until it is cleared", !event.is_set() && !event.wait_timeout(BRIEFLY));
}

fn event(story: &mut Story) {
    on_tasks(async {
        let event = Arc::new(Event::new());
        let in_vain = wait_for(event.wait(), BRIEFLY).await.is_err();
        story.is("at first it is not set", !event.is_set() && in_vain);
        let waiters = [(); 3].map(|()| {
            let event = event.clone();
            filch::spawn(async move { wait_for(event.wait(), LONG).await.is_ok() })
        });
        event.set();
        let woken: Vec<_> = filch::gather(waiters).await.into_iter().map(|woken| woken.ok()).collect();
        story.equal("set wakes all", woken, vec![Some(true); 3]);
        let at_once = wait_for(event.wait(), BRIEFLY).await.is_ok();
        story.is("it stays set: who comes later does not wait", event.is_set() && at_once);
        event.clear();
        let in_vain = wait_for(event.wait(), BRIEFLY).await.is_err();
        story.is("until it is cleared", !event.is_set() && in_vain);
    });
}

fn tell_start_and_stop(story: &mut Story, log: &Log) {
    let told = log.told();
    let (before, after) = told.split_at(told.find("go").unwrap_or_default());
    story.equal("before the signal all four have only got ready", before.trim(), "ready ready ready ready");
    story.holds("after it all work, none of them twice", after.matches("works").count() == 4, after);
    story.equal("and one signal ends all", after.matches("stops").count(), 4);
}

fn start_and_stop_on_threads(story: &mut Story) {
    let (log, ready, go, stop) = (Log::default(), Barrier::new(5), Event::new(), Event::new());
    thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                log.note("ready");
                ready.wait_blocking();
                go.wait_blocking();
                log.note("works");
                stop.wait_blocking();
                log.note("stops");
            });
        }
        ready.wait_blocking();
        log.note("go");
        go.set();
        until(|| log.len() == 9);
        stop.set();
    });
    tell_start_and_stop(story, &log);
}

fn start_and_stop(story: &mut Story) {
    let log = Log::default();
    on_tasks(async {
        let signals = Arc::new((Barrier::new(5), Event::new(), Event::new()));
        let workers = [(); 4].map(|()| {
            let (signals, log) = (signals.clone(), log.clone());
            filch::spawn(async move {
                let (ready, go, stop) = &*signals;
                log.note("ready");
                ready.wait().await;
                go.wait().await;
                log.note("works");
                stop.wait().await;
                log.note("stops");
            })
        });
        let (ready, go, stop) = &*signals;
        ready.wait().await;
        log.note("go");
        go.set();
        yield_until(|| log.len() == 9).await;
        stop.set();
        filch::gather(workers).await;
    });
    tell_start_and_stop(story, &log);
}

fn condition_on_threads(story: &mut Story) {
    let (items, not_empty, got) = (Lock::new(VecDeque::new()), Condition::new(), Log::default());
    thread::scope(|scope| {
        let waiters = [(); 3].map(|()| {
            scope.spawn(|| {
                // A loop, as in Python: what was notified of may have gone to somebody else.
                let items = items.lock_blocking();
                let mut items =
                    not_empty.wait_while_blocking(items, |items: &mut VecDeque<u32>| items.is_empty());
                got.note("got");
                items.pop_front()
            })
        });
        // `notify` tells whether it reached one; each has given the lock back then, as we can take it.
        until(|| items.try_lock().is_ok() && not_empty.notify_one());
        story.equal("woken without reason, it waits again", got.len(), 0);
        let mut held = items.lock_blocking();
        held.extend([1, 2, 3]);
        not_empty.notify_all();
        (0..20).for_each(|_| thread::yield_now());
        story.equal("woken with reason, it waits for the lock before it returns", got.len(), 0);
        drop(held);
        let mut got: Vec<_> = waiters.into_iter().map(|waiter| waiter.join().expect("no panic")).collect();
        got.sort_unstable();
        story.equal("then each of three gets one item", got, vec![Some(1), Some(2), Some(3)]);
    });
    story.equal("nobody waits: a notification reaches nobody", not_empty.notify_all(), 0);
    let (held, timed_out) = not_empty.wait_timeout(items.lock_blocking(), BRIEFLY);
    story.is("a wait in vain has the lock, too, when it returns", timed_out.timed_out() && items.is_locked());
    drop(held);
}

fn condition(story: &mut Story) {
    on_tasks(async {
        let shared = Arc::new((Lock::new(VecDeque::new()), Condition::new()));
        let ((items, not_empty), got) = (&*shared, Log::default());
        let waiters = [(); 3].map(|()| {
            let (shared, got) = (shared.clone(), got.clone());
            filch::spawn(async move {
                let items = shared.0.lock().await;
                let mut items =
                    shared.1.wait_while(items, |items: &mut VecDeque<u32>| items.is_empty()).await;
                got.note("got");
                items.pop_front()
            })
        });
        yield_until(|| items.try_lock().is_ok() && not_empty.notify_one()).await;
        story.equal("woken without reason, it waits again", got.len(), 0);
        let mut held = items.lock().await;
        held.extend([1, 2, 3]);
        not_empty.notify_all();
        for _ in 0..20 {
            filch::yield_now().await;
        }
        story.equal("woken with reason, it waits for the lock before it returns", got.len(), 0);
        drop(held);
        let mut got: Vec<_> =
            filch::gather(waiters).await.into_iter().map(|got| got.expect("no panic")).collect();
        got.sort_unstable();
        story.equal("then each of three gets one item", got, vec![Some(1), Some(2), Some(3)]);
        story.equal("nobody waits: a notification reaches nobody", not_empty.notify_all(), 0);
        let held = items.lock().await;
        let timed_out = wait_for(not_empty.wait(held), BRIEFLY).await.is_err();
        story.is(
            "a wait that is given up keeps no lock and takes no notification",
            timed_out && !items.is_locked(),
        );
    });
}

/// A buffer for one item: a lock, and a condition for each reason to wait.
#[derive(Default)]
struct One {
    item: Lock<Option<u32>>,
    not_full: Condition,
    not_empty: Condition,
}

impl One {
    fn put_blocking(&self, item: u32) {
        let mut place = self.not_full.wait_while_blocking(self.item.lock_blocking(), |place| place.is_some());
        *place = Some(item);
        self.not_empty.notify_one();
    }

    fn get_blocking(&self) -> u32 {
        let mut place =
            self.not_empty.wait_while_blocking(self.item.lock_blocking(), |place| place.is_none());
        let item = place.take().expect("it is not empty");
        self.not_full.notify_one();
        item
    }

    async fn put(&self, item: u32) {
        let mut place = self.not_full.wait_while(self.item.lock().await, |place| place.is_some()).await;
        *place = Some(item);
        self.not_empty.notify_one();
    }

    async fn get(&self) -> u32 {
        let mut place = self.not_empty.wait_while(self.item.lock().await, |place| place.is_none()).await;
        let item = place.take().expect("it is not empty");
        self.not_full.notify_one();
        item
    }
}

fn two_conditions_on_threads(story: &mut Story) {
    let one = One::default();
    let sums = each_thread(6, |who| {
        if who % 2 == 0 {
            (0..100).for_each(|item| one.put_blocking(item));
            0
        } else {
            (0..100).map(|_| one.get_blocking()).sum::<u32>()
        }
    });
    let sum = sums.into_iter().sum::<u32>();
    story.equal("three put 0 to 99 into a place for one, three get: the sum", sum, 3 * 4_950);
    story.is(
        "each condition wakes its own, so nobody is left",
        one.item.try_lock().is_ok_and(|item| item.is_none()),
    );
}

fn two_conditions(story: &mut Story) {
    on_tasks(async {
        let one = Arc::new(One::default());
        let sums = each_task(6, |who| {
            let one = one.clone();
            async move {
                let mut sum = 0;
                for item in 0..100 {
                    if who % 2 == 0 { one.put(item).await } else { sum += one.get().await }
                }
                sum
            }
        });
        let sum = sums.await.into_iter().sum::<u32>();
        story.equal("three put 0 to 99 into a place for one, three get: the sum", sum, 3 * 4_950);
        let left = one.item.try_lock().is_ok_and(|item| item.is_none());
        story.is("each condition wakes its own, so nobody is left", left);
    });
}

fn atomic_wait_on_threads(story: &mut Story) {
    let (cell, waiting) = (AtomicWait::new(5), Event::new());
    story.equal("add and sub give what was before", (cell.fetch_add(3), cell.fetch_sub(2)), (5, 8));
    cell.store(1);
    story.equal("a store, and a load", cell.load(), 1);
    story.equal("a wait for a value that is not there", cell.wait_blocking(7), WaitOutcome::NotEqual);
    story.equal("a wait in vain", cell.wait_timeout(1, BRIEFLY), WaitOutcome::TimedOut);
    let woken = thread::scope(|scope| {
        let waiters = [(); 3].map(|()| {
            scope.spawn(|| {
                futures_lite::future::block_on(once_in_line(cell.wait(1), || {
                    waiting.set();
                }))
            })
        });
        waiting.wait_blocking();
        // As many as there are by now, two at most; then the rest.
        let mut woken = cell.wake(2);
        story.holds("`wake(2)` wakes two at most", woken <= 2, woken);
        while woken < 3 {
            woken += cell.wake_all();
            thread::yield_now();
        }
        waiters.map(|waiter| waiter.join().expect("no panic"))
    });
    story.equal("three who wait for a change are woken", woken, [WaitOutcome::Woken; 3]);
}

fn atomic_wait(story: &mut Story) {
    on_tasks(async {
        let cell = Arc::new(AtomicWait::new(5));
        story.equal("add and sub give what was before", (cell.fetch_add(3), cell.fetch_sub(2)), (5, 8));
        cell.store(1);
        story.equal("a store, and a load", cell.load(), 1);
        story.equal("a wait for a value that is not there", cell.wait(7).await, WaitOutcome::NotEqual);
        let waiting = Arc::new(AtomicWait::new(0));
        let waiters = [(); 3].map(|()| {
            let (cell, waiting) = (cell.clone(), waiting.clone());
            filch::spawn(async move { once_in_line(cell.wait(1), || _ = waiting.fetch_add(1)).await })
        });
        yield_until(|| waiting.load() == 3).await;
        story.equal("`wake(2)` wakes two of three", cell.wake(2), 2);
        story.equal("`wake_all` the third", cell.wake_all(), 1);
        let woken: Vec<_> = filch::gather(waiters).await.into_iter().map(|woken| woken.ok()).collect();
        story.equal("all three were woken", woken, vec![Some(WaitOutcome::Woken); 3]);
    });
}
