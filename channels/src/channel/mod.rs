//! Channels for threads and tasks alike, on any runtime.
//!
//! | | messages | ends | when full |
//! |---|---|---|---|
//! | [`bounded`] | each to one receiver | many to many | senders wait |
//! | [`unbounded`] | each to one receiver | many to many | never |
//! | [`rendezvous`] | each to one receiver | many to many | always: senders wait for receivers |
//! | [`mpsc`], [`spsc`] | as the first two | many to one, one to one | as the first two; faster |
//! | [`oneshot`] | one | one to one | never |
//! | [`broadcast`] | each to every receiver | many to many | the oldest goes, slow receivers are told |
//! | [`watch`] | the latest to every receiver | many to many | the one before goes |
//!
//! Waiting comes in threes: `try_recv` never waits, `recv().await` waits in a task, `recv_blocking` waits on
//! a thread. [`Select`] waits for one of several operations on any of the channels of the first four rows.
//! Tasks and threads may use the same channel, and the same end of it, at the same time.

pub mod broadcast;
mod ends;
pub mod error;
pub mod mpsc;
pub mod oneshot;
pub mod select;
pub mod spsc;
pub mod watch;

pub use ends::{
    Builder, Drain, IntoIter, Iter, Kind, Mpmc, Mpsc, Operation, Overflow, OwnedPermit, Permit, Permits,
    Receiver, Sender, Spsc, State, Stats, TryIter, WeakReceiver, WeakSender, bounded, rendezvous, unbounded,
};
pub use select::Select;

pub mod future {
    //! The futures that the methods of the channels return.
    //!
    //! Each is an [`Operation`] with its work. `R` and `X` are what a receiver or a sender that has its end of
    //! the channel to itself lends to it.
    pub use super::ends::work::*;
    use super::{Mpmc, Operation};

    /// The future of [`Receiver::recv`](super::Receiver::recv).
    pub type Recv<'a, T, K = Mpmc, R = ()> = Operation<Receive<'a, T, K, R>>;
    /// The future of [`Receiver::recv_many`](super::Receiver::recv_many).
    pub type RecvMany<'a, T, K = Mpmc, R = ()> = Operation<Gather<'a, T, K, R>>;
    /// The future of [`Sender::send`](super::Sender::send).
    pub type Send<'a, T, K = Mpmc, X = ()> = Operation<Deliver<'a, T, K, X>>;
    /// The future of [`Sender::reserve`](super::Sender::reserve).
    pub type Reserve<'a, T, K = Mpmc, X = ()> = Operation<KeepRoom<'a, T, K, X>>;
    /// The future of [`Sender::reserve_many`](super::Sender::reserve_many).
    pub type ReserveMany<'a, T, K = Mpmc, X = ()> = Operation<KeepRooms<'a, T, K, X>>;
    /// The future of [`Sender::reserve_owned`](super::Sender::reserve_owned).
    pub type ReserveOwned<T, K = Mpmc> = Operation<KeepOwned<T, K>>;
    /// The future of [`Sender::closed`](super::Sender::closed).
    pub type Closed<'a, T, K = Mpmc> = Operation<AwaitEnd<'a, T, K>>;
    /// The future of [`Sender::resumed`](super::Sender::resumed).
    pub type Resumed<'a, T, K = Mpmc> = Operation<AwaitFlow<'a, T, K>>;
}
