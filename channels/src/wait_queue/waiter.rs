//! Layer 1, wait queue. One place in line, as the future or the thread sees it that waits there.
//!
//! Owns [`Waiter`], and what it does at a visit to its queue: take what it came for, else get in line, look
//! again, and leave its waker. The rule, and why no wake-up is lost, are at the head of `wait_queue`. Called by
//! every primitive.

use std::fmt;
use std::panic::{RefUnwindSafe, UnwindSafe};
use std::pin::{Pin, pin};
use std::task::{Context, Poll, Waker};
use std::time::Instant;

use pin_project_lite::pin_project;

use super::entry::{Slot, State};
use super::grant::{publish_grant, withdraw_grant};
use super::list::{Link, List};
use super::party::{Caller, Party, Who};
use super::{Core, Need, Outcome, WaitQueue};
use crate::probe;
use crate::shim::{Arc, Parker};
use crate::wake_batch::{WakeBatch, quietly};

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
