//! Layer 3, gather. All of many: `gather`, `settled`, `try_gather`.
//!
//! Owns what becomes of each output: it goes to the others if all before it are there, or else is kept in the place
//! of its child until they are; an error that ends the whole is handed out at once. Called by users.
#![forbid(unsafe_code)]

use std::convert::Infallible;
use std::panic::{AssertUnwindSafe, Location, catch_unwind};
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use super::set::{Done, Set, Slot, debug_by_set};
use crate::JoinError;
use crate::util::wake::guarded;

/// Waits for all `futures` and gives their outputs in the order of the arguments.
///
/// Python's `asyncio.gather`, JavaScript's `Promise.all` for what cannot fail, and `join_all` of others,
/// under which name it is here too. The futures may borrow. For a few of different types there is
/// [`gather!`](crate::gather!), and for those that may fail [`try_gather()`].
///
/// # Examples
/// ```
/// use filch::time::{Duration, sleep};
///
/// # filch::run(async {
/// let names = vec![String::from("a"), String::from("b")];
/// let greetings = filch::gather(names.iter().map(|name| async move {
///     sleep(Duration::from_millis(1)).await;
///     format!("hello {name}")
/// }));
/// assert_eq!(greetings.await, ["hello a", "hello b"]);
/// # });
/// ```
///
/// # Panics
/// When a future does: see [the module](mod@crate::gather#panics-of-a-future).
///
/// # Cancel safety
/// **Not cancel safe:** the futures are dropped, and the outputs of those that were done are lost.
pub fn gather<I>(futures: I) -> Gather<<I::Item as IntoFuture>::IntoFuture>
where
    I: IntoIterator<Item: IntoFuture>,
{
    Gather { set: Set::new(futures), first: Vec::new() }
}

/// An output, in the order in which they come. Those that are in their order go to `first`, which so needs no second
/// look at their places in the end.
#[inline]
fn keep<K, R>(first: &mut Vec<K>, children: usize, index: usize, output: K) -> Done<K, R> {
    if first.len() != index {
        return Done::Keep(output);
    }
    if index == 0 {
        first.reserve_exact(children);
    }
    first.push(output);
    Done::Drop
}

/// All outputs, when all are there.
fn all<F: Future, K>(set: &mut Set<F, K>, first: &mut Vec<K>) -> Vec<K> {
    let mut all = std::mem::take(first);
    let others = set.take(all.len());
    all.extend(others.map(|kept| kept.expect("each is kept")));
    all
}

/// The future of [`gather()`]: all outputs, in the order of the arguments.
#[must_use = "futures do nothing unless they are awaited"]
pub struct Gather<F: Future> {
    set: Set<F, F::Output>,
    /// Of the first children; nothing is kept of them in the set.
    first: Vec<F::Output>,
}

impl<F: Future> Gather<F> {
    /// Catches the panics of the futures: each output comes as a `Result`, whose error tells of the panic.
    ///
    /// `return_exceptions=True` in Python, `Promise.allSettled` in JavaScript. The error carries the index of
    /// the future as its name, the line that called this as its location, and the id of the task that polled
    /// it. Futures that give a `Result` of their own, handles of tasks among them, need this only for their
    /// panics.
    ///
    /// # Examples
    /// ```
    /// # fn quotient(a: u32, b: u32) -> u32 { a / b }
    /// # futures_lite::future::block_on(async {
    /// let settled = filch::gather([1, 0, 2].map(|n| async move { quotient(6, n) })).settled().await;
    /// assert_eq!(*settled[0].as_ref().unwrap(), 6);
    /// assert!(settled[1].as_ref().unwrap_err().is_panic());
    /// assert_eq!(*settled[2].as_ref().unwrap(), 3);
    /// # });
    /// ```
    ///
    /// # Cancel safety
    /// **Not cancel safe:** the futures are dropped, and the outputs of those that were done are lost.
    #[track_caller]
    pub fn settled(self) -> Settled<F> {
        let Gather { set, first } = self;
        Settled { set, first, panicked: Vec::new(), location: Location::caller() }
    }
}

impl<F: Future> Future for Gather<F> {
    type Output = Vec<F::Output>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let Gather { set, first } = &mut *self;
        let children = set.len();
        let stopped = ready!(set.poll::<Infallible>(cx, |index, child, cx| {
            child.poll(cx).map(|output| keep(first, children, index, output))
        }));
        match stopped {
            Some(never) => match never {},
            None => Poll::Ready(all(set, first)),
        }
    }
}

/// The future of [`Gather::settled`]: all outputs in the order of the arguments, panics as errors.
#[must_use = "futures do nothing unless they are awaited"]
pub struct Settled<F: Future> {
    set: Set<F, F::Output>,
    /// As it was handed over by [`Gather`].
    first: Vec<F::Output>,
    /// In the order in which they panicked.
    panicked: Vec<(usize, JoinError)>,
    location: &'static Location<'static>,
}

impl<F: Future> Future for Settled<F> {
    type Output = Vec<Result<F::Output, JoinError>>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let Settled { set, first, panicked, location } = &mut *self;
        let settle = |index: usize, mut child: Pin<&mut Slot<F, F::Output>>, cx: &mut Context<'_>| {
            let polled = catch_unwind(AssertUnwindSafe(|| {
                let output = ready!(child.as_mut().poll(cx));
                // Here, since the drop of the future may panic too.
                child.set(Slot::Gone);
                Poll::Ready(output)
            }));
            let payload = match polled {
                Ok(poll) => return poll.map(Done::<_, Infallible>::Keep),
                Err(payload) => payload,
            };
            guarded("a future that had panicked, when dropped,", || child.set(Slot::Gone));
            panicked.push((index, JoinError::of_child(index, location, payload)));
            Poll::Ready(Done::Drop)
        };
        if let Some(never) = ready!(set.poll(cx, settle)) {
            match never {}
        }
        panicked.sort_unstable_by_key(|(index, _)| std::cmp::Reverse(*index));
        let mut error = || panicked.pop().expect("a child without output panicked").1;
        let first = std::mem::take(first);
        let others = set.take(first.len()).map(|kept| kept.ok_or_else(&mut error));
        Poll::Ready(first.into_iter().map(Ok).chain(others).collect())
    }
}

/// Waits for all `futures`, or for the first that fails: all outputs in the order of the arguments, or that
/// error.
///
/// JavaScript's `Promise.all`, but the others do not go on after an error: they are dropped before it is
/// given. To let them go on, gather the handles of tasks; to see all errors, [`gather()`] the results.
///
/// # Examples
/// ```
/// # futures_lite::future::block_on(async {
/// let numbers = filch::try_gather(["1", "2"].map(|text| async move { text.parse::<u32>() })).await;
/// assert_eq!(numbers.unwrap(), [1, 2]);
///
/// let error = filch::try_gather(["1", "x", "3"].map(|text| async move { text.parse::<u32>() })).await;
/// assert_eq!(error.unwrap_err().to_string(), "invalid digit found in string");
/// # });
/// ```
///
/// # Errors
/// The first error to come; of several that come in one poll, that of the first argument.
///
/// # Panics
/// When a future does: see [the module](mod@crate::gather#panics-of-a-future).
///
/// # Cancel safety
/// **Not cancel safe:** the futures are dropped, and the outputs of those that were done are lost.
pub fn try_gather<I, T, E>(futures: I) -> TryGather<<I::Item as IntoFuture>::IntoFuture, T>
where
    I: IntoIterator<Item: IntoFuture<Output = Result<T, E>>>,
{
    TryGather { set: Set::new(futures), first: Vec::new() }
}

/// The future of [`try_gather()`]: all outputs in the order of the arguments, or the first error.
#[must_use = "futures do nothing unless they are awaited"]
pub struct TryGather<F, T> {
    set: Set<F, T>,
    /// As in [`Gather`].
    first: Vec<T>,
}

impl<F, T, E> Future for TryGather<F, T>
where
    F: Future<Output = Result<T, E>>,
{
    type Output = Result<Vec<T>, E>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let TryGather { set, first } = &mut *self;
        let children = set.len();
        let stopped = ready!(set.poll(cx, |index, child, cx| {
            child.poll(cx).map(|output| output.map_or_else(Done::Stop, |it| keep(first, children, index, it)))
        }));
        Poll::Ready(match stopped {
            Some(error) => {
                set.clear();
                drop(std::mem::take(first));
                Err(error)
            }
            None => Ok(all(set, first)),
        })
    }
}

// Outputs are moved, and the children have a place of their own.
impl<F: Future> Unpin for Gather<F> {}
impl<F: Future> Unpin for Settled<F> {}
impl<F, T> Unpin for TryGather<F, T> {}

debug_by_set!([F: Future] Gather<F>, set);
debug_by_set!([F: Future] Settled<F>, set);
debug_by_set!([F, T] TryGather<F, T>, set);
