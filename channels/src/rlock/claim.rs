//! Layer 3, rlock. The futures that wait for a re-entrant lock.
//!
//! Owns the two of them, borrowed and counted, which are one inside. Called by `RLock`.
#![forbid(unsafe_code)]

use std::fmt;
use std::future::Future;
use std::marker::PhantomPinned;
use std::panic::Location;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use pin_project_lite::pin_project;

use super::guard::Holds;
use super::{OwnedRLockGuard, RLock, RLockGuard, ReentryError};
use crate::wait_queue::Waiter;

pin_project! {
    /// Waits for a lock that `P` keeps at hand.
    struct Claim<P> {
        // None once it is over.
        lock: Option<P>,
        location: &'static Location<'static>,
        #[pin]
        waiter: Waiter,
        #[pin]
        _pinned: PhantomPinned,
    }
}

impl<P: Holds> Claim<P> {
    fn new(lock: P, location: &'static Location<'static>) -> Claim<P> {
        Claim { lock: Some(lock), location, waiter: Waiter::new(), _pinned: PhantomPinned }
    }

    /// Ready with what held the lock, which was taken.
    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<P, ReentryError>> {
        let this = self.project();
        let lock = this.lock.as_ref().expect("polled after it was ready").lock();
        let taken = ready!(lock.raw.poll_take(this.waiter, this.location, cx));
        let lock = this.lock.take().expect("looked at above");
        Poll::Ready(taken.map(|()| lock))
    }
}

impl<P> fmt::Debug for Claim<P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Claim").field("location", &self.location).field("waiter", &self.waiter).finish()
    }
}

pin_project! {
    /// The future of [`RLock::lock`].
    ///
    /// # Panics
    /// When it is polled after it was ready.
    ///
    /// # Cancel safety
    /// **Loses its place in line.** A lock that was offered to it goes to the next one.
    #[must_use = "futures do nothing unless they are awaited"]
    pub struct RLocking<'a, T: ?Sized> {
        #[pin]
        inner: Claim<&'a RLock<T>>,
    }
}

pin_project! {
    /// The future of [`RLock::lock_owned`].
    ///
    /// # Panics
    /// When it is polled after it was ready.
    ///
    /// # Cancel safety
    /// **Loses its place in line.** A lock that was offered to it goes to the next one.
    #[must_use = "futures do nothing unless they are awaited"]
    pub struct RLockingOwned<T: ?Sized> {
        #[pin]
        inner: Claim<Arc<RLock<T>>>,
    }
}

impl<'a, T: ?Sized> RLocking<'a, T> {
    pub(super) fn new(lock: &'a RLock<T>, location: &'static Location<'static>) -> Self {
        RLocking { inner: Claim::new(lock, location) }
    }
}

impl<T: ?Sized> RLockingOwned<T> {
    pub(super) fn new(lock: Arc<RLock<T>>, location: &'static Location<'static>) -> Self {
        RLockingOwned { inner: Claim::new(lock, location) }
    }
}

impl<'a, T: ?Sized> Future for RLocking<'a, T> {
    type Output = Result<RLockGuard<'a, T>, ReentryError>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        self.project().inner.poll(cx).map_ok(RLockGuard::new)
    }
}

impl<T: ?Sized> Future for RLockingOwned<T> {
    type Output = Result<OwnedRLockGuard<T>, ReentryError>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        self.project().inner.poll(cx).map_ok(OwnedRLockGuard::new)
    }
}

impl<T: ?Sized> fmt::Debug for RLocking<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("RLocking").field(&self.inner).finish()
    }
}

impl<T: ?Sized> fmt::Debug for RLockingOwned<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("RLockingOwned").field(&self.inner).finish()
    }
}
