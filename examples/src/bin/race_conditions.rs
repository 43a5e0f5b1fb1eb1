//! The demo `race_conditions`, as a program of its own.

use std::process::ExitCode;

fn main() -> ExitCode {
    filch_examples::race_conditions::run(std::env::args_os().collect())
}
