//! x
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use filch_tests::{single, until_yielding, watched, workers};

fn root_that_yields(runtime: filch::Runtime) {
    watched(move || {
        runtime.block_on(async {
            let ran = Arc::new(AtomicBool::new(false));
            let tell = ran.clone();
            drop(filch::spawn(async move { tell.store(true, SeqCst) }));
            until_yielding(|| ran.load(SeqCst)).await;
        });
    });
}
#[test]
fn root_single() { root_that_yields(single()) }
#[test]
fn root_multi() { root_that_yields(workers(1)) }
#[test]
fn root_paused() { root_that_yields(filch::Builder::new().paused_clock(1).build().unwrap()) }
