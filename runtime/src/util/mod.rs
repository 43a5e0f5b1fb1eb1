//! Layer 0. Small helpers without a layer of their own: a parker, a batch of wakes, random numbers.
#![forbid(unsafe_code)]

pub(crate) mod bell;
pub(crate) mod block;
pub(crate) mod pad;
pub(crate) mod parker;
pub(crate) mod rng;
pub(crate) mod wake;
