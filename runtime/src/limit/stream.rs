//! Layer 3, limit. The limits for streams: `debounce`, `throttle` and `paced` on their items.
//!
//! Owns the adaptors and the trait that adds them. They hold one item at most, and spawn nothing. Called by
//! users.
#![forbid(unsafe_code)]

use std::pin::Pin;
use std::task::{Context, Poll, ready};

use filch_channels::probe;
use futures_core::Stream;
use pin_project_lite::pin_project;

use super::acquire::Acquire;
use super::pace::Pace;
use super::paced::Paced;
use crate::time::{Duration, Instant, Sleep, sleep_until};

/// Adds limits to streams.
///
/// # Examples
/// ```
/// use filch::limit::LimitExt;
/// use filch::stream::{StreamExt, iter};
/// use filch::time::Duration;
///
/// # filch::run(async {
/// let first: Vec<u32> = iter(1..=9).throttle(Duration::from_secs(1)).collect().await;
/// let last: Vec<u32> = iter(1..=9).debounce(Duration::from_secs(1)).collect().await;
/// assert_eq!((first, last), (vec![1], vec![9]));
/// # });
/// ```
pub trait LimitExt: Stream {
    /// Passes on an item when no other has come for `delay`; of those that come closer, the last.
    ///
    /// An item that is held when the stream ends is passed on at once.
    fn debounce(self, delay: Duration) -> Debounced<Self>
    where
        Self: Sized,
    {
        Debounced { source: Source::new(self), delay, held: None, sleep: sleep_until(Instant::now()) }
    }

    /// Passes on an item at once, and drops those that come within `interval` of it.
    ///
    /// To delay items instead of dropping them, use [`paced`](Self::paced).
    fn throttle(self, interval: Duration) -> Throttled<Self>
    where
        Self: Sized,
    {
        let (source, sleep) = (Source::new(self), sleep_until(Instant::now()));
        Throttled { source, interval, next: None, trailing: false, held: None, sleep }
    }

    /// Passes on all items, but no faster than `limiter` lets them; others may use it, too.
    fn paced<P: Pace>(self, limiter: &Paced<P>) -> PacedStream<'_, Self, P>
    where
        Self: Sized,
    {
        PacedStream { stream: self, limiter, held: None, turn: None }
    }
}

impl<S: Stream + ?Sized> LimitExt for S {}

pin_project! {
    /// A stream whose items are dropped or replaced, so that many may be asked for in one poll.
    #[derive(Debug)]
    struct Source<S> {
        #[pin]
        stream: S,
        is_over: bool,
    }
}

impl<S: Stream> Source<S> {
    fn new(stream: S) -> Source<S> {
        Source { stream, is_over: false }
    }

    /// What the stream says; again and again that it is over, without asking it. Pending: the turn is over, since a
    /// stream that is always ready must not keep the thread.
    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Poll<Option<S::Item>>> {
        let this = self.project();
        if *this.is_over {
            return Poll::Ready(Poll::Ready(None));
        }
        ready!(probe::poll_budget(cx));
        let polled = this.stream.poll_next(cx);
        match polled {
            Poll::Ready(Some(_)) => probe::spend(),
            Poll::Ready(None) => *this.is_over = true,
            Poll::Pending => {}
        }
        Poll::Ready(polled)
    }
}

pin_project! {
    /// The stream of [`LimitExt::debounce`].
    ///
    /// # Cancel safety
    /// **Strict.** An item that is held stays in here, and goes with it.
    #[derive(Debug)]
    #[must_use = "streams do nothing unless they are polled"]
    pub struct Debounced<S: Stream> {
        #[pin]
        source: Source<S>,
        delay: Duration,
        held: Option<S::Item>,
        sleep: Sleep,
    }
}

impl<S: Stream> Stream for Debounced<S> {
    type Item = S::Item;

    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<S::Item>> {
        let mut this = self.project();
        loop {
            match ready!(this.source.as_mut().poll(cx)) {
                Poll::Ready(Some(item)) => {
                    let replaced = this.held.replace(item);
                    this.sleep.reset(Instant::now() + *this.delay);
                    drop(replaced);
                }
                Poll::Ready(None) => return Poll::Ready(this.held.take()),
                Poll::Pending if this.held.is_none() => return Poll::Pending,
                Poll::Pending => {
                    ready!(Pin::new(&mut *this.sleep).poll(cx));
                    return Poll::Ready(this.held.take());
                }
            }
        }
    }
}

pin_project! {
    /// The stream of [`LimitExt::throttle`].
    ///
    /// # Cancel safety
    /// **Strict.** An item that is held stays in here, and goes with it.
    #[derive(Debug)]
    #[must_use = "streams do nothing unless they are polled"]
    pub struct Throttled<S: Stream> {
        #[pin]
        source: Source<S>,
        interval: Duration,
        // When an item may pass; `None` before the first.
        next: Option<Instant>,
        trailing: bool,
        held: Option<S::Item>,
        sleep: Sleep,
    }
}

impl<S: Stream> Throttled<S> {
    /// Keeps the last of the items that are to be dropped, and passes it on when the interval is over, or the
    /// stream.
    #[must_use = "streams do nothing unless they are polled"]
    pub fn trailing(mut self) -> Throttled<S> {
        self.trailing = true;
        self
    }
}

impl<S: Stream> Stream for Throttled<S> {
    type Item = S::Item;

    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<S::Item>> {
        let mut this = self.project();
        loop {
            match ready!(this.source.as_mut().poll(cx)) {
                Poll::Ready(Some(item)) => {
                    let now = Instant::now();
                    if this.next.is_none_or(|next| next <= now) {
                        *this.next = Some(now + *this.interval);
                        *this.held = None;
                        return Poll::Ready(Some(item));
                    }
                    if *this.trailing {
                        *this.held = Some(item);
                    }
                }
                Poll::Ready(None) => return Poll::Ready(this.held.take()),
                Poll::Pending => {
                    let (Some(next), true) = (*this.next, this.held.is_some()) else { return Poll::Pending };
                    this.sleep.reset(next);
                    ready!(Pin::new(&mut *this.sleep).poll(cx));
                    *this.next = Some(Instant::now() + *this.interval);
                    return Poll::Ready(this.held.take());
                }
            }
        }
    }
}

pin_project! {
    /// The stream of [`LimitExt::paced`].
    ///
    /// # Cancel safety
    /// **Strict.** An item that waits for its turn stays in here, and goes with it.
    #[derive(Debug)]
    #[must_use = "streams do nothing unless they are polled"]
    pub struct PacedStream<'a, S: Stream, P> {
        #[pin]
        stream: S,
        limiter: &'a Paced<P>,
        held: Option<S::Item>,
        #[pin]
        turn: Option<Acquire<'a, P>>,
    }
}

impl<S: Stream, P: Pace> Stream for PacedStream<'_, S, P> {
    type Item = S::Item;

    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<S::Item>> {
        let mut this = self.project();
        if this.held.is_none() {
            let Some(item) = ready!(this.stream.poll_next(cx)) else { return Poll::Ready(None) };
            *this.held = Some(item);
            this.turn.set(Some(this.limiter.acquire()));
        }
        if let Some(turn) = this.turn.as_mut().as_pin_mut() {
            ready!(turn.poll(cx));
            this.turn.set(None);
        }
        Poll::Ready(this.held.take())
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        let held = usize::from(self.held.is_some());
        let (least, most) = self.stream.size_hint();
        (least.saturating_add(held), most.and_then(|most| most.checked_add(held)))
    }
}
