//! Layer 3, time. A future that is ready at a deadline; `timeout` and `interval` are built on it.
//!
//! Owns when a timer is armed: at the first poll that finds the deadline ahead, so that a sleep which is
//! never polled, or a time limit which is never needed, touches no shared memory. Armed at the shard of the
//! worker that polled first; from there on it may be polled, reset and dropped on any thread.
#![forbid(unsafe_code)]

use std::fmt;
use std::future::Future;
use std::panic::Location;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use filch_channels::probe::{self, Wait};

use crate::context;
use crate::driver::timers::{TimerKey, TimerShard};
use crate::shim::Arc;
use crate::time::{Duration, Instant};

/// Waits until `duration` has passed.
///
/// The time counts from this call, not from the first poll. A duration of zero is over at once: the future is
/// ready at its first poll, without a yield (unless the task's budget is spent; use
/// [`yield_now`](crate::yield_now) to let others run). [`Duration::MAX`], or any other beyond 584 years,
/// never ends.
///
/// # Examples
/// ```
/// use filch::time::{Duration, Instant, sleep};
///
/// filch::run(async {
///     let start = Instant::now();
///     sleep(Duration::from_millis(2)).await;
///     assert!(start.elapsed() >= Duration::from_millis(2));
/// });
/// ```
///
/// # Panics
/// When it is polled outside of a runtime.
///
/// # Cancel safety
/// **Strict.** Dropping it disarms the timer at once; its memory is used again.
#[track_caller]
pub fn sleep(duration: Duration) -> Sleep {
    Sleep::until(Instant::now() + duration)
}

/// Waits until `deadline`.
///
/// A deadline that has passed is over at once, as in [`sleep()`].
///
/// # Panics
/// When it is polled outside of a runtime.
///
/// # Cancel safety
/// **Strict.** Dropping it disarms the timer at once; its memory is used again.
#[track_caller]
pub fn sleep_until(deadline: Instant) -> Sleep {
    Sleep::until(deadline)
}

/// The future of [`sleep()`] and [`sleep_until`].
///
/// It may be moved, also between polls and to other tasks: it wakes the task that polled it last.
#[must_use = "futures do nothing unless they are awaited"]
pub struct Sleep {
    state: State,
    /// Who waits, for reports.
    location: &'static Location<'static>,
}

enum State {
    /// No timer is armed: not polled yet, or over.
    Idle(Instant),
    /// The timer has a place in a shard, whether it fired or not.
    Armed { shard: Arc<TimerShard>, ticks: u64, key: TimerKey },
}

impl Sleep {
    #[track_caller]
    pub(super) fn until(deadline: Instant) -> Sleep {
        Sleep { state: State::Idle(deadline), location: Location::caller() }
    }

    /// When it ends. Once it waits, an end that is more than 584 years away reads as 584 years.
    #[must_use]
    pub fn deadline(&self) -> Instant {
        match &self.state {
            State::Idle(deadline) => *deadline,
            State::Armed { shard, ticks, .. } => shard.clock().instant(*ticks).into(),
        }
    }

    /// Whether the deadline has passed, be it seen by a poll or not.
    #[must_use]
    pub fn is_elapsed(&self) -> bool {
        match &self.state {
            State::Idle(deadline) => *deadline <= Instant::now(),
            State::Armed { shard, ticks, .. } => *ticks <= shard.clock().now(),
        }
    }

    /// Moves the deadline, to earlier or later, whether the sleep is over or not.
    ///
    /// A task that waits for it is woken at the new deadline, without a poll in between. A pinned sleep may
    /// be reset too (`sleep.as_mut().reset(..)`): it is [`Unpin`].
    ///
    /// # Examples
    /// ```
    /// use filch::time::{Duration, Instant, sleep};
    ///
    /// filch::run(async {
    ///     let mut idle = sleep(Duration::from_secs(60));
    ///     idle.reset(Instant::now() + Duration::from_millis(1));
    ///     (&mut idle).await;
    ///     assert!(idle.is_elapsed());
    /// });
    /// ```
    pub fn reset(&mut self, deadline: Instant) {
        if let State::Armed { shard, ticks, key } = &mut self.state {
            let to = shard.clock().ticks(deadline);
            if shard.reset(key, to) {
                *ticks = to;
                return;
            }
        }
        self.disarm(deadline);
    }

    /// Polls without regard to the budget. `quiet` leaves what the task is said to wait for as it is.
    #[track_caller]
    pub(crate) fn poll_deadline(&mut self, cx: &mut Context<'_>, quiet: bool) -> Poll<()> {
        if let State::Armed { shard, ticks, key } = &self.state {
            let is_over = *ticks <= shard.clock().now();
            if !is_over && shard.update_waker(key, cx.waker()) {
                self.report(quiet);
                return Poll::Pending;
            }
            // It fired, be it since we read the clock. Or its shard gave up all timers before their time,
            // with its runtime: then we must look for another.
            self.disarm(self.deadline());
        }
        self.arm(cx, quiet)
    }

    /// Ready if the deadline has passed; otherwise arms a timer. None is armed yet.
    #[track_caller]
    fn arm(&mut self, cx: &mut Context<'_>, quiet: bool) -> Poll<()> {
        let shard = match context::timers() {
            Ok(shard) => shard,
            Err(error) => panic!("{error} (the sleep was made at {})", self.location),
        };
        let deadline = self.deadline();
        let ticks = shard.clock().ticks(deadline);
        if ticks <= shard.clock().now() {
            return Poll::Ready(());
        }
        let key = shard.insert(ticks, cx.waker().clone());
        self.state = State::Armed { shard, ticks, key };
        self.report(quiet);
        Poll::Pending
    }

    /// Gives back the timer, if there is one.
    fn disarm(&mut self, deadline: Instant) {
        if let State::Armed { shard, key, .. } = std::mem::replace(&mut self.state, State::Idle(deadline)) {
            shard.cancel(key);
        }
    }

    fn report(&self, quiet: bool) {
        if !quiet {
            probe::waiting(Wait::Timer, std::ptr::null(), Some(self.location));
        }
    }
}

impl Future for Sleep {
    type Output = ();

    #[track_caller]
    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        ready!(probe::poll_budget(cx));
        ready!(self.poll_deadline(cx, false));
        probe::spend();
        Poll::Ready(())
    }
}

impl Drop for Sleep {
    fn drop(&mut self) {
        self.disarm(self.deadline());
    }
}

impl fmt::Debug for Sleep {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sleep").field("deadline", &self.deadline()).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn is_movable<T: Unpin + Send + Sync>() {}

    #[test]
    fn is_small_and_may_be_moved() {
        is_movable::<Sleep>();
        if !cfg!(filch_loom) {
            assert!(size_of::<Sleep>() <= 32, "{}", size_of::<Sleep>());
        }
    }

    #[test]
    fn knows_its_deadline_without_a_runtime() {
        let now = Instant::now();
        let mut sleep = sleep_until(now);
        assert!(sleep.is_elapsed());
        sleep.reset(now + Duration::MAX);
        assert!(!sleep.is_elapsed());
        assert_eq!(sleep.deadline(), now + Duration::MAX);
    }

    #[test]
    #[should_panic(expected = "no filch runtime on this thread")]
    fn panics_outside_of_a_runtime() {
        let mut sleep = sleep(Duration::from_secs(1));
        let _ = Pin::new(&mut sleep).poll(&mut Context::from_waker(std::task::Waker::noop()));
    }
}
