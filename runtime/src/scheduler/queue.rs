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

use std::marker::PhantomData;
use std::mem::{self, ManuallyDrop};
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
/// It has the size of a pointer, and its bytes are it, on any thread.
pub(crate) unsafe trait Item: Send {}

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

    /// Copies the older half of the items to `put`, each with its number from zero, and takes them out. Returns
    /// how many are the caller's; of more than that, copies were made in vain.
    fn take_half(&self, mut put: impl FnMut(u64, *mut ())) -> u64 {
        loop {
            // Ordering: Acquire pairs with the Release of another thief's exchange (its moved items may be
            // overwritten), and keeps the load of `tail` behind it.
            let head = self.head.load(Acquire);
            // Ordering: Acquire pairs with the Release in `publish`: the slots below this tail are written.
            let len = self.tail.load(Acquire).saturating_sub(head);
            let wanted = len - len / 2;
            if wanted > (CAPACITY / 2) as u64 {
                // Head and tail are not of one moment: look again.
                continue;
            }
            (0..wanted).for_each(|i| put(i, self.slot(head + i).load(Relaxed)));
            // Ordering: Release pairs with the Acquire in `push`: our copies were made before the owner
            // overwrites the slots. Acquire: nothing of what follows moves before we own the items.
            if wanted == 0 || self.head.compare_exchange(head, head + wanted, AcqRel, Relaxed).is_ok() {
                return wanted;
            }
        }
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
        const { assert!(size_of::<T>() == size_of::<*mut ()>()) };
        // SAFETY: an item is one pointer, which owns it from here on.
        let raw = unsafe { mem::transmute_copy(&ManuallyDrop::new(item)) };
        // Ordering: Relaxed: published by the store of `tail`.
        self.ring.slot(self.tail).store(raw, Relaxed);
        self.publish(self.tail + 1);
        Ok(())
    }

    #[inline]
    fn publish(&mut self, tail: u64) {
        self.tail = tail;
        // Ordering: Release pairs with the Acquire in `take_half`: a thief that sees this tail sees the
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
                Ok(_) => return Some(unsafe { mem::transmute_copy(&raw) }),
                Err(now) => head = now,
            }
        }
    }

    /// Takes the older half of the items out of a full ring, oldest first, to make room.
    #[cold]
    pub(crate) fn split(&mut self) -> Vec<T> {
        let mut raw = [ptr::null_mut(); CAPACITY];
        let taken = self.ring.take_half(|i, item| raw[i as usize] = item);
        // SAFETY: `take_half` gave us, and nobody else, these items.
        raw[..taken as usize].iter().map(|raw| unsafe { mem::transmute_copy(raw) }).collect()
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
        // Ordering: Acquire, as in `push`: whoever took the last items out of `to` made its copies before we
        // overwrite the slots. That `to` is empty was seen by a relaxed load.
        let emptied = to.ring.head.load(Acquire);
        debug_assert_eq!(emptied, to.tail);
        // Behind the tail, where nobody looks yet.
        let taken = self.0.take_half(|i, item| to.ring.slot(to.tail + i).store(item, Relaxed));
        let last = to.tail + taken.checked_sub(1)?;
        let raw = to.ring.slot(last).load(Relaxed);
        if taken > 1 {
            to.publish(last);
        }
        // SAFETY: `take_half` gave us all items up to `last`, and this one was not published to other thieves.
        Some(unsafe { mem::transmute_copy(&raw) })
    }
}

#[cfg(test)]
impl<T: Item> Clone for Stealer<T> {
    fn clone(&self) -> Self {
        Stealer(self.0.clone())
    }
}
