//! What this machine takes for what no runtime can do without; see `filch_benches::floor`.
//!
//! `cargo run --release -p filch-benches --bin floor`
use filch_benches::floor::Floor;

fn main() {
    if std::env::args().len() > 1 {
        println!(
            "floor: prints what this machine takes for an atomic, an allocation, a wake, and the like, in ns"
        );
        return;
    }
    for floor in Floor::ALL {
        println!("{:<46} {:>9.1} ns", floor.name(), floor.measure());
    }
}
