//! Values that tell of their end.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};

/// Counts drops.
#[derive(Debug, Clone, Default)]
pub struct Drops(Arc<AtomicUsize>);

impl Drops {
    /// None so far.
    pub fn new() -> Drops {
        Drops::default()
    }

    /// A value whose drop is counted here.
    pub fn token(&self) -> OnDrop<impl FnMut() + Send + Sync + 'static> {
        let count = self.0.clone();
        on_drop(move || {
            count.fetch_add(1, SeqCst);
        })
    }

    /// How many tokens were dropped.
    pub fn count(&self) -> usize {
        self.0.load(SeqCst)
    }
}

/// See [`on_drop`].
#[derive(Debug)]
pub struct OnDrop<F: FnMut()>(F);

impl<F: FnMut()> Drop for OnDrop<F> {
    fn drop(&mut self) {
        (self.0)();
    }
}

/// Calls `f` when it is dropped.
pub fn on_drop<F: FnMut()>(f: F) -> OnDrop<F> {
    OnDrop(f)
}
