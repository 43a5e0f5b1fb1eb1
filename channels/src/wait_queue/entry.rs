//! Layer 1, wait queue. One who waits, as the list sees it, and the place where that lies.
//!
//! Owns [`Entry`], its states, and the [`Slot`] in a waiting future or on a blocked thread's stack. Called by
//! `waiter`, which owns slots, and by `list`, which links them.

use std::marker::PhantomPinned;
use std::mem::{self, ManuallyDrop};
use std::pin::Pin;

use super::Place;
use super::list::Link;
use super::party::{Party, Signal, identity};
use crate::shim::Ordering::{Acquire, Relaxed};
use crate::shim::UnsafeCell;
use crate::shim::task::AtomicBool;
use crate::wake_batch::Wake;

/// How often a waiter may find that another was quicker before newcomers have to queue behind it.
#[cfg(not(filch_loom))]
pub(super) const OVERTAKEN_MAX: u8 = 16;
#[cfg(filch_loom)]
pub(super) const OVERTAKEN_MAX: u8 = 2;

/// How far an entry has come.
///
/// | state   | linked? | its waker            | goes on to                                                      |
/// |---------|---------|----------------------|-----------------------------------------------------------------|
/// | Idle    | no      | none                 | Waiting (first poll)                                            |
/// | Waiting | yes     | here                 | Woken, Told, or Idle when it is dropped or barges               |
/// | Woken   | yes     | called               | Idle (claimed, dropped), Waiting (in vain), Absent (did not come)|
/// | Absent  | yes     | called               | Idle, or Waiting when its task comes after all                  |
/// | Told    | no      | called               | Idle (its owner has seen the message)                           |
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum State {
    /// Waits for nothing.
    Idle,
    /// In line. Nobody has called its waker since it was registered.
    Waiting,
    /// In line, and invited to take its units. They lie where everybody can take them, unless the gate is
    /// shut.
    Woken,
    /// In line, and has not made use of an invitation. Its task owes it a poll, so nobody waits for it.
    Absent,
    /// Out of line, for good. `word` is the message. The owner need not take the lock to read it.
    Told,
}

impl State {
    pub(super) fn is_linked(self) -> bool {
        self.is_present() || self == State::Absent
    }

    /// In line, and waited for by those behind it.
    pub(super) fn is_present(self) -> bool {
        matches!(self, State::Waiting | State::Woken)
    }
}

/// One waiter, as the list sees it. Every field is guarded by the lock round the list.
#[derive(Debug)]
pub(super) struct Entry {
    pub(super) prev: Option<Link>,
    pub(super) next: Option<Link>,
    pub(super) state: State,
    /// How often it was overtaken since it came.
    pub(super) overtaken: u8,
    /// Whether it wants units, rather than to be told something.
    pub(super) units: bool,
    pub(super) place: Place,
    /// The number of units it wants, or the caller's own word; once told, the message.
    pub(super) word: usize,
    /// Moves up with each entry that is linked.
    pub(super) ticket: u64,
    /// The phase of its task when it was invited.
    pub(super) phase: u32,
    pub(super) party: Option<Party>,
}

/// The place of an entry in its owner. Pinned there as soon as it is linked.
///
/// | `told` | who may touch the entry                                                          |
/// |--------|----------------------------------------------------------------------------------|
/// | false  | its owner until it is linked; from then on whoever has the lock of the list       |
/// | true   | its owner: who told it something has taken it out of line, and is done with it    |
///
/// So that who was told something learns of it without a lock.
///
/// The entry is made when a wait begins, and not before: most waits never do, and a future that was written
/// to and is moved at once stalls the processor. (Nor is it `MaybeUninit`: the compiler makes a constant of
/// that, and copies its zeros.) It needs no drop, as its party is taken out when the wait ends.
#[derive(Debug)]
pub(super) struct Slot {
    pub(super) entry: UnsafeCell<ManuallyDrop<Option<Entry>>>,
    pub(super) told: AtomicBool,
    _pinned: PhantomPinned,
}

impl Slot {
    #[inline]
    pub(super) fn new() -> Slot {
        Slot {
            entry: UnsafeCell::new(ManuallyDrop::new(None)),
            told: AtomicBool::new(false),
            _pinned: PhantomPinned,
        }
    }

    /// Makes an Idle entry for `party`. Only its owner knows of the slot.
    ///
    /// `word`: of one that waits for a message, and does not want `units`.
    #[inline]
    pub(super) fn begin(self: Pin<&mut Self>, party: Party, units: bool, word: usize) {
        // Ordering: Relaxed: nobody else knows of it; the lock under which it is linked makes it known.
        self.told.store(false, Relaxed);
        let entry = Entry {
            prev: None,
            next: None,
            state: State::Idle,
            overtaken: 0,
            units,
            place: Place::Back,
            word,
            ticket: 0,
            phase: 0,
            party: Some(party),
        };
        self.entry.with_mut(|place| {
            // SAFETY: we have the slot to ourselves: `&mut`, and it is linked nowhere, as its last wait has ended.
            unsafe { *place = ManuallyDrop::new(Some(entry)) };
        });
    }

    /// What the entry was told, if it was. May be asked once for each wait.
    #[inline]
    pub(super) fn take_message(self: Pin<&Self>) -> Option<usize> {
        // Ordering: Acquire pairs with the store in `List::tell`: it was the last to touch the entry.
        if !self.told.load(Acquire) {
            return None;
        }
        // SAFETY: see the table: told, so the entry is out of line, and its owner, who asks, has it alone.
        self.entry.with_mut(|entry| unsafe { (*entry).as_mut() }.map(Entry::take_message))
    }
}

impl Entry {
    /// The waker, which leaves its identity behind.
    #[inline]
    pub(super) fn take_wake(&mut self) -> Option<Wake> {
        let party = self.party.as_mut()?;
        let identity = match &party.signal {
            Signal::Armed(Wake::Task(waker)) => Some(identity(waker)),
            Signal::Armed(Wake::Thread(_)) => None,
            Signal::Sent(_) => return None,
        };
        match mem::replace(&mut party.signal, Signal::Sent(identity)) {
            Signal::Armed(wake) => Some(wake),
            Signal::Sent(_) => None,
        }
    }

    /// For its owner, once it was told. What is left of it needs no drop.
    fn take_message(&mut self) -> usize {
        self.state = State::Idle;
        // A signal that was sent is an address: only the task is counted.
        drop(self.party.as_mut().and_then(|party| party.task.take()));
        self.word
    }

    pub(super) fn is_starved(&self) -> bool {
        self.overtaken >= OVERTAKEN_MAX
    }
}
