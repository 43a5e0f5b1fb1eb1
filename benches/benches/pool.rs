//! Pools of threads: `cargo bench -p filch-benches --bench pool -- [FILTER]`, which is `compare pool`.
//!
//! What is measured and how, `filch_benches::pools` says.
use filch_benches::harness::Options;
use filch_benches::pools;
use filch_benches::table::Report;

fn main() {
    let filter = std::env::args().skip(1).find(|arg| !arg.starts_with('-'));
    if std::env::args().any(|arg| arg == "--test") {
        return;
    }
    let options = Options { filter, rounds: 15, workers: 2, variants: false };
    let mut report = Report::new(None);
    pools::run(&options, |row, scores| report.add(row, scores));
    report.print();
}
