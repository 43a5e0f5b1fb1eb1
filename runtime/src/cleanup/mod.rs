//! Clean-up that waits, on every way out.
//!
//! | to …                                               | use                                          |
//! |----------------------------------------------------|----------------------------------------------|
//! | do one thing on the way out                        | [`defer`]                                    |
//! | do many, the last one first                        | [`ExitStack`]                                |
//! | do it when a scope ends, or a group | `defer` of a [`Scope`](crate::Scope), or of a [`TaskGroup`](crate::TaskGroup) |
//! | open something, use it, and close it               | [`with`], with an [`AsyncResource`]          |
//!
//! A destructor cannot wait. So on the ways out that go through an `.await`, clean-up is waited for there; on all
//! others, when a future is dropped where it stands, it moves to the runtime, as a task of its own that nothing but the
//! end of the runtime cancels. [`Runtime::shutdown`](crate::Runtime::shutdown) waits for these tasks, also for those
//! that come of its own cancelling, within its deadline; what has not ended by then is cancelled, and listed in its
//! [report](crate::ShutdownReport). A clean-up cannot spawn tasks any more while the runtime shuts down.
#![forbid(unsafe_code)]

// Layer 5. `reaper` is the way to the runtime, `stack` and `resource` are what users hold.
mod caught;
mod reaper;
mod resource;
mod stack;

pub(crate) use self::{caught::caught, reaper::Work};
pub use self::{
    resource::{AsyncResource, Opened, with},
    stack::{Deferred, ExitStack, defer},
};
