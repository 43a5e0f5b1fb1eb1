//! The errors of this channel.
#![forbid(unsafe_code)]

use std::error::Error;
use std::fmt;

pub use crate::channel::error::SendError;

/// Why there is no next message.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum RecvError {
    /// Every sender is gone and every message was seen.
    Closed,
    /// The receiver was too slow, and so many messages are lost. The next call gets the oldest that is left.
    Lagged(u64),
}

/// Why there was no message at once.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum TryRecvError {
    /// Nothing is there yet; something may come.
    Empty,
    /// Every sender is gone and every message was seen.
    Closed,
    /// The receiver was too slow, and so many messages are lost. The next call gets the oldest that is left.
    Lagged(u64),
}

/// Why there was no message in time.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum RecvTimeoutError {
    /// Nothing came in time.
    Timeout,
    /// Every sender is gone and every message was seen.
    Closed,
    /// The receiver was too slow, and so many messages are lost. The next call gets the oldest that is left.
    Lagged(u64),
}

const CLOSED: &str = "the channel is closed and empty";

fn lagged(f: &mut fmt::Formatter<'_>, count: u64) -> fmt::Result {
    write!(f, "the receiver was too slow and lost {count} messages")
}

impl fmt::Display for RecvError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            RecvError::Closed => f.write_str(CLOSED),
            RecvError::Lagged(count) => lagged(f, count),
        }
    }
}

impl fmt::Display for TryRecvError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            TryRecvError::Empty => f.write_str("the channel is empty"),
            TryRecvError::Closed => f.write_str(CLOSED),
            TryRecvError::Lagged(count) => lagged(f, count),
        }
    }
}

impl fmt::Display for RecvTimeoutError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            RecvTimeoutError::Timeout => f.write_str("no message came in time"),
            RecvTimeoutError::Closed => f.write_str(CLOSED),
            RecvTimeoutError::Lagged(count) => lagged(f, count),
        }
    }
}

impl Error for RecvError {}
impl Error for TryRecvError {}
impl Error for RecvTimeoutError {}

impl From<RecvError> for TryRecvError {
    fn from(error: RecvError) -> TryRecvError {
        match error {
            RecvError::Closed => TryRecvError::Closed,
            RecvError::Lagged(count) => TryRecvError::Lagged(count),
        }
    }
}

impl From<RecvError> for RecvTimeoutError {
    fn from(error: RecvError) -> RecvTimeoutError {
        match error {
            RecvError::Closed => RecvTimeoutError::Closed,
            RecvError::Lagged(count) => RecvTimeoutError::Lagged(count),
        }
    }
}
