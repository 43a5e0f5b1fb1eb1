//! Tests of `Pool`.

use super::*;
use crate::shim::Ordering::SeqCst;
use crate::shim::task::AtomicUsize;
use crate::test_util::Count;
use crate::testing::block_on;

mod model;
#[cfg(not(filch_loom))]
mod unit;

/// A thing that counts how many of its kind there are.
#[derive(Debug)]
struct Thing(Arc<AtomicUsize>, usize);

impl Drop for Thing {
    fn drop(&mut self) {
        self.0.fetch_sub(1, SeqCst);
    }
}

/// What makes things, never more than so many at a time, and counts them.
fn maker(most: usize) -> (impl Fn() -> Thing + Send + Sync + 'static, Arc<AtomicUsize>) {
    let (alive, made) = (Arc::new(AtomicUsize::new(0)), AtomicUsize::new(0));
    let count = alive.clone();
    let make = move || {
        assert!(alive.fetch_add(1, SeqCst) < most, "more than {most} things at a time");
        Thing(alive.clone(), made.fetch_add(1, SeqCst))
    };
    (make, count)
}
