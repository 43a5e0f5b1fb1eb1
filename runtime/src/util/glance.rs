//! Layer 0. What time it is, roughly, for less than half of what a look at the clock costs.
//!
//! Owns each thread's last reading of the machine's clock, and the count of the processor's cycles that tells
//! whether it is still fresh. How long a cycle is nobody needs to know, but that there are a thousand in a
//! microsecond, or more. Called by `limit`; `driver` tells of clocks that cycles say nothing of.

use std::cell::Cell;
use std::sync::OnceLock;
use std::time::{Duration, Instant};

use crate::shim::Ordering::Relaxed;
use crate::shim::report::AtomicUsize;

/// How far from the truth a reading is at most that [`glance`] gives: the time is between it and so much later.
pub(crate) const FRESH: Duration = Duration::from_micros(4);
/// So many cycles are 2 µs at most. Half of the above, as processors do not read their count to the point.
const FRESH_CYCLES: u64 = 2_000;

/// Whether cycles can be relied on.
static TRUST: AtomicUsize = AtomicUsize::new(UNKNOWN);
const UNKNOWN: usize = 0;
const NO: usize = 1;
const YES: usize = 2;

thread_local! {
    /// The last reading, in nanoseconds since `epoch`, and the count just before it.
    static READ: Cell<(u64, u64)> = const { Cell::new((0, 0)) };
}

/// The last reading of this thread, in nanoseconds since [`epoch`], if it is fresh.
#[inline]
pub(crate) fn glance() -> Option<u64> {
    if !is_trusted() {
        return None;
    }
    let (nanos, then) = READ.get();
    (cycles().wrapping_sub(then) < FRESH_CYCLES).then_some(nanos)
}

/// Reads the machine's clock, in nanoseconds since [`epoch`]; `None` if cycles are not relied on, be it because
/// there is a clock that is not the machine's.
#[inline]
pub(crate) fn read() -> Option<u64> {
    if !is_trusted() {
        return None;
    }
    // In this order: the reading is no older than the count says.
    let then = cycles();
    let nanos = nanos(Instant::now());
    READ.set((nanos, then));
    Some(nanos)
}

/// Some moment before which nobody reads.
pub(crate) fn epoch() -> Instant {
    static EPOCH: OnceLock<Instant> = OnceLock::new();
    *EPOCH.get_or_init(Instant::now)
}

/// `instant` in nanoseconds since [`epoch`], zero for one before that.
pub(crate) fn nanos(instant: Instant) -> u64 {
    let since = instant.saturating_duration_since(epoch());
    since.as_secs().saturating_mul(1_000_000_000).saturating_add(u64::from(since.subsec_nanos()))
}

/// A clock is made that is not the machine's: from now on nobody relies on cycles.
pub(crate) fn distrust() {
    // Ordering: Relaxed, here and below: whoever has to do with that clock has been told by its maker.
    TRUST.store(NO, Relaxed);
}

#[inline]
fn is_trusted() -> bool {
    match TRUST.load(Relaxed) {
        UNKNOWN => find_out(),
        trust => trust == YES,
    }
}

/// Whether the kernel goes by this count itself, which it does after it has watched it on all processors.
#[cold]
fn find_out() -> bool {
    let source = "/sys/devices/system/clocksource/clocksource0/current_clocksource";
    let is_steady = cfg!(all(target_arch = "x86_64", target_os = "linux"))
        && std::fs::read_to_string(source).is_ok_and(|name| name.trim() == "tsc");
    let trust = if is_steady { YES } else { NO };
    // Unless somebody has told to distrust it meanwhile.
    TRUST.compare_exchange(UNKNOWN, trust, Relaxed, Relaxed).is_ok() && is_steady
}

#[cfg(target_arch = "x86_64")]
#[inline]
fn cycles() -> u64 {
    // SAFETY: the instruction reads a register, and is part of every x86-64.
    unsafe { core::arch::x86_64::_rdtsc() }
}

#[cfg(not(target_arch = "x86_64"))]
fn cycles() -> u64 {
    0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn there_are_a_thousand_in_a_microsecond_or_more() {
        let (start, clock) = (cycles(), Instant::now());
        while clock.elapsed().as_millis() < 2 {
            std::hint::spin_loop();
        }
        assert!(cycles().wrapping_sub(start) > 2_000_000 || !cfg!(target_arch = "x86_64"));
    }

    #[test]
    fn a_reading_is_from_between_the_looks_around_it() {
        let before = nanos(Instant::now());
        let read = read();
        let after = nanos(Instant::now());
        // Other tests of this process have paused clocks, after which there are none.
        assert!(read.is_none_or(|read| (before..=after).contains(&read)));
        let (glance, now) = (glance(), nanos(Instant::now()));
        assert!(glance.is_none_or(|glance| glance <= now));
    }
}
