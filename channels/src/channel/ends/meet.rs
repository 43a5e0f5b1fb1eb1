//! Layer 3. Where senders and receivers meet between whom there is no room: the rendezvous channel.
//!
//! Owns who is here and waits, and the messages of those: *offers*, each with its message, and *wants*. Names
//! no line and no waker; whoever brings about a meeting tells the other side through the line it stands in.
//! Called by the ends of the channel alone.
//!
//! # The protocol
//! The lock of [`State`] decides, the line of that side wakes. Both sides do the same:
//! 1. Come: under the lock, meet the first of the other side that still can, or leave an offer or a want, with
//!    a ticket. Whoever is met is told by its ticket, through its line, after the lock.
//! 2. Wait in line. Each look that the line asks for costs one load, as long as [`Meet::turns`] has not moved
//!    since the last one; if it has, the lock says what became of the ticket.
//! 3. Leave: under the lock, take back the offer or the want. It may be too late for that; then the meeting
//!    has taken place.
//!
//! *No wake-up is lost*: a meeting moves `turns` under the lock, and its maker then asks the line, by the
//! handshake argued in `wait_queue`, whether anybody stands there; a waiter stands in line before it loads
//! `turns` for the last time. *No message is lost*: one that was handed to a receive which leaves without
//! looking goes to the next want, and if there is none, to the next that comes.
//!
//! An operation of a select has a [`Party`]: it can be met only if its select has decided nothing yet.
#![forbid(unsafe_code)]

use std::collections::VecDeque;
use std::mem;

use super::decision::{self, Decision, Pair, Party};
use crate::ring::Look;
use crate::shim::Ordering::{Acquire, Release};
use crate::shim::task::AtomicUsize;
use crate::shim::{Arc, Mutex, MutexGuard};

/// See the head of this file.
#[derive(Debug)]
pub struct Meet<T> {
    state: Mutex<State<T>>,
    /// Moves with each meeting and with the end.
    turns: AtomicUsize,
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
}

#[derive(Debug)]
struct Entry {
    ticket: usize,
    party: Option<(Arc<Decision>, usize)>,
}

impl Entry {
    fn party(&self) -> Option<Party<'_>> {
        self.party.as_ref().map(|(decision, number)| Party { decision, number: *number })
    }
}

/// What came of the first step of a send or a receive.
#[derive(Debug)]
#[must_use]
pub(super) enum Step<R> {
    /// Done. Who has this ticket must be told, if any.
    Met(R, Option<usize>),
    /// It stays, with this ticket; `turns` is at so much.
    Waits(usize, usize),
    /// Nobody is here, and it does not want to stay; or its select has done something else.
    Nobody,
    Closed,
}

/// What became of a ticket, if anything.
pub(super) type Answer<R> = Option<Result<R, super::shared::IsClosed>>;

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
        };
        Meet { state: Mutex::new(state), turns: AtomicUsize::new(0) }
    }

    /// Moves `turns`. Under the lock, so no two do it at once.
    fn turn(&self, _: &mut MutexGuard<'_, State<T>>) {
        // Ordering: Acquire and Release: who sees that it has moved takes the lock for the rest; and for who
        // has not seen it, see the handshake in `wait_queue`.
        self.turns.store(self.turns.load(Acquire).wrapping_add(1), Release);
    }

    /// Whether `turns` has moved from `seen`, which it then is.
    fn has_moved(&self, seen: &mut usize) -> bool {
        // Ordering: Acquire, see `turn`.
        let now = self.turns.load(Acquire);
        mem::replace(seen, now) != now
    }

    /// Comes with a message, which is taken out of `message` if it is handed over or if it `stays`.
    pub(super) fn offer(&self, message: &mut Option<T>, mine: Option<Party<'_>>, stays: bool) -> Step<()> {
        let mut state = self.state.lock();
        if state.closed {
            return Step::Closed;
        }
        match state.first_want(mine) {
            Ok(Some(ticket)) => {
                if let Some(message) = message.take() {
                    state.handed.push_back((ticket, message));
                    state.sent = state.sent.wrapping_add(1);
                }
                self.turn(&mut state);
                Step::Met((), Some(ticket))
            }
            Ok(None) if stays => {
                let entry = state.entry(mine);
                let ticket = entry.ticket;
                state.offers.extend(message.take().map(|message| (entry, message)));
                Step::Waits(ticket, self.turns.load(Acquire))
            }
            _ => Step::Nobody,
        }
    }

    /// Comes for a message.
    pub(super) fn ask(&self, mine: Option<Party<'_>>, stays: bool) -> Step<T> {
        let mut state = self.state.lock();
        match state.first_message(mine) {
            Ok(Some((message, from))) => {
                if from.is_some() {
                    state.sent = state.sent.wrapping_add(1);
                    self.turn(&mut state);
                }
                state.received = state.received.wrapping_add(1);
                Step::Met(message, from)
            }
            Ok(None) if state.closed => Step::Closed,
            Ok(None) if stays => {
                let entry = state.entry(mine);
                let ticket = entry.ticket;
                state.wants.push_back(entry);
                Step::Waits(ticket, self.turns.load(Acquire))
            }
            _ => Step::Nobody,
        }
    }

    /// What became of an offer; its message comes back into `message` when the channel was closed.
    pub(super) fn offered(&self, ticket: usize, seen: &mut usize, message: &mut Option<T>) -> Answer<()> {
        if !self.has_moved(seen) {
            return None;
        }
        let mut state = self.state.lock();
        match state.offer_at(ticket) {
            None => Some(Ok(())),
            Some(index) if state.closed => {
                *message = state.offers.remove(index).map(|(_, message)| message);
                Some(Err(super::shared::IsClosed))
            }
            Some(_) => None,
        }
    }

    /// What became of a want.
    pub(super) fn wanted(&self, ticket: usize, seen: &mut usize) -> Answer<T> {
        if !self.has_moved(seen) {
            return None;
        }
        let mut state = self.state.lock();
        if let Some(message) = state.take_handed(ticket) {
            return Some(Ok(message));
        }
        if !state.closed {
            return None;
        }
        state.remove_want(ticket);
        Some(Err(super::shared::IsClosed))
    }

    /// Takes an offer back, into `message`. False: it is too late, the message was taken.
    #[must_use]
    pub(super) fn withdraw_offer(&self, ticket: usize, message: &mut Option<T>) -> bool {
        let mut state = self.state.lock();
        let Some(index) = state.offer_at(ticket) else { return false };
        *message = state.offers.remove(index).map(|(_, message)| message);
        true
    }

    /// Takes a want back. Some: it is too late, here is the message.
    #[must_use]
    pub(super) fn withdraw_want(&self, ticket: usize) -> Option<T> {
        let mut state = self.state.lock();
        state.remove_want(ticket);
        state.take_handed(ticket)
    }

    /// Hands a message on that was taken and will not be looked at. Who has this ticket must be told, if any.
    #[must_use]
    pub(super) fn hand_on(&self, message: T) -> Option<usize> {
        let mut state = self.state.lock();
        state.received = state.received.wrapping_sub(1);
        let Ok(Some(ticket)) = state.first_want(None) else {
            state.strays.push_front(message);
            return None;
        };
        state.handed.push_back((ticket, message));
        self.turn(&mut state);
        Some(ticket)
    }

    /// False: that was so already.
    pub(super) fn close(&self) -> bool {
        let mut state = self.state.lock();
        self.turn(&mut state);
        !mem::replace(&mut state.closed, true)
    }

    pub(super) fn is_closed(&self) -> bool {
        self.state.lock().closed
    }

    /// Drops what nobody has come for.
    pub(super) fn drain(&self) {
        let strays = mem::take(&mut self.state.lock().strays);
        drop(strays);
    }

    /// How many senders wait, and how many receivers.
    pub(super) fn waiting(&self) -> (usize, usize) {
        let state = self.state.lock();
        (state.offers.len(), state.wants.len())
    }

    pub(super) fn look(&self) -> Look {
        let state = self.state.lock();
        Look {
            len: state.strays.len() + state.handed.len(),
            reserved: 0,
            closed: state.closed,
            pushed: state.sent,
            popped: state.received,
        }
    }
}

impl<T> State<T> {
    fn entry(&mut self, mine: Option<Party<'_>>) -> Entry {
        self.tickets += 1;
        Entry { ticket: self.tickets, party: mine.map(|party| (party.decision.clone(), party.number)) }
    }

    /// Meets the first receiver that still can, and takes it out. `Err`: our own select has done something
    /// else.
    fn first_want(&mut self, mine: Option<Party<'_>>) -> Result<Option<usize>, ()> {
        for index in 0..self.wants.len() {
            match decision::pair(mine, self.wants[index].party()) {
                Pair::Matched => return Ok(self.wants.remove(index).map(|entry| entry.ticket)),
                Pair::Taken => return Err(()),
                Pair::Gone => {}
            }
        }
        Ok(None)
    }

    /// The message that comes first, and whose it was, unless it has strayed.
    #[allow(clippy::type_complexity)]
    fn first_message(&mut self, mine: Option<Party<'_>>) -> Result<Option<(T, Option<usize>)>, ()> {
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
                    let met = self.offers.remove(index);
                    return Ok(met.map(|(entry, message)| (message, Some(entry.ticket))));
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

    fn remove_want(&mut self, ticket: usize) {
        if let Ok(index) = self.wants.binary_search_by_key(&ticket, |entry| entry.ticket) {
            self.wants.remove(index);
        }
    }

    fn take_handed(&mut self, ticket: usize) -> Option<T> {
        let index = self.handed.iter().position(|(owner, _)| *owner == ticket)?;
        self.received = self.received.wrapping_add(1);
        self.handed.remove(index).map(|(_, message)| message)
    }
}
