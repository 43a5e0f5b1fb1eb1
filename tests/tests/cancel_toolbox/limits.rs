//! Limits, and what is tried again: each passes at the tick at which it may, whoever has given up before it.

use std::cell::Cell;

use filch::limit::{Debounce, Keyed, LimitExt, Limiter, Paced, RateLimiter, TokenBucket};
use filch::stream::{Stream, StreamExt, iter};
use filch::time::{Duration, Instant, sleep};
use filch::{Backoff, Retry, retry};

const MS: Duration = Duration::from_millis(1);
const SECOND: Duration = Duration::from_secs(1);

fn pace() -> Paced<filch::limit::Bucket> {
    TokenBucket::every(SECOND)
}

/// Pending once, and woken by the clock.
async fn a_while<T>(output: T) -> T {
    sleep(MS).await;
    output
}

fn late(n: u32) -> impl Stream<Item = u32> {
    filch::stream::once(()).then(move |()| a_while(n))
}

operations! {
    by paused:

    acquire: "Paced::acquire" => async |trial| {
        let limiter = RateLimiter::new(1, SECOND);
        limiter.acquire().await;
        let start = Instant::now();
        let passed = trial.beside(async { limiter.acquire().await }).run(limiter.acquire()).await.is_some();
        assert_eq!((start.elapsed(), limiter.waiting()), (if passed { 2 * SECOND } else { SECOND }, 0));
    };
    acquire_many: "Paced::acquire_many" => async |trial| {
        let limiter = TokenBucket::new(3, 3 * SECOND);
        limiter.acquire_many(3).await.unwrap();
        let start = Instant::now();
        let other = async { limiter.acquire_many(2).await.unwrap() };
        let passed = trial.beside(other).run(limiter.acquire_many(2)).await.is_some();
        assert_eq!((start.elapsed(), limiter.waiting()), (if passed { 4 * SECOND } else { 2 * SECOND }, 0));
    };
    run_at_a_rate: "Paced::run" => async |trial| {
        let (limiter, polled) = (pace(), Cell::new(0));
        limiter.acquire().await;
        let start = Instant::now();
        let job = async {
            polled.set(polled.get() + 1);
            a_while(()).await;
        };
        let ended = trial.run(limiter.run(job)).await.is_some();
        // It has counted if its turn had come, and then only.
        assert!(polled.get() == 1 || !ended);
        limiter.acquire().await;
        assert_eq!(start.elapsed(), if polled.get() == 1 { 2 * SECOND } else { SECOND });
    };
    a_key: "Keyed::acquire", "Keyed::acquire_many" => async |trial| {
        let keys = Keyed::new(|_: &u8| TokenBucket::new(2, 2 * SECOND));
        keys.acquire_many(&1, 2).await.unwrap();
        keys.acquire(&2).await.unwrap();
        let start = Instant::now();
        let other = async { keys.acquire(&1).await.unwrap() };
        let passed = trial.beside(other).run(keys.acquire(&1)).await.is_some();
        assert_eq!(start.elapsed(), if passed { 2 * SECOND } else { SECOND });
        sleep(2 * SECOND).await;
        assert_eq!(keys.evict_idle(), 2);
    };
    a_slot: "Limiter::acquire" => async |trial| {
        let limiter = Limiter::new(1);
        let held = limiter.acquire().await;
        let gives_up = async {
            a_while(()).await;
            drop(held);
        };
        let next = async { drop(limiter.acquire().await) };
        trial.ahead(gives_up).beside(next).run(async { drop(limiter.acquire().await) }).await;
        let stats = limiter.stats();
        assert_eq!((stats.running, stats.waiting), (0, 0));
    };
    run_with_a_slot: "Limiter::run" => async |trial| {
        let limiter = Limiter::new(1).rate(pace());
        let start = Instant::now();
        let ended = trial.beside(limiter.run(a_while(()))).run(limiter.run(a_while(5))).await;
        assert!(ended.is_none_or(|output| output == 5));
        assert!(start.elapsed() <= SECOND + 2 * MS);
        let stats = limiter.stats();
        assert_eq!((stats.running, stats.waiting), (0, 0));
    };

    flush: "Debounce::flush" => async |trial| {
        let calls = std::sync::Arc::new(std::sync::atomic::AtomicUsize::new(0));
        let counted = calls.clone();
        let debounce = Debounce::new(10 * MS, move |_: u8| {
            counted.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        });
        debounce.call(1);
        // A flush alone never waits on one thread.
        trial.run(async { a_while(debounce.flush().await).await }).await;
        sleep(20 * MS).await;
        assert_eq!(calls.load(std::sync::atomic::Ordering::Relaxed), 1);
    };
    debounced: "Debounced as Stream" => async |trial| {
        let mut items = Box::pin(iter([1, 2]).chain(late(3)).debounce(5 * MS));
        let mut seen = Vec::from_iter(trial.run(items.next()).await.flatten());
        seen.extend(items.collect::<Vec<_>>().await);
        assert_eq!(seen, [3]);
    };
    throttled: "Throttled as Stream" => async |trial| {
        let all = late(3).chain(late(4)).chain(filch::stream::pending());
        let mut items = Box::pin(all.throttle(10 * MS).trailing().take(2));
        let mut seen = Vec::from_iter(trial.run(items.next()).await.flatten());
        seen.extend(items.collect::<Vec<_>>().await);
        assert_eq!(seen, [3, 4]);
    };
    paced: "PacedStream as Stream" => async |trial| {
        let limiter = pace();
        limiter.acquire().await;
        let start = Instant::now();
        let mut items = Box::pin(iter([1, 2]).paced(&limiter));
        let mut seen = Vec::from_iter(trial.run(items.next()).await.flatten());
        seen.extend(items.collect::<Vec<_>>().await);
        assert_eq!((seen, start.elapsed()), (vec![1, 2], 2 * SECOND));
    };

    tried_again: "retry", "Retry::run", "Retry::run_fn" => async |trial| {
        let (calls, running) = (Cell::new(0), Cell::new(0));
        let operation = async || {
            calls.set(calls.get() + 1);
            running.set(running.get() + 1);
            a_while(()).await;
            running.set(running.get() - 1);
            if calls.get() < 6 { Err(calls.get()) } else { Ok(calls.get()) }
        };
        let backoff = || Backoff::constant(SECOND).attempts(2);
        let all = async {
            retry(backoff(), operation).await.unwrap_err();
            Retry::new(backoff()).run(operation).await.unwrap_err();
            Retry::new(backoff()).run_fn(operation).await.unwrap()
        };
        let ended = trial.run(all).await;
        let made = calls.get();
        sleep(10 * SECOND).await;
        assert_eq!(calls.get(), made, "nothing goes on without it");
        assert!(ended.is_none_or(|last| (last, running.get()) == (6, 0)));
    };
}
