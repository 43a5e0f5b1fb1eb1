//! Layer 0. An unbounded queue for many producers and many consumers: linked blocks of slots.
//!
//! Owns the blocks and two ends, `tail` and `head`. Names nothing but the shim and the answers of `ring`; who
//! waits for messages is the business of `channel`, its only caller.
//!
//! Blocks linked at both ends, as in crossbeam's `SegQueue`: a push or a pop claims a position by one
//! compare-exchange of its end, and then has the slot of that position to itself; whoever claims the last
//! slot of a block moves that end to the next one. We differ in these points:
//! - **One read-modify-write a message on either side.** A slot that was read is marked by a plain store.
//!   A block that `head` has left is put aside until all its slots are marked, which is looked at whenever a
//!   block is left or wanted: mostly at once. So a reader that loses its processor delays a block, and nobody
//!   waits for it.
//! - Blocks are used again: as many as lie in 16 KiB are kept, the others go back to the allocator, so that a
//!   burst costs memory only while it lasts.
//! - Each end has on its own line what was last seen of the other one, so that the other line is fetched only
//!   when that is used up.
//! - `tail` also counts the places that are *reserved*, and says whether the chain is closed, as in `ring`.
//! - Those who work at once stand back for each other, as in `ring`.
//!
//! # The unit is put in by the claim
//! `WaitQueue::release` asks that whoever puts a unit in does so by a `SeqCst` read-modify-write. Here that
//! is the claim of a position, before the value is in its slot; [`Chain::ready`] counts the positions that
//! were claimed. A consumer that claims such a position *waits* for the value, actively: the producer has a
//! move of `T` to go, runs no code of the user's meanwhile, and takes no lock, so the wait lasts as long as
//! that, or until the system lets a thread that lost its processor right there run again. (Were the unit put
//! in by the write of the slot, each push would need a second read-modify-write, and each pop too.) The
//! same holds while an end is moved to the next block.

use std::iter;
use std::marker::PhantomData;
use std::panic::{RefUnwindSafe, UnwindSafe};
use std::ptr::NonNull;

use block::{Block, Claim, LAP, ONE, READ, SLOTS, Stock, WRITTEN, offset};

use crate::ring::{Backoff, Look, Many, Pop, Push, Users, drop_all, linger};
use crate::shim::Ordering::{AcqRel, Acquire, Relaxed, Release, SeqCst};
use crate::shim::task::{AtomicBool, AtomicPtr, AtomicU32, AtomicU64};
use crate::shim::{Mutex, Spin};

mod block;
mod quick;
mod sole;
#[cfg(test)]
mod tests;

pub(crate) use sole::{Consumer, mpsc};

/// In `tail`: no new push and no new reservation.
const CLOSED: u64 = 1;
/// In `tail`: one reserved place.
const RESERVED: u64 = 2;
/// How many places can be reserved at a time.
const RESERVED_MAX: usize = (ONE / RESERVED - 1) as usize;
/// Up to so many messages, each new peak is noticed; beyond, one that is an eighth more than the last.
const EXACT: u64 = 512;
/// So many messages make it worth while to look for them.
const ENOUGH: u64 = 32;

/// One end, on lines of its own: two, as they are fetched in pairs.
///
/// | `position % LAP` | `block` holds                                                             |
/// |------------------|---------------------------------------------------------------------------|
/// | below SLOTS      | the slots of that position and those around it                            |
/// | SLOTS            | the ones before; whoever claimed the last of them is about to move it on  |
#[repr(align(128))]
struct End<T> {
    /// The position, from bit 21 up; in `tail`, below that, the reserved places and CLOSED.
    word: AtomicU64,
    block: AtomicPtr<Block<T>>,
    /// A position that the other end has reached.
    seen: AtomicU64,
    /// In `tail`: the most messages that were noticed.
    peak: AtomicU64,
    /// In `tail`: a push that might make as many messages as this looks closer.
    notice: AtomicU64,
    /// For [`linger`].
    rest: AtomicU32,
}

/// See the head of this file. `C` are the consumers: [`Sole`](crate::ring::Sole) has a handle, in `sole.rs`.
pub(crate) struct Chain<T, C: Users = Many> {
    tail: End<T>,
    head: End<T>,
    stock: Mutex<Stock<T>>,
    /// The sole consumer's handle exists.
    is_consumed: AtomicBool,
    users: PhantomData<C>,
}

// No foreign code runs between two steps of a protocol, so no panic leaves one half done.
impl<T, C: Users> UnwindSafe for Chain<T, C> {}
impl<T, C: Users> RefUnwindSafe for Chain<T, C> {}

/// One that is to be written.
struct Place<T>(Claim<T>);

/// Some in a row, in one block, that are to be read: the first, and how many.
struct Places<'a, T, C: Users>(Claim<T>, u64, &'a Chain<T, C>);

#[inline(always)]
fn position(word: u64) -> u64 {
    word & !(ONE - 1)
}

#[inline(always)]
fn reserved(tail: u64) -> u64 {
    (tail & (ONE - 1)) / RESERVED
}

/// How many messages there were before a position, were it not for wrapping.
#[inline(always)]
fn count(word: u64) -> u64 {
    word / ONE / LAP * SLOTS + offset(word).min(SLOTS)
}

/// How many messages there are from one position to a later one.
#[inline(always)]
fn distance(from: u64, to: u64) -> u64 {
    let laps = (to / ONE / LAP).wrapping_sub(from / ONE / LAP) % (u64::MAX / ONE / LAP + 1);
    laps * SLOTS + offset(to).min(SLOTS) - offset(from).min(SLOTS)
}

/// Whether `a` is further than `b`; both within half of all there are.
#[inline(always)]
fn is_past(a: u64, b: u64) -> bool {
    (a.wrapping_sub(b) as i64) > 0
}

impl<T> Place<T> {
    #[inline(always)]
    fn write(self, value: T) {
        let slot = self.0.slot();
        slot.value.with_mut(|cell| {
            // SAFETY: table at `Slot`, first row: the value is ours to write.
            unsafe { (*cell).write(value) };
        });
        slot.stamp.set(self.0.position | WRITTEN);
    }
}

/// Moves the values out.
impl<T, C: Users> Iterator for Places<'_, T, C> {
    type Item = T;

    #[inline(always)]
    fn next(&mut self) -> Option<T> {
        let Places(claim, left, chain) = self;
        *left = left.checked_sub(1)?;
        let (position, slot) = (claim.position, claim.slot());
        // What this waits for is set in `Place::write`: the value is in.
        slot.stamp.wait_for(position | WRITTEN);
        // SAFETY: table at `Slot`, second row: the value is there, and ours to take. Nobody reads it again, as
        // neither `head` nor this claim comes back here.
        let value = slot.value.with(|cell| unsafe { (*cell).assume_init_read() });
        if offset(position) + 1 == SLOTS {
            chain.put_away(claim);
        } else if C::MANY {
            // Looked for in `Stock::sort`: the value is out.
            slot.stamp.set(position | READ);
        }
        claim.position = position.wrapping_add(ONE);
        Some(value)
    }
}

impl<T, C: Users> Chain<T, C> {
    fn empty() -> Chain<T, C> {
        let first = Box::into_raw(Block::new());
        let end = || End {
            word: AtomicU64::new(0),
            block: AtomicPtr::new(first),
            seen: AtomicU64::new(0),
            peak: AtomicU64::new(0),
            notice: AtomicU64::new(0),
            rest: AtomicU32::new(0),
        };
        Chain {
            tail: end(),
            head: end(),
            stock: Mutex::new(Stock { spare: Vec::new(), aside: Vec::new() }),
            is_consumed: AtomicBool::new(false),
            users: PhantomData,
        }
    }

    /// Claims the position of `tail` and changes it by `add`. `may` says for a `tail` why not. Returns the
    /// `tail` before.
    #[inline(always)]
    fn claim(&self, add: u64, may: impl Fn(u64) -> Result<(), Push>) -> Result<(u64, Place<T>), Push> {
        // Ordering: the stamps carry the values, not the two ends. Still each end is changed with Release and
        // loaded with Acquire, here and below, so that two looks fit together: who sees a `head` also sees
        // every `tail` that its consumers needed to get there. And who sees a position also sees the block
        // that was made its end's before.
        let mut tail = self.tail.word.load(Acquire);
        let mut next = None;
        let mut backoff = Backoff::new();
        let mut spin = Spin::new();
        let claimed = loop {
            if let Err(why) = may(tail) {
                break Err(why);
            }
            if offset(tail) == SLOTS {
                spin.turn();
                tail = self.tail.word.load(Acquire);
                continue;
            }
            let block = self.tail.block.load(Acquire);
            if offset(tail) + 1 == SLOTS && next.is_none() {
                next = Some(self.unused_block());
            }
            // Ordering: SeqCst, for `WaitQueue::release`, which our caller calls next. It also acquires: if it
            // comes after a `close`, what was done before that is seen, such as the end of the last receiver.
            match self.tail.word.compare_exchange_weak(tail, tail.wrapping_add(add), SeqCst, Acquire) {
                Ok(_) => {
                    let block = NonNull::new(block).expect("each end has a block");
                    break Ok((tail, Place(Claim { block, position: position(tail) })));
                }
                Err(_) => {
                    backoff.turn();
                    tail = self.tail.word.load(Acquire);
                }
            }
        };
        if let Some(next) = next {
            self.link(next, claimed.as_ref().ok().map(|(_, place)| place));
        }
        if let Ok((tail, _)) = claimed {
            self.notice(tail);
        }
        claimed
    }

    /// Looks how many messages there are with the one for which `tail` was moved on.
    #[cold]
    fn note(&self, tail: u64) {
        let head = self.head.word.load(Acquire);
        // Ordering: Release, and Acquire above, as in `claim`.
        self.tail.seen.store(head, Release);
        // Consumers may be past it by now.
        let len = if is_past(head, tail) { 0 } else { distance(head, tail) + 1 };
        // Ordering: Relaxed: a peak guards nothing. No exchange: while a queue grows, many pushes are here. Of two
        // at once, the one with a few less may be the last to store.
        if self.tail.peak.load(Relaxed) < len {
            self.tail.peak.store(len, Relaxed);
            self.tail.notice.store(if len < EXACT { len } else { len + len / 8 }, Relaxed);
        }
    }

    /// Moves `tail` to the block `next`, if the claim is of the last slot before; else keeps `next`.
    #[cold]
    fn link(&self, next: Box<Block<T>>, place: Option<&Place<T>>) {
        match place {
            Some(Place(claim)) if offset(claim.position) + 1 == SLOTS => {
                let next = Box::into_raw(next);
                self.tail.block.store(next, Release);
                // An addition: places may be reserved, and the chain closed, at any time.
                self.tail.word.fetch_add(ONE, AcqRel);
                // Ordering: Release pairs with the Acquire in `leave`: the next block is made, and who is past
                // this one sees `tail` past it too.
                claim.block().next.store(next, Release);
            }
            _ => {
                let surplus = self.stock.lock().keep(next);
                drop(surplus);
            }
        }
    }

    /// To be called when `tail` was moved on for a message.
    #[inline(always)]
    fn notice(&self, tail: u64) {
        // Ordering: Relaxed for the peak, which guards nothing. Positions count more than there are messages.
        let seen = self.tail.seen.load(Acquire);
        if tail.wrapping_sub(seen) / ONE >= self.tail.notice.load(Relaxed) {
            self.note(tail);
        }
    }

    /// Takes the value out of `value`, unless the chain is closed.
    #[inline(always)]
    pub(crate) fn push(&self, value: &mut Option<T>) -> Push {
        debug_assert!(value.is_some());
        let is_open = |tail| if tail & CLOSED == 0 { Ok(()) } else { Err(Push::Closed) };
        match self.claim(ONE, is_open) {
            Ok((_, place)) => {
                if let Some(value) = value.take() {
                    place.write(value);
                }
                Push::Done
            }
            Err(why) => why,
        }
    }

    /// How many places can be reserved at a time.
    pub(crate) fn reserved_max(&self) -> usize {
        RESERVED_MAX
    }

    /// Reserves `count` places: each lets one value in, even after `close`, and is given up by
    /// `push_reserved` or `unreserve`. `Full`: that would make more than
    /// [`reserved_max`](Self::reserved_max).
    pub(crate) fn reserve(&self, count: usize) -> Push {
        // Ordering: as in `claim`.
        let mut tail = self.tail.word.load(Acquire);
        loop {
            if tail & CLOSED != 0 {
                return Push::Closed;
            }
            if count > RESERVED_MAX - reserved(tail) as usize {
                return Push::Full;
            }
            let next = tail + count as u64 * RESERVED;
            match self.tail.word.compare_exchange_weak(tail, next, Release, Acquire) {
                Ok(_) => return Push::Done,
                Err(now) => tail = now,
            }
        }
    }

    /// Puts in a value for which a place was reserved, whether the chain is closed or not. True: it is closed.
    #[must_use]
    pub(crate) fn push_reserved(&self, value: T) -> bool {
        match self.claim(ONE - RESERVED, |_| Ok(())) {
            Ok((tail, place)) => {
                place.write(value);
                tail & CLOSED != 0
            }
            Err(_) => unreachable!("nothing was said against it"),
        }
    }

    /// Gives up `count` reserved places. True: the chain is closed.
    #[must_use]
    pub(crate) fn unreserve(&self, count: usize) -> bool {
        // Ordering: SeqCst, a read-modify-write, for `WaitQueue::release`, which our caller calls next.
        self.tail.word.fetch_sub(count as u64 * RESERVED, SeqCst) & CLOSED != 0
    }

    /// How far `tail` has come, if `head` is behind it; or why not.
    #[inline(always)]
    fn seen(&self, head: u64, patient: bool) -> Result<u64, Pop<T>> {
        // Ordering: as in `claim`.
        let mut seen = self.head.seen.load(Acquire);
        if !is_past(seen, head) {
            if patient {
                linger(&self.head.rest, seen, ENOUGH, || {
                    let tail = position(self.tail.word.load(Acquire));
                    (tail, tail.wrapping_sub(head) / ONE)
                });
            }
            let tail = self.tail.word.load(Acquire);
            seen = position(tail);
            if seen == head {
                let is_last = tail & CLOSED != 0 && reserved(tail) == 0;
                return Err(if is_last { Pop::Closed } else { Pop::Empty });
            }
            // Ordering: Release pairs with the load above: who sees it sees `tail` there, or further.
            self.head.seen.store(seen, Release);
        }
        Ok(seen)
    }

    /// Takes the value at `head`, which nobody else moves meanwhile.
    #[inline(always)]
    fn next(&self, head: u64, patient: bool) -> Result<T, Pop<T>> {
        self.seen(head, patient)?;
        // Ordering: Relaxed: nobody else moves it.
        let block = NonNull::new(self.head.block.load(Relaxed)).expect("each end has a block");
        let (claim, next) = (Claim { block, position: head }, head.wrapping_add(ONE));
        if offset(next) == SLOTS {
            self.leave(&claim, next);
        } else {
            self.head.word.store(next, Release);
        }
        Ok(Places(claim, 1, self).next().expect("there is one place"))
    }

    /// Moves `head` from `position`, between two blocks, to the next one. The claim has the last slot before.
    #[cold]
    fn leave(&self, claim: &Claim<T>, position: u64) {
        let mut spin = Spin::new();
        let next = loop {
            // Ordering: Acquire pairs with the store in `link`.
            let next = claim.block().next.load(Acquire);
            if !next.is_null() {
                break next;
            }
            spin.turn();
        };
        self.head.block.store(next, Release);
        // A store: while `head` is between two blocks, nobody else moves it.
        self.head.word.store(position.wrapping_add(ONE), Release);
    }

    /// Gives a block that `head` has left to the stock. The claim is of its last slot, which has been read.
    #[cold]
    fn put_away(&self, claim: &Claim<T>) {
        let first = claim.position.wrapping_sub((SLOTS - 1) * ONE);
        let mut stock = self.stock.lock();
        stock.aside.push(Claim { block: claim.block, position: first });
        let surplus = stock.sort(C::MANY);
        drop(stock);
        drop(surplus);
    }

    #[cold]
    fn unused_block(&self) -> Box<Block<T>> {
        let mut stock = self.stock.lock();
        let surplus = stock.sort(C::MANY);
        let spare = stock.spare.pop();
        drop(stock);
        drop(surplus);
        spare.unwrap_or_else(Block::new)
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

    /// How many places a reservation would find; all there are when closed, so that whoever waits comes to
    /// see.
    pub(crate) fn free(&self) -> usize {
        // Ordering: Acquire as in `claim`.
        let tail = self.tail.word.load(Acquire);
        if tail & CLOSED != 0 { usize::MAX } else { RESERVED_MAX - reserved(tail) as usize }
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
            return Look {
                len: distance(head, tail) as usize,
                reserved: reserved(tail) as usize,
                closed: tail & CLOSED != 0,
                // Ordering: Relaxed: a peak guards nothing.
                peak: self.tail.peak.load(Relaxed).max(distance(head, tail)) as usize,
                pushed: count(tail),
                popped: count(head),
            };
        }
    }
}

impl<T> Chain<T> {
    pub(crate) fn new() -> Chain<T> {
        Chain::empty()
    }

    /// Claims up to `limit` positions at `head`, in one block, or says why not.
    #[inline(always)]
    fn lift(&self, limit: u64, patient: bool) -> Result<Places<'_, T, Many>, Pop<T>> {
        // Ordering: as in `claim`, here and below.
        let mut head = self.head.word.load(Acquire);
        let mut backoff = Backoff::new();
        let mut spin = Spin::new();
        loop {
            if offset(head) == SLOTS {
                spin.turn();
                head = self.head.word.load(Acquire);
                continue;
            }
            let seen = self.seen(head, patient)?;
            let block = self.head.block.load(Acquire);
            let count = limit.min(SLOTS - offset(head)).min(distance(head, seen));
            let next = head.wrapping_add(count * ONE);
            match self.head.word.compare_exchange_weak(head, next, Release, Acquire) {
                Ok(_) => {
                    let block = NonNull::new(block).expect("each end has a block");
                    let claim = Claim { block, position: head };
                    if offset(next) == SLOTS {
                        self.leave(&claim, next);
                    }
                    return Ok(Places(claim, count, self));
                }
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
        match self.lift(1, patient) {
            Ok(mut places) => match places.next() {
                Some(value) => Pop::Got(value),
                None => unreachable!("there is one place at least"),
            },
            Err(why) => why,
        }
    }

    /// Takes up to `limit` of the oldest values, one or more, and appends them.
    pub(crate) fn pop_many(&self, limit: usize, to: &mut Vec<T>) -> Pop<usize> {
        let before = to.len();
        let mut left = limit;
        while left > 0 {
            let most = left.min(SLOTS as usize);
            // Now, as nothing may go wrong between the claim and the end of the reading.
            to.reserve(most);
            match self.lift(most as u64, false) {
                Ok(places) => to.extend(places),
                Err(_) if to.len() > before => break,
                Err(Pop::Closed) => return Pop::Closed,
                Err(_) => return Pop::Empty,
            }
            left = limit - (to.len() - before);
        }
        Pop::Got(to.len() - before)
    }

    /// Drops what is in the chain, one by one. A drop that panics does not keep the others.
    pub(crate) fn drain(&self) {
        drop_all(iter::from_fn(|| if let Pop::Got(value) = self.pop() { Some(value) } else { None }));
    }
}

impl<T, C: Users> Drop for Chain<T, C> {
    fn drop(&mut self) {
        struct Last<'a, T, C: Users>(&'a mut Chain<T, C>);
        impl<T, C: Users> Drop for Last<'_, T, C> {
            fn drop(&mut self) {
                drop(self.0.stock.lock().sort(C::MANY));
                // Ordering: Relaxed: nobody else is left.
                let block = self.0.head.block.load(Relaxed);
                // SAFETY: from `Box::into_raw`. The chain is empty, so both ends are in this block, and those
                // before it were put away.
                drop(unsafe { Box::from_raw(block) });
            }
        }
        let last = Last(self);
        // Ordering: Relaxed, as above.
        drop_all(iter::from_fn(|| last.0.next(last.0.head.word.load(Relaxed), false).ok()));
    }
}
