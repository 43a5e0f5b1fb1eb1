//! Layer 0, ring. The handles of an end that has one user.
//!
//! Owns the right to use such an end: there is one handle of it, which is not cloned, and whose methods want
//! `&mut self`. That is what spares the end its claims. Called by `channel`.
#![forbid(unsafe_code)]

use std::iter;

use super::{Many, ONE, Places, Pop, Push, RESERVED, Ring, Sole, Users, drop_all, ready};
use crate::shim::Arc;
use crate::shim::Ordering::{Acquire, Release, SeqCst};

/// A ring of `capacity` places with one producer and one consumer.
pub(crate) fn spsc<T>(capacity: usize) -> (Producer<T>, Consumer<T, Sole>) {
    let ring = Arc::new(Ring::with_capacity(capacity));
    let consumer = Consumer::of(&ring).expect("a new ring has none");
    (Producer { ring }, consumer)
}

/// A ring with many producers and one consumer.
pub(crate) type Mpsc<T> = Ring<T, Many, Sole>;

/// A ring of `capacity` places, and its one consumer.
pub(crate) fn mpsc<T>(capacity: usize) -> (Arc<Mpsc<T>>, Consumer<T, Many>) {
    let ring = Arc::new(Ring::with_capacity(capacity));
    let consumer = Consumer::of(&ring).expect("a new ring has none");
    (ring, consumer)
}

/// The one producer of a ring.
pub(crate) struct Producer<T> {
    ring: Arc<Ring<T, Sole, Sole>>,
}

impl<T> Producer<T> {
    pub(crate) fn ring(&self) -> &Arc<Ring<T, Sole, Sole>> {
        &self.ring
    }

    /// See [`Ring::push`].
    #[inline]
    pub(crate) fn push(&mut self, value: &mut Option<T>) -> Push {
        let ring = &*self.ring;
        // Ordering: as in `Ring::claim`, here and below.
        let mut tail = ring.tail.word.load(Acquire);
        loop {
            tail = match ring.room(tail) {
                Ok(tail) => tail,
                Err(why) => return why,
            };
            let Some(moved) = value.take() else { unreachable!("there is a value to push") };
            ring.place(tail).write(moved);
            let next = tail.wrapping_add(ONE);
            match ring.tail.word.compare_exchange(tail, next, SeqCst, Acquire) {
                Ok(_) => return Push::Done,
                Err(now) => {
                    // Nobody else moves it: it was closed, or a place given up.
                    *value =
                        Places { ring, position: super::position(tail), end: super::position(next) }.next();
                    tail = now;
                }
            }
        }
    }

    /// See [`Ring::push_reserved`].
    #[must_use]
    pub(crate) fn push_reserved(&mut self, value: T) -> bool {
        let ring = &*self.ring;
        let tail = ring.tail.word.load(Acquire);
        ring.note(tail.wrapping_add(ONE), ring.head.word.load(Acquire));
        ring.place(tail).write(value);
        ring.tail.word.fetch_add(ONE - RESERVED, SeqCst) & super::CLOSED != 0
    }
}

/// The one consumer of a ring. Dropped, it makes way for another one.
pub(crate) struct Consumer<T, P: Users> {
    ring: Arc<Ring<T, P, Sole>>,
}

impl<T, P: Users> Consumer<T, P> {
    /// The consumer of this ring, if there is none.
    pub(crate) fn of(ring: &Arc<Ring<T, P, Sole>>) -> Option<Consumer<T, P>> {
        // Ordering: Acquire pairs with the Release in `drop`: we see how far the one before us came.
        (!ring.is_consumed.swap(true, Acquire)).then(|| Consumer { ring: ring.clone() })
    }

    pub(crate) fn ring(&self) -> &Arc<Ring<T, P, Sole>> {
        &self.ring
    }

    /// The values that are there, up to so many `steps`, to be taken out before `head` is moved to the end of
    /// them.
    #[inline]
    fn peek(&mut self, steps: u64) -> Result<Places<'_, T, P, Sole>, Pop<T>> {
        let ring = &*self.ring;
        // Ordering: as in `Ring::claim`.
        let head = ring.head.word.load(Acquire);
        let mut there = ready(head, ring.head.seen.load(Acquire));
        if there < steps {
            there = ready(head, ring.look_for_values(head)?.1);
        }
        Ok(Places { ring, position: head, end: head.wrapping_add(there.min(steps)) })
    }

    /// See [`Ring::pop`].
    #[inline]
    pub(crate) fn pop(&mut self) -> Pop<T> {
        match self.peek(ONE) {
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
        match self.peek(most as u64 * ONE) {
            Ok(places) => {
                let (ring, end, before) = (places.ring, places.end, to.len());
                to.extend(places);
                // Ordering: as in `pop`.
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

impl<T, P: Users> Drop for Consumer<T, P> {
    fn drop(&mut self) {
        // Ordering: Release pairs with the Acquire in `of`.
        self.ring.is_consumed.swap(false, Release);
    }
}
