//! Layer 5, cleanup. What a future comes to, be it a panic.
//!
//! Called by `resource`, and by `scope` for its children.
#![forbid(unsafe_code)]

use std::future::{Future, poll_fn};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::pin;
use std::task::{Poll, ready};

use crate::util::wake::drop_payload;

/// The output of `future`, or what a panic carried, of its poll or its drop.
pub(crate) async fn caught<F: Future>(future: F) -> std::thread::Result<F::Output> {
    let mut future = pin!(Some(future));
    let mut output = None;
    let ended = poll_fn(|cx| {
        let polled = catch_unwind(AssertUnwindSafe(|| {
            output = Some(ready!(future.as_mut().as_pin_mut().expect("it is not done").poll(cx)));
            future.set(None);
            Poll::Ready(())
        }));
        match polled {
            Ok(poll) => poll.map(Ok),
            Err(payload) => {
                if let Err(second) = catch_unwind(AssertUnwindSafe(|| future.set(None))) {
                    drop_payload(second);
                }
                Poll::Ready(Err(payload))
            }
        }
    });
    ended.await.map(|()| output.expect("it is done"))
}
