//! Layer 1. The one line in which tasks and threads wait, under every primitive of this crate.
//!
//! Owns the lock round the list of waiters ([`list`]), the word that lets a notifier pass by when nobody
//! waits, the rule by which locks are handed on, and the settling of invitations at the end of a poll. Called
//! by every primitive here; names none of them. An intrusive list behind a mutex, after tokio's `Notify` and
//! maitake's `WaitQueue`; the rule of the line is our own.
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
//! too little: an entry turns to Waiting only in [`Waiter::wait`], which publishes and fences.

mod list;
#[cfg(test)]
mod tests;

use std::fmt;
use std::panic::{RefUnwindSafe, UnwindSafe};
use std::pin::{Pin, pin};
use std::ptr;
use std::task::{Context, Poll, Waker};
use std::time::Instant;

use pin_project_lite::pin_project;

use list::{Caller, Link, List, Party, Slot, State, Told, Who};

use crate::probe::{self, Header};
use crate::shim::Ordering::{AcqRel, Acquire, Relaxed, SeqCst};
use crate::shim::task::AtomicUsize;
use crate::shim::{self, Arc, Mutex, MutexGuard, OnceLock, Parker, const_unless_model};
use crate::wake_batch::{WakeBatch, quietly};

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

pin_project! {
    /// One place in line, to be kept pinned in a future or on a stack.
    ///
    /// It is of use with one queue at a time: the one of the first poll, until it is answered or
    /// [leaves](Self::leave).
    pub(crate) struct Waiter {
        #[pin]
        slot: Slot,
        // Set from the first time that `slot` is linked until the wait has ended. Only its owner looks here.
        core: Option<Arc<Core>>,
    }

    impl PinnedDrop for Waiter {
        #[inline]
        fn drop(this: Pin<&mut Self>) {
            this.leave();
        }
    }
}

// SAFETY: what others reach of a waiter is the slot, under the lock of its queue, and its contents may be
// used on any thread (see `List`). The rest is touched by its owner only.
unsafe impl Send for Waiter {}
// SAFETY: nothing can be done with a `&Waiter`.
unsafe impl Sync for Waiter {}

// Wakers that panic change nothing here: see `wake_batch`, and `quietly`.
impl UnwindSafe for Waiter {}
impl RefUnwindSafe for Waiter {}

impl Waiter {
    #[inline]
    pub(crate) fn new() -> Waiter {
        Waiter { slot: Slot::new(), core: None }
    }

    /// Waits for `need` units: see the head of this file. A budget is the caller's business.
    #[inline]
    pub(crate) fn poll_claim<R>(
        self: Pin<&mut Self>,
        queue: &WaitQueue,
        need: impl Into<Need>,
        free: impl Fn() -> usize,
        mut take: impl FnMut() -> Option<R>,
        cx: &mut Context<'_>,
    ) -> Poll<Outcome<R>> {
        if self.core.is_none() && queue.may_barge() {
            if let Some(taken) = take() {
                return Poll::Ready(Outcome::Taken(taken));
            }
        }
        self.wait(queue, Want::Units(need.into(), &free), &mut take, Who::Task(cx.waker()))
    }

    /// Waits to be told something, or for `ready` to answer. `word` is what [`WaitQueue::notify_where`]
    /// chooses by.
    ///
    /// `ready` is asked before the waiter registers, again after that, and at each later poll, but not any
    /// more once the waiter was told something.
    #[inline]
    pub(crate) fn poll_told<R>(
        mut self: Pin<&mut Self>,
        queue: &WaitQueue,
        word: usize,
        mut ready: impl FnMut() -> Option<R>,
        cx: &mut Context<'_>,
    ) -> Poll<Outcome<R>> {
        if self.is_waiting() {
            return match self.as_mut().take_message() {
                Some(message) => Poll::Ready(Outcome::Told(message)),
                None => self.wait(queue, Want::Message(word), &mut ready, Who::Task(cx.waker())),
            };
        }
        match ready() {
            Some(answer) => Poll::Ready(Outcome::Taken(answer)),
            None => self.get_in_line(queue, word, ready, cx.waker()),
        }
    }

    /// [`poll_told`](Self::poll_told), but `ready` is asked only while the line is locked, so that what it does
    /// and getting in line are one step to all who lock the line.
    ///
    /// In the first poll it is asked before the waiter is in line, and again after that.
    pub(crate) fn poll_joined<R>(
        self: Pin<&mut Self>,
        queue: &WaitQueue,
        word: usize,
        mut ready: impl FnMut() -> Option<R>,
        cx: &mut Context<'_>,
    ) -> Poll<Outcome<R>> {
        self.wait(queue, Want::Message(word), &mut ready, Who::Task(cx.waker()))
    }

    /// [`poll_claim`](Self::poll_claim) on a thread, which parks. `None`: the deadline came first.
    pub(crate) fn claim_blocking<R>(
        queue: &WaitQueue,
        need: impl Into<Need>,
        free: impl Fn() -> usize,
        mut take: impl FnMut() -> Option<R>,
        deadline: Option<Instant>,
    ) -> Option<Outcome<R>> {
        if queue.may_barge() {
            if let Some(taken) = take() {
                return Some(Outcome::Taken(taken));
            }
        }
        Waiter::block(queue, Want::Units(need.into(), &free), &mut take, deadline)
    }

    /// [`poll_told`](Self::poll_told) on a thread, which parks. `None`: the deadline came first.
    pub(crate) fn told_blocking<R>(
        queue: &WaitQueue,
        word: usize,
        mut ready: impl FnMut() -> Option<R>,
        deadline: Option<Instant>,
    ) -> Option<Outcome<R>> {
        if let Some(answer) = ready() {
            return Some(Outcome::Taken(answer));
        }
        Waiter::block(queue, Want::Message(word), &mut ready, deadline)
    }

    #[cold]
    fn block<R>(
        queue: &WaitQueue,
        want: Want<'_>,
        take: &mut dyn FnMut() -> Option<R>,
        deadline: Option<Instant>,
    ) -> Option<Outcome<R>> {
        let parker = Parker::new();
        let mut waiter = pin!(Waiter::new());
        loop {
            if let Poll::Ready(outcome) = waiter.as_mut().wait(queue, want, take, Who::Thread(&parker)) {
                return Some(outcome);
            }
            if !parker.park_until(deadline) {
                // What came at the last moment is not lost: an invitation passes on, a message is an answer.
                return waiter.leave().map(Outcome::Told);
            }
        }
    }

    /// Whether the wait has begun and was not answered yet.
    pub(crate) fn is_waiting(&self) -> bool {
        self.core.is_some()
    }

    /// Leaves the line. Some: it had been told this and has not seen it.
    ///
    /// An invitation to units passes on. Dropping a waiter does the same, less the answer.
    #[inline]
    pub(crate) fn leave(self: Pin<&mut Self>) -> Option<usize> {
        if self.is_waiting() { self.fall_out() } else { None }
    }

    /// What it was told while it waited, which ends the wait.
    #[inline]
    fn take_message(self: Pin<&mut Self>) -> Option<usize> {
        if !self.is_waiting() {
            return None;
        }
        let message = self.as_ref().project_ref().slot.take_message()?;
        *self.project().core = None;
        Some(message)
    }

    /// The entry of a waiter that waits, and the queue it waits in.
    fn link(self: Pin<&Self>) -> Option<(Link, &Arc<Core>)> {
        let this = self.project_ref();
        let core = this.core.as_ref()?;
        // SAFETY: `core` is set, so `wait` has begun the slot. It stays pinned, as we are. It is given to the
        // list of that one core, until the wait has ended, with the entry unlinked: `wait` sees to that, or
        // `fall_out`, which `drop` calls.
        Some((unsafe { Link::new(this.slot) }, core))
    }

    #[cold]
    fn fall_out(mut self: Pin<&mut Self>) -> Option<usize> {
        if let Some(message) = self.as_mut().take_message() {
            return Some(message);
        }
        let (link, _) = self.as_ref().link()?;
        let core = self.project().core.take()?;
        let mut batch = WakeBatch::new();
        let mut list = core.list.lock();
        let message = (list.state(link) == State::Told).then(|| list.message(link));
        if list.leave(link) {
            list.pass_on(&mut |task| publish_grant(task, &core), &mut batch);
        }
        list.unlink(link, State::Idle);
        let party = list.replace_party(link, None);
        drop(list);
        batch.wake_all();
        quietly(|| drop(party));
        message
    }

    /// Does what [`wait`](Self::wait) does for a task that begins to wait for a message, and no more.
    #[inline(never)]
    fn get_in_line<R>(
        mut self: Pin<&mut Self>,
        queue: &WaitQueue,
        word: usize,
        mut ready: impl FnMut() -> Option<R>,
        waker: &Waker,
    ) -> Poll<Outcome<R>> {
        let party = Party::of_task(probe::current_id(), waker);
        self.as_mut().project().slot.begin(party, false, word);
        *self.as_mut().project().core = Some(queue.core().clone());
        let (me, core) = self.as_ref().link().expect("set above");
        let mut list = core.list.lock();
        let mut outcome = list.closed.map(Outcome::Told);
        if outcome.is_none() {
            list.push_message(me);
            // Register, look again, then sleep: the waiter's half of the handshake.
            queue.publish_and_fence(&list);
            let Some(answer) = ready() else { return Poll::Pending };
            outcome = Some(Outcome::Taken(answer));
            list.unlink(me, State::Idle);
            queue.publish(&list);
        }
        let party = list.replace_party(me, None);
        drop(list);
        quietly(|| drop(party));
        *self.project().core = None;
        outcome.map_or(Poll::Pending, Poll::Ready)
    }

    #[inline(never)]
    fn wait<R>(
        mut self: Pin<&mut Self>,
        queue: &WaitQueue,
        want: Want<'_>,
        take: &mut dyn FnMut() -> Option<R>,
        who: Who<'_>,
    ) -> Poll<Outcome<R>> {
        if let Some(message) = self.as_mut().take_message() {
            // The queue may have been closed with units left in it: they go first.
            let taken = if want.is_units() { take() } else { None };
            return Poll::Ready(taken.map_or(Outcome::Told(message), Outcome::Taken));
        }
        let caller = Caller { id: probe::current_id(), who };
        // A first wait needs a waker for sure. Later ones mostly find the right one in place.
        let mut armed = !self.is_waiting();
        let mut party = None;
        if armed {
            let this = self.as_mut().project();
            this.slot.begin(caller.party(want.is_units()), want.is_units(), want.word());
            *this.core = Some(queue.core().clone());
        }
        loop {
            let (me, core) = self.as_ref().link().expect("set above");
            assert!(Arc::ptr_eq(core, queue.core()), "a waiter was used with two queues");
            let mut visit = Visit { queue, core, me, batch: WakeBatch::new(), more: false };
            let mut list = core.list.lock();
            let outcome = visit.enquire(&mut list, want, take, caller);
            let mut old = None;
            if outcome.is_some() {
                old = list.replace_party(visit.me, None);
            } else if party.is_some() {
                old = list.replace_party(visit.me, party.take());
                armed = true;
            } else if !armed {
                armed = list.is_armed(visit.me, caller);
            }
            queue.publish(&list);
            drop(list);
            visit.batch.wake_all();
            if old.is_some() || party.is_some() {
                quietly(|| drop((old, party.take())));
            }
            if let Want::Units(_, free) = want {
                if visit.more {
                    queue.pass(free);
                }
            }
            if let Some(outcome) = outcome {
                *self.project().core = None;
                return Poll::Ready(outcome);
            }
            if armed {
                return Poll::Pending;
            }
            // Cloned without the lock; then all is looked at once more, as anything may have happened
            // meanwhile.
            party = Some(caller.party(want.is_units()));
        }
    }
}

impl fmt::Debug for Waiter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Waiter").field("is_waiting", &self.is_waiting()).finish_non_exhaustive()
    }
}

/// What a waiter waits for.
#[derive(Clone, Copy)]
enum Want<'a> {
    /// Units, and how many are free.
    Units(Need, &'a dyn Fn() -> usize),
    Message(usize),
}

impl Want<'_> {
    fn is_units(self) -> bool {
        matches!(self, Want::Units(..))
    }

    /// What a notifier chooses by.
    fn word(self) -> usize {
        match self {
            Want::Units(..) => 0,
            Want::Message(word) => word,
        }
    }
}

/// One visit of a waiter to its queue, under the lock.
struct Visit<'a> {
    queue: &'a WaitQueue,
    core: &'a Arc<Core>,
    me: Link,
    batch: WakeBatch,
    /// The batch was too small for all who were to be invited.
    more: bool,
}

impl Visit<'_> {
    /// Takes, if it is the caller's turn; otherwise puts it in line. None: it has to wait.
    fn enquire<R>(
        &mut self,
        list: &mut List,
        want: Want<'_>,
        take: &mut dyn FnMut() -> Option<R>,
        caller: Caller<'_>,
    ) -> Option<Outcome<R>> {
        let state = list.state(self.me);
        if state == State::Told {
            let message = list.message(self.me);
            list.unlink(self.me, State::Idle);
            // The queue may have been closed with units left in it: they go first.
            let taken = if want.is_units() { take() } else { None };
            return Some(taken.map_or(Outcome::Told(message), Outcome::Taken));
        }
        let mut sibling = None;
        let mut my_turn = true;
        if let (Want::Units(_, free), true) = (want, list.is_gate_shut()) {
            if state != State::Woken || !list.is_covered(self.me, free()) {
                sibling = list.sibling(Some(self.me), caller);
                my_turn = sibling.is_some();
            }
        }
        // A newcomer has just looked in vain, unless the gate was shut a moment ago. It looks again in line.
        let looks_in_line =
            state == State::Idle && want.is_units() && sibling.is_none() && list.closed.is_none();
        if my_turn && !looks_in_line {
            if let Some(taken) = take() {
                if let Some(sibling) = sibling {
                    list.mark_absent(sibling);
                }
                self.served(list, want);
                return Some(Outcome::Taken(taken));
            }
        }
        if let Some(message) = list.closed {
            list.unlink(self.me, State::Idle);
            return Some(Outcome::Told(message));
        }
        match (state, want) {
            (State::Idle, Want::Units(need, _)) => list.push(self.me, need),
            (State::Idle, Want::Message(_)) => list.push_message(self.me),
            _ => self.try_later(list, state),
        }
        self.look_again(list, want, take)
    }

    /// Register, look again, then sleep: the waiter's half of the handshake.
    fn look_again<R>(
        &mut self,
        list: &mut List,
        want: Want<'_>,
        take: &mut dyn FnMut() -> Option<R>,
    ) -> Option<Outcome<R>> {
        self.queue.publish_and_fence(list);
        if want.is_units() {
            self.pass(list, want);
            if list.state(self.me) != State::Woken {
                return None;
            }
        }
        let taken = take();
        match (&taken, want) {
            (Some(_), _) => self.served(list, want),
            // The units were there and are gone. Whoever took them did so after the fence, and sees us in
            // `word` when it releases them.
            (None, Want::Units(..)) => self.try_later(list, State::Woken),
            (None, Want::Message(_)) => {}
        }
        taken.map(Outcome::Taken)
    }

    fn try_later(&self, list: &mut List, state: State) {
        if state == State::Woken {
            list.overtake(self.me);
        }
        list.wait_on(self.me);
    }

    /// Leaves the line with its units, and invites whom the rest covers.
    fn served(&mut self, list: &mut List, want: Want<'_>) {
        let was_invited = list.state(self.me) == State::Woken;
        list.unlink(self.me, State::Idle);
        if was_invited && !list.is_anyone_woken() {
            list.with_task(self.me, |task| withdraw_grant(task, self.core));
        }
        self.pass(list, want);
    }

    fn pass(&mut self, list: &mut List, want: Want<'_>) {
        if let (Want::Units(_, free), true) = (want, list.is_anyone_waiting()) {
            let publish = &mut |task: &probe::TaskRef| publish_grant(task, self.core);
            self.more |= list.pass(free(), false, Some(self.me), publish, &mut self.batch);
        }
    }
}

// # Settling invitations
//
// `Header::grant` is null, or a counted pointer to the `Core` of a queue that has invited the task.
//
// | step    | who, under which lock                   | header's grant     | entry                              |
// |---------|-----------------------------------------|--------------------|------------------------------------|
// | invite  | any thread, the queue's                 | null -> this core  | Woken, notes the task's phase `p`  |
// |         |                                         | this core: left    | Woken, notes the phase             |
// |         |                                         | other core: left   | Absent; the next one is invited too|
// | claim   | the owner of the entry, the queue's     | left, or see below | Idle                               |
// | drop    | the owner, on any thread, the queue's   | left               | Idle, its memory goes              |
// | settle  | the thread that polled: takes the word  | core -> null       |                                    |
// |         | ... then the queue's                    | null, or this core | age >= 2: Absent, else left Woken  |
//
// - *No dangling pointer.* The word owns one count of the core. Entries are reached through the list only,
//   under its lock, where those that were claimed or dropped are not found; a leaked one is still there.
//   Whether the primitive was freed or moved does not matter, since settling needs neither the units nor the
//   `WaitQueue`.
// - *No inversion.* `invite` touches the word, an atomic, under the queue's lock; `settle` empties the word
//   before it takes that lock, and holds no other.
// - *Mostly there is nothing to settle.* Whoever claims as the last that was invited takes this core out of
//   the header again, under the lock: no entry of the queue is Woken then, so none relies on it.
// - *No invitation slips through.* An inviter that finds its own core in the word has the queue's lock.
//   Whoever takes that word out, even if it did so a moment ago, takes the lock afterwards, and finds the
//   entry there.
// - *Not too early.* The phase moves at each start and each end of a poll. Invited at `p`: if `p` is even,
//   the next poll ends at `p + 2`; if `p` is odd, that poll is under way and ends at `p + 1`, which is too
//   early, and the next one at `p + 3`. So an age of 2 says that a poll which began after the invitation has
//   ended. An inviter may read an old phase; then the task may lose its turn to another, but keeps its place,
//   and its wake-up.
// - *No message is lost when an entry turns absent.* Its waker has been called, so its task, or the part of
//   it that waits, will poll it; it then waits again, at its old place, and runs a pass.

/// Leaves word in the task's header that `core` has invited it. False: another queue's word is there.
fn publish_grant(task: &Header, core: &Arc<Core>) -> bool {
    let mine = Arc::as_ptr(core).cast_mut().cast::<()>();
    // Ordering: Relaxed: a value that equals ours is only compared; the queue's lock orders the rest, see
    // above.
    if ptr::eq(task.grant.load(Relaxed), mine) {
        return true;
    }
    let word = Arc::into_raw(core.clone()).cast_mut().cast::<()>();
    // Ordering: AcqRel pairs with the swap in `settle`, which must find the core made; Acquire on failure is
    // not needed, as the other value is not followed.
    match task.grant.compare_exchange(ptr::null_mut(), word, AcqRel, Relaxed) {
        Ok(_) => true,
        Err(other) => {
            drop(redeem(word));
            ptr::eq(other, mine)
        }
    }
}

/// Takes the word out again that `core` has invited the task. Nobody of its queue is invited.
fn withdraw_grant(task: &Header, core: &Arc<Core>) {
    let mine = Arc::as_ptr(core).cast_mut().cast::<()>();
    // Ordering: Relaxed, all: the word is only compared, and we have the core, so its count is not the last.
    if ptr::eq(task.grant.load(Relaxed), mine)
        && task.grant.compare_exchange(mine, ptr::null_mut(), Relaxed, Relaxed).is_ok()
    {
        drop(redeem(mine));
    }
}

/// The count that a grant word stands for. The caller has taken the word out of its header, or never put it
/// there.
fn redeem(word: *mut ()) -> Option<Arc<Core>> {
    // SAFETY: every word that is not null comes from `Arc::into_raw` in `publish_grant` or `settle`, and is
    // given up by whoever calls this.
    if word.is_null() { None } else { Some(unsafe { Arc::from_raw(word.cast_const().cast::<Core>()) }) }
}

/// Passes on the invitations that the task of `header` has not made use of: see the table above.
pub(crate) fn settle(header: &Header) {
    // Ordering: AcqRel pairs with the exchange in `publish_grant`: the core is ours to look at.
    let Some(core) = redeem(header.grant.swap(ptr::null_mut(), AcqRel)) else { return };
    let mut batch = WakeBatch::new();
    let mut list = core.list.lock();
    let is_task = |task: &probe::TaskRef| ptr::eq::<Header>(&**task, header);
    let (mut absent, fresh) = list.settle(is_task, header.phase(), false);
    if fresh && !publish_grant(header, &core) {
        // Another queue has the word now. Better one task woken too many than a waiter forgotten.
        absent += list.settle(is_task, header.phase(), true).0;
    }
    while absent > 0 {
        if !list.pass_on(&mut |task| publish_grant(task, &core), &mut batch) {
            break;
        }
        absent -= 1;
        if batch.is_full() {
            drop(list);
            batch.wake_all();
            list = core.list.lock();
        }
    }
    drop(list);
    batch.wake_all();
}

/// Gives back what a header's grant word holds when the header's memory goes.
pub(crate) fn forget_grant(header: &Header) {
    // Ordering: Acquire pairs with the exchange in `publish_grant`; nothing is published here.
    drop(redeem(header.grant.swap(ptr::null_mut(), Acquire)));
}
