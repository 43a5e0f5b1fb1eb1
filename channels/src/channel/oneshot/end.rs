//! Layer 3. What the two ends of a oneshot channel share, and what each of them may do with it.
//!
//! Owns the allocation: a state word, the cell of the message, three slots for wakers. All unsafe code of the
//! channel is here, behind [`End`]: who has one is on its side of the table at `Shared::state`, and leaves
//! that side by giving it up. Called by `channel::oneshot` only.

use std::mem::{ManuallyDrop, MaybeUninit};
use std::ops::Deref;
use std::panic::{AssertUnwindSafe, RefUnwindSafe, UnwindSafe, catch_unwind};
use std::ptr::NonNull;
use std::task::Waker;

use crate::channel::error::RecvError;
use crate::shim::Ordering::{AcqRel, Acquire, Release};
use crate::shim::task::AtomicU8;
use crate::shim::{UnsafeCell, loses_wake_up};
use crate::waker_slot::WakerSlot;

/// The cell holds a message. Set together with `DONE`; the message is then the receiver's.
pub(super) const VALUE: u8 = 1;
/// The sender has sent, or is gone without sending.
pub(super) const DONE: u8 = 2;
/// The sender will not touch the allocation again.
const LEFT: u8 = 4;
/// The receiver takes no message that is not there yet.
pub(super) const CLOSED: u8 = 8;
/// The receiver will not touch the allocation again.
const GONE: u8 = 16;
/// The receiver waits: its waker is in `first`, or with `MOVED` in `later`.
const WAITING: u8 = 32;
/// The receiver's waker is no longer the first one it left.
const MOVED: u8 = 64;
/// The sender waits for `CLOSED`: its waker is in `closed`.
const WATCHED: u8 = 128;

/// The allocation. Made by [`pair`], reached through an [`End`] only.
pub(super) struct Shared<T> {
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

impl<T> Drop for Shared<T> {
    /// Drops neither a message nor a waker.
    fn drop(&mut self) {
        self.life.with_mut(|_| ());
    }
}

/// One side's hold on the allocation, `OUT` being the bit with which it leaves.
///
/// There is one `End` of each side. While it exists, `OUT` is not set; both are up to the methods here, which
/// alone set that bit, and use up the `End` as they do (rule 4).
pub(super) struct End<T, const OUT: u8>(NonNull<Shared<T>>);

/// The side that sends.
pub(super) type SenderEnd<T> = End<T, LEFT>;
/// The side that receives.
pub(super) type ReceiverEnd<T> = End<T, GONE>;

// SAFETY: a message goes from the sender's thread to the receiver's, so `T: Send`. No `&T` is ever handed
// out.
unsafe impl<T: Send, const OUT: u8> Send for End<T, OUT> {}
// SAFETY: as above; by `&End` one only reads the state word, or sets `CLOSED` in it.
unsafe impl<T: Send, const OUT: u8> Sync for End<T, OUT> {}

// A waker that panics does so after the state was changed, or before.
impl<T, const OUT: u8> UnwindSafe for End<T, OUT> {}
impl<T, const OUT: u8> RefUnwindSafe for End<T, OUT> {}

/// Makes the allocation, and the one end of each side.
pub(super) fn pair<T>() -> (SenderEnd<T>, ReceiverEnd<T>) {
    let shared = NonNull::from(Box::leak(Box::new(Shared {
        state: AtomicU8::new(0),
        value: UnsafeCell::new(MaybeUninit::uninit()),
        first: WakerSlot::new(),
        later: WakerSlot::new(),
        closed: WakerSlot::new(),
        life: UnsafeCell::new(()),
    })));
    (End(shared), End(shared))
}

impl<T, const OUT: u8> Deref for End<T, OUT> {
    type Target = Shared<T>;

    #[inline]
    fn deref(&self) -> &Shared<T> {
        // SAFETY: rule 4: nobody frees before both sides have left, and ours has not while its `End` exists.
        let shared = unsafe { self.0.as_ref() };
        shared.life.with(|_| ());
        shared
    }
}

impl<T, const OUT: u8> End<T, OUT> {
    /// The bit with which the other side leaves.
    const OTHER: u8 = (LEFT | GONE) & !OUT;
    /// This side waits.
    const WAITS: u8 = if OUT == LEFT { WATCHED } else { WAITING };
    /// What it waits for.
    const STOP: u8 = if OUT == LEFT { CLOSED } else { DONE };
    /// What it sets when it takes its waker back to leave another one: so `first` is written once.
    const AGAIN: u8 = if OUT == LEFT { 0 } else { MOVED };

    /// The state word.
    #[inline]
    pub(super) fn state(&self) -> u8 {
        // Ordering: Acquire pairs with the Release of the other side's changes. The receiver sees the message
        // with `VALUE`, the slot of the sender with `WATCHED`, and with `LEFT` all that the sender did. The
        // sender sees the slot with `WAITING`, and with `CLOSED` what the receiver did before.
        self.state.load(Acquire)
    }

    /// Where the allocation is: its name in a report.
    pub(super) fn address(&self) -> *const () {
        self.0.as_ptr().cast_const().cast()
    }

    /// The slot that this side's waker is in when it waits in this state.
    #[inline]
    fn slot(&self, state: u8) -> &WakerSlot {
        match (OUT, state & MOVED) {
            (LEFT, _) => &self.closed,
            (_, 0) => &self.first,
            (_, _) => &self.later,
        }
    }

    /// Leaves a clone of `waker` for the other side. False: what this side waits for has come.
    pub(super) fn arm(&mut self, waker: &Waker) -> bool {
        let mut state = self.state();
        if state & Self::STOP != 0 {
            return false;
        }
        // SAFETY: rule 1: our own slot, and written, as `WAITS` says. Rule 2: it becomes a waker below only,
        // once we have taken `WAITS` down while `STOP` was not set.
        let mut old = (state & Self::WAITS != 0).then(|| unsafe { self.slot(state).copy() });
        if old.as_ref().is_some_and(|old| old.will_wake(waker)) {
            return true;
        }
        // User code, while nothing is half done. The old waker is dropped at the end, also user code.
        let waker = waker.clone();
        let mut _old = None;
        while state & Self::WAITS != 0 {
            let next = (state & !Self::WAITS) | Self::AGAIN;
            // Ordering: Acquire, here for a failure, as in `state`. For a success Relaxed would do: what we
            // took down is ours, and is published again below.
            match self.state.compare_exchange_weak(state, next, AcqRel, Acquire) {
                Ok(_) => {
                    _old = old.take().map(ManuallyDrop::into_inner);
                    state = next;
                }
                Err(now) if now & Self::STOP != 0 => return false,
                Err(now) => state = now,
            }
        }
        let slot = self.slot(state);
        // SAFETY: rule 1: our own slot; `WAITS` is not set, so the other side will not read it. If it is
        // `first`, this is its one write: we come here again only with `MOVED`, as `WAITING` goes down in the
        // loop above alone, or for good.
        unsafe { slot.write(waker) };
        loop {
            // Ordering: Release pairs with the Acquire of the other side, which copies the slot. Acquire as
            // in `state`.
            match self.state.compare_exchange_weak(state, state | Self::WAITS, Release, Acquire) {
                Ok(_) => return true,
                Err(now) if now & Self::STOP != 0 => {
                    // SAFETY: `WAITS` was not set, so the waker written above is still ours alone.
                    drop(ManuallyDrop::into_inner(unsafe { slot.copy() }));
                    return false;
                }
                Err(now) => state = now,
            }
        }
    }

    /// Leaves.
    #[inline]
    fn leave(self) {
        // Ordering: Release: what we did comes before the other side's free, which sees this with Acquire.
        // Acquire: what it did comes before our free; pairs with the Release with which it left.
        if self.state() & Self::OTHER != 0 || self.state.fetch_or(OUT, AcqRel) & Self::OTHER != 0 {
            // SAFETY: rule 4: the other side had left before us, and we do now; `pair` leaked this box.
            drop(unsafe { Box::from_raw(self.0.as_ptr()) });
        }
    }

    /// Leaves by changing the state, to `next` and `OUT`, if it is what it was. Otherwise says what it is
    /// now.
    ///
    /// After `Ok` the allocation may be gone.
    #[inline]
    fn leave_by(self, state: u8, next: u8) -> Result<(), (Self, u8)> {
        // Ordering: as in `leave`; beside that, Release also for what the change itself tells, and Acquire
        // for a failure as in `state`.
        if let Err(now) = self.state.compare_exchange_weak(state, next | OUT, AcqRel, Acquire) {
            return Err((self, now));
        }
        if state & Self::OTHER != 0 {
            // SAFETY: as in `leave`.
            drop(unsafe { Box::from_raw(self.0.as_ptr()) });
        }
        Ok(())
    }
}

impl<T> SenderEnd<T> {
    /// Leaves with a message.
    ///
    /// # Errors
    /// The message, when the channel is `CLOSED`. Nothing was changed then.
    #[inline]
    pub(super) fn send(self, message: T) -> Result<(), (Self, T)> {
        self.value.with_mut(|cell| {
            // SAFETY: rule 3: `VALUE` is not set, since only `finish` sets it, and leaves: the cell is ours.
            unsafe { (*cell).write(message) };
        });
        // SAFETY: the cell was just written.
        unsafe { self.finish(VALUE) }.map_err(|end| {
            // SAFETY: rule 3: `VALUE` was not set, so the message written above is there and still ours.
            let message = end.value.with(|cell| unsafe { (*cell).assume_init_read() });
            (end, message)
        })
    }

    /// Leaves without a message.
    pub(super) fn give_up(self) {
        // SAFETY: nothing is said of the cell. And nothing is refused.
        let _ = unsafe { self.finish(0) };
    }

    /// The sender's one change to `DONE`, with the message in the cell (`VALUE`) or without (`0`). Wakes the
    /// receiver. `Err`, only with `VALUE`: the channel is `CLOSED`, and nothing was changed.
    ///
    /// # Safety
    /// With `VALUE` the cell is written.
    unsafe fn finish(mut self, value: u8) -> Result<(), Self> {
        let mut state = self.state();
        loop {
            if value & VALUE != 0 && state & CLOSED != 0 {
                return Err(self);
            }
            // SAFETY: rule 1: our own slot, and written, as `WATCHED` says. Rule 2: it becomes a waker once
            // we have taken `WATCHED` down while `CLOSED` was not set.
            let watcher = (state & (WATCHED | CLOSED) == WATCHED).then(|| unsafe { self.closed.copy() });
            let mut next = state | value | DONE;
            if watcher.is_some() {
                next &= !WATCHED;
            }
            let waiter = if state & (WAITING | MOVED) == (WAITING | MOVED) {
                // A waker in `later` may be replaced until `DONE` is set. It is read after that, and only
                // then do we leave.
                // Ordering: as in `leave_by`; Acquire also pairs with the Release of `arm`: we read `later`.
                if let Err(now) = self.state.compare_exchange_weak(state, next, AcqRel, Acquire) {
                    state = now;
                    continue;
                }
                // SAFETY: rule 1: `DONE` is set, by us, while `WAITING` was: the receiver writes it no more.
                // Rule 2: the waker is ours by that.
                let waiter = ManuallyDrop::into_inner(unsafe { self.later.copy() });
                self.leave();
                Some(waiter)
            } else {
                // SAFETY: rule 1: `first` is written, as `WAITING` without `MOVED` says, and never again.
                // Rule 2: it becomes a waker once we have set `DONE` while `WAITING` was set.
                let waiter = (state & WAITING != 0).then(|| unsafe { self.first.copy() });
                if let Err((end, now)) = self.leave_by(state, next) {
                    (self, state) = (end, now);
                    continue;
                }
                waiter.map(ManuallyDrop::into_inner)
            };
            // From here on the receiver may have freed the allocation: only locals are touched. Our own waker
            // is dropped last, also when the other one panics.
            let _watcher = watcher.map(ManuallyDrop::into_inner);
            if let Some(waiter) = waiter.filter(|_| !loses_wake_up()) {
                waiter.wake();
            }
            return Ok(());
        }
    }
}

impl<T> ReceiverEnd<T> {
    /// Leaves with the outcome, which is there, as `state` has said: with `DONE`.
    ///
    /// # Errors
    /// [`RecvError`] when there is no message in it.
    #[inline]
    pub(super) fn take(self) -> Result<T, RecvError> {
        let message = if self.state() & VALUE == 0 {
            Err(RecvError)
        } else {
            // SAFETY: rule 3: `VALUE` is set, so the cell is written and ours. We leave: nobody comes twice.
            Ok(self.value.with(|cell| unsafe { (*cell).assume_init_read() }))
        };
        // `WATCHED` and `WAITING` are no concern of ours: with `DONE`, rule 2 gave both wakers to others.
        self.leave();
        message
    }

    /// Sets `CLOSED`. The waker of a sender that watches for that is now the caller's to wake.
    pub(super) fn close(&self) -> Option<Waker> {
        // Ordering: Acquire pairs with the Release of `arm`: with `WATCHED` we see the slot. Release pairs
        // with the Acquire of `state`.
        let before = self.state.fetch_or(CLOSED, AcqRel);
        // SAFETY: rule 1: `CLOSED` is set, by us, while `WATCHED` was: the sender writes the slot no more.
        // Rule 2: the waker is ours by that, since `finish` takes `WATCHED` down unless `CLOSED` is set.
        let watcher = (before & (WATCHED | CLOSED) == WATCHED).then(|| unsafe { self.closed.copy() });
        watcher.map(ManuallyDrop::into_inner)
    }

    /// The receiver goes without having taken an outcome.
    ///
    /// # Errors
    /// The end, when an outcome is there after all.
    pub(super) fn give_up(mut self) -> Result<(), Self> {
        let mut state = self.state();
        let mut watcher = None;
        while state & DONE == 0 {
            if state & (WATCHED | CLOSED) == WATCHED {
                // The sender's waker is in a slot of the allocation: close first, read it, and leave with a
                // second change.
                watcher = self.close();
                state = self.state();
                continue;
            }
            // SAFETY: rule 1: our own slot, and written, as `WAITING` says. Rule 2: it becomes a waker once
            // we have taken `WAITING` down while `DONE` was not set.
            let waiter = (state & WAITING != 0).then(|| unsafe { self.slot(state).copy() });
            match self.leave_by(state, (state | CLOSED) & !WAITING) {
                Ok(()) => {
                    // The sender may free the allocation from here on: only locals are touched.
                    let _waiter = waiter.map(ManuallyDrop::into_inner);
                    if let Some(watcher) = watcher.filter(|_| !loses_wake_up()) {
                        watcher.wake();
                    }
                    return Ok(());
                }
                Err((end, now)) => (self, state) = (end, now),
            }
        }
        if let Some(watcher) = watcher.filter(|_| !loses_wake_up()) {
            // Not out of the allocation yet; that is for the caller, also if this panics.
            let _ = catch_unwind(AssertUnwindSafe(|| watcher.wake()));
        }
        Err(self)
    }
}
