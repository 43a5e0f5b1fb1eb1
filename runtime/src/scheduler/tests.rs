//! Models of the scheduler's pure parts, and tests of the whole of it from the inside.

mod model;
#[cfg(not(filch_loom))]
mod unit;
