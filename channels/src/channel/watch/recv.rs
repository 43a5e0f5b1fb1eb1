//! Layer 3, watch. The receiving end, its stream and its futures. Called by user code only.
#![forbid(unsafe_code)]

use std::fmt;
use std::future::{Future, poll_fn};
use std::panic::Location;
use std::pin::{Pin, pin};
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};

use futures_core::Stream;
use pin_project_lite::pin_project;

use super::error::{RecvError, RecvTimeoutError};
use super::{ONE, Ref, Shared};
use crate::block::{self, deadline_after};
use crate::probe::{self, Wait};
use crate::shim::Arc;
use crate::shim::Ordering::{AcqRel, Relaxed};
use crate::wait_queue::{Outcome, Waiter};

/// The receiving end. It remembers which value it has seen last; a clone has seen as much.
///
/// It is a [`Stream`] too, of each value that it has not seen: of several that came since, the newest.
pub struct Receiver<T> {
    shared: Arc<Shared<T>>,
    /// The version of the value seen last, in steps of [`ONE`].
    seen: usize,
    /// The place in line of the stream. Made when it first has to wait.
    stream: Option<Pin<Box<Waiter>>>,
}

impl<T> Shared<T> {
    /// What a receiver that has seen the version `seen` waits for: another version, or the end.
    fn news(&self, seen: usize) -> Option<Result<usize, RecvError>> {
        match self.now() {
            (version, _) if version != seen => Some(Ok(version)),
            (_, true) => Some(Err(RecvError)),
            (_, false) => None,
        }
    }

    /// Waits for news, and notes the version. A budget is the caller's business.
    fn poll_changed(
        &self,
        seen: &mut usize,
        mut waiter: Pin<&mut Waiter>,
        location: Option<&'static Location<'static>>,
        cx: &mut Context<'_>,
    ) -> Poll<Result<(), RecvError>> {
        loop {
            let news = || self.news(*seen);
            match waiter.as_mut().poll_told(&self.changes, *seen, news, cx) {
                Poll::Ready(Outcome::Taken(news)) => {
                    return Poll::Ready(news.map(|version| *seen = version));
                }
                // So there are news, and they are found at once.
                Poll::Ready(Outcome::Told(_)) => {}
                Poll::Pending => {
                    probe::waiting(Wait::Recv, self.address(), location);
                    return Poll::Pending;
                }
            }
        }
    }

    /// Borrows the value if `wanted` says so, and marks it as seen in any case.
    fn look(
        &self,
        seen: &mut usize,
        first_seen: usize,
        wanted: &mut impl FnMut(&T) -> bool,
    ) -> Option<Ref<'_, T>> {
        let (value, version) = self.read();
        *seen = version;
        wanted(&value).then(|| Ref::new(value, version != first_seen))
    }
}

impl<T> Receiver<T> {
    pub(super) fn new(shared: Arc<Shared<T>>, seen: usize) -> Receiver<T> {
        Receiver { shared, seen, stream: None }
    }

    /// The value, which does not count as seen by that. Blocks only while another thread runs the closure of a
    /// [`send_modify`](super::Sender::send_modify).
    ///
    /// # Panics
    /// When it is called by such a closure.
    pub fn borrow(&self) -> Ref<'_, T> {
        let (value, version) = self.shared.read();
        Ref::new(value, version != self.seen)
    }

    /// The value, which counts as seen from now on. Blocks as [`borrow`](Self::borrow) does.
    ///
    /// # Panics
    /// As there.
    pub fn borrow_and_update(&mut self) -> Ref<'_, T> {
        let (value, version) = self.shared.read();
        let has_changed = std::mem::replace(&mut self.seen, version) != version;
        Ref::new(value, has_changed)
    }

    /// Whether there is a value that this receiver has not seen.
    ///
    /// # Errors
    /// [`RecvError`] when the channel is closed, also if the last value is still to be seen: that one,
    /// [`changed`](Self::changed) tells of.
    pub fn has_changed(&self) -> Result<bool, RecvError> {
        match self.shared.now() {
            (_, true) => Err(RecvError),
            (version, false) => Ok(version != self.seen),
        }
    }

    /// Makes this receiver count the value that is there as one that it has not seen.
    pub fn mark_changed(&mut self) {
        self.seen = self.shared.now().0.wrapping_sub(ONE);
    }

    /// Makes this receiver count the value that is there as seen.
    pub fn mark_unchanged(&mut self) {
        self.seen = self.shared.now().0;
    }

    /// Whether every sender is gone. The last value may still be to be seen.
    pub fn is_closed(&self) -> bool {
        self.shared.now().1
    }

    /// Whether `other` receives from the same channel.
    pub fn same_channel(&self, other: &Receiver<T>) -> bool {
        Arc::ptr_eq(&self.shared, &other.shared)
    }

    /// Waits for a value that this receiver has not seen, and counts it as seen.
    ///
    /// # Examples
    /// ```
    /// # use filch_channels::channel::watch;
    /// # futures_lite::future::block_on(async {
    /// let (tx, mut rx) = watch::channel(1);
    /// tx.send(2).unwrap();
    /// rx.changed().await.unwrap();
    /// assert_eq!(*rx.borrow(), 2);
    /// # });
    /// ```
    ///
    /// # Errors
    /// [`RecvError`] once the channel is closed *and* the last value was seen.
    ///
    /// # Cancel safety
    /// **Strict.** A value counts as seen only by the poll that is ready.
    #[track_caller]
    pub fn changed(&mut self) -> Changed<'_, T> {
        Changed {
            shared: &self.shared,
            seen: &mut self.seen,
            location: Location::caller(),
            waiter: Waiter::new(),
        }
    }

    /// Waits on this thread for a value that this receiver has not seen, and counts it as seen.
    ///
    /// # Errors
    /// As [`changed`](Self::changed).
    pub fn changed_blocking(&mut self) -> Result<(), RecvError> {
        let mut changed = pin!(self.changed());
        block::block_on(|cx| changed.as_mut().poll_changed(cx))
    }

    /// Waits on this thread for a value that this receiver has not seen, for at most `timeout`.
    ///
    /// `Duration::MAX` means for ever. A task bounds [`changed`](Self::changed) with its runtime's timeout
    /// instead.
    ///
    /// # Errors
    /// [`RecvTimeoutError::Timeout`] when none came in time; else as [`changed`](Self::changed).
    pub fn changed_timeout(&mut self, timeout: Duration) -> Result<(), RecvTimeoutError> {
        self.changed_by(deadline_after(timeout))
    }

    /// Waits on this thread for a value that this receiver has not seen, until `deadline` at most.
    ///
    /// # Errors
    /// As [`changed_timeout`](Self::changed_timeout).
    pub fn changed_deadline(&mut self, deadline: Instant) -> Result<(), RecvTimeoutError> {
        self.changed_by(Some(deadline))
    }

    fn changed_by(&mut self, deadline: Option<Instant>) -> Result<(), RecvTimeoutError> {
        let mut changed = pin!(self.changed());
        match block::block_until(deadline, |cx| changed.as_mut().poll_changed(cx)) {
            Some(answer) => answer.map_err(RecvTimeoutError::from),
            None => Err(RecvTimeoutError::Timeout),
        }
    }

    /// Waits until the value is one for which `wanted` says true, borrows it, and counts it as seen.
    ///
    /// `wanted` sees the value that is there now, seen or not, and after that each new one; of several that
    /// come at once, the newest. It may send, but not change the value in place: it has borrowed it.
    ///
    /// # Examples
    /// ```
    /// # use filch_channels::channel::watch;
    /// # use futures_lite::future;
    /// let (tx, mut rx) = watch::channel(1);
    /// let count = async {
    ///     while *tx.borrow() < 10 {
    ///         tx.send_modify(|n| *n += 1);
    ///         future::yield_now().await;
    ///     }
    /// };
    /// let wait = async { *rx.wait_for(|n| *n > 5).await.unwrap() };
    /// assert_eq!(future::block_on(future::zip(count, wait)).1, 6);
    /// ```
    ///
    /// # Errors
    /// [`RecvError`] once the channel is closed and the last value is not the one.
    ///
    /// # Panics
    /// When `wanted` does.
    ///
    /// # Cancel safety
    /// **Strict.** What `wanted` has declined counts as seen.
    #[track_caller]
    pub fn wait_for(
        &mut self,
        mut wanted: impl FnMut(&T) -> bool,
    ) -> impl Future<Output = Result<Ref<'_, T>, RecvError>> {
        let location = Location::caller();
        async move {
            poll_fn(probe::poll_budget).await;
            let (shared, seen): (&Shared<T>, _) = (&self.shared, &mut self.seen);
            let first_seen = *seen;
            loop {
                if let Some(found) = shared.look(seen, first_seen, &mut wanted) {
                    probe::spend();
                    return Ok(found);
                }
                Changed { shared, seen: &mut *seen, location, waiter: Waiter::new() }.await?;
            }
        }
    }

    /// Waits on this thread until the value is one for which `wanted` says true: see
    /// [`wait_for`](Self::wait_for).
    ///
    /// # Errors
    /// As there.
    ///
    /// # Panics
    /// As there.
    pub fn wait_for_blocking(&mut self, wanted: impl FnMut(&T) -> bool) -> Result<Ref<'_, T>, RecvError> {
        self.wait_for_by(wanted, None).map_err(|_| RecvError)
    }

    /// Waits on this thread until the value is one for which `wanted` says true, for at most `timeout`: see
    /// [`wait_for`](Self::wait_for).
    ///
    /// # Errors
    /// [`RecvTimeoutError::Timeout`] when none came in time; else as there.
    ///
    /// # Panics
    /// As there.
    pub fn wait_for_timeout(
        &mut self,
        timeout: Duration,
        wanted: impl FnMut(&T) -> bool,
    ) -> Result<Ref<'_, T>, RecvTimeoutError> {
        self.wait_for_by(wanted, deadline_after(timeout))
    }

    /// Waits on this thread until the value is one for which `wanted` says true, until `deadline` at most: see
    /// [`wait_for`](Self::wait_for).
    ///
    /// # Errors
    /// As [`wait_for_timeout`](Self::wait_for_timeout).
    ///
    /// # Panics
    /// As [`wait_for`](Self::wait_for).
    pub fn wait_for_deadline(
        &mut self,
        deadline: Instant,
        wanted: impl FnMut(&T) -> bool,
    ) -> Result<Ref<'_, T>, RecvTimeoutError> {
        self.wait_for_by(wanted, Some(deadline))
    }

    fn wait_for_by(
        &mut self,
        mut wanted: impl FnMut(&T) -> bool,
        deadline: Option<Instant>,
    ) -> Result<Ref<'_, T>, RecvTimeoutError> {
        let (shared, seen): (&Shared<T>, _) = (&self.shared, &mut self.seen);
        let first_seen = *seen;
        loop {
            if let Some(found) = shared.look(seen, first_seen, &mut wanted) {
                return Ok(found);
            }
            let mut waiter = pin!(Waiter::new());
            let changed = |cx: &mut Context<'_>| shared.poll_changed(seen, waiter.as_mut(), None, cx);
            match block::block_until(deadline, changed) {
                Some(answer) => answer?,
                None => return Err(RecvTimeoutError::Timeout),
            }
        }
    }
}

impl<T: Clone> Stream for Receiver<T> {
    type Item = T;

    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<T>> {
        ready!(probe::poll_budget(cx));
        let Receiver { shared, seen, stream } = self.get_mut();
        let news = match shared.news(*seen) {
            Some(news) => {
                // The place in line, if there is one, is for what was waited for.
                *stream = None;
                news.map(|_| ())
            }
            None => {
                let waiter = stream.get_or_insert_with(|| Box::pin(Waiter::new()));
                ready!(shared.poll_changed(seen, waiter.as_mut(), None, cx))
            }
        };
        probe::spend();
        let take = |()| {
            let (value, version) = shared.read();
            *seen = version;
            value.clone()
        };
        Poll::Ready(news.ok().map(take))
    }
}

impl<T> Clone for Receiver<T> {
    fn clone(&self) -> Receiver<T> {
        // Ordering: Relaxed: the count is not 0, and stays so, as `self` is one.
        self.shared.receivers.fetch_add(1, Relaxed);
        Receiver::new(self.shared.clone(), self.seen)
    }
}

impl<T> Drop for Receiver<T> {
    fn drop(&mut self) {
        // Ordering: AcqRel pairs with the load in `receiver_count`: what the receivers did comes before the
        // end of the last one.
        if self.shared.receivers.fetch_sub(1, AcqRel) == 1 {
            self.shared.deserted.notify_all(0);
        }
    }
}

impl<T> fmt::Debug for Receiver<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Receiver")
            .field("version", &(self.shared.now().0 / ONE))
            .field("seen", &(self.seen / ONE))
            .finish_non_exhaustive()
    }
}

pin_project! {
    /// The future of [`Receiver::changed`].
    ///
    /// # Cancel safety
    /// **Strict.** A value counts as seen only by the poll that is ready.
    #[must_use = "futures do nothing unless they are awaited"]
    pub struct Changed<'a, T> {
        shared: &'a Shared<T>,
        seen: &'a mut usize,
        location: &'static Location<'static>,
        #[pin]
        waiter: Waiter,
    }
}

impl<T> Changed<'_, T> {
    fn poll_changed(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<(), RecvError>> {
        let this = self.project();
        this.shared.poll_changed(this.seen, this.waiter, Some(this.location), cx)
    }
}

impl<T> Future for Changed<'_, T> {
    type Output = Result<(), RecvError>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<(), RecvError>> {
        ready!(probe::poll_budget(cx));
        let answer = ready!(self.poll_changed(cx));
        probe::spend();
        Poll::Ready(answer)
    }
}

impl<T> fmt::Debug for Changed<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Changed").field("waiter", &self.waiter).finish_non_exhaustive()
    }
}
