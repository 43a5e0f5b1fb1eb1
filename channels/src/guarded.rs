//! Layer 1. A value that is reached through a grant only, and for as long as the grant lives.
//!
//! Owns the one cell under `Lock`, `RLock` and `RwLock`, and the pointers into it that all their guards are
//! made of. A *grant* is a token that a lock hands out: having it is having access, dropping it gives the
//! access back. Two unsafe traits say what a lock promises of its grants; all that users hold is built on
//! [`Exclusive`], [`Shared`] and their parts. A guard for a whole value is no more than its grant, so that it
//! fits into a register. Called by the locks.

use std::marker::PhantomData;
use std::ops::{Deref, DerefMut};

use crate::shim::UnsafeCell;

/// The value of a lock.
pub(crate) struct Guarded<T: ?Sized> {
    value: UnsafeCell<T>,
}

// SAFETY: a `&Guarded` gives away no more than a grant does. `Exclusive` lends the value to one thread at a
// time, for which `T: Send` is enough. `Shared` asks for `T: Sync` before it crosses threads; a lock that has
// several of them out on several threads at once has to ask for that itself, see `SharedGrant`.
unsafe impl<T: ?Sized + Send> Sync for Guarded<T> {}

impl<T> Guarded<T> {
    #[cfg(not(filch_loom))]
    pub(crate) const fn new(value: T) -> Guarded<T> {
        Guarded { value: UnsafeCell::new(value) }
    }
    #[cfg(filch_loom)]
    #[track_caller]
    pub(crate) fn new(value: T) -> Guarded<T> {
        Guarded { value: UnsafeCell::new(value) }
    }

    pub(crate) fn into_inner(self) -> T {
        self.value.into_inner()
    }
}

impl<T: ?Sized> Guarded<T> {
    pub(crate) fn get_mut(&mut self) -> &mut T {
        // SAFETY: nobody else can have a reference to the cell, and every grant borrows its lock or counts it.
        unsafe { &mut *self.value.with_mut(|value| value) }
    }
}

/// What a lock hands out to one at a time.
///
/// # Safety
/// From the making of a grant until it is dropped, no other grant for the same value is in existence, and the
/// value stays where it is, even if the grant itself is moved. What was done under a grant happens before the
/// making of the next.
pub(crate) unsafe trait ExclusiveGrant {
    type Value: ?Sized;
    fn guarded(&self) -> &Guarded<Self::Value>;
}

/// What a lock hands out to several at a time.
///
/// # Safety
/// From the making of a grant until it is dropped, only shared grants for the same value are in existence,
/// and the value stays where it is. If they may be on several threads at once, and the value is not `Sync`,
/// the lock must see to it that they are not. What was done under an exclusive grant happens before the
/// making of this one, and what was done under this one before the making of an exclusive one.
pub(crate) unsafe trait SharedGrant {
    type Value: ?Sized;
    fn guarded(&self) -> &Guarded<Self::Value>;
}

/// Access to the value of a lock that nobody else has.
pub(crate) struct Exclusive<G: ExclusiveGrant> {
    grant: G,
    // It is as good as a `&mut`, whatever the grant is made of.
    value: PhantomData<*mut G::Value>,
}

/// Access to the value of a lock that others may have too, to read.
pub(crate) struct Shared<G: SharedGrant> {
    grant: G,
    // It is as good as a `&`, whatever the grant is made of.
    value: PhantomData<*const G::Value>,
}

/// Access to a part of a value, or to one whose type the grant has forgotten, that nobody else has.
pub(crate) struct ExclusivePart<G, U: ?Sized> {
    // Valid, and nobody else's, as long as `grant` is there.
    value: *mut U,
    grant: G,
}

/// Access to a part of a value, or to one whose type the grant has forgotten, that others may have too.
pub(crate) struct SharedPart<G, U: ?Sized> {
    // Valid, and only read, as long as `grant` is there.
    value: *const U,
    grant: G,
}

// SAFETY: this is a `&mut`, with a grant.
unsafe impl<G: ExclusiveGrant<Value: Send> + Send> Send for Exclusive<G> {}
// SAFETY: as above; a shared one gives a `&`.
unsafe impl<G: ExclusiveGrant<Value: Sync> + Sync> Sync for Exclusive<G> {}
// SAFETY: this is a `&`, with a grant.
unsafe impl<G: SharedGrant<Value: Sync> + Send> Send for Shared<G> {}
// SAFETY: as above; a shared one gives a `&`.
unsafe impl<G: SharedGrant<Value: Sync> + Sync> Sync for Shared<G> {}
// SAFETY: this is a `&mut U`, with a grant.
unsafe impl<G: Send, U: ?Sized + Send> Send for ExclusivePart<G, U> {}
// SAFETY: as above; a shared one gives a `&U`.
unsafe impl<G: Sync, U: ?Sized + Sync> Sync for ExclusivePart<G, U> {}
// SAFETY: this is a `&U`, with a grant.
unsafe impl<G: Send, U: ?Sized + Sync> Send for SharedPart<G, U> {}
// SAFETY: as above; a shared one gives a `&U`.
unsafe impl<G: Sync, U: ?Sized + Sync> Sync for SharedPart<G, U> {}

impl<G: ExclusiveGrant> Exclusive<G> {
    #[inline]
    pub(crate) fn new(grant: G) -> Self {
        // A model sees an access here, and so each grant that does not come after the one before.
        grant.guarded().value.with_mut(drop);
        Exclusive { grant, value: PhantomData }
    }

    pub(crate) fn grant(&self) -> &G {
        &self.grant
    }

    /// Ends the access and keeps the grant.
    pub(crate) fn into_grant(self) -> G {
        self.grant
    }

    /// Goes on with a part of the value, if `f` finds it, and the grant in another shape.
    ///
    /// # Safety
    /// `change` returns a grant that gives the same right to the same value as the one it was given.
    pub(crate) unsafe fn try_map<H, V: ?Sized>(
        mut self,
        f: impl FnOnce(&mut G::Value) -> Option<&mut V>,
        change: impl FnOnce(G) -> H,
    ) -> Result<ExclusivePart<H, V>, Self> {
        match f(&mut self).map(|value| value as *mut V) {
            Some(value) => Ok(ExclusivePart { value, grant: change(self.grant) }),
            None => Err(self),
        }
    }

    /// Goes on with a part of the value to read, if `f` finds it, and a grant that others may have beside it.
    ///
    /// # Safety
    /// `change` returns a shared grant for the same value.
    pub(crate) unsafe fn try_share<H, V: ?Sized>(
        self,
        f: impl FnOnce(&G::Value) -> Option<&V>,
        change: impl FnOnce(G) -> H,
    ) -> Result<SharedPart<H, V>, Self> {
        match f(&self).map(|value| value as *const V) {
            Some(value) => Ok(SharedPart { value, grant: change(self.grant) }),
            None => Err(self),
        }
    }
}

impl<G: SharedGrant> Shared<G> {
    #[inline]
    pub(crate) fn new(grant: G) -> Self {
        grant.guarded().value.with(drop);
        Shared { grant, value: PhantomData }
    }

    pub(crate) fn grant(&self) -> &G {
        &self.grant
    }

    /// Ends the access and keeps the grant.
    pub(crate) fn into_grant(self) -> G {
        self.grant
    }

    /// The same access as one to a part.
    ///
    /// # Safety
    /// `change` returns a grant that gives the same right to the same value as the one it was given.
    #[inline]
    pub(crate) unsafe fn into_part<H>(self, change: impl FnOnce(G) -> H) -> SharedPart<H, G::Value> {
        SharedPart { value: self.grant.guarded().value.with(|value| value), grant: change(self.grant) }
    }
}

impl<G, U: ?Sized> ExclusivePart<G, U> {
    pub(crate) fn grant(&self) -> &G {
        &self.grant
    }

    pub(crate) fn map<V: ?Sized>(mut self, f: impl FnOnce(&mut U) -> &mut V) -> ExclusivePart<G, V> {
        let value: *mut V = f(&mut self);
        ExclusivePart { value, grant: self.grant }
    }

    pub(crate) fn try_map<V: ?Sized>(
        mut self,
        f: impl FnOnce(&mut U) -> Option<&mut V>,
    ) -> Result<ExclusivePart<G, V>, Self> {
        match f(&mut self).map(|value| value as *mut V) {
            Some(value) => Ok(ExclusivePart { value, grant: self.grant }),
            None => Err(self),
        }
    }
}

impl<G, U: ?Sized> SharedPart<G, U> {
    pub(crate) fn grant(&self) -> &G {
        &self.grant
    }

    pub(crate) fn map<V: ?Sized>(self, f: impl FnOnce(&U) -> &V) -> SharedPart<G, V> {
        let value: *const V = f(&self);
        SharedPart { value, grant: self.grant }
    }

    pub(crate) fn try_map<V: ?Sized>(
        self,
        f: impl FnOnce(&U) -> Option<&V>,
    ) -> Result<SharedPart<G, V>, Self> {
        match f(&self).map(|value| value as *const V) {
            Some(value) => Ok(SharedPart { value, grant: self.grant }),
            None => Err(self),
        }
    }
}

impl<G: ExclusiveGrant> Deref for Exclusive<G> {
    type Target = G::Value;

    #[inline]
    fn deref(&self) -> &G::Value {
        // SAFETY: `grant` is there, so the value is, and no other grant for it; see `ExclusiveGrant`.
        unsafe { &*self.grant.guarded().value.with(|value| value) }
    }
}

impl<G: ExclusiveGrant> DerefMut for Exclusive<G> {
    #[inline]
    fn deref_mut(&mut self) -> &mut G::Value {
        // SAFETY: as above, and `&mut self` says that there is no other reference through this grant.
        unsafe { &mut *self.grant.guarded().value.with_mut(|value| value) }
    }
}

impl<G: SharedGrant> Deref for Shared<G> {
    type Target = G::Value;

    #[inline]
    fn deref(&self) -> &G::Value {
        // SAFETY: `grant` is there, so the value is, and nobody may write to it; see `SharedGrant`.
        unsafe { &*self.grant.guarded().value.with(|value| value) }
    }
}

impl<G, U: ?Sized> Deref for ExclusivePart<G, U> {
    type Target = U;

    #[inline]
    fn deref(&self) -> &U {
        // SAFETY: the pointer came from an access to the whole, whose grant, or one as good, is here.
        unsafe { &*self.value }
    }
}

impl<G, U: ?Sized> DerefMut for ExclusivePart<G, U> {
    #[inline]
    fn deref_mut(&mut self) -> &mut U {
        // SAFETY: as above, and `&mut self` says that there is no other reference through this grant.
        unsafe { &mut *self.value }
    }
}

impl<G, U: ?Sized> Deref for SharedPart<G, U> {
    type Target = U;

    #[inline]
    fn deref(&self) -> &U {
        // SAFETY: the pointer came from an access to the whole, whose grant, or one as good, is here.
        unsafe { &*self.value }
    }
}

/// What every guard over an access is for its user: a pointer to `U` that shows, compares and prints as `U`.
macro_rules! access_of {
    ($guard:ident [$($param:tt)*] [$($arg:tt)*] $target:ident) => {
        impl<$($param)*> std::ops::Deref for $guard<$($arg)*> {
            type Target = $target;

            #[inline]
            fn deref(&self) -> &$target {
                &self.access
            }
        }

        impl<$($param)*> std::fmt::Debug for $guard<$($arg)*>
        where
            $target: std::fmt::Debug,
        {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                std::fmt::Debug::fmt(&**self, f)
            }
        }

        impl<$($param)*> std::fmt::Display for $guard<$($arg)*>
        where
            $target: std::fmt::Display,
        {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                std::fmt::Display::fmt(&**self, f)
            }
        }
    };
}
pub(crate) use access_of;

/// The same for an exclusive access, whose user may write as well.
macro_rules! exclusive_access_of {
    ($guard:ident [$($param:tt)*] [$($arg:tt)*] $target:ident) => {
        access_of!($guard [$($param)*] [$($arg)*] $target);

        impl<$($param)*> std::ops::DerefMut for $guard<$($arg)*> {
            #[inline]
            fn deref_mut(&mut self) -> &mut $target {
                &mut self.access
            }
        }
    };
}
pub(crate) use exclusive_access_of;
