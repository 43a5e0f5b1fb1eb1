//! Layer 0, ring. The handle of an end that has one user.
//!
//! Owns the right to take values out of a ring: there is one handle of it, which is not cloned, and whose
//! methods want `&mut self`. That is what spares a pop its claim. Called by `channel`.
#![forbid(unsafe_code)]

use std::iter;

use super::{ONE, Places, Pop, Ring, Sole, drop_all, ready};
use crate::shim::Arc;
use crate::shim::Ordering::{Acquire, Release, SeqCst};

/// A ring of `capacity` places, and its one consumer.
pub(crate) fn mpsc<T>(capacity: usize) -> (Arc<Ring<T, Sole>>, Consumer<T>) {
    let ring = Arc::new(Ring::with_capacity(capacity));
    let consumer = Consumer::of(&ring).expect("a new ring has none");
    (ring, consumer)
}

/// The one consumer of a ring. Dropped, it makes way for another one.
pub(crate) struct Consumer<T> {
    ring: Arc<Ring<T, Sole>>,
}

impl<T> Consumer<T> {
    /// The consumer of this ring, if there is none.
    pub(crate) fn of(ring: &Arc<Ring<T, Sole>>) -> Option<Consumer<T>> {
        // Ordering: Acquire pairs with the Release in `drop`: we see how far the one before us came.
        (!ring.is_consumed.swap(true, Acquire)).then(|| Consumer { ring: ring.clone() })
    }

    /// The values that are there, up to so many `steps`, to be taken out before `head` is moved to the end of
    /// them.
    #[inline(always)]
    fn peek(&mut self, steps: u64, patient: bool) -> Result<Places<'_, T, Sole>, Pop<T>> {
        let ring = &*self.ring;
        // Ordering: as in `Ring::claim`.
        let head = ring.head.word.load(Acquire);
        let mut there = ready(head, ring.head.seen.load(Acquire));
        if there < steps {
            if patient {
                ring.linger_for_values(head);
            }
            there = ready(head, ring.look_for_values(head)?.1);
        }
        Ok(Places { ring, position: head, end: head.wrapping_add(there.min(steps)) })
    }

    /// See [`Ring::pop_at_once`].
    #[inline(always)]
    pub(crate) fn pop_at_once(&mut self) -> Option<T> {
        let ring = &*self.ring;
        // Ordering: as in `Ring::claim`.
        let head = ring.head.word.load(Acquire);
        if ready(head, ring.head.seen.load(Acquire)) == 0 {
            return None;
        }
        let end = head.wrapping_add(ONE);
        let value = Places { ring, position: head, end }.next();
        // Ordering: as in `get`.
        ring.head.word.swap(end, SeqCst);
        value
    }

    /// See [`Ring::pop`].
    #[inline(always)]
    pub(crate) fn pop(&mut self) -> Pop<T> {
        self.get(false)
    }

    /// See [`Ring::get`].
    #[inline(always)]
    pub(crate) fn get(&mut self, patient: bool) -> Pop<T> {
        match self.peek(ONE, patient) {
            Ok(mut places) => match places.next() {
                Some(value) => {
                    // Ordering: SeqCst, for `WaitQueue::release`, which our caller calls next. It publishes
                    // that the value is out.
                    places.ring.head.word.swap(places.end, SeqCst);
                    Pop::Got(value)
                }
                None => unreachable!("there is one place at least"),
            },
            Err(why) => why,
        }
    }

    /// See [`Ring::pop_many`].
    pub(crate) fn pop_many(&mut self, limit: usize, to: &mut Vec<T>) -> Pop<usize> {
        // First, as nothing may go wrong while values are moved.
        to.reserve(limit.min(self.ring.look().len.max(1)));
        let most = limit.min(to.capacity() - to.len());
        match self.peek(most as u64 * ONE, false) {
            Ok(places) => {
                let (ring, end, before) = (places.ring, places.end, to.len());
                to.extend(places);
                // Ordering: as in `get`.
                ring.head.word.swap(end, SeqCst);
                Pop::Got(to.len() - before)
            }
            Err(Pop::Closed) => Pop::Closed,
            Err(_) => Pop::Empty,
        }
    }

    /// See [`Ring::drain`].
    pub(crate) fn drain(&mut self) {
        drop_all(iter::from_fn(|| if let Pop::Got(value) = self.pop() { Some(value) } else { None }));
    }
}

impl<T> Drop for Consumer<T> {
    fn drop(&mut self) {
        // Ordering: Release pairs with the Acquire in `of`.
        self.ring.is_consumed.swap(false, Release);
    }
}
