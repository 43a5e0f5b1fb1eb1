//! The part about locks and channels: the demos of them, on threads and on tasks, with less to do.

use std::fmt::Display;

use super::{Error, Part};
use crate::story::{self, Halves};
use crate::{
    bank_account, connection_pool, counters, dining_philosophers, fair_lock, hybrid_channel, prime_sieve,
    readers_writers,
};

pub(super) async fn show(part: &mut Part) -> Result<(), Error> {
    let plan = bank_account::Plan { balance: 1_000, people: 10, times: 100, amount: 10 };
    demo(part, plan, "an account pays out what it has; with a check made too early, it does not").await?;
    let plan = connection_pool::Plan { connections: 3, users: 10, queries: 10, query_us: 100 };
    demo(part, plan, "a pool lends no connection too many, and gets back each, even from who panics").await?;
    demo(part, fair_lock::Plan { waiters: 8 }, "a fair lock keeps the line, also when somebody leaves it")
        .await?;
    let plan = readers_writers::Plan { readers: 5, writers: 3, times: 50 };
    demo(part, plan, "many read or one writes, under three policies").await?;
    let plan = counters::Plan { people: 5, times: 1_000 };
    demo(part, plan, "six ways to count together lose nothing").await?;
    let plan = dining_philosophers::Plan { philosophers: 5, meals: 50, seed: 1 };
    demo(part, plan, "philosophers starve, until they take their forks in order, at once, or by chance")
        .await?;
    let plan = prime_sieve::Plan { primes: 50, capacity: 0 };
    demo(part, plan, "a chain of 50 channels sieves primes, and ends when nobody listens").await?;
    let plan = hybrid_channel::Plan { senders: 4, receivers: 2, messages: 1_000, capacity: 16 };
    demo(part, plan, "one channel for threads and tasks: hands over, holds back, selects, closes").await
}

/// One claim for a demo, that all of its claims hold; else what does not hold.
pub(super) async fn demo(part: &mut Part, plan: impl Halves, claim: impl Display) -> Result<(), Error> {
    let stories = story::of_all(plan).await?;
    let failures: Vec<_> = stories.iter().flat_map(story::Story::failures).collect();
    match &failures[..] {
        [] => part.show(true, claim),
        failures => part.show(false, format_args!("{claim}: {}", failures.join("; "))),
    }
    Ok(())
}
