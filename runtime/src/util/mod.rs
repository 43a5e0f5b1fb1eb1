//! Layer 0. Small helpers without a layer of their own: a parker, a batch of wakes, random numbers, a rough clock.

pub(crate) mod bell;
pub(crate) mod block;
#[cfg_attr(filch_loom, allow(dead_code))]
pub(crate) mod glance;
pub(crate) mod pad;
pub(crate) mod parker;
pub(crate) mod rng;
pub(crate) mod wake;
