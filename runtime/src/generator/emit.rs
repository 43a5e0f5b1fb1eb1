//! Layer 3. The body's side of a generator: `Yielder`, and the futures of `emit`.
//!
//! Owns their public face and what is promised of them; what they do with the slot is in `core.rs`, beside the table
//! of turns. Called by the body of a generator, through its yielder.
#![forbid(unsafe_code)]

use std::error::Error;
use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};

use super::core::{Emission, Port};

/// What the body of a [generator](fn@crate::generator) emits through.
///
/// Each generator has one, and it cannot leave the body: its lifetime is that of the body. `emit` borrows it
/// mutably, so two emits at once do not compile. To emit from a function that the body calls, lend it:
///
/// ```
/// use filch::Yielder;
/// use filch::stream::StreamExt;
///
/// async fn countdown(y: &mut Yielder<'_, u32>, from: u32) {
///     for n in (0..from).rev() {
///         y.emit(n).await;
///     }
/// }
///
/// # filch::run(async {
/// let twice = filch::generator(async |mut y| {
///     countdown(&mut y, 2).await;
///     countdown(&mut y, 3).await;
/// });
/// assert_eq!(twice.collect::<Vec<_>>().await, [1, 0, 2, 1, 0]);
/// # });
/// ```
///
/// It does not get out through a variable, a task or an item:
/// ```compile_fail
/// let mut out = None;
/// let ones = filch::generator(async |y: filch::Yielder<'_, u32>| out = Some(y));
/// ```
/// ```compile_fail,E0521
/// let ones = filch::generator(async |mut y| {
///     filch::spawn(async move { y.emit(1).await });
/// });
/// ```
/// ```compile_fail,E0499
/// let ones = filch::generator(async |mut y| {
///     let (first, second) = (y.emit(1), y.emit(2));
///     first.await;
///     second.await;
/// });
/// ```
pub struct Yielder<'a, T, R = ()> {
    port: Port<'a, T, R>,
}

impl<'a, T, R> Yielder<'a, T, R> {
    pub(super) fn new(port: Port<'a, T, R>) -> Self {
        Yielder { port }
    }

    /// Gives `item` to the consumer, and waits until it asks for the next one.
    ///
    /// The value is what the consumer answered: `()`, but for [`generator_with`](fn@crate::generator_with), where it
    /// is what [`resume_with`](super::Generator::resume_with) was given.
    ///
    /// The body stands still here for as long as the consumer works on the item, or does not look. So take care
    /// with a timeout round an `emit`, which measures the consumer, and with a lock that is held across it: the
    /// consumer must not need the same one.
    ///
    /// # Panics
    /// When the future is polled outside of the body's poll, as in a destructor of the body; and when an earlier one
    /// was leaked by [`forget`](std::mem::forget) with its item in the slot.
    ///
    /// # Cancel safety
    /// **Not cancel safe:** dropped before the consumer has the item, it takes the item with it; dropped
    /// later, it loses the answer. The consumer sees each item once, or not at all.
    #[inline]
    pub fn emit(&mut self, item: T) -> Emit<'_, T, R> {
        Emit { emission: self.port.emit(item) }
    }

    /// As [`emit`](Yielder::emit), and hears of it when the consumer wants no more, to clean up with `await`.
    ///
    /// When the consumer calls [`close`](super::Generator::close) while the body waits in a plain `emit`, the body is
    /// dropped there. Here it goes on, and `close` waits until it has ended, or emits again, which
    /// ends it where it stands. A generator that is dropped, not closed, drops the body in either case.
    ///
    /// # Errors
    /// [`Closed`] when the consumer closes the generator. It has got the item.
    ///
    /// # Panics
    /// As [`emit`](Yielder::emit).
    ///
    /// # Cancel safety
    /// **Not cancel safe:** as [`emit`](Yielder::emit).
    ///
    /// # Examples
    /// ```
    /// use filch::stream::StreamExt;
    /// use filch::sync::Semaphore;
    ///
    /// # filch::run(async {
    /// let closed = Semaphore::new(0);
    /// let mut naturals = filch::generator(async |mut y| {
    ///     let mut n = 0u64;
    ///     while y.emit_or_closed(n).await.is_ok() {
    ///         n += 1;
    ///     }
    ///     filch::yield_now().await; // such as to say good-bye to a server
    ///     closed.add(1);
    /// });
    /// assert_eq!(naturals.next().await, Some(0));
    /// assert_eq!(naturals.next().await, Some(1));
    /// naturals.close().await;
    /// assert_eq!(closed.available_permits(), 1);
    /// assert_eq!(naturals.next().await, None);
    /// # });
    /// ```
    #[inline]
    pub fn emit_or_closed(&mut self, item: T) -> EmitOrClosed<'_, T, R> {
        EmitOrClosed { emission: self.port.emit(item) }
    }

    /// Takes what the consumer sent in and no `emit` has returned: the value of the first
    /// [`resume_with`](super::Generator::resume_with), which came before there was an `emit`.
    ///
    /// It is there until the first `emit`, which drops it.
    pub fn first(&mut self) -> Option<R> {
        self.port.first()
    }
}

impl<T, R> fmt::Debug for Yielder<'_, T, R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Yielder").finish_non_exhaustive()
    }
}

/// The future of [`Yielder::emit`].
#[must_use = "a future does nothing unless it is awaited"]
pub struct Emit<'y, T, R = ()> {
    emission: Emission<'y, T, R>,
}

/// The future of [`Yielder::emit_or_closed`].
#[must_use = "a future does nothing unless it is awaited"]
pub struct EmitOrClosed<'y, T, R = ()> {
    emission: Emission<'y, T, R>,
}

/// The consumer has closed the generator: clean up and return. See [`Yielder::emit_or_closed`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Closed;

impl fmt::Display for Closed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the generator was closed by its consumer")
    }
}

impl Error for Closed {}

impl<T, R> Future for Emit<'_, T, R> {
    type Output = R;

    #[inline]
    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<R> {
        self.emission.poll(cx, false).map(|answer| answer.expect("only who listens hears of `close`"))
    }
}

impl<T, R> Future for EmitOrClosed<'_, T, R> {
    type Output = Result<R, Closed>;

    #[inline]
    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<R, Closed>> {
        self.emission.poll(cx, true).map(|answer| answer.ok_or(Closed))
    }
}

impl<T, R> fmt::Debug for Emit<'_, T, R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Emit").finish_non_exhaustive()
    }
}

impl<T, R> fmt::Debug for EmitOrClosed<'_, T, R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("EmitOrClosed").finish_non_exhaustive()
    }
}
