//! Layer 1, driver. The timers of one worker: a wheel with wakers on it, and a lock round it.
//!
//! Owns the moment of firing. A shard belongs to one worker, which fires it, and sleeps no longer than to its
//! first deadline; but any thread may insert and cancel (a sleep moves about with its task), and any worker
//! may fire the shard of one that is stuck. So there is a lock, on a cache line of its own. Under it no user
//! code runs: a waker is cloned before, woken and dropped after. Called by `time` on any thread and by
//! `scheduler` on workers.
//!
//! # No insert is lost to a parking owner
//! The race is that of tokio's #6683 and #3190: the owner looks for the first deadline and goes to sleep
//! until then, while another thread inserts an earlier one. Here both sides meet under the lock.
//! `prepare_park` reads the wheel and publishes `parked_until` in one critical section; `insert` changes the
//! wheel and reads `parked_until` in one. One of the two sections is first. If the insert is, `prepare_park`
//! returns its deadline or an earlier one. If the park is, the insert sees what was published, and unparks the
//! owner that would sleep too long, after the lock; the owner's parker must remember a wake-up that comes before
//! the sleep. Such an insert lowers `parked_until` to its own deadline, for the owner is as good as awake; only an
//! earlier one need wake it again.
//!
//! `unparked` stores without the lock. At worst an insert reads the old value, and wakes an owner that is
//! awake, or writes over the zero, with the same effect until the next `prepare_park`.
#![forbid(unsafe_code)]

use std::task::Waker;

use crate::driver::clock::{Clock, FAR, NEVER};
use crate::driver::wheel::Wheel;
use crate::shim::Ordering::Relaxed;
use crate::shim::owner::AtomicU64;
use crate::shim::{Arc, Mutex, MutexGuard};

/// How many timers are fired under one hold of the lock.
pub(crate) const BATCH: usize = 128;

/// A timer of one shard. Whoever has it owns the timer's place, and gives it back with
/// [`TimerShard::cancel`].
///
/// It is not `Copy`, so that no place is given back twice.
#[derive(Debug)]
#[must_use]
pub(crate) struct TimerKey(u32);

/// Ends the sleep of a shard's owner, who would sleep past this deadline.
pub(crate) type UnparkOwner = Box<dyn Fn(u64) + Send + Sync>;

/// The timers of one worker.
// Two lines of 64 bytes: adjacent ones are fetched in pairs.
#[repr(align(128))]
pub(crate) struct TimerShard {
    wheel: Mutex<Wheel<Waker>>,
    /// At most the first deadline; written under the lock only.
    earliest: AtomicU64,
    /// To when the owner sleeps at most; `0` while it is awake.
    parked_until: AtomicU64,
    clock: Clock,
    unpark_owner: UnparkOwner,
}

/// No timer is due before this tick; [`NEVER`] if all that are left never fire.
fn first(wheel: &Wheel<Waker>) -> u64 {
    wheel.next_wake().filter(|tick| *tick < FAR).unwrap_or(NEVER)
}

impl TimerShard {
    pub(crate) fn new(clock: Clock, unpark_owner: UnparkOwner) -> Arc<TimerShard> {
        Arc::new(TimerShard {
            wheel: Mutex::new(Wheel::new()),
            earliest: AtomicU64::new(NEVER),
            parked_until: AtomicU64::new(0),
            clock,
            unpark_owner,
        })
    }

    #[inline]
    pub(crate) fn clock(&self) -> &Clock {
        &self.clock
    }

    /// Adds a timer.
    pub(crate) fn insert(&self, deadline: u64, waker: Waker) -> TimerKey {
        let mut wheel = self.wheel.lock();
        let index = wheel.insert(deadline, waker);
        self.announce(wheel, deadline);
        TimerKey(index)
    }

    /// Has the timer wake `waker` from now on. False: it has fired already, and wakes nobody.
    pub(crate) fn update_waker(&self, key: &TimerKey, waker: &Waker) -> bool {
        match self.wheel.lock().get_mut(key.0) {
            None => return false,
            Some(known) if known.will_wake(waker) => return true,
            Some(_) => {}
        }
        let new = waker.clone();
        let mut wheel = self.wheel.lock();
        // What is left over, the old one or the new one, is dropped after the lock.
        let (armed, left_over) = match wheel.get_mut(key.0) {
            Some(known) => (true, std::mem::replace(known, new)),
            None => (false, new),
        };
        drop(wheel);
        drop(left_over);
        armed
    }

    /// Gives up the timer. True: it had yet to fire, and now never will.
    pub(crate) fn cancel(&self, key: TimerKey) -> bool {
        // The lock is let go at the end of this line, before the waker is dropped.
        let waker = self.wheel.lock().release(key.0);
        waker.is_some()
    }

    /// Moves the timer to another deadline. It keeps its waker. False: it has fired, and wakes nobody any more.
    pub(crate) fn reset(&self, key: &TimerKey, deadline: u64) -> bool {
        let mut wheel = self.wheel.lock();
        let armed = wheel.reset(key.0, deadline);
        if armed {
            self.announce(wheel, deadline);
        }
        armed
    }

    /// Called by the owner just before it parks: publishes, under the lock, the deadline it will sleep to,
    /// and returns it ([`NEVER`]: none). It may be early, where a timer was cancelled; `fire` puts that
    /// right.
    #[must_use]
    pub(crate) fn prepare_park(&self) -> u64 {
        let wheel = self.wheel.lock();
        let next = first(&wheel);
        // Ordering: Relaxed, both; whom they concern reads them under the lock, or can do with an old value.
        self.earliest.store(next, Relaxed);
        self.parked_until.store(next, Relaxed);
        next
    }

    /// Called by the owner when it wakes: from here on an insert need not wake it.
    pub(crate) fn unparked(&self) {
        // Ordering: Relaxed. An insert that reads the old value wakes the owner for nothing.
        self.parked_until.store(0, Relaxed);
    }

    /// A lower bound of the first deadline ([`NEVER`]: none), without the lock: for a busy worker, to see
    /// whether `fire` is worth a call.
    #[inline]
    pub(crate) fn earliest(&self) -> u64 {
        // Ordering: Relaxed. It is late by no more than a store takes to reach this core; `fire` looks under
        // the lock.
        self.earliest.load(Relaxed)
    }

    /// Takes the wakers of at most [`BATCH`] timers that are due at `now`, in the order of their deadlines,
    /// ties in the order of insertion, and appends them to `out` for the caller to wake. Returns how many.
    /// More may be due as long as `earliest` says so. At the end of a runtime, calls with [`NEVER`] until it
    /// returns zero take all wakers; a sleep that is polled after that, before its deadline, arms a timer
    /// where it then is.
    pub(crate) fn fire(&self, now: u64, out: &mut Vec<Waker>) -> usize {
        out.reserve(BATCH);
        let mut wheel = self.wheel.lock();
        let fired = wheel.expire(now, BATCH, out);
        // Ordering: Relaxed, as in `prepare_park`.
        self.earliest.store(first(&wheel), Relaxed);
        fired
    }

    /// Whether all timers have fired.
    pub(crate) fn is_empty(&self) -> bool {
        self.wheel.lock().next_wake().is_none()
    }

    /// Makes a new deadline known, and lets the lock go.
    fn announce(&self, wheel: MutexGuard<'_, Wheel<Waker>>, deadline: u64) {
        if deadline >= FAR {
            return;
        }
        // Ordering: Relaxed, all four. Writers hold the lock, but for `unparked` (see the head of this file).
        if deadline < self.earliest.load(Relaxed) {
            self.earliest.store(deadline, Relaxed);
        }
        if deadline < self.parked_until.load(Relaxed) {
            self.parked_until.store(deadline, Relaxed);
            drop(wheel);
            (self.unpark_owner)(deadline);
        }
    }
}

#[cfg(test)]
mod tests;
