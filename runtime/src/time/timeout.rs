//! Layer 3, time. A future with a time limit.
//!
//! Owns the order of things: the inner future first, so that a value which is ready at the deadline wins, and
//! the timer only if there was none, so that a future which is ready at once pays for one look at the clock.
#![forbid(unsafe_code)]

use std::fmt;
use std::future::{Future, IntoFuture};
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use filch_channels::probe::{self, Wait};
use pin_project_lite::pin_project;

use crate::time::{Duration, Instant, Sleep};

/// Gives up on `future` after `duration`.
///
/// The time counts from this call. On expiry the future is dropped with the [`Timeout`]; to go on with it
/// instead, give `&mut future` (pinned), or take it back with [`Timeout::into_inner`]. A value that is ready
/// when the time is up wins. With [`Duration::ZERO`] the future is polled once.
///
/// # Examples
/// ```
/// use filch::time::{Duration, timeout};
///
/// filch::run(async {
///     assert_eq!(timeout(Duration::ZERO, async { 5 }).await, Ok(5));
///     assert!(timeout(Duration::from_millis(1), std::future::pending::<()>()).await.is_err());
/// });
/// ```
///
/// # Panics
/// When it is polled outside of a runtime.
///
/// # Errors
/// [`Elapsed`] when the time was up first.
///
/// # Cancel safety
/// **Strict** if `future` is: nothing is added to its own state but the timer.
#[track_caller]
pub fn timeout<F: IntoFuture>(duration: Duration, future: F) -> Timeout<F::IntoFuture> {
    timeout_at(Instant::now() + duration, future)
}

/// Gives up on `future` at `deadline`; otherwise as [`timeout()`].
///
/// # Panics
/// When it is polled outside of a runtime.
///
/// # Errors
/// [`Elapsed`] when the deadline passed first.
///
/// # Cancel safety
/// **Strict** if `future` is: nothing is added to its own state but the timer.
#[track_caller]
pub fn timeout_at<F: IntoFuture>(deadline: Instant, future: F) -> Timeout<F::IntoFuture> {
    Timeout { inner: future.into_future(), sleep: Sleep::until(deadline) }
}

/// Waits for `future`, at most for `limit`: [`timeout()`] with the arguments in asyncio's order.
///
/// # Examples
/// ```
/// use filch::time::{Duration, wait_for};
///
/// filch::run(async {
///     assert_eq!(wait_for(async { 5 }, Duration::from_secs(1)).await, Ok(5));
/// });
/// ```
///
/// # Panics
/// When it is polled outside of a runtime.
///
/// # Errors
/// [`Elapsed`] when the time was up first.
///
/// # Cancel safety
/// **Strict** if `future` is: nothing is added to its own state but the timer.
#[track_caller]
pub fn wait_for<F: IntoFuture>(future: F, limit: Duration) -> Timeout<F::IntoFuture> {
    timeout(limit, future)
}

pin_project! {
    /// The future of [`timeout()`], [`timeout_at`] and [`wait_for`](crate::time::wait_for).
    #[derive(Debug)]
    #[must_use = "futures do nothing unless they are awaited"]
    pub struct Timeout<F> {
        #[pin]
        inner: F,
        sleep: Sleep,
    }
}

impl<F> Timeout<F> {
    /// The future under the time limit.
    pub fn get_ref(&self) -> &F {
        &self.inner
    }

    /// The future under the time limit.
    pub fn get_mut(&mut self) -> &mut F {
        &mut self.inner
    }

    /// When the time is up.
    #[must_use]
    pub fn deadline(&self) -> Instant {
        self.sleep.deadline()
    }

    /// Takes the future back, without its limit.
    pub fn into_inner(self) -> F {
        self.inner
    }
}

impl<F: Future> Future for Timeout<F> {
    type Output = Result<F::Output, Elapsed>;

    #[track_caller]
    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        // Without a budget the inner future cannot show that it is ready, so it would be unfair to look at
        // the clock. With one it got its chance. Then the clock counts, though nothing of the budget may be
        // left: otherwise a future that spends all of it at each poll would never time out.
        ready!(probe::poll_budget(cx));
        let this = self.project();
        if let Poll::Ready(value) = this.inner.poll(cx) {
            return Poll::Ready(Ok(value));
        }
        // What the inner future said it waits for tells more than the limit does.
        let quiet = probe::with_current(|task| task.is_some_and(|task| task.wait().0 != Wait::Unknown));
        ready!(this.sleep.poll_deadline(cx, quiet));
        probe::spend();
        Poll::Ready(Err(Elapsed(())))
    }
}

/// The time was up before the future was ready.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Elapsed(());

impl fmt::Display for Elapsed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the time limit passed before the future was ready")
    }
}

impl std::error::Error for Elapsed {}

impl From<Elapsed> for io::Error {
    fn from(elapsed: Elapsed) -> io::Error {
        io::Error::new(io::ErrorKind::TimedOut, elapsed)
    }
}
