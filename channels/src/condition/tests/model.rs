//! Models of the condition: every interleaving under loom, a stress test elsewhere.

use super::*;
use crate::lock::OwnedLockGuard;
use crate::shim::{model, thread};

type Shared = Arc<(Lock<usize>, Condition)>;

fn shared() -> Shared {
    Arc::new((Lock::new(0), Condition::new()))
}

/// Whoever changes the value after the waiter gave the lock back notifies it: nothing is lost in between.
#[test]
fn cv1_model_wait_against_notify() {
    for blocking in [false, true] {
        model(move || {
            let shared = shared();
            let notifier = {
                let shared = shared.clone();
                thread::spawn(move || {
                    *block_on(shared.0.lock()) += 1;
                    shared.1.notify_one();
                })
            };
            let unready = |value: &mut usize| *value == 0;
            let guard = if blocking {
                shared.1.wait_while_blocking(shared.0.lock_blocking(), unready)
            } else {
                block_on(async { shared.1.wait_while(shared.0.lock().await, unready).await })
            };
            assert_eq!(*guard, 1);
            drop(guard);
            notifier.join().unwrap();
        });
    }
}

type Waiting = Pin<Box<dyn Future<Output = ()> + Send>>;

/// Somebody in line who will not look at the value.
fn wait_once(lock: &Arc<Lock<usize>>, condition: &Arc<Condition>) -> Waiting {
    let (guard, condition) = (lock.clone().try_lock_owned().unwrap(), condition.clone());
    let mut wait: Waiting = Box::pin(async move { drop(condition.wait::<OwnedLockGuard<_>>(guard).await) });
    assert!(Count::new().poll(wait.as_mut()).is_pending());
    wait
}

/// One of two is notified and dropped at the same time: the other is notified, or nobody needed to be.
#[test]
fn cv1_model_notify_against_cancel() {
    model(|| {
        let (lock, condition) = (Arc::new(Lock::new(0)), Arc::new(Condition::new()));
        let first = wait_once(&lock, &condition);
        let second = wait_once(&lock, &condition);
        let canceller = thread::spawn(move || drop(first));
        let notifier = {
            let condition = condition.clone();
            thread::spawn(move || assert!(condition.notify_one()))
        };
        block_on(second);
        canceller.join().unwrap();
        notifier.join().unwrap();
        assert!(!condition.notify_one());
        assert!(lock.try_lock().is_ok());
    });
}

/// The one that was notified is dropped while it waits for the lock.
#[test]
fn cv1_model_cancel_while_the_lock_is_taken_again() {
    model(|| {
        let (lock, condition) = (Arc::new(Lock::new(0)), Arc::new(Condition::new()));
        let mut first = wait_once(&lock, &condition);
        let second = wait_once(&lock, &condition);
        let held = lock.clone().try_lock_owned().unwrap();
        assert!(condition.notify_one());
        assert!(Count::new().poll(first.as_mut()).is_pending());
        let canceller = thread::spawn(move || drop(first));
        let unlocker = thread::spawn(move || drop(held));
        block_on(second);
        canceller.join().unwrap();
        unlocker.join().unwrap();
        assert!(lock.try_lock().is_ok());
    });
}

#[test]
fn model_all_are_notified() {
    model(|| {
        let shared = shared();
        let waiters = [false, true].map(|blocking| {
            let shared = shared.clone();
            thread::spawn(move || {
                let unready = |value: &mut usize| *value == 0;
                let mut guard = if blocking {
                    shared.1.wait_while_blocking(shared.0.lock_blocking(), unready)
                } else {
                    block_on(async { shared.1.wait_while(shared.0.lock().await, unready).await })
                };
                *guard += 1;
            })
        });
        *block_on(shared.0.lock()) += 1;
        shared.1.notify_all();
        for waiter in waiters {
            waiter.join().unwrap();
        }
        assert_eq!(*shared.0.try_lock().unwrap(), 3);
    });
}

/// A deadline that has passed already, and a notification: it counts for one of the two, and is not lost.
#[test]
fn model_deadline_against_notify() {
    model(|| {
        let (lock, condition) = (Arc::new(Lock::new(0)), Arc::new(Condition::new()));
        let late = {
            let (lock, condition) = (lock.clone(), condition.clone());
            thread::spawn(move || condition.wait_timeout(lock.lock_blocking(), Duration::ZERO).1.timed_out())
        };
        let notified = condition.notify_one();
        let timed_out = late.join().unwrap();
        assert_eq!(notified, !timed_out);
        assert!(lock.try_lock().is_ok());
    });
}
