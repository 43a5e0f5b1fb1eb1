//! Layer 3, gather. A set of children that grows while it is polled: what a `scope` polls.
//!
//! Owns the children, each in a place that the next one gets when it is done, so that memory follows the most
//! that there ever were at a time. Places are in chunks, each of which is as large as all before it, with a
//! `Ready` of its own; there are few of them, so that each poll can look at all. The rule of a turn is that of
//! `set`: each child that was woken is polled once. Called by `scope`.
#![forbid(unsafe_code)]

use std::collections::VecDeque;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use super::ready::Ready;
use super::set::Turn;

/// How many places the first chunk has.
const FIRST: usize = 8;

struct Chunk<F> {
    places: Box<[Option<F>]>,
    /// Dropped after the children, which may wake each other as they go.
    ready: Ready,
}

impl<F: Future<Output = ()> + Unpin> Chunk<F> {
    fn new(places: usize) -> Chunk<F> {
        Chunk { places: (0..places).map(|_| None).collect(), ready: Ready::new(places) }
    }
}

/// Whether a child that was polled is done. A place that was woken for a child that has left it may be empty.
fn poll_place<F: Future<Output = ()> + Unpin>(place: &mut Option<F>, cx: &mut Context<'_>) -> bool {
    place.as_mut().is_some_and(|child| Pin::new(child).poll(cx).is_ready())
}

/// See the head of the file. A child is addressed by its chunk and its place there.
pub(crate) struct Pool<F> {
    chunks: Vec<Chunk<F>>,
    free: Vec<(usize, usize)>,
    /// Children that were never polled, in the order in which they came.
    fresh: VecDeque<(usize, usize)>,
    left: usize,
}

impl<F: Future<Output = ()> + Unpin> Pool<F> {
    pub(crate) fn new() -> Pool<F> {
        Pool { chunks: Vec::new(), free: Vec::new(), fresh: VecDeque::new(), left: 0 }
    }

    /// How many children are not done.
    pub(crate) fn left(&self) -> usize {
        self.left
    }

    pub(crate) fn push(&mut self, child: F) {
        let (chunk, place) = self.free.pop().unwrap_or_else(|| {
            let places = self.chunks.iter().map(|chunk| chunk.places.len()).sum::<usize>().max(FIRST);
            self.free.extend((1..places).rev().map(|place| (self.chunks.len(), place)));
            self.chunks.push(Chunk::new(places));
            (self.chunks.len() - 1, 0)
        });
        self.chunks[chunk].places[place] = Some(child);
        self.fresh.push_back((chunk, place));
        self.left += 1;
    }

    /// Takes note of those woken since the last time: at the start of each poll of the parent, once, so that
    /// no child is found twice in it.
    pub(crate) fn begin(&mut self) {
        for chunk in &mut self.chunks {
            if !chunk.ready.find() {
                chunk.ready.take();
            }
        }
    }

    /// Polls the children whose turn it is. Pending: the turn is over, and the parent was woken.
    pub(crate) fn poll(&mut self, turn: &mut Turn, cx: &mut Context<'_>) -> Poll<()> {
        while let Some(&(chunk, place)) = self.fresh.front() {
            ready!(turn.go_on(cx));
            self.fresh.pop_front();
            let Chunk { places, ready } = &mut self.chunks[chunk];
            let is_done = ready.lend(place, |cx| poll_place(&mut places[place], cx));
            turn.polled();
            if is_done {
                self.remove(chunk, place);
            }
        }
        for chunk in 0..self.chunks.len() {
            while self.chunks[chunk].ready.find() {
                ready!(turn.go_on(cx));
                let Chunk { places, ready } = &mut self.chunks[chunk];
                let done = ready.lend_next(|place, cx| poll_place(&mut places[place], cx).then_some(place));
                turn.polled();
                if let Some(place) = done {
                    self.remove(chunk, place);
                }
            }
        }
        Poll::Ready(())
    }

    /// The parent sleeps until a child is woken. False: one was already.
    #[must_use]
    pub(crate) fn park(&mut self, cx: &mut Context<'_>) -> bool {
        self.chunks.iter_mut().all(|chunk| chunk.ready.park(cx.waker()))
    }

    fn remove(&mut self, chunk: usize, place: usize) {
        let child = self.chunks[chunk].places[place].take();
        self.free.push((chunk, place));
        self.left -= 1;
        // Last: its destructor may panic.
        drop(child);
    }
}

impl<F> Pool<F> {
    /// Drops all children.
    pub(crate) fn clear(&mut self) {
        self.free.clear();
        self.fresh.clear();
        self.left = 0;
        drop(std::mem::take(&mut self.chunks));
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;
    use std::rc::Rc;
    use std::task::Waker;

    use super::*;

    type Child = Pin<Box<dyn Future<Output = ()>>>;

    /// One poll of a parent.
    fn poll(pool: &mut Pool<Child>) -> Poll<()> {
        let cx = &mut Context::from_waker(Waker::noop());
        pool.begin();
        pool.poll(&mut Turn::begin(), cx)
    }

    /// Pending `polls` times, woken each time.
    async fn turns(polls: usize, count: Rc<Cell<usize>>) {
        for _ in 0..polls {
            count.set(count.get() + 1);
            futures_lite::future::yield_now().await;
        }
    }

    #[test]
    fn each_child_that_was_woken_is_polled_once_a_poll() {
        let (mut pool, count) = (Pool::<Child>::new(), Rc::<Cell<usize>>::default());
        for _ in 0..20 {
            pool.push(Box::pin(turns(2, count.clone())));
        }
        pool.push(Box::pin(std::future::pending()));
        for (polls, left) in [(20, 21), (40, 21), (40, 1)] {
            assert!(poll(&mut pool).is_ready());
            assert_eq!((count.get(), pool.left()), (polls, left));
        }
        assert!(pool.park(&mut Context::from_waker(Waker::noop())));
    }

    #[test]
    fn places_are_used_again() {
        let mut pool = Pool::<Child>::new();
        for _ in 0..1_000 {
            for _ in 0..10 {
                pool.push(Box::pin(turns(1, Rc::default())));
            }
            assert!(poll(&mut pool).is_ready() && poll(&mut pool).is_ready());
            assert_eq!(pool.left(), 0);
        }
        assert_eq!(pool.chunks.iter().map(|chunk| chunk.places.len()).sum::<usize>(), 16);
    }

    #[test]
    fn a_turn_ends_and_the_others_come_next() {
        let (mut pool, count) = (Pool::<Child>::new(), Rc::<Cell<usize>>::default());
        for _ in 0..300 {
            pool.push(Box::pin(turns(1, count.clone())));
        }
        for polls in [128, 256] {
            assert!(poll(&mut pool).is_pending());
            assert_eq!(count.get(), polls);
        }
        while poll(&mut pool).is_pending() || pool.left() > 0 {}
        assert_eq!(count.get(), 300);
    }
}
