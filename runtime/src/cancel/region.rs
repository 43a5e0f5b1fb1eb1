//! Layer 3, cancel. What the children of a group or a scope have in common: its token, and what it must wait for
//! besides them.
//!
//! Owns the count of shielded futures. Each child is polled with its region in a task-local, where
//! `CancelToken::current` and `shield` look. Called by `group` and `scope`.
#![forbid(unsafe_code)]

use filch_channels::sync::Notify;

use super::CancelToken;
use crate::shim::{Arc, Mutex};
use crate::task_local::TaskLocalFuture;

crate::task_local! {
    static REGION: Arc<Region>;
}

pub(crate) struct Region {
    pub(crate) token: CancelToken,
    shielded: Mutex<usize>,
    settled: Notify,
}

impl Region {
    pub(crate) fn new(token: CancelToken) -> Arc<Region> {
        Arc::new(Region { token, shielded: Mutex::new(0), settled: Notify::new() })
    }

    /// That of the child being polled.
    pub(crate) fn current() -> Option<Arc<Region>> {
        REGION.try_get().ok()
    }

    /// Makes `future` a part of the region.
    pub(crate) fn within<F: Future>(self: &Arc<Region>, future: F) -> TaskLocalFuture<Arc<Region>, F> {
        REGION.scope(self.clone(), future)
    }

    /// The region's end waits for what this returns to be dropped.
    pub(crate) fn shield(self: &Arc<Region>) -> Shielded {
        *self.shielded.lock() += 1;
        Shielded(self.clone())
    }

    pub(crate) fn is_settled(&self) -> bool {
        *self.shielded.lock() == 0
    }

    /// Waits until nothing shielded is left.
    pub(crate) async fn settled(&self) {
        loop {
            let settled = self.settled.notified();
            if self.is_settled() {
                return;
            }
            settled.await;
        }
    }
}

/// Counts a shielded future.
pub(crate) struct Shielded(Arc<Region>);

impl Drop for Shielded {
    fn drop(&mut self) {
        let is_last = {
            let mut shielded = self.0.shielded.lock();
            *shielded -= 1;
            *shielded == 0
        };
        if is_last {
            self.0.settled.notify_waiters();
        }
    }
}
