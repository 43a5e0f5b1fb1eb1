//! Layer 3, rwlock. All of a lock for readers and writers but its value: how many units are free, and the line.
//!
//! Owns the word and the policy, that is: who gets where in line. Called by the rest of the room.
//!
//! # Access is a number of units
//! | access     | units     | so that                                                  |
//! |------------|-----------|----------------------------------------------------------|
//! | read       | 1         | any number of readers fit together                       |
//! | upgradable | half + 1  | two do not fit together, one and many readers do         |
//! | write      | all       | nothing fits beside it                                   |
//!
//! To upgrade is to wait for `half - 1` units more while holding `half + 1`; to downgrade is to release some
//! and keep the rest, so nobody comes between. The queue's rule then needs to know of units only.
//!
//! # The policies
//! The queue is a strict one: whoever is in line, and has not been passed over as absent, keeps newcomers from
//! barging. What is left is the order of the line. *Fair*: as they came. *Writers first*: writers get in line
//! before all readers. *Readers first*: readers get in line before all writers, and a newcomer that reads asks
//! nobody in line. An upgrade gets in line before everybody, whatever the policy; as it has the only upgradable
//! access, no two of them meet there.
#![forbid(unsafe_code)]

use std::panic::Location;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Instant;

use crate::probe::{self, Wait};
use crate::shim::Ordering::{Acquire, Relaxed, SeqCst};
use crate::shim::const_unless_model;
use crate::shim::task::AtomicUsize;
use crate::wait_queue::{Need, Outcome, Place, WaitQueue, Waiter};

/// So many units, less one, can be out to readers beside an upgradable access.
const HALF: usize = 1 << (usize::BITS - 4);
/// All units.
const ALL: usize = 2 * HALF;

/// Who goes first when readers and writers wait for an [`RwLock`](crate::sync::RwLock).
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
#[non_exhaustive]
pub enum RwLockPolicy {
    /// In the order in which they came: readers behind a waiting writer wait for it, so that neither side is
    /// starved.
    #[default]
    Fair,
    /// Readers wait for writers that write, and never for those that wait. While readers overlap, writers
    /// starve.
    ReadersFirst,
    /// Readers wait for all writers, those that wait included. While writers keep coming, readers starve.
    WritersFirst,
}

/// What somebody wants to take.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Access {
    Read,
    Upgradable,
    Write,
    /// From upgradable to write.
    Upgrade,
}

impl Access {
    pub(super) const fn units(self) -> usize {
        match self {
            Access::Read => 1,
            Access::Upgradable => HALF + 1,
            Access::Write => ALL,
            Access::Upgrade => ALL - Access::Upgradable.units(),
        }
    }
}

/// See the head of this file.
#[derive(Debug)]
pub(super) struct RawRwLock {
    /// Units that are free.
    free: AtomicUsize,
    policy: RwLockPolicy,
    queue: WaitQueue,
}

impl RawRwLock {
    const_unless_model! {
        pub(super) fn new(policy: RwLockPolicy) -> RawRwLock {
            RawRwLock { free: AtomicUsize::new(ALL), policy, queue: WaitQueue::fair() }
        }
    }

    pub(super) fn policy(&self) -> RwLockPolicy {
        self.policy
    }

    pub(super) fn waiting(&self) -> usize {
        self.queue.count_waiters()
    }

    fn free(&self) -> usize {
        // Ordering: Relaxed: only the count is of interest, and the queue orders this load by its fence.
        self.free.load(Relaxed)
    }

    #[inline]
    fn take(&self, units: usize) -> Option<()> {
        let mut free = self.free.load(Relaxed);
        while free >= units {
            // Ordering: Acquire pairs with the addition in `put`: a writer sees what all readers and the
            // writer before have done, a reader what the writer did. Each `put` is a read-modify-write, so
            // none in between breaks the chain. Taking publishes nothing.
            match self.free.compare_exchange_weak(free, free - units, Acquire, Relaxed) {
                Ok(_) => return Some(()),
                Err(now) => free = now,
            }
        }
        None
    }

    /// Gives units back.
    #[inline]
    pub(super) fn put(&self, units: usize) {
        // Ordering: SeqCst: Release pairs with the exchange in `take`; the rest is the releaser's half of the
        // handshake with `WaitQueue`.
        let before = self.free.fetch_add(units, SeqCst);
        debug_assert!(before <= ALL - units, "more access was given back than there is");
        self.queue.release(|| self.free());
    }

    fn need(&self, access: Access) -> Need {
        let place = match (self.policy, access) {
            (_, Access::Upgrade) => Place::Head,
            (RwLockPolicy::ReadersFirst, Access::Read | Access::Upgradable)
            | (RwLockPolicy::WritersFirst, Access::Write) => Place::Front,
            _ => Place::Back,
        };
        Need { units: access.units(), place }
    }

    /// Takes without a look at the line, for those who may.
    #[inline]
    fn take_past_line(&self, access: Access) -> bool {
        let may = match access {
            Access::Read | Access::Upgradable => self.policy == RwLockPolicy::ReadersFirst,
            Access::Upgrade => true,
            Access::Write => false,
        };
        may && self.take(access.units()).is_some()
    }

    #[inline]
    pub(super) fn try_take(&self, access: Access) -> bool {
        let taken =
            self.take_past_line(access) || self.queue.try_claim(|| self.take(access.units())).is_some();
        if taken {
            probe::spend();
        }
        taken
    }

    #[inline]
    pub(super) fn poll_take(
        &self,
        access: Access,
        waiter: Pin<&mut Waiter>,
        location: &'static Location<'static>,
        cx: &mut Context<'_>,
    ) -> Poll<()> {
        // One that waits has ended a poll, so its budget is fresh, and it must not miss its turn.
        if !waiter.is_waiting() {
            ready!(probe::poll_budget(cx));
            if self.take_past_line(access) {
                probe::spend();
                return Poll::Ready(());
            }
        }
        let (free, take) = (|| self.free(), || self.take(access.units()));
        match waiter.poll_claim(&self.queue, self.need(access), free, take, cx) {
            Poll::Ready(Outcome::Taken(())) => {
                probe::spend();
                Poll::Ready(())
            }
            Poll::Ready(Outcome::Told(message)) => unreachable!("a lock is never closed, but told {message}"),
            Poll::Pending => {
                probe::waiting(Wait::Lock, (&raw const *self).cast(), Some(location));
                Poll::Pending
            }
        }
    }

    /// Blocks this thread. False: the deadline came first.
    pub(super) fn take_blocking(&self, access: Access, deadline: Option<Instant>) -> bool {
        if self.take_past_line(access) {
            return true;
        }
        let (free, take) = (|| self.free(), || self.take(access.units()));
        Waiter::claim_blocking(&self.queue, self.need(access), free, take, deadline).is_some()
    }
}
