//! Layer 3, gather. A set of children that are polled in place: who is polled, in what order, and for how
//! long.
//!
//! Owns the children, each in its slot until its output takes the slot or leaves the set, and the rule of a
//! *turn*: a poll of the set polls each child that was woken once, at most [`TURN`] in all, and none once the budget of
//! the task is spent. What is left waits for the next poll, for which the set wakes its parent. So a large
//! set does not hog its thread, and children that wake each other cannot keep it in one poll. What becomes of
//! the outputs is up to the files that use this: `all`, `first`, `as_completed`, `wait`. `pool` is a set that grows.

use std::fmt;
use std::pin::Pin;
use std::ptr;
use std::task::{Context, Poll, ready};

use filch_channels::probe::{self, Wait};
use pin_project_lite::pin_project;

use super::ready::Ready;

/// How many children one poll of a set polls at most: as many as a task may do operations.
const TURN: u8 = probe::BUDGET;

pin_project! {
    /// The place of one child.
    #[project = SlotPin]
    #[project_replace = SlotOut]
    pub(super) enum Slot<F, K> {
        /// Not done.
        Running { #[pin] future: F },
        /// Done, and this is kept of it.
        Kept { kept: K },
        /// Done, and nothing is left.
        Gone,
    }
}

impl<F: Future, K> Slot<F, K> {
    #[inline]
    pub(super) fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<F::Output> {
        match self.project() {
            SlotPin::Running { future } => future.poll(cx),
            _ => unreachable!("only children that are not done are polled"),
        }
    }
}

/// What becomes of a child that is done.
pub(super) enum Done<K, R> {
    /// This is kept in its slot.
    Keep(K),
    /// Nothing is kept of it.
    Drop,
    /// Nothing is kept, and the poll of the set ends here, with this.
    Stop(R),
}

/// What was kept of those that are done, and those that are not, each with its place among the children.
pub(super) type Parts<F, K> = (Vec<(usize, K)>, Vec<(usize, F)>);

/// How many children one poll of a set may still poll.
pub(crate) struct Turn {
    left: u8,
    /// Outside of tasks that have a budget, the turn is all there is.
    has_budget: bool,
}

impl Turn {
    pub(crate) fn begin() -> Turn {
        Turn { left: TURN, has_budget: probe::with_current(|task| task.is_some()) }
    }

    /// Ready if one more may be polled. Otherwise the parent was woken.
    #[inline]
    pub(super) fn go_on(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        if self.has_budget {
            ready!(probe::poll_budget(cx));
        }
        if self.left == 0 {
            probe::waiting(Wait::Yield, ptr::null(), None);
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        self.left -= 1;
        Poll::Ready(())
    }

    /// One was polled. It is paid for after its poll, so that one which needs an operation gets it out of the
    /// last one left.
    #[inline]
    pub(super) fn polled(&self) {
        if self.has_budget {
            probe::spend();
        }
    }
}

/// See the head of the file.
pub(super) struct Set<F, K> {
    slots: Pin<Box<[Slot<F, K>]>>,
    /// How many children are not done.
    left: usize,
    /// The first child that was never polled; those after it were not either.
    fresh: usize,
    /// A child is being polled, or panicked in a poll.
    broken: bool,
    /// The outputs were taken, or the set was cleared.
    over: bool,
    /// Dropped after the children, which may wake each other as they go.
    ready: Ready,
}

impl<F: Future, K> Set<F, K> {
    pub(super) fn new<I>(futures: I) -> Set<F, K>
    where
        I: IntoIterator<Item: IntoFuture<IntoFuture = F>>,
    {
        let slot = |future: I::Item| Slot::Running { future: future.into_future() };
        let slots: Box<[_]> = futures.into_iter().map(slot).collect();
        Set {
            left: slots.len(),
            fresh: 0,
            broken: false,
            over: false,
            ready: Ready::new(slots.len()),
            slots: Box::into_pin(slots),
        }
    }

    /// How many children are not done.
    pub(super) fn left(&self) -> usize {
        self.left
    }

    /// Polls the children whose turn it is by `poll_child`, which says what becomes of each that is done.
    ///
    /// `Ready(None)`: all are done. `Ready(Some)`: stopped, and this can be called again for the others.
    #[inline]
    pub(super) fn poll<R>(
        &mut self,
        cx: &mut Context<'_>,
        poll_child: impl FnMut(usize, Pin<&mut Slot<F, K>>, &mut Context<'_>) -> Poll<Done<K, R>>,
    ) -> Poll<Option<R>> {
        assert!(!self.over, "a future of several others was polled again after it had been ready");
        assert!(!self.broken, "a future of several others was polled again after one of them had panicked");
        self.broken = true;
        let polled = self.poll_turn(cx, poll_child);
        self.broken = false;
        polled
    }

    #[inline]
    fn poll_turn<R>(
        &mut self,
        cx: &mut Context<'_>,
        mut poll_child: impl FnMut(usize, Pin<&mut Slot<F, K>>, &mut Context<'_>) -> Poll<Done<K, R>>,
    ) -> Poll<Option<R>> {
        if !self.ready.find() {
            // Once, here: no child is found a second time in this poll.
            self.ready.take();
        }
        let mut turn = Turn::begin();
        while self.fresh < self.slots.len() {
            ready!(turn.go_on(cx));
            let (index, slots, left) = (self.fresh, self.slots.as_mut(), &mut self.left);
            self.fresh += 1;
            let polled = self.ready.lend(index, |cx| poll_slot(slots, index, left, cx, &mut poll_child));
            turn.polled();
            if polled.is_some() {
                return Poll::Ready(polled);
            }
        }
        while self.left > 0 {
            if !self.ready.find() {
                return self.park(cx);
            }
            ready!(turn.go_on(cx));
            let (slots, left) = (self.slots.as_mut(), &mut self.left);
            let polled = self.ready.lend_next(|index, cx| poll_slot(slots, index, left, cx, &mut poll_child));
            turn.polled();
            if polled.is_some() {
                return Poll::Ready(polled);
            }
        }
        Poll::Ready(None)
    }

    /// Nothing to poll: sleeps until a child is woken, or wakes the parent if one was.
    fn park<R>(&mut self, cx: &mut Context<'_>) -> Poll<R> {
        if !self.ready.park(cx.waker()) {
            cx.waker().wake_by_ref();
        }
        Poll::Pending
    }

    /// How many children there are, done or not.
    pub(super) fn len(&self) -> usize {
        self.slots.len()
    }

    /// What was kept of each child from the place `from` on, in their order, when all are done. The set must not be
    /// polled again.
    pub(super) fn take(&mut self, from: usize) -> impl Iterator<Item = Option<K>> {
        self.over = true;
        let slots = &mut self.slots;
        (from..slots.len()).map(|index| match pinned(slots.as_mut(), index).project_replace(Slot::Gone) {
            SlotOut::Kept { kept } => Some(kept),
            SlotOut::Running { .. } | SlotOut::Gone => None,
        })
    }

    /// Drops all children and what was kept of them. The set must not be polled again.
    pub(super) fn clear(&mut self) {
        self.over = true;
        self.slots = Box::pin([]);
    }
}

impl<F: Future + Unpin, K> Set<F, K> {
    /// What was kept, and the children that are not done, each with its place. The set must not be polled
    /// again.
    pub(super) fn split(&mut self) -> Parts<F, K> {
        self.over = true;
        let slots = std::mem::replace(&mut self.slots, Box::pin([]));
        let (mut done, mut pending) = (Vec::new(), Vec::with_capacity(self.left));
        for (index, slot) in Pin::into_inner(slots).into_vec().into_iter().enumerate() {
            match slot {
                Slot::Running { future } => pending.push((index, future)),
                Slot::Kept { kept } => done.push((index, kept)),
                Slot::Gone => {}
            }
        }
        (done, pending)
    }
}

/// Polls one child, if it is not done, for one that is may still be woken. `Some`: the poll of the set stops
/// there.
#[inline(always)]
fn poll_slot<F, K, R>(
    slots: Pin<&mut [Slot<F, K>]>,
    index: usize,
    left: &mut usize,
    cx: &mut Context<'_>,
    poll_child: &mut impl FnMut(usize, Pin<&mut Slot<F, K>>, &mut Context<'_>) -> Poll<Done<K, R>>,
) -> Option<R> {
    let mut slot = pinned(slots, index);
    if !matches!(*slot, Slot::Running { .. }) {
        return None;
    }
    let Poll::Ready(done) = poll_child(index, slot.as_mut(), cx) else { return None };
    *left -= 1;
    let (after, stop) = match done {
        Done::Keep(kept) => (Slot::Kept { kept }, None),
        Done::Drop => (Slot::Gone, None),
        Done::Stop(stop) => (Slot::Gone, Some(stop)),
    };
    // The child is dropped here.
    slot.set(after);
    stop
}

/// An element of a pinned slice, pinned.
fn pinned<T>(slice: Pin<&mut [T]>, index: usize) -> Pin<&mut T> {
    // SAFETY: an element is pinned as long as the slice is, for only the whole slice is moved or dropped, and
    // nothing but the element comes out of here.
    unsafe { slice.map_unchecked_mut(|slice| &mut slice[index]) }
}

impl<F, K> fmt::Debug for Set<F, K> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Set").field("children", &self.slots.len()).field("left", &self.left).finish()
    }
}

/// `Debug` without asking it of the futures: of a set, how many there are and how many are left.
macro_rules! debug_by_set {
    ([$($generics:tt)*] $name:ident<$($arg:ident),*>, $set:tt) => {
        impl<$($generics)*> ::std::fmt::Debug for $name<$($arg),*> {
            fn fmt(&self, f: &mut ::std::fmt::Formatter<'_>) -> ::std::fmt::Result {
                f.debug_tuple(stringify!($name)).field(&self.$set).finish()
            }
        }
    };
}
pub(super) use debug_by_set;
