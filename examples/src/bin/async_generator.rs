//! The demo `async_generator`, as a program of its own.

use std::process::ExitCode;

fn main() -> ExitCode {
    filch_examples::async_generator::run(std::env::args_os().collect())
}
