//! The errors of this channel.
#![forbid(unsafe_code)]

pub use crate::channel::error::{RecvError, RecvTimeoutError, SendError};
