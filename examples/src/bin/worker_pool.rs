//! The demo `worker_pool`, as a program of its own.

use std::process::ExitCode;

fn main() -> ExitCode {
    filch_examples::worker_pool::run(std::env::args_os().collect())
}
