//! Tests of the wait queue, on a pool of units as plain as can be.

use std::future::poll_fn;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Instant;

use super::*;
use crate::shim::Ordering::AcqRel;
use crate::shim::Ordering::SeqCst;
use crate::test_util::{Count, FakeTask};
use crate::testing::block_on;

mod model;
#[cfg(not(filch_loom))]
mod unit;

/// Units and a queue: what is left of a semaphore when all that can be spared is.
struct Pool {
    free: AtomicUsize,
    queue: WaitQueue,
}

impl Pool {
    fn new(free: usize) -> Pool {
        Pool { free: AtomicUsize::new(free), queue: WaitQueue::new() }
    }

    fn fair(free: usize) -> Pool {
        Pool { free: AtomicUsize::new(free), queue: WaitQueue::fair() }
    }

    /// As weak as the queue allows, so that the models show what its fences do.
    fn free(&self) -> usize {
        self.free.load(Relaxed)
    }

    fn take(&self, n: usize) -> Option<()> {
        let mut free = self.free();
        while free >= n {
            match self.free.compare_exchange(free, free - n, AcqRel, Relaxed) {
                Ok(_) => return Some(()),
                Err(now) => free = now,
            }
        }
        None
    }

    #[cfg(not(filch_loom))]
    fn try_take(&self, n: usize) -> bool {
        self.queue.try_claim(|| self.take(n)).is_some()
    }

    fn put(&self, n: usize) {
        self.free.fetch_add(n, SeqCst);
        self.queue.release(|| self.free());
    }

    fn put_one(&self) {
        self.free.fetch_add(1, SeqCst);
        self.queue.release_one(|| self.free());
    }

    fn poll(&self, waiter: Pin<&mut Waiter>, need: impl Into<Need>, cx: &mut Context<'_>) -> Poll<()> {
        let need = need.into();
        let n = need.units;
        match waiter.poll_claim(&self.queue, need, || self.free(), || self.take(n), cx) {
            Poll::Ready(Outcome::Taken(())) => Poll::Ready(()),
            Poll::Ready(Outcome::Told(message)) => panic!("told {message}"),
            Poll::Pending => Poll::Pending,
        }
    }

    async fn claim(&self, n: usize) {
        let mut waiter = pin!(Waiter::new());
        poll_fn(|cx| self.poll(waiter.as_mut(), n, cx)).await;
    }

    #[cfg(not(filch_loom))]
    async fn claim_at(&self, units: usize, place: Place) {
        let mut waiter = pin!(Waiter::new());
        poll_fn(|cx| self.poll(waiter.as_mut(), Need { units, place }, cx)).await;
    }

    fn claim_blocking(&self, n: usize, deadline: Option<Instant>) -> bool {
        Waiter::claim_blocking(&self.queue, n, || self.free(), || self.take(n), deadline).is_some()
    }
}

/// A future that anybody may poll and drop.
type Boxed = Pin<Box<dyn Future<Output = ()> + Send>>;

fn claim(pool: &Arc<Pool>, n: usize) -> Boxed {
    let pool = pool.clone();
    Box::pin(async move { pool.claim(n).await })
}

fn told(queue: &Arc<WaitQueue>, word: usize) -> Pin<Box<dyn Future<Output = usize> + Send>> {
    let queue = queue.clone();
    Box::pin(async move {
        let mut waiter = pin!(Waiter::new());
        let outcome = poll_fn(|cx| waiter.as_mut().poll_told(&queue, word, || None::<()>, cx)).await;
        match outcome {
            Outcome::Told(message) => message,
            Outcome::Taken(()) => unreachable!(),
        }
    })
}
