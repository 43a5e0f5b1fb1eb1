//! The demo `crawler`, as a program of its own.

use std::process::ExitCode;

fn main() -> ExitCode {
    filch_examples::crawler::run(std::env::args_os().collect())
}
