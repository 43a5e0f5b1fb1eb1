//! Layer 3. What a send does. Called by the sender, and by `select`.
#![forbid(unsafe_code)]

use std::borrow::BorrowMut;
use std::fmt;
use std::pin::Pin;
use std::task::{Context, Poll, Waker, ready};
use std::time::Instant;

use super::decision::Party;
use super::flow::{Flow, Overflow};
use super::kind::{Kind, Store, Tx};
use super::meet::{Meet, Step};
use super::operation::{Hope, Operation, Place, Work, debug_by_name};
use super::shared::{IsClosed, Shared, poll_units, tell};
use crate::channel::error::{SendError, SendTimeoutError, TrySendError};
use crate::probe::Wait;
use crate::ring::{Force, Push};
use crate::wait_queue::WaitQueue;

/// Where the message of a send lies until it is sent.
pub trait Letter<T>: BorrowMut<Option<T>> {
    /// What an error gives back.
    type Back;

    /// Makes what an error gives back.
    fn back(&mut self) -> Self::Back;
}

/// In the operation itself.
impl<T> Letter<T> for Option<T> {
    type Back = T;

    fn back(&mut self) -> T {
        self.take().unwrap_or_else(|| unreachable!("a message that was not sent is still there"))
    }
}

/// With the caller, who keeps it if it is not sent.
impl<T> Letter<T> for &mut Option<T> {
    type Back = ();

    fn back(&mut self) {}
}

/// The work of [`Sender::send`](crate::channel::Sender::send).
pub struct Deliver<'a, T, K: Kind, X, M = Option<T>> {
    pub(super) shared: &'a Shared<T, K>,
    pub(super) tx: X,
    pub(super) message: M,
}

impl<'a, T, K: Kind, X: BorrowMut<Tx<T, K>>, M: Letter<T>> Deliver<'a, T, K, X, M> {
    /// Sends if there is room, and it is our turn. `Full` stands for "not your turn" too.
    #[inline]
    fn push(&mut self) -> Push {
        let (shared, message) = (self.shared, self.message.borrow_mut());
        if let Some(meet) = shared.store.meet() {
            return match offer(meet, message, None, None) {
                Step::Met(..) => Push::Done,
                Step::Closed => Push::Closed,
                Step::Waits(_) | Step::Nobody => Push::Full,
            };
        }
        let tx = self.tx.borrow_mut();
        let pushed = try_room(&shared.room, &shared.store, || shared.store.push(tx, message, true));
        if pushed == Push::Done {
            shared.sent();
        }
        pushed
    }

    /// What becomes of a message for which there is no room. None: it waits.
    #[cold]
    fn overflow(&mut self) -> Option<Result<(), SendError<M::Back>>> {
        let flow = self.shared.flow.as_ref()?;
        match flow.overflow {
            Overflow::Block => None,
            Overflow::Error => Some(Err(SendError(self.message.back()))),
            Overflow::DropNewest => {
                flow.drops();
                drop(self.message.borrow_mut().take());
                Some(Ok(()))
            }
            Overflow::DropOldest => self.displace(),
        }
    }

    fn displace(&mut self) -> Option<Result<(), SendError<M::Back>>> {
        let shared = self.shared;
        match shared.store.force(self.message.borrow_mut()) {
            Force::Full => None,
            Force::Closed => Some(Err(SendError(self.message.back()))),
            Force::Done => {
                shared.sent();
                Some(Ok(()))
            }
            Force::Displaced(oldest) => {
                shared.sent();
                shared.flow.iter().for_each(|flow| flow.drops());
                drop(oldest);
                Some(Ok(()))
            }
        }
    }

    /// The answer to a sender of a container.
    fn finish(&mut self, answer: Result<(), IsClosed>) -> Result<(), SendError<M::Back>> {
        answer.map_err(|IsClosed| SendError(self.message.back()))?;
        self.shared.sent();
        Ok(())
    }

    /// What a poll does that does not find room at once.
    fn wait(
        &mut self,
        place: Pin<&mut Place>,
        party: Option<Party<'_>>,
        cx: &mut Context<'_>,
    ) -> Poll<Result<(), SendError<M::Back>>> {
        let shared = self.shared;
        if shared.flow.is_some() && party.is_none() {
            if let Some(done) = self.attempt() {
                return Poll::Ready(done);
            }
        }
        let (tx, message) = (self.tx.borrow_mut(), self.message.borrow_mut());
        let (free, mut take) = (|| shared.store.free(), || shared.take_room(tx, message, false));
        let answer = ready!(poll_units(&shared.room, place, 1, &free, &mut take, party, cx));
        Poll::Ready(self.finish(answer))
    }

    fn poll_meet(
        &mut self,
        meet: &Meet<T>,
        place: Pin<&mut Place>,
        party: Option<Party<'_>>,
        cx: &mut Context<'_>,
    ) -> Poll<Result<(), SendError<M::Back>>> {
        let message = self.message.borrow_mut();
        let answer = if place.ticket == 0 {
            match offer(meet, message, party, Some(cx.waker())) {
                Step::Met(..) => return Poll::Ready(Ok(())),
                Step::Closed => Err(IsClosed),
                Step::Nobody => return Poll::Pending,
                Step::Waits(mine) => {
                    place.stand(mine);
                    return Poll::Pending;
                }
            }
        } else {
            ready!(meet.poll_offer(place.ticket, message, cx.waker()))
        };
        place.stand(0);
        // A meeting was decided by whoever brought it about; the end is not a meeting.
        if answer.is_err() && !party.is_none_or(Party::decides) {
            return Poll::Pending;
        }
        Poll::Ready(answer.map_err(|IsClosed| SendError(self.message.back())))
    }
}

impl<'a, T, K: Kind, X: BorrowMut<Tx<T, K>>> Deliver<'a, T, K, X> {
    pub(super) fn try_now(mut self) -> Result<(), TrySendError<T>> {
        let mut pushed = self.push();
        let displaces = |flow: &Flow| flow.overflow == Overflow::DropOldest;
        if pushed == Push::Full && self.shared.flow.as_deref().is_some_and(displaces) {
            match self.displace() {
                Some(Ok(())) => pushed = Push::Done,
                Some(Err(SendError(message))) => return Err(TrySendError::Closed(message)),
                None => {}
            }
        }
        match (pushed, self.message) {
            (_, None) => Ok(()),
            (Push::Closed, Some(message)) => Err(TrySendError::Closed(message)),
            (_, Some(message)) => Err(TrySendError::Full(message)),
        }
    }

    pub(super) fn until(self, deadline: Option<Instant>) -> Result<(), SendTimeoutError<T>> {
        let shared = self.shared;
        match Operation::block_until(self, deadline, |work| work.message.back()) {
            Ok(Ok(())) => Ok(()),
            Ok(Err(SendError(message))) if shared.store.is_closed() => Err(SendTimeoutError::Closed(message)),
            Ok(Err(SendError(message))) | Err(message) => Err(SendTimeoutError::Timeout(message)),
        }
    }
}

impl<T, K: Kind, X: BorrowMut<Tx<T, K>>, M: Letter<T>> Work for Deliver<'_, T, K, X, M> {
    type Output = Result<(), SendError<M::Back>>;

    const WAIT: Wait = Wait::Send;

    fn address(&self) -> *const () {
        self.shared.address()
    }

    #[inline]
    fn attempt(&mut self) -> Option<Self::Output> {
        match self.push() {
            Push::Done => Some(Ok(())),
            Push::Closed => Some(Err(SendError(self.message.back()))),
            Push::Full => self.overflow(),
        }
    }

    fn hope(&self) -> Option<&Hope> {
        let may_hope = self.shared.store.meet().is_none() && !self.is_void();
        may_hope.then_some(&self.shared.hope_for_room)
    }

    #[inline(always)]
    fn at_once(&mut self) -> Option<Self::Output> {
        let shared = self.shared;
        if !shared.room.may_barge()
            || !shared.store.push_at_once(self.tx.borrow_mut(), self.message.borrow_mut())
        {
            return None;
        }
        shared.sent();
        Some(Ok(()))
    }

    fn poll(
        &mut self,
        place: Pin<&mut Place>,
        party: Option<Party<'_>>,
        cx: &mut Context<'_>,
    ) -> Poll<Self::Output> {
        let (shared, message) = (self.shared, self.message.borrow_mut());
        assert!(
            message.is_some() || place.ticket != 0,
            "the message of this send is gone: it was sent or taken back"
        );
        if let Some(meet) = shared.store.meet() {
            return self.poll_meet(meet, place, party, cx);
        }
        // Patience means nothing in a model, which would be outgrown by one try more; the line tries as well.
        let tries = !cfg!(filch_loom) && !place.is_taken() && party.is_none();
        if tries && shared.room.may_barge() {
            if let Some(answer) = shared.take_room(self.tx.borrow_mut(), message, true) {
                return Poll::Ready(self.finish(answer));
            }
        }
        self.wait(place, party, cx)
    }

    fn is_void(&self) -> bool {
        self.message.borrow().is_none()
    }

    fn may_be_met(&self) -> bool {
        self.shared.store.meet().is_some()
    }

    fn leave(&mut self, place: Pin<&mut Place>) -> Option<Self::Output> {
        let Some(meet) = self.shared.store.meet() else {
            place.drop_waiter();
            return None;
        };
        let ticket = place.ticket;
        place.stand(0);
        let waits = ticket == 0 || meet.withdraw_offer(ticket, self.message.borrow_mut());
        if waits { None } else { Some(Ok(())) }
    }
}

impl<T, K: Kind, X: BorrowMut<Tx<T, K>>> Operation<Deliver<'_, T, K, X>> {
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
        self.leave_with(|work| work.message.take())
    }
}

/// Comes to a place of meeting.
fn offer<T>(
    meet: &Meet<T>,
    message: &mut Option<T>,
    party: Option<Party<'_>>,
    stay: Option<&Waker>,
) -> Step<()> {
    match meet.offer(message, party, stay) {
        Step::Met((), receiver) => {
            tell(receiver);
            Step::Met((), None)
        }
        other => other,
    }
}

/// Takes room as the rule of the line allows. `Full` stands for "not your turn" too.
#[inline]
pub(super) fn try_room<T>(line: &WaitQueue, store: &impl Store<T>, mut take: impl FnMut() -> Push) -> Push {
    let mut answer = Push::Full;
    let taken = line.try_claim(|| {
        answer = take();
        (answer == Push::Done).then_some(())
    });
    match (taken, answer) {
        (Some(()), _) => Push::Done,
        (None, Push::Full) if store.is_closed() => Push::Closed,
        (None, answer) => answer,
    }
}

debug_by_name!(Deliver<'a, T, K, X, M>);
