//! Layer 0. A bounded queue for many producers and many consumers that never waits.
//!
//! Owns the slots and two words, `tail` and `head`. Names nothing but the shim; who waits for room or for
//! messages is the business of `channel::bounded`, its only caller.
//!
//! Based on Vyukov's bounded MPMC queue <https://www.1024cores.net/home/lock-free-algorithms/queues>: each
//! slot has a stamp that says for which lap of the ring it is free or full, so that a push or a pop is one
//! compare-exchange of `tail` or `head`, and one write of the stamp. We differ in these points:
//! - A position is a lap and an index, as in crossbeam's `ArrayQueue`, so any capacity from 1 up will do.
//! - `tail` also counts the places that are *reserved*, and says whether the ring is closed. So a
//!   reservation, which in tokio's channel costs every message two operations on a semaphore, costs those who
//!   make none nothing; and no push goes through after `close`.
//! - A stamp is written by a `SeqCst` read-modify-write, which is what `WaitQueue::release` asks of whoever
//!   frees a unit.
//! - Nobody spins. If a slot is claimed but not yet written, or not yet read, the answer is `Busy`: another
//!   thread is between two instructions of its own and will call `release` when it is through. The caller
//!   decides what to do.

use std::mem::MaybeUninit;
use std::panic::{RefUnwindSafe, UnwindSafe};

use crate::shim::Ordering::{AcqRel, Acquire, Release, SeqCst};
use crate::shim::task::AtomicU64;
use crate::shim::{UnsafeCell, thread};

#[cfg(test)]
mod tests;

/// The largest capacity: laps keep at least seven bits then.
pub(crate) const CAPACITY_MAX: usize = 1 << 28;

/// In `tail`: no new push and no new reservation.
const CLOSED: u64 = 1;
/// In `tail`: one reserved place.
const RESERVED: u64 = 2;

/// Keeps what is written by producers and by consumers apart: two lines, as they are fetched in pairs.
#[repr(align(128))]
#[derive(Debug)]
struct Padded(AtomicU64);

/// One place. For the slot of position `p` in a lap:
///
/// | stamp       | the slot is                    | who may touch `value`         |
/// |-------------|--------------------------------|-------------------------------|
/// | `p`         | free, or claimed by a producer | whoever moved `tail` from `p` |
/// | `p` + 1     | full, or claimed by a consumer | whoever moved `head` from `p` |
/// | `p` + a lap | free for the next lap          | as in the first row           |
struct Slot<T> {
    stamp: AtomicU64,
    value: UnsafeCell<MaybeUninit<T>>,
}

/// See the head of this file.
pub(crate) struct Ring<T> {
    /// `lap, index, reserved places, CLOSED`, from the high bits to the low. The fields for the index and for
    /// the reserved places hold any number from 0 to the capacity.
    tail: Padded,
    /// `lap, index`, in the same bits.
    head: Padded,
    slots: Box<[Slot<T>]>,
    /// One step of the index.
    one: u64,
    /// One step of the lap.
    lap: u64,
}

// SAFETY: a value is moved in on one thread and out on another, so `T: Send`. No `&T` is ever handed out, and
// the stamps see to it that a slot's value has one user at a time (table at `Slot`).
unsafe impl<T: Send> Send for Ring<T> {}
// SAFETY: as above.
unsafe impl<T: Send> Sync for Ring<T> {}

// No foreign code runs between two steps of a protocol, so no panic leaves one half done.
impl<T> UnwindSafe for Ring<T> {}
impl<T> RefUnwindSafe for Ring<T> {}

/// The slot of a position that was claimed by moving `tail` from there: free, and for whoever has this to fill.
struct Place<'a, T> {
    slot: &'a Slot<T>,
    full: u64,
}

impl<T> Place<'_, T> {
    #[inline]
    fn fill(self, value: T) {
        self.slot.value.with_mut(|cell| {
            // SAFETY: table at `Slot`, first row: the value is ours to write.
            unsafe { (*cell).write(value) };
        });
        // Ordering: Release pairs with the Acquire load of the stamp in `pop`: it sees the value. SeqCst, and
        // a read-modify-write, for `WaitQueue::release`, which our caller calls next.
        self.slot.stamp.swap(self.full, SeqCst);
    }
}

/// What came of a push or a reservation.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[must_use]
pub(crate) enum Push {
    Done,
    Full,
    Closed,
    /// See the head of the file.
    Busy,
}

/// What came of a pop.
#[derive(PartialEq, Eq, Debug)]
#[must_use]
pub(crate) enum Pop<T> {
    Got(T),
    Empty,
    /// Empty for good: closed, and no place is reserved.
    Closed,
    /// See the head of the file.
    Busy,
}

/// What came of a push that makes room for itself.
#[derive(PartialEq, Eq, Debug)]
#[must_use]
pub(crate) enum Force<T> {
    Done,
    /// This was the oldest, and is out.
    Displaced(T),
    /// There is nothing to displace: every place is reserved.
    Full,
    /// Closed. If that happened in the middle, the oldest value is out all the same.
    Closed(Option<T>),
    Busy,
}

/// One look at both ends.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Look {
    pub(crate) len: usize,
    pub(crate) reserved: usize,
    pub(crate) closed: bool,
    /// How many were pushed and popped so far; they wrap, after 2^40 at the least for up to a million places.
    pub(crate) pushed: u64,
    pub(crate) popped: u64,
}

impl<T> Ring<T> {
    /// A ring of `capacity` places, from 1 to [`CAPACITY_MAX`].
    pub(crate) fn new(capacity: usize) -> Ring<T> {
        assert!((1..=CAPACITY_MAX).contains(&capacity));
        let bits = u64::BITS - (capacity as u64).leading_zeros();
        let one = 1 << (1 + bits);
        let lap = one << bits;
        let slots = (0..capacity as u64)
            .map(|index| Slot {
                stamp: AtomicU64::new(index * one),
                value: UnsafeCell::new(MaybeUninit::uninit()),
            })
            .collect();
        Ring { tail: Padded(AtomicU64::new(0)), head: Padded(AtomicU64::new(0)), slots, one, lap }
    }

    pub(crate) fn capacity(&self) -> usize {
        self.slots.len()
    }

    /// The position in a word: its lap and index.
    #[inline]
    fn position(&self, word: u64) -> u64 {
        word & !(self.one - 1)
    }

    #[inline]
    fn reserved(&self, tail: u64) -> u64 {
        (tail & (self.one - 1)) / RESERVED
    }

    #[inline]
    fn index(&self, position: u64) -> u64 {
        (position & (self.lap - 1)) / self.one
    }

    #[inline]
    fn slot(&self, position: u64) -> &Slot<T> {
        &self.slots[self.index(position) as usize]
    }

    /// The caller moved `tail` from `position`, having seen with Acquire that its slot is free, and calls this
    /// once.
    #[inline]
    fn place(&self, position: u64) -> Place<'_, T> {
        Place { slot: self.slot(position), full: position + self.one }
    }

    /// The position `steps` further; at most one lap. Laps wrap.
    #[inline]
    fn advance(&self, position: u64, steps: u64) -> u64 {
        let capacity = self.slots.len() as u64;
        if self.index(position) + steps < capacity {
            position + steps * self.one
        } else {
            // One lap on, and back by what is missing to a whole one.
            position.wrapping_add(self.lap).wrapping_sub((capacity - steps) * self.one)
        }
    }

    /// How far `to` is from `from`; at most one lap.
    #[inline]
    fn distance(&self, from: u64, to: u64) -> u64 {
        let lapped = (to ^ from) >= self.lap;
        let capacity = if lapped { self.slots.len() as u64 } else { 0 };
        self.index(to) + capacity - self.index(from)
    }

    /// Takes places at the end, or says why not: `filled` (0 or 1) to be filled by the caller, `reserve` for
    /// later.
    #[inline]
    fn claim(&self, filled: u64, reserve: u64) -> Result<u64, Push> {
        // Ordering: the stamps carry the values, not the two ends. Still each end is changed with Release and
        // loaded with Acquire, here and below, so that two looks fit together: who sees a `tail` also sees
        // every `head` that its producers needed to get there, and the other way round. So `tail - head` is
        // never out of range.
        let mut tail = self.tail.0.load(Acquire);
        loop {
            if tail & CLOSED != 0 {
                return Err(Push::Closed);
            }
            let position = self.position(tail);
            let places = self.reserved(tail) + filled + reserve;
            if places > self.slots.len() as u64 {
                return Err(Push::Full);
            }
            // The last of the places we want is `last`. Consumers claim places in order, so if that one was
            // left, then all before it are at least claimed.
            let last = self.advance(position, places - 1);
            // Ordering: Acquire pairs with the stamp written in `pop`: the value was moved out before we
            // move ours in.
            let is_free = self.slot(last).stamp.load(Acquire) == last
                && (filled == 0 || last == position || self.slot(position).stamp.load(Acquire) == position);
            if is_free {
                let next = self.advance(position, filled) | ((tail & (self.one - 1)) + reserve * RESERVED);
                match self.tail.0.compare_exchange_weak(tail, next, Release, Acquire) {
                    Ok(_) => return Ok(position),
                    Err(now) => tail = now,
                }
                continue;
            }
            // Ordering: Acquire, see above.
            let head = self.head.0.load(Acquire);
            let now = self.tail.0.load(Acquire);
            if now != tail {
                tail = now;
                continue;
            }
            let wanted = self.distance(head, position) + places;
            return Err(if wanted > self.slots.len() as u64 { Push::Full } else { Push::Busy });
        }
    }

    /// Moves `head` on from a position whose slot is full, and the value out of that slot, which is for the
    /// caller to vacate. `None`: it is not full. `Err`: `head` is elsewhere, or the exchange failed for no reason.
    #[inline]
    fn lift(&self, head: u64) -> Option<Result<(T, &Slot<T>), u64>> {
        let slot = self.slot(head);
        // Ordering: Acquire pairs with the stamp written in `Place::fill`: we see the value.
        if slot.stamp.load(Acquire) != head + self.one {
            return None;
        }
        // Ordering: Release, and Acquire for a failure, as in `claim`.
        Some(self.head.0.compare_exchange_weak(head, self.advance(head, 1), Release, Acquire).map(|_| {
            // SAFETY: table at `Slot`, second row: we saw the stamp and moved `head` from here, so the value
            // is there, and ours to take. Nobody reads it again, as whoever vacates the slot does not look.
            (slot.value.with(|cell| unsafe { (*cell).assume_init_read() }), slot)
        }))
    }

    /// Takes the value out of `value` if there is room for it.
    #[inline]
    pub(crate) fn push(&self, value: &mut Option<T>) -> Push {
        debug_assert!(value.is_some());
        match self.claim(1, 0) {
            Ok(position) => {
                if let Some(value) = value.take() {
                    self.place(position).fill(value);
                }
                Push::Done
            }
            Err(why) => why,
        }
    }

    /// Reserves `count` places, from 1 to the capacity. Each is given up by `push_reserved` or `unreserve`.
    pub(crate) fn reserve(&self, count: usize) -> Push {
        self.claim(0, count as u64).map_or_else(|why| why, |_| Push::Done)
    }

    /// Puts a value in a place that was reserved, whether the ring is closed or not. True: it is closed.
    ///
    /// Waits, as an exception, for a consumer that is about to leave the place: it has nothing left to do but
    /// that.
    #[must_use]
    pub(crate) fn push_reserved(&self, value: T) -> bool {
        // Ordering: Acquire and Release, here and below, as in `claim`.
        let mut tail = self.tail.0.load(Acquire);
        loop {
            let position = self.position(tail);
            if self.slot(position).stamp.load(Acquire) != position {
                thread::yield_now();
                tail = self.tail.0.load(Acquire);
                continue;
            }
            let next = self.advance(position, 1) | ((tail & (self.one - 1)) - RESERVED);
            // Ordering: Acquire also for the change itself: if it comes after a `close`, what was done before
            // that is seen, such as the end of the last receiver.
            match self.tail.0.compare_exchange_weak(tail, next, AcqRel, Acquire) {
                Ok(_) => {
                    self.place(position).fill(value);
                    return tail & CLOSED != 0;
                }
                Err(now) => tail = now,
            }
        }
    }

    /// Gives up `count` reserved places. True: the ring is closed.
    #[must_use]
    pub(crate) fn unreserve(&self, count: usize) -> bool {
        // Ordering: SeqCst, a read-modify-write, for `WaitQueue::release`, which our caller calls next.
        self.tail.0.fetch_sub(count as u64 * RESERVED, SeqCst) & CLOSED != 0
    }

    /// Takes the oldest value.
    #[inline]
    pub(crate) fn pop(&self) -> Pop<T> {
        // Ordering: Acquire and Release for both ends as in `claim`.
        let mut head = self.head.0.load(Acquire);
        loop {
            match self.lift(head) {
                Some(Ok((value, slot))) => {
                    // Ordering: Release pairs with the Acquire in `claim`: the value is out. SeqCst as in
                    // `Place::fill`.
                    slot.stamp.swap(head.wrapping_add(self.lap), SeqCst);
                    return Pop::Got(value);
                }
                Some(Err(now)) => {
                    head = now;
                    continue;
                }
                None => {}
            }
            let tail = self.tail.0.load(Acquire);
            let now = self.head.0.load(Acquire);
            if now != head {
                head = now;
                continue;
            }
            return if self.position(tail) != head {
                Pop::Busy
            } else if tail & CLOSED != 0 && self.reserved(tail) == 0 {
                Pop::Closed
            } else {
                Pop::Empty
            };
        }
    }

    /// Takes up to `limit` of the oldest values at once, and appends them. The stamps are written weakly: the
    /// caller goes on with `WaitQueue::release_after_store`.
    pub(crate) fn pop_many(&self, limit: usize, to: &mut Vec<T>) -> Pop<usize> {
        // Ordering: Acquire and Release for both ends as in `claim`.
        let mut head = self.head.0.load(Acquire);
        loop {
            let most = limit.min(self.slots.len()) as u64;
            let is_full = |&step: &u64| {
                let position = self.advance(head, step);
                // Ordering: Acquire as in `pop`.
                self.slot(position).stamp.load(Acquire) == position + self.one
            };
            let count = (0..most).take_while(is_full).count();
            if count <= 1 {
                return match self.pop() {
                    Pop::Got(value) => {
                        to.push(value);
                        Pop::Got(1)
                    }
                    Pop::Empty => Pop::Empty,
                    Pop::Closed => Pop::Closed,
                    Pop::Busy => Pop::Busy,
                };
            }
            to.reserve(count);
            let next = self.advance(head, count as u64);
            if let Err(now) = self.head.0.compare_exchange(head, next, Release, Acquire) {
                head = now;
                continue;
            }
            for step in 0..count as u64 {
                let position = self.advance(head, step);
                let slot = self.slot(position);
                // SAFETY: as in `lift`; we moved `head` over all of these, having seen their stamps.
                to.push(slot.value.with(|cell| unsafe { (*cell).assume_init_read() }));
                // Ordering: Release as in `pop`. The caller's `release_after_store` has the fence.
                slot.stamp.store(position.wrapping_add(self.lap), Release);
            }
            return Pop::Got(count);
        }
    }

    /// Takes the value out of `value`, if need be in place of the oldest one.
    pub(crate) fn force(&self, value: &mut Option<T>) -> Force<T> {
        loop {
            match self.push(value) {
                Push::Done => return Force::Done,
                Push::Closed => return Force::Closed(None),
                Push::Busy => return Force::Busy,
                Push::Full => {}
            }
            // Ordering: as in `pop`.
            let head = self.head.0.load(Acquire);
            let is_full = self.slot(head).stamp.load(Acquire) == head + self.one;
            let tail = self.tail.0.load(Acquire);
            if self.head.0.load(Acquire) != head {
                continue;
            }
            let len = self.distance(head, self.position(tail));
            if len + self.reserved(tail) < self.slots.len() as u64 {
                continue;
            }
            match (len, is_full) {
                (0, _) => return Force::Full,
                (_, false) => return Force::Busy,
                _ => {}
            }
            let Some(Ok((oldest, _))) = self.lift(head) else { continue };
            return match self.replace(head, value) {
                true => Force::Displaced(oldest),
                false => Force::Closed(Some(oldest)),
            };
        }
    }

    /// Puts the value at the end of a full ring from which the caller has moved out what stood at `head`.
    /// False: the ring is closed, and the value stays where it is.
    ///
    /// Nobody knows yet that this place is free, as its stamp was not written: so there is one place more
    /// than all others can account for, and it is ours. Those others may still use up places that are
    /// reserved or that come free.
    fn replace(&self, head: u64, value: &mut Option<T>) -> bool {
        // Ordering: as in `claim`.
        let mut tail = self.tail.0.load(Acquire);
        let done = loop {
            if tail & CLOSED != 0 {
                break None;
            }
            let position = self.position(tail);
            if position != head.wrapping_add(self.lap) && self.slot(position).stamp.load(Acquire) != position
            {
                thread::yield_now();
                tail = self.tail.0.load(Acquire);
                continue;
            }
            let next = self.advance(position, 1) | (tail & (self.one - 1));
            match self.tail.0.compare_exchange_weak(tail, next, Release, Acquire) {
                Ok(_) => break Some(position),
                Err(now) => tail = now,
            }
        };
        if let Some(position) = done {
            if let Some(value) = value.take() {
                // We moved `tail` from here. Either its stamp was seen, or it is the place that `force`
                // emptied, whose stamp of the lap before keeps everybody else away.
                self.place(position).fill(value);
            }
        }
        if done != Some(head.wrapping_add(self.lap)) {
            // Ordering: as in `pop`.
            self.slot(head).stamp.swap(head.wrapping_add(self.lap), SeqCst);
        }
        done.is_some()
    }

    /// No push and no reservation goes through after this. False: that was so already.
    pub(crate) fn close(&self) -> bool {
        // Ordering: SeqCst, a read-modify-write, for `WaitQueue::release`, which our caller calls next.
        self.tail.0.fetch_or(CLOSED, SeqCst) & CLOSED == 0
    }

    pub(crate) fn is_closed(&self) -> bool {
        // Ordering: Acquire pairs with the SeqCst of `close`: what was done before is visible to who acts on
        // the answer.
        self.tail.0.load(Acquire) & CLOSED != 0
    }

    /// How many places a push or a reservation would find; 0 if the next one is still busy. All there are
    /// when closed, so that whoever waits comes to see.
    ///
    /// Counts those behind the first that are busy yet: who comes for one in vain asks again, and gets 0.
    pub(crate) fn free(&self) -> usize {
        loop {
            // Ordering: Acquire as in `claim`.
            let tail = self.tail.0.load(Acquire);
            if tail & CLOSED != 0 {
                return usize::MAX;
            }
            let (position, reserved) = (self.position(tail), self.reserved(tail));
            let is_free = |step: u64| {
                let position = self.advance(position, step);
                self.slot(position).stamp.load(Acquire) == position
            };
            let is_free = is_free(0) && is_free(reserved);
            let head = self.head.0.load(Acquire);
            // Only now is it known that `head` is not past `position`.
            if self.tail.0.load(Acquire) == tail {
                let used = self.distance(head, position) + reserved;
                let free = (self.slots.len() as u64).saturating_sub(used);
                return if is_free { free as usize } else { 0 };
            }
        }
    }

    /// How many values a pop would find; 0 if the oldest is still busy. All there are when nothing will come,
    /// so that whoever waits comes to see. Counts those behind the first as `free` does.
    pub(crate) fn ready(&self) -> usize {
        loop {
            // Ordering: Acquire as in `claim`.
            let head = self.head.0.load(Acquire);
            let is_full = self.slot(head).stamp.load(Acquire) == head + self.one;
            let tail = self.tail.0.load(Acquire);
            if self.head.0.load(Acquire) != head {
                continue;
            }
            let len = self.distance(head, self.position(tail));
            return match len {
                0 if tail & CLOSED != 0 && self.reserved(tail) == 0 => usize::MAX,
                _ if is_full => len as usize,
                _ => 0,
            };
        }
    }

    /// Exact for the moment at which both ends stood as seen.
    pub(crate) fn look(&self) -> Look {
        loop {
            // Ordering: Acquire keeps the three looks in this order.
            let tail = self.tail.0.load(Acquire);
            let head = self.head.0.load(Acquire);
            if self.tail.0.load(Acquire) != tail {
                continue;
            }
            let count = |word| word / self.lap * self.slots.len() as u64 + self.index(word);
            return Look {
                len: self.distance(head, self.position(tail)) as usize,
                reserved: self.reserved(tail) as usize,
                closed: tail & CLOSED != 0,
                pushed: count(tail),
                popped: count(head),
            };
        }
    }

    /// Drops what is in the ring, one by one. A drop that panics does not keep the others.
    pub(crate) fn drain(&self) {
        struct Rest<'a, T>(&'a Ring<T>);
        impl<T> Drop for Rest<'_, T> {
            fn drop(&mut self) {
                self.0.drain();
            }
        }
        loop {
            match self.pop() {
                Pop::Got(value) => {
                    let rest = Rest(self);
                    drop(value);
                    std::mem::forget(rest);
                }
                Pop::Busy => thread::yield_now(),
                Pop::Empty | Pop::Closed => return,
            }
        }
    }
}

impl<T> Drop for Ring<T> {
    fn drop(&mut self) {
        self.drain();
    }
}
