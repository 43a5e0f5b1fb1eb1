//! The demo `background_queue`, as a program of its own.

use std::process::ExitCode;

fn main() -> ExitCode {
    filch_examples::background_queue::run(std::env::args_os().collect())
}
