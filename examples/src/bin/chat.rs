//! The demo `chat`, as a program of its own.

use std::process::ExitCode;

fn main() -> ExitCode {
    filch_examples::chat::run(std::env::args_os().collect())
}
