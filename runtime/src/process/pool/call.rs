//! Layer 3, process. Jobs that were asked for: what is set before they go, and the handles of their outputs.
//!
//! Owns the receiving ends, and the promise that jobs nobody waits for any more are taken out or killed: that
//! follows from dropping them. Outputs are put together where they are waited for, as that runs user code.
//! Called by user code.
#![forbid(unsafe_code)]

use std::fmt;
use std::future::{Future, IntoFuture};
use std::marker::PhantomData;
use std::ops::Range;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use filch_channels::channel::{Receiver, unbounded};
use futures_core::Stream;
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::error::JobError;
use super::frame::{self, tag};
use super::job::{self, Job};
use super::shared::{Outcome, Pending, Shared};
use crate::shim::Arc;
use crate::util::block;

/// Jobs that are under way, or to be.
struct Ticket {
    shared: Arc<Shared>,
    ids: Range<u64>,
    answers: Receiver<(usize, Outcome)>,
}

impl Drop for Ticket {
    fn drop(&mut self) {
        // Closed first: a task that takes one of them meanwhile finds that nobody waits.
        self.answers.close();
        self.shared.forget(&self.ids);
    }
}

/// Sends off one job for each argument.
fn send<A, R>(
    shared: &Arc<Shared>,
    job: &'static Job<A, R>,
    arguments: impl Iterator<Item = A>,
    timeout: Option<Duration>,
    chunk: usize,
) -> (Ticket, usize)
where
    A: Serialize + DeserializeOwned + 'static,
    R: Serialize + DeserializeOwned + 'static,
{
    let (reply, answers) = unbounded();
    let place = job::place(job);
    let mut jobs = Vec::new();
    let mut count = 0;
    for (index, argument) in arguments.enumerate() {
        count += 1;
        let frame = place.clone().and_then(|place| {
            frame::frame(tag::CALL, 0, place, shared.settings.frame_limit, &argument)
                .map_err(|error| JobError::Argument { reason: error.to_string() })
        });
        match frame {
            Ok(frame) => jobs.push(Pending {
                id: 0,
                name: job.name(),
                frame: Arc::new(frame),
                timeout,
                group: 0,
                chunk,
                index,
                reply: reply.clone(),
            }),
            Err(error) => drop(reply.try_send((index, Err(error)))),
        }
    }
    let indices: Vec<usize> = jobs.iter().map(|job| job.index).collect();
    let ids = shared.submit(jobs).unwrap_or_else(|error| {
        for index in indices {
            let _ = reply.try_send((index, Err(error.clone())));
        }
        0..0
    });
    (Ticket { shared: shared.clone(), ids, answers }, count)
}

fn output<R: DeserializeOwned>(outcome: Outcome) -> Result<R, JobError> {
    frame::value(&outcome?).map_err(|reason| JobError::Output { reason })
}

/// A call that has not been made. See [`Pool::apply`](super::Pool::apply).
#[must_use = "nothing runs until it is awaited, started or joined"]
pub struct Apply<'p, A: 'static, R: 'static> {
    pub(super) shared: &'p Arc<Shared>,
    pub(super) job: &'static Job<A, R>,
    pub(super) argument: A,
    pub(super) timeout: Option<Duration>,
}

impl<A, R> Apply<'_, A, R>
where
    A: Serialize + DeserializeOwned + 'static,
    R: Serialize + DeserializeOwned + 'static,
{
    /// How long the job may run. After that its process is killed, and the output is [`JobError::TimedOut`].
    ///
    /// It counts from when the job is handed to a process, not while it is in the queue. For a limit of both
    /// there is
    /// [`wait_for`](crate::wait_for), which drops the call and so kills the job, too.
    pub fn timeout(mut self, limit: Duration) -> Self {
        self.timeout = Some(limit);
        self
    }

    /// Sends the job off. It runs whether the handle is looked at or not, until that is dropped.
    pub fn start(self) -> Call<R> {
        let Apply { shared, job, argument, timeout } = self;
        let (ticket, _) = send(shared, job, std::iter::once(argument), timeout, 1);
        Call { ticket, output: PhantomData }
    }

    /// Sends the job off and blocks this thread until it is done. Not for tasks.
    ///
    /// # Errors
    /// [`JobError`] says what has become of the job.
    pub fn join(self) -> Result<R, JobError> {
        self.start().join()
    }
}

impl<A, R> IntoFuture for Apply<'_, A, R>
where
    A: Serialize + DeserializeOwned + 'static,
    R: Serialize + DeserializeOwned + 'static,
{
    type Output = Result<R, JobError>;
    type IntoFuture = Call<R>;

    fn into_future(self) -> Call<R> {
        self.start()
    }
}

impl<A, R> fmt::Debug for Apply<'_, A, R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Apply")
            .field("job", &self.job)
            .field("timeout", &self.timeout)
            .finish_non_exhaustive()
    }
}

/// A job that was sent off: a future of its output.
///
/// # Cancel safety
/// Dropping it ends the job: one that runs is killed, with its process and what that has started; one that is
/// in the queue is taken out.
///
/// # Panics
/// When it is polled again after it was done.
#[must_use = "dropping it kills the job"]
pub struct Call<R> {
    ticket: Ticket,
    output: PhantomData<fn() -> R>,
}

impl<R: DeserializeOwned> Call<R> {
    /// Blocks this thread until the job is done. Not for tasks.
    ///
    /// # Errors
    /// [`JobError`] says what has become of the job.
    pub fn join(self) -> Result<R, JobError> {
        let (_, outcome) = self.ticket.answers.recv_blocking().map_err(|_| JobError::Closed)?;
        output(outcome)
    }

    /// Blocks this thread until the job is done or `timeout` is over. After `None` the job goes on, and can
    /// be waited for again; dropping the handle kills it.
    ///
    /// # Errors
    /// In the inner result: [`JobError`] says what has become of the job.
    pub fn join_timeout(&mut self, timeout: Duration) -> Option<Result<R, JobError>> {
        block::on(self, Some(timeout))
    }
}

impl<R: DeserializeOwned> Future for Call<R> {
    type Output = Result<R, JobError>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let answer = ready!(self.ticket.answers.poll_recv(cx));
        Poll::Ready(answer.map_or(Err(JobError::Closed), |(_, outcome)| output(outcome)))
    }
}

impl<R> fmt::Debug for Call<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Call").field("id", &self.ticket.ids.start).finish_non_exhaustive()
    }
}

/// Calls that have not been made. See [`Pool::map`](super::Pool::map).
#[must_use = "nothing runs until it is awaited, started or joined"]
pub struct Map<'p, A: 'static, R: 'static, I> {
    pub(super) shared: &'p Arc<Shared>,
    pub(super) job: &'static Job<A, R>,
    pub(super) arguments: I,
    pub(super) timeout: Option<Duration>,
    pub(super) chunk: usize,
}

impl<A, R, I> Map<'_, A, R, I>
where
    A: Serialize + DeserializeOwned + 'static,
    R: Serialize + DeserializeOwned + 'static,
    I: Iterator<Item = A>,
{
    /// How long each job may run; see [`Apply::timeout`].
    pub fn timeout(mut self, limit: Duration) -> Self {
        self.timeout = Some(limit);
        self
    }

    /// How many jobs are handed to a process at once, 1 if not said otherwise (and so for 0).
    ///
    /// More than one saves a process the wait between two short jobs. It is also how many wait behind a long
    /// one while another process may have nothing to do. Limits and crashes are of each job by itself as
    /// before.
    pub fn chunk(mut self, jobs: usize) -> Self {
        self.chunk = jobs.max(1);
        self
    }

    /// Sends the jobs off; their outputs come in the order of their arguments.
    pub fn start(self) -> Outputs<R> {
        let (ticket, count) = send(self.shared, self.job, self.arguments, self.timeout, self.chunk);
        Outputs { rest: Unordered { ticket, left: count, output: PhantomData }, outputs: Vec::new(), count }
    }

    /// Sends the jobs off; their outputs come as they are done, each with the place of its argument.
    pub fn unordered(self) -> Unordered<R> {
        self.start().rest
    }

    /// Sends the jobs off and blocks this thread until all are done. Not for tasks.
    pub fn join(self) -> Vec<Result<R, JobError>> {
        self.start().join()
    }
}

impl<A, R, I> IntoFuture for Map<'_, A, R, I>
where
    A: Serialize + DeserializeOwned + 'static,
    R: Serialize + DeserializeOwned + 'static,
    I: Iterator<Item = A>,
{
    type Output = Vec<Result<R, JobError>>;
    type IntoFuture = Outputs<R>;

    fn into_future(self) -> Outputs<R> {
        self.start()
    }
}

impl<A, R, I> fmt::Debug for Map<'_, A, R, I> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Map").field("job", &self.job).field("chunk", &self.chunk).finish_non_exhaustive()
    }
}

/// Jobs that were sent off: a future of all outputs, in the order of the arguments.
///
/// # Cancel safety
/// Dropping it ends the jobs: those that run are killed, those in the queue taken out. Outputs that were
/// there are lost.
#[must_use = "dropping it kills the jobs"]
pub struct Outputs<R> {
    rest: Unordered<R>,
    outputs: Vec<Option<Result<R, JobError>>>,
    count: usize,
}

impl<R> Unpin for Outputs<R> {}

impl<R: DeserializeOwned> Outputs<R> {
    /// Blocks this thread until all are done. Not for tasks.
    pub fn join(mut self) -> Vec<Result<R, JobError>> {
        block::on(&mut self, None).unwrap_or_default()
    }

    /// Blocks this thread until all are done or `timeout` is over. After `None` the jobs go on, and can be
    /// waited for again; dropping the handle kills them.
    pub fn join_timeout(&mut self, timeout: Duration) -> Option<Vec<Result<R, JobError>>> {
        block::on(self, Some(timeout))
    }
}

impl<R: DeserializeOwned> Future for Outputs<R> {
    type Output = Vec<Result<R, JobError>>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = &mut *self;
        while let Some((index, output)) = ready!(Pin::new(&mut this.rest).poll_next(cx)) {
            if this.outputs.len() <= index {
                this.outputs.resize_with(index + 1, || None);
            }
            this.outputs[index] = Some(output);
        }
        // A pool that has ended leaves gaps.
        this.outputs.resize_with(this.count, || None);
        let outputs = this.outputs.drain(..).map(|output| output.unwrap_or(Err(JobError::Closed)));
        Poll::Ready(outputs.collect())
    }
}

impl<R> fmt::Debug for Outputs<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Outputs").field("count", &self.count).field("left", &self.rest.left).finish()
    }
}

/// Jobs that were sent off: a stream of their outputs as they are done, each with the place of its argument.
///
/// It ends early when the pool does.
///
/// # Cancel safety
/// Waiting for the next is **strict**. Dropping the stream ends the jobs, as [`Outputs`] does.
#[must_use = "dropping it kills the jobs"]
pub struct Unordered<R> {
    ticket: Ticket,
    left: usize,
    output: PhantomData<fn() -> R>,
}

impl<R: DeserializeOwned> Stream for Unordered<R> {
    type Item = (usize, Result<R, JobError>);

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        if self.left == 0 {
            return Poll::Ready(None);
        }
        let answer = ready!(self.ticket.answers.poll_recv(cx));
        self.left = if answer.is_some() { self.left - 1 } else { 0 };
        Poll::Ready(answer.map(|(index, outcome)| (index, output(outcome))))
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        (0, Some(self.left))
    }
}

impl<R> fmt::Debug for Unordered<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Unordered").field("left", &self.left).finish_non_exhaustive()
    }
}
