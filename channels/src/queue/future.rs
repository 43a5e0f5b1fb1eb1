//! Layer 2, queue. The futures of the queues, and the guard of an item. Called by user code only.
#![forbid(unsafe_code)]

use std::fmt;
use std::future::Future;
use std::mem;
use std::ops::{Deref, DerefMut};
use std::panic::Location;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use pin_project_lite::pin_project;

use super::error::{GetError, PutError};
use super::shared::Shared;
use super::units::{IsClosed, Tasks};
use crate::probe::{self, Wait};
use crate::wait_queue::Waiter;

pin_project! {
    /// The future of `put`.
    ///
    /// # Panics
    /// When it is polled after it was ready, or after the item was taken back.
    ///
    /// # Cancel safety
    /// **Loses its place in line.** The item is dropped with the future, unless
    /// [`into_inner`](Put::into_inner) takes it back.
    #[must_use = "futures do nothing unless they are awaited"]
    pub struct Put<'a, T> {
        shared: &'a Shared<T>,
        item: Option<T>,
        location: &'static Location<'static>,
        #[pin]
        waiter: Waiter,
    }
}

impl<'a, T> Put<'a, T> {
    #[track_caller]
    pub(super) fn new(shared: &'a Shared<T>, item: T) -> Put<'a, T> {
        Put { shared, item: Some(item), location: Location::caller(), waiter: Waiter::new() }
    }

    /// Leaves the line and gives the item back. `None`: it was put.
    ///
    /// # Examples
    /// ```
    /// use filch_channels::sync::Queue;
    /// use futures_lite::future::{block_on, poll_once};
    ///
    /// let queue = Queue::new(1);
    /// queue.try_put("first").unwrap();
    /// let mut putting = std::pin::pin!(queue.put("second"));
    /// assert!(block_on(poll_once(putting.as_mut())).is_none());
    /// assert_eq!(putting.into_inner(), Some("second"));
    /// ```
    pub fn into_inner(self: Pin<&mut Self>) -> Option<T> {
        let this = self.project();
        // Nothing is told to those who wait for room, and an invitation passes on.
        let _ = this.waiter.leave();
        this.item.take()
    }
}

impl<T> Future for Put<'_, T> {
    type Output = Result<(), PutError<T>>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.project();
        assert!(this.item.is_some(), "polled after it was ready, or after its item was taken back");
        let shared = *this.shared;
        shared.refuse_reentry();
        // One that waits has ended a poll, so its budget is fresh, and it must not miss its turn.
        if !this.waiter.is_waiting() {
            ready!(probe::poll_budget(cx));
        }
        let Poll::Ready(claimed) = shared.poll_room(this.waiter, cx) else {
            probe::waiting(Wait::Send, shared.address(), Some(this.location));
            return Poll::Pending;
        };
        probe::spend();
        let done = claimed.and_then(|()| shared.push(this.item));
        Poll::Ready(match (done, this.item.take()) {
            (Err(IsClosed), Some(item)) => Err(PutError(item)),
            _ => Ok(()),
        })
    }
}

impl<T> fmt::Debug for Put<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Put").field("done", &self.item.is_none()).field("queue", self.shared).finish()
    }
}

pin_project! {
    /// The future of `get`.
    ///
    /// # Cancel safety
    /// **Strict.** An item is taken only by the poll that returns it; the place in line is lost, but any
    /// getter's will do for an item.
    #[must_use = "futures do nothing unless they are awaited"]
    pub struct Get<'a, T> {
        shared: &'a Shared<T>,
        location: &'static Location<'static>,
        #[pin]
        waiter: Waiter,
    }
}

impl<'a, T> Get<'a, T> {
    #[track_caller]
    pub(super) fn new(shared: &'a Shared<T>) -> Get<'a, T> {
        Get { shared, location: Location::caller(), waiter: Waiter::new() }
    }
}

impl<T> Future for Get<'_, T> {
    type Output = Result<T, GetError>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.project();
        let shared = *this.shared;
        shared.refuse_reentry();
        // As in `Put`.
        if !this.waiter.is_waiting() {
            ready!(probe::poll_budget(cx));
        }
        let Poll::Ready(claimed) = shared.poll_item(this.waiter, cx) else {
            probe::waiting(Wait::Recv, shared.address(), Some(this.location));
            return Poll::Pending;
        };
        probe::spend();
        Poll::Ready(claimed.and_then(|()| shared.pop()).map_err(|IsClosed| GetError))
    }
}

impl<T> fmt::Debug for Get<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Get").field("queue", self.shared).finish_non_exhaustive()
    }
}

pin_project! {
    /// The future of `get_item`.
    ///
    /// # Cancel safety
    /// **Strict.** As for [`Get`].
    #[derive(Debug)]
    #[must_use = "futures do nothing unless they are awaited"]
    pub struct GetItem<'a, T> {
        #[pin]
        get: Get<'a, T>,
    }
}

impl<'a, T> GetItem<'a, T> {
    #[track_caller]
    pub(super) fn new(shared: &'a Shared<T>) -> GetItem<'a, T> {
        GetItem { get: Get::new(shared) }
    }
}

impl<'a, T> Future for GetItem<'a, T> {
    type Output = Result<Item<'a, T>, GetError>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let mut get = self.project().get;
        let item = ready!(get.as_mut().poll(cx));
        let shared: &'a Shared<T> = get.shared;
        Poll::Ready(item.map(|item| Item::new(shared, item)))
    }
}

pin_project! {
    /// The future of `join`.
    ///
    /// # Cancel safety
    /// **Strict.**
    #[must_use = "futures do nothing unless they are awaited"]
    pub struct Join<'a, T> {
        shared: &'a Shared<T>,
        location: &'static Location<'static>,
        #[pin]
        waiter: Waiter,
    }
}

impl<'a, T> Join<'a, T> {
    #[track_caller]
    pub(super) fn new(shared: &'a Shared<T>) -> Join<'a, T> {
        Join { shared, location: Location::caller(), waiter: Waiter::new() }
    }
}

impl<T> Future for Join<'_, T> {
    type Output = ();

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let this = self.project();
        let shared = *this.shared;
        shared.refuse_reentry();
        ready!(probe::poll_budget(cx));
        match shared.tasks.poll_finished(this.waiter, cx) {
            Poll::Ready(()) => {
                probe::spend();
                Poll::Ready(())
            }
            Poll::Pending => {
                probe::waiting(Wait::Notify, shared.address(), Some(this.location));
                Poll::Pending
            }
        }
    }
}

impl<T> fmt::Debug for Join<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Join").field("queue", self.shared).finish_non_exhaustive()
    }
}

/// An item taken from a queue, which is marked done when this is dropped, after the item itself.
///
/// It is got by `get_item` and its kin, and derefs to the item. However the work on it ends, by a return, an
/// error, a panic or a cancelled task, `join` does not wait for it for ever.
///
/// # Examples
/// ```
/// # use filch_channels::sync::Queue;
/// # futures_lite::future::block_on(async {
/// let queue = Queue::new(0);
/// queue.put(String::from("page")).await.unwrap();
/// {
///     let mut page = queue.get_item().await.unwrap();
///     page.push_str(" one");
///     assert_eq!(*page, "page one");
///     assert_eq!(queue.unfinished(), 1);
/// }
/// queue.join().await;
/// # });
/// ```
#[must_use = "the item is marked done when it is dropped"]
pub struct Item<'a, T> {
    // Dropped in this order.
    item: T,
    mark: Mark<'a>,
}

impl<'a, T> Item<'a, T> {
    pub(super) fn new(shared: &'a Shared<T>, item: T) -> Item<'a, T> {
        Item { item, mark: Mark(&shared.tasks) }
    }

    /// The item alone, as `get` gives it. To say that it is done is your business then, by `task_done`.
    pub fn into_inner(item: Item<'a, T>) -> T {
        let Item { item, mark } = item;
        mem::forget(mark);
        item
    }

    /// Marks the item done, and gives it away.
    ///
    /// # Examples
    /// ```
    /// use filch_channels::sync::{Item, Queue};
    ///
    /// let queue = Queue::new(0);
    /// queue.try_put("page").unwrap();
    /// let page = queue.try_get_item().unwrap();
    /// assert_eq!(Item::done(page), "page");
    /// assert_eq!(queue.unfinished(), 0);
    /// ```
    pub fn done(item: Item<'a, T>) -> T {
        let Item { item, mark } = item;
        drop(mark);
        item
    }
}

impl<T> Deref for Item<'_, T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.item
    }
}

impl<T> DerefMut for Item<'_, T> {
    fn deref_mut(&mut self) -> &mut T {
        &mut self.item
    }
}

impl<T: fmt::Debug> fmt::Debug for Item<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Item").field(&self.item).finish()
    }
}

/// Marks one item done when it is dropped.
struct Mark<'a>(&'a Tasks);

impl Drop for Mark<'_> {
    fn drop(&mut self) {
        // An error: somebody has called `task_done` for an item that was not theirs. A drop cannot complain.
        let _ = self.0.done(1);
    }
}
