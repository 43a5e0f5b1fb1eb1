//! The promises of the locks: a future that nobody polls locks nobody out, no order of locks that are taken together
//! deadlocks, a dropped operation loses nothing, and tasks and threads share all of them.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering::Relaxed};
use std::thread;
use std::time::Duration;

use filch::sync::{Condition, Lock, Mutex, RLock, RwLock, RwLockUpgradableReadGuard, lock_all};
use filch::testing::{Trial, cancel_at_every_await};
use filch::{Builder, Runtime, holder_of};
use filch_tests::{poll_once, single, until, until_yielding, watched, workers};

/// The program of Oxide's RFD 609, "Futurelock". A task holds the lock until it is told to let go. `main` has a
/// future in line for it, which it keeps and does not poll while it awaits the lock once more.
async fn futurelock(lock: Arc<Lock<u32>>, spawn: impl FnOnce(Task)) {
    let operation = |lock: Arc<Lock<u32>>| async move { *lock.lock().await += 1 };
    let (held, let_go) = (lock.clone().lock_owned().await, Arc::new(filch::sync::Notify::new()));
    let holder = let_go.clone();
    spawn(Box::pin(async move {
        holder.notified().await;
        drop(held);
    }));
    let mut first = Box::pin(operation(lock.clone()));
    assert!(poll_once(&mut first).await.is_none());
    // As in the branch of a `select!` that went on with `&mut first` in another branch.
    let mut second = Box::pin(operation(lock.clone()));
    assert!(poll_once(&mut second).await.is_none());
    let_go.notify_one();
    second.await;
    first.await;
    assert_eq!(*lock.lock().await, 2);
}

type Task = std::pin::Pin<Box<dyn Future<Output = ()> + Send>>;

fn locks() -> [Arc<Lock<u32>>; 2] {
    [Arc::new(Lock::new(0)), Arc::new(Lock::fair(0))]
}

#[test]
fn futurelock_ends_on_filch() {
    watched(|| {
        for runtime in [single(), workers(1), workers(2)] {
            for lock in locks() {
                // As the root, and as a task.
                runtime.block_on(async move {
                    futurelock(lock, |task| drop(filch::spawn(task))).await;
                    for lock in locks() {
                        let task = futurelock(lock, |task| drop(filch::spawn(task)));
                        filch::spawn(task).await.unwrap();
                    }
                });
            }
        }
    });
}

fn tokios() -> [tokio::runtime::Runtime; 2] {
    use tokio::runtime::Builder;
    [Builder::new_current_thread(), Builder::new_multi_thread()].map(|mut builder| builder.build().unwrap())
}

#[test]
fn futurelock_ends_on_tokio() {
    watched(|| {
        for tokio in tokios() {
            for lock in locks() {
                tokio.block_on(async {
                    let task = futurelock(lock, |task| drop(tokio::spawn(task)));
                    tokio::spawn(task).await.unwrap();
                });
            }
        }
    });
}

/// The variant: the task that keeps a future in line awaits *another* task, which wants the lock.
#[test]
fn a_task_may_await_another_that_wants_the_lock() {
    watched(|| {
        for runtime in [single(), workers(1), workers(2)] {
            for lock in locks() {
                let main = runtime.spawn(async move {
                    let held = lock.clone().lock_owned().await;
                    let waiting = lock.clone();
                    let mut first = Box::pin(lock.lock());
                    assert!(poll_once(&mut first).await.is_none());
                    let other = filch::spawn(async move { *waiting.lock().await += 1 });
                    until_yielding(|| lock.stats().waiting == 2).await;
                    drop(held);
                    other.await.unwrap();
                    assert_eq!(*first.await, 1);
                });
                runtime.block_on(main).unwrap();
            }
        }
    });
}

/// The same for the other locks, and for a condition that takes its lock again.
#[test]
fn a_task_may_await_another_that_wants_the_lock_of_any_kind() {
    watched(|| {
        let runtime = workers(2);
        let other = runtime.spawn(async {
            let lock = Arc::new(RwLock::new(0));
            let held = lock.clone().read_owned().await;
            let waiting = lock.clone();
            let mut first = Box::pin(lock.write());
            assert!(poll_once(&mut first).await.is_none());
            let other = filch::spawn(async move { *waiting.write().await += 1 });
            until_yielding(|| format!("{lock:?}").contains("waiting: 2")).await;
            drop(held);
            other.await.unwrap();
            assert_eq!(*first.await, 1);
        });
        other.join_blocking().unwrap();
        let other = runtime.spawn(async {
            let (lock, condition) = (Arc::new(Lock::new(0)), Condition::new());
            let mut first = Box::pin(condition.wait(lock.lock().await));
            assert!(poll_once(&mut first).await.is_none());
            let held = lock.clone().lock_owned().await;
            assert!(condition.notify_one());
            assert!(poll_once(&mut first).await.is_none());
            let waiting = lock.clone();
            let other = filch::spawn(async move { *waiting.lock().await += 1 });
            until_yielding(|| lock.stats().waiting == 2).await;
            drop(held);
            other.await.unwrap();
            assert_eq!(*first.await, 1);
        });
        other.join_blocking().unwrap();
    });
}

/// What holds of the variant where nobody says when a poll ends: a newcomer gets the lock, and whoever is in line
/// does when the future that nobody polls is dropped.
#[test]
fn what_other_runtimes_give() {
    watched(|| {
        for tokio in tokios() {
            tokio.block_on(async {
                let main = tokio::spawn(async {
                    let lock = Arc::new(Lock::new(0));
                    let held = lock.clone().lock_owned().await;
                    let mut first = Box::pin(lock.lock());
                    assert!(poll_once(&mut first).await.is_none());
                    let waiting = lock.clone();
                    let other = tokio::spawn(async move { *waiting.lock().await += 1 });
                    while lock.stats().waiting < 2 {
                        tokio::task::yield_now().await;
                    }
                    drop(held);
                    let newcomer = lock.clone();
                    tokio::spawn(async move { *newcomer.try_lock().unwrap() += 1 }).await.unwrap();
                    drop(first);
                    other.await.unwrap();
                    assert_eq!(*lock.lock().await, 2);
                });
                main.await.unwrap();
            });
        }
    });
}

/// Accounts, and tasks and threads that move money between any two of them, in either order.
#[test]
fn locks_that_are_taken_together_never_deadlock() {
    watched(|| {
        let runtime = workers(2);
        let accounts: Arc<Vec<Lock<i64>>> = Arc::new((0..4).map(|_| Lock::new(100)).collect());
        let transfer = |from: &mut i64, to: &mut i64| {
            *from -= 1;
            *to += 1;
        };
        let tasks: Vec<_> = (0..6)
            .map(|id| {
                let accounts = accounts.clone();
                runtime.spawn(async move {
                    for round in 0..200 {
                        let (from, to) = ((id + round) % 4, (id * 3 + round + 1) % 4);
                        if from != to {
                            let [mut from, mut to] = lock_all([&accounts[from], &accounts[to]]).await;
                            if round % 10 == 0 {
                                filch::yield_now().await;
                            }
                            transfer(&mut from, &mut to);
                        }
                    }
                })
            })
            .collect();
        for round in 0..200 {
            let (from, to) = ((round + 3) % 4, round % 4);
            let [mut from, mut to] = filch::sync::lock_all_blocking([&accounts[from], &accounts[to]]);
            transfer(&mut from, &mut to);
        }
        for task in tasks {
            task.join_blocking().unwrap();
        }
        assert_eq!(accounts.iter().map(|account| *account.lock_blocking()).sum::<i64>(), 400);
    });
}

/// Guards are kept across awaits by tasks that move between threads, beside threads that block.
#[test]
fn tasks_and_threads_share_one_lock() {
    watched(|| {
        let runtime = workers(2);
        let lock = Arc::new(Mutex::new(0));
        let tasks: Vec<_> = (0..4)
            .map(|_| {
                let lock = lock.clone();
                runtime.spawn(async move {
                    for _ in 0..100 {
                        let mut value = lock.lock().await;
                        let before = *value;
                        filch::yield_now().await;
                        *value = before + 1;
                    }
                })
            })
            .collect();
        let threads: Vec<_> = (0..2)
            .map(|_| {
                let lock = lock.clone();
                thread::spawn(move || (0..100).for_each(|_| *lock.lock_blocking() += 1))
            })
            .collect();
        tasks.into_iter().for_each(|task| task.join_blocking().unwrap());
        threads.into_iter().for_each(|thread| thread.join().unwrap());
        assert_eq!(*lock.lock_blocking(), 600);
    });
}

/// A recursive task takes its lock at every step, across awaits and threads; others stay out.
#[test]
fn a_task_takes_its_own_lock_again() {
    fn descend(
        lock: &RLock<AtomicU32>,
        depth: u32,
    ) -> std::pin::Pin<Box<dyn Future<Output = ()> + Send + '_>> {
        Box::pin(async move {
            let value = lock.lock().await.unwrap();
            let before = value.load(Relaxed);
            filch::yield_now().await;
            assert_eq!(value.load(Relaxed), before, "others stay out");
            value.store(before + 1, Relaxed);
            if depth > 1 {
                descend(lock, depth - 1).await;
            }
        })
    }
    watched(|| {
        let runtime = workers(2);
        let lock = Arc::new(RLock::new(AtomicU32::new(0)));
        let tasks: Vec<_> = (0..4)
            .map(|_| {
                let lock = lock.clone();
                runtime.spawn(async move { descend(&lock, 10).await })
            })
            .collect();
        for _ in 0..10 {
            lock.lock_blocking().fetch_add(1, Relaxed);
        }
        tasks.into_iter().for_each(|task| task.join_blocking().unwrap());
        assert_eq!(lock.lock_blocking().load(Relaxed), 50);
    });
}

/// A buffer with room for two, between a task and a thread, in both directions.
#[test]
fn a_bounded_buffer_between_a_task_and_a_thread() {
    watched(|| {
        let runtime = workers(1);
        for thread_puts in [false, true] {
            let shared = Arc::new((Lock::new(Vec::new()), Condition::new(), Condition::new()));
            let (end, total) = (shared.clone(), 500);
            let full = |buffer: &mut Vec<u32>| buffer.len() == 2;
            let empty = |buffer: &mut Vec<u32>| buffer.is_empty();
            let task = runtime.spawn(async move {
                let (buffer, not_full, not_empty) = &*shared;
                let mut seen = Vec::new();
                for item in 0..total {
                    if thread_puts {
                        let mut buffer = not_empty.wait_while(buffer.lock().await, empty).await;
                        seen.push(buffer.remove(0));
                        not_full.notify_one();
                    } else {
                        let mut buffer = not_full.wait_while(buffer.lock().await, full).await;
                        buffer.push(item);
                        not_empty.notify_one();
                    }
                }
                seen
            });
            let (buffer, not_full, not_empty) = &*end;
            let mut seen = Vec::new();
            for item in 0..total {
                if thread_puts {
                    not_full.wait_while_blocking(buffer.lock_blocking(), full).push(item);
                    not_empty.notify_one();
                } else {
                    seen.push(not_empty.wait_while_blocking(buffer.lock_blocking(), empty).remove(0));
                    not_full.notify_one();
                }
            }
            seen.extend(task.join_blocking().unwrap());
            assert!(seen.into_iter().eq(0..total), "each once, in order");
        }
    });
}

/// An inversion in a task ends that task, in builds that check it, and says both lines; a neighbour on the same
/// thread is left alone.
#[test]
fn ranked_locks_know_tasks_apart() {
    watched(|| {
        let runtime = single();
        let locks = Arc::new((Lock::ranked(1, ()), Lock::ranked(2, ())));
        let (inverted, neighbour) = (locks.clone(), locks.clone());
        let held = Arc::new(AtomicU32::new(0));
        let is_held = held.clone();
        let task = runtime.spawn(async move {
            let _high = inverted.1.lock().await;
            held.store(1, Relaxed);
            filch::yield_now().await;
            let _low = inverted.0.lock().await;
        });
        let neighbour = runtime.spawn(async move {
            until_yielding(|| is_held.load(Relaxed) == 1).await;
            drop(neighbour.0.lock().await);
        });
        runtime.block_on(async {
            neighbour.await.unwrap();
            let ended = task.await;
            assert_eq!(ended.is_err(), cfg!(debug_assertions));
            if let Err(error) = ended {
                assert!(error.is_panic());
                assert!(error.to_string().contains("locks out of order"), "{error}");
            }
        });
        assert!(!locks.0.is_locked() && !locks.1.is_locked());
    });
}

/// Each task that waits for a lock leads to the one that has it.
#[test]
fn a_report_says_who_has_the_lock() {
    watched(|| {
        let runtime = workers(1);
        let lock = Arc::new(Lock::new(()));
        let (holds, waits) = (lock.clone(), lock.clone());
        let (let_go, told) = (Arc::new(filch::sync::Notify::new()), Arc::new(AtomicU32::new(0)));
        let (end, has) = (let_go.clone(), told.clone());
        let holder = runtime.spawn(async move {
            let _held = holds.lock().await;
            has.store(line!() - 1, Relaxed);
            end.notified().await;
        });
        until(|| told.load(Relaxed) != 0);
        let waiter = runtime.spawn(async move { drop(waits.lock().await) });
        until(|| lock.stats().waiting == 1);
        let listed = || runtime.handle().tasks().into_iter().find(|task| task.id == waiter.id()).unwrap();
        until(|| listed().wait == filch::WaitKind::Lock);
        let found = holder_of(listed().wait_resource).unwrap();
        assert_eq!(found.task, Some(holder.id().as_u64()));
        assert_eq!(found.location.unwrap().line(), told.load(Relaxed));
        assert_eq!(lock.holder(), Some(found));
        let_go.notify_one();
        waiter.join_blocking().unwrap();
    });
}

/// Time runs out for a task that waits: nothing of it is left in line.
#[test]
fn a_timeout_leaves_nothing_in_line() {
    let runtime = Builder::new().paused_clock(1).build().unwrap();
    runtime.block_on(async {
        let lock = Lock::fair(0);
        let held = lock.lock().await;
        for _ in 0..3 {
            assert!(filch::wait_for(lock.lock(), Duration::from_secs(1)).await.is_err());
        }
        assert_eq!((lock.stats().waiting, lock.stats().waiting_max), (0, 1));
        drop(held);
        *filch::wait_for(lock.lock(), Duration::from_secs(1)).await.unwrap() += 1;
    });
}

/// Runs `check` as a task of each kind of runtime.
fn everywhere(check: impl AsyncFn() + Clone + Send + 'static) {
    watched(move || {
        let run = |runtime: Runtime| runtime.block_on(check.clone()());
        run(single());
        run(workers(2));
    });
}

/// As long as it takes others to get somewhere.
async fn yields(times: usize) {
    for _ in 0..times {
        filch::yield_now().await;
    }
}

/// Lets go of `held` after a while, in another task.
fn release<T: Send + 'static>(held: T) -> filch::JoinHandle<()> {
    filch::spawn(async move {
        yields(3).await;
        drop(held);
    })
}

#[test]
fn a_lock_that_is_dropped_at_any_await_loses_nothing() {
    everywhere(async || {
        for lock in [Arc::new(Lock::new(0)), Arc::new(Lock::fair(0))] {
            cancel_at_every_await(async |trial: Trial| {
                let holder = release(lock.clone().lock_owned().await);
                let next = lock.clone();
                let next = filch::spawn(async move { *next.lock().await += 1 });
                drop(trial.run(lock.lock()).await);
                next.await.unwrap();
                holder.await.unwrap();
                assert!(!lock.is_locked() && lock.stats().waiting == 0);
            })
            .await;
        }
        let locks = [0, 0, 0].map(|value| Arc::new(Lock::new(value)));
        cancel_at_every_await(async |trial: Trial| {
            let mut holders = Vec::new();
            for lock in &locks {
                holders.push(release(lock.clone().lock_owned().await));
            }
            drop(trial.run(lock_all([&*locks[2], &*locks[0], &*locks[1]])).await);
            for holder in holders {
                holder.await.unwrap();
            }
            assert!(locks.iter().all(|lock| !lock.is_locked() && lock.stats().waiting == 0));
        })
        .await;
        let lock = Arc::new(RLock::new(0));
        cancel_at_every_await(async |trial: Trial| {
            let other = lock.clone();
            let holder = filch::spawn(async move {
                let _held = other.lock().await.unwrap();
                yields(3).await;
            });
            until_yielding(|| lock.is_locked()).await;
            drop(trial.run(lock.lock()).await);
            holder.await.unwrap();
            assert_eq!(lock.depth(), 0);
        })
        .await;
    });
}

#[test]
fn access_that_is_dropped_at_any_await_loses_nothing() {
    use filch::sync::RwLockPolicy::{Fair, ReadersFirst, WritersFirst};
    everywhere(async || {
        for policy in [Fair, ReadersFirst, WritersFirst] {
            let lock = Arc::new(RwLock::with_policy(0, policy));
            for access in 0..3 {
                cancel_at_every_await(async |trial: Trial| {
                    let holder = release(lock.clone().write_owned().await);
                    match access {
                        0 => drop(trial.run(lock.read()).await),
                        1 => drop(trial.run(lock.write()).await),
                        _ => drop(trial.run(lock.upgradable_read()).await),
                    };
                    holder.await.unwrap();
                    assert!(lock.try_write().is_ok());
                })
                .await;
            }
            cancel_at_every_await(async |trial: Trial| {
                let upgradable = lock.upgradable_read().await;
                let holder = release(lock.clone().read_owned().await);
                let next = lock.clone();
                let next = filch::spawn(async move { *next.write().await += 1 });
                drop(trial.run(RwLockUpgradableReadGuard::upgrade(upgradable)).await);
                next.await.unwrap();
                holder.await.unwrap();
                assert!(lock.try_write().is_ok());
            })
            .await;
        }
    });
}

/// One notification, a waiter that is cut off somewhere, and one behind it: one of them has it.
#[test]
fn a_condition_that_is_dropped_at_any_await_passes_its_notification_on() {
    everywhere(async || {
        cancel_at_every_await(async |trial: Trial| {
            let shared = Arc::new((Lock::new(false), Condition::new()));
            let guard = shared.0.lock().await;
            let waits = shared.clone();
            let behind = filch::spawn(async move {
                let mut in_line = waits.0.lock().await;
                *in_line = true;
                drop(waits.1.wait(in_line).await);
            });
            let notifies = shared.clone();
            let notifier = filch::spawn(async move {
                let held = loop {
                    let in_line = notifies.0.lock().await;
                    if *in_line {
                        break in_line;
                    }
                    drop(in_line);
                    filch::yield_now().await;
                };
                assert!(notifies.1.notify_one());
                yields(2).await;
                drop(held);
            });
            let ready = trial.run(shared.1.wait(guard)).await.is_some();
            notifier.await.unwrap();
            if ready {
                assert!(shared.1.notify_one(), "the other still waits");
            }
            behind.await.unwrap();
            assert!(!shared.0.is_locked() && !shared.1.notify_one());
        })
        .await;
    });
}
