//! Layer 1, driver. What a worker blocks on: the reactors and the timer shards of one runtime.

pub(crate) mod clock;
#[cfg(not(filch_loom))]
pub(crate) mod reactor;
pub(crate) mod source;
#[cfg(not(filch_loom))]
mod timerfd;
pub(crate) mod timers;
pub(crate) mod wheel;
