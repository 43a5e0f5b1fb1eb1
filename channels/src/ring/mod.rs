//! Layer 0. A bounded queue for many producers and many consumers that never waits for room or for messages.
//!
//! Owns the slots and two ends, `tail` and `head`. Names nothing but the shim; who waits for room or for
//! messages is the business of `channel`, its only caller.
//!
//! Based on Vyukov's bounded MPMC queue <https://www.1024cores.net/home/lock-free-algorithms/queues>: each
//! slot has a stamp that says for which lap of the ring it is free or full; a push or a pop claims a position
//! by one compare-exchange of its end, and then has the slot of that position to itself. We differ in these
//! points:
//! - Whether there is room, or a message, is told by the two ends, not by the stamp. Each end has on its own
//!   line what was last seen of the other one, so that the other line is fetched only when that is used up.
//! - `tail` also counts the places that are *reserved*, and says whether the ring is closed. So a
//!   reservation, which in tokio's channel costs every message two operations on a semaphore, costs those who
//!   make none nothing; and no push goes through after `close`.
//! - Any capacity from 1 up will do; there are as many slots as the next power of two.
//!
//! # The unit is put in by the claim
//! `WaitQueue::release` asks that whoever puts a unit in, a message or a free place, does so by a `SeqCst`
//! read-modify-write. Here that is the claim, before the value is in its slot, or out of it; [`Ring::ready`]
//! and [`Ring::free`] count the positions that were claimed. Whoever claims a position in its turn *waits*,
//! actively, until the one before is through with the slot: that one has a move of `T` to go, runs no code of
//! the user's meanwhile, and takes no lock, so the wait lasts as long as that, or until the system lets a
//! thread that lost its processor right there run again. (Were the unit put in by the stamp, each push and
//! each pop would need a second read-modify-write, which is most of what they cost.)
//!
//! # One consumer
//! A consumer that is the only one for sure ([`Sole`]; `sole.rs` has its handle) needs no claim: it takes the
//! value first, and then moves `head`, by one read-modify-write too, for the same reason. So producers find the
//! slot free, and the stamp that would say so is neither written nor read. (The same for one producer was
//! tried: a value written before the exchange costs more than one written after it.)
//!
//! Waits cannot be in a circle: who writes position `p` waits for the reader of the lap before, and who reads
//! `p` waits for its writer, so each waits for a smaller position.
//!
//! Who loses an exchange, or finds the other side at work and next to nothing left, stands back: see `pause.rs`.

use std::iter;
use std::marker::PhantomData;
use std::mem::MaybeUninit;
use std::panic::{RefUnwindSafe, UnwindSafe};

use crate::shim::Ordering::{Acquire, Relaxed, Release, SeqCst};
use crate::shim::task::{AtomicBool, AtomicU32, AtomicU64};
use crate::shim::{Mutex, Stamp, UnsafeCell};

mod answer;
mod pause;
mod quick;
mod sole;
#[cfg(test)]
mod tests;

pub(crate) use answer::{Force, Look, Many, Pop, Push, Sole, Users, drop_all};
pub(crate) use pause::{Backoff, linger};
pub(crate) use sole::{Consumer, mpsc};

/// The largest capacity.
pub(crate) const CAPACITY_MAX: usize = 1 << 28;

/// In `tail`: no new push and no new reservation.
const CLOSED: u64 = 1;
/// In `tail`: one reserved place.
const RESERVED: u64 = 2;
/// One step of a position, in `tail` and in `head`.
const ONE: u64 = 1 << 22;
/// How many places can be reserved at a time, if the ring has so many.
const RESERVED_MAX: usize = (ONE / RESERVED - 1) as usize;

/// In a stamp, beside the position: the value is there.
const FULL: u64 = 1;

/// One end, on lines of its own: two, as they are fetched in pairs.
#[repr(align(128))]
#[derive(Debug)]
struct End {
    word: AtomicU64,
    /// A position that the other end has reached.
    seen: AtomicU64,
    /// In `tail`: the most messages that there were, in steps. A push that might make more looks closer.
    peak: AtomicU64,
    rest: AtomicU32, // For `linger`.
}

/// One place. For the slot of position `p`:
///
/// | stamp       | the slot is                              | who may touch `value`         |
/// |-------------|------------------------------------------|-------------------------------|
/// | `p`         | free, or claimed by a producer           | whoever moved `tail` from `p` |
/// | `p`, FULL   | full, or claimed by a consumer           | whoever moved `head` from `p` |
/// | `p` + a lap | free for the next lap                    | as in the first row           |
///
/// `p` + a lap is written where there are many consumers. A sole one is who will move `head` from `p`, next;
/// then the slot is free whenever the ends say so, whatever the stamp.
struct Slot<T> {
    stamp: Stamp,
    value: UnsafeCell<MaybeUninit<T>>,
}

// SAFETY: a value is moved in on one thread and out on another, so `T: Send`. No `&T` is ever handed out, and
// the stamps see to it that a slot's value has one user at a time (table above).
unsafe impl<T: Send> Sync for Slot<T> {}

/// See the head of this file. `C` are the consumers.
pub(crate) struct Ring<T, C: Users = Many> {
    /// The position, from bit 22 up; below that, the reserved places and CLOSED.
    tail: End,
    /// The position, in the same bits.
    head: End,
    /// As many as the next power of two.
    slots: Box<[Slot<T>]>,
    /// In steps of a position.
    capacity: u64,
    /// Held by the one who puts in more than there is room for.
    displacing: Mutex<()>,
    /// The sole consumer's handle exists.
    is_consumed: AtomicBool,
    users: PhantomData<C>,
}

// No foreign code runs between two steps of a protocol, so no panic leaves one half done.
impl<T, C: Users> UnwindSafe for Ring<T, C> {}
impl<T, C: Users> RefUnwindSafe for Ring<T, C> {}

/// Positions in a row that were claimed and are not done with: from the one to before the other.
struct Places<'a, T, C: Users> {
    ring: &'a Ring<T, C>,
    position: u64,
    end: u64,
}

#[inline(always)]
fn position(word: u64) -> u64 {
    word & !(ONE - 1)
}

#[inline(always)]
fn reserved(tail: u64) -> u64 {
    (tail & (ONE - 1)) / RESERVED
}

/// What a `tail` and a `head` of the same time, or an older one, leave no room for: messages, and reserved
/// places. In steps.
#[inline(always)]
fn used(tail: u64, head: u64) -> u64 {
    position(tail).wrapping_sub(head) + reserved(tail) * ONE
}

/// How far it is from `head` to `seen`, which may be behind it. In steps.
#[inline(always)]
fn ready(head: u64, seen: u64) -> u64 {
    (seen.wrapping_sub(head) as i64).max(0) as u64
}

impl<T, C: Users> Ring<T, C> {
    fn with_capacity(capacity: usize) -> Ring<T, C> {
        assert!((1..=CAPACITY_MAX).contains(&capacity));
        let slots = (0..capacity.next_power_of_two() as u64)
            .map(|at| Slot { stamp: Stamp::new(at * ONE), value: UnsafeCell::new(MaybeUninit::uninit()) })
            .collect();
        let end = || End {
            word: AtomicU64::new(0),
            seen: AtomicU64::new(0),
            peak: AtomicU64::new(0),
            rest: AtomicU32::new(0),
        };
        Ring {
            tail: end(),
            head: end(),
            slots,
            capacity: capacity as u64 * ONE,
            displacing: Mutex::new(()),
            is_consumed: AtomicBool::new(false),
            users: PhantomData,
        }
    }

    pub(crate) fn capacity(&self) -> usize {
        (self.capacity / ONE) as usize
    }

    #[inline(always)]
    fn slot(&self, position: u64) -> &Slot<T> {
        let at = (position / ONE) as usize & (self.slots.len() - 1);
        // SAFETY: a number of slots is a power of two, so 1 at least, and `at` is less.
        unsafe { self.slots.get_unchecked(at) }
    }

    /// A `tail`, from this one on, that has room for a message; or why there is none.
    #[inline(always)]
    fn room(&self, tail: u64, patient: bool) -> Result<u64, Push> {
        // Mostly, nothing is reserved, it is not closed, and there were more messages before, so there is
        // room. (Ordering: Relaxed: a peak guards nothing.)
        let plain = tail & (ONE - 1) == 0;
        let len = tail.wrapping_sub(self.tail.seen.load(Acquire));
        if plain && len < self.tail.peak.load(Relaxed) { Ok(tail) } else { self.look_for_room(tail, patient) }
    }

    #[cold]
    fn look_for_room(&self, tail: u64, patient: bool) -> Result<u64, Push> {
        if patient {
            self.linger_for_room();
        }
        let (tail, head) = self.look_for_places(tail, self.capacity - ONE)?;
        self.note(tail.wrapping_add(ONE), head);
        Ok(tail)
    }

    /// Notes that there are, or will be, so many messages.
    fn note(&self, tail: u64, head: u64) {
        let len = position(tail).wrapping_sub(head).min(self.capacity);
        // Ordering: Relaxed: a peak guards nothing.
        let mut peak = self.tail.peak.load(Relaxed);
        while peak < len {
            match self.tail.peak.compare_exchange_weak(peak, len, Relaxed, Relaxed) {
                Ok(_) => return,
                Err(now) => peak = now,
            }
        }
    }

    /// A `tail`, from this one on, of which so much `room` is used at most, and `head`; or why there is none.
    fn look_for_places(&self, mut tail: u64, room: u64) -> Result<(u64, u64), Push> {
        loop {
            if tail & CLOSED != 0 {
                return Err(Push::Closed);
            }
            // Ordering: as in `claim`.
            let head = self.head.word.load(Acquire);
            let now = self.tail.word.load(Acquire);
            if now != tail {
                tail = now;
                continue;
            }
            if used(tail, head) > room {
                return Err(Push::Full);
            }
            // Ordering: Release pairs with the load in `room`: who sees it sees `head` there, or further.
            self.tail.seen.store(head, Release);
            return Ok((tail, head));
        }
    }

    /// The slot of the position of a `tail` that the caller has moved from there.
    #[inline(always)]
    fn place(&self, tail: u64) -> Place<'_, T, C> {
        let position = position(tail);
        Place { ring: self, position }
    }

    /// How many places can be reserved at a time.
    pub(crate) fn reserved_max(&self) -> usize {
        self.capacity().min(RESERVED_MAX)
    }

    /// Reserves `count` places. Each is given up by `push_reserved` or `unreserve`. `Full` too if that would
    /// make more than [`reserved_max`](Self::reserved_max).
    pub(crate) fn reserve(&self, count: usize) -> Push {
        // Ordering: as in `claim`.
        let mut tail = self.tail.word.load(Acquire);
        loop {
            let steps = count.min(self.capacity()) as u64 * ONE;
            tail = match self.look_for_places(tail, self.capacity - steps) {
                Ok((tail, _)) => tail,
                Err(why) => return why,
            };
            if count > self.reserved_max() - reserved(tail) as usize {
                return Push::Full;
            }
            let next = tail + count as u64 * RESERVED;
            match self.tail.word.compare_exchange_weak(tail, next, Release, Acquire) {
                Ok(_) => return Push::Done,
                Err(now) => tail = now,
            }
        }
    }

    /// Gives up `count` reserved places. True: the ring is closed.
    #[must_use]
    pub(crate) fn unreserve(&self, count: usize) -> bool {
        // Ordering: SeqCst, a read-modify-write, for `WaitQueue::release`, which our caller calls next.
        self.tail.word.fetch_sub(count as u64 * RESERVED, SeqCst) & CLOSED != 0
    }

    /// Where `head` is now, and how far `tail` has come, if that is further.
    #[cold]
    fn look_for_values(&self, mut head: u64) -> Result<(u64, u64), Pop<T>> {
        loop {
            let tail = self.tail.word.load(Acquire);
            let now = self.head.word.load(Acquire);
            if now != head {
                head = now;
                continue;
            }
            let seen = position(tail);
            if seen == head {
                let is_last = tail & CLOSED != 0 && reserved(tail) == 0;
                return Err(if is_last { Pop::Closed } else { Pop::Empty });
            }
            // Ordering: Release pairs with the load in `lift`: who sees it sees `tail` there, or further.
            self.head.seen.store(seen, Release);
            return Ok((head, seen));
        }
    }

    /// No push and no reservation goes through after this. False: that was so already.
    pub(crate) fn close(&self) -> bool {
        // Ordering: SeqCst, a read-modify-write, for `WaitQueue::release`, which our caller calls next.
        self.tail.word.fetch_or(CLOSED, SeqCst) & CLOSED == 0
    }

    pub(crate) fn is_closed(&self) -> bool {
        // Ordering: Acquire pairs with the SeqCst of `close`: what was done before is visible to who acts on
        // the answer.
        self.tail.word.load(Acquire) & CLOSED != 0
    }

    /// How many places a push or a reservation would find. All there are when closed, so that whoever waits
    /// comes to see.
    pub(crate) fn free(&self) -> usize {
        let Look { len, reserved, closed, .. } = self.look();
        if closed { usize::MAX } else { self.capacity() - (len + reserved) }
    }

    /// How many values a pop would find. All there are when nothing will come, so that whoever waits comes to
    /// see.
    pub(crate) fn ready(&self) -> usize {
        let Look { len, reserved, closed, .. } = self.look();
        if len == 0 && closed && reserved == 0 { usize::MAX } else { len }
    }

    /// Exact for the moment at which both ends stood as seen.
    pub(crate) fn look(&self) -> Look {
        loop {
            // Ordering: Acquire keeps the three looks in this order.
            let tail = self.tail.word.load(Acquire);
            let head = self.head.word.load(Acquire);
            if self.tail.word.load(Acquire) != tail {
                continue;
            }
            let reserved = reserved(tail) as usize;
            let len = (position(tail).wrapping_sub(head) / ONE) as usize;
            return Look {
                // While one is forced in, there is one too many.
                len: len.min(self.capacity() - reserved),
                reserved,
                closed: tail & CLOSED != 0,
                peak: (self.tail.peak.load(Relaxed) / ONE) as usize,
                pushed: tail / ONE,
                popped: head / ONE,
            };
        }
    }
}

impl<T, C: Users> Ring<T, C> {
    /// Claims the position of `tail` and adds to it, if there is room; returns it as it was.
    #[inline(always)]
    fn claim(&self, patient: bool) -> Result<u64, Push> {
        // Ordering: the stamps carry the values, not the two ends. Still each end is changed with Release and
        // loaded with Acquire, everywhere here, so that two looks fit together: who sees a `tail` also sees
        // every `head` that its producers needed to get there, and the other way round. So `tail - head` is
        // never out of range. SeqCst, here and wherever an end is moved, for `WaitQueue::release`, which our
        // caller calls next.
        let mut tail = self.tail.word.load(Acquire);
        let mut backoff = Backoff::new();
        loop {
            tail = self.room(tail, patient)?;
            match self.tail.word.compare_exchange_weak(tail, tail.wrapping_add(ONE), SeqCst, Acquire) {
                Ok(_) => return Ok(tail),
                Err(_) => {
                    backoff.turn();
                    tail = self.tail.word.load(Acquire);
                }
            }
        }
    }

    /// Takes the value out of `value` if there is room for it.
    #[inline(always)]
    pub(crate) fn push(&self, value: &mut Option<T>) -> Push {
        self.put(value, false)
    }

    /// [`push`](Self::push); one who is `patient` may [`linger`] until there is more room.
    #[inline(always)]
    pub(crate) fn put(&self, value: &mut Option<T>, patient: bool) -> Push {
        debug_assert!(value.is_some());
        match self.claim(patient) {
            Ok(tail) => {
                if let Some(value) = value.take() {
                    self.place(tail).write(value);
                }
                Push::Done
            }
            Err(why) => why,
        }
    }

    /// Puts a value in a place that was reserved, whether the ring is closed or not. True: it is closed.
    #[must_use]
    pub(crate) fn push_reserved(&self, value: T) -> bool {
        // Ordering: SeqCst as in `claim`. It also acquires: if it comes after a `close`, what was done before
        // that is seen, such as the end of the last receiver.
        let tail = self.tail.word.fetch_add(ONE - RESERVED, SeqCst);
        self.note(tail.wrapping_add(ONE), self.head.word.load(Acquire));
        self.place(tail).write(value);
        tail & CLOSED != 0
    }
}

impl<T> Ring<T> {
    /// Claims positions at `head`, up to so many `steps`, or says why not.
    #[inline(always)]
    fn lift(&self, steps: u64, patient: bool) -> Result<Places<'_, T, Many>, Pop<T>> {
        // Ordering: as in `claim`.
        let mut head = self.head.word.load(Acquire);
        let mut backoff = Backoff::new();
        loop {
            let next = if ready(head, self.head.seen.load(Acquire)) >= steps {
                head.wrapping_add(steps)
            } else {
                if patient {
                    self.linger_for_values(head);
                }
                match self.look_for_values(head)? {
                    (now, seen) if now == head => head.wrapping_add(ready(head, seen).min(steps)),
                    (now, _) => {
                        head = now;
                        continue;
                    }
                }
            };
            // Ordering: SeqCst, for `WaitQueue::release`, which our caller calls next.
            match self.head.word.compare_exchange_weak(head, next, SeqCst, Acquire) {
                Ok(_) => return Ok(Places { ring: self, position: head, end: next }),
                Err(_) => {
                    backoff.turn();
                    head = self.head.word.load(Acquire);
                }
            }
        }
    }

    /// Takes the oldest value.
    #[inline(always)]
    pub(crate) fn pop(&self) -> Pop<T> {
        self.get(false)
    }

    /// [`pop`](Self::pop); one who is `patient` may [`linger`] until there are more values.
    #[inline(always)]
    pub(crate) fn get(&self, patient: bool) -> Pop<T> {
        match self.lift(ONE, patient) {
            Ok(mut places) => match places.next() {
                Some(value) => Pop::Got(value),
                None => unreachable!("there is one place at least"),
            },
            Err(why) => why,
        }
    }

    /// Takes up to `limit` of the oldest values at once, and appends them.
    pub(crate) fn pop_many(&self, limit: usize, to: &mut Vec<T>) -> Pop<usize> {
        // Now, as nothing may go wrong between the claim and the end of the reading.
        to.reserve(limit.min(self.look().len.max(1)));
        let most = limit.min(to.capacity() - to.len());
        match self.lift(most as u64 * ONE, false) {
            Ok(places) => {
                let before = to.len();
                to.extend(places);
                Pop::Got(to.len() - before)
            }
            Err(Pop::Closed) => Pop::Closed,
            Err(_) => Pop::Empty,
        }
    }

    /// Drops what is in the ring, one by one. A drop that panics does not keep the others.
    pub(crate) fn drain(&self) {
        drop_all(iter::from_fn(|| if let Pop::Got(value) = self.pop() { Some(value) } else { None }));
    }
}

impl<T> Ring<T> {
    /// A ring of `capacity` places, from 1 to [`CAPACITY_MAX`].
    pub(crate) fn new(capacity: usize) -> Ring<T> {
        Ring::with_capacity(capacity)
    }

    /// Takes the value out of `value`, if need be in place of the oldest one.
    pub(crate) fn force(&self, value: &mut Option<T>) -> Force<T> {
        match self.push(value) {
            Push::Done => Force::Done,
            Push::Closed => Force::Closed,
            Push::Full => self.displace(value),
        }
    }

    /// The value goes in first, beyond the capacity: that gives it its place, once the one before has left
    /// that. Then the oldest is taken out, unless a consumer was quicker.
    ///
    /// One at a time may do so. Were there two in excess, one might take out what the other has yet to write
    /// in the place of what a third has yet to take out for the first.
    #[cold]
    fn displace(&self, value: &mut Option<T>) -> Force<T> {
        let _one_at_a_time = self.displacing.lock();
        // Ordering: as in `claim`, here and below.
        let mut tail = self.tail.word.load(Acquire);
        loop {
            if tail & CLOSED != 0 {
                return Force::Closed;
            }
            // Then there is no value that could be displaced.
            if reserved(tail) * ONE == self.capacity {
                return Force::Full;
            }
            match self.tail.word.compare_exchange_weak(tail, tail.wrapping_add(ONE), SeqCst, Acquire) {
                Ok(_) => break,
                Err(now) => tail = now,
            }
        }
        let place = self.place(tail);
        let mut head = self.head.word.load(Acquire);
        let oldest = loop {
            let tail = self.tail.word.load(Acquire);
            let now = self.head.word.load(Acquire);
            if now != head {
                head = now;
                continue;
            }
            if used(tail, head) <= self.capacity {
                break None;
            }
            match self.head.word.compare_exchange_weak(head, head.wrapping_add(ONE), SeqCst, Acquire) {
                Ok(_) => break Places { ring: self, position: head, end: head.wrapping_add(ONE) }.next(),
                Err(now) => head = now,
            }
        };
        if let Some(value) = value.take() {
            place.write(value);
        }
        oldest.map_or(Force::Done, Force::Displaced)
    }
}

/// A slot that is to be written. Whoever has this moved `tail` from its position.
struct Place<'a, T, C: Users> {
    ring: &'a Ring<T, C>,
    position: u64,
}

impl<T, C: Users> Place<'_, T, C> {
    #[inline(always)]
    fn write(self, value: T) {
        let Place { ring, position } = self;
        let slot = ring.slot(position);
        if C::MANY {
            // What this waits for is set in `Places::next`: the value of the lap before is out.
            slot.stamp.wait_for(position);
        }
        slot.value.with_mut(|cell| {
            // SAFETY: table at `Slot`, first row: the value is ours to write.
            unsafe { (*cell).write(value) };
        });
        slot.stamp.set(position | FULL);
    }
}

/// Moves the values out.
impl<T, C: Users> Iterator for Places<'_, T, C> {
    type Item = T;

    #[inline(always)]
    fn next(&mut self) -> Option<T> {
        let (ring, position) = (self.ring, self.position);
        if position == self.end {
            return None;
        }
        self.position = position.wrapping_add(ONE);
        let slot = ring.slot(position);
        // What this waits for is set in `Place::write`: the value is in.
        slot.stamp.wait_for(position | FULL);
        // SAFETY: table at `Slot`, second row: the value is there, and ours to take. Nobody reads it again, as
        // neither `head` nor this claim comes back here.
        let value = slot.value.with(|cell| unsafe { (*cell).assume_init_read() });
        if C::MANY {
            slot.stamp.set(position.wrapping_add(ring.slots.len() as u64 * ONE));
        }
        Some(value)
    }
}

impl<T, C: Users> Drop for Ring<T, C> {
    fn drop(&mut self) {
        // Ordering: Relaxed: nobody else is left.
        let (head, tail) = (self.head.word.load(Relaxed), position(self.tail.word.load(Relaxed)));
        drop_all(Places { ring: self, position: head, end: tail });
    }
}
