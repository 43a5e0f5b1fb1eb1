//! An async runtime: work stealing, a reactor on mio, timers, and the toolbox of asyncio.

// Layer 0. The file is named as in every crate here; the module is not, because `sync` is the public one.
#[path = "sync.rs"]
mod shim;
// Layer 1
mod driver;
// Layer 2
mod context;
// Layer 3
#[cfg(not(filch_loom))]
mod async_fd;
#[cfg(all(feature = "hyper", not(filch_loom)))]
pub mod hyper;
#[cfg(not(filch_loom))]
pub mod io;
#[cfg(not(filch_loom))]
pub mod net;
#[cfg(not(filch_loom))]
pub mod signal;
pub mod time;
#[cfg(all(feature = "tokio-io", not(filch_loom)))]
mod tokio_io;

#[cfg(not(filch_loom))]
pub use async_fd::{AsyncFd, AsyncFdReadyGuard, AsyncFdReadyMutGuard, TryIoError};
