//! The promises of `#[filch::main]` and `#[filch::test]`: what they pass on, and that a paused test names its seed.
#![allow(missing_docs)]

use std::process::{Command, ExitCode};

mod program {
    //! Entry points under other names, called by the tests below.

    #[filch::main]
    pub(crate) async fn plain() -> Result<u32, std::num::ParseIntError> {
        "12".parse()
    }

    #[filch::main(workers = 1)]
    pub(crate) async fn failing() -> Result<u32, std::num::ParseIntError> {
        let n: u32 = "x".parse()?;
        Ok(n + 1)
    }

    /// Local tasks may hold what is not `Send`.
    #[filch::main(single_thread)]
    pub(crate) async fn single() -> u32 {
        let shared = std::rc::Rc::new(std::cell::Cell::new(1));
        let other = shared.clone();
        filch::spawn_local(async move { other.set(2) }).await.unwrap();
        shared.get()
    }
}

#[test]
fn main_passes_its_result_through() {
    assert_eq!(program::plain(), Ok(12));
    assert!(program::failing().is_err());
    assert_eq!(program::single(), 2);
}

#[filch::test]
async fn a_test_may_return_a_result() -> Result<(), Box<dyn std::error::Error>> {
    let n: u32 = "7".parse()?;
    assert_eq!(n, 7);
    Ok(())
}

#[filch::test(workers = 1)]
#[should_panic = "on purpose"]
async fn other_attributes_stay() {
    panic!("on purpose");
}

#[filch::test(paused)]
async fn a_paused_test_has_a_seed_of_its_own() -> ExitCode {
    ExitCode::SUCCESS
}

/// Fails only when asked to by the test below, which runs it in a process of its own.
#[filch::test(paused, seed = 81)]
async fn fails_when_asked() -> Result<(), String> {
    match std::env::var("FILCH_TEST_FAIL").as_deref() {
        Ok("panic") => panic!("asked to"),
        Ok("error") => Err("asked to".into()),
        _ => Ok(()),
    }
}

#[test]
fn a_failing_paused_test_prints_its_seed() {
    for (how, shown) in [("panic", true), ("error", true), ("no", false)] {
        let output = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "fails_when_asked", "--nocapture"])
            .env("FILCH_TEST_FAIL", how)
            .output()
            .unwrap();
        let text = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.success(), !shown, "{how}: {text}");
        assert_eq!(text.contains("FILCH_SEED=81 cargo test fails_when_asked"), shown, "{how}: {text}");
    }
}

/// Where a `select!` of ready futures starts, many times over.
fn starts(seed: u64) -> Vec<u32> {
    let run = std::thread::spawn(move || {
        filch::__private::paused_test(
            Some(seed),
            "starts",
            || async {
                let mut starts = Vec::new();
                for _ in 0..64 {
                    starts.push(filch::select! {
                        n = std::future::ready(0) => n,
                        n = std::future::ready(1) => n,
                        n = std::future::ready(2) => n,
                    });
                }
                starts
            },
            |_| false,
        )
    });
    run.join().unwrap()
}

#[test]
fn the_seed_of_a_paused_test_decides_where_select_starts() {
    assert_eq!(starts(3), starts(3));
    assert_ne!(starts(3), starts(4));
}
