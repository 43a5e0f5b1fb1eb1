//! Layer 3. A send or a receive under way: as a future, and on a thread that waits.
//!
//! Owns what all operations have in common: the place in line, the budget, the word left for reports, and
//! that one which is dropped leaves without a trace. What each does is its [`Work`]. Called by the ends, and
//! by `select`, which drives the work of several operations itself.
#![forbid(unsafe_code)]

use std::fmt;
use std::future::Future;
use std::marker::PhantomPinned;
use std::mem;
use std::panic::Location;
use std::pin::{Pin, pin};
use std::task::{Context, Poll, ready};
use std::time::Instant;

use pin_project_lite::pin_project;

use super::decision::Party;
use crate::block;
use crate::probe::{self, Wait};
use crate::shim::Ordering::Relaxed;
use crate::shim::task::AtomicU32;
use crate::wait_queue::Waiter;

pin_project! {
    /// Where an operation waits.
    #[derive(Debug)]
    pub struct Place {
        // Made when there is something to wait for.
        pub waiter: Option<Pin<Box<Waiter>>>,
        // Its number in a `Meet`, or in a `Lone`; 0: it is in none.
        pub ticket: usize,
        // It waits, or has waited, for anything: one look at this is all that most operations need.
        taken: bool,
        // Has let the other tasks have a turn, before it gets in line: see [`Hope`].
        pub hopes: bool,
        // So that a waiter may lie here itself one day.
        #[pin]
        pinned: PhantomPinned,
    }
}

impl Place {
    #[inline]
    pub(crate) fn new() -> Place {
        Place { waiter: None, ticket: 0, taken: false, hopes: false, pinned: PhantomPinned }
    }

    /// Whether it waits, or has waited, for anything.
    #[inline]
    pub(crate) fn is_taken(&self) -> bool {
        self.taken
    }

    /// Stands where it is known by `ticket`; 0: no more.
    #[inline]
    pub(super) fn stand(self: Pin<&mut Self>, ticket: usize) {
        let this = self.project();
        *this.ticket = ticket;
        *this.taken = ticket != 0;
    }

    /// Leaves the line, if it is in one.
    pub(super) fn drop_waiter(self: Pin<&mut Self>) {
        let this = self.project();
        *this.waiter = None;
        *this.taken = *this.ticket != 0;
    }

    /// What stands in line. It is made now if it has to be, and apart: it is large, and most operations never
    /// wait.
    pub(super) fn waiter(self: Pin<&mut Self>) -> Pin<&mut Waiter> {
        let this = self.project();
        *this.taken = true;
        this.waiter.get_or_insert_with(|| Box::pin(Waiter::new())).as_mut()
    }
}

/// Whether it is worth while to let the other tasks have a turn before one gets in line.
///
/// To wait costs several locked operations on either side, and where a worker is idle it is woken for it, as there
/// are more tasks then than before. Mostly the other side is next in the queue of this worker, and one turn of
/// it makes all of that needless. So under a runtime with the probe, where a turn costs next to nothing, a task
/// looks once more after one. Elsewhere nobody hopes: to be polled again may be dear there.
#[derive(Debug)]
pub struct Hope {
    /// How often it is left out, as it was in vain.
    rest: AtomicU32,
}

/// How often one gets in line at once, after hope was vain.
const REST: u32 = 3;

impl Hope {
    pub(super) fn new() -> Hope {
        Hope { rest: AtomicU32::new(0) }
    }

    fn is_due(&self) -> bool {
        // Ordering: Relaxed, here and below: it guards nothing, and that a change of it is lost does no harm.
        let left = self.rest.load(Relaxed);
        self.rest.store(left.saturating_sub(1), Relaxed);
        left == 0
    }

    fn was_vain(&self) {
        self.rest.store(REST, Relaxed);
    }
}

/// What an [`Operation`] does. Not to be implemented, or called, outside of this crate.
pub trait Work {
    /// What it ends with.
    type Output;

    #[doc(hidden)]
    const WAIT: Wait;

    /// What a report says it waits for.
    #[doc(hidden)]
    fn address(&self) -> *const ();

    /// Does it, if that can be done without waiting, and without having waited before.
    #[doc(hidden)]
    fn attempt(&mut self) -> Option<Self::Output>;

    /// Does it, if that takes a few steps only, as it mostly does. None: [`poll`](Self::poll) has to see.
    #[doc(hidden)]
    #[inline(always)]
    fn at_once(&mut self) -> Option<Self::Output> {
        None
    }

    /// Whether the other side may make it needless to wait.
    #[doc(hidden)]
    fn hope(&self) -> Option<&Hope> {
        None
    }

    /// Does it, or waits. As one of a group, it does nothing once the group has decided, and decides when it
    /// does something.
    #[doc(hidden)]
    fn poll(
        &mut self,
        place: Pin<&mut Place>,
        party: Option<Party<'_>>,
        cx: &mut Context<'_>,
    ) -> Poll<Self::Output>;

    /// Whether it can never be done: a send without a message.
    #[doc(hidden)]
    fn is_void(&self) -> bool {
        false
    }

    /// Whether the other side may do it.
    #[doc(hidden)]
    fn may_be_met(&self) -> bool {
        false
    }

    /// Leaves. Some: it has been done, by the other side.
    #[doc(hidden)]
    fn leave(&mut self, place: Pin<&mut Place>) -> Option<Self::Output> {
        place.drop_waiter();
        None
    }

    /// Nobody will see this, which `leave` has said.
    #[doc(hidden)]
    fn hand_on(&mut self, output: Self::Output) {
        drop(output);
    }
}

/// Leaves without having done anything.
#[cold]
pub(crate) fn cancel<W: Work>(work: &mut W, place: Pin<&mut Place>) {
    if let Some(output) = work.leave(place) {
        work.hand_on(output);
    }
}

pin_project! {
    /// A send, a receive, or another operation on a channel, under way: a future.
    ///
    /// The methods of the ends return it; [`future`](crate::channel::future) has a name for each.
    #[must_use = "futures do nothing unless they are awaited"]
    pub struct Operation<W: Work> {
        work: W,
        location: &'static Location<'static>,
        #[pin]
        place: Place,
    }

    impl<W: Work> PinnedDrop for Operation<W> {
        #[inline]
        fn drop(this: Pin<&mut Self>) {
            let this = this.project();
            if this.place.is_taken() {
                cancel(this.work, this.place);
            }
        }
    }
}

impl<W: Work> Operation<W> {
    #[inline]
    #[track_caller]
    pub(super) fn new(work: W) -> Operation<W> {
        Operation { work, location: Location::caller(), place: Place::new() }
    }

    /// Does it on this thread, which waits.
    pub(super) fn block(work: W) -> W::Output {
        match Operation::block_until(work, None, |_| ()) {
            Ok(output) => output,
            Err(()) => unreachable!("there is no deadline"),
        }
    }

    /// Does it on this thread, which waits until `deadline`. `Err`: that came first, and `back` has taken this
    /// out of the work.
    pub(super) fn block_until<R>(
        mut work: W,
        deadline: Option<Instant>,
        back: impl FnOnce(&mut W) -> R,
    ) -> Result<W::Output, R> {
        if let Some(output) = work.attempt() {
            return Ok(output);
        }
        let mut operation = pin!(Operation::new(work));
        let done = block::block_until(deadline, |cx| {
            let this = operation.as_mut().project();
            this.work.poll(this.place, None, cx)
        });
        let this = operation.project();
        // What came at the last moment is not lost.
        done.or_else(|| this.work.leave(this.place)).ok_or_else(|| back(this.work))
    }

    /// Leaves, and takes something out of the work.
    pub(super) fn leave_with<R>(self: Pin<&mut Self>, take: impl FnOnce(&mut W) -> R) -> R {
        let this = self.project();
        cancel(this.work, this.place);
        take(this.work)
    }
}

impl<W: Work> Future for Operation<W> {
    type Output = W::Output;

    #[inline(always)]
    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<W::Output> {
        // The usual case in a few steps; all others go the long way, which begins anew.
        let spent = !self.place.is_taken() && probe::try_spend();
        if spent {
            if let Some(output) = self.as_mut().project().work.at_once() {
                return Poll::Ready(output);
            }
        }
        self.poll_slowly(cx, spent)
    }
}

impl<W: Work> Operation<W> {
    /// All of it, from the budget on, unless that is `spent` already.
    #[inline(never)]
    fn poll_slowly(self: Pin<&mut Self>, cx: &mut Context<'_>, spent: bool) -> Poll<W::Output> {
        if !spent {
            ready!(probe::poll_spend(cx));
        }
        let mut this = self.project();
        let mut hoped = false;
        if !this.place.is_taken() {
            if let Some(hope) = this.work.hope() {
                hoped = mem::take(this.place.as_mut().project().hopes);
                if !hoped && hope.is_due() {
                    if let Some(output) = this.work.attempt() {
                        return Poll::Ready(output);
                    }
                    if probe::yield_once(cx) {
                        probe::unspend();
                        *this.place.project().hopes = true;
                        return Poll::Pending;
                    }
                }
            }
        }
        let polled = this.work.poll(this.place, None, cx);
        if polled.is_pending() {
            if hoped {
                this.work.hope().into_iter().for_each(Hope::was_vain);
            }
            probe::unspend();
            probe::waiting(W::WAIT, this.work.address(), Some(this.location));
        }
        polled
    }
}

impl<W: Work> fmt::Debug for Operation<W> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Operation").field("waits_for", &W::WAIT).field("place", &self.place).finish()
    }
}

/// Writes `Debug` for works, of which only the channel is of interest.
macro_rules! debug_by_name {
    ($($name:ident<$life:lifetime, T, K $(, $more:ident)*>),*) => {$(
        impl<T, K: Kind $(, $more)*> fmt::Debug for $name<'_, T, K $(, $more)*> {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.debug_struct(stringify!($name)).finish_non_exhaustive()
            }
        }
    )*};
}
pub(super) use debug_by_name;
