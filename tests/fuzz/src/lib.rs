//! What the six fuzz targets do, each with bytes that say what comes next, and against a plain model.
//!
//! The files of the libraries that are private there are a part of this crate, by their paths: so the code that ships is
//! what runs. `run.sh` in the folder above says how.
#![allow(dead_code, unused_imports, missing_docs, missing_debug_implementations, unreachable_pub)]

// The names that these files know each other by.
#[path = "../../../channels/src/sync.rs"]
pub mod __shim;
pub(crate) use __shim as shim;
#[path = "../../../channels/src/block.rs"]
mod block;
#[path = "../../../channels/src/holder.rs"]
mod holder;
#[path = "../../../channels/src/probe.rs"]
pub mod probe;
#[path = "../../../channels/src/ring/mod.rs"]
mod ring;
#[path = "../../../channels/src/wait_queue/mod.rs"]
mod wait_queue;
#[path = "../../../channels/src/wake_batch.rs"]
mod wake_batch;
#[path = "../../../runtime/src/driver/wheel.rs"]
mod wheel;

// Files of `process::pool` say who may see what is in them by that path.
mod chat;
mod process;

pub mod targets;

/// Bytes that are used up one by one.
struct Bytes<'a>(&'a [u8]);

impl Bytes<'_> {
    fn next(&mut self) -> Option<u8> {
        let (first, rest) = self.0.split_first()?;
        self.0 = rest;
        Some(*first)
    }

    /// A number below `limit`; 0 at the end.
    fn below(&mut self, limit: usize) -> usize {
        self.next().map_or(0, |byte| usize::from(byte) % limit.max(1))
    }

    /// A number of any size.
    fn number(&mut self) -> u64 {
        let bits = self.below(65) as u32;
        let number = (0..8).fold(0, |number, _| number << 8 | u64::from(self.next().unwrap_or(0)));
        number.checked_shr(64 - bits).unwrap_or(0)
    }
}

/// A waker that counts.
struct Count(std::sync::atomic::AtomicUsize);

impl std::task::Wake for Count {
    fn wake(self: std::sync::Arc<Self>) {
        self.0.fetch_add(1, std::sync::atomic::Ordering::SeqCst);
    }
}

impl Count {
    fn new() -> (std::sync::Arc<Count>, std::task::Waker) {
        let count = std::sync::Arc::new(Count(std::sync::atomic::AtomicUsize::new(0)));
        (count.clone(), count.into())
    }

    fn get(&self) -> usize {
        self.0.load(std::sync::atomic::Ordering::SeqCst)
    }
}
