//! Tests of `RLock`.

use std::future::Future;

use super::*;
use crate::test_util::Count;
use crate::testing::block_on;

mod model;
#[cfg(not(filch_loom))]
mod unit;
