//! Layer 1, wait queue. Whom an entry stands for: a task or a thread, and what wakes it.
//!
//! Owns the waker, or what is left of one that was called: whether another would wake the same task. Wakers are
//! cloned here, so a [`Party`] is made before the lock is taken, and dropped after it. Called by `waiter` and
//! `list`.
#![forbid(unsafe_code)]

use std::task::Waker;

use crate::probe::TaskRef;
use crate::shim::Parker;
use crate::wake_batch::Wake;

/// Whom an entry stands for.
#[derive(Debug)]
pub(super) struct Party {
    /// The task's id, `0` when not known.
    pub(super) id: u64,
    /// Only for entries that want units: those whose invitation passes on at the end of a poll.
    pub(super) task: Option<TaskRef>,
    pub(super) signal: Signal,
}

#[derive(Debug)]
pub(super) enum Signal {
    Armed(Wake),
    /// The waker is gone; these two words say whether another one wakes the same task.
    Sent(Option<Identity>),
}

/// The two words that `Waker::will_wake` compares.
pub(super) type Identity = (*const (), *const std::task::RawWakerVTable);

/// Who is asking: what a [`Party`] is made of.
#[derive(Clone, Copy, Debug)]
pub(super) struct Caller<'a> {
    pub(super) id: u64,
    pub(super) who: Who<'a>,
}

/// What a [`Caller`] can be woken by.
#[derive(Clone, Copy, Debug)]
pub(super) enum Who<'a> {
    Task(&'a Waker),
    Thread(&'a Parker),
    /// It does not wait.
    Nobody,
}

impl Party {
    /// Who waits to be told something. Clones the waker: not to be called under a lock.
    #[inline]
    pub(super) fn of_task(id: u64, waker: &Waker) -> Party {
        Party { id, task: None, signal: Signal::Armed(Wake::Task(waker.clone())) }
    }
}

impl Caller<'_> {
    /// Clones the waker: not to be called under a lock.
    pub(super) fn party(&self, settles: bool) -> Party {
        let signal = match self.who {
            Who::Task(waker) => Signal::Armed(Wake::Task(waker.clone())),
            Who::Thread(parker) => Signal::Armed(Wake::Thread(parker.clone())),
            Who::Nobody => Signal::Sent(None),
        };
        // A thread that parks inside a poll does not end it, so there is nothing to settle for it.
        let task = if settles && matches!(self.who, Who::Task(_)) { TaskRef::current() } else { None };
        Party { id: self.id, task, signal }
    }

    pub(super) fn is_same_task(&self, party: &Party) -> bool {
        if self.id != 0 || party.id != 0 {
            return self.id == party.id;
        }
        match (&party.signal, self.who) {
            (Signal::Armed(Wake::Task(theirs)), Who::Task(mine)) => theirs.will_wake(mine),
            (Signal::Sent(Some(theirs)), Who::Task(mine)) => *theirs == identity(mine),
            _ => false,
        }
    }

    pub(super) fn is_armed_in(&self, party: &Party) -> bool {
        match (&party.signal, self.who) {
            (Signal::Armed(Wake::Task(theirs)), Who::Task(mine)) => {
                party.id == self.id && theirs.will_wake(mine)
            }
            (Signal::Armed(Wake::Thread(_)), Who::Thread(_)) => true,
            _ => false,
        }
    }
}

pub(super) fn identity(waker: &Waker) -> Identity {
    (waker.data(), waker.vtable())
}
