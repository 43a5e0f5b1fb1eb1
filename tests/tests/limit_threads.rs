//! The promise: on the machine's clock, with threads and tasks in one line, no window ever holds more than it may,
//! and nobody is forgotten.
//!
//! No clock is paused in this file, so that the limiters here use their readings again. Nothing is asserted of how
//! fast it goes, only that nobody was too early.

use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use filch::limit::{AcquireTimeoutError, Bucket, Keyed, Pace, Paced, RateLimiter, TokenBucket, Window};
use filch_tests::watched;

const MS: Duration = Duration::from_millis(1);

/// Between which two instants each call passed.
type Passes = Arc<Mutex<Vec<(Instant, Instant)>>>;

fn note(passes: &Passes, pass: impl FnOnce()) {
    let before = Instant::now();
    pass();
    let after = Instant::now();
    passes.lock().unwrap().push((before, after));
}

/// Three threads and two tasks, on two workers, pass so often each.
fn hammer<P: Pace + Send + 'static>(limiter: Paced<P>, times: usize) -> (Vec<Instant>, Vec<Instant>) {
    let (limiter, passes) = (Arc::new(limiter), Passes::default());
    let threads: Vec<_> = (0..3)
        .map(|_| {
            let (limiter, passes) = (limiter.clone(), passes.clone());
            thread::spawn(move || (0..times).for_each(|_| note(&passes, || limiter.acquire_blocking())))
        })
        .collect();
    let runtime = filch_tests::workers(2);
    let tasks: Vec<_> = (0..2)
        .map(|_| {
            let (limiter, passes) = (limiter.clone(), passes.clone());
            runtime.spawn(async move {
                for _ in 0..times {
                    let before = Instant::now();
                    limiter.acquire().await;
                    let after = Instant::now();
                    passes.lock().unwrap().push((before, after));
                }
            })
        })
        .collect();
    threads.into_iter().for_each(|thread| thread.join().unwrap());
    tasks.into_iter().for_each(|task| task.join_blocking().unwrap());
    assert_eq!(limiter.waiting(), 0);
    let (mut before, mut after): (Vec<_>, Vec<_>) = passes.lock().unwrap().iter().copied().unzip();
    assert_eq!(after.len(), 5 * times);
    // Whoever passed as the n-th did so after the n-th of all beginnings, and before the n-th of all ends.
    before.sort();
    after.sort();
    (before, after)
}

#[test]
fn rl1_no_window_holds_more_than_it_may() {
    watched(|| {
        let (before, after) = hammer(RateLimiter::new(10, 2 * MS), 40);
        for (n, (after, before)) in after[10..].iter().zip(&before).enumerate() {
            assert!(*after >= *before + 2 * MS, "call {} was too early", n + 10);
        }
    });
}

#[test]
fn rl1_no_bucket_gives_more_than_came_in() {
    watched(|| {
        // One every 200 µs, and ten saved up.
        let (before, after) = hammer(TokenBucket::new(10, 2 * MS), 40);
        for (n, after) in (1..).zip(&after[10..]) {
            assert!(*after >= before[0] + n * Duration::from_micros(200), "call {} was too early", n + 9);
        }
    });
}

#[test]
fn calls_without_a_pause_are_counted_one_by_one() {
    let count = |mut pass: Box<dyn FnMut() -> bool>| (0..100_000).filter(|_| pass()).count();
    let hour = 3_600_000 * MS;
    let (window, bucket): (Paced<Window>, Paced<Bucket>) =
        (RateLimiter::new(1_234, hour), TokenBucket::new(1_234, hour));
    assert_eq!(count(Box::new(move || window.try_acquire().is_ok())), 1_234);
    // In the time that this takes, some tokens come in; one every three seconds.
    let start = Instant::now();
    let passed = count(Box::new(move || bucket.try_acquire().is_ok()));
    let came_in = (start.elapsed().as_secs() / 2) as usize + 1;
    assert!((1_234..=1_234 + came_in).contains(&passed), "{passed}");
    let keyed = Keyed::new(move |_: &u8| RateLimiter::new(17, hour));
    let mut key = 0_u8;
    let next = move || {
        key = key.wrapping_add(1);
        keyed.try_acquire(&(key % 10)).is_ok()
    };
    assert_eq!(count(Box::new(next)), 170);
}

#[test]
fn a_thread_gives_up_when_it_knows_that_it_is_too_late() {
    watched(|| {
        let limiter = RateLimiter::new(1, 3_600_000 * MS);
        limiter.acquire_blocking();
        // The time limit is far longer than a test may take: it returns early.
        assert_eq!(limiter.acquire_timeout(3_000_000 * MS), Err(AcquireTimeoutError::Timeout));
        assert_eq!(limiter.waiting(), 0);
        let soon = RateLimiter::new(1, MS);
        soon.acquire_blocking();
        assert_eq!(soon.acquire_timeout(Duration::MAX), Ok(()));
    });
}
