//! Layer 2, scheduler. Decides on which thread each task is polled, and when.
//!
//! The only room that knows both `task` and `driver`. What is shared by all threads of a runtime is in
//! `shared`; what one worker has to itself, and can lose, is its `core`; a thread that works on a core is a
//! `worker`; which threads there are is kept by `crew`, and the `monitor` takes cores from threads that are
//! stuck. `queue`, `injector`, `idle` and `lease` are the pure parts, each with its argument and its model.

pub(crate) mod arrival;
pub(crate) mod idle;
pub(crate) mod injector;
pub(crate) mod jobs;
pub(crate) mod lease;
pub(crate) mod queue;

#[cfg(not(filch_loom))]
pub(crate) mod blocking;
#[cfg(not(filch_loom))]
pub(crate) mod core;
#[cfg(not(filch_loom))]
pub(crate) mod crew;
#[cfg(not(filch_loom))]
pub(crate) mod guest;
#[cfg(not(filch_loom))]
pub(crate) mod metrics;
#[cfg(not(filch_loom))]
pub(crate) mod monitor;
#[cfg(not(filch_loom))]
pub(crate) mod shared;
#[cfg(not(filch_loom))]
pub(crate) mod shutdown;
#[cfg(not(filch_loom))]
pub(crate) mod worker;

#[cfg(test)]
mod tests;
