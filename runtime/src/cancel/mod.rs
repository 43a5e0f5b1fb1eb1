//! Cancellation that can be waited for, and that says why: `CancelToken`.
//!
//! Dropping a future, or aborting a task, ends it where it stands. A token *asks*: whoever has a clone can look at
//! it ([`checkpoint`](CancelToken::checkpoint)), wait for it ([`cancelled`](CancelToken::cancelled)), or have a
//! future dropped by it ([`run_until_cancelled`](CancelToken::run_until_cancelled)). Tokens form a tree: to cancel
//! one is to cancel all below it, and none above. They need no runtime, and work on threads and under any.
//!
//! [`TaskGroup`](crate::TaskGroup) and [`scope`](crate::scope()) have a token each, which a child finds by
//! [`CancelToken::current`].
//!
//! # Examples
//! ```
//! use filch::CancelToken;
//!
//! # filch::run(async {
//! let server = CancelToken::new();
//! let connection = server.child();
//! let task = filch::spawn({
//!     let connection = connection.clone();
//!     async move { connection.cancelled().await.text().to_owned() }
//! });
//! server.cancel("the server goes down");
//! assert_eq!(task.await.unwrap(), "the server goes down");
//! assert!(connection.is_cancelled());
//! # });
//! ```
#![forbid(unsafe_code)]

// Layer 3. The public face of `tree`, and the futures that wait for a node of it. Called by users, by `group` and by
// `scope`. Names no runtime: who waits does so in the line of an `Event`.

#[cfg(not(filch_loom))]
mod reason;
#[cfg(not(filch_loom))]
pub(crate) mod region;
#[cfg(test)]
mod tests;
#[cfg(not(filch_loom))]
mod token;
mod tree;

#[cfg(not(filch_loom))]
pub use self::{
    reason::{Cancelled, Reason},
    token::{CancelToken, Cancellation, DropGuard, UntilCancelled},
};
