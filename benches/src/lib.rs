//! What is measured: async runtimes, filch against tokio 1.54 and smol (async-executor 1.14), in one process.
//!
//! `runtimes` are the contestants behind one trait; `rows` the workloads, written once over that trait;
//! `pools` are those about pools of threads, with contestants of their own; `harness` takes the rounds and does the
//! statistics; `floor` is what the machine takes without any runtime; `table` prints.
pub mod alloc;
pub mod by_hand;
pub mod floor;
pub mod harness;
pub mod pools;
pub mod rows;
pub mod runtimes;
pub mod stuck;
pub mod table;
