//! The demo `rate_limited_client`, as a program of its own.

use std::process::ExitCode;

fn main() -> ExitCode {
    filch_examples::rate_limited_client::run(std::env::args_os().collect())
}
