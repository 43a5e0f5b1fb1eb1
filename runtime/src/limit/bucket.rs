//! Layer 3, limit. The token bucket, by the generic cell rate algorithm: one number, and no refilling.
//!
//! Owns when the bucket will be full again. After ITU-T I.371, in whole numbers: time is counted in units so
//! small that both a nanosecond and the time between two tokens are multiples of it, so nothing is rounded and
//! nothing drifts, whether it is one token a day or 10^9 a second. Called by `paced`, by any number of threads at
//! once.
//!
//! # The number, and where it is
//! Mostly it fits into 64 bits, and a call changes it by one exchange. It does not for ever: with 7 tokens a
//! second there are seven units in a nanosecond, and 2^64 of them last 83 years; with odd rates it is less. From
//! the first call on that comes too late for 64 bits, the number is a wider one under a lock, and stays so.
//!
//! | `full`       | `wide`     | the bucket is full again at                                              |
//! |--------------|------------|--------------------------------------------------------------------------|
//! | below `WIDE` | not used   | `full`; whoever passes exchanges it for what it has become               |
//! | `WIDE`       | the number | `wide`; whoever passes writes it under the lock                          |
//!
//! Only [`Bucket::widen`] writes `WIDE`, under the lock, by a swap: what it gets back is the number as the last
//! exchange left it, and goes into `wide` before the lock is released. An exchange that comes after the swap
//! fails, since it expects what was there before, and its caller goes to the lock. So no call counts twice, and
//! none is lost.
#![forbid(unsafe_code)]

use std::time::Duration;

use super::pace::{Algorithm, Answer, NEVER, Now, Pace, nanos};
use crate::shim::Ordering::Relaxed;
use crate::shim::task::AtomicU64;
use crate::shim::{Mutex, MutexGuard};

/// The number no longer fits: see the head of the file.
const WIDE: u64 = u64::MAX;
/// What is not known of the time may cost so much of a bucket: the 2^10th part.
const SHARE: u32 = 10;

/// So many tokens a period, and some more saved up: what [`TokenBucket`](super::TokenBucket) goes by.
///
/// With `rate` tokens a period, a unit of time is the `rate`-th part of a nanosecond, after rate and period have
/// been divided by what divides both. No number here exceeds 2^98: ticks are below 2^64, rate and burst below 2^32.
// In this order: what a call looks at lies together.
#[derive(Debug)]
#[repr(C)]
pub struct Bucket {
    full: AtomicU64,
    /// Before this tick all numbers fit into 64 bits.
    narrow_until: u64,
    /// Units to fill the whole, if that fits.
    deep: u64,
    /// Units from one token to the next.
    period: u64,
    /// Units in a nanosecond.
    rate: u32,
    burst: u32,
    wide: Mutex<u128>,
}

impl Bucket {
    /// Neither number is zero.
    pub(super) fn new(rate: u32, period: Duration, burst: u32) -> Bucket {
        let period = nanos(period);
        let divisor = match period {
            // No limit: one unit is as good as another.
            0 => u64::from(rate),
            _ => gcd(u64::from(rate), period),
        };
        let mut bucket = Bucket {
            full: AtomicU64::new(0),
            rate: (u64::from(rate) / divisor) as u32,
            burst,
            period: period / divisor,
            deep: 0,
            narrow_until: 0,
            wide: Mutex::new(0),
        };
        bucket.set_burst(burst);
        bucket
    }

    pub(super) fn set_burst(&mut self, burst: u32) {
        self.burst = burst;
        let deep = self.fill(burst as usize);
        // Twice: a call that is turned away would have gone so far.
        let room = u128::from(WIDE - 1).checked_sub(2 * deep);
        // Without a limit there is nothing to be kept.
        let room = room.filter(|_| self.period > 0);
        self.narrow_until = room.map_or(0, |room| (room / u128::from(self.rate)) as u64);
        self.deep = u64::try_from(deep).unwrap_or(0);
        // As wide as it must be from now on: nobody else has it.
        let wide = *self.widen();
        if room.is_some_and(|room| wide <= room) {
            self.full.store(wide as u64, Relaxed);
        }
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
            Ok(units) if self.rate == 1 => units,
            Ok(units) => units.div_ceil(u64::from(self.rate)),
            Err(_) => u64::try_from(units.div_ceil(u128::from(self.rate))).unwrap_or(NEVER),
        }
    }

    /// From here on the number is under the lock.
    #[cold]
    fn widen(&self) -> MutexGuard<'_, u128> {
        let mut wide = self.wide.lock();
        // Relaxed: the lock orders this with every other that looks at `wide`.
        let full = self.full.swap(WIDE, Relaxed);
        if full != WIDE {
            *wide = u128::from(full);
        }
        wide
    }

    #[cold]
    #[inline(never)]
    fn pass_wide(&self, now: Now, n: usize) -> Answer {
        if self.period == 0 {
            return Answer::Passed;
        }
        let mut wide = self.widen();
        let (from, to) = (self.units(now.from), self.units(now.to));
        let deep = self.fill(self.burst as usize);
        let full = (*wide).max(from) + self.fill(n);
        if full > from + deep {
            return if full > to + deep { Answer::NotBefore(self.tick(full - deep)) } else { Answer::Unsure };
        }
        if *wide < to && to - from > deep >> SHARE {
            return Answer::Unsure;
        }
        *wide = (*wide).max(to) + self.fill(n);
        Answer::Passed
    }
}

fn gcd(mut a: u64, mut b: u64) -> u64 {
    while b != 0 {
        (a, b) = (b, a % b);
    }
    a
}

impl Pace for Bucket {}

impl Algorithm for Bucket {
    fn capacity(&self) -> usize {
        self.burst as usize
    }

    /// Where the time is not known to the point: one passes if it may at the first moment at which it can have been,
    /// and counts from the last, as long as that makes no difference but to a full bucket, and there a small one.
    #[inline(always)]
    fn pass(&self, now: Now, n: usize) -> Answer {
        if now.to >= self.narrow_until {
            return self.pass_wide(now, n);
        }
        let (from, to) = (now.from * u64::from(self.rate), now.to * u64::from(self.rate));
        let (fill, deep) = (self.period * n as u64, self.deep);
        // Relaxed, here and below: the number stands for itself, and orders nothing.
        let mut full = self.full.load(Relaxed);
        while full != WIDE {
            let filled = full.max(from) + fill;
            if filled > from + deep {
                let late = filled > to + deep;
                return if late {
                    Answer::NotBefore(self.tick((filled - deep).into()))
                } else {
                    Answer::Unsure
                };
            }
            if full < to && to - from > deep >> SHARE {
                return Answer::Unsure;
            }
            match self.full.compare_exchange_weak(full, full.max(to) + fill, Relaxed, Relaxed) {
                Ok(_) => return Answer::Passed,
                Err(other) => full = other,
            }
        }
        self.pass_wide(now, n)
    }

    fn free(&self, tick: u64) -> usize {
        // Relaxed: see `pass`.
        let full = match self.full.load(Relaxed) {
            WIDE => *self.widen(),
            full => u128::from(full),
        };
        let now = self.units(tick);
        let missing = full.saturating_sub(now);
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

    fn at(bucket: &Bucket, tick: u64, n: usize) -> Answer {
        bucket.pass(Now::exactly(tick), n)
    }

    /// The ticks at which `count` pass, each as early as it may.
    fn passes(bucket: &Bucket, start: u64, count: usize) -> Vec<u64> {
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
        let bucket = Bucket::new(3, SECOND, 2);
        let ticks = passes(&bucket, 0, 3_000_002);
        assert_eq!(ticks[..5], [0, 0, 333_333_334, 666_666_667, 1_000_000_000]);
        assert_eq!(ticks[3_000_001], 1_000_000 * 1_000_000_000);
        // A pacemaker saves up nothing, not even what is left of a nanosecond.
        let pace = Bucket::new(3, SECOND, 1);
        assert_eq!(passes(&pace, 0, 4), [0, 333_333_334, 666_666_668, 1_000_000_002]);
    }

    #[test]
    fn from_one_a_day_to_a_thousand_million_a_second() {
        let day = Duration::from_secs(86_400);
        assert_eq!(passes(&Bucket::new(1, day, 1), 7, 2), [7, 7 + 86_400_000_000_000]);
        let fast = Bucket::new(1_000_000_000, SECOND, 1);
        assert_eq!(passes(&fast, 5, 4), [5, 6, 7, 8]);
        let faster = Bucket::new(4_000_000_000, SECOND, 1);
        assert_eq!(passes(&faster, 5, 3), [5, 6, 7]);
        let odd = Bucket::new(999_999_937, SECOND, u32::MAX);
        assert_eq!(at(&odd, YEAR * 10, u32::MAX as usize), Answer::Passed);
        assert_eq!(at(&odd, YEAR * 10, 999_999_937), Answer::NotBefore(YEAR * 10 + 1_000_000_000));
    }

    #[test]
    fn what_is_saved_up_is_no_more_than_the_burst() {
        let bucket = Bucket::new(10, SECOND, 5);
        assert_eq!(at(&bucket, 10 * YEAR, 5), Answer::Passed);
        assert_eq!(at(&bucket, 10 * YEAR, 1), Answer::NotBefore(10 * YEAR + 100_000_000));
        assert_eq!((bucket.free(20 * YEAR), bucket.free(10 * YEAR + 250_000_000)), (5, 2));
    }

    #[test]
    fn the_ends_of_time_are_survived() {
        let bucket = Bucket::new(u32::MAX, Duration::MAX, u32::MAX);
        let last = u64::MAX - 1;
        assert_eq!(at(&bucket, last, u32::MAX as usize), Answer::Passed);
        assert_eq!(at(&bucket, last, u32::MAX as usize), Answer::NotBefore(NEVER));
        let never = Bucket::new(1, Duration::MAX, 1);
        assert_eq!(at(&never, last, 1), Answer::Passed);
        assert_eq!(at(&never, last, 1), Answer::NotBefore(NEVER));
        let always = Bucket::new(1, Duration::ZERO, 1);
        assert_eq!((at(&always, 1, 1), at(&always, 1, 1)), (Answer::Passed, Answer::Passed));
        assert_eq!(always.free(1), 1);
    }

    #[test]
    fn where_the_time_matters_it_must_be_known() {
        let bucket = Bucket::new(1, Duration::from_nanos(1_000), 3);
        assert_eq!(
            bucket.pass(Now { from: 100, to: 200 }, 1),
            Answer::Unsure,
            "it may be full since 100 or 200"
        );
        assert_eq!(at(&bucket, 150, 1), Answer::Passed);
        assert_eq!(bucket.pass(Now { from: 150, to: 250 }, 2), Answer::Passed);
        assert_eq!(bucket.pass(Now { from: 1_100, to: 1_149 }, 1), Answer::NotBefore(1_150));
        assert_eq!(bucket.pass(Now { from: 1_100, to: 1_150 }, 1), Answer::Unsure);
        assert_eq!(bucket.pass(Now { from: 1_150, to: 1_250 }, 1), Answer::Passed);
    }

    #[test]
    fn the_number_grows_out_of_a_word_and_nobody_can_tell() {
        // Nothing divides both: a nanosecond has so many units that a word holds 18 seconds.
        let (odd, second) = (999_999_937, 1_000_000_000);
        let bucket = Bucket::new(odd, SECOND, 3);
        assert!((18 * second..19 * second).contains(&bucket.narrow_until));
        let mut tick = 17 * second;
        let mut passed = 0_u128;
        while tick < 20 * second {
            match at(&bucket, tick, 1) {
                Answer::Passed => passed += 1,
                Answer::NotBefore(then) => tick = then + 7_000,
                Answer::Unsure => unreachable!(),
            }
        }
        assert_eq!(bucket.full.load(Relaxed), WIDE);
        // By rational numbers: of 7,001 ns or 7,002 that pass, three tokens are of use.
        let mut full = 0_u128;
        let (mut tick, mut counted) = (17 * second, 0_u128);
        while tick < 20 * second {
            let now = u128::from(tick) * u128::from(odd);
            let filled = full.max(now) + u128::from(second);
            if filled <= now + 3 * u128::from(second) {
                (full, counted) = (filled, counted + 1);
            } else {
                let then = (filled - 3 * u128::from(second)).div_ceil(u128::from(odd)) as u64;
                tick = then + 7_000;
            }
        }
        assert_eq!((passed, *bucket.wide.lock()), (counted, full));
    }

    #[test]
    fn a_full_bucket_may_lose_the_thousandth_part_to_a_clock_that_is_not_read() {
        let bucket = Bucket::new(1, Duration::from_millis(1), 5);
        let (from, to) = (1_000_000_000, 1_000_004_000);
        assert_eq!(bucket.pass(Now { from, to }, 1), Answer::Passed);
        assert_eq!(*bucket.widen(), u128::from(to + 1_000_000));
        let pace = Bucket::new(1, Duration::from_millis(1), 1);
        assert_eq!(pace.pass(Now { from, to }, 1), Answer::Unsure);
        assert_eq!(pace.pass(Now { from, to: from + 900 }, 1), Answer::Passed);
    }

    #[test]
    fn another_burst_leaves_what_was_taken() {
        let mut bucket = Bucket::new(3, SECOND, 3);
        assert_eq!(at(&bucket, 0, 3), Answer::Passed);
        for (burst, free) in [(u32::MAX, u32::MAX - 3), (5, 2), (3, 0)] {
            bucket.set_burst(burst);
            assert_eq!(bucket.free(0), free as usize);
        }
    }

    #[test]
    fn a_clock_that_runs_backwards_stands() {
        let bucket = Bucket::new(1, Duration::from_nanos(10), 2);
        assert_eq!(at(&bucket, 100, 1), Answer::Passed);
        assert_eq!(at(&bucket, 50, 1), Answer::NotBefore(100));
    }
}

/// Calls that pass while the number grows out of its word.
#[cfg(test)]
mod model {
    use super::*;
    use crate::shim::{Arc, model, thread};

    #[test]
    fn each_call_counts_once_while_the_number_grows() {
        model(|| {
            // Narrow for a moment, and wide after it.
            let bucket = Arc::new(Bucket::new(999_999_937, Duration::from_secs(1), 4));
            let last = bucket.narrow_until - 1;
            let others: Vec<_> = [last, last + 1]
                .into_iter()
                .map(|tick| {
                    let bucket = bucket.clone();
                    thread::spawn(move || bucket.pass(Now::exactly(tick), 1))
                })
                .collect();
            assert_eq!(bucket.pass(Now::exactly(last), 1), Answer::Passed);
            for other in others {
                assert_eq!(other.join().unwrap(), Answer::Passed);
            }
            assert_eq!(bucket.free(last + 1), 1);
        });
    }
}
