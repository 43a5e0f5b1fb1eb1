//! Layer 3, limit. `Limiter`: at most so many at the same time, and, if asked for, so many in a time as well.
//!
//! Owns the slots, a fair semaphore, and the order of the two limits: first a slot, then the rate, so that what
//! counts for the rate starts at once. Called by users.
#![forbid(unsafe_code)]

use std::error::Error;
use std::fmt;
use std::panic::Location;

use filch_channels::sync::{Semaphore, SemaphorePermit};

use super::acquire::Acquire;
use super::error::TryAcquireError;
use super::paced::{RateLimiter, TokenBucket};
use crate::shim::Arc;
use crate::shim::Ordering::Relaxed;
use crate::shim::task::AtomicUsize;
use crate::time::Duration;

/// Runs at most so many futures at the same time; the others wait, first come, first served.
///
/// JavaScript's `AsyncQueue(concurrency).push(task)`, on which it improves: a slot that is handed on is not
/// taken by a newcomer, so there are never more than `n`. A slot becomes free when its future is done, whether
/// well, with an error or with a panic, or is dropped. Combined with a [rate](Self::rate), both limits hold.
///
/// # Examples
/// ```
/// use filch::limit::Limiter;
/// use filch::time::{Duration, Instant, sleep};
///
/// let runtime = filch::Builder::new().paused_clock(1).build()?;
/// runtime.block_on(async {
///     let limiter = Limiter::new(3);
///     let start = Instant::now();
///     let second = Duration::from_secs(1);
///     let tasks = (0..10).map(|i| limiter.run(async move { sleep(second).await; i }));
///     assert_eq!(filch::gather(tasks).await, (0..10).collect::<Vec<_>>());
///     assert_eq!(start.elapsed(), 4 * second);
/// });
/// # Ok::<(), std::io::Error>(())
/// ```
pub struct Limiter {
    slots: Semaphore,
    max: usize,
    rate: Option<Rate>,
    /// Those without a slot, and those with one who wait for the rate.
    waiting: AtomicUsize,
}

impl Limiter {
    /// At most `max` at the same time.
    ///
    /// # Panics
    /// When `max` is zero, as nobody could ever run, or more than [`Semaphore::MAX_PERMITS`].
    #[must_use]
    #[track_caller]
    pub fn new(max: usize) -> Limiter {
        assert!(max > 0, "a limiter for none at all would let nobody run: allow one at least");
        Limiter { slots: Semaphore::fair(max), max, rate: None, waiting: AtomicUsize::new(0) }
    }

    /// Also lets no more start than `rate` allows: a [`RateLimiter`] or a [`TokenBucket`], of its own or, in an
    /// `Arc`, shared with others.
    ///
    /// It counts when one starts. Whoever has a slot and waits for the rate keeps the slot.
    ///
    /// # Examples
    /// ```
    /// use filch::limit::{Limiter, RateLimiter};
    /// use filch::time::{Duration, Instant};
    ///
    /// let runtime = filch::Builder::new().paused_clock(1).build()?;
    /// runtime.block_on(async {
    ///     let limiter = Limiter::new(8).rate(RateLimiter::new(2, Duration::from_secs(1)));
    ///     let start = Instant::now();
    ///     filch::gather((0..5).map(|_| limiter.run(async {}))).await;
    ///     assert_eq!(start.elapsed(), Duration::from_secs(2));
    /// });
    /// # Ok::<(), std::io::Error>(())
    /// ```
    #[must_use]
    pub fn rate(mut self, rate: impl Into<Rate>) -> Limiter {
        self.rate = Some(rate.into());
        self
    }

    /// Waits for a slot, then for `future`, and gives the slot back.
    ///
    /// The future is not polled before it has its slot.
    ///
    /// # Panics
    /// When it has to wait for a rate outside of a filch runtime.
    ///
    /// # Cancel safety
    /// **Strict** if `future` is; but it loses its place in line. Its slot is free at once.
    #[track_caller]
    pub fn run<F: IntoFuture>(&self, future: F) -> impl Future<Output = F::Output> {
        let turn = self.acquire();
        async move {
            let _slot = turn.await;
            future.await
        }
    }

    /// Waits for a slot, to be held until the guard is dropped.
    ///
    /// # Panics
    /// When it has to wait for a rate outside of a filch runtime.
    ///
    /// # Cancel safety
    /// **Loses its place in line.** No slot is lost, and nothing counts for the rate.
    #[track_caller]
    pub fn acquire(&self) -> impl Future<Output = Slot<'_>> {
        let location = Location::caller();
        let permit = self.slots.acquire();
        async move {
            let waits = Waits::new(&self.waiting);
            let permit = never_closed(permit.await);
            match &self.rate {
                None => {}
                Some(Rate::Window(rate)) => Acquire::new(rate, location).await,
                Some(Rate::Bucket(rate)) => Acquire::new(rate, location).await,
            }
            drop(waits);
            Slot { _permit: permit }
        }
    }

    /// Takes a slot if there is a free one, nobody waits, and the rate allows it.
    ///
    /// # Errors
    /// [`LimiterError`] says which limit is reached.
    pub fn try_acquire(&self) -> Result<Slot<'_>, LimiterError> {
        let permit = self.slots.try_acquire().map_err(|_| LimiterError::Full)?;
        match &self.rate {
            None => {}
            Some(Rate::Window(rate)) => rate.try_acquire()?,
            Some(Rate::Bucket(rate)) => rate.try_acquire()?,
        }
        Ok(Slot { _permit: permit })
    }

    /// Blocks this thread until it has a slot.
    pub fn acquire_blocking(&self) -> Slot<'_> {
        let waits = Waits::new(&self.waiting);
        let permit = never_closed(self.slots.acquire_blocking());
        match &self.rate {
            None => {}
            Some(Rate::Window(rate)) => rate.acquire_blocking(),
            Some(Rate::Bucket(rate)) => rate.acquire_blocking(),
        }
        drop(waits);
        Slot { _permit: permit }
    }

    /// Blocks this thread until it has a slot, but no longer than `timeout`.
    ///
    /// # Errors
    /// [`LimiterError`] says which limit was reached for so long.
    pub fn acquire_timeout(&self, timeout: Duration) -> Result<Slot<'_>, LimiterError> {
        let start = std::time::Instant::now();
        let _waits = Waits::new(&self.waiting);
        let permit = self.slots.acquire_timeout(timeout).map_err(|_| LimiterError::Full)?;
        let left = timeout.saturating_sub(start.elapsed());
        let in_time = match &self.rate {
            None => true,
            Some(Rate::Window(rate)) => rate.acquire_timeout(left).is_ok(),
            Some(Rate::Bucket(rate)) => rate.acquire_timeout(left).is_ok(),
        };
        if in_time { Ok(Slot { _permit: permit }) } else { Err(LimiterError::RateTimeout) }
    }

    /// Blocks this thread until it has a slot, calls `f`, and gives the slot back.
    ///
    /// # Examples
    /// ```
    /// use filch::limit::Limiter;
    ///
    /// let limiter = Limiter::new(1);
    /// assert_eq!(limiter.run_blocking(|| limiter.stats().running), 1);
    /// assert_eq!(limiter.stats().running, 0);
    /// ```
    pub fn run_blocking<T>(&self, f: impl FnOnce() -> T) -> T {
        let _slot = self.acquire_blocking();
        f()
    }

    /// How busy it is. The numbers are read one after the other, and may be otherwise before you look twice.
    #[must_use]
    pub fn stats(&self) -> LimiterStats {
        let out = self.max - self.slots.available_permits().min(self.max);
        LimiterStats { max: self.max, running: out, waiting: self.waiting.load(Relaxed) }
    }
}

fn never_closed<T, E>(permit: Result<T, E>) -> T {
    permit.unwrap_or_else(|_| unreachable!("nobody closes the slots of a limiter"))
}

impl fmt::Debug for Limiter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Limiter").field("stats", &self.stats()).field("rate", &self.rate).finish()
    }
}

/// One of those who wait, for reports.
struct Waits<'a>(&'a AtomicUsize);

impl<'a> Waits<'a> {
    fn new(waiting: &'a AtomicUsize) -> Waits<'a> {
        // Ordering: Relaxed, here and wherever it is counted: it is read for reports only.
        waiting.fetch_add(1, Relaxed);
        Waits(waiting)
    }
}

impl Drop for Waits<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Relaxed);
    }
}

/// A rate that a [`Limiter`] keeps to as well.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Rate {
    /// So many in any window.
    Window(Arc<RateLimiter>),
    /// So many on average.
    Bucket(Arc<TokenBucket>),
}

impl From<RateLimiter> for Rate {
    fn from(rate: RateLimiter) -> Rate {
        Rate::Window(Arc::new(rate))
    }
}

impl From<TokenBucket> for Rate {
    fn from(rate: TokenBucket) -> Rate {
        Rate::Bucket(Arc::new(rate))
    }
}

impl From<Arc<RateLimiter>> for Rate {
    fn from(rate: Arc<RateLimiter>) -> Rate {
        Rate::Window(rate)
    }
}

impl From<Arc<TokenBucket>> for Rate {
    fn from(rate: Arc<TokenBucket>) -> Rate {
        Rate::Bucket(rate)
    }
}

/// A slot of a [`Limiter`], given back when this is dropped.
#[derive(Debug)]
#[must_use = "dropping a slot gives it back at once"]
pub struct Slot<'a> {
    _permit: SemaphorePermit<'a>,
}

/// What [`Limiter::stats`] tells.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub struct LimiterStats {
    /// How many may have a slot.
    pub max: usize,
    /// How many have one.
    pub running: usize,
    /// How many wait for one, or have one and wait for the rate.
    pub waiting: usize,
}

/// Which limit of a [`Limiter`] is reached.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum LimiterError {
    /// All slots are taken, or others wait for one.
    Full,
    /// There was a slot, but the rate allows nobody to start.
    Rate(TryAcquireError),
    /// There was a slot, but the rate did not allow it in time.
    RateTimeout,
}

impl fmt::Display for LimiterError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            LimiterError::Full => f.write_str("all slots of the limiter are taken"),
            LimiterError::Rate(error) => write!(f, "the limiter had a slot, but: {error}"),
            LimiterError::RateTimeout => {
                f.write_str("the limiter had a slot, but its rate did not allow it in time")
            }
        }
    }
}

impl Error for LimiterError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match self {
            LimiterError::Rate(error) => Some(error),
            LimiterError::Full | LimiterError::RateTimeout => None,
        }
    }
}

impl From<TryAcquireError> for LimiterError {
    fn from(error: TryAcquireError) -> LimiterError {
        LimiterError::Rate(error)
    }
}
