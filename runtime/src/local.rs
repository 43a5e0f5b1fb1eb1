//! Layer 4. Tasks that are not `Send`: they stay on the thread that spawned them.
//!
//! Owns a queue of local tasks, run inside one future ([`LocalSet::run_until`]), in the order in which they became ready. Wakes
//! come from any thread; polls and drops happen on the set's own. The single-threaded flavour has one around each root.

use std::cell::Cell;
use std::collections::VecDeque;
use std::fmt;
use std::future::Future;
use std::marker::PhantomData;
use std::panic::Location;
use std::pin::{Pin, pin};
use std::ptr;
use std::task::{Context, Poll, Waker};

use filch_channels::probe;

use crate::context;
use crate::scheduler::shared::next_id;
use crate::shim::{Arc, Mutex};
use crate::task::{self, Birth, JoinHandle, PanicHook, Ran, Runnable, Schedule, TaskList};

/// How many local tasks are run before the other tasks of the runtime have their turn.
const POLLS_MAX: usize = 61;

context::local_pointer! {
    /// The set that is being run on this thread.
    static CURRENT: Shared
}

/// A set of tasks that need not be `Send`.
///
/// They run while [`run_until`](Self::run_until) is polled, and are cancelled when the set is dropped. Not rescued from a thread
/// that is stuck: they cannot leave it.
///
/// # Examples
/// ```
/// use std::rc::Rc;
///
/// filch::run(async {
///     let local = filch::task::LocalSet::new();
///     let sum = local.run_until(async {
///         let shared = Rc::new(20);
///         let other = shared.clone();
///         let handle = filch::spawn_local(async move { *other + 1 });
///         *shared + handle.await.unwrap()
///     });
///     assert_eq!(sum.await, 41);
/// });
/// ```
pub struct LocalSet {
    shared: Arc<Shared>,
    _not_send: PhantomData<*const ()>,
}

/// Reached by wakers from any thread; kept alive by a leak if a task of it is not done, see the drop.
pub(crate) struct Shared {
    queue: Mutex<Queue>,
    /// Touched on the set's own thread only, but for its lock.
    tasks: Mutex<TaskList>,
    panic_hook: PanicHook,
}

#[derive(Default)]
struct Queue {
    ready: VecDeque<Runnable>,
    /// Whoever polls the set.
    waker: Option<Waker>,
}

// SAFETY: `Shared` is never freed while a task of it is not done: the drop of `LocalSet` ends them all on this thread.
unsafe impl Schedule for Shared {
    fn schedule(&self, runnable: Runnable) {
        let waker = {
            let mut queue = self.queue.lock();
            queue.ready.push_back(runnable);
            queue.waker.take()
        };
        waker.into_iter().for_each(Waker::wake);
    }

    fn panic_hook(&self) -> PanicHook {
        self.panic_hook.clone()
    }
}
