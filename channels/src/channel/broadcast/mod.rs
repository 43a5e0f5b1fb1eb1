//! Many senders, many receivers, each message for every receiver; the slow ones lose the oldest.
//!
//! The methods are those of tokio's `broadcast`, and blocking forms.
//!
//! # Implementation
//! Layer 3. Owns a ring of slots, each behind a lock of its own, the lock round the end of the ring, and
//! three lines: receivers that wait for a message, receivers that wait for a slot another one is cloning
//! from, and senders that wait until nobody listens. The semantics are those of tokio's `broadcast`. Called
//! by user code only.
//!
//! # The claim
//! A message is cloned once for each receiver but the last one, to which it is moved. Cloning is user code,
//! so no lock is held; and `T` need not be `Sync`, so no two receivers may do it at once. Therefore a
//! receiver *claims* the slot: it moves the message out, clones it, and puts it back. Whoever else wants this
//! message meanwhile waits in the second line. A clone that panics puts the message back likewise; one that
//! receives from the same channel finds the slot claimed, and waits, as any other would (so in its blocking
//! form it waits for itself).
//!
//! | `value`, `left` | `stamp` | the slot                                                 |
//! |-----------------|---------|----------------------------------------------------------|
//! | none, 0         | 0       | was never used                                           |
//! | some, `n` > 0   | `p` + 1 | holds message `p`, which `n` receivers have still to see |
//! | none, `n` > 0   | `p` + 1 | held message `p`, which one of the `n` has claimed       |
//! | none, 0         | `p` + 1 | held message `p`, seen by all                            |
//!
//! A send that comes round overwrites the slot, claimed or not. Whoever claimed it then finds another stamp,
//! and drops the message itself.
//!
//! *Order of the locks*: a line, the end of the ring, a slot. No line is locked while one of the others is
//! held; nothing foreign runs under any.
#![forbid(unsafe_code)]

use std::fmt;
use std::future::Future;
use std::mem;
use std::panic::Location;
use std::pin::{Pin, pin};
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};

use pin_project_lite::pin_project;

use crate::block;
use crate::probe::{self, Wait};
use crate::shim::Ordering::{AcqRel, Acquire, Relaxed};
use crate::shim::task::AtomicUsize;
use crate::shim::{Arc, Mutex};
use crate::wait_queue::{WaitQueue, Waiter};

pub mod error;
#[cfg(test)]
mod tests;

use error::{RecvError, RecvTimeoutError, SendError, TryRecvError};

const CAPACITY_MAX: usize = 1 << 28;

/// Creates a channel that keeps the latest `capacity` messages for receivers that have not seen them yet.
///
/// # Examples
/// ```
/// use filch_channels::channel::broadcast;
///
/// # futures_lite::future::block_on(async {
/// let (tx, mut first) = broadcast::channel(16);
/// let mut second = tx.subscribe();
/// assert_eq!(tx.send("hello"), Ok(2));
/// assert_eq!(first.recv().await, Ok("hello"));
/// assert_eq!(second.recv().await, Ok("hello"));
/// # });
/// ```
///
/// # Panics
/// If `capacity` is 0 or more than 2^28: the slots are made in advance.
#[track_caller]
pub fn channel<T: Clone>(capacity: usize) -> (Sender<T>, Receiver<T>) {
    let sender = Sender::new(capacity);
    let receiver = sender.subscribe();
    (sender, receiver)
}

struct Slot<T> {
    stamp: u64,
    /// How many receivers have still to see the message, the one that claimed it included.
    left: usize,
    /// Somebody waits for the claim to end.
    wanted: bool,
    value: Option<T>,
}

struct Tail {
    /// The number of messages sent, which is the number of the next one.
    position: u64,
    receivers: usize,
    /// The last sender is gone.
    closed: bool,
}

struct Shared<T> {
    slots: Box<[Mutex<Slot<T>>]>,
    tail: Mutex<Tail>,
    senders: AtomicUsize,
    /// Receivers wait here for a message.
    messages: WaitQueue,
    /// Receivers wait here for a claim to end.
    claims: WaitQueue,
    /// Senders wait here for the last receiver to go.
    deserted: WaitQueue,
}

impl<T> Shared<T> {
    fn slot(&self, position: u64) -> &Mutex<Slot<T>> {
        &self.slots[(position % self.slots.len() as u64) as usize]
    }

    // Not a method: loom's `Arc` is no receiver.
    fn subscribe(this: &Arc<Self>) -> Receiver<T> {
        let mut tail = this.tail.lock();
        tail.receivers += 1;
        Receiver { next: tail.position, shared: this.clone() }
    }

    /// Notes that one receiver is through with message `position`, and returns the message if it was the
    /// last.
    fn release(&self, position: u64) -> Option<T> {
        let mut slot = self.slot(position).lock();
        if slot.stamp != position + 1 {
            return None;
        }
        slot.left -= 1;
        // Not claimed then: whoever claims it counts as one that is left.
        if slot.left == 0 { slot.value.take() } else { None }
    }
}

/// The sending end. Clones send to the same channel; when the last one goes, the channel is closed.
pub struct Sender<T> {
    shared: Arc<Shared<T>>,
}

impl<T> Sender<T> {
    /// A channel as [`channel`] makes it, without a receiver.
    ///
    /// # Panics
    /// As there.
    #[track_caller]
    pub fn new(capacity: usize) -> Sender<T> {
        assert!(capacity != 0, "a broadcast channel needs room for at least one message");
        assert!(capacity <= CAPACITY_MAX, "a broadcast channel keeps {CAPACITY_MAX} messages at most");
        let slot = |_| Mutex::new(Slot { stamp: 0, left: 0, wanted: false, value: None });
        let shared = Arc::new(Shared {
            slots: (0..capacity).map(slot).collect(),
            tail: Mutex::new(Tail { position: 0, receivers: 0, closed: false }),
            senders: AtomicUsize::new(1),
            messages: WaitQueue::new(),
            claims: WaitQueue::new(),
            deserted: WaitQueue::new(),
        });
        Sender { shared }
    }

    /// Sends a message to all who are receivers now, and says how many those are. Never waits.
    ///
    /// # Errors
    /// [`SendError`] with the message when there is no receiver. A later send may find one.
    pub fn send(&self, message: T) -> Result<usize, SendError<T>> {
        let shared = &*self.shared;
        let mut tail = shared.tail.lock();
        let receivers = tail.receivers;
        if receivers == 0 {
            drop(tail);
            return Err(SendError(message));
        }
        let mut slot = shared.slot(tail.position).lock();
        tail.position += 1;
        slot.stamp = tail.position;
        slot.left = receivers;
        let wanted = mem::take(&mut slot.wanted);
        let old = slot.value.replace(message);
        drop(slot);
        drop(tail);
        shared.messages.notify_all(0);
        if wanted {
            // What they wait for is gone; they have to learn that they lag.
            shared.claims.notify_all(0);
        }
        drop(old);
        Ok(receivers)
    }

    /// A new receiver, which gets what is sent from now on.
    pub fn subscribe(&self) -> Receiver<T> {
        Shared::subscribe(&self.shared)
    }

    /// The number of messages that at least one receiver has still to see.
    pub fn len(&self) -> usize {
        let tail = self.shared.tail.lock();
        let kept = tail.position.min(self.shared.slots.len() as u64);
        // Receivers see messages in order: those that all have seen come first.
        let (mut low, mut high) = (tail.position - kept, tail.position);
        while low < high {
            let middle = low + (high - low) / 2;
            if self.shared.slot(middle).lock().left == 0 {
                low = middle + 1;
            } else {
                high = middle;
            }
        }
        (tail.position - low) as usize
    }

    /// Whether every receiver has seen every message.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The number of receivers.
    pub fn receiver_count(&self) -> usize {
        self.shared.tail.lock().receivers
    }

    /// The number of senders.
    pub fn strong_count(&self) -> usize {
        // Ordering: Relaxed: a report.
        self.shared.senders.load(Relaxed)
    }

    /// Whether `other` sends to the same channel.
    pub fn same_channel(&self, other: &Sender<T>) -> bool {
        Arc::ptr_eq(&self.shared, &other.shared)
    }

    /// Waits until there is no receiver.
    ///
    /// # Examples
    /// ```
    /// # use filch_channels::channel::broadcast;
    /// # futures_lite::future::block_on(async {
    /// let (tx, rx) = broadcast::channel::<u8>(1);
    /// drop(rx);
    /// tx.closed().await;
    /// # });
    /// ```
    ///
    /// # Cancel safety
    /// **Strict.**
    #[track_caller]
    pub fn closed(&self) -> Closed<'_, T> {
        Closed { sender: self, location: Location::caller(), waiter: Waiter::new() }
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
        // Ordering: AcqRel: what the other senders did comes before the end that the last one brings.
        if self.shared.senders.fetch_sub(1, AcqRel) == 1 {
            self.shared.tail.lock().closed = true;
            self.shared.messages.notify_all(0);
        }
    }
}

impl<T> fmt::Debug for Sender<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sender")
            .field("len", &self.len())
            .field("receivers", &self.receiver_count())
            .finish_non_exhaustive()
    }
}

/// A sender that does not keep the channel open. It keeps its memory.
pub struct WeakSender<T> {
    shared: Arc<Shared<T>>,
}

impl<T> WeakSender<T> {
    /// A sender, unless the last one is gone.
    pub fn upgrade(&self) -> Option<Sender<T>> {
        // Ordering: AcqRel, Acquire: nothing needs to be seen but the count itself.
        let mut senders = self.shared.senders.load(Acquire);
        while senders != 0 {
            match self.shared.senders.compare_exchange_weak(senders, senders + 1, AcqRel, Acquire) {
                Ok(_) => return Some(Sender { shared: self.shared.clone() }),
                Err(now) => senders = now,
            }
        }
        None
    }
}

impl<T> Clone for WeakSender<T> {
    fn clone(&self) -> WeakSender<T> {
        WeakSender { shared: self.shared.clone() }
    }
}

impl<T> fmt::Debug for WeakSender<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("WeakSender").finish_non_exhaustive()
    }
}

/// The receiving end. It sees every message sent since it was made, unless it is slower than the channel is
/// long.
pub struct Receiver<T> {
    shared: Arc<Shared<T>>,
    /// The number of the message to see next.
    next: u64,
}

/// What came of a look for the next message.
enum Attempt<T> {
    Got(Result<T, RecvError>),
    Empty,
    /// Another receiver is cloning it.
    Claimed,
}

/// The right to clone from one slot. Dropped, it puts the message back, or drops it if nobody needs it any
/// more.
struct Claim<'a, T> {
    shared: &'a Shared<T>,
    position: u64,
    value: Option<T>,
}

impl<T> Drop for Claim<'_, T> {
    fn drop(&mut self) {
        let mut slot = self.shared.slot(self.position).lock();
        if slot.stamp == self.position + 1 {
            slot.left -= 1;
            if slot.left > 0 {
                slot.value = self.value.take();
            }
        }
        let wanted = mem::take(&mut slot.wanted);
        drop(slot);
        if wanted {
            self.shared.claims.notify_all(0);
        }
    }
}

impl<T: Clone> Receiver<T> {
    /// Waits for the next message.
    ///
    /// # Examples
    /// ```
    /// use filch_channels::channel::broadcast::{self, error::RecvError};
    ///
    /// # futures_lite::future::block_on(async {
    /// let (tx, mut rx) = broadcast::channel(2);
    /// for number in 1..=3 {
    ///     tx.send(number).unwrap();
    /// }
    /// drop(tx);
    /// assert_eq!(rx.recv().await, Err(RecvError::Lagged(1)));
    /// assert_eq!(rx.recv().await, Ok(2));
    /// assert_eq!(rx.recv().await, Ok(3));
    /// assert_eq!(rx.recv().await, Err(RecvError::Closed));
    /// # });
    /// ```
    ///
    /// # Errors
    /// [`RecvError::Lagged`] with the number of messages that were lost since the last one; the next call
    /// gets the oldest that is left. [`RecvError::Closed`] once every sender is gone and every message was
    /// seen.
    ///
    /// # Cancel safety
    /// **Strict.** A message is taken only by the poll that returns it.
    #[track_caller]
    pub fn recv(&mut self) -> Recv<'_, T> {
        Recv { receiver: self, location: Location::caller(), wants_claim: false, waiter: Waiter::new() }
    }

    /// Takes the next message if there is one at once. While another receiver is cloning it, there is none.
    ///
    /// # Errors
    /// [`TryRecvError::Empty`] when there is none; the others as for [`recv`](Receiver::recv).
    pub fn try_recv(&mut self) -> Result<T, TryRecvError> {
        match self.attempt() {
            Attempt::Got(answer) => answer.map_err(TryRecvError::from),
            Attempt::Empty | Attempt::Claimed => Err(TryRecvError::Empty),
        }
    }

    /// Waits on this thread for the next message.
    ///
    /// # Errors
    /// As for [`recv`](Receiver::recv).
    pub fn recv_blocking(&mut self) -> Result<T, RecvError> {
        let mut recv = pin!(self.recv());
        block::block_on(|cx| recv.as_mut().poll_recv(cx))
    }

    /// [`recv_blocking`](Receiver::recv_blocking) under tokio's name.
    ///
    /// # Errors
    /// As for [`recv`](Receiver::recv).
    pub fn blocking_recv(&mut self) -> Result<T, RecvError> {
        self.recv_blocking()
    }

    /// Waits on this thread for the next message, for at most `timeout`.
    ///
    /// # Errors
    /// [`RecvTimeoutError::Timeout`] when none came in time; the others as for [`recv`](Receiver::recv).
    pub fn recv_timeout(&mut self, timeout: Duration) -> Result<T, RecvTimeoutError> {
        self.recv_until(block::deadline_after(timeout))
    }

    /// Waits on this thread for the next message, until `deadline`.
    ///
    /// # Errors
    /// As for [`recv_timeout`](Receiver::recv_timeout).
    pub fn recv_deadline(&mut self, deadline: Instant) -> Result<T, RecvTimeoutError> {
        self.recv_until(Some(deadline))
    }

    fn recv_until(&mut self, deadline: Option<Instant>) -> Result<T, RecvTimeoutError> {
        let mut recv = pin!(self.recv());
        match block::block_until(deadline, |cx| recv.as_mut().poll_recv(cx)) {
            Some(answer) => answer.map_err(RecvTimeoutError::from),
            None => Err(RecvTimeoutError::Timeout),
        }
    }

    fn attempt(&mut self) -> Attempt<T> {
        loop {
            let (shared, position) = (&*self.shared, self.next);
            let mut slot = shared.slot(position).lock();
            if slot.stamp == position + 1 {
                let Some(value) = slot.value.take() else {
                    slot.wanted = true;
                    return Attempt::Claimed;
                };
                self.next += 1;
                if slot.left == 1 {
                    slot.left = 0;
                    return Attempt::Got(Ok(value));
                }
                drop(slot);
                let claim = Claim { shared, position, value: Some(value) };
                let Some(value) = &claim.value else { unreachable!("set above") };
                return Attempt::Got(Ok(value.clone()));
            }
            drop(slot);
            let tail = shared.tail.lock();
            if tail.position == position {
                return if tail.closed { Attempt::Got(Err(RecvError::Closed)) } else { Attempt::Empty };
            }
            let oldest = tail.position.saturating_sub(shared.slots.len() as u64);
            if position < oldest {
                self.next = oldest;
                return Attempt::Got(Err(RecvError::Lagged(oldest - position)));
            }
            // It was sent between the two looks.
        }
    }
}

impl<T> Receiver<T> {
    /// A new receiver of the same channel, which gets what is sent from now on.
    pub fn resubscribe(&self) -> Receiver<T> {
        Shared::subscribe(&self.shared)
    }

    /// The number of messages that this receiver has still to see, lost ones included.
    pub fn len(&self) -> usize {
        (self.shared.tail.lock().position - self.next) as usize
    }

    /// Whether this receiver has seen every message.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Whether every sender is gone. There may be messages to see.
    pub fn is_closed(&self) -> bool {
        self.shared.tail.lock().closed
    }

    /// The number of senders.
    pub fn sender_strong_count(&self) -> usize {
        // Ordering: Relaxed: a report.
        self.shared.senders.load(Relaxed)
    }

    /// Whether `other` receives from the same channel.
    pub fn same_channel(&self, other: &Receiver<T>) -> bool {
        Arc::ptr_eq(&self.shared, &other.shared)
    }

    /// Whether there may be something to see, or the channel is closed.
    fn is_ready(&self) -> bool {
        let tail = self.shared.tail.lock();
        tail.position != self.next || tail.closed
    }

    /// Whether the next message is not claimed by another, or was overwritten.
    fn is_unclaimed(&self) -> bool {
        let mut slot = self.shared.slot(self.next).lock();
        let is_claimed = slot.stamp == self.next + 1 && slot.value.is_none();
        slot.wanted |= is_claimed;
        !is_claimed
    }
}

impl<T> Drop for Receiver<T> {
    fn drop(&mut self) {
        let shared = &*self.shared;
        let mut tail = shared.tail.lock();
        tail.receivers -= 1;
        let (end, last) = (tail.position, tail.receivers == 0);
        drop(tail);
        if last {
            shared.deserted.notify_all(0);
        }
        // Nobody counts on us for what is sent from here on. Of the rest, we let go; what nobody else wants
        // is dropped, outside of the locks.
        struct Rest<'a, T>(&'a Shared<T>, std::ops::Range<u64>);
        impl<T> Drop for Rest<'_, T> {
            fn drop(&mut self) {
                while let Some(position) = self.1.next() {
                    // If the message panics, the others are still let go.
                    let again = Rest(self.0, self.1.clone());
                    drop(self.0.release(position));
                    mem::forget(again);
                }
            }
        }
        drop(Rest(shared, self.next.max(end.saturating_sub(shared.slots.len() as u64))..end));
    }
}

impl<T> fmt::Debug for Receiver<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Receiver").field("len", &self.len()).finish_non_exhaustive()
    }
}

pin_project! {
    /// The future of [`Receiver::recv`].
    #[derive(Debug)]
    #[must_use = "futures do nothing unless polled"]
    pub struct Recv<'a, T> {
        receiver: &'a mut Receiver<T>,
        location: &'static Location<'static>,
        // Which line the waiter stands in.
        wants_claim: bool,
        #[pin]
        waiter: Waiter,
    }
}

impl<T: Clone> Recv<'_, T> {
    fn poll_recv(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<T, RecvError>> {
        let mut this = self.project();
        loop {
            let wants_claim = match this.receiver.attempt() {
                Attempt::Got(answer) => {
                    // All who waited for the message, or for the claim, were told: so nothing needs to be
                    // passed on.
                    this.waiter.leave();
                    return Poll::Ready(answer);
                }
                Attempt::Empty => false,
                Attempt::Claimed => true,
            };
            if mem::replace(this.wants_claim, wants_claim) != wants_claim {
                this.waiter.as_mut().leave();
            }
            let receiver = &**this.receiver;
            let told = if wants_claim {
                let ready = || receiver.is_unclaimed().then_some(());
                this.waiter.as_mut().poll_told(&receiver.shared.claims, 0, ready, cx)
            } else {
                let ready = || receiver.is_ready().then_some(());
                this.waiter.as_mut().poll_told(&receiver.shared.messages, 0, ready, cx)
            };
            if told.is_pending() {
                let address = (&raw const *receiver.shared).cast();
                probe::waiting(Wait::Recv, address, Some(this.location));
                return Poll::Pending;
            }
        }
    }
}

impl<T: Clone> Future for Recv<'_, T> {
    type Output = Result<T, RecvError>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<T, RecvError>> {
        ready!(probe::poll_budget(cx));
        let answer = ready!(self.poll_recv(cx));
        probe::spend();
        Poll::Ready(answer)
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
        let sender = &**this.sender;
        let ready = || (sender.receiver_count() == 0).then_some(());
        if this.waiter.poll_told(&sender.shared.deserted, 0, ready, cx).is_pending() {
            probe::waiting(Wait::Notify, (&raw const *sender.shared).cast(), Some(this.location));
            return Poll::Pending;
        }
        probe::spend();
        Poll::Ready(())
    }
}
