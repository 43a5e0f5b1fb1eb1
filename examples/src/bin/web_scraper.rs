//! The demo `web_scraper`, as a program of its own.

use std::process::ExitCode;

fn main() -> ExitCode {
    filch_examples::web_scraper::run(std::env::args_os().collect())
}
