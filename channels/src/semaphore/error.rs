//! Layer 2, semaphore. Why no permit was taken. Called by the rest of `semaphore`.
#![forbid(unsafe_code)]

use std::fmt;

/// The semaphore is closed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct AcquireError(pub(super) ());

impl fmt::Display for AcquireError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the semaphore is closed and gives out no more permits")
    }
}

impl std::error::Error for AcquireError {}

/// Why [`Semaphore::try_acquire`](super::Semaphore::try_acquire) took nothing.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum TryAcquireError {
    /// The semaphore is closed.
    Closed,
    /// There are too few free permits, or others were overtaken too often and come first.
    NoPermits,
}

impl fmt::Display for TryAcquireError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            TryAcquireError::Closed => "the semaphore is closed and gives out no more permits",
            TryAcquireError::NoPermits => "the semaphore has not enough free permits",
        })
    }
}

impl std::error::Error for TryAcquireError {}

/// Why [`Semaphore::acquire_timeout`](super::Semaphore::acquire_timeout) took nothing.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum AcquireTimeoutError {
    /// The semaphore is closed.
    Closed,
    /// The time was up before enough permits were free.
    Timeout,
}

impl fmt::Display for AcquireTimeoutError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            AcquireTimeoutError::Closed => "the semaphore is closed and gives out no more permits",
            AcquireTimeoutError::Timeout => "the semaphore had not enough free permits in time",
        })
    }
}

impl std::error::Error for AcquireTimeoutError {}
