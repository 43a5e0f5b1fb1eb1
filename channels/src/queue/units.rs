//! Layer 2, queue. Two things that a queue counts and waits for: units to be claimed, and tasks to be done.
//!
//! Owns a word and a line for each. Claims are made here, without the lock round the items, so that no compare
//! of theirs ever runs while a line is locked. Called by `shared` and `future`.
#![forbid(unsafe_code)]

use super::error::TaskDoneError;
use crate::shim::Ordering::{AcqRel, Acquire, Relaxed, SeqCst};
use crate::shim::const_unless_model;
use crate::shim::task::{AtomicU64, AtomicUsize};
use crate::wait_queue::WaitQueue;

/// In the word of [`Units`]: no more will come. What stands above it is the number of units.
const CLOSED: usize = 1;
/// In the word of [`Units`]: one of them.
const ONE: usize = 2;

/// The queue is closed, and no unit is left.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct IsClosed;

/// Free places, or items that are there: how many, and who waits for one.
#[derive(Debug)]
pub(super) struct Units {
    word: AtomicUsize,
    pub(super) line: WaitQueue,
}

impl Units {
    /// The most units that are counted.
    pub(super) const MAX: usize = usize::MAX >> 3;

    const_unless_model! {
        pub(super) fn new(count: usize) -> Units {
            Units { word: AtomicUsize::new(count * ONE), line: WaitQueue::new() }
        }
    }

    pub(super) fn count(&self) -> usize {
        // Ordering: Acquire pairs with `add`, so that whoever counts an item may act on it.
        self.word.load(Acquire) / ONE
    }

    pub(super) fn is_closed(&self) -> bool {
        // Ordering: Acquire pairs with `close`.
        self.word.load(Acquire) & CLOSED != 0
    }

    /// How many the line may give out. Without end once it is closed, so that all who wait come and find out.
    pub(super) fn free(&self) -> usize {
        // Ordering: Relaxed: only the count is of interest, and the line orders this load by its fence.
        let word = self.word.load(Relaxed);
        if word & CLOSED != 0 { usize::MAX } else { word / ONE }
    }

    /// Claims a unit, if there is one. An error: there is none, and none will come.
    pub(super) fn take(&self) -> Option<Result<(), IsClosed>> {
        // Ordering: Acquire, here and at the exchange: pairs with `add`, and with `close`. The lock round the
        // items orders what is done with them.
        let mut word = self.word.load(Acquire);
        loop {
            if word < ONE {
                return (word & CLOSED != 0).then_some(Err(IsClosed));
            }
            match self.word.compare_exchange_weak(word, word - ONE, Acquire, Acquire) {
                Ok(_) => return Some(Ok(())),
                Err(now) => word = now,
            }
        }
    }

    /// Adds a unit. [`release`](Self::release) follows, after the lock.
    pub(super) fn add(&self) {
        // Ordering: SeqCst: Release pairs with `take`; the rest is the releaser's half of the handshake with
        // `WaitQueue`.
        self.word.fetch_add(ONE, SeqCst);
    }

    /// Adds no more. [`release`](Self::release) follows, after the lock.
    pub(super) fn close(&self) {
        // Ordering: SeqCst, as in `add`.
        self.word.fetch_or(CLOSED, SeqCst);
    }

    /// [`close`](Self::close), and takes what is there.
    pub(super) fn close_now(&self) {
        // Ordering: SeqCst, as in `add`.
        self.word.swap(CLOSED, SeqCst);
    }

    pub(super) fn release(&self) {
        self.line.release(|| self.free());
    }
}

/// Items that were put and are not done yet, and who waits for the last one.
#[derive(Debug)]
pub(super) struct Tasks {
    unfinished: AtomicU64,
    pub(super) line: WaitQueue,
}

impl Tasks {
    const_unless_model! {
        pub(super) fn new() -> Tasks {
            Tasks { unfinished: AtomicU64::new(0), line: WaitQueue::new() }
        }
    }

    pub(super) fn unfinished(&self) -> u64 {
        // Ordering: Acquire pairs with the exchange in `done`: who sees that nothing is left sees what was done.
        self.unfinished.load(Acquire)
    }

    /// An item is put; before anybody can get it.
    pub(super) fn add(&self) {
        // Ordering: Relaxed: the lock round the items makes it known along with the item. It does not break
        // the chain of the exchanges in `done`.
        self.unfinished.fetch_add(1, Relaxed);
    }

    /// `count` items are done, or as many as there are. The last one ends all waits.
    pub(super) fn done(&self, count: u64) -> Result<(), TaskDoneError> {
        let mut unfinished = self.unfinished.load(Relaxed);
        loop {
            if unfinished == 0 {
                return Err(TaskDoneError);
            }
            let left = unfinished.saturating_sub(count);
            // Ordering: AcqRel: Release pairs with the load in `unfinished`, or with the line's lock when it is
            // told below; Acquire hands on what was done before the other calls.
            match self.unfinished.compare_exchange_weak(unfinished, left, AcqRel, Relaxed) {
                Ok(_) if left == 0 => {
                    self.line.notify_all(0);
                    return Ok(());
                }
                Ok(_) => return Ok(()),
                Err(now) => unfinished = now,
            }
        }
    }

    /// Whether nothing is left to do, as an answer for the line.
    pub(super) fn is_finished(&self) -> Option<()> {
        (self.unfinished() == 0).then_some(())
    }
}
