//! Layer 3, limit. The futures that wait for a limiter.
//!
//! Owns the stages of a wish to pass: new, in line, the head of the line, done. Called by `paced`.
#![forbid(unsafe_code)]

use std::fmt;
use std::future::Future;
use std::panic::Location;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use filch_channels::probe;
use filch_channels::sync::{LockGuard, Locking};
use pin_project_lite::pin_project;

use super::clock::Whose;
use super::error::TooMany;
use super::pace::Pace;
use super::paced::{Counted, Paced};
use crate::time::{Sleep, sleep_until};

pin_project! {
    /// What both futures do.
    struct Wish<'a, P> {
        paced: &'a Paced<P>,
        n: usize,
        location: &'static Location<'static>,
        // From when it first has to wait until it is out of line, so it is dropped after `stage`.
        #[pin]
        stage: Stage<'a>,
        counted: Option<Counted<'a>>,
    }
}

pin_project! {
    #[project = StageProjection]
    enum Stage<'a> {
        New,
        Line { #[pin] turn: Locking<'a, ()> },
        // The turn is passed on when this is dropped. The one timer of the limiter is here.
        Head { turn: LockGuard<'a, ()>, sleep: Sleep },
        Done,
    }
}

impl<'a, P: Pace> Wish<'a, P> {
    #[inline]
    fn new(paced: &'a Paced<P>, n: usize, location: &'static Location<'static>) -> Wish<'a, P> {
        Wish { paced, n, location, stage: Stage::New, counted: None }
    }

    #[inline]
    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let mut this = self.as_mut().project();
        if matches!(this.stage.as_mut().project(), StageProjection::New) {
            ready!(probe::poll_spend(cx));
            if this.paced.waiting() == 0 && this.paced.pass(*this.n, Whose::Runtimes).is_ok() {
                this.stage.set(Stage::Done);
                return Poll::Ready(());
            }
            probe::unspend();
        }
        self.poll_in_line(cx)
    }

    #[cold]
    fn poll_in_line(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let mut this = self.project();
        loop {
            match this.stage.as_mut().project() {
                StageProjection::New => {
                    *this.counted = Some(this.paced.count_in());
                    this.stage.set(Stage::Line { turn: this.paced.line().lock() });
                }
                StageProjection::Line { turn } => {
                    let turn = ready!(at(this.location, turn.poll(cx)));
                    let now = crate::time::Instant::now();
                    this.stage.set(Stage::Head { turn, sleep: sleep_until(now) });
                }
                StageProjection::Head { sleep, .. } => {
                    let Err(late) = this.paced.pass_exactly(*this.n, Whose::Runtimes) else {
                        this.stage.set(Stage::Done);
                        *this.counted = None;
                        probe::spend();
                        return Poll::Ready(());
                    };
                    sleep.reset(this.paced.until(&late));
                    ready!(at(this.location, Pin::new(sleep).poll(cx)));
                }
                StageProjection::Done => panic!("polled after it was ready"),
            }
        }
    }
}

/// If it is pending, the task waits at `location`, and not in here.
fn at<T>(location: &'static Location<'static>, poll: Poll<T>) -> Poll<T> {
    if poll.is_pending() {
        let (kind, resource) = probe::with_current(|task| {
            let (kind, resource, _) = task.map_or((probe::Wait::Unknown, 0, None), probe::Header::wait);
            (kind, resource as *const ())
        });
        probe::waiting(kind, resource, Some(location));
    }
    poll
}

impl<P> fmt::Debug for Wish<'_, P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let stage = match &self.stage {
            Stage::New => "new",
            Stage::Line { .. } => "in line",
            Stage::Head { .. } => "next",
            Stage::Done => "done",
        };
        f.debug_struct("Acquire").field("n", &self.n).field("stage", &stage).finish_non_exhaustive()
    }
}

pin_project! {
    /// The future of [`Paced::acquire`].
    ///
    /// # Panics
    /// When it is polled after it was ready, or has to wait outside of a filch runtime.
    ///
    /// # Cancel safety
    /// **Loses its place in line.** It counts only if it is ready.
    #[derive(Debug)]
    #[must_use = "futures do nothing unless they are awaited"]
    pub struct Acquire<'a, P> {
        #[pin]
        wish: Wish<'a, P>,
    }
}

impl<'a, P: Pace> Acquire<'a, P> {
    #[inline]
    pub(super) fn new(paced: &'a Paced<P>, location: &'static Location<'static>) -> Self {
        Acquire { wish: Wish::new(paced, 1, location) }
    }
}

impl<P: Pace> Future for Acquire<'_, P> {
    type Output = ();

    #[inline]
    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        self.project().wish.poll(cx)
    }
}

pin_project! {
    /// The future of [`Paced::acquire_many`].
    ///
    /// # Panics
    /// When it is polled after it was ready, or has to wait outside of a filch runtime.
    ///
    /// # Cancel safety
    /// **Loses its place in line.** It counts only if it is ready.
    #[derive(Debug)]
    #[must_use = "futures do nothing unless they are awaited"]
    pub struct AcquireMany<'a, P> {
        #[pin]
        wish: Wish<'a, P>,
    }
}

impl<'a, P: Pace> AcquireMany<'a, P> {
    #[inline]
    pub(super) fn new(paced: &'a Paced<P>, n: usize, location: &'static Location<'static>) -> Self {
        AcquireMany { wish: Wish::new(paced, n, location) }
    }
}

impl<P: Pace> Future for AcquireMany<'_, P> {
    type Output = Result<(), TooMany>;

    #[inline]
    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<(), TooMany>> {
        let wish = self.project().wish;
        wish.paced.check(wish.n)?;
        wish.poll(cx).map(Ok)
    }
}
