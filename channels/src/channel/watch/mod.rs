//! The latest value, for every receiver: who looks sees the newest, and may miss those before.
//!
//! The methods are those of tokio's `watch`, and blocking forms.
//!
//! # Borrowing and changing
//! [`borrow`](Receiver::borrow) gives a [`Ref`] to the value that is there now. It is cheap, and should not be
//! kept for long, for the sake of those who change the value in place. Those are
//! [`send_modify`](Sender::send_modify), [`send_if_modified`](Sender::send_if_modified) and
//! [`send_replace`](Sender::send_replace): they block their thread until every `Ref` to it is gone, and while
//! they run their closure, borrows block. [`send`](Sender::send) waits for no `Ref`: those that are there keep
//! the old value.
//!
//! A thread that would wait for itself panics: one that changes the value in place while it holds a `Ref` to
//! it, and a closure that uses the channel by which it was called. Under tokio such a thread hangs.
//!
//! # Implementation
//! Layer 3. Owns the word that counts the versions, the counts of the ends, and two lines: receivers that wait
//! for a version, and senders that wait until nobody listens. Which thread may touch the value is the business
//! of `value.rs`. The semantics are those of tokio's `watch`. Called by user code only.
//!
//! The version moves on in the same step in which a value is put in its place, so whoever borrows learns
//! exactly which version it sees. Version and end are in one word: who finds the end finds the last version.
//! A receiver waits in line with the version that it has seen, and only those are told that have not seen the
//! new one.
#![forbid(unsafe_code)]

use std::fmt;
use std::future::Future;
use std::panic::Location;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use pin_project_lite::pin_project;

use crate::probe::{self, Wait};
use crate::shim::Ordering::{AcqRel, Acquire, Relaxed, SeqCst};
use crate::shim::task::AtomicUsize;
use crate::shim::{Arc, MutexGuard};
use crate::wait_queue::{WaitQueue, Waiter};

pub mod error;
mod recv;
#[cfg(test)]
mod tests;
mod value;

use error::SendError;
use value::{Read, Value};

pub use recv::{Changed, Receiver};

/// In the word: every sender is gone. What stands above it is the version.
const CLOSED: usize = 1;
/// In the word: one version.
const ONE: usize = 2;

/// Creates a channel that holds one value, `init` at first. Its receiver counts that as seen.
///
/// # Examples
/// ```
/// use filch_channels::channel::watch;
///
/// # futures_lite::future::block_on(async {
/// let (tx, mut rx) = watch::channel("idle");
/// let mut late = tx.subscribe();
/// tx.send("starting").unwrap();
/// tx.send("running").unwrap();
/// assert_eq!(rx.changed().await, Ok(()));
/// assert_eq!(*rx.borrow_and_update(), "running");
/// drop(tx);
/// assert!(rx.changed().await.is_err());
/// assert_eq!(*late.wait_for(|state| *state != "idle").await.unwrap(), "running");
/// # });
/// ```
pub fn channel<T>(init: T) -> (Sender<T>, Receiver<T>) {
    let sender = Sender::new(init);
    let receiver = sender.subscribe();
    (sender, receiver)
}

struct Shared<T> {
    value: Value<T>,
    /// Twice the number of values sent, wrapping, plus [`CLOSED`].
    word: AtomicUsize,
    senders: AtomicUsize,
    receivers: AtomicUsize,
    /// Receivers wait here for a version that they have not seen.
    changes: WaitQueue,
    /// Senders wait here for the last receiver to go.
    deserted: WaitQueue,
}

impl<T> Shared<T> {
    /// The version, in steps of [`ONE`], and whether the channel is closed.
    fn now(&self) -> (usize, bool) {
        // Ordering: Acquire pairs with `next_version`, and with the end: who sees either, sees what was done
        // before.
        let word = self.word.load(Acquire);
        (word & !CLOSED, word & CLOSED != 0)
    }

    /// Counts a new value, in the step in which it is put in its place.
    fn next_version(&self) {
        // Ordering: SeqCst: Release pairs with the load in `now`. The rest is the handshake with `WaitQueue`:
        // either a receiver that registers meanwhile finds this, or we find it in `tell`.
        self.word.fetch_add(ONE, SeqCst);
    }

    /// Tells of the newest version those who have not seen it.
    fn tell(&self) {
        if !self.changes.is_empty_after_rmw() {
            let line = self.changes.lock();
            let (version, _) = self.now();
            line.notify_all_where(0, |seen| seen != version);
        }
    }

    /// A share of the value, and its version.
    fn read(&self) -> (Read<'_, T>, usize) {
        // Ordering: Relaxed: the version moves under the lock that is held here.
        self.value.read(|| self.word.load(Relaxed) & !CLOSED)
    }

    fn address(&self) -> *const () {
        (&raw const *self).cast()
    }
}

/// A shared borrow of the value of the channel, as it was when it was borrowed.
///
/// It stays on its thread, so no task that may move to another can keep it across an await. While it is there,
/// the value cannot be changed in place: see the [module](self#borrowing-and-changing).
///
/// ```compile_fail,E0277
/// # use filch_channels::channel::watch;
/// fn moves<T: Send>(_: T) {}
/// let (tx, _rx) = watch::channel(0);
/// moves(tx.borrow());
/// ```
#[must_use]
pub struct Ref<'a, T> {
    value: Read<'a, T>,
    has_changed: bool,
    /// Keeps this from other threads, as the list of readers says which thread reads.
    _stays_here: std::marker::PhantomData<MutexGuard<'a, ()>>,
}

impl<'a, T> Ref<'a, T> {
    fn new(value: Read<'a, T>, has_changed: bool) -> Ref<'a, T> {
        Ref { value, has_changed, _stays_here: std::marker::PhantomData }
    }
}

impl<T> Ref<'_, T> {
    /// Whether the receiver had not seen this value before. For a sender, it has always seen it.
    pub fn has_changed(&self) -> bool {
        self.has_changed
    }
}

impl<T> std::ops::Deref for Ref<'_, T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.value
    }
}

impl<T: fmt::Debug> fmt::Debug for Ref<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Ref").field("value", &**self).field("has_changed", &self.has_changed).finish()
    }
}

/// The sending end. Clones send to the same channel; when the last one goes, the channel is closed.
pub struct Sender<T> {
    shared: Arc<Shared<T>>,
}

impl<T> Sender<T> {
    /// A channel as [`channel`] makes it, without a receiver.
    pub fn new(init: T) -> Sender<T> {
        let shared = Arc::new(Shared {
            value: Value::new(init),
            word: AtomicUsize::new(0),
            senders: AtomicUsize::new(1),
            receivers: AtomicUsize::new(0),
            changes: WaitQueue::new(),
            deserted: WaitQueue::new(),
        });
        Sender { shared }
    }

    /// Puts another value in the place of the one that is there, and wakes those who wait for it.
    ///
    /// Waits for no [`Ref`]; only while another thread runs the closure of a
    /// [`send_modify`](Self::send_modify).
    ///
    /// # Errors
    /// [`SendError`] with the value when there is no receiver. Then nothing is changed:
    /// [`send_replace`](Self::send_replace) needs no receiver.
    ///
    /// # Panics
    /// When it is called by a closure that changes the value.
    pub fn send(&self, value: T) -> Result<(), SendError<T>> {
        if self.is_closed() {
            return Err(SendError(value));
        }
        let shared = &*self.shared;
        let old = shared.value.replace(value, || shared.next_version());
        shared.tell();
        // The user's code, which may panic.
        drop(old);
        Ok(())
    }

    /// Changes the value in place, and wakes those who wait for a change; also when there is no receiver.
    ///
    /// When `modify` panics, receivers learn nothing; the value is as it left it.
    ///
    /// # Examples
    /// ```
    /// # use filch_channels::channel::watch;
    /// let (tx, rx) = watch::channel(vec![1]);
    /// tx.send_modify(|list| list.push(2));
    /// assert_eq!(*rx.borrow(), [1, 2]);
    /// ```
    ///
    /// # Panics
    /// When this thread holds a [`Ref`] to the value, and when it is called by such a closure itself.
    pub fn send_modify(&self, modify: impl FnOnce(&mut T)) {
        self.send_if_modified(|value| {
            modify(value);
            true
        });
    }

    /// Changes the value in place, and wakes those who wait for a change if `modify` says that there was one.
    /// Returns what it said.
    ///
    /// When `modify` panics, receivers learn nothing; the value is as it left it.
    ///
    /// # Panics
    /// When this thread holds a [`Ref`] to the value, and when it is called by such a closure itself.
    pub fn send_if_modified(&self, modify: impl FnOnce(&mut T) -> bool) -> bool {
        let shared = &*self.shared;
        let mut value = shared.value.take_out();
        let modified = modify(value.get_mut());
        if modified {
            value.put_back(|| shared.next_version());
            shared.tell();
        }
        modified
    }

    /// Puts another value in the place of the one that is there, which it returns; also when there is no
    /// receiver.
    ///
    /// # Panics
    /// When this thread holds a [`Ref`] to the value, and when it is called by a closure that changes it.
    pub fn send_replace(&self, mut value: T) -> T {
        self.send_modify(|old| std::mem::swap(old, &mut value));
        value
    }

    /// The value. Blocks only while another thread runs the closure of a
    /// [`send_modify`](Self::send_modify).
    ///
    /// # Panics
    /// When it is called by such a closure.
    pub fn borrow(&self) -> Ref<'_, T> {
        Ref::new(self.shared.read().0, false)
    }

    /// A new receiver, which counts the value that is there as seen.
    pub fn subscribe(&self) -> Receiver<T> {
        // Ordering: Relaxed: the count says nothing of the value.
        self.shared.receivers.fetch_add(1, Relaxed);
        Receiver::new(self.shared.clone(), self.shared.now().0)
    }

    /// The number of receivers.
    pub fn receiver_count(&self) -> usize {
        // Ordering: Acquire pairs with the drop of a receiver: what it did comes before its end.
        self.shared.receivers.load(Acquire)
    }

    /// The number of senders.
    pub fn sender_count(&self) -> usize {
        // Ordering: Relaxed: a report.
        self.shared.senders.load(Relaxed)
    }

    /// Whether there is no receiver.
    pub fn is_closed(&self) -> bool {
        self.receiver_count() == 0
    }

    /// Whether `other` sends to the same channel.
    pub fn same_channel(&self, other: &Sender<T>) -> bool {
        Arc::ptr_eq(&self.shared, &other.shared)
    }

    /// Waits until there is no receiver.
    ///
    /// # Examples
    /// ```
    /// # use filch_channels::channel::watch;
    /// # futures_lite::future::block_on(async {
    /// let (tx, rx) = watch::channel(1);
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
            // Ordering: SeqCst: Release pairs with the load in `now`. The rest is the handshake with
            // `WaitQueue`, as in `next_version`.
            self.shared.word.fetch_or(CLOSED, SeqCst);
            if !self.shared.changes.is_empty_after_rmw() {
                self.shared.changes.lock().notify_all(0);
            }
        }
    }
}

impl<T: Default> Default for Sender<T> {
    fn default() -> Sender<T> {
        Sender::new(T::default())
    }
}

impl<T> fmt::Debug for Sender<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sender")
            .field("version", &(self.shared.now().0 / ONE))
            .field("receivers", &self.receiver_count())
            .finish_non_exhaustive()
    }
}

pin_project! {
    /// The future of [`Sender::closed`].
    ///
    /// # Cancel safety
    /// **Strict.**
    #[derive(Debug)]
    #[must_use = "futures do nothing unless they are awaited"]
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
        let sender = *this.sender;
        let ready = || sender.is_closed().then_some(());
        if this.waiter.poll_told(&sender.shared.deserted, 0, ready, cx).is_pending() {
            probe::waiting(Wait::Notify, sender.shared.address(), Some(this.location));
            return Poll::Pending;
        }
        probe::spend();
        Poll::Ready(())
    }
}
