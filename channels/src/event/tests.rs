//! Tests of `Event`.

use super::*;
use crate::shim::Arc;
use crate::test_util::Count;
use crate::testing::block_on;

mod model;
#[cfg(not(filch_loom))]
mod unit;

/// A wait that owns the event, to be sent to another thread.
fn wait(event: &Arc<Event>) -> Pin<Box<dyn Future<Output = ()> + Send>> {
    let event = event.clone();
    let began = event.now();
    Box::pin(async move {
        let mut wait = event.wait();
        wait.began = began;
        wait.await;
    })
}
