//! Layer 2, semaphore. The futures that wait for permits.
//!
//! Owns [`Claim`], which waits however the semaphore is held, and the two futures that users see. Called by
//! `Semaphore`.
#![forbid(unsafe_code)]

use std::fmt;
use std::future::Future;
use std::marker::PhantomPinned;
use std::ops::Deref;
use std::panic::Location;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use pin_project_lite::pin_project;

use super::{AcquireError, OwnedSemaphorePermit, Semaphore, SemaphorePermit};
use crate::probe::{self, Wait};
use crate::wait_queue::{Outcome, Waiter};

pin_project! {
    /// What both futures do; `S` is how they hold the semaphore.
    pub(super) struct Claim<S> {
        // None once permits were given out, which hold it now.
        semaphore: Option<S>,
        permits: u32,
        location: &'static Location<'static>,
        #[pin]
        waiter: Waiter,
        #[pin]
        _pinned: PhantomPinned,
    }
}

impl<S: Deref<Target = Semaphore>> Claim<S> {
    #[inline]
    #[track_caller]
    pub(super) fn new(semaphore: S, permits: u32) -> Claim<S> {
        Claim {
            semaphore: Some(semaphore),
            permits,
            location: Location::caller(),
            waiter: Waiter::new(),
            _pinned: PhantomPinned,
        }
    }

    #[inline]
    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<(S, usize), AcquireError>> {
        let this = self.project();
        let n = *this.permits as usize;
        let semaphore: &Semaphore = this.semaphore.as_ref().expect("polled after it was ready");
        // One that waits has ended a poll, so its budget is fresh, and it must not miss its turn.
        if !this.waiter.is_waiting() {
            ready!(probe::poll_budget(cx));
        }
        let (free, take) = (|| semaphore.free(), || semaphore.take(n));
        match this.waiter.poll_claim(&semaphore.queue, n, free, take, cx) {
            Poll::Ready(Outcome::Taken(Ok(()))) => {
                probe::spend();
                Poll::Ready(Ok((this.semaphore.take().expect("looked at above"), n)))
            }
            Poll::Ready(_) => Poll::Ready(Err(AcquireError(()))),
            Poll::Pending => {
                probe::waiting(Wait::Semaphore, (&raw const *semaphore).cast(), Some(this.location));
                Poll::Pending
            }
        }
    }
}

impl<S> fmt::Debug for Claim<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Acquire").field("permits", &self.permits).field("waiter", &self.waiter).finish()
    }
}

pin_project! {
    /// The future of [`Semaphore::acquire`] and [`Semaphore::acquire_many`].
    ///
    /// # Panics
    /// When it is polled after it was ready.
    ///
    /// # Cancel safety
    /// **Loses its place in line.** No permit is lost.
    #[derive(Debug)]
    #[must_use = "futures do nothing unless they are awaited"]
    pub struct Acquire<'a> {
        #[pin]
        pub(super) inner: Claim<&'a Semaphore>,
    }
}

impl<'a> Future for Acquire<'a> {
    type Output = Result<SemaphorePermit<'a>, AcquireError>;

    #[inline]
    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let taken = ready!(self.project().inner.poll(cx));
        Poll::Ready(taken.map(|(semaphore, permits)| SemaphorePermit { semaphore, permits }))
    }
}

pin_project! {
    /// The future of [`Semaphore::acquire_owned`] and [`Semaphore::acquire_many_owned`].
    ///
    /// # Panics
    /// When it is polled after it was ready.
    ///
    /// # Cancel safety
    /// **Loses its place in line.** No permit is lost.
    #[derive(Debug)]
    #[must_use = "futures do nothing unless they are awaited"]
    pub struct AcquireOwned {
        #[pin]
        pub(super) inner: Claim<Arc<Semaphore>>,
    }
}

impl Future for AcquireOwned {
    type Output = Result<OwnedSemaphorePermit, AcquireError>;

    #[inline]
    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let taken = ready!(self.project().inner.poll(cx));
        Poll::Ready(taken.map(|(semaphore, permits)| OwnedSemaphorePermit { semaphore, permits }))
    }
}
