//! The promise: whatever can be awaited in the channels can be dropped at each of its polls, and nothing is lost by
//! that: no permit, no message, no place and no wake-up of another.
//!
//! Each operation is in the table of one of the files in `cancel_everywhere/`, with a scenario or more. The harness
//! runs it on a plain thread, where a lost wake-up shows as a hang; in a task of filch, which looks inside the
//! primitives; and in one of tokio, which does not. The last test reads the sources, and fails when an operation is in
//! no table.
#![allow(missing_docs)]

use std::collections::BTreeSet;
use std::time::Duration;

use filch::testing::{Harness, Trial, cancel_at_every_await};
use filch_tests::{single, watched};

/// A table: a test for each row, which drives the operations it names by a scenario.
macro_rules! operations {
    ($($name:ident: $($operation:expr),+ => $scenario:expr;)*) => {
        pub(crate) const DRIVEN: &[&str] = &[$($($operation),+),*];
        $(
            #[test]
            fn $name() {
                crate::drive($scenario);
            }
        )*
    };
}

#[path = "cancel_everywhere/broadcast.rs"]
mod broadcast;
#[path = "cancel_everywhere/ends.rs"]
mod ends;
#[path = "cancel_everywhere/listing.rs"]
mod listing;
#[path = "cancel_everywhere/locks.rs"]
mod locks;
#[path = "cancel_everywhere/makers.rs"]
mod makers;
#[path = "cancel_everywhere/notify.rs"]
mod notify;
#[path = "cancel_everywhere/oneshot.rs"]
mod oneshot;
#[path = "cancel_everywhere/queues.rs"]
mod queues;
#[path = "cancel_everywhere/select.rs"]
mod select;
#[path = "cancel_everywhere/semaphore.rs"]
mod semaphore;
#[path = "cancel_everywhere/signals.rs"]
mod signals;
#[allow(dead_code)]
#[path = "tidy/source.rs"]
mod source;
#[path = "cancel_everywhere/watch.rs"]
mod watch;

/// Of all the tables.
const DRIVEN: &[&[&str]] = &[
    broadcast::DRIVEN,
    ends::DRIVEN,
    locks::DRIVEN,
    makers::DRIVEN,
    notify::DRIVEN,
    oneshot::DRIVEN,
    queues::fifo::DRIVEN,
    queues::lifo::DRIVEN,
    queues::priority::DRIVEN,
    select::DRIVEN,
    semaphore::DRIVEN,
    signals::DRIVEN,
    watch::DRIVEN,
];

/// Drops the future under test at every point there is, in three worlds.
fn drive(scenario: impl AsyncFn(Trial) + Copy + Send + 'static) {
    watched(move || {
        Harness::new().patience(Duration::ZERO).run_blocking(scenario).assert_waited();
        single().block_on(cancel_at_every_await(scenario)).assert_waited();
        let tokio = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
        tokio.block_on(cancel_at_every_await(scenario)).assert_waited();
    });
}

/// Lets the others go on, one poll each.
async fn turn() {
    filch::testing::yield_now().await;
}

#[test]
fn no_operation_is_missing() {
    let mut sources = source::tree(&["channels/src"]);
    sources.retain(|source| !source.path.starts_with("channels/src/testing/"));
    let there = listing::operations(&sources);
    let driven: BTreeSet<String> = DRIVEN.iter().copied().flatten().map(|&name| name.to_owned()).collect();
    let missing: Vec<_> = there.difference(&driven).collect();
    let gone: Vec<_> = driven.difference(&there).collect();
    assert!(missing.is_empty() && gone.is_empty(), "not driven: {missing:#?}\nthere is no: {gone:#?}");
}
