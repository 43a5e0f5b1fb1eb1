//! The demos of filch. Each is a module with `run(arguments) -> ExitCode`, and a program of one line.
//!
//! Owns the registry of them, and how a command line finds its way to one. The servers can be used as a
//! library too: the tour and the tests start them in process.
#![deny(unsafe_code)] // Not `forbid`: that would reach the memory that processes share.

pub mod async_generator;
pub mod background_queue;
pub mod bank_account;
pub mod bounded_buffer;
pub mod chat;
pub mod connection_pool;
pub mod context_manager;
pub mod counters;
pub mod crawler;
pub mod data_pipeline;
pub mod deadlock;
pub mod debounce_throttle;
pub mod dining_philosophers;
pub mod event_loop_order;
pub mod fair_lock;
pub mod gather_errors;
pub mod http_server;
pub mod hybrid_channel;
pub mod livelock;
pub mod manager;
pub mod plot;
pub mod prime_sieve;
pub mod process_pool;
pub mod producer_consumer;
pub mod promises;
pub mod race_conditions;
pub mod rate_limited_client;
pub mod readers_writers;
pub mod retry_backoff;
pub mod rows;
pub mod sequential_concurrent;
pub mod shared_memory;
pub mod starvation;
pub mod stop;
pub mod story;
pub mod timeouts;
pub mod tour;
pub mod web_scraper;
pub mod when_to_use;
pub mod worker_pool;

use std::ffi::OsString;
use std::process::ExitCode;

/// Arguments that cannot be used: the exit status of a program that says so.
pub const USAGE: u8 = 2;

/// One demo.
#[derive(Clone, Copy, Debug)]
pub struct Demo {
    /// What it is called on the command line.
    pub name: &'static str,
    /// What it shows, in a line.
    pub about: &'static str,
    /// Runs it; the first argument is its name.
    pub run: fn(Vec<OsString>) -> ExitCode,
}

/// Every demo, in the order of the list.
pub const DEMOS: &[Demo] = &[
    Demo { name: "tour", about: tour::ABOUT, run: tour::run },
    Demo { name: "http_server", about: http_server::ABOUT, run: http_server::run },
    Demo { name: "crawler", about: crawler::ABOUT, run: crawler::run },
    Demo { name: "chat", about: chat::ABOUT, run: chat::run },
    Demo { name: "producer_consumer", about: producer_consumer::ABOUT, run: producer_consumer::run },
    Demo { name: "bounded_buffer", about: bounded_buffer::ABOUT, run: bounded_buffer::run },
    Demo { name: "bank_account", about: bank_account::ABOUT, run: bank_account::run },
    Demo { name: "connection_pool", about: connection_pool::ABOUT, run: connection_pool::run },
    Demo { name: "fair_lock", about: fair_lock::ABOUT, run: fair_lock::run },
    Demo { name: "readers_writers", about: readers_writers::ABOUT, run: readers_writers::run },
    Demo { name: "counters", about: counters::ABOUT, run: counters::run },
    Demo { name: "dining_philosophers", about: dining_philosophers::ABOUT, run: dining_philosophers::run },
    Demo { name: "prime_sieve", about: prime_sieve::ABOUT, run: prime_sieve::run },
    Demo { name: "event_loop_order", about: event_loop_order::ABOUT, run: event_loop_order::run },
    Demo { name: "race_conditions", about: race_conditions::ABOUT, run: race_conditions::run },
    Demo { name: "deadlock", about: deadlock::ABOUT, run: deadlock::run },
    Demo { name: "background_queue", about: background_queue::ABOUT, run: background_queue::run },
    Demo { name: "data_pipeline", about: data_pipeline::ABOUT, run: data_pipeline::run },
    Demo { name: "web_scraper", about: web_scraper::ABOUT, run: web_scraper::run },
    Demo { name: "hybrid_channel", about: hybrid_channel::ABOUT, run: hybrid_channel::run },
    Demo { name: "process_pool", about: process_pool::ABOUT, run: process_pool::run },
    Demo { name: "shared_memory", about: shared_memory::ABOUT, run: shared_memory::run },
    Demo { name: "manager", about: manager::ABOUT, run: manager::run },
    Demo {
        name: "sequential_concurrent",
        about: sequential_concurrent::ABOUT,
        run: sequential_concurrent::run,
    },
    Demo { name: "gather_errors", about: gather_errors::ABOUT, run: gather_errors::run },
    Demo { name: "timeouts", about: timeouts::ABOUT, run: timeouts::run },
    Demo { name: "context_manager", about: context_manager::ABOUT, run: context_manager::run },
    Demo { name: "async_generator", about: async_generator::ABOUT, run: async_generator::run },
    Demo { name: "rate_limited_client", about: rate_limited_client::ABOUT, run: rate_limited_client::run },
    Demo { name: "debounce_throttle", about: debounce_throttle::ABOUT, run: debounce_throttle::run },
    Demo { name: "promises", about: promises::ABOUT, run: promises::run },
    Demo { name: "retry_backoff", about: retry_backoff::ABOUT, run: retry_backoff::run },
    Demo { name: "livelock", about: livelock::ABOUT, run: livelock::run },
    Demo { name: "starvation", about: starvation::ABOUT, run: starvation::run },
    Demo { name: "worker_pool", about: worker_pool::ABOUT, run: worker_pool::run },
    Demo { name: "when_to_use", about: when_to_use::ABOUT, run: when_to_use::run },
    Demo { name: "rows", about: rows::ABOUT, run: rows::run },
];

/// What other processes of a program can be asked to run. Every program with a demo that has processes of its
/// own begins with this: in one of those it does not return.
pub fn init() {
    filch::process::init(&[
        &process_pool::SQUARE,
        &process_pool::ADD,
        &process_pool::WHO,
        &process_pool::FRAGILE,
        &process_pool::PICKY,
        &process_pool::STUCK,
        &process_pool::PRODUCE,
        &process_pool::CONSUME,
        &shared_memory::COUNT_LOCKED,
        &shared_memory::COUNT_ATOMIC,
        &shared_memory::DOUBLE,
        &shared_memory::CRASH,
        &manager::COUNT,
        &manager::SIGN,
        &manager::CRASH,
        &when_to_use::COUNT_PRIMES,
        &when_to_use::ASK,
        &rows::COUNT_HERE,
        &rows::PAST_THE_GUARD,
        &rows::LOOP,
    ]);
}

/// Runs what a command line asks for: the tour, `list`, or the demo of that name.
pub fn dispatch(mut arguments: Vec<OsString>) -> ExitCode {
    let name = match arguments.get(1).and_then(|name| name.to_str()) {
        None if arguments.len() < 2 => return tour::run(arguments),
        Some(option) if option.starts_with('-') => return tour::run(arguments),
        Some(name) => name.to_owned(),
        None => String::from_utf8_lossy(arguments[1].as_encoded_bytes()).into_owned(),
    };
    if name == "list" {
        print!(
            "{}\nThe rows of the guides' catalogue, which `rows` runs, and on what:\n{}",
            list(),
            rows::list()
        );
        return ExitCode::SUCCESS;
    }
    match DEMOS.iter().find(|demo| demo.name == name) {
        Some(demo) => {
            arguments.remove(0);
            (demo.run)(arguments)
        }
        None => {
            eprint!("There is no demo `{name}`. These there are:\n\n{}", list());
            ExitCode::from(USAGE)
        }
    }
}

/// Each demo with its line.
pub fn list() -> String {
    let width = DEMOS.iter().map(|demo| demo.name.len()).max().unwrap_or(0);
    DEMOS.iter().map(|demo| format!("  {:width$}  {}\n", demo.name, demo.about)).collect()
}

/// Reads the arguments of a demo. The error is the exit status, after the help or the complaint was printed.
pub(crate) fn parse<A: clap::Parser>(arguments: Vec<OsString>) -> Result<A, ExitCode> {
    A::try_parse_from(arguments).map_err(|error| {
        // Nobody is left to hear that the terminal is gone.
        let _ = error.print();
        ExitCode::from(u8::try_from(error.exit_code()).unwrap_or(USAGE))
    })
}

/// A runtime with so many workers (`0`: one a CPU); an error is printed.
pub(crate) fn runtime(workers: usize) -> Result<filch::Runtime, ExitCode> {
    let builder = filch::Builder::new();
    let builder = if workers == 0 { builder } else { builder.workers(workers) };
    builder.build().map_err(|error| {
        eprintln!("The runtime cannot start: {error}");
        ExitCode::FAILURE
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_list_names_every_demo_once_with_a_line_each() {
        let list = list();
        assert_eq!(list.lines().count(), DEMOS.len());
        for demo in DEMOS {
            assert_eq!(list.matches(&format!("  {} ", demo.name)).count(), 1, "{}", demo.name);
            assert!(!demo.about.is_empty() && !demo.about.contains('\n'));
        }
    }

    /// Those that serve until they are stopped, and the tour, which runs the others and is a test by itself.
    const ENDLESS: [&str; 3] = ["tour", "http_server", "chat"];

    /// Those of which the program starts itself again, which this one must not: `tests/processes.rs` runs
    /// them.
    const PROCESSES: [&str; 5] = ["process_pool", "shared_memory", "manager", "rows", "when_to_use"];

    #[test]
    fn every_demo_that_ends_succeeds_without_arguments() {
        let ends = |demo: &&Demo| !ENDLESS.contains(&demo.name) && !PROCESSES.contains(&demo.name);
        for demo in DEMOS.iter().filter(ends) {
            let (done, ends) = std::sync::mpsc::channel();
            std::thread::spawn(move || done.send((demo.run)(vec![demo.name.into()])));
            // Much longer than any takes; only a demo that hangs is found by it.
            let code = ends.recv_timeout(std::time::Duration::from_secs(120));
            assert_eq!(code, Ok(ExitCode::SUCCESS), "{}", demo.name);
        }
    }

    #[test]
    fn every_demo_has_help_and_refuses_what_it_does_not_know() {
        for demo in DEMOS {
            assert_eq!((demo.run)(vec![demo.name.into(), "--help".into()]), ExitCode::SUCCESS);
            assert_eq!((demo.run)(vec![demo.name.into(), "--no-such".into()]), ExitCode::from(USAGE));
        }
        assert_eq!(dispatch(vec!["tour".into(), "no-such".into()]), ExitCode::from(USAGE));
        assert_eq!(dispatch(vec!["tour".into(), "list".into()]), ExitCode::SUCCESS);
    }
}
