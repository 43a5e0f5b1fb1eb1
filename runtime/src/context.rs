//! Layer 2. The crate's only `thread_local!`: which runtime and which worker am I on?
//!
//! Layer 3 asks here for what it needs of the runtime, and learns nothing else about it.
#![allow(dead_code)]

use std::fmt;

use crate::driver::clock::Clock;
use crate::driver::timers::TimerShard;
use crate::shim::Arc;

/// There is no filch runtime on this thread.
#[derive(Clone, Copy, Debug)]
pub(crate) struct NoRuntime;

impl fmt::Display for NoRuntime {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(
            "no filch runtime on this thread: call this from a task, from inside `filch::run` or \
             `Runtime::block_on`, or while a guard of `Handle::enter` is alive",
        )
    }
}

impl std::error::Error for NoRuntime {}

impl From<NoRuntime> for std::io::Error {
    fn from(error: NoRuntime) -> std::io::Error {
        std::io::Error::other(error)
    }
}

/// The timers of the worker that this thread is, or of one that it may use.
pub(crate) fn timers() -> Result<Arc<TimerShard>, NoRuntime> {
    Err(NoRuntime)
}

/// Wakes the owner of `shard`, which sleeps past a deadline that was just inserted.
pub(crate) fn unpark_timers(shard: &TimerShard) {
    let _ = shard;
}

/// The clock of the runtime that this thread belongs to; none: real time.
pub(crate) fn clock() -> Option<Clock> {
    None
}
