//! Layer 0, tests only. What drives futures in the tests of this crate, under std and under loom alike.
//!
//! Owns a waker that counts and unparks, and `FakeTask`, which does to a header what a runtime
//! with the probe does. Called by the `tests` modules.

use std::future::Future;
use std::pin::Pin;
use std::ptr;
use std::sync::{Arc, Once};
use std::task::{Context, Poll, Wake, Waker};

use crate::probe::{self, Header, Hooks};
use crate::shim::Ordering::SeqCst;
use crate::shim::Parker;
use crate::shim::task::AtomicUsize;

/// Counts its wakes, and unparks the thread that made it.
#[derive(Debug)]
pub(crate) struct Count(pub(crate) AtomicUsize, Parker);

impl Count {
    pub(crate) fn new() -> Arc<Count> {
        Arc::new(Count(AtomicUsize::new(0), Parker::new()))
    }

    pub(crate) fn get(&self) -> usize {
        self.0.load(SeqCst)
    }

    /// Parks this thread, which made the counter, until there were `n` wakes.
    pub(crate) fn wait_for(&self, n: usize) {
        while self.get() < n {
            self.1.park_until(None);
        }
    }

    /// Polls once with a waker that counts here.
    pub(crate) fn poll<F: Future + ?Sized>(self: &Arc<Count>, future: Pin<&mut F>) -> Poll<F::Output> {
        future.poll(&mut Context::from_waker(&Waker::from(self.clone())))
    }
}

impl Wake for Count {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, SeqCst);
        self.1.unpark();
    }
}

/// A task as a runtime with the probe would keep it: a header, and a waker that counts.
pub(crate) struct FakeTask {
    pub(crate) header: Arc<Header>,
    pub(crate) wakes: Arc<Count>,
}

impl FakeTask {
    pub(crate) fn new(id: u64) -> FakeTask {
        static HOOKS: Once = Once::new();
        HOOKS.call_once(|| {
            let retain = |header: &Header| {
                // SAFETY: every header of the tests lies in an `Arc`, see `new`.
                unsafe { Arc::increment_strong_count(ptr::from_ref(header)) }
            };
            let release = |header: *const Header| {
                // SAFETY: this gives back the count that `retain` took.
                unsafe { Arc::decrement_strong_count(header) }
            };
            // SAFETY: the hooks count the header, as `Hooks` asks.
            unsafe { probe::install(Hooks { retain, release }) }
        });
        FakeTask { header: Arc::new(Header::new(id, 0)), wakes: Count::new() }
    }

    /// One poll of the task, which `f` does, and what a runtime does before and after it.
    pub(crate) fn poll<R>(&self, f: impl FnOnce(&mut Context<'_>) -> R) -> R {
        let waker = Waker::from(self.wakes.clone());
        self.header.start_poll();
        // SAFETY: the header outlives this call, which puts back what was there before.
        let before = unsafe { probe::set_current(Arc::as_ptr(&self.header)) };
        let out = f(&mut Context::from_waker(&waker));
        // SAFETY: this was valid until here.
        unsafe { probe::set_current(before) };
        if self.header.end_poll() {
            probe::settle_grants(&self.header);
        }
        out
    }

    /// One poll of the task, which polls nothing but `future`.
    pub(crate) fn poll_one<F: Future + ?Sized>(&self, future: Pin<&mut F>) -> Poll<F::Output> {
        self.poll(|cx| future.poll(cx))
    }
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
