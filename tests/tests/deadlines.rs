//! The promise: a time limit holds for all that is under it, of several the earliest counts, what is ready by then
//! wins, and nothing is lost when it is over.
#![allow(missing_docs)]

use std::future::{pending, poll_fn};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::task::Poll;

use filch::channel::{bounded, oneshot};
use filch::sync::{Lock, Queue, Semaphore};
use filch::testing::Ledger;
use filch::time::{Duration, Elapsed, Instant, sleep, sleep_until, timeout, timeout_at};
use filch::{TaskGroup, scope, wait_for};

const MS: Duration = Duration::from_millis(1);

#[filch::test(paused)]
async fn of_nested_deadlines_the_earliest_counts() {
    for (outer, inner, took) in [(10, 30, 10), (30, 10, 10), (10, 10, 10)] {
        let start = Instant::now();
        let nested = wait_for(wait_for(pending::<()>(), inner * MS), outer * MS).await;
        // Of two at the same time the inner one is an output, which wins.
        assert_eq!((nested.is_err(), start.elapsed()), (outer < inner, took * MS));
    }
    // A hundred, the middle one being the earliest.
    let start = Instant::now();
    let mut nested: Pin<Box<dyn Future<Output = Result<(), Elapsed>> + Send>> = Box::pin(async {
        sleep(Duration::MAX).await;
        Ok(())
    });
    let depth = Arc::new(AtomicUsize::new(0));
    for level in 0_u32..100 {
        let depth = depth.clone();
        let limit = level.abs_diff(50) * MS + 7 * MS;
        nested = Box::pin(async move {
            let result = timeout(limit, nested).await;
            // Those within it are dropped; those round it get its error, in time.
            depth.fetch_add(usize::from(result.is_err()), SeqCst);
            result.unwrap_or_else(Err)
        });
    }
    assert!(nested.await.is_err());
    assert_eq!((start.elapsed(), depth.load(SeqCst)), (7 * MS, 1));
}

#[filch::test(paused)]
async fn a_deadline_within_another_leaves_that_one_running() {
    let start = Instant::now();
    let steps = async {
        let mut steps = 0;
        while wait_for(pending::<()>(), 3 * MS).await.is_err() {
            steps += 1;
            if steps == 100 {
                return steps;
            }
        }
        steps
    };
    assert!(wait_for(steps, 10 * MS).await.is_err());
    assert_eq!(start.elapsed(), 10 * MS);
}

#[filch::test(paused)]
async fn a_deadline_for_a_whole_scope_drops_all_that_is_in_it() {
    let (start, ledger) = (Instant::now(), Ledger::new());
    let of_ledger = &ledger;
    let all = scope(|s| async move {
        for n in 0..5 {
            let message = of_ledger.message(n);
            let inner = s.clone();
            s.spawn(async move {
                let _message = message;
                sleep(MS).await;
                let message = of_ledger.message(n);
                inner.spawn(async move {
                    let _message = message;
                    sleep(Duration::MAX).await;
                });
                wait_for(pending::<()>(), 100 * MS).await
            });
        }
    });
    let deadline = start + 20 * MS;
    assert!(timeout_at(deadline, all).await.is_err());
    assert_eq!((start.elapsed(), ledger.made(), ledger.drops()), (20 * MS, 10, 10));
    // Also of tasks: those of a group that is made in it.
    let (start, drops) = (Instant::now(), Ledger::new());
    let message = drops.message(0);
    let group = async move {
        let group = TaskGroup::<()>::new();
        group.spawn(async move {
            let _message = message;
            pending().await
        });
        group.join().await.is_ok()
    };
    assert!(wait_for(group, 5 * MS).await.is_err());
    assert_eq!(start.elapsed(), 5 * MS);
    sleep(MS).await;
    assert_eq!(drops.drops(), 1);
}

#[filch::test(paused)]
async fn a_future_that_spends_the_budget_times_out_at_each_level() {
    let glutton = || {
        poll_fn(|cx| {
            while Pin::new(&mut sleep(Duration::ZERO)).poll(cx).is_ready() {}
            Poll::<()>::Pending
        })
    };
    for (outer, inner, by_outer) in [(10, 30, true), (30, 10, false)] {
        let start = Instant::now();
        let eats = filch::spawn(async move { wait_for(wait_for(glutton(), inner * MS), outer * MS).await });
        // Time stands still while it eats.
        filch::yield_now().await;
        filch::time::advance(10 * MS).await;
        assert_eq!(eats.await.unwrap().is_err(), by_outer);
        assert_eq!(start.elapsed(), 10 * MS);
    }
}

/// At the very deadline, and one tick to both sides of it: there is a value, or what it stands for is still there.
#[filch::test(paused)]
async fn wf2_nothing_is_lost_round_the_deadline() {
    const TICK: Duration = Duration::from_nanos(1);
    for lead in [0, 1, 2] {
        // The event comes a tick before the deadline, with it, or a tick after.
        let (event, limit) = (5 * MS, 5 * MS + TICK - lead * TICK);
        // With it, who comes first is the seed's choice.
        let in_time = |is_ok: bool| lead == 1 || is_ok == (lead == 0);

        let (tx, rx) = bounded(1);
        let send = async {
            sleep(event).await;
            tx.send(7).await.unwrap()
        };
        let (got, ()) = filch::gather!(wait_for(rx.recv(), limit), send);
        assert!(in_time(got.is_ok()));
        assert_eq!(got.unwrap_or_else(|_| Ok(rx.try_recv().unwrap())), Ok(7));

        let (tx, mut rx) = oneshot::channel();
        let send = async {
            sleep(event).await;
            tx.send(7).unwrap()
        };
        let (got, ()) = filch::gather!(wait_for(&mut rx, limit), send);
        assert!(in_time(got.is_ok()));
        if got.is_err() {
            assert_eq!(rx.await, Ok(7));
        }

        let queue = Queue::new(0);
        let put = async {
            sleep(event).await;
            queue.put(7).await.unwrap()
        };
        let (got, ()) = filch::gather!(wait_for(queue.get(), limit), put);
        assert!(in_time(got.is_ok()));
        assert_eq!(got.is_err(), queue.try_get().is_ok());

        let semaphore = Semaphore::new(0);
        let add = async {
            sleep(event).await;
            semaphore.add_permits(1)
        };
        let (got, ()) = filch::gather!(wait_for(semaphore.acquire(), limit), add);
        assert!(in_time(got.is_ok()));
        drop(got);
        assert_eq!(semaphore.available_permits(), 1);

        let lock = Lock::new(());
        let guard = lock.lock().await;
        let unlock = async {
            sleep(event).await;
            drop(guard)
        };
        let (got, ()) = filch::gather!(wait_for(lock.lock(), limit), unlock);
        assert!(in_time(got.is_ok()));
        drop(got);
        assert!(lock.try_lock().is_ok());

        let mut task = filch::spawn(async move { sleep(event).await });
        let got = wait_for(&mut task, limit).await;
        assert!(in_time(got.is_ok()));
        if got.is_err() {
            task.await.unwrap();
        }
    }
}

#[filch::test(paused)]
async fn wf1_what_is_ready_at_the_deadline_wins_however_many_wait_for_it() {
    let deadline = Instant::now() + 5 * MS;
    let tasks: Vec<_> = (0..100)
        .map(|_| filch::spawn(async move { timeout_at(deadline, sleep_until(deadline)).await.is_ok() }))
        .collect();
    for task in tasks {
        assert!(task.await.unwrap());
    }
}
