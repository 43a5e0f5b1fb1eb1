//! Tests of `Semaphore`.

use super::*;
use crate::test_util::{Count, block_on};

mod model;
#[cfg(not(filch_loom))]
mod unit;
