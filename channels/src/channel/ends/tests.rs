//! Tests and models of the channels of many messages.
#![forbid(unsafe_code)]

use std::pin::pin;
use std::task::{Context, Poll};

use super::*;
use crate::channel::error::{RecvError, RecvTimeoutError, SendTimeoutError, TryRecvError, TrySendError};
#[cfg(not(filch_loom))]
use crate::channel::future::{Recv, Reserve, Send};
use crate::channel::{mpsc, spsc};
use crate::shim::{self, thread};
use crate::testing::{Ledger, Wakes, block_on, poll_once, poll_with};

#[cfg(not(filch_loom))]
mod bounded;
#[cfg(not(filch_loom))]
mod kinds;
mod model;
#[cfg(not(filch_loom))]
mod options;
#[cfg(not(filch_loom))]
mod property;
#[cfg(not(filch_loom))]
mod rendezvous;
