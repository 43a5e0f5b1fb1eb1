//! Layer 3, cancel. Picks the tests: units on the real primitives, models on loom's or as stress tests.
mod model;
#[cfg(not(filch_loom))]
mod unit;
