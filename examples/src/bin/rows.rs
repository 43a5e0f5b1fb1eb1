//! The demo `rows`, as a program of its own.

use std::process::ExitCode;

fn main() -> ExitCode {
    filch_examples::rows::run(std::env::args_os().collect())
}
