//! The demo `context_manager`, as a program of its own.

use std::process::ExitCode;

fn main() -> ExitCode {
    filch_examples::context_manager::run(std::env::args_os().collect())
}
