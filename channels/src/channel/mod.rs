//! Channels for threads and tasks alike, on any runtime.
//!
//! | | messages | ends | when full |
//! |---|---|---|---|
//! | [`bounded`] | each to one receiver | many to many | senders wait |
//! | [`oneshot`] | one | one to one | never |
//! | [`broadcast`] | each to every receiver | many to many | the oldest goes, slow receivers are told |
//! | [`watch`] | the latest to every receiver | many to many | the one before goes |
//!
//! Waiting comes in threes: `try_recv` never waits, `recv().await` waits in a task, `recv_blocking` waits on
//! a thread. Tasks and threads may use the same channel, and the same end of it, at the same time.

mod bounded;
pub mod broadcast;
pub mod error;
pub mod oneshot;
pub mod watch;

pub use bounded::{
    OwnedPermit, Permit, Permits, Receiver, Sender, State, Stats, WeakReceiver, WeakSender, bounded,
};

pub mod future {
    //! The futures that the methods of the channels return.
    pub use super::bounded::{Closed, Recv, RecvMany, Reserve, ReserveMany, ReserveOwned, Send};
}
