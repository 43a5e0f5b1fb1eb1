//! The promise: the demos that start processes succeed, with their defaults and with odd numbers; and every row does.
#![allow(missing_docs)]

use std::process::ExitCode;

fn main() -> ExitCode {
    filch_examples::init();
    for words in [
        "process_pool",
        "process_pool --processes 2 --numbers 7 --chunk 1 --workers 1",
        "shared_memory",
        "shared_memory --processes 3 --times 10 --cells 1",
        "manager",
        "manager --processes 1 --times 3 --workers 1",
        "when_to_use --jobs 8 --rounds 1 --size 1000",
        // Every row of the guides' catalogue, those about processes among them.
        "rows",
    ] {
        let arguments = ["tour"].into_iter().chain(words.split(' ')).map(Into::into).collect();
        if filch_examples::dispatch(arguments) != ExitCode::SUCCESS {
            println!("{words} ... FAILED");
            return ExitCode::FAILURE;
        }
        println!("{words} ... ok");
    }
    ExitCode::SUCCESS
}
