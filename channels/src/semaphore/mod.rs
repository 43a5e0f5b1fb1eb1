//! Layer 2. `Semaphore`: a number of permits, taken one or many at a time.
//!
//! Owns one word, the free permits and whether the semaphore is closed, and a [`WaitQueue`] under whose rule
//! of the line permits are handed on. An acquire that finds permits is one exchange, a release is one
//! addition. The surface is tokio's, with forms for blocking threads added. Called by users, and by the
//! primitives that count.
#![forbid(unsafe_code)]

use std::fmt;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::block::deadline_after;
use crate::probe;
use crate::shim::Ordering::{AcqRel, Acquire as AcquireOrdering, Relaxed, SeqCst};
use crate::shim::const_unless_model;
use crate::shim::task::AtomicUsize;
use crate::wait_queue::{Outcome, WaitQueue, Waiter};

mod acquire;
mod error;
mod permit;
#[cfg(test)]
mod tests;

use acquire::Claim;
pub use acquire::{Acquire, AcquireOwned};
pub use error::{AcquireError, AcquireTimeoutError, TryAcquireError};
pub use permit::{OwnedSemaphorePermit, SemaphorePermit};

/// In the word: no more permits are given out. What stands above it is the number of free permits.
const CLOSED: usize = 1;
/// In the word: one permit.
const ONE: usize = 2;

/// A number of permits, which tasks and threads take and give back.
///
/// Each acquire takes one permit or many, at once or not at all, and waits until there are enough. A permit
/// goes back when its guard is dropped. Permits bound how many do something at the same time; they guard no
/// data, and may be added by somebody who never acquired one.
///
/// Waiters are served in the order in which they came, but whoever finds a free permit may take it, ahead of
/// those who wait. A waiter that was overtaken 16 times gets the next permits that are free: from then on,
/// and until it has them, everybody else queues behind it. So a request for many permits is not starved by
/// small ones. With [`fair`](Semaphore::fair) nobody is ever overtaken.
///
/// # Examples
/// ```
/// use filch_channels::sync::Semaphore;
///
/// futures_lite::future::block_on(async {
///     let desks = Semaphore::new(2);
///     let one = desks.acquire().await.unwrap();
///     let _two = desks.acquire().await.unwrap();
///     assert!(desks.try_acquire().is_err());
///     drop(one);
///     assert_eq!(desks.available_permits(), 1);
/// });
/// ```
///
/// # Cancel safety
/// **Loses its place in line.** A permit that was offered to a future that is dropped goes to the next one.
///
/// # Memory ordering
/// What happened before a permit was given back, or added, is visible to whoever takes it afterwards.
pub struct Semaphore {
    /// Twice the free permits, plus [`CLOSED`].
    word: AtomicUsize,
    queue: WaitQueue,
}

impl Semaphore {
    /// The greatest number of permits that a semaphore can hold.
    pub const MAX_PERMITS: usize = usize::MAX >> 3;

    const_unless_model! {
        /// A semaphore with `permits` permits.
        ///
        /// # Panics
        /// When that is more than [`MAX_PERMITS`](Self::MAX_PERMITS).
        #[must_use]
        pub fn new(permits: usize) -> Semaphore {
            assert!(permits <= Semaphore::MAX_PERMITS, "a semaphore holds at most usize::MAX >> 3 permits");
            Semaphore { word: AtomicUsize::new(permits * ONE), queue: WaitQueue::new() }
        }

        /// The same as [`new`](Self::new), under tokio's name for it.
        ///
        /// # Panics
        /// As there.
        #[must_use]
        pub fn const_new(permits: usize) -> Semaphore {
            Semaphore::new(permits)
        }

        /// A semaphore that is strictly first in, first out: nobody takes a permit ahead of those who wait.
        ///
        /// Each permit that changes hands then costs a switch of tasks. Prefer [`new`](Self::new) unless the
        /// order itself is what you need.
        ///
        /// # Panics
        /// When there are to be more than [`MAX_PERMITS`](Self::MAX_PERMITS).
        #[must_use]
        pub fn fair(permits: usize) -> Semaphore {
            assert!(permits <= Semaphore::MAX_PERMITS, "a semaphore holds at most usize::MAX >> 3 permits");
            Semaphore { word: AtomicUsize::new(permits * ONE), queue: WaitQueue::fair() }
        }
    }

    /// How many permits are free. Another may take them before you look twice.
    pub fn available_permits(&self) -> usize {
        // Ordering: Acquire pairs with the addition in `put`, so that a count of all permits says that all is
        // done.
        self.word.load(AcquireOrdering) / ONE
    }

    /// Adds `n` permits, for good.
    ///
    /// # Panics
    /// When there would be more than [`MAX_PERMITS`](Self::MAX_PERMITS); nothing is added then.
    pub fn add_permits(&self, n: usize) {
        self.put(n);
    }

    /// The same as [`add_permits`](Self::add_permits).
    ///
    /// # Panics
    /// As there.
    pub fn add(&self, n: usize) {
        self.put(n);
    }

    /// Takes away up to `n` free permits, for good, and says how many it found.
    pub fn forget_permits(&self, n: usize) -> usize {
        let mut word = self.word.load(Relaxed);
        loop {
            let taken = n.min(word / ONE);
            // Ordering: Acquire, as in `take`: whoever takes the permits sees what was done with them.
            match self.word.compare_exchange_weak(word, word - taken * ONE, AcquireOrdering, Relaxed) {
                Ok(_) => return taken,
                Err(now) => word = now,
            }
        }
    }

    /// Gives out no more permits: those who wait are told so, and those who come later too.
    ///
    /// Permits that are out stay valid and may be given back.
    pub fn close(&self) {
        // Ordering: AcqRel pairs with the loads in `take` and `is_closed`: whoever learns of the end also
        // sees what was done before it. Waiters learn it under the queue's lock.
        self.word.fetch_or(CLOSED, AcqRel);
        self.queue.close(CLOSED);
    }

    /// Whether [`close`](Self::close) was called.
    pub fn is_closed(&self) -> bool {
        // Ordering: Acquire pairs with `close`.
        self.word.load(AcquireOrdering) & CLOSED != 0
    }

    /// How many wait, for reports.
    pub(crate) fn waiting(&self) -> usize {
        self.queue.count_waiters()
    }

    /// Takes `n` permits, if so many are free. An error: the semaphore is closed, whatever is free.
    #[inline]
    fn take(&self, n: usize) -> Option<Result<(), AcquireError>> {
        // Ordering: Acquire, here and at the exchange: pairs with the addition in `put`, so that what was
        // done under the permits is visible, and with `close`. Taking publishes nothing; `put` is a
        // read-modify-write, so an exchange that comes between two of them does not break the chain from one
        // holder to the next.
        let mut word = self.word.load(AcquireOrdering);
        loop {
            if word & CLOSED != 0 {
                return Some(Err(AcquireError(())));
            }
            if word / ONE < n {
                return None;
            }
            match self.word.compare_exchange_weak(word, word - n * ONE, AcquireOrdering, AcquireOrdering) {
                Ok(_) => return Some(Ok(())),
                Err(now) => word = now,
            }
        }
    }

    fn free(&self) -> usize {
        // Ordering: Relaxed: only the count is of interest, and the queue orders this load by its fence.
        self.word.load(Relaxed) / ONE
    }

    #[inline]
    fn put(&self, n: usize) {
        if n == 0 {
            return;
        }
        assert!(n <= Self::MAX_PERMITS, "a semaphore holds at most usize::MAX >> 3 permits");
        // Ordering: SeqCst: Release pairs with the exchange in `take`; the rest is the releaser's half of the
        // handshake with `WaitQueue`.
        let before = self.word.fetch_add(n * ONE, SeqCst);
        if before / ONE > Self::MAX_PERMITS - n {
            // Ordering: Relaxed: this takes back what nobody may rely on.
            self.word.fetch_sub(n * ONE, Relaxed);
            panic!("a semaphore holds at most usize::MAX >> 3 permits");
        }
        self.queue.release(|| self.free());
    }

    fn try_take(&self, n: u32) -> Result<(), TryAcquireError> {
        match self.queue.try_claim(|| self.take(n as usize)) {
            Some(Ok(())) => {
                probe::spend();
                Ok(())
            }
            Some(Err(AcquireError(()))) => Err(TryAcquireError::Closed),
            None if self.is_closed() => Err(TryAcquireError::Closed),
            None => Err(TryAcquireError::NoPermits),
        }
    }

    fn take_blocking(&self, n: u32, deadline: Option<Instant>) -> Result<(), AcquireTimeoutError> {
        let n = n as usize;
        match Waiter::claim_blocking(&self.queue, n, || self.free(), || self.take(n), deadline) {
            Some(Outcome::Taken(Ok(()))) => Ok(()),
            Some(Outcome::Taken(Err(AcquireError(()))) | Outcome::Told(_)) => {
                Err(AcquireTimeoutError::Closed)
            }
            None => Err(AcquireTimeoutError::Timeout),
        }
    }

    /// Waits for a permit.
    ///
    /// # Examples
    /// ```
    /// # use filch_channels::sync::Semaphore;
    /// # futures_lite::future::block_on(async {
    /// let semaphore = Semaphore::new(1);
    /// let permit = semaphore.acquire().await.unwrap();
    /// assert_eq!(semaphore.available_permits(), 0);
    /// drop(permit);
    /// semaphore.close();
    /// assert!(semaphore.acquire().await.is_err());
    /// # });
    /// ```
    ///
    /// # Errors
    /// [`AcquireError`] when the semaphore is closed, or was closed meanwhile.
    ///
    /// # Cancel safety
    /// **Loses its place in line.** No permit is lost.
    #[inline]
    #[track_caller]
    pub fn acquire(&self) -> Acquire<'_> {
        self.acquire_many(1)
    }

    /// Waits for `n` permits, and takes them together.
    ///
    /// With `n == 0` it is ready at once, unless the semaphore is closed.
    ///
    /// # Examples
    /// ```
    /// # use filch_channels::sync::Semaphore;
    /// # futures_lite::future::block_on(async {
    /// let memory = Semaphore::new(64);
    /// let mut block = memory.acquire_many(48).await.unwrap();
    /// assert!(memory.try_acquire_many(32).is_err());
    /// drop(block.split(16));
    /// assert!(memory.try_acquire_many(32).is_ok());
    /// # });
    /// ```
    ///
    /// # Errors
    /// [`AcquireError`] when the semaphore is closed, or was closed meanwhile.
    ///
    /// # Cancel safety
    /// **Loses its place in line.** No permit is lost.
    #[inline]
    #[track_caller]
    pub fn acquire_many(&self, n: u32) -> Acquire<'_> {
        Acquire { inner: Claim::new(self, n) }
    }

    /// Waits for a permit that keeps the semaphore alive, and may be sent to where it is given back.
    ///
    /// # Examples
    /// ```
    /// # use filch_channels::sync::Semaphore;
    /// use std::sync::Arc;
    /// # futures_lite::future::block_on(async {
    /// let semaphore = Arc::new(Semaphore::new(1));
    /// let permit = semaphore.clone().acquire_owned().await.unwrap();
    /// std::thread::spawn(move || drop(permit)).join().unwrap();
    /// assert_eq!(semaphore.available_permits(), 1);
    /// # });
    /// ```
    ///
    /// # Errors
    /// [`AcquireError`] when the semaphore is closed, or was closed meanwhile.
    ///
    /// # Cancel safety
    /// **Loses its place in line.** No permit is lost.
    #[inline]
    #[track_caller]
    pub fn acquire_owned(self: Arc<Self>) -> AcquireOwned {
        self.acquire_many_owned(1)
    }

    /// Waits for `n` permits that keep the semaphore alive.
    ///
    /// # Examples
    /// ```
    /// # use filch_channels::sync::Semaphore;
    /// use std::sync::Arc;
    /// # futures_lite::future::block_on(async {
    /// let semaphore = Arc::new(Semaphore::new(3));
    /// let permits = semaphore.clone().acquire_many_owned(2).await.unwrap();
    /// assert_eq!((permits.num_permits(), semaphore.available_permits()), (2, 1));
    /// # });
    /// ```
    ///
    /// # Errors
    /// [`AcquireError`] when the semaphore is closed, or was closed meanwhile.
    ///
    /// # Cancel safety
    /// **Loses its place in line.** No permit is lost.
    #[inline]
    #[track_caller]
    pub fn acquire_many_owned(self: Arc<Self>, n: u32) -> AcquireOwned {
        AcquireOwned { inner: Claim::new(self, n) }
    }

    /// Takes a permit if one is free.
    ///
    /// # Errors
    /// [`TryAcquireError`] says whether there was none, or never will be.
    pub fn try_acquire(&self) -> Result<SemaphorePermit<'_>, TryAcquireError> {
        self.try_acquire_many(1)
    }

    /// Takes `n` permits if so many are free.
    ///
    /// # Errors
    /// [`TryAcquireError`] says whether there were too few, or never will be enough.
    pub fn try_acquire_many(&self, n: u32) -> Result<SemaphorePermit<'_>, TryAcquireError> {
        self.try_take(n)?;
        Ok(SemaphorePermit { semaphore: self, permits: n as usize })
    }

    /// [`try_acquire`](Self::try_acquire), for a permit that keeps the semaphore alive.
    ///
    /// # Errors
    /// As there.
    pub fn try_acquire_owned(self: Arc<Self>) -> Result<OwnedSemaphorePermit, TryAcquireError> {
        self.try_acquire_many_owned(1)
    }

    /// [`try_acquire_many`](Self::try_acquire_many), for permits that keep the semaphore alive.
    ///
    /// # Errors
    /// As there.
    pub fn try_acquire_many_owned(self: Arc<Self>, n: u32) -> Result<OwnedSemaphorePermit, TryAcquireError> {
        self.try_take(n)?;
        Ok(OwnedSemaphorePermit { semaphore: self, permits: n as usize })
    }

    /// Blocks this thread until a permit is free. Tasks that hold permits need not be disturbed by that.
    ///
    /// # Examples
    /// ```
    /// # use filch_channels::sync::Semaphore;
    /// let semaphore = Semaphore::new(0);
    /// std::thread::scope(|scope| {
    ///     scope.spawn(|| semaphore.acquire_blocking().unwrap().forget());
    ///     semaphore.add_permits(1);
    /// });
    /// assert_eq!(semaphore.available_permits(), 0);
    /// ```
    ///
    /// # Errors
    /// [`AcquireError`] when the semaphore is closed, or was closed meanwhile.
    #[doc(alias = "blocking_acquire")]
    pub fn acquire_blocking(&self) -> Result<SemaphorePermit<'_>, AcquireError> {
        self.acquire_many_blocking(1)
    }

    /// Blocks this thread until `n` permits are free.
    ///
    /// # Errors
    /// [`AcquireError`] when the semaphore is closed, or was closed meanwhile.
    #[doc(alias = "blocking_acquire_many")]
    pub fn acquire_many_blocking(&self, n: u32) -> Result<SemaphorePermit<'_>, AcquireError> {
        self.take_blocking(n, None).map_err(|_| AcquireError(()))?;
        Ok(SemaphorePermit { semaphore: self, permits: n as usize })
    }

    /// [`acquire_blocking`](Self::acquire_blocking), for a permit that keeps the semaphore alive.
    ///
    /// # Errors
    /// As there.
    #[doc(alias = "blocking_acquire_owned")]
    pub fn acquire_owned_blocking(self: Arc<Self>) -> Result<OwnedSemaphorePermit, AcquireError> {
        self.acquire_many_owned_blocking(1)
    }

    /// [`acquire_many_blocking`](Self::acquire_many_blocking), for permits that keep the semaphore alive.
    ///
    /// # Errors
    /// As there.
    #[doc(alias = "blocking_acquire_many_owned")]
    pub fn acquire_many_owned_blocking(
        self: Arc<Self>,
        n: u32,
    ) -> Result<OwnedSemaphorePermit, AcquireError> {
        self.take_blocking(n, None).map_err(|_| AcquireError(()))?;
        Ok(OwnedSemaphorePermit { semaphore: self, permits: n as usize })
    }

    /// Blocks this thread until a permit is free, but no longer than `timeout`.
    ///
    /// `Duration::MAX` means for ever. A task bounds [`acquire`](Self::acquire) with its runtime's timeout
    /// instead.
    ///
    /// # Errors
    /// [`AcquireTimeoutError`] says whether the time was up or the semaphore was closed.
    pub fn acquire_timeout(&self, timeout: Duration) -> Result<SemaphorePermit<'_>, AcquireTimeoutError> {
        self.acquire_many_timeout(1, timeout)
    }

    /// Blocks this thread until `n` permits are free, but no longer than `timeout`.
    ///
    /// # Errors
    /// [`AcquireTimeoutError`] says whether the time was up or the semaphore was closed.
    pub fn acquire_many_timeout(
        &self,
        n: u32,
        timeout: Duration,
    ) -> Result<SemaphorePermit<'_>, AcquireTimeoutError> {
        self.take_blocking(n, deadline_after(timeout))?;
        Ok(SemaphorePermit { semaphore: self, permits: n as usize })
    }

    /// Blocks this thread until a permit is free, but not past `deadline`.
    ///
    /// # Examples
    /// ```
    /// # use filch_channels::sync::{AcquireTimeoutError, Semaphore};
    /// use std::time::{Duration, Instant};
    ///
    /// let semaphore = Semaphore::new(1);
    /// let soon = Instant::now() + Duration::from_millis(1);
    /// let permit = semaphore.acquire_deadline(soon).unwrap();
    /// assert_eq!(semaphore.acquire_deadline(soon).unwrap_err(), AcquireTimeoutError::Timeout);
    /// # drop(permit);
    /// ```
    ///
    /// # Errors
    /// [`AcquireTimeoutError`] says whether the deadline came first or the semaphore was closed.
    pub fn acquire_deadline(&self, deadline: Instant) -> Result<SemaphorePermit<'_>, AcquireTimeoutError> {
        self.acquire_many_deadline(1, deadline)
    }

    /// Blocks this thread until `n` permits are free, but not past `deadline`.
    ///
    /// # Errors
    /// [`AcquireTimeoutError`] says whether the deadline came first or the semaphore was closed.
    pub fn acquire_many_deadline(
        &self,
        n: u32,
        deadline: Instant,
    ) -> Result<SemaphorePermit<'_>, AcquireTimeoutError> {
        self.take_blocking(n, Some(deadline))?;
        Ok(SemaphorePermit { semaphore: self, permits: n as usize })
    }

    /// [`acquire_timeout`](Self::acquire_timeout), for a permit that keeps the semaphore alive.
    ///
    /// # Errors
    /// As there.
    pub fn acquire_owned_timeout(
        self: Arc<Self>,
        timeout: Duration,
    ) -> Result<OwnedSemaphorePermit, AcquireTimeoutError> {
        self.acquire_many_owned_timeout(1, timeout)
    }

    /// [`acquire_deadline`](Self::acquire_deadline), for a permit that keeps the semaphore alive.
    ///
    /// # Errors
    /// As there.
    pub fn acquire_owned_deadline(
        self: Arc<Self>,
        deadline: Instant,
    ) -> Result<OwnedSemaphorePermit, AcquireTimeoutError> {
        self.acquire_many_owned_deadline(1, deadline)
    }

    /// [`acquire_many_deadline`](Self::acquire_many_deadline), for permits that keep the semaphore alive.
    ///
    /// # Errors
    /// As there.
    pub fn acquire_many_owned_deadline(
        self: Arc<Self>,
        n: u32,
        deadline: Instant,
    ) -> Result<OwnedSemaphorePermit, AcquireTimeoutError> {
        self.take_blocking(n, Some(deadline))?;
        Ok(OwnedSemaphorePermit { semaphore: self, permits: n as usize })
    }

    /// [`acquire_many_timeout`](Self::acquire_many_timeout), for permits that keep the semaphore alive.
    ///
    /// # Errors
    /// As there.
    pub fn acquire_many_owned_timeout(
        self: Arc<Self>,
        n: u32,
        timeout: Duration,
    ) -> Result<OwnedSemaphorePermit, AcquireTimeoutError> {
        self.take_blocking(n, deadline_after(timeout))?;
        Ok(OwnedSemaphorePermit { semaphore: self, permits: n as usize })
    }
}

impl fmt::Debug for Semaphore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Semaphore")
            .field("permits", &self.available_permits())
            .field("closed", &self.is_closed())
            .field("waiting", &self.waiting())
            .finish()
    }
}
