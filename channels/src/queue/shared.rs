//! Layer 2, queue. What all three queues are: items under a lock, places and items to be claimed.
//!
//! Owns the lock round the items ([`Store`]), the two kinds of units, and the count of what is left to do.
//! Called by the public types and their futures.
//!
//! # How an item goes through
//! | step        | a put                                     | a get                                      |
//! |-------------|-------------------------------------------|--------------------------------------------|
//! | claim       | a free place, or waits for one            | an item, or waits for one                  |
//! | lock        | puts it in; one more item can be claimed  | takes the item whose turn it is            |
//! | afterwards  | invites who waits for an item             | one more place is free; invites likewise   |
//!
//! All of it happens in one poll, so a future that is dropped has claimed nothing. A queue without a limit has
//! no places; its put begins at the second step.
//!
//! # What stands under which lock
//! A priority queue compares items under the lock round them, and under no other. Lines are locked neither
//! inside that lock nor round it, so a compare may drop or wake whatever waits here. What it may not do is to
//! use the queue, as its thread holds the lock: `comparer` knows that thread, and every operation that would
//! take the lock looks there first, before it claims anything, and panics.
//!
//! # The end
//! `close` marks both kinds of units under the lock. A put that has claimed a place and comes later finds the
//! queue closed; those that came before have made their item known. So a get that finds no unit and the mark
//! knows that none will come. `close_now` takes the units of the items too. A get that has claimed one of them
//! and not come for it finds nothing there: it is closed. Without `close_now` a claim is always good for an
//! item.
#![forbid(unsafe_code)]

use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Instant;

use super::error::{PutTimeoutError, TaskDoneError, TryGetError, TryPutError};
use super::store::Store;
use super::units::{IsClosed, Tasks, Units};
use super::{QueueState, QueueStats};
use crate::probe;
use crate::shim::Ordering::Relaxed;
use crate::shim::task::AtomicU64;
use crate::shim::{Mutex, MutexGuard, const_unless_model, thread_number};
use crate::wait_queue::{Outcome, Waiter};

/// See the head of this file.
pub(super) struct Shared<T> {
    state: Mutex<State<T>>,
    /// The number of the thread that compares under the lock; 0: none does.
    comparer: AtomicU64,
    maxsize: usize,
    /// Not used by a queue without a limit.
    room: Units,
    items: Units,
    pub(super) tasks: Tasks,
}

struct State<T> {
    store: Store<T>,
    closed: bool,
    taken: u64,
    peak: usize,
}

impl<T> Shared<T> {
    const_unless_model! {
        pub(super) fn new(maxsize: usize, store: Store<T>) -> Shared<T> {
            Shared {
                state: Mutex::new(State { store, closed: false, taken: 0, peak: 0 }),
                comparer: AtomicU64::new(0),
                maxsize,
                room: Units::new(if maxsize <= Units::MAX { maxsize } else { 0 }),
                items: Units::new(0),
                tasks: Tasks::new(),
            }
        }
    }

    pub(super) fn maxsize(&self) -> usize {
        self.maxsize
    }

    /// Whether a put may have to wait.
    fn is_bounded(&self) -> bool {
        self.maxsize != 0 && self.maxsize <= Units::MAX
    }

    pub(super) fn len(&self) -> usize {
        self.items.count()
    }

    pub(super) fn is_full(&self) -> bool {
        self.is_bounded() && self.len() >= self.maxsize
    }

    pub(super) fn is_closed(&self) -> bool {
        self.items.is_closed()
    }

    /// What a report says a task waits for.
    pub(super) fn address(&self) -> *const () {
        (&raw const *self).cast()
    }

    /// Panics when this thread is inside a compare of this queue. Every operation begins with it.
    #[track_caller]
    pub(super) fn refuse_reentry(&self) {
        // Ordering: Relaxed: only what this thread itself has stored can be its number.
        let comparer = self.comparer.load(Relaxed);
        assert!(
            comparer == 0 || comparer != thread_number(),
            "the compare of a PriorityQueue used that queue, which is locked while it compares; compare what \
             the items hold, and use the queue elsewhere"
        );
    }

    #[track_caller]
    fn lock(&self) -> MutexGuard<'_, State<T>> {
        self.refuse_reentry();
        self.state.lock()
    }

    /// Changes the ages of a priority queue: before it is used.
    pub(super) fn set_ageing(&self, limit: u64) {
        if let Store::Lowest(heap) = &mut self.lock().store {
            heap.set_ageing(limit);
        }
    }

    /// Does to the items what may compare some. The queue is locked by `state`.
    fn comparing<R>(
        &self,
        state: &mut State<T>,
        f: impl FnOnce(&mut Store<T>) -> R,
    ) -> std::thread::Result<R> {
        if !state.store.compares() {
            return Ok(f(&mut state.store));
        }
        // Ordering: Relaxed, here and below: see `refuse_reentry`.
        self.comparer.store(thread_number(), Relaxed);
        let done = catch_unwind(AssertUnwindSafe(|| f(&mut state.store)));
        self.comparer.store(0, Relaxed);
        done
    }

    /// Puts an item for which a place was claimed. It is left in the slot when that fails.
    pub(super) fn push(&self, slot: &mut Option<T>) -> Result<(), IsClosed> {
        let mut state = self.lock();
        if state.closed {
            return Err(IsClosed);
        }
        let done = self.comparing(&mut state, |store| store.push(slot));
        if let Err(panic) = done {
            drop(state);
            self.give_room();
            resume_unwind(panic);
        }
        state.peak = state.peak.max(state.store.len());
        self.tasks.add();
        self.items.add();
        drop(state);
        self.items.release();
        Ok(())
    }

    /// Takes the item for which a unit was claimed.
    pub(super) fn pop(&self) -> Result<T, IsClosed> {
        let mut state = self.lock();
        match self.comparing(&mut state, Store::pop) {
            Ok(None) => Err(IsClosed),
            Ok(Some(item)) => {
                state.taken += 1;
                drop(state);
                self.give_room();
                Ok(item)
            }
            Err(panic) => {
                // The item is there still. Under the lock, so that `close_now` takes the unit too.
                self.items.add();
                drop(state);
                self.items.release();
                resume_unwind(panic);
            }
        }
    }

    fn give_room(&self) {
        if self.is_bounded() {
            self.room.add();
            self.room.release();
        }
    }

    /// Claims a place, waiting for it if need be.
    pub(super) fn poll_room(
        &self,
        waiter: Pin<&mut Waiter>,
        cx: &mut Context<'_>,
    ) -> Poll<Result<(), IsClosed>> {
        if !self.is_bounded() {
            return Poll::Ready(Ok(()));
        }
        poll_units(&self.room, waiter, cx)
    }

    /// Claims an item, waiting for it if need be.
    pub(super) fn poll_item(
        &self,
        waiter: Pin<&mut Waiter>,
        cx: &mut Context<'_>,
    ) -> Poll<Result<(), IsClosed>> {
        poll_units(&self.items, waiter, cx)
    }

    pub(super) fn try_put(&self, item: T) -> Result<(), TryPutError<T>> {
        self.refuse_reentry();
        if self.is_bounded() {
            match self.room.line.try_claim(|| self.room.take()) {
                Some(Ok(())) => {}
                None if !self.is_closed() => return Err(TryPutError::Full(item)),
                Some(Err(IsClosed)) | None => return Err(TryPutError::Closed(item)),
            }
        }
        probe::spend();
        let mut slot = Some(item);
        match (self.push(&mut slot), slot) {
            (Err(IsClosed), Some(item)) => Err(TryPutError::Closed(item)),
            _ => Ok(()),
        }
    }

    pub(super) fn try_get(&self) -> Result<T, TryGetError> {
        self.refuse_reentry();
        match self.items.line.try_claim(|| self.items.take()) {
            Some(Ok(())) => {
                probe::spend();
                self.pop().map_err(|IsClosed| TryGetError::Closed)
            }
            Some(Err(IsClosed)) => Err(TryGetError::Closed),
            // Not our turn.
            None if self.is_closed() && self.len() == 0 => Err(TryGetError::Closed),
            None => Err(TryGetError::Empty),
        }
    }

    pub(super) fn put_until(&self, item: T, deadline: Option<Instant>) -> Result<(), PutTimeoutError<T>> {
        self.refuse_reentry();
        let claimed = if self.is_bounded() { claim_until(&self.room, deadline) } else { Some(Ok(())) };
        let mut slot = Some(item);
        let done = match claimed {
            Some(Ok(())) => self.push(&mut slot),
            Some(Err(IsClosed)) | None => Err(IsClosed),
        };
        match (done, slot) {
            (Err(IsClosed), Some(item)) if claimed.is_none() => Err(PutTimeoutError::Timeout(item)),
            (Err(IsClosed), Some(item)) => Err(PutTimeoutError::Closed(item)),
            _ => Ok(()),
        }
    }

    /// `None`: the time was up.
    pub(super) fn get_until(&self, deadline: Option<Instant>) -> Option<Result<T, IsClosed>> {
        self.refuse_reentry();
        let claimed = claim_until(&self.items, deadline)?;
        Some(claimed.and_then(|()| self.pop()))
    }

    /// False: not all was done in time.
    pub(super) fn join_until(&self, deadline: Option<Instant>) -> bool {
        self.refuse_reentry();
        self.tasks.finished_until(deadline)
    }

    pub(super) fn task_done(&self) -> Result<(), TaskDoneError> {
        self.tasks.done(1)
    }

    /// False: it was closed.
    pub(super) fn close(&self) -> bool {
        let mut state = self.lock();
        if std::mem::replace(&mut state.closed, true) {
            return false;
        }
        self.items.close();
        self.room.close();
        drop(state);
        self.items.release();
        self.room.release();
        true
    }

    pub(super) fn close_now(&self) -> Vec<T> {
        let mut state = self.lock();
        state.closed = true;
        self.items.close_now();
        self.room.close();
        let left = state.store.drain();
        drop(state);
        self.items.release();
        self.room.release();
        if !left.is_empty() {
            // An error: more calls of `task_done` were made than items were taken. Then these count as done.
            let _ = self.tasks.done(left.len() as u64);
        }
        left
    }

    #[cfg(all(test, not(filch_loom)))]
    pub(super) fn with_store<R>(&self, look: impl FnOnce(&Store<T>) -> R) -> R {
        look(&self.lock().store)
    }

    pub(super) fn stats(&self) -> QueueStats {
        let state = self.lock();
        let len = state.store.len();
        QueueStats {
            len,
            maxsize: self.maxsize,
            unfinished: self.tasks.unfinished(),
            waiting_put: self.room.line.count_waiters(),
            waiting_get: self.items.line.count_waiters(),
            waiting_join: self.tasks.count_waiters(),
            peak: state.peak,
            put: self.tasks.put(),
            taken: state.taken,
            state: match (state.closed, len) {
                (false, _) => QueueState::Open,
                (true, 0) => QueueState::Closed,
                (true, _) => QueueState::Closing,
            },
        }
    }
}

impl<T> fmt::Debug for Shared<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Queue")
            .field("len", &self.len())
            .field("maxsize", &self.maxsize)
            .field("closed", &self.is_closed())
            .field("unfinished", &self.tasks.unfinished())
            .finish_non_exhaustive()
    }
}

fn poll_units(units: &Units, waiter: Pin<&mut Waiter>, cx: &mut Context<'_>) -> Poll<Result<(), IsClosed>> {
    waiter.poll_claim(&units.line, 1, || units.free(), || units.take(), cx).map(claimed)
}

/// `None`: the time was up.
fn claim_until(units: &Units, deadline: Option<Instant>) -> Option<Result<(), IsClosed>> {
    Waiter::claim_blocking(&units.line, 1, || units.free(), || units.take(), deadline).map(claimed)
}

/// The answer of a line that ends by its units and tells nobody anything.
fn claimed(outcome: Outcome<Result<(), IsClosed>>) -> Result<(), IsClosed> {
    match outcome {
        Outcome::Taken(answer) => answer,
        Outcome::Told(_) => unreachable!("nobody tells those who wait for units anything"),
    }
}
