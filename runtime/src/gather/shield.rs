//! Layer 3, gather. A future that goes on though nobody waits for it any more: `shield`.
//!
//! Owns the handle of a task, and hides what could end it. Called by users, inside a runtime.
#![forbid(unsafe_code)]

use std::pin::Pin;
use std::task::{Context, Poll};

use crate::cancel::region::Region;
use crate::{JoinError, JoinHandle};

/// Protects `future` from being cancelled: it runs as a task of its own, from now on, and to its end, whether
/// or not what this returns is awaited, or dropped half way.
///
/// Python's `asyncio.shield`. For what must not stop in the middle, such as to write a record, while the wait
/// for it may be given up: `wait_for(shield(write()), limit)`. Only the end of the runtime cancels it, so
/// whoever ends that waits for it first.
///
/// In a child of a [`TaskGroup`](crate::TaskGroup) or a [`scope`](crate::scope()), the end of that waits for
/// `future` too, though not for its output: nothing of what is inside goes on behind its back.
///
/// # Examples
/// ```
/// use filch::time::{Duration, sleep, wait_for};
///
/// # filch::run(async {
/// let (done, told) = filch::channel::oneshot::channel();
/// let write = async move {
///     sleep(Duration::from_millis(5)).await;
///     done.send("written").unwrap();
/// };
/// assert!(wait_for(filch::shield(write), Duration::from_millis(1)).await.is_err());
/// assert_eq!(told.await, Ok("written"));
/// # });
/// ```
///
/// # Errors
/// [`JoinError`] when the future panicked, or the runtime ended before it. A panic that nobody waits for any
/// more goes to the runtime's panic policy.
///
/// # Panics
/// Outside of a runtime.
///
/// # Cancel safety
/// **Strict.** The future goes on. Its output is lost if nobody waits for it.
#[track_caller]
pub fn shield<F>(future: F) -> Shield<F::Output>
where
    F: IntoFuture<IntoFuture: Send + 'static, Output: Send + 'static>,
{
    let future = future.into_future();
    match Region::current() {
        None => Shield(crate::spawn(future)),
        Some(region) => {
            let shielded = region.shield();
            Shield(crate::spawn(async move {
                let _shielded = shielded;
                region.within(future).await
            }))
        }
    }
}

/// The future of [`shield()`].
#[derive(Debug)]
pub struct Shield<T>(JoinHandle<T>);

impl<T> Future for Shield<T> {
    type Output = Result<T, JoinError>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        Pin::new(&mut self.0).poll(cx)
    }
}
