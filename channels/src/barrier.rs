//! Layer 2. `Barrier`: parties wait for each other, again and again.
//!
//! Owns one word, the generation, how many have arrived in it and whether the barrier is broken, and a
//! [`WaitQueue`] in which those who have arrived stand. The leader's part is tokio's and std's, the broken
//! state is Python's, and a party that gives up takes its arrival back. Called by users.
//!
//! # How a generation ends
//! The word changes under the lock of the line only, and to arrive and to get in line are one step under that
//! lock. So whoever ends a generation, the last to arrive or `abort` or `reset`, finds all who arrived in it
//! in line, and tells them how it ended; nobody has to find out by looking. A party that gives up takes its
//! arrival back under the same lock: either the generation is still the one it arrived in, or it has ended
//! with this party counted, and a message about that is in its entry or on its way there.
#![forbid(unsafe_code)]

use std::fmt;
use std::future::Future;
use std::panic::Location;
use std::pin::{Pin, pin};
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};

use pin_project_lite::pin_project;

use crate::block::{self, deadline_after};
use crate::probe::{self, Wait};
use crate::shim::Ordering::Relaxed;
use crate::shim::const_unless_model;
use crate::shim::task::AtomicU64;
use crate::wait_queue::{Outcome, WaitQueue, Waiter};

#[cfg(test)]
mod tests;

/// What those who wait are told about their generation.
const PASSED: usize = 0;
const BROKEN: usize = 1;

/// What the word of a barrier says. It is written under the lock of the line.
///
/// | bits    | meaning                                                         |
/// |---------|-----------------------------------------------------------------|
/// | 0..32   | how many have arrived in this generation, fewer than there are  |
/// | 32      | the barrier is broken: nobody arrives                           |
/// | 33..64  | the generation, wrapping                                        |
#[derive(Clone, Copy, PartialEq, Eq)]
struct Now {
    arrived: u32,
    broken: bool,
    generation: u32,
}

impl Now {
    fn from_word(word: u64) -> Now {
        Now { arrived: word as u32, broken: word >> 32 & 1 == 1, generation: (word >> 33) as u32 }
    }

    fn to_word(self) -> u64 {
        u64::from(self.arrived) | u64::from(self.broken) << 32 | u64::from(self.generation) << 33
    }

    /// The generation after this one, with nobody in it.
    fn next(self, broken: bool) -> Now {
        Now { arrived: 0, broken, generation: (self.generation + 1) & (u32::MAX >> 1) }
    }
}

/// A number of parties, tasks or threads, that wait for each other.
///
/// Nobody passes before all have arrived; then all pass, one of them as the leader, and the barrier is ready
/// for the next round. A party that gives up, because its future is dropped or its time is up, withdraws: it
/// does not count as one that has arrived, and the others go on waiting.
///
/// A barrier for one party, or for none, lets everybody pass at once, as a leader.
///
/// # Examples
/// ```
/// use std::sync::atomic::{AtomicU32, Ordering};
/// use filch_channels::sync::Barrier;
///
/// let (barrier, ready) = (Barrier::new(3), AtomicU32::new(0));
/// let work = || {
///     ready.fetch_add(1, Ordering::Relaxed);
///     let leads = barrier.wait_blocking().is_leader();
///     assert_eq!(ready.load(Ordering::Relaxed), 3);
///     leads
/// };
/// let leaders = std::thread::scope(|scope| {
///     let threads = [scope.spawn(work), scope.spawn(work), scope.spawn(work)];
///     threads.map(|thread| thread.join().unwrap())
/// });
/// assert_eq!(leaders.iter().filter(|leads| **leads).count(), 1);
/// ```
///
/// # Breaking it
/// When a party cannot come any more, [`abort`](Self::abort) sends away all who wait and all who will come,
/// until [`reset`](Self::reset). They learn it from [`wait_unless_broken`](Self::wait_unless_broken) and
/// from the timed forms; [`wait`](Self::wait) and [`wait_blocking`](Self::wait_blocking), which have the
/// shapes of tokio and std, panic.
///
/// # Cancel safety
/// **Strict.** A party that is dropped withdraws its arrival, unless the last one has come already.
///
/// # Memory ordering
/// What each party did before it arrived is visible to all who pass with it.
pub struct Barrier {
    word: AtomicU64,
    /// At least 1.
    parties: u32,
    queue: WaitQueue,
}

impl Barrier {
    const_unless_model! {
        /// A barrier for `parties` parties; 0 means the same as 1.
        ///
        /// # Panics
        /// When there are to be more than `u32::MAX`.
        #[must_use]
        pub fn new(parties: usize) -> Barrier {
            assert!(parties <= u32::MAX as usize, "a barrier is for at most u32::MAX parties");
            let parties = if parties == 0 { 1 } else { parties as u32 };
            Barrier { word: AtomicU64::new(0), parties, queue: WaitQueue::new() }
        }
    }

    fn now(&self) -> Now {
        // Ordering: Relaxed: those who act on it hold the lock of the line, which orders all; for others it
        // is a hint.
        Now::from_word(self.word.load(Relaxed))
    }

    /// Under the lock of the line.
    fn set_now(&self, now: Now) {
        // Ordering: Relaxed, as in `now`.
        self.word.store(now.to_word(), Relaxed);
    }

    /// How many parties the barrier is for.
    pub fn parties(&self) -> usize {
        self.parties as usize
    }

    /// How many parties have arrived and wait. Others may come, or all may pass, before you look twice.
    pub fn arrived(&self) -> usize {
        self.now().arrived as usize
    }

    /// Whether the barrier is broken: see [`abort`](Self::abort).
    pub fn is_broken(&self) -> bool {
        self.now().broken
    }

    /// Waits until all parties have arrived. The party arrives with the first poll.
    ///
    /// # Examples
    /// ```
    /// # use filch_channels::sync::Barrier;
    /// # use futures_lite::future;
    /// let barrier = Barrier::new(2);
    /// let (one, two) = future::block_on(future::zip(barrier.wait(), barrier.wait()));
    /// assert!(!one.is_leader() && two.is_leader());
    /// ```
    ///
    /// # Panics
    /// When the barrier is broken, or is broken meanwhile: only where somebody calls [`abort`](Self::abort)
    /// or [`reset`](Self::reset).
    ///
    /// # Cancel safety
    /// **Strict.** Dropped, it withdraws, unless the last party has come already.
    #[track_caller]
    pub fn wait(&self) -> BarrierWait<'_> {
        BarrierWait { inner: self.party() }
    }

    /// Waits until all parties have arrived, or the barrier is broken.
    ///
    /// # Examples
    /// ```
    /// # use filch_channels::sync::{Barrier, BrokenBarrierError};
    /// # futures_lite::future::block_on(async {
    /// let barrier = Barrier::new(2);
    /// barrier.abort();
    /// assert_eq!(barrier.wait_unless_broken().await, Err(BrokenBarrierError));
    /// barrier.reset();
    /// assert!(!barrier.is_broken());
    /// # });
    /// ```
    ///
    /// # Errors
    /// [`BrokenBarrierError`] when the barrier is broken, or was broken meanwhile.
    ///
    /// # Cancel safety
    /// **Strict.** Dropped, it withdraws, unless the last party has come already.
    #[track_caller]
    pub fn wait_unless_broken(&self) -> BarrierWaitUnlessBroken<'_> {
        BarrierWaitUnlessBroken { inner: self.party() }
    }

    /// Passes if all others have arrived, as the leader, and does not arrive otherwise.
    ///
    /// # Errors
    /// [`BarrierError`] says whether the others have not arrived, or the barrier is broken.
    pub fn try_wait(&self) -> Result<BarrierWaitResult, BarrierError> {
        match self.arrive_last() {
            Some(Ok(leader)) => {
                probe::spend();
                Ok(leader)
            }
            Some(Err(BrokenBarrierError)) => Err(BarrierError::Broken),
            None => Err(BarrierError::Incomplete),
        }
    }

    /// Blocks this thread until all parties have arrived.
    ///
    /// # Panics
    /// As [`wait`](Self::wait).
    pub fn wait_blocking(&self) -> BarrierWaitResult {
        match self.block(None) {
            Ok(result) => result,
            Err(_) => broken(Location::caller()),
        }
    }

    /// Blocks this thread until all parties have arrived, but no longer than `timeout`; then it withdraws.
    ///
    /// `Duration::MAX` means for ever. A task bounds [`wait`](Self::wait) with its runtime's timeout instead.
    ///
    /// # Errors
    /// [`BarrierError`] says whether the time was up or the barrier is broken.
    pub fn wait_timeout(&self, timeout: Duration) -> Result<BarrierWaitResult, BarrierError> {
        self.block(deadline_after(timeout))
    }

    /// Blocks this thread until all parties have arrived, but no longer than to `deadline`; then it
    /// withdraws.
    ///
    /// # Errors
    /// [`BarrierError`] says whether the time was up or the barrier is broken.
    pub fn wait_deadline(&self, deadline: Instant) -> Result<BarrierWaitResult, BarrierError> {
        self.block(Some(deadline))
    }

    /// Breaks the barrier: those who wait and those who come are sent away, until [`reset`](Self::reset).
    pub fn abort(&self) {
        self.end(true);
    }

    /// Mends the barrier and makes it empty. Those who wait are sent away, as by [`abort`](Self::abort).
    pub fn reset(&self) {
        self.end(false);
    }

    /// Ends the generation without letting anybody pass.
    fn end(&self, broken: bool) {
        let line = self.queue.lock();
        let now = self.now();
        self.set_now(now.next(broken));
        line.notify_all_where(BROKEN, |generation| generation == now.generation as usize);
    }

    /// Arrives and lets all pass, if the others are here. None: they are not.
    fn arrive_last(&self) -> Option<Result<BarrierWaitResult, BrokenBarrierError>> {
        let line = self.queue.lock();
        let now = self.now();
        if now.broken {
            return Some(Err(BrokenBarrierError));
        }
        if now.arrived + 1 != self.parties {
            return None;
        }
        self.set_now(now.next(false));
        line.notify_all_where(PASSED, |generation| generation == now.generation as usize);
        Some(Ok(BarrierWaitResult { leader: true }))
    }

    /// Arrives in `generation`, as one that waits, under the lock of the line. False: things have changed.
    fn arrive(&self, generation: u32) -> bool {
        let mut now = self.now();
        let waits = now.generation == generation && !now.broken && now.arrived + 1 != self.parties;
        if waits {
            now.arrived += 1;
            self.set_now(now);
        }
        waits
    }

    /// Takes back an arrival in `generation`. False: too late, that generation has ended.
    fn withdraw(&self, generation: u32) -> bool {
        let _line = self.queue.lock();
        let mut now = self.now();
        let in_time = now.generation == generation;
        if in_time {
            now.arrived -= 1;
            self.set_now(now);
        }
        in_time
    }

    #[track_caller]
    fn party(&self) -> Party<'_> {
        Party {
            barrier: self,
            arrived: None,
            done: false,
            location: Location::caller(),
            waiter: Waiter::new(),
        }
    }

    fn block(&self, deadline: Option<Instant>) -> Result<BarrierWaitResult, BarrierError> {
        let mut party = pin!(self.party());
        let passed = match block::block_until(deadline, |cx| party.as_mut().poll_pass(cx)) {
            Some(passed) => passed,
            None if party.as_mut().withdraw() => return Err(BarrierError::Incomplete),
            // The last party has come at the last moment, and counts on us: word of that is on its way.
            None => block::block_on(|cx| party.as_mut().poll_pass(cx)),
        };
        passed.map_err(|BrokenBarrierError| BarrierError::Broken)
    }
}

impl fmt::Debug for Barrier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Barrier")
            .field("parties", &self.parties)
            .field("arrived", &self.arrived())
            .field("broken", &self.is_broken())
            .finish()
    }
}

#[cold]
fn broken(location: &Location<'_>) -> ! {
    panic!("the barrier waited for at {location} is broken: use wait_unless_broken where abort is used")
}

pin_project! {
    /// What both futures do.
    struct Party<'a> {
        barrier: &'a Barrier,
        // The generation in which this party has arrived, while it waits.
        arrived: Option<u32>,
        done: bool,
        location: &'static Location<'static>,
        #[pin]
        waiter: Waiter,
    }

    impl PinnedDrop for Party<'_> {
        fn drop(this: Pin<&mut Self>) {
            this.withdraw();
        }
    }
}

impl Party<'_> {
    /// Takes the arrival back, if there is one. False: too late.
    fn withdraw(self: Pin<&mut Self>) -> bool {
        let this = self.project();
        match *this.arrived {
            Some(generation) if this.barrier.withdraw(generation) => {
                *this.arrived = None;
                true
            }
            Some(_) => false,
            None => true,
        }
    }

    /// A budget is the caller's business.
    fn poll_pass(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Result<BarrierWaitResult, BrokenBarrierError>> {
        let mut this = self.project();
        assert!(!*this.done, "polled after it was ready");
        let barrier = *this.barrier;
        loop {
            if this.arrived.is_none() {
                if let Some(passed) = barrier.arrive_last() {
                    *this.done = true;
                    return Poll::Ready(passed);
                }
            }
            let generation = barrier.now().generation;
            let arrived = &mut *this.arrived;
            let join = || {
                if arrived.is_none() {
                    if !barrier.arrive(generation) {
                        // Somebody was quicker: look again whether this is the last party now.
                        return Some(());
                    }
                    *arrived = Some(generation);
                }
                None
            };
            match this.waiter.as_mut().poll_joined(&barrier.queue, generation as usize, join, cx) {
                Poll::Ready(Outcome::Taken(())) => {}
                Poll::Ready(Outcome::Told(message)) => {
                    *this.arrived = None;
                    *this.done = true;
                    return Poll::Ready(match message {
                        PASSED => Ok(BarrierWaitResult { leader: false }),
                        _ => Err(BrokenBarrierError),
                    });
                }
                Poll::Pending => return Poll::Pending,
            }
        }
    }

    fn poll(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Result<BarrierWaitResult, BrokenBarrierError>> {
        // One that waits has ended a poll, so its budget is fresh.
        if self.arrived.is_none() {
            ready!(probe::poll_budget(cx));
        }
        let (barrier, location) = (self.barrier, self.location);
        if let Poll::Ready(passed) = self.poll_pass(cx) {
            probe::spend();
            return Poll::Ready(passed);
        }
        probe::waiting(Wait::Notify, (&raw const *barrier).cast(), Some(location));
        Poll::Pending
    }
}

impl fmt::Debug for Party<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Party").field("waits", &self.arrived.is_some()).finish_non_exhaustive()
    }
}

pin_project! {
    /// The future of [`Barrier::wait`].
    ///
    /// # Panics
    /// When the barrier is broken, and when it is polled after it was ready.
    ///
    /// # Cancel safety
    /// **Strict.** Dropped, it withdraws, unless the last party has come already.
    #[derive(Debug)]
    #[must_use = "futures do nothing unless they are awaited"]
    pub struct BarrierWait<'a> {
        #[pin]
        inner: Party<'a>,
    }
}

impl Future for BarrierWait<'_> {
    type Output = BarrierWaitResult;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<BarrierWaitResult> {
        let location = self.inner.location;
        match ready!(self.project().inner.poll(cx)) {
            Ok(result) => Poll::Ready(result),
            Err(BrokenBarrierError) => broken(location),
        }
    }
}

pin_project! {
    /// The future of [`Barrier::wait_unless_broken`].
    ///
    /// # Panics
    /// When it is polled after it was ready.
    ///
    /// # Cancel safety
    /// **Strict.** Dropped, it withdraws, unless the last party has come already.
    #[derive(Debug)]
    #[must_use = "futures do nothing unless they are awaited"]
    pub struct BarrierWaitUnlessBroken<'a> {
        #[pin]
        inner: Party<'a>,
    }
}

impl Future for BarrierWaitUnlessBroken<'_> {
    type Output = Result<BarrierWaitResult, BrokenBarrierError>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        self.project().inner.poll(cx)
    }
}

/// What a party learns when it passes a [`Barrier`].
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct BarrierWaitResult {
    leader: bool,
}

impl BarrierWaitResult {
    /// Whether this is the one party of its round that leads: the last one to arrive.
    pub fn is_leader(&self) -> bool {
        self.leader
    }
}

/// The barrier is broken: see [`Barrier::abort`].
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct BrokenBarrierError;

impl fmt::Display for BrokenBarrierError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the barrier is broken, and not all parties will come")
    }
}

impl std::error::Error for BrokenBarrierError {}

/// Why [`Barrier::try_wait`] or [`Barrier::wait_timeout`] did not pass.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum BarrierError {
    /// Not all parties have arrived, now or in time. This one has withdrawn.
    Incomplete,
    /// The barrier is broken: see [`Barrier::abort`].
    Broken,
}

impl fmt::Display for BarrierError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            BarrierError::Incomplete => f.write_str("not all parties have arrived at the barrier"),
            BarrierError::Broken => BrokenBarrierError.fmt(f),
        }
    }
}

impl std::error::Error for BarrierError {}

impl From<BrokenBarrierError> for BarrierError {
    fn from(BrokenBarrierError: BrokenBarrierError) -> BarrierError {
        BarrierError::Broken
    }
}
