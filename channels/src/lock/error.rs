//! Layer 2, lock. Why a lock was not taken: the errors of all kinds of locks.
//!
//! Owns two types without content. Called by `Lock`, `RLock` and `RwLock`.
#![forbid(unsafe_code)]

use std::fmt;

/// The lock could not be taken without waiting: somebody has it, or others come first.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct TryLockError(pub(crate) ());

impl fmt::Display for TryLockError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the lock could not be taken without waiting")
    }
}

impl std::error::Error for TryLockError {}

/// The time was up before the lock could be taken.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct LockTimeoutError(pub(crate) ());

impl fmt::Display for LockTimeoutError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the lock could not be taken in time")
    }
}

impl std::error::Error for LockTimeoutError {}
