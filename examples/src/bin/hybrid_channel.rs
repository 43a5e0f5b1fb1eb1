//! The demo `hybrid_channel`, as a program of its own.

use std::process::ExitCode;

fn main() -> ExitCode {
    filch_examples::hybrid_channel::run(std::env::args_os().collect())
}
