//! An async runtime: work stealing, a reactor on mio, timers, and the toolbox of asyncio.

// Layer 0. The file is named as in every crate here; the module is not, because `sync` is the public one.
mod blocks;
#[path = "sync.rs"]
mod shim;
mod util;
// Layer 1: siblings that do not know each other.
#[cfg_attr(filch_loom, allow(dead_code))]
mod driver;
#[cfg_attr(filch_loom, allow(dead_code))]
pub mod task;
// Layer 2
#[cfg(not(filch_loom))]
mod context;
mod scheduler;
// Layer 3
#[cfg(not(filch_loom))]
mod async_fd;
#[cfg_attr(filch_loom, allow(dead_code))]
pub mod cancel;
#[cfg(not(filch_loom))]
pub mod fs;
#[cfg_attr(filch_loom, allow(dead_code))]
pub mod gather;
#[cfg(not(filch_loom))]
pub mod generator;
#[cfg(all(feature = "hyper", not(filch_loom)))]
pub mod hyper;
#[cfg(not(filch_loom))]
pub mod io;
#[cfg_attr(filch_loom, allow(dead_code, unreachable_pub, rustdoc::broken_intra_doc_links))]
pub mod limit;
#[cfg(not(filch_loom))]
pub mod net;
#[cfg_attr(filch_loom, allow(dead_code, rustdoc::broken_intra_doc_links))]
pub mod pool;
#[cfg(not(filch_loom))]
pub mod process;
#[cfg(not(filch_loom))]
mod retry;
#[cfg(not(filch_loom))]
mod select;
#[cfg(not(filch_loom))]
pub mod signal;
#[cfg(not(filch_loom))]
mod task_local;
#[cfg(not(filch_loom))]
pub mod time;
#[cfg(all(feature = "tokio-io", not(filch_loom)))]
mod tokio_io;
// Layer 4
#[cfg(not(filch_loom))]
mod builder;
#[cfg(not(filch_loom))]
mod local;
#[cfg(not(filch_loom))]
mod macros;
#[cfg(not(filch_loom))]
mod runtime;
#[cfg(not(filch_loom))]
mod spawn;
#[cfg(not(filch_loom))]
mod task_info;
// Layer 5: what is made of all that
#[cfg(not(filch_loom))]
pub mod cleanup;
#[cfg(not(filch_loom))]
pub mod group;
#[cfg(not(filch_loom))]
pub mod scope;

#[cfg(not(filch_loom))]
pub use crate::front::*;

#[cfg(not(filch_loom))]
mod front {
    pub use crate::async_fd::{AsyncFd, AsyncFdReadyGuard, AsyncFdReadyMutGuard, TryIoError};
    pub use crate::builder::{Builder, PanicPolicy, WORKERS_MAX};
    pub use crate::cancel::{CancelToken, Cancelled};
    pub use crate::cleanup::{AsyncResource, defer, with};
    pub use crate::context::EnterGuard;
    pub use crate::gather::{
        AllFailed, AsCompleted, FutureExt, Gather, Wait, any, as_completed, gather, gather as join_all, race,
        shield, try_gather, try_gather as try_join_all, wait,
    };
    pub use crate::generator::{Generator, TryGenerator, Yielder, generator, generator_with, try_generator};
    pub use crate::group::{GroupError, TaskGroup};
    pub use crate::local::spawn_local;
    pub use crate::retry::{Backoff, GaveUp, Pauses, Retry, RetryError, retry};
    pub use crate::runtime::{Handle, Runtime};
    pub use crate::scheduler::metrics::Metrics;
    pub use crate::scheduler::shared::SlowPoll;
    pub use crate::scheduler::shutdown::{Abandoned, ShutdownReport};
    pub use crate::scope::{Scope, scope, scope_local, try_scope};
    pub use crate::spawn::{YieldNow, block_on, run, spawn, spawn_blocking, yield_now};
    pub use crate::task::{AbortHandle, JoinError, JoinHandle, TaskPanic};
    pub use crate::task_info::{TaskInfo, TaskState};
    pub use crate::time::wait_for;
    pub use filch_channels::probe::{Holder, Wait as WaitKind, holder_of};
    pub use filch_channels::{channel, sync, testing};
    pub use filch_macros::{main, test};
    pub use futures_lite::stream;

    #[doc(hidden)]
    pub use crate::macros::support as __private;
}
