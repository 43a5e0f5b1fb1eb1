//! Layer 1. `Counter`: a number that many threads change and few read.
//!
//! Owns a row of shards, each on cache lines of its own. A thread changes the shard that its number falls on,
//! so that threads do not take the line from each other; the sum over the shards is the value. Waits for
//! nothing. Called by users.
#![forbid(unsafe_code)]

use std::fmt;
use std::thread::available_parallelism;

use crate::shim::Ordering::{AcqRel, Acquire, Release};
use crate::shim::task::AtomicU64;
use crate::shim::{OnceLock, const_unless_model, thread_number};

#[cfg(test)]
mod tests;

/// The most shards a counter has.
#[cfg(not(filch_loom))]
const SHARDS_MAX: usize = 64;
#[cfg(filch_loom)]
const SHARDS_MAX: usize = 2;

/// Two lines of 64 bytes, since processors fetch neighbours in pairs.
#[derive(Debug)]
#[repr(align(128))]
struct Shard(AtomicU64);

/// A number that many threads change and few read.
///
/// To change it costs one addition on a cache line that is this thread's own most of the time, however many
/// threads do so. To read it costs a look at each shard, of which there are about as many as processors, 64 at
/// most, of 128 bytes each; they are made when the counter is first changed.
///
/// # What a read says
/// [`get`](Self::get) adds up the shards one after the other. While others change the counter, the sum is not
/// what it was at any one moment: it has every change made before the call, none made after it, and of those
/// made meanwhile some. Once nobody changes it, the sum is exact.
///
/// So there is no `increment` here that returns the new value, as the `AtomicInteger` of many a guide has it:
/// no two threads could be sure to get different ones. For that take one atomic, from `std::sync::atomic`, or
/// [`AtomicWait64`](crate::sync::AtomicWait64) if others wait for the number: `fetch_add(1) + 1` is the new
/// value, and no one else's.
///
/// # Examples
/// ```
/// use filch_channels::sync::Counter;
///
/// static HITS: Counter = Counter::new();
///
/// std::thread::scope(|scope| {
///     for _ in 0..4 {
///         scope.spawn(|| (0..1_000).for_each(|_| HITS.increment()));
///     }
/// });
/// assert_eq!(HITS.take(), 4_000);
/// assert_eq!(HITS.get(), 0);
/// ```
///
/// # Memory ordering
/// What happened before a change is visible to a reader that counts it.
pub struct Counter {
    /// As many as a power of two, each with a part of the sum, modulo 2^64.
    shards: OnceLock<Box<[Shard]>>,
}

impl Counter {
    const_unless_model! {
        /// A counter at 0.
        #[must_use]
        pub fn new() -> Counter {
            Counter { shards: OnceLock::new() }
        }
    }

    fn shards(&self) -> &[Shard] {
        self.shards.get_or_init(|| {
            let processors = available_parallelism().map_or(1, usize::from);
            let count = processors.next_power_of_two().min(SHARDS_MAX);
            (0..count).map(|_| Shard(AtomicU64::new(0))).collect()
        })
    }

    /// Adds `n`. The sum wraps at the ends of `i64`.
    #[inline]
    pub fn add(&self, n: i64) {
        let shards = self.shards();
        // Ordering: Release pairs with the loads in `get` and the swap in `take`: see the type.
        shards[thread_number() as usize & (shards.len() - 1)].0.fetch_add(n as u64, Release);
    }

    /// Subtracts `n`. The sum wraps at the ends of `i64`.
    #[inline]
    pub fn sub(&self, n: i64) {
        self.add(n.wrapping_neg());
    }

    /// Adds 1. Returns nothing: see [what a read says](Self#what-a-read-says).
    #[inline]
    pub fn increment(&self) {
        self.add(1);
    }

    /// Subtracts 1.
    #[inline]
    pub fn decrement(&self) {
        self.sub(1);
    }

    /// The sum. Not a snapshot, unless nobody changes it: see [the type](Self#what-a-read-says).
    pub fn get(&self) -> i64 {
        // Ordering: Acquire pairs with `add`.
        self.sum(|shard| shard.0.load(Acquire))
    }

    /// The sum, which is taken away from the counter. Each change is in the result of one `take`, and only one.
    pub fn take(&self) -> i64 {
        // Ordering: AcqRel: Acquire pairs with `add`; Release, so that who finds the shard empty also sees
        // what came before this.
        self.sum(|shard| shard.0.swap(0, AcqRel))
    }

    /// Makes it 0, as [`take`](Self::take) does: changes made meanwhile stay, or go.
    pub fn reset(&self) {
        self.take();
    }

    fn sum(&self, part: impl Fn(&Shard) -> u64) -> i64 {
        let shards = self.shards.get().map_or(&[][..], |shards| shards);
        shards.iter().map(part).fold(0, u64::wrapping_add) as i64
    }
}

impl Default for Counter {
    fn default() -> Counter {
        Counter::new()
    }
}

impl fmt::Debug for Counter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Counter").field(&self.get()).finish()
    }
}
