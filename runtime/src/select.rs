//! Layer 3. What `select!` expands to: a list of futures polled as one, of which one wins.
//!
//! Owns the futures of one `select!` as a nested list, `List(first, List(second, End))`, because a macro cannot
//! name a type for each of them otherwise. The answer is nested alike: `Here` for the first, `Later(Here)` for
//! the second. Nothing here is public API; the macro's documentation says what users may rely on.
#![forbid(unsafe_code)]
#![allow(missing_debug_implementations, missing_docs)]

use std::ops::Range;
use std::pin::Pin;
use std::task::{Context, Poll};

use pin_project_lite::pin_project;

/// The output of the branch that won: of this one, or of one further down the list.
pub enum Outcome<A, B> {
    Here(A),
    Later(B),
}

/// The output of a list without branches: there is none.
pub enum Nothing {}

pin_project! {
    /// One branch and those after it. A branch without a future is disabled.
    pub struct List<F, P, L> {
        #[pin]
        future: Option<F>,
        fits: P,
        #[pin]
        later: L,
    }
}

/// The end of a list.
pub struct End;

impl<F, P, L> List<F, P, L>
where
    F: Future,
    P: FnMut(F::Output) -> Option<F::Output>,
{
    /// `fits` gives an output back when the pattern of its branch matches it.
    #[inline]
    pub fn new(future: Option<F>, fits: P, later: L) -> Self {
        List { future, fits, later }
    }
}

/// A list of branches.
pub trait Branches {
    type Output;
    const COUNT: u32;

    /// Polls the branches of `range` that are enabled, in order; `index` is the place of the first one of this
    /// list among all. The second value says whether any branch of the whole list is still enabled.
    fn poll_range(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        index: u32,
        range: &Range<u32>,
    ) -> (Poll<Self::Output>, bool);
}

impl Branches for End {
    type Output = Nothing;
    const COUNT: u32 = 0;

    #[inline]
    fn poll_range(
        self: Pin<&mut Self>,
        _: &mut Context<'_>,
        _: u32,
        _: &Range<u32>,
    ) -> (Poll<Nothing>, bool) {
        (Poll::Pending, false)
    }
}

impl<F, P, L> Branches for List<F, P, L>
where
    F: Future,
    P: FnMut(F::Output) -> Option<F::Output>,
    L: Branches,
{
    type Output = Outcome<F::Output, L::Output>;
    const COUNT: u32 = 1 + L::COUNT;

    #[inline]
    fn poll_range(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        index: u32,
        range: &Range<u32>,
    ) -> (Poll<Self::Output>, bool) {
        let mut this = self.project();
        if range.contains(&index) {
            if let Some(future) = this.future.as_mut().as_pin_mut() {
                if let Poll::Ready(output) = future.poll(cx) {
                    this.future.set(None);
                    if let Some(output) = (this.fits)(output) {
                        return (Poll::Ready(Outcome::Here(output)), true);
                    }
                }
            }
        }
        let (poll, enabled) = this.later.poll_range(cx, index + 1, range);
        (poll.map(Outcome::Later), enabled || this.future.is_some())
    }
}

pin_project! {
    /// Resolves to the output of the first branch that is ready and fits, or to `None` when all are disabled.
    pub struct Select<L> {
        #[pin]
        branches: L,
        biased: bool,
    }
}

impl<L: Branches> Select<L> {
    #[inline]
    pub fn new(branches: L, biased: bool) -> Select<L> {
        Select { branches, biased }
    }
}

impl<L: Branches> Future for Select<L> {
    type Output = Option<L::Output>;

    #[inline]
    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<L::Output>> {
        let mut this = self.project();
        // From a random branch to the end, then from the first one to that branch.
        let start = if *this.biased || L::COUNT < 2 { 0 } else { crate::macros::support::random(L::COUNT) };
        for range in [start..L::COUNT, 0..start] {
            let (poll, enabled) = this.branches.as_mut().poll_range(cx, 0, &range);
            match poll {
                Poll::Ready(output) => return Poll::Ready(Some(output)),
                Poll::Pending if !enabled => return Poll::Ready(None),
                Poll::Pending => {}
            }
        }
        Poll::Pending
    }
}
