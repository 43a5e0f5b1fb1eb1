//! Layer 2, lock. What the holder of a lock has in hand.
//!
//! Owns the grant of a lock and the four guards over it: borrowed or counted, for the whole value or for a
//! part of it. Called by the futures of `claim`, and by users. The only file of the room with unsafe: it
//! vouches for the grant.

use std::mem::ManuallyDrop;
use std::ops::DerefMut;
use std::ptr;
use std::sync::Arc;

use super::{Lock, RawLock};
use crate::guarded::{Exclusive, ExclusiveGrant, ExclusivePart, Guarded, access_of, exclusive_access_of};

/// Some way to keep a lock at hand: borrowed or counted, with or without the type of its value.
pub trait Holds {
    #[doc(hidden)]
    fn raw(&self) -> &RawLock;
}

impl Holds for &RawLock {
    #[inline]
    fn raw(&self) -> &RawLock {
        self
    }
}

impl<T: ?Sized> Holds for &Lock<T> {
    #[inline]
    fn raw(&self) -> &RawLock {
        &self.raw
    }
}

impl<T: ?Sized> Holds for Arc<Lock<T>> {
    #[inline]
    fn raw(&self) -> &RawLock {
        &self.raw
    }
}

/// A way to keep a lock at hand that still knows the type of its value.
pub(crate) trait HoldsValue: Holds {
    type Value: ?Sized;
    /// What holds the same lock for as long, and is all that a guard for a part of the value needs.
    type Part: Holds;
    fn guarded(&self) -> &Guarded<Self::Value>;
    fn into_part(self) -> Self::Part;
}

impl<'a, T: ?Sized> HoldsValue for &'a Lock<T> {
    type Value = T;
    type Part = &'a RawLock;

    #[inline]
    fn guarded(&self) -> &Guarded<T> {
        &self.value
    }

    fn into_part(self) -> &'a RawLock {
        &self.raw
    }
}

impl<T: ?Sized> HoldsValue for Arc<Lock<T>> {
    type Value = T;
    type Part = Self;

    #[inline]
    fn guarded(&self) -> &Guarded<T> {
        &self.value
    }

    fn into_part(self) -> Self {
        self
    }
}

/// The lock, taken. Dropping it gives the lock back.
#[derive(Debug)]
pub struct Granted<P: Holds> {
    lock: P,
}

impl<P: Holds> Granted<P> {
    /// The caller has taken the lock.
    #[inline]
    pub(crate) fn new(lock: P) -> Granted<P> {
        Granted { lock }
    }

    #[inline]
    pub(crate) fn lock(&self) -> &P {
        &self.lock
    }

    /// What holds the lock. It stays taken.
    fn into_lock(self) -> P {
        let this = ManuallyDrop::new(self);
        // SAFETY: `this` is neither used after this nor dropped, so there is one `P` as before.
        unsafe { ptr::read(&raw const this.lock) }
    }

    /// The same grant, for a part of the value.
    fn into_part(self) -> Granted<P::Part>
    where
        P: HoldsValue,
    {
        Granted { lock: self.into_lock().into_part() }
    }

    /// Gives the lock back and returns what held it.
    pub(crate) fn give_back(self) -> P {
        let lock = self.into_lock();
        lock.raw().unlock();
        lock
    }
}

impl<P: Holds> Drop for Granted<P> {
    #[inline]
    fn drop(&mut self) {
        self.lock.raw().unlock();
    }
}

// SAFETY: a `Granted` is made by whoever has taken the word of the lock from free to held (`RawLock::take`,
// by an exchange with Acquire), and is the only thing that sets it free (`RawLock::unlock`, by a swap with
// Release). `P` borrows the lock meanwhile, or counts it, so that it stays where it is.
unsafe impl<P: HoldsValue> ExclusiveGrant for Granted<P> {
    type Value = P::Value;

    #[inline]
    fn guarded(&self) -> &Guarded<P::Value> {
        self.lock().guarded()
    }
}

/// Access to the value of a [`Lock`], until it is dropped.
///
/// It may be kept across an await and sent to another thread. If its holder panics, the lock is free again:
/// there is no poison.
#[must_use = "dropping a guard unlocks at once"]
#[clippy::has_significant_drop]
pub struct LockGuard<'a, T: ?Sized> {
    access: Exclusive<Granted<&'a Lock<T>>>,
}

/// A [`LockGuard`] that keeps its lock alive, so that it borrows nothing.
///
/// Made by [`Lock::lock_owned`] and its like.
#[must_use = "dropping a guard unlocks at once"]
#[clippy::has_significant_drop]
pub struct OwnedLockGuard<T: ?Sized> {
    access: Exclusive<Granted<Arc<Lock<T>>>>,
}

/// Access to a part of the value of a [`Lock`], made by [`LockGuard::map`].
#[must_use = "dropping a guard unlocks at once"]
#[clippy::has_significant_drop]
pub struct MappedLockGuard<'a, U: ?Sized> {
    access: ExclusivePart<Granted<&'a RawLock>, U>,
}

/// Access to a part `U` of the value of a [`Lock`] that it keeps alive, made by [`OwnedLockGuard::map`].
#[must_use = "dropping a guard unlocks at once"]
#[clippy::has_significant_drop]
pub struct OwnedMappedLockGuard<T: ?Sized, U: ?Sized = T> {
    access: ExclusivePart<Granted<Arc<Lock<T>>>, U>,
}

exclusive_access_of!(LockGuard ['a, T: ?Sized] ['a, T] T);
exclusive_access_of!(OwnedLockGuard [T: ?Sized] [T] T);
exclusive_access_of!(MappedLockGuard ['a, U: ?Sized] ['a, U] U);
exclusive_access_of!(OwnedMappedLockGuard [T: ?Sized, U: ?Sized] [T, U] U);

impl<'a, T: ?Sized> LockGuard<'a, T> {
    #[inline]
    pub(super) fn new(grant: Granted<&'a Lock<T>>) -> Self {
        LockGuard { access: Exclusive::new(grant) }
    }

    /// The lock that this guard holds.
    pub fn lock(this: &Self) -> &'a Lock<T> {
        this.access.grant().lock()
    }

    /// The same as [`lock`](Self::lock), by tokio's name.
    pub fn mutex(this: &Self) -> &'a Lock<T> {
        Self::lock(this)
    }

    /// Goes on with a part of the value. The lock stays held.
    ///
    /// # Examples
    /// ```
    /// use filch_channels::sync::{Lock, LockGuard};
    ///
    /// let pair = Lock::new((1, "one"));
    /// let mut number = LockGuard::map(pair.try_lock().unwrap(), |pair| &mut pair.0);
    /// *number += 1;
    /// assert!(pair.is_locked());
    /// drop(number);
    /// assert_eq!(pair.into_inner(), (2, "one"));
    /// ```
    pub fn map<U: ?Sized>(this: Self, f: impl FnOnce(&mut T) -> &mut U) -> MappedLockGuard<'a, U> {
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
    ) -> Result<MappedLockGuard<'a, U>, Self> {
        match try_part(this.access, f) {
            Ok(access) => Ok(MappedLockGuard { access }),
            Err(access) => Err(LockGuard { access }),
        }
    }
}

type Whole<P> = Exclusive<Granted<P>>;
type Part<P, U> = ExclusivePart<Granted<<P as HoldsValue>::Part>, U>;

/// Goes on with a part of the value, if `f` finds it.
fn try_part<P: HoldsValue, U: ?Sized>(
    access: Whole<P>,
    f: impl FnOnce(&mut P::Value) -> Option<&mut U>,
) -> Result<Part<P, U>, Whole<P>> {
    // SAFETY: `into_part` keeps the same lock, taken as before, at hand for as long as `P` would.
    unsafe { access.try_map(f, Granted::into_part) }
}

impl<T: ?Sized> OwnedLockGuard<T> {
    #[inline]
    pub(super) fn new(grant: Granted<Arc<Lock<T>>>) -> Self {
        OwnedLockGuard { access: Exclusive::new(grant) }
    }

    /// The lock that this guard holds.
    pub fn lock(this: &Self) -> &Arc<Lock<T>> {
        this.access.grant().lock()
    }

    /// The same as [`lock`](Self::lock), by tokio's name.
    pub fn mutex(this: &Self) -> &Arc<Lock<T>> {
        Self::lock(this)
    }

    /// Goes on with a part of the value. The lock stays held.
    pub fn map<U: ?Sized>(this: Self, f: impl FnOnce(&mut T) -> &mut U) -> OwnedMappedLockGuard<T, U> {
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
    ) -> Result<OwnedMappedLockGuard<T, U>, Self> {
        match try_part(this.access, f) {
            Ok(access) => Ok(OwnedMappedLockGuard { access }),
            Err(access) => Err(OwnedLockGuard { access }),
        }
    }
}

impl<'a, U: ?Sized> MappedLockGuard<'a, U> {
    /// Goes on with a smaller part of the value. The lock stays held.
    pub fn map<V: ?Sized>(this: Self, f: impl FnOnce(&mut U) -> &mut V) -> MappedLockGuard<'a, V> {
        MappedLockGuard { access: this.access.map(f) }
    }

    /// Goes on with a smaller part of the value, if `f` finds it.
    ///
    /// # Errors
    /// This guard, if it does not.
    pub fn try_map<V: ?Sized>(
        this: Self,
        f: impl FnOnce(&mut U) -> Option<&mut V>,
    ) -> Result<MappedLockGuard<'a, V>, Self> {
        match this.access.try_map(f) {
            Ok(access) => Ok(MappedLockGuard { access }),
            Err(access) => Err(MappedLockGuard { access }),
        }
    }
}

impl<T: ?Sized, U: ?Sized> OwnedMappedLockGuard<T, U> {
    /// Goes on with a smaller part of the value. The lock stays held.
    pub fn map<V: ?Sized>(this: Self, f: impl FnOnce(&mut U) -> &mut V) -> OwnedMappedLockGuard<T, V> {
        OwnedMappedLockGuard { access: this.access.map(f) }
    }

    /// Goes on with a smaller part of the value, if `f` finds it.
    ///
    /// # Errors
    /// This guard, if it does not.
    pub fn try_map<V: ?Sized>(
        this: Self,
        f: impl FnOnce(&mut U) -> Option<&mut V>,
    ) -> Result<OwnedMappedLockGuard<T, V>, Self> {
        match this.access.try_map(f) {
            Ok(access) => Ok(OwnedMappedLockGuard { access }),
            Err(access) => Err(OwnedMappedLockGuard { access }),
        }
    }
}

/// A guard that [`Condition`](crate::sync::Condition) can give back and take again: [`LockGuard`] and
/// [`OwnedLockGuard`].
pub trait WholeGuard: DerefMut + sealed::Whole {}

impl<T: ?Sized> WholeGuard for LockGuard<'_, T> {}
impl<T: ?Sized> WholeGuard for OwnedLockGuard<T> {}

pub(crate) mod sealed {
    use super::{Arc, Granted, Holds, Lock, LockGuard, OwnedLockGuard};

    /// What a [`WholeGuard`](super::WholeGuard) is made of, and made from again.
    pub trait Whole: Sized {
        type Lock: Holds;
        fn into_grant(self) -> Granted<Self::Lock>;
        fn from_grant(grant: Granted<Self::Lock>) -> Self;
    }

    impl<'a, T: ?Sized> Whole for LockGuard<'a, T> {
        type Lock = &'a Lock<T>;

        fn into_grant(self) -> Granted<&'a Lock<T>> {
            self.access.into_grant()
        }

        fn from_grant(grant: Granted<&'a Lock<T>>) -> Self {
            LockGuard::new(grant)
        }
    }

    impl<T: ?Sized> Whole for OwnedLockGuard<T> {
        type Lock = Arc<Lock<T>>;

        fn into_grant(self) -> Granted<Arc<Lock<T>>> {
            self.access.into_grant()
        }

        fn from_grant(grant: Granted<Arc<Lock<T>>>) -> Self {
            OwnedLockGuard::new(grant)
        }
    }
}
