//! Layer 2, scheduler. The queue that any thread may push to, and workers take from in batches.
//!
//! A deque in a mutex and its length beside it, so that looking costs a load. A lock-free list was not tried
//! first: a push is followed by waking a worker, which costs a hundred times more than an uncontended lock,
//! and a worker takes many items for one lock. Generic; names no task.
#![forbid(unsafe_code)]

use std::collections::VecDeque;

use crate::shim::Mutex;
use crate::shim::Ordering::{Acquire, Release};
use crate::shim::shared::AtomicUsize;
use crate::util::pad::Padded;

pub(crate) struct Injector<T> {
    /// Written only under the lock.
    len: Padded<AtomicUsize>,
    queue: Padded<Mutex<VecDeque<T>>>,
}

impl<T> Injector<T> {
    pub(crate) fn new() -> Injector<T> {
        Injector { len: Padded(AtomicUsize::new(0)), queue: Padded(Mutex::new(VecDeque::new())) }
    }

    /// Whether there is nothing to take. A worker that is about to park has a fence before this; see `idle`.
    #[inline]
    pub(crate) fn is_empty(&self) -> bool {
        self.len() == 0
    }

    #[inline]
    pub(crate) fn len(&self) -> usize {
        // Ordering: Acquire pairs with the Release below; the items themselves are behind the lock.
        self.len.load(Acquire)
    }

    /// Appends one item. The caller then sees to it that a worker looks; see `idle`.
    pub(crate) fn push(&self, item: T) {
        self.push_batch([item]);
    }

    /// Appends many items under one lock.
    pub(crate) fn push_batch(&self, items: impl IntoIterator<Item = T>) {
        let mut queue = self.queue.lock();
        queue.extend(items);
        // Ordering: Release, here and below, pairs with the Acquire in `len`.
        self.len.store(queue.len(), Release);
    }

    /// Takes the oldest item, and hands up to `max` further ones to `more`, in order. `more` must not call
    /// back.
    pub(crate) fn pop_batch(&self, max: usize, mut more: impl FnMut(T)) -> Option<T> {
        if self.is_empty() {
            return None;
        }
        let mut queue = self.queue.lock();
        let first = queue.pop_front();
        let batch = max.min(queue.len());
        queue.drain(..batch).for_each(&mut more);
        self.len.store(queue.len(), Release);
        first
    }
}
