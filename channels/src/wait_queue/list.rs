//! Layer 1, wait queue. Who waits, in which order, and how far each of them has come.
//!
//! Owns the doubly linked list of entries and the counts over them. The entries (`entry`) lie in the
//! waiting futures themselves, or on the stacks of blocked threads, as in tokio's and maitake's wait queues,
//! so that a wait allocates nothing. Knows nothing of the primitive: how many units are free is told to it.
//! Called by `wait_queue` and `waiter`, always under the lock round the [`List`].
//!
//! **The Link Invariant**: a [`Link`] is only used with the one list that its entry belongs to, while that
//! list is locked, and before its entry is moved or freed. [`Link::new`] asks its caller to promise that; a
//! linked entry is unlinked by its owner, under the lock, before it goes.

use std::mem;
use std::pin::Pin;
use std::ptr::NonNull;

use super::entry::{Entry, Slot, State};
use super::party::{Caller, Party};
use super::{Need, Place};
use crate::probe::TaskRef;
use crate::shim::Ordering::Release;
use crate::wake_batch::{Wake, WakeBatch};

/// The address of an entry: see the Link Invariant at the head of this file.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Link(NonNull<Slot>);

impl Link {
    /// # Safety
    /// The caller has called [`Slot::begin`], and keeps the Link Invariant: `slot` stays pinned, is given to
    /// methods of one and the same list only, and is unlinked before it goes.
    pub(super) unsafe fn new(slot: Pin<&Slot>) -> Link {
        Link(NonNull::from(slot.get_ref()))
    }
}

/// See the head of this file.
#[derive(Debug, Default)]
pub(super) struct List {
    head: Option<Link>,
    tail: Option<Link>,
    /// The last of those who came to the front.
    front: Option<Link>,
    /// Linked entries.
    len: usize,
    /// Of these, the ones that are Waiting or Woken.
    present: usize,
    /// Of these, the ones that are Woken.
    woken: usize,
    /// Present ones that were overtaken as often as may be.
    starved: usize,
    next_ticket: u64,
    /// Newcomers always queue behind whoever is present.
    fair: bool,
    /// The message for those who come too late.
    pub(super) closed: Option<usize>,
}

// SAFETY: the list owns, by the Link Invariant, the entries that its links lead to while it is locked; they
// hold wakers, thread handles and counted task references, all of which may be used on any thread.
unsafe impl Send for List {}

impl List {
    pub(super) fn new(fair: bool) -> List {
        List { fair, ..List::default() }
    }

    /// The one way to an entry. `f` cannot reach the list, so no second reference to the entry can come
    /// about.
    fn entry<R>(&mut self, link: Link, f: impl FnOnce(&mut Entry) -> R) -> R {
        // SAFETY: by the Link Invariant the slot is there; and having `&mut self` means that the lock is held,
        // so nobody else looks at it.
        unsafe { link.0.as_ref().entry.with_mut(|entry| f((*entry).as_mut().expect("made by `begin`"))) }
    }

    pub(super) fn len(&self) -> usize {
        self.len
    }

    /// The ticket that the next entry will get: those who wait now have smaller ones.
    pub(super) fn next_ticket(&self) -> u64 {
        self.next_ticket
    }

    pub(super) fn is_anyone_woken(&self) -> bool {
        self.woken != 0
    }

    pub(super) fn is_anyone_waiting(&self) -> bool {
        self.present != self.woken
    }

    /// Whether newcomers must queue, and those in line must wait for their turn.
    pub(super) fn is_gate_shut(&self) -> bool {
        self.starved != 0 || (self.fair && self.present != 0)
    }

    pub(super) fn state(&mut self, link: Link) -> State {
        self.entry(link, |entry| entry.state)
    }

    /// Changes the state of an entry and keeps the counts.
    #[inline]
    fn set(&mut self, link: Link, state: State) {
        let (before, starved) =
            self.entry(link, |entry| (mem::replace(&mut entry.state, state), entry.is_starved()));
        let step = |count: usize, is: fn(State) -> bool| {
            count.wrapping_add(is(state).into()).wrapping_sub(is(before).into())
        };
        self.len = step(self.len, State::is_linked);
        self.present = step(self.present, State::is_present);
        self.woken = step(self.woken, |state| state == State::Woken);
        if starved {
            self.starved = step(self.starved, State::is_present);
        }
    }

    /// Notes that units came free and a present entry did not get them.
    pub(super) fn overtake(&mut self, link: Link) {
        let starves = self.entry(link, |entry| {
            let before = entry.is_starved();
            entry.overtaken = entry.overtaken.saturating_add(1);
            !before && entry.is_starved()
        });
        self.starved += usize::from(starves);
    }

    /// Puts an Idle entry in line that waits for a message: to the back, and with the word it began with.
    #[inline]
    pub(super) fn push_message(&mut self, link: Link) {
        let (prev, ticket) = (self.tail.replace(link), self.next_ticket);
        self.next_ticket += 1;
        match prev {
            Some(prev) => self.entry(prev, |entry| entry.next = Some(link)),
            None => self.head = Some(link),
        }
        self.entry(link, |entry| {
            debug_assert_eq!((entry.state, entry.units, entry.next), (State::Idle, false, None));
            entry.prev = prev;
            entry.ticket = ticket;
            entry.state = State::Waiting;
        });
        self.len += 1;
        self.present += 1;
    }

    /// Puts an Idle entry in line that wants units.
    pub(super) fn push(&mut self, link: Link, need: Need) {
        let ticket = self.next_ticket;
        self.next_ticket += 1;
        let prev = match need.place {
            Place::Back => self.tail,
            Place::Front => self.front.or_else(|| self.head.filter(|&head| self.place(head) == Place::Head)),
            Place::Head => None,
        };
        if need.place == Place::Front {
            self.front = Some(link);
        }
        let next = match prev {
            Some(prev) => self.entry(prev, |entry| entry.next.replace(link)),
            None => self.head.replace(link),
        };
        match next {
            Some(next) => self.entry(next, |entry| entry.prev = Some(link)),
            None => self.tail = Some(link),
        }
        self.entry(link, |entry| {
            debug_assert_eq!((entry.state, entry.units), (State::Idle, true));
            entry.prev = prev;
            entry.next = next;
            entry.place = need.place;
            entry.word = need.units;
            entry.ticket = ticket;
            entry.state = State::Waiting;
        });
        self.len += 1;
        self.present += 1;
    }

    fn place(&mut self, link: Link) -> Place {
        self.entry(link, |entry| entry.place)
    }

    /// Takes an entry out of line, if it is in line; `state` is Idle or Told.
    #[inline]
    pub(super) fn unlink(&mut self, link: Link, state: State) {
        let before = self.state(link);
        self.set(link, state);
        if matches!(before, State::Idle | State::Told) {
            return;
        }
        let (prev, next) = self.entry(link, |entry| (entry.prev.take(), entry.next.take()));
        if self.front == Some(link) {
            self.front = prev.filter(|&prev| self.place(prev) == Place::Front);
        }
        self.join(prev, next);
    }

    /// What was between the two is out of line.
    #[inline]
    fn join(&mut self, prev: Option<Link>, next: Option<Link>) {
        match prev {
            Some(prev) => self.entry(prev, |entry| entry.next = next),
            None => self.head = next,
        }
        match next {
            Some(next) => self.entry(next, |entry| entry.prev = prev),
            None => self.tail = prev,
        }
    }

    /// Puts an entry that is in line, whatever its state, back to Waiting.
    pub(super) fn wait_on(&mut self, link: Link) {
        self.set(link, State::Waiting);
    }

    /// Nobody waits for this entry any longer, until its task comes.
    pub(super) fn mark_absent(&mut self, link: Link) {
        self.set(link, State::Absent);
    }

    /// The message of an entry that was told.
    pub(super) fn message(&mut self, link: Link) -> usize {
        self.entry(link, |entry| entry.word)
    }

    /// Whether the entry would wake `caller`, as it stands.
    pub(super) fn is_armed(&mut self, link: Link, caller: Caller<'_>) -> bool {
        self.entry(link, |entry| entry.party.as_ref().is_some_and(|party| caller.is_armed_in(party)))
    }

    /// Calls `f` with the task of an entry, if it is known.
    pub(super) fn with_task(&mut self, link: Link, f: impl FnOnce(&TaskRef)) {
        self.entry(link, |entry| entry.party.as_ref().and_then(|party| party.task.as_ref()).map(f));
    }

    /// Replaces the party of an entry. The old one must be dropped after the lock.
    pub(super) fn replace_party(&mut self, link: Link, party: Option<Party>) -> Option<Party> {
        self.entry(link, |entry| mem::replace(&mut entry.party, party))
    }

    /// The first entry after `link`, or the first of all, whose state is one of the two.
    fn find(&mut self, after: Option<Link>, either: State, or: State) -> Option<Link> {
        let mut cursor = match after {
            Some(link) => self.entry(link, |entry| entry.next),
            None => self.head,
        };
        while let Some(link) = cursor {
            let (state, next) = self.entry(link, |entry| (entry.state, entry.next));
            if state == either || state == or {
                return Some(link);
            }
            cursor = next;
        }
        None
    }

    fn first_present(&mut self) -> Option<Link> {
        if self.present == 0 { None } else { self.find(None, State::Waiting, State::Woken) }
    }

    /// Whether `free` units cover `me`, which is present, and all who are before it. One who was invited in place
    /// of another that left may have been invited too early.
    pub(super) fn is_covered(&mut self, me: Link, mut free: usize) -> bool {
        let mut cursor = None;
        while let Some(link) = self.find(cursor, State::Waiting, State::Woken) {
            match (free.checked_sub(self.entry(link, |entry| entry.word)), link == me) {
                (Some(left), false) => (free, cursor) = (left, Some(link)),
                (left, _) => return left.is_some(),
            }
        }
        false
    }

    /// An invited entry of the task that asks, other than `me`.
    pub(super) fn sibling(&mut self, me: Option<Link>, caller: Caller<'_>) -> Option<Link> {
        let mut cursor = None;
        for _ in 0..self.woken {
            let link = self.find(cursor, State::Woken, State::Woken)?;
            let same =
                |entry: &mut Entry| entry.party.as_ref().is_some_and(|party| caller.is_same_task(party));
            if me != Some(link) && self.entry(link, same) {
                return Some(link);
            }
            cursor = Some(link);
        }
        None
    }

    /// Invites an entry; `me`, if it is that one, is running and needs no waker.
    ///
    /// `publish` leaves word in the header of the entry's task that there is an invitation to settle; when
    /// that fails, nobody relies on the entry: it is absent from the start, and the next one is invited as
    /// well.
    fn invite(
        &mut self,
        link: Link,
        me: Option<Link>,
        publish: &mut impl FnMut(&TaskRef) -> bool,
        batch: &mut WakeBatch,
    ) -> bool {
        self.set(link, State::Woken);
        if me == Some(link) {
            return true;
        }
        let settled =
            self.entry(link, |entry| match entry.party.as_ref().and_then(|party| party.task.as_ref()) {
                Some(task) => {
                    entry.phase = task.phase();
                    publish(task)
                }
                None => true,
            });
        if !settled {
            self.set(link, State::Absent);
        }
        batch.push(self.entry(link, Entry::take_wake));
        settled
    }

    /// Invites, from the head of the line, all whose units are `free` together. True: the batch was too
    /// small.
    ///
    /// Those who were invited before and have not come yet count as served, those who are absent do not
    /// count. The first one that needs more than is left ends the pass: a small request does not overtake a
    /// big one here.
    pub(super) fn pass(
        &mut self,
        free: usize,
        released: bool,
        me: Option<Link>,
        publish: &mut impl FnMut(&TaskRef) -> bool,
        batch: &mut WakeBatch,
    ) -> bool {
        let (mut left, mut seen, mut cursor) = (free, 0, None);
        while seen < self.present {
            let Some(link) = self.find(cursor, State::Waiting, State::Woken) else { break };
            let (state, need) = self.entry(link, |entry| (entry.state, entry.word));
            if need > left {
                if released && seen == 0 && state == State::Waiting {
                    self.overtake(link);
                }
                break;
            }
            cursor = Some(link);
            seen += 1;
            if state == State::Woken {
                left -= need;
                continue;
            }
            if batch.is_full() {
                return true;
            }
            if self.invite(link, me, publish, batch) {
                left -= need;
            } else {
                seen -= 1;
            }
        }
        false
    }

    /// Invites the first entry that waits, whether or not there is anything for it. False: there is none.
    pub(super) fn pass_on(
        &mut self,
        publish: &mut impl FnMut(&TaskRef) -> bool,
        batch: &mut WakeBatch,
    ) -> bool {
        while !batch.is_full() {
            let Some(link) = self.find(None, State::Waiting, State::Waiting) else { return false };
            if self.invite(link, None, publish, batch) {
                return true;
            }
        }
        true
    }

    /// Takes an entry out of line for good. True: [`pass_on`](Self::pass_on) what it might have taken.
    #[must_use]
    pub(super) fn leave(&mut self, link: Link) -> bool {
        let (state, units, need) = self.entry(link, |entry| (entry.state, entry.units, entry.word));
        let first = state == State::Waiting && units && self.first_present() == Some(link);
        if state != State::Told {
            self.unlink(link, State::Idle);
        }
        match state {
            State::Woken => true,
            // It was first and did not fit. The next one may, if it wants less.
            State::Waiting if first => match self.first_present() {
                Some(next) => self.entry(next, |entry| entry.state == State::Waiting && entry.word < need),
                None => false,
            },
            _ => false,
        }
    }

    /// Marks as absent the invited entries of the task whose poll has just ended, at `phase`, and counts
    /// them. Those who were invited during that poll, or since, are left alone unless `all`; the flag says if
    /// any were.
    pub(super) fn settle(
        &mut self,
        is_task: impl Fn(&TaskRef) -> bool,
        phase: u32,
        all: bool,
    ) -> (usize, bool) {
        let (mut absent, mut fresh, mut cursor) = (0, false, None);
        for _ in 0..self.woken {
            let Some(link) = self.find(cursor, State::Woken, State::Woken) else { break };
            cursor = Some(link);
            let (mine, age) = self.entry(link, |entry| {
                let task = entry.party.as_ref().and_then(|party| party.task.as_ref());
                (task.is_some_and(&is_task), phase.wrapping_sub(entry.phase))
            });
            if mine && (all || (2..u32::MAX / 2).contains(&age)) {
                self.set(link, State::Absent);
                absent += 1;
            } else {
                fresh |= mine;
            }
        }
        (absent, fresh)
    }

    /// Takes out of line, and tells, the first entry for which `choose` holds of (ticket, word).
    pub(super) fn tell_first(&mut self, message: usize, choose: impl Fn(u64, usize) -> bool) -> Option<Told> {
        let mut cursor = self.head;
        while let Some(link) = cursor {
            let (next, chosen) = self.entry(link, |entry| (entry.next, choose(entry.ticket, entry.word)));
            if chosen {
                return Some(self.tell(link, message));
            }
            cursor = next;
        }
        None
    }

    /// Takes the youngest entry out of line and tells it.
    pub(super) fn tell_last(&mut self, message: usize) -> Option<Told> {
        self.tail.map(|link| self.tell(link, message))
    }

    #[inline]
    fn tell(&mut self, link: Link, message: usize) -> Told {
        if self.entry(link, |entry| entry.units) {
            self.unlink(link, State::Told);
        } else {
            // It is Waiting, was never overtaken, and came to the back.
            let (prev, next) = self.entry(link, |entry| {
                debug_assert_eq!(entry.state, State::Waiting);
                entry.state = State::Told;
                (entry.prev, entry.next)
            });
            self.join(prev, next);
            self.len -= 1;
            self.present -= 1;
        }
        let told = Told(self.entry(link, |entry| {
            entry.word = message;
            entry.take_wake()
        }));
        // SAFETY: by the Link Invariant the slot is there: its owner goes only after it has seen the store, or
        // has had the lock that we hold. And only `told` is touched, which is an atomic.
        // Ordering: Release pairs with the load in `Slot::take_message`.
        unsafe { link.0.as_ref() }.told.store(true, Release);
        told
    }
}

/// An entry was told something. To be woken after the lock.
#[must_use]
#[derive(Debug)]
pub(super) struct Told(pub(super) Option<Wake>);
