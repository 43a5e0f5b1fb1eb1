//! One message, from one sender to one receiver; either may be a task or a thread.
//!
//! The methods are those of tokio's `oneshot`, and blocking forms. A receiver is a future of the message.
//!
//! # Implementation
//! Layer 3. Owns the two ends that users hold; what both share, one allocation with a state word, the cell of
//! the message, and three slots for wakers, is in `end.rs`, with a table of its states. Each side has one
//! waiter at most, so this is a wait queue of length one and does not need the real one. Called by user code
//! only.
//!
//! What differs from tokio's is inside: no reference counts (the state word says who frees), and the
//! receiver's waker is *copied* by the sender before its one locked operation instead of being claimed by
//! another one. So a message costs one locked operation when it is there before the receiver looks, and two
//! when the receiver waits; the last touch of an end is that operation itself, and nobody frees what the
//! other still reads (RUSTSEC-2026-0005), nor do both ever own the cell (RUSTSEC-2021-0124).

use std::fmt;
use std::future::Future;
use std::panic::Location;
use std::pin::Pin;
use std::ptr;
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};

use crate::block;
use crate::probe::{self, Wait};
use end::{CLOSED, DONE, ReceiverEnd, SenderEnd, VALUE};

mod end;

pub mod error {
    //! The errors of this channel.
    pub use crate::channel::error::{RecvError, RecvTimeoutError, TryRecvError};
}
use error::{RecvError, RecvTimeoutError, TryRecvError};

#[cfg(test)]
mod tests;

/// Creates a channel for one message.
///
/// # Examples
/// ```
/// use filch_channels::channel::oneshot;
///
/// let (tx, rx) = oneshot::channel();
/// std::thread::spawn(move || tx.send(6 * 7));
/// assert_eq!(futures_lite::future::block_on(rx), Ok(42));
/// ```
#[track_caller]
pub fn channel<T>() -> (Sender<T>, Receiver<T>) {
    let (sender, receiver) = end::pair();
    (Sender { end: Some(sender) }, Receiver { end: Some(receiver), created: Location::caller() })
}

/// The end that sends the message.
pub struct Sender<T> {
    /// `None` once it has sent: this side has then left.
    end: Option<SenderEnd<T>>,
}

impl<T> Unpin for Sender<T> {}

impl<T> Sender<T> {
    /// Sends the message. Never waits.
    ///
    /// `Ok` says that the receiver was still there, not that it will look.
    ///
    /// # Examples
    /// ```
    /// let (tx, rx) = filch_channels::channel::oneshot::channel();
    /// drop(rx);
    /// assert_eq!(tx.send("nobody listens"), Err("nobody listens"));
    /// ```
    ///
    /// # Errors
    /// The message, when the receiver is closed or gone.
    pub fn send(mut self, message: T) -> Result<(), T> {
        // Taken out: a waker that panics in there must not bring us there twice.
        let Some(end) = self.end.take() else { return Err(message) };
        end.send(message).map_err(|(end, message)| {
            self.end = Some(end);
            message
        })
    }

    /// Whether the receiver is closed or gone, so that a send would fail.
    pub fn is_closed(&self) -> bool {
        self.end.as_ref().is_none_or(|end| end.state() & CLOSED != 0)
    }

    /// Waits until the receiver is closed or gone.
    ///
    /// # Examples
    /// ```
    /// # futures_lite::future::block_on(async {
    /// let (mut tx, rx) = filch_channels::channel::oneshot::channel::<u32>();
    /// drop(rx);
    /// tx.closed().await; // Nobody wants the answer: stop working on it.
    /// # });
    /// ```
    ///
    /// # Cancel safety
    /// **Strict.** Nothing is lost when it is dropped.
    #[track_caller]
    pub fn closed(&mut self) -> Closed<'_, T> {
        Closed { sender: self, location: Location::caller() }
    }

    /// Ready once the receiver is closed or gone. Until then the waker of the latest call is kept, and woken.
    pub fn poll_closed(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        ready!(probe::poll_budget(cx));
        if self.end.as_mut().is_some_and(|end| end.arm(cx.waker())) {
            return Poll::Pending;
        }
        probe::spend();
        Poll::Ready(())
    }
}

impl<T> Drop for Sender<T> {
    fn drop(&mut self) {
        if let Some(end) = self.end.take() {
            end.give_up();
        }
    }
}

impl<T> fmt::Debug for Sender<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sender").field("closed", &self.is_closed()).finish_non_exhaustive()
    }
}

/// The future of [`Sender::closed`].
#[derive(Debug)]
#[must_use = "futures do nothing unless polled"]
pub struct Closed<'a, T> {
    sender: &'a mut Sender<T>,
    location: &'static Location<'static>,
}

impl<T> Future for Closed<'_, T> {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let ready = self.sender.poll_closed(cx);
        if ready.is_pending() {
            let channel = self.sender.end.as_ref().map_or(ptr::null(), SenderEnd::address);
            probe::waiting(Wait::Notify, channel, Some(self.location));
        }
        ready
    }
}

/// The end that receives the message: a future of it.
///
/// Awaiting `&mut receiver` keeps the end for later. Once the outcome was taken, a further look finds the
/// channel closed; it does not panic.
///
/// # Examples
/// ```
/// # futures_lite::future::block_on(async {
/// use filch_channels::channel::oneshot;
///
/// let (tx, mut rx) = oneshot::channel::<&str>();
/// drop(tx);
/// assert_eq!((&mut rx).await, Err(oneshot::error::RecvError));
/// # });
/// ```
///
/// # Errors
/// [`RecvError`] when the sender is gone and sent nothing.
///
/// # Cancel safety
/// **Strict.** The message is taken only by the poll that returns it.
#[must_use = "the message is lost when its receiver is dropped"]
pub struct Receiver<T> {
    /// `None` once the outcome was taken: this side has then left.
    end: Option<ReceiverEnd<T>>,
    /// Where the channel was made: what a report names, as a future does not know where it is awaited.
    created: &'static Location<'static>,
}

impl<T> Unpin for Receiver<T> {}

impl<T> Receiver<T> {
    /// Takes the message if it is there. Never waits.
    ///
    /// # Errors
    /// [`TryRecvError::Empty`] while it may still come, [`TryRecvError::Closed`] when it was taken or will
    /// not come.
    pub fn try_recv(&mut self) -> Result<T, TryRecvError> {
        let state = self.end.as_ref().map_or(DONE, ReceiverEnd::state);
        if state & DONE != 0 {
            return self.take().map_err(TryRecvError::from);
        }
        // After `CLOSED` no message can appear.
        Err(if state & CLOSED == 0 { TryRecvError::Empty } else { TryRecvError::Closed })
    }

    /// Makes every later send fail. A message that was sent before can still be received.
    ///
    /// # Examples
    /// ```
    /// let (tx, mut rx) = filch_channels::channel::oneshot::channel();
    /// rx.close();
    /// assert_eq!(tx.send(1), Err(1));
    /// assert!(rx.try_recv().is_err());
    /// ```
    pub fn close(&mut self) {
        let open = self.end.as_ref().filter(|end| end.state() & (CLOSED | DONE) == 0);
        if let Some(watcher) = open.and_then(ReceiverEnd::close) {
            watcher.wake();
        }
    }

    /// Whether no message is there to be taken, now.
    pub fn is_empty(&self) -> bool {
        self.end.as_ref().is_none_or(|end| end.state() & VALUE == 0)
    }

    /// Whether the outcome was taken.
    pub fn is_terminated(&self) -> bool {
        self.end.is_none()
    }

    /// Waits for the message on this thread.
    ///
    /// # Errors
    /// [`RecvError`] when the sender is gone and sent nothing.
    pub fn recv_blocking(mut self) -> Result<T, RecvError> {
        block::block_on(|cx| self.poll_recv(cx))
    }

    /// [`recv_blocking`](Receiver::recv_blocking) under tokio's name.
    ///
    /// # Errors
    /// As there.
    pub fn blocking_recv(self) -> Result<T, RecvError> {
        self.recv_blocking()
    }

    /// Waits for the message on this thread, for at most `timeout`.
    ///
    /// # Errors
    /// [`RecvTimeoutError::Timeout`]: the message may still come. [`RecvTimeoutError::Closed`]: it will not.
    pub fn recv_timeout(&mut self, timeout: Duration) -> Result<T, RecvTimeoutError> {
        self.recv_until(block::deadline_after(timeout))
    }

    /// Waits for the message on this thread, until `deadline`.
    ///
    /// # Errors
    /// As for [`recv_timeout`](Receiver::recv_timeout).
    pub fn recv_deadline(&mut self, deadline: Instant) -> Result<T, RecvTimeoutError> {
        self.recv_until(Some(deadline))
    }

    fn recv_until(&mut self, deadline: Option<Instant>) -> Result<T, RecvTimeoutError> {
        match block::block_until(deadline, |cx| self.poll_recv(cx)) {
            Some(outcome) => outcome.map_err(RecvTimeoutError::from),
            None => Err(RecvTimeoutError::Timeout),
        }
    }

    #[inline]
    fn poll_recv(&mut self, cx: &mut Context<'_>) -> Poll<Result<T, RecvError>> {
        let Some(end) = &mut self.end else { return Poll::Ready(Err(RecvError)) };
        let state = end.state();
        if state & DONE != 0 {
            return Poll::Ready(self.take());
        }
        // After `CLOSED` no message can appear.
        if state & CLOSED != 0 {
            return Poll::Ready(Err(RecvError));
        }
        probe::waiting(Wait::Recv, end.address(), Some(self.created));
        if end.arm(cx.waker()) {
            return Poll::Pending;
        }
        // The sender was done first.
        Poll::Ready(self.take())
    }

    /// Takes the outcome, which is there, and leaves.
    #[inline]
    fn take(&mut self) -> Result<T, RecvError> {
        match self.end.take() {
            Some(end) => end.take(),
            None => Err(RecvError),
        }
    }
}

impl<T> Drop for Receiver<T> {
    fn drop(&mut self) {
        if let Some(Err(end)) = self.end.take().map(ReceiverEnd::give_up) {
            // The message, if any, is dropped last: that is user code.
            drop(end.take());
        }
    }
}

impl<T> Future for Receiver<T> {
    type Output = Result<T, RecvError>;

    #[inline]
    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<T, RecvError>> {
        ready!(probe::poll_budget(cx));
        let outcome = self.poll_recv(cx);
        if outcome.is_ready() {
            probe::spend();
        }
        outcome
    }
}

impl<T> fmt::Debug for Receiver<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Receiver")
            .field("empty", &self.is_empty())
            .field("terminated", &self.is_terminated())
            .finish_non_exhaustive()
    }
}
