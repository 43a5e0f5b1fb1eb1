//! A harness for tests whose `main` is their own: those of a program that starts itself again.

use std::panic::catch_unwind;
use std::process::ExitCode;

use crate::watched;

/// One of them.
pub type Test = fn();

/// `TESTS`: these functions, by their names.
#[macro_export]
macro_rules! tests {
    ($($name:ident),* $(,)?) => {
        const TESTS: &[(&str, $crate::Test)] = &[$((stringify!($name), $name)),*];
    };
}

/// Runs the tests whose names contain the first argument that is no option, or all, and says how each has
/// ended.
pub fn harness(tests: &[(&str, Test)]) -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let filter = arguments.iter().find(|argument| !argument.starts_with('-')).map_or("", String::as_str);
    let chosen = tests.iter().filter(|(name, _)| name.contains(filter));
    if arguments.iter().any(|argument| argument == "--list") {
        chosen.for_each(|(name, _)| println!("{name}: test"));
        return ExitCode::SUCCESS;
    }
    let (mut passed, mut failed) = (0, 0);
    for (name, test) in chosen {
        let ended = catch_unwind(|| watched(*test));
        println!("test {name} ... {}", if ended.is_ok() { "ok" } else { "FAILED" });
        *(if ended.is_ok() { &mut passed } else { &mut failed }) += 1;
    }
    println!("\n{passed} passed, {failed} failed");
    if failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
