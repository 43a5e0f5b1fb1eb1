//! The promise: whatever of the toolbox can be awaited (gather and its like, groups, scopes, limits, generators,
//! retries, clean-up, tokens) can be dropped at each of its polls: no child is lost or dropped twice, no output, no
//! turn and no clean-up.
//!
//! As `cancel_everywhere` for the channels: each operation is in the table of one of the files in `cancel_toolbox/`.
//! The harness runs what needs no runtime on a plain thread, in filch and in tokio, and the rest on filch's paused
//! clock, where what is left can be checked to the tick. The last test reads the sources, and fails when an operation
//! is in no table.
#![allow(missing_docs)]

use std::collections::BTreeSet;
use std::time::Duration;

use filch::testing::{Harness, Trial, cancel_at_every_await};
use filch_tests::{single, watched};

/// A table: a test for each row, which drives the operations it names by a scenario, by `$drive`.
macro_rules! operations {
    (by $drive:ident: $($name:ident: $($operation:expr),+ => $scenario:expr;)*) => {
        pub(crate) const DRIVEN: &[&str] = &[$($($operation),+),*];
        $(
            #[test]
            fn $name() {
                crate::$drive($scenario);
            }
        )*
    };
}

#[path = "cancel_toolbox/anywhere.rs"]
mod anywhere;
#[path = "cancel_toolbox/limits.rs"]
mod limits;
#[allow(dead_code)]
#[path = "cancel_everywhere/listing.rs"]
mod listing;
#[allow(dead_code)]
#[path = "tidy/source.rs"]
mod source;
#[path = "cancel_toolbox/together.rs"]
mod together;

/// Wherever a future may run.
fn anywhere(scenario: impl AsyncFn(Trial) + Copy + Send + 'static) {
    watched(move || {
        Harness::new().patience(Duration::ZERO).run_blocking(scenario).assert_waited();
        single().block_on(cancel_at_every_await(scenario)).assert_waited();
        let tokio = tokio::runtime::Builder::new_current_thread().build().unwrap();
        tokio.block_on(cancel_at_every_await(scenario)).assert_waited();
    });
}

/// On the paused clock.
fn paused(scenario: impl AsyncFn(Trial) + Copy + Send + 'static) {
    watched(move || {
        let runtime = filch::Builder::new().paused_clock(1).build().unwrap();
        runtime.block_on(cancel_at_every_await(scenario)).assert_waited();
    });
}

/// Pending so many times, and woken each time.
async fn turns(times: usize) {
    for _ in 0..times {
        futures_lite::future::yield_now().await;
    }
}

#[test]
fn no_operation_is_missing() {
    let rooms = ["gather/", "generator/", "group/", "limit/", "scope/", "cancel/", "cleanup/", "retry.rs"];
    let mut sources = source::tree(&["runtime/src"]);
    sources.retain(|source| rooms.iter().any(|room| source.path.starts_with(&format!("runtime/src/{room}"))));
    let there = listing::operations(&sources);
    let tables = [anywhere::DRIVEN, limits::DRIVEN, together::DRIVEN];
    let driven: BTreeSet<String> = tables.concat().into_iter().map(str::to_owned).collect();
    let missing: Vec<_> = there.difference(&driven).collect();
    let unknown: Vec<_> = driven.difference(&there).collect();
    assert!(
        there.len() > 50 && missing.is_empty() && unknown.is_empty(),
        "of {} operations, {missing:#?} are in no table; of those in the tables, there are no {unknown:#?}",
        there.len()
    );
}
