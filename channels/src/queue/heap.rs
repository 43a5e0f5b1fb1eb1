//! Layer 2, queue. The items of a priority queue: the lowest comes out first, ties in the order of their coming.
//!
//! Owns a binary heap. Unlike std's, an operation first compares, which is foreign code, and only then moves
//! anything: a compare that panics leaves all as it was. An order that contradicts itself (that of floats, say)
//! gives some order of items, and loses none, since the moves depend on places alone. What compares is made for
//! each order ([`Order`]), so that the compares of a type's own order are inlined into it. Called by `store`
//! alone.
#![forbid(unsafe_code)]

use std::cmp::Ordering;
use std::mem;

use super::age::Ages;

/// See the head of this file.
pub(super) struct Heap<T> {
    order: Order<T>,
    entries: Vec<Entry<T>>,
    next_ticket: u64,
    ages: Option<Ages>,
}

struct Entry<T> {
    item: T,
    /// Moves up with each item.
    ticket: u64,
}

/// An entry on its way, with what `ages` knows it by, if there are any.
struct Moving<T> {
    entry: Entry<T>,
    age: usize,
}

/// Which of two items is the lower one, and what is found by asking that.
pub(super) struct Order<T> {
    compare: fn(&T, &T) -> Ordering,
    /// [`place_of`] and [`target`], made for this order.
    place_of: fn(&[Entry<T>], &T, Compare<T>) -> usize,
    target: fn(&[Entry<T>], usize, Compare<T>) -> usize,
}

type Compare<T> = fn(&T, &T) -> Ordering;

impl<T> Order<T> {
    /// By a function.
    pub(super) const fn by(compare: Compare<T>) -> Order<T> {
        Order {
            compare,
            place_of: |entries, item, compare| place_of(entries, item, compare),
            target: |entries, place, compare| target(entries, place, compare),
        }
    }
}

impl<T: Ord> Order<T> {
    /// By the type's own order.
    pub(super) const fn own() -> Order<T> {
        Order {
            compare: T::cmp,
            place_of: |entries, item, _| place_of(entries, item, T::cmp),
            target: |entries, place, _| target(entries, place, T::cmp),
        }
    }
}

impl<T> Heap<T> {
    pub(super) const fn new(order: Order<T>) -> Heap<T> {
        Heap { order, entries: Vec::new(), next_ticket: 0, ages: None }
    }

    /// From now on an item that `limit` others have overtaken is next.
    pub(super) fn set_ageing(&mut self, limit: u64) {
        let mut ages = Ages::new(limit);
        let mut places = (0..self.entries.len()).collect::<Vec<_>>();
        places.sort_unstable_by_key(|&place| self.entries[place].ticket);
        ages.make_room(places.len());
        for place in places {
            let mut age = ages.add();
            ages.exchange(place, &mut age);
        }
        self.ages = Some(ages);
    }

    pub(super) fn len(&self) -> usize {
        self.entries.len()
    }

    /// Puts the item in, and leaves `None` behind. Should a compare panic, it stays where it is.
    pub(super) fn push(&mut self, slot: &mut Option<T>) {
        let Some(item) = slot.as_ref() else { return };
        let bottom = self.entries.len();
        let place = (self.order.place_of)(&self.entries, item, self.order.compare);
        self.entries.reserve(1);
        // Nothing below panics.
        let Some(item) = slot.take() else { return };
        let age = self.ages.as_mut().map_or(0, Ages::add);
        let mut moving = Moving { entry: Entry { item, ticket: self.next_ticket }, age };
        self.next_ticket += 1;
        if place != bottom {
            moving = self.lower(moving, place, parent(bottom));
        }
        self.entries.push(moving.entry);
        if let Some(ages) = &mut self.ages {
            ages.push(moving.age);
        }
    }

    /// Takes the item whose turn it is. Should a compare panic, all stays as it is.
    pub(super) fn pop(&mut self) -> Option<T> {
        let last = self.entries.len().checked_sub(1)?;
        let place = self.ages.as_ref().and_then(Ages::overdue).unwrap_or(0);
        let target =
            if place == last { place } else { (self.order.target)(&self.entries, place, self.order.compare) };
        // Nothing below panics.
        let entry = self.entries.pop()?;
        let mut moving = Moving { entry, age: self.ages.as_mut().map_or(0, Ages::pop) };
        if target < place {
            moving = self.lower(moving, target, place);
        } else if place != last {
            moving = self.raise(moving, target, place);
        }
        if let Some(ages) = &mut self.ages {
            ages.remove(moving.age);
        }
        super::store::shrink_vec(&mut self.entries);
        Some(moving.entry.item)
    }

    /// All items, in the order in which they came.
    pub(super) fn drain(&mut self) -> Vec<T> {
        let mut entries = std::mem::take(&mut self.entries);
        if let Some(ages) = &mut self.ages {
            ages.clear();
        }
        entries.sort_unstable_by_key(|entry| entry.ticket);
        entries.into_iter().map(|entry| entry.item).collect()
    }

    /// Puts `carry` at `from`, what was there at the next place of the way down to `to`, and so on; what was at
    /// `to` is left over.
    #[inline]
    fn lower(&mut self, mut carry: Moving<T>, from: usize, to: usize) -> Moving<T> {
        // Counted from 1, the ancestors of a place are what is left when bits are shifted out of it.
        let levels = (to + 1).ilog2() - (from + 1).ilog2();
        for level in (0..=levels).rev() {
            self.exchange(((to + 1) >> level) - 1, &mut carry);
        }
        carry
    }

    /// The same on the way up.
    #[inline]
    fn raise(&mut self, mut carry: Moving<T>, mut from: usize, to: usize) -> Moving<T> {
        self.exchange(from, &mut carry);
        while from > to {
            from = parent(from);
            self.exchange(from, &mut carry);
        }
        carry
    }

    #[inline(always)]
    fn exchange(&mut self, place: usize, carry: &mut Moving<T>) {
        mem::swap(&mut self.entries[place], &mut carry.entry);
        if let Some(ages) = &mut self.ages {
            ages.exchange(place, &mut carry.age);
        }
    }
}

/// Where an item belongs that is younger than all: below its equals, so.
#[inline]
fn place_of<T>(entries: &[Entry<T>], item: &T, compare: impl Fn(&T, &T) -> Ordering) -> usize {
    let mut place = entries.len();
    while place > 0 && compare(item, &entries[parent(place)].item).is_lt() {
        place = parent(place);
    }
    place
}

/// Where the last entry belongs once that at `place`, another one, is gone.
#[inline]
fn target<T>(entries: &[Entry<T>], place: usize, compare: impl Fn(&T, &T) -> Ordering) -> usize {
    let last = entries.len() - 1;
    // No branch for each answer: which child is the lower one, no processor can guess.
    let is_before = |one: usize, other: usize| {
        let (one, other) = (&entries[one], &entries[other]);
        let order = compare(&one.item, &other.item);
        order.is_lt() | (order.is_eq() & (one.ticket < other.ticket))
    };
    let mut target = place;
    while target > 0 && is_before(last, parent(target)) {
        target = parent(target);
    }
    if target < place {
        return target;
    }
    // Down to the bottom, always to the lower child, and up again as far as need be: the last entry mostly
    // belongs near the bottom, so this compares about half as often as asking it on the way down.
    let mut child = 2 * target + 1;
    while child + 1 < last {
        target = child + usize::from(is_before(child + 1, child));
        child = 2 * target + 1;
    }
    if child < last {
        target = child;
    }
    while target > place && is_before(last, target) {
        target = parent(target);
    }
    target
}

fn parent(place: usize) -> usize {
    (place - 1) / 2
}

#[cfg(all(test, not(filch_loom)))]
impl<T> Heap<T> {
    /// The heap is one, and the ages know the places in it.
    pub(super) fn assert_sound(&self) {
        for place in 1..self.entries.len() {
            let (one, other) = (&self.entries[place], &self.entries[parent(place)]);
            let order =
                (self.order.compare)(&one.item, &other.item).then_with(|| one.ticket.cmp(&other.ticket));
            assert!(order.is_gt());
        }
        if let Some(ages) = &self.ages {
            ages.assert_sound(self.entries.len());
        }
    }

    pub(super) fn capacity(&self) -> usize {
        self.entries.capacity()
    }
}
