//! Layer 3, gather. Some of many, and the others back: `wait`, asyncio's by that name.
//!
//! Owns the modes, each a type of its own: so `FirstError` can ask for outputs that may be errors, and the
//! others take any. Called by users.
#![forbid(unsafe_code)]

use std::convert::Infallible;
use std::pin::Pin;
use std::task::{Context, Poll};

use super::set::{Done, Parts, Set, debug_by_set};
use crate::time::{Duration, Instant, Timeout, timeout_at};

/// When [`wait()`](super::wait()) is over. `asyncio`'s `return_when`.
///
/// A module, not an `enum`, since the modes differ in what they ask of an output.
#[allow(non_snake_case)]
pub mod Wait {
    /// When the first future is done, well or badly.
    #[derive(Clone, Copy, PartialEq, Eq, Debug)]
    pub struct FirstCompleted;

    /// When the first future gives an [`Err`], or all are done. Only for outputs that are a [`Result`]; with
    /// handles of tasks, an error is a task that panicked or was cancelled.
    #[derive(Clone, Copy, PartialEq, Eq, Debug)]
    pub struct FirstError;

    /// When all are done.
    #[derive(Clone, Copy, PartialEq, Eq, Debug)]
    pub struct All;
}

/// A mode of [`wait()`] for futures with the output `T`. Those there are stand in [`Wait`](mod@Wait).
pub trait Mode<T> {
    /// Whether this output ends the wait.
    fn ends_with(&self, output: &T) -> bool;
}

impl<T> Mode<T> for Wait::FirstCompleted {
    fn ends_with(&self, _: &T) -> bool {
        true
    }
}

impl<T, E> Mode<Result<T, E>> for Wait::FirstError {
    fn ends_with(&self, output: &Result<T, E>) -> bool {
        output.is_err()
    }
}

impl<T> Mode<T> for Wait::All {
    fn ends_with(&self, _: &T) -> bool {
        false
    }
}

/// Waits until the first of `futures` is done, or the first that fails, or all, and gives back those that are
/// not done.
///
/// Python's `asyncio.wait`. Each output, and each future that is left, comes with its place among the
/// arguments, and in that order. More than one may be done, since all that are woken at once are polled.
/// Without futures it is ready at once.
///
/// The futures must be [`Unpin`], as they are handed back: handles of tasks are, others are boxed
/// (`Box::pin(future)`) or pinned and borrowed (`pin!(future)`).
///
/// # Examples
/// ```
/// use filch::Wait;
/// use filch::time::{Duration, sleep};
///
/// # filch::run(async {
/// let tasks = [1, 3_600_000].map(|n| filch::spawn(async move {
///     sleep(Duration::from_millis(n)).await;
///     n
/// }));
/// let (done, pending) = filch::wait(tasks, Wait::FirstCompleted).await;
/// assert_eq!(done.len(), 1);
/// assert!(matches!(done[0], (0, Ok(1))));
/// let (index, task) = &pending[0];
/// assert_eq!(*index, 1);
/// task.abort();
/// # });
/// ```
///
/// # Panics
/// When a future does: see [the module](mod@crate::gather#panics-of-a-future).
///
/// # Cancel safety
/// **Not cancel safe:** the futures are dropped, and the outputs of those that were done are lost. With
/// `iter_mut()` the futures stay, but not those outputs.
pub fn wait<I, M>(futures: I, mode: M) -> Waiting<<I::Item as IntoFuture>::IntoFuture, M>
where
    I: IntoIterator<Item: IntoFuture<IntoFuture: Unpin>>,
    M: Mode<<I::Item as IntoFuture>::Output>,
{
    Waiting { set: Set::new(futures), mode }
}

/// The future of [`wait()`].
#[must_use = "futures do nothing unless they are awaited"]
pub struct Waiting<F: Future, M> {
    set: Set<F, F::Output>,
    mode: M,
}

impl<F: Future + Unpin, M: Mode<F::Output> + Unpin> Waiting<F, M> {
    /// Limits the time, from now on: see [`deadline`](Self::deadline).
    #[track_caller]
    pub fn timeout(self, duration: Duration) -> WaitLimited<F, M> {
        self.deadline(Instant::now() + duration)
    }

    /// Limits the time: at the deadline it gives what is done by then. Python's `wait(.., timeout=..)`, which
    /// is no error either.
    ///
    /// # Examples
    /// ```
    /// use filch::Wait;
    /// use filch::time::{Duration, sleep};
    ///
    /// # filch::run(async {
    /// let sleeps = [1, 3_600_000].map(|n| sleep(Duration::from_millis(n)));
    /// let (done, pending) = filch::wait(sleeps, Wait::All).timeout(Duration::from_millis(100)).await;
    /// assert_eq!(done, [(0, ())]);
    /// assert_eq!(pending.len(), 1);
    /// # });
    /// ```
    ///
    /// # Panics
    /// When it is polled outside of a runtime of ours, whose timers it needs.
    #[track_caller]
    pub fn deadline(self, deadline: Instant) -> WaitLimited<F, M> {
        WaitLimited(timeout_at(deadline, self))
    }
}

impl<F: Future + Unpin, M: Mode<F::Output> + Unpin> Future for Waiting<F, M> {
    type Output = Parts<F, F::Output>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Parts<F, F::Output>> {
        let Waiting { set, mode } = &mut *self;
        let mut ended = false;
        let polled = set.poll(cx, |_, child, cx| {
            child.poll(cx).map(|output| {
                ended |= mode.ends_with(&output);
                Done::<_, Infallible>::Keep(output)
            })
        });
        if ended || polled.is_ready() { Poll::Ready(set.split()) } else { Poll::Pending }
    }
}

/// The future of [`Waiting::deadline`].
#[must_use = "futures do nothing unless they are awaited"]
pub struct WaitLimited<F: Future, M>(Timeout<Waiting<F, M>>);

impl<F: Future + Unpin, M: Mode<F::Output> + Unpin> Future for WaitLimited<F, M> {
    type Output = Parts<F, F::Output>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Parts<F, F::Output>> {
        let limited = &mut self.0;
        Pin::new(&mut *limited).poll(cx).map(|parts| match parts {
            Ok(parts) => parts,
            Err(_) => limited.get_mut().set.split(),
        })
    }
}

debug_by_set!([F: Future, M] Waiting<F, M>, set);
debug_by_set!([F: Future, M] WaitLimited<F, M>, 0);
