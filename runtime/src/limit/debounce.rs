//! Layer 3, limit. `Debounce`: a call that is made when no other has come for a while.
//!
//! Owns when a call is due; the rest is in `deferred`. Called by users, inside a runtime.
#![forbid(unsafe_code)]

use super::deferred::Deferred;
use crate::shim::Arc;
use crate::time::{Duration, Instant};

/// Calls a function with the last arguments, when there was no call for a while: JavaScript's `debounce`.
///
/// A call does nothing at once. It replaces the arguments of the one before, and starts the delay anew; when
/// that is over, the function is called, in a task of its own and never twice at the same time. What should
/// not block a worker, or is async, the function spawns.
///
/// Clones are handles to the same. A call that is due is made though all of them are dropped; it is not if the
/// runtime ends before. A panic in the function goes to the runtime's panic policy, and the next call is made
/// as usual.
///
/// # Examples
/// ```
/// use filch::limit::Debounce;
/// use filch::time::{Duration, sleep};
/// use std::sync::mpsc;
///
/// let runtime = filch::Builder::new().paused_clock(1).build()?;
/// runtime.block_on(async {
///     let (log, searches) = mpsc::channel();
///     let search = Debounce::new(Duration::from_millis(300), move |query: &str| log.send(query).unwrap());
///     for query in ["f", "fi", "fil"] {
///         search.call(query);
///         sleep(Duration::from_millis(100)).await;
///     }
///     sleep(Duration::from_millis(250)).await;
///     assert_eq!(searches.try_iter().collect::<Vec<_>>(), ["fil"]);
/// });
/// # Ok::<(), std::io::Error>(())
/// ```
#[derive(Debug)]
pub struct Debounce<A> {
    deferred: Arc<Deferred<A>>,
    delay: Duration,
    wait_max: Option<Duration>,
}

impl<A: Send + 'static> Debounce<A> {
    /// Calls `function` when there was no call for `delay`.
    pub fn new(delay: Duration, function: impl FnMut(A) + Send + 'static) -> Debounce<A> {
        Debounce { deferred: Deferred::new(Duration::ZERO, function), delay, wait_max: None }
    }

    /// Makes no call wait for longer than `limit`, though others keep coming.
    ///
    /// # Examples
    /// ```
    /// use filch::limit::Debounce;
    /// use filch::time::{Duration, sleep};
    /// use std::sync::mpsc;
    ///
    /// let runtime = filch::Builder::new().paused_clock(1).build()?;
    /// runtime.block_on(async {
    ///     let (log, saves) = mpsc::channel();
    ///     let ms = Duration::from_millis;
    ///     let save = Debounce::new(ms(30), move |n| log.send(n).unwrap()).max_wait(ms(100));
    ///     for n in 0..25 {
    ///         save.call(n);
    ///         sleep(ms(10)).await;
    ///     }
    ///     assert_eq!(saves.try_iter().count(), 2);
    /// });
    /// # Ok::<(), std::io::Error>(())
    /// ```
    #[must_use]
    pub fn max_wait(mut self, limit: Duration) -> Debounce<A> {
        self.wait_max = Some(limit);
        self
    }

    /// Asks for the function to be called with these arguments, instead of those of the call before.
    ///
    /// # Panics
    /// Outside of a runtime, unless a call is due already. A thread that is none of a runtime's enters it:
    /// [`Handle::enter`](crate::Handle::enter).
    #[track_caller]
    pub fn call(&self, arguments: A) {
        let now = Instant::now();
        let replaced = self.deferred.change(|due| {
            let replaced = due.arguments.replace(arguments);
            if replaced.is_none() {
                due.since = now;
            }
            let quiet = now + self.delay;
            due.at = self.wait_max.map_or(quiet, |limit| quiet.min(due.since + limit));
            replaced
        });
        drop(replaced);
    }

    /// Makes the call that is due now, here; false if none is.
    ///
    /// If the function runs at the moment, it waits for that.
    ///
    /// # Cancel safety
    /// **Strict.** The call is made by the poll that is ready, or stays due.
    pub async fn flush(&self) -> bool {
        self.deferred.call(|due| due.arguments.take()).await
    }

    /// Takes back the call that is due, and returns its arguments.
    pub fn cancel(&self) -> Option<A> {
        self.deferred.cancel()
    }

    /// Whether a call is due.
    #[must_use]
    pub fn is_pending(&self) -> bool {
        self.deferred.is_pending()
    }
}

impl<A> Clone for Debounce<A> {
    fn clone(&self) -> Debounce<A> {
        Debounce { deferred: self.deferred.clone(), delay: self.delay, wait_max: self.wait_max }
    }
}
