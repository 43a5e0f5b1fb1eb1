//! Layer 3. Where the receivers of a channel wait for messages: in a line, or, if there is but one, alone.
//!
//! Owns the choice ([`Line`]), and the place of an only receiver ([`Lone`]): one waker behind a lock, and the flag
//! that lets a sender pass by when nobody waits. Called by `shared` and `receive`.
//!
//! # Alone
//! Where there is nobody else to be fair to, to be overtaken by, or to pass an invitation on to, nothing is left of
//! the rule of the line. So whoever looks in vain leaves its waker, and whoever puts a message in takes it out and
//! calls it.
//!
//! *No wake-up is lost*, by the handshake of `wait_queue`. The sender puts its message in, by a `SeqCst`
//! read-modify-write, and then loads the flag. The receiver sets the flag, fences, and looks for messages once more.
//! In the one order of all `SeqCst` operations either the flag is set before that load, and the sender takes the
//! lock and the waker; or the load precedes the fence, so the message does too, and the receiver sees it. A receiver
//! that finds its own waker still there, under the lock, need not look: whoever takes it has yet to come.
//!
//! *Two at once.* The receiver is borrowed by whoever waits, yet two may have left a waker: a stream that was polled
//! keeps its place while `recv` is called, and a future can be leaked. The second finds the waker of the first. If
//! that wakes somebody else it is called, in vain at worst; who is still there comes again. So the one that is left
//! is that of whoever looked last, and nobody waits unknown.
//!
//! *Who leaves* takes its own waker out, by the number under which it was left, and nobody else's. A message that
//! it was woken for stays in the channel, where the next receive looks first.
#![forbid(unsafe_code)]

use std::fmt;
use std::pin::Pin;
use std::task::{Context, Poll, Waker};

use super::decision::Party;
use super::operation::Place;
use super::shared::{poll_units, tell};
use crate::shim::Ordering::{Relaxed, SeqCst};
use crate::shim::task::AtomicBool;
use crate::shim::{self, Mutex};
use crate::wait_queue::WaitQueue;
use crate::wake_batch::quietly;

/// Where those wait who want messages. Each is a unit; see `wait_queue`.
pub trait Line: fmt::Debug {
    fn new() -> Self;
    /// Whether a newcomer may try to take a message at once.
    fn may_barge(&self) -> bool;
    /// Whether somebody has to be told of a message that was put in, by a `SeqCst` read-modify-write, just now.
    fn must_release(&self) -> bool;
    /// Tells whom the messages that are there may concern.
    fn release(&self, units: impl Fn() -> usize);
    /// Takes a message without waiting, if the rule of the line lets the caller.
    fn try_claim<R>(&self, take: impl FnMut() -> Option<R>) -> Option<R>;
    /// Takes a message, or waits for one: see [`poll_units`].
    fn poll<R>(
        &self,
        place: Pin<&mut Place>,
        units: &dyn Fn() -> usize,
        take: &mut dyn FnMut() -> Option<R>,
        party: Option<Party<'_>>,
        cx: &mut Context<'_>,
    ) -> Poll<R>;
    /// Waits no more.
    fn leave(&self, place: Pin<&mut Place>);
    /// How many wait.
    fn count_waiters(&self) -> usize;
}

/// One of many.
#[derive(Debug)]
pub struct Queued(WaitQueue);

impl Line for Queued {
    fn new() -> Queued {
        Queued(WaitQueue::new())
    }

    #[inline(always)]
    fn may_barge(&self) -> bool {
        self.0.may_barge()
    }

    #[inline(always)]
    fn must_release(&self) -> bool {
        self.0.must_release()
    }

    fn release(&self, units: impl Fn() -> usize) {
        self.0.release(units);
    }

    #[inline]
    fn try_claim<R>(&self, take: impl FnMut() -> Option<R>) -> Option<R> {
        self.0.try_claim(take)
    }

    fn poll<R>(
        &self,
        place: Pin<&mut Place>,
        units: &dyn Fn() -> usize,
        take: &mut dyn FnMut() -> Option<R>,
        party: Option<Party<'_>>,
        cx: &mut Context<'_>,
    ) -> Poll<R> {
        poll_units(&self.0, place, 1, units, take, party, cx)
    }

    fn leave(&self, place: Pin<&mut Place>) {
        place.drop_waiter();
    }

    fn count_waiters(&self) -> usize {
        self.0.count_waiters()
    }
}

/// See the head of this file.
pub struct Lone {
    /// A waker lies here. Written under the lock, read without.
    armed: AtomicBool,
    waits: Mutex<Waits>,
}

struct Waits {
    /// Of whoever looked last, until it is called or taken back.
    waker: Option<Waker>,
    /// The number under which it was left; none is 0.
    ticket: usize,
}

impl Lone {
    /// Takes the waker out, if there is one and `choose` likes its number.
    fn take(&self, choose: impl FnOnce(usize) -> bool) -> Option<Waker> {
        let mut waits = self.waits.lock();
        if !choose(waits.ticket) {
            return None;
        }
        // Ordering: Relaxed: who needs the order of this store fences after it: see the head of this file.
        self.armed.store(false, Relaxed);
        waits.waker.take()
    }

    /// Leaves `waker`, and returns the one that was there, and the number under which it was left.
    fn put(&self, waker: Waker) -> (Option<Waker>, usize) {
        let mut waits = self.waits.lock();
        waits.ticket = waits.ticket.checked_add(1).unwrap_or(1);
        // Ordering: Relaxed, as in `take`.
        self.armed.store(true, Relaxed);
        (waits.waker.replace(waker), waits.ticket)
    }

    /// Whether the waker with this number is still there, and wakes the same as `waker`.
    fn is_armed(&self, ticket: usize, waker: &Waker) -> bool {
        let waits = self.waits.lock();
        waits.ticket == ticket && waits.waker.as_ref().is_some_and(|mine| mine.will_wake(waker))
    }
}

impl Line for Lone {
    fn new() -> Lone {
        Lone { armed: AtomicBool::new(false), waits: Mutex::new(Waits { waker: None, ticket: 0 }) }
    }

    #[inline(always)]
    fn may_barge(&self) -> bool {
        true
    }

    #[inline(always)]
    fn must_release(&self) -> bool {
        shim::fence_between_seqcst_accesses();
        // Ordering: SeqCst pairs with the fence in `poll`: the handshake at the head of this file.
        self.armed.load(SeqCst)
    }

    fn release(&self, _: impl Fn() -> usize) {
        if self.must_release() {
            tell(self.take(|_| true));
        }
    }

    #[inline]
    fn try_claim<R>(&self, mut take: impl FnMut() -> Option<R>) -> Option<R> {
        take()
    }

    fn poll<R>(
        &self,
        mut place: Pin<&mut Place>,
        _: &dyn Fn() -> usize,
        take: &mut dyn FnMut() -> Option<R>,
        party: Option<Party<'_>>,
        cx: &mut Context<'_>,
    ) -> Poll<R> {
        let mut take = || match party {
            Some(party) => party.decision.claim(party.number, &mut *take),
            None => take(),
        };
        let mine = place.ticket;
        if mine != 0 {
            if let Some(answer) = take() {
                self.leave(place);
                return Poll::Ready(answer);
            }
        }
        if mine == 0 || !self.is_armed(mine, cx.waker()) {
            // User code, while nothing is half done.
            let (old, ticket) = self.put(cx.waker().clone());
            place.as_mut().stand(ticket);
            // Ordering: SeqCst pairs with the load in `must_release`.
            shim::fence(SeqCst);
            if let Some(old) = old {
                quietly(|| if old.will_wake(cx.waker()) { drop(old) } else { old.wake() });
            }
            if let Some(answer) = take() {
                self.leave(place);
                return Poll::Ready(answer);
            }
        }
        if party.is_some_and(|party| party.decision.get().is_some()) {
            self.leave(place);
        }
        Poll::Pending
    }

    fn leave(&self, place: Pin<&mut Place>) {
        let mine = place.as_ref().ticket;
        place.stand(0);
        // Ordering: Relaxed: our own waker has been left by us, so this says so until it was taken.
        if mine != 0 && self.armed.load(Relaxed) {
            let waker = self.take(|ticket| ticket == mine);
            quietly(|| drop(waker));
        }
    }

    fn count_waiters(&self) -> usize {
        // Ordering: Relaxed: a report.
        self.armed.load(Relaxed).into()
    }
}

impl fmt::Debug for Lone {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Lone").field("waiters", &self.count_waiters()).finish()
    }
}
