//! Layer 3. The cases of a select: a list, in types, of operations with what is to be done afterwards.
//!
//! Owns the work, the place in line and the closure of each case. In which order they are asked is up to
//! `select`, the only caller.
#![forbid(unsafe_code)]

use std::fmt;
use std::pin::Pin;
use std::ptr;
use std::task::{Context, Poll};

use pin_project_lite::pin_project;

use crate::channel::ends::decision::{Decision, Party};
use crate::channel::ends::operation::{Place, Work, cancel};
use crate::shim::Arc;

/// The list without a case.
#[derive(Clone, Copy, Debug)]
pub struct Nothing;

pin_project! {
    /// A list of cases and one more.
    #[derive(Debug)]
    pub struct And<C, W, F>
    where
        W: Work,
    {
        #[pin]
        before: C,
        #[pin]
        case: Case<W, F>,
    }
}

pin_project! {
    /// One case.
    pub struct Case<W, F>
    where
        W: Work,
    {
        work: W,
        #[pin]
        place: Place,
        // What it ended with, and what is to be done with that.
        outcome: Option<W::Output>,
        handler: Option<F>,
    }

    impl<W, F> PinnedDrop for Case<W, F>
    where
        W: Work,
    {
        fn drop(this: Pin<&mut Self>) {
            this.leave();
        }
    }
}

/// A list of cases whose closures end with an `R`. Not to be implemented, or called, outside of this crate.
pub trait Cases<R> {
    #[doc(hidden)]
    const COUNT: usize;

    /// Does this case without waiting, if it can be done.
    #[doc(hidden)]
    fn attempt(self: Pin<&mut Self>, index: usize) -> bool;

    /// Does this case, or waits in its line.
    #[doc(hidden)]
    fn poll(self: Pin<&mut Self>, index: usize, group: Option<&Arc<Decision>>, cx: &mut Context<'_>) -> bool;

    /// This case has been done by another.
    #[doc(hidden)]
    fn settle(self: Pin<&mut Self>, index: usize);

    /// All that have not been done leave their lines.
    #[doc(hidden)]
    fn leave(self: Pin<&mut Self>);

    /// Calls the closure of this case, which has been done.
    #[doc(hidden)]
    fn run(self: Pin<&mut Self>, index: usize) -> R;

    /// Whether others may do some case.
    #[doc(hidden)]
    fn may_be_met(&self) -> bool;

    /// What the first case waits for.
    #[doc(hidden)]
    fn address(&self) -> *const ();
}

impl<R> Cases<R> for Nothing {
    const COUNT: usize = 0;

    fn attempt(self: Pin<&mut Self>, _: usize) -> bool {
        false
    }

    fn poll(self: Pin<&mut Self>, _: usize, _: Option<&Arc<Decision>>, _: &mut Context<'_>) -> bool {
        false
    }

    fn settle(self: Pin<&mut Self>, _: usize) {}

    fn leave(self: Pin<&mut Self>) {}

    fn run(self: Pin<&mut Self>, _: usize) -> R {
        unreachable!("there is no such case")
    }

    fn may_be_met(&self) -> bool {
        false
    }

    fn address(&self) -> *const () {
        ptr::null()
    }
}

impl<C, W: Work, F> And<C, W, F> {
    pub(super) fn new(before: C, case: Case<W, F>) -> And<C, W, F> {
        And { before, case }
    }
}

impl<R, C: Cases<R>, W: Work, F: FnOnce(W::Output) -> R> Cases<R> for And<C, W, F> {
    const COUNT: usize = C::COUNT + 1;

    fn attempt(self: Pin<&mut Self>, index: usize) -> bool {
        let this = self.project();
        if index == C::COUNT { this.case.attempt() } else { this.before.attempt(index) }
    }

    fn poll(self: Pin<&mut Self>, index: usize, group: Option<&Arc<Decision>>, cx: &mut Context<'_>) -> bool {
        let this = self.project();
        if index == C::COUNT {
            let party = group.map(|decision| Party { decision, number: index });
            this.case.poll(party, cx)
        } else {
            this.before.poll(index, group, cx)
        }
    }

    fn settle(self: Pin<&mut Self>, index: usize) {
        let this = self.project();
        if index == C::COUNT { this.case.settle() } else { this.before.settle(index) }
    }

    fn leave(self: Pin<&mut Self>) {
        let this = self.project();
        this.before.leave();
        this.case.leave();
    }

    fn run(self: Pin<&mut Self>, index: usize) -> R {
        let this = self.project();
        if index == C::COUNT { this.case.run() } else { this.before.run(index) }
    }

    fn may_be_met(&self) -> bool {
        self.before.may_be_met() || self.case.work.may_be_met()
    }

    fn address(&self) -> *const () {
        if C::COUNT == 0 { self.case.work.address() } else { self.before.address() }
    }
}

impl<W: Work, F> Case<W, F> {
    pub(super) fn new(work: W, handler: F) -> Case<W, F> {
        Case { work, place: Place::new(), outcome: None, handler: Some(handler) }
    }

    fn is_void(&self) -> bool {
        self.place.ticket == 0 && self.work.is_void()
    }

    fn attempt(self: Pin<&mut Self>) -> bool {
        if self.is_void() {
            return false;
        }
        let this = self.project();
        *this.outcome = this.work.attempt();
        this.outcome.is_some()
    }

    fn poll(self: Pin<&mut Self>, party: Option<Party<'_>>, cx: &mut Context<'_>) -> bool {
        if self.is_void() {
            return false;
        }
        let this = self.project();
        match this.work.poll(this.place, party, cx) {
            Poll::Ready(outcome) => *this.outcome = Some(outcome),
            Poll::Pending => {}
        }
        this.outcome.is_some()
    }

    fn settle(self: Pin<&mut Self>) {
        let this = self.project();
        *this.outcome = this.work.leave(this.place);
    }

    fn leave(self: Pin<&mut Self>) {
        let this = self.project();
        if this.place.is_taken() {
            cancel(this.work, this.place);
        }
    }

    fn run<R>(self: Pin<&mut Self>) -> R
    where
        F: FnOnce(W::Output) -> R,
    {
        let this = self.project();
        match (this.outcome.take(), this.handler.take()) {
            (Some(outcome), Some(handler)) => handler(outcome),
            _ => unreachable!("the case has been done, once"),
        }
    }
}

impl<W: Work, F> fmt::Debug for Case<W, F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Case").field("place", &self.place).finish_non_exhaustive()
    }
}
