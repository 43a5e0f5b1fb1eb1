//! Tasks: what a spawned future becomes, the claim on its output, names and ids, and sets of tasks that are not `Send`.

// Layer 1, task. A future on the heap, the right to poll it once, and the claim on its output.
//
// Owns the life of one task: allocation, state word, wakers, join handle. Names no queue, thread or
// descriptor; the one edge upward is the trait `Schedule`, which `scheduler` and `local` implement. All
// pointer casts are in `raw` and `cell`.
//
// `new` gives three things: a `Runnable` (may poll once, vanishes when the poll is pending, comes back
// through a wake), a `JoinHandle`, and, inside, the scheduler's own reference, which it gives back with
// `Done::release` once the task is out of its list. The life cycle is the table at the top of `state`.

mod cell;
mod error;
mod join;
mod list;
mod raw;
mod state;
#[cfg(test)]
mod tests;
mod waker;

use std::panic::Location;

pub(crate) use cell::outcome;
pub use error::{JoinError, TaskPanic};
pub(crate) use error::{PanicHook, head};
pub use join::{AbortHandle, JoinHandle};
pub(crate) use list::TaskList;
pub(crate) use raw::{
    Done, LATE, Ran, Root, RootPolled, Runnable, Schedule, Task, current_name, install_probe, new,
};

// The public face of this module has two things from above.
#[cfg(not(filch_loom))]
pub use crate::local::LocalSet;
#[cfg(not(filch_loom))]
pub use crate::spawn::TaskBuilder as Builder;
#[cfg(not(filch_loom))]
pub use crate::task_local::{AccessError, LocalKey, TaskLocalFuture};

/// What a task is born with.
#[derive(Debug)]
pub(crate) struct Birth {
    pub(crate) id: u64,
    /// The id of the task that spawned it; `0`: none.
    pub(crate) parent: u64,
    pub(crate) location: &'static Location<'static>,
    pub(crate) name: Option<Box<str>>,
    /// The list of the scheduler that the task is in, and perhaps `LATE`.
    pub(crate) list: u16,
}

/// The id of a task: no other task of this process has the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Id(pub(crate) u64);

impl Id {
    /// The number itself.
    pub fn as_u64(self) -> u64 {
        self.0
    }
}

impl std::fmt::Display for Id {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.fmt(f)
    }
}
