//! Layer 3. Generators whose body may fail: `try_generator`.
//!
//! Owns the order of the end: the items, then the error, then nothing. The rest is as in `mod.rs`. Called by users.
#![forbid(unsafe_code)]

use std::fmt;
use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::task::{Context, Poll};

use futures_core::Stream;
use futures_core::stream::FusedStream;

use super::core::{Core, Step, core};
use super::emit::Yielder;

/// Makes a stream of what `f` emits, as `Ok`, and of the error with which it ends, if it does.
///
/// So the body can use `?`. All else is as with [`generator`](fn@crate::generator).
///
/// # Examples
/// ```
/// use std::num::ParseIntError;
///
/// use filch::stream::StreamExt;
///
/// # filch::run(async {
/// let mut numbers = filch::try_generator::<u32, ParseIntError, _>(async |mut y| {
///     for word in "1 2 three 4".split(' ') {
///         y.emit(word.parse()?).await;
///     }
///     Ok(())
/// });
/// assert_eq!(numbers.next().await, Some(Ok(1)));
/// assert_eq!(numbers.next().await, Some(Ok(2)));
/// assert!(numbers.next().await.unwrap().is_err());
/// assert_eq!(numbers.next().await, None);
/// # });
/// ```
pub fn try_generator<T, E, F>(f: F) -> TryGenerator<T, E, impl Future<Output = Result<(), E>>>
where
    F: for<'a> AsyncFnOnce(Yielder<'a, T>) -> Result<(), E>,
{
    TryGenerator { core: core(f), error: None }
}

/// A generator whose body may fail. Made by [`try_generator`](fn@crate::try_generator); a [`Stream`] of `Result<T, E>`.
#[must_use = "a generator does nothing unless it is asked for items"]
pub struct TryGenerator<T, E, B> {
    core: Core<T, (), B>,
    /// How the body ended, while an item is before it.
    error: Option<E>,
}

impl<T, E, B: Future<Output = Result<(), E>>> TryGenerator<T, E, B> {
    /// Ends the body before its time, and waits for its clean-up: see [`Generator::close`](super::Generator::close).
    ///
    /// # Errors
    /// With which the body ended, as it cleaned up.
    ///
    /// # Panics
    /// When the body does, as it cleans up.
    ///
    /// # Cancel safety
    /// **Strict.** To go on, call it again.
    pub async fn close(&mut self) -> Result<(), E> {
        self.core.close();
        match poll_fn(|cx| self.poll_item(cx)).await {
            Some(Err(error)) => Err(error),
            Some(Ok(_)) | None => Ok(()),
        }
    }

    /// The turn is set.
    #[inline(always)]
    fn poll_item(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<T, E>>> {
        if self.core.is_ended() {
            return Poll::Ready(self.error.take().map(Err));
        }
        match self.core.poll_free(cx) {
            Ok(item) => Poll::Ready(Some(Ok(item))),
            Err(output) => self.poll_other(output),
        }
    }

    /// The body gave this `output`, and not simply an item.
    #[cold]
    fn poll_other(&mut self, output: Poll<Result<(), E>>) -> Poll<Option<Result<T, E>>> {
        self.core.step(output).map(|step| match step {
            Step::Item(item) => Some(Ok(item)),
            Step::End(None, output) => output.err().map(Err),
            Step::End(Some(item), output) => {
                self.error = output.err();
                Some(Ok(item))
            }
            Step::Stopped => None,
        })
    }
}

impl<T, E, B: Future<Output = Result<(), E>>> Stream for TryGenerator<T, E, B> {
    type Item = Result<T, E>;

    #[inline(always)]
    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<T, E>>> {
        self.core.slot().ask();
        self.poll_item(cx)
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        let ended = self.core.is_ended().then_some(usize::from(self.error.is_some()));
        (ended.unwrap_or(0), ended)
    }
}

impl<T, E, B: Future<Output = Result<(), E>>> FusedStream for TryGenerator<T, E, B> {
    fn is_terminated(&self) -> bool {
        self.core.is_ended() && self.error.is_none()
    }
}

// The body is pinned in its box, and the error is moved out.
impl<T, E, B> Unpin for TryGenerator<T, E, B> {}

impl<T, E, B> fmt::Debug for TryGenerator<T, E, B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TryGenerator").field("ended", &self.core.is_ended()).finish_non_exhaustive()
    }
}
