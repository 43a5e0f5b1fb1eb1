//! Layer 3. Many senders, many receivers, a fixed number of places; either end serves tasks and threads.
//!
//! Owns what both ends share: a ring with the messages, a line of senders that wait for room, one of
//! receivers that wait for messages, one of those that wait for the end, and the counts of the ends. The
//! algorithm of the ring is Vyukov's (see `ring`); how one waits is the wait queue's business (see
//! `wait_queue`). Called by user code only.
//!
//! # What a message costs
//! Nobody waits: a read-modify-write to send and one to receive (each claims a place), and a load of two
//! waiting words on either side. The lock of a line is touched only when somebody stands in it.
//!
//! # Why no wake-up is lost
//! To both lines the ring is a stock of *units*: free places, and messages that are ready. Each is put in by
//! a `SeqCst` read-modify-write (of an end of the ring, by which a place is claimed or a reservation given
//! up), after which `release` loads the waiting word; a waiter stores that word, fences and counts the units
//! again. So one of them sees the other (Dekker; argued in `wait_queue`).
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
use std::task::{Context, Poll};

use crate::ring::{CAPACITY_MAX, Pop, Push, Ring};
use crate::shim::Arc;
use crate::shim::Ordering::{AcqRel, Acquire, Relaxed};
use crate::shim::task::AtomicUsize;
use crate::wait_queue::{Outcome, WaitQueue, Waiter};

mod recv;
mod send;
#[cfg(test)]
mod tests;

pub use recv::{Receiver, Recv, RecvMany, WeakReceiver};
pub use send::{
    Closed, OwnedPermit, Permit, Permits, Reserve, ReserveMany, ReserveOwned, Send, Sender, WeakSender,
};

/// Creates a channel with room for `capacity` messages.
///
/// Each message goes to one receiver. Both ends can be cloned, and used by tasks and threads alike.
///
/// # Examples
/// ```
/// use filch_channels::channel;
///
/// let (tx, rx) = channel::bounded(2);
/// std::thread::spawn(move || {
///     for number in 1..=3 {
///         tx.send_blocking(number).unwrap();
///     }
/// });
/// futures_lite::future::block_on(async {
///     let mut sum = 0;
///     while let Ok(number) = rx.recv().await {
///         sum += number;
///     }
///     assert_eq!(sum, 6);
/// });
/// ```
///
/// # Panics
/// If `capacity` is 0 or more than 2^28: the places are made in advance.
#[track_caller]
pub fn bounded<T>(capacity: usize) -> (Sender<T>, Receiver<T>) {
    assert!(
        capacity != 0,
        "a bounded channel needs room for at least one message; if a sender is to wait until its message is \
         received, use `rendezvous()`"
    );
    assert!(
        capacity <= CAPACITY_MAX,
        "a bounded channel has room for {CAPACITY_MAX} messages at most; use `unbounded()`"
    );
    let shared = Arc::new(Shared {
        ring: Ring::new(capacity),
        room: WaitQueue::new(),
        messages: WaitQueue::new(),
        end: WaitQueue::new(),
        senders: AtomicUsize::new(1),
        receivers: AtomicUsize::new(1),
    });
    (Sender::new(shared.clone()), Receiver::new(shared))
}

/// What both ends share.
struct Shared<T> {
    ring: Ring<T>,
    /// Senders wait here; the units are free places.
    room: WaitQueue,
    /// Receivers wait here; the units are messages.
    messages: WaitQueue,
    /// Here one waits for `close`.
    end: WaitQueue,
    senders: AtomicUsize,
    receivers: AtomicUsize,
}

/// The channel is closed.
struct IsClosed;

impl<T> Shared<T> {
    /// What `poll_claim` and its kin take, for a sender. Takes the message out of `message` when that is
    /// sent.
    #[inline]
    fn take_room(&self, message: &mut Option<T>) -> Option<Result<(), IsClosed>> {
        self.answer(self.ring.push(message))
    }

    /// The same for a reservation.
    fn take_rooms(&self, count: usize) -> Option<Result<(), IsClosed>> {
        self.answer(self.ring.reserve(count))
    }

    #[inline]
    fn answer(&self, push: Push) -> Option<Result<(), IsClosed>> {
        match push {
            Push::Done => Some(Ok(())),
            Push::Closed => Some(Err(IsClosed)),
            Push::Full => None,
        }
    }

    /// What `poll_claim` and its kin take, for a receiver.
    #[inline]
    fn take_message(&self) -> Option<Result<T, IsClosed>> {
        match self.ring.pop() {
            Pop::Got(message) => Some(Ok(message)),
            Pop::Closed => Some(Err(IsClosed)),
            Pop::Empty => None,
        }
    }

    /// To be called after each message that was put in.
    #[inline]
    fn sent(&self) {
        self.messages.release(|| self.ring.ready());
    }

    /// To be called after each message that was taken out.
    #[inline]
    fn received(&self) {
        self.room.release(|| self.ring.free());
    }

    /// Puts a message where a permit has kept room for it.
    fn send_reserved(&self, message: T) {
        let closed = self.ring.push_reserved(message);
        self.sent();
        // Ordering: Acquire pairs with the count in `drop_receiver`, or is preceded by it through `tail`: see
        // the head of this file.
        if closed && self.receivers.load(Acquire) == 0 {
            self.ring.drain();
        }
    }

    /// Gives up room that permits have kept.
    fn unreserve(&self, count: usize) {
        let closed = self.ring.unreserve(count);
        self.received();
        if closed {
            // This may have been the last one that receivers were waiting for.
            self.sent();
        }
    }

    fn close(&self) -> bool {
        let first = self.ring.close();
        if first {
            self.received();
            self.sent();
            self.end.notify_all(0);
        }
        first
    }

    fn drop_sender(&self) {
        // Ordering: AcqRel: what the other senders did comes before the end that the last one brings.
        if self.senders.fetch_sub(1, AcqRel) == 1 {
            self.close();
        }
    }

    fn drop_receiver(&self) {
        // Ordering: AcqRel as in `drop_sender`; and `send_reserved` sees this if it sees the `close` below.
        if self.receivers.fetch_sub(1, AcqRel) == 1 {
            self.close();
            self.ring.drain();
        }
    }

    fn stats(&self) -> Stats {
        let look = self.ring.look();
        Stats {
            len: look.len,
            capacity: self.ring.capacity(),
            reserved: look.reserved,
            // Ordering: Relaxed: reports.
            senders: self.senders.load(Relaxed),
            receivers: self.receivers.load(Relaxed),
            waiting_send: self.room.waiters(),
            waiting_recv: self.messages.waiters(),
            sent: look.pushed,
            received: look.popped,
            state: match (look.closed, look.len + look.reserved) {
                (false, _) => State::Open,
                (true, 0) => State::Closed,
                (true, _) => State::Closing,
            },
        }
    }

    /// What a report says a task waits for.
    fn address(&self) -> *const () {
        (&raw const *self).cast()
    }
}

/// Adds one to a count of ends that was not 0; false: it was.
fn revive(count: &AtomicUsize) -> bool {
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

/// Takes units of a line, or waits for them; what all the futures do. The budget has been seen to.
///
/// The waiter is made when there is something to wait for: it is large, and a future is moved when it is made.
#[inline]
fn poll_units<R>(
    line: &WaitQueue,
    mut waiter: Pin<&mut Option<Waiter>>,
    need: usize,
    units: impl Fn() -> usize,
    mut take: impl FnMut() -> Option<R>,
    cx: &mut Context<'_>,
) -> Poll<R> {
    if waiter.is_none() {
        if line.may_barge() {
            if let Some(answer) = take() {
                return Poll::Ready(answer);
            }
        }
        waiter.set(Some(Waiter::new()));
    }
    let Some(waiter) = waiter.as_pin_mut() else { unreachable!("set above") };
    waiter.poll_claim(line, need, units, take, cx).map(taken)
}

/// The answer of a line that closes by its units and tells nobody anything.
fn taken<R>(outcome: Outcome<R>) -> R {
    match outcome {
        Outcome::Taken(answer) => answer,
        Outcome::Told(_) => unreachable!("nobody tells a waiter of a bounded channel anything"),
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
    /// The room it was made with.
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
    /// Messages that went in since the beginning. Wraps, after 2^40 at the least when there is room for a
    /// million or less.
    pub sent: u64,
    /// Messages that came out since the beginning, displaced ones too. Wraps likewise.
    pub received: u64,
    /// How far it is on its way to its end.
    pub state: State,
}

impl<T> fmt::Debug for Shared<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Stats { len, capacity, state, .. } = self.stats();
        f.debug_struct("Channel")
            .field("len", &len)
            .field("capacity", &capacity)
            .field("state", &state)
            .finish_non_exhaustive()
    }
}
