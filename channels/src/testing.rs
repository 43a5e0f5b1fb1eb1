//! What the tests of the channels share: wakers that count or panic, messages that count their drops.
#![forbid(unsafe_code)]
#![cfg_attr(filch_loom, allow(dead_code))]

use std::future::Future;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll, Wake, Waker};

use crate::shim::Ordering::SeqCst;
use crate::shim::task::{AtomicBool, AtomicUsize};

/// A waker that counts.
#[derive(Debug)]
pub(crate) struct Wakes {
    count: AtomicUsize,
    panics: AtomicBool,
}

impl Wakes {
    pub(crate) fn new() -> (Arc<Wakes>, Waker) {
        let wakes = Arc::new(Wakes { count: AtomicUsize::new(0), panics: AtomicBool::new(false) });
        (wakes.clone(), Waker::from(wakes))
    }

    pub(crate) fn count(&self) -> usize {
        self.count.load(SeqCst)
    }

    /// From now on waking it panics.
    pub(crate) fn set_panic(&self) {
        self.panics.store(true, SeqCst);
    }
}

impl Wake for Wakes {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        self.count.fetch_add(1, SeqCst);
        assert!(!self.panics.load(SeqCst), "a waker of a test panics");
    }
}

/// Counts how many messages it made, and how many of them were dropped.
#[derive(Clone, Debug)]
pub(crate) struct Ledger(Arc<AtomicUsize>, Arc<AtomicUsize>);

/// A message that enters its drop in the ledger.
#[derive(Debug)]
pub(crate) struct Counted(Arc<AtomicUsize>, pub(crate) usize);

impl Ledger {
    pub(crate) fn new() -> Ledger {
        Ledger(Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)))
    }

    pub(crate) fn message(&self, id: usize) -> Counted {
        self.1.fetch_add(1, SeqCst);
        Counted(self.0.clone(), id)
    }

    pub(crate) fn made(&self) -> usize {
        self.1.load(SeqCst)
    }

    pub(crate) fn drops(&self) -> usize {
        self.0.load(SeqCst)
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.fetch_add(1, SeqCst);
    }
}

impl PartialEq for Counted {
    fn eq(&self, other: &Counted) -> bool {
        self.1 == other.1
    }
}

/// Polls once, with `waker`.
pub(crate) fn poll_with<F: Future>(future: Pin<&mut F>, waker: &Waker) -> Poll<F::Output> {
    future.poll(&mut Context::from_waker(waker))
}

/// Polls once, with a waker that does nothing.
pub(crate) fn poll_once<F: Future>(future: Pin<&mut F>) -> Poll<F::Output> {
    poll_with(future, Waker::noop())
}

/// Polls a future to its end on this thread, real or modelled.
pub(crate) fn block_on<F: Future>(future: F) -> F::Output {
    let mut future = pin!(future);
    crate::block::block_on(|cx| future.as_mut().poll(cx))
}

/// A plain generator of numbers, so that a failing run can be repeated.
#[derive(Debug)]
pub(crate) struct Random(pub(crate) u64);

impl Random {
    pub(crate) fn below(&mut self, limit: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 % limit as u64) as usize
    }
}
