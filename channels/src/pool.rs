//! Layer 3. `Pool`: things that are costly to make, lent out and given back.
//!
//! Owns the idle things, a [`Semaphore`] with a turn for each that may exist, and what makes and checks them.
//! Called by users.
//!
//! # At most `max` at a time
//! A thing is made by a holder of a turn, at a moment when nothing is idle, so at most `max` exist or are
//! being made. It comes back in two steps, first among the idle things and then the turn, so that whoever gets
//! the turn finds it.
//!
//! The user's code (what makes and checks things, and their drop) never runs under the lock.
#![forbid(unsafe_code)]

use std::convert::Infallible;
use std::fmt;
use std::future::{Future, poll_fn};
use std::ops::{Deref, DerefMut};
use std::panic::{AssertUnwindSafe, RefUnwindSafe, UnwindSafe, catch_unwind, resume_unwind};
use std::pin::{Pin, pin};
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

use crate::block::{self, deadline_after};
use crate::semaphore::{AcquireTimeoutError, Semaphore, SemaphorePermit, TryAcquireError};
use crate::shim::{Arc, Mutex};

#[cfg(test)]
mod tests;

type Boxed<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

type LaterCheck<T> = dyn for<'a> Fn(&'a mut T) -> Boxed<'a, bool> + Send + Sync;

/// How things are made.
enum Make<T, E> {
    Now(Box<dyn Fn() -> Result<T, E> + Send + Sync>),
    Later(Box<dyn Fn() -> Boxed<'static, Result<T, E>> + Send + Sync>),
}

/// Whether an idle thing may be lent again.
enum Check<T> {
    No,
    Now(Box<dyn Fn(&mut T) -> bool + Send + Sync>),
    Later(Box<LaterCheck<T>>),
}

/// At most so many things, made when they are needed, lent out one at a time and given back.
///
/// [`get`](Self::get) lends a thing that is idle, or makes one, or waits until one is given back. A [`Pooled`]
/// gives its thing back when it is dropped, also by a panic. The thing given back last is lent first. Those who
/// wait are served as by a [`Semaphore`](crate::sync::Semaphore): in the order in which they came, though a
/// newcomer may be quicker, a limited number of times.
///
/// Clones stand for the same pool. When the last one goes, the pool closes.
///
/// # Examples
/// ```
/// use filch_channels::sync::{Pool, Pooled};
///
/// struct Connection(bool);
///
/// futures_lite::future::block_on(async {
///     let pool = Pool::builder(2)
///         .check(|connection: &mut Connection| connection.0)
///         .build_async(async || Ok::<_, std::io::Error>(Connection(true)));
///     let (mut one, two) = (pool.get().await.unwrap(), pool.get().await.unwrap());
///     assert!(pool.try_get().is_err());
///     // It will not pass the check.
///     one.0 = false;
///     drop(one);
///     let three = pool.get().await.unwrap();
///     Pooled::discard(two);
///     drop(three);
///     let stats = pool.stats();
///     assert_eq!((stats.made, stats.dropped, stats.idle, stats.out), (3, 2, 1, 0));
/// });
/// ```
///
/// # Cancel safety
/// **Loses its place in line.** Whoever is dropped while it waits, checks or makes loses nothing: its turn goes
/// to the next, an idle thing that it was checking goes back, and one that it was making is dropped half made.
pub struct Pool<T, E = Infallible> {
    inner: Arc<Inner<T, E>>,
}

struct Inner<T, E> {
    shared: Arc<Shared<T>>,
    make: Make<T, E>,
    check: Check<T>,
}

// A thing whose making or check panics is dropped, and its turn goes to the next.
impl<T, E> UnwindSafe for Pool<T, E> {}
impl<T, E> RefUnwindSafe for Pool<T, E> {}

impl<T, E> Drop for Inner<T, E> {
    fn drop(&mut self) {
        // What is still out comes back to be dropped.
        self.shared.close();
    }
}

/// What a pool and the things that it has lent share.
struct Shared<T> {
    turns: Semaphore,
    max: usize,
    idle_max: usize,
    idle: Mutex<Idle<T>>,
}

struct Idle<T> {
    /// The one given back last comes last.
    things: Vec<T>,
    closed: bool,
    made: u64,
    reused: u64,
    dropped: u64,
    failed: u64,
}

impl<T> Shared<T> {
    fn give_back(&self, thing: T) {
        let mut idle = self.idle.lock();
        if idle.closed || idle.things.len() >= self.idle_max {
            idle.dropped += 1;
            drop(idle);
            drop(thing);
        } else {
            idle.things.push(thing);
        }
    }

    fn discard(&self, thing: T) {
        self.idle.lock().dropped += 1;
        drop(thing);
    }

    /// Takes the idle things that were idle longest, but for `keep` of them.
    fn evict(&self, keep: usize) -> Vec<T> {
        let mut idle = self.idle.lock();
        let old = idle.things.len().saturating_sub(keep);
        idle.dropped += old as u64;
        idle.things.drain(..old).collect()
    }

    fn close(&self) {
        self.turns.close();
        self.idle.lock().closed = true;
        drop(self.evict(0));
    }
}

/// The right to have one thing of a pool; given back when it is dropped.
struct Turn<T>(Arc<Shared<T>>);

impl<T> Turn<T> {
    fn new(permit: SemaphorePermit<'_>, shared: &Arc<Shared<T>>) -> Turn<T> {
        let turn = Turn(shared.clone());
        permit.forget();
        turn
    }
}

impl<T> Drop for Turn<T> {
    fn drop(&mut self) {
        self.0.turns.add_permits(1);
    }
}

impl<T> Pool<T> {
    /// A pool of at most `max` things, which `make` makes when they are needed.
    ///
    /// # Panics
    /// When `max` is 0, or more than [`Semaphore::MAX_PERMITS`](crate::sync::Semaphore::MAX_PERMITS).
    #[track_caller]
    pub fn new(max: usize, make: impl Fn() -> T + Send + Sync + 'static) -> Pool<T> {
        Pool::builder(max).build(make)
    }

    /// Sets up a pool of at most `max` things that differs from the one that [`new`](Self::new) makes.
    ///
    /// # Panics
    /// When `max` is 0, or more than [`Semaphore::MAX_PERMITS`](crate::sync::Semaphore::MAX_PERMITS).
    #[track_caller]
    pub fn builder(max: usize) -> PoolBuilder<T> {
        assert!(max != 0, "a pool of no things would never lend one");
        assert!(max <= Semaphore::MAX_PERMITS, "a pool has at most usize::MAX >> 3 things");
        PoolBuilder { max, idle_max: max, fair: false, check: Check::No }
    }
}

impl<T, E> Pool<T, E> {
    /// Borrows a thing: an idle one that passes the check, or a new one. Waits while `max` are out.
    ///
    /// # Examples
    /// ```
    /// # use filch_channels::sync::Pool;
    /// # futures_lite::future::block_on(async {
    /// let buffers = Pool::new(2, || Vec::with_capacity(1024));
    /// let mut buffer = buffers.get().await.unwrap();
    /// buffer.push(1_u8);
    /// assert_eq!(buffers.stats().out, 1);
    /// # });
    /// ```
    ///
    /// # Errors
    /// [`PoolError::Closed`] when the pool is closed, or is closed meanwhile; [`PoolError::Make`] when no
    /// thing could be made. The turn then goes to the next in line, who tries as well.
    ///
    /// # Panics
    /// When the code that makes or checks things does. A thing whose check panics is dropped.
    ///
    /// # Cancel safety
    /// **Loses its place in line.** Nothing is lost: see [`Pool`].
    #[track_caller]
    pub fn get(&self) -> impl Future<Output = Result<Pooled<T>, PoolError<E>>> {
        let turn = self.inner.shared.turns.acquire();
        async {
            let permit = turn.await.map_err(|_| PoolError::Closed)?;
            self.checkout(Turn::new(permit, &self.inner.shared), true).await
        }
    }

    /// Borrows a thing if that can be done at once.
    ///
    /// What checks or makes things and has to wait for something cannot: an idle thing whose check is not
    /// ready at once goes back, and only a pool that makes things without waiting makes one.
    ///
    /// # Errors
    /// [`PoolError::Empty`] when there is nothing at once; the others as for [`get`](Self::get).
    pub fn try_get(&self) -> Result<Pooled<T>, PoolError<E>> {
        let shared = &self.inner.shared;
        let permit = shared.turns.try_acquire().map_err(|error| match error {
            TryAcquireError::Closed => PoolError::Closed,
            TryAcquireError::NoPermits => PoolError::Empty,
        })?;
        let may_make = matches!(self.inner.make, Make::Now(_));
        let checkout = pin!(self.checkout(Turn::new(permit, shared), may_make));
        match checkout.poll(&mut Context::from_waker(Waker::noop())) {
            Poll::Ready(answer) => answer,
            Poll::Pending => Err(PoolError::Empty),
        }
    }

    /// Borrows a thing, and blocks this thread while `max` are out, and while one is checked or made.
    ///
    /// # Errors
    /// As [`get`](Self::get).
    pub fn get_blocking(&self) -> Result<Pooled<T>, PoolError<E>> {
        self.block(None)
    }

    /// Borrows a thing, and blocks this thread for no longer than `timeout`.
    ///
    /// `Duration::MAX` means for ever. A task bounds [`get`](Self::get) with its runtime's timeout instead.
    /// Code that makes or checks a thing without awaiting is not interrupted.
    ///
    /// # Errors
    /// [`PoolError::Timeout`] when the time was up; the others as for [`get`](Self::get).
    pub fn get_timeout(&self, timeout: Duration) -> Result<Pooled<T>, PoolError<E>> {
        self.block(deadline_after(timeout))
    }

    /// Borrows a thing, and blocks this thread no longer than to `deadline`.
    ///
    /// # Errors
    /// As [`get_timeout`](Self::get_timeout).
    pub fn get_deadline(&self, deadline: Instant) -> Result<Pooled<T>, PoolError<E>> {
        self.block(Some(deadline))
    }

    fn block(&self, deadline: Option<Instant>) -> Result<Pooled<T>, PoolError<E>> {
        let shared = &self.inner.shared;
        let left =
            deadline.map_or(Duration::MAX, |deadline| deadline.saturating_duration_since(Instant::now()));
        let permit = shared.turns.acquire_timeout(left).map_err(|error| match error {
            AcquireTimeoutError::Closed => PoolError::Closed,
            AcquireTimeoutError::Timeout => PoolError::Timeout,
        })?;
        let mut checkout = pin!(self.checkout(Turn::new(permit, shared), true));
        block::block_until(deadline, |cx| checkout.as_mut().poll(cx)).unwrap_or(Err(PoolError::Timeout))
    }

    /// Finds a thing for the holder of a turn.
    async fn checkout(&self, mut turn: Turn<T>, may_make: bool) -> Result<Pooled<T>, PoolError<E>> {
        loop {
            let idle = turn.0.idle.lock().things.pop();
            let Some(thing) = idle else { break };
            // Should we be dropped while it is checked, it goes back.
            let mut pooled = Pooled::new(thing, turn);
            let verdict = self.check(&mut pooled).await;
            if matches!(verdict, Ok(true)) {
                self.inner.shared.idle.lock().reused += 1;
                return Ok(pooled);
            }
            let thing;
            (thing, turn) = pooled.split();
            turn.0.discard(thing);
            if let Err(payload) = verdict {
                resume_unwind(payload);
            }
        }
        if !may_make {
            return Err(PoolError::Empty);
        }
        let made = match &self.inner.make {
            Make::Now(make) => make(),
            Make::Later(make) => make().await,
        };
        let mut idle = self.inner.shared.idle.lock();
        idle.made += u64::from(made.is_ok());
        idle.failed += u64::from(made.is_err());
        drop(idle);
        made.map(|thing| Pooled::new(thing, turn)).map_err(PoolError::Make)
    }

    /// Whether a thing may be lent again. An error: the check has panicked with it.
    async fn check(&self, thing: &mut T) -> std::thread::Result<bool> {
        match &self.inner.check {
            Check::No => Ok(true),
            Check::Now(check) => catch_unwind(AssertUnwindSafe(|| check(thing))),
            Check::Later(check) => {
                let begin = move || {
                    // Moved, not lent, so that what is begun may keep it.
                    let thing = thing;
                    check(thing)
                };
                let mut verdict = catch_unwind(AssertUnwindSafe(begin))?;
                poll_fn(|cx| match catch_unwind(AssertUnwindSafe(|| verdict.as_mut().poll(cx))) {
                    Ok(polled) => polled.map(Ok),
                    Err(payload) => Poll::Ready(Err(payload)),
                })
                .await
            }
        }
    }

    /// Drops the idle things, but for `keep` of those that were idle for the shortest time, and says how many.
    pub fn shrink_to(&self, keep: usize) -> usize {
        let old = self.inner.shared.evict(keep);
        old.len()
    }

    /// Lends nothing any more: those who wait are told so, and those who come later; idle things are dropped.
    ///
    /// What is out stays valid, and is dropped when it comes back.
    pub fn close(&self) {
        self.inner.shared.close();
    }

    /// Whether [`close`](Self::close) was called.
    pub fn is_closed(&self) -> bool {
        self.inner.shared.turns.is_closed()
    }

    /// How the pool is doing, at this moment.
    pub fn stats(&self) -> PoolStats {
        let shared = &*self.inner.shared;
        let idle = shared.idle.lock();
        PoolStats {
            max: shared.max,
            out: shared.max.saturating_sub(shared.turns.available_permits()),
            idle: idle.things.len(),
            waiting: shared.turns.waiting(),
            made: idle.made,
            reused: idle.reused,
            dropped: idle.dropped,
            failed: idle.failed,
        }
    }
}

impl<T, E> Clone for Pool<T, E> {
    fn clone(&self) -> Pool<T, E> {
        Pool { inner: self.inner.clone() }
    }
}

impl<T, E> fmt::Debug for Pool<T, E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pool")
            .field("stats", &self.stats())
            .field("closed", &self.is_closed())
            .finish_non_exhaustive()
    }
}

/// Sets up a [`Pool`]. From [`Pool::builder`].
#[must_use]
pub struct PoolBuilder<T> {
    max: usize,
    idle_max: usize,
    fair: bool,
    check: Check<T>,
}

impl<T> PoolBuilder<T> {
    /// Keeps at most so many things idle, and drops others when they are given back. As many as there can be,
    /// unless you say otherwise.
    pub fn max_idle(mut self, most: usize) -> PoolBuilder<T> {
        self.idle_max = most;
        self
    }

    /// Serves those who wait strictly in the order in which they came: nobody is quicker.
    pub fn fair(mut self) -> PoolBuilder<T> {
        self.fair = true;
        self
    }

    /// Looks at an idle thing before it is lent again. Those for which `check` says false are dropped.
    pub fn check(mut self, check: impl Fn(&mut T) -> bool + Send + Sync + 'static) -> PoolBuilder<T> {
        self.check = Check::Now(Box::new(check));
        self
    }

    /// Looks at an idle thing before it is lent again, and may wait for an answer.
    ///
    /// # Examples
    /// ```
    /// # use filch_channels::sync::Pool;
    /// let pool = Pool::builder(1).check_async(|n| Box::pin(async { *n > 0 })).build(|| 1);
    /// *pool.get_blocking().unwrap() -= 1;
    /// assert_eq!(*pool.get_blocking().unwrap(), 1);
    /// ```
    pub fn check_async(
        mut self,
        check: impl for<'a> Fn(&'a mut T) -> Pin<Box<dyn Future<Output = bool> + Send + 'a>>
        + Send
        + Sync
        + 'static,
    ) -> PoolBuilder<T> {
        self.check = Check::Later(Box::new(check));
        self
    }

    /// A pool whose things are made by `make`.
    pub fn build(self, make: impl Fn() -> T + Send + Sync + 'static) -> Pool<T> {
        self.build_try(move || Ok(make()))
    }

    /// A pool whose things are made by `make`, which can fail.
    pub fn build_try<E>(self, make: impl Fn() -> Result<T, E> + Send + Sync + 'static) -> Pool<T, E> {
        self.finish(Make::Now(Box::new(make)))
    }

    /// A pool whose things are made by `make`, which can wait and fail.
    ///
    /// [`Pool::get_blocking`] runs it on the thread that calls; if it needs a runtime, call it inside one.
    pub fn build_async<E, F>(self, make: impl Fn() -> F + Send + Sync + 'static) -> Pool<T, E>
    where
        F: Future<Output = Result<T, E>> + Send + 'static,
    {
        self.finish(Make::Later(Box::new(move || Box::pin(make()))))
    }

    fn finish<E>(self, make: Make<T, E>) -> Pool<T, E> {
        let PoolBuilder { max, idle_max, fair, check } = self;
        let turns = if fair { Semaphore::fair(max) } else { Semaphore::new(max) };
        let idle = Idle { things: Vec::new(), closed: false, made: 0, reused: 0, dropped: 0, failed: 0 };
        let shared = Arc::new(Shared { turns, max, idle_max, idle: Mutex::new(idle) });
        Pool { inner: Arc::new(Inner { shared, make, check }) }
    }
}

impl<T> fmt::Debug for PoolBuilder<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PoolBuilder")
            .field("max", &self.max)
            .field("max_idle", &self.idle_max)
            .field("fair", &self.fair)
            .finish_non_exhaustive()
    }
}

/// A thing that a [`Pool`] has lent. It goes back when this is dropped.
///
/// May outlive the pool; then the thing is dropped.
#[must_use = "dropping it gives the thing back at once"]
pub struct Pooled<T> {
    /// None once it was taken out.
    lent: Option<(T, Turn<T>)>,
}

const TAKEN: &str = "only taken out by what consumes us";

impl<T> Pooled<T> {
    fn new(thing: T, turn: Turn<T>) -> Pooled<T> {
        Pooled { lent: Some((thing, turn)) }
    }

    /// Keeps the thing, for good. The pool may make another in its place.
    pub fn take(pooled: Self) -> T {
        pooled.split().0
    }

    /// Drops the thing and does not give it back. The pool may make another in its place.
    pub fn discard(pooled: Self) {
        let (thing, turn) = pooled.split();
        turn.0.discard(thing);
    }

    fn split(mut self) -> (T, Turn<T>) {
        self.lent.take().expect(TAKEN)
    }
}

impl<T> Drop for Pooled<T> {
    fn drop(&mut self) {
        // The turn goes after the thing, so that whoever gets it finds the thing.
        if let Some((thing, turn)) = self.lent.take() {
            turn.0.give_back(thing);
        }
    }
}

impl<T> Deref for Pooled<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.lent.as_ref().expect(TAKEN).0
    }
}

impl<T> DerefMut for Pooled<T> {
    fn deref_mut(&mut self) -> &mut T {
        &mut self.lent.as_mut().expect(TAKEN).0
    }
}

impl<T: fmt::Debug> fmt::Debug for Pooled<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Pooled").field(&**self).finish()
    }
}

/// What [`Pool::stats`] says.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub struct PoolStats {
    /// How many things there can be.
    pub max: usize,
    /// How many are lent, or are being checked or made.
    pub out: usize,
    /// How many lie idle.
    pub idle: usize,
    /// About how many wait for one.
    pub waiting: usize,
    /// How many were made so far.
    pub made: u64,
    /// How often an idle one was lent again.
    pub reused: u64,
    /// How many the pool has dropped: idle ones too many, those that failed the check, and discarded ones.
    pub dropped: u64,
    /// How often none could be made.
    pub failed: u64,
}

/// Why a [`Pool`] lent nothing.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum PoolError<E = Infallible> {
    /// The pool is closed.
    Closed,
    /// Only of [`Pool::try_get`]: there is nothing at once.
    Empty,
    /// The time was up.
    Timeout,
    /// None was idle, and none could be made.
    Make(E),
}

impl<E> fmt::Display for PoolError<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            PoolError::Closed => "the pool is closed",
            PoolError::Empty => "the pool has nothing to lend at once",
            PoolError::Timeout => "the pool had nothing to lend in time",
            PoolError::Make(_) => "the pool could not make what it was asked for",
        })
    }
}

impl<E: std::error::Error + 'static> std::error::Error for PoolError<E> {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            PoolError::Make(error) => Some(error),
            _ => None,
        }
    }
}
