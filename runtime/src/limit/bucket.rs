//! Layer 3, limit. The token bucket, by the generic cell rate algorithm: one number, and no refilling.
//!
//! Owns when the bucket will be full again. After ITU-T I.371, in whole numbers: time is counted in units so
//! small that both a nanosecond and the time between two tokens are multiples of it, so nothing is rounded and
//! nothing drifts, whether it is one token a day or 10^9 a second. Called by `paced`.
#![forbid(unsafe_code)]

use std::time::Duration;

use super::pace::{Algorithm, Answer, NEVER, Now, Pace, nanos};

/// So many tokens a period, and some more saved up: what [`TokenBucket`](super::TokenBucket) goes by.
///
/// With `rate` tokens a period, a unit of time is the `rate`-th part of a nanosecond. No number here exceeds
/// 2^98: ticks are below 2^64, rate and burst below 2^32.
#[derive(Clone, Debug)]
pub struct Bucket {
    /// Units in a nanosecond.
    rate: u32,
    /// Units from one token to the next.
    period: u64,
    burst: u32,
    /// When the bucket is full again, in units.
    full: u128,
}

impl Bucket {
    /// Neither number is zero.
    pub(super) fn new(rate: u32, period: Duration, burst: u32) -> Bucket {
        Bucket { rate, period: nanos(period), burst, full: 0 }
    }

    pub(super) fn set_burst(&mut self, burst: u32) {
        self.burst = burst;
    }

    #[inline]
    fn units(&self, tick: u64) -> u128 {
        u128::from(tick) * u128::from(self.rate)
    }

    /// How long it takes to fill so many tokens in.
    #[inline]
    fn fill(&self, tokens: usize) -> u128 {
        u128::from(self.period) * tokens as u128
    }

    /// The first tick that is not before `units`.
    fn tick(&self, units: u128) -> u64 {
        match u64::try_from(units) {
            // Usually so, and a fraction of the cost.
            Ok(units) => units.div_ceil(u64::from(self.rate)),
            Err(_) => u64::try_from(units.div_ceil(u128::from(self.rate))).unwrap_or(NEVER),
        }
    }
}

impl Pace for Bucket {}

impl Algorithm for Bucket {
    fn capacity(&self) -> usize {
        self.burst as usize
    }

    #[inline]
    fn pass(&mut self, now: Now, n: usize) -> Answer {
        let (from, to) = (self.units(now.from), self.units(now.to));
        if self.full < to && from != to {
            // Full or not: that makes a difference of as much as it is not known.
            return Answer::Unsure;
        }
        let full = self.full.max(to) + self.fill(n);
        let deep = self.fill(self.burst as usize);
        if full <= from + deep {
            self.full = full;
            return Answer::Passed;
        }
        if full > to + deep { Answer::NotBefore(self.tick(full - deep)) } else { Answer::Unsure }
    }

    fn free(&self, tick: u64) -> usize {
        let now = self.units(tick);
        let missing = self.full.saturating_sub(now);
        let left = self.fill(self.burst as usize).saturating_sub(missing);
        match self.period {
            0 => self.burst as usize,
            period => usize::try_from(left / u128::from(period)).unwrap_or(usize::MAX),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);
    const YEAR: u64 = 365 * 86_400 * 1_000_000_000;

    fn at(bucket: &mut Bucket, tick: u64, n: usize) -> Answer {
        bucket.pass(Now::exactly(tick), n)
    }

    /// The ticks at which `count` pass, each as early as it may.
    fn passes(bucket: &mut Bucket, start: u64, count: usize) -> Vec<u64> {
        let mut tick = start;
        let mut ticks = Vec::new();
        while ticks.len() < count {
            match at(bucket, tick, 1) {
                Answer::Passed => ticks.push(tick),
                Answer::NotBefore(then) => {
                    assert!(then > tick);
                    assert_eq!(bucket.free(then - 1), 0);
                    tick = then;
                }
                Answer::Unsure => unreachable!(),
            }
        }
        ticks
    }

    #[test]
    fn a_third_of_a_second_does_not_drift() {
        let mut bucket = Bucket::new(3, SECOND, 2);
        let ticks = passes(&mut bucket, 0, 3_000_002);
        assert_eq!(ticks[..5], [0, 0, 333_333_334, 666_666_667, 1_000_000_000]);
        assert_eq!(ticks[3_000_001], 1_000_000 * 1_000_000_000);
        // A pacemaker saves up nothing, not even what is left of a nanosecond.
        let mut pace = Bucket::new(3, SECOND, 1);
        assert_eq!(passes(&mut pace, 0, 4), [0, 333_333_334, 666_666_668, 1_000_000_002]);
    }

    #[test]
    fn from_one_a_day_to_a_thousand_million_a_second() {
        let day = Duration::from_secs(86_400);
        assert_eq!(passes(&mut Bucket::new(1, day, 1), 7, 2), [7, 7 + 86_400_000_000_000]);
        let mut fast = Bucket::new(1_000_000_000, SECOND, 1);
        assert_eq!(passes(&mut fast, 5, 4), [5, 6, 7, 8]);
        let mut faster = Bucket::new(4_000_000_000, SECOND, 1);
        assert_eq!(passes(&mut faster, 5, 3), [5, 6, 7]);
        let mut odd = Bucket::new(999_999_937, SECOND, u32::MAX);
        assert_eq!(at(&mut odd, YEAR * 10, u32::MAX as usize), Answer::Passed);
        assert_eq!(at(&mut odd, YEAR * 10, 999_999_937), Answer::NotBefore(YEAR * 10 + 1_000_000_000));
    }

    #[test]
    fn what_is_saved_up_is_no_more_than_the_burst() {
        let mut bucket = Bucket::new(10, SECOND, 5);
        assert_eq!(at(&mut bucket, 10 * YEAR, 5), Answer::Passed);
        assert_eq!(at(&mut bucket, 10 * YEAR, 1), Answer::NotBefore(10 * YEAR + 100_000_000));
        assert_eq!((bucket.free(20 * YEAR), bucket.free(10 * YEAR + 250_000_000)), (5, 2));
    }

    #[test]
    fn the_ends_of_time_are_survived() {
        let mut bucket = Bucket::new(u32::MAX, Duration::MAX, u32::MAX);
        let last = u64::MAX - 1;
        assert_eq!(at(&mut bucket, last, u32::MAX as usize), Answer::Passed);
        assert_eq!(at(&mut bucket, last, u32::MAX as usize), Answer::NotBefore(NEVER));
        let mut never = Bucket::new(1, Duration::MAX, 1);
        assert_eq!(at(&mut never, last, 1), Answer::Passed);
        assert_eq!(at(&mut never, last, 1), Answer::NotBefore(NEVER));
        let mut always = Bucket::new(1, Duration::ZERO, 1);
        assert_eq!((at(&mut always, 1, 1), at(&mut always, 1, 1)), (Answer::Passed, Answer::Passed));
        assert_eq!(always.free(1), 1);
    }

    #[test]
    fn where_the_time_matters_it_must_be_known() {
        let mut bucket = Bucket::new(1, Duration::from_nanos(1_000), 3);
        assert_eq!(
            bucket.pass(Now { from: 100, to: 200 }, 1),
            Answer::Unsure,
            "it may be full since 100 or 200"
        );
        assert_eq!(at(&mut bucket, 150, 1), Answer::Passed);
        assert_eq!(bucket.pass(Now { from: 150, to: 250 }, 2), Answer::Passed);
        assert_eq!(bucket.pass(Now { from: 1_100, to: 1_149 }, 1), Answer::NotBefore(1_150));
        assert_eq!(bucket.pass(Now { from: 1_100, to: 1_150 }, 1), Answer::Unsure);
        assert_eq!(bucket.pass(Now { from: 1_150, to: 1_250 }, 1), Answer::Passed);
    }

    #[test]
    fn a_clock_that_runs_backwards_stands() {
        let mut bucket = Bucket::new(1, Duration::from_nanos(10), 2);
        assert_eq!(at(&mut bucket, 100, 1), Answer::Passed);
        assert_eq!(at(&mut bucket, 50, 1), Answer::NotBefore(100));
    }
}
