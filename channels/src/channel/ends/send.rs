//! Layer 3. The sending end of a channel. Called by user code only.
#![forbid(unsafe_code)]

use std::fmt;
use std::time::{Duration, Instant};

use super::deliver::Deliver;
use super::event::{AwaitEnd, AwaitFlow};
use super::kind::{Kind, Mpmc, Mpsc, Spsc, Store, Tx};
use super::operation::{Operation, Work};
use super::permit::{KeepOwned, KeepRoom, KeepRooms, OwnedPermit, Permit, Permits, try_rooms};
use super::shared::{Shared, Stats, revive};
use crate::block::deadline_after;
use crate::channel::error::{SendError, SendTimeoutError, TrySendError};
use crate::channel::future::{Closed, Reserve, ReserveMany, ReserveOwned, Resumed, Send};
use crate::ring::Force;
use crate::shim::Arc;
use crate::shim::Ordering::Relaxed;

/// The sending end of a channel.
///
/// Clones send to the same channel; when the last one goes, the channel closes. The sender of
/// [`spsc`](crate::channel::spsc) is the only one of its channel, cannot be cloned, and wants `&mut self`.
pub struct Sender<T, K: Kind = Mpmc> {
    pub(super) shared: Arc<Shared<T, K>>,
    pub(super) tx: Tx<T, K>,
}

impl<T, K: Kind> Sender<T, K> {
    pub(super) fn new(shared: Arc<Shared<T, K>>, tx: Tx<T, K>) -> Sender<T, K> {
        Sender { shared, tx }
    }

    /// [`reserve`](Sender::reserve), with a permit that owns the sender.
    ///
    /// # Errors
    /// [`SendError`] once the channel is closed.
    ///
    /// # Cancel safety
    /// **Loses its place in line.** The sender is dropped with the future; keep a clone.
    #[track_caller]
    pub fn reserve_owned(self) -> ReserveOwned<T, K> {
        Operation::new(KeepOwned::new(self))
    }

    /// [`try_reserve`](Sender::try_reserve), with a permit that owns the sender.
    ///
    /// # Errors
    /// As there, with the sender.
    pub fn try_reserve_owned(mut self) -> Result<OwnedPermit<T, K>, TrySendError<Sender<T, K>>> {
        match try_rooms(&self.shared, &mut self.tx, 1) {
            Ok(()) => Ok(OwnedPermit::new(self)),
            Err(TrySendError::Full(())) => Err(TrySendError::Full(self)),
            Err(TrySendError::Closed(())) => Err(TrySendError::Closed(self)),
        }
    }

    /// Closes the channel: no message goes in any more, what is there can still be received. False: it was
    /// closed.
    pub fn close(&self) -> bool {
        self.shared.close()
    }

    /// Whether the channel was closed, or its receivers are gone.
    pub fn is_closed(&self) -> bool {
        self.shared.store.is_closed()
    }

    /// Waits until the channel is closed or its receivers are gone.
    ///
    /// # Examples
    /// ```
    /// # use filch_channels::channel;
    /// # futures_lite::future::block_on(async {
    /// let (tx, rx) = channel::bounded::<u8>(1);
    /// drop(rx);
    /// tx.closed().await;
    /// # });
    /// ```
    ///
    /// # Cancel safety
    /// **Strict.**
    #[track_caller]
    pub fn closed(&self) -> Closed<'_, T, K> {
        Operation::new(AwaitEnd { shared: &self.shared })
    }

    /// [`closed`](Sender::closed) on this thread, which waits.
    pub fn closed_blocking(&self) {
        Operation::block(AwaitEnd { shared: &self.shared });
    }

    /// Whether senders are asked to pause: as many messages as the upper
    /// [watermark](super::Builder::watermarks) were in the channel, and not as few as the lower one since.
    /// Never in a channel without such marks.
    pub fn is_paused(&self) -> bool {
        self.shared.flow.as_ref().is_some_and(|flow| flow.is_paused())
    }

    /// Waits until senders are not asked to [pause](Sender::is_paused), or the channel is closed.
    ///
    /// # Cancel safety
    /// **Strict.**
    #[track_caller]
    pub fn resumed(&self) -> Resumed<'_, T, K> {
        Operation::new(AwaitFlow { shared: &self.shared })
    }

    /// [`resumed`](Sender::resumed) on this thread, which waits.
    pub fn resumed_blocking(&self) {
        Operation::block(AwaitFlow { shared: &self.shared });
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

/// Writes the methods that send, for senders that are shared (`&self`) or not (`&mut self`).
macro_rules! sending {
    ($kind:ty, [$($mutable:tt)?], $tx:ty) => {
        impl<T> Sender<T, $kind> {
            /// Sends a message, waiting for room if need be.
            ///
            /// Senders who wait are served first come, first served; one who does not have to wait may go
            /// before them, a limited number of times. In an unbounded channel there is always room. In a
            /// rendezvous channel it waits for a receiver, and is done as soon as the message is in the hands
            /// of one.
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
            /// **Loses its place in line.** The message is dropped with the future, unless
            /// [`into_inner`](Operation::into_inner) takes it back; to have it not leave your hands before
            /// there is room, [`reserve`](Sender::reserve) first.
            #[inline]
            #[track_caller]
            pub fn send(&$($mutable)? self, message: T) -> Send<'_, T, $kind, $tx> {
                Operation::new(self.deliver(message))
            }

            /// Sends a message if there is room at once; in a rendezvous channel, if a receiver waits.
            ///
            /// # Errors
            /// [`TrySendError::Full`] when there is none, or others have waited so long that it is their turn;
            /// [`TrySendError::Closed`] once the channel is closed. Either has the message.
            pub fn try_send(&$($mutable)? self, message: T) -> Result<(), TrySendError<T>> {
                self.deliver(message).try_now()
            }

            /// Sends a message, waiting on this thread for room if need be.
            ///
            /// # Errors
            /// [`SendError`] with the message, once the channel is closed.
            pub fn send_blocking(&$($mutable)? self, message: T) -> Result<(), SendError<T>> {
                Operation::block(self.deliver(message))
            }

            /// [`send_blocking`](Sender::send_blocking) under tokio's name.
            ///
            /// # Errors
            /// As there.
            pub fn blocking_send(&$($mutable)? self, message: T) -> Result<(), SendError<T>> {
                self.send_blocking(message)
            }

            /// Sends a message, waiting on this thread for room for at most `timeout`.
            ///
            /// # Errors
            /// [`SendTimeoutError::Timeout`] when there was no room in time, [`SendTimeoutError::Closed`] once
            /// the channel is closed. Either has the message.
            pub fn send_timeout(
                &$($mutable)? self,
                message: T,
                timeout: Duration,
            ) -> Result<(), SendTimeoutError<T>> {
                self.deliver(message).until(deadline_after(timeout))
            }

            /// Sends a message, waiting on this thread for room until `deadline`.
            ///
            /// # Errors
            /// As for [`send_timeout`](Sender::send_timeout).
            pub fn send_deadline(
                &$($mutable)? self,
                message: T,
                deadline: Instant,
            ) -> Result<(), SendTimeoutError<T>> {
                self.deliver(message).until(Some(deadline))
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
            /// [`SendError`] once the channel is closed, and at once in a rendezvous channel, where there is
            /// no room to be kept.
            ///
            /// # Cancel safety
            /// **Loses its place in line.** No room is lost.
            #[track_caller]
            pub fn reserve(&$($mutable)? self) -> Reserve<'_, T, $kind, $tx> {
                Operation::new(KeepRoom::new(self.rooms(1)))
            }

            /// Waits for room for `count` messages at once, and keeps it. While it waits at the head of the
            /// line, it lets those behind it wait too.
            ///
            /// # Errors
            /// [`SendError`] once the channel is closed, or when `count` is more than its
            /// [`max_capacity`](Sender::max_capacity).
            ///
            /// # Cancel safety
            /// **Loses its place in line.** No room is lost.
            #[track_caller]
            pub fn reserve_many(&$($mutable)? self, count: usize) -> ReserveMany<'_, T, $kind, $tx> {
                Operation::new(self.rooms(count))
            }

            /// Waits on this thread for room, and keeps it.
            ///
            /// # Errors
            /// As for [`reserve`](Sender::reserve).
            pub fn reserve_blocking(&$($mutable)? self) -> Result<Permit<'_, T, $kind, $tx>, SendError<()>> {
                Ok(Operation::block(self.rooms(1))?.only())
            }

            /// Waits on this thread for room, for at most `timeout`, and keeps it.
            ///
            /// # Errors
            /// [`SendTimeoutError::Timeout`] when there was none in time, [`SendTimeoutError::Closed`] as for
            /// [`reserve`](Sender::reserve).
            pub fn reserve_timeout(
                &$($mutable)? self,
                timeout: Duration,
            ) -> Result<Permit<'_, T, $kind, $tx>, SendTimeoutError<()>> {
                match Operation::block_until(self.rooms(1), deadline_after(timeout), |_| ()) {
                    Ok(kept) => Ok(kept.map_err(|_| SendTimeoutError::Closed(()))?.only()),
                    Err(()) => Err(SendTimeoutError::Timeout(())),
                }
            }

            /// Keeps room for one message if there is some at once.
            ///
            /// # Errors
            /// [`TrySendError::Full`] and [`TrySendError::Closed`] as for [`try_send`](Sender::try_send).
            pub fn try_reserve(&$($mutable)? self) -> Result<Permit<'_, T, $kind, $tx>, TrySendError<()>> {
                Ok(self.rooms(1).try_now()?.only())
            }

            /// Keeps room for `count` messages if there is enough at once.
            ///
            /// # Errors
            /// [`TrySendError::Full`] and [`TrySendError::Closed`] as for [`try_send`](Sender::try_send).
            pub fn try_reserve_many(
                &$($mutable)? self,
                count: usize,
            ) -> Result<Permits<'_, T, $kind, $tx>, TrySendError<()>> {
                self.rooms(count).try_now()
            }
        }
    };
}

sending!(Mpmc, [], ());
sending!(Mpsc, [], ());
sending!(Spsc, [mut], &mut Tx<T, Spsc>);

/// Writes what senders that can be cloned have beside that.
macro_rules! shared_sender {
    ($kind:ty) => {
        impl<T> Sender<T, $kind> {
            #[inline]
            fn deliver(&self, message: T) -> Deliver<'_, T, $kind, ()> {
                Deliver { shared: &self.shared, tx: (), message: Some(message) }
            }

            fn rooms(&self, count: usize) -> KeepRooms<'_, T, $kind, ()> {
                KeepRooms::new(&self.shared, (), count)
            }

            /// Whether `other` sends to the same channel.
            pub fn same_channel(&self, other: &Self) -> bool {
                Arc::ptr_eq(&self.shared, &other.shared)
            }

            /// A sender that does not keep the channel open.
            pub fn downgrade(&self) -> WeakSender<T, $kind> {
                WeakSender { shared: self.shared.clone() }
            }
        }

        impl<T> Clone for Sender<T, $kind> {
            fn clone(&self) -> Self {
                // Ordering: Relaxed: the count is not 0, and stays so, as `self` is one.
                self.shared.senders.fetch_add(1, Relaxed);
                Sender::new(self.shared.clone(), ())
            }
        }

        impl<T> WeakSender<T, $kind> {
            /// A sender, unless the last one is gone.
            pub fn upgrade(&self) -> Option<Sender<T, $kind>> {
                revive(&self.shared.senders).then(|| Sender::new(self.shared.clone(), ()))
            }
        }
    };
}

shared_sender!(Mpmc);
shared_sender!(Mpsc);

impl<T> Sender<T, Spsc> {
    #[inline]
    fn deliver(&mut self, message: T) -> Deliver<'_, T, Spsc, &mut Tx<T, Spsc>> {
        Deliver { shared: &self.shared, tx: &mut self.tx, message: Some(message) }
    }

    fn rooms(&mut self, count: usize) -> KeepRooms<'_, T, Spsc, &mut Tx<T, Spsc>> {
        KeepRooms::new(&self.shared, &mut self.tx, count)
    }
}

impl<T> Sender<T, Mpmc> {
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
    /// [`TrySendError::Full`] when permits keep all the room, so that there is nothing to replace, and in a
    /// rendezvous channel in which no receiver waits; [`TrySendError::Closed`] once the channel is closed.
    /// Either has the message.
    pub fn force_send(&self, message: T) -> Result<Option<T>, TrySendError<T>> {
        if self.shared.store.meet().is_some() {
            return self.deliver(message).try_now().map(|()| None);
        }
        let mut message = Some(message);
        let forced = self.shared.store.force(&mut message);
        if message.is_none() {
            self.shared.sent();
        }
        match (forced, message) {
            (Force::Displaced(oldest), _) => Ok(Some(oldest)),
            (Force::Full, Some(message)) => Err(TrySendError::Full(message)),
            (Force::Closed, Some(message)) => Err(TrySendError::Closed(message)),
            (_, None) | (Force::Done, Some(_)) => Ok(None),
        }
    }
}

impl<T, K: Kind> Drop for Sender<T, K> {
    fn drop(&mut self) {
        self.shared.drop_sender();
    }
}

impl<T, K: Kind> fmt::Debug for Sender<T, K> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Sender").field(&self.shared).finish()
    }
}

/// A sender that does not keep the channel open. It keeps its memory.
pub struct WeakSender<T, K: Kind = Mpmc> {
    shared: Arc<Shared<T, K>>,
}

impl<T, K: Kind> Clone for WeakSender<T, K> {
    fn clone(&self) -> WeakSender<T, K> {
        WeakSender { shared: self.shared.clone() }
    }
}

impl<T, K: Kind> fmt::Debug for WeakSender<T, K> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("WeakSender").field(&self.shared).finish()
    }
}

/// A sender that is lent to a [`Select`](crate::channel::Select): `&Sender<T>`, or `&mut` one that is the only
/// one of its channel.
pub trait Sends<'a> {
    /// What it sends.
    type Message: 'a;

    #[doc(hidden)]
    type Work: Work<Output = Result<(), SendError<()>>>;

    #[doc(hidden)]
    fn work(self, message: &'a mut Option<Self::Message>) -> Self::Work;
}

impl<'a, T> Sends<'a> for &'a Sender<T> {
    type Message = T;
    type Work = Deliver<'a, T, Mpmc, (), &'a mut Option<T>>;

    fn work(self, message: &'a mut Option<T>) -> Self::Work {
        Deliver { shared: &self.shared, tx: (), message }
    }
}

impl<'a, T> Sends<'a> for &'a Sender<T, Mpsc> {
    type Message = T;
    type Work = Deliver<'a, T, Mpsc, (), &'a mut Option<T>>;

    fn work(self, message: &'a mut Option<T>) -> Self::Work {
        Deliver { shared: &self.shared, tx: (), message }
    }
}

impl<'a, T> Sends<'a> for &'a mut Sender<T, Spsc> {
    type Message = T;
    type Work = Deliver<'a, T, Spsc, &'a mut Tx<T, Spsc>, &'a mut Option<T>>;

    fn work(self, message: &'a mut Option<T>) -> Self::Work {
        Deliver { shared: &self.shared, tx: &mut self.tx, message }
    }
}
