//! Layer 3. `RLock`: a lock that its owner can take again.
//!
//! Owns the type and its methods. Who owns it and how often is in `raw`, the guards in `guard`, the futures in
//! `claim`. Called by users.

use std::fmt;
use std::panic::Location;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::block::deadline_after;
use crate::guarded::Guarded;
use crate::lock::{LockTimeoutError, TryLockError};
use crate::probe::Holder;

mod claim;
mod guard;
mod raw;
#[cfg(test)]
mod tests;

pub use claim::{RLocking, RLockingOwned};
pub use guard::{OwnedRLockGuard, RLockGuard};
use raw::RawRLock;

/// A lock that its owner can take again, as often as it likes. It is free when all guards are dropped.
///
/// For code that calls itself, or other code that takes the same lock. As its owner may have several guards at a
/// time, they give a `&T`: keep atomics or a `std::sync::Mutex` in it, or a `Cell` in an
/// [`unsync`](Self::unsync) one. Where you can, prefer a [`Lock`](crate::sync::Lock), and functions that take
/// its guard.
///
/// # Who the owner is
/// - A **task**, under filch. It may take the lock again in any form, from any future that it polls, and on
///   whichever thread it runs.
/// - A **thread**, outside of tasks, by the forms that do not await. Do not use these forms in tasks of another
///   runtime and keep the guard across an await: every task on that thread would own the lock.
/// - A task of **another runtime** cannot be told from others for sure, so the lock is never granted to it
///   twice. An await in a task that seems to have it already, by its waker, is refused by a [`ReentryError`]
///   rather than never to end. Tasks that share a waker are refused as well.
///
/// # Who goes first
/// As for a [`Lock`](crate::sync::Lock#who-goes-first), but for the owner, who does not wait. There is no poison.
///
/// # Examples
/// ```
/// use std::sync::atomic::{AtomicU32, Ordering::Relaxed};
/// use filch_channels::sync::RLock;
///
/// static TOTAL: RLock<AtomicU32> = RLock::new(AtomicU32::new(0));
///
/// fn add(n: u32) {
///     let total = TOTAL.lock_blocking();
///     total.fetch_add(n, Relaxed);
///     if n > 1 {
///         add(n - 1);
///     }
/// }
///
/// add(4);
/// assert_eq!(TOTAL.lock_blocking().load(Relaxed), 10);
/// ```
///
/// # Cancel safety
/// **Loses its place in line.** A lock that was offered to a future that is dropped goes to the next one.
///
/// # Memory ordering
/// What happened before the last guard was dropped is visible to the next owner.
pub struct RLock<T: ?Sized> {
    raw: RawRLock,
    value: Guarded<T>,
}

impl<T> RLock<T> {
    /// A lock that is free, for a value that several threads may look at.
    #[cfg(not(filch_loom))]
    #[must_use]
    pub const fn new(value: T) -> RLock<T>
    where
        T: Sync,
    {
        RLock { raw: RawRLock::new(false), value: Guarded::new(value) }
    }

    /// A lock for a value that only one thread at a time may look at, such as a `Cell`.
    ///
    /// Its guards do not leave their thread. So a task that keeps one cannot be moved to another thread either,
    /// and is refused the lock should it be there all the same.
    ///
    /// # Examples
    /// ```
    /// use std::cell::Cell;
    /// use filch_channels::sync::RLock;
    ///
    /// let depth = RLock::unsync(Cell::new(0));
    /// let outer = depth.lock_blocking();
    /// let inner = depth.lock_blocking();
    /// outer.set(outer.get() + 1);
    /// inner.set(inner.get() + 1);
    /// assert_eq!((outer.get(), depth.depth()), (2, 2));
    /// ```
    /// A `Cell` is not for [`new`](Self::new), whose guards may be on several threads:
    /// ```compile_fail,E0277
    /// let lock = filch_channels::sync::RLock::new(std::cell::Cell::new(0));
    /// ```
    /// Nor do its guards go to another thread:
    /// ```compile_fail,E0277
    /// let lock = filch_channels::sync::RLock::unsync(std::cell::Cell::new(0));
    /// let guard = lock.lock_blocking();
    /// std::thread::scope(|scope| drop(scope.spawn(move || guard.set(1))));
    /// ```
    #[cfg(not(filch_loom))]
    #[must_use]
    pub const fn unsync(value: T) -> RLock<T> {
        RLock { raw: RawRLock::new(true), value: Guarded::new(value) }
    }

    /// See the one of the shipped code.
    #[cfg(filch_loom)]
    #[track_caller]
    pub fn new(value: T) -> RLock<T>
    where
        T: Sync,
    {
        RLock { raw: RawRLock::new(false), value: Guarded::new(value) }
    }

    /// See the one of the shipped code.
    #[cfg(filch_loom)]
    #[track_caller]
    pub fn unsync(value: T) -> RLock<T> {
        RLock { raw: RawRLock::new(true), value: Guarded::new(value) }
    }

    /// The value, without a lock.
    pub fn into_inner(self) -> T {
        self.value.into_inner()
    }
}

impl<T: ?Sized> RLock<T> {
    /// The value. Having the lock by `&mut` is having it to oneself, so nothing is locked.
    pub fn get_mut(&mut self) -> &mut T {
        self.value.get_mut()
    }

    /// Waits for the lock; does not wait in a task that has it.
    ///
    /// # Examples
    /// ```
    /// use filch_channels::sync::RLock;
    ///
    /// # futures_lite::future::block_on(async {
    /// let lock = RLock::new("value");
    /// let guard = lock.lock().await.unwrap();
    /// // Under filch this is granted; here nobody says which task this is.
    /// assert!(lock.lock().await.is_err());
    /// drop(guard);
    /// assert!(lock.lock().await.is_ok());
    /// # });
    /// ```
    ///
    /// # Errors
    /// [`ReentryError`], under runtimes other than filch, when it would wait for its own task, as far as can be
    /// told. Under filch only for an [`unsync`](Self::unsync) lock of which the task has left a guard on another
    /// thread.
    ///
    /// # Panics
    /// When there are 65,535 guards.
    ///
    /// # Cancel safety
    /// **Loses its place in line.** A lock that was offered to it goes to the next one.
    #[track_caller]
    pub fn lock(&self) -> RLocking<'_, T> {
        RLocking::new(self, Location::caller())
    }

    /// Takes the lock if it is free, and nobody comes first, or if its owner asks.
    ///
    /// # Errors
    /// [`TryLockError`] when it is not.
    ///
    /// # Panics
    /// When there are 65,535 guards.
    #[track_caller]
    pub fn try_lock(&self) -> Result<RLockGuard<'_, T>, TryLockError> {
        if self.raw.try_take(Location::caller()) { Ok(RLockGuard::new(self)) } else { Err(TryLockError(())) }
    }

    /// Blocks this thread until it has the lock; does not wait if it, or the task it runs, has it.
    ///
    /// # Panics
    /// When there are 65,535 guards; or for an [`unsync`](Self::unsync) lock of which this task has left a guard
    /// on another thread.
    #[track_caller]
    pub fn lock_blocking(&self) -> RLockGuard<'_, T> {
        let taken = self.raw.take_blocking(None, Location::caller());
        debug_assert!(taken, "there was no deadline");
        RLockGuard::new(self)
    }

    /// [`lock_blocking`](Self::lock_blocking), but no longer than `timeout`.
    ///
    /// `Duration::MAX` means for ever. A task bounds [`lock`](Self::lock) with its runtime's timeout instead.
    ///
    /// # Errors
    /// [`LockTimeoutError`] when the time was up. Nothing is left in line.
    ///
    /// # Panics
    /// As there.
    #[track_caller]
    pub fn lock_timeout(&self, timeout: Duration) -> Result<RLockGuard<'_, T>, LockTimeoutError> {
        self.lock_until(deadline_after(timeout), Location::caller())
    }

    /// [`lock_blocking`](Self::lock_blocking), but not past `deadline`.
    ///
    /// # Errors
    /// [`LockTimeoutError`] when the deadline came first. Nothing is left in line.
    ///
    /// # Panics
    /// As there.
    #[track_caller]
    pub fn lock_deadline(&self, deadline: Instant) -> Result<RLockGuard<'_, T>, LockTimeoutError> {
        self.lock_until(Some(deadline), Location::caller())
    }

    #[track_caller]
    fn lock_until(
        &self,
        deadline: Option<Instant>,
        location: &'static Location<'static>,
    ) -> Result<RLockGuard<'_, T>, LockTimeoutError> {
        if self.raw.take_blocking(deadline, location) {
            Ok(RLockGuard::new(self))
        } else {
            Err(LockTimeoutError(()))
        }
    }

    /// [`lock`](Self::lock), for a guard that keeps the lock alive and borrows nothing.
    ///
    /// # Examples
    /// ```
    /// use std::sync::Arc;
    /// use filch_channels::sync::RLock;
    ///
    /// # futures_lite::future::block_on(async {
    /// let lock = Arc::new(RLock::new(1));
    /// let guard = lock.clone().lock_owned().await.unwrap();
    /// drop(lock);
    /// assert_eq!(*guard, 1);
    /// # });
    /// ```
    ///
    /// # Errors
    /// As there.
    ///
    /// # Panics
    /// As there.
    ///
    /// # Cancel safety
    /// **Loses its place in line.** A lock that was offered to it goes to the next one.
    #[track_caller]
    pub fn lock_owned(self: Arc<Self>) -> RLockingOwned<T> {
        RLockingOwned::new(self, Location::caller())
    }

    /// [`try_lock`](Self::try_lock), for a guard that keeps the lock alive.
    ///
    /// # Errors
    /// As there.
    ///
    /// # Panics
    /// As there.
    #[track_caller]
    pub fn try_lock_owned(self: Arc<Self>) -> Result<OwnedRLockGuard<T>, TryLockError> {
        if self.raw.try_take(Location::caller()) {
            Ok(OwnedRLockGuard::new(self))
        } else {
            Err(TryLockError(()))
        }
    }

    /// [`lock_blocking`](Self::lock_blocking), for a guard that keeps the lock alive.
    ///
    /// # Panics
    /// As there.
    #[track_caller]
    pub fn lock_owned_blocking(self: Arc<Self>) -> OwnedRLockGuard<T> {
        let taken = self.raw.take_blocking(None, Location::caller());
        debug_assert!(taken, "there was no deadline");
        OwnedRLockGuard::new(self)
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
    ) -> Result<OwnedRLockGuard<T>, LockTimeoutError> {
        if self.raw.take_blocking(deadline_after(timeout), Location::caller()) {
            Ok(OwnedRLockGuard::new(self))
        } else {
            Err(LockTimeoutError(()))
        }
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
    ) -> Result<OwnedRLockGuard<T>, LockTimeoutError> {
        if self.raw.take_blocking(Some(deadline), Location::caller()) {
            Ok(OwnedRLockGuard::new(self))
        } else {
            Err(LockTimeoutError(()))
        }
    }

    /// Whether somebody has the lock now. It may be otherwise before you look twice.
    pub fn is_locked(&self) -> bool {
        self.depth() != 0
    }

    /// How many guards there are now.
    pub fn depth(&self) -> usize {
        self.raw.depth()
    }

    /// Who has the lock now, and since which line; `None` when it is free. For reports and logs.
    pub fn holder(&self) -> Option<Holder> {
        self.raw.holder()
    }
}

impl<T: Default + Sync> Default for RLock<T> {
    fn default() -> RLock<T> {
        RLock::new(T::default())
    }
}

impl<T: Sync> From<T> for RLock<T> {
    fn from(value: T) -> RLock<T> {
        RLock::new(value)
    }
}

/// Shows how many guards there are; not the value, for which it would have to be taken.
impl<T: ?Sized> fmt::Debug for RLock<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RLock")
            .field("depth", &self.depth())
            .field("holder", &self.holder())
            .finish_non_exhaustive()
    }
}

/// The lock was refused to a task that seems to have it.
///
/// Under runtimes other than filch nobody says which task this is; all that is known is that whoever has the
/// lock would be woken by the same waker.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ReentryError(());

impl fmt::Display for ReentryError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the lock cannot be taken again here, and this task seems to have it already")
    }
}

impl std::error::Error for ReentryError {}
