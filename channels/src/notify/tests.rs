//! Tests of `Notify`.

use std::sync::Arc;

use super::*;
use crate::test_util::Count;
use crate::testing::block_on;

mod model;
#[cfg(not(filch_loom))]
mod unit;

fn notified(notify: &Arc<Notify>) -> Pin<Box<dyn Future<Output = ()> + Send>> {
    let notify = notify.clone();
    Box::pin(async move { notify.notified().await })
}
