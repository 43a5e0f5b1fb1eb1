//! Layer 3, time. A point in time, of the machine's clock or of a paused runtime's.
//!
//! Owns the arithmetic, which saturates where the standard library's panics. Used by all of `time` and by
//! users.
#![forbid(unsafe_code)]

use std::ops::{Add, AddAssign, Sub, SubAssign};
use std::time::{Duration, Instant as StdInstant};

use crate::context;
use crate::driver::clock;

/// A point in time, as [`std::time::Instant`], but read from the runtime's clock.
///
/// Inside a paused runtime that clock is virtual; everywhere else it is the machine's. The two convert into
/// each other freely. Operators and the `saturating_` methods stop at the ends of what the platform can name:
/// `now() + Duration::MAX` is some point that never comes, and nothing here panics.
///
/// # Examples
/// ```
/// use filch::time::{Duration, Instant};
///
/// let start = Instant::now();
/// assert!(start + Duration::MAX > start + Duration::from_secs(1));
/// assert_eq!(start.checked_add(Duration::MAX), None);
/// assert_eq!(start - (start + Duration::from_secs(1)), Duration::ZERO);
/// ```
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Instant(StdInstant);

impl Instant {
    /// What the clock shows now: the runtime's on a thread that has one, otherwise the machine's.
    #[must_use]
    pub fn now() -> Instant {
        match context::clock() {
            Some(clock) => Instant(clock.instant(clock.now())),
            None => Instant(StdInstant::now()),
        }
    }

    /// The same point in time for the standard library.
    #[must_use]
    pub fn into_std(self) -> StdInstant {
        self.0
    }

    /// The same point in time, from the standard library.
    #[must_use]
    pub fn from_std(instant: StdInstant) -> Instant {
        Instant(instant)
    }

    /// How long ago this was; zero if it is to come.
    #[must_use]
    pub fn elapsed(&self) -> Duration {
        Instant::now().duration_since(*self)
    }

    /// The time from `earlier` to here; zero if `earlier` is later.
    #[must_use]
    pub fn duration_since(&self, earlier: Instant) -> Duration {
        self.0.saturating_duration_since(earlier.0)
    }

    /// The time from `earlier` to here; zero if `earlier` is later. As
    /// [`duration_since`](Instant::duration_since).
    #[must_use]
    pub fn saturating_duration_since(&self, earlier: Instant) -> Duration {
        self.duration_since(earlier)
    }

    /// The time from `earlier` to here; `None` if `earlier` is later.
    #[must_use]
    pub fn checked_duration_since(&self, earlier: Instant) -> Option<Duration> {
        self.0.checked_duration_since(earlier.0)
    }

    /// This point and `duration`; `None` if the platform cannot name it.
    #[must_use]
    pub fn checked_add(&self, duration: Duration) -> Option<Instant> {
        self.0.checked_add(duration).map(Instant)
    }

    /// This point less `duration`; `None` if the platform cannot name it.
    #[must_use]
    pub fn checked_sub(&self, duration: Duration) -> Option<Instant> {
        self.0.checked_sub(duration).map(Instant)
    }

    /// This point and `duration`, or the last one that the platform can name.
    #[must_use]
    pub fn saturating_add(&self, duration: Duration) -> Instant {
        Instant(clock::saturating(self.0, duration, StdInstant::checked_add))
    }

    /// This point less `duration`, or the first one that the platform can name.
    #[must_use]
    pub fn saturating_sub(&self, duration: Duration) -> Instant {
        Instant(clock::saturating(self.0, duration, StdInstant::checked_sub))
    }
}

impl Add<Duration> for Instant {
    type Output = Instant;

    fn add(self, duration: Duration) -> Instant {
        self.saturating_add(duration)
    }
}

impl AddAssign<Duration> for Instant {
    fn add_assign(&mut self, duration: Duration) {
        *self = *self + duration;
    }
}

impl Sub<Duration> for Instant {
    type Output = Instant;

    fn sub(self, duration: Duration) -> Instant {
        self.saturating_sub(duration)
    }
}

impl SubAssign<Duration> for Instant {
    fn sub_assign(&mut self, duration: Duration) {
        *self = *self - duration;
    }
}

impl Sub for Instant {
    type Output = Duration;

    fn sub(self, earlier: Instant) -> Duration {
        self.duration_since(earlier)
    }
}

impl From<StdInstant> for Instant {
    fn from(instant: StdInstant) -> Instant {
        Instant(instant)
    }
}

impl From<Instant> for StdInstant {
    fn from(instant: Instant) -> StdInstant {
        instant.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_arithmetic_panics() {
        let now = Instant::now();
        let (first, last) = (now - Duration::MAX, now + Duration::MAX);
        assert!(first <= now && now < last);
        assert_eq!(last + Duration::MAX, last);
        assert_eq!(first - Duration::MAX, first);
        assert_eq!(first - last, Duration::ZERO);
        assert!(last - first > Duration::from_secs(1 << 40));
        assert_eq!(last.checked_add(Duration::from_nanos(1)), None);
        assert_eq!(first.checked_duration_since(last), None);
    }

    #[test]
    fn agrees_with_the_standard_library() {
        let std = StdInstant::now();
        let ours = Instant::from(std);
        let second = Duration::from_secs(1);
        assert_eq!((ours + second).into_std(), std + second);
        assert_eq!(StdInstant::from(ours), std);
        assert_eq!((ours + second) - ours, second);
    }
}
