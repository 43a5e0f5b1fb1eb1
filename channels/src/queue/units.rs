//! Layer 2, queue. Two things that a queue counts and waits for: units to be claimed, and tasks to be done.
//!
//! Owns a word and a line for each. Claims are made here, without the lock round the items, so that no compare
//! of theirs ever runs while a line is locked. Called by `shared` and `future`.
#![forbid(unsafe_code)]

use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Instant;

use super::error::TaskDoneError;
use crate::shim::Ordering::{AcqRel, Acquire, Relaxed, Release, SeqCst};
use crate::shim::const_unless_model;
use crate::shim::task::{AtomicU64, AtomicUsize};
use crate::wait_queue::{WaitQueue, Waiter};

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

/// Items that were put, those of them that are done, and who waits for the last one.
///
/// Two counts, not their difference: an item that is put costs a store under the lock that is held anyway. Neither
/// ever goes down, and `done` is never more than `put`. So who loads `done` and then `put`, and finds them equal,
/// knows that nothing was left to do when it loaded `put`.
///
/// *Who is told.* Somebody may put an item and wait for it just after the one before was found to be the last, and
/// before those who wait are told. So each waits with the number of items that it knows of, and is told when so many
/// are done and nothing is left.
///
/// *Nobody is forgotten.* The last of those who say that an item is done has seen all that the others had seen, by
/// the exchanges of `done`, hence every item; it finds the two equal, and tells.
#[derive(Debug)]
pub(super) struct Tasks {
    /// Written under the lock round the items.
    put: AtomicU64,
    done: AtomicU64,
    line: WaitQueue,
}

impl Tasks {
    const_unless_model! {
        pub(super) fn new() -> Tasks {
            Tasks { put: AtomicU64::new(0), done: AtomicU64::new(0), line: WaitQueue::new() }
        }
    }

    pub(super) fn unfinished(&self) -> u64 {
        // Ordering: Acquire pairs with the exchange in `done`: who sees that nothing is left sees what was done. And
        // it keeps the two looks in this order.
        let done = self.done.load(Acquire);
        self.put() - done
    }

    /// How many items were put.
    pub(super) fn put(&self) -> u64 {
        // Ordering: Acquire: the count alone is of interest, but it is not to be older than what is known of `done`.
        self.put.load(Acquire)
    }

    /// An item is put; before anybody can get it. Under the lock round the items.
    pub(super) fn add(&self) {
        // Ordering: Relaxed: nobody else writes meanwhile. Release pairs with the load above; the lock makes it known
        // along with the item.
        self.put.store(self.put.load(Relaxed) + 1, Release);
    }

    /// `count` items are done, or as many as there are. The last one ends all waits.
    pub(super) fn done(&self, count: u64) -> Result<(), TaskDoneError> {
        // Ordering: Acquire, here and for a failure, as in `unfinished`.
        let mut done = self.done.load(Acquire);
        loop {
            let left = self.put() - done;
            if left == 0 {
                return Err(TaskDoneError);
            }
            let next = done + count.min(left);
            // Ordering: AcqRel: Release pairs with the load in `unfinished`, or with the line's lock when it is
            // told below; Acquire hands on what was done before the other calls, and what they knew of `put`.
            match self.done.compare_exchange_weak(done, next, AcqRel, Acquire) {
                Ok(_) => {
                    if self.put() == next {
                        self.tell(next);
                    }
                    return Ok(());
                }
                Err(now) => done = now,
            }
        }
    }

    /// So many were done, and nothing was left.
    #[cold]
    fn tell(&self, done: u64) {
        if !self.line.is_empty_after_fence() {
            let knew = |put: usize| (done as usize).wrapping_sub(put) as isize >= 0;
            self.line.lock().notify_all_where(0, knew);
        }
    }

    /// Whether nothing is left to do, as an answer for the line.
    fn is_finished(&self) -> Option<()> {
        (self.unfinished() == 0).then_some(())
    }

    /// Waits until nothing is left to do.
    pub(super) fn poll_finished(&self, waiter: Pin<&mut Waiter>, cx: &mut Context<'_>) -> Poll<()> {
        waiter.poll_told(&self.line, self.put() as usize, || self.is_finished(), cx).map(|_| ())
    }

    /// The same on a thread. False: the time was up.
    pub(super) fn finished_until(&self, deadline: Option<Instant>) -> bool {
        Waiter::told_blocking(&self.line, self.put() as usize, || self.is_finished(), deadline).is_some()
    }

    pub(super) fn count_waiters(&self) -> usize {
        self.line.count_waiters()
    }
}
