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
    /// The region in which this one was made.
    outer: Option<Arc<Region>>,
    shielded: Mutex<Count>,
    settled: Notify,
}

#[derive(Default)]
struct Count {
    shielded: usize,
    /// While there are any: has the outer region wait as well, though nobody may wait for this one any more.
    held: Option<Shielded>,
}

impl Region {
    /// With a token below `parent`, or else that of the region which this is made in.
    pub(crate) fn new(parent: Option<&CancelToken>) -> Arc<Region> {
        let outer = Region::current();
        let parent = parent.or(outer.as_ref().map(|outer| &outer.token));
        let token = parent.map_or_else(CancelToken::new, CancelToken::child);
        Arc::new(Region { token, outer, shielded: Mutex::default(), settled: Notify::new() })
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
        let held = self.shield_outer();
        let mut count = self.shielded.lock();
        count.shielded += 1;
        let unused = if count.held.is_none() { std::mem::replace(&mut count.held, held) } else { held };
        drop(count);
        drop(unused);
        Shielded(self.clone())
    }

    /// That of the outer region, if there is one.
    pub(crate) fn shield_outer(&self) -> Option<Shielded> {
        self.outer.as_ref().map(Region::shield)
    }

    pub(crate) fn is_settled(&self) -> bool {
        self.shielded.lock().shielded == 0
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
        let (is_last, held) = {
            let mut count = self.0.shielded.lock();
            count.shielded -= 1;
            let is_last = count.shielded == 0;
            (is_last, if is_last { count.held.take() } else { None })
        };
        if is_last {
            self.0.settled.notify_waiters();
        }
        drop(held);
    }
}
