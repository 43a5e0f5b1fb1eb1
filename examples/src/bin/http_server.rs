//! The demo `http_server`, as a program of its own.

use std::process::ExitCode;

fn main() -> ExitCode {
    filch_examples::http_server::run(std::env::args_os().collect())
}
