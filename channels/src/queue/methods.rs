//! Layer 2, queue. What every queue can do, whatever its order: one set of methods, written out for each of them.
//!
//! Owns the public surface and its documentation, no state. Called by `mod.rs`, once for each type.
#![forbid(unsafe_code)]

/// A line of an example with the name of the queue in it.
macro_rules! made {
    ($name:ident, $maxsize:literal) => {
        concat!("let queue = ", stringify!($name), "::new(", $maxsize, ");")
    };
}
pub(super) use made;

macro_rules! queue_methods {
    ($name:ident) => {
        /// What every queue can do.
        impl<T> $name<T> {
            /// Puts an item, waiting for room if need be.
            ///
            /// Those who wait are served first come, first served; one who does not have to wait may go before
            /// them, a limited number of times. A queue without a limit always has room.
            ///
            /// # Examples
            /// ```
            #[doc = concat!("# use filch_channels::sync::", stringify!($name), ";")]
            /// # futures_lite::future::block_on(async {
            #[doc = made!($name, "2")]
            /// queue.put("a").await.unwrap();
            /// assert_eq!(queue.len(), 1);
            /// # });
            /// ```
            ///
            /// # Errors
            /// [`PutError`] with the item, once the queue is closed.
            ///
            /// # Cancel safety
            /// **Loses its place in line.** The item is dropped with the future, unless [`Put::into_inner`] takes
            /// it back.
            #[track_caller]
            pub fn put(&self, item: T) -> Put<'_, T> {
                Put::new(&self.shared, item)
            }

            /// Puts an item if there is room at once.
            ///
            /// # Errors
            /// [`TryPutError::Full`] when there is none, or others have waited so long that it is their turn;
            /// [`TryPutError::Closed`] once the queue is closed. Either has the item.
            #[doc(alias = "put_nowait")]
            #[track_caller]
            pub fn try_put(&self, item: T) -> Result<(), TryPutError<T>> {
                self.shared.try_put(item)
            }

            /// Puts an item, blocking this thread until there is room.
            ///
            /// # Errors
            /// [`PutError`] with the item, once the queue is closed.
            #[track_caller]
            pub fn put_blocking(&self, item: T) -> Result<(), PutError<T>> {
                self.shared.put_until(item, None).map_err(|error| PutError(error.into_inner()))
            }

            /// Puts an item, blocking this thread until there is room, for at most `timeout`.
            ///
            /// `Duration::MAX` means for ever. A task bounds [`put`](Self::put) with its runtime's timeout
            /// instead.
            ///
            /// # Errors
            /// [`PutTimeoutError`] with the item: there was no room in time, or the queue is closed.
            #[track_caller]
            pub fn put_timeout(&self, item: T, timeout: Duration) -> Result<(), PutTimeoutError<T>> {
                self.shared.put_until(item, deadline_after(timeout))
            }

            /// [`put_timeout`](Self::put_timeout), until a moment. Where there is room at once, it may be past.
            ///
            /// # Errors
            /// As there.
            #[track_caller]
            pub fn put_deadline(&self, item: T, deadline: Instant) -> Result<(), PutTimeoutError<T>> {
                self.shared.put_until(item, Some(deadline))
            }

            /// Waits for the next item, in the order of this queue.
            ///
            /// Those who wait are served first come, first served; one who does not have to wait may go before
            /// them, a limited number of times. The item counts as unfinished until
            /// [`task_done`](Self::task_done) is called for it.
            ///
            /// # Examples
            /// ```
            #[doc = concat!("# use filch_channels::sync::", stringify!($name), ";")]
            /// # futures_lite::future::block_on(async {
            #[doc = made!($name, "2")]
            /// queue.put("a").await.unwrap();
            /// assert_eq!(queue.get().await, Ok("a"));
            /// queue.close();
            /// assert!(queue.get().await.is_err());
            /// # });
            /// ```
            ///
            /// # Errors
            /// [`GetError`] once the queue is closed *and* empty.
            ///
            /// # Cancel safety
            /// **Strict.** An item is taken only by the poll that returns it; the place in line is lost, but any
            /// getter's will do for an item.
            #[track_caller]
            pub fn get(&self) -> Get<'_, T> {
                Get::new(&self.shared)
            }

            /// Takes the next item if there is one at once.
            ///
            /// # Errors
            /// [`TryGetError::Empty`] when there is none, or others have waited so long that it is their turn;
            /// [`TryGetError::Closed`] once the queue is closed and empty.
            #[doc(alias = "get_nowait")]
            #[track_caller]
            pub fn try_get(&self) -> Result<T, TryGetError> {
                self.shared.try_get()
            }

            /// Takes the next item, blocking this thread until there is one.
            ///
            /// # Errors
            /// [`GetError`] once the queue is closed and empty.
            #[track_caller]
            pub fn get_blocking(&self) -> Result<T, GetError> {
                match self.shared.get_until(None) {
                    Some(Ok(item)) => Ok(item),
                    Some(Err(IsClosed)) | None => Err(GetError),
                }
            }

            /// Takes the next item, blocking this thread until there is one, for at most `timeout`.
            ///
            /// `Duration::MAX` means for ever. A task bounds [`get`](Self::get) with its runtime's timeout
            /// instead: nothing is lost when it is dropped.
            ///
            /// # Errors
            /// [`GetTimeoutError`]: nothing came in time, or the queue is closed and empty.
            #[track_caller]
            pub fn get_timeout(&self, timeout: Duration) -> Result<T, GetTimeoutError> {
                got(self.shared.get_until(deadline_after(timeout)))
            }

            /// [`get_timeout`](Self::get_timeout), until a moment. Where there is an item at once, it may be
            /// past.
            ///
            /// # Errors
            /// As there.
            #[track_caller]
            pub fn get_deadline(&self, deadline: Instant) -> Result<T, GetTimeoutError> {
                got(self.shared.get_until(Some(deadline)))
            }

            /// [`get`](Self::get), as a guard that marks the item done when it is dropped.
            ///
            /// # Examples
            /// ```
            #[doc = concat!("# use filch_channels::sync::", stringify!($name), ";")]
            /// # futures_lite::future::block_on(async {
            #[doc = made!($name, "2")]
            /// queue.put("a").await.unwrap();
            /// let item = queue.get_item().await.unwrap();
            /// assert_eq!((*item, queue.unfinished()), ("a", 1));
            /// drop(item);
            /// assert_eq!(queue.unfinished(), 0);
            /// # });
            /// ```
            ///
            /// # Errors
            /// [`GetError`] once the queue is closed and empty.
            ///
            /// # Cancel safety
            /// **Strict.** An item is taken only by the poll that returns it.
            #[track_caller]
            pub fn get_item(&self) -> GetItem<'_, T> {
                GetItem::new(&self.shared)
            }

            /// [`try_get`](Self::try_get), as a guard that marks the item done when it is dropped.
            ///
            /// # Errors
            /// As there.
            #[track_caller]
            pub fn try_get_item(&self) -> Result<Item<'_, T>, TryGetError> {
                self.try_get().map(|item| Item::new(&self.shared, item))
            }

            /// [`get_blocking`](Self::get_blocking), as a guard that marks the item done when it is dropped.
            ///
            /// # Errors
            /// As there.
            #[track_caller]
            pub fn get_item_blocking(&self) -> Result<Item<'_, T>, GetError> {
                self.get_blocking().map(|item| Item::new(&self.shared, item))
            }

            /// [`get_timeout`](Self::get_timeout), as a guard that marks the item done when it is dropped.
            ///
            /// # Errors
            /// As there.
            #[track_caller]
            pub fn get_item_timeout(&self, timeout: Duration) -> Result<Item<'_, T>, GetTimeoutError> {
                self.get_timeout(timeout).map(|item| Item::new(&self.shared, item))
            }

            /// [`get_deadline`](Self::get_deadline), as a guard that marks the item done when it is dropped.
            ///
            /// # Errors
            /// As there.
            #[track_caller]
            pub fn get_item_deadline(&self, deadline: Instant) -> Result<Item<'_, T>, GetTimeoutError> {
                self.get_deadline(deadline).map(|item| Item::new(&self.shared, item))
            }

            /// Says that the work on an item, taken by [`get`](Self::get), is done.
            ///
            /// # Examples
            /// ```
            #[doc = concat!("# use filch_channels::sync::", stringify!($name), ";")]
            #[doc = made!($name, "0")]
            /// queue.try_put("letter").unwrap();
            /// assert_eq!(queue.try_get(), Ok("letter"));
            /// assert_eq!(queue.unfinished(), 1);
            /// queue.task_done().unwrap();
            /// assert!(queue.task_done().is_err());
            /// ```
            ///
            /// # Errors
            /// [`TaskDoneError`] when as many were done as were put: somebody calls it too often.
            pub fn task_done(&self) -> Result<(), TaskDoneError> {
                self.shared.task_done()
            }

            /// Waits until every item that was put is done.
            ///
            /// It is ready when the count of unfinished items is 0, or was so since the wait began; what was
            /// put after that is not waited for. Closing the queue does not end the wait: items that are left in
            /// a closed queue are still to be worked on.
            ///
            /// # Examples
            /// ```
            #[doc = concat!("# use filch_channels::sync::", stringify!($name), ";")]
            /// # futures_lite::future::block_on(async {
            #[doc = made!($name, "2")]
            /// queue.put("a").await.unwrap();
            /// drop(queue.get_item().await);
            /// queue.join().await;
            /// # });
            /// ```
            ///
            /// # Cancel safety
            /// **Strict.**
            ///
            /// # Memory ordering
            /// What happened before each call of [`task_done`](Self::task_done) is visible after it.
            #[track_caller]
            pub fn join(&self) -> Join<'_, T> {
                Join::new(&self.shared)
            }

            /// [`join`](Self::join), blocking this thread.
            #[track_caller]
            pub fn join_blocking(&self) {
                self.shared.join_until(None);
            }

            /// [`join`](Self::join), blocking this thread for at most `timeout`.
            ///
            /// # Errors
            /// [`UnfinishedError`], which says how many are left, when the time was up first.
            #[track_caller]
            pub fn join_timeout(&self, timeout: Duration) -> Result<(), UnfinishedError> {
                self.join_until(deadline_after(timeout))
            }

            /// [`join_timeout`](Self::join_timeout), until a moment.
            ///
            /// # Errors
            /// As there.
            #[track_caller]
            pub fn join_deadline(&self, deadline: Instant) -> Result<(), UnfinishedError> {
                self.join_until(Some(deadline))
            }

            #[track_caller]
            fn join_until(&self, deadline: Option<Instant>) -> Result<(), UnfinishedError> {
                match self.shared.join_until(deadline) {
                    true => Ok(()),
                    false => Err(UnfinishedError { unfinished: self.unfinished() }),
                }
            }

            /// How many of the items that were put are not done yet.
            pub fn unfinished(&self) -> u64 {
                self.shared.tasks.unfinished()
            }

            /// Closes the queue: no item goes in any more, what is there can still be taken. False: it was
            /// closed.
            ///
            /// Those who wait to put get their item back. Those who wait to get are told that nothing will come,
            /// once nothing is left. [`join`](Self::join) waits as before, for what is left too.
            ///
            /// # Examples
            /// ```
            #[doc = concat!("# use filch_channels::sync::", stringify!($name), ";")]
            #[doc = made!($name, "0")]
            /// queue.try_put(1).unwrap();
            /// queue.close();
            /// assert_eq!(queue.try_put(2).unwrap_err().into_inner(), 2);
            /// assert_eq!(queue.get_blocking(), Ok(1));
            /// assert!(queue.get_blocking().is_err());
            /// ```
            #[doc(alias = "shutdown")]
            #[track_caller]
            pub fn close(&self) -> bool {
                self.shared.close()
            }

            /// Closes the queue, if it is not closed yet, and takes out what is left, in the order in which it
            /// was put.
            ///
            /// Those who wait to put get their item back, those who wait to get are told that nothing will come.
            /// What is taken out counts as done: [`join`](Self::join) waits only for what was taken by others
            /// before.
            ///
            /// # Examples
            /// ```
            #[doc = concat!("# use filch_channels::sync::", stringify!($name), ";")]
            #[doc = made!($name, "0")]
            /// queue.try_put(2).unwrap();
            /// queue.try_put(1).unwrap();
            /// assert_eq!(queue.close_now(), [2, 1]);
            /// assert!(queue.get_blocking().is_err());
            /// queue.join_blocking();
            /// ```
            #[doc(alias = "shutdown")]
            #[track_caller]
            pub fn close_now(&self) -> Vec<T> {
                self.shared.close_now()
            }

            /// Whether the queue was closed. There may be items in it.
            pub fn is_closed(&self) -> bool {
                self.shared.is_closed()
            }

            /// How many items can be taken.
            #[doc(alias = "qsize")]
            pub fn len(&self) -> usize {
                self.shared.len()
            }

            /// Whether there is no item to be taken.
            #[doc(alias = "empty")]
            pub fn is_empty(&self) -> bool {
                self.len() == 0
            }

            /// Whether there are as many items as there may be.
            #[doc(alias = "full")]
            pub fn is_full(&self) -> bool {
                self.shared.is_full()
            }

            /// How many items there may be; 0: there is no limit.
            pub fn maxsize(&self) -> usize {
                self.shared.maxsize()
            }

            /// What the queue looks like.
            #[track_caller]
            pub fn stats(&self) -> QueueStats {
                self.shared.stats()
            }
        }

        impl<T> fmt::Debug for $name<T> {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.debug_tuple(stringify!($name)).field(&self.shared).finish()
            }
        }
    };
}
pub(super) use queue_methods;
