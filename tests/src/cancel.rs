//! Drops an operation at each of its polls, to see what is lost.

use std::future::{Future, poll_fn};
use std::pin::pin;
use std::task::Poll;

/// Where an operation is dropped.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Cut {
    polls: usize,
    /// Not right after the last poll, but once it was woken after it: what it was given on the way is in its hands.
    woken: bool,
}

impl Cut {
    /// Runs `operation` up to the cut and drops it there. `Some`: it was ready before.
    pub async fn run<F: Future>(self, operation: F) -> Option<F::Output> {
        if self.polls == 0 {
            drop(operation);
            return None;
        }
        let mut operation = pin!(operation);
        let mut polls = 0;
        poll_fn(|cx| {
            if polls == self.polls {
                return Poll::Ready(None);
            }
            polls += 1;
            match operation.as_mut().poll(cx) {
                Poll::Ready(output) => Poll::Ready(Some(output)),
                Poll::Pending if polls == self.polls && !self.woken => Poll::Ready(None),
                Poll::Pending => Poll::Pending,
            }
        })
        .await
    }
}

/// Calls `round` with every cut there is: before the first poll, after each, and when woken after each. A
/// round makes the operation anew, runs it with [`Cut::run`], checks that nothing was lost, and says whether
/// the operation was ready. Returns the poll in which it was.
///
/// # Panics
/// When the operation is never ready.
pub async fn cancel_at_every_await(mut round: impl AsyncFnMut(Cut) -> bool) -> usize {
    for polls in 0..1_000 {
        let ready = round(Cut { polls, woken: false }).await;
        if ready {
            return polls;
        }
        if polls > 0 {
            round(Cut { polls, woken: true }).await;
        }
    }
    panic!("it is not ready after 1,000 polls");
}
