//! `Lock`, `RwLock` and their kin: whoever gives up leaves the lock to others, and holds nothing any more.

use std::cell::Cell;
use std::future::Future;
use std::sync::atomic::{AtomicU32, Ordering::SeqCst};
use std::sync::{Arc, mpsc};
use std::thread;

use filch::sync::{Condition, Lock, RLock, RwLock, RwLockPolicy, RwLockUpgradableReadGuard, lock_all};
use filch::testing::Trial;

use crate::turn;

operations! {
    lock: "Lock::lock" => async |trial| {
        let lock = Lock::new(0);
        add_in_line(trial, &lock, async { *lock.lock().await += 1 }).await;
    };
    lock_fair: "Lock::lock" => async |trial| {
        let lock = Lock::fair(0);
        add_in_line(trial, &lock, async { *lock.lock().await += 1 }).await;
    };
    lock_owned: "Lock::lock_owned" => async |trial| {
        let lock = Arc::new(Lock::new(0));
        add_in_line(trial, &lock, async { *lock.clone().lock_owned().await += 1 }).await;
        assert_eq!(Arc::strong_count(&lock), 1);
    };
    lock_all_of_them: "lock_all" => async |trial| {
        let (one, two) = (Lock::new(1), Lock::new(1));
        let held = two.try_lock().unwrap();
        let other = async {
            let [mut two, mut one] = lock_all([&two, &one]).await;
            (*one, *two) = (*one + 1, *two - 1);
        };
        let gives = async {
            turn().await;
            drop(held);
        };
        let subject = async {
            let [mut one, mut two] = lock_all([&one, &two]).await;
            (*one, *two) = (*one + 1, *two - 1);
        };
        trial.ahead(other).beside(gives).run(subject).await;
        assert_eq!(*one.try_lock().unwrap() + *two.try_lock().unwrap(), 2);
    };
    re_entrant: "RLock::lock" => async |trial| {
        let lock = Arc::new(RLock::new(AtomicU32::new(0)));
        after_a_thread(trial, &lock, async { drop(lock.lock().await.unwrap()) }).await;
    };
    re_entrant_owned: "RLock::lock_owned" => async |trial| {
        let lock = Arc::new(RLock::new(AtomicU32::new(0)));
        after_a_thread(trial, &lock, async { drop(lock.clone().lock_owned().await.unwrap()) }).await;
        assert_eq!(Arc::strong_count(&lock), 1);
    };
    condition_wait: "Condition::wait" => async |trial| {
        let (lock, condition) = (Lock::new(0), Condition::new());
        let waits = async || {
            let mut value = condition.wait(lock.lock().await).await;
            *value += 1;
        };
        // One notification for each of the three; whoever has gone leaves his to another, or to nobody.
        let notifies = async {
            turn().await;
            for _ in 0..3 {
                condition.notify_one();
                turn().await;
            }
        };
        let ready = trial.ahead(waits()).beside(waits()).beside(notifies).run(waits()).await.is_some();
        assert_eq!(*lock.try_lock().unwrap(), 2 + u32::from(ready));
    };
    condition_wait_for_the_next: "Condition::wait" => async |trial| {
        let (lock, condition) = (Lock::new(()), Condition::new());
        // The one notification goes from hand to hand.
        let passes_on = async || {
            drop(condition.wait(lock.lock().await).await);
            condition.notify_one();
        };
        let notifies = async {
            turn().await;
            assert!(condition.notify_one());
        };
        trial.beside(passes_on()).beside(notifies).run(passes_on()).await;
        assert!(lock.try_lock().is_ok() && !condition.notify_one());
    };
    condition_wait_while: "Condition::wait_while" => async |trial| {
        let (lock, condition) = (Lock::new(0), Condition::new());
        let takes = async || {
            let mut value = condition.wait_while(lock.lock().await, |value| *value == 0).await;
            *value -= 1;
        };
        let gives = async {
            for _ in 0..2 {
                turn().await;
                *lock.lock().await += 1;
                condition.notify_one();
            }
        };
        let ready = trial.beside(takes()).beside(gives).run(takes()).await.is_some();
        assert_eq!(*lock.try_lock().unwrap(), 1 - u32::from(ready));
    };
    read: "RwLock::read" => async |trial| {
        let lock = RwLock::new(0);
        behind_a_writer(trial, &lock, async { drop(lock.read().await) }).await;
    };
    read_owned: "RwLock::read_owned" => async |trial| {
        let lock = Arc::new(RwLock::with_policy(0, RwLockPolicy::ReadersFirst));
        behind_a_writer(trial, &lock, async { drop(lock.clone().read_owned().await) }).await;
    };
    upgradable_read: "RwLock::upgradable_read" => async |trial| {
        let lock = RwLock::new(0);
        behind_a_writer(trial, &lock, async { drop(lock.upgradable_read().await) }).await;
    };
    upgradable_read_owned: "RwLock::upgradable_read_owned" => async |trial| {
        let lock = Arc::new(RwLock::with_policy(0, RwLockPolicy::WritersFirst));
        behind_a_writer(trial, &lock, async { drop(lock.clone().upgradable_read_owned().await) }).await;
    };
    write: "RwLock::write" => async |trial| {
        let lock = RwLock::new(0);
        among_readers(trial, &lock, async { *lock.write().await += 1 }).await;
    };
    write_owned: "RwLock::write_owned" => async |trial| {
        let lock = Arc::new(RwLock::with_policy(0, RwLockPolicy::ReadersFirst));
        among_readers(trial, &lock, async { *lock.clone().write_owned().await += 1 }).await;
    };
    write_first: "RwLock::write" => async |trial| {
        let lock = RwLock::with_policy(0, RwLockPolicy::WritersFirst);
        among_readers(trial, &lock, async { *lock.write().await += 1 }).await;
    };
    upgrade: "RwLockUpgradableReadGuard::upgrade" => async |trial| {
        let lock = RwLock::new(0);
        let guard = lock.try_upgradable_read().unwrap();
        among_readers(trial, &lock, async move { *RwLockUpgradableReadGuard::upgrade(guard).await += 1 }).await;
    };
    upgrade_owned: "OwnedRwLockUpgradableReadGuard::upgrade" => async |trial| {
        let lock = Arc::new(RwLock::new(0));
        let guard = lock.clone().try_upgradable_read_owned().unwrap();
        let upgrade = filch::sync::OwnedRwLockUpgradableReadGuard::upgrade(guard);
        among_readers(trial, &lock, async move { *upgrade.await += 1 }).await;
    };
}

/// The lock is held, and two more wait for it; whoever has it counts.
async fn add_in_line(trial: Trial, lock: &Lock<u32>, subject: impl Future<Output = ()>) {
    let mut held = lock.try_lock().unwrap();
    let add = async || {
        let mut value = lock.lock().await;
        turn().await;
        *value += 1;
    };
    let gives = async {
        turn().await;
        *held += 1;
        drop(held);
    };
    let ready = trial.ahead(add()).beside(add()).beside(gives).run(subject).await.is_some();
    assert_eq!(*lock.try_lock().unwrap(), 3 + u32::from(ready));
}

/// A writer has the lock; readers wait ahead and behind, and a second writer at the end.
async fn behind_a_writer(trial: Trial, lock: &RwLock<u32>, subject: impl Future<Output = ()>) {
    let mut held = lock.try_write().unwrap();
    let read = async || {
        let value = lock.read().await;
        turn().await;
        assert!(*value > 0);
    };
    let gives = async {
        turn().await;
        *held += 1;
        drop(held);
    };
    let writes = async { *lock.write().await += 1 };
    trial.ahead(read()).beside(read()).beside(writes).beside(gives).run(subject).await;
    assert_eq!(*lock.try_write().unwrap(), 2);
}

/// Readers have the lock, one waits behind the writer under test.
async fn among_readers(trial: Trial, lock: &RwLock<u32>, subject: impl Future<Output = ()>) {
    let (held, read) = (lock.try_read().unwrap(), Cell::new(0));
    let reads = async || {
        let value = lock.read().await;
        turn().await;
        drop(value);
        read.set(read.get() + 1);
    };
    let writes = async { *lock.write().await += 10 };
    let gives = async {
        turn().await;
        drop(held);
    };
    let ready =
        trial.beside(reads()).beside(writes).beside(reads()).beside(gives).run(subject).await.is_some();
    assert_eq!((*lock.try_write().unwrap(), read.get()), (10 + u32::from(ready), 2));
}

/// A thread has the lock, since a task under filch would not wait for itself; two more wait for it.
async fn after_a_thread(trial: Trial, lock: &Arc<RLock<AtomicU32>>, subject: impl Future<Output = ()>) {
    let ((taken, is_taken), (let_go, may_go)) = (mpsc::channel(), mpsc::channel::<()>());
    let holds = lock.clone();
    let thread = thread::spawn(move || {
        let guard = holds.lock_blocking();
        taken.send(()).unwrap();
        may_go.recv().unwrap_err();
        drop(guard);
    });
    is_taken.recv().unwrap();
    let counts = async || {
        lock.lock().await.unwrap().fetch_add(1, SeqCst);
    };
    let gives = async {
        turn().await;
        drop(let_go);
        // It has given the lock back, and whom it woke is awake.
        thread.join().unwrap();
    };
    trial.ahead(counts()).beside(counts()).beside(gives).run(subject).await;
    assert_eq!(lock.try_lock().unwrap().load(SeqCst), 2);
}
