//! Layer 3. What both ends of a channel share: the messages, those who wait for them, and the end.
//!
//! Owns a container of messages (`kind.rs` says which), a line of senders that wait for room, one of receivers
//! that wait for messages, one of those that wait for the end, and the counts of the ends. How one waits is
//! the wait queue's business, or, where there is one receiver, that of `lone.rs`. Called by the ends.
//!
//! # What a message costs
//! While nobody waits: a read-modify-write to send and one to receive (each claims a place), and a load of two
//! waiting words on either side. The lock of a line is touched only when somebody stands in it. The short way
//! (`Work::at_once`) does that and has no loop in it; whatever it does not know how to do goes the long way.
//!
//! # Why no wake-up is lost
//! To both lines the container is a stock of *units*: free places, and messages that are ready. Each is put
//! in by a `SeqCst` read-modify-write (of an end of the container, by which a place is claimed or a
//! reservation given up), after which `release` loads the waiting word; a waiter stores that word, fences and
//! counts the units again. So one of them sees the other (Dekker; argued in `wait_queue`). A channel without
//! room between its ends has no units; see `meet.rs`.
//!
//! # The end
//! | state   | a send | a receive           | begins when                                              |
//! |---------|--------|---------------------|----------------------------------------------------------|
//! | Open    | goes   | waits when empty    |                                                          |
//! | Closing | fails  | takes what is there | `close`, or the last end on one side goes                |
//! | Closed  | fails  | fails               | the last message was taken, the last permit used or gone |
//!
//! Closing needs no message to the lines: from then on the units are without end, so all who wait are
//! invited, come, and find out. For receivers they are without end from Closed on. Neither state is ever
//! left.
//!
//! When the last receiver goes, the messages are dropped at once, not with the channel: one of them may hold
//! the other end of something that a sender waits for. A permit used after that drops its message likewise:
//! the change of `tail` by the permit comes after the close, and sees that no receiver is left; or it comes
//! before, and the one who drains sees the claimed place.
#![forbid(unsafe_code)]

use std::fmt;
use std::pin::Pin;
use std::task::{Context, Poll, Waker};

use super::decision::Party;
use super::flow::Flow;
use super::kind::{Kind, Rx, Store, Tx};
use super::lone::Line;
use super::operation::{Hope, Place};
use crate::ring::{Pop, Push};
use crate::shim::Arc;
use crate::shim::Ordering::{AcqRel, Acquire, Relaxed};
use crate::shim::task::AtomicUsize;
use crate::wait_queue::{Outcome, WaitQueue};
use crate::wake_batch::quietly;

/// What both ends share.
pub(super) struct Shared<T, K: Kind> {
    pub(super) store: K::Store<T>,
    /// Senders wait here; the units are free places.
    pub(super) room: WaitQueue,
    /// Receivers wait here; the units are messages.
    pub(super) messages: K::Line,
    /// Of those who would wait in `room`, and in `messages`.
    pub(super) hope_for_room: Hope,
    pub(super) hope_for_messages: Hope,
    /// Here one waits for `close`.
    pub(super) end: WaitQueue,
    pub(super) senders: AtomicUsize,
    pub(super) receivers: AtomicUsize,
    /// What it was told to do when it is full, if it was told anything.
    pub(super) flow: Option<Box<Flow>>,
}

/// The channel is closed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct IsClosed;

impl<T, K: Kind> Shared<T, K> {
    pub(super) fn new(store: K::Store<T>, flow: Option<Flow>) -> Arc<Shared<T, K>> {
        Arc::new(Shared {
            store,
            room: WaitQueue::new(),
            messages: K::Line::new(),
            hope_for_room: Hope::new(),
            hope_for_messages: Hope::new(),
            end: WaitQueue::new(),
            senders: AtomicUsize::new(1),
            receivers: AtomicUsize::new(1),
            flow: flow.map(Box::new),
        })
    }

    /// What `poll_claim` and its kin take, for a sender. Takes the message out of `message` when that is
    /// sent. Nobody is `patient` under the lock of a line.
    #[inline(always)]
    pub(super) fn take_room(
        &self,
        tx: &mut Tx<T, K>,
        message: &mut Option<T>,
        patient: bool,
    ) -> Option<Result<(), IsClosed>> {
        answer(self.store.push(tx, message, patient))
    }

    /// The same for a reservation.
    pub(super) fn take_rooms(&self, tx: &mut Tx<T, K>, count: usize) -> Option<Result<(), IsClosed>> {
        answer(self.store.reserve(tx, count))
    }

    /// What `poll_claim` and its kin take, for a receiver.
    #[inline(always)]
    pub(super) fn take_message(&self, rx: &mut Rx<T, K>, patient: bool) -> Option<Result<T, IsClosed>> {
        match self.store.pop(rx, patient) {
            Pop::Got(message) => Some(Ok(message)),
            Pop::Closed => Some(Err(IsClosed)),
            Pop::Empty => None,
        }
    }

    /// To be called after each message that was put in.
    #[inline(always)]
    pub(super) fn sent(&self) {
        if self.messages.must_release() || self.flow.is_some() {
            self.tell_of_sent();
        }
    }

    #[cold]
    #[inline(never)]
    fn tell_of_sent(&self) {
        self.messages.release(|| self.store.ready());
        if let Some(flow) = &self.flow {
            flow.moved(|| self.store.look().len);
        }
    }

    /// To be called after each message that was taken out.
    #[inline(always)]
    pub(super) fn received(&self) {
        if self.room.must_release() || self.flow.is_some() {
            self.tell_of_received();
        }
    }

    #[cold]
    #[inline(never)]
    fn tell_of_received(&self) {
        self.room.release(|| self.store.free());
        if let Some(flow) = &self.flow {
            flow.moved(|| self.store.look().len);
        }
    }

    /// Puts a message where a permit has kept room for it.
    pub(super) fn send_reserved(&self, tx: &mut Tx<T, K>, message: T) {
        let closed = self.store.push_reserved(tx, message);
        self.sent();
        if self.store.capacity() == usize::MAX {
            // There is always room for a message, but not for any number of permits.
            self.room.release(|| self.store.free());
        }
        // Ordering: Acquire pairs with the count in `drop_receiver`, or is preceded by it through `tail`: see
        // the head of this file.
        if closed && self.receivers.load(Acquire) == 0 {
            self.store.drain(None);
        }
    }

    /// Gives up room that permits have kept.
    pub(super) fn unreserve(&self, count: usize) {
        let closed = self.store.unreserve(count);
        self.received();
        if closed {
            // This may have been the last one that receivers were waiting for.
            self.sent();
        }
    }

    pub(super) fn close(&self) -> bool {
        let first = match self.store.meet() {
            Some(meet) => {
                let wakers = meet.close();
                let first = wakers.is_some();
                wakers.into_iter().flatten().for_each(|waker| tell(Some(waker)));
                first
            }
            None => self.store.close(),
        };
        if first {
            if self.store.meet().is_none() {
                self.received();
                self.sent();
            }
            self.end.notify_all(0);
            if let Some(flow) = &self.flow {
                flow.close();
            }
        }
        first
    }

    pub(super) fn drop_sender(&self) {
        // Ordering: AcqRel: what the other senders did comes before the end that the last one brings.
        if self.senders.fetch_sub(1, AcqRel) == 1 {
            self.close();
        }
    }

    pub(super) fn drop_receiver(&self, rx: &mut Rx<T, K>) {
        // Ordering: AcqRel as in `drop_sender`; and `send_reserved` sees this if it sees the `close` below.
        if self.receivers.fetch_sub(1, AcqRel) == 1 {
            self.close();
            self.store.drain(Some(rx));
        }
    }

    /// The number of messages that could be sent now.
    pub(super) fn room_left(&self) -> usize {
        let look = self.store.look();
        self.store.capacity().saturating_sub(look.len + look.reserved)
    }

    pub(super) fn stats(&self) -> Stats {
        let look = self.store.look();
        let (waiting_send, waiting_recv) = match self.store.meet() {
            Some(meet) => meet.waiting(),
            None => (self.room.count_waiters(), self.messages.count_waiters()),
        };
        Stats {
            len: look.len,
            capacity: self.store.capacity(),
            reserved: look.reserved,
            // Ordering: Relaxed: reports.
            senders: self.senders.load(Relaxed),
            receivers: self.receivers.load(Relaxed),
            waiting_send,
            waiting_recv,
            peak: look.peak,
            sent: look.pushed,
            received: look.popped,
            dropped: self.flow.as_ref().map_or(0, |flow| flow.dropped()),
            state: match (look.closed, look.len + look.reserved) {
                (false, _) => State::Open,
                (true, 0) => State::Closed,
                (true, _) => State::Closing,
            },
        }
    }

    /// What a report says a task waits for.
    pub(super) fn address(&self) -> *const () {
        (&raw const *self).cast()
    }
}

/// Wakes one who has been met, or heard of the end. Under no lock.
#[inline]
pub(super) fn tell(waker: Option<Waker>) {
    if let Some(waker) = waker {
        quietly(|| waker.wake());
    }
}

#[inline(always)]
fn answer(push: Push) -> Option<Result<(), IsClosed>> {
    match push {
        Push::Done => Some(Ok(())),
        Push::Closed => Some(Err(IsClosed)),
        Push::Full => None,
    }
}

/// Adds one to a count of ends that was not 0; false: it was.
pub(super) fn revive(count: &AtomicUsize) -> bool {
    // Ordering: Acquire pairs with the AcqRel of the count's end: nothing needs to be seen but the count
    // itself.
    let mut now = count.load(Acquire);
    while now != 0 {
        match count.compare_exchange_weak(now, now + 1, AcqRel, Acquire) {
            Ok(_) => return true,
            Err(other) => now = other,
        }
    }
    false
}

/// Takes units of a line, or waits for them; what all the operations on a container do. The budget has been
/// seen to.
///
/// One of a group takes nothing once the group has done something else. If it was invited then, it has come in
/// vain although the units are there; so it leaves the line, and invites those for whom they are.
pub(super) fn poll_units<R>(
    line: &WaitQueue,
    mut place: Pin<&mut Place>,
    need: usize,
    units: &dyn Fn() -> usize,
    take: &mut dyn FnMut() -> Option<R>,
    party: Option<Party<'_>>,
    cx: &mut Context<'_>,
) -> Poll<R> {
    let Some(party) = party else {
        return place.waiter().poll_claim(line, need, units, take, cx).map(taken);
    };
    let take = || party.decision.claim(party.number, &mut *take);
    let polled = place.as_mut().waiter().poll_claim(line, need, units, take, cx);
    if polled.is_pending() && party.decision.get().is_some() {
        place.drop_waiter();
        line.release_after_store(units);
    }
    polled.map(taken)
}

/// The answer of a line that closes by its units and tells nobody anything.
fn taken<R>(outcome: Outcome<R>) -> R {
    match outcome {
        Outcome::Taken(answer) => answer,
        Outcome::Told(_) => unreachable!("a line of units tells nobody anything"),
    }
}

/// How far a channel is on its way to its end.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum State {
    /// Messages go in and out.
    Open,
    /// No message goes in any more; some are left, or some permits.
    Closing,
    /// Nothing is left and nothing will come.
    Closed,
}

/// What a channel looked like at one moment. The numbers of those who wait, and of the ends, are close
/// guesses.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub struct Stats {
    /// Messages in the channel.
    pub len: usize,
    /// The room it was made with: 0 for a rendezvous channel, `usize::MAX` for an unbounded one.
    pub capacity: usize,
    /// Places that permits keep.
    pub reserved: usize,
    /// Senders, weak ones not counted.
    pub senders: usize,
    /// Receivers, weak ones not counted.
    pub receivers: usize,
    /// Tasks and threads that wait for room.
    pub waiting_send: usize,
    /// Tasks and threads that wait for a message.
    pub waiting_recv: usize,
    /// The most messages that were in it at any time. In an unbounded channel there may have been an eighth
    /// more, once there were 512.
    pub peak: usize,
    /// Messages that went in since the beginning. Wraps, after 2^40 at the least when there is room for a
    /// million or less.
    pub sent: u64,
    /// Messages that came out since the beginning, displaced ones too. Wraps likewise.
    pub received: u64,
    /// Messages that a channel with an [`Overflow`](super::Overflow) policy has dropped since the beginning.
    pub dropped: u64,
    /// How far it is on its way to its end.
    pub state: State,
}

impl<T, K: Kind> fmt::Debug for Shared<T, K> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Stats { len, capacity, state, .. } = self.stats();
        f.debug_struct("Channel")
            .field("len", &len)
            .field("capacity", &capacity)
            .field("state", &state)
            .finish_non_exhaustive()
    }
}
