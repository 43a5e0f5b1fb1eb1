//! Layer 3, gather. Each of many as it is done: `as_completed`, with keys, and with a limit of time.
//!
//! Owns nothing but the set, which hands out each output at once. Called by users.
#![forbid(unsafe_code)]

use std::convert::Infallible;
use std::future::poll_fn;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use futures_core::{FusedStream, Stream};
use pin_project_lite::pin_project;

use super::set::{Done, Set, debug_by_set};
use crate::time::{Duration, Elapsed, Instant, Timeout, timeout_at};

/// The outputs of `futures` in the order in which they are done: a [`Stream`].
///
/// Python's `asyncio.as_completed`. Outputs that come in one poll are in the order of the arguments. To know
/// which future an output came from, see [`as_completed_keyed()`].
///
/// The futures are polled while somebody waits for the next output, and stand still otherwise: what is done
/// with an output had better not take long. Futures that must go on meanwhile are spawned, and their handles
/// given here.
///
/// # Examples
/// ```
/// use filch::time::{Duration, sleep};
///
/// # filch::run(async {
/// let mut outputs = filch::as_completed([20, 1, 10].map(|n| async move {
///     sleep(Duration::from_millis(n)).await;
///     n
/// }));
/// let mut order = Vec::new();
/// while let Some(n) = outputs.next().await {
///     order.push(n);
/// }
/// assert_eq!(order, [1, 10, 20]);
/// # });
/// ```
///
/// # Panics
/// When a future does: see [the module](mod@crate::gather#panics-of-a-future).
///
/// # Cancel safety
/// **Strict.** An output is taken only by the poll that gives it; to drop the stream drops the futures.
pub fn as_completed<I>(futures: I) -> AsCompleted<<I::Item as IntoFuture>::IntoFuture>
where
    I: IntoIterator<Item: IntoFuture>,
{
    AsCompleted(Set::new(futures))
}

/// [`as_completed()`] over pairs of a key and a future: gives the key with each output.
///
/// Python's `{future: key}` beside `as_completed`.
///
/// # Examples
/// ```
/// # futures_lite::future::block_on(async {
/// let pages = ["/", "/about"].map(|url| (url, async move { url.len() }));
/// let mut sizes = filch::gather::as_completed_keyed(pages);
/// assert_eq!(sizes.next().await, Some(("/", 1)));
/// assert_eq!(sizes.next().await, Some(("/about", 6)));
/// assert_eq!(sizes.next().await, None);
/// # });
/// ```
///
/// # Panics
/// When a future does: see [the module](mod@crate::gather#panics-of-a-future).
///
/// # Cancel safety
/// **Strict.** An output is taken only by the poll that gives it; to drop the stream drops the futures.
pub fn as_completed_keyed<K, F, I>(pairs: I) -> AsCompleted<Keyed<K, F::IntoFuture>>
where
    F: IntoFuture,
    I: IntoIterator<Item = (K, F)>,
{
    let keyed = |(key, future): (K, F)| Keyed { key: Some(key), future: future.into_future() };
    AsCompleted(Set::new(pairs.into_iter().map(keyed)))
}

/// The stream of [`as_completed()`].
#[must_use = "streams do nothing unless they are polled"]
pub struct AsCompleted<F>(Set<F, Infallible>);

impl<F: Future> AsCompleted<F> {
    /// The next output; `None` when all futures are done.
    ///
    /// # Cancel safety
    /// **Strict.** An output is taken only by the poll that gives it.
    pub async fn next(&mut self) -> Option<F::Output> {
        poll_fn(|cx| self.poll_output(cx)).await
    }

    /// How many futures are not done.
    pub fn remaining(&self) -> usize {
        self.0.left()
    }

    /// Limits the time for all of them together, from now on: see [`deadline`](Self::deadline).
    ///
    /// # Examples
    /// ```
    /// use filch::time::{Duration, sleep};
    ///
    /// # filch::Builder::new().paused_clock(1).build()?.block_on(async {
    /// let naps = [3, 1, 9].map(|n| async move {
    ///     sleep(Duration::from_millis(n)).await;
    ///     n
    /// });
    /// let mut done = filch::as_completed(naps).timeout(Duration::from_millis(5));
    /// assert_eq!(done.next().await, Some(Ok(1)));
    /// assert_eq!(done.next().await, Some(Ok(3)));
    /// assert!(done.next().await.unwrap().is_err());
    /// # });
    /// # Ok::<(), std::io::Error>(())
    /// ```
    #[track_caller]
    pub fn timeout(self, duration: Duration) -> Limited<F> {
        self.deadline(Instant::now() + duration)
    }

    /// Limits the time for all of them together. Python's `as_completed(.., timeout=..)`.
    ///
    /// When it is over, the stream gives one error, and then ends. An output that is ready by then comes
    /// first.
    ///
    /// # Examples
    /// ```
    /// use filch::time::{Duration, sleep};
    ///
    /// # filch::run(async {
    /// let sleeps = [1, 3_600_000].map(|n| async move {
    ///     sleep(Duration::from_millis(n)).await;
    ///     n
    /// });
    /// let mut outputs = filch::as_completed(sleeps).timeout(Duration::from_millis(100));
    /// assert_eq!(outputs.next().await, Some(Ok(1)));
    /// assert!(outputs.next().await.unwrap().is_err());
    /// assert!(outputs.next().await.is_none());
    /// assert_eq!(outputs.into_inner().remaining(), 1);
    /// # });
    /// ```
    ///
    /// # Panics
    /// When it is polled outside of a runtime of ours, whose timers it needs.
    #[track_caller]
    pub fn deadline(self, deadline: Instant) -> Limited<F> {
        Limited { inner: timeout_at(deadline, Next(self)), over: false }
    }

    fn poll_output(&mut self, cx: &mut Context<'_>) -> Poll<Option<F::Output>> {
        self.0.poll(cx, |_, child, cx| child.poll(cx).map(Done::Stop))
    }
}

impl<F: Future> Stream for AsCompleted<F> {
    type Item = F::Output;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<F::Output>> {
        self.poll_output(cx)
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        (self.0.left(), Some(self.0.left()))
    }
}

impl<F: Future> FusedStream for AsCompleted<F> {
    fn is_terminated(&self) -> bool {
        self.0.left() == 0
    }
}

/// One output after another, as a future that may be polled again after it was ready.
struct Next<F>(AsCompleted<F>);

impl<F: Future> Future for Next<F> {
    type Output = Option<F::Output>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<F::Output>> {
        self.0.poll_output(cx)
    }
}

/// The stream of [`AsCompleted::deadline`]: outputs, and one error if the time is over before all are there.
#[must_use = "streams do nothing unless they are polled"]
pub struct Limited<F> {
    inner: Timeout<Next<F>>,
    over: bool,
}

impl<F: Future> Limited<F> {
    /// The next output, or that the time is over; `None` when all futures are done, and after the error.
    ///
    /// # Errors
    /// [`Elapsed`], once, when the time is over.
    ///
    /// # Cancel safety
    /// **Strict.** An output is taken only by the poll that gives it.
    pub async fn next(&mut self) -> Option<Result<F::Output, Elapsed>> {
        poll_fn(|cx| Pin::new(&mut *self).poll_next(cx)).await
    }

    /// Without the limit: to go on with those that are not done.
    pub fn into_inner(self) -> AsCompleted<F> {
        self.inner.into_inner().0
    }
}

impl<F: Future> Stream for Limited<F> {
    type Item = Result<F::Output, Elapsed>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        if self.over {
            return Poll::Ready(None);
        }
        let next = ready!(Pin::new(&mut self.inner).poll(cx));
        self.over = !matches!(next, Ok(Some(_)));
        Poll::Ready(next.transpose())
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        match self.over {
            true => (0, Some(0)),
            // Each of them, or some and then the error; the error comes early enough or not at all.
            false => (0, Some(self.inner.get_ref().0.remaining())),
        }
    }
}

debug_by_set!([F] AsCompleted<F>, 0);
debug_by_set!([F] Next<F>, 0);
debug_by_set!([F] Limited<F>, inner);

pin_project! {
    /// What [`as_completed_keyed()`] makes of a pair: a future of the key and the output.
    #[derive(Debug)]
    #[must_use = "futures do nothing unless they are awaited"]
    pub struct Keyed<K, F> {
        key: Option<K>,
        #[pin]
        future: F,
    }
}

impl<K, F: Future> Future for Keyed<K, F> {
    type Output = (K, F::Output);

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.project();
        let output = ready!(this.future.poll(cx));
        Poll::Ready((this.key.take().expect("a future was polled again after it had been ready"), output))
    }
}
