//! Layer 3, process. A task of the pool, at work: it takes jobs, has them done by its process, and replaces
//! that.
//!
//! Owns the rule by which the end of a process is laid at a job's door. Jobs are handed over a chunk at a
//! time, and answered in order, each when it is done; so of those handed over the first without an answer is
//! the one that runs. When the process ends, or is killed, that one is to blame, and the others have not
//! begun: they go back to the queue. If not even the first was written whole, none is to blame, and the
//! process counts as one that did not start, so that processes that end at once do not follow each other for
//! ever.
#![forbid(unsafe_code)]

use std::collections::VecDeque;
use std::future::{Future, pending, poll_fn};
use std::pin::{Pin, pin};
use std::task::{Context, Poll};
use std::time::Duration;

use futures_io::AsyncWrite;
use futures_lite::FutureExt;

use super::error::JobError;
use super::frame::{self, Message, Reader, tag};
use super::link::{Link, Lost, receive};
use super::shared::{Next, Outcome, Pending, Seat, Shared};
use crate::net::UnixStream;
use crate::shim::Arc;
use crate::time::sleep;

/// How long to wait before the second attempt to start a process. Each further one waits eight times longer.
const RETRY: Duration = Duration::from_millis(5);

/// The whole life of a task.
pub(super) async fn work(seat: Seat) {
    let mut slot = Slot { shared: &seat.shared, link: None };
    let turns = async {
        turns(&seat, &mut slot).await;
        slot.finish().await;
    };
    let stopped = seat.shared.stop.wait();
    turns.or(stopped).await;
    slot.kill().await;
}

/// A task's process, counted.
struct Slot<'a> {
    shared: &'a Shared,
    link: Option<Link>,
}

impl Slot<'_> {
    fn put(&mut self, link: Link) {
        self.shared.count_process(true);
        self.link = Some(link);
    }

    /// The process has ended.
    fn clear(&mut self) {
        if self.link.take().is_some() {
            self.shared.count_process(false);
        }
    }

    async fn finish(&mut self) {
        if let Some(link) = &mut self.link {
            link.finish().await;
        }
        self.clear();
    }

    async fn kill(&mut self) {
        if let Some(link) = &mut self.link {
            link.kill().await;
        }
        self.clear();
    }

    async fn death(&mut self) -> JobError {
        let how = match &mut self.link {
            Some(link) => link.death().await,
            None => JobError::Closed,
        };
        self.clear();
        how
    }
}

impl Drop for Slot<'_> {
    fn drop(&mut self) {
        self.clear();
    }
}

async fn turns(seat: &Seat, slot: &mut Slot<'_>) {
    let per_process = seat.shared.settings.tasks_per_process.unwrap_or(u32::MAX);
    loop {
        let left = per_process - slot.link.as_ref().map_or(0, |link| link.answered);
        match seat.next(left as usize) {
            Next::End => return,
            Next::Jobs(jobs) => {
                serve(&seat.shared, slot, jobs).await;
                if slot.link.as_ref().is_some_and(|link| link.answered >= per_process) {
                    slot.finish().await;
                }
            }
            Next::Wait(notify) => {
                let notified = async {
                    notify.notified().await;
                    true
                };
                let quiet = async {
                    match &mut slot.link {
                        // Nothing was asked, so nothing can come but its end.
                        Some(link) => drop(receive(&link.stream, &mut link.reader).await),
                        None => pending().await,
                    }
                    false
                };
                let quiet = !notified.or(quiet).await;
                seat.not_idle();
                if quiet {
                    slot.kill().await;
                }
            }
        }
    }
}

/// Has jobs done, or the first of them, and puts back the rest.
async fn serve(shared: &Shared, slot: &mut Slot<'_>, jobs: VecDeque<Pending>) {
    // Whatever happens to this future, none of them stays on the list of those that run.
    let mut batch = Batch { shared, jobs };
    if slot.link.is_none() {
        match start(shared).await {
            Ok(link) => slot.put(link),
            Err(reason) => {
                while let Some(job) = batch.jobs.pop_front() {
                    shared.settle(job, Err(JobError::NotStarted { reason: reason.clone() }));
                }
                return;
            }
        }
    }
    // While the process was started somebody may have lost interest.
    batch.drop_unwanted();
    let Some(link) = slot.link.as_mut().filter(|_| !batch.jobs.is_empty()) else { return };
    let (end, begun) = exchange(shared, link, &mut batch.jobs).await;
    let outcome = match end {
        End::Done => return,
        End::Cancelled => {
            slot.kill().await;
            if let Some(job) = batch.jobs.pop_front() {
                shared.cancelled(job);
            }
            return;
        }
        End::TimedOut(limit) => {
            slot.kill().await;
            JobError::TimedOut { limit }
        }
        End::Lost(Lost::Malformed(reason)) => {
            slot.kill().await;
            JobError::Protocol { reason }
        }
        End::Lost(Lost::Ended) => slot.death().await,
    };
    if !begun {
        let reason = format!("a worker process ends before it takes a job ({})", outcome.how());
        if !shared.failed(&reason) {
            while let Some(job) = batch.jobs.pop_front() {
                shared.settle(job, Err(JobError::NotStarted { reason: reason.clone() }));
            }
        }
        return;
    }
    if let Some(job) = batch.jobs.pop_front() {
        shared.succeeded();
        shared.settle(job, Err(outcome));
    }
}

/// Jobs in hand. What is left of them goes back to the queue.
struct Batch<'a> {
    shared: &'a Shared,
    jobs: VecDeque<Pending>,
}

impl Batch<'_> {
    fn drop_unwanted(&mut self) {
        let (unwanted, wanted): (Vec<_>, Vec<_>) = self.jobs.drain(..).partition(|job| job.reply.is_closed());
        self.jobs = wanted.into();
        self.shared.put_back(unwanted);
    }
}

impl Drop for Batch<'_> {
    fn drop(&mut self) {
        self.shared.put_back(self.jobs.drain(..));
    }
}

/// A process that works, after some attempts.
async fn start(shared: &Shared) -> Result<Link, String> {
    let mut delay = RETRY;
    loop {
        match Link::start(&shared.settings).await {
            Ok(link) => return Ok(link),
            Err(reason) if !shared.failed(&reason) => return Err(reason),
            Err(_) => sleep(delay).await,
        }
        delay *= 8;
    }
}

/// What has ended an exchange.
enum End {
    /// All are answered.
    Done,
    Cancelled,
    TimedOut(Duration),
    Lost(Lost),
}

/// Writes the calls, and settles those that are answered. True: the first that is left has been written
/// whole.
async fn exchange(shared: &Shared, link: &mut Link, jobs: &mut VecDeque<Pending>) -> (End, bool) {
    let Link { stream, reader, answered, .. } = link;
    let stream = &*stream;
    let frames = jobs.iter().map(|job| job.frame.clone()).collect();
    let mut writing = Writing { frames, whole: 0, offset: 0, failed: false };
    let mut settled = 0;
    while let Some(job) = jobs.front() {
        let end = {
            let cancelled = async {
                job.reply.closed().await;
                Err(End::Cancelled)
            };
            let late = async {
                match job.timeout {
                    Some(limit) => sleep(limit).await,
                    None => pending().await,
                }
                Err(End::TimedOut(job.timeout.unwrap_or_default()))
            };
            // An answer that is there wins over the rest.
            let mut race = pin!(answer(stream, reader, job).or(late).or(cancelled));
            poll_fn(|cx| {
                writing.poll(stream, cx);
                race.as_mut().poll(cx)
            })
            .await
        };
        match end {
            Ok(outcome) => {
                *answered += 1;
                settled += 1;
                shared.succeeded();
                if let Some(job) = jobs.pop_front() {
                    shared.settle(job, outcome);
                }
            }
            Err(end) => return (end, writing.whole > settled),
        }
    }
    (End::Done, true)
}

/// Frames on their way out.
struct Writing {
    frames: Vec<Arc<Vec<u8>>>,
    /// How many have been written whole.
    whole: usize,
    /// How much of the next one.
    offset: usize,
    /// Then the end of the other side is read next.
    failed: bool,
}

impl Writing {
    fn poll(&mut self, mut stream: &UnixStream, cx: &mut Context<'_>) {
        while let Some(frame) = self.frames.get(self.whole).filter(|_| !self.failed) {
            match Pin::new(&mut stream).poll_write(cx, &frame[self.offset..]) {
                Poll::Ready(Ok(count)) if count > 0 => self.offset += count,
                Poll::Ready(_) => self.failed = true,
                Poll::Pending => return,
            }
            if self.offset == frame.len() {
                (self.whole, self.offset) = (self.whole + 1, 0);
            }
        }
    }
}

/// The answer to `job`.
async fn answer(stream: &UnixStream, reader: &mut Reader, job: &Pending) -> Result<Outcome, End> {
    let Message { tag, id, body, .. } = receive(stream, reader).await.map_err(End::Lost)?;
    let malformed = |text: String| End::Lost(Lost::Malformed(text));
    if id != job.id {
        return Err(malformed(format!("an answer to job {id}, while {} was asked", job.id)));
    }
    let text = || frame::value::<String>(&body).map_err(malformed);
    Ok(match tag {
        tag::RETURNED => Ok(body),
        tag::PANICKED => Err(JobError::Panicked { message: text()? }),
        tag::UNREADABLE => Err(JobError::Argument { reason: text()? }),
        tag::UNWRITABLE => Err(JobError::Output { reason: text()? }),
        tag => return Err(malformed(format!("an answer of an unknown kind ({tag})"))),
    })
}
