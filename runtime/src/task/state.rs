//! Layer 1, task. The one atomic word that says where a task stands.
//!
//! Owns all bit work; callers get a closed answer and must obey it. No pointers here. Called by `raw` (on the
//! thread that runs the task), by `waker` (any thread) and by `join` (the handle's thread).
//!
//! The word, after nexosim's executor (a *count* of wakes, so that a wake is one `fetch_add` and never a
//! loop), with the reference count in the same word, so that waking by value also gives the reference back at
//! no cost:
//!
//! | bits   | field           | meaning                                                              |
//! |--------|-----------------|----------------------------------------------------------------------|
//! | 0      | `DONE`          | the future is gone; the output is in its place, or was taken          |
//! | 1      | `CANCELLED`     | asked to end: the next run drops the future; with `DONE`: ended so   |
//! | 2      | `JOIN_INTEREST` | the `JoinHandle` lives                                               |
//! | 3      | `JOIN_WAKER`    | the join waker slot is filled and may be read by whoever completes   |
//! | 4      | `CALLBACKS`     | `on_done` left something to call                                     |
//! | 8..32  | references      | one for the scheduler until the task is done, one for the handle, one a waker |
//! | 32..64 | wakes           | wakes that no poll has answered yet                                  |
//!
//! | phase            | wakes | DONE | Runnable exists? | who may touch the stage              |
//! |------------------|-------|------|------------------|--------------------------------------|
//! | idle             |   0   |  0   | no               | nobody                               |
//! | scheduled        |  >0   |  0   | in a queue       | nobody                               |
//! | running          |  >0   |  0   | held by `run`    | the thread that runs it              |
//! | done, handle     |  >0   |  1   | no               | the `JoinHandle`                     |
//! | done, no handle  |  >0   |  1   | no               | nobody (the output was dropped)      |
//!
//! A wake that finds zero wakes makes the `Runnable`; every other wake only counts. `run` notes how many
//! wakes it saw before the poll and takes as many off after it: what remains came during the poll, and means
//! one more poll. `DONE` leaves the wakes above zero, so that no later wake makes a `Runnable`, and the
//! scheduler (which a late wake must not touch, its memory may be gone) is never called again.
//!
//! *Saturation.* 2^32 wakes with no poll between must not wrap to zero. A wake by reference that finds 2^31
//! or more takes one off again, and `run` takes off at most 2^30 at a time: so a wake that is taken off again
//! was never among those that `run` saw, and the count cannot fall below zero. The price is a needless poll
//! or two. A wake by value must not touch the word after it has given its reference back, so the clone that
//! each of them needs takes one off in its stead: there are at most 2^23 more of them than clones.
#![forbid(unsafe_code)]

use crate::shim::Ordering::{AcqRel, Acquire, Relaxed, Release};
use crate::shim::task::AtomicU64;

const DONE: u64 = 1;
const CANCELLED: u64 = 1 << 1;
const JOIN_INTEREST: u64 = 1 << 2;
const JOIN_WAKER: u64 = 1 << 3;
const CALLBACKS: u64 = 1 << 4;
const REF: u64 = 1 << 8;
const REF_MASK: u64 = ((1 << 24) - 1) << 8;
const REF_LIMIT: u64 = 1 << 31;
const WAKE: u64 = 1 << 32;

// Small under a model, so that saturation is among what it explores.
#[cfg(not(filch_loom))]
const WAKES_SEEN_MAX: u64 = 1 << 30;
#[cfg(not(filch_loom))]
const WAKES_SATURATED: u64 = 1 << 31;
#[cfg(filch_loom)]
const WAKES_SEEN_MAX: u64 = 2;
#[cfg(filch_loom)]
const WAKES_SATURATED: u64 = 4;

fn wakes(word: u64) -> u64 {
    word >> 32
}

#[derive(Debug)]
pub(crate) struct State(AtomicU64);

/// What whoever completed the task must do.
#[must_use]
pub(super) struct Completed {
    /// No handle: drop the output.
    pub(super) drop_output: bool,
    /// Take the join waker out of its slot and wake it.
    pub(super) wake_join: bool,
}

/// What a waker that is used up must do.
#[must_use]
#[derive(Debug, PartialEq, Eq)]
pub(super) enum WakeByVal {
    Nothing,
    /// This wake made the `Runnable`: schedule it.
    Schedule,
    /// That was the last reference: free the task.
    Free,
}

impl State {
    /// A task that is scheduled for the first time: one wake, and references for the scheduler and the
    /// handle.
    pub(super) fn new() -> State {
        State(AtomicU64::new(WAKE | JOIN_INTEREST | (2 * REF)))
    }

    /// A task without a handle, such as the root of `block_on`.
    pub(super) fn new_detached() -> State {
        State(AtomicU64::new(WAKE | REF))
    }

    /// Called by whoever holds the `Runnable`. Returns what to give to `end_pending` after a poll that was
    /// pending, and whether the future is to be dropped instead, where it can be.
    #[inline]
    #[must_use]
    pub(super) fn start_poll(&self) -> (u32, bool) {
        // Ordering: Acquire pairs with the Release half of every wake that this load counts (each is a
        // read-modify-write and so keeps the release sequences of those before it): the poll sees all that
        // was written before them.
        let word = self.0.load(Acquire);
        debug_assert!(wakes(word) > 0 && word & DONE == 0);
        (wakes(word).min(WAKES_SEEN_MAX) as u32, word & CANCELLED != 0)
    }

    /// Called by whoever holds the `Runnable`, after a poll that was pending. True: woken during the poll, so
    /// the `Runnable` lives on and must be scheduled. False: it is gone until a wake makes a new one.
    #[inline]
    #[must_use]
    pub(super) fn end_pending(&self, seen: u32) -> bool {
        // Ordering: Release pairs with the Acquire of the next `start_poll`, on whatever thread, through the
        // wake that makes the next `Runnable`: it sees the future as this poll left it. Acquire: when wakes
        // remain this thread goes on holding the `Runnable` and may poll again without another load in
        // between.
        let before = self.0.fetch_sub(u64::from(seen) * WAKE, AcqRel);
        wakes(before) > u64::from(seen)
    }

    /// True when a wake has come that no poll has answered: for a root, which is polled in place.
    #[inline]
    pub(crate) fn is_woken(&self) -> bool {
        // Ordering: Acquire, as in `start_poll`, which a true answer leads to.
        wakes(self.0.load(Acquire)) > 0
    }

    /// The output is stored; the task came to its own end (`finished`), or was cancelled. Called by whoever
    /// holds the `Runnable`, which is used up by it. `call_back` runs the `on_done` callbacks, before.
    #[inline]
    pub(super) fn complete(&self, finished: bool, mut call_back: impl FnMut()) -> Completed {
        let cancelled = if finished { 0 } else { CANCELLED };
        // Ordering: Relaxed: a guess; the exchange has the last word, and the callbacks are behind a mutex.
        let mut word = self.0.load(Relaxed);
        loop {
            debug_assert!(word & DONE == 0);
            if word & CALLBACKS != 0 {
                // The task is not done yet: once it is, the handle may take the output from under them.
                word = self.0.fetch_and(!CALLBACKS, Acquire) & !CALLBACKS;
                call_back();
                continue;
            }
            // Ordering: Release pairs with the Acquire loads in `is_done`, `set_join_waker` and
            // `drop_handle`: whoever sees DONE sees the output. Acquire pairs with the Release in
            // `set_join_waker`: the waker in the slot is visible.
            match self.0.compare_exchange_weak(word, word & !CANCELLED | cancelled | DONE, AcqRel, Relaxed) {
                Ok(_) => break,
                Err(now) => word = now,
            }
        }
        Completed {
            drop_output: word & JOIN_INTEREST == 0,
            wake_join: word & (JOIN_INTEREST | JOIN_WAKER) == JOIN_INTEREST | JOIN_WAKER,
        }
    }

    #[inline]
    pub(crate) fn is_done(&self) -> bool {
        // Ordering: Acquire pairs with the Release in `complete`: the output is visible.
        self.0.load(Acquire) & DONE != 0
    }

    /// Whether someone asked for the task's end; of a task that is done, whether it was its end.
    pub(crate) fn is_cancelled(&self) -> bool {
        // Ordering: Relaxed: a report; nothing is read on the strength of it.
        self.0.load(Relaxed) & CANCELLED != 0
    }

    /// True: the `Runnable` was made and must be scheduled.
    #[inline]
    #[must_use]
    pub(super) fn wake_by_ref(&self) -> bool {
        // Ordering: Release pairs with the Acquire in `start_poll`: the poll that answers this wake sees what
        // the waker's thread wrote before. It is a read-modify-write on every path, also when a wake is
        // pending already: a load that returned early would lose that edge (tokio #7622). Acquire: a thread
        // that makes the `Runnable` hands it on, and must have seen the end of the poll before.
        let before = self.0.fetch_add(WAKE, AcqRel);
        if wakes(before) >= WAKES_SATURATED {
            self.unsaturate();
        }
        wakes(before) == 0
    }

    /// As `wake_by_ref`, and gives the waker's reference back in the same operation.
    #[inline]
    pub(super) fn wake_by_val(&self) -> WakeByVal {
        // Ordering: as in `wake_by_ref`. AcqRel also serves the reference count, as in `drop_ref`.
        let before = self.0.fetch_add(WAKE - REF, AcqRel);
        // From here on the task may be gone, unless it is ours to schedule or to free.
        if wakes(before) == 0 {
            // Not done, so the scheduler's reference keeps the task alive.
            WakeByVal::Schedule
        } else if before & REF_MASK == REF {
            WakeByVal::Free
        } else {
            WakeByVal::Nothing
        }
    }

    /// See "Saturation" at the top of the file.
    #[cold]
    fn unsaturate(&self) {
        let mut word = self.0.load(Relaxed);
        while wakes(word) > WAKES_SATURATED {
            // Ordering: Relaxed: the wake itself was published by the `fetch_add`, whose release sequence
            // this continues.
            match self.0.compare_exchange_weak(word, word - WAKE, Relaxed, Relaxed) {
                Ok(_) => return,
                Err(now) => word = now,
            }
        }
    }

    /// Asks for the task's end. True: the `Runnable` was made and must be scheduled.
    #[must_use]
    pub(super) fn cancel(&self) -> bool {
        let mut word = self.0.load(Relaxed);
        while word & DONE == 0 {
            // Ordering: Relaxed: the wake below publishes it, and a poll that misses the flag is followed by
            // one that answers that wake.
            match self.0.compare_exchange_weak(word, word | CANCELLED, Relaxed, Relaxed) {
                Ok(_) => return self.wake_by_ref(),
                Err(now) => word = now,
            }
        }
        false
    }

    #[inline]
    pub(super) fn add_ref(&self) {
        // Ordering: Relaxed: the caller has a reference, so nothing can be freed, and nothing is published.
        let before = self.0.fetch_add(REF, Relaxed);
        if before & REF_MASK >= REF_LIMIT {
            // 2^23 wakers of one task: a leak. As `Arc` does, before the count can overflow.
            std::process::abort();
        }
        if wakes(before) >= WAKES_SATURATED {
            self.unsaturate();
        }
    }

    /// True: that was the last reference, and the caller must free the task.
    #[inline]
    #[must_use]
    pub(super) fn drop_ref(&self) -> bool {
        // Ordering: Release makes every use of the task by this thread visible to the thread that frees it;
        // Acquire, for the thread that frees, pairs with the Release of all others.
        let before = self.0.fetch_sub(REF, AcqRel);
        debug_assert!(before & REF_MASK >= REF);
        before & REF_MASK == REF
    }

    // The join waker slot. While JOIN_WAKER is clear it belongs to the `JoinHandle` alone. While it is set,
    // and until DONE, nobody writes it; the thread that sets DONE and finds it set takes the waker out. So
    // the handle may fill the slot and then set the bit, and to replace a waker clears the bit first; when
    // either finds DONE, the bit as `complete` found it decides whose the slot is.

    /// The slot was filled. False: the task is done, and the slot is still the handle's.
    #[must_use]
    pub(super) fn set_join_waker(&self) -> bool {
        // Ordering: Release pairs with the Acquire in `complete`: the waker is visible. Acquire pairs with
        // the Release in `complete`, for the output.
        let before = self.0.fetch_or(JOIN_WAKER, AcqRel);
        debug_assert!(before & JOIN_WAKER == 0);
        before & DONE == 0
    }

    /// Takes the slot back. False: the task is done, and the waker in it belongs to the thread that completed
    /// it.
    #[must_use]
    pub(super) fn clear_join_waker(&self) -> bool {
        // Ordering: AcqRel, as in `set_join_waker`.
        let before = self.0.fetch_and(!JOIN_WAKER, AcqRel);
        debug_assert!(before & JOIN_WAKER != 0);
        before & DONE == 0
    }

    pub(super) fn has_join_waker(&self) -> bool {
        // Ordering: Relaxed: only the handle sets and clears the bit, and only the handle asks.
        self.0.load(Relaxed) & JOIN_WAKER != 0
    }

    /// A callback was left. False: the task is done already, and the callbacks are the caller's to run.
    #[must_use]
    pub(super) fn set_callbacks(&self) -> bool {
        // Ordering: Release pairs with the Acquire in `complete`; Acquire with its Release, for the output.
        self.0.fetch_or(CALLBACKS, AcqRel) & DONE == 0
    }

    /// Gives back interest and reference. False: the output is there and must be taken first, and the
    /// reference is still the handle's. JOIN_WAKER must be clear.
    #[inline]
    #[must_use]
    pub(super) fn drop_handle(&self) -> bool {
        let mut word = self.0.load(Acquire);
        loop {
            if word & DONE != 0 {
                return false;
            }
            // Not done, so the scheduler's reference is there and this is not the last one.
            // Ordering: Release, as in `drop_ref`; Acquire on failure pairs with the Release in `complete`.
            let next = word - JOIN_INTEREST - REF;
            match self.0.compare_exchange_weak(word, next, Release, Acquire) {
                Ok(_) => return true,
                Err(now) => word = now,
            }
        }
    }
}
