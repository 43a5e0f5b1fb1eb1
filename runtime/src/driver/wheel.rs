//! Layer 1, driver. A hierarchical timing wheel over `u64` ticks.
//!
//! Owns deadlines and their order, and nothing else: no clock, lock or waker. A timer is an index into a
//! slab. On it hangs a value of the caller's (for `timers`, the only one, a waker), which comes out when it
//! fires or is released; none is cloned or dropped in here.
//!
//! After Varghese and Lauck, "Hashed and Hierarchical Timing Wheels" (SOSP 1987), scheme 7, with the level
//! found by the highest digit in which deadline and cursor differ, as in tokio's. How we differ:
//! - A slot of the lowest level is 2^16 ns (65.5 us) wide, and eight levels of 64 slots span all of `u64`: no
//!   overflow list, and nothing wraps round. A tick is a nanosecond: an entry keeps its exact deadline, the
//!   one slot under the cursor is sorted, and so timers fire in the order of their deadlines, ties in the
//!   order of insertion, none early.
//! - Each slot keeps a lower bound of the deadlines in it, on every level. [`Wheel::next_wake`] gives that,
//!   not the time at which a higher slot must be spread out below: a lone timer costs one wake-up, not one a
//!   level.
//! - A fired entry keeps its index until its owner releases it. So an index is never stale, and needs no
//!   generation.
#![forbid(unsafe_code)]

/// The width of a slot of level 0, in bits of nanoseconds.
const SLOT_BITS: u32 = 16;
/// Slots of one level, in bits.
const LEVEL_BITS: u32 = 6;
const SLOTS: usize = 1 << LEVEL_BITS;
const LEVELS: usize = 8;
const _: () = assert!(SLOT_BITS + LEVEL_BITS * LEVELS as u32 == u64::BITS);

/// No entry.
const NIL: u32 = u32::MAX;
/// A slab that is empty and larger than this is given back.
const KEEP: usize = 256;

/// One timer, or one free index.
struct Entry<T> {
    deadline: u64,
    /// There while the entry is in a list, that is until it fires.
    value: Option<T>,
    prev: u32,
    /// The next entry of the same slot, or the next free index.
    next: u32,
    /// Which list the entry is in, or was last: `level * SLOTS + slot`.
    place: u16,
}

/// The list of the entries of one slot, in the order of insertion (in firing order once it was sorted).
#[derive(Clone, Copy, Debug)]
struct Slot {
    /// At most the deadline of every entry here: exact until one is cancelled. Without meaning when empty.
    earliest: u64,
    head: u32,
    tail: u32,
}

/// The wheel.
///
/// Times are compared as units, that is `ticks >> SLOT_BITS`. Invariants:
/// - an entry due in the cursor's unit or before is in the cursor's slot of level 0;
/// - any other is in the level of the highest digit in which its unit differs from the cursor, in the slot
///   named by that digit. So slots behind the cursor are empty, the cursor's own slot is empty on all levels
///   but the lowest, and what is in a lower level is due before what is in a higher one.
pub(crate) struct Wheel<T> {
    /// All units before this one have been fired.
    cursor: u64,
    /// Whether the list of the cursor's slot is in firing order.
    sorted: bool,
    used: usize,
    free: u32,
    /// For each level, which slots are not empty.
    occupied: [u64; LEVELS],
    slots: Box<[Slot]>,
    entries: Vec<Entry<T>>,
    scratch: Vec<(u64, u32)>,
}

impl<T> Wheel<T> {
    pub(crate) fn new() -> Wheel<T> {
        Wheel {
            cursor: 0,
            sorted: true,
            used: 0,
            free: NIL,
            occupied: [0; LEVELS],
            slots: vec![Slot { earliest: 0, head: NIL, tail: NIL }; LEVELS * SLOTS].into_boxed_slice(),
            entries: Vec::new(),
            scratch: Vec::new(),
        }
    }

    /// Adds a timer. Its index is the caller's until [`release`](Wheel::release), whether it fires or not.
    pub(crate) fn insert(&mut self, deadline: u64, value: T) -> u32 {
        if self.free == NIL {
            self.grow();
        }
        let index = self.free;
        self.free = self.entries[index as usize].next;
        self.used += 1;
        self.arm(index, deadline, value);
        index
    }

    /// Adds a free index, when there is none.
    #[cold]
    fn grow(&mut self) {
        let size = self.entries.len();
        if size == self.entries.capacity() {
            // By a quarter, not by doubling: a million sleeping tasks should not pay for two.
            self.entries.reserve_exact((size / 4).max(64));
        }
        let index =
            u32::try_from(size).ok().filter(|index| *index != NIL).expect("fewer than 2^32 - 1 timers");
        self.entries.push(Entry { deadline: 0, value: None, prev: NIL, next: NIL, place: 0 });
        self.free = index;
    }

    /// What hangs on the timer, if it has yet to fire.
    pub(crate) fn get_mut(&mut self, index: u32) -> Option<&mut T> {
        self.entries[index as usize].value.as_mut()
    }

    /// Takes the timer out and gives its index back. The value is there if it had yet to fire.
    pub(crate) fn release(&mut self, index: u32) -> Option<T> {
        let value = self.disarm(index);
        self.entries[index as usize].next = self.free;
        self.free = index;
        self.used -= 1;
        if self.used == 0 && self.entries.len() > KEEP {
            // Nobody holds an index, so all may be forgotten.
            self.entries = Vec::new();
            self.free = NIL;
        }
        value
    }

    /// Moves the timer to another deadline, behind all that have it already. Does nothing if it has fired:
    /// `false`.
    pub(crate) fn reset(&mut self, index: u32, deadline: u64) -> bool {
        let Some(value) = self.disarm(index) else { return false };
        self.arm(index, deadline, value);
        true
    }

    /// No timer is due before this tick: exact, but for timers that were cancelled since the last
    /// [`expire`](Wheel::expire). An `expire` at that tick fires one or makes this later.
    pub(crate) fn next_wake(&self) -> Option<u64> {
        let (level, slot) = self.first_slot()?;
        Some(self.slots[level * SLOTS + slot].earliest)
    }

    /// Fires at most `limit` timers that are due at `now`, in order, and moves what hangs on them to `out`.
    /// Returns how many. If that is `limit`, there may be more.
    pub(crate) fn expire(&mut self, now: u64, limit: usize, out: &mut Vec<T>) -> usize {
        let mut count = 0;
        loop {
            self.sort_current();
            let current = self.current();
            while self.slots[current].head != NIL {
                let head = self.slots[current].head;
                let deadline = self.entries[head as usize].deadline;
                if deadline > now || count == limit {
                    self.slots[current].earliest = deadline;
                    return count;
                }
                out.extend(self.disarm(head));
                count += 1;
            }
            let now_unit = now >> SLOT_BITS;
            match self.first_slot().map(|(level, slot)| (level, slot, self.start(level, slot))) {
                Some((level, slot, start)) if start <= now_unit => {
                    self.cursor = start;
                    self.sorted = false;
                    if level > 0 {
                        self.spread(level * SLOTS + slot);
                    }
                }
                _ => {
                    // No slot begins between the cursor and now, so no entry changes its place by this step.
                    self.cursor = self.cursor.max(now_unit);
                    return count;
                }
            }
        }
    }

    fn arm(&mut self, index: u32, deadline: u64, value: T) {
        let entry = &mut self.entries[index as usize];
        (entry.deadline, entry.value) = (deadline, Some(value));
        self.link(index);
    }

    fn disarm(&mut self, index: u32) -> Option<T> {
        let value = self.entries[index as usize].value.take()?;
        self.unlink(index);
        Some(value)
    }

    /// The place of the cursor's slot of level 0.
    fn current(&self) -> usize {
        self.cursor as usize % SLOTS
    }

    fn place(&self, deadline: u64) -> usize {
        let unit = deadline >> SLOT_BITS;
        if unit <= self.cursor {
            return self.current();
        }
        let level = (unit ^ self.cursor).ilog2() / LEVEL_BITS;
        level as usize * SLOTS + (unit >> (level * LEVEL_BITS)) as usize % SLOTS
    }

    /// The first slot that is not empty, as level and number.
    fn first_slot(&self) -> Option<(usize, usize)> {
        let level = self.occupied.iter().position(|slots| *slots != 0)?;
        Some((level, self.occupied[level].trailing_zeros() as usize))
    }

    /// The unit in which a slot begins.
    fn start(&self, level: usize, slot: usize) -> u64 {
        let low = level as u32 * LEVEL_BITS;
        let above = self.cursor >> low >> LEVEL_BITS << LEVEL_BITS;
        (above | slot as u64) << low
    }

    /// Appends an entry to the list of the slot where it belongs.
    fn link(&mut self, index: u32) {
        let deadline = self.entries[index as usize].deadline;
        let place = self.place(deadline);
        let is_current = place == self.current();
        let slot = &mut self.slots[place];
        let tail = slot.tail;
        slot.tail = index;
        if tail == NIL {
            slot.head = index;
            slot.earliest = deadline;
            self.occupied[place / SLOTS] |= 1 << (place % SLOTS);
            self.sorted |= is_current;
        } else {
            slot.earliest = slot.earliest.min(deadline);
            let last = &mut self.entries[tail as usize];
            last.next = index;
            self.sorted &= !is_current || last.deadline <= deadline;
        }
        let entry = &mut self.entries[index as usize];
        entry.prev = tail;
        entry.next = NIL;
        entry.place = place as u16;
    }

    fn unlink(&mut self, index: u32) {
        let entry = &self.entries[index as usize];
        let (prev, next, place) = (entry.prev, entry.next, usize::from(entry.place));
        match prev {
            NIL => self.slots[place].head = next,
            _ => self.entries[prev as usize].next = next,
        }
        match next {
            NIL => self.slots[place].tail = prev,
            _ => self.entries[next as usize].prev = prev,
        }
        if self.slots[place].head == NIL {
            self.occupied[place / SLOTS] &= !(1 << (place % SLOTS));
        }
    }

    /// Moves the entries of a slot that the cursor has just entered to lower levels.
    ///
    /// Entries with one deadline are all in one slot at any time, and each list is spread in its order: so
    /// ties stay in the order of insertion.
    fn spread(&mut self, place: usize) {
        let mut index = self.slots[place].head;
        self.slots[place].head = NIL;
        self.slots[place].tail = NIL;
        self.occupied[place / SLOTS] &= !(1 << (place % SLOTS));
        while index != NIL {
            let next = self.entries[index as usize].next;
            self.link(index);
            index = next;
        }
    }

    /// Puts the list of the cursor's slot into firing order.
    fn sort_current(&mut self) {
        if self.sorted {
            return;
        }
        self.sorted = true;
        let current = self.current();
        let mut index = self.slots[current].head;
        self.scratch.clear();
        while index != NIL {
            let entry = &self.entries[index as usize];
            self.scratch.push((entry.deadline, index));
            index = entry.next;
        }
        if self.scratch.is_sorted_by_key(|(deadline, _)| *deadline) {
            return;
        }
        // Stable, because ties go by insertion, and linear where the list is in order but for a few.
        self.scratch.sort_by_key(|(deadline, _)| *deadline);
        let mut prev = NIL;
        for position in 0..self.scratch.len() {
            let index = self.scratch[position].1;
            let next = self.scratch.get(position + 1).map_or(NIL, |(_, next)| *next);
            let entry = &mut self.entries[index as usize];
            (entry.prev, entry.next) = (prev, next);
            prev = index;
        }
        self.slots[current].head = self.scratch[0].1;
        self.slots[current].tail = prev;
        self.scratch.clear();
        self.scratch.shrink_to(KEEP);
    }
}

#[cfg(test)]
mod tests;
