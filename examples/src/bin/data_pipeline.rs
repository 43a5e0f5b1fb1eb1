//! The demo `data_pipeline`, as a program of its own.

use std::process::ExitCode;

fn main() -> ExitCode {
    filch_examples::data_pipeline::run(std::env::args_os().collect())
}
