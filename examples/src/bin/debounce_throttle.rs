//! The demo `debounce_throttle`, as a program of its own.

use std::process::ExitCode;

fn main() -> ExitCode {
    filch_examples::debounce_throttle::run(std::env::args_os().collect())
}
