//! The demo `bounded_buffer`, as a program of its own.

use std::process::ExitCode;

fn main() -> ExitCode {
    filch_examples::bounded_buffer::run(std::env::args_os().collect())
}
