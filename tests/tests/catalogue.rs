//! The promise: each scenario of the catalogue has a test whose name begins with its code.
//!
//! Owns that check, and the tests that no promise of the other files calls for. `cargo run -p filch-tests --bin
//! catalogue` prints the table.
#![allow(missing_docs)]

#[path = "catalogue/order.rs"]
mod order;
#[path = "catalogue/system.rs"]
mod system;

use std::collections::BTreeSet;

use filch_tests::catalogue::{LATER, SCENARIOS, holders, names, tests};

#[test]
fn every_scenario_has_a_test() {
    let all = tests();
    let lacking: Vec<_> = SCENARIOS
        .iter()
        .filter(|scenario| !LATER.contains(&scenario.code) && holders(scenario.code, &all).is_empty())
        .map(|scenario| format!("{} ({})", scenario.code, scenario.line))
        .collect();
    assert!(lacking.is_empty(), "{} lack a test:\n{}", lacking.len(), lacking.join("\n"));
    assert_eq!((SCENARIOS.len(), LATER.len()), (90, 4));
}

#[test]
fn no_code_is_there_twice() {
    let codes: BTreeSet<_> = SCENARIOS.iter().map(|scenario| scenario.code).collect();
    assert_eq!(codes.len(), SCENARIOS.len());
    assert!(LATER.iter().all(|code| codes.contains(code)));
}

#[test]
fn tests_are_found_by_their_attributes_and_in_lists() {
    let text = concat!(
        "#[te",
        "st]\nfn one() {}\nfn helper() {}\n#[filch::te",
        "st(paused)]\n#[rustfmt::skip]\nasync fn two() {}\n",
        "filch_tests::tests! {\n    three, four,\n    five,\n}\nfn six() {}\n"
    );
    assert_eq!(names(text).collect::<Vec<_>>(), ["one", "two", "three", "four", "five"]);
}
