//! Layer 3. The receiving end of a channel, its stream and its futures. Called by user code only.
#![forbid(unsafe_code)]

use std::fmt;
use std::future::Future;
use std::panic::Location;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use futures_core::Stream;
use pin_project_lite::pin_project;

use super::{IsClosed, Shared, State, Stats, poll_units, revive, taken};
use crate::block::deadline_after;
use crate::channel::error::{RecvError, RecvTimeoutError, TryRecvError};
use crate::probe::{self, Wait};
use crate::ring::Pop;
use crate::shim::Arc;
use crate::shim::Ordering::Relaxed;
use crate::wait_queue::Waiter;

/// The receiving end of a channel. Clones receive from the same channel, each message going to one of them;
/// when the last one goes, the channel closes and what is in it is dropped.
///
/// It is a [`Stream`] too. A stream that has been polled keeps its place in line until it is polled again or
/// dropped: do not leave one lying about while other receivers of the channel wait.
pub struct Receiver<T> {
    shared: Arc<Shared<T>>,
    /// The place in line of the stream. Made when it first has to wait.
    stream: Option<Pin<Box<Waiter>>>,
}

impl<T> Receiver<T> {
    pub(super) fn new(shared: Arc<Shared<T>>) -> Receiver<T> {
        Receiver { shared, stream: None }
    }

    /// Waits for the next message.
    ///
    /// Messages come in the order in which they were sent. Receivers who wait are served first come, first
    /// served; one who does not have to wait may go before them, a limited number of times.
    ///
    /// # Examples
    /// ```
    /// # futures_lite::future::block_on(async {
    /// let (tx, rx) = filch_channels::channel::bounded(1);
    /// tx.send(1).await.unwrap();
    /// drop(tx);
    /// assert_eq!(rx.recv().await, Ok(1));
    /// assert!(rx.recv().await.is_err());
    /// # });
    /// ```
    ///
    /// # Errors
    /// [`RecvError`] once the channel is closed *and* empty, and no permit is left.
    ///
    /// # Cancel safety
    /// **Strict.** A message is taken only by the poll that returns it; the place in line is not, but any
    /// receiver's will do for a message.
    #[track_caller]
    pub fn recv(&self) -> Recv<'_, T> {
        Recv { receiver: self, location: Location::caller(), waiter: None }
    }

    /// Waits for a message, then takes all that are there, up to `limit`, appends them to `buffer` and says
    /// how many. 0 says that the channel is closed and empty, or that `limit` is 0.
    ///
    /// # Examples
    /// ```
    /// # futures_lite::future::block_on(async {
    /// let (tx, rx) = filch_channels::channel::bounded(4);
    /// for number in 1..=3 {
    ///     tx.send(number).await.unwrap();
    /// }
    /// let mut batch = Vec::new();
    /// assert_eq!(rx.recv_many(&mut batch, 10).await, 3);
    /// assert_eq!(batch, [1, 2, 3]);
    /// # });
    /// ```
    ///
    /// # Cancel safety
    /// **Strict.** Messages are taken only by the poll that returns.
    #[track_caller]
    pub fn recv_many<'a>(&'a self, buffer: &'a mut Vec<T>, limit: usize) -> RecvMany<'a, T> {
        RecvMany { receiver: self, buffer, limit, location: Location::caller(), waiter: None }
    }

    /// Takes a message if there is one at once.
    ///
    /// # Errors
    /// [`TryRecvError::Empty`] when there is none, or others have waited so long that it is their turn;
    /// [`TryRecvError::Closed`] once the channel is closed and empty, and no permit is left.
    pub fn try_recv(&self) -> Result<T, TryRecvError> {
        let mut answer = None;
        let taken = self.shared.messages.try_claim(|| match self.shared.ring.pop() {
            Pop::Got(message) => Some(message),
            other => {
                answer = Some(other);
                None
            }
        });
        match (taken, answer) {
            (Some(message), _) => {
                self.shared.received();
                Ok(message)
            }
            (None, Some(Pop::Closed)) => Err(TryRecvError::Closed),
            // Not our turn.
            (None, None) if self.stats().state == State::Closed => Err(TryRecvError::Closed),
            (None, _) => Err(TryRecvError::Empty),
        }
    }

    /// Waits on this thread for the next message.
    ///
    /// # Errors
    /// [`RecvError`] as for [`recv`](Receiver::recv).
    pub fn recv_blocking(&self) -> Result<T, RecvError> {
        match self.recv_until(None) {
            Ok(message) => Ok(message),
            Err(_) => Err(RecvError),
        }
    }

    /// [`recv_blocking`](Receiver::recv_blocking) under tokio's name.
    ///
    /// # Errors
    /// As there.
    pub fn blocking_recv(&self) -> Result<T, RecvError> {
        self.recv_blocking()
    }

    /// Waits on this thread for the next message, for at most `timeout`.
    ///
    /// # Errors
    /// [`RecvTimeoutError::Timeout`] when none came in time, [`RecvTimeoutError::Closed`] as for
    /// [`recv`](Receiver::recv).
    pub fn recv_timeout(&self, timeout: Duration) -> Result<T, RecvTimeoutError> {
        self.recv_until(Some(timeout))
    }

    fn recv_until(&self, timeout: Option<Duration>) -> Result<T, RecvTimeoutError> {
        let shared = &*self.shared;
        let outcome = Waiter::claim_blocking(
            &shared.messages,
            1,
            || shared.ring.ready(),
            || shared.take_message(),
            timeout.and_then(deadline_after),
        );
        match outcome.map(taken) {
            Some(Ok(message)) => {
                shared.received();
                Ok(message)
            }
            Some(Err(IsClosed)) => Err(RecvTimeoutError::Closed),
            None => Err(RecvTimeoutError::Timeout),
        }
    }

    /// The next message for a hand-written future: `None` once the channel is closed and empty. It waits as
    /// the stream does, whose remark on the place in line holds here too.
    pub fn poll_recv(&mut self, cx: &mut Context<'_>) -> Poll<Option<T>> {
        ready!(probe::poll_budget(cx));
        let shared = &*self.shared;
        if self.stream.is_none() {
            if let Some(answer) = shared.messages.try_claim(|| shared.take_message()) {
                return Poll::Ready(finish(shared, answer).ok());
            }
        }
        let waiter = self.stream.get_or_insert_with(|| Box::pin(Waiter::new())).as_mut();
        let units = || shared.ring.ready();
        let polled = waiter.poll_claim(&shared.messages, 1, units, || shared.take_message(), cx);
        settle(shared, polled.map(taken), None).map(Result::ok)
    }

    /// Closes the channel: no message goes in any more, what is there can still be received. False: it was
    /// closed.
    pub fn close(&self) -> bool {
        self.shared.close()
    }

    /// Whether the channel was closed, or its senders are gone. There may be messages in it.
    pub fn is_closed(&self) -> bool {
        self.shared.ring.is_closed()
    }

    /// The number of messages that could be sent now: neither taken by a message nor kept by a permit.
    pub fn capacity(&self) -> usize {
        let look = self.shared.ring.look();
        self.max_capacity().saturating_sub(look.len + look.reserved)
    }

    /// The room that the channel was made with.
    pub fn max_capacity(&self) -> usize {
        self.shared.ring.capacity()
    }

    /// The number of messages in the channel.
    pub fn len(&self) -> usize {
        self.shared.ring.look().len
    }

    /// Whether there is no message in the channel.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Whether there is no room: for a message, or but for what permits keep.
    pub fn is_full(&self) -> bool {
        self.capacity() == 0
    }

    /// The number of senders.
    pub fn sender_count(&self) -> usize {
        self.stats().senders
    }

    /// The number of receivers.
    pub fn receiver_count(&self) -> usize {
        self.stats().receivers
    }

    /// What the channel looks like.
    pub fn stats(&self) -> Stats {
        self.shared.stats()
    }

    /// Whether `other` receives from the same channel.
    pub fn same_channel(&self, other: &Receiver<T>) -> bool {
        Arc::ptr_eq(&self.shared, &other.shared)
    }

    /// A receiver that does not keep the channel open.
    pub fn downgrade(&self) -> WeakReceiver<T> {
        WeakReceiver { shared: self.shared.clone() }
    }
}

/// The answer to a receiver, once it has one.
#[inline]
fn finish<T>(shared: &Shared<T>, answer: Result<T, IsClosed>) -> Result<T, RecvError> {
    probe::spend();
    let message = answer.map_err(|IsClosed| RecvError)?;
    shared.received();
    Ok(message)
}

/// What both the future and the stream make of a poll of their waiter.
#[inline]
fn settle<T>(
    shared: &Shared<T>,
    polled: Poll<Result<T, IsClosed>>,
    location: Option<&'static Location<'static>>,
) -> Poll<Result<T, RecvError>> {
    match polled {
        Poll::Ready(answer) => Poll::Ready(finish(shared, answer)),
        Poll::Pending => {
            probe::waiting(Wait::Recv, shared.address(), location);
            Poll::Pending
        }
    }
}

impl<T> Stream for Receiver<T> {
    type Item = T;

    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<T>> {
        self.get_mut().poll_recv(cx)
    }
}

impl<T> Clone for Receiver<T> {
    fn clone(&self) -> Receiver<T> {
        // Ordering: Relaxed: the count is not 0, and stays so, as `self` is one.
        self.shared.receivers.fetch_add(1, Relaxed);
        Receiver::new(self.shared.clone())
    }
}

impl<T> Drop for Receiver<T> {
    fn drop(&mut self) {
        // First, so that an invitation goes to those who stay.
        self.stream = None;
        self.shared.drop_receiver();
    }
}

impl<T> fmt::Debug for Receiver<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Receiver").field(&self.shared).finish()
    }
}

/// A receiver that does not keep the channel open. It keeps its memory.
pub struct WeakReceiver<T> {
    shared: Arc<Shared<T>>,
}

impl<T> WeakReceiver<T> {
    /// A receiver, unless the last one is gone.
    pub fn upgrade(&self) -> Option<Receiver<T>> {
        revive(&self.shared.receivers).then(|| Receiver::new(self.shared.clone()))
    }
}

impl<T> Clone for WeakReceiver<T> {
    fn clone(&self) -> WeakReceiver<T> {
        WeakReceiver { shared: self.shared.clone() }
    }
}

impl<T> fmt::Debug for WeakReceiver<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("WeakReceiver").field(&self.shared).finish()
    }
}

pin_project! {
    /// The future of [`Receiver::recv`].
    #[derive(Debug)]
    #[must_use = "futures do nothing unless polled"]
    pub struct Recv<'a, T> {
        receiver: &'a Receiver<T>,
        location: &'static Location<'static>,
        #[pin]
        waiter: Option<Waiter>,
    }
}

impl<T> Future for Recv<'_, T> {
    type Output = Result<T, RecvError>;

    #[inline]
    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<T, RecvError>> {
        ready!(probe::poll_budget(cx));
        let this = self.project();
        let shared = &*this.receiver.shared;
        let (units, take) = (|| shared.ring.ready(), || shared.take_message());
        settle(shared, poll_units(&shared.messages, this.waiter, 1, units, take, cx), Some(this.location))
    }
}

pin_project! {
    /// The future of [`Receiver::recv_many`].
    #[must_use = "futures do nothing unless polled"]
    pub struct RecvMany<'a, T> {
        receiver: &'a Receiver<T>,
        buffer: &'a mut Vec<T>,
        limit: usize,
        location: &'static Location<'static>,
        #[pin]
        waiter: Option<Waiter>,
    }
}

impl<T> Future for RecvMany<'_, T> {
    type Output = usize;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<usize> {
        ready!(probe::poll_budget(cx));
        let this = self.project();
        if *this.limit == 0 {
            return Poll::Ready(0);
        }
        let shared = &*this.receiver.shared;
        let take = || match shared.ring.pop_many(*this.limit, this.buffer) {
            Pop::Got(count) => Some(count),
            Pop::Closed => Some(0),
            Pop::Empty => None,
        };
        match poll_units(&shared.messages, this.waiter, 1, || shared.ring.ready(), take, cx) {
            Poll::Ready(count) => {
                probe::spend();
                shared.received();
                Poll::Ready(count)
            }
            Poll::Pending => {
                probe::waiting(Wait::Recv, shared.address(), Some(this.location));
                Poll::Pending
            }
        }
    }
}

impl<T> fmt::Debug for RecvMany<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RecvMany").field("limit", &self.limit).finish_non_exhaustive()
    }
}
