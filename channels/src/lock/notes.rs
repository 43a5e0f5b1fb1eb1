//! Layer 2, lock. What a lock writes down for reports: who took it, where, and how busy it is.
//!
//! Owns plain counters, written by whoever has the lock, and the [`Note`] by which a report finds the holder
//! of a lock that a task waits for. Nothing here takes part in the protocol of the lock. Called by `raw`, and by
//! `rlock`, which does not count.
#![forbid(unsafe_code)]

use std::panic::Location;

use crate::holder::Note;
use crate::probe::Place;
use crate::shim::OnceLock;
use crate::shim::Ordering::Relaxed;
use crate::shim::report::{Arc, AtomicU64, AtomicUsize};

/// How busy a [`Lock`](crate::sync::Lock) was so far: see [`Lock::stats`](crate::sync::Lock::stats).
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
#[non_exhaustive]
pub struct LockStats {
    /// How often it was taken.
    pub taken: u64,
    /// How often whoever took it had to wait for it before.
    pub waited: u64,
    /// How many wait now.
    pub waiting: usize,
    /// The most that have waited at the same time.
    pub waiting_max: usize,
}

/// See the head of this file.
pub(crate) struct Notes {
    place: Place,
    taken: AtomicU64,
    waited: AtomicU64,
    waiting_max: AtomicUsize,
    /// Made by the first task that waits.
    note: OnceLock<Arc<Note>>,
}

impl Notes {
    pub(crate) const fn new() -> Notes {
        Notes {
            place: Place::new(),
            taken: AtomicU64::new(0),
            waited: AtomicU64::new(0),
            waiting_max: AtomicUsize::new(0),
            note: OnceLock::new(),
        }
    }

    /// The caller has just taken the lock.
    #[inline]
    pub(crate) fn took(&self, location: &'static Location<'static>) {
        self.place.set(Some(location));
        add_one(&self.taken);
    }

    /// The caller has just taken the lock, and had waited for it.
    pub(super) fn had_waited(&self) {
        add_one(&self.waited);
    }

    /// The caller is about to wait, with so many others.
    pub(super) fn waits(&self, waiting: usize) {
        // Ordering: Relaxed: a report.
        self.waiting_max.fetch_max(waiting, Relaxed);
    }

    /// Where the lock was last taken.
    pub(crate) fn place(&self) -> Option<&'static Location<'static>> {
        self.place.get()
    }

    /// The caller has taken the lock while others waited, and tells them.
    pub(crate) fn tell(&self, task: u64, location: &'static Location<'static>) {
        if let Some(note) = self.note.get() {
            note.set(Some(task), Some(location));
        }
    }

    /// The caller is about to wait: finds out who has the lock, and returns what stands for it in a header.
    ///
    /// `holder` is asked until it says the same twice, so that who wrote last wrote what is so.
    pub(crate) fn find_out(&self, holder: impl Fn() -> Option<u64>) -> usize {
        let note = self.note.get_or_init(Note::new);
        let mut seen = holder();
        loop {
            note.set(seen, self.place());
            let now = holder();
            if now == seen {
                return note.resource();
            }
            seen = now;
        }
    }

    pub(super) fn stats(&self, waiting: usize) -> LockStats {
        // Ordering: Relaxed: a report.
        LockStats {
            taken: self.taken.load(Relaxed),
            waited: self.waited.load(Relaxed),
            waiting,
            waiting_max: self.waiting_max.load(Relaxed),
        }
    }
}

/// Not a read-modify-write: only the holder of the lock counts.
#[inline]
fn add_one(count: &AtomicU64) {
    // Ordering: Relaxed: the lock orders one holder after another; others want a report.
    count.store(count.load(Relaxed).wrapping_add(1), Relaxed);
}
