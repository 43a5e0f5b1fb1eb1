//! Layer 3, rwlock. What readers and writers have in hand.
//!
//! Owns the grants, one type for each kind of access, and how one becomes another; and the guards that borrow
//! their lock. Those that keep it alive are in `owned`. Called by the futures of `claim`, and by users. One of
//! two files of the room with unsafe: it vouches for the grants.

use std::marker::PhantomData;
use std::mem::ManuallyDrop;
use std::panic::Location;
use std::ptr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::RwLock;
use super::claim::Upgrading;
use super::raw::{Access, RawRwLock};
use crate::block::deadline_after;
use crate::guarded::{
    Exclusive, ExclusiveGrant, ExclusivePart, Guarded, Shared, SharedGrant, SharedPart, access_of,
    exclusive_access_of,
};

/// Some way to keep a lock at hand: borrowed or counted, with or without the type of its value.
pub(super) trait Holds {
    fn raw(&self) -> &RawRwLock;
}

/// One that still knows the type of the value.
pub(super) trait HoldsValue: Holds {
    type Value: ?Sized;
    /// What holds the same lock for as long, and is all that a guard for a part of the value needs.
    type Part: Holds;
    fn guarded(&self) -> &Guarded<Self::Value>;
    fn into_part(self) -> Self::Part;
}

impl Holds for &RawRwLock {
    #[inline]
    fn raw(&self) -> &RawRwLock {
        self
    }
}

impl<T: ?Sized> Holds for &RwLock<T> {
    #[inline]
    fn raw(&self) -> &RawRwLock {
        &self.raw
    }
}

impl<T: ?Sized> Holds for Arc<RwLock<T>> {
    #[inline]
    fn raw(&self) -> &RawRwLock {
        &self.raw
    }
}

impl<'a, T: ?Sized> HoldsValue for &'a RwLock<T> {
    type Value = T;
    type Part = &'a RawRwLock;

    #[inline]
    fn guarded(&self) -> &Guarded<T> {
        &self.value
    }

    #[inline]
    fn into_part(self) -> &'a RawRwLock {
        &self.raw
    }
}

impl<T: ?Sized> HoldsValue for Arc<RwLock<T>> {
    type Value = T;
    type Part = Self;

    #[inline]
    fn guarded(&self) -> &Guarded<T> {
        &self.value
    }

    #[inline]
    fn into_part(self) -> Self {
        self
    }
}

/// A kind of access, as a type.
pub(super) trait Kind {
    const ACCESS: Access;
}

pub(super) enum Read {}
pub(super) enum Upgradable {}
pub(super) enum Write {}

impl Kind for Read {
    const ACCESS: Access = Access::Read;
}

impl Kind for Upgradable {
    const ACCESS: Access = Access::Upgradable;
}

impl Kind for Write {
    const ACCESS: Access = Access::Write;
}

/// Access of kind `K`, taken. Dropping it gives the access back.
pub(super) struct Granted<P: Holds, K: Kind> {
    lock: P,
    kind: PhantomData<fn() -> K>,
}

impl<P: Holds, K: Kind> Granted<P, K> {
    /// The caller has taken the units.
    #[inline]
    pub(super) fn new(lock: P) -> Granted<P, K> {
        Granted { lock, kind: PhantomData }
    }

    #[inline]
    pub(super) fn lock(&self) -> &P {
        &self.lock
    }

    /// What holds the lock. The units stay taken.
    fn pass_on(self) -> P {
        let this = ManuallyDrop::new(self);
        // SAFETY: `this` is neither used after this nor dropped, so there is one `P` as before.
        unsafe { ptr::read(&raw const this.lock) }
    }

    /// The same grant, for a part of the value.
    #[inline]
    fn into_part(self) -> Granted<P::Part, K>
    where
        P: HoldsValue,
    {
        Granted::new(self.pass_on().into_part())
    }

    /// The same access and less: the rest is given back, and nobody comes between.
    fn lessen<L: Kind>(self) -> Granted<P, L> {
        let less = Granted::<P, L>::new(self.pass_on());
        less.lock().raw().put(K::ACCESS.units() - L::ACCESS.units());
        less
    }
}

impl<P: Holds> Granted<P, Write> {
    pub(super) fn downgrade(self) -> Granted<P, Read> {
        self.lessen()
    }

    pub(super) fn downgrade_to_upgradable(self) -> Granted<P, Upgradable> {
        self.lessen()
    }
}

impl<P: Holds> Granted<P, Upgradable> {
    pub(super) fn downgrade(self) -> Granted<P, Read> {
        self.lessen()
    }

    /// The caller has taken the units of `Access::Upgrade` beside these.
    pub(super) fn upgraded(self) -> Granted<P, Write> {
        Granted::new(self.pass_on())
    }

    pub(super) fn try_upgrade(self) -> Result<Granted<P, Write>, Self> {
        if self.lock().raw().try_take(Access::Upgrade) { Ok(self.upgraded()) } else { Err(self) }
    }

    /// An error gives the grant back: the deadline came first.
    pub(super) fn upgrade_blocking(self, deadline: Option<Instant>) -> Result<Granted<P, Write>, Self> {
        if self.lock().raw().take_blocking(Access::Upgrade, deadline) {
            Ok(self.upgraded())
        } else {
            Err(self)
        }
    }
}

impl<P: Holds, K: Kind> Drop for Granted<P, K> {
    #[inline]
    fn drop(&mut self) {
        self.lock.raw().put(K::ACCESS.units());
    }
}

// SAFETY: a grant for writing stands for all units: they are taken before it is made and released when it is
// dropped or lessened, so no other grant is out meanwhile. Units are taken by an exchange with Acquire in
// `RawRwLock::take` and released by an addition with Release in `RawRwLock::put`. `P` borrows or counts the
// lock, so that it stays where it is.
unsafe impl<P: HoldsValue> ExclusiveGrant for Granted<P, Write> {
    type Value = P::Value;

    #[inline]
    fn guarded(&self) -> &Guarded<P::Value> {
        self.lock().guarded()
    }
}

/// The kinds that leave room for others of them.
pub(super) trait Reads: Kind {}
impl Reads for Read {}
impl Reads for Upgradable {}

// SAFETY: a grant that stands for one unit or more leaves too few for one that writes; the rest is as above.
// An `RwLock` is `Sync` only for values that are, so none is read on two threads that may not be.
unsafe impl<P: HoldsValue, K: Reads> SharedGrant for Granted<P, K> {
    type Value = P::Value;

    #[inline]
    fn guarded(&self) -> &Guarded<P::Value> {
        self.lock().guarded()
    }
}

/// Access to the value of an [`RwLock`], to read, beside other readers, until it is dropped.
///
/// It may be kept across an await.
#[must_use = "dropping a guard unlocks at once"]
#[clippy::has_significant_drop]
pub struct RwLockReadGuard<'a, U: ?Sized> {
    access: SharedPart<Granted<&'a RawRwLock, Read>, U>,
}

/// Access to the value of an [`RwLock`], to read, that can become access to write.
///
/// Beside it there may be readers, but no other of its kind.
#[must_use = "dropping a guard unlocks at once"]
#[clippy::has_significant_drop]
pub struct RwLockUpgradableReadGuard<'a, T: ?Sized> {
    access: Shared<Granted<&'a RwLock<T>, Upgradable>>,
}

/// Access to the value of an [`RwLock`], to read and write, that nobody else has until it is dropped.
///
/// It may be kept across an await. If its holder panics, the lock is free again: there is no poison.
#[must_use = "dropping a guard unlocks at once"]
#[clippy::has_significant_drop]
pub struct RwLockWriteGuard<'a, T: ?Sized> {
    access: Exclusive<Granted<&'a RwLock<T>, Write>>,
}

/// Access to a part of the value of an [`RwLock`], made by [`RwLockWriteGuard::map`].
///
/// It cannot be downgraded, since a part may only be reachable by way of a `&mut` to the whole.
#[must_use = "dropping a guard unlocks at once"]
#[clippy::has_significant_drop]
pub struct RwLockMappedWriteGuard<'a, U: ?Sized> {
    access: ExclusivePart<Granted<&'a RawRwLock, Write>, U>,
}

access_of!(RwLockReadGuard ['a, U: ?Sized] ['a, U] U);
access_of!(RwLockUpgradableReadGuard ['a, T: ?Sized] ['a, T] T);
exclusive_access_of!(RwLockWriteGuard ['a, T: ?Sized] ['a, T] T);
exclusive_access_of!(RwLockMappedWriteGuard ['a, U: ?Sized] ['a, U] U);

type Writer<P> = Exclusive<Granted<P, Write>>;
type ReadPart<P, U> = SharedPart<Granted<<P as HoldsValue>::Part, Read>, U>;
type WritePart<P, U> = ExclusivePart<Granted<<P as HoldsValue>::Part, Write>, U>;

/// Goes on to read the whole value, as if it were a part.
#[inline]
pub(super) fn read_part<P: HoldsValue>(grant: Granted<P, Read>) -> ReadPart<P, P::Value> {
    // SAFETY: `into_part` keeps the same lock, with the same units, at hand for as long as `P` would.
    unsafe { Shared::new(grant).into_part(Granted::into_part) }
}

/// Ends writing and goes on to read a part of the value, if `f` finds it.
pub(super) fn try_read_part<P: HoldsValue, U: ?Sized>(
    access: Writer<P>,
    f: impl FnOnce(&P::Value) -> Option<&U>,
) -> Result<ReadPart<P, U>, Writer<P>> {
    // SAFETY: as above; `downgrade` keeps one unit, so nobody writes before that is released.
    unsafe { access.try_share(f, |grant| grant.downgrade().into_part()) }
}

/// Goes on to write to a part of the value, if `f` finds it.
pub(super) fn try_write_part<P: HoldsValue, U: ?Sized>(
    access: Writer<P>,
    f: impl FnOnce(&mut P::Value) -> Option<&mut U>,
) -> Result<WritePart<P, U>, Writer<P>> {
    // SAFETY: as above.
    unsafe { access.try_map(f, Granted::into_part) }
}

impl<'a, U: ?Sized> RwLockReadGuard<'a, U> {
    #[inline]
    pub(super) fn new(grant: Granted<&'a RwLock<U>, Read>) -> Self {
        RwLockReadGuard { access: read_part(grant) }
    }

    /// Goes on with a part of the value.
    ///
    /// # Examples
    /// ```
    /// use filch_channels::sync::{RwLock, RwLockReadGuard};
    ///
    /// let pair = RwLock::new((1, "one"));
    /// let number = RwLockReadGuard::map(pair.try_read().unwrap(), |pair| &pair.0);
    /// assert_eq!(*number, 1);
    /// assert!(pair.try_write().is_err());
    /// ```
    pub fn map<V: ?Sized>(this: Self, f: impl FnOnce(&U) -> &V) -> RwLockReadGuard<'a, V> {
        RwLockReadGuard { access: this.access.map(f) }
    }

    /// Goes on with a part of the value, if `f` finds it.
    ///
    /// # Errors
    /// This guard, if it does not.
    pub fn try_map<V: ?Sized>(
        this: Self,
        f: impl FnOnce(&U) -> Option<&V>,
    ) -> Result<RwLockReadGuard<'a, V>, Self> {
        match this.access.try_map(f) {
            Ok(access) => Ok(RwLockReadGuard { access }),
            Err(access) => Err(RwLockReadGuard { access }),
        }
    }
}

impl<'a, T: ?Sized> RwLockUpgradableReadGuard<'a, T> {
    #[inline]
    pub(super) fn new(grant: Granted<&'a RwLock<T>, Upgradable>) -> Self {
        RwLockUpgradableReadGuard { access: Shared::new(grant) }
    }

    /// Waits until all other readers have left, and goes on to write. The value stays as it was read.
    ///
    /// Nobody else writes in between, and nobody else is let in meanwhile but readers under
    /// [`ReadersFirst`](super::RwLockPolicy::ReadersFirst).
    ///
    /// # Examples
    /// ```
    /// use filch_channels::sync::{RwLock, RwLockUpgradableReadGuard};
    ///
    /// # futures_lite::future::block_on(async {
    /// let cache = RwLock::new(None);
    /// let seen = cache.upgradable_read().await;
    /// if seen.is_none() {
    ///     let mut cache = RwLockUpgradableReadGuard::upgrade(seen).await;
    ///     *cache = Some("computed once");
    /// }
    /// assert_eq!(*cache.read().await, Some("computed once"));
    /// # });
    /// ```
    ///
    /// # Cancel safety
    /// **Loses its place in line.** And the upgradable access, which the future has taken over, is given
    /// back.
    #[track_caller]
    pub fn upgrade(this: Self) -> Upgrading<'a, T> {
        Upgrading::new(this.access.into_grant(), Location::caller())
    }

    /// Goes on to write if there is no other reader.
    ///
    /// # Errors
    /// This guard, if there is one.
    pub fn try_upgrade(this: Self) -> Result<RwLockWriteGuard<'a, T>, Self> {
        this.access.into_grant().try_upgrade().map(RwLockWriteGuard::new).map_err(Self::new)
    }

    /// Blocks this thread until all other readers have left, and goes on to write.
    pub fn upgrade_blocking(this: Self) -> RwLockWriteGuard<'a, T> {
        let upgraded = this.access.into_grant().upgrade_blocking(None);
        RwLockWriteGuard::new(upgraded.unwrap_or_else(|_| unreachable!("there is no deadline")))
    }

    /// Blocks this thread until all other readers have left, but no longer than `timeout`.
    ///
    /// # Errors
    /// This guard, when the time was up.
    pub fn upgrade_timeout(this: Self, timeout: Duration) -> Result<RwLockWriteGuard<'a, T>, Self> {
        let upgraded = this.access.into_grant().upgrade_blocking(deadline_after(timeout));
        upgraded.map(RwLockWriteGuard::new).map_err(Self::new)
    }

    /// Blocks this thread until all other readers have left, but not past `deadline`.
    ///
    /// # Errors
    /// This guard, when the deadline came first.
    pub fn upgrade_deadline(this: Self, deadline: Instant) -> Result<RwLockWriteGuard<'a, T>, Self> {
        let upgraded = this.access.into_grant().upgrade_blocking(Some(deadline));
        upgraded.map(RwLockWriteGuard::new).map_err(Self::new)
    }

    /// Goes on as one reader among others.
    pub fn downgrade(this: Self) -> RwLockReadGuard<'a, T> {
        RwLockReadGuard::new(this.access.into_grant().downgrade())
    }
}

impl<'a, T: ?Sized> RwLockWriteGuard<'a, T> {
    #[inline]
    pub(super) fn new(grant: Granted<&'a RwLock<T>, Write>) -> Self {
        RwLockWriteGuard { access: Exclusive::new(grant) }
    }

    /// Goes on to read, beside others. Nobody writes in between.
    ///
    /// # Examples
    /// ```
    /// use filch_channels::sync::RwLock;
    ///
    /// let lock = RwLock::new(1);
    /// let mut writer = lock.try_write().unwrap();
    /// *writer += 1;
    /// let reader = writer.downgrade();
    /// assert_eq!((*reader, *lock.try_read().unwrap()), (2, 2));
    /// ```
    pub fn downgrade(self) -> RwLockReadGuard<'a, T> {
        RwLockReadGuard::new(self.access.into_grant().downgrade())
    }

    /// Goes on to read, beside others, and may write again later. Nobody writes in between.
    pub fn downgrade_to_upgradable(self) -> RwLockUpgradableReadGuard<'a, T> {
        RwLockUpgradableReadGuard::new(self.access.into_grant().downgrade_to_upgradable())
    }

    /// [`downgrade`](Self::downgrade), to a part of the value.
    pub fn downgrade_map<U: ?Sized>(this: Self, f: impl FnOnce(&T) -> &U) -> RwLockReadGuard<'a, U> {
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
    ) -> Result<RwLockReadGuard<'a, U>, Self> {
        match try_read_part(this.access, f) {
            Ok(access) => Ok(RwLockReadGuard { access }),
            Err(access) => Err(RwLockWriteGuard { access }),
        }
    }

    /// Goes on with a part of the value. The lock stays held.
    pub fn map<U: ?Sized>(this: Self, f: impl FnOnce(&mut T) -> &mut U) -> RwLockMappedWriteGuard<'a, U> {
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
    ) -> Result<RwLockMappedWriteGuard<'a, U>, Self> {
        match try_write_part(this.access, f) {
            Ok(access) => Ok(RwLockMappedWriteGuard { access }),
            Err(access) => Err(RwLockWriteGuard { access }),
        }
    }

    /// Goes on with the whole value, as a mapped guard.
    pub fn into_mapped(this: Self) -> RwLockMappedWriteGuard<'a, T> {
        Self::map(this, |value| value)
    }
}

impl<'a, U: ?Sized> RwLockMappedWriteGuard<'a, U> {
    /// Goes on with a smaller part of the value. The lock stays held.
    pub fn map<V: ?Sized>(this: Self, f: impl FnOnce(&mut U) -> &mut V) -> RwLockMappedWriteGuard<'a, V> {
        RwLockMappedWriteGuard { access: this.access.map(f) }
    }

    /// Goes on with a smaller part of the value, if `f` finds it.
    ///
    /// # Errors
    /// This guard, if it does not.
    pub fn try_map<V: ?Sized>(
        this: Self,
        f: impl FnOnce(&mut U) -> Option<&mut V>,
    ) -> Result<RwLockMappedWriteGuard<'a, V>, Self> {
        match this.access.try_map(f) {
            Ok(access) => Ok(RwLockMappedWriteGuard { access }),
            Err(access) => Err(RwLockMappedWriteGuard { access }),
        }
    }
}
