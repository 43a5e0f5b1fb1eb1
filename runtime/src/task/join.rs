//! Layer 1, task. The claim on a task's output: `JoinHandle`, and its lesser kin `AbortHandle`.
//!
//! Owns nothing but a reference and, through the state word, the join waker slot. The protocol of the slot is
//! in `state`. Called by user code on any thread.

use std::fmt;
use std::future::Future;
use std::marker::PhantomData;
use std::pin::Pin;
use std::ptr::NonNull;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use filch_channels::probe::{self, Wait};

use super::cell::discard;
use super::error::JoinError;
use super::raw::{Task, TaskPtr};
use crate::util::block;
use crate::util::wake::guarded;

/// The claim on the output of a spawned task: a future of `Result<T, JoinError>`.
///
/// Dropping it detaches the task, which goes on by itself. A panic of the task becomes a [`JoinError`]; one
/// whose handle is dropped before anybody looked goes to the runtime's panic policy.
///
/// # Examples
/// ```
/// filch::run(async {
///     let handle = filch::spawn(async { 6 * 7 });
///     assert_eq!(handle.await.unwrap(), 42);
///
///     let handle = filch::spawn(std::future::pending::<()>());
///     handle.abort();
///     assert!(handle.await.unwrap_err().is_cancelled());
/// });
/// ```
///
/// # Panics
/// When it is polled again after it was ready.
///
/// # Cancel safety
/// **Strict.** The output is taken only by the poll that returns it.
pub struct JoinHandle<T> {
    /// The task. The lowest bit is set once the output was taken: a header is aligned to more than that.
    tagged: NonNull<()>,
    _output: PhantomData<T>,
}

// SAFETY: the handle moves the output, and no more, to another thread; of the task it touches what is `Sync`.
unsafe impl<T: Send> Send for JoinHandle<T> {}
// SAFETY: `&JoinHandle` gives no access to the output, but for `on_done`, whose callback gets `&T` on the
// thread that completes the task or, when it is done, on the calling one: hence `on_done` asks for `T: Sync`.
unsafe impl<T: Send> Sync for JoinHandle<T> {}

impl<T> Unpin for JoinHandle<T> {}

impl<T> JoinHandle<T> {
    /// Takes over the handle's reference and interest of a new task with output `T`.
    #[inline]
    pub(super) fn new(task: TaskPtr) -> JoinHandle<T> {
        JoinHandle { tagged: task.cast(), _output: PhantomData }
    }

    fn task(&self) -> TaskPtr {
        let untagged = self.tagged.as_ptr().map_addr(|address| address & !1);
        // SAFETY: `new` got it so, and the handle's reference keeps the task.
        unsafe { TaskPtr::from_raw(untagged) }
    }

    fn is_taken(&self) -> bool {
        self.tagged.addr().get() & 1 == 1
    }

    /// The output of a task that is done.
    fn take(&mut self) -> Result<T, JoinError> {
        debug_assert!(self.is_finished());
        assert!(!self.is_taken(), "a JoinHandle was polled again after it had been ready");
        self.tagged = self.tagged.map_addr(|address| address | 1);
        // SAFETY: done, with interest, and not taken before: the output is ours; it is of type `T`, as `new`
        // says.
        unsafe { self.task().take_output() }
    }

    /// Leaves `waker` to be woken at the end. False: the task is done.
    fn register(&self, waker: &Waker) -> bool {
        let task = self.task();
        if task.state.has_join_waker() && !task.state.clear_join_waker() {
            return false;
        }
        task.join_waker.with_mut(|slot| {
            // SAFETY: JOIN_WAKER is clear, so the slot is the handle's alone, and `&self` is not shared: only
            // `poll` (which has `&mut`) calls this.
            let slot = unsafe { &mut *slot };
            if !slot.as_ref().is_some_and(|there| there.will_wake(waker)) {
                *slot = Some(waker.clone());
            }
        });
        task.state.set_join_waker()
    }

    /// Asks for the task's end.
    ///
    /// The future is dropped at the task's next turn, on a thread of the runtime, and the handle then gives
    /// an error for which [`JoinError::is_cancelled`] is true. A task that is done already, or completes in
    /// the poll under way, keeps its output. Works on any thread, more than once, and after the runtime has
    /// gone.
    pub fn abort(&self) {
        Task::new(self.task()).abort();
    }

    /// A handle that can only abort, and be cloned and kept apart from this one.
    pub fn abort_handle(&self) -> AbortHandle {
        AbortHandle(Task::new(self.task()))
    }

    /// Whether the task is done: it has an output, panicked, or was cancelled.
    pub fn is_finished(&self) -> bool {
        self.task().state.is_done()
    }

    /// The task's id; no other task of this process has the same.
    pub fn id(&self) -> super::Id {
        super::Id(self.task().probe.id())
    }

    /// Blocks the calling thread until the task is done.
    ///
    /// For threads that run no tasks. In a task it blocks a worker; the runtime then puts a substitute in its
    /// place.
    ///
    /// # Errors
    /// [`JoinError`] when the task panicked or was cancelled.
    pub fn join_blocking(mut self) -> Result<T, JoinError> {
        block::on(&mut self, None).expect("waits without a limit")
    }

    /// Blocks the calling thread until the task is done or `timeout` is over. The handle stays usable after
    /// `None`.
    ///
    /// # Examples
    /// ```
    /// use std::time::Duration;
    ///
    /// let runtime = filch::Builder::new().build()?;
    /// let (open, opened) = filch::channel::oneshot::channel();
    /// let mut handle = runtime.spawn(async { opened.await.unwrap() });
    /// assert!(handle.join_timeout(Duration::from_millis(1)).is_none());
    /// open.send(5).unwrap();
    /// assert_eq!(handle.join_blocking().unwrap(), 5);
    /// # Ok::<(), std::io::Error>(())
    /// ```
    ///
    /// # Errors
    /// The inner result is a [`JoinError`] when the task panicked or was cancelled.
    pub fn join_timeout(&mut self, timeout: Duration) -> Option<Result<T, JoinError>> {
        block::on(self, Some(timeout))
    }

    /// Calls `callback` with the result when the task is done: on the thread that completes it, before the
    /// handle is woken, or right here when it is done already. Any number of them, called in the order they
    /// were given.
    ///
    /// A panic of the callback is caught and printed.
    ///
    /// # Examples
    /// ```
    /// # filch::run(async {
    /// let (tell, told) = std::sync::mpsc::channel();
    /// let handle = filch::spawn(async { 6 * 7 });
    /// handle.on_done(move |result| tell.send(*result.as_ref().unwrap()).unwrap());
    /// assert_eq!(handle.await.unwrap(), 42);
    /// assert_eq!(told.try_recv(), Ok(42));
    /// # });
    /// ```
    ///
    /// # Panics
    /// When the output has been taken already.
    pub fn on_done(&self, callback: impl FnOnce(&Result<T, JoinError>) + Send + 'static)
    where
        T: Sync + 'static,
    {
        assert!(!self.is_taken(), "on_done after the output was taken");
        let task = self.task();
        task.push_callback(Box::new(|output| {
            callback(output.downcast_ref().expect("one task has one type of output"));
        }));
        if !task.state.set_callbacks() {
            // SAFETY: done; the output stays in its place while we are here, for only `&mut self` takes it.
            unsafe { (task.table.call_back)(task) };
        }
    }
}

impl<T> Future for JoinHandle<T> {
    type Output = Result<T, JoinError>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        if !self.is_finished() && self.register(cx.waker()) {
            probe::waiting(Wait::Join, self.task().probe.id() as *const (), None);
            return Poll::Pending;
        }
        std::task::ready!(probe::poll_budget(cx));
        probe::spend();
        Poll::Ready(self.take())
    }
}

impl<T> Drop for JoinHandle<T> {
    fn drop(&mut self) {
        let task = self.task();
        if !self.is_taken() {
            if task.state.has_join_waker() && task.state.clear_join_waker() {
                // SAFETY: JOIN_WAKER is clear and the task not done: the slot is ours.
                let waker = task.join_waker.with_mut(|slot| unsafe { (*slot).take() });
                guarded("dropping the waker of a join handle", || drop(waker));
            }
            if task.state.drop_handle() {
                return;
            }
            discard(self.take());
        }
        // SAFETY: the handle's reference, given up.
        unsafe { task.drop_ref() };
    }
}

impl<T> fmt::Debug for JoinHandle<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("JoinHandle")
            .field("id", &self.id())
            .field("finished", &self.is_finished())
            .finish_non_exhaustive()
    }
}

/// Aborts a task from wherever it is kept. Does not keep the task running, and does not tell how it ended.
#[derive(Clone)]
pub struct AbortHandle(Task);

impl AbortHandle {
    /// Asks for the task's end; see [`JoinHandle::abort`].
    pub fn abort(&self) {
        self.0.abort();
    }

    /// Whether the task is done.
    pub fn is_finished(&self) -> bool {
        self.0.state.is_done()
    }

    /// The task's id.
    pub fn id(&self) -> super::Id {
        super::Id(self.0.probe.id())
    }
}

impl fmt::Debug for AbortHandle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AbortHandle").field("id", &self.id()).field("finished", &self.is_finished()).finish()
    }
}
