//! Layer 3. The kinds of channels: how many may hold each end, and where the messages lie.
//!
//! Owns the three markers that a user sees, and behind them the choice of the container. An end that one
//! holder has to itself carries its own part of the container, and its methods want `&mut self`: so the
//! container need not reckon with a second one. Called by the ends.
#![forbid(unsafe_code)]
#![allow(
    private_interfaces,
    private_bounds,
    reason = "`Store` and its kin are named in public bounds, and nowhere else"
)]

use std::fmt;

use super::lone::{Line, Lone, Queued};
use super::meet::Meet;
use crate::chain::{self, Chain};
use crate::ring::{self, CAPACITY_MAX, Force, Look, Pop, Push, Ring};
use crate::shim::{Arc, thread};

/// Many senders, many receivers. What [`bounded`](crate::channel::bounded) and its kin make.
#[derive(Clone, Copy, Debug)]
pub enum Mpmc {}

/// Many senders, one receiver. What [`mpsc`](crate::channel::mpsc) makes.
#[derive(Clone, Copy, Debug)]
pub enum Mpsc {}

/// One sender, one receiver. What [`spsc`](crate::channel::spsc) makes.
#[derive(Clone, Copy, Debug)]
pub enum Spsc {}

/// How many may hold each end of a channel: [`Mpmc`], [`Mpsc`] or [`Spsc`].
pub trait Kind: Sized + 'static + sealed::Sealed {
    /// Where the messages lie.
    #[doc(hidden)]
    type Store<T>: Store<T>;
    /// Where receivers wait.
    #[doc(hidden)]
    type Line: Line;
}

mod sealed {
    pub trait Sealed {}
    impl Sealed for super::Mpmc {}
    impl Sealed for super::Mpsc {}
    impl Sealed for super::Spsc {}
}

impl Kind for Mpmc {
    type Store<T> = Many<T>;
    type Line = Queued;
}

impl Kind for Mpsc {
    type Store<T> = ToOne<T>;
    type Line = Lone;
}

impl Kind for Spsc {
    type Store<T> = ToOne<T>;
    type Line = Lone;
}

/// What a sender of `K` has of its own.
pub(super) type Tx<T, K> = <<K as Kind>::Store<T> as Store<T>>::Tx;
/// What a receiver of `K` has of its own.
pub(super) type Rx<T, K> = <<K as Kind>::Store<T> as Store<T>>::Rx;

/// A container with what the ends want of it, which is what [`Ring`] does: see there.
pub trait Store<T> {
    /// What a sender has of its own.
    type Tx;
    /// What a receiver has of its own.
    type Rx;

    /// One who is `patient` may pause for some microseconds, while the other side is at work.
    fn push(&self, tx: &mut Self::Tx, message: &mut Option<T>, patient: bool) -> Push;
    /// What `push` does mostly. False: it takes more than that.
    fn push_at_once(&self, tx: &mut Self::Tx, message: &mut Option<T>) -> bool;
    /// What `pop` does mostly. None: it takes more than that.
    fn pop_at_once(&self, rx: &mut Self::Rx) -> Option<T>;
    fn reserve(&self, tx: &mut Self::Tx, count: usize) -> Push;
    fn push_reserved(&self, tx: &mut Self::Tx, message: T) -> bool;
    fn unreserve(&self, count: usize) -> bool;
    /// `Full`, too, where senders cannot take messages out.
    fn force(&self, _: &mut Option<T>) -> Force<T> {
        Force::Full
    }
    /// `patient` as in `push`.
    fn pop(&self, rx: &mut Self::Rx, patient: bool) -> Pop<T>;
    fn pop_many(&self, rx: &mut Self::Rx, limit: usize, to: &mut Vec<T>) -> Pop<usize>;
    /// Drops what is there. Without `rx`, the receivers are gone.
    fn drain(&self, rx: Option<&mut Self::Rx>);
    /// `usize::MAX`: no limit.
    fn capacity(&self) -> usize;
    /// The most places that can be reserved.
    fn reservable(&self) -> usize;
    fn close(&self) -> bool;
    fn is_closed(&self) -> bool;
    fn free(&self) -> usize;
    fn ready(&self) -> usize;
    fn look(&self) -> Look;
    /// Where the ends meet if there is no room between them.
    fn meet(&self) -> Option<&Meet<T>>;
}

/// Containers that any number of senders and receivers use.
pub enum Many<T> {
    Ring(Ring<T>),
    Chain(Chain<T>),
    Meet(Meet<T>),
}

/// A `Meet` is no container: it is always full, and always empty, and for the rest the ends ask for it first.
#[cold]
fn no_room() -> ! {
    unreachable!("nothing lies in a rendezvous channel")
}

impl<T> Many<T> {
    pub(super) fn ring(capacity: usize) -> Many<T> {
        Many::Ring(Ring::new(checked(capacity)))
    }

    pub(super) fn chain() -> Many<T> {
        Many::Chain(Chain::new())
    }

    pub(super) fn meet() -> Many<T> {
        Many::Meet(Meet::new())
    }

    #[inline(always)]
    fn push_elsewhere(&self, message: &mut Option<T>) -> Push {
        match self {
            Many::Chain(chain) => chain.push(message),
            _ => Push::Full,
        }
    }

    #[inline(always)]
    fn pop_elsewhere(&self, patient: bool) -> Pop<T> {
        match self {
            Many::Chain(chain) => chain.get(patient),
            _ => Pop::Empty,
        }
    }
}

/// A capacity that a ring can have.
#[track_caller]
fn checked(capacity: usize) -> usize {
    assert!(
        capacity != 0,
        "a bounded channel needs room for at least one message; if a sender is to wait until its message is \
         received, use `rendezvous()`"
    );
    assert!(
        capacity <= CAPACITY_MAX,
        "a bounded channel has room for {CAPACITY_MAX} messages at most; use `unbounded()`"
    );
    capacity
}

impl<T> Store<T> for Many<T> {
    type Tx = ();
    type Rx = ();

    fn force(&self, message: &mut Option<T>) -> Force<T> {
        match self {
            Many::Ring(ring) => ring.force(message),
            Many::Chain(chain) => match chain.push(message) {
                Push::Done => Force::Done,
                Push::Closed => Force::Closed,
                Push::Full => Force::Full,
            },
            Many::Meet(_) => no_room(),
        }
    }

    #[inline(always)]
    fn push(&self, (): &mut (), message: &mut Option<T>, patient: bool) -> Push {
        match self {
            Many::Ring(ring) => ring.put(message, patient),
            other => other.push_elsewhere(message),
        }
    }

    #[inline(always)]
    fn push_at_once(&self, (): &mut (), message: &mut Option<T>) -> bool {
        match self {
            Many::Ring(ring) => ring.push_at_once(message),
            Many::Chain(chain) => chain.push_at_once(message),
            Many::Meet(meet) => meet.offer_at_once(message),
        }
    }

    #[inline(always)]
    fn pop_at_once(&self, (): &mut ()) -> Option<T> {
        match self {
            Many::Ring(ring) => ring.pop_at_once(),
            Many::Chain(chain) => chain.pop_at_once(),
            Many::Meet(meet) => meet.ask_at_once(),
        }
    }

    fn reserve(&self, (): &mut (), count: usize) -> Push {
        match self {
            Many::Ring(ring) => ring.reserve(count),
            Many::Chain(chain) => chain.reserve(count),
            Many::Meet(_) => no_room(),
        }
    }

    fn push_reserved(&self, (): &mut (), message: T) -> bool {
        match self {
            Many::Ring(ring) => ring.push_reserved(message),
            Many::Chain(chain) => chain.push_reserved(message),
            Many::Meet(_) => no_room(),
        }
    }

    fn unreserve(&self, count: usize) -> bool {
        match self {
            Many::Ring(ring) => ring.unreserve(count),
            Many::Chain(chain) => chain.unreserve(count),
            Many::Meet(_) => no_room(),
        }
    }

    #[inline(always)]
    fn pop(&self, (): &mut (), patient: bool) -> Pop<T> {
        match self {
            Many::Ring(ring) => ring.get(patient),
            other => other.pop_elsewhere(patient),
        }
    }

    fn pop_many(&self, (): &mut (), limit: usize, to: &mut Vec<T>) -> Pop<usize> {
        match self {
            Many::Ring(ring) => ring.pop_many(limit, to),
            Many::Chain(chain) => chain.pop_many(limit, to),
            Many::Meet(_) => no_room(),
        }
    }

    fn drain(&self, _: Option<&mut ()>) {
        match self {
            Many::Ring(ring) => ring.drain(),
            Many::Chain(chain) => chain.drain(),
            Many::Meet(meet) => meet.drain(),
        }
    }

    fn capacity(&self) -> usize {
        match self {
            Many::Ring(ring) => ring.capacity(),
            Many::Chain(_) => usize::MAX,
            Many::Meet(_) => 0,
        }
    }

    fn reservable(&self) -> usize {
        match self {
            Many::Ring(ring) => ring.reserved_max(),
            Many::Chain(chain) => chain.reserved_max(),
            Many::Meet(_) => 0,
        }
    }

    fn close(&self) -> bool {
        match self {
            Many::Ring(ring) => ring.close(),
            Many::Chain(chain) => chain.close(),
            Many::Meet(meet) => meet.close().is_some(),
        }
    }

    fn is_closed(&self) -> bool {
        match self {
            Many::Ring(ring) => ring.is_closed(),
            Many::Chain(chain) => chain.is_closed(),
            Many::Meet(meet) => meet.is_closed(),
        }
    }

    fn free(&self) -> usize {
        match self {
            Many::Ring(ring) => ring.free(),
            Many::Chain(chain) => chain.free(),
            Many::Meet(_) => no_room(),
        }
    }

    #[inline]
    fn ready(&self) -> usize {
        match self {
            Many::Ring(ring) => ring.ready(),
            Many::Chain(chain) => chain.ready(),
            Many::Meet(_) => no_room(),
        }
    }

    fn look(&self) -> Look {
        match self {
            Many::Ring(ring) => ring.look(),
            Many::Chain(chain) => chain.look(),
            Many::Meet(meet) => meet.look(),
        }
    }

    #[inline]
    fn meet(&self) -> Option<&Meet<T>> {
        match self {
            Many::Meet(meet) => Some(meet),
            _ => None,
        }
    }
}

impl<T> fmt::Debug for Many<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.look().fmt(f)
    }
}

/// Containers that one receiver uses. (One sender would gain nothing by a part of its own.)
pub enum ToOne<T> {
    Ring(Arc<Ring<T, ring::Sole>>),
    Chain(Arc<Chain<T, ring::Sole>>),
}

/// The receiver's part of [`ToOne`].
pub enum Only<T> {
    Ring(ring::Consumer<T>),
    Chain(chain::Consumer<T>),
}

impl<T> ToOne<T> {
    /// With so much room, or `None` for any; and the receiver's part.
    #[track_caller]
    pub(super) fn new(capacity: Option<usize>) -> (ToOne<T>, Only<T>) {
        match capacity {
            Some(capacity) => {
                let (ring, only) = ring::mpsc(checked(capacity));
                (ToOne::Ring(ring), Only::Ring(only))
            }
            None => {
                let (chain, only) = chain::mpsc();
                (ToOne::Chain(chain), Only::Chain(only))
            }
        }
    }

    /// The receiver's part, when the receiver is gone; it may be about to give it back.
    fn orphaned(&self) -> Only<T> {
        loop {
            let only = match self {
                ToOne::Ring(ring) => ring::Consumer::of(ring).map(Only::Ring),
                ToOne::Chain(chain) => chain::Consumer::of(chain).map(Only::Chain),
            };
            match only {
                Some(only) => return only,
                None => thread::yield_now(),
            }
        }
    }
}

/// Does the same with either container.
macro_rules! either {
    ($of:expr, $it:ident => $does:expr) => {
        match $of {
            ToOne::Ring($it) => $does,
            ToOne::Chain($it) => $does,
        }
    };
}

impl<T> Store<T> for ToOne<T> {
    type Tx = ();
    type Rx = Only<T>;

    #[inline(always)]
    fn push(&self, (): &mut (), message: &mut Option<T>, patient: bool) -> Push {
        match self {
            ToOne::Ring(ring) => ring.put(message, patient),
            ToOne::Chain(chain) => chain.push(message),
        }
    }

    #[inline(always)]
    fn push_at_once(&self, (): &mut (), message: &mut Option<T>) -> bool {
        either!(self, it => it.push_at_once(message))
    }

    #[inline(always)]
    fn pop_at_once(&self, rx: &mut Only<T>) -> Option<T> {
        match rx {
            Only::Ring(ring) => ring.pop_at_once(),
            Only::Chain(chain) => chain.pop_at_once(),
        }
    }

    fn reserve(&self, (): &mut (), count: usize) -> Push {
        either!(self, it => it.reserve(count))
    }

    fn push_reserved(&self, (): &mut (), message: T) -> bool {
        either!(self, it => it.push_reserved(message))
    }

    fn unreserve(&self, count: usize) -> bool {
        either!(self, it => it.unreserve(count))
    }

    #[inline(always)]
    fn pop(&self, rx: &mut Only<T>, patient: bool) -> Pop<T> {
        match rx {
            Only::Ring(ring) => ring.get(patient),
            Only::Chain(chain) => chain.get(patient),
        }
    }

    fn pop_many(&self, rx: &mut Only<T>, limit: usize, to: &mut Vec<T>) -> Pop<usize> {
        match rx {
            Only::Ring(ring) => ring.pop_many(limit, to),
            Only::Chain(chain) => chain.pop_many(limit, to),
        }
    }

    fn drain(&self, rx: Option<&mut Only<T>>) {
        let mut orphaned = None;
        match rx.unwrap_or_else(|| orphaned.insert(self.orphaned())) {
            Only::Ring(ring) => ring.drain(),
            Only::Chain(chain) => chain.drain(),
        }
    }

    fn capacity(&self) -> usize {
        match self {
            ToOne::Ring(ring) => ring.capacity(),
            ToOne::Chain(_) => usize::MAX,
        }
    }

    fn reservable(&self) -> usize {
        either!(self, it => it.reserved_max())
    }

    fn close(&self) -> bool {
        either!(self, it => it.close())
    }

    fn is_closed(&self) -> bool {
        either!(self, it => it.is_closed())
    }

    fn free(&self) -> usize {
        either!(self, it => it.free())
    }

    #[inline]
    fn ready(&self) -> usize {
        either!(self, it => it.ready())
    }

    fn look(&self) -> Look {
        either!(self, it => it.look())
    }

    #[inline]
    fn meet(&self) -> Option<&Meet<T>> {
        None
    }
}

impl<T> fmt::Debug for ToOne<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.look().fmt(f)
    }
}

impl<T> fmt::Debug for Only<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Only").finish_non_exhaustive()
    }
}
