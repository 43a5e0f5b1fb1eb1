//! The promise: a `Limiter` runs no more at once than it says, first come, first served; a slot is free again
//! whatever became of its future; and together with a rate both limits hold.

use std::cell::Cell;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::thread;

use filch::limit::{Limiter, LimiterError, RateLimiter, TokenBucket, TryAcquireError};
use filch::testing::cancel_at_every_await;
use filch::time::{Duration, Instant, sleep, timeout};
use filch_tests::watched;

const MS: Duration = Duration::from_millis(1);
const SECOND: Duration = Duration::from_secs(1);

#[filch::test(paused)]
async fn at_most_so_many_run_first_come_first_served() {
    let limiter = Limiter::new(3);
    let (running, most) = (Cell::new(0), Cell::new(0));
    let start = Instant::now();
    let task = async |i: u32| {
        running.set(running.get() + 1);
        most.set(most.get().max(running.get()));
        let began = start.elapsed();
        sleep(SECOND).await;
        running.set(running.get() - 1);
        (i, began.as_secs())
    };
    let results = filch::gather((0..10).map(|i| limiter.run(task(i)))).await;
    let expected: Vec<_> = (0..10).map(|i| (i, u64::from(i / 3))).collect();
    assert_eq!(results, expected);
    assert_eq!(most.get(), 3);
    assert_eq!(start.elapsed(), 4 * SECOND);
}

#[filch::test(paused)]
async fn a_newcomer_takes_no_slot_that_is_handed_on() {
    let limiter = Arc::new(Limiter::new(1));
    let slot = limiter.acquire().await;
    let waits = {
        let limiter = limiter.clone();
        filch::spawn(async move { limiter.run(async {}).await })
    };
    sleep(MS).await;
    drop(slot);
    // It is the turn of the task that waits, though that has not run yet.
    assert_eq!(limiter.try_acquire().unwrap_err(), LimiterError::Full);
    waits.await.unwrap();
    assert!(limiter.try_acquire().is_ok());
}

#[filch::test(paused)]
async fn a_slot_is_free_after_an_error_a_panic_and_a_cancel() {
    let limiter = Arc::new(Limiter::new(1));
    let result: Result<(), &str> = limiter.run(async { Err("no") }).await;
    assert_eq!(result, Err("no"));
    assert!(timeout(SECOND, limiter.run(std::future::pending::<()>())).await.is_err());
    let panics = {
        let limiter = limiter.clone();
        filch::spawn(async move { limiter.run(async { panic!("on purpose") }).await })
    };
    assert!(panics.await.unwrap_err().is_panic());
    let blocks = AssertUnwindSafe(|| limiter.run_blocking(|| panic!("on purpose")));
    assert!(std::panic::catch_unwind(blocks).is_err());
    let stats = limiter.stats();
    assert_eq!((stats.max, stats.running, stats.waiting), (1, 0, 0));
    assert_eq!(limiter.run(async { 7 }).await, 7);
}

#[filch::test(paused)]
async fn both_limits_hold_and_the_rate_counts_when_one_starts() {
    let rate = Arc::new(RateLimiter::new(2, SECOND));
    let limiter = Limiter::new(3).rate(rate.clone());
    let start = Instant::now();
    let task = async |_| {
        let began = start.elapsed().as_millis();
        sleep(1_700 * MS).await;
        began
    };
    let mut began = filch::gather((0..7).map(|i| limiter.run(task(i))));
    assert!(timeout(500 * MS, &mut began).await.is_err());
    let stats = limiter.stats();
    assert_eq!((stats.running, stats.waiting), (3, 5), "the third has a slot, and waits for the rate");
    assert_eq!(limiter.try_acquire().unwrap_err(), LimiterError::Full);
    // Slots: two at 0, one at 1,000; then one each time one ends; never more than two a second.
    assert_eq!(began.await, [0, 0, 1_000, 1_700, 2_000, 2_700, 3_400]);
    assert_eq!(rate.available(), 2);
    rate.acquire_many(2).await.unwrap();
    let error = limiter.try_acquire().unwrap_err();
    assert_eq!(error, LimiterError::Rate(TryAcquireError::NotYet(SECOND)));
    assert_eq!(error.to_string(), "the limiter had a slot, but: the limit is reached for another 1s");
    assert_eq!(limiter.stats().running, 0);
}

#[filch::test(paused)]
async fn who_gives_up_anywhere_has_taken_nothing() {
    let report = cancel_at_every_await(async |trial| {
        let limiter = Limiter::new(1).rate(TokenBucket::every(SECOND));
        let slot = limiter.acquire().await;
        let start = Instant::now();
        let passed = trial
            .beside(async {
                sleep(100 * MS).await;
                drop(slot);
            })
            .run(limiter.run(async {}))
            .await
            .is_some();
        limiter.run(async {}).await;
        assert_eq!(start.elapsed(), if passed { 2 * SECOND } else { SECOND });
        assert_eq!((limiter.stats().running, limiter.stats().waiting), (0, 0));
    });
    report.await.assert_waited();
}

#[test]
fn threads_and_tasks_share_the_slots() {
    watched(|| {
        let limiter = Arc::new(Limiter::new(2).rate(RateLimiter::new(1_000_000, SECOND)));
        let (running, most) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
        let enter = {
            let (running, most) = (running.clone(), most.clone());
            move || {
                most.fetch_max(running.fetch_add(1, SeqCst) + 1, SeqCst);
                thread::yield_now();
                running.fetch_sub(1, SeqCst);
            }
        };
        let threads: Vec<_> = (0..3)
            .map(|_| {
                let (limiter, enter) = (limiter.clone(), enter.clone());
                thread::spawn(move || (0..100).for_each(|_| limiter.run_blocking(&enter)))
            })
            .collect();
        let tasks = {
            let limiter = limiter.clone();
            async move {
                for _ in 0..100 {
                    limiter.run(async { enter() }).await;
                }
            }
        };
        filch_tests::workers(2).spawn(tasks).join_blocking().unwrap();
        threads.into_iter().for_each(|thread| thread.join().unwrap());
        assert!(most.load(SeqCst) <= 2);
        let _slots = (limiter.acquire_blocking(), limiter.try_acquire().unwrap());
        assert_eq!(limiter.acquire_timeout(MS).unwrap_err(), LimiterError::Full);
    });
}
