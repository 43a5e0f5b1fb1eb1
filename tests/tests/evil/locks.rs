//! An evil waker in the lines of locks that are taken again, or together; evil values in locks.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering::SeqCst};
use std::time::Duration;

use filch::sync::{Condition, Lock, RLock, RwLock, lock_all, lock_all_timeout, try_lock_all};
use filch::testing::block_on;

use crate::tolerating;
use crate::values::evil_values;
use crate::wakers::{Waiting, hostile};

#[test]
fn r_lock() {
    hostile(|stage| {
        let lock = Arc::new(RLock::new(AtomicU32::new(0)));
        let one = lock.clone();
        stage.meddle(move || {
            drop(one.try_lock());
            drop(one.lock_timeout(Duration::ZERO));
        });
        let mut held = lock.try_lock().ok();
        let adds = || -> Waiting<'_> {
            Box::pin(async {
                lock.lock().await.expect("it has it not").fetch_add(1, SeqCst);
            })
        };
        stage.play(vec![adds(), adds(), adds()], || drop(held.take()));
        assert!((2..=3).contains(&lock.try_lock().unwrap().load(SeqCst)));
        assert_eq!(lock.depth(), 0);
    });
}

#[test]
fn several_locks() {
    hostile(|stage| {
        let locks = Arc::new([Lock::new(0), Lock::new(0)]);
        let one = locks.clone();
        stage.meddle(move || {
            let [first, second] = &*one;
            drop(try_lock_all([second, first]));
            drop(lock_all_timeout([first, second], Duration::ZERO));
        });
        let [first, second] = &*locks;
        let mut held = try_lock_all([first, second]).ok();
        let adds = || -> Waiting<'_> {
            Box::pin(async { lock_all([second, first]).await.into_iter().for_each(|mut value| *value += 1) })
        };
        stage.play(vec![adds(), adds(), adds()], || drop(held.take()));
        let [first, second] = try_lock_all([first, second]).unwrap();
        assert!((2..=3).contains(&*first) && *first == *second);
    });
}

/// A value that panics when it is replaced panics in the hands of whoever holds the lock, which is free then.
#[test]
fn values_in_locks() {
    evil_values(6, |evil| {
        let (lock, rw_lock, r_lock) =
            (Lock::new(evil.value(1)), RwLock::new(evil.value(2)), RLock::new(Lock::new(evil.value(3))));
        tolerating(|| *lock.lock_blocking() = evil.value(4));
        tolerating(|| block_on(async { *lock.lock().await = evil.value(5) }));
        tolerating(|| *rw_lock.write_blocking() = evil.value(6));
        tolerating(|| {
            let outer = r_lock.lock_blocking();
            *r_lock.lock_blocking().lock_blocking() = evil.value(7);
            drop(outer);
        });
        assert!(!lock.is_locked() && !r_lock.is_locked());
        assert!(rw_lock.try_write().is_ok());
        tolerating(|| drop(lock.into_inner()));
        (rw_lock, r_lock)
    });
}

/// The question that a wait asks panics: the lock is free, and whoever waits beside it hears of the next notification.
#[test]
fn a_question_that_panics() {
    evil_values(3, |evil| {
        let (lock, condition) = (Lock::new(Vec::new()), Condition::new());
        for id in 0..3 {
            let asks = |values: &mut Vec<_>| {
                values.push(evil.value(id));
                values.clear();
                false
            };
            tolerating(|| drop(condition.wait_while_blocking(lock.lock_blocking(), asks)));
            tolerating(|| drop(block_on(async { condition.wait_while(lock.lock().await, asks).await })));
            assert!(!lock.is_locked());
        }
        lock
    });
}
