//! Tests of `Barrier`.

use super::*;
use crate::shim::Arc;
use crate::test_util::Count;
use crate::testing::block_on;

mod model;
#[cfg(not(filch_loom))]
mod unit;

type Passed = Result<BarrierWaitResult, BrokenBarrierError>;

/// A party that owns the barrier, to be sent to another thread.
fn wait(barrier: &Arc<Barrier>) -> Pin<Box<dyn Future<Output = Passed> + Send>> {
    let barrier = barrier.clone();
    Box::pin(async move { barrier.wait_unless_broken().await })
}
