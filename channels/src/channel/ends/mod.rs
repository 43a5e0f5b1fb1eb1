//! Layer 3. Channels of many messages, each for one receiver: their two ends, and who may hold them.
//!
//! Owns the constructors of the general channel. What both ends share, and why no wake-up is lost, is in
//! `shared.rs`; what a send and a receive have in common in `operation.rs`. Called by user code only.
//!
//! | file           | owns                                                                    |
//! |----------------|-------------------------------------------------------------------------|
//! | `kind.rs`      | the kinds of channels: how many may hold an end, where messages lie     |
//! | `meet.rs`      | where senders and receivers meet that have no room between them         |
//! | `decision.rs`  | which of several operations is done, where more than one may be         |
//! | `shared.rs`    | the lines, the counts of the ends, the end, statistics                  |
//! | `lone.rs`      | where receivers wait: in a line, or the only one alone                   |
//! | `flow.rs`      | what a full channel does, and the marks between which it swings         |
//! | `operation.rs` | a send or receive under way, as a future and on a thread                |
//! | `deliver.rs`   | what a send does;  `event.rs`: what else a sender waits for             |
//! | `receive.rs`   | what a receive does                                                     |
//! | `send.rs`      | the sending end;  `permit.rs`: room that was kept                       |
//! | `recv.rs`      | the receiving end;  `iter.rs`: its iterators and its stream             |
#![forbid(unsafe_code)]

pub(super) mod decision;
mod deliver;
mod event;
mod flow;
mod iter;
mod kind;
mod lone;
mod meet;
pub(super) mod operation;
mod permit;
mod receive;
mod recv;
mod send;
mod shared;
#[cfg(test)]
mod tests;

pub use flow::{Builder, Overflow};
pub use iter::{Drain, IntoIter, Iter, TryIter};
pub use kind::{Kind, Mpmc, Mpsc, Spsc};
pub use operation::Operation;
pub use permit::{OwnedPermit, Permit, Permits};
pub use recv::{Receiver, Receives, WeakReceiver};
pub use send::{Sender, Sends, WeakSender};
pub use shared::{State, Stats};

use kind::{Many, ToOne};
use shared::Shared;

/// What an [`Operation`] does: a name for each.
pub(super) mod work {
    pub use super::deliver::Deliver;
    pub use super::event::{AwaitEnd, AwaitFlow};
    pub use super::operation::Work;
    pub use super::permit::{KeepOwned, KeepRoom, KeepRooms};
    pub use super::receive::{Gather, Receive};
}

/// Creates a channel with room for `capacity` messages.
///
/// Each message goes to one receiver. Both ends can be cloned, and used by tasks and threads alike.
///
/// # Examples
/// ```
/// use filch_channels::channel;
///
/// let (tx, rx) = channel::bounded(2);
/// std::thread::spawn(move || {
///     for number in 1..=3 {
///         tx.send_blocking(number).unwrap();
///     }
/// });
/// futures_lite::future::block_on(async {
///     let mut sum = 0;
///     while let Ok(number) = rx.recv().await {
///         sum += number;
///     }
///     assert_eq!(sum, 6);
/// });
/// ```
///
/// # Panics
/// If `capacity` is 0 or more than 2^28: the places are made in advance.
#[track_caller]
pub fn bounded<T>(capacity: usize) -> (Sender<T>, Receiver<T>) {
    general(Many::ring(capacity))
}

/// Creates a channel with room for any number of messages: a send never waits.
///
/// The ends are those of a [`bounded`] channel. [`try_send`](Sender::try_send) fails only once the channel is
/// closed. When many messages have gathered and are received, their memory is given back.
///
/// Memory is all that bounds it. If senders may be faster than receivers, use [`bounded`], or let senders heed
/// [`watermarks`](Builder::watermarks).
///
/// # Examples
/// ```
/// use filch_channels::channel;
///
/// let (tx, rx) = channel::unbounded();
/// for number in 0..1_000 {
///     tx.try_send(number).unwrap();
/// }
/// drop(tx);
/// assert_eq!(rx.iter().count(), 1_000);
/// ```
pub fn unbounded<T>() -> (Sender<T>, Receiver<T>) {
    general(Many::chain())
}

/// Creates a channel without room: a send ends when a receiver has the message.
///
/// The ends are those of a [`bounded`] channel. A sender that comes first waits for a receiver, and the other
/// way round; [`try_send`](Sender::try_send) succeeds only if a receiver waits, and
/// [`try_recv`](Receiver::try_recv) only if a sender does. A send that is dropped while it waits takes its
/// message back. A receive to which a message was handed, and that is dropped before it looks, leaves it to
/// the next receive, which may have had a later one of the same sender before.
///
/// # Examples
/// ```
/// use filch_channels::channel;
///
/// let (tx, rx) = channel::rendezvous();
/// assert!(tx.try_send("nobody waits").is_err());
/// let waiter = std::thread::spawn(move || rx.recv_blocking());
/// tx.send_blocking("hello").unwrap();
/// assert_eq!(waiter.join().unwrap(), Ok("hello"));
/// ```
pub fn rendezvous<T>() -> (Sender<T>, Receiver<T>) {
    general(Many::meet())
}

fn general<T>(store: Many<T>) -> (Sender<T>, Receiver<T>) {
    let shared = Shared::new(store, None);
    (Sender::new(shared.clone(), ()), Receiver::new(shared, ()))
}

/// The typed channels: with so much room, or `None` for any.
#[track_caller]
pub(super) fn typed<T, K: Kind<Store<T> = ToOne<T>>>(
    capacity: Option<usize>,
) -> (Sender<T, K>, Receiver<T, K>) {
    let (store, only) = ToOne::new(capacity);
    let shared = Shared::new(store, None);
    (Sender::new(shared.clone(), ()), Receiver::new(shared, only))
}
