//! The demo `prime_sieve`, as a program of its own.

use std::process::ExitCode;

fn main() -> ExitCode {
    filch_examples::prime_sieve::run(std::env::args_os().collect())
}
