//! Layer 2, queue. How long each item of a priority queue has been there, counted in items that went past it.
//!
//! Owns a doubly linked list from the oldest item to the youngest, in a slab. The heap keeps the index of each
//! item's entry, the entry the item's place in the heap. Called by `heap` alone.
//!
//! An item is *overtaken* when one that was put later is taken before it. Nothing is counted for each of them:
//! of all items that were taken since it came, those that were there when it came are older, the rest have
//! overtaken it. When it is the oldest, all of the older ones have been taken, so the difference is exact. And
//! the oldest is the only one to look at, since whatever overtakes a younger item overtakes it too.
#![forbid(unsafe_code)]

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
        Ages { limit, taken: 0, slab: Vec::new(), spare: NONE, oldest: NONE, youngest: NONE, len: 0 }
    }

    /// Notes an item that comes now, and says by which index it is to be known.
    pub(super) fn add(&mut self, place: usize) -> usize {
        let due = self.taken.saturating_add(self.len as u64).saturating_add(self.limit);
        let age = Age { place, due, older: self.youngest, younger: NONE };
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

    /// Notes where in the heap an item is now.
    pub(super) fn moved(&mut self, index: usize, place: usize) {
        self.slab[index].place = place;
    }

    /// Notes that an item was taken.
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
    /// `indices` are those of the items, in the order of their places.
    pub(super) fn assert_sound(&self, indices: &[usize]) {
        for (place, &index) in indices.iter().enumerate() {
            assert_eq!(self.slab[index].place, place);
        }
        let (mut seen, mut before, mut index) = (0, NONE, self.oldest);
        while let Some(age) = self.slab.get(index) {
            assert_eq!(age.older, before);
            (seen, before, index) = (seen + 1, index, age.younger);
        }
        assert_eq!((seen, seen, before), (indices.len(), self.len, self.youngest));
    }
}
