//! Layer 3. What a receive does: of one message, and of many. Called by the receiver, and by `select`.
#![forbid(unsafe_code)]

use std::borrow::BorrowMut;
use std::fmt;
use std::pin::Pin;
use std::task::{Context, Poll, Waker, ready};
use std::time::Instant;

use super::decision::Party;
use super::kind::{Kind, Rx, Store};
use super::lone::Line;
use super::meet::{Meet, Step};
use super::operation::{Hope, Operation, Place, Work, debug_by_name};
use super::shared::{IsClosed, Shared, State, tell};
use crate::channel::error::{RecvError, RecvTimeoutError, TryRecvError};
use crate::probe::Wait;
use crate::ring::Pop;

/// The work of [`Receiver::recv`](crate::channel::Receiver::recv).
pub struct Receive<'a, T, K: Kind, R> {
    pub(super) shared: &'a Shared<T, K>,
    pub(super) rx: R,
}

impl<'a, T, K: Kind, R: BorrowMut<Rx<T, K>>> Receive<'a, T, K, R> {
    #[inline]
    pub(super) fn new(shared: &'a Shared<T, K>, rx: R) -> Receive<'a, T, K, R> {
        Receive { shared, rx }
    }

    /// For as long as `self` is borrowed.
    pub(super) fn again(&mut self) -> Receive<'_, T, K, &mut Rx<T, K>> {
        Receive::new(self.shared, self.rx.borrow_mut())
    }

    pub(super) fn try_now(&mut self) -> Result<T, TryRecvError> {
        let shared = self.shared;
        if let Some(meet) = shared.store.meet() {
            return match self.meet(meet, None, None) {
                Step::Met(message, _) => Ok(message),
                Step::Closed => Err(TryRecvError::Closed),
                Step::Waits(_) | Step::Nobody => Err(TryRecvError::Empty),
            };
        }
        let mut answer = None;
        let taken = shared.messages.try_claim(|| match shared.store.pop(self.rx.borrow_mut(), true) {
            Pop::Got(message) => Some(message),
            other => {
                answer = Some(other);
                None
            }
        });
        match (taken, answer) {
            (Some(message), _) => {
                shared.received();
                Ok(message)
            }
            (None, Some(Pop::Closed)) => Err(TryRecvError::Closed),
            // Not our turn.
            (None, None) if shared.stats().state == State::Closed => Err(TryRecvError::Closed),
            (None, _) => Err(TryRecvError::Empty),
        }
    }

    pub(super) fn until(self, deadline: Option<Instant>) -> Result<T, RecvTimeoutError> {
        match Operation::block_until(self, deadline, |_| ()) {
            Ok(answer) => answer.map_err(RecvTimeoutError::from),
            Err(()) => Err(RecvTimeoutError::Timeout),
        }
    }

    /// The answer to a receiver of a container.
    fn finish(&self, answer: Result<T, IsClosed>) -> Result<T, RecvError> {
        let message = answer.map_err(|IsClosed| RecvError)?;
        self.shared.received();
        Ok(message)
    }

    /// Comes to a place of meeting.
    fn meet(&self, meet: &Meet<T>, party: Option<Party<'_>>, stay: Option<&Waker>) -> Step<T> {
        match meet.ask(party, stay) {
            Step::Met(message, sender) => {
                tell(sender);
                Step::Met(message, None)
            }
            other => other,
        }
    }

    /// What a poll does that does not find a message at once.
    fn wait(
        &mut self,
        place: Pin<&mut Place>,
        party: Option<Party<'_>>,
        cx: &mut Context<'_>,
    ) -> Poll<Result<T, RecvError>> {
        let shared = self.shared;
        let rx = self.rx.borrow_mut();
        let (units, mut take) = (|| shared.store.ready(), || shared.take_message(rx, false));
        let answer = ready!(shared.messages.poll(place, &units, &mut take, party, cx));
        Poll::Ready(self.finish(answer))
    }

    fn poll_meet(
        &mut self,
        meet: &Meet<T>,
        place: Pin<&mut Place>,
        party: Option<Party<'_>>,
        cx: &mut Context<'_>,
    ) -> Poll<Result<T, RecvError>> {
        let answer = if place.ticket == 0 {
            match self.meet(meet, party, Some(cx.waker())) {
                Step::Met(message, _) => return Poll::Ready(Ok(message)),
                Step::Closed => Err(IsClosed),
                Step::Nobody => return Poll::Pending,
                Step::Waits(mine) => {
                    place.stand(mine);
                    return Poll::Pending;
                }
            }
        } else {
            ready!(meet.poll_want(place.ticket, cx.waker()))
        };
        place.stand(0);
        // A meeting was decided by whoever brought it about; the end is not a meeting.
        if answer.is_err() && !party.is_none_or(Party::decides) {
            return Poll::Pending;
        }
        Poll::Ready(answer.map_err(|IsClosed| RecvError))
    }
}

impl<T, K: Kind, R: BorrowMut<Rx<T, K>>> Work for Receive<'_, T, K, R> {
    type Output = Result<T, RecvError>;

    const WAIT: Wait = Wait::Recv;

    fn address(&self) -> *const () {
        self.shared.address()
    }

    fn attempt(&mut self) -> Option<Result<T, RecvError>> {
        match self.try_now() {
            Ok(message) => Some(Ok(message)),
            Err(TryRecvError::Closed) => Some(Err(RecvError)),
            Err(TryRecvError::Empty) => None,
        }
    }

    fn hope(&self) -> Option<&Hope> {
        self.shared.store.meet().is_none().then_some(&self.shared.hope_for_messages)
    }

    #[inline(always)]
    fn at_once(&mut self) -> Option<Result<T, RecvError>> {
        let shared = self.shared;
        if !shared.messages.may_barge() {
            return None;
        }
        let message = shared.store.pop_at_once(self.rx.borrow_mut())?;
        shared.received();
        Some(Ok(message))
    }

    fn poll(
        &mut self,
        place: Pin<&mut Place>,
        party: Option<Party<'_>>,
        cx: &mut Context<'_>,
    ) -> Poll<Result<T, RecvError>> {
        let shared = self.shared;
        if let Some(meet) = shared.store.meet() {
            return self.poll_meet(meet, place, party, cx);
        }
        // Patience means nothing in a model, which would be outgrown by one try more; the line tries as well.
        let tries = !cfg!(filch_loom) && !place.is_taken() && party.is_none();
        if tries && shared.messages.may_barge() {
            if let Some(answer) = shared.take_message(self.rx.borrow_mut(), true) {
                return Poll::Ready(self.finish(answer));
            }
        }
        self.wait(place, party, cx)
    }

    fn may_be_met(&self) -> bool {
        self.shared.store.meet().is_some()
    }

    fn leave(&mut self, place: Pin<&mut Place>) -> Option<Result<T, RecvError>> {
        let Some(meet) = self.shared.store.meet() else {
            self.shared.messages.leave(place);
            return None;
        };
        let ticket = place.ticket;
        place.stand(0);
        if ticket == 0 { None } else { meet.withdraw_want(ticket).map(Ok) }
    }

    fn hand_on(&mut self, output: Result<T, RecvError>) {
        if let (Ok(message), Some(meet)) = (output, self.shared.store.meet()) {
            tell(meet.hand_on(message));
        }
    }
}

/// The work of [`Receiver::recv_many`](crate::channel::Receiver::recv_many).
pub struct Gather<'a, T, K: Kind, R> {
    pub(super) receive: Receive<'a, T, K, R>,
    pub(super) buffer: &'a mut Vec<T>,
    pub(super) limit: usize,
}

impl<T, K: Kind, R: BorrowMut<Rx<T, K>>> Gather<'_, T, K, R> {
    /// From a place of meeting, once there is a first message, or none for good.
    fn collect(&mut self, first: Result<T, RecvError>) -> usize {
        let before = self.buffer.len();
        self.buffer.extend(first);
        while (1..self.limit).contains(&(self.buffer.len() - before)) {
            match self.receive.try_now() {
                Ok(message) => self.buffer.push(message),
                Err(_) => break,
            }
        }
        self.buffer.len() - before
    }

    fn take(&mut self) -> impl FnMut() -> Option<usize> {
        let Gather { receive: Receive { shared, rx }, buffer, limit } = self;
        || match shared.store.pop_many(rx.borrow_mut(), *limit, buffer) {
            Pop::Got(count) => Some(count),
            Pop::Closed => Some(0),
            Pop::Empty => None,
        }
    }
}

impl<T, K: Kind, R: BorrowMut<Rx<T, K>>> Work for Gather<'_, T, K, R> {
    type Output = usize;

    const WAIT: Wait = Wait::Recv;

    fn address(&self) -> *const () {
        self.receive.address()
    }

    fn attempt(&mut self) -> Option<usize> {
        if self.limit == 0 {
            return Some(0);
        }
        let shared = self.receive.shared;
        if shared.store.meet().is_some() {
            let first = self.receive.attempt()?;
            return Some(self.collect(first));
        }
        let count = shared.messages.try_claim(self.take())?;
        shared.received();
        Some(count)
    }

    fn poll(
        &mut self,
        place: Pin<&mut Place>,
        party: Option<Party<'_>>,
        cx: &mut Context<'_>,
    ) -> Poll<usize> {
        if self.limit == 0 {
            return Poll::Ready(0);
        }
        let shared = self.receive.shared;
        if shared.store.meet().is_some() {
            let first = ready!(self.receive.poll(place, party, cx));
            return Poll::Ready(self.collect(first));
        }
        let units = || shared.store.ready();
        let count = ready!(shared.messages.poll(place, &units, &mut self.take(), party, cx));
        shared.received();
        Poll::Ready(count)
    }

    fn leave(&mut self, place: Pin<&mut Place>) -> Option<usize> {
        let message = self.receive.leave(place)?;
        let before = self.buffer.len();
        self.buffer.extend(message);
        Some(self.buffer.len() - before)
    }

    fn hand_on(&mut self, count: usize) {
        for message in self.buffer.split_off(self.buffer.len() - count) {
            self.receive.hand_on(Ok(message));
        }
    }
}

debug_by_name!(Receive<'a, T, K, R>, Gather<'a, T, K, R>);
