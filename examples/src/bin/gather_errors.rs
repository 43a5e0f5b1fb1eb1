//! The demo `gather_errors`, as a program of its own.

use std::process::ExitCode;

fn main() -> ExitCode {
    filch_examples::gather_errors::run(std::env::args_os().collect())
}
