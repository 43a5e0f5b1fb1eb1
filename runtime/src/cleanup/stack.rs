//! Layer 5, cleanup. What is to be done on the way out: `defer`, and many of them, an `ExitStack`.
//!
//! Owns the futures until they have run, and sees to it that they run if nobody waits for them. Called by users,
//! by `scope` and by `group`.
#![forbid(unsafe_code)]

use std::any::Any;
use std::fmt;
use std::future::Future;
use std::panic::{AssertUnwindSafe, Location, catch_unwind, resume_unwind};
use std::pin::Pin;
use std::task::{Context, Poll};

use super::reaper::{Work, hand_over};
use crate::Handle;
use crate::util::wake::drop_payload;

/// Has `work` done on the way out, whichever that is: when what this returns is [awaited](Deferred::run), or
/// dropped.
///
/// For clean-up that must wait, which a destructor cannot do: to say goodbye on a connection, to delete what was
/// written half. `work` does not begin before. On the way out that you choose, `run().await` waits for it. On all
/// others, an error passed on with `?`, a panic, a future dropped by a timeout, the drop of the guard hands `work`
/// to the runtime it was made in, which runs it as a task named "clean-up"; a [shutdown](crate::Runtime::shutdown)
/// waits for that, within its deadline, and tells if it did not end.
///
/// Where there was no runtime of ours, and is none when the guard is dropped, `work` is not run, and a line on stderr
/// says so. For several things in a row there is [`ExitStack`]; for something to open and to close,
/// [`with`](crate::with).
///
/// # Examples
/// ```
/// use std::sync::Arc;
/// use std::sync::atomic::{AtomicU32, Ordering::SeqCst};
///
/// async fn transfer(left: Arc<AtomicU32>, fails: bool) -> Result<(), &'static str> {
///     let on_exit = filch::defer(async move {
///         filch::yield_now().await;
///         left.fetch_add(1, SeqCst);
///     });
///     if fails {
///         return Err("no such account"); // The runtime does it.
///     }
///     on_exit.run().await; // Done when this goes on.
///     Ok(())
/// }
///
/// let left = Arc::new(AtomicU32::new(0));
/// filch::run(async {
///     transfer(left.clone(), false).await.unwrap();
///     assert_eq!(left.load(SeqCst), 1);
///     transfer(left.clone(), true).await.unwrap_err();
/// });
/// // The end of the runtime has waited for it.
/// assert_eq!(left.load(SeqCst), 2);
/// ```
#[track_caller]
pub fn defer<F>(work: F) -> Deferred
where
    F: IntoFuture<Output = (), IntoFuture: Send + 'static>,
{
    let mut stack = ExitStack::new();
    stack.push(work);
    Deferred(stack)
}

/// What was put off by [`defer`]. To drop it is to hand it to the runtime.
#[derive(Debug)]
#[must_use = "what was put off is done as soon as this is dropped"]
pub struct Deferred(ExitStack);

impl Deferred {
    /// Does it now, and waits.
    ///
    /// # Panics
    /// When the work does.
    ///
    /// # Cancel safety
    /// **Strict** as to the work: what is left of it goes to the runtime.
    pub async fn run(mut self) {
        self.0.close().await;
    }

    /// Does it not at all.
    pub fn cancel(mut self) {
        drop(std::mem::take(&mut self.0.entries));
    }
}

/// Things to be done on the way out, the last one first. Python's `contextlib.AsyncExitStack`.
///
/// [`close`](Self::close) does them and waits; if it is not awaited, or not to its end, the drop of the stack hands
/// what is left to the runtime, as with [`defer`]. Each is done though another one panics.
///
/// # Examples
/// ```
/// use std::sync::{Arc, Mutex};
///
/// # filch::run(async {
/// let log = Arc::new(Mutex::new(Vec::new()));
/// let mut stack = filch::cleanup::ExitStack::new();
/// for step in ["connect", "log in"] {
///     log.lock().unwrap().push(format!("{step}"));
///     let log = log.clone();
///     stack.push(async move { log.lock().unwrap().push(format!("undo {step}")) });
/// }
/// stack.close().await;
/// assert_eq!(*log.lock().unwrap(), ["connect", "log in", "undo log in", "undo connect"]);
/// # });
/// ```
pub struct ExitStack {
    entries: Entries,
    home: Option<Handle>,
    location: &'static Location<'static>,
}

/// What is to be done, as a future. To drop it is to do it not.
#[derive(Default)]
struct Entries {
    /// The last one is under way, or next.
    works: Vec<Work>,
    panicked: Option<Box<dyn Any + Send>>,
}

impl ExitStack {
    /// An empty stack, of the runtime that the thread is in.
    #[must_use]
    #[track_caller]
    pub fn new() -> ExitStack {
        ExitStack::at(Location::caller())
    }

    pub(crate) fn at(location: &'static Location<'static>) -> ExitStack {
        ExitStack { entries: Entries::default(), home: Handle::try_current(), location }
    }

    /// Puts `work` on top: it is done before all that is there.
    pub fn push<F>(&mut self, work: F)
    where
        F: IntoFuture<Output = (), IntoFuture: Send + 'static>,
    {
        self.push_work(Box::pin(work.into_future()));
    }

    pub(crate) fn push_work(&mut self, work: Work) {
        self.entries.works.push(work);
    }

    /// How many are to be done.
    #[must_use]
    pub fn len(&self) -> usize {
        self.entries.works.len()
    }

    /// Whether nothing is to be done.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.entries.works.is_empty()
    }

    /// All of it into another stack: `AsyncExitStack.pop_all`.
    #[must_use]
    pub fn take(&mut self) -> ExitStack {
        let entries = std::mem::take(&mut self.entries);
        ExitStack { entries, home: self.home.clone(), location: self.location }
    }

    /// Does them, the last one first, and waits for each.
    ///
    /// # Panics
    /// When one of them did, with the first panic, after all were done.
    ///
    /// # Cancel safety
    /// **Strict.** To go on, call it again.
    pub async fn close(&mut self) {
        (&mut self.entries).await;
    }
}

impl Future for Entries {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        while let Some(work) = self.works.last_mut() {
            let polled = catch_unwind(AssertUnwindSafe(|| work.as_mut().poll(cx)));
            if matches!(polled, Ok(Poll::Pending)) {
                return Poll::Pending;
            }
            let done = self.works.pop();
            let dropped = catch_unwind(AssertUnwindSafe(|| drop(done)));
            for payload in [polled.err(), dropped.err()].into_iter().flatten() {
                match &self.panicked {
                    None => self.panicked = Some(payload),
                    Some(_) => drop_payload(payload),
                }
            }
        }
        if let Some(payload) = self.panicked.take() {
            resume_unwind(payload);
        }
        Poll::Ready(())
    }
}

impl Default for ExitStack {
    #[track_caller]
    fn default() -> ExitStack {
        ExitStack::new()
    }
}

impl Drop for ExitStack {
    fn drop(&mut self) {
        if !self.is_empty() {
            // Not in a stack again, whose drop would hand it over once more if it were refused.
            let left = std::mem::take(&mut self.entries);
            hand_over(self.home.as_ref(), self.location, Box::pin(left));
        }
    }
}

impl fmt::Debug for ExitStack {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ExitStack").field("len", &self.len()).finish_non_exhaustive()
    }
}
