//! The demo `event_loop_order`, as a program of its own.

use std::process::ExitCode;

fn main() -> ExitCode {
    filch_examples::event_loop_order::run(std::env::args_os().collect())
}
