//! The demo `connection_pool`, as a program of its own.

use std::process::ExitCode;

fn main() -> ExitCode {
    filch_examples::connection_pool::run(std::env::args_os().collect())
}
