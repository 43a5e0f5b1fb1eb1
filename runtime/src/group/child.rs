//! Layer 5, group. A child of a group, as its task sees it.
//!
//! Owns the order of its end: the future is dropped, then the group is told how it ended, and then the task is done,
//! which the group waits for. Made by `shared`; run by the runtime.
#![forbid(unsafe_code)]

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use pin_project_lite::pin_project;

use super::outcome::Outcome;
use super::shared::Shared;
use crate::shim::Arc;

/// How a child ended, as far as its task knows before it is done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum How {
    /// It was dropped before its end.
    Cancelled,
    Panicked,
    Failed,
    Well,
}

/// Tells the group, once, when it is dropped.
pub(super) struct End<R: Outcome> {
    shared: Arc<Shared<R>>,
    key: usize,
    how: How,
}

impl<R: Outcome> End<R> {
    pub(super) fn new(shared: Arc<Shared<R>>, key: usize) -> End<R> {
        End { shared, key, how: How::Cancelled }
    }

    fn returned(&mut self, output: &R) {
        self.how = if output.is_failure() { How::Failed } else { How::Well };
    }

    /// Runs a job that blocks, to its end.
    pub(super) fn run(mut self, job: impl FnOnce() -> R) -> R {
        self.how = How::Panicked;
        let output = job();
        self.returned(&output);
        output
    }
}

impl<R: Outcome> Drop for End<R> {
    fn drop(&mut self) {
        self.shared.ended(self.key, self.how);
    }
}

pin_project! {
    /// The future of a child's task.
    pub(super) struct Child<R: Outcome, F> {
        #[pin]
        future: Option<F>,
        end: End<R>,
    }

    impl<R: Outcome, F> PinnedDrop for Child<R, F> {
        fn drop(this: Pin<&mut Self>) {
            let mut this = this.project();
            // Before `end`, which says that it is gone; should it panic, that too is told.
            let how = std::mem::replace(&mut this.end.how, How::Panicked);
            this.future.set(None);
            this.end.how = how;
        }
    }
}

impl<R: Outcome, F: Future<Output = R>> Child<R, F> {
    pub(super) fn new(future: F, end: End<R>) -> Child<R, F> {
        Child { future: Some(future), end }
    }
}

impl<R: Outcome, F: Future<Output = R>> Future for Child<R, F> {
    type Output = R;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<R> {
        let this = self.project();
        this.end.how = How::Panicked;
        let polled = this.future.as_pin_mut().expect("a task is not polled after its end").poll(cx);
        this.end.how = How::Cancelled;
        let output = ready!(polled);
        this.end.returned(&output);
        Poll::Ready(output)
    }
}
