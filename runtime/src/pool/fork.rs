//! Layer 3, pool. Fork and join: two closures at once, and many, which may borrow.
//!
//! Owns the one promise that makes the borrow sound: a fork does not return, nor unwind, before its other
//! half is over. The other half is offered to the pool; who comes back and finds it in the queue still runs
//! it by itself, so that no thread waits for one that has not begun, and forks within forks end however few
//! threads there are. (Nobody waits but for a half that runs, and in each chain of these the last one waits
//! for nobody.) Called by user code.
#![allow(unsafe_code)]

use std::panic::{AssertUnwindSafe, Location, catch_unwind, resume_unwind};
use std::pin::pin;
use std::task::Poll;

use super::job::{JobError, Run, Work};
use super::thread_pool::ThreadPool;
use crate::shim::Arc;
use crate::util::block;

/// So many jobs a thread in the queue are enough for all to do: what is forked beyond is done by who forks
/// it.
const ENOUGH: usize = 4;

impl ThreadPool {
    /// Runs two closures, at the same time if a thread is free, and gives both outputs.
    ///
    /// The calling thread runs `a`, and `b` too if no thread of the pool has begun it by then. Both may
    /// borrow. It may be called in jobs of the pool, and within itself: while such a thread waits for a `b`
    /// that another runs, it runs other jobs of the pool. So hold no lock round it that jobs take.
    ///
    /// # Examples
    /// ```
    /// use filch::pool::ThreadPool;
    ///
    /// fn sum(pool: &ThreadPool, numbers: &[u64]) -> u64 {
    ///     if numbers.len() < 1_000 {
    ///         return numbers.iter().sum();
    ///     }
    ///     let (left, right) = numbers.split_at(numbers.len() / 2);
    ///     let (left, right) = pool.join(|| sum(pool, left), || sum(pool, right));
    ///     left + right
    /// }
    ///
    /// # fn main() -> std::io::Result<()> {
    /// let numbers: Vec<u64> = (0..100_000).collect();
    /// assert_eq!(sum(&ThreadPool::new(2)?, &numbers), 4_999_950_000);
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Panics
    /// When one of them does, and after both are over. If both do, it is the panic of `a`.
    #[track_caller]
    pub fn join<A, B, RA, RB>(&self, a: A, b: B) -> (RA, RB)
    where
        A: FnOnce() -> RA,
        B: FnOnce() -> RB + Send,
        RB: Send,
    {
        let work = Work::forked(b, Location::caller());
        if self.queued() < self.threads() * ENOUGH {
            self.offer(&work);
        }
        let a = catch_unwind(AssertUnwindSafe(a));
        let b = match work.claim() {
            Some(b) => catch_unwind(AssertUnwindSafe(b)),
            None => self.wait_for(&work).map_err(JobError::into_panic),
        };
        match (a, b) {
            (Ok(a), Ok(b)) => (a, b),
            (Err(payload), _) | (_, Err(payload)) => resume_unwind(payload),
        }
    }

    /// Runs `f` for each piece of so many items, on all threads and the calling one, and gives the outputs in
    /// order.
    ///
    /// The last piece may be shorter. Both `items` and `f` may borrow.
    ///
    /// # Examples
    /// ```
    /// # fn main() -> std::io::Result<()> {
    /// let pool = filch::pool::ThreadPool::new(2)?;
    /// let text = "a bc def ".repeat(1_000);
    /// let spaces = pool.map_chunks(text.as_bytes(), 1_024, |piece| piece.iter().filter(|b| **b == b' ').count());
    /// assert_eq!((spaces.len(), spaces.iter().sum::<usize>()), (9, 3_000));
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Panics
    /// When `size` is zero, and when `f` does, after all pieces that were begun are over.
    #[track_caller]
    pub fn map_chunks<T, R, F>(&self, items: &[T], size: usize, f: F) -> Vec<R>
    where
        T: Sync,
        R: Send,
        F: Fn(&[T]) -> R + Sync,
    {
        assert!(size > 0, "map_chunks needs pieces of one item at least");
        let mut outputs: Vec<Option<R>> = Vec::new();
        outputs.resize_with(items.len().div_ceil(size), || None);
        self.split(items, size, &mut outputs, &f);
        outputs.into_iter().flatten().collect()
    }

    #[track_caller]
    fn split<T, R, F>(&self, items: &[T], size: usize, outputs: &mut [Option<R>], f: &F)
    where
        T: Sync,
        R: Send,
        F: Fn(&[T]) -> R + Sync,
    {
        match outputs {
            [] => {}
            [output] => *output = Some(f(items)),
            _ => {
                let half = outputs.len() / 2;
                let (left, right) = items.split_at(half * size);
                let (left_out, right_out) = outputs.split_at_mut(half);
                self.join(|| self.split(left, size, left_out, f), || self.split(right, size, right_out, f));
            }
        }
    }

    /// Puts `work` into the queue, if there is room. The caller must not go away before it is claimed or
    /// over.
    fn offer<B, RB>(&self, work: &Arc<Work<B, RB>>)
    where
        B: FnOnce() -> RB + Send,
        RB: Send,
    {
        let run: Arc<dyn Run + '_> = work.clone();
        // SAFETY: the two differ in a lifetime only: that of what `B` and `RB` borrow. `join` does not return
        // or unwind before the closure has been taken out and has run, by `claim` or by a thread, and the
        // output has been taken out: after that nothing of either is left in the block, however long the
        // queue or a thread keeps it.
        let run = unsafe { std::mem::transmute::<Arc<dyn Run + '_>, Arc<dyn Run + 'static>>(run) };
        // Full, or shut down: then it is claimed again.
        let _ = self.0.queue.try_send(run);
    }

    /// Waits for a half that a thread has begun.
    fn wait_for<B, RB>(&self, work: &Work<B, RB>) -> Result<RB, JobError>
    where
        B: FnOnce() -> RB + Send,
        RB: Send,
    {
        if let Some(member) = self.0.crew.member() {
            loop {
                if let Some(result) = work.take_done() {
                    return result;
                }
                if !self.0.crew.lend_a_hand(member) {
                    break;
                }
            }
        }
        let mut over = pin!(std::future::poll_fn(|cx| match work.take_or_wait(cx.waker()) {
            Poll::Ready(result) => Poll::Ready(result),
            Poll::Pending => Poll::Pending,
        }));
        block::on(&mut over, None).expect("waits without a limit")
    }
}
