//! The promise: `retry` tries again as often, and after as long, as its policy says; it gives up with the last
//! error and says why; and its jitter is the seed's.

use std::cell::Cell;
use std::error::Error;
use std::io;
use std::sync::Mutex;

use filch::testing::cancel_at_every_await;
use filch::time::{Duration, Instant, sleep};
use filch::{Backoff, GaveUp, Retry, RetryError, retry, wait_for};
use filch_tests::panics;

const MS: Duration = Duration::from_millis(1);
const SECOND: Duration = Duration::from_secs(1);

/// Fails always, and notes when it was called.
async fn attempts(backoff: Backoff) -> (Vec<u128>, RetryError<usize>) {
    let start = Instant::now();
    let mut times = Vec::new();
    let result: Result<(), _> = retry(backoff, async || {
        times.push(start.elapsed().as_millis());
        Err(times.len())
    })
    .await;
    (times, result.unwrap_err())
}

#[filch::test(paused)]
async fn pauses_grow_up_to_their_cap_and_attempts_end() {
    let backoff = Backoff::exponential(100 * MS).no_jitter().cap(350 * MS).attempts(6);
    let (times, error) = attempts(backoff.clone()).await;
    assert_eq!(times, [0, 100, 300, 650, 1_000, 1_350]);
    assert_eq!((error.attempts(), error.gave_up(), *error.error()), (6, GaveUp::Attempts, 6));
    assert_eq!(error.to_string(), "failed after 6 attempts, and no more were allowed: 6");
    assert_eq!(attempts(backoff.factor(3).attempts(3)).await.0, [0, 100, 400]);
    assert_eq!(attempts(Backoff::constant(SECOND).attempts(3)).await.0, [0, 1_000, 2_000]);
    let (times, error) = attempts(Backoff::default().attempts(1)).await;
    assert_eq!(times, [0]);
    assert_eq!(error.to_string(), "failed after 1 attempt, and no more were allowed: 1");
}

#[filch::test(paused)]
async fn no_attempt_begins_after_the_deadline() {
    let backoff = Backoff::exponential(100 * MS).no_jitter().forever();
    let start = Instant::now();
    let (times, error) = attempts(backoff.clone().deadline(700 * MS)).await;
    assert_eq!((times, error.gave_up()), (vec![0, 100, 300, 700], GaveUp::Deadline));
    assert_eq!(start.elapsed(), 700 * MS, "it does not pause in vain");
    let (times, _) = attempts(backoff.deadline(699 * MS)).await;
    assert_eq!(times, [0, 100, 300]);
}

#[filch::test(paused)]
async fn the_first_success_ends_it() {
    let mut calls = 0;
    let start = Instant::now();
    let value = retry(Backoff::constant(SECOND), async || {
        calls += 1;
        sleep(MS).await;
        if calls == 3 { Ok("here") } else { Err(()) }
    })
    .await;
    assert_eq!((value.unwrap(), calls), ("here", 3));
    assert_eq!(start.elapsed(), 2 * SECOND + 3 * MS);
}

#[filch::test(paused)]
async fn only_what_is_worth_it_is_tried_again_and_the_hook_is_told() {
    let mut kinds = vec![io::ErrorKind::NotFound, io::ErrorKind::TimedOut, io::ErrorKind::ConnectionReset];
    let mut told = Vec::new();
    let result: Result<(), _> = Retry::new(Backoff::exponential(10 * MS).no_jitter())
        .when(|error: &io::Error| error.kind() != io::ErrorKind::NotFound)
        .on_retry(|error, attempt, pause| told.push((error.kind(), attempt, pause)))
        .run(async || Err(io::Error::from(kinds.pop().unwrap())))
        .await;
    let error = result.unwrap_err();
    assert_eq!((error.attempts(), error.gave_up()), (3, GaveUp::NotWorthIt));
    assert!(error.source().unwrap().is::<io::Error>());
    assert!(error.to_string().starts_with("failed after 3 attempts, and this error is not worth another: "));
    assert_eq!(error.into_inner().kind(), io::ErrorKind::NotFound);
    let expected = [(io::ErrorKind::ConnectionReset, 1, 10 * MS), (io::ErrorKind::TimedOut, 2, 20 * MS)];
    assert_eq!(told, expected);
}

#[filch::test(paused)]
async fn a_pause_that_the_error_asks_for_goes_before_the_planned_one() {
    let start = Instant::now();
    let mut wishes = vec![None, Some(7 * SECOND), None];
    let result: Result<(), _> = Retry::new(Backoff::exponential(SECOND).no_jitter().attempts(3))
        .retry_after(|wish: &Option<Duration>| *wish)
        .run(async || Err(wishes.pop().unwrap()))
        .await;
    assert!(result.is_err());
    assert_eq!(start.elapsed(), 8 * SECOND);
}

static DRAWN: Mutex<Vec<Vec<Duration>>> = Mutex::new(Vec::new());

/// A test by itself, and what the next one calls.
#[filch::test(paused, seed = 7)]
async fn draws_pauses() {
    let pauses: Vec<_> = Backoff::default().attempts(101).pauses().collect();
    assert_eq!(pauses.len(), 100);
    DRAWN.lock().unwrap().push(pauses);
}

#[test]
fn jitter_follows_from_the_seed() {
    draws_pauses();
    let other: Vec<_> = Backoff::default().attempts(101).pauses().collect();
    draws_pauses();
    let drawn = DRAWN.lock().unwrap();
    assert!(drawn.len() >= 2 && drawn.iter().all(|pauses| *pauses == drawn[0]));
    assert_ne!(other, drawn[0]);
}

#[test]
fn jitter_stays_within_its_bounds() {
    let full = Backoff::constant(SECOND).full_jitter();
    let equal = Backoff::constant(SECOND).equal_jitter();
    let range = Backoff::jittered(10 * MS, 100 * MS);
    for (backoff, least, most) in
        [(full, Duration::ZERO, SECOND), (equal, SECOND / 2, SECOND), (range, 10 * MS, 100 * MS)]
    {
        let drawn: Vec<_> = backoff.attempts(1_001).pauses().collect();
        assert_eq!(drawn.len(), 1_000);
        assert!(drawn.iter().all(|pause| (least..=most).contains(pause)));
        // All of the range is used: a thousand draws miss a tenth of it at either end never in a lifetime.
        let tenth = (most - least) / 10;
        assert!(drawn.iter().any(|pause| *pause < least + tenth));
        assert!(drawn.iter().any(|pause| *pause > most - tenth));
    }
}

#[test]
fn the_ends_of_what_can_be_said_are_survived() {
    let longest = Backoff::exponential(Duration::MAX).cap(Duration::MAX).factor(u32::MAX).forever();
    assert_eq!(longest.clone().no_jitter().pauses().take(3).last(), Some(Duration::MAX));
    assert!(longest.clone().equal_jitter().pauses().take(3).all(|pause| pause >= Duration::MAX / 2));
    assert_eq!(Backoff::constant(Duration::ZERO).full_jitter().pauses().next(), Some(Duration::ZERO));
    let runtime = filch::Builder::new().paused_clock(1).build().unwrap();
    runtime.block_on(async {
        let endless = retry(longest.deadline(Duration::MAX), async || Err::<(), _>(()));
        assert!(wait_for(endless, SECOND).await.is_err());
    });
    assert!(panics(|| drop(Backoff::default().attempts(0))).contains("allow one at least"));
    assert!(panics(|| drop(Backoff::jittered(2 * MS, MS))).contains("swap them"));
}

#[filch::test(paused)]
async fn it_can_be_spawned_and_dropped_anywhere() {
    let task = filch::spawn(async {
        let mut left = 2;
        let result = retry(Backoff::constant(MS), async move || {
            left -= 1;
            filch::yield_now().await;
            if left == 0 { Ok(left) } else { Err("again") }
        });
        let left = std::sync::atomic::AtomicU32::new(result.await.unwrap() + 2);
        let take = || async {
            let before = left.fetch_sub(1, std::sync::atomic::Ordering::Relaxed);
            filch::yield_now().await;
            if before == 1 { Ok("done") } else { Err("again") }
        };
        Retry::new(Backoff::constant(MS)).run_fn(take).await
    });
    assert_eq!(task.await.unwrap(), Ok("done"));
    let report = cancel_at_every_await(async |trial| {
        let calls = Cell::new(0);
        let result = trial
            .run(retry(Backoff::constant(SECOND), async || {
                calls.set(calls.get() + 1);
                sleep(MS).await;
                if calls.get() == 2 { Ok(()) } else { Err(()) }
            }))
            .await;
        let made = calls.get();
        sleep(10 * SECOND).await;
        assert_eq!(calls.get(), made, "nothing goes on without it");
        assert_eq!(result.is_some(), result.is_some_and(|result| result.is_ok()));
    });
    report.await.assert_waited();
}
