//! Models of the list of those woken, and tests of it from the inside.

mod model;
#[cfg(not(filch_loom))]
mod unit;
