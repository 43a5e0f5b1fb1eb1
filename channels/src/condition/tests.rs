//! Tests of `Condition`.

use std::sync::Arc;

use super::*;
use crate::sync::Lock;
use crate::test_util::Count;
use crate::testing::block_on;

mod model;
#[cfg(not(filch_loom))]
mod unit;
