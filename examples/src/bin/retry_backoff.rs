//! The demo `retry_backoff`, as a program of its own.

use std::process::ExitCode;

fn main() -> ExitCode {
    filch_examples::retry_backoff::run(std::env::args_os().collect())
}
