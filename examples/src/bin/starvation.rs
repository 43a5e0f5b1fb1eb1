//! The demo `starvation`, as a program of its own.

use std::process::ExitCode;

fn main() -> ExitCode {
    filch_examples::starvation::run(std::env::args_os().collect())
}
