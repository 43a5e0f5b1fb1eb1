//! Layer 2. `Lock`: a value that one task or thread has to itself at a time.
//!
//! Owns the type and its methods. The word and the line are in `raw`, the guards in `guard`, the futures in
//! `claim`; `all` takes several, `rank` keeps their order, `notes` says who has them. Taking a free lock is
//! one exchange, giving it back one swap; the rest is plain loads and stores. Called by users, and by
//! `Condition`.

use std::fmt;
use std::panic::Location;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::block::deadline_after;
use crate::guarded::Guarded;
use crate::probe::Holder;

mod all;
mod claim;
mod error;
mod guard;
mod notes;
mod rank;
mod raw;
#[cfg(test)]
mod tests;

pub use all::{lock_all, lock_all_blocking, lock_all_deadline, lock_all_timeout, try_lock_all};
pub use claim::{Locking, LockingOwned};
pub use error::{LockTimeoutError, TryLockError};
pub(crate) use guard::{Granted, Holds};
pub use guard::{LockGuard, MappedLockGuard, OwnedLockGuard, OwnedMappedLockGuard, WholeGuard};
pub use notes::LockStats;
pub(crate) use notes::Notes;
pub(crate) use rank::Form;
pub(crate) use raw::RawLock;

/// A value that one task or thread has to itself at a time.
///
/// Tasks wait for it without blocking their thread, threads block; both stand in the same line. The guard may
/// be kept across an await. Where nobody ever does so, `std::sync::Mutex` is smaller and as fast.
///
/// # Who goes first
/// Whoever unlocks wakes the first in line, and the lock is free for all meanwhile: a newcomer may be
/// quicker. A waiter that was overtaken so 16 times comes next, whoever else wants to. [`Lock::fair`] lets
/// nobody overtake, and pays for it with a switch of tasks for each hand-over.
///
/// # A future in line that nobody polls
/// A task that keeps a future of [`lock`](Self::lock) without polling it, and locks once more, does not wait
/// for itself: what the first future was offered the second takes. Under filch an offer that the task did not
/// take up when its poll ends goes to the next in line, so the task may also wait for *another* task that
/// wants the lock. Other runtimes do not say when a poll ends: there, the next in line waits until the future
/// is polled or dropped.
///
/// # No poison
/// A panic in whoever holds the lock frees it. The value is as the panic left it.
///
/// # Examples
/// ```
/// use std::sync::Arc;
/// use filch_channels::sync::Lock;
///
/// let log = Arc::new(Lock::new(Vec::new()));
/// let thread = {
///     let log = log.clone();
///     std::thread::spawn(move || log.lock_blocking().push("a thread"))
/// };
/// futures_lite::future::block_on(async {
///     log.lock().await.push("a task");
/// });
/// thread.join().unwrap();
/// assert_eq!(log.try_lock().unwrap().len(), 2);
/// ```
///
/// # Cancel safety
/// **Loses its place in line.** A lock that was offered to a future that is dropped goes to the next one.
///
/// # Memory ordering
/// What happened before the lock was given back is visible to whoever takes it afterwards.
pub struct Lock<T: ?Sized> {
    raw: RawLock,
    value: Guarded<T>,
}

/// [`Lock`], by the name that it has elsewhere.
pub type Mutex<T> = Lock<T>;
/// [`LockGuard`], by the name that it has elsewhere.
pub type MutexGuard<'a, T> = LockGuard<'a, T>;
/// [`OwnedLockGuard`], by the name that it has elsewhere.
pub type OwnedMutexGuard<T> = OwnedLockGuard<T>;
/// [`MappedLockGuard`], by the name that it has elsewhere.
pub type MappedMutexGuard<'a, U> = MappedLockGuard<'a, U>;
/// [`OwnedMappedLockGuard`], by the name that it has elsewhere.
pub type OwnedMappedMutexGuard<T, U = T> = OwnedMappedLockGuard<T, U>;

impl<T> Lock<T> {
    /// A lock that is free.
    #[cfg(not(filch_loom))]
    #[must_use]
    pub const fn new(value: T) -> Lock<T> {
        Lock { raw: RawLock::new(None), value: Guarded::new(value) }
    }

    /// The same as [`new`](Self::new), by tokio's name.
    #[cfg(not(filch_loom))]
    #[must_use]
    pub const fn const_new(value: T) -> Lock<T> {
        Lock::new(value)
    }

    /// A lock that is strictly first in, first out: nobody takes it ahead of those who wait.
    ///
    /// # Examples
    /// ```
    /// use std::pin::pin;
    /// use std::task::{Context, Waker};
    /// use filch_channels::sync::Lock;
    ///
    /// let turn = Lock::fair(());
    /// let held = turn.try_lock().unwrap();
    /// let mut first = pin!(turn.lock());
    /// let mut cx = Context::from_waker(Waker::noop());
    /// assert!(first.as_mut().poll(&mut cx).is_pending());
    /// drop(held);
    /// assert!(turn.try_lock().is_err(), "it is the turn of the first");
    /// assert!(first.as_mut().poll(&mut cx).is_ready());
    /// ```
    #[cfg(not(filch_loom))]
    #[must_use]
    pub const fn fair(value: T) -> Lock<T> {
        Lock { raw: RawLock::fair(), value: Guarded::new(value) }
    }

    /// A lock with a place in an order: whoever holds it may wait for locks of *higher* levels only.
    ///
    /// Where everybody takes locks by rising levels, no two can wait for each other. A build with debug
    /// assertions checks that: whoever waits for a ranked lock while holding one of the same or of a higher
    /// level panics, and the message names the lines that took the one and want the other. Other builds check
    /// nothing, and it costs nothing there. Locks without a level take no part.
    ///
    /// *Whoever* is a task, under filch: all futures that it polls side by side count as one holder, and its
    /// guards count for it until they are dropped, wherever they are. It is a thread where a form that blocks
    /// is called outside of tasks. A task of another runtime cannot be told from its neighbours: what it
    /// takes by `lock()` or `try_lock()` is not checked, and it should not block. A `try_lock` is never
    /// refused because of the order, as it does not wait, but what it took counts.
    ///
    /// # Examples
    /// ```
    /// use filch_channels::sync::Lock;
    ///
    /// static ACCOUNTS: Lock<Vec<u32>> = Lock::ranked(1, Vec::new());
    /// static LOG: Lock<Vec<String>> = Lock::ranked(2, Vec::new());
    ///
    /// let mut accounts = ACCOUNTS.lock_blocking();
    /// LOG.lock_blocking().push("opened one".to_owned());
    /// accounts.push(100);
    /// drop(accounts);
    ///
    /// let log = LOG.lock_blocking();
    /// let wrong = std::panic::catch_unwind(|| drop(ACCOUNTS.lock_blocking()));
    /// assert_eq!(wrong.is_err(), cfg!(debug_assertions));
    /// # drop(log);
    /// ```
    #[cfg(not(filch_loom))]
    #[must_use]
    pub const fn ranked(level: u32, value: T) -> Lock<T> {
        Lock { raw: RawLock::new(Some(level)), value: Guarded::new(value) }
    }

    /// See the one of the shipped code.
    #[cfg(filch_loom)]
    #[track_caller]
    pub fn new(value: T) -> Lock<T> {
        Lock { raw: RawLock::new(None), value: Guarded::new(value) }
    }

    /// See the one of the shipped code.
    #[cfg(filch_loom)]
    #[track_caller]
    pub fn fair(value: T) -> Lock<T> {
        Lock { raw: RawLock::fair(), value: Guarded::new(value) }
    }

    /// The value, without a lock.
    pub fn into_inner(self) -> T {
        self.value.into_inner()
    }
}

impl<T: ?Sized> Lock<T> {
    /// The value. Having the lock by `&mut` is having it to oneself, so nothing is locked.
    pub fn get_mut(&mut self) -> &mut T {
        self.value.get_mut()
    }

    /// Waits for the lock.
    ///
    /// # Examples
    /// ```
    /// # use filch_channels::sync::Lock;
    /// # futures_lite::future::block_on(async {
    /// let lock = Lock::new(1);
    /// *lock.lock().await += 1;
    /// assert_eq!(*lock.lock().await, 2);
    /// # });
    /// ```
    ///
    /// # Panics
    /// When the lock is [ranked](Self::ranked) and out of order.
    ///
    /// # Cancel safety
    /// **Loses its place in line.** A lock that was offered to it goes to the next one.
    #[inline]
    #[track_caller]
    pub fn lock(&self) -> Locking<'_, T> {
        Locking::new(self, Location::caller())
    }

    /// Takes the lock if it is free, and nobody comes first.
    ///
    /// # Errors
    /// [`TryLockError`] when it is not.
    #[inline]
    #[track_caller]
    pub fn try_lock(&self) -> Result<LockGuard<'_, T>, TryLockError> {
        if self.raw.try_take(Location::caller()) {
            Ok(LockGuard::new(Granted::new(self)))
        } else {
            Err(TryLockError(()))
        }
    }

    /// Blocks this thread until it has the lock.
    ///
    /// A task should not: whoever holds the lock may need its thread.
    ///
    /// # Panics
    /// When the lock is [ranked](Self::ranked) and out of order.
    #[track_caller]
    pub fn lock_blocking(&self) -> LockGuard<'_, T> {
        self.lock_until(None, Location::caller()).unwrap_or_else(|_| unreachable!("there is no deadline"))
    }

    /// The same as [`lock_blocking`](Self::lock_blocking), by tokio's name.
    ///
    /// # Panics
    /// As there.
    #[track_caller]
    pub fn blocking_lock(&self) -> LockGuard<'_, T> {
        self.lock_blocking()
    }

    /// Blocks this thread until it has the lock, but no longer than `timeout`.
    ///
    /// `Duration::MAX` means for ever. A task bounds [`lock`](Self::lock) with its runtime's timeout instead:
    /// nothing is lost when that drops it.
    ///
    /// # Examples
    /// ```
    /// use std::time::Duration;
    /// use filch_channels::sync::Lock;
    ///
    /// let lock = Lock::new(());
    /// let held = lock.lock_timeout(Duration::from_secs(1)).unwrap();
    /// assert!(lock.lock_timeout(Duration::from_millis(1)).is_err());
    /// # drop(held);
    /// ```
    ///
    /// # Errors
    /// [`LockTimeoutError`] when the time was up. Nothing is left in line.
    ///
    /// # Panics
    /// When the lock is [ranked](Self::ranked) and out of order.
    #[track_caller]
    pub fn lock_timeout(&self, timeout: Duration) -> Result<LockGuard<'_, T>, LockTimeoutError> {
        self.lock_until(deadline_after(timeout), Location::caller())
    }

    /// Blocks this thread until it has the lock, but not past `deadline`.
    ///
    /// # Errors
    /// [`LockTimeoutError`] when the deadline came first. Nothing is left in line.
    ///
    /// # Panics
    /// When the lock is [ranked](Self::ranked) and out of order.
    #[track_caller]
    pub fn lock_deadline(&self, deadline: Instant) -> Result<LockGuard<'_, T>, LockTimeoutError> {
        self.lock_until(Some(deadline), Location::caller())
    }

    #[track_caller]
    fn lock_until(
        &self,
        deadline: Option<Instant>,
        location: &'static Location<'static>,
    ) -> Result<LockGuard<'_, T>, LockTimeoutError> {
        self.raw.check_rank(Form::Blocking, location);
        if self.raw.take_blocking(deadline, location) {
            Ok(LockGuard::new(Granted::new(self)))
        } else {
            Err(LockTimeoutError(()))
        }
    }

    /// Waits for the lock, for a guard that keeps it alive and borrows nothing.
    ///
    /// # Examples
    /// ```
    /// use std::sync::Arc;
    /// use filch_channels::sync::Lock;
    ///
    /// # futures_lite::future::block_on(async {
    /// let lock = Arc::new(Lock::new(1));
    /// let guard = lock.clone().lock_owned().await;
    /// let doubled = std::thread::spawn(move || *guard * 2).join().unwrap();
    /// assert_eq!(doubled, 2);
    /// assert!(!lock.is_locked());
    /// # });
    /// ```
    ///
    /// # Panics
    /// When the lock is [ranked](Self::ranked) and out of order.
    ///
    /// # Cancel safety
    /// **Loses its place in line.** A lock that was offered to it goes to the next one.
    #[inline]
    #[track_caller]
    pub fn lock_owned(self: Arc<Self>) -> LockingOwned<T> {
        LockingOwned::new(self, Location::caller())
    }

    /// [`try_lock`](Self::try_lock), for a guard that keeps the lock alive.
    ///
    /// # Errors
    /// As there.
    #[track_caller]
    pub fn try_lock_owned(self: Arc<Self>) -> Result<OwnedLockGuard<T>, TryLockError> {
        if self.raw.try_take(Location::caller()) {
            Ok(OwnedLockGuard::new(Granted::new(self)))
        } else {
            Err(TryLockError(()))
        }
    }

    /// [`lock_blocking`](Self::lock_blocking), for a guard that keeps the lock alive.
    ///
    /// # Panics
    /// As there.
    #[track_caller]
    pub fn lock_owned_blocking(self: Arc<Self>) -> OwnedLockGuard<T> {
        self.lock_owned_until(None, Location::caller())
            .unwrap_or_else(|_| unreachable!("there is no deadline"))
    }

    /// The same as [`lock_owned_blocking`](Self::lock_owned_blocking), by tokio's name.
    ///
    /// # Panics
    /// As there.
    #[track_caller]
    pub fn blocking_lock_owned(self: Arc<Self>) -> OwnedLockGuard<T> {
        self.lock_owned_blocking()
    }

    /// [`lock_timeout`](Self::lock_timeout), for a guard that keeps the lock alive.
    ///
    /// # Errors
    /// As there.
    ///
    /// # Panics
    /// As there.
    #[track_caller]
    pub fn lock_owned_timeout(
        self: Arc<Self>,
        timeout: Duration,
    ) -> Result<OwnedLockGuard<T>, LockTimeoutError> {
        self.lock_owned_until(deadline_after(timeout), Location::caller())
    }

    /// [`lock_deadline`](Self::lock_deadline), for a guard that keeps the lock alive.
    ///
    /// # Errors
    /// As there.
    ///
    /// # Panics
    /// As there.
    #[track_caller]
    pub fn lock_owned_deadline(
        self: Arc<Self>,
        deadline: Instant,
    ) -> Result<OwnedLockGuard<T>, LockTimeoutError> {
        self.lock_owned_until(Some(deadline), Location::caller())
    }

    #[track_caller]
    fn lock_owned_until(
        self: Arc<Self>,
        deadline: Option<Instant>,
        location: &'static Location<'static>,
    ) -> Result<OwnedLockGuard<T>, LockTimeoutError> {
        self.raw.check_rank(Form::Blocking, location);
        if self.raw.take_blocking(deadline, location) {
            Ok(OwnedLockGuard::new(Granted::new(self)))
        } else {
            Err(LockTimeoutError(()))
        }
    }

    /// Whether somebody has the lock now. It may be otherwise before you look twice.
    pub fn is_locked(&self) -> bool {
        self.raw.is_locked()
    }

    /// Who has the lock now, and since which line; `None` when it is free. For reports and logs.
    ///
    /// # Examples
    /// ```
    /// use filch_channels::sync::Lock;
    ///
    /// let lock = Lock::new(());
    /// let (held, line) = (lock.try_lock().unwrap(), line!());
    /// assert_eq!(lock.holder().unwrap().location.unwrap().line(), line);
    /// drop(held);
    /// assert_eq!(lock.holder(), None);
    /// ```
    pub fn holder(&self) -> Option<Holder> {
        self.raw.holder()
    }

    /// How busy the lock was so far. The counts are always kept, as they cost next to nothing.
    ///
    /// # Examples
    /// ```
    /// use filch_channels::sync::Lock;
    ///
    /// let lock = Lock::new(0);
    /// for _ in 0..3 {
    ///     *lock.try_lock().unwrap() += 1;
    /// }
    /// let stats = lock.stats();
    /// assert_eq!((stats.taken, stats.waited, stats.waiting), (3, 0, 0));
    /// ```
    pub fn stats(&self) -> LockStats {
        self.raw.stats()
    }
}

impl<T: Default> Default for Lock<T> {
    fn default() -> Lock<T> {
        Lock::new(T::default())
    }
}

impl<T> From<T> for Lock<T> {
    fn from(value: T) -> Lock<T> {
        Lock::new(value)
    }
}

/// Shows the value if the lock is free, and `<locked>` if not. It never waits, and does not count as taking
/// the lock.
impl<T: ?Sized + fmt::Debug> fmt::Debug for Lock<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut out = f.debug_struct("Lock");
        match self.raw.try_peek().then(|| LockGuard::new(Granted::new(self))) {
            Some(guard) => out.field("value", &&*guard),
            None => out.field("value", &format_args!("<locked>")),
        };
        out.finish_non_exhaustive()
    }
}
