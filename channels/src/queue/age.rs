//! Layer 2, queue. How long each item of a priority queue has been there, counted in items that went past it.
//!
//! Owns a doubly linked list from the oldest item to the youngest, in a slab. Each entry of it knows the place
//! of its item in the heap, and is known by that place. Called by `heap` alone, which moves places here as it
//! moves items there.
//!
//! An item is *overtaken* when one that was put later is taken before it. Nothing is counted for each of them:
//! of all items that were taken since it came, those that were there when it came are older, the rest have
//! overtaken it. When it is the oldest, all of the older ones have been taken, so the difference is exact. And
//! the oldest is the only one to look at, since whatever overtakes a younger item overtakes it too.
#![forbid(unsafe_code)]

use std::mem;

/// No entry.
const NONE: usize = usize::MAX;

/// See the head of this file.
#[derive(Debug)]
pub(super) struct Ages {
    /// How many items may overtake one.
    limit: u64,
    /// How many items were taken so far.
    taken: u64,
    slab: Vec<Age>,
    /// The index in `slab` of each item, by its place in the heap.
    by_place: Vec<usize>,
    /// The first of the entries that are free, linked by `younger`.
    spare: usize,
    oldest: usize,
    youngest: usize,
    len: usize,
}

#[derive(Debug)]
struct Age {
    /// Where in the heap the item is.
    place: usize,
    /// When so many items were taken, it has been overtaken as often as may be (if it is the oldest then).
    due: u64,
    older: usize,
    younger: usize,
}

impl Ages {
    pub(super) fn new(limit: u64) -> Ages {
        Ages {
            limit,
            taken: 0,
            slab: Vec::new(),
            by_place: Vec::new(),
            spare: NONE,
            oldest: NONE,
            youngest: NONE,
            len: 0,
        }
    }

    /// Makes so many places, which are filled one by one.
    pub(super) fn make_room(&mut self, places: usize) {
        self.by_place = vec![0; places];
    }

    /// Notes an item that comes now, and says by which index it is known until it has a place.
    pub(super) fn add(&mut self) -> usize {
        let due = self.taken.saturating_add(self.len as u64).saturating_add(self.limit);
        let age = Age { place: NONE, due, older: self.youngest, younger: NONE };
        let index = match self.slab.get_mut(self.spare) {
            Some(free) => {
                let index = self.spare;
                self.spare = free.younger;
                *free = age;
                index
            }
            None => {
                self.slab.push(age);
                self.slab.len() - 1
            }
        };
        match self.slab.get_mut(self.youngest) {
            Some(youngest) => youngest.younger = index,
            None => self.oldest = index,
        }
        self.youngest = index;
        self.len += 1;
        index
    }

    /// The item known by `index` has a place behind all others.
    pub(super) fn push(&mut self, index: usize) {
        self.slab[index].place = self.by_place.len();
        self.by_place.push(index);
    }

    /// The item in the last place has no place any more, and is known by this index.
    pub(super) fn pop(&mut self) -> usize {
        self.by_place.pop().unwrap_or(NONE)
    }

    /// The item known by `index` has this place, and the one that was there none.
    pub(super) fn exchange(&mut self, place: usize, index: &mut usize) {
        self.slab[*index].place = place;
        mem::swap(&mut self.by_place[place], index);
    }

    /// Notes that all items were taken.
    pub(super) fn clear(&mut self) {
        for index in mem::take(&mut self.by_place) {
            self.remove(index);
        }
    }

    /// Notes that an item was taken, which has no place any more.
    pub(super) fn remove(&mut self, index: usize) {
        let (older, younger) = (self.slab[index].older, self.slab[index].younger);
        match self.slab.get_mut(older) {
            Some(older) => older.younger = younger,
            None => self.oldest = younger,
        }
        match self.slab.get_mut(younger) {
            Some(younger) => younger.older = older,
            None => self.youngest = older,
        }
        self.slab[index].younger = self.spare;
        self.spare = index;
        self.len -= 1;
        self.taken += 1;
        if self.len == 0 {
            // The memory of a burst goes back.
            self.slab = Vec::new();
            self.by_place = Vec::new();
            self.spare = NONE;
        }
    }

    /// Where the oldest item is, if as many have overtaken it as may.
    pub(super) fn overdue(&self) -> Option<usize> {
        let oldest = self.slab.get(self.oldest)?;
        (oldest.due <= self.taken).then_some(oldest.place)
    }
}

#[cfg(all(test, not(filch_loom)))]
impl Ages {
    /// There are `len` items, each in its place.
    pub(super) fn assert_sound(&self, len: usize) {
        for (place, &index) in self.by_place.iter().enumerate() {
            assert_eq!(self.slab[index].place, place);
        }
        let (mut seen, mut before, mut index) = (0, NONE, self.oldest);
        while let Some(age) = self.slab.get(index) {
            assert_eq!(age.older, before);
            (seen, before, index) = (seen + 1, index, age.younger);
        }
        assert_eq!((seen, seen, seen, before), (len, self.len, self.by_place.len(), self.youngest));
    }
}
