//! The demo `sequential_concurrent`, as a program of its own.

use std::process::ExitCode;

fn main() -> ExitCode {
    filch_examples::sequential_concurrent::run(std::env::args_os().collect())
}
