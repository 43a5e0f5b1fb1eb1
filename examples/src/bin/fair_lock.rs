//! The demo `fair_lock`, as a program of its own.

use std::process::ExitCode;

fn main() -> ExitCode {
    filch_examples::fair_lock::run(std::env::args_os().collect())
}
