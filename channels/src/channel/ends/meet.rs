//! Layer 3. Where senders and receivers meet between whom there is no room: the rendezvous channel.
//!
//! Owns who is here and waits, in the order in which they came: *offers*, each with its message, and *wants*,
//! and of each the waker. Called by the ends of the channel alone.
//!
//! # The protocol
//! One lock decides everything, and whoever is to be told is woken after it. Both sides do the same:
//! 1. Come: meet the first of the other side that still can, or leave an offer or a want, with a ticket.
//! 2. Look, at each poll, what became of the ticket; if nothing has, see that the right waker is there.
//! 3. Leave: take back the offer or the want. It may be too late for that; then the meeting has taken place.
//!
//! *No wake-up is lost*, as who waits has left its waker in the same step in which it saw that nobody is
//! there. *No message is lost*: one that was handed to a receive which leaves without looking goes to the
//! next want, and if there is none, to the next that comes.
//!
//! An operation of a select has a [`Party`]: it can be met only if its select has decided nothing yet.
//!
//! # Why not the wait queue
//! Nobody is invited here to try: a meeting is over when the other side is told of it, and what it got has
//! its ticket on it. So none of the rules of that line apply, which are about units that any waiter may take;
//! it would only keep the wakers, at the price of a second lock in each step. A ticket is a line of length
//! one, as each end of a oneshot channel is.
#![forbid(unsafe_code)]

use std::collections::VecDeque;
use std::mem;
use std::task::{Poll, Waker};

use super::decision::{self, Decision, Pair, Party};
use super::shared::{IsClosed, tell};
use crate::ring::{Backoff, Look};
use crate::shim::Ordering::{Acquire, Relaxed, Release};
use crate::shim::task::AtomicUsize;
use crate::shim::{Arc, Mutex, MutexGuard};

/// See the head of this file.
#[derive(Debug)]
pub struct Meet<T> {
    state: Mutex<State<T>>,
    /// The ticket of the first offer, or `usize::MAX`. An offer with a smaller one has been taken, as they
    /// stand in the order of their tickets.
    first_offer: AtomicUsize,
    /// The same for wants.
    first_want: AtomicUsize,
}

#[derive(Debug)]
struct State<T> {
    closed: bool,
    /// The last ticket; 0 is none.
    tickets: usize,
    /// Senders who wait, in the order of their tickets.
    offers: VecDeque<(Entry, T)>,
    /// Receivers who wait, in the order of their tickets.
    wants: VecDeque<Entry>,
    /// What receivers were given that have not come for it, by ticket.
    handed: VecDeque<(usize, T)>,
    /// What receivers were given that have left. The next ones take it first.
    strays: VecDeque<T>,
    sent: u64,
    received: u64,
    peak: usize,
}

/// One who waits.
#[derive(Debug)]
struct Entry {
    ticket: usize,
    party: Option<(Arc<Decision>, usize)>,
    /// None once it was called, which only the end does while the entry stays.
    waker: Option<Waker>,
}

impl Entry {
    fn party(&self) -> Option<Party<'_>> {
        self.party.as_ref().map(|(decision, number)| Party { decision, number: *number })
    }

    fn is_armed(&self, waker: &Waker) -> bool {
        self.waker.as_ref().is_some_and(|mine| mine.will_wake(waker))
    }
}

/// What came of the first step of a send or a receive.
#[derive(Debug)]
#[must_use]
pub(super) enum Step<R> {
    /// Done. This one must be woken, if any.
    Met(R, Option<Waker>),
    /// It stays, with this ticket.
    Waits(usize),
    /// Nobody is here, and it does not want to stay; or its select has done something else.
    Nobody,
    Closed,
}

impl<T> Meet<T> {
    pub(super) fn new() -> Meet<T> {
        let state = State {
            closed: false,
            tickets: 0,
            offers: VecDeque::new(),
            wants: VecDeque::new(),
            handed: VecDeque::new(),
            strays: VecDeque::new(),
            sent: 0,
            received: 0,
            peak: 0,
        };
        let none = || AtomicUsize::new(usize::MAX);
        Meet { state: Mutex::new(state), first_offer: none(), first_want: none() }
    }

    /// The lock. Who finds it taken stands back for a while first, so that the other side does several steps in a
    /// row while the lock and what is under it stay with its processor: see `ring/pause.rs`.
    #[inline]
    fn lock(&self) -> MutexGuard<'_, State<T>> {
        // A model would be outgrown.
        if cfg!(filch_loom) {
            return self.state.lock();
        }
        match self.state.try_lock() {
            Some(state) => state,
            None => self.lock_later(),
        }
    }

    #[cold]
    fn lock_later(&self) -> MutexGuard<'_, State<T>> {
        let mut backoff = Backoff::new();
        for _ in 0..2 {
            backoff.turn();
            if let Some(state) = self.state.try_lock() {
                return state;
            }
        }
        self.state.lock()
    }

    /// Under the lock, after those who wait have changed.
    #[inline]
    fn show(&self, state: &State<T>) {
        self.show_offers(state);
        self.show_wants(state);
    }

    /// The same, if it was offers only.
    #[inline]
    fn show_offers(&self, state: &State<T>) {
        // Ordering: Release pairs with the Acquire in `poll_offer`: what whoever took an offer did before comes
        // before what its sender does next.
        self.first_offer.store(state.offers.front().map_or(usize::MAX, |(entry, _)| entry.ticket), Release);
    }

    /// The same, if it was wants only.
    #[inline]
    fn show_wants(&self, state: &State<T>) {
        // Ordering: Relaxed: a guess.
        self.first_want.store(state.wants.front().map_or(usize::MAX, |entry| entry.ticket), Relaxed);
    }

    /// What [`offer`](Self::offer) does mostly, if somebody is here: gives the message to the first who wants it.
    /// False: it takes more than that, or a wait.
    #[inline(always)]
    pub(super) fn offer_at_once(&self, message: &mut Option<T>) -> bool {
        // Ordering: Relaxed: a guess, which saves a lock.
        self.first_want.load(Relaxed) != usize::MAX && self.give(message)
    }

    #[inline(never)]
    fn give(&self, message: &mut Option<T>) -> bool {
        let mut state = self.lock();
        // One of a select has to be decided.
        if state.closed || message.is_none() || state.wants.front().is_none_or(|want| want.party.is_some()) {
            return false;
        }
        let Some(want) = state.wants.pop_front() else { return false };
        state.sent = state.sent.wrapping_add(1);
        state.hand(want.ticket, message.take());
        self.show_wants(&state);
        drop(state);
        tell(want.waker);
        true
    }

    /// What [`ask`](Self::ask) does mostly, if somebody is here: takes the first message that is offered. None: it
    /// takes more than that, or a wait.
    #[inline(always)]
    pub(super) fn ask_at_once(&self) -> Option<T> {
        // Ordering: Relaxed, see `offer_at_once`.
        if self.first_offer.load(Relaxed) == usize::MAX { None } else { self.take() }
    }

    #[inline(never)]
    fn take(&self) -> Option<T> {
        let mut state = self.lock();
        if state.closed || !state.strays.is_empty() || state.offers.front()?.0.party.is_some() {
            return None;
        }
        let (offer, message) = state.offers.pop_front()?;
        state.sent = state.sent.wrapping_add(1);
        state.received = state.received.wrapping_add(1);
        self.show_offers(&state);
        drop(state);
        tell(offer.waker);
        Some(message)
    }

    /// Comes with a message, which is taken out of `message` if it is handed over or if it stays, to be woken
    /// by `stay`.
    pub(super) fn offer(
        &self,
        message: &mut Option<T>,
        mine: Option<Party<'_>>,
        stay: Option<&Waker>,
    ) -> Step<()> {
        // Cloned, and dropped, outside of the lock.
        // Ordering: Relaxed: a guess, which saves a lock.
        let mut waker = if self.first_want.load(Relaxed) == usize::MAX { stay.cloned() } else { None };
        loop {
            let mut state = self.lock();
            if state.closed {
                return Step::Closed;
            }
            match state.first_want(mine) {
                Ok(Some(want)) => {
                    state.sent = state.sent.wrapping_add(1);
                    state.hand(want.ticket, message.take());
                    self.show_wants(&state);
                    return Step::Met((), want.waker);
                }
                Ok(None) => {}
                Err(()) => return Step::Nobody,
            }
            if waker.is_some() {
                let entry = state.entry(mine, waker.take());
                let ticket = entry.ticket;
                if let Some(message) = message.take() {
                    state.offers.push_back((entry, message));
                }
                self.show_offers(&state);
                return Step::Waits(ticket);
            }
            drop(state);
            let Some(stay) = stay else { return Step::Nobody };
            waker = Some(stay.clone());
        }
    }

    /// Comes for a message, which it waits for to be woken by `stay`.
    pub(super) fn ask(&self, mine: Option<Party<'_>>, stay: Option<&Waker>) -> Step<T> {
        // Ordering: Relaxed, see `offer`.
        let mut waker = if self.first_offer.load(Relaxed) == usize::MAX { stay.cloned() } else { None };
        loop {
            let mut state = self.lock();
            match state.first_message(mine) {
                Ok(Some((message, sender))) => {
                    state.received = state.received.wrapping_add(1);
                    self.show_offers(&state);
                    return Step::Met(message, sender);
                }
                Ok(None) if state.closed => return Step::Closed,
                Ok(None) => {}
                Err(()) => return Step::Nobody,
            }
            if waker.is_some() {
                let entry = state.entry(mine, waker.take());
                let ticket = entry.ticket;
                state.wants.push_back(entry);
                self.show_wants(&state);
                return Step::Waits(ticket);
            }
            drop(state);
            let Some(stay) = stay else { return Step::Nobody };
            waker = Some(stay.clone());
        }
    }

    /// What became of an offer; its message comes back into `message` when the channel was closed.
    pub(super) fn poll_offer(
        &self,
        ticket: usize,
        message: &mut Option<T>,
        waker: &Waker,
    ) -> Poll<Result<(), IsClosed>> {
        // Ordering: Acquire pairs with the Release in `show`.
        if ticket < self.first_offer.load(Acquire) {
            return Poll::Ready(Ok(()));
        }
        let mut fresh = None;
        loop {
            let mut state = self.lock();
            let Some(index) = state.offer_at(ticket) else { return Poll::Ready(Ok(())) };
            if state.closed {
                let entry;
                (entry, *message) = state.take_offer(index);
                self.show(&state);
                drop(state);
                drop(entry);
                return Poll::Ready(Err(IsClosed));
            }
            if arm(&mut state.offers[index].0, waker, &mut fresh) {
                drop(state);
                return Poll::Pending;
            }
            drop(state);
            fresh = Some(waker.clone());
        }
    }

    /// What became of a want.
    pub(super) fn poll_want(&self, ticket: usize, waker: &Waker) -> Poll<Result<T, IsClosed>> {
        let mut fresh = None;
        loop {
            let mut state = self.lock();
            if let Some(message) = state.take_handed(ticket) {
                return Poll::Ready(Ok(message));
            }
            let index = state.want_at(ticket);
            if state.closed {
                let entry = index.and_then(|index| state.wants.remove(index));
                self.show(&state);
                drop(state);
                drop(entry);
                return Poll::Ready(Err(IsClosed));
            }
            let Some(index) = index else { unreachable!("a want stays until it is met or taken back") };
            if arm(&mut state.wants[index], waker, &mut fresh) {
                drop(state);
                return Poll::Pending;
            }
            drop(state);
            fresh = Some(waker.clone());
        }
    }

    /// Takes an offer back, into `message`. False: it is too late, the message was taken.
    #[must_use]
    pub(super) fn withdraw_offer(&self, ticket: usize, message: &mut Option<T>) -> bool {
        let mut state = self.lock();
        let Some(index) = state.offer_at(ticket) else { return false };
        let entry;
        (entry, *message) = state.take_offer(index);
        self.show(&state);
        drop(state);
        drop(entry);
        true
    }

    /// Takes a want back. Some: it is too late, here is the message.
    #[must_use]
    pub(super) fn withdraw_want(&self, ticket: usize) -> Option<T> {
        let mut state = self.lock();
        let index = state.want_at(ticket);
        let entry = index.and_then(|index| state.wants.remove(index));
        let message = state.take_handed(ticket);
        self.show(&state);
        drop(state);
        drop(entry);
        message
    }

    /// Hands a message on that was taken and will not be looked at. This one must be woken, if any.
    #[must_use]
    pub(super) fn hand_on(&self, message: T) -> Option<Waker> {
        let mut state = self.lock();
        state.received = state.received.wrapping_sub(1);
        let Ok(Some(want)) = state.first_want(None) else {
            state.strays.push_front(message);
            return None;
        };
        state.hand(want.ticket, Some(message));
        self.show(&state);
        want.waker
    }

    /// `None`: that was so already. All of these must be woken.
    #[must_use]
    pub(super) fn close(&self) -> Option<Vec<Waker>> {
        let mut state = self.lock();
        if mem::replace(&mut state.closed, true) {
            return None;
        }
        let State { offers, wants, .. } = &mut *state;
        let entries = offers.iter_mut().map(|(entry, _)| entry).chain(wants);
        Some(entries.filter_map(|entry| entry.waker.take()).collect())
    }

    pub(super) fn is_closed(&self) -> bool {
        self.lock().closed
    }

    /// Drops what nobody has come for.
    pub(super) fn drain(&self) {
        let strays = mem::take(&mut self.lock().strays);
        drop(strays);
    }

    /// How many senders wait, and how many receivers.
    pub(super) fn waiting(&self) -> (usize, usize) {
        let state = self.lock();
        (state.offers.len(), state.wants.len())
    }

    pub(super) fn look(&self) -> Look {
        let state = self.lock();
        Look {
            len: state.strays.len() + state.handed.len(),
            reserved: 0,
            closed: state.closed,
            pushed: state.sent,
            popped: state.received,
            peak: state.peak,
        }
    }
}

/// What is removed is mostly the first, and then nothing needs to be moved.
#[inline]
fn remove<E>(from: &mut VecDeque<E>, index: usize) -> Option<E> {
    if index == 0 { from.pop_front() } else { from.remove(index) }
}

/// Sees that `waker` is in its entry. False: it must first be cloned, outside of the lock, into `fresh`, which
/// has the old one afterwards.
fn arm(entry: &mut Entry, waker: &Waker, fresh: &mut Option<Waker>) -> bool {
    if entry.is_armed(waker) {
        return true;
    }
    if fresh.is_none() {
        return false;
    }
    mem::swap(&mut entry.waker, fresh);
    true
}

impl<T> State<T> {
    fn entry(&mut self, mine: Option<Party<'_>>, waker: Option<Waker>) -> Entry {
        self.tickets += 1;
        let party = mine.map(|party| (party.decision.clone(), party.number));
        Entry { ticket: self.tickets, party, waker }
    }

    fn hand(&mut self, ticket: usize, message: Option<T>) {
        if let Some(message) = message {
            self.handed.push_back((ticket, message));
        }
        self.peak = self.peak.max(self.handed.len() + self.strays.len());
    }

    /// Meets the first receiver that still can, and takes it out. `Err`: our own select has done something
    /// else.
    fn first_want(&mut self, mine: Option<Party<'_>>) -> Result<Option<Entry>, ()> {
        for index in 0..self.wants.len() {
            match decision::pair(mine, self.wants[index].party()) {
                Pair::Matched => return Ok(remove(&mut self.wants, index)),
                Pair::Taken => return Err(()),
                Pair::Gone => {}
            }
        }
        Ok(None)
    }

    /// The message that comes first, and the waker of whose it was, unless it has strayed.
    #[allow(clippy::type_complexity)]
    fn first_message(&mut self, mine: Option<Party<'_>>) -> Result<Option<(T, Option<Waker>)>, ()> {
        if !self.strays.is_empty() {
            return match decision::pair(mine, None) {
                Pair::Matched => Ok(self.strays.pop_front().map(|message| (message, None))),
                Pair::Taken | Pair::Gone => Err(()),
            };
        }
        if self.closed {
            // What is still offered goes back.
            return Ok(None);
        }
        for index in 0..self.offers.len() {
            match decision::pair(mine, self.offers[index].0.party()) {
                Pair::Matched => {
                    self.sent = self.sent.wrapping_add(1);
                    let met = remove(&mut self.offers, index);
                    return Ok(met.map(|(entry, message)| (message, entry.waker)));
                }
                Pair::Taken => return Err(()),
                Pair::Gone => {}
            }
        }
        Ok(None)
    }

    fn offer_at(&self, ticket: usize) -> Option<usize> {
        self.offers.binary_search_by_key(&ticket, |(entry, _)| entry.ticket).ok()
    }

    fn want_at(&self, ticket: usize) -> Option<usize> {
        self.wants.binary_search_by_key(&ticket, |entry| entry.ticket).ok()
    }

    /// The entry has a waker, which is not to be dropped under the lock.
    fn take_offer(&mut self, index: usize) -> (Option<Entry>, Option<T>) {
        remove(&mut self.offers, index).unzip()
    }

    fn take_handed(&mut self, ticket: usize) -> Option<T> {
        let index = match self.handed.front() {
            Some((owner, _)) if *owner == ticket => 0,
            _ => self.handed.iter().position(|(owner, _)| *owner == ticket)?,
        };
        self.received = self.received.wrapping_add(1);
        remove(&mut self.handed, index).map(|(_, message)| message)
    }
}
