//! The demo `readers_writers`, as a program of its own.

use std::process::ExitCode;

fn main() -> ExitCode {
    filch_examples::readers_writers::run(std::env::args_os().collect())
}
