//! The demo `bank_account`, as a program of its own.

use std::process::ExitCode;

fn main() -> ExitCode {
    filch_examples::bank_account::run(std::env::args_os().collect())
}
