//! Layer 4. Tasks that are not `Send`: they stay on the thread that spawned them.
//!
//! Owns a queue of local tasks, run inside one future ([`LocalSet::run_until`]), in the order in which they
//! became ready. Wakes come from any thread; polls and drops happen on the set's own. The single-threaded
//! flavour has one around each root.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::fmt;
use std::future::Future;
use std::marker::PhantomData;
use std::panic::Location;
use std::pin::pin;
use std::sync::Weak;
use std::task::{Poll, Waker};

use filch_channels::probe;

use crate::context;
use crate::scheduler::shared::next_id;
use crate::shim::{Arc, Mutex};
use crate::task::{self, Birth, JoinHandle, PanicHook, Ran, Runnable, Schedule, TaskList};
use crate::util::wake::guarded;

/// How many local tasks are run before the other tasks of the runtime have their turn.
const POLLS_MAX: usize = 61;

thread_local! {
    /// The set that is being run on this thread.
    static CURRENT: RefCell<Option<Arc<Shared>>> = const { RefCell::new(None) };
}

/// A set of tasks that need not be `Send`.
///
/// They run while [`run_until`](Self::run_until) is polled, and are cancelled when the set is dropped. Not
/// rescued from a thread that is stuck: they cannot leave it.
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

/// Reached by wakers from any thread.
struct Shared {
    queue: Mutex<Queue>,
    tasks: Mutex<TaskList>,
    panic_hook: PanicHook,
    me: Weak<Shared>,
}

#[derive(Default)]
struct Queue {
    ready: VecDeque<Runnable>,
    /// Whoever polls the set.
    waker: Option<Waker>,
}

// SAFETY: the drop of `LocalSet` does not return before all its tasks are done.
unsafe impl Schedule for Shared {
    fn schedule(&self, runnable: Runnable) {
        // Once it is queued, the task may end, and the set with it: keep the set until we have told.
        let keep = self.me.upgrade().expect("a set outlives its tasks");
        let waker = {
            let mut queue = keep.queue.lock();
            queue.ready.push_back(runnable);
            queue.waker.take()
        };
        // Guarded: the drop of the set comes by here, and must not unwind while it has tasks.
        if let Some(waker) = waker {
            guarded("the waker of a LocalSet", || waker.wake());
        }
    }

    fn panic_hook(&self) -> PanicHook {
        self.panic_hook.clone()
    }
}

impl Shared {
    /// Leaves the waker of whoever polls the set. No foreign code runs under the lock.
    fn set_waker(&self, waker: &Waker) {
        let new = waker.clone();
        let old = self.queue.lock().waker.replace(new);
        drop(old);
    }

    fn pop(&self) -> Option<Runnable> {
        self.queue.lock().ready.pop_front()
    }

    /// Runs some of what is ready. True: there is more.
    fn run_some(&self) -> bool {
        for _ in 0..POLLS_MAX {
            let Some(runnable) = self.pop() else { return false };
            match runnable.run() {
                Ran::Idle => {}
                Ran::Again(runnable) => self.queue.lock().ready.push_back(runnable),
                Ran::Done(done) => {
                    self.tasks.lock().remove(&done);
                    done.release();
                }
            }
        }
        !self.queue.lock().ready.is_empty()
    }

    fn spawn<F>(
        &self,
        future: F,
        name: Option<Box<str>>,
        location: &'static Location<'static>,
    ) -> JoinHandle<F::Output>
    where
        F: Future + 'static,
        F::Output: 'static,
    {
        let birth = Birth { id: next_id(), parent: probe::current_id(), location, name, list: 0 };
        // SAFETY: the set outlives its tasks, and runs and cancels them on its own thread, which is this one.
        let (runnable, handle) = unsafe { task::new(future, self, birth) };
        let taken = self.tasks.lock().push(&runnable);
        if taken {
            self.schedule(runnable);
        } else {
            runnable.cancel(None).release();
        }
        handle
    }
}

impl Default for LocalSet {
    fn default() -> LocalSet {
        LocalSet::new()
    }
}

impl LocalSet {
    /// An empty set.
    pub fn new() -> LocalSet {
        let panic_hook = match context::scheduler() {
            Ok(scheduler) => scheduler.panic_hook(),
            Err(_) => Arc::new(|panic: &task::TaskPanic| eprintln!("filch: {panic} (nobody joined it)")),
        };
        let shared = Arc::new_cyclic(|me| Shared {
            queue: Mutex::default(),
            tasks: Mutex::default(),
            panic_hook,
            me: me.clone(),
        });
        LocalSet { shared, _not_send: PhantomData }
    }

    /// Puts a task into the set, from outside of it. It runs when the set does.
    #[track_caller]
    pub fn spawn_local<F>(&self, future: F) -> JoinHandle<F::Output>
    where
        F: Future + 'static,
        F::Output: 'static,
    {
        self.shared.spawn(future, None, Location::caller())
    }

    /// Runs `future`, and the set's tasks with it, until `future` is ready. The tasks that are left stay in
    /// the set.
    ///
    /// # Cancel safety
    /// **Strict.** The set can be run again.
    pub async fn run_until<F: Future>(&self, future: F) -> F::Output {
        run_in(&self.shared, future).await
    }

    /// Runs the set until all its tasks are done.
    pub async fn run_all(&self) {
        std::future::poll_fn(|cx| {
            let _here = Here::enter(&self.shared);
            self.shared.set_waker(cx.waker());
            if self.shared.run_some() {
                cx.waker().wake_by_ref();
            } else if self.shared.tasks.lock().len() == 0 {
                return Poll::Ready(());
            }
            Poll::Pending
        })
        .await;
    }
}

async fn run_in<F: Future>(shared: &Arc<Shared>, future: F) -> F::Output {
    let mut future = pin!(future);
    std::future::poll_fn(|cx| {
        let _here = Here::enter(shared);
        shared.set_waker(cx.waker());
        // Whom the wake was for is not known: the root is polled each time.
        if let Poll::Ready(output) = future.as_mut().poll(cx) {
            return Poll::Ready(output);
        }
        if shared.run_some() {
            cx.waker().wake_by_ref();
        }
        Poll::Pending
    })
    .await
}

/// Runs the root of a single-threaded runtime: in a set of its own, or, inside another root, in the set of
/// that one, whose tasks go on.
pub(crate) async fn run_root<F: Future>(future: F) -> F::Output {
    let Some(shared) = CURRENT.with_borrow(Option::clone) else {
        return LocalSet::new().run_until(future).await;
    };
    let waker = shared.queue.lock().waker.take();
    let outer = Outer { waker, shared };
    run_in(&outer.shared, future).await
}

/// Gives the set back to whoever runs it outside.
struct Outer {
    shared: Arc<Shared>,
    /// `None`: it was woken, and will look.
    waker: Option<Waker>,
}

impl Drop for Outer {
    fn drop(&mut self) {
        let outer = self.waker.take();
        let (inner, is_ready) = {
            let mut queue = self.shared.queue.lock();
            (std::mem::replace(&mut queue.waker, outer), !queue.ready.is_empty())
        };
        drop(inner);
        if is_ready {
            let outer = self.shared.queue.lock().waker.take();
            outer.into_iter().for_each(Waker::wake);
        }
    }
}

impl Drop for LocalSet {
    fn drop(&mut self) {
        let _here = Here::enter(&self.shared);
        let tasks = self.shared.tasks.lock().close();
        tasks.iter().for_each(task::Task::abort);
        drop(tasks);
        while self.shared.tasks.lock().len() > 0 {
            match self.shared.pop() {
                Some(runnable) => {
                    let done = runnable.cancel(None);
                    self.shared.tasks.lock().remove(&done);
                    done.release();
                }
                // A waker on another thread has made the `Runnable` and is about to bring it.
                None => crate::shim::thread::yield_now(),
            }
        }
    }
}

/// Makes a set the current one of this thread.
struct Here(Option<Arc<Shared>>);

impl Here {
    fn enter(shared: &Arc<Shared>) -> Here {
        // A set may be dropped by a thread that is being torn down.
        Here(CURRENT.try_with(|current| current.replace(Some(shared.clone()))).ok().flatten())
    }
}

impl Drop for Here {
    fn drop(&mut self) {
        let _ = CURRENT.try_with(|current| current.replace(self.0.take()));
    }
}

/// Starts a task that need not be `Send`, on this thread: in the [`LocalSet`] that is being run, or in the
/// single-threaded flavour, where it lives until the `block_on` that it was spawned in returns.
///
/// # Panics
/// When there is neither.
#[track_caller]
pub fn spawn_local<F>(future: F) -> JoinHandle<F::Output>
where
    F: Future + 'static,
    F::Output: 'static,
{
    spawn_local_named(future, None, Location::caller())
}

#[track_caller]
pub(crate) fn spawn_local_named<F>(
    future: F,
    name: Option<Box<str>>,
    location: &'static Location<'static>,
) -> JoinHandle<F::Output>
where
    F: Future + 'static,
    F::Output: 'static,
{
    let Some(shared) = CURRENT.try_with(|current| current.borrow().clone()).ok().flatten() else {
        panic!(
            "spawn_local outside of a LocalSet: call it inside `LocalSet::run_until`, or build the runtime with \
             `Builder::single_thread()`"
        );
    };
    shared.spawn(future, name, location)
}

impl fmt::Debug for LocalSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LocalSet").field("tasks", &self.shared.tasks.lock().len()).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
