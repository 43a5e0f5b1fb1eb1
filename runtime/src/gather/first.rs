//! Layer 3, gather. The first of many: `race`, and `any` for the first that ends well.
//!
//! Owns what becomes of the losers: they are dropped before the winner is handed out. Called by users.
#![forbid(unsafe_code)]

use std::convert::Infallible;
use std::error::Error;
use std::fmt;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use super::set::{Done, Set, debug_by_set};

/// Waits for the first of `futures` that is done, well or badly, and gives its output.
///
/// JavaScript's `Promise.race`. The others are dropped before it is ready. Of several that are ready in one
/// poll the first argument wins. For a few futures of different types there is [`select!`](crate::select!);
/// to keep the losers, [`wait()`](super::wait()).
///
/// # Examples
/// ```
/// use filch::time::{Duration, sleep};
///
/// # filch::run(async {
/// let winner = filch::race([30, 1].map(|n| async move {
///     sleep(Duration::from_millis(n)).await;
///     n
/// }));
/// assert_eq!(winner.await, 1);
/// # });
/// ```
///
/// # Panics
/// When there are no futures: it would never be ready. When a future does: see
/// [the module](mod@crate::gather#panics-of-a-future).
///
/// # Cancel safety
/// **Strict** if the futures are: nothing is kept of one that is done, for the whole is ready then.
#[track_caller]
pub fn race<I>(futures: I) -> Race<<I::Item as IntoFuture>::IntoFuture>
where
    I: IntoIterator<Item: IntoFuture>,
{
    let set = Set::new(futures);
    assert!(set.left() > 0, "race: no futures, so none would ever be the first");
    Race(set)
}

/// The future of [`race()`].
#[must_use = "futures do nothing unless they are awaited"]
pub struct Race<F>(Set<F, Infallible>);

impl<F: Future> Future for Race<F> {
    type Output = F::Output;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<F::Output> {
        let set = &mut self.0;
        let first = ready!(set.poll(cx, |_, child, cx| child.poll(cx).map(Done::Stop)));
        set.clear();
        Poll::Ready(first.expect("there is one future at least, and each ends the race"))
    }
}

/// Waits for the first of `futures` that ends well, and gives what it gave.
///
/// JavaScript's `Promise.any`. The others are dropped before it is ready. Errors are collected, and count
/// only when no future is left.
///
/// # Examples
/// ```
/// # futures_lite::future::block_on(async {
/// let number = filch::any(["x", "7"].map(|text| async move { text.parse::<u32>() })).await;
/// assert_eq!(number.unwrap(), 7);
///
/// let failed = filch::any(["x", "y"].map(|text| async move { text.parse::<u32>() })).await;
/// assert_eq!(failed.unwrap_err().errors.len(), 2);
/// # });
/// ```
///
/// # Errors
/// [`AllFailed`], with the errors of all futures in the order of the arguments, when none ended well. Without
/// futures there are none to do so: then it has no errors.
///
/// # Panics
/// When a future does: see [the module](mod@crate::gather#panics-of-a-future).
///
/// # Cancel safety
/// **Not cancel safe:** the futures are dropped, and the errors of those that failed are lost.
pub fn any<I, T, E>(futures: I) -> Any<<I::Item as IntoFuture>::IntoFuture, E>
where
    I: IntoIterator<Item: IntoFuture<Output = Result<T, E>>>,
{
    Any(Set::new(futures))
}

/// The future of [`any()`].
#[must_use = "futures do nothing unless they are awaited"]
pub struct Any<F, E>(Set<F, E>);

impl<F, T, E> Future for Any<F, E>
where
    F: Future<Output = Result<T, E>>,
{
    type Output = Result<T, AllFailed<E>>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let set = &mut self.0;
        let first = ready!(set.poll(cx, |_, child, cx| {
            child.poll(cx).map(|output| output.map_or_else(Done::Keep, Done::Stop))
        }));
        Poll::Ready(match first {
            Some(output) => {
                set.clear();
                Ok(output)
            }
            None => {
                let errors = set.take(0).map(|kept| kept.expect("each error is kept"));
                Err(AllFailed { errors: errors.collect() })
            }
        })
    }
}

debug_by_set!([F] Race<F>, 0);
debug_by_set!([F, E] Any<F, E>, 0);

/// No future of [`any()`] ended well.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct AllFailed<E> {
    /// What each of them gave, in the order of the arguments. Empty when there were no futures.
    pub errors: Vec<E>,
}

impl<E: fmt::Display> fmt::Display for AllFailed<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.errors[..] {
            [] => f.write_str("there were no futures, so none ended well"),
            [only] => write!(f, "the only future failed: {only}"),
            [first, others @ ..] => {
                write!(f, "all {} futures failed: {first}", self.errors.len())?;
                others.iter().try_for_each(|error| write!(f, "; {error}"))
            }
        }
    }
}

impl<E: fmt::Debug + fmt::Display> Error for AllFailed<E> {}
