//! The demo `producer_consumer`, as a program of its own.

use std::process::ExitCode;

fn main() -> ExitCode {
    filch_examples::producer_consumer::run(std::env::args_os().collect())
}
