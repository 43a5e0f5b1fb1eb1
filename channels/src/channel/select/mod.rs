//! One of several operations on channels: whichever can be done first, and no other.
//!
//! A [`Select`] holds *cases*, each a receive or a send on a channel of its own type, with a closure for what
//! then comes. Exactly one is done. It is awaited in a task, and has blocking forms for threads.
//!
//! - When several can be done, chance decides; with [`biased`](Select::biased), the order in which they
//!   were added.
//! - A receive from a channel that is closed and empty can be done, and so can a send to one that is closed:
//!   the closure gets an error.
//! - A send takes its message out of an `Option` when it is done. If another case was done, the message is
//!   still there; if there was none, the case is left out, as if it had not been added.
//!
//! # Examples
//! A worker that takes jobs, hands on results when somebody wants them, and stops when it is told to.
//! ```
//! use filch_channels::channel::{self, Select};
//!
//! enum Event {
//!     Job(u64),
//!     Sent,
//!     Stop,
//! }
//!
//! let (jobs, to_do) = channel::bounded(8);
//! let (done, results) = channel::rendezvous();
//! let (stop, stopped) = channel::bounded::<()>(1);
//! let worker = std::thread::spawn(move || {
//!     let mut result = None;
//!     let mut sum = 0;
//!     loop {
//!         let event = Select::new()
//!             .recv(&to_do, |job| job.map_or(Event::Stop, Event::Job))
//!             .send(&done, &mut result, |sent| sent.map_or(Event::Stop, |()| Event::Sent))
//!             .recv(&stopped, |_| Event::Stop)
//!             .select_blocking();
//!         match event {
//!             Event::Job(number) => sum += number,
//!             Event::Sent => {}
//!             Event::Stop => return sum,
//!         }
//!         result = Some(sum);
//!     }
//! });
//! futures_lite::future::block_on(async {
//!     jobs.send(1).await.unwrap();
//!     jobs.send(2).await.unwrap();
//!     while results.recv().await != Ok(3) {}
//!     stop.send(()).await.unwrap();
//! });
//! assert_eq!(worker.join().unwrap(), 3);
//! ```
//!
//! # Implementation
//! Layer 3. Owns the order in which cases are tried and what becomes of the others; a case is the work of an
//! operation (`ends/operation.rs`), whose place in line it keeps. Called by user code only.
//!
//! 1. First each case is tried without waiting. Nobody knows of us yet, so the first that succeeds is the
//!    one.
//! 2. Else all stand in line. From a line of units one is only invited: we come, and what we take is the one.
//!    In a place of meeting (`ends/meet.rs`) the other side may do our part; so if there is such a case, all
//!    share a decision, and whoever is about to do a case, we or another, decides first.
//! 3. When one is done the others leave, before the closure runs: invitations pass on, messages come back.
#![forbid(unsafe_code)]

use std::error::Error;
use std::fmt;
use std::future::Future;
use std::marker::PhantomData;
use std::panic::Location;
use std::pin::{Pin, pin};
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};

use pin_project_lite::pin_project;

use super::ends::decision::Decision;
use super::ends::operation::Work;
pub use super::ends::{Receives, Sends};
use super::error::{RecvError, SendError};
use crate::block;
use crate::probe::{self, Wait};
use crate::shim::Arc;

mod cases;
#[cfg(test)]
mod tests;

pub use cases::{And, Case, Cases, Nothing};

/// The most cases a select has.
const CASES_MAX: usize = 32;

pin_project! {
    /// One of several operations on channels, under way: a future of what its closure makes of it. See the
    /// [module](self).
    ///
    /// `C` is the list of cases, and grows with each that is added.
    ///
    /// # Cancel safety
    /// **Loses its place in line.** No message is lost: one that was not received stays in its channel, or
    /// goes to the next receiver; one that was not sent is in its `Option` again.
    ///
    /// # Panics
    /// When it is polled without any case, which would wait for ever, and when it is polled after it was
    /// ready.
    #[must_use = "a select does nothing unless it is awaited, or one of its blocking forms is called"]
    pub struct Select<C, R> {
        #[pin]
        cases: C,
        biased: bool,
        stage: Stage,
        // Made when we first wait, if others may do our part.
        decision: Option<Arc<Decision>>,
        location: &'static Location<'static>,
        output: PhantomData<fn() -> R>,
    }
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Stage {
    New,
    Waits,
    Done,
}

impl<R> Select<Nothing, R> {
    /// A select without a case.
    #[track_caller]
    pub fn new() -> Select<Nothing, R> {
        Select {
            cases: Nothing,
            biased: false,
            stage: Stage::New,
            decision: None,
            location: Location::caller(),
            output: PhantomData,
        }
    }
}

impl<R> Default for Select<Nothing, R> {
    #[track_caller]
    fn default() -> Select<Nothing, R> {
        Select::new()
    }
}

impl<C: Cases<R>, R> Select<C, R> {
    fn add<W: Work, F>(self, work: W, handler: F) -> Select<And<C, W, F>, R> {
        const { assert!(C::COUNT < CASES_MAX, "a select has at most 32 cases") };
        let Select { cases, biased, stage, decision, location, output } = self;
        Select { cases: And::new(cases, Case::new(work, handler)), biased, stage, decision, location, output }
    }

    /// Adds a case: receive from `receiver`, which is a `&Receiver`, or a `&mut` one that is the only one of
    /// its channel. `handler` gets the message, or the error.
    pub fn recv<E, F>(self, receiver: E, handler: F) -> Select<And<C, E::Work, F>, R>
    where
        E: Receives,
        F: FnOnce(Result<E::Message, RecvError>) -> R,
    {
        self.add(receiver.work(), handler)
    }

    /// Adds a case: send what is in `message` through `sender`, which is a `&Sender`, or a `&mut` one that is
    /// the only one of its channel. `message` is empty afterwards exactly if it was sent. If it is empty
    /// before, the case is left out.
    pub fn send<'a, E, F>(
        self,
        sender: E,
        message: &'a mut Option<E::Message>,
        handler: F,
    ) -> Select<And<C, E::Work, F>, R>
    where
        E: Sends<'a>,
        F: FnOnce(Result<(), SendError<()>>) -> R,
    {
        self.add(sender.work(message), handler)
    }

    /// When several cases can be done, the one that was added first is.
    ///
    /// Then a case that can always be done keeps all after it from ever being done.
    pub fn biased(mut self) -> Select<C, R> {
        self.biased = true;
        self
    }

    /// Waits in a task until one is done, or `deadline` is ready; any future will do. When both are at once,
    /// the case wins.
    ///
    /// # Examples
    /// ```
    /// use filch_channels::channel::{self, Select};
    ///
    /// # futures_lite::future::block_on(async {
    /// let (_tx, rx) = channel::bounded::<u8>(1);
    /// let soon = async { "nothing came" };
    /// let result = Select::new().recv(&rx, |message| message.unwrap()).until(soon).await;
    /// assert_eq!(result, Err("nothing came"));
    /// # });
    /// ```
    ///
    /// # Errors
    /// What `deadline` ended with, if that was first.
    ///
    /// # Cancel safety
    /// **Loses its place in line.** As for the select itself; `deadline` is dropped.
    pub fn until<F: Future>(self, deadline: F) -> Until<C, R, F> {
        Until { select: self, deadline }
    }

    /// Does one if that is possible at once.
    ///
    /// # Errors
    /// [`TrySelectError`] when none is.
    pub fn try_select(self) -> Result<R, TrySelectError> {
        pin!(self).attempt().ok_or(TrySelectError(()))
    }

    /// Waits on this thread until one is done.
    ///
    /// # Panics
    /// Without any case, as that would be for ever.
    #[track_caller]
    pub fn select_blocking(self) -> R {
        assert!(C::COUNT > 0, "a select without a case waits for ever");
        self.block(None).unwrap_or_else(|| unreachable!("there is no deadline"))
    }

    /// Waits on this thread until one is done, for at most `timeout`.
    ///
    /// # Errors
    /// [`SelectTimeoutError`] when none was in time.
    pub fn select_timeout(self, timeout: Duration) -> Result<R, SelectTimeoutError> {
        self.block(block::deadline_after(timeout)).ok_or(SelectTimeoutError(()))
    }

    /// Waits on this thread until one is done, but not longer than `deadline`.
    ///
    /// # Errors
    /// [`SelectTimeoutError`] when none was in time.
    pub fn select_deadline(self, deadline: Instant) -> Result<R, SelectTimeoutError> {
        self.block(Some(deadline)).ok_or(SelectTimeoutError(()))
    }

    fn block(self, deadline: Option<Instant>) -> Option<R> {
        let mut select = pin!(self);
        if let Some(output) = select.as_mut().attempt() {
            return Some(output);
        }
        let done = block::block_until(deadline, |cx| select.as_mut().advance(cx));
        done.or_else(|| select.withdraw())
    }

    /// The order in which the cases are tried.
    fn order(&self) -> impl Iterator<Item = usize> + use<C, R> {
        let mut order = [0; CASES_MAX];
        for (index, place) in order.iter_mut().enumerate() {
            *place = index as u8;
        }
        if !self.biased && C::COUNT > 1 {
            let mut chance = probe::chance();
            for left in (2..=C::COUNT).rev() {
                let other = (chance % left as u64) as usize;
                chance = chance.rotate_right(7).wrapping_mul(0x9E37_79B9_7F4A_7C15);
                order.swap(left - 1, other);
            }
        }
        order.into_iter().take(C::COUNT).map(usize::from)
    }

    /// Step 1.
    fn attempt(mut self: Pin<&mut Self>) -> Option<R> {
        for index in self.order() {
            if self.as_mut().project().cases.attempt(index) {
                return Some(self.finish(index));
            }
        }
        *self.project().stage = Stage::Waits;
        None
    }

    /// Steps 1 and 2.
    fn advance(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<R> {
        match self.stage {
            Stage::New => {
                if let Some(output) = self.as_mut().attempt() {
                    return Poll::Ready(output);
                }
            }
            Stage::Waits => {}
            Stage::Done => panic!("a select was polled after it was ready"),
        }
        if self.decision.is_none() && self.cases.may_be_met() {
            *self.as_mut().project().decision = Some(Arc::new(Decision::new()));
        }
        if let Some(index) = self.decided() {
            return Poll::Ready(self.settle(index));
        }
        for index in self.order() {
            let this = self.as_mut().project();
            if this.cases.poll(index, this.decision.as_ref(), cx) {
                return Poll::Ready(self.finish(index));
            }
        }
        // Another may have done a case while we looked at those after it.
        match self.decided() {
            Some(index) => Poll::Ready(self.settle(index)),
            None => Poll::Pending,
        }
    }

    fn decided(&self) -> Option<usize> {
        self.decision.as_ref().and_then(|decision| decision.get())
    }

    /// Another has done this case.
    fn settle(mut self: Pin<&mut Self>, index: usize) -> R {
        self.as_mut().project().cases.settle(index);
        self.finish(index)
    }

    /// Step 3.
    fn finish(self: Pin<&mut Self>, index: usize) -> R {
        let mut this = self.project();
        *this.stage = Stage::Done;
        this.cases.as_mut().leave();
        this.cases.run(index)
    }

    /// Gives up waiting. Some: one was done before.
    fn withdraw(mut self: Pin<&mut Self>) -> Option<R> {
        let withdrawn = self.decision.as_ref().map(|decision| decision.withdraw());
        if let Some(Err(index)) = withdrawn {
            return Some(self.settle(index));
        }
        let this = self.as_mut().project();
        *this.stage = Stage::Done;
        this.cases.leave();
        None
    }
}

impl<C: Cases<R>, R> Future for Select<C, R> {
    type Output = R;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<R> {
        assert!(C::COUNT > 0, "a select without a case waits for ever");
        ready!(probe::poll_budget(cx));
        let polled = self.as_mut().advance(cx);
        match polled {
            Poll::Ready(_) => probe::spend(),
            Poll::Pending => probe::waiting(Wait::Select, self.cases.address(), Some(self.location)),
        }
        polled
    }
}

impl<C, R> fmt::Debug for Select<C, R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Select").field("stage", &self.stage).finish_non_exhaustive()
    }
}

pin_project! {
    /// The future of [`Select::until`].
    #[derive(Debug)]
    #[must_use = "futures do nothing unless they are awaited"]
    pub struct Until<C, R, F> {
        #[pin]
        select: Select<C, R>,
        #[pin]
        deadline: F,
    }
}

impl<C: Cases<R>, R, F: Future> Future for Until<C, R, F> {
    type Output = Result<R, F::Output>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let mut this = self.project();
        if C::COUNT > 0 {
            if let Poll::Ready(output) = this.select.as_mut().poll(cx) {
                return Poll::Ready(Ok(output));
            }
        }
        let late = ready!(this.deadline.poll(cx));
        Poll::Ready(match this.select.withdraw() {
            Some(output) => Ok(output),
            None => Err(late),
        })
    }
}

/// No case of a select can be done at once.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct TrySelectError(());

impl fmt::Display for TrySelectError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("none of the operations can be done at once")
    }
}

impl Error for TrySelectError {}

/// No case of a select could be done in time.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct SelectTimeoutError(());

impl fmt::Display for SelectTimeoutError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("none of the operations could be done in time")
    }
}

impl Error for SelectTimeoutError {}
