//! Layer 1, driver. What time it is: nanoseconds since the runtime was built.
//!
//! Owns the choice between the monotonic clock of the machine and a virtual one, which stands still until the
//! runtime (when all is idle) or a test moves it. One `u64` of nanoseconds lasts 584 years; everything beyond
//! is [`FAR`]. Called by `timers` and by `time` on any thread.
#![forbid(unsafe_code)]

use std::time::{Duration, Instant};

use crate::shim::Arc;
use crate::shim::Ordering::Relaxed;
use crate::shim::owner::AtomicU64;

/// The tick that never comes: "no deadline".
pub(crate) const NEVER: u64 = u64::MAX;

/// What every instant too far away is taken for. No clock gets there, so a timer at this tick does not fire.
pub(crate) const FAR: u64 = u64::MAX - 1;

/// Ticks are nanoseconds since the runtime was built, saturating.
#[derive(Clone)]
pub(crate) struct Clock {
    /// Tick zero.
    base: Instant,
    /// The tick at which a virtual clock stands. Without it, this is the machine's monotonic clock.
    stands_at: Option<Arc<AtomicU64>>,
}

impl Clock {
    /// The machine's clock, at tick zero now.
    pub(crate) fn real() -> Clock {
        Clock { base: Instant::now(), stands_at: None }
    }

    /// A clock that stands at tick zero.
    pub(crate) fn virtual_() -> Clock {
        crate::util::glance::distrust();
        Clock { base: Instant::now(), stands_at: Some(Arc::new(AtomicU64::new(0))) }
    }

    pub(crate) fn is_virtual(&self) -> bool {
        self.stands_at.is_some()
    }

    /// The tick it is now; always before [`FAR`].
    #[inline]
    pub(crate) fn now(&self) -> u64 {
        match &self.stands_at {
            None => ticks(self.base.elapsed()).min(FAR - 1),
            // Ordering: Relaxed. The number is all that is read; whoever is woken by a timer got its waker
            // through the shard's lock.
            Some(tick) => tick.load(Relaxed),
        }
    }

    /// The instant of tick `ns`; the last one that the platform can name where `ns` is beyond it.
    pub(crate) fn instant(&self, ns: u64) -> Instant {
        saturating(self.base, Duration::from_nanos(ns), Instant::checked_add)
    }

    /// The tick of `instant` (ours or the standard library's): zero before the runtime was built, at most
    /// [`FAR`].
    pub(crate) fn ticks(&self, instant: impl Into<Instant>) -> u64 {
        ticks(instant.into().saturating_duration_since(self.base))
    }

    /// Moves a virtual clock forward to tick `ns`, never back.
    ///
    /// # Panics
    /// If the clock is real.
    pub(crate) fn advance_to(&self, ns: u64) {
        let tick = self.stands_at.as_ref().expect("a real clock cannot be moved");
        let to = ns.min(FAR - 1);
        // Ordering: Relaxed, as in `now`.
        let mut now = tick.load(Relaxed);
        while now < to {
            match tick.compare_exchange_weak(now, to, Relaxed, Relaxed) {
                Ok(_) => return,
                Err(moved) => now = moved,
            }
        }
    }
}

/// `duration` in nanoseconds, at most [`FAR`].
#[inline]
pub(crate) fn ticks(duration: Duration) -> u64 {
    let seconds = duration.as_secs().saturating_mul(1_000_000_000);
    seconds.saturating_add(u64::from(duration.subsec_nanos())).min(FAR)
}

/// `instant` moved by `duration`, or as far as `step` goes: to the last instant that the platform can name
/// (`checked_add`), or to the first (`checked_sub`).
pub(crate) fn saturating(
    instant: Instant,
    duration: Duration,
    step: fn(&Instant, Duration) -> Option<Instant>,
) -> Instant {
    if let Some(there) = step(&instant, duration) {
        return there;
    }
    let (mut last, mut by) = (instant, duration);
    while !by.is_zero() {
        while let Some(further) = step(&last, by) {
            last = further;
        }
        by /= 2;
    }
    last
}

#[cfg(all(test, not(filch_loom)))]
mod tests {
    use super::*;

    #[test]
    fn ticks_and_instants_are_inverse() {
        let clock = Clock::virtual_();
        for ns in [0, 1, 999_999_999, 1_000_000_000, 1 << 40, 1 << 60, FAR] {
            assert_eq!(clock.ticks(clock.instant(ns)), ns);
        }
    }

    #[test]
    fn what_no_tick_can_name_saturates() {
        let clock = Clock::real();
        let base = clock.instant(0);
        assert_eq!(clock.ticks(base.checked_sub(Duration::from_secs(1)).unwrap_or(base)), 0);
        let last = saturating(base, Duration::MAX, Instant::checked_add);
        assert_eq!(clock.ticks(last), FAR);
        assert_eq!(last.checked_add(Duration::from_nanos(1)), None);
        assert_eq!(saturating(last, Duration::MAX, Instant::checked_add), last);
        assert_eq!(ticks(Duration::MAX), FAR);
        assert_eq!(ticks(Duration::from_nanos(u64::MAX)), FAR);
    }

    #[test]
    fn a_virtual_clock_moves_only_by_hand_and_only_forward() {
        let clock = Clock::virtual_();
        assert_eq!(clock.now(), 0);
        clock.advance_to(7);
        clock.advance_to(3);
        assert_eq!(clock.now(), 7);
        clock.advance_to(NEVER);
        assert_eq!(clock.now(), FAR - 1);
    }
}
