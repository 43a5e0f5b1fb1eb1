//! The promise: whatever comes when, in whatever sizes, and whoever gives up, a limiter lets pass what the plainest
//! model of it lets pass, and at the same tick.
//!
//! Random programs on the paused clock, shrunk to the shortest one that fails. The models know no ring and no
//! single number: one counts all that ever passed, the other fills a bucket by rational numbers.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, Waker};

use filch::limit::{Pace, Paced, RateLimiter, TokenBucket};
use filch::time::{Duration, Instant, advance};
use proptest::prelude::*;
use proptest::test_runner::Config;

fn config() -> Config {
    Config { cases: 256, failure_persistence: None, ..Config::default() }
}

/// What is done: time passes, somebody comes or gives up, or the server is angry.
#[derive(Clone, Debug)]
enum Step {
    Advance(u64),
    Come(usize),
    Try(usize),
    GiveUp(usize),
    Penalize(u64),
}

/// Times in nanoseconds, about as long as the period, much shorter and much longer.
fn step(max: usize, period: u64) -> impl Strategy<Value = Step> {
    prop_oneof![
        6 => (0..=period).prop_map(Step::Advance),
        2 => (0..=period / 10).prop_map(Step::Advance),
        1 => (0..=period.saturating_mul(100)).prop_map(Step::Advance),
        6 => (1..=max).prop_map(Step::Come),
        3 => (1..=max).prop_map(Step::Try),
        3 => (0..8_usize).prop_map(Step::GiveUp),
        1 => (0..=period).prop_map(Step::Penalize),
    ]
}

/// A limiter, as plain as can be: may so many pass at this tick?
trait Model {
    fn may_pass(&self, now: u64, n: usize) -> bool;
    fn pass(&mut self, now: u64, n: usize);
}

struct AllThatPassed {
    max: usize,
    period: u64,
    passed: Vec<(u64, usize)>,
}

impl Model for AllThatPassed {
    fn may_pass(&self, now: u64, n: usize) -> bool {
        let in_window = self.passed.iter().filter(|(at, _)| now - at < self.period);
        in_window.map(|(_, n)| n).sum::<usize>() + n <= self.max
    }

    fn pass(&mut self, now: u64, n: usize) {
        self.passed.push((now, n));
    }
}

/// The tokens in the bucket are `level / period`, at tick `at`.
struct Filled {
    rate: u128,
    period: u128,
    burst: u128,
    level: u128,
    at: u64,
}

impl Filled {
    fn level(&self, now: u64) -> u128 {
        (self.level + u128::from(now - self.at) * self.rate).min(self.burst * self.period)
    }
}

impl Model for Filled {
    fn may_pass(&self, now: u64, n: usize) -> bool {
        self.level(now) >= n as u128 * self.period
    }

    fn pass(&mut self, now: u64, n: usize) {
        self.level = self.level(now) - n as u128 * self.period;
        self.at = now;
    }
}

type Waiting<'a> = (usize, Pin<Box<dyn Future<Output = ()> + 'a>>);

/// Lets pass whoever may, by the model, and checks that the limiter does the same.
fn settle(line: &mut Vec<Waiting<'_>>, model: &mut impl Model, now: u64, closed_until: u64) {
    let mut cx = Context::from_waker(Waker::noop());
    while let Some((n, first)) = line.first_mut() {
        let may = now >= closed_until && model.may_pass(now, *n);
        assert_eq!(first.as_mut().poll(&mut cx) == Poll::Ready(()), may, "at {now}, {n} more");
        if !may {
            break;
        }
        model.pass(now, *n);
        drop(line.remove(0));
    }
    // None of the others, though each is polled.
    for (_, future) in line.iter_mut().skip(1) {
        assert!(future.as_mut().poll(&mut cx).is_pending());
    }
}

async fn play<P: Pace>(limiter: Paced<P>, mut model: impl Model, steps: Vec<Step>) {
    let start = Instant::now();
    let now = || start.elapsed().as_nanos() as u64;
    let mut closed_until = 0;
    let mut line: Vec<Waiting<'_>> = Vec::new();
    for step in steps {
        match step {
            Step::Advance(nanos) => advance(Duration::from_nanos(nanos)).await,
            Step::Come(n) => {
                let limiter = &limiter;
                let future = async move { limiter.acquire_many(n).await.unwrap() };
                line.push((n, Box::pin(future)));
            }
            Step::Try(n) => {
                let may = line.is_empty() && now() >= closed_until && model.may_pass(now(), n);
                let answer = limiter.try_acquire_many(n);
                assert_eq!(answer.is_ok(), may, "{answer:?}");
                if may {
                    model.pass(now(), n);
                }
                // What it says of when holds to the tick, or is too early if it will take more than time.
                if let Some(after) = answer.err().and_then(|error| error.retry_after()) {
                    let then = now().saturating_add(after.as_nanos().try_into().unwrap_or(u64::MAX));
                    assert!(then > now() && (then - 1 < closed_until || !model.may_pass(then - 1, n)));
                    // Not so after the end of the clock.
                    assert!(then == closed_until || then == u64::MAX || model.may_pass(then, n));
                }
            }
            Step::GiveUp(which) => {
                if let Some(index) = which.checked_rem(line.len()) {
                    drop(line.remove(index));
                }
            }
            Step::Penalize(nanos) => {
                limiter.penalize(Duration::from_nanos(nanos));
                closed_until = closed_until.max(now().saturating_add(nanos));
            }
        }
        settle(&mut line, &mut model, now(), closed_until);
        assert_eq!(limiter.waiting(), line.len());
    }
}

fn paused(future: impl Future<Output = ()>) {
    filch::Builder::new().paused_clock(3).build().unwrap().block_on(future);
}

/// Periods from a nanosecond to ten years.
fn period() -> impl Strategy<Value = u64> {
    prop_oneof![1..=20_u64, 1..=2_000_000_000_u64, 1..=315_360_000_000_000_000_u64]
}

fn programs() -> impl Strategy<Value = (usize, u64, Vec<Step>)> {
    (1..=6_usize, period()).prop_flat_map(|(max, period)| {
        let steps = proptest::collection::vec(step(max, period), 1..60);
        (Just(max), Just(period), steps)
    })
}

proptest! {
    #![proptest_config(config())]

    #[test]
    fn rl1_windows_do_what_a_list_of_all_calls_does((max, period, steps) in programs()) {
        let model = AllThatPassed { max, period, passed: Vec::new() };
        paused(async { play(RateLimiter::new(max, Duration::from_nanos(period)), model, steps).await });
    }

    #[test]
    fn rl1_buckets_do_what_rational_numbers_do(
        (burst, period, steps) in programs(),
        rate in prop_oneof![1..=10_usize, 1..=1_000_000_000_usize],
    ) {
        let (wide, deep) = (u128::from(period), burst as u128);
        let model = Filled { rate: rate as u128, period: wide, burst: deep, level: deep * wide, at: 0 };
        let bucket = TokenBucket::new(rate, Duration::from_nanos(period)).burst(burst);
        paused(async { play(bucket, model, steps).await });
    }
}
