//! Layer 2, scheduler. The bounded ring of one worker: it pushes and pops, others steal half.
//!
//! Owns slots of raw pointers and two counters. After Go's run queue (`runqput`, `runqget`, `runqgrab`), with
//! counters of 64 bits: they never wrap, so an exchange of `head` that succeeds proves that nobody moved it
//! in between. Generic over what is queued; names no task. The owner's end, [`LocalQueue`], is in the
//! worker's core; [`Stealer`]s are shared.
//!
//! `tail` is written by the owner only. `head` is moved by an exchange, by the owner for one item and by a
//! thief for many; a thief copies the items *before* its exchange. The copies are plain pointers: if the
//! exchange fails they are forgotten, and if it succeeds they are right, because the owner overwrites a slot
//! only after it has seen `head` move past it.

use std::fmt;
use std::marker::PhantomData;
use std::ptr;

use crate::shim::Arc;
use crate::shim::Ordering::{AcqRel, Acquire, Relaxed, Release};
use crate::shim::owner::{AtomicPtr, AtomicU64};
use crate::util::pad::Padded;

#[cfg(not(filch_loom))]
pub(super) const CAPACITY: usize = 256;
/// Small under a model, so that a full ring is among what it explores.
#[cfg(filch_loom)]
pub(super) const CAPACITY: usize = 4;

/// What can be queued: something that is one pointer.
///
/// # Safety
/// `from_raw(into_raw(x))` is `x`, also on another thread.
pub(crate) unsafe trait Item: Send {
    fn into_raw(self) -> *mut ();
    /// # Safety
    /// `raw` came from `into_raw`, and is turned back once.
    unsafe fn from_raw(raw: *mut ()) -> Self;
}

struct Ring<T> {
    head: Padded<AtomicU64>,
    tail: Padded<AtomicU64>,
    slots: Box<[AtomicPtr<()>]>,
    /// Items are `Send`, and are handed from thread to thread; none is ever shared.
    _items: PhantomData<fn(T) -> T>,
}

impl<T> Ring<T> {
    fn slot(&self, index: u64) -> &AtomicPtr<()> {
        &self.slots[index as usize % CAPACITY]
    }
}

/// The owner's end.
pub(crate) struct LocalQueue<T: Item> {
    ring: Arc<Ring<T>>,
    /// The owner's copy of `ring.tail`.
    tail: u64,
}

/// Any other thread's end.
pub(crate) struct Stealer<T: Item>(Arc<Ring<T>>);

pub(crate) fn new<T: Item>() -> (LocalQueue<T>, Stealer<T>) {
    let slots = (0..CAPACITY).map(|_| AtomicPtr::new(ptr::null_mut())).collect();
    let ring =
        Ring { head: Padded(AtomicU64::new(0)), tail: Padded(AtomicU64::new(0)), slots, _items: PhantomData };
    let ring = Arc::new(ring);
    (LocalQueue { ring: ring.clone(), tail: 0 }, Stealer(ring))
}

impl<T: Item> LocalQueue<T> {
    #[inline]
    pub(crate) fn len(&self) -> usize {
        // Ordering: Relaxed: a guess when thieves are at work; they only make it smaller.
        (self.tail - self.ring.head.load(Relaxed)) as usize
    }

    #[inline]
    pub(crate) fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Appends one item, or gives it back when the ring is full.
    #[inline]
    pub(crate) fn push(&mut self, item: T) -> Result<(), T> {
        // Ordering: Acquire pairs with the Release of a thief's exchange: its copies of the slots that `head`
        // has passed were made before we overwrite them.
        let head = self.ring.head.load(Acquire);
        if (self.tail - head) as usize == CAPACITY {
            return Err(item);
        }
        // Ordering: Relaxed: published by the store of `tail`.
        self.ring.slot(self.tail).store(item.into_raw(), Relaxed);
        self.publish(self.tail + 1);
        Ok(())
    }

    #[inline]
    fn publish(&mut self, tail: u64) {
        self.tail = tail;
        // Ordering: Release pairs with the Acquire in `Stealer::grab`: a thief that sees this tail sees the
        // slots below it.
        self.ring.tail.store(tail, Release);
    }

    /// Takes the oldest item.
    #[inline]
    pub(crate) fn pop(&mut self) -> Option<T> {
        let mut head = self.ring.head.load(Relaxed);
        loop {
            if head == self.tail {
                return None;
            }
            let raw = self.ring.slot(head).load(Relaxed);
            // Ordering: Relaxed: the owner wrote the slot itself, and overwrites it itself. On failure a
            // thief was faster.
            match self.ring.head.compare_exchange_weak(head, head + 1, Relaxed, Relaxed) {
                // SAFETY: the exchange gave us, and nobody else, the item at `head`; see the top of the file.
                Ok(_) => return Some(unsafe { T::from_raw(raw) }),
                Err(now) => head = now,
            }
        }
    }

    /// Takes the older half of the items out of a full ring, oldest first, to make room.
    #[cold]
    pub(crate) fn split(&mut self) -> Vec<T> {
        let mut raw = Vec::with_capacity(CAPACITY / 2 + 1);
        let mut head = self.ring.head.load(Relaxed);
        loop {
            raw.clear();
            let half = (self.tail - head).min((CAPACITY / 2) as u64);
            raw.extend((head..head + half).map(|index| self.ring.slot(index).load(Relaxed)));
            // Ordering: Relaxed, as in `pop`, of which this is many at once.
            match self.ring.head.compare_exchange(head, head + half, Relaxed, Relaxed) {
                Ok(_) => break,
                Err(now) => head = now,
            }
        }
        // SAFETY: the exchange gave us, and nobody else, these items; see the top of the file.
        raw.into_iter().map(|raw| unsafe { T::from_raw(raw) }).collect()
    }
}

impl<T: Item> Stealer<T> {
    /// How many items there are; a guess while the owner is at work.
    pub(crate) fn len(&self) -> usize {
        // Ordering: Acquire on `head` first, so that `tail` is not older than it; both are only a guess. The
        // callers that must not miss an item (a worker about to park) have a fence before this.
        let head = self.0.head.load(Acquire);
        self.0.tail.load(Acquire).saturating_sub(head) as usize
    }

    /// Moves the older half of the items into `to`, which must be empty, and takes one of them out.
    pub(crate) fn steal_into(&self, to: &mut LocalQueue<T>) -> Option<T> {
        debug_assert!(to.is_empty());
        let taken = self.grab(to)?;
        let last = to.tail + taken - 1;
        let raw = to.ring.slot(last).load(Relaxed);
        if taken > 1 {
            to.publish(last);
        }
        // SAFETY: `grab` gave us all items up to `last`, and this one was not published to other thieves.
        Some(unsafe { T::from_raw(raw) })
    }

    /// Copies half of the items behind the tail of `to`, without publishing them. Returns how many are ours.
    fn grab(&self, to: &mut LocalQueue<T>) -> Option<u64> {
        let victim = &*self.0;
        // Ordering: Acquire, as in `push`: whoever took the last items out of `to` made its copies before we
        // overwrite the slots. That `to` is empty was seen by a relaxed load.
        let emptied = to.ring.head.load(Acquire);
        debug_assert_eq!(emptied, to.tail);
        loop {
            // Ordering: Acquire pairs with the Release of another thief's exchange (its moved items may be
            // overwritten), and keeps the load of `tail` behind it.
            let head = victim.head.load(Acquire);
            // Ordering: Acquire pairs with the Release in `publish`: the slots below this tail are written.
            let tail = victim.tail.load(Acquire);
            let len = tail.saturating_sub(head);
            let wanted = len - len / 2;
            if wanted == 0 {
                return None;
            }
            if wanted > (CAPACITY / 2) as u64 {
                // Head and tail are not of one moment: look again.
                continue;
            }
            for i in 0..wanted {
                let raw = victim.slot(head + i).load(Relaxed);
                to.ring.slot(to.tail + i).store(raw, Relaxed);
            }
            // Ordering: Release pairs with the Acquire in `push`: our copies were made before the owner
            // overwrites the slots. Acquire: nothing of what follows moves before we own the items.
            if victim.head.compare_exchange(head, head + wanted, AcqRel, Relaxed).is_ok() {
                return Some(wanted);
            }
        }
    }
}

impl<T: Item> Clone for Stealer<T> {
    fn clone(&self) -> Self {
        Stealer(self.0.clone())
    }
}

impl<T: Item> Drop for LocalQueue<T> {
    fn drop(&mut self) {
        while let Some(item) = self.pop() {
            drop(item);
        }
    }
}

impl<T: Item> fmt::Debug for LocalQueue<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LocalQueue").field("len", &self.len()).finish()
    }
}

impl<T: Item> fmt::Debug for Stealer<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Stealer").field("len", &self.len()).finish()
    }
}
