//! Tests of `AtomicWait`.

use super::*;
use crate::shim::Arc;
use crate::test_util::Count;
use crate::testing::block_on;

mod model;
#[cfg(not(filch_loom))]
mod unit;

/// A wait that owns the integer, to be sent to another thread.
fn wait(word: &Arc<AtomicWait>, expected: u32) -> Pin<Box<dyn Future<Output = WaitOutcome> + Send>> {
    let word = word.clone();
    Box::pin(async move { word.wait(expected).await })
}
