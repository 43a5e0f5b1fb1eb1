//! Layer 2, scheduler. What a runtime counts about itself, and the snapshot that people see.
//!
//! Counters are plain loads and stores by the thread that has the core; a reader sums them up. Called by
//! `worker`.
#![forbid(unsafe_code)]

use crate::shim::Ordering::Relaxed;
use crate::shim::owner::AtomicU64;

/// A number that one thread at a time counts up.
pub(crate) struct Count(AtomicU64);

impl Default for Count {
    fn default() -> Count {
        Count(AtomicU64::new(0))
    }
}

impl Count {
    /// Only by the thread that has the core: a plain load and store.
    #[inline]
    pub(crate) fn add(&self, n: u64) {
        // Ordering: Relaxed: one writer at a time, and readers want a report.
        self.0.store(self.0.load(Relaxed).wrapping_add(n), Relaxed);
    }

    pub(crate) fn get(&self) -> u64 {
        self.0.load(Relaxed)
    }
}

/// What one core counts.
#[derive(Default)]
pub(crate) struct Counts {
    pub(crate) polls: Count,
    pub(crate) steals: Count,
    pub(crate) parks: Count,
    pub(crate) looks: Count,
}

/// A snapshot of what a runtime counted so far. Stable: fields are only ever added.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Metrics {
    /// Workers that the runtime was built with.
    pub workers: usize,
    /// Threads that run tasks at present, substitutes and spare ones included.
    pub threads: usize,
    /// Tasks that are not done, roots of `block_on` and blocking jobs included.
    pub live_tasks: usize,
    /// Tasks spawned so far.
    pub spawned: u64,
    /// Polls so far.
    pub polls: u64,
    /// How often a worker took tasks from another's queue.
    pub steals: u64,
    /// How often a worker went to sleep.
    pub parks: u64,
    /// How often a busy worker looked at the timers, the reactor and the shared queue.
    pub looks: u64,
    /// How often a core was taken from a stuck thread.
    pub rescues: u64,
    /// Tasks in the queues of the workers.
    pub local_queue_depth: usize,
    /// Tasks in the shared queue.
    pub injector_depth: usize,
    /// Threads of the blocking pool.
    pub blocking_threads: usize,
    /// Jobs that wait for a thread of the blocking pool.
    pub blocking_queue_depth: usize,
}
