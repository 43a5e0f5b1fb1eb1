//! Layer 1, public through the probe. Who holds what a task waits for, so that a report can say so.
//!
//! Owns one [`Note`] for each lock that somebody has ever waited for, and the table by which a report finds
//! it from the resource that a task's header names. A lock that nobody waits for has no note, and pays
//! nothing for this. Called by the locks, and by whoever writes reports.
#![forbid(unsafe_code)]

use std::collections::BTreeMap;
use std::panic::Location;
use std::sync::Weak;

use crate::probe::Place;
use crate::shim::Ordering::Relaxed;
use crate::shim::report::{Arc, AtomicU64, Mutex};

/// From the address of a note to the note, which takes itself out when it goes. No other lock is taken, and
/// nothing foreign is run, while this one is held.
static NOTES: Mutex<BTreeMap<usize, Weak<Note>>> = Mutex::new(BTreeMap::new());

fn notes<R>(f: impl FnOnce(&mut BTreeMap<usize, Weak<Note>>) -> R) -> R {
    f(&mut NOTES.lock().unwrap_or_else(|poisoned| poisoned.into_inner()))
}

/// Who holds something, as a report sees it: it may be a moment old.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub struct Holder {
    /// The id of the task that took it. `None`: a thread outside of tasks, or a task of a runtime without the
    /// probe.
    pub task: Option<u64>,
    /// Where it was taken.
    pub location: Option<&'static Location<'static>>,
}

impl Holder {
    pub(crate) fn new(task: u64, location: Option<&'static Location<'static>>) -> Holder {
        Holder { task: (task != 0).then_some(task), location }
    }
}

/// Who holds the resource that a task waits for, as [`Header::wait`](crate::probe::Header::wait) names it.
///
/// `None`: nobody, or it is not of a kind that says who holds it.
pub fn holder_of(resource: usize) -> Option<Holder> {
    // The last count may be ours by now: it must be dropped after the table was unlocked.
    let note = notes(|notes| notes.get(&resource).and_then(Weak::upgrade))?;
    let task = note.task.load(Relaxed);
    (task != FREE).then(|| Holder::new(task, note.place.get()))
}

/// In a note: nobody holds it.
const FREE: u64 = u64::MAX;

/// Who holds one lock.
pub(crate) struct Note {
    task: AtomicU64,
    place: Place,
}

impl Note {
    /// Makes a note and puts it into the table.
    pub(crate) fn new() -> Arc<Note> {
        let note = Arc::new(Note { task: AtomicU64::new(FREE), place: Place::new() });
        notes(|notes| notes.insert(note.resource(), Arc::downgrade(&note)));
        note
    }

    /// What stands for the lock in the header of a task that waits for it.
    pub(crate) fn resource(&self) -> usize {
        std::ptr::from_ref(self).addr()
    }

    /// `task` is `0` when it is not known; `None`: nobody has the lock.
    pub(crate) fn set(&self, task: Option<u64>, location: Option<&'static Location<'static>>) {
        // Ordering: Relaxed: a report.
        self.place.set(location);
        self.task.store(task.unwrap_or(FREE), Relaxed);
    }
}

impl Drop for Note {
    fn drop(&mut self) {
        // No other note can have the address yet: the table's weak count keeps the memory.
        let weak = notes(|notes| notes.remove(&self.resource()));
        drop(weak);
    }
}

#[cfg(all(test, not(filch_loom)))]
mod tests {
    use super::*;

    #[test]
    fn a_note_is_found_for_as_long_as_it_lives() {
        let note = Note::new();
        let (resource, here) = (note.resource(), Location::caller());
        assert_eq!(holder_of(resource), None);
        note.set(Some(7), Some(here));
        assert_eq!(holder_of(resource), Some(Holder { task: Some(7), location: Some(here) }));
        note.set(Some(0), None);
        assert_eq!(holder_of(resource), Some(Holder { task: None, location: None }));
        note.set(None, None);
        assert_eq!(holder_of(resource), None);
        note.set(Some(1), None);
        drop(note);
        assert_eq!(holder_of(resource), None);
        assert_eq!(holder_of(0), None);
    }
}
