//! Layer 3, limit. `Throttle`: a call that is made at once, but not again for a while.
//!
//! Owns when the next call may be made; the rest is in `deferred`. Called by users.
#![forbid(unsafe_code)]

use super::deferred::Deferred;
use crate::shim::Arc;
use crate::time::{Duration, Instant};

/// Calls a function at most once in an interval: JavaScript's `throttle`.
///
/// A call is made at once, by whoever calls, if the last one was `interval` ago or longer; otherwise it is
/// dropped. With [`trailing`](Self::trailing) the last of those that were dropped is made when the interval is
/// over. The function never runs twice at the same time: a call that comes while it runs is dropped, too.
///
/// Clones are handles to the same.
///
/// # Examples
/// ```
/// use filch::limit::Throttle;
/// use filch::time::{Duration, sleep};
/// use std::sync::mpsc;
///
/// let runtime = filch::Builder::new().paused_clock(1).build()?;
/// runtime.block_on(async {
///     let (log, scrolls) = mpsc::channel();
///     let scroll = Throttle::new(Duration::from_millis(100), move |y: u32| log.send(y).unwrap());
///     for y in 0..25 {
///         scroll.call(y);
///         sleep(Duration::from_millis(10)).await;
///     }
///     assert_eq!(scrolls.try_iter().collect::<Vec<_>>(), [0, 10, 20]);
/// });
/// # Ok::<(), std::io::Error>(())
/// ```
#[derive(Debug)]
pub struct Throttle<A> {
    deferred: Arc<Deferred<A>>,
    interval: Duration,
    trailing: bool,
}

impl<A: Send + 'static> Throttle<A> {
    /// Calls `function` at most once every `interval`.
    pub fn new(interval: Duration, function: impl FnMut(A) + Send + 'static) -> Throttle<A> {
        Throttle { deferred: Deferred::new(interval, function), interval, trailing: false }
    }

    /// Keeps the last call that was too early, and makes it when the interval is over, in a task.
    ///
    /// So the function always sees the last arguments in the end. Then an interval begins anew.
    ///
    /// # Examples
    /// ```
    /// use filch::limit::Throttle;
    /// use filch::time::{Duration, sleep};
    /// use std::sync::mpsc;
    ///
    /// let runtime = filch::Builder::new().paused_clock(1).build()?;
    /// runtime.block_on(async {
    ///     let (log, drawn) = mpsc::channel();
    ///     let draw = Throttle::new(Duration::from_millis(16), move |n| log.send(n).unwrap()).trailing();
    ///     assert!(draw.call(1));
    ///     assert!(!draw.call(2));
    ///     assert!(!draw.call(3));
    ///     sleep(Duration::from_secs(1)).await;
    ///     assert_eq!(drawn.try_iter().collect::<Vec<_>>(), [1, 3]);
    /// });
    /// # Ok::<(), std::io::Error>(())
    /// ```
    #[must_use]
    pub fn trailing(mut self) -> Throttle<A> {
        self.trailing = true;
        self
    }

    /// Calls the function now, unless it is too early: then it returns false.
    ///
    /// # Panics
    /// When the function does. With [`trailing`](Self::trailing), also outside of a runtime, when the call has
    /// to wait.
    #[track_caller]
    pub fn call(&self, arguments: A) -> bool {
        let now = Instant::now();
        let function = self.deferred.try_function();
        let mut arguments = Some(arguments);
        let (is_time, replaced) = self.deferred.change(|due| {
            if function.is_some() && due.at <= now {
                due.at = now + self.interval;
                return (true, due.arguments.take());
            }
            if self.trailing {
                std::mem::swap(&mut due.arguments, &mut arguments);
            }
            (false, None)
        });
        drop(replaced);
        match (function, arguments) {
            (Some(mut function), Some(arguments)) if is_time => {
                (*function)(arguments);
                true
            }
            // What was replaced, or came too early, is dropped.
            _ => false,
        }
    }

    /// Takes back the call that is to be made at the end of the interval, and returns its arguments.
    pub fn cancel(&self) -> Option<A> {
        self.deferred.cancel()
    }

    /// Whether a call is to be made at the end of the interval.
    #[must_use]
    pub fn is_pending(&self) -> bool {
        self.deferred.is_pending()
    }
}

impl<A> Clone for Throttle<A> {
    fn clone(&self) -> Throttle<A> {
        Throttle { deferred: self.deferred.clone(), interval: self.interval, trailing: self.trailing }
    }
}
