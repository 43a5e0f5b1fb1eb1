//! Models of the re-entrant lock: every interleaving under loom, a stress test elsewhere.

use super::*;
use crate::shim::Ordering::Relaxed;
use crate::shim::task::AtomicUsize;
use crate::shim::{model, thread};

type Locked = Arc<RLock<AtomicUsize>>;

fn locked() -> Locked {
    Arc::new(RLock::new(AtomicUsize::new(0)))
}

/// Not a read-modify-write: the lock alone keeps two of these apart.
fn add_one(value: &AtomicUsize) {
    value.store(value.load(Relaxed) + 1, Relaxed);
}

fn add_twice(lock: &Locked) -> thread::JoinHandle<()> {
    let lock = lock.clone();
    thread::spawn(move || {
        let outer = lock.lock_blocking();
        add_one(&outer);
        add_one(&lock.lock_blocking());
    })
}

#[test]
fn model_two_threads_that_nest() {
    model(|| {
        let lock = locked();
        let others = [(); 2].map(|()| add_twice(&lock));
        add_one(&block_on(lock.lock()).unwrap());
        for other in others {
            other.join().unwrap();
        }
        assert_eq!((lock.depth(), lock.lock_blocking().load(Relaxed)), (0, 5));
    });
}

/// One of two guards is dropped on another thread, while the owner takes the lock again and a third waits.
#[test]
fn model_guards_that_are_dropped_elsewhere() {
    model(|| {
        let lock = locked();
        let guards = [(); 2].map(|()| lock.clone().lock_owned_blocking());
        let [one, two] = guards;
        let elsewhere = thread::spawn(move || {
            add_one(&one);
            drop(one);
        });
        let waiter = {
            let lock = lock.clone();
            thread::spawn(move || add_one(&lock.lock_blocking()))
        };
        drop(two);
        drop(lock.lock_blocking());
        elsewhere.join().unwrap();
        waiter.join().unwrap();
        assert_eq!((lock.depth(), lock.lock_blocking().load(Relaxed)), (0, 2));
    });
}

#[test]
fn model_unlock_against_cancel() {
    model(|| {
        let lock = locked();
        let held = lock.clone().lock_owned_blocking();
        let mut given_up = Box::pin(lock.clone().lock_owned());
        assert!(Count::new().poll(given_up.as_mut()).is_pending());
        let unlocker = thread::spawn(move || drop(held));
        let canceller = thread::spawn(move || drop(given_up));
        add_one(&block_on(lock.lock()).unwrap());
        unlocker.join().unwrap();
        canceller.join().unwrap();
        assert_eq!((lock.depth(), lock.lock_blocking().load(Relaxed)), (0, 1));
    });
}
