//! Layer 2, lock. All of a lock but its value: one word, and the line of those who wait.
//!
//! Owns the word and the ways to take and give back the lock; generic over nothing, so that `Condition` and
//! guards of parts of a value can use it without knowing the value's type. Called by the rest of the room
//! and by `condition`.
#![forbid(unsafe_code)]

use std::fmt;
use std::panic::Location;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Instant;

use super::notes::{LockStats, Notes};
use super::rank::{Form, Rank};
use crate::probe::{self, Holder, Wait};
use crate::shim::Ordering::{Acquire, Relaxed, SeqCst};
use crate::shim::const_unless_model;
use crate::shim::task::AtomicUsize;
use crate::wait_queue::{Outcome, WaitQueue, Waiter};

/// In the word: somebody has the lock. What stands above it is the id of the task, `0` if it is not known.
const HELD: usize = 1;

/// See the head of this file.
pub struct RawLock {
    /// `0`: free.
    word: AtomicUsize,
    queue: WaitQueue,
    notes: Notes,
    rank: Rank,
}

impl RawLock {
    const_unless_model! {
        pub(super) fn new(level: Option<u32>) -> RawLock {
            RawLock {
                word: AtomicUsize::new(0),
                queue: WaitQueue::new(),
                notes: Notes::new(),
                rank: Rank::new(level),
            }
        }

        pub(super) fn fair() -> RawLock {
            RawLock {
                word: AtomicUsize::new(0),
                queue: WaitQueue::fair(),
                notes: Notes::new(),
                rank: Rank::new(None),
            }
        }
    }

    pub(super) fn level(&self) -> Option<u32> {
        self.rank.level()
    }

    pub(super) fn is_locked(&self) -> bool {
        // Ordering: Relaxed: a hint; whoever wants to rely on it has to take the lock.
        self.word.load(Relaxed) != 0
    }

    pub(super) fn holder(&self) -> Option<Holder> {
        self.holder_id().map(|id| Holder::new(id, self.notes.place()))
    }

    pub(super) fn stats(&self) -> LockStats {
        self.notes.stats(self.queue.count_waiters())
    }

    fn holder_id(&self) -> Option<u64> {
        // Ordering: Relaxed: a report.
        let word = self.word.load(Relaxed);
        (word != 0).then_some((word >> 1) as u64)
    }

    fn free(&self) -> usize {
        // Ordering: Relaxed: the queue orders this load by its fence, and nothing is read on the strength of
        // it.
        usize::from(self.word.load(Relaxed) == 0)
    }

    #[inline]
    fn take_word(&self, id: u64) -> Option<()> {
        let held = (id as usize) << 1 | HELD;
        // Ordering: Acquire pairs with the swap in `unlock`: what was done under the lock is visible. Relaxed
        // on failure: nothing was taken, and whoever waits then looks again by the handshake of `WaitQueue`.
        self.word.compare_exchange(0, held, Acquire, Relaxed).ok().map(drop)
    }

    /// Takes the lock for a look at the value, which nothing is noted of.
    pub(super) fn try_peek(&self) -> bool {
        self.queue.try_claim(|| self.take_word(probe::current_id())).is_some()
    }

    /// Takes the lock for the task `id` if it is free.
    #[inline]
    fn take(&self, id: u64, location: &'static Location<'static>) -> Option<()> {
        self.take_word(id)?;
        self.notes.took(location);
        if !self.queue.is_empty() {
            self.notes.tell(id, location);
        }
        Some(())
    }

    /// Gives the lock back. The caller has it.
    #[inline]
    pub(super) fn unlock(&self) {
        self.rank.gave_back();
        // Ordering: SeqCst: Release pairs with the exchange in `take`; the rest is the releaser's half of the
        // handshake with `WaitQueue`.
        let before = self.word.swap(0, SeqCst);
        debug_assert_ne!(before, 0, "a lock that nobody had was given back");
        self.queue.release_one(|| self.free());
    }

    /// Panics if the order of ranked locks forbids to take this one.
    #[inline]
    #[track_caller]
    pub(super) fn check_rank(&self, form: Form, location: &'static Location<'static>) {
        self.rank.check(form, location);
    }

    /// The same for whoever has the lock, gives it back and will take it again.
    #[track_caller]
    pub(crate) fn check_rank_again(&self, form: Form, location: &'static Location<'static>) {
        self.rank.check_again(form, location);
    }

    #[inline]
    pub(super) fn try_take(&self, location: &'static Location<'static>) -> bool {
        let id = probe::current_id();
        let taken = self.queue.try_claim(|| self.take(id, location)).is_some();
        if taken {
            self.rank.took(Form::Try, location);
            probe::spend();
        }
        taken
    }

    /// Waits for the lock. Whether the order allows it has been asked before.
    #[inline(always)]
    pub(crate) fn poll_take(
        &self,
        waiter: Pin<&mut Waiter>,
        form: Form,
        location: &'static Location<'static>,
        cx: &mut Context<'_>,
    ) -> Poll<()> {
        if !waiter.is_waiting() {
            let try_once = |id| self.queue.may_barge() && self.take(id, location).is_some();
            if probe::take_within_budget(try_once) {
                self.rank.took(form, location);
                return Poll::Ready(());
            }
        }
        self.poll_take_in_line(waiter, form, location, cx)
    }

    /// The lock was not to be had at once, or there is no budget.
    #[cold]
    #[inline(never)]
    fn poll_take_in_line(
        &self,
        waiter: Pin<&mut Waiter>,
        form: Form,
        location: &'static Location<'static>,
        cx: &mut Context<'_>,
    ) -> Poll<()> {
        let had_waited = waiter.is_waiting();
        // One that waits has ended a poll, so its budget is fresh, and it must not miss its turn.
        if !had_waited {
            ready!(probe::poll_budget(cx));
        }
        let id = probe::current_id();
        match waiter.poll_claim(&self.queue, 1, || self.free(), || self.take(id, location), cx) {
            Poll::Ready(Outcome::Taken(())) => {
                if had_waited {
                    self.notes.had_waited();
                }
                self.rank.took(form, location);
                probe::spend();
                Poll::Ready(())
            }
            Poll::Ready(Outcome::Told(message)) => unreachable!("a lock is never closed, but told {message}"),
            Poll::Pending => {
                self.notes.waits(self.queue.waiters());
                let resource = self.notes.find_out(|| self.holder_id());
                probe::waiting(Wait::Lock, resource as *const (), Some(location));
                Poll::Pending
            }
        }
    }

    /// Waits for the lock on this thread. False: the deadline came first. Whether the order allows it has been
    /// asked before.
    pub(super) fn take_blocking(
        &self,
        deadline: Option<Instant>,
        location: &'static Location<'static>,
    ) -> bool {
        let id = probe::current_id();
        let mut taken = self.queue.try_claim(|| self.take(id, location)).is_some();
        if !taken {
            self.notes.waits(self.queue.waiters() + 1);
            let (free, take) = (|| self.free(), || self.take(id, location));
            taken = Waiter::claim_blocking(&self.queue, 1, free, take, deadline).is_some();
            if !taken {
                return false;
            }
            self.notes.had_waited();
        }
        self.rank.took(Form::Blocking, location);
        taken
    }
}

impl fmt::Debug for RawLock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RawLock").field("holder", &self.holder()).field("stats", &self.stats()).finish()
    }
}
