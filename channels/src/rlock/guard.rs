//! Layer 3, rlock. What the owner of a re-entrant lock has in hand, as many times as it took it.
//!
//! Owns the grant and the two guards over it. Called by the futures of `claim`, and by users. The only file of
//! the room with unsafe: it vouches for the grant.

use std::sync::Arc;

use super::RLock;
use crate::guarded::{Guarded, Shared, SharedGrant, access_of};

/// Some way to keep a lock at hand: borrowed or counted.
pub(super) trait Holds {
    type Value: ?Sized;
    fn lock(&self) -> &RLock<Self::Value>;
}

impl<T: ?Sized> Holds for &RLock<T> {
    type Value = T;

    #[inline]
    fn lock(&self) -> &RLock<T> {
        self
    }
}

impl<T: ?Sized> Holds for Arc<RLock<T>> {
    type Value = T;

    #[inline]
    fn lock(&self) -> &RLock<T> {
        self
    }
}

/// The lock, taken once. Dropping it gives that back.
pub(super) struct Granted<P: Holds> {
    lock: P,
}

impl<P: Holds> Granted<P> {
    /// The caller has taken the lock.
    pub(super) fn new(lock: P) -> Granted<P> {
        Granted { lock }
    }
}

impl<P: Holds> Drop for Granted<P> {
    fn drop(&mut self) {
        self.lock.lock().raw.unlock();
    }
}

// SAFETY: there are none but shared grants. The lock stays where it is, as `P` borrows or counts it. Grants
// on several threads: a lock made by `RLock::new` has a value that is `Sync`. One made by `RLock::unsync` is
// taken again on the thread only where it was taken first (`RawRLock::take_again`), and a grant for a value that
// is not `Sync` does not leave its thread (`Shared` is not `Send` then). What is done under one owner happens
// before the next one takes it, by the exchanges in `RawRLock::unlock` and `RawRLock::take`.
unsafe impl<P: Holds> SharedGrant for Granted<P> {
    type Value = P::Value;

    #[inline]
    fn guarded(&self) -> &Guarded<P::Value> {
        &self.lock.lock().value
    }
}

/// Access to the value of an [`RLock`], until it is dropped. Its owner may have several.
///
/// It gives a `&T` and no more, since another guard of the same owner may give one, too. It may be kept across
/// an await, and sent to another thread if `T` is `Sync`.
#[must_use = "dropping a guard unlocks at once"]
#[clippy::has_significant_drop]
pub struct RLockGuard<'a, T: ?Sized> {
    access: Shared<Granted<&'a RLock<T>>>,
}

/// An [`RLockGuard`] that keeps its lock alive, so that it borrows nothing.
#[must_use = "dropping a guard unlocks at once"]
#[clippy::has_significant_drop]
pub struct OwnedRLockGuard<T: ?Sized> {
    access: Shared<Granted<Arc<RLock<T>>>>,
}

access_of!(RLockGuard ['a, T: ?Sized] ['a, T] T);
access_of!(OwnedRLockGuard [T: ?Sized] [T] T);

impl<'a, T: ?Sized> RLockGuard<'a, T> {
    /// The caller has taken the lock.
    pub(super) fn new(lock: &'a RLock<T>) -> Self {
        RLockGuard { access: Shared::new(Granted::new(lock)) }
    }

    /// The lock that this guard holds.
    pub fn lock(this: &Self) -> &'a RLock<T> {
        this.access.grant().lock
    }
}

impl<T: ?Sized> OwnedRLockGuard<T> {
    /// The caller has taken the lock.
    pub(super) fn new(lock: Arc<RLock<T>>) -> Self {
        OwnedRLockGuard { access: Shared::new(Granted::new(lock)) }
    }

    /// The lock that this guard holds.
    pub fn lock(this: &Self) -> &Arc<RLock<T>> {
        &this.access.grant().lock
    }
}
