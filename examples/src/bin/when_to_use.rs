//! The demo `when_to_use`, as a program of its own, and of the processes that it starts.

use std::process::ExitCode;

fn main() -> ExitCode {
    filch_examples::init();
    filch_examples::when_to_use::run(std::env::args_os().collect())
}
