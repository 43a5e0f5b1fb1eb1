//! Layer 3, gather. A few futures of different types: `gather!` and `try_gather!`.
//!
//! Owns their futures as a nested list, `List(first, List(second, End))`, because a macro cannot name a type
//! for each of them otherwise; the outputs are nested alike, and the macro flattens them. No allocation, and
//! no waker for each: every future that is not done is polled at each wake. Called by the macros only.
#![forbid(unsafe_code)]
#![allow(missing_debug_implementations, missing_docs)]

use std::convert::Infallible;
use std::marker::PhantomData;
use std::ops::{ControlFlow, Range};
use std::pin::Pin;
use std::task::{Context, Poll};

use pin_project_lite::pin_project;

/// Waits for all of a few futures, which may be of different types, and gives their outputs as a tuple.
///
/// Python's `a, b = await gather(f(), g())`, and tokio's `join!`. The futures are polled in place by this
/// task and may borrow. Anything that is [`IntoFuture`] will do. They are polled in order at first; then each
/// that is not done is polled whenever one was woken, and a different one first each time, so that none can
/// eat the budget of the others. For many of one type, there is [`gather()`](fn@crate::gather).
///
/// # Examples
/// ```
/// # futures_lite::future::block_on(async {
/// let name = String::from("filch");
/// let (length, text) = filch::gather!(async { name.len() }, async { format!("{name}!") });
/// assert_eq!((length, text.as_str()), (5, "filch!"));
/// # });
/// ```
///
/// # Panics
/// When a future does.
///
/// # Cancel safety
/// **Not cancel safe:** the futures are dropped, and the outputs of those that were done are lost.
#[macro_export]
macro_rules! gather {
    ($($future:expr),* $(,)?) => { $crate::__gather!(@names Whole [] [$($future,)*] [$($future,)*]) };
}

/// Waits for all of a few futures that give a [`Result`], or for the first error: `Ok` of a tuple of the
/// values, or that error. The others are dropped before it is given.
///
/// tokio's `try_join!`. The errors must be of one type. Otherwise as [`gather!`](macro@crate::gather).
///
/// # Examples
/// ```
/// # futures_lite::future::block_on(async {
/// let pair = filch::try_gather!(async { "1".parse::<u32>() }, async { "2".parse::<u32>().map(u64::from) });
/// assert_eq!(pair, Ok((1, 2)));
///
/// let error = filch::try_gather!(async { Err::<(), _>("no") }, std::future::pending::<Result<(), &str>>());
/// assert_eq!(error, Err("no"));
/// # });
/// ```
///
/// # Errors
/// The first error to come; of several that come in one poll, that of the future polled first.
///
/// # Panics
/// When a future does.
///
/// # Cancel safety
/// **Not cancel safe:** the futures are dropped, and the outputs of those that were done are lost.
#[macro_export]
macro_rules! try_gather {
    ($($future:expr),* $(,)?) => { $crate::__gather!(@names TryWhole [] [$($future,)*] [$($future,)*]) };
}

/// The machinery of [`gather!`]: `@names` makes a name for each output, `@list` nests the futures, and
/// `@pattern` the names.
#[doc(hidden)]
#[macro_export]
macro_rules! __gather {
    // Each step makes an `output` of its own: the compiler tells them apart.
    (@names $whole:ident [$($name:ident)*] [$first:expr, $($rest:expr,)*] $all:tt) => {
        $crate::__gather!(@names $whole [$($name)* output] [$($rest,)*] $all)
    };
    (@names Whole [$($name:ident)*] [] $all:tt) => {
        match $crate::__private::Whole::new($crate::__gather!(@list $all)).await {
            $crate::__gather!(@pattern $($name)*) => ($($name,)*),
        }
    };
    (@names TryWhole [$($name:ident)*] [] $all:tt) => {
        match $crate::__private::TryWhole::new($crate::__gather!(@list $all)).await {
            ::core::result::Result::Ok($crate::__gather!(@pattern $($name)*)) => {
                ::core::result::Result::Ok(($($name,)*))
            }
            ::core::result::Result::Err(error) => ::core::result::Result::Err(error),
        }
    };

    (@list []) => { $crate::__private::GatherEnd };
    (@list [$first:expr, $($rest:expr,)*]) => {
        $crate::__private::GatherList::new(
            ::core::future::IntoFuture::into_future($first),
            $crate::__gather!(@list [$($rest,)*]),
        )
    };

    (@pattern) => { () };
    (@pattern $first:ident $($rest:ident)*) => { ($first, $crate::__gather!(@pattern $($rest)*)) };
}

/// What is kept of an output, and which one ends the whole.
pub trait Rule<O> {
    type Kept;
    type Stop;

    fn keep(output: O) -> ControlFlow<Self::Stop, Self::Kept>;
}

/// `gather!`: all is kept.
pub enum KeepAll {}

impl<O> Rule<O> for KeepAll {
    type Kept = O;
    type Stop = Infallible;

    #[inline]
    fn keep(output: O) -> ControlFlow<Infallible, O> {
        ControlFlow::Continue(output)
    }
}

/// `try_gather!`: an error ends it.
pub enum KeepOk {}

impl<T, E> Rule<Result<T, E>> for KeepOk {
    type Kept = T;
    type Stop = E;

    #[inline]
    fn keep(output: Result<T, E>) -> ControlFlow<E, T> {
        output.map_or_else(ControlFlow::Break, ControlFlow::Continue)
    }
}

/// A list of futures, polled by the rule `R`, of which the whole ends with an `S` at most.
pub trait Children<R, S> {
    type Outputs;
    const COUNT: u32;

    /// Polls the futures of `range` that are not done, in order; `index` is the place of the first one of
    /// this list among all. Continues with whether all of this list are done.
    fn poll_range(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        index: u32,
        range: &Range<u32>,
    ) -> ControlFlow<S, bool>;

    /// The outputs, when all are done.
    fn take(self: Pin<&mut Self>) -> Self::Outputs;
}

/// The end of a list.
pub struct End;

impl<R, S> Children<R, S> for End {
    type Outputs = ();
    const COUNT: u32 = 0;

    #[inline]
    fn poll_range(self: Pin<&mut Self>, _: &mut Context<'_>, _: u32, _: &Range<u32>) -> ControlFlow<S, bool> {
        ControlFlow::Continue(true)
    }

    #[inline]
    fn take(self: Pin<&mut Self>) {}
}

pin_project! {
    #[project = PlacePin]
    #[project_replace = PlaceOut]
    enum Place<F, K> {
        Running { #[pin] future: F },
        Kept { kept: K },
        Gone,
    }
}

pin_project! {
    /// One future and those after it.
    pub struct List<F, K, L> {
        #[pin]
        place: Place<F, K>,
        #[pin]
        later: L,
    }
}

impl<F, K, L> List<F, K, L> {
    #[inline]
    pub fn new(future: F, later: L) -> Self {
        List { place: Place::Running { future }, later }
    }
}

impl<F, K, L, R, S> Children<R, S> for List<F, K, L>
where
    F: Future,
    R: Rule<F::Output, Kept = K, Stop = S>,
    L: Children<R, S>,
{
    type Outputs = (K, L::Outputs);
    const COUNT: u32 = 1 + L::COUNT;

    #[inline]
    fn poll_range(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        index: u32,
        range: &Range<u32>,
    ) -> ControlFlow<S, bool> {
        let mut this = self.project();
        let mut is_done = true;
        if let PlacePin::Running { future } = this.place.as_mut().project() {
            is_done = false;
            if range.contains(&index) {
                if let Poll::Ready(output) = future.poll(cx) {
                    // Dropped as soon as it is done.
                    this.place.set(Place::Gone);
                    this.place.set(Place::Kept { kept: R::keep(output)? });
                    is_done = true;
                }
            }
        }
        ControlFlow::Continue(this.later.poll_range(cx, index + 1, range)? & is_done)
    }

    #[inline]
    fn take(self: Pin<&mut Self>) -> Self::Outputs {
        let this = self.project();
        let PlaceOut::Kept { kept } = this.place.project_replace(Place::Gone) else {
            panic!("`gather!` was polled again after it had been ready");
        };
        (kept, this.later.take())
    }
}

/// Polls all once. `start` is the one to begin with, and the next one at the next poll.
#[inline]
fn poll_all<L, R, S>(
    mut list: Pin<&mut L>,
    start: &mut u32,
    cx: &mut Context<'_>,
) -> Poll<ControlFlow<S, L::Outputs>>
where
    L: Children<R, S>,
{
    let first = *start;
    *start = if first + 1 < L::COUNT { first + 1 } else { 0 };
    for range in [first..L::COUNT, 0..first] {
        match list.as_mut().poll_range(cx, 0, &range) {
            ControlFlow::Continue(true) => return Poll::Ready(ControlFlow::Continue(list.take())),
            ControlFlow::Continue(false) => {}
            ControlFlow::Break(stop) => return Poll::Ready(ControlFlow::Break(stop)),
        }
    }
    Poll::Pending
}

pin_project! {
    /// The future of `gather!`.
    pub struct Whole<L> {
        #[pin]
        list: L,
        start: u32,
    }
}

impl<L: Children<KeepAll, Infallible>> Whole<L> {
    #[inline]
    pub fn new(list: L) -> Self {
        Whole { list, start: 0 }
    }
}

impl<L: Children<KeepAll, Infallible>> Future for Whole<L> {
    type Output = L::Outputs;

    #[inline]
    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<L::Outputs> {
        let this = self.project();
        poll_all(this.list, this.start, cx).map(|whole| match whole {
            ControlFlow::Continue(outputs) => outputs,
            ControlFlow::Break(never) => match never {},
        })
    }
}

pin_project! {
    /// The future of `try_gather!`.
    pub struct TryWhole<L, S> {
        #[pin]
        list: L,
        start: u32,
        _stop: PhantomData<fn() -> S>,
    }
}

impl<L: Children<KeepOk, S>, S> TryWhole<L, S> {
    #[inline]
    pub fn new(list: L) -> Self {
        TryWhole { list, start: 0, _stop: PhantomData }
    }
}

impl<L: Children<KeepOk, S>, S> Future for TryWhole<L, S> {
    type Output = Result<L::Outputs, S>;

    #[inline]
    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.project();
        poll_all(this.list, this.start, cx).map(|whole| match whole {
            ControlFlow::Continue(outputs) => Ok(outputs),
            ControlFlow::Break(error) => Err(error),
        })
    }
}
