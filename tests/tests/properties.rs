//! The promise: whatever is done in whatever order, with waits given up at any point, each primitive does what a plain
//! model of it does; and in the end nobody waits for something that is there.
//!
//! One thread: random programs of operations, polls and drops, shrunk to the shortest one that fails. What is tested
//! so beside the code already is not here: the ring, the queues, the channel, and `Notify`, of which all short
//! histories are tried.
#![allow(missing_docs)]

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Poll, Waker};

use filch::testing::{Wakes, poll_with};
use proptest::test_runner::Config;

#[path = "properties/broadcast.rs"]
mod broadcast;
#[path = "properties/locks.rs"]
mod locks;
#[path = "properties/pool.rs"]
mod pool;
#[path = "properties/select.rs"]
mod select;
#[path = "properties/semaphore.rs"]
mod semaphore;
#[path = "properties/signals.rs"]
mod signals;
#[path = "properties/watch.rs"]
mod watch;

/// So many programs for each property. Nothing is written to disk: what fails is printed.
fn config() -> Config {
    Config { cases: 256, failure_persistence: None, ..Config::default() }
}

/// One that waits, with a waker of its own.
struct Waiting<'a, K, T> {
    key: K,
    future: Pin<Box<dyn Future<Output = T> + 'a>>,
    wakes: Arc<Wakes>,
    waker: Waker,
    seen: usize,
    polled: bool,
}

/// Those that wait, in the order in which they came.
struct Line<'a, K, T>(Vec<Waiting<'a, K, T>>);

impl<'a, K, T> Line<'a, K, T> {
    fn new() -> Line<'a, K, T> {
        Line(Vec::new())
    }

    fn add(&mut self, key: K, future: impl Future<Output = T> + 'a) {
        let (wakes, waker) = Wakes::new();
        self.0.push(Waiting { key, future: Box::pin(future), wakes, waker, seen: 0, polled: false });
    }

    /// The one that such a number means; none while nobody is there.
    fn pick(&self, number: usize) -> Option<usize> {
        number.checked_rem(self.0.len())
    }

    /// Polls it, woken or not. Who is ready leaves.
    fn poll(&mut self, index: usize) -> Option<(K, T)> {
        let waiting = &mut self.0[index];
        waiting.seen = waiting.wakes.count();
        waiting.polled = true;
        match poll_with(waiting.future.as_mut(), &waiting.waker) {
            Poll::Ready(output) => Some((self.0.remove(index).key, output)),
            Poll::Pending => None,
        }
    }

    /// Gives up. Whether it had been polled.
    fn drop_one(&mut self, index: usize) -> (K, bool) {
        let Waiting { key, polled, future, .. } = self.0.remove(index);
        drop(future);
        (key, polled)
    }

    fn is_woken(&self, index: usize) -> bool {
        self.0[index].wakes.count() > self.0[index].seen
    }

    /// Polls those that were woken, or were never polled, until nobody is left who was; `served` deals with each
    /// that is ready.
    fn settle(&mut self, mut served: impl FnMut(K, T)) {
        while let Some(index) = (0..self.0.len()).find(|&index| self.is_woken(index) || !self.0[index].polled)
        {
            if let Some((key, output)) = self.poll(index) {
                served(key, output);
            }
        }
    }
}
