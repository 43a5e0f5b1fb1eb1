//! Generators: streams that are written as a body which emits one item after another.
//!
//! | to …                                 | use                                                                      |
//! |--------------------------------------|--------------------------------------------------------------------------|
//! | write a stream as a loop             | [`generator`](fn@crate::generator), [`Yielder::emit`]                    |
//! | use `?` in it                        | [`try_generator`](fn@crate::try_generator)                               |
//! | send something in with each item     | [`generator_with`](fn@crate::generator_with), [`Generator::resume_with`] |
//! | end early, and clean up with `await` | [`Generator::close`], [`Yielder::emit_or_closed`]                        |
//! | map, filter, zip, collect            | [`filch::stream::StreamExt`](futures_lite::StreamExt)                    |
//!
//! They run on any executor, and in the task that consumes them: no channel, no task, no thread-local; one allocation,
//! for the body. They are `Send` when the body is. A body that never waits is a loop like any other: others get their
//! turn when it, or the consumer, waits or calls [`yield_now`](crate::yield_now()).

// Layer 3. The consumer's side: `Generator`, and the functions that make one. `emit.rs` is the body's side, `core.rs`
// what the two share, `fallible.rs` the same with errors. Called by users; needs nothing of the runtime. No
// `forbid(unsafe_code)` here: it would be inherited by `core.rs`.

mod core;
mod emit;
mod fallible;

use std::fmt;
use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::task::{Context, Poll};

use futures_core::Stream;
use futures_core::stream::FusedStream;

pub use self::emit::{Closed, Emit, EmitOrClosed, Yielder};
pub use self::fallible::{TryGenerator, try_generator};

use self::core::{Core, Step, Turn};

/// Makes a stream of what `f` emits.
///
/// Nothing runs until the first item is asked for. The body then runs until it has emitted one, and stands still
/// until the next is asked for. When it returns the stream ends, and stays so.
///
/// The body may borrow what lives longer than the generator. When the generator is dropped, so is the body, where it
/// stands.
///
/// # Examples
/// ```
/// use std::time::Duration;
///
/// use filch::stream::StreamExt;
///
/// # filch::Builder::single_thread().paused_clock(0).build().unwrap().block_on(async {
/// let mut ticks = filch::generator(async |mut y| {
///     for n in 0..3 {
///         filch::time::sleep(Duration::from_millis(100)).await;
///         y.emit(n).await;
///     }
/// });
/// while let Some(n) = ticks.next().await {
///     println!("tick {n}");
/// }
/// # });
/// ```
///
/// Combinators are those of futures-lite, and the type is hidden behind `impl Stream`:
/// ```
/// use filch::stream::{Stream, StreamExt};
///
/// fn fibonacci() -> impl Stream<Item = u64> + Send {
///     filch::generator(async |mut y| {
///         let (mut a, mut b) = (0, 1);
///         loop {
///             y.emit(a).await;
///             (a, b) = (b, a + b);
///         }
///     })
/// }
///
/// # filch::run(async {
/// let even: Vec<u64> = fibonacci().filter(|n| n % 2 == 0).take(4).collect().await;
/// assert_eq!(even, [0, 2, 8, 34]);
/// # });
/// ```
///
/// It is as much `Send` as its body:
/// ```compile_fail
/// let ones = filch::generator(async |mut y| {
///     let shared = std::rc::Rc::new(1);
///     y.emit(*shared).await;
///     drop(shared);
/// });
/// std::thread::spawn(move || drop(ones));
/// ```
pub fn generator<T, F>(f: F) -> Generator<T, impl Future<Output = ()>>
where
    F: for<'a> AsyncFnOnce(Yielder<'a, T>),
{
    Generator { core: core::core(f) }
}

/// Makes a generator whose consumer answers each item: [`Generator::resume_with`] hands `R` in, and `emit` returns it.
///
/// Python's `asend`. The first `resume_with` starts the body; its value is not the answer to anything, and waits in
/// [`Yielder::first`]. One that has nothing to say starts it with [`Generator::item`].
///
/// # Examples
/// ```
/// # filch::run(async {
/// let mut average = filch::generator_with::<f64, _, _>(async |mut y| {
///     let (mut sum, mut count) = (y.first().unwrap_or(0.0), 1.0);
///     loop {
///         sum += y.emit(sum / count).await;
///         count += 1.0;
///     }
/// });
/// assert_eq!(average.resume_with(10.0).await, Some(10.0));
/// assert_eq!(average.resume_with(20.0).await, Some(15.0));
/// assert_eq!(average.resume_with(60.0).await, Some(30.0));
/// # });
/// ```
pub fn generator_with<R, T, F>(f: F) -> Generator<T, impl Future<Output = ()>, R>
where
    F: for<'a> AsyncFnOnce(Yielder<'a, T, R>),
{
    Generator { core: core::core(f) }
}

/// A body that emits items, and is run by whoever asks for them. Made by [`generator`](fn@crate::generator) and
/// [`generator_with`](fn@crate::generator_with).
///
/// `B` is the type of the body, which has no name: write `impl Stream<Item = T>`. With `R = ()`, this is a [`Stream`].
///
/// A panic of the body goes to whoever polls, and ends the generator.
#[must_use = "a generator does nothing unless it is asked for items"]
pub struct Generator<T, B, R = ()> {
    core: Core<T, R, B>,
}

impl<T, B: Future<Output = ()>, R> Generator<T, B, R> {
    /// Ends the body before its time, and waits for its clean-up.
    ///
    /// A body that waits in [`emit_or_closed`](Yielder::emit_or_closed) is told so there, and goes on to its end, or to
    /// its next `emit`. Everywhere else it is dropped where it stands, with all that it holds. Afterwards the
    /// generator has ended; to close it again does nothing.
    ///
    /// # Panics
    /// When the body does, as it cleans up.
    ///
    /// # Cancel safety
    /// **Strict.** To go on, call it again. A stream that is polled instead goes on with the clean-up, and ends.
    ///
    /// # Examples
    /// See [`Yielder::emit_or_closed`].
    pub async fn close(&mut self) {
        self.core.close();
        let item = poll_fn(|cx| self.poll_item(cx)).await;
        debug_assert!(item.is_none(), "who closes gets no items");
    }

    /// Answers the `emit` in which the body waits with `answer`, and waits for the next item. `None` when the body has
    /// ended; `answer` is dropped then.
    ///
    /// # Panics
    /// When the body does; and when the body is at work on an earlier answer, because an earlier call of this was
    /// dropped: wait for its [`item`](Generator::item) first.
    ///
    /// # Cancel safety
    /// **Not cancel safe:** the first poll hands `answer` over. Nothing is lost when [`item`](Generator::item) is
    /// called afterwards.
    ///
    /// # Examples
    /// See [`generator_with`](fn@crate::generator_with).
    pub async fn resume_with(&mut self, answer: R) -> Option<T> {
        let slot = self.core.slot();
        match slot.turn() {
            Turn::New | Turn::Asked | Turn::AskedAlso => slot.answer(answer),
            Turn::Working | Turn::Held | Turn::Answered => {
                panic!("`resume_with` while the body works on an earlier answer: wait for its `item` first")
            }
            // Closed, or ended: there are no more questions. The consumer has taken what was full.
            Turn::Full | Turn::FullAlso | Turn::Closing | Turn::Cleaning | Turn::HeldInVain => {}
            // Answered already, as all that can be said is `()`.
            Turn::Free => {}
            Turn::Stopped | Turn::Ended => {}
        }
        poll_fn(|cx| self.poll_item(cx)).await
    }

    /// Waits for an item without an answer: for the first one, or for that of a [`resume_with`](Generator::resume_with)
    /// which was dropped. `None` when the body has ended.
    ///
    /// # Panics
    /// When the body does; and when it waits for an answer, since nothing would come of this.
    ///
    /// # Cancel safety
    /// **Strict.**
    ///
    /// # Examples
    /// ```
    /// # filch::run(async {
    /// let mut echo = filch::generator_with::<&str, _, _>(async |mut y| {
    ///     let mut said = y.emit("hello").await;
    ///     loop {
    ///         said = y.emit(said).await;
    ///     }
    /// });
    /// assert_eq!(echo.item().await, Some("hello"));
    /// assert_eq!(echo.resume_with("a").await, Some("a"));
    /// # });
    /// ```
    pub async fn item(&mut self) -> Option<T> {
        let slot = self.core.slot();
        match slot.turn() {
            Turn::New => slot.begin(),
            Turn::Asked | Turn::AskedAlso => {
                panic!("`item` while the body waits for an answer: `resume_with` gives it one")
            }
            _ => {}
        }
        poll_fn(|cx| self.poll_item(cx)).await
    }

    /// The turn is set.
    fn poll_item(&mut self, cx: &mut Context<'_>) -> Poll<Option<T>> {
        if self.core.is_ended() {
            return Poll::Ready(None);
        }
        match self.core.poll(cx) {
            Ok(item) => Poll::Ready(Some(item)),
            Err(output) => self.poll_other(output),
        }
    }

    /// The body gave this `output`, and not simply an item.
    #[cold]
    fn poll_other(&mut self, output: Poll<()>) -> Poll<Option<T>> {
        self.core.step(output).map(|step| match step {
            Step::Item(item) => Some(item),
            Step::End(item, ()) => item,
            Step::Stopped => None,
        })
    }
}

impl<T, B: Future<Output = ()>> Stream for Generator<T, B> {
    type Item = T;

    #[inline(always)]
    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<T>> {
        self.core.slot().ask();
        if self.core.is_ended() {
            return Poll::Ready(None);
        }
        match self.core.poll_free(cx) {
            Ok(item) => Poll::Ready(Some(item)),
            Err(output) => self.poll_other(output),
        }
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        (0, if self.core.is_ended() { Some(0) } else { None })
    }
}

impl<T, B: Future<Output = ()>> FusedStream for Generator<T, B> {
    fn is_terminated(&self) -> bool {
        self.core.is_ended()
    }
}

// The body is pinned in its box.
impl<T, B, R> Unpin for Generator<T, B, R> {}

impl<T, B, R> fmt::Debug for Generator<T, B, R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Generator").field("ended", &self.core.is_ended()).finish_non_exhaustive()
    }
}
