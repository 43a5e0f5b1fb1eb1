//! Layer 2, lock. The futures that wait for a lock.
//!
//! Owns [`Claim`], which waits in the line of a lock however that is held, and the two futures that users
//! see. Called by `Lock` and `all`.
#![forbid(unsafe_code)]

use std::fmt;
use std::future::Future;
use std::marker::PhantomPinned;
use std::panic::Location;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use pin_project_lite::pin_project;

use super::guard::{Granted, Holds};
use super::rank::Form;
use super::{Lock, LockGuard, OwnedLockGuard};
use crate::wait_queue::Waiter;

pin_project! {
    /// Waits for a lock that `P` keeps at hand.
    struct Claim<P> {
        // None once the lock was taken: the grant has it now.
        lock: Option<P>,
        location: &'static Location<'static>,
        ranked: bool,
        #[pin]
        waiter: Waiter,
        #[pin]
        _pinned: PhantomPinned,
    }
}

impl<P: Holds> Claim<P> {
    #[inline]
    fn new(lock: P, location: &'static Location<'static>) -> Claim<P> {
        Claim { lock: Some(lock), location, ranked: true, waiter: Waiter::new(), _pinned: PhantomPinned }
    }

    /// The caller has asked already whether the order of ranked locks allows it.
    fn unranked(lock: P, location: &'static Location<'static>) -> Claim<P> {
        Claim { ranked: false, ..Claim::new(lock, location) }
    }

    // Always: it is short, as the rest is elsewhere, and called once for each await.
    #[inline(always)]
    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Granted<P>> {
        let this = self.project();
        let raw = this.lock.as_ref().expect("polled after it was ready").raw();
        if *this.ranked && !this.waiter.is_waiting() {
            raw.check_rank(Form::Async, this.location);
        }
        ready!(raw.poll_take(this.waiter, Form::Async, this.location, cx));
        Poll::Ready(Granted::new(this.lock.take().expect("looked at above")))
    }
}

impl<P> fmt::Debug for Claim<P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Claim").field("location", &self.location).field("waiter", &self.waiter).finish()
    }
}

pin_project! {
    /// The future of [`Lock::lock`].
    ///
    /// # Panics
    /// When it is polled after it was ready, or the lock is out of [order](Lock::ranked).
    ///
    /// # Cancel safety
    /// **Loses its place in line.** A lock that was offered to it goes to the next one.
    #[must_use = "futures do nothing unless they are awaited"]
    pub struct Locking<'a, T: ?Sized> {
        #[pin]
        inner: Claim<&'a Lock<T>>,
    }
}

pin_project! {
    /// The future of [`Lock::lock_owned`].
    ///
    /// # Panics
    /// When it is polled after it was ready, or the lock is out of [order](Lock::ranked).
    ///
    /// # Cancel safety
    /// **Loses its place in line.** A lock that was offered to it goes to the next one.
    #[must_use = "futures do nothing unless they are awaited"]
    pub struct LockingOwned<T: ?Sized> {
        #[pin]
        inner: Claim<Arc<Lock<T>>>,
    }
}

impl<'a, T: ?Sized> Locking<'a, T> {
    #[inline]
    pub(super) fn new(lock: &'a Lock<T>, location: &'static Location<'static>) -> Self {
        Locking { inner: Claim::new(lock, location) }
    }

    /// The caller has asked already whether the order of ranked locks allows it.
    pub(super) fn unranked(lock: &'a Lock<T>, location: &'static Location<'static>) -> Self {
        Locking { inner: Claim::unranked(lock, location) }
    }
}

impl<T: ?Sized> LockingOwned<T> {
    #[inline]
    pub(super) fn new(lock: Arc<Lock<T>>, location: &'static Location<'static>) -> Self {
        LockingOwned { inner: Claim::new(lock, location) }
    }
}

impl<'a, T: ?Sized> Future for Locking<'a, T> {
    type Output = LockGuard<'a, T>;

    #[inline(always)]
    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<LockGuard<'a, T>> {
        self.project().inner.poll(cx).map(LockGuard::new)
    }
}

impl<T: ?Sized> Future for LockingOwned<T> {
    type Output = OwnedLockGuard<T>;

    #[inline(always)]
    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<OwnedLockGuard<T>> {
        self.project().inner.poll(cx).map(OwnedLockGuard::new)
    }
}

impl<T: ?Sized> fmt::Debug for Locking<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Locking").field(&self.inner).finish()
    }
}

impl<T: ?Sized> fmt::Debug for LockingOwned<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("LockingOwned").field(&self.inner).finish()
    }
}
