//! Models of the lock: every interleaving under loom, a stress test elsewhere.

use super::*;
use crate::shim::{model, thread};

type Locked = Arc<Lock<usize>>;

fn add(lock: &Locked) -> thread::JoinHandle<()> {
    let lock = lock.clone();
    thread::spawn(move || *block_on(lock.lock()) += 1)
}

/// A task and two threads: what one did, the next one sees.
#[test]
fn model_hands_over_the_value() {
    model(|| {
        let lock = Arc::new(Lock::new(0));
        let task = add(&lock);
        let blocking = {
            let lock = lock.clone();
            thread::spawn(move || *lock.lock_blocking() += 1)
        };
        *block_on(lock.lock()) += 1;
        task.join().unwrap();
        blocking.join().unwrap();
        assert_eq!(*lock.try_lock().unwrap(), 3);
    });
}

#[test]
fn lk1_model_unlock_against_cancel() {
    for fair in [false, true] {
        model(move || {
            let lock = Arc::new(if fair { Lock::fair(0) } else { Lock::new(0) });
            let held = lock.clone().try_lock_owned().unwrap();
            let mut given_up = Box::pin(lock.clone().lock_owned());
            assert!(Count::new().poll(given_up.as_mut()).is_pending());
            let unlocker = thread::spawn(move || drop(held));
            let canceller = thread::spawn(move || drop(given_up));
            *block_on(lock.lock()) += 1;
            unlocker.join().unwrap();
            canceller.join().unwrap();
            assert_eq!((*lock.try_lock().unwrap(), lock.stats().waiting), (1, 0));
        });
    }
}

#[test]
fn model_try_lock_against_a_waiter() {
    model(|| {
        let lock = Arc::new(Lock::new(0));
        let held = lock.clone().try_lock_owned().unwrap();
        let waiter = add(&lock);
        let unlocker = thread::spawn(move || drop(held));
        let tried = lock.try_lock().map(|mut value| *value += 1).is_ok();
        waiter.join().unwrap();
        unlocker.join().unwrap();
        assert_eq!(*lock.try_lock().unwrap(), 1 + usize::from(tried));
    });
}

/// A deadline that comes together with the lock: one of the two wins, and the lock is not lost.
#[test]
fn model_deadline_against_unlock() {
    model(|| {
        let lock = Arc::new(Lock::fair(0));
        let held = lock.clone().try_lock_owned().unwrap();
        let late = {
            let lock = lock.clone();
            thread::spawn(move || lock.lock_timeout(Duration::ZERO).map(|mut value| *value += 1).is_ok())
        };
        let unlocker = thread::spawn(move || drop(held));
        *block_on(lock.lock()) += 1;
        let in_time = late.join().unwrap();
        unlocker.join().unwrap();
        assert_eq!(*lock.try_lock().unwrap(), 1 + usize::from(in_time));
    });
}

/// Two who want the same two locks, named in opposite orders.
#[test]
fn model_lock_all_crosswise() {
    model(|| {
        let locks = Arc::new([Lock::new(0), Lock::new(0)]);
        let other = {
            let locks = locks.clone();
            thread::spawn(move || {
                block_on(lock_all([&locks[1], &locks[0]])).into_iter().for_each(|mut value| *value += 1);
            })
        };
        lock_all_blocking([&locks[0], &locks[1]]).into_iter().for_each(|mut value| *value += 1);
        other.join().unwrap();
        assert_eq!(locks.each_ref().map(|lock| *lock.try_lock().unwrap()), [2, 2]);
    });
}

/// One is dropped while it has the first lock and waits for the second.
#[test]
fn model_lock_all_against_cancel() {
    model(|| {
        let locks = Arc::new([Lock::new(0), Lock::new(0)]);
        let mut waiting: Pin<Box<dyn Future<Output = ()> + Send>> = {
            let locks = locks.clone();
            Box::pin(async move { drop(lock_all([&locks[1], &locks[0]]).await) })
        };
        let held = locks[1].try_lock().unwrap();
        assert!(Count::new().poll(waiting.as_mut()).is_pending());
        let canceller = thread::spawn(move || drop(waiting));
        drop(held);
        for lock in &*locks {
            *block_on(lock.lock()) += 1;
        }
        canceller.join().unwrap();
        assert_eq!(locks.each_ref().map(|lock| *lock.try_lock().unwrap()), [1, 1]);
    });
}
