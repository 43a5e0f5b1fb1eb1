//! Layer 3, limit. What a limiter asks of its algorithm: may so many pass now, and if not, when?
//!
//! Owns the words in which the two are answered. Algorithms know no clock and no waiter, and may be asked by
//! several threads at once: how they bear that is up to them. Called by `paced`; implemented by `window` and
//! `bucket`.
#![forbid(unsafe_code)]

use std::time::Duration;

/// The tick that never comes.
pub(super) const NEVER: u64 = u64::MAX;

/// What is known of the time, in nanoseconds since the limiter was made: it is not before `from` and not after
/// `to`. The two are the same when the clock was read; see `clock` for when it need not be.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Now {
    pub(super) from: u64,
    pub(super) to: u64,
}

impl Now {
    pub(super) fn exactly(tick: u64) -> Now {
        Now { from: tick, to: tick }
    }
}

/// What became of a wish to pass.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[must_use]
pub enum Answer {
    /// Those who asked may pass, and were counted.
    Passed,
    /// Nothing was counted; there is no use to ask before this tick.
    NotBefore(u64),
    /// Nothing was counted; that depends on the time, which is not known well enough. Never the answer when the
    /// clock was read.
    Unsure,
}

/// By what a limiter goes: [`Window`](super::Window) or [`Bucket`](super::Bucket), and there are no others.
///
/// For the bounds of what should take both kinds of limiters, `P: Pace` and [`Paced<P>`](super::Paced).
pub trait Pace: Algorithm {}

/// An algorithm that says how many may pass, and when. The trait has no public name, so that nobody else has
/// one.
pub trait Algorithm: Send + Sync {
    /// How many may pass at once at most.
    fn capacity(&self) -> usize;

    /// Lets `n` pass, all or none. `n` is no more than the capacity. Time does not run backwards; where it
    /// seems to, it is as if it stood.
    fn pass(&self, now: Now, n: usize) -> Answer;

    /// How many could pass at this tick.
    fn free(&self, tick: u64) -> usize;
}

/// `duration` in nanoseconds, at most [`NEVER`].
pub(super) fn nanos(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(NEVER)
}
