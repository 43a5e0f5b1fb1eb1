//! Layer 1, driver. What a worker blocks on: the reactors of one runtime, and its clock; its timers are in `timers`.
//!
//! Owns how many reactors there are. One is shared by all workers; with one a worker,
//! each has its own. Both are the same code, so that both can be measured. Names no task. Called by
//! `scheduler`.

pub(crate) mod clock;
pub(crate) mod reactor;
pub(crate) mod source;
mod timerfd;
pub(crate) mod timers;
pub(crate) mod wheel;

use std::io;

use crate::shim::Arc;
use clock::Clock;
use reactor::Reactor;

pub(crate) struct Driver {
    pub(crate) reactors: Box<[Arc<Reactor>]>,
    pub(crate) clock: Clock,
}

impl Driver {
    pub(crate) fn new(reactors: usize, clock: Clock) -> io::Result<Driver> {
        let reactors = (0..reactors.max(1)).map(|_| Reactor::new()).collect::<io::Result<_>>()?;
        Ok(Driver { reactors, clock })
    }

    /// The reactor that the core `index` polls, and registers with.
    pub(crate) fn reactor(&self, index: usize) -> &Arc<Reactor> {
        &self.reactors[index % self.reactors.len()]
    }
}
