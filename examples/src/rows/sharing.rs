//! Rows 46, 47, 52, 53, 55 and 56: things built of locks that many share. Most are demos of their own.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use filch::sync::Lock;

use super::Half::{Tasks, Threads};
use super::help::{demo_on_tasks, demo_on_threads, on_tasks};
use super::{Check, row};
use crate::story::{Story, each_task, each_thread};
use crate::{bank_account, bounded_buffer, connection_pool, counters, readers_writers};

pub(super) const CHECKS: &[Check] = &[
    row(46, Threads, bounded_buffer_on_threads),
    row(46, Tasks, bounded_buffer_on_tasks),
    row(47, Threads, readers_writers_on_threads),
    row(47, Tasks, readers_writers_on_tasks),
    row(52, Threads, atomic_counter_on_threads),
    row(52, Tasks, atomic_counter),
    row(53, Threads, counters_on_threads),
    row(53, Tasks, counters_on_tasks),
    row(55, Threads, bank_account_on_threads),
    row(55, Tasks, bank_account_on_tasks),
    row(56, Threads, connection_pool_on_threads),
    row(56, Tasks, connection_pool_on_tasks),
];

fn bounded_buffers(story: &mut Story, of: &str) {
    let plan = bounded_buffer::Plan { capacity: 3, each: 2, items: 100 };
    let outcomes = on_tasks(bounded_buffer::all(plan)).expect("no task panics");
    for outcome in outcomes.iter().filter(|outcome| outcome.name.starts_with(of)) {
        story.equal(
            &format!("{}: bounded, each item once, in order", outcome.name),
            outcome.check(&plan),
            Ok(()),
        );
    }
}

fn bounded_buffer_on_threads(story: &mut Story) {
    bounded_buffers(story, "threads");
}

fn bounded_buffer_on_tasks(story: &mut Story) {
    bounded_buffers(story, "tasks");
}

const READERS: readers_writers::Plan = readers_writers::Plan { readers: 4, writers: 2, times: 30 };

fn readers_writers_on_threads(story: &mut Story) {
    demo_on_threads(READERS, story);
}

fn readers_writers_on_tasks(story: &mut Story) {
    demo_on_tasks(READERS, story);
}

fn tell_increments(story: &mut Story, values: Vec<Vec<u64>>) {
    let all: BTreeSet<_> = values.iter().flatten().copied().collect();
    story.is("each increment gives a value that no other gave", all.into_iter().eq(1..=400));
    story.is("and each sees its own grow", values.iter().all(|own| own.is_sorted()));
}

fn atomic_counter_on_threads(story: &mut Story) {
    let counter = AtomicU64::new(0);
    let increment = || 1 + counter.fetch_add(1, Ordering::Relaxed);
    tell_increments(story, each_thread(4, |_| (0..100).map(|_| increment()).collect()));
}

fn atomic_counter(story: &mut Story) {
    let counter = Arc::new(AtomicU64::new(0));
    let values = on_tasks(each_task(4, |_| {
        let counter = counter.clone();
        async move {
            let mut own = Vec::new();
            for _ in 0..100 {
                own.push(1 + counter.fetch_add(1, Ordering::Relaxed));
                filch::yield_now().await;
            }
            own
        }
    }));
    tell_increments(story, values);
}

/// The guides' second counter: 16 locks, each with a part of the sum, which is read under one lock after another.
struct Bucketed([Lock<u64>; 16]);

impl Bucketed {
    fn new() -> Bucketed {
        Bucketed([const { Lock::new(0) }; 16])
    }

    fn add_blocking(&self, bucket: usize, n: u64) {
        *self.0[bucket].lock_blocking() += n;
    }

    /// `between` runs when the first half of the buckets was read.
    fn get_blocking(&self, between: impl FnOnce()) -> u64 {
        let first: u64 = self.0[..8].iter().map(|bucket| *bucket.lock_blocking()).sum();
        between();
        first + self.0[8..].iter().map(|bucket| *bucket.lock_blocking()).sum::<u64>()
    }
}

fn tell_no_snapshot(story: &mut Story, seen: u64, at_last: u64) {
    // 1 is added to the first bucket, then 10 to the last: 0, 1 and 11 are the values that ever were.
    story.equal("a sum under each lock in turn is no value that ever was", seen, 10);
    story.equal("when nobody counts any more, it is right", at_last, 11);
}

fn counters_on_threads(story: &mut Story) {
    demo_on_threads(counters::Plan { people: 4, times: 200 }, story);
    let buckets = Bucketed::new();
    let seen = buckets.get_blocking(|| {
        buckets.add_blocking(0, 1);
        buckets.add_blocking(15, 10);
    });
    tell_no_snapshot(story, seen, buckets.get_blocking(|| ()));
}

fn counters_on_tasks(story: &mut Story) {
    demo_on_tasks(counters::Plan { people: 4, times: 200 }, story);
    let buckets = Arc::new(Bucketed::new());
    let (seen, at_last) = on_tasks(async {
        let mut seen = 0;
        for (at, bucket) in buckets.0.iter().enumerate() {
            seen += *bucket.lock().await;
            if at == 7 {
                let other = buckets.clone();
                let adds = filch::spawn(async move {
                    *other.0[0].lock().await += 1;
                    *other.0[15].lock().await += 10;
                });
                adds.await.expect("no panic");
            }
        }
        (seen, buckets.get_blocking(|| ()))
    });
    tell_no_snapshot(story, seen, at_last);
}

/// The guides' numbers: ten take out 10 a hundred times, of 1,000.
const ACCOUNT: bank_account::Plan = bank_account::Plan { balance: 1_000, people: 10, times: 100, amount: 10 };

fn bank_account_on_threads(story: &mut Story) {
    demo_on_threads(ACCOUNT, story);
}

fn bank_account_on_tasks(story: &mut Story) {
    demo_on_tasks(ACCOUNT, story);
}

const CONNECTIONS: connection_pool::Plan =
    connection_pool::Plan { connections: 3, users: 6, queries: 5, query_us: 20 };

fn connection_pool_on_threads(story: &mut Story) {
    demo_on_threads(CONNECTIONS, story);
}

fn connection_pool_on_tasks(story: &mut Story) {
    demo_on_tasks(CONNECTIONS, story);
}
