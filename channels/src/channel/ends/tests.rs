//! Tests and models of the channels of many messages.
#![forbid(unsafe_code)]

use std::pin::pin;
use std::task::{Context, Poll};

use super::*;
use crate::channel::error::{RecvError, RecvTimeoutError, SendTimeoutError, TryRecvError, TrySendError};
use crate::channel::future::{Recv, Reserve, Send};
use crate::shim::{self, thread};
use crate::testing::{Ledger, Wakes, block_on, poll_once, poll_with};

#[cfg(not(filch_loom))]
mod bounded;
mod model;
