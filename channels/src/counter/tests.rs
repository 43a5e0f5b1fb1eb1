//! Tests of `Counter`.

use super::*;
use crate::shim::{Arc, thread};

mod model;
#[cfg(not(filch_loom))]
mod unit;
