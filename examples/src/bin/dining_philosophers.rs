//! The demo `dining_philosophers`, as a program of its own.

use std::process::ExitCode;

fn main() -> ExitCode {
    filch_examples::dining_philosophers::run(std::env::args_os().collect())
}
