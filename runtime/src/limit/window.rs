//! Layer 3, limit. The sliding window: never more than so many in any window of time.
//!
//! Owns the log of those who passed: a ring of ticks, with how many passed at each, that holds the ticks of the
//! last period only and grows as it is needed. The algorithm is that of the guides' `RateLimiter`. Called by
//! `paced`.
#![forbid(unsafe_code)]

use std::collections::VecDeque;
use std::time::Duration;

use super::pace::{Algorithm, Answer, NEVER, Now, Pace, nanos};

/// At most so many in any window of `period`: what [`RateLimiter`](super::RateLimiter) goes by.
///
/// A window has its beginning and not its end: whoever passed at `t` counts until just before `t + period`, and
/// the next may pass at that very instant.
#[derive(Clone, Debug)]
pub struct Window {
    max: usize,
    period: u64,
    /// When, and how many; ticks rise. No count is zero.
    log: VecDeque<(u64, usize)>,
    /// The sum of the counts in the log.
    logged: usize,
}

impl Window {
    pub(super) fn new(max: usize, period: Duration) -> Window {
        Window { max, period: nanos(period), log: VecDeque::new(), logged: 0 }
    }

    /// Whether somebody who passed at `tick` counts no more.
    fn is_over(&self, tick: u64, now: u64) -> bool {
        self.ends(tick) <= now
    }

    fn ends(&self, tick: u64) -> u64 {
        tick.saturating_add(self.period)
    }

    /// Forgets those who count no more.
    #[inline]
    fn forget(&mut self, now: u64) {
        while let Some(&(tick, count)) = self.log.front() {
            if !self.is_over(tick, now) {
                return;
            }
            // Often all are: then there is nothing to be looked at one by one.
            if self.log.back().is_some_and(|&(last, _)| self.is_over(last, now)) {
                self.log.clear();
                self.logged = 0;
                return;
            }
            self.log.pop_front();
            self.logged -= count;
        }
    }

    /// When so many of those in the log count no more.
    fn when_over(&self, mut need: usize) -> u64 {
        for &(tick, count) in &self.log {
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
    fn pass(&mut self, now: Now, n: usize) -> Answer {
        if self.period == 0 {
            return Answer::Passed;
        }
        self.forget(now.from);
        let too_many = n.saturating_sub(self.max - self.logged);
        if too_many > 0 {
            let then = self.when_over(too_many);
            return if then > now.to { Answer::NotBefore(then) } else { Answer::Unsure };
        }
        // Those who passed count from the last moment at which it may have been, or as the one before.
        match self.log.back_mut() {
            Some((tick, count)) if *tick >= now.to => *count += n,
            _ if n > 0 => self.log.push_back((now.to, n)),
            _ => {}
        }
        self.logged += n;
        Answer::Passed
    }

    fn free(&self, tick: u64) -> usize {
        let counts = |&&(at, _): &&(u64, usize)| !self.is_over(at, tick);
        self.max - self.log.iter().rev().take_while(counts).map(|(_, count)| count).sum::<usize>()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const US: u64 = 1_000;

    fn window(max: usize, period: u64) -> Window {
        Window::new(max, Duration::from_nanos(period))
    }

    fn at(window: &mut Window, tick: u64, n: usize) -> Answer {
        window.pass(Now::exactly(tick), n)
    }

    #[test]
    fn the_end_of_a_window_is_not_in_it() {
        let mut window = window(2, 10);
        assert_eq!(at(&mut window, 5, 1), Answer::Passed);
        assert_eq!(at(&mut window, 7, 1), Answer::Passed);
        assert_eq!(at(&mut window, 14, 1), Answer::NotBefore(15));
        assert_eq!((window.free(14), window.free(15), window.free(17)), (0, 1, 2));
        assert_eq!(at(&mut window, 15, 1), Answer::Passed);
        assert_eq!(at(&mut window, 15, 2), Answer::NotBefore(25));
        assert_eq!(at(&mut window, 16, 1), Answer::NotBefore(17));
    }

    #[test]
    fn remembers_the_last_period_only() {
        let mut window = window(1_000, 10);
        for tick in 0..100_000 {
            assert_eq!(at(&mut window, tick, 1), Answer::Passed);
            assert!(window.log.len() <= 10);
        }
        assert_eq!(window.free(99_999), 990);
        // Many at once are one entry.
        assert_eq!(at(&mut window, 200_000, 600), Answer::Passed);
        assert_eq!(at(&mut window, 200_000, 400), Answer::Passed);
        assert_eq!(window.log.len(), 1);
        assert_eq!(at(&mut window, 200_000, 0), Answer::Passed);
    }

    #[test]
    fn the_ends_of_time_are_survived() {
        let mut window = window(1, u64::MAX);
        assert_eq!(at(&mut window, 3, 1), Answer::Passed);
        assert_eq!(at(&mut window, u64::MAX - 1, 1), Answer::NotBefore(u64::MAX));
        let mut none = Window::new(1, Duration::ZERO);
        assert_eq!((at(&mut none, 0, 1), at(&mut none, 0, 1)), (Answer::Passed, Answer::Passed));
        assert_eq!(Window::new(1, Duration::MAX).period, u64::MAX);
    }

    #[test]
    fn what_is_not_known_of_the_time_counts_against_those_who_pass() {
        let mut window = window(1, 10 * US);
        assert_eq!(window.pass(Now { from: 0, to: US }, 1), Answer::Passed);
        assert_eq!(window.pass(Now { from: 9 * US, to: 10 * US }, 1), Answer::NotBefore(11 * US));
        assert_eq!(window.pass(Now { from: 10 * US, to: 11 * US }, 1), Answer::Unsure);
        assert_eq!(at(&mut window, 11 * US - 1, 1), Answer::NotBefore(11 * US));
        assert_eq!(at(&mut window, 11 * US, 1), Answer::Passed);
    }

    #[test]
    fn a_clock_that_runs_backwards_stands() {
        let mut window = window(2, 10);
        assert_eq!(at(&mut window, 100, 1), Answer::Passed);
        assert_eq!(at(&mut window, 50, 1), Answer::Passed);
        assert_eq!(at(&mut window, 50, 1), Answer::NotBefore(110));
        assert_eq!(window.free(60), 0);
    }
}
