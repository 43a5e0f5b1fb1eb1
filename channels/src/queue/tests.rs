//! Tests of the queues.

use super::*;
use crate::test_util::Count;
use crate::testing::block_on;

#[cfg(not(filch_loom))]
mod evil;
mod model;
#[cfg(not(filch_loom))]
mod property;
#[cfg(not(filch_loom))]
mod unit;
