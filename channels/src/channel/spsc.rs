//! Channels with one sender and one receiver: the methods of the general channel, faster.
//!
//! Each end is the only one: it cannot be cloned, and wants `&mut self`. So the receiver need not claim a
//! message against others before it takes it. What such an end does not have is what needs a second one: clones
//! and weak ends of its own, and [`force_send`](crate::channel::Sender::force_send), which receives.
//!
//! # Examples
//! ```
//! use filch_channels::channel::spsc;
//!
//! let (mut tx, mut rx) = spsc::bounded(2);
//! std::thread::spawn(move || (1..=4).for_each(|number| tx.send_blocking(number).unwrap()));
//! futures_lite::future::block_on(async {
//!     let mut sum = 0;
//!     while let Ok(number) = rx.recv().await {
//!         sum += number;
//!     }
//!     assert_eq!(sum, 10);
//! });
//! ```
//!
//! # Implementation
//! Layer 3. Owns the two constructors; all else is in `ends`. Called by user code only.
#![forbid(unsafe_code)]

use super::Spsc;
use super::ends;

/// The sending end.
pub type Sender<T> = super::Sender<T, Spsc>;
/// The receiving end.
pub type Receiver<T> = super::Receiver<T, Spsc>;

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
