//! The promise: a rate limiter lets as many pass as it says and no more, first come, first served, each at the
//! very instant at which it may; one timer serves all who wait; and who gives up has counted for nothing.

use std::cell::RefCell;
use std::future::Future;
use std::sync::Arc;
use std::task::{Context, Waker};

use filch::limit::{AcquireTimeoutError, Bucket, Paced, RateLimiter, TokenBucket, TryAcquireError, Window};
use filch::testing::{Harness, Trial};
use filch::time::{Duration, Instant, advance, sleep, timeout};
use filch_tests::panics;

const MS: Duration = Duration::from_millis(1);
const SECOND: Duration = Duration::from_secs(1);
const YEAR: Duration = Duration::from_secs(365 * 86_400);

fn _is_send_and_sync<T: Send + Sync>() {}
const _: () = {
    _ = _is_send_and_sync::<RateLimiter>;
    _ = _is_send_and_sync::<TokenBucket>;
    _ = _is_send_and_sync::<filch::limit::Acquire<'_, Window>>;
    _ = _is_send_and_sync::<filch::limit::AcquireMany<'_, Bucket>>;
    _ = _is_send_and_sync::<filch::limit::Keyed<String, Bucket>>;
    _ = _is_send_and_sync::<filch::limit::Limiter>;
    _ = _is_send_and_sync::<filch::limit::Debounce<u8>>;
    _ = _is_send_and_sync::<filch::limit::Throttle<u8>>;
};

/// When each of `count` tasks passes, in the order in which they came.
async fn passes(count: usize, acquire: impl AsyncFn()) -> Vec<Duration> {
    let start = Instant::now();
    let one = async |_| {
        acquire().await;
        start.elapsed()
    };
    filch::gather((0..count).map(one)).await
}

#[filch::test(paused)]
async fn a_window_lets_the_next_pass_when_the_oldest_leaves_it() {
    let limiter = RateLimiter::new(3, SECOND);
    let start = Instant::now();
    let mut times = Vec::new();
    for pause in [0, 100, 200, 0, 0, 0, 0] {
        sleep(pause * MS).await;
        limiter.acquire().await;
        times.push(start.elapsed().as_millis());
    }
    assert_eq!(times, [0, 100, 300, 1_000, 1_100, 1_300, 2_000]);
}

#[filch::test(paused)]
async fn a_bucket_keeps_an_even_pace_after_a_burst() {
    let bucket = TokenBucket::new(3, SECOND);
    let times = passes(7, async || bucket.acquire().await).await;
    let nanos: Vec<_> = times.iter().map(Duration::as_nanos).collect();
    assert_eq!(nanos, [0, 0, 0, 333_333_334, 666_666_667, 1_000_000_000, 1_333_333_334]);
    let pace = TokenBucket::every(7 * MS);
    let times = passes(4, async || pace.acquire().await).await;
    assert_eq!(times, [Duration::ZERO, 7 * MS, 14 * MS, 21 * MS]);
}

#[filch::test(paused)]
async fn rl1_those_who_wait_pass_in_the_order_in_which_they_came() {
    let limiter = Arc::new(RateLimiter::new(1, MS));
    let order = Arc::new(std::sync::Mutex::new(Vec::new()));
    let mut tasks = Vec::new();
    for i in 0..100_u32 {
        let (limiter, order) = (limiter.clone(), order.clone());
        tasks.push(filch::spawn(async move {
            limiter.acquire().await;
            order.lock().unwrap().push(i);
        }));
        // They come one after the other, whatever the seed.
        sleep(Duration::from_nanos(1)).await;
    }
    assert_eq!(limiter.waiting(), 99);
    filch::gather(tasks).await;
    assert_eq!(*order.lock().unwrap(), (0..100).collect::<Vec<_>>());
    assert_eq!(limiter.waiting(), 0);
}

#[filch::test(paused)]
async fn a_small_wish_does_not_overtake_a_large_one() {
    let bucket = TokenBucket::new(10, SECOND);
    let start = Instant::now();
    bucket.acquire_many(10).await.unwrap();
    let large = async {
        bucket.acquire_many(8).await.unwrap();
        start.elapsed()
    };
    let small = async {
        sleep(MS).await;
        assert_eq!(bucket.try_acquire(), Err(TryAcquireError::InLine));
        sleep(500 * MS).await;
        assert_eq!(bucket.available(), 5);
        assert_eq!(bucket.try_acquire(), Err(TryAcquireError::InLine));
        bucket.acquire().await;
        start.elapsed()
    };
    assert_eq!(filch::gather!(large, small), (800 * MS, 900 * MS));
}

/// Counts what is done to the timers: each wake of a poll that was pending is one.
#[filch::test(paused)]
async fn however_many_wait_there_is_one_timer() {
    let limiter = Arc::new(RateLimiter::new(1, SECOND));
    let tasks: Vec<_> = (0..1_000)
        .map(|_| {
            let limiter = limiter.clone();
            filch::spawn(async move { limiter.acquire().await })
        })
        .collect();
    sleep(MS).await;
    let waiting = |kind| filch::Handle::current().tasks().iter().filter(|task| task.wait == kind).count();
    assert_eq!((waiting(filch::WaitKind::Timer), waiting(filch::WaitKind::Lock)), (1, 998));
    let start = Instant::now();
    filch::gather(tasks).await;
    assert_eq!(start.elapsed(), 999 * SECOND - MS);
}

#[filch::test(paused)]
async fn rl1_what_is_too_much_for_ever_is_an_error_at_once() {
    let limiter = RateLimiter::new(3, SECOND);
    let error = limiter.acquire_many(4).await.unwrap_err();
    assert_eq!((error.asked(), error.capacity()), (4, 3));
    assert_eq!(
        error.to_string(),
        "4 can never pass together, as the limiter lets 3 at most pass at once: ask for fewer, one after the other"
    );
    assert_eq!(limiter.try_acquire_many(4), Err(error.into()));
    assert_eq!(limiter.acquire_many_blocking(4), Err(error));
    assert_eq!(limiter.acquire_many_timeout(4, SECOND), Err(AcquireTimeoutError::TooMany(error)));
    assert_eq!(limiter.acquire_many(3).await, Ok(()));
    assert_eq!(limiter.try_acquire(), Err(TryAcquireError::NotYet(SECOND)));
    assert_eq!(limiter.acquire_many(0).await, Ok(()));
}

#[test]
fn what_can_never_let_anybody_pass_is_refused() {
    #[track_caller]
    fn refused<T>(make: impl FnOnce() -> T, says: &str) {
        let text = panics(|| drop(make()));
        assert!(text.contains(says), "{text}");
    }
    refused(|| RateLimiter::new(0, SECOND), "for no calls at all");
    refused(|| TokenBucket::new(0, SECOND), "a bucket without tokens");
    refused(|| TokenBucket::new(1, SECOND).burst(0), "a bucket without tokens");
    refused(|| TokenBucket::new(1 << 32, SECOND), "use a shorter period");
    refused(|| filch::limit::Limiter::new(0), "a limiter for none at all");
}

#[filch::test(paused)]
async fn a_try_says_when_to_try_again() {
    let limiter = RateLimiter::new(2, SECOND);
    assert_eq!(limiter.try_acquire(), Ok(()));
    sleep(300 * MS).await;
    assert_eq!(limiter.try_acquire(), Ok(()));
    let error = limiter.try_acquire().unwrap_err();
    assert_eq!(error.retry_after(), Some(700 * MS));
    assert_eq!(error.to_string(), "the limit is reached for another 700ms");
    assert_eq!(limiter.try_acquire_many(2), Err(TryAcquireError::NotYet(SECOND)));
    sleep(700 * MS - Duration::from_nanos(1)).await;
    assert!(limiter.try_acquire().is_err());
    sleep(Duration::from_nanos(1)).await;
    assert_eq!(limiter.try_acquire(), Ok(()));
    assert_eq!(limiter.available(), 0);
}

#[filch::test(paused)]
async fn a_penalty_holds_for_all_and_the_longest_counts() {
    let bucket = TokenBucket::new(100, SECOND);
    bucket.acquire_many(100).await.unwrap();
    let start = Instant::now();
    let waits = async {
        bucket.acquire().await;
        start.elapsed()
    };
    let punishes = async {
        sleep(5 * MS).await;
        bucket.penalize(3 * SECOND);
        bucket.penalize(SECOND);
        assert_eq!((bucket.available(), bucket.waiting()), (0, 1));
    };
    assert_eq!(filch::gather!(waits, punishes).0, 3 * SECOND + 5 * MS);
    assert_eq!(bucket.available(), 99);
    bucket.penalize(Duration::MAX);
    assert!(timeout(100 * YEAR, bucket.acquire()).await.is_err());
}

#[filch::test(paused)]
async fn the_next_in_line_takes_over_from_one_that_gave_up() {
    let limiter = RateLimiter::new(1, SECOND);
    limiter.acquire().await;
    let start = Instant::now();
    let gives_up = timeout(400 * MS, limiter.acquire());
    let second = async {
        limiter.acquire().await;
        start.elapsed()
    };
    let gives_up_in_line = timeout(500 * MS, limiter.acquire());
    let fourth = async {
        limiter.acquire().await;
        start.elapsed()
    };
    let (first, second, third, fourth) = filch::gather!(gives_up, second, gives_up_in_line, fourth);
    assert!(first.is_err() && third.is_err());
    assert_eq!((second, fourth), (SECOND, 2 * SECOND));
}

#[filch::test(paused)]
async fn rl2_idle_for_ten_years_it_has_saved_up_no_more_than_it_holds() {
    let (window, bucket) = (RateLimiter::new(5, SECOND), TokenBucket::new(2, SECOND).burst(5));
    advance(10 * YEAR).await;
    for _ in 0..2 {
        window.acquire_many(5).await.unwrap();
        bucket.acquire_many(5).await.unwrap();
        assert_eq!(window.try_acquire(), Err(TryAcquireError::NotYet(SECOND)));
        assert_eq!(bucket.try_acquire(), Err(TryAcquireError::NotYet(500 * MS)));
        advance(300 * YEAR).await;
    }
}

#[filch::test(paused)]
async fn rl2_near_the_end_of_the_clock_nobody_passes_early_and_nothing_panics() {
    let slow = RateLimiter::new(1, 100 * YEAR);
    let bucket = TokenBucket::new(1, 100 * YEAR);
    advance(580 * YEAR).await;
    slow.acquire().await;
    bucket.acquire().await;
    let never = filch::gather([slow.acquire(), slow.acquire()]);
    assert!(timeout(YEAR, never).await.is_err());
    assert!(timeout(YEAR, bucket.acquire()).await.is_err());
    advance(Duration::MAX).await;
    assert!(bucket.try_acquire().is_err());
    assert!(slow.try_acquire().unwrap_err().retry_after().unwrap() > 90 * YEAR);
}

#[filch::test(paused)]
async fn rl2_from_one_a_day_to_a_thousand_million_a_second() {
    let day = 86_400 * SECOND;
    let daily = TokenBucket::every(day);
    assert_eq!(passes(3, async || daily.acquire().await).await, [Duration::ZERO, day, 2 * day]);
    let fast = TokenBucket::new(1_000_000_000, SECOND).burst(1);
    let nanos: Vec<_> = (0..4).map(Duration::from_nanos).collect();
    assert_eq!(passes(4, async || fast.acquire().await).await, nanos);
    let start = Instant::now();
    fast.acquire().await;
    let fast = RateLimiter::new(1_000_000_000, SECOND);
    for _ in 0..3 {
        fast.acquire_many(600_000_000).await.unwrap();
    }
    assert_eq!(start.elapsed(), 2 * SECOND + Duration::from_nanos(1));
    let unlimited = RateLimiter::new(1, Duration::ZERO);
    assert_eq!(passes(100, async || unlimited.acquire().await).await, [Duration::ZERO; 100]);
}

#[filch::test(paused)]
async fn a_run_waits_for_its_turn_and_then_for_the_future() {
    let limiter = RateLimiter::new(1, SECOND);
    let start = Instant::now();
    let one = async |i: u32| {
        let began = start.elapsed();
        sleep(10 * MS).await;
        (i, began)
    };
    let runs = filch::gather((0..3).map(|i| limiter.run(one(i)))).await;
    assert_eq!(runs, [(0, Duration::ZERO), (1, SECOND), (2, 2 * SECOND)]);
    assert_eq!(start.elapsed(), 2 * SECOND + 10 * MS);
}

#[filch::test(paused)]
async fn a_report_names_the_line_that_waits() {
    let limiter = Arc::new(RateLimiter::new(1, SECOND));
    limiter.acquire().await;
    let mut tasks = Vec::new();
    for _ in 0..2 {
        let limiter = limiter.clone();
        tasks.push(filch::spawn(async move { limiter.acquire().await }));
    }
    sleep(MS).await;
    let line = line!() - 3;
    let infos = filch::Handle::current().tasks();
    let waits = infos.iter().filter(|task| task.wait_location.is_some_and(|place| place.line() == line));
    assert_eq!(waits.count(), 2);
    filch::gather(tasks).await;
}

#[test]
fn to_wait_outside_of_a_runtime_is_a_panic_that_says_so() {
    // On the machine's clock: by far longer than this takes.
    let limiter = RateLimiter::new(1, YEAR);
    let mut cx = Context::from_waker(Waker::noop());
    // Who may pass at once needs no runtime.
    assert!(std::pin::pin!(limiter.acquire()).poll(&mut cx).is_ready());
    let text = panics(std::panic::AssertUnwindSafe(|| {
        let _ = std::pin::pin!(limiter.acquire()).poll(&mut cx);
    }));
    assert!(text.contains("no filch runtime on this thread"), "{text}");
    // The line is not held up by it.
    assert_eq!(limiter.waiting(), 0);
    assert_eq!(limiter.acquire_timeout(Duration::ZERO), Err(AcquireTimeoutError::Timeout));
}

/// Drops an acquire of `n` at each of its polls, second in a line of three. When the others pass, and one more after
/// them, is checked to the second, be it that it passed or that it did not: then they pass as if it had not been there,
/// or, if it is given up at the very moment of its turn, one after the other from then on.
async fn dropped_everywhere<P: filch::limit::Pace>(
    make: fn() -> Paced<P>,
    n: usize,
    passed: [u32; 3],
    given_up: [[u32; 3]; 2],
) {
    let scenario = async |trial: Trial| {
        let limiter = make();
        limiter.acquire_many(2).await.unwrap();
        let (start, times) = (Instant::now(), RefCell::new(Vec::new()));
        let other = async || {
            limiter.acquire().await;
            times.borrow_mut().push(start.elapsed());
        };
        let trial = trial.ahead(other()).beside(other());
        let has_passed = match n {
            1 => trial.run(limiter.acquire()).await.is_some(),
            _ => trial.run(limiter.acquire_many(n)).await.inspect(|passed| passed.unwrap()).is_some(),
        };
        other().await;
        let expected = if has_passed { &[passed][..] } else { &given_up };
        let seconds: Vec<_> = times.borrow().iter().map(|time| time.as_secs_f64()).collect();
        let is = |times: &[u32; 3]| times.iter().map(|&time| f64::from(time)).eq(seconds.iter().copied());
        assert!(expected.iter().any(is), "{seconds:?} is none of {expected:?}");
        assert_eq!(limiter.waiting(), 0);
    };
    Harness::new().run(scenario).await.assert_waited();
}

#[filch::test(paused)]
async fn rl1_who_gives_up_anywhere_has_counted_for_nothing() {
    let window = || RateLimiter::new(2, SECOND);
    dropped_everywhere(window, 1, [1, 2, 2], [[1, 1, 2]; 2]).await;
    dropped_everywhere(window, 2, [1, 3, 3], [[1, 1, 2], [1, 2, 2]]).await;
    let bucket = || TokenBucket::new(2, 2 * SECOND);
    dropped_everywhere(bucket, 1, [1, 3, 4], [[1, 2, 3]; 2]).await;
    dropped_everywhere(bucket, 2, [1, 4, 5], [[1, 2, 3], [1, 3, 3]]).await;
}
