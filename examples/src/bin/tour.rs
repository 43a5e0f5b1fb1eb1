//! What `cargo run` runs: the tour, or the demo that is named on the command line.

use std::process::ExitCode;

fn main() -> ExitCode {
    filch_examples::init();
    filch_examples::dispatch(std::env::args_os().collect())
}
