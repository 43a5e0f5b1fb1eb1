//! Tests and models of the select.
#![forbid(unsafe_code)]

use std::pin::pin;
use std::task::Poll;

use super::*;
use crate::channel::{bounded, rendezvous};
use crate::shim::{self, thread};
use crate::testing::{block_on, poll_once};

mod model;
#[cfg(not(filch_loom))]
mod unit;
