//! An async runtime: work stealing, a reactor on mio, timers, and the toolbox of asyncio.

// Layer 0. The file is named as in every crate here; the module is not, because `sync` is the public one.
#[path = "sync.rs"]
mod shim;
// Layer 1
mod driver;
// Layer 2
mod context;
// Layer 3
mod async_fd;
pub mod io;
pub mod net;
mod select;
pub mod signal;
mod task_local;
pub mod time;
// Layer 4
mod macros;

pub use filch_macros::{main, test};

#[doc(hidden)]
pub use macros::support as __private;
