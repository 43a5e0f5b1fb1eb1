//! Models of `OnceCell`: every interleaving under loom, a stress test elsewhere.

use super::*;
use crate::shim::Ordering::SeqCst;
use crate::shim::task::AtomicUsize;
use crate::shim::{model, thread};

/// A task, a thread and one that only waits: the value is made once, and all see the same.
#[test]
fn model_made_once() {
    model(|| {
        let shared = Arc::new((OnceCell::new(), AtomicUsize::new(0)));
        let make = |shared: &(OnceCell<usize>, AtomicUsize)| shared.1.fetch_add(1, SeqCst) + 10;
        let blocking = {
            let shared = shared.clone();
            thread::spawn(move || *shared.0.get_or_init_blocking(|| make(&shared)))
        };
        let waiting = {
            let shared = shared.clone();
            thread::spawn(move || *block_on(shared.0.wait()))
        };
        assert_eq!(*block_on(shared.0.get_or_init(async || make(&shared))), 10);
        assert_eq!((blocking.join().unwrap(), waiting.join().unwrap()), (10, 10));
        assert_eq!(shared.1.load(SeqCst), 1);
    });
}

/// The one that makes the value is dropped while another waits: that one makes it.
#[test]
fn model_cancelled_while_another_waits() {
    model(|| {
        let cell = Arc::new(OnceCell::new());
        let mut given_up = {
            let cell = cell.clone();
            Box::pin(async move { *cell.get_or_init(std::future::pending).await })
        };
        assert!(Count::new().poll(given_up.as_mut()).is_pending());
        let canceller = thread::spawn(move || drop(given_up));
        let blocking = {
            let cell = cell.clone();
            thread::spawn(move || *cell.get_or_init_blocking(|| 1))
        };
        let mine = *block_on(cell.get_or_init(async || 2));
        canceller.join().unwrap();
        assert_eq!(blocking.join().unwrap(), mine);
        assert_eq!(cell.get(), Some(&mine));
    });
}

/// A value is put in while one is made, which fails: one of the two gets through, and who waits sees it.
#[test]
fn model_set_and_a_failure() {
    model(|| {
        let cell = Arc::new(OnceCell::new());
        let setter = {
            let cell = cell.clone();
            thread::spawn(move || match cell.set(1) {
                Ok(()) => true,
                Err(error) => error.is_initializing_err(),
            })
        };
        let failing = {
            let cell = cell.clone();
            thread::spawn(move || cell.get_or_try_init_blocking(|| Err(())).copied())
        };
        let value = *block_on(cell.get_or_init(async || 2));
        let failed = failing.join().unwrap();
        assert!(setter.join().unwrap() || value == 2);
        assert!(failed.is_err() || failed == Ok(value));
        assert_eq!(cell.wait_timeout(Duration::ZERO), Some(&value));
    });
}
