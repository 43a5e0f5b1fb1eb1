//! Layer 3, gather. What can be said of one future after another: `FutureExt`.
//!
//! Owns the futures that its methods make, and the rule of each: whether what comes after runs. Called by
//! users.
#![forbid(unsafe_code)]

use std::fmt;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use pin_project_lite::pin_project;

/// What a future that was ready says when it is polled again.
const AGAIN: &str = "a future was polled again after it had been ready";

/// Steps after a future, for where an `async` block is too much. JavaScript's `then`, `catch` and `finally`.
///
/// | JavaScript                  | here                                          |
/// |-----------------------------|-----------------------------------------------|
/// | `then(f)`, `f` gives a value | [`map`](Self::map)                           |
/// | `then(f)`, `f` gives a promise | [`then`](Self::then); after success only, [`and_then`](Self::and_then) |
/// | `catch(f)`                  | [`or_else`](Self::or_else)                    |
/// | `finally(f)`                | [`finally`](Self::finally)                    |
///
/// # Examples
/// ```
/// use filch::FutureExt;
///
/// # futures_lite::future::block_on(async {
/// let mut log = Vec::new();
/// let length = async { "12".parse::<u32>() }
///     .and_then(|n| async move { u32::try_from(n * 2).map_err(|_| unreachable!()) })
///     .or_else(|_| async { Ok::<u32, ()>(0) })
///     .map(|n| n.unwrap() + 1)
///     .finally(|| log.push("done"));
/// assert_eq!(length.await, 25);
/// assert_eq!(log, ["done"]);
/// # });
/// ```
///
/// # Cancel safety
/// As the futures in the chain: what is dropped half way drops the step that it is in, and the later ones do
/// not begin. The callback of [`finally`](Self::finally) runs also then.
pub trait FutureExt: Future + Sized {
    /// Changes the output by `f`.
    fn map<C, T>(self, f: C) -> Map<Self, C>
    where
        C: FnOnce(Self::Output) -> T,
    {
        Map { future: self, f: Some(f) }
    }

    /// Looks at the output on its way.
    fn inspect<C>(self, f: C) -> Inspect<Self, C>
    where
        C: FnOnce(&Self::Output),
    {
        Inspect { future: self, f: Some(f) }
    }

    /// Goes on with the future that `f` makes of the output.
    fn then<C, N>(self, f: C) -> Then<Self, C, N>
    where
        C: FnOnce(Self::Output) -> N,
        N: Future,
    {
        Then { chain: Chain::first(self, f) }
    }

    /// After success goes on with the future that `f` makes of the value; an error passes by.
    fn and_then<C, N, T, U, E>(self, f: C) -> AndThen<Self, C, N>
    where
        Self: Future<Output = Result<T, E>>,
        C: FnOnce(T) -> N,
        N: Future<Output = Result<U, E>>,
    {
        AndThen { chain: Chain::first(self, f) }
    }

    /// After an error goes on with the future that `f` makes of it; a value passes by.
    fn or_else<C, N, T, E, D>(self, f: C) -> OrElse<Self, C, N>
    where
        Self: Future<Output = Result<T, E>>,
        C: FnOnce(E) -> N,
        N: Future<Output = Result<T, D>>,
    {
        OrElse { chain: Chain::first(self, f) }
    }

    /// Calls `f` once, after the future is gone, however that came about: it was ready, it panicked, or it
    /// was dropped, be it before its first poll.
    fn finally<C>(self, f: C) -> Finally<Self, C>
    where
        C: FnOnce(),
    {
        Finally { future: Some(self), last: OnDrop(Some(f)) }
    }
}

impl<F: Future> FutureExt for F {}

pin_project! {
    /// The future of [`FutureExt::map`].
    #[must_use = "futures do nothing unless they are awaited"]
    pub struct Map<F, C> {
        #[pin]
        future: F,
        f: Option<C>,
    }
}

impl<F: Future, C: FnOnce(F::Output) -> T, T> Future for Map<F, C> {
    type Output = T;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<T> {
        let this = self.project();
        let output = ready!(this.future.poll(cx));
        Poll::Ready(this.f.take().expect(AGAIN)(output))
    }
}

pin_project! {
    /// The future of [`FutureExt::inspect`].
    #[must_use = "futures do nothing unless they are awaited"]
    pub struct Inspect<F, C> {
        #[pin]
        future: F,
        f: Option<C>,
    }
}

impl<F: Future, C: FnOnce(&F::Output)> Future for Inspect<F, C> {
    type Output = F::Output;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<F::Output> {
        let this = self.project();
        let output = ready!(this.future.poll(cx));
        this.f.take().expect(AGAIN)(&output);
        Poll::Ready(output)
    }
}

pin_project! {
    /// One future, and then perhaps another.
    #[project = ChainPin]
    enum Chain<F, C, N> {
        First { #[pin] future: F, f: Option<C> },
        Second { #[pin] future: N },
        Over,
    }
}

/// What comes after the first future of a chain.
enum Step<N: Future> {
    Go(N),
    Over(N::Output),
}

impl<F: Future, C, N: Future> Chain<F, C, N> {
    fn first(future: F, f: C) -> Self {
        Chain::First { future, f: Some(f) }
    }

    fn poll(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        rule: impl FnOnce(C, F::Output) -> Step<N>,
    ) -> Poll<N::Output> {
        if let ChainPin::First { future, f } = self.as_mut().project() {
            let output = ready!(future.poll(cx));
            let f = f.take().expect(AGAIN);
            // The first future is gone before anything of the second.
            self.set(Chain::Over);
            match rule(f, output) {
                Step::Go(future) => self.set(Chain::Second { future }),
                Step::Over(output) => return Poll::Ready(output),
            }
        }
        let ChainPin::Second { future } = self.as_mut().project() else { panic!("{AGAIN}") };
        let output = ready!(future.poll(cx));
        self.set(Chain::Over);
        Poll::Ready(output)
    }
}

pin_project! {
    /// The future of [`FutureExt::then`].
    #[must_use = "futures do nothing unless they are awaited"]
    pub struct Then<F, C, N> {
        #[pin]
        chain: Chain<F, C, N>,
    }
}

impl<F: Future, C: FnOnce(F::Output) -> N, N: Future> Future for Then<F, C, N> {
    type Output = N::Output;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<N::Output> {
        self.project().chain.poll(cx, |f, output| Step::Go(f(output)))
    }
}

pin_project! {
    /// The future of [`FutureExt::and_then`].
    #[must_use = "futures do nothing unless they are awaited"]
    pub struct AndThen<F, C, N> {
        #[pin]
        chain: Chain<F, C, N>,
    }
}

impl<F, C, N, T, U, E> Future for AndThen<F, C, N>
where
    F: Future<Output = Result<T, E>>,
    C: FnOnce(T) -> N,
    N: Future<Output = Result<U, E>>,
{
    type Output = Result<U, E>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<U, E>> {
        self.project().chain.poll(cx, |f, output| match output {
            Ok(value) => Step::Go(f(value)),
            Err(error) => Step::Over(Err(error)),
        })
    }
}

pin_project! {
    /// The future of [`FutureExt::or_else`].
    #[must_use = "futures do nothing unless they are awaited"]
    pub struct OrElse<F, C, N> {
        #[pin]
        chain: Chain<F, C, N>,
    }
}

impl<F, C, N, T, E, D> Future for OrElse<F, C, N>
where
    F: Future<Output = Result<T, E>>,
    C: FnOnce(E) -> N,
    N: Future<Output = Result<T, D>>,
{
    type Output = Result<T, D>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<T, D>> {
        self.project().chain.poll(cx, |f, output| match output {
            Ok(value) => Step::Over(Ok(value)),
            Err(error) => Step::Go(f(error)),
        })
    }
}

pin_project! {
    /// The future of [`FutureExt::finally`].
    #[must_use = "futures do nothing unless they are awaited"]
    pub struct Finally<F, C: FnOnce()> {
        #[pin]
        future: Option<F>,
        // Dropped after the future, also when that panics: fields go in this order.
        last: OnDrop<C>,
    }
}

/// Calls what is in it once, at the latest when it is dropped.
struct OnDrop<C: FnOnce()>(Option<C>);

impl<C: FnOnce()> OnDrop<C> {
    fn call(&mut self) {
        if let Some(f) = self.0.take() {
            f();
        }
    }
}

impl<C: FnOnce()> Drop for OnDrop<C> {
    fn drop(&mut self) {
        self.call();
    }
}

impl<F: Future, C: FnOnce()> Future for Finally<F, C> {
    type Output = F::Output;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<F::Output> {
        let mut this = self.project();
        let output = ready!(this.future.as_mut().as_pin_mut().expect(AGAIN).poll(cx));
        this.future.set(None);
        this.last.call();
        Poll::Ready(output)
    }
}

macro_rules! debug_by_name {
    ($([$($generics:tt)*] $name:ident<$($arg:ident),*>;)*) => {$(
        impl<$($generics)*> fmt::Debug for $name<$($arg),*> {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.debug_struct(stringify!($name)).finish_non_exhaustive()
            }
        }
    )*};
}
debug_by_name! {
    [F, C] Map<F, C>;
    [F, C] Inspect<F, C>;
    [F, C, N] Then<F, C, N>;
    [F, C, N] AndThen<F, C, N>;
    [F, C, N] OrElse<F, C, N>;
    [F, C: FnOnce()] Finally<F, C>;
}
