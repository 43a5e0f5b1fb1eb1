//! Layer 3. `RwLock`: a value that many read at a time, or one writes.
//!
//! Owns the type and its methods. The units and the policies are in `raw`, the grants and guards in `guard`
//! and `owned`, the futures in `claim`. The surface is tokio's, with upgradable access, policies and forms for
//! blocking threads added. Called by users.

use std::fmt;
use std::panic::Location;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::block::deadline_after;
use crate::guarded::Guarded;
use crate::lock::{LockTimeoutError, TryLockError};

mod claim;
mod guard;
mod owned;
mod raw;
#[cfg(test)]
mod tests;

pub use claim::{
    Reading, ReadingOwned, ReadingUpgradable, ReadingUpgradableOwned, Upgrading, UpgradingOwned, Writing,
    WritingOwned,
};
use guard::Granted;
pub use guard::{RwLockMappedWriteGuard, RwLockReadGuard, RwLockUpgradableReadGuard, RwLockWriteGuard};
pub use owned::{
    OwnedRwLockMappedWriteGuard, OwnedRwLockReadGuard, OwnedRwLockUpgradableReadGuard, OwnedRwLockWriteGuard,
};
pub use raw::RwLockPolicy;
use raw::{Access, RawRwLock};

/// A value that many tasks and threads read at a time, or one writes.
///
/// There are three kinds of access: to *read*, beside other readers; to *write*, alone; and to read
/// *upgradably*, which is beside readers, but alone of its kind, and can go on to write without anybody else
/// writing in between. Guards may be kept across an await.
///
/// Prefer a [`Lock`](crate::sync::Lock) unless many read at once and keep the lock for long.
///
/// # Who goes first
/// A [policy](RwLockPolicy) says: first come, first served, unless readers or writers are preferred. So a
/// reader that has come behind a waiting writer waits, even while others read; whoever reads already should not
/// ask to read once more, as it may wait for a writer that waits for it.
///
/// Futures in line that nobody polls keep out others no longer than the docs of
/// [`Lock`](crate::sync::Lock#a-future-in-line-that-nobody-polls) say. There is no poison.
///
/// # Examples
/// ```
/// use filch_channels::sync::RwLock;
///
/// # futures_lite::future::block_on(async {
/// let config = RwLock::new(String::from("blue"));
/// {
///     let one = config.read().await;
///     let two = config.read().await;
///     assert_eq!(*one, *two);
/// }
/// config.write().await.push_str(" and green");
/// assert_eq!(config.into_inner(), "blue and green");
/// # });
/// ```
///
/// # Cancel safety
/// **Loses its place in line.** What was offered to a future that is dropped goes to the next one.
///
/// # Memory ordering
/// What a writer did before it gave the lock back is visible to whoever reads or writes afterwards, and what
/// readers did to whoever writes afterwards.
pub struct RwLock<T: ?Sized> {
    raw: RawRwLock,
    value: Guarded<T>,
}

// SAFETY: `Guarded` asks that the value may be sent, as writers on other threads have it for a while. Readers
// on several threads have it at the same time, so it has to be `Sync` too.
unsafe impl<T: ?Sized + Send + Sync> Sync for RwLock<T> {}

impl<T> RwLock<T> {
    /// A lock that serves readers and writers in the order in which they come.
    #[cfg(not(filch_loom))]
    #[must_use]
    pub const fn new(value: T) -> RwLock<T> {
        RwLock::with_policy(value, RwLockPolicy::Fair)
    }

    /// The same as [`new`](Self::new), by tokio's name.
    #[cfg(not(filch_loom))]
    #[must_use]
    pub const fn const_new(value: T) -> RwLock<T> {
        RwLock::new(value)
    }

    /// A lock that prefers readers or writers, or neither.
    ///
    /// # Examples
    /// ```
    /// use filch_channels::sync::{RwLock, RwLockPolicy};
    ///
    /// static ROUTES: RwLock<Vec<&str>> = RwLock::with_policy(Vec::new(), RwLockPolicy::WritersFirst);
    ///
    /// ROUTES.write_blocking().push("/");
    /// assert_eq!(ROUTES.read_blocking().len(), 1);
    /// assert_eq!(ROUTES.policy(), RwLockPolicy::WritersFirst);
    /// ```
    #[cfg(not(filch_loom))]
    #[must_use]
    pub const fn with_policy(value: T, policy: RwLockPolicy) -> RwLock<T> {
        RwLock { raw: RawRwLock::new(policy), value: Guarded::new(value) }
    }

    /// See the one of the shipped code.
    #[cfg(filch_loom)]
    #[track_caller]
    pub fn new(value: T) -> RwLock<T> {
        RwLock::with_policy(value, RwLockPolicy::Fair)
    }

    /// See the one of the shipped code.
    #[cfg(filch_loom)]
    #[track_caller]
    pub fn with_policy(value: T, policy: RwLockPolicy) -> RwLock<T> {
        RwLock { raw: RawRwLock::new(policy), value: Guarded::new(value) }
    }

    /// The value, without a lock.
    pub fn into_inner(self) -> T {
        self.value.into_inner()
    }
}

/// The ways to one kind of access.
macro_rules! access {
    ($access:ident, $what:literal, $owned_what:literal,
     $name:ident, $try_:ident, $blocking:ident, $timeout:ident, $deadline:ident => $future:ident, $guard:ident;
     $name_owned:ident, $try_owned:ident, $blocking_owned:ident, $timeout_owned:ident, $deadline_owned:ident
        => $future_owned:ident, $guard_owned:ident) => {
        #[doc = concat!("Waits for ", $what, ".")]
        ///
        /// # Examples
        /// ```
        /// # use filch_channels::sync::RwLock;
        /// # futures_lite::future::block_on(async {
        /// let lock = RwLock::new(1);
        #[doc = concat!("assert_eq!(*lock.", stringify!($name), "().await, 1);")]
        /// # });
        /// ```
        ///
        /// # Cancel safety
        /// **Loses its place in line.** What was offered to it goes to the next one.
        #[inline]
        #[track_caller]
        pub fn $name(&self) -> $future<'_, T> {
            $future::new(self, Location::caller())
        }

        #[doc = concat!("Takes ", $what, ", if it is to be had without waiting.")]
        ///
        /// # Errors
        /// [`TryLockError`] when it is not.
        #[inline]
        pub fn $try_(&self) -> Result<$guard<'_, T>, TryLockError> {
            self.raw
                .try_take(Access::$access)
                .then(|| $guard::new(Granted::new(self)))
                .ok_or(TryLockError(()))
        }

        #[doc = concat!("Blocks this thread until it has ", $what, ".")]
        pub fn $blocking(&self) -> $guard<'_, T> {
            let taken = self.raw.take_blocking(Access::$access, None);
            debug_assert!(taken, "there was no deadline");
            $guard::new(Granted::new(self))
        }

        #[doc = concat!("Blocks this thread until it has ", $what, ", but no longer than `timeout`.")]
        ///
        /// `Duration::MAX` means for ever. A task bounds the async form with its runtime's timeout instead.
        ///
        /// # Errors
        /// [`LockTimeoutError`] when the time was up. Nothing is left in line.
        pub fn $timeout(&self, timeout: Duration) -> Result<$guard<'_, T>, LockTimeoutError> {
            self.until(Access::$access, deadline_after(timeout))?;
            Ok($guard::new(Granted::new(self)))
        }

        #[doc = concat!("Blocks this thread until it has ", $what, ", but not past `deadline`.")]
        ///
        /// # Errors
        /// [`LockTimeoutError`] when the deadline came first. Nothing is left in line.
        pub fn $deadline(&self, deadline: Instant) -> Result<$guard<'_, T>, LockTimeoutError> {
            self.until(Access::$access, Some(deadline))?;
            Ok($guard::new(Granted::new(self)))
        }

        #[doc = concat!("Waits for ", $owned_what, ".")]
        ///
        /// # Examples
        /// ```
        /// # use std::sync::Arc;
        /// # use filch_channels::sync::RwLock;
        /// # futures_lite::future::block_on(async {
        /// let lock = Arc::new(RwLock::new(1));
        #[doc = concat!("assert_eq!(*lock.clone().", stringify!($name_owned), "().await, 1);")]
        /// # });
        /// ```
        ///
        /// # Cancel safety
        /// **Loses its place in line.** What was offered to it goes to the next one.
        #[inline]
        #[track_caller]
        pub fn $name_owned(self: Arc<Self>) -> $future_owned<T> {
            $future_owned::new(self, Location::caller())
        }

        #[doc = concat!("Takes ", $owned_what, ", if it is to be had without waiting.")]
        ///
        /// # Errors
        /// [`TryLockError`] when it is not.
        pub fn $try_owned(self: Arc<Self>) -> Result<$guard_owned<T>, TryLockError> {
            if self.raw.try_take(Access::$access) {
                Ok($guard_owned::new(Granted::new(self)))
            } else {
                Err(TryLockError(()))
            }
        }

        #[doc = concat!("Blocks this thread until it has ", $owned_what, ".")]
        pub fn $blocking_owned(self: Arc<Self>) -> $guard_owned<T> {
            let taken = self.raw.take_blocking(Access::$access, None);
            debug_assert!(taken, "there was no deadline");
            $guard_owned::new(Granted::new(self))
        }

        #[doc = concat!("Blocks this thread until it has ", $owned_what, ", but no longer than `timeout`.")]
        ///
        /// # Errors
        /// [`LockTimeoutError`] when the time was up. Nothing is left in line.
        pub fn $timeout_owned(
            self: Arc<Self>,
            timeout: Duration,
        ) -> Result<$guard_owned<T>, LockTimeoutError> {
            self.until(Access::$access, deadline_after(timeout))?;
            Ok($guard_owned::new(Granted::new(self)))
        }

        #[doc = concat!("Blocks this thread until it has ", $owned_what, ", but not past `deadline`.")]
        ///
        /// # Errors
        /// [`LockTimeoutError`] when the deadline came first. Nothing is left in line.
        pub fn $deadline_owned(
            self: Arc<Self>,
            deadline: Instant,
        ) -> Result<$guard_owned<T>, LockTimeoutError> {
            self.until(Access::$access, Some(deadline))?;
            Ok($guard_owned::new(Granted::new(self)))
        }
    };
}

impl<T: ?Sized> RwLock<T> {
    access! {
        Read, "access to read", "access to read that keeps the lock alive",
        read, try_read, read_blocking, read_timeout, read_deadline => Reading, RwLockReadGuard;
        read_owned, try_read_owned, read_owned_blocking, read_owned_timeout, read_owned_deadline
            => ReadingOwned, OwnedRwLockReadGuard
    }

    access! {
        Upgradable, "access to read that can be upgraded",
        "access to read that can be upgraded and keeps the lock alive",
        upgradable_read, try_upgradable_read, upgradable_read_blocking, upgradable_read_timeout,
        upgradable_read_deadline => ReadingUpgradable, RwLockUpgradableReadGuard;
        upgradable_read_owned, try_upgradable_read_owned, upgradable_read_owned_blocking,
        upgradable_read_owned_timeout, upgradable_read_owned_deadline
            => ReadingUpgradableOwned, OwnedRwLockUpgradableReadGuard
    }

    access! {
        Write, "access to write", "access to write that keeps the lock alive",
        write, try_write, write_blocking, write_timeout, write_deadline => Writing, RwLockWriteGuard;
        write_owned, try_write_owned, write_owned_blocking, write_owned_timeout, write_owned_deadline
            => WritingOwned, OwnedRwLockWriteGuard
    }

    /// The same as [`read_blocking`](Self::read_blocking), by tokio's name.
    pub fn blocking_read(&self) -> RwLockReadGuard<'_, T> {
        self.read_blocking()
    }

    /// The same as [`write_blocking`](Self::write_blocking), by tokio's name.
    pub fn blocking_write(&self) -> RwLockWriteGuard<'_, T> {
        self.write_blocking()
    }

    fn until(&self, access: Access, deadline: Option<Instant>) -> Result<(), LockTimeoutError> {
        if self.raw.take_blocking(access, deadline) { Ok(()) } else { Err(LockTimeoutError(())) }
    }

    /// The value. Having the lock by `&mut` is having it to oneself, so nothing is locked.
    pub fn get_mut(&mut self) -> &mut T {
        self.value.get_mut()
    }

    /// Who goes first.
    pub fn policy(&self) -> RwLockPolicy {
        self.raw.policy()
    }
}

impl<T: Default> Default for RwLock<T> {
    fn default() -> RwLock<T> {
        RwLock::new(T::default())
    }
}

impl<T> From<T> for RwLock<T> {
    fn from(value: T) -> RwLock<T> {
        RwLock::new(value)
    }
}

/// Shows the value if it can be read without waiting, and `<locked>` if not.
impl<T: ?Sized + fmt::Debug> fmt::Debug for RwLock<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut out = f.debug_struct("RwLock");
        match self.try_read() {
            Ok(guard) => out.field("value", &&*guard),
            Err(_) => out.field("value", &format_args!("<locked>")),
        };
        out.field("policy", &self.policy()).field("waiting", &self.raw.waiting()).finish()
    }
}
