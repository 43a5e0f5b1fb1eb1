//! The demo `deadlock`, as a program of its own.

use std::process::ExitCode;

fn main() -> ExitCode {
    filch_examples::deadlock::run(std::env::args_os().collect())
}
