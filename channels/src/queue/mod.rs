//! Layer 2. `Queue`, `LifoQueue` and `PriorityQueue`: asyncio's queues, for tasks and threads at once.
//!
//! Owns the three public types, which are one thing in three orders: the items and the order lie in `store`
//! (`heap` and `age` for the priorities), the lock round them and the rest of the state in `shared`, what is
//! counted and waited for in `units`, the futures in `future`. Called by user code only.
//!
//! Unlike a channel, a queue has no ends: it is shared by reference or in an `Arc`, lives as long as somebody
//! has it, and counts what was put until it is done, so that one can wait for the work and not only for its
//! being handed out.
#![forbid(unsafe_code)]

use std::cmp::Ordering;
use std::collections::VecDeque;
use std::fmt;
use std::time::{Duration, Instant};

use crate::block::deadline_after;
use crate::shim::const_unless_model;

mod age;
mod error;
mod future;
mod heap;
mod methods;
mod shared;
mod store;
mod units;

#[cfg(test)]
mod tests;

pub use error::{
    GetError, GetTimeoutError, PutError, PutTimeoutError, TaskDoneError, TryGetError, TryPutError,
    UnfinishedError,
};
pub use future::{Get, GetItem, Item, Join, Put};

use heap::{Heap, Order};
use methods::{made, queue_methods};
use shared::Shared;
use store::Store;
use units::IsClosed;

/// Items that wait to be worked on: first in, first out.
///
/// Many may put and get, tasks and threads alike, on the same queue at the same time. Each item goes to one of
/// those who get. It counts as unfinished from its put until [`task_done`](Queue::task_done) is called for it,
/// or the [`Item`] that [`get_item`](Queue::get_item) gave is dropped, and [`join`](Queue::join) waits until
/// nothing is unfinished.
///
/// A queue ends by [`close`](Queue::close), after which what is left is worked off, or by
/// [`close_now`](Queue::close_now), which takes it out. There is no need for a sentinel, of which each of those
/// who get would need its own.
///
/// # Examples
/// Two tasks work for a thread.
/// ```
/// use filch_channels::sync::Queue;
/// use futures_lite::future;
///
/// let queue = Queue::new(2);
/// let worker = || async {
///     let mut sum = 0;
///     while let Ok(number) = queue.get_item().await {
///         sum += *number;
///     }
///     sum
/// };
/// std::thread::scope(|scope| {
///     scope.spawn(|| {
///         for number in 1..=4 {
///             queue.put_blocking(number).unwrap();
///         }
///         queue.join_blocking();
///         queue.close();
///     });
///     let (one, two) = future::block_on(future::zip(worker(), worker()));
///     assert_eq!(one + two, 10);
/// });
/// ```
///
/// # Cancel safety
/// A get that is dropped takes nothing. A put that is dropped has not put its item, which can be taken back from
/// it before: [`Put::into_inner`].
///
/// # Memory ordering
/// What happened before an item was put is visible to whoever gets it. What happened before the calls of
/// `task_done` is visible after `join`.
pub struct Queue<T> {
    shared: Shared<T>,
}

impl<T> Queue<T> {
    const_unless_model! {
        /// A queue with room for `maxsize` items; 0: as many as the memory holds.
        #[must_use]
        pub fn new(maxsize: usize) -> Queue<T> {
            Queue { shared: Shared::new(maxsize, Store::Fifo(VecDeque::new())) }
        }
    }
}

queue_methods!(Queue);

/// Items that wait to be worked on: last in, first out.
///
/// In all but its order it is a [`Queue`]. While newer items come without end, the oldest ones are not reached.
///
/// # Examples
/// ```
/// use filch_channels::sync::LifoQueue;
///
/// let queue = LifoQueue::new(0);
/// for number in 1..=3 {
///     queue.put_blocking(number).unwrap();
/// }
/// queue.close();
/// let mut order = Vec::new();
/// while let Ok(number) = queue.get_blocking() {
///     order.push(number);
/// }
/// assert_eq!(order, [3, 2, 1]);
/// ```
///
/// # Cancel safety
/// As for [`Queue`].
///
/// # Memory ordering
/// As for [`Queue`].
pub struct LifoQueue<T> {
    shared: Shared<T>,
}

impl<T> LifoQueue<T> {
    const_unless_model! {
        /// A queue with room for `maxsize` items; 0: as many as the memory holds.
        #[must_use]
        pub fn new(maxsize: usize) -> LifoQueue<T> {
            LifoQueue { shared: Shared::new(maxsize, Store::Lifo(Vec::new())) }
        }
    }
}

queue_methods!(LifoQueue);

/// Items that wait to be worked on: lowest first, and those that are equal in the order in which they were put.
///
/// In all but its order it is a [`Queue`]. While lower items come without end, higher ones are not reached,
/// unless the queue is told to mind their age: [`with_ageing`](PriorityQueue::with_ageing).
///
/// Items are compared while the queue is locked, so a compare that takes long keeps others waiting. One that
/// panics changes nothing: the put or get that met it panics, has not put or taken anything, and what is in the
/// queue stays in it. One that uses the queue itself panics.
///
/// # Examples
/// ```
/// use filch_channels::sync::PriorityQueue;
///
/// # futures_lite::future::block_on(async {
/// let queue = PriorityQueue::new(0);
/// for job in [(2, "sweep"), (1, "put out the fire"), (2, "air")] {
///     queue.put(job).await.unwrap();
/// }
/// assert_eq!(queue.get().await, Ok((1, "put out the fire")));
/// assert_eq!(queue.get().await, Ok((2, "air")));
/// # });
/// ```
///
/// # Panics
/// The methods that put, get, join, close or look at the [`stats`](PriorityQueue::stats), when a compare panics,
/// or when they are called by a compare of the same queue.
///
/// # Cancel safety
/// As for [`Queue`].
///
/// # Memory ordering
/// As for [`Queue`].
pub struct PriorityQueue<T> {
    shared: Shared<T>,
}

impl<T: Ord> PriorityQueue<T> {
    const_unless_model! {
        /// A queue with room for `maxsize` items; 0: as many as the memory holds. The lowest is first.
        #[must_use]
        pub fn new(maxsize: usize) -> PriorityQueue<T> {
            PriorityQueue { shared: Shared::new(maxsize, Store::Lowest(Heap::new(Order::own()))) }
        }
    }
}

impl<T> PriorityQueue<T> {
    const_unless_model! {
        /// A queue whose first item is the lowest by an order of your own.
        ///
        /// # Examples
        /// By the number alone, so that what is equal comes in the order in which it was put; highest first.
        /// ```
        /// # use filch_channels::sync::PriorityQueue;
        /// let queue = PriorityQueue::by(0, |a: &(f64, &str), b: &(f64, &str)| b.0.total_cmp(&a.0));
        /// for job in [(0.5, "sweep"), (0.5, "air"), (0.9, "put out the fire")] {
        ///     queue.try_put(job).unwrap();
        /// }
        /// queue.close();
        /// let order = std::iter::from_fn(|| queue.try_get().ok()).map(|job| job.1).collect::<Vec<_>>();
        /// assert_eq!(order, ["put out the fire", "sweep", "air"]);
        /// ```
        #[must_use]
        pub fn by(maxsize: usize, compare: fn(&T, &T) -> Ordering) -> PriorityQueue<T> {
            PriorityQueue { shared: Shared::new(maxsize, Store::Lowest(Heap::new(Order::by(compare)))) }
        }
    }

    /// From now on no item is overtaken by more than `limit` others: after that many that were put later were
    /// taken before it, it is next, whatever else is there. So nothing starves. 0 makes it first in, first out.
    ///
    /// Overtakings are counted, not timed, so that the same puts and gets give the same order.
    ///
    /// # Examples
    /// ```
    /// # use filch_channels::sync::PriorityQueue;
    /// let queue = PriorityQueue::new(0).with_ageing(2);
    /// for job in [9, 1, 2, 3, 4] {
    ///     queue.try_put(job).unwrap();
    /// }
    /// queue.close();
    /// let order = std::iter::from_fn(|| queue.try_get().ok()).collect::<Vec<_>>();
    /// assert_eq!(order, [1, 2, 9, 3, 4]);
    /// ```
    #[must_use]
    pub fn with_ageing(self, limit: u64) -> PriorityQueue<T> {
        self.shared.set_ageing(limit);
        self
    }
}

queue_methods!(PriorityQueue);

/// What a timed get makes of its answer.
fn got<T>(answer: Option<Result<T, IsClosed>>) -> Result<T, GetTimeoutError> {
    match answer {
        Some(Ok(item)) => Ok(item),
        Some(Err(IsClosed)) => Err(GetTimeoutError::Closed),
        None => Err(GetTimeoutError::Timeout),
    }
}

/// How far a queue is on its way to its end.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum QueueState {
    /// Items go in and out.
    Open,
    /// No item goes in any more; some are left.
    Closing,
    /// Nothing is left and nothing will come.
    Closed,
}

/// What a queue looked like at one moment.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub struct QueueStats {
    /// Items in the queue.
    pub len: usize,
    /// How many there may be; 0: there is no limit.
    pub maxsize: usize,
    /// Items that were put and are not done yet.
    pub unfinished: u64,
    /// Tasks and threads that wait for room.
    pub waiting_put: usize,
    /// Tasks and threads that wait for an item.
    pub waiting_get: usize,
    /// Tasks and threads that wait until all is done.
    pub waiting_join: usize,
    /// The most items there ever were.
    pub peak: usize,
    /// Items that were put since the beginning.
    pub put: u64,
    /// Items that were got since the beginning. Those that `close_now` took out are not among them.
    pub taken: u64,
    /// How far it is on its way to its end.
    pub state: QueueState,
}
