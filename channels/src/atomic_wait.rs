//! Layer 2. `AtomicWait` and `AtomicWait64`: integers on whose change tasks and threads wait.
//!
//! Owns the integer, a count of the calls of `wake`, and a [`WaitQueue`] in which each waiter has noted that
//! count. This is what a futex is to threads, and `Atomics.wait` to JavaScript: whoever waits says which value
//! it has seen, and sleeps only if that is still there. Called by users.
//!
//! # Why no wake-up is lost between the comparison and the sleep
//! The waiter gets in line, fences and compares; the other side changes the value and then calls `wake`, which
//! looks whether anybody is in line. By the handshake of `WaitQueue` either the comparison sees the change, or
//! `wake` sees the waiter. Once asleep, a waiter is ended by `wake` alone, however often it is polled and
//! whatever the value has become.
//!
//! A wake-up that its waiter does not live to see goes to another one, but only to one that was in line when
//! `wake` was called: others have compared later. That is what the count is for.
#![forbid(unsafe_code)]

use std::cell::Cell;
use std::fmt;
use std::future::Future;
use std::panic::{Location, RefUnwindSafe};
use std::pin::{Pin, pin};
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};

use pin_project_lite::pin_project;

use crate::block::{self, deadline_after};
use crate::probe::{self, Wait};
use crate::shim::Ordering::{Acquire, Relaxed, SeqCst};
use crate::shim::const_unless_model;
use crate::shim::task::{AtomicU32, AtomicU64, AtomicUsize};
use crate::wait_queue::{Outcome, WaitQueue, Waiter};

#[cfg(test)]
mod tests;

/// Why a wait on an [`AtomicWait`] or [`AtomicWait64`] came back.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[must_use]
pub enum WaitOutcome {
    /// It slept, and `wake` or `wake_all` ended that. The value may be any.
    Woken,
    /// It did not sleep: the value was not the one that was expected.
    NotEqual,
    /// Only of the forms with a timeout or a deadline: it slept until the time was up.
    TimedOut,
}

/// The part that does not depend on the kind of integer.
struct Line {
    /// How often `wake` was called, wrapping.
    wakes: AtomicUsize,
    queue: WaitQueue,
}

impl Line {
    const_unless_model! {
        fn new() -> Line {
            Line { wakes: AtomicUsize::new(0), queue: WaitQueue::new() }
        }
    }

    fn wake(&self, most: usize) -> usize {
        if most == 0 {
            return 0;
        }
        // Ordering: SeqCst: Release pairs with the load in `began`: who has missed this call sees the value
        // that our caller left. The rest is the handshake with `WaitQueue`.
        let call = self.wakes.fetch_add(1, SeqCst);
        if self.queue.is_empty_after_rmw() {
            return 0;
        }
        let left = Cell::new(most);
        self.queue.lock().notify_all_where(call, |began| {
            let chosen = left.get() > 0 && was_before(began, call);
            left.set(left.get() - usize::from(chosen));
            chosen
        })
    }

    /// What a waiter notes before it compares.
    fn began(&self) -> usize {
        // Ordering: Acquire pairs with `wake`.
        self.wakes.load(Acquire)
    }

    /// A waiter was woken by `call` and has gone without seeing it.
    fn pass_on(&self, call: usize) {
        self.queue.notify_where(call, |began| was_before(began, call));
    }
}

/// Whether one that has begun when there had been so many calls was there before this call. The counts wrap.
fn was_before(began: usize, call: usize) -> bool {
    call.wrapping_sub(began) <= usize::MAX / 2
}

/// What a wait needs to know of the integer.
trait Word: Send + Sync + RefUnwindSafe {
    fn is(&self, expected: u64) -> bool;
    fn line(&self) -> &Line;
}

fn block(word: &dyn Word, expected: u64, deadline: Option<Instant>) -> WaitOutcome {
    if !word.is(expected) {
        return WaitOutcome::NotEqual;
    }
    let mut wait = pin!(AtomicWaiting::new(word, expected));
    block::block_until(deadline, |cx| wait.as_mut().poll_outcome(cx)).unwrap_or(WaitOutcome::TimedOut)
}

macro_rules! atomic_wait {
    ($(#[$meta:meta])* $name:ident, $atomic:ident, $int:ty) => {
        $(#[$meta])*
        ///
        /// # Cancel safety
        /// **Strict.** A wake-up meant for a waiter that is dropped goes to another one that was in line then.
        ///
        /// # Memory ordering
        /// All operations on the value are sequentially consistent. What happened before a call of `wake` is
        /// visible to those whom it wakes.
        pub struct $name {
            value: $atomic,
            line: Line,
        }

        impl $name {
            const_unless_model! {
                /// An integer with this value.
                #[must_use]
                pub fn new(value: $int) -> $name {
                    $name { value: $atomic::new(value), line: Line::new() }
                }
            }

            /// The value.
            #[inline]
            pub fn load(&self) -> $int {
                // Ordering: SeqCst, here and below: so it is promised, and none of them need be the cheapest.
                self.value.load(SeqCst)
            }

            /// Sets the value. Wakes nobody: see [`wake`](Self::wake).
            #[inline]
            pub fn store(&self, value: $int) {
                self.value.store(value, SeqCst);
            }

            /// Sets the value and returns the one before.
            #[inline]
            pub fn swap(&self, value: $int) -> $int {
                self.value.swap(value, SeqCst)
            }

            /// Sets the value to `new` if it is `current`, and returns the one before.
            ///
            /// # Errors
            /// The value, when it is another.
            #[inline]
            pub fn compare_exchange(&self, current: $int, new: $int) -> Result<$int, $int> {
                self.value.compare_exchange(current, new, SeqCst, SeqCst)
            }

            /// Adds, wrapping, and returns the value before.
            #[inline]
            pub fn fetch_add(&self, value: $int) -> $int {
                self.value.fetch_add(value, SeqCst)
            }

            /// Subtracts, wrapping, and returns the value before.
            #[inline]
            pub fn fetch_sub(&self, value: $int) -> $int {
                self.value.fetch_sub(value, SeqCst)
            }

            /// Keeps the bits that are set in both, and returns the value before.
            #[inline]
            pub fn fetch_and(&self, value: $int) -> $int {
                self.value.fetch_and(value, SeqCst)
            }

            /// Sets the bits that are set in either, and returns the value before.
            #[inline]
            pub fn fetch_or(&self, value: $int) -> $int {
                self.value.fetch_or(value, SeqCst)
            }

            /// Keeps the bits that are set in one of the two, and returns the value before.
            pub fn fetch_xor(&self, value: $int) -> $int {
                match self.fetch_update(|now| Some(now ^ value)) {
                    Ok(before) | Err(before) => before,
                }
            }

            /// Replaces the value by what `f` makes of it, and returns the one before. When others change it
            /// meanwhile, `f` is called again.
            ///
            /// # Errors
            /// The value, when `f` says `None`; it stays.
            pub fn fetch_update(&self, mut f: impl FnMut($int) -> Option<$int>) -> Result<$int, $int> {
                let mut now = self.load();
                while let Some(next) = f(now) {
                    match self.value.compare_exchange_weak(now, next, SeqCst, SeqCst) {
                        Ok(before) => return Ok(before),
                        Err(other) => now = other,
                    }
                }
                Err(now)
            }

            /// Sleeps until it is woken, if the value is `expected`; otherwise comes back at once.
            ///
            /// Between the comparison and the sleep no wake-up is lost. Look at the value again afterwards, and
            /// wait again if it is not what you wait for.
            ///
            /// # Examples
            /// ```
            #[doc = concat!("# use filch_channels::sync::{", stringify!($name), ", WaitOutcome};")]
            /// # futures_lite::future::block_on(async {
            #[doc = concat!("let word = ", stringify!($name), "::new(1);")]
            /// assert_eq!(word.wait(0).await, WaitOutcome::NotEqual);
            /// let (woken, _) = futures_lite::future::zip(word.wait(1), async { word.wake_all() }).await;
            /// assert_eq!(woken, WaitOutcome::Woken);
            /// # });
            /// ```
            ///
            /// # Cancel safety
            /// **Strict.** A wake-up that it was given and has not seen goes to another that was in line then.
            /// It loses its place in line.
            #[track_caller]
            pub fn wait(&self, expected: $int) -> AtomicWaiting<'_> {
                AtomicWaiting::new(self, expected.into())
            }

            /// Blocks this thread until it is woken, if the value is `expected`.
            pub fn wait_blocking(&self, expected: $int) -> WaitOutcome {
                block(self, expected.into(), None)
            }

            /// Blocks this thread until it is woken, if the value is `expected`, but no longer than `timeout`.
            ///
            /// `Duration::MAX` means for ever. A task bounds [`wait`](Self::wait) with its runtime's timeout
            /// instead.
            pub fn wait_timeout(&self, expected: $int, timeout: Duration) -> WaitOutcome {
                block(self, expected.into(), deadline_after(timeout))
            }

            /// Blocks this thread until it is woken, if the value is `expected`, but no longer than to
            /// `deadline`.
            pub fn wait_deadline(&self, expected: $int, deadline: Instant) -> WaitOutcome {
                block(self, expected.into(), Some(deadline))
            }

            /// Wakes up to `most` of those who sleep, the ones that have slept longest, and returns how many.
            ///
            /// Change the value first: who comes to wait meanwhile finds it changed, and does not sleep.
            pub fn wake(&self, most: usize) -> usize {
                self.line.wake(most)
            }

            /// Wakes all who sleep, and returns how many.
            pub fn wake_all(&self) -> usize {
                self.line.wake(usize::MAX)
            }
        }

        impl Word for $name {
            fn is(&self, expected: u64) -> bool {
                u64::from(self.load()) == expected
            }

            fn line(&self) -> &Line {
                &self.line
            }
        }

        impl Default for $name {
            fn default() -> $name {
                $name::new(0)
            }
        }

        impl From<$int> for $name {
            fn from(value: $int) -> $name {
                $name::new(value)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                // Ordering: Relaxed: a report.
                let value = self.value.load(Relaxed);
                f.debug_struct(stringify!($name))
                    .field("value", &value)
                    .field("waiting", &self.line.queue.count_waiters())
                    .finish()
            }
        }
    };
}

atomic_wait! {
    /// A `u32` on whose change tasks and threads wait: what is a futex to threads, and `Atomics.wait` and
    /// `Atomics.notify` to JavaScript.
    ///
    /// To build other ways of waiting on. Whoever waits names the value that it has seen, and sleeps only if
    /// that is still there; whoever changes the value says how many to wake.
    ///
    /// # Examples
    /// A gate: closed while the value is 0.
    /// ```
    /// use filch_channels::sync::AtomicWait;
    ///
    /// let gate = AtomicWait::new(0);
    /// let pass = async || {
    ///     while gate.load() == 0 {
    ///         let _ = gate.wait(0).await;
    ///     }
    /// };
    /// std::thread::scope(|scope| {
    ///     scope.spawn(|| futures_lite::future::block_on(futures_lite::future::zip(pass(), pass())));
    ///     gate.store(1);
    ///     gate.wake_all();
    /// });
    /// ```
    AtomicWait, AtomicU32, u32
}

atomic_wait! {
    /// An [`AtomicWait`] of 64 bits.
    ///
    /// # Examples
    /// ```
    /// use std::time::Duration;
    /// use filch_channels::sync::{AtomicWait64, WaitOutcome};
    ///
    /// let value = AtomicWait64::new(1 << 40);
    /// assert_eq!(value.wait_timeout(7, Duration::MAX), WaitOutcome::NotEqual);
    /// assert_eq!(value.wait_timeout(1 << 40, Duration::ZERO), WaitOutcome::TimedOut);
    /// ```
    AtomicWait64, AtomicU64, u64
}

pin_project! {
    /// The future of [`AtomicWait::wait`] and [`AtomicWait64::wait`].
    ///
    /// # Panics
    /// When it is polled after it was ready.
    ///
    /// # Cancel safety
    /// **Strict.** A wake-up that it was given and has not seen goes to another that was in line then.
    #[must_use = "futures do nothing unless they are awaited"]
    pub struct AtomicWaiting<'a> {
        word: &'a dyn Word,
        expected: u64,
        began: usize,
        done: bool,
        location: &'static Location<'static>,
        #[pin]
        waiter: Waiter,
    }

    impl PinnedDrop for AtomicWaiting<'_> {
        fn drop(this: Pin<&mut Self>) {
            let this = this.project();
            if let Some(call) = this.waiter.leave() {
                this.word.line().pass_on(call);
            }
        }
    }
}

impl<'a> AtomicWaiting<'a> {
    #[track_caller]
    fn new(word: &'a dyn Word, expected: u64) -> AtomicWaiting<'a> {
        AtomicWaiting {
            word,
            expected,
            began: 0,
            done: false,
            location: Location::caller(),
            waiter: Waiter::new(),
        }
    }

    /// A budget is the caller's business.
    fn poll_outcome(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<WaitOutcome> {
        let this = self.project();
        assert!(!*this.done, "polled after it was ready");
        let (word, expected) = (*this.word, *this.expected);
        // Compared until it is in line, and not after that.
        let compares = !this.waiter.is_waiting();
        if compares {
            *this.began = word.line().began();
        }
        let differs = || (compares && !word.is(expected)).then_some(());
        let outcome = match ready!(this.waiter.poll_told(&word.line().queue, *this.began, differs, cx)) {
            Outcome::Taken(()) => WaitOutcome::NotEqual,
            Outcome::Told(_) => WaitOutcome::Woken,
        };
        *this.done = true;
        Poll::Ready(outcome)
    }
}

impl Future for AtomicWaiting<'_> {
    type Output = WaitOutcome;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<WaitOutcome> {
        ready!(probe::poll_budget(cx));
        let (word, location) = (self.word, self.location);
        if let Poll::Ready(outcome) = self.poll_outcome(cx) {
            probe::spend();
            return Poll::Ready(outcome);
        }
        probe::waiting(Wait::Notify, (&raw const *word).cast(), Some(location));
        Poll::Pending
    }
}

impl fmt::Debug for AtomicWaiting<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AtomicWaiting")
            .field("expected", &self.expected)
            .field("waiter", &self.waiter)
            .finish_non_exhaustive()
    }
}
