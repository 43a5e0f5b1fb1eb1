//! Layer 3. Room in a channel that a sender has kept for messages to come. Called by user code only.
#![forbid(unsafe_code)]

use std::borrow::BorrowMut;
use std::fmt;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use super::decision::Party;
use super::deliver::try_room;
use super::kind::{Kind, Mpmc, Store, Tx};
use super::operation::{Place, Work, debug_by_name};
use super::send::Sender;
use super::shared::{IsClosed, Shared, poll_units};
use crate::channel::error::{SendError, TrySendError};
use crate::probe::Wait;
use crate::ring::Push;

/// Room for one message. Dropped unused, it gives the room back.
#[must_use = "the room is given back when the permit is dropped"]
pub struct Permit<'a, T, K: Kind = Mpmc, X: BorrowMut<Tx<T, K>> = ()> {
    permits: Permits<'a, T, K, X>,
}

impl<T, K: Kind, X: BorrowMut<Tx<T, K>>> Permit<'_, T, K, X> {
    /// Sends the message, also when the channel was closed meanwhile; it is dropped when the receivers are
    /// gone.
    pub fn send(mut self, message: T) {
        self.permits.fill(message);
    }
}

impl<T, K: Kind, X: BorrowMut<Tx<T, K>>> fmt::Debug for Permit<'_, T, K, X> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Permit").field(&self.permits.shared).finish()
    }
}

/// Room for several messages. Dropped, it gives back what is left.
///
/// Permits of a sender that can be shared are an iterator of single ones.
#[must_use = "the room is given back when the permits are dropped"]
pub struct Permits<'a, T, K: Kind = Mpmc, X: BorrowMut<Tx<T, K>> = ()> {
    shared: &'a Shared<T, K>,
    tx: X,
    count: usize,
}

impl<'a, T, K: Kind, X: BorrowMut<Tx<T, K>>> Permits<'a, T, K, X> {
    /// Of one that stands for one.
    pub(super) fn only(self) -> Permit<'a, T, K, X> {
        Permit { permits: self }
    }

    fn fill(&mut self, message: T) {
        // First: were the wake-up below to panic, the room must not be given back as well.
        self.count -= 1;
        self.shared.send_reserved(self.tx.borrow_mut(), message);
    }

    /// How many are left.
    pub fn remaining(&self) -> usize {
        self.count
    }

    /// Sends a message with one of the permits, also when the channel was closed meanwhile; it is dropped when
    /// the receivers are gone.
    ///
    /// # Errors
    /// The message, when no permit is left.
    pub fn send(&mut self, message: T) -> Result<(), T> {
        if self.count == 0 {
            return Err(message);
        }
        self.fill(message);
        Ok(())
    }
}

impl<'a, T, K: Kind> Iterator for Permits<'a, T, K>
where
    (): BorrowMut<Tx<T, K>>,
{
    type Item = Permit<'a, T, K>;

    fn next(&mut self) -> Option<Permit<'a, T, K>> {
        self.count = self.count.checked_sub(1)?;
        Some(Permits { shared: self.shared, tx: (), count: 1 }.only())
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        (self.count, Some(self.count))
    }
}

impl<T, K: Kind> ExactSizeIterator for Permits<'_, T, K> where (): BorrowMut<Tx<T, K>> {}
impl<T, K: Kind> std::iter::FusedIterator for Permits<'_, T, K> where (): BorrowMut<Tx<T, K>> {}

impl<T, K: Kind, X: BorrowMut<Tx<T, K>>> Drop for Permits<'_, T, K, X> {
    fn drop(&mut self) {
        if self.count > 0 {
            self.shared.unreserve(self.count);
        }
    }
}

impl<T, K: Kind, X: BorrowMut<Tx<T, K>>> fmt::Debug for Permits<'_, T, K, X> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Permits").field("count", &self.count).field("channel", &self.shared).finish()
    }
}

/// Room for one message, and the sender that keeps it. Dropped unused, it gives the room back.
#[must_use = "the room is given back when the permit is dropped"]
pub struct OwnedPermit<T, K: Kind = Mpmc> {
    sender: Option<Sender<T, K>>,
}

impl<T, K: Kind> OwnedPermit<T, K> {
    pub(super) fn new(sender: Sender<T, K>) -> OwnedPermit<T, K> {
        OwnedPermit { sender: Some(sender) }
    }

    fn sender(&mut self) -> Sender<T, K> {
        self.sender.take().unwrap_or_else(|| unreachable!("only `send` and `release` take it"))
    }

    /// Sends the message and gives back the sender. See [`Permit::send`].
    pub fn send(mut self, message: T) -> Sender<T, K> {
        let mut sender = self.sender();
        sender.shared.send_reserved(&mut sender.tx, message);
        sender
    }

    /// Gives back the room and the sender.
    pub fn release(mut self) -> Sender<T, K> {
        let sender = self.sender();
        sender.shared.unreserve(1);
        sender
    }
}

impl<T, K: Kind> Drop for OwnedPermit<T, K> {
    fn drop(&mut self) {
        if let Some(sender) = &self.sender {
            sender.shared.unreserve(1);
        }
    }
}

impl<T, K: Kind> fmt::Debug for OwnedPermit<T, K> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("OwnedPermit").field(&self.sender).finish()
    }
}

/// Whether `count` places can be kept at all; if so, the caller takes them.
fn fits<T, K: Kind>(shared: &Shared<T, K>, count: usize) -> Option<Result<(), IsClosed>> {
    match count {
        0 if shared.store.is_closed() => Some(Err(IsClosed)),
        0 => Some(Ok(())),
        _ if count > shared.store.reservable() => Some(Err(IsClosed)),
        _ => None,
    }
}

/// Keeps room for `count` messages, if there is enough at once.
pub(super) fn try_rooms<T, K: Kind>(
    shared: &Shared<T, K>,
    tx: &mut Tx<T, K>,
    count: usize,
) -> Result<(), TrySendError<()>> {
    let pushed = match fits(shared, count) {
        Some(Ok(())) => Push::Done,
        Some(Err(IsClosed)) if shared.store.is_closed() => Push::Closed,
        Some(Err(IsClosed)) => Push::Full,
        None => try_room(&shared.room, &shared.store, || shared.store.reserve(tx, count)),
    };
    match pushed {
        Push::Done => Ok(()),
        Push::Closed => Err(TrySendError::Closed(())),
        Push::Full => Err(TrySendError::Full(())),
    }
}

/// Waits for room for `count` messages; what all the reserving operations do.
fn poll_rooms<T, K: Kind>(
    shared: &Shared<T, K>,
    tx: &mut Tx<T, K>,
    count: usize,
    place: Pin<&mut Place>,
    party: Option<Party<'_>>,
    cx: &mut Context<'_>,
) -> Poll<Result<(), SendError<()>>> {
    let done = match fits(shared, count) {
        Some(known) => known,
        None => {
            let (free, mut take) = (|| shared.store.free(), || shared.take_rooms(tx, count));
            ready!(poll_units(&shared.room, place, count, &free, &mut take, party, cx))
        }
    };
    Poll::Ready(done.map_err(|IsClosed| SendError(())))
}

/// The work of [`Sender::reserve_many`](crate::channel::Sender::reserve_many).
pub struct KeepRooms<'a, T, K: Kind, X> {
    shared: &'a Shared<T, K>,
    /// None once permits were given out, which have it then.
    tx: Option<X>,
    count: usize,
}

impl<'a, T, K: Kind, X: BorrowMut<Tx<T, K>>> KeepRooms<'a, T, K, X> {
    pub(super) fn new(shared: &'a Shared<T, K>, tx: X, count: usize) -> KeepRooms<'a, T, K, X> {
        KeepRooms { shared, tx: Some(tx), count }
    }

    fn permits(&mut self) -> Permits<'a, T, K, X> {
        let tx = self.tx.take().unwrap_or_else(|| unreachable!("it was not ready before"));
        Permits { shared: self.shared, tx, count: self.count }
    }

    pub(super) fn try_now(mut self) -> Result<Permits<'a, T, K, X>, TrySendError<()>> {
        let tx = self.tx.as_mut().expect("polled after it was ready");
        try_rooms(self.shared, tx.borrow_mut(), self.count)?;
        Ok(self.permits())
    }
}

impl<'a, T, K: Kind, X: BorrowMut<Tx<T, K>>> Work for KeepRooms<'a, T, K, X> {
    type Output = Result<Permits<'a, T, K, X>, SendError<()>>;

    const WAIT: Wait = Wait::Send;

    fn address(&self) -> *const () {
        self.shared.address()
    }

    fn attempt(&mut self) -> Option<Self::Output> {
        let tx = self.tx.as_mut().expect("polled after it was ready");
        match try_rooms(self.shared, tx.borrow_mut(), self.count) {
            Ok(()) => Some(Ok(self.permits())),
            Err(TrySendError::Closed(())) => Some(Err(SendError(()))),
            Err(TrySendError::Full(())) => None,
        }
    }

    fn poll(
        &mut self,
        place: Pin<&mut Place>,
        party: Option<Party<'_>>,
        cx: &mut Context<'_>,
    ) -> Poll<Self::Output> {
        let tx = self.tx.as_mut().expect("polled after it was ready");
        ready!(poll_rooms(self.shared, tx.borrow_mut(), self.count, place, party, cx))?;
        Poll::Ready(Ok(self.permits()))
    }
}

/// The work of [`Sender::reserve`](crate::channel::Sender::reserve).
pub struct KeepRoom<'a, T, K: Kind, X>(KeepRooms<'a, T, K, X>);

impl<'a, T, K: Kind, X> KeepRoom<'a, T, K, X> {
    pub(super) fn new(one: KeepRooms<'a, T, K, X>) -> KeepRoom<'a, T, K, X> {
        KeepRoom(one)
    }
}

debug_by_name!(KeepRooms<'a, T, K, X>, KeepRoom<'a, T, K, X>);

impl<T, K: Kind> fmt::Debug for KeepOwned<T, K> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("KeepOwned").field(&self.sender).finish()
    }
}

impl<'a, T, K: Kind, X: BorrowMut<Tx<T, K>>> Work for KeepRoom<'a, T, K, X> {
    type Output = Result<Permit<'a, T, K, X>, SendError<()>>;

    const WAIT: Wait = Wait::Send;

    fn address(&self) -> *const () {
        self.0.address()
    }

    fn attempt(&mut self) -> Option<Self::Output> {
        Some(self.0.attempt()?.map(Permits::only))
    }

    fn poll(
        &mut self,
        place: Pin<&mut Place>,
        party: Option<Party<'_>>,
        cx: &mut Context<'_>,
    ) -> Poll<Self::Output> {
        self.0.poll(place, party, cx).map_ok(Permits::only)
    }
}

/// The work of [`Sender::reserve_owned`](crate::channel::Sender::reserve_owned).
pub struct KeepOwned<T, K: Kind> {
    sender: Option<Sender<T, K>>,
}

impl<T, K: Kind> KeepOwned<T, K> {
    pub(super) fn new(sender: Sender<T, K>) -> KeepOwned<T, K> {
        KeepOwned { sender: Some(sender) }
    }
}

impl<T, K: Kind> Work for KeepOwned<T, K> {
    type Output = Result<OwnedPermit<T, K>, SendError<()>>;

    const WAIT: Wait = Wait::Send;

    fn address(&self) -> *const () {
        self.sender.as_ref().map_or(std::ptr::null(), |sender| sender.shared.address())
    }

    fn attempt(&mut self) -> Option<Self::Output> {
        let sender = self.sender.as_mut().expect("polled after it was ready");
        match try_rooms(&sender.shared, &mut sender.tx, 1) {
            Ok(()) => self.sender.take().map(|sender| Ok(OwnedPermit::new(sender))),
            Err(TrySendError::Closed(())) => Some(Err(SendError(()))),
            Err(TrySendError::Full(())) => None,
        }
    }

    fn poll(
        &mut self,
        place: Pin<&mut Place>,
        party: Option<Party<'_>>,
        cx: &mut Context<'_>,
    ) -> Poll<Self::Output> {
        let sender = self.sender.as_mut().expect("polled after it was ready");
        ready!(poll_rooms(&sender.shared, &mut sender.tx, 1, place, party, cx))?;
        Poll::Ready(Ok(OwnedPermit { sender: self.sender.take() }))
    }
}
