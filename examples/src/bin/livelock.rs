//! The demo `livelock`, as a program of its own.

use std::process::ExitCode;

fn main() -> ExitCode {
    filch_examples::livelock::run(std::env::args_os().collect())
}
