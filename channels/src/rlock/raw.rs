//! Layer 3, rlock. Who has the lock and how many times: one word, and the line of those who wait.
//!
//! Owns the word, what stands for an owner in it, and the refusal of those who cannot be told from the owner.
//! Called by the rest of the room.
//!
//! # Owners
//! | owner     | known by                                    | taken again                            |
//! |-----------|---------------------------------------------|----------------------------------------|
//! | task      | its id, under a runtime with the probe      | granted                                |
//! | thread    | its number, by a form that does not await   | granted                                |
//! | anonymous | its waker, under other runtimes             | refused if the wakers are the same one |
//!
//! A task's id and a thread's number are never used twice, so nobody is taken for somebody else. A waker may
//! well be: two tasks can share one. So it can be a reason to refuse, but not to grant.
#![forbid(unsafe_code)]

use std::panic::Location;
use std::pin::Pin;
use std::task::{Context, Poll, Waker, ready};
use std::time::Instant;

use super::ReentryError;
use crate::lock::Notes;
use crate::probe::{self, Holder, Wait};
use crate::shim::Ordering::{Acquire, Relaxed, Release, SeqCst};
use crate::shim::report;
use crate::shim::task::AtomicU64;
use crate::shim::{const_unless_model, thread_number};
use crate::wait_queue::{Outcome, WaitQueue, Waiter};

/// In the word: one guard. The owner stands above the count of guards.
const ONE: u64 = 1;
const COUNT_BITS: u32 = 16;
const COUNT: u64 = (1 << COUNT_BITS) - 1;

/// Somebody who can own the lock, as it stands in the word: two bits that say what it is, and its number.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Owner(u64);

const TASK: u64 = 1;
const THREAD: u64 = 2;
const ANONYMOUS: Owner = Owner(3);

impl Owner {
    /// Who is asking. `awaits`: by an async form.
    pub(super) fn current(awaits: bool) -> Owner {
        match (probe::current_id(), awaits) {
            (0, true) => ANONYMOUS,
            (0, false) => Owner::numbered(thread_number(), THREAD),
            (id, _) => Owner::numbered(id, TASK),
        }
    }

    fn numbered(number: u64, kind: u64) -> Owner {
        // A number that is too big for the word would be shared with others.
        if number >> (u64::BITS - COUNT_BITS - 2) != 0 { ANONYMOUS } else { Owner(number << 2 | kind) }
    }

    fn of(word: u64) -> Owner {
        Owner(word >> COUNT_BITS)
    }

    fn is_anonymous(self) -> bool {
        self == ANONYMOUS
    }

    /// The id of the task, `0` for others.
    fn task(self) -> u64 {
        if self.0 & 3 == TASK { self.0 >> 2 } else { 0 }
    }
}

/// What became of an attempt.
enum Attempt {
    Taken,
    /// Somebody else has it.
    Held,
    /// The owner has it, and may not have it once more on this thread.
    Refused,
}

/// See the head of this file.
pub(super) struct RawRLock {
    /// `0`: free. Otherwise the owner, and the number of its guards.
    word: AtomicU64,
    /// The thread on which the lock was taken first, where that matters; written by the owner.
    thread: AtomicU64,
    /// Guards may not be on several threads.
    one_thread: bool,
    /// The waker of an anonymous owner, by its two words; written by the owner, `0` when there is none.
    waker: [report::AtomicUsize; 2],
    queue: WaitQueue,
    notes: Notes,
}

impl RawRLock {
    const_unless_model! {
        pub(super) fn new(one_thread: bool) -> RawRLock {
            RawRLock {
                word: AtomicU64::new(0),
                thread: AtomicU64::new(0),
                one_thread,
                waker: [report::AtomicUsize::new(0), report::AtomicUsize::new(0)],
                queue: WaitQueue::new(),
                notes: Notes::new(),
            }
        }
    }

    /// How many guards there are.
    pub(super) fn depth(&self) -> usize {
        // Ordering: Relaxed: a report.
        (self.word.load(Relaxed) & COUNT) as usize
    }

    pub(super) fn holder(&self) -> Option<Holder> {
        self.holder_id().map(|id| Holder::new(id, self.notes.place()))
    }

    fn holder_id(&self) -> Option<u64> {
        // Ordering: Relaxed: a report.
        let word = self.word.load(Relaxed);
        (word != 0).then(|| Owner::of(word).task())
    }

    fn free(&self) -> usize {
        // Ordering: Relaxed: the queue orders this load by its fence.
        usize::from(self.word.load(Relaxed) == 0)
    }

    /// Takes the lock once more, if `me` has it.
    #[track_caller]
    fn take_again(&self, me: Owner) -> Attempt {
        // Ordering: Relaxed, all of it: what was done under the lock was done by us, and if it is ours, then
        // because we made it so. The exchange only has to count right against guards that are dropped on other
        // threads meanwhile; should the last of them be gone, it fails.
        let mut word = self.word.load(Relaxed);
        loop {
            if word == 0 || me.is_anonymous() || Owner::of(word) != me {
                return Attempt::Held;
            }
            // Written by this owner before it did anything else with the lock.
            if self.one_thread && self.thread.load(Relaxed) != thread_number() {
                return Attempt::Refused;
            }
            assert!(
                word & COUNT != COUNT,
                "a lock was taken again {COUNT} times, which is as often as may be"
            );
            match self.word.compare_exchange_weak(word, word + ONE, Relaxed, Relaxed) {
                Ok(_) => return Attempt::Taken,
                Err(now) => word = now,
            }
        }
    }

    /// Takes the lock, if it is free.
    fn take(&self, me: Owner, waker: Identity, location: &'static Location<'static>) -> Option<()> {
        // Ordering: Acquire pairs with the exchange in `unlock` that frees it; see there for guards that were
        // dropped on other threads.
        self.word.compare_exchange(0, me.0 << COUNT_BITS | ONE, Acquire, Relaxed).ok()?;
        if self.one_thread {
            // Ordering: Relaxed: only the owner relies on it.
            self.thread.store(thread_number(), Relaxed);
        }
        if me.is_anonymous() {
            self.set_waker(waker);
        }
        self.notes.took(location);
        if !self.queue.is_empty() {
            self.notes.tell(me.task(), location);
        }
        Some(())
    }

    fn set_waker(&self, identity: Identity) {
        // Ordering: Relaxed: a task that reads its own waker here has written it itself, and not yet erased
        // it.
        self.waker[0].store(identity[0], Relaxed);
        self.waker[1].store(identity[1], Relaxed);
    }

    /// Whether an anonymous owner would be woken by this waker.
    fn may_be_owner(&self, mine: Identity) -> bool {
        // Ordering: Relaxed, as above.
        Owner::of(self.word.load(Relaxed)).is_anonymous()
            && self.waker.each_ref().map(|half| half.load(Relaxed)) == mine
    }

    /// Drops one guard.
    pub(super) fn unlock(&self) {
        let mut word = self.word.load(Relaxed);
        loop {
            debug_assert_ne!(word & COUNT, 0, "a guard too many was dropped");
            let last = word & COUNT == ONE;
            if last && Owner::of(word).is_anonymous() {
                // Before the lock is free, so that its owner cannot find itself here later.
                self.set_waker(NOBODY);
            }
            let (next, order) = if last { (0, SeqCst) } else { (word - ONE, Release) };
            // Ordering: Release, by every guard: the last exchange continues the release sequences of those
            // before it, so whoever takes the lock (Acquire in `take`) sees what was done under all of them.
            // SeqCst, by the last: the releaser's half of the handshake with `WaitQueue`.
            match self.word.compare_exchange_weak(word, next, order, Relaxed) {
                Ok(_) if last => return self.queue.release_one(|| self.free()),
                Ok(_) => return,
                Err(now) => word = now,
            }
        }
    }

    /// Takes the lock if that is possible at once. False: it is not.
    #[track_caller]
    pub(super) fn try_take(&self, location: &'static Location<'static>) -> bool {
        let me = Owner::current(false);
        let taken = match self.take_again(me) {
            Attempt::Taken => true,
            Attempt::Refused => false,
            Attempt::Held => self.queue.try_claim(|| self.take(me, NOBODY, location)).is_some(),
        };
        if taken {
            probe::spend();
        }
        taken
    }

    pub(super) fn poll_take(
        &self,
        mut waiter: Pin<&mut Waiter>,
        location: &'static Location<'static>,
        cx: &mut Context<'_>,
    ) -> Poll<Result<(), ReentryError>> {
        let me = Owner::current(true);
        // One that waits has ended a poll, so its budget is fresh, and it must not miss its turn.
        let had_waited = waiter.is_waiting();
        if !had_waited {
            ready!(probe::poll_budget(cx));
        }
        match self.take_again(me) {
            Attempt::Held => {}
            Attempt::Taken => {
                // It may have been in line, while another future of its task took the lock.
                waiter.as_mut().leave();
                probe::spend();
                return Poll::Ready(Ok(()));
            }
            Attempt::Refused => {
                waiter.as_mut().leave();
                return Poll::Ready(Err(ReentryError(())));
            }
        }
        let mine = identity(cx.waker());
        let take = || self.take(me, mine, location);
        if !had_waited && self.queue.try_claim(take).is_some() {
            probe::spend();
            return Poll::Ready(Ok(()));
        }
        if !had_waited && me.is_anonymous() && self.may_be_owner(mine) {
            return Poll::Ready(Err(ReentryError(())));
        }
        match waiter.poll_claim(&self.queue, 1, || self.free(), take, cx) {
            Poll::Ready(Outcome::Taken(())) => {
                probe::spend();
                Poll::Ready(Ok(()))
            }
            Poll::Ready(Outcome::Told(message)) => unreachable!("a lock is never closed, but told {message}"),
            Poll::Pending => {
                let resource = self.notes.find_out(|| self.holder_id());
                probe::waiting(Wait::Lock, resource as *const (), Some(location));
                Poll::Pending
            }
        }
    }

    /// Waits on this thread. False: the deadline came first.
    #[track_caller]
    pub(super) fn take_blocking(
        &self,
        deadline: Option<Instant>,
        location: &'static Location<'static>,
    ) -> bool {
        let me = Owner::current(false);
        match self.take_again(me) {
            Attempt::Taken => return true,
            Attempt::Refused => {
                panic!("this task has a guard of the lock on another thread: {}", ReentryError(()))
            }
            Attempt::Held => {}
        }
        let (free, take) = (|| self.free(), || self.take(me, NOBODY, location));
        Waiter::claim_blocking(&self.queue, 1, free, take, deadline).is_some()
    }
}

/// The two words of a waker.
type Identity = [usize; 2];

/// Of no waker: the table of one is never null.
const NOBODY: Identity = [0, 0];

fn identity(waker: &Waker) -> Identity {
    [waker.data().addr(), std::ptr::from_ref(waker.vtable()).addr()]
}
