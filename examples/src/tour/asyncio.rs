//! The part about the toolbox: waiting for several, limits, generators, and what goes wrong.
#![forbid(unsafe_code)]

use super::primitives::demo;
use super::{Error, Part};
use crate::{
    async_generator, context_manager, debounce_throttle, gather_errors, livelock, promises,
    rate_limited_client, retry_backoff, sequential_concurrent, starvation, timeouts,
};

pub(super) async fn show(part: &mut Part) -> Result<(), Error> {
    let plan = sequential_concurrent::Plan { waits: 3, unit_ms: 5 };
    demo(part, plan, "waits of 3, 2 and 1 s take 6 s one after the other, and 3 s at once").await?;
    let plan = gather_errors::Plan { jobs: 5 };
    demo(part, plan, "of gathered jobs that fail, errors and panics are values, or the first ends all")
        .await?;
    let plan = promises::Plan { servers: 4 };
    demo(part, plan, "all, allSettled, race and any; the others are dropped when they do not matter").await?;
    let plan = timeouts::Plan { slow: 5, limit: 2 };
    demo(part, plan, "what is late is dropped to the tick, but for what is shielded").await?;
    let plan = context_manager::Plan { open_ms: 100, use_ms: 1_000 };
    demo(part, plan, "what was opened is closed: after an error, a panic, and when it is given up").await?;
    let plan = async_generator::Plan { items: 5, every_ms: 100 };
    demo(part, plan, "a loop emits items: lazily, at rest in between, closed early, answered").await?;
    let plan = rate_limited_client::Plan { requests: 30, max: 10, period_ms: 50, at_once: 3 };
    demo(part, plan, "a client keeps to a rate: the server counts, and refuses nothing").await?;
    let plan = debounce_throttle::Plan { quiet_ms: 300, interval_ms: 100 };
    demo(part, plan, "typing makes one search, and scrolling few drawings").await?;
    let plan = retry_backoff::Plan { failures: 3, first_ms: 100 };
    demo(part, plan, "what failed is tried again, after pauses that double, or of chance").await?;
    let plan = livelock::Plan { rounds: 100 };
    demo(part, plan, "two make way for each other for ever, until chance or order lets them through").await?;
    let plan = starvation::Plan { urgent: 1_000, age: 10 };
    demo(part, plan, "who waits behind urgent jobs gets a turn where the queue minds its age").await
}
