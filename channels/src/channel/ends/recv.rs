//! Layer 3. The receiving end of a channel. Called by user code only.
#![forbid(unsafe_code)]

use std::fmt;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};

use super::iter::{Drain, Iter, TryIter};
use super::kind::{Kind, Mpmc, Mpsc, Rx, Spsc, Store};
use super::operation::{self, Operation, Place, Work};
use super::receive::{Gather, Receive};
use super::shared::{Shared, Stats, revive};
use crate::block::deadline_after;
use crate::channel::error::{RecvError, RecvTimeoutError, TryRecvError};
use crate::channel::future::{Recv, RecvMany};
use crate::probe::{self, Wait};
use crate::shim::Arc;
use crate::shim::Ordering::Relaxed;

/// The receiving end of a channel.
///
/// Clones receive from the same channel, each message going to one of them; when the last one goes, the
/// channel closes and what is in it is dropped. The receiver of [`mpsc`](crate::channel::mpsc) and
/// [`spsc`](crate::channel::spsc) is the only one of its channel, cannot be cloned, and wants `&mut self`.
///
/// It is a [`Stream`](futures_core::Stream) too. A stream that has been polled keeps its place in line until
/// it is polled again or dropped: do not leave one lying about while other receivers of the channel wait.
pub struct Receiver<T, K: Kind = Mpmc> {
    pub(super) shared: Arc<Shared<T, K>>,
    pub(super) rx: Rx<T, K>,
    /// The place in line of the stream. Made when it first has to wait.
    pub(super) stream: Option<Pin<Box<Place>>>,
}

impl<T, K: Kind> Receiver<T, K> {
    pub(super) fn new(shared: Arc<Shared<T, K>>, rx: Rx<T, K>) -> Receiver<T, K> {
        Receiver { shared, rx, stream: None }
    }

    /// The next message for a hand-written future: `None` once the channel is closed and empty. It waits as
    /// the stream does, whose remark on the place in line holds here too.
    pub fn poll_recv(&mut self, cx: &mut Context<'_>) -> Poll<Option<T>> {
        ready!(probe::poll_budget(cx));
        let mut work = Receive::new(&self.shared, &mut self.rx);
        if self.stream.is_none() {
            if let Some(answer) = work.attempt() {
                probe::spend();
                return Poll::Ready(answer.ok());
            }
        }
        let place = self.stream.get_or_insert_with(|| Box::pin(Place::new()));
        match work.poll(place.as_mut(), None, cx) {
            Poll::Ready(answer) => {
                probe::spend();
                Poll::Ready(answer.ok())
            }
            Poll::Pending => {
                probe::waiting(Wait::Recv, self.shared.address(), None);
                Poll::Pending
            }
        }
    }

    /// Closes the channel: no message goes in any more, what is there can still be received. False: it was
    /// closed.
    pub fn close(&self) -> bool {
        self.shared.close()
    }

    /// Whether the channel was closed, or its senders are gone. There may be messages in it.
    pub fn is_closed(&self) -> bool {
        self.shared.store.is_closed()
    }

    /// The number of messages that could be sent now: neither taken by a message nor kept by a permit.
    pub fn capacity(&self) -> usize {
        self.shared.room_left()
    }

    /// The room that the channel was made with; `usize::MAX` when it is unbounded.
    pub fn max_capacity(&self) -> usize {
        self.shared.store.capacity()
    }

    /// The number of messages in the channel.
    pub fn len(&self) -> usize {
        self.shared.store.look().len
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
}

/// Writes the methods that receive, for receivers that are shared (`&self`) or not (`&mut self`). What the
/// latter lend of their own is said twice: with a lifetime to be inferred, and with `'a`.
macro_rules! receiving {
    ($kind:ty, [$($mutable:tt)?], $rx:ty, $rx_for_a:ty) => {
        impl<T> Receiver<T, $kind> {
            /// Waits for the next message.
            ///
            /// Messages come in the order in which they were sent. Receivers who wait are served first come,
            /// first served; one who does not have to wait may go before them, a limited number of times.
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
            /// **Strict.** A message is taken only by the poll that returns it; the place in line is not, but
            /// any receiver's will do for a message. In a rendezvous channel a sender may have handed its
            /// message to a receive that waits; should that be dropped before it looks, the message goes to
            /// the next one.
            #[inline]
            #[track_caller]
            pub fn recv(&$($mutable)? self) -> Recv<'_, T, $kind, $rx> {
                Operation::new(self.receive())
            }

            /// Waits for a message, then takes all that are there, up to `limit`, appends them to `buffer` and
            /// says how many. 0 says that the channel is closed and empty, or that `limit` is 0.
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
            pub fn recv_many<'a>(
                &'a $($mutable)? self,
                buffer: &'a mut Vec<T>,
                limit: usize,
            ) -> RecvMany<'a, T, $kind, $rx_for_a> {
                Operation::new(Gather { receive: self.receive(), buffer, limit })
            }

            /// Takes a message if there is one at once.
            ///
            /// From a rendezvous channel it takes one of a sender that waits.
            ///
            /// # Errors
            /// [`TryRecvError::Empty`] when there is none, or others have waited so long that it is their
            /// turn; [`TryRecvError::Closed`] once the channel is closed and empty, and no permit is left.
            pub fn try_recv(&$($mutable)? self) -> Result<T, TryRecvError> {
                self.receive().try_now()
            }

            /// Waits on this thread for the next message.
            ///
            /// # Errors
            /// [`RecvError`] as for [`recv`](Receiver::recv).
            pub fn recv_blocking(&$($mutable)? self) -> Result<T, RecvError> {
                Operation::block(self.receive())
            }

            /// [`recv_blocking`](Receiver::recv_blocking) under tokio's name.
            ///
            /// # Errors
            /// As there.
            pub fn blocking_recv(&$($mutable)? self) -> Result<T, RecvError> {
                self.recv_blocking()
            }

            /// Waits on this thread for the next message, for at most `timeout`.
            ///
            /// # Errors
            /// [`RecvTimeoutError::Timeout`] when none came in time, [`RecvTimeoutError::Closed`] as for
            /// [`recv`](Receiver::recv).
            pub fn recv_timeout(&$($mutable)? self, timeout: Duration) -> Result<T, RecvTimeoutError> {
                self.receive().until(deadline_after(timeout))
            }

            /// Waits on this thread for the next message, until `deadline`.
            ///
            /// # Errors
            /// As for [`recv_timeout`](Receiver::recv_timeout).
            pub fn recv_deadline(&$($mutable)? self, deadline: Instant) -> Result<T, RecvTimeoutError> {
                self.receive().until(Some(deadline))
            }

            /// [`recv_many`](Receiver::recv_many) on this thread, which waits.
            pub fn recv_many_blocking(&$($mutable)? self, buffer: &mut Vec<T>, limit: usize) -> usize {
                Operation::block(Gather { receive: self.receive(), buffer, limit })
            }

            /// [`recv_many_blocking`](Receiver::recv_many_blocking) under tokio's name.
            pub fn blocking_recv_many(&$($mutable)? self, buffer: &mut Vec<T>, limit: usize) -> usize {
                self.recv_many_blocking(buffer, limit)
            }

            /// The messages to come, for a thread, which waits for each; it ends when the channel is closed
            /// and empty.
            ///
            /// # Examples
            /// ```
            /// let (tx, rx) = filch_channels::channel::unbounded();
            /// std::thread::spawn(move || (1..=3).for_each(|number| tx.try_send(number).unwrap()));
            /// assert_eq!(rx.iter().sum::<i32>(), 6);
            /// ```
            pub fn iter(&$($mutable)? self) -> Iter<'_, T, $kind, $rx> {
                Iter(self.receive())
            }

            /// The messages that are there, also those that come while one looks; it never waits.
            pub fn try_iter(&$($mutable)? self) -> TryIter<'_, T, $kind, $rx> {
                TryIter(self.receive())
            }

            /// As many messages as there are now. It takes them one by one, as it is asked to, and never
            /// waits; those it was not asked for stay.
            pub fn drain(&$($mutable)? self) -> Drain<'_, T, $kind, $rx> {
                let now = self.len();
                self.try_iter().take(now)
            }
        }
    };
}

receiving!(Mpmc, [], (), ());
receiving!(Mpsc, [mut], &mut Rx<T, Mpsc>, &'a mut Rx<T, Mpsc>);
receiving!(Spsc, [mut], &mut Rx<T, Spsc>, &'a mut Rx<T, Spsc>);

impl<T> Receiver<T, Mpmc> {
    #[inline]
    fn receive(&self) -> Receive<'_, T, Mpmc, ()> {
        Receive::new(&self.shared, ())
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

impl<T> Receiver<T, Mpsc> {
    #[inline]
    fn receive(&mut self) -> Receive<'_, T, Mpsc, &mut Rx<T, Mpsc>> {
        Receive::new(&self.shared, &mut self.rx)
    }
}

impl<T> Receiver<T, Spsc> {
    #[inline]
    fn receive(&mut self) -> Receive<'_, T, Spsc, &mut Rx<T, Spsc>> {
        Receive::new(&self.shared, &mut self.rx)
    }
}

impl<T> Clone for Receiver<T> {
    fn clone(&self) -> Receiver<T> {
        // Ordering: Relaxed: the count is not 0, and stays so, as `self` is one.
        self.shared.receivers.fetch_add(1, Relaxed);
        Receiver::new(self.shared.clone(), ())
    }
}

impl<T, K: Kind> Drop for Receiver<T, K> {
    fn drop(&mut self) {
        // First, so that an invitation, or a message, goes to those who stay.
        if let Some(mut place) = self.stream.take() {
            operation::cancel(&mut Receive::new(&self.shared, &mut self.rx), place.as_mut());
        }
        self.shared.drop_receiver(&mut self.rx);
    }
}

impl<T, K: Kind> fmt::Debug for Receiver<T, K> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Receiver").field(&self.shared).finish()
    }
}

/// A receiver that does not keep the channel open. It keeps its memory.
pub struct WeakReceiver<T> {
    shared: Arc<Shared<T, Mpmc>>,
}

impl<T> WeakReceiver<T> {
    /// A receiver, unless the last one is gone.
    pub fn upgrade(&self) -> Option<Receiver<T>> {
        revive(&self.shared.receivers).then(|| Receiver::new(self.shared.clone(), ()))
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

/// A receiver that is lent to a [`Select`](crate::channel::Select): `&Receiver<T>`, or `&mut` one that is the
/// only one of its channel.
pub trait Receives {
    /// What it receives.
    type Message;

    #[doc(hidden)]
    type Work: Work<Output = Result<Self::Message, RecvError>>;

    #[doc(hidden)]
    fn work(self) -> Self::Work;
}

impl<'a, T> Receives for &'a Receiver<T> {
    type Message = T;
    type Work = Receive<'a, T, Mpmc, ()>;

    fn work(self) -> Self::Work {
        self.receive()
    }
}

impl<'a, T> Receives for &'a mut Receiver<T, Mpsc> {
    type Message = T;
    type Work = Receive<'a, T, Mpsc, &'a mut Rx<T, Mpsc>>;

    fn work(self) -> Self::Work {
        self.receive()
    }
}

impl<'a, T> Receives for &'a mut Receiver<T, Spsc> {
    type Message = T;
    type Work = Receive<'a, T, Spsc, &'a mut Rx<T, Spsc>>;

    fn work(self) -> Self::Work {
        self.receive()
    }
}
