//! Locks and signals, in each world.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};

use filch::sync::{
    AtomicWait, Barrier, Condition, Counter, Event, LifoQueue, Lock, Notify, OnceCell, Pool, PriorityQueue,
    Queue, RLock, RwLock, RwLockPolicy, RwLockUpgradableReadGuard, Semaphore, lock_all, lock_all_blocking,
};

use crate::worlds::{at_most, everywhere, turn};

const ROUNDS: usize = 300;

/// Counts who is inside, of at most so many.
#[derive(Clone)]
struct Inside(Arc<AtomicUsize>, usize);

impl Inside {
    fn new(most: usize) -> Inside {
        Inside(Arc::new(AtomicUsize::new(0)), most)
    }

    fn enter(&self, weight: usize) {
        let before = self.0.fetch_add(weight, SeqCst);
        assert!(before + weight <= self.1, "{} inside, and only {} may", before + weight, self.1);
    }

    fn leave(&self, weight: usize) {
        self.0.fetch_sub(weight, SeqCst);
    }
}

#[test]
fn a_semaphore_lets_in_as_many_as_it_may() {
    everywhere(|crew| {
        for fair in [false, true] {
            let semaphore = Arc::new(if fair { Semaphore::fair(3) } else { Semaphore::new(3) });
            let inside = Inside::new(3);
            for weight in [1, 2, 1, 3] {
                let (semaphore, inside) = (semaphore.clone(), inside.clone());
                crew.task(async move {
                    for _ in 0..ROUNDS {
                        let permit = semaphore.acquire_many(weight).await.unwrap();
                        inside.enter(weight as usize);
                        turn().await;
                        inside.leave(weight as usize);
                        drop(permit);
                    }
                });
            }
            let (blocks, counts) = (semaphore.clone(), inside.clone());
            crew.thread(move || {
                for _ in 0..ROUNDS {
                    let _permit = blocks.acquire_many_blocking(2).unwrap();
                    counts.enter(2);
                    counts.leave(2);
                }
            });
            crew.join();
            assert_eq!(semaphore.available_permits(), 3);
        }
    });
}

#[test]
fn a_lock_is_held_by_one() {
    everywhere(|crew| {
        for fair in [false, true] {
            let lock = Arc::new(if fair { Lock::fair(0) } else { Lock::new(0) });
            for id in 0..4 {
                let lock = lock.clone();
                crew.task(async move {
                    for round in 0..ROUNDS {
                        // Those who give up do not count.
                        drop(at_most((id + round) % 2, lock.lock()).await);
                        let mut value = lock.lock().await;
                        let seen = *value;
                        turn().await;
                        *value = seen + 1;
                    }
                });
            }
            let blocks = lock.clone();
            crew.thread(move || (0..ROUNDS).for_each(|_| *blocks.lock_blocking() += 1));
            crew.join();
            assert_eq!(*lock.try_lock().unwrap(), 5 * ROUNDS);
        }
    });
}

#[test]
fn readers_see_what_a_writer_has_finished() {
    everywhere(|crew| {
        for policy in [RwLockPolicy::Fair, RwLockPolicy::ReadersFirst, RwLockPolicy::WritersFirst] {
            let lock = Arc::new(RwLock::with_policy((0, 0), policy));
            for id in 0..2 {
                let (reads, writes) = (lock.clone(), lock.clone());
                crew.task(async move {
                    for round in 0..ROUNDS {
                        if let Some(pair) = at_most((id + round) % 3, reads.read()).await {
                            assert_eq!(pair.0, pair.1);
                        }
                    }
                });
                crew.task(async move {
                    for round in 0..ROUNDS {
                        drop(at_most(round % 2, writes.write()).await);
                        let mut pair = writes.write().await;
                        pair.0 += 1;
                        turn().await;
                        pair.1 += 1;
                    }
                });
            }
            let blocks = lock.clone();
            crew.thread(move || {
                for _ in 0..ROUNDS {
                    let read = blocks.upgradable_read_blocking();
                    let seen = *read;
                    let mut pair = RwLockUpgradableReadGuard::upgrade_blocking(read);
                    assert_eq!(seen, *pair);
                    *pair = (seen.0 + 1, seen.1 + 1);
                }
            });
            crew.join();
            assert_eq!(*lock.try_read().unwrap(), (3 * ROUNDS, 3 * ROUNDS));
        }
    });
}

#[test]
fn a_condition_wakes_whom_it_concerns() {
    everywhere(|crew| {
        let shared = Arc::new((Lock::new(0), Condition::new()));
        for _ in 0..3 {
            let shared = shared.clone();
            crew.task(async move {
                let (lock, condition) = &*shared;
                for round in 0..ROUNDS {
                    let guard = lock.lock().await;
                    if let Some(mut value) =
                        at_most(round % 2, condition.wait_while(guard, |value| *value == 0)).await
                    {
                        *value -= 1;
                    } else {
                        // Nobody else gets what was for us, if there is nobody.
                        let mut value = condition.wait_while(lock.lock().await, |value| *value == 0).await;
                        *value -= 1;
                    }
                }
            });
        }
        let gives = shared.clone();
        crew.thread(move || {
            for _ in 0..3 * ROUNDS {
                *gives.0.lock_blocking() += 1;
                gives.1.notify_one();
            }
        });
        crew.join();
        assert_eq!(*shared.0.try_lock().unwrap(), 0);
    });
}

#[test]
fn permits_survive_those_who_give_up() {
    everywhere(|crew| {
        let semaphore = Arc::new(Semaphore::new(2));
        for id in 0..4 {
            let semaphore = semaphore.clone();
            crew.task(async move {
                for round in 0..ROUNDS {
                    let weight = 1 + (id + round) as u32 % 2;
                    if let Some(permit) = at_most(round % 3, semaphore.acquire_many(weight)).await {
                        turn().await;
                        drop(permit.unwrap());
                    }
                }
                // Nobody who stays is forgotten.
                drop(semaphore.acquire_many(2).await.unwrap());
            });
        }
        let blocks = semaphore.clone();
        crew.thread(move || (0..ROUNDS).for_each(|_| drop(blocks.acquire_blocking().unwrap())));
        crew.join();
        assert_eq!(semaphore.available_permits(), 2);
    });
}

#[test]
fn notifications_go_back_and_forth() {
    everywhere(|crew| {
        let (ping, pong) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
        let (hears, answers) = (ping.clone(), pong.clone());
        crew.task(async move {
            for _ in 0..2 * ROUNDS {
                hears.notified().await;
                answers.notify_one();
            }
        });
        let (asks, hears) = (ping.clone(), pong.clone());
        let (half, first_half) = std::sync::mpsc::channel();
        crew.task(async move {
            for _ in 0..ROUNDS {
                asks.notify_one();
                hears.notified().await;
            }
            half.send(()).unwrap();
        });
        crew.thread(move || {
            first_half.recv().unwrap();
            for _ in 0..ROUNDS {
                ping.notify_one();
                pong.notified_blocking();
            }
        });
    });
}

#[test]
fn an_event_opens_for_all() {
    everywhere(|crew| {
        for _ in 0..ROUNDS / 10 {
            let (event, seen) = (Arc::new(Event::new()), Arc::new(AtomicUsize::new(0)));
            for _ in 0..4 {
                let (event, seen) = (event.clone(), seen.clone());
                crew.task(async move {
                    event.wait().await;
                    seen.fetch_add(1, SeqCst);
                });
            }
            let (blocks, counts) = (event.clone(), seen.clone());
            crew.thread(move || {
                blocks.wait_blocking();
                counts.fetch_add(1, SeqCst);
            });
            event.set();
            crew.join();
            assert_eq!(seen.load(SeqCst), 5);
        }
    });
}

#[test]
fn parties_pass_a_barrier_together() {
    everywhere(|crew| {
        let barrier = Arc::new(Barrier::new(4));
        let (arrived, leaders) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
        for _ in 0..3 {
            let (barrier, arrived, leaders) = (barrier.clone(), arrived.clone(), leaders.clone());
            crew.task(async move {
                for round in 1..=ROUNDS {
                    arrived.fetch_add(1, SeqCst);
                    let result = barrier.wait().await;
                    leaders.fetch_add(usize::from(result.is_leader()), SeqCst);
                    assert!(arrived.load(SeqCst) >= 4 * round, "one has passed before all had come");
                }
            });
        }
        let (blocks, counts, leads) = (barrier.clone(), arrived.clone(), leaders.clone());
        crew.thread(move || {
            for _ in 0..ROUNDS {
                counts.fetch_add(1, SeqCst);
                leads.fetch_add(usize::from(blocks.wait_blocking().is_leader()), SeqCst);
            }
        });
        crew.join();
        assert_eq!((leaders.load(SeqCst), barrier.arrived()), (ROUNDS, 0));
    });
}

#[test]
fn a_value_is_waited_for() {
    everywhere(|crew| {
        let value = Arc::new(AtomicWait::new(0));
        for parity in 0..2 {
            let value = value.clone();
            crew.task(async move {
                for _ in 0..ROUNDS {
                    let mut now = value.load();
                    while now % 3 != parity {
                        let _ = value.wait(now).await;
                        now = value.load();
                    }
                    value.fetch_add(1);
                    value.wake_all();
                }
            });
        }
        let blocks = value.clone();
        crew.thread(move || {
            for _ in 0..ROUNDS {
                let mut now = blocks.load();
                while now % 3 != 2 {
                    let _ = blocks.wait_blocking(now);
                    now = blocks.load();
                }
                blocks.fetch_add(1);
                blocks.wake_all();
            }
        });
        crew.join();
        assert_eq!(value.load() as usize, 3 * ROUNDS);
    });
}

#[test]
fn a_value_is_made_once() {
    everywhere(|crew| {
        for _ in 0..ROUNDS / 10 {
            let (cell, made) = (Arc::new(OnceCell::new()), Arc::new(AtomicUsize::new(0)));
            for id in 0..4 {
                let (cell, made) = (cell.clone(), made.clone());
                crew.task(async move {
                    let make = async || {
                        turn().await;
                        made.fetch_add(1, SeqCst);
                        7
                    };
                    // Two of them give up on the way.
                    let got = at_most(id, cell.get_or_init(make)).await;
                    assert!(got.is_none_or(|value| *value == 7));
                    assert_eq!(*cell.get_or_init(make).await, 7);
                });
            }
            let blocks = cell.clone();
            crew.thread(move || assert_eq!(*blocks.wait_blocking(), 7));
            crew.join();
            assert_eq!(made.load(SeqCst), 1);
        }
    });
}

#[test]
fn a_pool_lends_what_there_is() {
    everywhere(|crew| {
        let made = Arc::new(AtomicUsize::new(0));
        let makes = made.clone();
        let pool = Pool::new(2, move || makes.fetch_add(1, SeqCst));
        let inside = Inside::new(2);
        for id in 0..4 {
            let (pool, inside) = (pool.clone(), inside.clone());
            crew.task(async move {
                for round in 0..ROUNDS {
                    if let Some(lent) = at_most((id + round) % 3, pool.get()).await {
                        inside.enter(1);
                        turn().await;
                        inside.leave(1);
                        drop(lent);
                    }
                }
                drop(pool.get().await.unwrap());
            });
        }
        let blocks = pool.clone();
        crew.thread(move || (0..ROUNDS).for_each(|_| drop(blocks.get_blocking().unwrap())));
        crew.join();
        assert_eq!((pool.stats().out, pool.stats().idle), (0, made.load(SeqCst)));
    });
}

#[test]
fn a_queue_hands_out_each_task_and_knows_when_all_are_done() {
    everywhere(|crew| {
        let (queue, sum) = (Arc::new(Queue::new(3)), Arc::new(AtomicUsize::new(0)));
        for _ in 0..3 {
            let (queue, sum) = (queue.clone(), sum.clone());
            crew.task(async move {
                let mut round = 0;
                loop {
                    round += 1;
                    match at_most(round % 3, queue.get_item()).await {
                        Some(Ok(item)) => drop(sum.fetch_add(*item, SeqCst)),
                        Some(Err(_)) => break,
                        None => {}
                    }
                }
            });
        }
        let puts = queue.clone();
        crew.task(async move {
            for id in 0..ROUNDS {
                puts.put(id).await.unwrap();
            }
            puts.join().await;
            puts.close();
        });
        let blocks = queue.clone();
        // Until it is closed, at the latest.
        crew.thread(move || {
            let _ = (0..ROUNDS).try_for_each(|_| blocks.put_blocking(0));
        });
        crew.join();
        assert_eq!(sum.load(SeqCst), ROUNDS * (ROUNDS - 1) / 2);
    });
}

/// Under filch its owner takes it again; elsewhere that is refused, and never granted to another.
#[test]
fn a_lock_is_taken_again_by_its_owner_or_by_nobody() {
    everywhere(|crew| {
        let lock = Arc::new(RLock::new(AtomicUsize::new(0)));
        // Not a read-modify-write: only the lock keeps two of these apart.
        let add = |value: &AtomicUsize| value.store(value.load(SeqCst) + 1, SeqCst);
        for id in 0..3 {
            let lock = lock.clone();
            crew.task(async move {
                for round in 0..ROUNDS {
                    drop(at_most((id + round) % 2, lock.lock()).await);
                    let outer = lock.lock().await.expect("this task has it not");
                    let seen = outer.load(SeqCst);
                    turn().await;
                    drop(lock.lock().await);
                    outer.store(seen + 1, SeqCst);
                }
            });
        }
        let blocks = lock.clone();
        crew.thread(move || {
            for _ in 0..ROUNDS {
                let outer = blocks.lock_blocking();
                add(&blocks.lock_blocking());
                drop(outer);
            }
        });
        crew.join();
        assert_eq!((lock.depth(), lock.lock_blocking().load(SeqCst)), (0, 4 * ROUNDS));
    });
}

#[test]
fn several_locks_are_taken_in_any_order() {
    everywhere(|crew| {
        let accounts = Arc::new([Lock::new(1_000_i64), Lock::new(1_000), Lock::new(1_000)]);
        let transfers = Arc::new(Counter::new());
        for id in 0..3 {
            let (accounts, transfers) = (accounts.clone(), transfers.clone());
            crew.task(async move {
                for round in 0..ROUNDS {
                    let pair = || [&accounts[(id + round) % 3], &accounts[(id + 2 * round + 1) % 3]];
                    if std::ptr::eq(pair()[0], pair()[1]) {
                        continue;
                    }
                    drop(at_most(round % 2, lock_all(pair())).await);
                    let [mut from, mut to] = lock_all(pair()).await;
                    *from -= 1;
                    turn().await;
                    *to += 1;
                    transfers.increment();
                }
            });
        }
        let blocks = accounts.clone();
        crew.thread(move || {
            for _ in 0..ROUNDS {
                let [mut to, mut from] = lock_all_blocking([&blocks[2], &blocks[0]]);
                (*from, *to) = (*from - 1, *to + 1);
            }
        });
        crew.join();
        assert_eq!(accounts.iter().map(|account| *account.try_lock().unwrap()).sum::<i64>(), 3_000);
        assert!(transfers.get() > 0);
    });
}

/// The same for a queue with another order.
macro_rules! hands_out_all {
    ($($name:ident: $queue:ident;)*) => {$(
        #[test]
        fn $name() {
            everywhere(|crew| {
                let (queue, sum) = (Arc::new($queue::new(2)), Arc::new(AtomicUsize::new(0)));
                for _ in 0..2 {
                    let (queue, sum) = (queue.clone(), sum.clone());
                    crew.task(async move {
                        let mut round = 0;
                        loop {
                            round += 1;
                            match at_most(round % 3, queue.get()).await {
                                Some(Ok(item)) => {
                                    sum.fetch_add(item, SeqCst);
                                    queue.task_done().unwrap();
                                }
                                Some(Err(_)) => break,
                                None => {}
                            }
                        }
                    });
                }
                let puts = queue.clone();
                crew.task(async move {
                    for id in 0..ROUNDS {
                        puts.put(id).await.unwrap();
                    }
                    puts.join().await;
                    puts.close();
                });
                let blocks = sum.clone();
                crew.thread(move || {
                    while let Ok(item) = queue.get_blocking() {
                        blocks.fetch_add(item, SeqCst);
                        queue.task_done().unwrap();
                    }
                });
                crew.join();
                assert_eq!(sum.load(SeqCst), ROUNDS * (ROUNDS - 1) / 2);
            });
        }
    )*};
}

hands_out_all! {
    a_stack_hands_out_each_task: LifoQueue;
    a_priority_queue_hands_out_each_task: PriorityQueue;
}
