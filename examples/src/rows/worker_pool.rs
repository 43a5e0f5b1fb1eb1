//! The guides' WorkerPool, for row 80: functions go to threads, futures become tasks, results are the same.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use filch::channel::oneshot;
use filch::pool::ThreadPool;
use filch::sync::Semaphore;

use super::help::two_workers;

/// It takes on nothing any more: Python's `RuntimeError`.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Stopping;

/// Threads for functions that block, and a runtime for futures, of which so many run at a time.
pub(super) struct WorkerPool {
    threads: ThreadPool,
    runtime: filch::Runtime,
    slots: Arc<Semaphore>,
}

impl WorkerPool {
    pub(super) fn new(threads: usize, async_workers: usize) -> WorkerPool {
        let threads = ThreadPool::new(threads).expect("threads can be started");
        WorkerPool { threads, runtime: two_workers(), slots: Arc::new(Semaphore::new(async_workers)) }
    }

    /// A function, to a thread.
    pub(super) fn submit<T: Send + 'static>(
        &self,
        f: impl FnOnce() -> T + Send + 'static,
    ) -> Result<Job<T>, Stopping> {
        let (done, result) = oneshot::channel();
        // The job's own handle is dropped: it goes on, and a panic of it drops the sender.
        let submitted = self.threads.try_submit(move || drop(done.send(f())));
        submitted.map(drop).map_err(|_| Stopping)?;
        Ok(Job(result))
    }

    /// A future, to a task.
    pub(super) fn submit_async<F>(&self, future: F) -> Result<Job<F::Output>, Stopping>
    where
        F: Future<Output: Send> + Send + 'static,
    {
        if self.slots.is_closed() {
            return Err(Stopping);
        }
        let ((done, result), slots) = (oneshot::channel(), self.slots.clone());
        drop(self.runtime.spawn(async move {
            if let Ok(_slot) = slots.acquire().await {
                let _ = done.send(future.await);
            }
        }));
        Ok(Job(result))
    }

    /// Takes on nothing from now on. What was taken on goes on.
    pub(super) fn stop(&self) {
        self.slots.close();
        self.threads.shutdown(Duration::ZERO);
    }
}

/// The result to come, for tasks, which await it, and for threads. `None`: it panicked.
#[derive(Debug)]
pub(super) struct Job<T>(oneshot::Receiver<T>);

impl<T> Job<T> {
    /// `None`: not in time.
    pub(super) fn wait(&mut self, timeout: Duration) -> Option<T> {
        self.0.recv_timeout(timeout).ok()
    }

    pub(super) fn join_timeout(mut self, timeout: Duration) -> Result<Option<T>, Stopping> {
        Ok(self.wait(timeout))
    }
}

impl<T> Future for Job<T> {
    type Output = Option<T>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<T>> {
        Poll::Ready(ready!(Pin::new(&mut self.0).poll(cx)).ok())
    }
}
