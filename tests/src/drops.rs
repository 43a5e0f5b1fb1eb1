//! Values that tell of their end.

use filch::testing::{Counted, Ledger};

/// Counts drops.
#[derive(Debug, Clone, Default)]
pub struct Drops(Ledger);

impl Drops {
    /// None so far.
    pub fn new() -> Drops {
        Drops::default()
    }

    /// A value whose drop is counted here.
    pub fn token(&self) -> Counted {
        self.0.message(0)
    }

    /// How many tokens were dropped.
    pub fn count(&self) -> usize {
        self.0.drops()
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
