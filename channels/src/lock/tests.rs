//! Tests of `Lock`.

use std::future::Future;
use std::pin::{Pin, pin};

use super::*;
use crate::test_util::Count;
use crate::testing::block_on;

mod model;
#[cfg(not(filch_loom))]
mod rank;
#[cfg(not(filch_loom))]
mod unit;
