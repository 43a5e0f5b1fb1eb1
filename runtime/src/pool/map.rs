//! Layer 3, pool. One job for each of many items: in order, or as they are done.
//!
//! Owns the window of jobs that are under way: so few that an endless iterator can be mapped. Called by user
//! code.
#![forbid(unsafe_code)]

use std::collections::VecDeque;
use std::fmt;
use std::future::poll_fn;
use std::iter::Fuse;
use std::panic::Location;
use std::pin::{Pin, pin};
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use filch_channels::channel::error::RecvTimeoutError;
use filch_channels::channel::{self, Receiver, Sender};
use futures_core::Stream;

use super::job::{Job, JobError, Run, Work};
use super::thread_pool::ThreadPool;
use crate::gather::{self, AsCompleted};
use crate::shim::Arc;
use crate::util::block;

impl ThreadPool {
    /// Runs `f` for each item, and gives the outputs in the order of the items. Python's `executor.map`.
    ///
    /// Lazy: while somebody takes outputs there are two jobs a thread under way, and none before the first is
    /// asked for. A panic of `f` is an error in its place, and the rest goes on. Dropping the iterator
    /// cancels what has not begun. Blocks the thread; a task [submits](Self::submit_async) the jobs and
    /// awaits them, in [`gather`](crate::gather()) or [`as_completed`].
    ///
    /// # Examples
    /// ```
    /// use std::time::{Duration, Instant};
    ///
    /// # fn main() -> std::io::Result<()> {
    /// let pool = filch::pool::ThreadPool::new(2)?;
    /// let even: Vec<u64> = pool.map(0.., |n: u64| n * n).map(Result::unwrap).take(3).collect();
    /// assert_eq!(even, [0, 1, 4]);
    ///
    /// let mut late = pool.map([0, 500], |ms| std::thread::sleep(Duration::from_millis(ms)));
    /// assert!(late.next().unwrap().is_ok());
    /// late.set_deadline(Instant::now());
    /// assert!(late.next().unwrap().unwrap_err().is_timeout());
    /// assert!(late.next().is_none());
    /// # Ok(())
    /// # }
    /// ```
    #[track_caller]
    pub fn map<I, F, T>(&self, items: I, f: F) -> Map<I::IntoIter, F, T>
    where
        I: IntoIterator,
        I::Item: Send + 'static,
        F: Fn(I::Item) -> T + Send + Sync + 'static,
        T: Send + 'static,
    {
        Map(Feed::new(self, items, f))
    }

    /// As [`map`](Self::map), and gives each output when it is done, whatever the order of the items.
    ///
    /// # Examples
    /// ```
    /// # fn main() -> std::io::Result<()> {
    /// let pool = filch::pool::ThreadPool::new(2)?;
    /// let sum: u64 = pool.map_unordered(1..=100, |n: u64| n * n).map(Result::unwrap).sum();
    /// assert_eq!(sum, 338_350);
    /// # Ok(())
    /// # }
    /// ```
    #[track_caller]
    pub fn map_unordered<I, F, T>(&self, items: I, f: F) -> MapUnordered<I::IntoIter, F, T>
    where
        I: IntoIterator,
        I::Item: Send + 'static,
        F: Fn(I::Item) -> T + Send + Sync + 'static,
        T: Send + 'static,
    {
        let (done, outputs) = channel::unbounded();
        let feed = Feed::new(self, items, f);
        MapUnordered { feed, done, outputs, given: 0, taken: 0 }
    }
}

/// Items that become jobs, whose outputs are of type `T`, and those jobs that are under way. Dropping it cancels what
/// has not begun.
struct Feed<I: Iterator, F, T> {
    pool: ThreadPool,
    items: Fuse<I>,
    f: Arc<F>,
    location: &'static Location<'static>,
    /// How many jobs may be under way.
    ahead: usize,
    jobs: VecDeque<Job<T>>,
    deadline: Option<Instant>,
}

impl<I: Iterator, F, T> Feed<I, F, T> {
    #[track_caller]
    fn new(pool: &ThreadPool, items: impl IntoIterator<IntoIter = I>, f: F) -> Feed<I, F, T> {
        Feed {
            pool: pool.clone(),
            items: items.into_iter().fuse(),
            f: Arc::new(f),
            location: Location::caller(),
            ahead: pool.threads() * 2,
            jobs: VecDeque::new(),
            deadline: None,
        }
    }

    /// Queues `job`. If the queue is full, waits for room.
    fn submit<J>(&mut self, job: J)
    where
        T: Send + 'static,
        J: FnOnce() -> T + Send + 'static,
    {
        let work = Work::new(job, self.location);
        if let Err(closed) = self.pool.0.queue.send_blocking(work.clone()) {
            closed.0.refuse();
        }
        self.jobs.push_back(Job::new(work));
    }

    /// Cancels what has not begun.
    fn cancel(&mut self) {
        for job in self.jobs.drain(..) {
            let _ = job.cancel();
        }
    }

    /// The deadline is over: so is the iterator.
    fn late(&mut self) -> JobError {
        self.cancel();
        self.ahead = 0;
        JobError::timed_out(self.location)
    }
}

impl<I: Iterator, F, T> Drop for Feed<I, F, T> {
    fn drop(&mut self) {
        self.cancel();
    }
}

/// The outputs of [`ThreadPool::map`], in order.
#[must_use = "it is lazy: no job is submitted before an output is asked for"]
pub struct Map<I: Iterator, F, T>(Feed<I, F, T>);

impl<I: Iterator, F, T> Map<I, F, T> {
    /// Until when all outputs must be there. The first that is not is an error, for which
    /// [`is_timeout`](JobError::is_timeout) holds, and ends the iterator; what has not begun is cancelled.
    pub fn set_deadline(&mut self, deadline: Instant) {
        self.0.deadline = Some(deadline);
    }

    /// How many jobs may be under way at a time: two a thread, if not said otherwise; at least one.
    pub fn set_ahead(&mut self, jobs: usize) {
        self.0.ahead = jobs.max(1);
    }
}

impl<I, F, T> Iterator for Map<I, F, T>
where
    I: Iterator,
    I::Item: Send + 'static,
    F: Fn(I::Item) -> T + Send + Sync + 'static,
    T: Send + 'static,
{
    type Item = Result<T, JobError>;

    fn next(&mut self) -> Option<Result<T, JobError>> {
        let feed = &mut self.0;
        while feed.jobs.len() < feed.ahead {
            let Some(item) = feed.items.next() else { break };
            let f = feed.f.clone();
            feed.submit(move || f(item));
        }
        let mut job = feed.jobs.pop_front()?;
        match feed.deadline {
            None => Some(job.join()),
            Some(deadline) => {
                let left = deadline.saturating_duration_since(Instant::now());
                Some(job.join_timeout(left).unwrap_or_else(|| {
                    let _ = job.cancel();
                    Err(feed.late())
                }))
            }
        }
    }
}

impl<I: Iterator, F, T> fmt::Debug for Map<I, F, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Map").field("under_way", &self.0.jobs.len()).finish_non_exhaustive()
    }
}

/// The outputs of [`ThreadPool::map_unordered`], as they are done.
#[must_use = "it is lazy: no job is submitted before an output is asked for"]
pub struct MapUnordered<I: Iterator, F, T> {
    /// The finished at the front are let go.
    feed: Feed<I, F, ()>,
    done: Sender<Result<T, JobError>>,
    outputs: Receiver<Result<T, JobError>>,
    given: usize,
    taken: usize,
}

impl<I: Iterator, F, T> MapUnordered<I, F, T> {
    /// As [`Map::set_deadline`].
    pub fn set_deadline(&mut self, deadline: Instant) {
        self.feed.deadline = Some(deadline);
    }

    /// As [`Map::set_ahead`].
    pub fn set_ahead(&mut self, jobs: usize) {
        self.feed.ahead = jobs.max(1);
    }
}

/// Says what became of a job, also if it is never run.
struct Reply<T> {
    to: Sender<Result<T, JobError>>,
    location: &'static Location<'static>,
    given: bool,
}

impl<T> Reply<T> {
    fn give(&mut self, result: Result<T, JobError>) {
        self.given = true;
        // Without a limit, so at once; nobody listens when the iterator is gone.
        let _ = self.to.try_send(result);
    }
}

impl<T> Drop for Reply<T> {
    fn drop(&mut self) {
        if !self.given {
            self.give(Err(JobError::shut_down(self.location)));
        }
    }
}

impl<I, F, T> Iterator for MapUnordered<I, F, T>
where
    I: Iterator,
    I::Item: Send + 'static,
    F: Fn(I::Item) -> T + Send + Sync + 'static,
    T: Send + 'static,
{
    type Item = Result<T, JobError>;

    fn next(&mut self) -> Option<Result<T, JobError>> {
        while self.given - self.taken < self.feed.ahead {
            let Some(item) = self.feed.items.next() else { break };
            let (f, location) = (self.feed.f.clone(), self.feed.location);
            let mut reply = Reply { to: self.done.clone(), location, given: false };
            let name = self.feed.pool.0.crew.clone();
            self.feed.submit(move || {
                let work = Work::new(move || f(item), location);
                work.run(name.name());
                if let Some(result) = work.take_done() {
                    reply.give(result);
                }
            });
            self.given += 1;
            while self.feed.jobs.front().is_some_and(Job::is_finished) {
                self.feed.jobs.pop_front();
            }
        }
        if self.given == self.taken {
            return None;
        }
        let output = match self.feed.deadline {
            None => self.outputs.recv_blocking().map_err(|_| RecvTimeoutError::Closed),
            Some(deadline) => self.outputs.recv_deadline(deadline),
        };
        self.taken += 1;
        Some(output.unwrap_or_else(|_| {
            self.taken = self.given;
            Err(self.feed.late())
        }))
    }
}

impl<I: Iterator, F, T> fmt::Debug for MapUnordered<I, F, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MapUnordered").field("under_way", &(self.given - self.taken)).finish_non_exhaustive()
    }
}

/// The results of `jobs` in the order in which they are done: a [`Stream`] for tasks, an [`Iterator`] for
/// threads. Python's `concurrent.futures.as_completed`.
///
/// # Examples
/// ```
/// # fn main() -> std::io::Result<()> {
/// let pool = filch::pool::ThreadPool::new(2)?;
/// let jobs = (1..=3).map(|n| pool.submit(move || n));
/// let mut outputs: Vec<i32> = filch::pool::as_completed(jobs).map(Result::unwrap).collect();
/// outputs.sort();
/// assert_eq!(outputs, [1, 2, 3]);
/// # Ok(())
/// # }
/// ```
///
/// # Cancel safety
/// **Strict.** A result is taken only by the poll that gives it.
pub fn as_completed<T>(jobs: impl IntoIterator<Item = Job<T>>) -> Completed<T> {
    Completed { jobs: Box::pin(gather::as_completed(jobs)) }
}

/// The stream and iterator of [`as_completed`].
#[must_use = "streams and iterators do nothing unless they are asked"]
pub struct Completed<T> {
    jobs: Pin<Box<AsCompleted<Job<T>>>>,
}

impl<T> Completed<T> {
    /// How many results have not been given.
    pub fn remaining(&self) -> usize {
        self.jobs.remaining()
    }

    /// The next result, for threads, if there is one in time. `None`: there are no more.
    ///
    /// # Errors
    /// [`RecvTimeoutError::Timeout`] when none came in time; what is left can be asked for again.
    pub fn next_timeout(
        &mut self,
        timeout: Duration,
    ) -> Result<Option<Result<T, JobError>>, RecvTimeoutError> {
        self.blocking(Some(timeout)).ok_or(RecvTimeoutError::Timeout)
    }

    fn blocking(&mut self, timeout: Option<Duration>) -> Option<Option<Result<T, JobError>>> {
        let jobs = &mut self.jobs;
        let mut next = pin!(poll_fn(|cx| jobs.as_mut().poll_next(cx)));
        block::on(&mut next, timeout)
    }
}

impl<T> Iterator for Completed<T> {
    type Item = Result<T, JobError>;

    fn next(&mut self) -> Option<Result<T, JobError>> {
        self.blocking(None).flatten()
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        (self.remaining(), Some(self.remaining()))
    }
}

impl<T> Stream for Completed<T> {
    type Item = Result<T, JobError>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.jobs.as_mut().poll_next(cx)
    }
}

impl<T> fmt::Debug for Completed<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Completed").field("remaining", &self.remaining()).finish()
    }
}
