//! Layer 3, limit. The sliding window: never more than so many in any window of time.
//!
//! Owns the log of those who passed: a ring of ticks, with how many passed at each, that holds the ticks of the
//! last period only and grows as it is needed, under a mutex that is held for a few instructions. The algorithm is
//! that of the guides' `RateLimiter`. Called by `paced`.
#![forbid(unsafe_code)]

use std::collections::VecDeque;
use std::time::Duration;

use super::pace::{Algorithm, Answer, NEVER, Now, Pace, nanos};
use crate::shim::Mutex;

/// At most so many in any window of `period`: what [`RateLimiter`](super::RateLimiter) goes by.
///
/// A window has its beginning and not its end: whoever passed at `t` counts until just before `t + period`, and
/// the next may pass at that very instant.
#[derive(Debug)]
pub struct Window {
    max: usize,
    period: u64,
    log: Mutex<Log>,
}

/// Those who passed.
#[derive(Debug, Default)]
struct Log {
    /// When, and how many; ticks rise. No count is zero.
    entries: VecDeque<(u64, usize)>,
    /// The sum of the counts.
    logged: usize,
}

impl Window {
    pub(super) fn new(max: usize, period: Duration) -> Window {
        Window { max, period: nanos(period), log: Mutex::new(Log::default()) }
    }

    fn ends(&self, tick: u64) -> u64 {
        tick.saturating_add(self.period)
    }

    /// Whether somebody who passed at `tick` counts no more.
    fn is_over(&self, tick: u64, now: u64) -> bool {
        self.ends(tick) <= now
    }

    /// Forgets those who count no more.
    #[inline]
    fn forget(&self, log: &mut Log, now: u64) {
        while let Some(&(tick, count)) = log.entries.front() {
            if !self.is_over(tick, now) {
                return;
            }
            // Often all are: then there is nothing to be looked at one by one.
            if log.entries.back().is_some_and(|&(last, _)| self.is_over(last, now)) {
                log.entries.clear();
                log.logged = 0;
                return;
            }
            log.entries.pop_front();
            log.logged -= count;
        }
    }

    /// When so many of those in the log count no more.
    fn when_over(&self, log: &Log, mut need: usize) -> u64 {
        for &(tick, count) in &log.entries {
            if need <= count {
                return self.ends(tick);
            }
            need -= count;
        }
        NEVER
    }
}

impl Pace for Window {}

impl Algorithm for Window {
    fn capacity(&self) -> usize {
        self.max
    }

    #[inline]
    fn pass(&self, now: Now, n: usize) -> Answer {
        if self.period == 0 {
            return Answer::Passed;
        }
        let log = &mut *self.log.lock();
        self.forget(log, now.from);
        let too_many = n.saturating_sub(self.max - log.logged);
        if too_many > 0 {
            let then = self.when_over(log, too_many);
            return if then > now.to { Answer::NotBefore(then) } else { Answer::Unsure };
        }
        // Those who passed count from the last moment at which it may have been, or as the one before.
        match log.entries.back_mut() {
            Some((tick, count)) if *tick >= now.to => *count += n,
            _ if n > 0 => log.entries.push_back((now.to, n)),
            _ => {}
        }
        log.logged += n;
        Answer::Passed
    }

    fn free(&self, tick: u64) -> usize {
        let log = self.log.lock();
        let counts = |&&(at, _): &&(u64, usize)| !self.is_over(at, tick);
        self.max - log.entries.iter().rev().take_while(counts).map(|(_, count)| count).sum::<usize>()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const US: u64 = 1_000;

    fn window(max: usize, period: u64) -> Window {
        Window::new(max, Duration::from_nanos(period))
    }

    fn at(window: &Window, tick: u64, n: usize) -> Answer {
        window.pass(Now::exactly(tick), n)
    }

    #[test]
    fn the_end_of_a_window_is_not_in_it() {
        let window = window(2, 10);
        assert_eq!(at(&window, 5, 1), Answer::Passed);
        assert_eq!(at(&window, 7, 1), Answer::Passed);
        assert_eq!(at(&window, 14, 1), Answer::NotBefore(15));
        assert_eq!((window.free(14), window.free(15), window.free(17)), (0, 1, 2));
        assert_eq!(at(&window, 15, 1), Answer::Passed);
        assert_eq!(at(&window, 15, 2), Answer::NotBefore(25));
        assert_eq!(at(&window, 16, 1), Answer::NotBefore(17));
    }

    #[test]
    fn remembers_the_last_period_only() {
        let window = window(1_000, 10);
        for tick in 0..100_000 {
            assert_eq!(at(&window, tick, 1), Answer::Passed);
            assert!(window.log.lock().entries.len() <= 10);
        }
        assert_eq!(window.free(99_999), 990);
        // Many at once are one entry.
        assert_eq!(at(&window, 200_000, 600), Answer::Passed);
        assert_eq!(at(&window, 200_000, 400), Answer::Passed);
        assert_eq!(window.log.lock().entries.len(), 1);
        assert_eq!(at(&window, 200_000, 0), Answer::Passed);
    }

    #[test]
    fn the_ends_of_time_are_survived() {
        let window = window(1, u64::MAX);
        assert_eq!(at(&window, 3, 1), Answer::Passed);
        assert_eq!(at(&window, u64::MAX - 1, 1), Answer::NotBefore(u64::MAX));
        let none = Window::new(1, Duration::ZERO);
        assert_eq!((at(&none, 0, 1), at(&none, 0, 1)), (Answer::Passed, Answer::Passed));
        assert_eq!(Window::new(1, Duration::MAX).period, u64::MAX);
    }

    #[test]
    fn what_is_not_known_of_the_time_counts_against_those_who_pass() {
        let window = window(1, 10 * US);
        assert_eq!(window.pass(Now { from: 0, to: US }, 1), Answer::Passed);
        assert_eq!(window.pass(Now { from: 9 * US, to: 10 * US }, 1), Answer::NotBefore(11 * US));
        assert_eq!(window.pass(Now { from: 10 * US, to: 11 * US }, 1), Answer::Unsure);
        assert_eq!(at(&window, 11 * US - 1, 1), Answer::NotBefore(11 * US));
        assert_eq!(at(&window, 11 * US, 1), Answer::Passed);
    }

    #[test]
    fn a_clock_that_runs_backwards_stands() {
        let window = window(2, 10);
        assert_eq!(at(&window, 100, 1), Answer::Passed);
        assert_eq!(at(&window, 50, 1), Answer::Passed);
        assert_eq!(at(&window, 50, 1), Answer::NotBefore(110));
        assert_eq!(window.free(60), 0);
    }
}
