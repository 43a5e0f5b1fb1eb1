//! The promise: Event, Barrier, OnceCell, AtomicWait, Counter, Pool and watch serve tasks and threads on the same
//! object, lose nothing when a wait is dropped, and fail loudly where they would wait for themselves.

use std::future::pending;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::thread;
use std::time::Duration;

use filch::channel::watch;
use filch::sync::{
    AtomicWait, Barrier, BarrierError, Counter, Event, OnceCell, Pool, PoolError, Pooled, WaitOutcome,
};
use filch::testing::{Ledger, cancel_at_every_await};
use filch_tests::{on_drop, panic_text, panics, single, until_yielding, watched, workers};
use futures_lite::StreamExt;

/// Runs `test` in each flavour.
fn everywhere(test: impl AsyncFn() + Copy + Send + 'static) {
    watched(move || {
        for runtime in [single(), workers(1), workers(2)] {
            runtime.block_on(test());
        }
    });
}

/// Lets the tasks that are ready run.
async fn yields() {
    for _ in 0..3 {
        filch::yield_now().await;
    }
}

#[test]
fn an_event_wakes_all_who_waited_before() {
    everywhere(async || {
        let (event, began) = (Arc::new(Event::new()), Arc::new(AtomicUsize::new(0)));
        let threads = [(); 2].map(|()| {
            let (event, began) = (event.clone(), began.clone());
            thread::spawn(move || {
                began.fetch_add(1, SeqCst);
                event.wait_blocking();
            })
        });
        let tasks: Vec<_> = (0..10)
            .map(|_| {
                let (event, began) = (event.clone(), began.clone());
                filch::spawn(async move {
                    let wait = event.wait();
                    began.fetch_add(1, SeqCst);
                    wait.await;
                })
            })
            .collect();
        until_yielding(|| began.load(SeqCst) == 12).await;
        // The tasks have begun to wait; a thread may be about to, so for it the event stays.
        event.set();
        event.clear();
        for task in tasks {
            task.await.unwrap();
        }
        event.set();
        threads.into_iter().for_each(|thread| thread.join().unwrap());
        assert!(event.is_set() && event.wait_timeout(Duration::ZERO));
    });
}

#[test]
fn a_barrier_has_one_leader_in_each_round() {
    const ROUNDS: usize = 50;
    everywhere(async || {
        let (barrier, leaders) = (Arc::new(Barrier::new(4)), Arc::new(AtomicUsize::new(0)));
        let rounds = Arc::new([(); ROUNDS].map(|()| AtomicUsize::new(0)));
        let threads = [(); 2].map(|()| {
            let (barrier, leaders, rounds) = (barrier.clone(), leaders.clone(), rounds.clone());
            thread::spawn(move || {
                for round in rounds.iter() {
                    round.fetch_add(1, SeqCst);
                    leaders.fetch_add(usize::from(barrier.wait_blocking().is_leader()), SeqCst);
                    assert_eq!(round.load(SeqCst), 4);
                }
            })
        });
        let tasks = [(); 2].map(|()| {
            let (barrier, leaders, rounds) = (barrier.clone(), leaders.clone(), rounds.clone());
            filch::spawn(async move {
                for round in rounds.iter() {
                    round.fetch_add(1, SeqCst);
                    leaders.fetch_add(usize::from(barrier.wait().await.is_leader()), SeqCst);
                    assert_eq!(round.load(SeqCst), 4);
                }
            })
        });
        for task in tasks {
            task.await.unwrap();
        }
        threads.into_iter().for_each(|thread| thread.join().unwrap());
        assert_eq!((leaders.load(SeqCst), barrier.arrived()), (ROUNDS, 0));
    });
}

#[test]
fn a_party_that_times_out_or_is_aborted_withdraws() {
    everywhere(async || {
        let barrier = Arc::new(Barrier::new(2));
        assert_eq!(barrier.wait_timeout(Duration::ZERO), Err(BarrierError::Incomplete));
        assert!(filch::wait_for(barrier.wait(), Duration::ZERO).await.is_err());
        let party = {
            let barrier = barrier.clone();
            filch::spawn(async move { barrier.wait().await })
        };
        until_yielding(|| barrier.arrived() == 1).await;
        party.abort();
        assert!(party.await.unwrap_err().is_cancelled());
        assert_eq!(barrier.arrived(), 0);
        let broken = {
            let barrier = barrier.clone();
            filch::spawn(async move { barrier.wait_unless_broken().await })
        };
        until_yielding(|| barrier.arrived() == 1).await;
        barrier.abort();
        assert!(broken.await.unwrap().is_err());
    });
}

#[test]
fn a_value_is_made_once_though_its_makers_go() {
    everywhere(async || {
        let (cell, made) = (Arc::new(OnceCell::new()), Arc::new(AtomicUsize::new(0)));
        let began = Arc::new(Event::new());
        let first = {
            let (cell, began) = (cell.clone(), began.clone());
            filch::spawn(async move {
                let init = async || {
                    began.set();
                    pending::<usize>().await
                };
                *cell.get_or_init(init).await
            })
        };
        began.wait().await;
        let thread = {
            let (cell, made) = (cell.clone(), made.clone());
            thread::spawn(move || *cell.get_or_init_blocking(|| made.fetch_add(1, SeqCst)))
        };
        let tasks: Vec<_> = (0..5)
            .map(|_| {
                let (cell, made) = (cell.clone(), made.clone());
                filch::spawn(async move {
                    *cell
                        .get_or_init(async || {
                            filch::yield_now().await;
                            made.fetch_add(1, SeqCst)
                        })
                        .await
                })
            })
            .collect();
        yields().await;
        assert_eq!(cell.get(), None);
        first.abort();
        for task in tasks {
            assert_eq!(task.await.unwrap(), 0);
        }
        assert_eq!((thread.join().unwrap(), *cell.wait().await, made.load(SeqCst)), (0, 0, 1));
    });
}

#[test]
fn what_makes_a_value_and_asks_for_it_panics_instead_of_hanging() {
    everywhere(async || {
        let cell = Arc::new(OnceCell::new());
        let task = {
            let cell = cell.clone();
            filch::spawn(async move {
                let inner = async || {
                    filch::yield_now().await;
                    *cell.get_or_init(async || 1).await
                };
                *cell.get_or_init(inner).await
            })
        };
        let payload = task.await.unwrap_err().into_panic();
        assert!(panic_text(&*payload).contains("awaits the same cell"), "{}", panic_text(&*payload));
        assert_eq!(*cell.get_or_init(async || 2).await, 2);
    });
}

#[test]
fn a_task_and_a_thread_take_turns_by_one_word() {
    const TURNS: u32 = 200;
    everywhere(async || {
        let word = Arc::new(AtomicWait::new(0));
        let thread = {
            let word = word.clone();
            thread::spawn(move || {
                for turn in 0..TURNS {
                    while word.load() != turn * 2 + 1 {
                        let _ = word.wait_blocking(turn * 2);
                    }
                    word.fetch_add(1);
                    word.wake(1);
                }
            })
        };
        for turn in 0..TURNS {
            word.fetch_add(1);
            word.wake(1);
            while word.load() == turn * 2 + 1 {
                let _ = word.wait(turn * 2 + 1).await;
            }
        }
        thread.join().unwrap();
        assert_eq!((word.load(), word.wait(0).await), (TURNS * 2, WaitOutcome::NotEqual));
    });
}

#[test]
fn a_counter_loses_nothing() {
    static COUNTER: Counter = Counter::new();
    everywhere(async || {
        let thread = thread::spawn(|| (0..1_000).for_each(|_| COUNTER.increment()));
        let tasks = [1, -1, 3].map(|step| {
            filch::spawn(async move {
                for _ in 0..100 {
                    COUNTER.add(step);
                    filch::yield_now().await;
                }
            })
        });
        let mut taken = COUNTER.take();
        for task in tasks {
            task.await.unwrap();
        }
        thread.join().unwrap();
        taken += COUNTER.take();
        assert_eq!((taken, COUNTER.get()), (1_300, 0));
    });
}

#[test]
fn a_pool_lends_at_most_so_many_and_gets_them_back() {
    everywhere(async || {
        let drops = Arc::new(AtomicUsize::new(0));
        let pool = {
            let drops = drops.clone();
            Pool::builder(2).build_async(move || {
                let drops = drops.clone();
                async move {
                    filch::yield_now().await;
                    Ok::<_, std::io::Error>(on_drop(move || {
                        drops.fetch_add(1, SeqCst);
                    }))
                }
            })
        };
        let out = Arc::new(AtomicUsize::new(0));
        let tasks: Vec<_> = (0..8)
            .map(|id| {
                let (pool, out) = (pool.clone(), out.clone());
                filch::spawn(async move {
                    let _thing = pool.get().await.unwrap();
                    assert!(out.fetch_add(1, SeqCst) < 2);
                    filch::yield_now().await;
                    out.fetch_sub(1, SeqCst);
                    assert!(id != 3, "on purpose, with a thing in its hands");
                })
            })
            .collect();
        let thread = {
            let pool = pool.clone();
            thread::spawn(move || Pooled::discard(pool.get_blocking().unwrap()))
        };
        for (id, task) in tasks.into_iter().enumerate() {
            assert_eq!(task.await.is_err(), id == 3);
        }
        thread.join().unwrap();
        let stats = pool.stats();
        assert_eq!((stats.out, stats.dropped, stats.made + stats.reused), (0, 1, 9));
        assert_eq!((stats.idle, drops.load(SeqCst)), (stats.made as usize - 1, 1));
        let last = pool.get().await.unwrap();
        pool.close();
        assert!(matches!(pool.get().await, Err(PoolError::Closed)));
        drop(last);
        // The last one may be new: the thread may have thrown away the only one that was idle.
        assert_eq!(drops.load(SeqCst), pool.stats().made as usize);
    });
}

#[test]
fn watchers_see_the_newest_and_the_last() {
    everywhere(async || {
        let (tx, rx) = watch::channel(0);
        let thread = {
            let mut rx = rx.clone();
            thread::spawn(move || *rx.wait_for_blocking(|value| *value == 100).unwrap())
        };
        let streams = [(); 3].map(|()| {
            let mut rx = rx.clone();
            filch::spawn(async move {
                let mut last = 0;
                while let Some(value) = rx.next().await {
                    assert!(value > last);
                    last = value;
                }
                last
            })
        });
        let mut waits = rx;
        for value in 1..=100 {
            if value % 2 == 0 {
                tx.send(value).unwrap()
            } else {
                tx.send_modify(|old| *old += 1)
            }
            if value == 50 {
                assert!(*waits.wait_for(|value| *value >= 50).await.unwrap() >= 50);
            }
            filch::yield_now().await;
        }
        drop(tx);
        for stream in streams {
            assert_eq!(stream.await.unwrap(), 100);
        }
        assert_eq!(thread.join().unwrap(), 100);
        assert_eq!((waits.changed().await, *waits.borrow()), (Ok(()), 100));
        assert!(waits.changed().await.is_err());
    });
}

#[test]
fn a_watch_that_would_wait_for_itself_panics_instead_of_hanging() {
    watched(|| {
        let (tx, rx) = watch::channel(0);
        let value = rx.borrow();
        assert!(panics(|| tx.send_modify(|value| *value = 1)).contains("drop the `Ref` first"));
        tx.send(2).unwrap();
        assert_eq!((*value, *rx.borrow()), (0, 2));
        drop(value);
        assert!(panics(|| tx.send_modify(|_| drop(rx.borrow()))).contains("uses the same channel"));
        tx.send_modify(|value| *value = 3);
        assert_eq!(*rx.borrow(), 3);
    });
}

#[test]
fn waits_for_events_and_words_that_are_dropped_lose_nothing() {
    everywhere(async || {
        cancel_at_every_await(async |trial| {
            let event = Arc::new(Event::new());
            let setter = {
                let event = event.clone();
                filch::spawn(async move {
                    yields().await;
                    event.set();
                })
            };
            trial.run(event.wait()).await;
            event.wait().await;
            setter.await.unwrap();
        })
        .await;
        cancel_at_every_await(async |trial| {
            let word = Arc::new(AtomicWait::new(0));
            let waker = {
                let word = word.clone();
                filch::spawn(async move {
                    yields().await;
                    word.store(1);
                    word.wake(1)
                })
            };
            let outcome = trial.run(word.wait(0)).await;
            let woken = waker.await.unwrap();
            assert!(woken == 1 || outcome != Some(WaitOutcome::Woken));
            assert_eq!((word.wake_all(), word.wait(0).await), (0, WaitOutcome::NotEqual));
        })
        .await;
    });
}

#[test]
fn parties_and_makers_that_are_dropped_lose_nothing() {
    everywhere(async || {
        cancel_at_every_await(async |trial| {
            let barrier = Arc::new(Barrier::new(2));
            let other = {
                let barrier = barrier.clone();
                filch::spawn(async move {
                    yields().await;
                    barrier.wait().await;
                })
            };
            let ready = trial.run(barrier.wait()).await.is_some();
            if !ready {
                // It has withdrawn, and the other one waits for us; or it had passed before it was dropped.
                yields().await;
                until_yielding(|| other.is_finished() || barrier.try_wait().is_ok()).await;
            }
            other.await.unwrap();
            assert_eq!(barrier.arrived(), 0);
        })
        .await;
        let ledger = Ledger::new();
        cancel_at_every_await(async |trial| {
            let cell = OnceCell::new();
            let made = cell.get_or_init(async || {
                let _half_made = ledger.message(0);
                yields().await;
                1
            });
            let ready = trial.run(made).await.is_some();
            assert_eq!(cell.get().is_some(), ready);
            assert_eq!(*cell.get_or_init(async || 2).await, if ready { 1 } else { 2 });
        })
        .await;
    });
}

#[test]
fn borrowers_and_watchers_that_are_dropped_lose_nothing() {
    everywhere(async || {
        cancel_at_every_await(async |trial| {
            let pool = Pool::builder(1)
                .check_async(|_: &mut u32| {
                    Box::pin(async {
                        yields().await;
                        true
                    })
                })
                .build(|| 0);
            let out = pool.get().await.unwrap();
            let returner = filch::spawn(async move {
                yields().await;
                drop(out);
            });
            trial.run(pool.get()).await;
            returner.await.unwrap();
            drop(pool.get().await.unwrap());
            let stats = pool.stats();
            assert_eq!((stats.made, stats.idle, stats.out, stats.dropped), (1, 1, 0, 0));
        })
        .await;
        cancel_at_every_await(async |trial| {
            let (tx, mut rx) = watch::channel(0);
            let mut other = rx.clone();
            let sender = filch::spawn(async move {
                for value in 1..=3 {
                    yields().await;
                    tx.send(value).unwrap();
                }
            });
            let ready = trial.run(rx.changed()).await.is_some();
            sender.await.unwrap();
            if !ready {
                rx.changed().await.unwrap();
            }
            assert_eq!(*rx.borrow(), 3);
            assert_eq!(*other.wait_for(|value| *value == 3).await.unwrap(), 3);
        })
        .await;
        cancel_at_every_await(async |trial| {
            let (tx, mut rx) = watch::channel(0);
            let sender = filch::spawn(async move {
                for value in 1..=3 {
                    yields().await;
                    tx.send(value).unwrap();
                }
            });
            trial.run(async { rx.wait_for(|value| *value == 3).await.is_ok() }).await;
            sender.await.unwrap();
            assert_eq!(*rx.wait_for(|value| *value == 3).await.unwrap(), 3);
        })
        .await;
    });
}
