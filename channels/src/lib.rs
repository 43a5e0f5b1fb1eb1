//! Locks, queues and channels for async tasks and threads alike, on any runtime.
//!
//! Everything here can be awaited by a task and blocked on by a thread, on the same object at the same time.
//! It needs no runtime, and runs under any: under filch, which looks inside through the [`probe`], under
//! tokio or smol, and on plain threads with a `block_on` of your choice.
//!
//! | in [`sync`]                       | what it is                                                                |
//! |-----------------------------------|---------------------------------------------------------------------------|
//! | [`Lock`](sync::Lock)              | a value that one has to itself at a time; [`lock_all`](sync::lock_all)    |
//! | [`RLock`](sync::RLock)            | the same, which its owner can take again                                  |
//! | [`RwLock`](sync::RwLock)          | a value that many read at a time, or one writes                           |
//! | [`Condition`](sync::Condition)    | waits, without a lock, until what it guards has changed                   |
//! | [`Semaphore`](sync::Semaphore)    | a number of permits, taken one or many at a time, given back when dropped |
//! | [`Notify`](sync::Notify)          | wakes one waiter or all; stores one notification                          |
//! | [`Event`](sync::Event)            | a flag that one sets and all wait for                                     |
//! | [`Barrier`](sync::Barrier)        | parties that wait for each other, again and again                         |
//! | [`AtomicWait`](sync::AtomicWait)  | an integer on whose change one waits, to build on                         |
//! | [`Counter`](sync::Counter)        | a number that many threads change and few read                            |
//! | [`OnceCell`](sync::OnceCell)      | a value that the first who needs it makes                                 |
//! | [`Pool`](sync::Pool)              | costly things, lent out and given back                                    |
//! | [`Queue`](sync::Queue)            | items to be worked on, first in, first out; knows when all of it is done  |
//! | [`LifoQueue`](sync::LifoQueue)    | the same, last in, first out                                              |
//! | [`PriorityQueue`](sync::PriorityQueue) | the same, lowest first; can mind the age of items                    |
//!
//! Channels are in [`channel`]. What tests of all this need, and of what you build on it, is in [`testing`]: a
//! harness that drops a future at every await, and wakers and values that panic.
//!
//! Each waiting operation comes in up to four forms: `acquire().await`, `try_acquire()` which never waits,
//! `acquire_blocking()` for threads, and `acquire_timeout(d)`, which blocks a thread for so long at most. A
//! task bounds the first form by its runtime's own timeout: nothing is lost when a future is dropped.
//!
//! # Examples
//! Four tasks and a thread share two desks.
//! ```
//! use std::sync::Arc;
//! use filch_channels::sync::Semaphore;
//! use futures_lite::future;
//!
//! fn main() {
//!     let desks = Arc::new(Semaphore::new(2));
//!     let clerk = {
//!         let desks = desks.clone();
//!         std::thread::spawn(move || {
//!             let _desk = desks.acquire_blocking().unwrap();
//!             "a thread worked"
//!         })
//!     };
//!     let work = |name: &'static str| {
//!         let desks = desks.clone();
//!         async move {
//!             let _desk = desks.acquire().await.unwrap();
//!             future::yield_now().await;
//!             name
//!         }
//!     };
//!     let one = future::zip(work("one"), work("two"));
//!     let two = future::zip(work("three"), work("four"));
//!     let names = future::block_on(future::zip(one, two));
//!     assert_eq!(names, (("one", "two"), ("three", "four")));
//!     assert_eq!(clerk.join().unwrap(), "a thread worked");
//!     assert_eq!(desks.available_permits(), 2);
//! }
//! ```
//!
//! # Who goes first
//! Locks, semaphores and full channels hand on what they guard by one rule. Waiters stand in line; whoever
//! releases frees for all and wakes the first in line; a newcomer may be quicker, which spares a switch of
//! tasks at each hand-over; and a waiter that was overtaken 16 times is next, whatever comes. A task that
//! holds on to a future which is in line, and awaits another on the same lock, does not lock itself out: what
//! the one was offered the other may take. Under filch, an offer
//! that a task does not take up by the end of its next poll also goes to the next waiter; elsewhere newcomers
//! may take it, but those in line wait until the future it was made to is polled or dropped.
//!
//! Under filch, a task that would wait for room or a message of a channel first gives the other tasks a turn,
//! and gets in line when it is polled after that: mostly it need not, then.
//!
//! # What it is not for
//! - Data that is only ever locked for a few instructions, and never across an await: use `std::sync::Mutex`.
//! - Waiting for sockets, timers or processes: that is a runtime's business.
//! - `no_std`: threads are parked, and a queue allocates when somebody first waits in it.

// The file is named as in every crate here; the module is not, because `sync` is the public one.
#[doc(hidden)]
#[path = "sync.rs"]
pub mod __shim;
mod atomic_wait;
mod barrier;
mod condition;
mod counter;
mod event;
mod guarded;
mod holder;
mod lock;
mod notify;
mod once_cell;
mod pool;
pub mod probe;
mod rlock;
mod rwlock;
mod semaphore;
#[cfg(test)]
mod test_util;
mod wait_queue;
mod wake_batch;

mod block;
mod chain;
mod queue;
mod ring;
mod waker_slot;

pub mod channel;

pub mod testing;

pub(crate) use __shim as shim;

/// Locks, and other ways to wait for each other.
pub mod sync {
    pub use crate::atomic_wait::{AtomicWait, AtomicWait64, AtomicWaiting, WaitOutcome};
    pub use crate::barrier::{
        Barrier, BarrierError, BarrierWait, BarrierWaitResult, BarrierWaitUnlessBroken, BrokenBarrierError,
    };
    pub use crate::condition::{Condition, ConditionWait, WaitTimeoutResult};
    pub use crate::counter::Counter;
    pub use crate::event::{Event, EventWait};
    pub use crate::lock::{
        Lock, LockGuard, LockStats, LockTimeoutError, Locking, LockingOwned, MappedLockGuard,
        MappedMutexGuard, Mutex, MutexGuard, OwnedLockGuard, OwnedMappedLockGuard, OwnedMappedMutexGuard,
        OwnedMutexGuard, TryLockError, WholeGuard, lock_all, lock_all_blocking, lock_all_deadline,
        lock_all_timeout, try_lock_all,
    };
    pub use crate::notify::{Notified, Notify};
    pub use crate::once_cell::{OnceCell, SetError};
    pub use crate::pool::{Pool, PoolBuilder, PoolError, PoolStats, Pooled};
    pub use crate::queue::{
        Get, GetError, GetItem, GetTimeoutError, Item, Join, LifoQueue, PriorityQueue, Put, PutError,
        PutTimeoutError, Queue, QueueState, QueueStats, TaskDoneError, TryGetError, TryPutError,
        UnfinishedError,
    };
    pub use crate::rlock::{OwnedRLockGuard, RLock, RLockGuard, RLocking, RLockingOwned, ReentryError};
    pub use crate::rwlock::{
        OwnedRwLockMappedWriteGuard, OwnedRwLockReadGuard, OwnedRwLockUpgradableReadGuard,
        OwnedRwLockWriteGuard, Reading, ReadingOwned, ReadingUpgradable, ReadingUpgradableOwned, RwLock,
        RwLockMappedWriteGuard, RwLockPolicy, RwLockReadGuard, RwLockUpgradableReadGuard, RwLockWriteGuard,
        Upgrading, UpgradingOwned, Writing, WritingOwned,
    };
    pub use crate::semaphore::{
        Acquire, AcquireError, AcquireOwned, AcquireTimeoutError, OwnedSemaphorePermit, Semaphore,
        SemaphorePermit, TryAcquireError,
    };
}
