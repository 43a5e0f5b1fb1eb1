//! The demo `counters`, as a program of its own.

use std::process::ExitCode;

fn main() -> ExitCode {
    filch_examples::counters::run(std::env::args_os().collect())
}
