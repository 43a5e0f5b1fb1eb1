//! Waiting for several futures at once, in one task.
//!
//! | to wait for …                                      | use                                    |
//! |----------------------------------------------------|----------------------------------------|
//! | all of a few, of different types                   | [`gather!`](crate::gather!)            |
//! | all of many, outputs in the order of the arguments | [`gather()`]                           |
//! | all, and keep the panics of some as values         | [`gather(..).settled()`](Gather::settled) |
//! | all, or the first error                            | [`try_gather()`], [`try_gather!`](crate::try_gather!) |
//! | the first that is done, well or badly              | [`race()`]                             |
//! | the first that ends well                           | [`any()`]                              |
//! | each as it is done                                 | [`as_completed()`], [`as_completed_keyed()`] |
//! | some, and keep the others                          | [`wait()`]                             |
//! | one that must go on though nobody waits any more   | [`shield()`]                           |
//!
//! All but [`shield()`] poll their futures in place: nothing is spawned, so futures may borrow, need not be
//! `Send`, and are cancelled by dropping what waits for them. They run on one thread at a time; to use more,
//! spawn tasks and gather their handles. They need no runtime of ours, but for the forms with a time limit.
//!
//! # What it costs
//! A future is polled once at first, and then only when it was woken. If the iterator knows how many there
//! are, the allocations are four at most, be it for a hundred thousand: one for the futures, one for the
//! outputs, and one more if any future has to wait, two if there are more than 64. One poll polls at most 128
//! futures, and no more than the budget of the task allows; then the task yields, so that many futures which
//! are ready do not hog the thread.
//!
//! # Panics of a future
//! A panic in a future goes on through the poll of the one that waits for it, as if the future had been
//! awaited there; the others are dropped as the stack unwinds. Whoever catches it outside and polls again
//! gets another panic, that says so. [`Gather::settled`] catches it instead.
//!
//! # Examples
//! ```
//! # futures_lite::future::block_on(async {
//! let squares = filch::gather((1..=3).map(|n| async move { n * n })).await;
//! assert_eq!(squares, [1, 4, 9]);
//!
//! let (n, text) = filch::gather!(async { 1 }, async { "two" });
//! assert_eq!((n, text), (1, "two"));
//! # });
//! ```

// Layer 3. `set` over `ready` is the core of all but the macros; they know no task, thread or clock.
#[cfg(not(filch_loom))]
mod all;
#[cfg(not(filch_loom))]
mod as_completed;
#[cfg(not(filch_loom))]
mod ext;
#[cfg(not(filch_loom))]
mod first;
#[cfg(not(filch_loom))]
pub(crate) mod pool;
mod ready;
#[cfg(not(filch_loom))]
pub(crate) mod set;
#[cfg(not(filch_loom))]
mod shield;
#[cfg(not(filch_loom))]
pub(crate) mod tuple;
#[cfg(not(filch_loom))]
mod wait;

#[cfg(test)]
mod tests;

#[cfg(not(filch_loom))]
pub use self::{
    all::{Gather, Settled, TryGather, gather, try_gather},
    as_completed::{AsCompleted, Keyed, Limited, as_completed, as_completed_keyed},
    ext::{AndThen, Finally, FutureExt, Inspect, Map, OrElse, Then},
    first::{AllFailed, Any, Race, any, race},
    shield::{Shield, shield},
    wait::{Mode, Wait, WaitLimited, Waiting, wait},
};
