//! Channels with many senders and one receiver: the methods of the general channel, faster.
//!
//! The receiver is the only one: it cannot be cloned, and wants `&mut self`. So it need not claim a message
//! against others before it takes it. What such an end does not have is what needs a second one: clones and
//! weak ends of its own, and [`force_send`](crate::channel::Sender::force_send), which receives.
//!
//! # Examples
//! ```
//! use filch_channels::channel::mpsc;
//!
//! let (tx, mut rx) = mpsc::bounded(2);
//! for name in ["a", "b"] {
//!     let tx = tx.clone();
//!     std::thread::spawn(move || tx.send_blocking(name).unwrap());
//! }
//! drop(tx);
//! let mut names: Vec<_> = rx.iter().collect();
//! names.sort();
//! assert_eq!(names, ["a", "b"]);
//! ```
//!
//! # Implementation
//! Layer 3. Owns the two constructors; all else is in `ends`. Called by user code only.
#![forbid(unsafe_code)]

use super::Mpsc;
use super::ends;

/// The sending end.
pub type Sender<T> = super::Sender<T, Mpsc>;
/// The receiving end.
pub type Receiver<T> = super::Receiver<T, Mpsc>;

/// Creates a channel with room for `capacity` messages.
///
/// # Panics
/// If `capacity` is 0 or more than 2^28: the places are made in advance.
#[track_caller]
pub fn bounded<T>(capacity: usize) -> (Sender<T>, Receiver<T>) {
    ends::typed(Some(capacity))
}

/// Creates a channel with room for any number of messages.
pub fn unbounded<T>() -> (Sender<T>, Receiver<T>) {
    ends::typed(None)
}
