//! Locks, queues and channels for async tasks and threads alike, on any runtime.

// The file is named as in every crate here; the module is not, because `sync` is the public one.
#[doc(hidden)]
#[path = "sync.rs"]
pub mod __shim;
mod notify;
pub mod probe;
mod semaphore;
#[cfg(test)]
mod test_util;
mod wait_queue;
mod wake_batch;

mod block;
mod ring;
mod waker_slot;

pub mod channel;

#[cfg(test)]
mod testing;

pub(crate) use __shim as shim;

/// Locks, and other ways to wait for each other.
pub mod sync {
    pub use crate::notify::{Notified, Notify};
    pub use crate::semaphore::{
        Acquire, AcquireError, AcquireOwned, AcquireTimeoutError, OwnedSemaphorePermit, Semaphore,
        SemaphorePermit, TryAcquireError,
    };
}
