//! Layer 3, limit. What time it is for a limiter: nanoseconds since it was made, and not always read anew.
//!
//! Owns the beginning. A reading of the machine's clock that is a few microseconds old is used again: it says
//! between which two ticks it is now, and an algorithm that needs to know better has the clock read. Where a
//! paused runtime is about, each time is exact. Called by `paced`.
#![forbid(unsafe_code)]

use super::pace::{NEVER, Now, nanos};
use crate::time::{Duration, Instant};
use crate::util::glance;

#[derive(Clone, Copy, Debug)]
pub(super) struct Clock {
    /// When the limiter was made, as `glance` counts.
    base_nanos: u64,
    /// The same.
    base: Instant,
}

impl Clock {
    pub(super) fn new() -> Clock {
        // Before the base, so that it is not after it.
        glance::epoch();
        let base = Instant::now();
        Clock { base, base_nanos: glance::nanos(base.into_std()) }
    }

    /// The tick of an instant: zero for one before the limiter was made. Never [`NEVER`].
    fn tick(&self, instant: Instant) -> u64 {
        nanos(instant.duration_since(self.base)).min(NEVER - 1)
    }

    /// The instant of a tick.
    pub(super) fn instant(&self, tick: u64) -> Instant {
        if tick == NEVER {
            return self.base + Duration::MAX;
        }
        self.base + Duration::from_nanos(tick)
    }

    /// What is known of the time without a look at the clock, or else what the clock says.
    // Inlined, as are all steps of a call that passes: an answer that is handed on in memory costs as much as the rest.
    #[inline(always)]
    pub(super) fn glance(&self, whose: Whose) -> Now {
        match glance::glance() {
            Some(nanos) => {
                let from = nanos.saturating_sub(self.base_nanos);
                Now { from, to: from.saturating_add(glance::FRESH.as_nanos() as u64) }
            }
            None => self.exactly(whose),
        }
    }

    #[cold]
    #[inline(never)]
    pub(super) fn exactly(&self, whose: Whose) -> Now {
        Now::exactly(self.look(whose))
    }

    /// What the clock says.
    pub(super) fn look(&self, whose: Whose) -> u64 {
        match glance::read() {
            Some(nanos) => nanos.saturating_sub(self.base_nanos),
            None => self.tick(whose.now()),
        }
    }
}

/// Whose clock is meant.
#[derive(Clone, Copy, Debug)]
pub(super) enum Whose {
    /// That of the runtime that this thread is in, or the machine's if there is none.
    Runtimes,
    /// The machine's, also in a paused runtime: a thread that blocks waits for that one.
    Machines,
}

impl Whose {
    fn now(self) -> Instant {
        match self {
            Whose::Runtimes => Instant::now(),
            Whose::Machines => std::time::Instant::now().into(),
        }
    }
}
