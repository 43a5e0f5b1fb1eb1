//! Layer 3, limit. `RateLimiter` and `TokenBucket`: an algorithm, a clock, and the line of those who wait.
//!
//! Owns the line: a fair lock, whose holder is the head of the line. The head alone has a timer, and passes the
//! turn on by dropping the guard, be it that it passed or that it was dropped. Nothing is counted before one
//! passes, so one that gives up has nothing to give back. Who passed is the algorithm's to know; it is asked
//! without a lock. Called by users, `keyed` and `limiter`; the futures are in `acquire`.
#![forbid(unsafe_code)]

use std::fmt;
use std::panic::Location;
use std::time::Instant as StdInstant;

use filch_channels::sync::{Lock, LockGuard};

use super::acquire::{Acquire, AcquireMany};
use super::bucket::Bucket;
use super::clock::{Clock, Whose};
use super::error::{AcquireTimeoutError, TooMany, TryAcquireError};
use super::pace::{Answer, NEVER, Now, Pace, nanos};
use super::window::Window;
use crate::shim::Ordering::Relaxed;
use crate::shim::task::{AtomicU64, AtomicUsize};
use crate::shim::thread;
use crate::time::{Duration, Instant};

/// At most so many calls in any window of time; waits for the oldest to leave the window.
///
/// The sliding window of the guides, exactly: never more than `max_calls` in *any* window of `period`, wherever
/// it begins. A call counts from its instant `t` on, until just before `t + period`; at `t + period` the next
/// may pass. To allow for bursts but bound the average, use [`TokenBucket`].
///
/// The methods are those of [`Paced`].
///
/// # Examples
/// ```
/// use filch::limit::RateLimiter;
/// use filch::time::{Duration, Instant};
///
/// let runtime = filch::Builder::new().paused_clock(1).build()?;
/// runtime.block_on(async {
///     let limiter = RateLimiter::new(10, Duration::from_secs(1));
///     let start = Instant::now();
///     for _ in 0..25 {
///         limiter.acquire().await;
///     }
///     assert_eq!(start.elapsed(), Duration::from_secs(2));
/// });
/// # Ok::<(), std::io::Error>(())
/// ```
pub type RateLimiter = Paced<Window>;

/// So many calls a period on average, at an even pace, with some saved up for a burst.
///
/// A bucket of tokens, full at first: each call takes one out, and one comes back every `period / rate` as long
/// as there is room. Between two instants there pass at most as many as the bucket holds and came back. With
/// a burst of one it is a pacemaker. It is kept as a single number (GCRA), whatever the rate.
///
/// The methods are those of [`Paced`].
///
/// # Examples
/// ```
/// use filch::limit::TokenBucket;
/// use filch::time::{Duration, Instant};
///
/// let runtime = filch::Builder::new().paused_clock(1).build()?;
/// runtime.block_on(async {
///     // One every 100 ms; if it was quiet before, three at once.
///     let bucket = TokenBucket::new(10, Duration::from_secs(1)).burst(3);
///     let start = Instant::now();
///     for _ in 0..5 {
///         bucket.acquire().await;
///     }
///     assert_eq!(start.elapsed(), Duration::from_millis(200));
/// });
/// # Ok::<(), std::io::Error>(())
/// ```
pub type TokenBucket = Paced<Bucket>;

/// A limit on how many may pass in a time: [`RateLimiter`] or [`TokenBucket`].
///
/// Whoever wants to pass calls [`acquire`](Self::acquire), and may go on when it returns; nothing is given back
/// afterwards. Calls have weights: [`acquire_many`](Self::acquire_many) counts for several.
///
/// # Who goes first
/// First come, first served, tasks and threads in one line; nobody overtakes those who wait, however small the
/// wish. The first in line has a timer, the others have none. A future that is dropped leaves the line and has
/// counted for nothing. One that is kept, but not polled, holds up those behind it when it is the first.
///
/// # Time
/// Tasks go by the clock of their runtime, so that under a paused clock each wait is exact. Waiting tasks need
/// a filch runtime, as they need its timers: under another, use the forms that block, on its threads for that.
/// On the machine's clock a call may count from up to 4 µs after it passed, never from before.
///
/// # Examples
/// A server that says it is too busy: nobody asks it again before it wants to be asked.
/// ```
/// use filch::limit::RateLimiter;
/// use filch::time::{Duration, Instant};
///
/// let runtime = filch::Builder::new().paused_clock(1).build()?;
/// runtime.block_on(async {
///     let limiter = RateLimiter::new(100, Duration::from_secs(1));
///     let start = Instant::now();
///     limiter.acquire().await;
///     limiter.penalize(Duration::from_secs(30)); // "Retry-After: 30"
///     limiter.acquire().await;
///     assert_eq!(start.elapsed(), Duration::from_secs(30));
/// });
/// # Ok::<(), std::io::Error>(())
/// ```
// In this order, as in `Bucket`.
#[repr(C)]
pub struct Paced<P> {
    clock: Clock,
    /// Nobody passes before this tick.
    closed_until: AtomicU64,
    /// Those who wait, from before they get in line until after they are out of it.
    waiting: AtomicUsize,
    pace: P,
    capacity: usize,
    line: Lock<()>,
}

/// See [`Answer::Unsure`].
struct Unsure;

/// Nobody passed.
pub(super) struct Late {
    /// There is no use to ask before this tick.
    tick: u64,
    /// It was no earlier than this when it was asked.
    now: u64,
}

impl Late {
    /// How long there is no use to ask.
    fn after(&self) -> Duration {
        match self.tick {
            NEVER => Duration::MAX,
            tick => Duration::from_nanos(tick.saturating_sub(self.now)),
        }
    }
}

impl Paced<Window> {
    /// At most `max_calls` in any window of `period`. A period of zero is no limit.
    ///
    /// # Panics
    /// When `max_calls` is zero, as nobody could ever pass.
    #[must_use]
    #[track_caller]
    pub fn new(max_calls: usize, period: Duration) -> RateLimiter {
        assert!(
            max_calls > 0,
            "a rate limiter for no calls at all would let nobody pass: allow one at least"
        );
        Paced::with(Window::new(max_calls, period))
    }
}

impl Paced<Bucket> {
    /// `rate` tokens a `period`, in a bucket that holds as many. A period of zero is no limit.
    ///
    /// # Panics
    /// When `rate` is zero, or more than 2^32 - 1: use a shorter period then.
    #[must_use]
    #[track_caller]
    pub fn new(rate: usize, period: Duration) -> TokenBucket {
        let rate = tokens(rate);
        Paced::with(Bucket::new(rate, period, rate))
    }

    /// One token every `interval`, and a bucket that holds one: a pacemaker.
    #[must_use]
    pub fn every(interval: Duration) -> TokenBucket {
        Paced::with(Bucket::new(1, interval, 1))
    }

    /// Makes the bucket hold `tokens`, more than come in a period or less.
    ///
    /// # Panics
    /// When that is zero, or more than 2^32 - 1.
    #[must_use]
    #[track_caller]
    pub fn burst(mut self, tokens: usize) -> TokenBucket {
        let burst = self::tokens(tokens);
        self.pace.set_burst(burst);
        self.capacity = tokens;
        self
    }
}

#[track_caller]
fn tokens(number: usize) -> u32 {
    match u32::try_from(number) {
        Ok(0) => panic!("a bucket without tokens would let nobody pass: allow one at least"),
        Ok(number) => number,
        Err(_) => panic!("{number} tokens are more than 2^32 - 1: use a shorter period and fewer"),
    }
}

impl<P: Pace> Paced<P> {
    fn with(pace: P) -> Paced<P> {
        Paced {
            capacity: pace.capacity(),
            pace,
            closed_until: AtomicU64::new(0),
            clock: Clock::new(),
            waiting: AtomicUsize::new(0),
            line: Lock::fair(()),
        }
    }

    /// Waits until one may pass.
    ///
    /// # Panics
    /// When it has to wait outside of a filch runtime.
    ///
    /// # Cancel safety
    /// **Loses its place in line.** It counts only if it is ready.
    #[inline]
    #[track_caller]
    pub fn acquire(&self) -> Acquire<'_, P> {
        Acquire::new(self, Location::caller())
    }

    /// Waits until `n` may pass together, which count for as many.
    ///
    /// # Examples
    /// ```
    /// use filch::limit::TokenBucket;
    /// use filch::time::Duration;
    ///
    /// # filch::run(async {
    /// let bytes = TokenBucket::new(1_000_000, Duration::from_secs(1)).burst(65_536);
    /// bytes.acquire_many(1_500).await.unwrap();
    /// let error = bytes.acquire_many(70_000).await.unwrap_err();
    /// assert_eq!(error.capacity(), 65_536);
    /// # });
    /// ```
    ///
    /// # Errors
    /// [`TooMany`] at once, when so many never can.
    ///
    /// # Panics
    /// When it has to wait outside of a filch runtime.
    ///
    /// # Cancel safety
    /// **Loses its place in line.** It counts only if it is ready.
    #[inline]
    #[track_caller]
    pub fn acquire_many(&self, n: usize) -> AcquireMany<'_, P> {
        AcquireMany::new(self, n, Location::caller())
    }

    /// Passes if one may now, and nobody waits.
    ///
    /// # Errors
    /// [`TryAcquireError`] says when to try again, if that is known.
    #[inline]
    pub fn try_acquire(&self) -> Result<(), TryAcquireError> {
        self.try_pass(1)
    }

    /// Passes if `n` may now, together, and nobody waits.
    ///
    /// # Errors
    /// [`TryAcquireError`] says when to try again, if that is known, or that so many never can.
    #[inline]
    pub fn try_acquire_many(&self, n: usize) -> Result<(), TryAcquireError> {
        self.check(n)?;
        self.try_pass(n)
    }

    #[inline]
    fn try_pass(&self, n: usize) -> Result<(), TryAcquireError> {
        if self.waiting() > 0 {
            return Err(TryAcquireError::InLine);
        }
        self.pass(n, Whose::Runtimes).map_err(|late| TryAcquireError::NotYet(late.after()))
    }

    /// Blocks this thread until one may pass.
    ///
    /// It goes by the machine's clock, also inside of a paused runtime.
    ///
    /// # Examples
    /// ```
    /// use filch::limit::RateLimiter;
    /// use std::time::{Duration, Instant};
    ///
    /// let limiter = RateLimiter::new(1, Duration::from_millis(2));
    /// let start = Instant::now();
    /// for _ in 0..3 {
    ///     limiter.acquire_blocking();
    /// }
    /// assert!(start.elapsed() >= Duration::from_millis(4));
    /// ```
    pub fn acquire_blocking(&self) {
        let passed = self.pass_blocking(1, None);
        debug_assert!(passed, "there was no deadline");
    }

    /// Blocks this thread until `n` may pass together.
    ///
    /// # Errors
    /// [`TooMany`] at once, when so many never can.
    pub fn acquire_many_blocking(&self, n: usize) -> Result<(), TooMany> {
        self.check(n)?;
        let passed = self.pass_blocking(n, None);
        debug_assert!(passed, "there was no deadline");
        Ok(())
    }

    /// Blocks this thread until one may pass, but no longer than `timeout`.
    ///
    /// It does not wait for what it knows to be too late: then it returns early.
    ///
    /// # Errors
    /// [`AcquireTimeoutError::Timeout`]; then it did not count, and is not in line.
    pub fn acquire_timeout(&self, timeout: Duration) -> Result<(), AcquireTimeoutError> {
        self.acquire_many_timeout(1, timeout)
    }

    /// Blocks this thread until `n` may pass together, but no longer than `timeout`.
    ///
    /// # Errors
    /// [`AcquireTimeoutError`] when the time was too short, or so many never can.
    pub fn acquire_many_timeout(&self, n: usize, timeout: Duration) -> Result<(), AcquireTimeoutError> {
        self.check(n)?;
        let passed = self.pass_blocking(n, StdInstant::now().checked_add(timeout));
        if passed { Ok(()) } else { Err(AcquireTimeoutError::Timeout) }
    }

    /// Waits until one may pass, then for `future`.
    ///
    /// The future is not polled before its turn. How many run at the same time is not limited; for that there
    /// is [`Limiter`](super::Limiter), which can do both.
    ///
    /// # Panics
    /// When it has to wait outside of a filch runtime.
    ///
    /// # Cancel safety
    /// **Strict** if `future` is; but it loses its place in line, and counts once its turn has come.
    #[track_caller]
    pub fn run<F: IntoFuture>(&self, future: F) -> impl Future<Output = F::Output> {
        let turn = self.acquire();
        async move {
            turn.await;
            future.await
        }
    }

    /// Lets nobody pass before `wait` from now: what a server asks for by `Retry-After`.
    ///
    /// Those who wait stay in line. The longest of several counts. What has passed is not undone, and the limit
    /// itself goes on.
    pub fn penalize(&self, wait: Duration) {
        let until = self.clock.look(Whose::Runtimes).saturating_add(nanos(wait));
        // Relaxed, here and in `answer`: the tick stands for itself. Who comes after this sees it; who comes at the
        // same time may come before it.
        let mut before = self.closed_until.load(Relaxed);
        while let Err(other) =
            self.closed_until.compare_exchange_weak(before, before.max(until), Relaxed, Relaxed)
        {
            before = other;
        }
    }

    /// How many can pass at once at most.
    #[must_use]
    pub fn capacity(&self) -> usize {
        self.capacity
    }

    /// How many could pass now, if nobody waited.
    #[must_use]
    pub fn available(&self) -> usize {
        let now = self.clock.look(Whose::Runtimes);
        if now < self.closed_until.load(Relaxed) { 0 } else { self.pace.free(now) }
    }

    /// How many wait.
    #[must_use]
    pub fn waiting(&self) -> usize {
        // Ordering: Relaxed: whoever is known to wait is seen by then. The count keeps newcomers from
        // overtaking and nothing else: it is `state` that says who passes.
        self.waiting.load(Relaxed)
    }

    /// Whether it is as it was at first: nobody waits, and nobody counts any more.
    pub(super) fn is_idle(&self) -> bool {
        self.waiting() == 0 && self.available() == self.capacity()
    }

    #[inline]
    pub(super) fn check(&self, n: usize) -> Result<(), TooMany> {
        let capacity = self.capacity;
        if n > capacity { Err(TooMany { asked: n, capacity }) } else { Ok(()) }
    }

    pub(super) fn line(&self) -> &Lock<()> {
        &self.line
    }

    pub(super) fn count_in(&self) -> Counted<'_> {
        // Ordering: Relaxed, as in `waiting`, and below.
        self.waiting.fetch_add(1, Relaxed);
        Counted(&self.waiting)
    }

    /// Lets `n` pass now. Whether it is their turn has been seen to.
    #[inline(always)]
    pub(super) fn pass(&self, n: usize, whose: Whose) -> Result<(), Late> {
        match self.answer(self.clock.glance(whose), n) {
            Ok(answer) => answer,
            Err(_unsure) => self.pass_exactly(n, whose),
        }
    }

    /// The same, by what the clock says, and not a little less: for those who have waited.
    #[cold]
    pub(super) fn pass_exactly(&self, n: usize, whose: Whose) -> Result<(), Late> {
        self.answer(self.clock.exactly(whose), n).unwrap_or_else(|_unsure| unreachable!("the clock was read"))
    }

    /// An error if the time is not known well enough.
    // The time was looked at before the algorithm is asked. It is a moment within this call all the same, and an
    // algorithm takes none for earlier than the one before.
    #[inline(always)]
    fn answer(&self, now: Now, n: usize) -> Result<Result<(), Late>, Unsure> {
        let closed_until = self.closed_until.load(Relaxed);
        let answer = match now.from >= closed_until {
            true => self.pace.pass(now, n),
            false if now.to < closed_until => Answer::NotBefore(closed_until),
            false => Answer::Unsure,
        };
        match answer {
            Answer::Passed => Ok(Ok(())),
            Answer::NotBefore(tick) => Ok(Err(Late { tick, now: now.from })),
            Answer::Unsure => Err(Unsure),
        }
    }

    /// When to ask again.
    pub(super) fn until(&self, late: &Late) -> Instant {
        self.clock.instant(late.tick)
    }

    /// False: `deadline` would have come first.
    fn pass_blocking(&self, n: usize, deadline: Option<StdInstant>) -> bool {
        if self.waiting() == 0 && self.pass(n, Whose::Machines).is_ok() {
            return true;
        }
        let _counted = self.count_in();
        let turn: Option<LockGuard<'_, ()>> = match deadline {
            None => Some(self.line.lock_blocking()),
            Some(deadline) => self.line.lock_deadline(deadline).ok(),
        };
        let Some(_turn) = turn else { return false };
        loop {
            let Err(late) = self.pass_exactly(n, Whose::Machines) else { return true };
            if deadline.is_some_and(|deadline| deadline < self.until(&late).into_std()) {
                return false;
            }
            thread::sleep(late.after());
        }
    }
}

impl<P> fmt::Debug for Paced<P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Paced")
            .field("capacity", &self.capacity)
            .field("waiting", &self.waiting.load(Relaxed))
            .finish_non_exhaustive()
    }
}

/// One of those who wait.
#[derive(Debug)]
pub(super) struct Counted<'a>(&'a AtomicUsize);

impl Drop for Counted<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Relaxed);
    }
}
