//! The side-by-side table: filch against tokio 1.54 and smol, interleaved in one process; losses are printed
//! too.
//!
//! `compare [FILTER] [--rounds N] [--json FILE] [--workers N] [--quick] [--variants] [--list] [--only NAME]`;
//! FILTER `stuck` for the rows about a blocked thread, `pool` for those about pools of threads (with `--svg FILE`
//! a plot of them), and `idle` to see that contestants sleep when it is not their turn.
use std::time::Duration;

use filch_benches::harness::{Options, Usage, measure};
use filch_benches::pools;
use filch_benches::rows;
use filch_benches::runtimes::Contestants;
use filch_benches::stuck;
use filch_benches::table::Report;

#[global_allocator]
static ALLOC: filch_benches::alloc::Counting = filch_benches::alloc::Counting;

fn main() -> Result<(), lexopt::Error> {
    use lexopt::prelude::*;
    let mut options = Options { filter: None, rounds: 15, workers: 2, variants: false };
    let (mut json, mut list, mut only, mut svg) = (None, false, None::<String>, None);
    let mut args = lexopt::Parser::from_env();
    while let Some(arg) = args.next()? {
        match arg {
            Long("rounds") => options.rounds = args.value()?.parse()?,
            Long("workers") => options.workers = args.value()?.parse()?,
            Long("quick") => options.rounds = 5,
            Long("variants") => options.variants = true,
            Long("list") => list = true,
            Long("svg") => svg = Some(args.value()?),
            // For a profiler.
            Long("only") => only = Some(args.value()?.string()?),
            Long("json") => {
                let path = args.value()?;
                let file = std::fs::File::create(&path).map_err(|error| format!("{path:?}: {error}"))?;
                json = Some(file);
            }
            Long("memory-of") => {
                let (name, kind) = (args.value()?.string()?, args.value()?.string()?);
                rows::memory::child(&name, &kind);
            }
            // `cargo bench` and `cargo test` say so.
            Long("bench" | "test") => {}
            Long("help") | Short('h') => {
                println!(
                    "compare [FILTER] [--rounds N] [--json FILE] [--workers N] [--quick]\n\
                     \x20       [--variants] [--list] [--only NAME]\n\
                     FILTER is part of a row's name; `stuck`, `pool` (which takes --svg FILE) and `idle` are\n\
                     tables of their own."
                );
                return Ok(());
            }
            Value(filter) if options.filter.is_none() => options.filter = Some(filter.string()?),
            _ => return Err(arg.unexpected()),
        }
    }

    let mut report = Report::new(json);
    if options.filter.as_deref().is_some_and(|filter| filter.starts_with("stuck")) {
        stuck::run(&options, |row, scores| report.add(row, scores));
        report.print();
        return Ok(());
    }
    if options.filter.as_deref().is_some_and(|filter| filter.starts_with("pool")) {
        let bars = pools::run(&options, |row, scores| report.add(row, scores));
        report.print();
        if let Some(path) = svg {
            std::fs::write(&path, bars.svg()).map_err(|error| format!("{path:?}: {error}"))?;
        }
        return Ok(());
    }
    let contestants = Contestants::leak(options.workers, options.variants);
    if options.filter.as_deref() == Some("idle") {
        idle();
        return Ok(());
    }
    for mut row in rows::all(contestants) {
        let wanted = |name: &str| options.filter.as_deref().is_none_or(|filter| name.contains(filter));
        if !row.metrics.iter().any(|metric| wanted(&metric.name)) {
            continue;
        }
        if list {
            row.metrics.iter().for_each(|metric| println!("{}", metric.name));
            continue;
        }
        if let Some(only) = &only {
            row.entries.retain(|entry| entry.name == only);
        }
        let scores = measure(&mut row, &options);
        report.add(&row, &scores);
    }
    if !list {
        println!(
            "filch / tokio 1.54 / smol (async-executor 1.14), {} workers, {} rounds interleaved, {}; medians; ratio \
             to the best peer.\nCPU in ns an operation, context switches for 1,000 operations, of the whole process; \
             floors: filch's figure over what the machine takes at the least for such a thing (see `floor`).",
            options.workers,
            options.rounds,
            filch_benches::alloc::NAME
        );
        report.print();
    }
    Ok(())
}

/// What all contestants together use while none has its turn.
fn idle() {
    std::thread::sleep(Duration::from_millis(500));
    let before = Usage::now();
    std::thread::sleep(Duration::from_secs(2));
    let used = Usage::now().since(before);
    println!("idle for 2 s: {:?} of CPU, {} context switches", used.cpu, used.switches);
}
