//! What tests of concurrent code need: a harness that drops a future at every await, and hostile participants.
//!
//! For you who test code that waits: your own futures, or your use of the primitives of this crate. All of it
//! runs on plain threads, without a runtime, and inside of a task of any runtime as well.
//!
//! | | |
//! |---|---|
//! | [`cancel_at_every_await`] | makes a scenario again and again, and drops its future at another point each time |
//! | [`cancel_at_every_await_blocking`] | the same on a thread, where it notices a hang too |
//! | [`Harness`] | the same with options |
//! | [`Wakes`] | a waker that counts |
//! | [`Ledger`] | counts what it made, and what of it was dropped |
//! | [`Evil`] | wakers and values that panic or re-enter, at the n-th clone, wake, drop or comparison |
//! | [`block_on`], [`poll_once`], [`poll_with`], [`yield_now`] | the least that it takes to poll |
//!
//! # Examples
//! A lock of one's own. The harness finds that a key can be handed to a future that is gone.
//! ```
//! use std::cell::RefCell;
//! use std::collections::VecDeque;
//! use std::future::poll_fn;
//! use std::task::{Poll, Waker};
//! use filch_channels::testing::cancel_at_every_await_blocking;
//!
//! #[derive(Default)]
//! struct Key {
//!     taken: bool,
//!     line: VecDeque<Waker>,
//! }
//!
//! async fn take(key: &RefCell<Key>) {
//!     let mut waited = false;
//!     poll_fn(|cx| {
//!         let mut key = key.borrow_mut();
//!         if waited || !key.taken {
//!             key.taken = true;
//!             return Poll::Ready(());
//!         }
//!         waited = true;
//!         key.line.push_back(cx.waker().clone());
//!         Poll::Pending
//!     })
//!     .await;
//! }
//!
//! fn give_back(key: &RefCell<Key>) {
//!     let mut key = key.borrow_mut();
//!     match key.line.pop_front() {
//!         Some(next) => next.wake(), // Straight into the hands of the next one.
//!         None => key.taken = false,
//!     }
//! }
//!
//! let found = std::panic::catch_unwind(|| {
//!     cancel_at_every_await_blocking(async |trial| {
//!         let key = RefCell::new(Key::default());
//!         take(&key).await;
//!         let taken = trial.beside(async { give_back(&key) }).run(take(&key)).await;
//!         assert_eq!(key.borrow().taken, taken.is_some(), "whose is it?");
//!     })
//! });
//! let text = found.unwrap_err().downcast::<String>().unwrap();
//! assert!(text.starts_with("with its future dropped right after poll 1"));
//! assert!(text.contains("whose is it?"));
//! ```
//!
//! # Implementation
//! Layer 3. Owns names only. It leans on the shims, so that the models of this crate can use it too, and on
//! nothing that it is there to test.

mod cancel;
mod evil;
mod evil_waker;
mod ledger;
mod report;
#[cfg(test)]
mod tests;
mod trial;
mod wakes;

pub use cancel::{Harness, cancel_at_every_await, cancel_at_every_await_blocking};
pub use evil::{Evil, EvilValue, Moment};
pub use ledger::{Counted, Ledger};
pub use report::Report;
pub use trial::{Fate, Trial, World};
pub use wakes::{Wakes, block_on, poll_once, poll_with, yield_now};

/// The text of a panic.
fn text(payload: &(dyn std::any::Any + Send)) -> &str {
    let text = payload.downcast_ref::<&'static str>().copied();
    text.or_else(|| payload.downcast_ref::<String>().map(String::as_str)).unwrap_or("(no text)")
}
