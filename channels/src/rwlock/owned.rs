//! Layer 3, rwlock. The guards that keep their lock alive, so that they borrow nothing.
//!
//! Owns the counted twins of the guards in `guard`, which has the grants that both are made of. Called by the
//! futures of `claim`, and by users.
#![forbid(unsafe_code)]

use std::panic::Location;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::RwLock;
use super::claim::UpgradingOwned;
use super::guard::{Granted, Read, Upgradable, Write, read_part, try_read_part, try_write_part};
use crate::block::deadline_after;
use crate::guarded::{Exclusive, ExclusivePart, Shared, SharedPart, access_of, exclusive_access_of};

/// A [`RwLockReadGuard`](super::RwLockReadGuard) that keeps its lock alive.
#[must_use = "dropping a guard unlocks at once"]
#[clippy::has_significant_drop]
pub struct OwnedRwLockReadGuard<T: ?Sized, U: ?Sized = T> {
    access: SharedPart<Granted<Arc<RwLock<T>>, Read>, U>,
}

/// A [`RwLockUpgradableReadGuard`](super::RwLockUpgradableReadGuard) that keeps its lock alive.
#[must_use = "dropping a guard unlocks at once"]
#[clippy::has_significant_drop]
pub struct OwnedRwLockUpgradableReadGuard<T: ?Sized> {
    access: Shared<Granted<Arc<RwLock<T>>, Upgradable>>,
}

/// A [`RwLockWriteGuard`](super::RwLockWriteGuard) that keeps its lock alive.
#[must_use = "dropping a guard unlocks at once"]
#[clippy::has_significant_drop]
pub struct OwnedRwLockWriteGuard<T: ?Sized> {
    access: Exclusive<Granted<Arc<RwLock<T>>, Write>>,
}

/// A [`RwLockMappedWriteGuard`](super::RwLockMappedWriteGuard) that keeps its lock alive.
#[must_use = "dropping a guard unlocks at once"]
#[clippy::has_significant_drop]
pub struct OwnedRwLockMappedWriteGuard<T: ?Sized, U: ?Sized = T> {
    access: ExclusivePart<Granted<Arc<RwLock<T>>, Write>, U>,
}

access_of!(OwnedRwLockReadGuard [T: ?Sized, U: ?Sized] [T, U] U);
access_of!(OwnedRwLockUpgradableReadGuard [T: ?Sized] [T] T);
exclusive_access_of!(OwnedRwLockWriteGuard [T: ?Sized] [T] T);
exclusive_access_of!(OwnedRwLockMappedWriteGuard [T: ?Sized, U: ?Sized] [T, U] U);

impl<T: ?Sized> OwnedRwLockReadGuard<T> {
    #[inline]
    pub(super) fn new(grant: Granted<Arc<RwLock<T>>, Read>) -> Self {
        OwnedRwLockReadGuard { access: read_part(grant) }
    }
}

impl<T: ?Sized, U: ?Sized> OwnedRwLockReadGuard<T, U> {
    /// The lock that this guard holds.
    pub fn rwlock(this: &Self) -> &Arc<RwLock<T>> {
        this.access.grant().lock()
    }

    /// Goes on with a part of the value.
    pub fn map<V: ?Sized>(this: Self, f: impl FnOnce(&U) -> &V) -> OwnedRwLockReadGuard<T, V> {
        OwnedRwLockReadGuard { access: this.access.map(f) }
    }

    /// Goes on with a part of the value, if `f` finds it.
    ///
    /// # Errors
    /// This guard, if it does not.
    pub fn try_map<V: ?Sized>(
        this: Self,
        f: impl FnOnce(&U) -> Option<&V>,
    ) -> Result<OwnedRwLockReadGuard<T, V>, Self> {
        match this.access.try_map(f) {
            Ok(access) => Ok(OwnedRwLockReadGuard { access }),
            Err(access) => Err(OwnedRwLockReadGuard { access }),
        }
    }
}

impl<T: ?Sized> OwnedRwLockUpgradableReadGuard<T> {
    #[inline]
    pub(super) fn new(grant: Granted<Arc<RwLock<T>>, Upgradable>) -> Self {
        OwnedRwLockUpgradableReadGuard { access: Shared::new(grant) }
    }

    /// The lock that this guard holds.
    pub fn rwlock(this: &Self) -> &Arc<RwLock<T>> {
        this.access.grant().lock()
    }

    /// Waits until all other readers have left, and goes on to write: see
    /// [`RwLockUpgradableReadGuard::upgrade`](super::RwLockUpgradableReadGuard::upgrade).
    ///
    /// # Cancel safety
    /// **Loses its place in line.** And the upgradable access, which the future has taken over, is given
    /// back.
    #[track_caller]
    pub fn upgrade(this: Self) -> UpgradingOwned<T> {
        UpgradingOwned::new(this.access.into_grant(), Location::caller())
    }

    /// Goes on to write if there is no other reader.
    ///
    /// # Errors
    /// This guard, if there is one.
    pub fn try_upgrade(this: Self) -> Result<OwnedRwLockWriteGuard<T>, Self> {
        this.access.into_grant().try_upgrade().map(OwnedRwLockWriteGuard::new).map_err(Self::new)
    }

    /// Blocks this thread until all other readers have left, and goes on to write.
    pub fn upgrade_blocking(this: Self) -> OwnedRwLockWriteGuard<T> {
        let upgraded = this.access.into_grant().upgrade_blocking(None);
        OwnedRwLockWriteGuard::new(upgraded.unwrap_or_else(|_| unreachable!("there is no deadline")))
    }

    /// Blocks this thread until all other readers have left, but no longer than `timeout`.
    ///
    /// # Errors
    /// This guard, when the time was up.
    pub fn upgrade_timeout(this: Self, timeout: Duration) -> Result<OwnedRwLockWriteGuard<T>, Self> {
        let upgraded = this.access.into_grant().upgrade_blocking(deadline_after(timeout));
        upgraded.map(OwnedRwLockWriteGuard::new).map_err(Self::new)
    }

    /// Blocks this thread until all other readers have left, but not past `deadline`.
    ///
    /// # Errors
    /// This guard, when the deadline came first.
    pub fn upgrade_deadline(this: Self, deadline: Instant) -> Result<OwnedRwLockWriteGuard<T>, Self> {
        let upgraded = this.access.into_grant().upgrade_blocking(Some(deadline));
        upgraded.map(OwnedRwLockWriteGuard::new).map_err(Self::new)
    }

    /// Goes on as one reader among others.
    pub fn downgrade(this: Self) -> OwnedRwLockReadGuard<T> {
        OwnedRwLockReadGuard::new(this.access.into_grant().downgrade())
    }
}

impl<T: ?Sized> OwnedRwLockWriteGuard<T> {
    #[inline]
    pub(super) fn new(grant: Granted<Arc<RwLock<T>>, Write>) -> Self {
        OwnedRwLockWriteGuard { access: Exclusive::new(grant) }
    }

    /// The lock that this guard holds.
    pub fn rwlock(this: &Self) -> &Arc<RwLock<T>> {
        this.access.grant().lock()
    }

    /// Goes on to read, beside others. Nobody writes in between.
    pub fn downgrade(self) -> OwnedRwLockReadGuard<T> {
        OwnedRwLockReadGuard::new(self.access.into_grant().downgrade())
    }

    /// Goes on to read, beside others, and may write again later. Nobody writes in between.
    pub fn downgrade_to_upgradable(self) -> OwnedRwLockUpgradableReadGuard<T> {
        OwnedRwLockUpgradableReadGuard::new(self.access.into_grant().downgrade_to_upgradable())
    }

    /// [`downgrade`](Self::downgrade), to a part of the value.
    pub fn downgrade_map<U: ?Sized>(this: Self, f: impl FnOnce(&T) -> &U) -> OwnedRwLockReadGuard<T, U> {
        match Self::try_downgrade_map(this, |value| Some(f(value))) {
            Ok(part) => part,
            Err(_) => unreachable!("the closure always finds it"),
        }
    }

    /// [`downgrade_map`](Self::downgrade_map), if `f` finds the part.
    ///
    /// # Errors
    /// This guard, if it does not.
    pub fn try_downgrade_map<U: ?Sized>(
        this: Self,
        f: impl FnOnce(&T) -> Option<&U>,
    ) -> Result<OwnedRwLockReadGuard<T, U>, Self> {
        match try_read_part(this.access, f) {
            Ok(access) => Ok(OwnedRwLockReadGuard { access }),
            Err(access) => Err(OwnedRwLockWriteGuard { access }),
        }
    }

    /// Goes on with a part of the value. The lock stays held.
    pub fn map<U: ?Sized>(this: Self, f: impl FnOnce(&mut T) -> &mut U) -> OwnedRwLockMappedWriteGuard<T, U> {
        match Self::try_map(this, |value| Some(f(value))) {
            Ok(part) => part,
            Err(_) => unreachable!("the closure always finds it"),
        }
    }

    /// Goes on with a part of the value, if `f` finds it.
    ///
    /// # Errors
    /// This guard, if it does not.
    pub fn try_map<U: ?Sized>(
        this: Self,
        f: impl FnOnce(&mut T) -> Option<&mut U>,
    ) -> Result<OwnedRwLockMappedWriteGuard<T, U>, Self> {
        match try_write_part(this.access, f) {
            Ok(access) => Ok(OwnedRwLockMappedWriteGuard { access }),
            Err(access) => Err(OwnedRwLockWriteGuard { access }),
        }
    }

    /// Goes on with the whole value, as a mapped guard.
    pub fn into_mapped(this: Self) -> OwnedRwLockMappedWriteGuard<T> {
        Self::map(this, |value| value)
    }
}

impl<T: ?Sized, U: ?Sized> OwnedRwLockMappedWriteGuard<T, U> {
    /// The lock that this guard holds.
    pub fn rwlock(this: &Self) -> &Arc<RwLock<T>> {
        this.access.grant().lock()
    }

    /// Goes on with a smaller part of the value. The lock stays held.
    pub fn map<V: ?Sized>(this: Self, f: impl FnOnce(&mut U) -> &mut V) -> OwnedRwLockMappedWriteGuard<T, V> {
        OwnedRwLockMappedWriteGuard { access: this.access.map(f) }
    }

    /// Goes on with a smaller part of the value, if `f` finds it.
    ///
    /// # Errors
    /// This guard, if it does not.
    pub fn try_map<V: ?Sized>(
        this: Self,
        f: impl FnOnce(&mut U) -> Option<&mut V>,
    ) -> Result<OwnedRwLockMappedWriteGuard<T, V>, Self> {
        match this.access.try_map(f) {
            Ok(access) => Ok(OwnedRwLockMappedWriteGuard { access }),
            Err(access) => Err(OwnedRwLockMappedWriteGuard { access }),
        }
    }
}
