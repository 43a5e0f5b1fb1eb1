//! One message, from one sender to one receiver; either may be a task or a thread.
//!
//! The methods are those of tokio's `oneshot`, and blocking forms. A receiver is a future of the message.
//!
//! # Implementation
//! Layer 3. Owns one allocation that both ends share: a state word, the cell of the message, and three slots
//! for wakers. Each side has one waiter at most, so this is a wait queue of length one and does not need the
//! real one. The states are tabled at `Inner::state`. Called by user code only.
//!
//! What differs from tokio's is inside: no reference counts (the state word says who frees), and the
//! receiver's waker is *copied* by the sender before its one locked operation instead of being claimed by
//! another one. So a message costs one locked operation when it is there before the receiver looks, and two
//! when the receiver waits; the last touch of an end is that operation itself, and nobody frees what the
//! other still reads (RUSTSEC-2026-0005), nor do both ever own the cell (RUSTSEC-2021-0124).

use std::fmt;
use std::future::Future;
use std::marker::PhantomData;
use std::mem::{ManuallyDrop, MaybeUninit};
use std::panic::Location;
use std::pin::Pin;
use std::ptr::NonNull;
use std::task::{Context, Poll, Waker, ready};
use std::time::Duration;

use crate::block;
use crate::probe::{self, Wait};
use crate::shim::Ordering::{AcqRel, Acquire, Release};
use crate::shim::UnsafeCell;
use crate::shim::task::AtomicU8;
use crate::waker_slot::WakerSlot;

pub mod error {
    //! The errors of this channel.
    pub use crate::channel::error::{RecvError, RecvTimeoutError, TryRecvError};
}
use error::{RecvError, RecvTimeoutError, TryRecvError};

#[cfg(test)]
mod tests;

/// The cell holds a message. Set together with `DONE`; the message is then the receiver's.
const VALUE: u8 = 1;
/// The sender has sent, or is gone without sending.
const DONE: u8 = 2;
/// The sender will not touch the allocation again.
const LEFT: u8 = 4;
/// The receiver takes no message that is not there yet.
const CLOSED: u8 = 8;
/// The receiver will not touch the allocation again.
const GONE: u8 = 16;
/// The receiver waits: its waker is in `first`, or with `MOVED` in `later`.
const WAITING: u8 = 32;
/// The receiver's waker is no longer the first one it left.
const MOVED: u8 = 64;
/// The sender waits for `CLOSED`: its waker is in `closed`.
const WATCHED: u8 = 128;

struct Inner<T> {
    /// | state (the bits that are set)   | the cell `value`    | the receiver's waker     | who frees      |
    /// |---------------------------------|---------------------|--------------------------|----------------|
    /// | none, `MOVED`                   | the sender's        | none                     | nobody yet     |
    /// | `WAITING`                       | the sender's        | `first`, written once    | nobody yet     |
    /// | `WAITING MOVED`                 | the sender's        | `later`                  | nobody yet     |
    /// | `CLOSED`, with any of the above | the sender's        | as above                 | nobody yet     |
    /// | `CLOSED GONE`                   | the sender's        | none                     | sender, `LEFT` |
    /// | `DONE LEFT`, not with `later`   | `VALUE`: receiver's | the sender copied it     | receiver       |
    /// | `DONE WAITING MOVED`            | `VALUE`: receiver's | the sender reads `later` | nobody yet     |
    /// | `DONE GONE WAITING MOVED`       | empty               | the sender reads `later` | sender, `LEFT` |
    ///
    /// What makes it sound:
    /// 1. *Each slot is written by its own side only*; the other side copies it. Before `DONE`, a sender
    ///    copies `first` on the mere sight of `WAITING` without `MOVED`, and that slot is never written
    ///    again. It copies `later` only after its own change set `DONE`; the receiver writes `later` only
    ///    after a change of its own that took `WAITING` down while `DONE` was not set. So no copy meets a
    ///    write.
    /// 2. *A copy becomes a waker for exactly one side*: the receiver's for the side that takes `WAITING`
    ///    down or sets `DONE`, whichever comes first. The sender's (`WATCHED`) for the side that takes
    ///    `WATCHED` down or sets `CLOSED`, whichever comes first. All four are read-modify-writes of this
    ///    word.
    /// 3. *The cell has one owner*: the sender's until a change sets `VALUE`. That change fails once `CLOSED`
    ///    is set, and then the sender takes its message back. The receiver reads the cell only when it has
    ///    seen `VALUE`.
    /// 4. *The last one out frees*: of `LEFT` and `GONE`, whoever sets the second, or sees the other's before
    ///    setting its own. Neither side touches the allocation after its bit is set.
    state: AtomicU8,
    /// The message. Rule 3 says whose.
    value: UnsafeCell<MaybeUninit<T>>,
    /// The receiver's first waker. Written once.
    first: WakerSlot,
    /// The receiver's waker once that has changed.
    later: WakerSlot,
    /// The sender's waker.
    closed: WakerSlot,
    /// Nothing, read by whoever is about to use the allocation and written by whoever frees it: so the models
    /// see a use that does not happen before the free.
    life: UnsafeCell<()>,
}

/// Creates a channel for one message.
///
/// # Examples
/// ```
/// use filch_channels::channel::oneshot;
///
/// let (tx, rx) = oneshot::channel();
/// std::thread::spawn(move || tx.send(6 * 7));
/// assert_eq!(futures_lite::future::block_on(rx), Ok(42));
/// ```
#[track_caller]
pub fn channel<T>() -> (Sender<T>, Receiver<T>) {
    let inner = NonNull::from(Box::leak(Box::new(Inner {
        state: AtomicU8::new(0),
        value: UnsafeCell::new(MaybeUninit::uninit()),
        first: WakerSlot::new(),
        later: WakerSlot::new(),
        closed: WakerSlot::new(),
        life: UnsafeCell::new(()),
    })));
    let sender = Sender { inner, _owns: PhantomData };
    (sender, Receiver { inner: Some(inner), created: Location::caller(), _owns: PhantomData })
}

impl<T> Inner<T> {
    /// The allocation, for an end that has not left it.
    ///
    /// # Safety
    /// The bit with which the caller's side leaves (`LEFT`, `GONE`) is not set, nor while the result is used.
    unsafe fn get<'a>(inner: NonNull<Inner<T>>) -> &'a Inner<T> {
        // SAFETY: rule 4: nobody frees before both sides have left, and the caller has not.
        let inner = unsafe { inner.as_ref() };
        inner.life.with(|_| ());
        inner
    }

    /// Frees the allocation. Drops neither a message nor a waker.
    ///
    /// # Safety
    /// Both sides have left it, or the caller's is about to and the other has.
    #[inline]
    unsafe fn free(inner: NonNull<Inner<T>>) {
        // SAFETY: `channel` leaked this box, and by rule 4 there is one caller that may say what is said
        // above.
        let inner = unsafe { Box::from_raw(inner.as_ptr()) };
        inner.life.with_mut(|_| ());
    }

    /// The slot that the receiver's waker is in while `WAITING` is set.
    fn waiter(&self, state: u8) -> &WakerSlot {
        if state & MOVED == 0 { &self.first } else { &self.later }
    }
}

/// The end that sends the message.
pub struct Sender<T> {
    inner: NonNull<Inner<T>>,
    _owns: PhantomData<T>,
}

// SAFETY: a message goes from the sender's thread to the receiver's, so `T: Send`. No `&T` is ever handed
// out.
unsafe impl<T: Send> Send for Sender<T> {}
// SAFETY: as above; `&Sender` only reads the state word.
unsafe impl<T: Send> Sync for Sender<T> {}
impl<T> Unpin for Sender<T> {}

impl<T> Sender<T> {
    /// Sends the message. Never waits.
    ///
    /// `Ok` says that the receiver was still there, not that it will look.
    ///
    /// # Examples
    /// ```
    /// let (tx, rx) = filch_channels::channel::oneshot::channel();
    /// drop(rx);
    /// assert_eq!(tx.send("nobody listens"), Err("nobody listens"));
    /// ```
    ///
    /// # Errors
    /// The message, when the receiver is closed or gone.
    pub fn send(self, message: T) -> Result<(), T> {
        // Dropped by hand, and only if `finish` says no: a waker that panics in it must not bring us there
        // twice.
        let this = ManuallyDrop::new(self);
        // SAFETY: the sender was not dropped, so `finish` has not run.
        let inner = unsafe { Inner::get(this.inner) };
        inner.value.with_mut(|cell| {
            // SAFETY: rule 3: `VALUE` is not set, since only `finish` sets it, so the cell is ours.
            unsafe { (*cell).write(message) };
        });
        // SAFETY: the first call for this sender, and the last if it answers true. The cell was just written.
        if unsafe { finish(this.inner, VALUE) } {
            return Ok(());
        }
        // SAFETY: rule 3: `VALUE` was not set, so the message written above is still there and still ours.
        // The allocation is: a `finish` that says no has not left it.
        let message = inner.value.with(|cell| unsafe { (*cell).assume_init_read() });
        drop(ManuallyDrop::into_inner(this));
        Err(message)
    }

    /// Whether the receiver is closed or gone, so that a send would fail.
    pub fn is_closed(&self) -> bool {
        // SAFETY: the sender is here, so it has not left.
        let inner = unsafe { Inner::get(self.inner) };
        // Ordering: Acquire pairs with the receiver's change to `CLOSED` in `close` and `leave`: what it did
        // before is visible to who acts on the answer.
        inner.state.load(Acquire) & CLOSED != 0
    }

    /// Waits until the receiver is closed or gone.
    ///
    /// # Examples
    /// ```
    /// # futures_lite::future::block_on(async {
    /// let (mut tx, rx) = filch_channels::channel::oneshot::channel::<u32>();
    /// drop(rx);
    /// tx.closed().await; // Nobody wants the answer: stop working on it.
    /// # });
    /// ```
    ///
    /// # Cancel safety
    /// **Strict.** Nothing is lost when it is dropped.
    #[track_caller]
    pub fn closed(&mut self) -> Closed<'_, T> {
        Closed { sender: self, location: Location::caller() }
    }

    /// Ready once the receiver is closed or gone. Until then the waker of the latest call is kept, and woken.
    pub fn poll_closed(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        ready!(probe::poll_budget(cx));
        let ready = self.poll_watch(cx);
        if ready.is_ready() {
            probe::spend();
        }
        ready
    }

    fn poll_watch(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        // SAFETY: the sender is here, so it has not left.
        let inner = unsafe { Inner::get(self.inner) };
        // Ordering: Acquire as in `is_closed`.
        let mut state = inner.state.load(Acquire);
        if state & CLOSED != 0 {
            return Poll::Ready(());
        }
        // SAFETY: rule 1: the slot is the sender's own to write, and we hold it by `&mut self`.
        if state & WATCHED != 0 && unsafe { inner.closed.will_wake(cx.waker()) } {
            return Poll::Pending;
        }
        // User code, while nothing is half done. The locals are dropped at the end, also user code.
        let waker = cx.waker().clone();
        let mut _old = None;
        while state & WATCHED != 0 {
            // Ordering: Relaxed would do for a success: the slot is written and read by this side only, after
            // it. AcqRel, and Acquire for a failure, so that `CLOSED` is seen with what came before, as in
            // `is_closed`.
            match inner.state.compare_exchange(state, state & !WATCHED, AcqRel, Acquire) {
                Ok(_) => {
                    // SAFETY: rules 1 and 2: our own slot, and we took `WATCHED` down: the waker is ours
                    // again.
                    _old = Some(unsafe { inner.closed.copy().assume_init() });
                    state &= !WATCHED;
                }
                Err(now) if now & CLOSED != 0 => return Poll::Ready(()),
                Err(now) => state = now,
            }
        }
        // SAFETY: rule 1: `WATCHED` is not set, so the receiver does not read it.
        unsafe { inner.closed.write(waker) };
        loop {
            // Ordering: Release pairs with the Acquire of the receiver's change to `CLOSED`, which copies the
            // slot. Acquire for a failure as in `is_closed`.
            match inner.state.compare_exchange_weak(state, state | WATCHED, AcqRel, Acquire) {
                Ok(_) => return Poll::Pending,
                Err(now) if now & CLOSED != 0 => {
                    // SAFETY: `WATCHED` was not set, so the waker written above is still ours.
                    drop(unsafe { inner.closed.copy().assume_init() });
                    return Poll::Ready(());
                }
                Err(now) => state = now,
            }
        }
    }
}

/// The sender's one change to `DONE`, with the message in the cell (`VALUE`) or without (`0`). False: the
/// channel is `CLOSED`, nothing was changed, and the sender is still there. True: it has left the allocation.
///
/// # Safety
/// Called for an end that has not left, and never again after it answered true. With `VALUE` the cell is
/// written.
unsafe fn finish<T>(pointer: NonNull<Inner<T>>, value: u8) -> bool {
    // SAFETY: the caller's side has not left.
    let inner = unsafe { Inner::get(pointer) };
    // Ordering: Acquire pairs with the Release of `Receiver::register`: with `WAITING` we see the slot.
    let mut state = inner.state.load(Acquire);
    loop {
        if value & VALUE != 0 && state & CLOSED != 0 {
            return false;
        }
        // A waker in `later` may be replaced until `DONE` is set. It is read after that, and only then do we
        // leave.
        let stay = state & (WAITING | MOVED) == (WAITING | MOVED);
        // SAFETY: rule 1: `first` is written, as `WAITING` says, and never again.
        let waiter = (state & (WAITING | MOVED) == WAITING).then(|| unsafe { inner.first.copy() });
        // SAFETY: rule 1: our own slot, and written, as `WATCHED` says.
        let watcher = (state & (WATCHED | CLOSED) == WATCHED).then(|| unsafe { inner.closed.copy() });
        let mut next = state | value | DONE | if stay { 0 } else { LEFT };
        if watcher.is_some() {
            next &= !WATCHED;
        }
        // Ordering: Release pairs with the Acquire of every look of the receiver: with `VALUE` it sees the
        // cell, with `LEFT` all that we did here. Acquire pairs with the Release of the receiver's change to
        // `GONE` (we free after all that it did) and of `register` (we read `later`).
        if let Err(now) = inner.state.compare_exchange_weak(state, next, AcqRel, Acquire) {
            state = now;
            continue;
        }
        // SAFETY: rule 2: we took `WATCHED` down, so our own waker is ours again, to be dropped last.
        let _watcher = watcher.map(|copy| unsafe { copy.assume_init() });
        if stay {
            // SAFETY: we have not left yet.
            let inner = unsafe { Inner::get(pointer) };
            // SAFETY: rule 1: `DONE` is set, by us, while `WAITING` was: the receiver writes it no more. We
            // have not left. Rule 2: the waker is ours.
            let waiter = unsafe { inner.later.copy().assume_init() };
            // Ordering: Release: our reads come before the receiver's free; pairs with its Acquire in
            // `leave`. Acquire: its reads come before our free; pairs with its Release there.
            if inner.state.fetch_or(LEFT, AcqRel) & GONE != 0 {
                // SAFETY: the receiver had left before us.
                unsafe { Inner::free(pointer) };
            }
            waiter.wake();
        } else {
            if state & GONE != 0 {
                // SAFETY: the receiver had left before us.
                unsafe { Inner::free(pointer) };
            }
            // From here on the receiver may have freed the allocation: only locals are touched.
            if let Some(waiter) = waiter {
                // SAFETY: rule 2: we set `DONE` while `WAITING` was set.
                unsafe { waiter.assume_init() }.wake();
            }
        }
        return true;
    }
}

impl<T> Drop for Sender<T> {
    fn drop(&mut self) {
        // SAFETY: `send` does not drop a sender for which `finish` answered true, and may have panicked.
        unsafe { finish(self.inner, 0) };
    }
}

impl<T> fmt::Debug for Sender<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sender").field("closed", &self.is_closed()).finish_non_exhaustive()
    }
}

/// The future of [`Sender::closed`].
#[derive(Debug)]
#[must_use = "futures do nothing unless polled"]
pub struct Closed<'a, T> {
    sender: &'a mut Sender<T>,
    location: &'static Location<'static>,
}

impl<T> Future for Closed<'_, T> {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let ready = self.sender.poll_closed(cx);
        if ready.is_pending() {
            probe::waiting(Wait::Notify, self.sender.inner.as_ptr().cast_const().cast(), Some(self.location));
        }
        ready
    }
}

/// The end that receives the message: a future of it.
///
/// Awaiting `&mut receiver` keeps the end for later. Once the outcome was taken, a further look finds the
/// channel closed; it does not panic.
///
/// # Examples
/// ```
/// # futures_lite::future::block_on(async {
/// use filch_channels::channel::oneshot;
///
/// let (tx, mut rx) = oneshot::channel::<&str>();
/// drop(tx);
/// assert_eq!((&mut rx).await, Err(oneshot::error::RecvError));
/// # });
/// ```
///
/// # Errors
/// [`RecvError`] when the sender is gone and sent nothing.
///
/// # Cancel safety
/// **Strict.** The message is taken only by the poll that returns it.
#[must_use = "the message is lost when its receiver is dropped"]
pub struct Receiver<T> {
    /// `None` once the outcome was taken: this side has then left.
    inner: Option<NonNull<Inner<T>>>,
    /// Where the channel was made: what a report names, as a future does not know where it is awaited.
    created: &'static Location<'static>,
    _owns: PhantomData<T>,
}

// SAFETY: a message goes from the sender's thread to the receiver's, so `T: Send`. No `&T` is ever handed
// out.
unsafe impl<T: Send> Send for Receiver<T> {}
// SAFETY: as above; `&Receiver` only reads the state word.
unsafe impl<T: Send> Sync for Receiver<T> {}
impl<T> Unpin for Receiver<T> {}

impl<T> Receiver<T> {
    /// Takes the message if it is there. Never waits.
    ///
    /// # Errors
    /// [`TryRecvError::Empty`] while it may still come, [`TryRecvError::Closed`] when it was taken or will
    /// not come.
    pub fn try_recv(&mut self) -> Result<T, TryRecvError> {
        let Some((_, state)) = self.look() else { return Err(TryRecvError::Closed) };
        if state & DONE != 0 {
            return self.take(state).map_err(TryRecvError::from);
        }
        // Rule 3: after `CLOSED` no message can appear.
        Err(if state & CLOSED == 0 { TryRecvError::Empty } else { TryRecvError::Closed })
    }

    /// Makes every later send fail. A message that was sent before can still be received.
    ///
    /// # Examples
    /// ```
    /// let (tx, mut rx) = filch_channels::channel::oneshot::channel();
    /// rx.close();
    /// assert_eq!(tx.send(1), Err(1));
    /// assert!(rx.try_recv().is_err());
    /// ```
    pub fn close(&mut self) {
        let Some((inner, state)) = self.look() else { return };
        if state & (CLOSED | DONE) != 0 {
            return;
        }
        // Ordering: Acquire pairs with the Release of `Sender::poll_watch`: with `WATCHED` we see the slot.
        // Release pairs with the Acquire of `Sender::is_closed`.
        let state = inner.state.fetch_or(CLOSED, AcqRel);
        if state & WATCHED != 0 {
            // SAFETY: rule 1: `CLOSED` is set, by us, while `WATCHED` was: the sender writes the slot no
            // more. Rule 2: the waker is ours, since `finish` takes `WATCHED` down unless `CLOSED` is set.
            unsafe { inner.closed.copy().assume_init() }.wake();
        }
    }

    /// Whether no message is there to be taken, now.
    pub fn is_empty(&self) -> bool {
        self.look().is_none_or(|(_, state)| state & VALUE == 0)
    }

    /// Whether the outcome was taken.
    pub fn is_terminated(&self) -> bool {
        self.inner.is_none()
    }

    /// Waits for the message on this thread.
    ///
    /// # Errors
    /// [`RecvError`] when the sender is gone and sent nothing.
    pub fn recv_blocking(mut self) -> Result<T, RecvError> {
        block::block_on(|cx| self.poll_recv(cx))
    }

    /// [`recv_blocking`](Receiver::recv_blocking) under tokio's name.
    ///
    /// # Errors
    /// As there.
    pub fn blocking_recv(self) -> Result<T, RecvError> {
        self.recv_blocking()
    }

    /// Waits for the message on this thread, for at most `timeout`.
    ///
    /// # Errors
    /// [`RecvTimeoutError::Timeout`]: the message may still come. [`RecvTimeoutError::Closed`]: it will not.
    pub fn recv_timeout(&mut self, timeout: Duration) -> Result<T, RecvTimeoutError> {
        match block::block_until(block::deadline(timeout), |cx| self.poll_recv(cx)) {
            Some(outcome) => outcome.map_err(RecvTimeoutError::from),
            None => Err(RecvTimeoutError::Timeout),
        }
    }

    /// The allocation and its state, unless this side has left.
    #[inline]
    fn look(&self) -> Option<(&Inner<T>, u8)> {
        // SAFETY: `self.inner` is set, so this side has not left; it does so by `&mut self`, which ends the
        // borrow.
        let inner = unsafe { Inner::get(self.inner?) };
        // Ordering: Acquire pairs with the Release of `finish`: with `VALUE` we see the message, with `LEFT`
        // all that the sender did.
        Some((inner, inner.state.load(Acquire)))
    }

    #[inline]
    fn poll_recv(&mut self, cx: &mut Context<'_>) -> Poll<Result<T, RecvError>> {
        let Some((inner, state)) = self.look() else { return Poll::Ready(Err(RecvError)) };
        if state & DONE != 0 {
            return Poll::Ready(self.take(state));
        }
        // Rule 3: after `CLOSED` no message can appear.
        if state & CLOSED != 0 {
            return Poll::Ready(Err(RecvError));
        }
        probe::waiting(Wait::Recv, (&raw const *inner).cast(), Some(self.created));
        // SAFETY: rule 1: this side's own slot, and written, as `WAITING` says.
        if state & WAITING != 0 && unsafe { inner.waiter(state).will_wake(cx.waker()) } {
            return Poll::Pending;
        }
        match register(inner, state, cx.waker()) {
            None => Poll::Pending,
            Some(state) => Poll::Ready(self.take(state)),
        }
    }

    /// Takes the outcome and leaves. `state` has `DONE` set.
    #[inline]
    fn take(&mut self, state: u8) -> Result<T, RecvError> {
        let Some(pointer) = self.inner.take() else { return Err(RecvError) };
        // SAFETY: this side had not left, and does so below.
        let inner = unsafe { Inner::get(pointer) };
        let message = if state & VALUE == 0 {
            Err(RecvError)
        } else {
            // SAFETY: rule 3: `VALUE` is set, so the cell is written and ours, and nobody comes here twice.
            Ok(inner.value.with(|cell| unsafe { (*cell).assume_init_read() }))
        };
        // `WATCHED` and `WAITING` are no concern of ours: with `DONE`, rule 2 gave both wakers to others.
        if state & LEFT != 0 {
            // SAFETY: the sender has left, and so do we.
            unsafe { Inner::free(pointer) };
            return message;
        }
        // Ordering: Release and Acquire pair with those of the sender's `fetch_or` in `finish`, either way
        // round.
        if inner.state.fetch_or(GONE, AcqRel) & LEFT != 0 {
            // SAFETY: the sender had left before us.
            unsafe { Inner::free(pointer) };
        }
        message
    }
}

/// Leaves a clone of `waker` for the sender. `None`: it is there. `Some`: the sender was `DONE` first, and
/// this is the state.
fn register<T>(inner: &Inner<T>, mut state: u8, waker: &Waker) -> Option<u8> {
    // User code, while nothing is half done. The old waker is dropped at the end, also user code.
    let waker = waker.clone();
    let mut _old = None;
    while state & WAITING != 0 {
        // Ordering: Acquire, here for a failure, as in `look`. For a success Relaxed would do: what we took
        // down is ours, and is published again below.
        match inner.state.compare_exchange_weak(state, (state & !WAITING) | MOVED, AcqRel, Acquire) {
            Ok(_) => {
                // SAFETY: rule 1: our own slot. Rule 2: we took `WAITING` down while `DONE` was not set.
                _old = Some(unsafe { inner.waiter(state).copy().assume_init() });
                state = (state & !WAITING) | MOVED;
            }
            Err(now) if now & DONE != 0 => return Some(now),
            Err(now) => state = now,
        }
    }
    let slot = inner.waiter(state);
    // SAFETY: rule 1: our own slot; `WAITING` is not set, so the sender will not read it. If it is `first`,
    // this is its one write: we come here again only with `MOVED`, as `WAITING` goes down in the loop above
    // alone.
    unsafe { slot.write(waker) };
    loop {
        // Ordering: Release pairs with the Acquire of `finish`, which copies the slot. Acquire as in `look`.
        match inner.state.compare_exchange_weak(state, state | WAITING, Release, Acquire) {
            Ok(_) => return None,
            Err(now) if now & DONE != 0 => {
                // SAFETY: `WAITING` was not set, so the waker written above is still ours.
                drop(unsafe { slot.copy().assume_init() });
                return Some(now);
            }
            Err(now) => state = now,
        }
    }
}

/// The receiver goes without having taken an outcome. Says whether one is there after all: then nothing was
/// changed.
///
/// # Safety
/// Called for a receiver that has not left, which then counts as having left if the answer is `None`.
unsafe fn leave<T>(pointer: NonNull<Inner<T>>) -> Option<u8> {
    // SAFETY: the caller's side has not left.
    let inner = unsafe { Inner::get(pointer) };
    // Ordering: Acquire as in `Receiver::look`.
    let mut state = inner.state.load(Acquire);
    let mut watcher = None;
    loop {
        if state & DONE != 0 {
            break;
        }
        // The sender's waker is in a slot of the allocation: close first, read it, and leave with a second
        // change.
        let watched = state & (WATCHED | CLOSED) == WATCHED;
        // SAFETY: rule 1: this side's own slot, and written, as `WAITING` says.
        let waiter = (state & WAITING != 0).then(|| unsafe { inner.waiter(state).copy() });
        let next = if watched { state | CLOSED } else { (state | CLOSED | GONE) & !WAITING };
        // Ordering: Release pairs with the Acquire of `finish`: it frees after all that we did. Acquire: with
        // `WATCHED` we see the slot; a failure as in `Receiver::look`.
        if let Err(now) = inner.state.compare_exchange_weak(state, next, AcqRel, Acquire) {
            state = now;
        } else if watched {
            // SAFETY: we have closed, and not left yet.
            let inner = unsafe { Inner::get(pointer) };
            // SAFETY: as in `close`.
            watcher = Some(unsafe { inner.closed.copy().assume_init() });
            state = next;
        } else {
            // The sender may free the allocation from here on: only locals are touched.
            // SAFETY: rule 2: we took `WAITING` down while `DONE` was not set.
            let _waiter = waiter.map(|copy| unsafe { copy.assume_init() });
            if let Some(watcher) = watcher {
                watcher.wake();
            }
            return None;
        }
    }
    if let Some(watcher) = watcher {
        // Not out of the allocation yet; that is for the caller, also if this panics.
        let _ = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| watcher.wake()));
    }
    Some(state)
}

impl<T> Drop for Receiver<T> {
    fn drop(&mut self) {
        let Some(pointer) = self.inner else { return };
        // SAFETY: `self.inner` is set, so this side has not left; nothing looks at it after this.
        if let Some(state) = unsafe { leave(pointer) } {
            // The message, if any, is dropped last: that is user code.
            drop(self.take(state));
        }
    }
}

impl<T> Future for Receiver<T> {
    type Output = Result<T, RecvError>;

    #[inline]
    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<T, RecvError>> {
        ready!(probe::poll_budget(cx));
        let outcome = self.poll_recv(cx);
        if outcome.is_ready() {
            probe::spend();
        }
        outcome
    }
}

impl<T> fmt::Debug for Receiver<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Receiver")
            .field("empty", &self.is_empty())
            .field("terminated", &self.is_terminated())
            .finish_non_exhaustive()
    }
}
