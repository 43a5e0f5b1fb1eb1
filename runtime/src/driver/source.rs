//! Layer 1, driver. One registered resource: what is known of its readiness, and who waits for more.
//!
//! Owns one atomic word and a short list of wakers. Names no descriptor and no mio: the reactor passes events in
//! through [`Source::set_ready`], a registration passes in how to arm it, and models do both by plain calls.
//! Called by whichever thread polls the reactor, and by tasks on any thread.
//!
//! After tokio's `ScheduledIo`; we differ in four points. The tick has 56 bits, so that it is never confused
//! (tokio's 8 bits once were, <https://github.com/tokio-rs/tokio/issues/6133>). A direction that the selector has
//! not been told of yet counts as "worth a try", which makes registration lazy. An operation that would block
//! clears the closed flags of its direction too: the flags were wrong then, and nothing can spin on them. And a
//! task that takes another's place in the poll slot wakes it, so that two readers are slow, but never stuck.
//!
//! # Why no readiness is lost
//! 1. *A clear against a newer event.* `set_ready` moves the tick in the same exchange that sets the flags, and
//!    `clear` gives up when the tick is not the one that its operation had seen. So a clear removes only flags of
//!    events that came before its operation began, and that operation is the proof that they are stale.
//! 2. *A waker against an event.* `park` looks at the word and stores the waker in one critical section;
//!    `set_ready` changes the word first and takes the wakers in a critical section of the same lock after it.
//!    Whichever section is first: either the waker is there to be taken, or the word is there to be seen.
//! 3. *Arming.* The selector reports the state at the time of arming as an event, so what came between an
//!    operation that would block and the arming that it leads to is seen.
//! 4. *Wakers* are cloned before and dropped or woken after the critical section: they are user code.
#![forbid(unsafe_code)]

use std::fmt;
use std::io;
use std::ops::BitOr;
use std::panic::Location;
use std::task::{Context, Poll, Waker, ready};

use filch_channels::probe::{self, Wait};
use slab::Slab;

use crate::shim::Mutex;
use crate::shim::Ordering::{Acquire, Relaxed, Release};
use crate::shim::task::AtomicU64;

#[cfg(test)]
mod tests;

const READABLE: u8 = 1;
const WRITABLE: u8 = 1 << 1;
const READ_CLOSED: u8 = 1 << 2;
const WRITE_CLOSED: u8 = 1 << 3;
const ERROR: u8 = 1 << 4;
const SHUTDOWN: u8 = 1 << 5;
/// From an interest to its closed flag, and to the flag that says it is armed.
const CLOSED_SHIFT: u8 = 2;
const ARMED_SHIFT: u8 = 6;
const TICK_ONE: u64 = 1 << 8;

/// Which directions of a resource to wait for.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Interest(u8);

impl Interest {
    /// Wait until there is something to read, or nothing ever will be.
    pub const READABLE: Interest = Interest(READABLE);
    /// Wait until there is room to write, or never will be.
    pub const WRITABLE: Interest = Interest(WRITABLE);

    /// Both interests together.
    #[must_use]
    pub const fn add(self, other: Interest) -> Interest {
        Interest(self.0 | other.0)
    }

    /// Whether reading is part of it.
    pub const fn is_readable(self) -> bool {
        self.0 & READABLE != 0
    }

    /// Whether writing is part of it.
    pub const fn is_writable(self) -> bool {
        self.0 & WRITABLE != 0
    }

    /// The flags that make a resource ready for this interest.
    const fn mask(self) -> u8 {
        self.0 | self.0 << CLOSED_SHIFT
    }

    fn wait_kind(self) -> Wait {
        if self.is_readable() { Wait::Readable } else { Wait::Writable }
    }
}

impl BitOr for Interest {
    type Output = Interest;

    fn bitor(self, other: Interest) -> Interest {
        self.add(other)
    }
}

impl fmt::Debug for Interest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        Ready(self.0).fmt(f)
    }
}

/// In which ways a resource is ready.
///
/// Readiness is a hint: an operation may still say that it would block.
#[derive(Clone, Copy, Default, PartialEq, Eq, Hash)]
pub struct Ready(u8);

impl Ready {
    /// Ready in no way.
    pub const EMPTY: Ready = Ready(0);
    /// There is something to read.
    pub const READABLE: Ready = Ready(READABLE);
    /// There is room to write.
    pub const WRITABLE: Ready = Ready(WRITABLE);
    /// The other side writes no more. What it wrote before may still be there to be read.
    pub const READ_CLOSED: Ready = Ready(READ_CLOSED);
    /// The other side reads no more.
    pub const WRITE_CLOSED: Ready = Ready(WRITE_CLOSED);
    /// An error is waiting to be taken.
    pub const ERROR: Ready = Ready(ERROR);

    /// Whether it is ready in no way.
    pub const fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// Whether a read is worth a try: there is something to read, or its end.
    pub const fn is_readable(self) -> bool {
        self.0 & (READABLE | READ_CLOSED) != 0
    }

    /// Whether a write is worth a try: there is room, or its error.
    pub const fn is_writable(self) -> bool {
        self.0 & (WRITABLE | WRITE_CLOSED) != 0
    }

    /// Whether the other side writes no more.
    pub const fn is_read_closed(self) -> bool {
        self.0 & READ_CLOSED != 0
    }

    /// Whether the other side reads no more.
    pub const fn is_write_closed(self) -> bool {
        self.0 & WRITE_CLOSED != 0
    }

    /// Whether an error is waiting to be taken.
    pub const fn is_error(self) -> bool {
        self.0 & ERROR != 0
    }
}

impl BitOr for Ready {
    type Output = Ready;

    fn bitor(self, other: Ready) -> Ready {
        Ready(self.0 | other.0)
    }
}

impl fmt::Debug for Ready {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const NAMES: [(u8, &str); 5] = [
            (READABLE, "READABLE"),
            (WRITABLE, "WRITABLE"),
            (READ_CLOSED, "READ_CLOSED"),
            (WRITE_CLOSED, "WRITE_CLOSED"),
            (ERROR, "ERROR"),
        ];
        if self.is_empty() {
            return f.write_str("EMPTY");
        }
        let set = NAMES.iter().filter(|(bit, _)| self.0 & bit != 0);
        f.write_str(&set.map(|(_, name)| *name).collect::<Vec<_>>().join(" | "))
    }
}

/// The word of a source as it was when an operation began.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Seen(u64);

impl Seen {
    fn flags(self) -> u8 {
        self.0 as u8
    }

    /// In which of the ways that `interest` asks for the source was ready; an error is always told.
    pub(crate) fn ready(self, interest: Interest) -> Ready {
        Ready(self.flags() & (interest.mask() | ERROR))
    }

    /// The directions that the selector reports; none at first.
    pub(super) fn armed(self) -> Interest {
        Interest(self.flags() >> ARMED_SHIFT)
    }

    /// Whether the selector reports every direction of `interest`.
    pub(super) fn is_armed(self, interest: Interest) -> bool {
        self.armed().0 & interest.0 == interest.0
    }

    /// Not so only when an operation would surely block: armed, and no event since the last that did.
    pub(super) fn may_try(self, interest: Interest) -> bool {
        self.flags() & (interest.mask() | SHUTDOWN) != 0 || !self.is_armed(interest)
    }
}

/// One who waits on a source: in the slot of the direction, as the `poll_` functions do, or in the list.
pub(crate) struct Waiter {
    interest: Interest,
    location: Option<&'static Location<'static>>,
    place: Place,
}

enum Place {
    /// One for each direction, so the interest is one direction. Needs no clean-up.
    Slot,
    /// The key in the list, once there. Whoever drops such a waiter calls [`Source::forget`] first.
    Listed(Option<usize>),
}

impl Waiter {
    /// The one who polls this direction. `interest` is a single direction.
    pub(crate) fn slot(interest: Interest) -> Waiter {
        debug_assert!(interest != Interest::READABLE | Interest::WRITABLE, "a slot serves one direction");
        Waiter { interest, location: None, place: Place::Slot }
    }

    /// One of any number who wait for `interest`.
    pub(crate) fn listed(interest: Interest, location: Option<&'static Location<'static>>) -> Waiter {
        Waiter { interest, location, place: Place::Listed(None) }
    }
}

/// What is known of one resource, and who waits for more. See the top of the file for the protocol.
pub(crate) struct Source {
    /// | bits | name                          | set by                 | cleared by                              |
    /// |------|-------------------------------|------------------------|-----------------------------------------|
    /// | 0, 1 | READABLE, WRITABLE            | `set_ready`            | `clear`, after an operation would block |
    /// | 2, 3 | READ_CLOSED, WRITE_CLOSED     | `set_ready`            | the same                                |
    /// | 4    | ERROR                         | `set_ready`            | the same, either direction              |
    /// | 5    | SHUTDOWN                      | `shut_down`            | never                                   |
    /// | 6, 7 | ARMED, for reading and writing| `set_armed`            | never                                   |
    /// | 8..  | the tick                      | plus 1 by `set_ready`  | never                                   |
    word: AtomicU64,
    waiters: Mutex<Waiters>,
}

#[derive(Default)]
struct Waiters {
    reader: Option<Waker>,
    writer: Option<Waker>,
    others: Slab<Listed>,
}

/// An entry of the list. It stays when its waker is taken: its owner removes it.
struct Listed {
    interest: Interest,
    waker: Option<Waker>,
}

impl Source {
    pub(crate) fn new() -> Source {
        Source { word: AtomicU64::new(0), waiters: Mutex::new(Waiters::default()) }
    }

    pub(crate) fn seen(&self) -> Seen {
        // Ordering: Acquire pairs with the Release in `set_ready`: whoever sees an event also sees what the
        // polling thread saw before it, which matters to operations that look at memory (signal counts).
        Seen(self.word.load(Acquire))
    }

    /// Notes an event and moves the wakers of those who wait for it to `out`. Wakes nobody itself.
    pub(crate) fn set_ready(&self, ready: Ready, out: &mut Vec<Waker>) {
        let mut word = self.word.load(Relaxed);
        loop {
            let next = (word | u64::from(ready.0)).wrapping_add(TICK_ONE);
            // Ordering: Release pairs with the Acquire in `seen`. Relaxed on failure: the value is only tried again.
            match self.word.compare_exchange_weak(word, next, Release, Relaxed) {
                Ok(_) => break,
                Err(now) => word = now,
            }
        }
        self.take_wakers(ready, out);
    }

    /// Marks the source as one that nobody will report on any more, and moves all wakers to `out`.
    pub(crate) fn shut_down(&self, out: &mut Vec<Waker>) {
        // Ordering: Release, as in `set_ready`.
        self.word.fetch_or(u64::from(SHUTDOWN), Release);
        self.take_wakers(Ready::READABLE | Ready::WRITABLE, out);
    }

    /// Notes that the selector reports `interest` from now on.
    pub(crate) fn set_armed(&self, interest: Interest) {
        // Ordering: Relaxed: who sees it late tries an operation once more in vain. The event that arming causes
        // is published by `set_ready`.
        self.word.fetch_or(u64::from(interest.0 << ARMED_SHIFT), Relaxed);
    }

    /// Forgets the readiness for `interest` that `seen` shows, closed flags included, unless an event came since.
    /// The caller has just been told that an operation would block.
    pub(crate) fn clear(&self, seen: Seen, interest: Interest) {
        self.remove(seen, interest.mask() | ERROR);
    }

    /// As [`Source::clear`], but without that proof: final states stay.
    pub(crate) fn clear_open(&self, seen: Seen, interest: Interest) {
        self.remove(seen, interest.0);
    }

    /// Called after a transfer on a stream that stopped short. An edge-triggered selector will report what comes
    /// next, so the operation that would only say "would block" is saved. Not so once the other side is known to
    /// have closed, or to have failed: no further event may come then.
    pub(crate) fn clear_short(&self, seen: Seen, interest: Interest) {
        let last = interest.mask() & !interest.0 | ERROR;
        if cfg!(any(target_os = "linux", target_os = "android")) && seen.flags() & last == 0 {
            self.remove(seen, interest.0);
        }
    }

    fn remove(&self, seen: Seen, flags: u8) {
        let mut word = seen.0;
        while word / TICK_ONE == seen.0 / TICK_ONE && word as u8 & flags != 0 {
            // Ordering: Relaxed, both: the tick is compared in the same exchange, and a removal publishes nothing.
            // It also continues the release sequence of `set_ready`, so a later `seen` loses nothing.
            match self.word.compare_exchange_weak(word, word & !u64::from(flags), Relaxed, Relaxed) {
                Ok(_) => return,
                Err(now) => word = now,
            }
        }
    }

    /// Runs `op` until it does not say `WouldBlock`, waiting for an event whenever it would surely say so.
    ///
    /// `arm` tells the selector of the waiter's interest, which it is given; it is called when `op` would block
    /// and that has not been done yet. Spends one of the task's budget for each result.
    pub(crate) fn poll_io<T>(
        &self,
        waiter: &mut Waiter,
        cx: &mut Context<'_>,
        mut arm: impl FnMut(Interest) -> io::Result<()>,
        mut op: impl FnMut(Seen) -> io::Result<T>,
    ) -> Poll<io::Result<T>> {
        ready!(probe::poll_budget(cx));
        loop {
            let seen = self.seen();
            if seen.may_try(waiter.interest) {
                match op(seen) {
                    Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                    Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                    result => {
                        probe::spend();
                        return Poll::Ready(result);
                    }
                }
                if seen.flags() & SHUTDOWN != 0 {
                    return Poll::Ready(Err(shut_down()));
                }
                self.clear(seen, waiter.interest);
                if !seen.is_armed(waiter.interest) {
                    arm(waiter.interest)?;
                }
            }
            if self.park(waiter, cx) {
                probe::waiting(waiter.interest.wait_kind(), std::ptr::from_ref(self).cast(), waiter.location);
                return Poll::Pending;
            }
        }
    }

    /// Leaves the task's waker, unless an operation has become worth a try.
    fn park(&self, waiter: &mut Waiter, cx: &mut Context<'_>) -> bool {
        let fresh = cx.waker().clone();
        let before = {
            let mut waiters = self.waiters.lock();
            if self.seen().may_try(waiter.interest) {
                return false;
            }
            waiters.place(waiter).replace(fresh)
        };
        if let (Place::Slot, Some(other)) = (&waiter.place, before) {
            // Another task polls the same direction. It will find that it must wait again, and take turns with us
            // until an event comes.
            if !other.will_wake(cx.waker()) {
                other.wake();
            }
        }
        true
    }

    fn take_wakers(&self, ready: Ready, out: &mut Vec<Waker>) {
        let mut waiters = self.waiters.lock();
        if ready.is_readable() {
            out.extend(waiters.reader.take());
        }
        if ready.is_writable() {
            out.extend(waiters.writer.take());
        }
        for (_, other) in &mut waiters.others {
            if ready.0 & other.interest.mask() != 0 {
                out.extend(other.waker.take());
            }
        }
    }

    /// Takes a waiter off the list. All who wait are woken by an event, so there is nothing to pass on.
    pub(crate) fn forget(&self, waiter: &mut Waiter) {
        let Place::Listed(key) = &mut waiter.place else { return };
        let entry = key.take().and_then(|key| self.waiters.lock().others.try_remove(key));
        // Only now, when the lock is not held.
        drop(entry);
    }
}

impl Waiters {
    fn place(&mut self, waiter: &mut Waiter) -> &mut Option<Waker> {
        match &mut waiter.place {
            Place::Slot if waiter.interest.is_readable() => &mut self.reader,
            Place::Slot => &mut self.writer,
            Place::Listed(key) => {
                let interest = waiter.interest;
                let key = *key.get_or_insert_with(|| self.others.insert(Listed { interest, waker: None }));
                &mut self.others[key].waker
            }
        }
    }
}

/// The error of an operation that would wait for a reactor that is gone.
pub(crate) fn shut_down() -> io::Error {
    io::Error::other(
        "the runtime that this socket belongs to has been shut down, so it would wait for ever; \
         keep the runtime until its sockets are done, or make the socket on the one that uses it",
    )
}
