//! Layer 3, limit. Why a limiter let nobody pass.
//!
//! Owns the errors of all limiters. Called by `paced`, `keyed` and `limiter`.
#![forbid(unsafe_code)]

use std::error::Error;
use std::fmt;

use crate::time::Duration;

/// More were to pass together than ever can.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct TooMany {
    pub(super) asked: usize,
    pub(super) capacity: usize,
}

impl TooMany {
    /// How many were to pass.
    #[must_use]
    pub fn asked(&self) -> usize {
        self.asked
    }

    /// How many can, at most.
    #[must_use]
    pub fn capacity(&self) -> usize {
        self.capacity
    }
}

impl fmt::Display for TooMany {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let TooMany { asked, capacity } = self;
        write!(
            f,
            "{asked} can never pass together, as the limiter lets {capacity} at most pass at once: \
             ask for fewer, one after the other"
        )
    }
}

impl Error for TooMany {}

/// Why nobody could pass without waiting.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum TryAcquireError {
    /// The limit is reached. There is no use to try again before so long from now.
    NotYet(Duration),
    /// Others wait already, and come first.
    InLine,
    /// So many never can.
    TooMany(TooMany),
}

impl TryAcquireError {
    /// How long to leave it at least until the next try, where that is known.
    #[must_use]
    pub fn retry_after(&self) -> Option<Duration> {
        match self {
            TryAcquireError::NotYet(after) => Some(*after),
            TryAcquireError::InLine | TryAcquireError::TooMany(_) => None,
        }
    }
}

impl fmt::Display for TryAcquireError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            TryAcquireError::NotYet(after) => write!(f, "the limit is reached for another {after:?}"),
            TryAcquireError::InLine => f.write_str("the limit is reached, and others wait already"),
            TryAcquireError::TooMany(error) => error.fmt(f),
        }
    }
}

impl Error for TryAcquireError {}

impl From<TooMany> for TryAcquireError {
    fn from(error: TooMany) -> TryAcquireError {
        TryAcquireError::TooMany(error)
    }
}

/// Why a thread did not get through in time.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum AcquireTimeoutError {
    /// The time would have been up before its turn.
    Timeout,
    /// So many never can pass together.
    TooMany(TooMany),
}

impl fmt::Display for AcquireTimeoutError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            AcquireTimeoutError::Timeout => {
                f.write_str("the limit was reached for longer than the time limit")
            }
            AcquireTimeoutError::TooMany(error) => error.fmt(f),
        }
    }
}

impl Error for AcquireTimeoutError {}

impl From<TooMany> for AcquireTimeoutError {
    fn from(error: TooMany) -> AcquireTimeoutError {
        AcquireTimeoutError::TooMany(error)
    }
}

/// Why a [`Keyed`](super::Keyed) limiter let nobody pass without waiting.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum KeyedError {
    /// The limit of this key: see the error within.
    Limited(TryAcquireError),
    /// The key is new, and there are as many as there may be that are in use.
    TooManyKeys(usize),
}

impl fmt::Display for KeyedError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            KeyedError::Limited(error) => error.fmt(f),
            KeyedError::TooManyKeys(max) => {
                write!(f, "there are {max} keys in use, and no room for another: see `Keyed::max_keys`")
            }
        }
    }
}

impl Error for KeyedError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match self {
            KeyedError::Limited(error) => Some(error),
            KeyedError::TooManyKeys(_) => None,
        }
    }
}

impl From<TryAcquireError> for KeyedError {
    fn from(error: TryAcquireError) -> KeyedError {
        KeyedError::Limited(error)
    }
}
