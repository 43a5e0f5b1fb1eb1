//! Layer 1. The one line in which tasks and threads wait, under every primitive of this crate.
//!
//! Owns the lock round the list of waiters ([`list`]), the word that lets a notifier pass by when nobody
//! waits, and the rule by which units are handed on. Who waits does so through [`waiter`]; invitations that
//! nobody took up are settled in [`grant`]. Called by every primitive here; names none of them. An intrusive
//! list behind a mutex, after tokio's `Notify` and maitake's `WaitQueue`; the rule of the line is our own.
//!
//! # How a primitive uses it
//! All of it is safe code. A primitive holds a [`WaitQueue`], and each of its futures a `#[pin]` [`Waiter`].
//!
//! **Units**: permits, room in a channel, messages in it; a lock has one unit, an `RwLock` many of which a
//! writer wants all. Where the free units are kept is the primitive's business, in an atomic of its own.
//! ```text
//! try       queue.try_claim(|| <take n>) -> Option<R>             the fast path: one load more, no lock
//! wait      waiter.poll_claim(&queue, n, || <units free>, || <take n>, cx) -> Poll<Outcome<R>>
//!           Waiter::claim_blocking(&queue, n, .., .., deadline) -> Option<Outcome<R>>     None: too late
//! release   <put units back, by a SeqCst RMW>;  queue.release(|| <units free>)   or release_after_store(..)
//!           queue.release_one(..) where there is never more than one unit
//! ```
//! `n` is a number of units, or a [`Need`], which also says where to get in line: an `RwLock` with a
//! preference puts those whom it prefers to the front.
//!
//! `take` says `Some(R)` when it took. `Taken(R)` means that it did, `Told(m)` that the queue was closed. It
//! may run under the queue's lock: it touches the primitive's own state and nothing foreign (moving a `T` is
//! well, dropping or cloning one is not), and it may not use the same queue.
//!
//! **Messages**: an event, a notification, the end of a channel.
//! ```text
//! wait      waiter.poll_told(&queue, word, || <is it so already?>, cx) -> Poll<Outcome<R>>;  Waiter::told_blocking
//!           waiter.poll_joined(..) asks under the lock only, where the answer and getting in line are one step
//! tell      queue.notify_one(m), notify_last(m), notify_where(m, |word| ..), notify_all(m);  the same on
//!           queue.lock(), when state is to be changed under the lock
//! dropped   waiter.leave() -> Some(m): told m and never saw it; the primitive decides who gets it instead
//! ```
//! **Closing**: `queue.close(m)` tells everybody `m`, and everybody who comes later and cannot take at once.
//!
//! A [`Waiter`] that is dropped leaves the line and passes an invitation on by itself; only a *message* that
//! it was told needs the primitive's help, through `leave`. A `Waiter` may be used again after it was
//! answered. Wakers are called, cloned and dropped outside of the lock; those that panic or re-enter do no
//! harm.
//!
//! # The rule of the line
//! 1. Whoever releases units frees them for all and *invites* the waiters at the head of the line whose units
//!    they cover. An invitation reserves nothing: a newcomer may be quicker (it *barges*), which spares a
//!    switch of tasks for each hand-over.
//! 2. A waiter that came for its units in vain, or for which too few came free, was *overtaken*. At the 16th
//!    time the **gate** is shut until it has been served: newcomers queue, and only those who are invited
//!    take, if there is enough for those before them too. A count, not a clock, so that the same seed gives the
//!    same order.
//! 3. While the gate is shut, an invitation may also be taken up by any other future of the same task: same
//!    id under a runtime with the probe, a waker that wakes the same elsewhere. The invited entry is then
//!    absent. (A waker that was woken is gone, and only its address compared: should a new task have got the
//!    memory of one that has ended while its future is still in line, it may go first, once.)
//! 4. Under the probe, an invited task that ends a poll without having come is marked absent, and the next
//!    waiter is invited. An absent entry keeps its place, is not waited for, and is present again as soon as
//!    it is polled.
//! 5. A [fair](WaitQueue::fair) queue keeps the gate shut whenever somebody is present: strict first in,
//!    first out.
//!
//! Without the probe rule 4 is missing: the units that an invited waiter does not come for stay free, and
//! newcomers may take them; but those behind it in line are not invited until more units are free than it
//! wants, or until it is polled or dropped.
//!
//! # Why no wake-up is lost
//! *Claim*: whenever the lock is free, and a waiter is present whose turn it is and whose units are free,
//! then an entry is Woken, or somebody has still to run a pass (`List::pass`) under the lock.
//! - Units come free only by a release. It runs a pass, unless it saw in `word` that nobody is Waiting. Then
//!   whoever waits later, for the first time or again, sees the units (the handshake, below) and runs a pass
//!   itself before it sleeps. And those who were invited already come anyway.
//! - A Woken entry ends in one of four ways, each under the lock: it claims, and runs a pass for the rest; it
//!   comes in vain, waits again, and runs a pass after that; it is dropped or marked absent, and the next
//!   waiter is invited without looking at the units, which at worst wakes one task too many.
//! - A Waiting entry that leaves from the head invites the next if that wants less. Barging only takes units
//!   away.
//!
//! **The handshake** (Dekker's): the releaser writes the units (`SeqCst` RMW) and then loads `word`; the
//! waiter stores `word` and, after a `SeqCst` fence, loads the units. In the one order of all `SeqCst`
//! operations either the store precedes the load of `word`, and the releaser takes the lock; or the load
//! precedes the fence, so the write does too, and the waiter sees the units. So the early return of a release
//! is no lost wake-up; and it need not publish anything, as whoever finds the units later reads them from the
//! releaser's own RMW.
//!
//! `word` may promise too much (entries that settled or fell out without their queue at hand do not correct
//! it): it may count a waiter that has left, show the gate shut when it is open, [`WAITING`] when nobody is,
//! and [`WOKEN`] when nobody is left to invite. All four cost a visit to the lock at most. It never promises
//! too little: an entry turns to Waiting only in [`Waiter::wait`] or [`Waiter::get_in_line`], which publish and fence.

mod entry;
mod grant;
mod list;
mod party;
#[cfg(test)]
mod tests;
mod waiter;

use std::fmt;

use grant::publish_grant;
pub(crate) use grant::{forget_grant, settle};
use list::{List, Told};
use party::{Caller, Who};
pub(crate) use waiter::Waiter;

use crate::probe;
use crate::shim::Ordering::{Relaxed, SeqCst};
use crate::shim::task::AtomicUsize;
use crate::shim::{self, Arc, Mutex, MutexGuard, OnceLock, const_unless_model};
use crate::wake_batch::WakeBatch;

/// In `word`: newcomers must queue.
const GATE_SHUT: usize = 1;
/// In `word`: an entry is Woken, and will run a pass when it comes.
const WOKEN: usize = 2;
/// In `word`: an entry is Waiting; there is somebody to invite.
const WAITING: usize = 4;
/// In `word`: one entry. What stands above the three bits is their number.
const ONE: usize = 8;

/// See the head of this file.
pub(crate) struct WaitQueue {
    /// What the list looked like when the lock was last given back: written under the lock, read without.
    word: AtomicUsize,
    /// Made by the first one to wait.
    core: OnceLock<Arc<Core>>,
    fair: bool,
}

/// The part that must stay where it is. Counted, since an invitation published in a task's header leads here
/// even when the primitive has been moved or freed (a future can be leaked, and with it the borrow that
/// pinned us down).
#[derive(Debug)]
struct Core {
    list: Mutex<List>,
}

/// How a wait ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[must_use]
pub(crate) enum Outcome<R> {
    /// The caller's closure said yes.
    Taken(R),
    /// The waiter was told this message, or the queue was closed with it.
    Told(usize),
}

#[allow(dead_code, reason = "part of the surface that every primitive chooses from")]
impl WaitQueue {
    const_unless_model! {
        /// A queue under the rule of the line.
        pub(crate) fn new() -> WaitQueue {
            WaitQueue { word: AtomicUsize::new(0), core: OnceLock::new(), fair: false }
        }

        /// A queue that is strictly first in, first out.
        pub(crate) fn fair() -> WaitQueue {
            WaitQueue { word: AtomicUsize::new(0), core: OnceLock::new(), fair: true }
        }
    }

    fn core(&self) -> &Arc<Core> {
        self.core.get().unwrap_or_else(|| {
            let fresh = Arc::new(Core { list: Mutex::new(List::new(self.fair)) });
            self.core.get_or_init(|| fresh)
        })
    }

    /// Whether a newcomer may try to take units at once. A load, and a branch that is nearly always the same
    /// way.
    #[inline(always)]
    pub(crate) fn may_barge(&self) -> bool {
        // Ordering: Relaxed: the gate guards no data. Who has been told of an earlier waiter (happens-before)
        // reads the word that the waiter stored, or a later one; all others came at the same time.
        self.word.load(Relaxed) & GATE_SHUT == 0
    }

    /// Takes units without waiting, if the rule of the line lets the caller.
    #[inline]
    pub(crate) fn try_claim<R>(&self, mut take: impl FnMut() -> Option<R>) -> Option<R> {
        if self.may_barge() { take() } else { self.try_claim_locked(&mut take) }
    }

    /// The gate is shut, or the word has not heard yet that it is open again.
    #[cold]
    fn try_claim_locked<R>(&self, take: &mut dyn FnMut() -> Option<R>) -> Option<R> {
        let mut list = self.core().list.lock();
        let shut = list.is_gate_shut();
        let caller = Caller { id: probe::current_id(), who: Who::Nobody };
        let sibling = if shut { list.sibling(None, caller) } else { None };
        let taken = if !shut || sibling.is_some() { take() } else { None };
        if let (Some(_), Some(sibling)) = (&taken, sibling) {
            list.mark_absent(sibling);
        }
        self.publish(&list);
        taken
    }

    /// Whether nobody waits, for hints and for `Debug`.
    #[inline]
    pub(crate) fn is_empty(&self) -> bool {
        self.waiters() == 0
    }

    /// About how many wait, for hints and for `Debug`.
    #[inline]
    pub(crate) fn waiters(&self) -> usize {
        // Ordering: Relaxed: a hint.
        self.word.load(Relaxed) / ONE
    }

    /// How many wait, for reports: looked up under the lock, which [`waiters`](Self::waiters) is not.
    pub(crate) fn count_waiters(&self) -> usize {
        self.core.get().map_or(0, |core| {
            let list = core.list.lock();
            self.publish(&list);
            list.len()
        })
    }

    /// Invites whom the free units cover.
    ///
    /// The caller has just put units back by a `SeqCst` read-modify-write, and has nothing else to do for
    /// waiters.
    #[inline(always)]
    pub(crate) fn release(&self, free: impl Fn() -> usize) {
        if self.word_after_rmw() & WAITING != 0 {
            self.pass(free);
        }
    }

    /// Whether [`release`](Self::release) would have anything to do. Where it mostly has not, asking first keeps
    /// the call out of the caller's way.
    #[inline(always)]
    pub(crate) fn must_release(&self) -> bool {
        self.word_after_rmw() & WAITING != 0
    }

    /// [`release`](Self::release), where there is never more than one unit: an entry that is invited already
    /// will run the pass when it comes.
    #[inline]
    pub(crate) fn release_one(&self, free: impl Fn() -> usize) {
        if self.word_after_rmw() & (WAITING | WOKEN) == WAITING {
            self.pass(free);
        }
    }

    /// [`release`](Self::release) after anything weaker than a `SeqCst` read-modify-write.
    #[inline]
    pub(crate) fn release_after_store(&self, free: impl Fn() -> usize) {
        if self.word_after_fence() & WAITING != 0 {
            self.pass(free);
        }
    }

    #[cold]
    fn pass(&self, free: impl Fn() -> usize) {
        let core = self.core();
        let mut batch = WakeBatch::new();
        let mut released = true;
        loop {
            let mut list = core.list.lock();
            let more = list.pass(free(), released, None, &mut |task| publish_grant(task, core), &mut batch);
            self.publish(&list);
            drop(list);
            batch.wake_all();
            if !more {
                return;
            }
            released = false;
        }
    }

    /// Shows the list's state in `word`. Under the lock, after the list was changed.
    fn publish(&self, list: &List) {
        let bits = [
            (list.is_gate_shut(), GATE_SHUT),
            (list.is_anyone_woken(), WOKEN),
            (list.is_anyone_waiting(), WAITING),
        ];
        let bits: usize = bits.iter().map(|&(is, bit)| if is { bit } else { 0 }).sum();
        // Ordering: Relaxed: who depends on the order of this store fences after it: see `publish_and_fence`.
        self.word.store(list.len() * ONE + bits, Relaxed);
    }

    /// [`publish`](Self::publish), before the units are looked at for the last time before a sleep.
    fn publish_and_fence(&self, list: &List) {
        self.publish(list);
        // Ordering: SeqCst pairs with the load of `word` in `is_empty_after_rmw` and `release_one`, or with
        // the fence in `is_empty_after_fence`: the handshake at the head of this file.
        shim::fence(SeqCst);
    }

    /// Locks the line, so that a primitive can change its own state and tell somebody of it in one step.
    pub(crate) fn lock(&self) -> Locked<'_> {
        let core = self.core();
        Locked { queue: self, core, list: core.list.lock() }
    }

    /// `word`, for who has to know of all that wait for what the caller has stored before: the notifier's half
    /// of the handshake.
    #[inline]
    fn word_after_fence(&self) -> usize {
        // Ordering: SeqCst pairs with the fence in `publish_and_fence`: either we see the waiter, or the
        // waiter sees what our caller stored before this call when it looks for the last time.
        shim::fence(SeqCst);
        self.word.load(Relaxed)
    }

    /// The same, after a `SeqCst` read-modify-write.
    #[inline(always)]
    fn word_after_rmw(&self) -> usize {
        shim::fence_between_seqcst_accesses();
        // Ordering: SeqCst pairs with the fence in `publish_and_fence`, as above.
        self.word.load(SeqCst)
    }

    /// Whether there is nobody to tell of what the caller has stored before.
    #[inline]
    pub(crate) fn is_empty_after_fence(&self) -> bool {
        self.word_after_fence() < ONE
    }

    /// The same, after a `SeqCst` read-modify-write.
    #[inline]
    pub(crate) fn is_empty_after_rmw(&self) -> bool {
        self.word_after_rmw() < ONE
    }

    /// Tells the first waiter. False: nobody waits.
    pub(crate) fn notify_one(&self, message: usize) -> bool {
        !self.is_empty_after_fence() && self.lock().notify_one(message)
    }

    /// Tells the youngest waiter. False: nobody waits.
    pub(crate) fn notify_last(&self, message: usize) -> bool {
        !self.is_empty_after_fence() && self.lock().notify_last(message)
    }

    /// Tells the first waiter whose word is chosen. False: there is none.
    pub(crate) fn notify_where(&self, message: usize, choose: impl Fn(usize) -> bool) -> bool {
        !self.is_empty_after_fence() && self.lock().notify_where(message, choose)
    }

    /// Tells everybody who waits at the time of the call, and returns how many those were.
    pub(crate) fn notify_all(&self, message: usize) -> usize {
        if self.is_empty_after_fence() { 0 } else { self.lock().notify_all(message) }
    }

    /// Tells everybody, now and from now on. A primitive closes its own state first. The first message stays.
    pub(crate) fn close(&self, message: usize) {
        self.lock().close(message);
    }
}

/// Where a newcomer gets in line.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Place {
    /// Before all others. At most one waiter of a queue may stand there.
    Head,
    /// Before all who came to the back, and behind all others who came to the front.
    Front,
    Back,
}

/// What a waiter wants: so many units, and where it gets in line for them.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Need {
    pub(crate) units: usize,
    pub(crate) place: Place,
}

impl From<usize> for Need {
    #[inline]
    fn from(units: usize) -> Need {
        Need { units, place: Place::Back }
    }
}

impl fmt::Debug for WaitQueue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("WaitQueue").field("waiters", &self.count_waiters()).field("fair", &self.fair).finish()
    }
}

/// The line, locked. Run no foreign code while one is held; each `notify` gives the lock back before it
/// wakes.
pub(crate) struct Locked<'a> {
    queue: &'a WaitQueue,
    core: &'a Core,
    list: MutexGuard<'a, List>,
}

#[allow(dead_code, reason = "part of the surface that every primitive chooses from")]
impl Locked<'_> {
    /// Whether nobody waits; exact while the line is locked.
    #[inline]
    pub(crate) fn is_empty(&self) -> bool {
        let empty = self.list.len() == 0;
        if empty {
            // Waiters that fell out have left `word` as it was: see the head of this file.
            self.queue.publish(&self.list);
        }
        empty
    }

    /// Tells the first waiter. False: nobody waits.
    pub(crate) fn notify_one(self, message: usize) -> bool {
        self.tell(|list| list.tell_first(message, |_, _| true))
    }

    /// Tells the youngest waiter. False: nobody waits.
    pub(crate) fn notify_last(self, message: usize) -> bool {
        self.tell(|list| list.tell_last(message))
    }

    /// Tells the first waiter whose word is chosen. False: there is none.
    pub(crate) fn notify_where(self, message: usize, choose: impl Fn(usize) -> bool) -> bool {
        self.tell(|list| list.tell_first(message, |_, word| choose(word)))
    }

    #[inline]
    fn tell(mut self, tell: impl FnOnce(&mut List) -> Option<Told>) -> bool {
        let told = tell(&mut self.list);
        self.queue.publish(&self.list);
        drop(self);
        let Some(Told(wake)) = told else { return false };
        if let Some(wake) = wake {
            wake.wake();
        }
        true
    }

    /// Tells everybody who waits now, and returns how many those are; those who join meanwhile are left
    /// alone.
    pub(crate) fn notify_all(self, message: usize) -> usize {
        self.notify_all_where(message, |_| true)
    }

    /// [`notify_all`](Self::notify_all), but only those whose word is chosen.
    pub(crate) fn notify_all_where(mut self, message: usize, choose: impl Fn(usize) -> bool) -> usize {
        let end = self.list.next_ticket();
        let mut batch = WakeBatch::new();
        let mut told = 0;
        loop {
            let chosen = |ticket, word| ticket < end && choose(word);
            while !batch.is_full() {
                let Some(Told(wake)) = self.list.tell_first(message, chosen) else { break };
                batch.push(wake);
                told += 1;
            }
            self.queue.publish(&self.list);
            let more = batch.is_full();
            let Locked { queue, core, list } = self;
            drop(list);
            batch.wake_all();
            if !more {
                return told;
            }
            self = Locked { queue, core, list: core.list.lock() };
        }
    }

    /// See [`WaitQueue::close`].
    pub(crate) fn close(mut self, message: usize) {
        self.list.closed.get_or_insert(message);
        self.notify_all(message);
    }
}
