//! The demo `promises`, as a program of its own.

use std::process::ExitCode;

fn main() -> ExitCode {
    filch_examples::promises::run(std::env::args_os().collect())
}
