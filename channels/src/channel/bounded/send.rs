//! Layer 3. The sending end of a channel, its permits and its futures. Called by user code only.
#![forbid(unsafe_code)]

use std::fmt;
use std::future::Future;
use std::mem;
use std::panic::Location;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use pin_project_lite::pin_project;

use super::{IsClosed, Shared, Stats, poll_units, revive};
use crate::block::deadline_after;
use crate::channel::error::{SendError, SendTimeoutError, TrySendError};
use crate::probe::{self, Wait};
use crate::ring::{Force, Push};
use crate::shim::Arc;
use crate::shim::Ordering::Relaxed;
use crate::wait_queue::Waiter;

/// The sending end of a channel. Clones send to the same channel; when the last one goes, the channel closes.
pub struct Sender<T> {
    shared: Arc<Shared<T>>,
}

impl<T> Sender<T> {
    pub(super) fn new(shared: Arc<Shared<T>>) -> Sender<T> {
        Sender { shared }
    }

    /// Sends a message, waiting for room if need be.
    ///
    /// Senders who wait are served first come, first served; one who does not have to wait may go before
    /// them, a limited number of times.
    ///
    /// # Examples
    /// ```
    /// # futures_lite::future::block_on(async {
    /// let (tx, rx) = filch_channels::channel::bounded(1);
    /// tx.send("hello").await.unwrap();
    /// assert_eq!(rx.recv().await, Ok("hello"));
    /// drop(rx);
    /// assert_eq!(tx.send("too late").await.unwrap_err().into_inner(), "too late");
    /// # });
    /// ```
    ///
    /// # Errors
    /// [`SendError`] with the message, once the channel is closed.
    ///
    /// # Cancel safety
    /// **Loses its place in line.** The message is dropped with the future, unless [`Send::into_inner`] takes
    /// it back; to have it not leave your hands before there is room, [`reserve`](Sender::reserve) first.
    #[track_caller]
    pub fn send(&self, message: T) -> Send<'_, T> {
        Send { sender: self, message: Some(message), location: Location::caller(), waiter: None }
    }

    /// Sends a message if there is room at once.
    ///
    /// # Errors
    /// [`TrySendError::Full`] when there is none, or others have waited so long that it is their turn;
    /// [`TrySendError::Closed`] once the channel is closed. Either has the message.
    pub fn try_send(&self, message: T) -> Result<(), TrySendError<T>> {
        let mut message = Some(message);
        let pushed = self.try_room(|shared| shared.ring.push(&mut message));
        if pushed == Push::Done {
            self.shared.sent();
        }
        match (pushed, message) {
            (_, None) => Ok(()),
            (Push::Closed, Some(message)) => Err(TrySendError::Closed(message)),
            (_, Some(message)) => Err(TrySendError::Full(message)),
        }
    }

    /// Takes room as the rule of the line allows. `Full` stands for "not your turn" too.
    fn try_room(&self, mut take: impl FnMut(&Shared<T>) -> Push) -> Push {
        let mut answer = Push::Full;
        let taken = self.shared.room.try_claim(|| {
            answer = take(&self.shared);
            (answer == Push::Done).then_some(())
        });
        match (taken, answer) {
            (Some(()), _) => Push::Done,
            (None, Push::Full) if self.shared.ring.is_closed() => Push::Closed,
            (None, answer) => answer,
        }
    }

    /// Sends a message, waiting on this thread for room if need be.
    ///
    /// # Errors
    /// [`SendError`] with the message, once the channel is closed.
    pub fn send_blocking(&self, message: T) -> Result<(), SendError<T>> {
        self.send_until(message, None).map_err(|error| SendError(error.into_inner()))
    }

    /// [`send_blocking`](Sender::send_blocking) under tokio's name.
    ///
    /// # Errors
    /// As there.
    pub fn blocking_send(&self, message: T) -> Result<(), SendError<T>> {
        self.send_blocking(message)
    }

    /// Sends a message, waiting on this thread for room for at most `timeout`.
    ///
    /// # Errors
    /// [`SendTimeoutError::Timeout`] when there was no room in time, [`SendTimeoutError::Closed`] once the
    /// channel is closed. Either has the message.
    pub fn send_timeout(&self, message: T, timeout: Duration) -> Result<(), SendTimeoutError<T>> {
        self.send_until(message, Some(timeout))
    }

    fn send_until(&self, message: T, timeout: Option<Duration>) -> Result<(), SendTimeoutError<T>> {
        let shared = &*self.shared;
        let mut message = Some(message);
        let outcome = Waiter::claim_blocking(
            &shared.room,
            1,
            || shared.ring.free(),
            || shared.take_room(&mut message),
            timeout.and_then(deadline_after),
        );
        if message.is_none() {
            shared.sent();
        }
        match (outcome, message) {
            (_, None) => Ok(()),
            (None, Some(message)) => Err(SendTimeoutError::Timeout(message)),
            (Some(_), Some(message)) => Err(SendTimeoutError::Closed(message)),
        }
    }

    /// Sends a message at once: when there is no room, in place of the oldest one, which comes back.
    ///
    /// # Examples
    /// ```
    /// let (tx, rx) = filch_channels::channel::bounded(2);
    /// assert_eq!(tx.force_send(1).unwrap(), None);
    /// assert_eq!(tx.force_send(2).unwrap(), None);
    /// assert_eq!(tx.force_send(3).unwrap(), Some(1));
    /// assert_eq!(rx.try_recv(), Ok(2));
    /// ```
    ///
    /// # Errors
    /// [`TrySendError::Full`] when permits keep all the room, so that there is nothing to replace;
    /// [`TrySendError::Closed`] once the channel is closed. Either has the message.
    pub fn force_send(&self, message: T) -> Result<Option<T>, TrySendError<T>> {
        let mut message = Some(message);
        let forced = self.shared.ring.force(&mut message);
        match (forced, message) {
            (Force::Full, Some(message)) => Err(TrySendError::Full(message)),
            (Force::Closed, Some(message)) => Err(TrySendError::Closed(message)),
            (forced, _) => {
                self.shared.sent();
                Ok(if let Force::Displaced(oldest) = forced { Some(oldest) } else { None })
            }
        }
    }

    /// Waits for room and keeps it: the [`Permit`] then sends a message without waiting or failing.
    ///
    /// # Examples
    /// ```
    /// # futures_lite::future::block_on(async {
    /// let (tx, rx) = filch_channels::channel::bounded(1);
    /// let permit = tx.reserve().await.unwrap();
    /// assert!(tx.try_send(1).is_err());
    /// permit.send(2);
    /// assert_eq!(rx.recv().await, Ok(2));
    /// # });
    /// ```
    ///
    /// # Errors
    /// [`SendError`] once the channel is closed.
    ///
    /// # Cancel safety
    /// **Loses its place in line.** No room is lost.
    #[track_caller]
    pub fn reserve(&self) -> Reserve<'_, T> {
        Reserve { many: self.reserve_many(1) }
    }

    /// Waits for room for `count` messages at once, and keeps it. While it waits at the head of the line, it
    /// lets those behind it wait too.
    ///
    /// # Errors
    /// [`SendError`] once the channel is closed, or when `count` is more than its
    /// [`max_capacity`](Sender::max_capacity), or more than two million.
    ///
    /// # Cancel safety
    /// **Loses its place in line.** No room is lost.
    #[track_caller]
    pub fn reserve_many(&self, count: usize) -> ReserveMany<'_, T> {
        ReserveMany { sender: self, count, location: Location::caller(), waiter: None }
    }

    /// [`reserve`](Sender::reserve), with a permit that owns the sender.
    ///
    /// # Errors
    /// [`SendError`] once the channel is closed.
    ///
    /// # Cancel safety
    /// **Loses its place in line.** The sender is dropped with the future; keep a clone.
    #[track_caller]
    pub fn reserve_owned(self) -> ReserveOwned<T> {
        ReserveOwned { sender: Some(self), location: Location::caller(), waiter: None }
    }

    /// Keeps room for one message if there is some at once.
    ///
    /// # Errors
    /// [`TrySendError::Full`] and [`TrySendError::Closed`] as for [`try_send`](Sender::try_send).
    pub fn try_reserve(&self) -> Result<Permit<'_, T>, TrySendError<()>> {
        self.try_rooms(1)?;
        Ok(Permit { shared: &self.shared })
    }

    /// Keeps room for `count` messages if there is enough at once.
    ///
    /// # Errors
    /// [`TrySendError::Full`] and [`TrySendError::Closed`] as for [`try_send`](Sender::try_send).
    pub fn try_reserve_many(&self, count: usize) -> Result<Permits<'_, T>, TrySendError<()>> {
        if count > 0 {
            self.try_rooms(count)?;
        } else if self.is_closed() {
            return Err(TrySendError::Closed(()));
        }
        Ok(Permits { shared: &self.shared, count })
    }

    /// [`try_reserve`](Sender::try_reserve), with a permit that owns the sender.
    ///
    /// # Errors
    /// As there, with the sender.
    pub fn try_reserve_owned(self) -> Result<OwnedPermit<T>, TrySendError<Sender<T>>> {
        match self.try_rooms(1) {
            Ok(()) => Ok(OwnedPermit { sender: Some(self) }),
            Err(TrySendError::Full(())) => Err(TrySendError::Full(self)),
            Err(TrySendError::Closed(())) => Err(TrySendError::Closed(self)),
        }
    }

    fn try_rooms(&self, count: usize) -> Result<(), TrySendError<()>> {
        match self.try_room(|shared| shared.ring.reserve(count)) {
            Push::Done => Ok(()),
            Push::Closed => Err(TrySendError::Closed(())),
            Push::Full => Err(TrySendError::Full(())),
        }
    }

    /// Closes the channel: no message goes in any more, what is there can still be received. False: it was
    /// closed.
    pub fn close(&self) -> bool {
        self.shared.close()
    }

    /// Whether the channel was closed, or its receivers are gone.
    pub fn is_closed(&self) -> bool {
        self.shared.ring.is_closed()
    }

    /// Waits until the channel is closed or its receivers are gone.
    ///
    /// # Cancel safety
    /// **Strict.**
    #[track_caller]
    pub fn closed(&self) -> Closed<'_, T> {
        Closed { sender: self, location: Location::caller(), waiter: Waiter::new() }
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

    /// Whether `other` sends to the same channel.
    pub fn same_channel(&self, other: &Sender<T>) -> bool {
        Arc::ptr_eq(&self.shared, &other.shared)
    }

    /// A sender that does not keep the channel open.
    pub fn downgrade(&self) -> WeakSender<T> {
        WeakSender { shared: self.shared.clone() }
    }
}

impl<T> Clone for Sender<T> {
    fn clone(&self) -> Sender<T> {
        // Ordering: Relaxed: the count is not 0, and stays so, as `self` is one.
        self.shared.senders.fetch_add(1, Relaxed);
        Sender { shared: self.shared.clone() }
    }
}

impl<T> Drop for Sender<T> {
    fn drop(&mut self) {
        self.shared.drop_sender();
    }
}

impl<T> fmt::Debug for Sender<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Sender").field(&self.shared).finish()
    }
}

/// A sender that does not keep the channel open. It keeps its memory.
pub struct WeakSender<T> {
    shared: Arc<Shared<T>>,
}

impl<T> WeakSender<T> {
    /// A sender, unless the last one is gone.
    pub fn upgrade(&self) -> Option<Sender<T>> {
        revive(&self.shared.senders).then(|| Sender { shared: self.shared.clone() })
    }
}

impl<T> Clone for WeakSender<T> {
    fn clone(&self) -> WeakSender<T> {
        WeakSender { shared: self.shared.clone() }
    }
}

impl<T> fmt::Debug for WeakSender<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("WeakSender").field(&self.shared).finish()
    }
}

/// Room for one message. Dropped unused, it gives the room back.
#[must_use = "the room is given back when the permit is dropped"]
pub struct Permit<'a, T> {
    shared: &'a Shared<T>,
}

impl<T> Permit<'_, T> {
    /// Sends the message, also when the channel was closed meanwhile; it is dropped when the receivers are
    /// gone.
    pub fn send(self, message: T) {
        let shared = self.shared;
        // First: were the wake-up below to panic, the room must not be given back as well.
        mem::forget(self);
        shared.send_reserved(message);
    }
}

impl<T> Drop for Permit<'_, T> {
    fn drop(&mut self) {
        self.shared.unreserve(1);
    }
}

impl<T> fmt::Debug for Permit<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Permit").field(&self.shared).finish()
    }
}

/// Room for several messages, to be had one by one. Dropped, it gives back what is left.
#[must_use = "the room is given back when the permits are dropped"]
pub struct Permits<'a, T> {
    shared: &'a Shared<T>,
    count: usize,
}

impl<'a, T> Iterator for Permits<'a, T> {
    type Item = Permit<'a, T>;

    fn next(&mut self) -> Option<Permit<'a, T>> {
        self.count = self.count.checked_sub(1)?;
        Some(Permit { shared: self.shared })
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        (self.count, Some(self.count))
    }
}

impl<T> ExactSizeIterator for Permits<'_, T> {}
impl<T> std::iter::FusedIterator for Permits<'_, T> {}

impl<T> Drop for Permits<'_, T> {
    fn drop(&mut self) {
        if self.count > 0 {
            self.shared.unreserve(self.count);
        }
    }
}

impl<T> fmt::Debug for Permits<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Permits").field("count", &self.count).field("channel", &self.shared).finish()
    }
}

/// Room for one message, and the sender that keeps it. Dropped unused, it gives the room back.
#[must_use = "the room is given back when the permit is dropped"]
pub struct OwnedPermit<T> {
    sender: Option<Sender<T>>,
}

impl<T> OwnedPermit<T> {
    /// Sends the message and gives back the sender. See [`Permit::send`].
    pub fn send(mut self, message: T) -> Sender<T> {
        let sender = self.sender.take().unwrap_or_else(|| unreachable!("only `send` and `release` take it"));
        sender.shared.send_reserved(message);
        sender
    }

    /// Gives back the room and the sender.
    pub fn release(mut self) -> Sender<T> {
        let sender = self.sender.take().unwrap_or_else(|| unreachable!("only `send` and `release` take it"));
        sender.shared.unreserve(1);
        sender
    }
}

impl<T> Drop for OwnedPermit<T> {
    fn drop(&mut self) {
        if let Some(sender) = &self.sender {
            sender.shared.unreserve(1);
        }
    }
}

impl<T> fmt::Debug for OwnedPermit<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("OwnedPermit").field(&self.sender).finish()
    }
}

pin_project! {
    /// The future of [`Sender::send`].
    #[must_use = "futures do nothing unless polled"]
    pub struct Send<'a, T> {
        sender: &'a Sender<T>,
        message: Option<T>,
        location: &'static Location<'static>,
        #[pin]
        waiter: Option<Waiter>,
    }
}

impl<T> Send<'_, T> {
    /// Leaves the line and gives the message back. `None`: it was sent.
    ///
    /// # Examples
    /// ```
    /// use futures_lite::future::{block_on, poll_once};
    ///
    /// let (tx, _rx) = filch_channels::channel::bounded(1);
    /// tx.try_send("first").unwrap();
    /// let mut sending = std::pin::pin!(tx.send("second"));
    /// assert!(block_on(poll_once(sending.as_mut())).is_none());
    /// assert_eq!(sending.into_inner(), Some("second"));
    /// ```
    pub fn into_inner(self: Pin<&mut Self>) -> Option<T> {
        let mut this = self.project();
        this.waiter.set(None);
        this.message.take()
    }
}

impl<T> Future for Send<'_, T> {
    type Output = Result<(), SendError<T>>;

    #[inline]
    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<(), SendError<T>>> {
        ready!(probe::poll_budget(cx));
        let this = self.project();
        assert!(this.message.is_some(), "the message of this send is gone: it was sent or taken back");
        let shared = &*this.sender.shared;
        let (message, free) = (this.message, || shared.ring.free());
        match poll_units(&shared.room, this.waiter, 1, free, || shared.take_room(message), cx) {
            Poll::Ready(outcome) => {
                probe::spend();
                Poll::Ready(match (outcome, message.take()) {
                    (Err(IsClosed), Some(message)) => Err(SendError(message)),
                    _ => {
                        shared.sent();
                        Ok(())
                    }
                })
            }
            Poll::Pending => {
                probe::waiting(Wait::Send, shared.address(), Some(this.location));
                Poll::Pending
            }
        }
    }
}

impl<T> fmt::Debug for Send<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Send").field("sent", &self.message.is_none()).finish_non_exhaustive()
    }
}

/// Waits for room for `count` messages; what all the reserving futures do.
fn poll_rooms<T>(
    shared: &Shared<T>,
    count: usize,
    waiter: Pin<&mut Option<Waiter>>,
    location: &'static Location<'static>,
    cx: &mut Context<'_>,
) -> Poll<Result<(), SendError<()>>> {
    ready!(probe::poll_budget(cx));
    if count == 0 || count > shared.ring.reserved_max() {
        let ok = count == 0 && !shared.ring.is_closed();
        return Poll::Ready(if ok { Ok(()) } else { Err(SendError(())) });
    }
    match poll_units(&shared.room, waiter, count, || shared.ring.free(), || shared.take_rooms(count), cx) {
        Poll::Ready(outcome) => {
            probe::spend();
            Poll::Ready(outcome.map_err(|IsClosed| SendError(())))
        }
        Poll::Pending => {
            probe::waiting(Wait::Send, shared.address(), Some(location));
            Poll::Pending
        }
    }
}

pin_project! {
    /// The future of [`Sender::reserve`].
    #[derive(Debug)]
    #[must_use = "futures do nothing unless polled"]
    pub struct Reserve<'a, T> {
        #[pin]
        many: ReserveMany<'a, T>,
    }
}

impl<'a, T> Future for Reserve<'a, T> {
    type Output = Result<Permit<'a, T>, SendError<()>>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.project().many.project();
        let shared: &'a Shared<T> = &this.sender.shared;
        let done = ready!(poll_rooms(shared, 1, this.waiter, this.location, cx));
        Poll::Ready(done.map(|()| Permit { shared }))
    }
}

pin_project! {
    /// The future of [`Sender::reserve_many`].
    #[derive(Debug)]
    #[must_use = "futures do nothing unless polled"]
    pub struct ReserveMany<'a, T> {
        sender: &'a Sender<T>,
        count: usize,
        location: &'static Location<'static>,
        #[pin]
        waiter: Option<Waiter>,
    }
}

impl<'a, T> Future for ReserveMany<'a, T> {
    type Output = Result<Permits<'a, T>, SendError<()>>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.project();
        let (shared, count): (&'a Shared<T>, usize) = (&this.sender.shared, *this.count);
        let done = ready!(poll_rooms(shared, count, this.waiter, this.location, cx));
        Poll::Ready(done.map(|()| Permits { shared, count }))
    }
}

pin_project! {
    /// The future of [`Sender::reserve_owned`].
    #[derive(Debug)]
    #[must_use = "futures do nothing unless polled"]
    pub struct ReserveOwned<T> {
        sender: Option<Sender<T>>,
        location: &'static Location<'static>,
        #[pin]
        waiter: Option<Waiter>,
    }
}

impl<T> Future for ReserveOwned<T> {
    type Output = Result<OwnedPermit<T>, SendError<()>>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.project();
        let sender = this.sender.as_ref().expect("polled after it was ready");
        ready!(poll_rooms(&sender.shared, 1, this.waiter, this.location, cx))?;
        Poll::Ready(Ok(OwnedPermit { sender: this.sender.take() }))
    }
}

pin_project! {
    /// The future of [`Sender::closed`].
    #[derive(Debug)]
    #[must_use = "futures do nothing unless polled"]
    pub struct Closed<'a, T> {
        sender: &'a Sender<T>,
        location: &'static Location<'static>,
        #[pin]
        waiter: Waiter,
    }
}

impl<T> Future for Closed<'_, T> {
    type Output = ();

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        ready!(probe::poll_budget(cx));
        let this = self.project();
        let shared = &*this.sender.shared;
        let ready = this.waiter.poll_told(&shared.end, 0, || shared.ring.is_closed().then_some(()), cx);
        match ready {
            Poll::Ready(_) => {
                probe::spend();
                Poll::Ready(())
            }
            Poll::Pending => {
                probe::waiting(Wait::Notify, shared.address(), Some(this.location));
                Poll::Pending
            }
        }
    }
}
