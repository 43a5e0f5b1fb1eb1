//! Layer 2, queue. The items of a priority queue: the lowest comes out first, ties in the order of their coming.
//!
//! Owns a binary heap. Unlike std's, an operation first compares, which is foreign code, and only then moves
//! anything: a compare that panics leaves all as it was. An order that contradicts itself (that of floats, say)
//! gives some order of items, and loses none, since the moves depend on places alone. Called by `store` alone.
#![forbid(unsafe_code)]

use std::cmp::Ordering;

use super::age::Ages;

/// See the head of this file.
pub(super) struct Heap<T> {
    compare: fn(&T, &T) -> Ordering,
    entries: Vec<Entry<T>>,
    next_ticket: u64,
    ages: Option<Ages>,
}

struct Entry<T> {
    item: T,
    /// Moves up with each item.
    ticket: u64,
    /// Its index in `ages`, if there are any.
    age: usize,
}

impl<T> Heap<T> {
    pub(super) const fn new(compare: fn(&T, &T) -> Ordering) -> Heap<T> {
        Heap { compare, entries: Vec::new(), next_ticket: 0, ages: None }
    }

    /// From now on an item that `limit` others have overtaken is next.
    pub(super) fn set_ageing(&mut self, limit: u64) {
        let mut ages = Ages::new(limit);
        let mut places = (0..self.entries.len()).collect::<Vec<_>>();
        places.sort_unstable_by_key(|&place| self.entries[place].ticket);
        for place in places {
            self.entries[place].age = ages.add(place);
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
        let mut place = bottom;
        // It is the youngest, so it goes below its equals.
        while place > 0 && (self.compare)(item, &self.entries[parent(place)].item).is_lt() {
            place = parent(place);
        }
        self.entries.reserve(1);
        // Nothing below panics.
        let Some(item) = slot.take() else { return };
        let age = self.ages.as_mut().map_or(0, |ages| ages.add(bottom));
        self.entries.push(Entry { item, ticket: self.next_ticket, age });
        self.next_ticket += 1;
        self.raise(bottom, place);
    }

    /// Takes the item whose turn it is. Should a compare panic, all stays as it is.
    pub(super) fn pop(&mut self) -> Option<T> {
        let last = self.entries.len().checked_sub(1)?;
        let place = self.ages.as_ref().and_then(Ages::overdue).unwrap_or(0);
        let target = if place == last { place } else { self.target(place, last) };
        // Nothing below panics.
        let Entry { item, age, .. } = self.entries.swap_remove(place);
        if let Some(ages) = &mut self.ages {
            ages.remove(age);
            if let Some(moved) = self.entries.get(place) {
                ages.moved(moved.age, place);
            }
        }
        if target < place {
            self.raise(place, target);
        } else {
            self.lower(place, target);
        }
        super::store::shrink_vec(&mut self.entries);
        Some(item)
    }

    /// All items, in the order in which they came.
    pub(super) fn drain(&mut self) -> Vec<T> {
        let mut entries = std::mem::take(&mut self.entries);
        if let Some(ages) = &mut self.ages {
            entries.iter().for_each(|entry| ages.remove(entry.age));
        }
        entries.sort_unstable_by_key(|entry| entry.ticket);
        entries.into_iter().map(|entry| entry.item).collect()
    }

    fn is_before(&self, one: usize, other: usize) -> bool {
        let (one, other) = (&self.entries[one], &self.entries[other]);
        (self.compare)(&one.item, &other.item).then_with(|| one.ticket.cmp(&other.ticket)).is_lt()
    }

    /// Where the last entry belongs once that at `place` is gone.
    fn target(&self, place: usize, last: usize) -> usize {
        let mut target = place;
        while target > 0 && self.is_before(last, parent(target)) {
            target = parent(target);
        }
        if target < place {
            return target;
        }
        // Down to the bottom, always to the lower child, and up again as far as need be: the last entry mostly
        // belongs near the bottom, so this compares about half as often as asking it on the way down.
        let mut child = 2 * target + 1;
        while child < last {
            target = if child + 1 < last && self.is_before(child + 1, child) { child + 1 } else { child };
            child = 2 * target + 1;
        }
        while target > place && self.is_before(last, target) {
            target = parent(target);
        }
        target
    }

    /// Moves an entry up to `target`, an ancestor of its place.
    fn raise(&mut self, mut place: usize, target: usize) {
        while place > target {
            self.swap(place, parent(place));
            place = parent(place);
        }
    }

    /// Moves an entry down to `target`, a descendant of its place.
    fn lower(&mut self, mut place: usize, target: usize) {
        // Counted from 1, the ancestors of a place are what is left when bits are shifted out of it.
        while place < target {
            let levels = (target + 1).ilog2() - (place + 1).ilog2();
            let child = ((target + 1) >> (levels - 1)) - 1;
            self.swap(place, child);
            place = child;
        }
    }

    fn swap(&mut self, one: usize, other: usize) {
        self.entries.swap(one, other);
        if let Some(ages) = &mut self.ages {
            ages.moved(self.entries[one].age, one);
            ages.moved(self.entries[other].age, other);
        }
    }
}

fn parent(place: usize) -> usize {
    (place - 1) / 2
}

#[cfg(all(test, not(filch_loom)))]
impl<T> Heap<T> {
    /// The heap is one, and the ages know the places in it.
    pub(super) fn assert_sound(&self) {
        for place in 1..self.entries.len() {
            assert!(!self.is_before(place, parent(place)));
        }
        if let Some(ages) = &self.ages {
            let ages_of = |entry: &Entry<T>| entry.age;
            ages.assert_sound(&self.entries.iter().map(ages_of).collect::<Vec<_>>());
        }
    }

    pub(super) fn capacity(&self) -> usize {
        self.entries.capacity()
    }
}
