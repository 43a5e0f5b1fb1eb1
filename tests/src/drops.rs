//! Code that runs when a value is dropped. What only counts drops is `filch::testing::Ledger`.

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
