//! Layer 3, limit. A function that is called later, with the last arguments there are by then.
//!
//! Owns what `Debounce` and `Throttle` have in common: the function, which runs once at a time, the arguments
//! that are due, and the task that waits for them. There is a task only while something is due, and one at
//! most. The function runs under a lock of its own and no other. Called by `debounce` and `throttle`.
#![forbid(unsafe_code)]

use std::fmt;

use filch_channels::sync::{Lock, LockGuard};

use crate::shim::{Arc, Mutex};
use crate::time::{Duration, Instant, sleep_until};

pub(super) type Function<A> = Box<dyn FnMut(A) + Send>;

pub(super) struct Deferred<A> {
    function: Lock<Function<A>>,
    /// How long after a call that the task made there may be no other.
    gap: Duration,
    due: Mutex<Due<A>>,
}

/// What is to be done, and when.
pub(super) struct Due<A> {
    pub(super) arguments: Option<A>,
    /// When they are due; without arguments, when the next ones may be.
    pub(super) at: Instant,
    /// When the first of those arguments came that others have replaced since.
    pub(super) since: Instant,
    has_task: bool,
}

impl<A: Send + 'static> Deferred<A> {
    pub(super) fn new(gap: Duration, function: impl FnMut(A) + Send + 'static) -> Arc<Deferred<A>> {
        let now = Instant::now();
        let due = Due { arguments: None, at: now, since: now, has_task: false };
        Arc::new(Deferred { function: Lock::new(Box::new(function)), gap, due: Mutex::new(due) })
    }

    /// Changes what is due, and sees to it that there is a task if anything is. What `change` returns, old
    /// arguments above all, is dropped by the caller, after the lock.
    #[track_caller]
    pub(super) fn change<T>(self: &Arc<Self>, change: impl FnOnce(&mut Due<A>) -> T) -> T {
        let mut due = self.due.lock();
        let changed = change(&mut due);
        let needs_task = due.arguments.is_some() && !due.has_task;
        due.has_task |= needs_task;
        drop(due);
        if needs_task {
            let task = Task { deferred: self.clone(), is_over: false };
            drop(crate::spawn(task.run()));
        }
        changed
    }

    /// The function, if it does not run.
    pub(super) fn try_function(&self) -> Option<LockGuard<'_, Function<A>>> {
        self.function.try_lock().ok()
    }

    /// Calls it with the arguments that `due` says; false if it says none.
    pub(super) async fn call(&self, due: impl FnOnce(&mut Due<A>) -> Option<A>) -> bool {
        let mut function = self.function.lock().await;
        let arguments = due(&mut self.due.lock());
        match arguments {
            Some(arguments) => {
                (*function)(arguments);
                true
            }
            None => false,
        }
    }

    pub(super) fn is_pending(&self) -> bool {
        self.due.lock().arguments.is_some()
    }

    /// Takes away what is due.
    pub(super) fn cancel(&self) -> Option<A> {
        self.due.lock().arguments.take()
    }
}

impl<A> fmt::Debug for Deferred<A> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let due = self.due.lock();
        f.debug_struct("Deferred").field("pending", &due.arguments.is_some()).field("at", &due.at).finish()
    }
}

/// The one task that waits. If it ends before its time, with the runtime or by a panic of the function, the
/// next call starts another.
struct Task<A> {
    deferred: Arc<Deferred<A>>,
    is_over: bool,
}

impl<A: Send + 'static> Task<A> {
    async fn run(mut self) {
        while let Some(at) = self.next() {
            sleep_until(at).await;
            let gap = self.deferred.gap;
            let if_due = |due: &mut Due<A>| {
                let now = Instant::now();
                // It may be due later by now, or have been done.
                if due.arguments.is_none() || now < due.at {
                    return None;
                }
                due.at = now + gap;
                due.arguments.take()
            };
            self.deferred.call(if_due).await;
        }
    }

    /// When to look again; `None` when there is nothing to be done, and the task ends.
    fn next(&mut self) -> Option<Instant> {
        let mut due = self.deferred.due.lock();
        if due.arguments.is_none() {
            due.has_task = false;
            self.is_over = true;
            return None;
        }
        Some(due.at)
    }
}

impl<A> Drop for Task<A> {
    fn drop(&mut self) {
        if !self.is_over {
            self.deferred.due.lock().has_task = false;
        }
    }
}
