//! Models and tests of the task room, on real tasks. Their scheduler is a [`Bench`]: a queue that the test
//! itself runs.

mod model;
#[cfg(not(filch_loom))]
mod unit;

use std::collections::VecDeque;
use std::future::Future;
use std::panic::Location;
use std::sync::Arc as StdArc;
use std::task::{Context, Poll, Wake, Waker};

use super::{Birth, JoinHandle, PanicHook, Ran, Runnable, Schedule, TaskPanic, new};
use crate::shim::Ordering::Relaxed;
use crate::shim::task::AtomicUsize;
use crate::shim::{Arc, Mutex};

/// Where tasks go when they are woken, until [`run`](Bench::run).
struct Bench {
    queue: Mutex<VecDeque<Runnable>>,
    /// How often a task was put there by a wake.
    schedules: AtomicUsize,
    /// What nobody looked at.
    unseen: StdArc<Mutex<Vec<String>>>,
}

// SAFETY: every test keeps its bench until its tasks are done.
unsafe impl Schedule for Bench {
    fn schedule(&self, runnable: Runnable) {
        self.schedules.fetch_add(1, Relaxed);
        self.queue.lock().push_back(runnable);
    }

    fn panic_hook(&self) -> PanicHook {
        let unseen = self.unseen.clone();
        let hook = StdArc::new(move |panic: &TaskPanic| unseen.lock().push(panic.message.clone()));
        #[cfg(filch_loom)]
        return Arc::from_std(hook as StdArc<dyn Fn(&TaskPanic) + Send + Sync>);
        #[cfg(not(filch_loom))]
        hook
    }
}

impl Bench {
    fn new() -> Arc<Bench> {
        Arc::new(Bench {
            queue: Mutex::new(VecDeque::new()),
            schedules: AtomicUsize::new(0),
            unseen: StdArc::new(Mutex::new(Vec::new())),
        })
    }

    #[track_caller]
    fn birth() -> Birth {
        Birth { id: 7, parent: 0, location: Location::caller(), name: Some("seven".into()), list: 0 }
    }

    /// A task that is scheduled for the first time, and its handle.
    #[track_caller]
    fn task<F: Future + 'static>(&self, future: F) -> (Runnable, JoinHandle<F::Output>)
    where
        F::Output: 'static,
    {
        // SAFETY: every test keeps its bench until its tasks are done, and runs those that are not `Send`
        // itself.
        unsafe { new(future, self, Bench::birth()) }
    }

    /// The same, in the queue.
    #[track_caller]
    fn spawn<F: Future + 'static>(&self, future: F) -> JoinHandle<F::Output>
    where
        F::Output: 'static,
    {
        let (runnable, handle) = self.task(future);
        self.queue.lock().push_back(runnable);
        handle
    }

    fn pop(&self) -> Option<Runnable> {
        self.queue.lock().pop_front()
    }

    fn queued(&self) -> usize {
        self.queue.lock().len()
    }

    fn schedules(&self) -> usize {
        self.schedules.load(Relaxed)
    }

    /// Polls the task at the head of the queue, once. False: there is none.
    fn step(&self) -> bool {
        let Some(runnable) = self.pop() else { return false };
        match runnable.run() {
            Ran::Idle => {}
            Ran::Again(runnable) => self.queue.lock().push_back(runnable),
            Ran::Done(done) => done.release(),
        }
        true
    }

    /// Polls until the queue is empty. Returns how many polls that took.
    fn run(&self) -> usize {
        std::iter::from_fn(|| self.step().then_some(())).count()
    }
}

/// A waker that counts its wakes.
struct Count(AtomicUsize);

impl Count {
    fn waker() -> (StdArc<Count>, Waker) {
        let count = StdArc::new(Count(AtomicUsize::new(0)));
        (count.clone(), Waker::from(count))
    }

    fn get(&self) -> usize {
        self.0.load(Relaxed)
    }
}

impl Wake for Count {
    fn wake(self: StdArc<Count>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &StdArc<Count>) {
        self.0.fetch_add(1, Relaxed);
    }
}

fn poll<T>(handle: &mut JoinHandle<T>, waker: &Waker) -> Poll<Result<T, super::JoinError>> {
    std::pin::Pin::new(handle).poll(&mut Context::from_waker(waker))
}

/// The result of a task that is done.
#[track_caller]
fn result<T>(mut handle: JoinHandle<T>) -> Result<T, super::JoinError> {
    match poll(&mut handle, Waker::noop()) {
        Poll::Ready(result) => result,
        Poll::Pending => panic!("not done"),
    }
}
