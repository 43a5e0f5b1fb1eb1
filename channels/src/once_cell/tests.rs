//! Tests of `OnceCell`.

use super::*;
use crate::shim::Arc;
use crate::test_util::Count;
use crate::testing::block_on;

mod model;
#[cfg(not(filch_loom))]
mod unit;
