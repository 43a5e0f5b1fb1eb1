//! Layer 1, driver. What a worker blocks on: the reactors and the timer shards of one runtime.

pub(crate) mod clock;
pub(crate) mod reactor;
pub(crate) mod source;
pub(crate) mod timers;
pub(crate) mod wheel;
