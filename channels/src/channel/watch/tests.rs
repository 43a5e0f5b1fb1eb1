//! Tests of the watch channel.

use super::*;
use crate::testing::block_on;

mod model;
#[cfg(not(filch_loom))]
mod unit;
