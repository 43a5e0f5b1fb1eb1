//! Layer 3. `OnceCell`: a value that is made at most once, by the first who needs it.
//!
//! Owns the value, in std's `OnceLock`, which is filled by whoever holds the turn and so is never waited for;
//! the turn, a [`Semaphore`] with one permit, closed when the value is there; and an [`Event`] for those who
//! want the value and do not make it. The surface is tokio's, with forms for blocking threads added. Called
//! by users.
//!
//! # Making the value from within
//! While a caller's code runs that makes the value, `running` says for which task and on which thread. Who
//! finds itself there when it has to wait waits for itself: it stands on the stack above that very poll, or
//! that very closure. For the async forms the task counts, and not the thread, which may run other tasks inside
//! a poll that may well wait. A runtime with the probe names the task. Elsewhere its waker does, while that very
//! poll is on this thread's stack: the same two words, of a waker that is in use, wake the same task. (A future
//! that gives its children wakers of their own hides them: those wait for ever.) For the blocking forms the
//! thread counts.
#![forbid(unsafe_code)]

use std::convert::Infallible;
use std::fmt;
use std::future::{Future, poll_fn};
use std::pin::pin;
use std::task::Waker;
use std::time::{Duration, Instant};

use crate::block::deadline_after;
use crate::event::Event;
use crate::probe;
use crate::semaphore::{Acquire, AcquireTimeoutError, Semaphore, SemaphorePermit, TryAcquireError};
use crate::shim::{self, Mutex, OnceLock, const_unless_model};

#[cfg(test)]
mod tests;

/// A value that is made at most once, by whoever needs it first; others wait for it meanwhile.
///
/// When the one that makes the value fails, panics or is dropped, the turn goes to the next that waits, with
/// its own way to make it. Once the value is there, to get it is a load.
///
/// # Examples
/// ```
/// use filch_channels::sync::OnceCell;
///
/// static CONFIG: OnceCell<String> = OnceCell::new();
///
/// async fn config() -> &'static str {
///     CONFIG.get_or_init(async || "read from afar".to_owned()).await
/// }
///
/// futures_lite::future::block_on(async {
///     assert_eq!(CONFIG.get(), None);
///     assert_eq!(config().await, "read from afar");
///     assert!(std::ptr::eq(config().await, CONFIG.wait_blocking().as_str()));
/// });
/// ```
///
/// # Making the value from within
/// Code that makes the value and asks the same cell for it waits for itself. That panics where it can be told
/// for sure: in the blocking forms, in the async ones under filch, and under other runtimes where it is polled
/// with the waker of its task. Inside of a set that hands out wakers of its own it waits for ever there.
///
/// # Cancel safety
/// **Loses its place in line.** The turn to make the value passes to the next; what the dropped one had made so
/// far is dropped.
///
/// # Memory ordering
/// What happened before the value was put in is visible to whoever gets it.
pub struct OnceCell<T> {
    value: OnceLock<T>,
    turn: Semaphore,
    there: Event,
    running: Mutex<Option<Running>>,
}

/// Whose code is making the value right now.
#[derive(Clone, Copy, Debug)]
struct Running {
    /// 0 when not known.
    task: u64,
    thread: u64,
    /// The waker that it is polled with; none while it is only called.
    waker: Option<Identity>,
}

/// The two words of a waker, as addresses.
type Identity = (usize, usize);

fn identity(waker: &Waker) -> Identity {
    (waker.data().addr(), std::ptr::from_ref(waker.vtable()).addr())
}

impl Running {
    /// Whether whoever has to wait here, and is polled with this waker, is what runs.
    fn is_polled_by(&self, waker: &Waker) -> bool {
        match probe::current_id() {
            0 => self.thread == shim::thread_number() && self.waker == Some(identity(waker)),
            task => self.task == task,
        }
    }
}

/// Marks the time in which a caller's code runs.
struct Mark<'a>(&'a Mutex<Option<Running>>);

impl<'a> Mark<'a> {
    fn new(running: &'a Mutex<Option<Running>>, waker: Option<&Waker>) -> Mark<'a> {
        let (task, thread) = (probe::current_id(), shim::thread_number());
        *running.lock() = Some(Running { task, thread, waker: waker.map(identity) });
        Mark(running)
    }
}

impl Drop for Mark<'_> {
    fn drop(&mut self) {
        *self.0.lock() = None;
    }
}

impl<T> OnceCell<T> {
    const_unless_model! {
        /// A cell without a value.
        #[must_use]
        pub fn new() -> OnceCell<T> {
            OnceCell {
                value: OnceLock::new(),
                turn: Semaphore::new(1),
                there: Event::new(),
                running: Mutex::new(None),
            }
        }

        /// The same as [`new`](Self::new), under tokio's name for it.
        #[must_use]
        pub fn const_new() -> OnceCell<T> {
            OnceCell::new()
        }
    }

    /// A cell with a value, or without.
    #[must_use]
    pub fn new_with(value: Option<T>) -> OnceCell<T> {
        match value {
            Some(value) => OnceCell::from(value),
            None => OnceCell::new(),
        }
    }

    /// The value, if it is there.
    #[inline]
    pub fn get(&self) -> Option<&T> {
        self.value.get()
    }

    /// The value, if it is there, to be changed.
    pub fn get_mut(&mut self) -> Option<&mut T> {
        self.value.get_mut()
    }

    /// Whether the value is there.
    pub fn initialized(&self) -> bool {
        self.get().is_some()
    }

    /// The value, if it is there.
    pub fn into_inner(self) -> Option<T> {
        self.value.into_inner()
    }

    /// Takes the value out and leaves the cell as if new.
    pub fn take(&mut self) -> Option<T> {
        std::mem::take(self).into_inner()
    }

    /// Puts a value in.
    ///
    /// # Errors
    /// [`SetError`] with the value, when there is one already, or somebody is making one.
    pub fn set(&self, value: T) -> Result<(), SetError<T>> {
        match self.turn.try_acquire() {
            Ok(turn) => {
                self.fill(turn, value);
                Ok(())
            }
            Err(TryAcquireError::Closed) => Err(SetError::AlreadyInitializedError(value)),
            Err(TryAcquireError::NoPermits) => Err(SetError::InitializingError(value)),
        }
    }

    /// Gets the value, or makes it.
    ///
    /// One caller makes it, with its own `init`, and the others wait for that. Should it be dropped or panic
    /// before it has done so, the next one makes it.
    ///
    /// # Examples
    /// ```
    /// # use filch_channels::sync::OnceCell;
    /// # futures_lite::future::block_on(async {
    /// let cell = OnceCell::new();
    /// assert_eq!(*cell.get_or_init(|| async { 1 }).await, 1);
    /// assert_eq!(*cell.get_or_init(|| async { unreachable!() }).await, 1);
    /// # });
    /// ```
    ///
    /// # Panics
    /// When it is awaited by the code that makes the value, where that can be told: see the [type](Self).
    ///
    /// # Cancel safety
    /// **Loses its place in line.** The turn to make the value passes to the next.
    #[track_caller]
    pub fn get_or_init<F, Fut>(&self, init: F) -> impl Future<Output = &T>
    where
        F: FnOnce() -> Fut,
        Fut: Future<Output = T>,
    {
        let value = self.get_or_try_init(|| async { Ok::<T, Infallible>(init().await) });
        async {
            match value.await {
                Ok(value) => value,
                Err(never) => match never {},
            }
        }
    }

    /// Gets the value, or tries to make it.
    ///
    /// # Examples
    /// ```
    /// # use filch_channels::sync::OnceCell;
    /// # futures_lite::future::block_on(async {
    /// let cell = OnceCell::new();
    /// assert_eq!(cell.get_or_try_init(|| async { Err("no luck") }).await, Err("no luck"));
    /// assert_eq!(cell.get_or_try_init(|| async { Ok::<_, &str>(1) }).await, Ok(&1));
    /// # });
    /// ```
    ///
    /// # Errors
    /// Those of `init`. The cell stays without a value, and the next one in line tries.
    ///
    /// # Panics
    /// When it is awaited by the code that makes the value, where that can be told: see the [type](Self).
    ///
    /// # Cancel safety
    /// **Loses its place in line.** The turn to make the value passes to the next.
    #[track_caller]
    pub fn get_or_try_init<E, F, Fut>(&self, init: F) -> impl Future<Output = Result<&T, E>>
    where
        F: FnOnce() -> Fut,
        Fut: Future<Output = Result<T, E>>,
    {
        let turn = self.turn.acquire();
        async move {
            poll_fn(probe::poll_budget).await;
            if let Some(value) = self.get() {
                probe::spend();
                return Ok(value);
            }
            let Some(turn) = self.wait_for_turn(turn).await else { return Ok(self.filled()) };
            let making = {
                let _mark = Mark::new(&self.running, None);
                init()
            };
            let mut making = pin!(making);
            let made = poll_fn(|cx| {
                let _mark = Mark::new(&self.running, Some(cx.waker()));
                making.as_mut().poll(cx)
            });
            Ok(self.fill(turn, made.await?))
        }
    }

    /// None: the value is there.
    async fn wait_for_turn<'a>(&'a self, turn: Acquire<'a>) -> Option<SemaphorePermit<'a>> {
        let mut turn = pin!(turn);
        poll_fn(|cx| {
            let polled = turn.as_mut().poll(cx);
            if polled.is_pending() {
                let running = *self.running.lock();
                assert!(
                    running.is_none_or(|running| !running.is_polled_by(cx.waker())),
                    "what makes the value of a OnceCell awaits the same cell, and so itself"
                );
            }
            polled.map(Result::ok)
        })
        .await
    }

    /// Gets the value, or makes it on this thread, which blocks while others make it.
    ///
    /// # Panics
    /// When it is called by the code that makes the value, on the same thread.
    pub fn get_or_init_blocking(&self, init: impl FnOnce() -> T) -> &T {
        match self.get_or_try_init_blocking(|| Ok::<T, Infallible>(init())) {
            Ok(value) => value,
            Err(never) => match never {},
        }
    }

    /// Gets the value, or tries to make it on this thread, which blocks while others do.
    ///
    /// # Errors
    /// Those of `init`. The cell stays without a value, and the next one in line tries.
    ///
    /// # Panics
    /// When it is called by the code that makes the value, on the same thread.
    pub fn get_or_try_init_blocking<E>(&self, init: impl FnOnce() -> Result<T, E>) -> Result<&T, E> {
        if let Some(value) = self.get() {
            return Ok(value);
        }
        self.check_thread();
        match self.turn.acquire_blocking() {
            Ok(turn) => self.make(turn, init),
            Err(_) => Ok(self.filled()),
        }
    }

    /// Gets the value, or makes it on this thread, which blocks for at most `timeout` while others make it.
    /// None: the time was up.
    ///
    /// How long `init` itself takes is not bounded.
    ///
    /// # Panics
    /// When it is called by the code that makes the value, on the same thread.
    pub fn get_or_init_timeout(&self, timeout: Duration, init: impl FnOnce() -> T) -> Option<&T> {
        self.get_or_init_until(deadline_after(timeout), init)
    }

    /// Gets the value, or makes it on this thread, which blocks until `deadline` at most while others make it.
    /// None: the deadline came first.
    ///
    /// How long `init` itself takes is not bounded.
    ///
    /// # Panics
    /// When it is called by the code that makes the value, on the same thread.
    pub fn get_or_init_deadline(&self, deadline: Instant, init: impl FnOnce() -> T) -> Option<&T> {
        self.get_or_init_until(Some(deadline), init)
    }

    fn get_or_init_until(&self, deadline: Option<Instant>, init: impl FnOnce() -> T) -> Option<&T> {
        if let Some(value) = self.get() {
            return Some(value);
        }
        self.check_thread();
        let turn = match deadline {
            Some(deadline) => self.turn.acquire_deadline(deadline),
            None => self.turn.acquire_timeout(Duration::MAX),
        };
        match turn {
            Ok(turn) => match self.make(turn, || Ok::<T, Infallible>(init())) {
                Ok(value) => Some(value),
                Err(never) => match never {},
            },
            Err(AcquireTimeoutError::Closed) => Some(self.filled()),
            Err(AcquireTimeoutError::Timeout) => None,
        }
    }

    fn make<E>(&self, turn: SemaphorePermit<'_>, init: impl FnOnce() -> Result<T, E>) -> Result<&T, E> {
        let made = {
            let _mark = Mark::new(&self.running, None);
            init()
        };
        Ok(self.fill(turn, made?))
    }

    /// A thread that blocks inside the code that makes the value blocks for ever.
    fn check_thread(&self) {
        let running = *self.running.lock();
        assert!(
            running.is_none_or(|running| running.thread != shim::thread_number()),
            "what makes the value of a OnceCell waits for the same cell, and so for itself"
        );
    }

    /// Puts the value in, tells everybody, and ends all turns.
    fn fill(&self, turn: SemaphorePermit<'_>, value: T) -> &T {
        let set = self.value.set(value);
        assert!(set.is_ok(), "only the holder of the turn puts a value in, and once");
        self.turn.close();
        drop(turn);
        self.there.set();
        self.filled()
    }

    fn filled(&self) -> &T {
        self.get().expect("the turns end when the value is there")
    }

    /// Waits until somebody has made the value, or put one in.
    ///
    /// # Examples
    /// ```
    /// # use filch_channels::sync::OnceCell;
    /// # use futures_lite::future;
    /// let cell = OnceCell::new();
    /// let (value, set) = future::block_on(future::zip(cell.wait(), async { cell.set(1) }));
    /// assert_eq!((*value, set), (1, Ok(())));
    /// ```
    ///
    /// # Cancel safety
    /// **Strict.**
    #[track_caller]
    pub fn wait(&self) -> impl Future<Output = &T> {
        let there = self.there.wait();
        async {
            there.await;
            self.filled()
        }
    }

    /// Blocks this thread until the value is there.
    pub fn wait_blocking(&self) -> &T {
        self.there.wait_blocking();
        self.filled()
    }

    /// Blocks this thread until the value is there, but no longer than `timeout`. None: the time was up.
    ///
    /// `Duration::MAX` means for ever. A task bounds [`wait`](Self::wait) with its runtime's timeout instead.
    pub fn wait_timeout(&self, timeout: Duration) -> Option<&T> {
        self.there.wait_timeout(timeout).then(|| self.filled())
    }

    /// Blocks this thread until the value is there, but no longer than to `deadline`. None: the time was up.
    pub fn wait_deadline(&self, deadline: Instant) -> Option<&T> {
        self.there.wait_deadline(deadline).then(|| self.filled())
    }
}

impl<T> Default for OnceCell<T> {
    fn default() -> OnceCell<T> {
        OnceCell::new()
    }
}

impl<T> From<T> for OnceCell<T> {
    fn from(value: T) -> OnceCell<T> {
        let cell = OnceCell::new();
        let set = cell.set(value);
        debug_assert!(set.is_ok(), "nobody else knows of the cell");
        cell
    }
}

impl<T: Clone> Clone for OnceCell<T> {
    fn clone(&self) -> OnceCell<T> {
        OnceCell::new_with(self.get().cloned())
    }
}

impl<T: PartialEq> PartialEq for OnceCell<T> {
    fn eq(&self, other: &OnceCell<T>) -> bool {
        self.get() == other.get()
    }
}

impl<T: Eq> Eq for OnceCell<T> {}

impl<T: fmt::Debug> fmt::Debug for OnceCell<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("OnceCell").field("value", &self.get()).finish_non_exhaustive()
    }
}

/// Why [`OnceCell::set`] put nothing in. Holds the value.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum SetError<T> {
    /// There is a value already.
    AlreadyInitializedError(T),
    /// Somebody is making a value, or is about to.
    InitializingError(T),
}

impl<T> SetError<T> {
    /// Whether there was a value already.
    pub fn is_already_init_err(&self) -> bool {
        matches!(self, SetError::AlreadyInitializedError(_))
    }

    /// Whether somebody was making a value.
    pub fn is_initializing_err(&self) -> bool {
        matches!(self, SetError::InitializingError(_))
    }

    /// The value that was not put in.
    pub fn into_inner(self) -> T {
        match self {
            SetError::AlreadyInitializedError(value) | SetError::InitializingError(value) => value,
        }
    }
}

impl<T> fmt::Display for SetError<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            SetError::AlreadyInitializedError(_) => "the cell has a value already",
            SetError::InitializingError(_) => "somebody is making a value for the cell",
        })
    }
}

impl<T: fmt::Debug> std::error::Error for SetError<T> {}
