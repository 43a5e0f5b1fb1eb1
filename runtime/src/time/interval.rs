//! Layer 3, time. Ticks at a fixed pace.
//!
//! Owns when the next tick is due, above all after one was missed.
#![forbid(unsafe_code)]

use std::future::poll_fn;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use filch_channels::probe;
use futures_core::Stream;

use crate::time::{Duration, Instant, Sleep};

/// A tick that is later than this was missed, however long the period.
const TOLERANCE: Duration = Duration::from_millis(5);

/// Ticks now, and then every `period`.
///
/// What happens when the task comes too late for a tick is up to [`MissedTick`]; the default is
/// [`MissedTick::Delay`]. With a period of zero each tick is due at once, and only the task's budget makes it
/// yield. With [`Duration::MAX`] there is one tick.
///
/// # Examples
/// ```
/// use filch::time::{Duration, interval};
///
/// filch::run(async {
///     let mut interval = interval(Duration::from_millis(2));
///     let first = interval.tick().await; // at once
///     let second = interval.tick().await;
///     assert!(second - first >= Duration::from_millis(2));
/// });
/// ```
#[track_caller]
pub fn interval(period: Duration) -> Interval {
    interval_at(Instant::now(), period)
}

/// Ticks at `start`, and then every `period`; otherwise as [`interval()`].
#[track_caller]
pub fn interval_at(start: Instant, period: Duration) -> Interval {
    Interval { sleep: Sleep::until(start), period, missed: MissedTick::default() }
}

/// What an [`Interval`] does about ticks that it missed.
///
/// A tick is missed when it is taken late by a whole period, or by more than 5 ms if the period is longer. A
/// tick that is less late moves nothing, so that small delays do not add up.
///
/// With a period of 10 ms, and a task that is busy from 0 to 35 ms and after that takes each tick when it is
/// due:
///
/// | policy  | ticks are taken at (ms)          | for                                                     |
/// |---------|----------------------------------|---------------------------------------------------------|
/// | `Burst` | 0, 35, 35, 35, 40, 50, 60        | a count of ticks that must come out right in the end    |
/// | `Delay` | 0, 35, 45, 55, 65                | work that must not be done too often                    |
/// | `Skip`  | 0, 35, 40, 50, 60                | work tied to the clock: every full second, say          |
#[derive(Clone, Copy, PartialEq, Eq, Hash, Default, Debug)]
pub enum MissedTick {
    /// Makes up for missed ticks, as fast as they are taken.
    Burst,
    /// Drops missed ticks; the next is due a full period after the late one.
    #[default]
    Delay,
    /// Drops missed ticks; the next is due when it would have been anyway.
    Skip,
}

impl MissedTick {
    /// When the next tick is due, if the one due at `due` is taken at `now`.
    fn next(self, due: Instant, now: Instant, period: Duration) -> Instant {
        let late = now.duration_since(due);
        if late < period && late <= TOLERANCE {
            return due + period;
        }
        match self {
            MissedTick::Burst => due + period,
            MissedTick::Delay => now + period,
            MissedTick::Skip => now + until_next(late, period),
        }
    }
}

/// How long it is to the next multiple of `period`, `late` after one.
fn until_next(late: Duration, period: Duration) -> Duration {
    if period.is_zero() {
        return period;
    }
    let past = late.as_nanos() % period.as_nanos();
    // Less than a period, so it fits.
    let past = Duration::new((past / 1_000_000_000) as u64, (past % 1_000_000_000) as u32);
    period.saturating_sub(past)
}

/// Ticks at a fixed pace; made by [`interval()`] and [`interval_at`].
///
/// It is also a [`Stream`] of the instants at which ticks were due; the stream does not end.
#[derive(Debug)]
pub struct Interval {
    sleep: Sleep,
    period: Duration,
    missed: MissedTick,
}

impl Interval {
    /// Waits for the next tick and returns when it was due.
    ///
    /// # Panics
    /// When it is polled outside of a runtime.
    ///
    /// # Cancel safety
    /// **Strict.** A tick is taken only by the poll that returns it.
    pub async fn tick(&mut self) -> Instant {
        poll_fn(|cx| self.poll_tick(cx)).await
    }

    /// The poll of [`tick`](Interval::tick).
    ///
    /// # Panics
    /// Outside of a runtime.
    #[track_caller]
    pub fn poll_tick(&mut self, cx: &mut Context<'_>) -> Poll<Instant> {
        ready!(probe::poll_budget(cx));
        ready!(self.sleep.poll_deadline(cx, false));
        probe::spend();
        let due = self.sleep.deadline();
        self.sleep.reset(self.missed.next(due, Instant::now(), self.period));
        Poll::Ready(due)
    }

    /// Makes the next tick due a full period from now.
    pub fn reset(&mut self) {
        self.reset_after(self.period);
    }

    /// Makes the next tick due now.
    pub fn reset_immediately(&mut self) {
        self.reset_after(Duration::ZERO);
    }

    /// Makes the next tick due after `duration`; from then on the period counts again.
    pub fn reset_after(&mut self, duration: Duration) {
        self.reset_at(Instant::now() + duration);
    }

    /// Makes the next tick due at `deadline`; from then on the period counts again.
    pub fn reset_at(&mut self, deadline: Instant) {
        self.sleep.reset(deadline);
    }

    /// The time between two ticks.
    #[must_use]
    pub fn period(&self) -> Duration {
        self.period
    }

    /// What is done about missed ticks.
    #[must_use]
    pub fn missed_tick_behavior(&self) -> MissedTick {
        self.missed
    }

    /// Sets what is done about missed ticks.
    pub fn set_missed_tick_behavior(&mut self, behavior: MissedTick) {
        self.missed = behavior;
    }
}

impl Stream for Interval {
    type Item = Instant;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Instant>> {
        self.poll_tick(cx).map(Some)
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        (usize::MAX, None)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The ticks, in ms, of a task that is busy from the first tick to `busy` ms.
    fn ticks(missed: MissedTick, period: u64, busy: u64, count: usize) -> Vec<u64> {
        let start = Instant::now();
        let at = |ms| start + Duration::from_millis(ms);
        let (mut due, mut now) = (start, start);
        let mut taken = Vec::new();
        for _ in 0..count {
            now = now.max(due);
            taken.push((now - start).as_millis() as u64);
            due = missed.next(due, now, Duration::from_millis(period));
            now = now.max(at(busy));
        }
        taken
    }

    #[test]
    fn ticks_are_as_in_the_table() {
        assert_eq!(ticks(MissedTick::Burst, 10, 35, 7), [0, 35, 35, 35, 40, 50, 60]);
        assert_eq!(ticks(MissedTick::Delay, 10, 35, 5), [0, 35, 45, 55, 65]);
        assert_eq!(ticks(MissedTick::Skip, 10, 35, 5), [0, 35, 40, 50, 60]);
    }

    #[test]
    fn small_delays_do_not_add_up() {
        for missed in [MissedTick::Burst, MissedTick::Delay, MissedTick::Skip] {
            assert_eq!(ticks(missed, 10, 14, 4), [0, 14, 20, 30]);
        }
        assert_eq!(ticks(MissedTick::Delay, 2, 3, 4), [0, 3, 4, 6]);
        assert_eq!(ticks(MissedTick::Delay, 2, 4, 4), [0, 4, 6, 8]);
        assert_eq!(ticks(MissedTick::Skip, 10, 40, 4), [0, 40, 50, 60]);
    }

    #[test]
    fn no_period_panics() {
        let now = Instant::now();
        let past = now - Duration::from_secs(100);
        for missed in [MissedTick::Burst, MissedTick::Delay, MissedTick::Skip] {
            for due in [now, past, now + Duration::MAX, now - Duration::MAX] {
                assert!(missed.next(due, now, Duration::ZERO) <= now.max(due));
                assert!(missed.next(due, now, Duration::MAX) > now);
                assert!(missed.next(due, now, Duration::from_nanos(1)) > due.min(now));
            }
        }
    }
}
