//! Tests of `RwLock`.

use std::future::Future;
use std::pin::Pin;

use super::*;
use crate::test_util::Count;
use crate::testing::block_on;

mod model;
#[cfg(not(filch_loom))]
mod order;
#[cfg(not(filch_loom))]
mod unit;
