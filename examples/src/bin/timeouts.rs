//! The demo `timeouts`, as a program of its own.

use std::process::ExitCode;

fn main() -> ExitCode {
    filch_examples::timeouts::run(std::env::args_os().collect())
}
