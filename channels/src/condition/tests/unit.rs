//! Unit tests of the condition.

use std::panic::{AssertUnwindSafe, catch_unwind};

use super::*;
use crate::shim::thread;
use crate::sync::{LockGuard, OwnedLockGuard};
use crate::test_util::FakeTask;

static CONST: Condition = Condition::new();

type Waiting<'a> = Pin<Box<ConditionWait<'a, LockGuard<'a, u32>>>>;

/// Somebody who waits, after the first poll.
fn waiting<'a>(condition: &'a Condition, lock: &'a Lock<u32>) -> (Waiting<'a>, std::sync::Arc<Count>) {
    let mut wait = Box::pin(condition.wait(lock.try_lock().unwrap()));
    let count = Count::new();
    assert!(lock.is_locked(), "until the first poll");
    assert!(count.poll(wait.as_mut()).is_pending());
    assert!(!lock.is_locked());
    (wait, count)
}

#[test]
fn one_by_one_and_all() {
    let lock = Lock::new(0);
    assert!(!CONST.notify_one() && !CONST.notify());
    assert_eq!(CONST.notify_all(), 0);
    let (mut first, one) = waiting(&CONST, &lock);
    let (mut second, two) = waiting(&CONST, &lock);
    let (mut third, three) = waiting(&CONST, &lock);
    assert_eq!(format!("{CONST:?}"), "Condition { waiting: 3 }");
    assert!(CONST.notify_one());
    assert_eq!([one.get(), two.get(), three.get()], [1, 0, 0]);
    let Poll::Ready(mut guard) = one.poll(first.as_mut()) else { panic!("the lock is free") };
    *guard += 1;
    assert_eq!(CONST.notify_all(), 2);
    assert!(two.poll(second.as_mut()).is_pending(), "the lock is held");
    assert!(three.poll(third.as_mut()).is_pending(), "the lock is held");
    drop(guard);
    let Poll::Ready(guard) = two.poll(second.as_mut()) else { panic!("the lock is free") };
    assert_eq!(*guard, 1);
    drop(guard);
    assert!(three.poll(third.as_mut()).is_ready());
    assert!(!CONST.notify());
}

#[test]
fn every_form_on_a_thread() {
    let lock = Lock::new(0);
    let (turns, condition) = (Lock::new(0), Condition::default());
    let far = Instant::now() + Duration::from_secs(3_600);
    thread::scope(|scope| {
        scope.spawn(|| {
            for _ in 0..6 {
                // Whoever waits has the turn, and notes it under the lock that it then gives back.
                while *turns.lock_blocking() == 0 {
                    thread::yield_now();
                }
                let mut value = lock.lock_blocking();
                *turns.lock_blocking() -= 1;
                *value += 1;
                condition.notify_one();
            }
        });
        let start = || {
            let guard = lock.lock_blocking();
            *turns.lock_blocking() += 1;
            guard
        };
        assert_eq!(*condition.wait_blocking(start()), 1);
        assert_eq!(*condition.wait_while_blocking(start(), |value| *value < 2), 2);
        let (guard, result) = condition.wait_timeout(start(), Duration::MAX);
        assert_eq!((*guard, result.timed_out()), (3, false));
        drop(guard);
        let (guard, result) = condition.wait_deadline(start(), far);
        assert_eq!((*guard, result.timed_out()), (4, false));
        drop(guard);
        let (guard, result) = condition.wait_while_timeout(start(), |value| *value < 5, Duration::MAX);
        assert_eq!((*guard, result.timed_out()), (5, false));
        drop(guard);
        assert_eq!(*block_on(condition.wait_while(start(), |value| *value < 6)), 6);
    });
}

#[test]
fn the_time_is_up() {
    let (lock, condition) = (Lock::new(7), Condition::new());
    let (guard, result) = condition.wait_timeout(lock.lock_blocking(), Duration::ZERO);
    assert_eq!((*guard, result.timed_out()), (7, true));
    let (guard, result) = condition.wait_deadline(guard, Instant::now());
    assert!(result.timed_out());
    let (guard, result) = condition.wait_while_timeout(guard, |value| *value == 7, Duration::ZERO);
    assert!(result.timed_out());
    let (guard, result) = condition.wait_while_deadline(guard, |value| *value == 7, Instant::now());
    assert!(result.timed_out());
    let (guard, result) = condition.wait_while_deadline(guard, |_| false, Instant::now());
    assert!(!result.timed_out());
    let (guard, result) = condition.wait_while_timeout(guard, |_| false, Duration::ZERO);
    assert_eq!((*guard, result), (7, WaitTimeoutResult(false)));
    drop(guard);
    assert!(!condition.notify_one());
}

#[test]
fn an_owned_guard_does_as_well() {
    let (lock, condition) = (Arc::new(Lock::new(0)), Condition::new());
    let mut wait = Box::pin(condition.wait(lock.clone().try_lock_owned().unwrap()));
    let count = Count::new();
    assert!(count.poll(wait.as_mut()).is_pending());
    *lock.try_lock().unwrap() += 1;
    condition.notify_one();
    let Poll::Ready(guard) = count.poll(wait.as_mut()) else { panic!("it was notified") };
    assert_eq!((*guard, Arc::ptr_eq(OwnedLockGuard::lock(&guard), &lock)), (1, true));
}

#[test]
fn wait_while_asks_first_and_after_each_notification() {
    let (lock, condition) = (Lock::new(0), Condition::new());
    let mut asked = 0;
    drop(block_on(condition.wait_while(lock.try_lock().unwrap(), |_| false)));
    let mut wait = Box::pin(condition.wait_while(lock.try_lock().unwrap(), |value| {
        asked += 1;
        *value < 2
    }));
    let count = Count::new();
    for _ in 0..2 {
        assert!(count.poll(wait.as_mut()).is_pending());
        *lock.try_lock().unwrap() += 1;
        assert!(condition.notify_one());
    }
    let Poll::Ready(guard) = count.poll(wait.as_mut()) else { panic!("it is so") };
    assert_eq!(*guard, 2);
    drop(guard);
    drop(wait);
    assert_eq!(asked, 3);
}

#[test]
fn a_condition_that_panics_frees_the_lock() {
    let (lock, condition) = (Lock::new(0), Condition::new());
    let guard = lock.lock_blocking();
    let call = || drop(condition.wait_while_blocking(guard, |_| panic!("in the condition")));
    assert!(catch_unwind(AssertUnwindSafe(call)).is_err());
    assert!(lock.try_lock().is_ok());
}

#[test]
fn cancelled_at_each_stage() {
    let (lock, condition) = (Lock::new(0), Condition::new());
    drop(condition.wait(lock.try_lock().unwrap()));
    assert!(!lock.is_locked(), "before the first poll");
    let (first, one) = waiting(&condition, &lock);
    drop(first);
    assert!(!condition.notify_one(), "in line");
    assert_eq!(one.get(), 0);
    // Notified, and gone before it came.
    let (first, _) = waiting(&condition, &lock);
    let (mut second, two) = waiting(&condition, &lock);
    assert!(condition.notify_one());
    assert_eq!(two.get(), 0);
    drop(first);
    assert_eq!(two.get(), 1);
    assert!(two.poll(second.as_mut()).is_ready());
    // Notified, and gone while it waited for the lock.
    let (mut first, one) = waiting(&condition, &lock);
    let (mut second, two) = waiting(&condition, &lock);
    assert!(condition.notify_one());
    let held = lock.try_lock().unwrap();
    assert!(one.poll(first.as_mut()).is_pending());
    drop(held);
    assert_eq!(one.get(), 2, "notified, and offered the lock");
    drop(first);
    assert_eq!(two.get(), 1);
    assert!(two.poll(second.as_mut()).is_ready());
    // What was for all is passed on to nobody.
    let (first, _) = waiting(&condition, &lock);
    assert_eq!(condition.notify_all(), 1);
    let (second, two) = waiting(&condition, &lock);
    drop(first);
    assert_eq!(two.get(), 0);
    drop(second);
    assert_eq!(format!("{condition:?}"), "Condition { waiting: 0 }");
}

#[test]
fn two_locks_at_once_are_a_mistake() {
    let (one, two, condition) = (Lock::new(1), Lock::new(2), Condition::new());
    let (first, line) = (waiting(&condition, &one), line!());
    let mut wrong = Box::pin(condition.wait(two.try_lock().unwrap()));
    let payload =
        catch_unwind(AssertUnwindSafe(|| Count::new().poll(wrong.as_mut()).is_pending())).unwrap_err();
    let text = payload.downcast_ref::<String>().unwrap();
    assert!(text.starts_with("a condition with two locks"), "{text}");
    assert!(text.contains("condition/tests/unit.rs") && line > 0, "{text}");
    assert!(!two.is_locked());
    drop(wrong);
    let call = || drop(condition.wait_timeout(two.lock_blocking(), Duration::ZERO));
    assert!(catch_unwind(AssertUnwindSafe(call)).is_err());
    assert!(!two.is_locked());
    // Not at once is well.
    drop(first);
    let (second, count) = waiting(&condition, &two);
    assert!(condition.notify_one());
    assert_eq!(count.get(), 1);
    drop(second);
    drop(waiting(&condition, &one));
}

#[test]
fn two_conditions_with_one_lock() {
    let (lock, full, empty) = (Lock::new(0), Condition::new(), Condition::new());
    let (mut first, one) = waiting(&full, &lock);
    let (mut second, two) = waiting(&empty, &lock);
    assert!(full.notify_one());
    assert_eq!((one.get(), two.get()), (1, 0));
    assert!(one.poll(first.as_mut()).is_ready());
    assert!(empty.notify_one());
    assert!(two.poll(second.as_mut()).is_ready());
}

/// The lock is taken again by the rule of locks: an offer that a task does not take up moves on.
#[test]
fn the_lock_is_taken_again_by_the_rule() {
    let (lock, condition) = (Lock::fair(0), Condition::new());
    let (sleeper, other) = (FakeTask::new(1), FakeTask::new(2));
    let mut wait = Box::pin(condition.wait(lock.try_lock().unwrap()));
    assert!(sleeper.poll_one(wait.as_mut()).is_pending());
    let held = lock.try_lock().unwrap();
    assert!(condition.notify_one());
    assert!(sleeper.poll_one(wait.as_mut()).is_pending());
    let mut next = Box::pin(lock.lock());
    assert!(other.poll_one(next.as_mut()).is_pending());
    drop(held);
    assert_eq!((sleeper.wakes.get(), other.wakes.get()), (2, 0));
    sleeper.poll(|_| ());
    assert_eq!(other.wakes.get(), 1);
    assert!(other.poll_one(next.as_mut()).is_ready());
    drop(next);
    assert!(sleeper.poll_one(wait.as_mut()).is_ready());
}

#[test]
fn the_header_says_what_is_waited_for() {
    let (lock, condition) = (Lock::new(0), Condition::new());
    let task = FakeTask::new(1);
    let (mut wait, line) = (Box::pin(condition.wait(lock.try_lock().unwrap())), line!());
    assert!(task.poll_one(wait.as_mut()).is_pending());
    let (kind, resource, location) = task.header.wait();
    assert_eq!((kind, resource), (Wait::Notify, &raw const condition as usize));
    assert_eq!((location.unwrap().file(), location.unwrap().line()), (file!(), line));
    let held = lock.try_lock().unwrap();
    condition.notify_all();
    assert!(task.poll_one(wait.as_mut()).is_pending());
    assert_eq!(task.header.wait().0, Wait::Lock);
    drop(held);
}

/// To wait with the outer of two locks, and keep the inner one, is out of order: it has to be taken again.
#[test]
fn ranks_hold_for_the_lock_that_is_taken_again() {
    let (outer, inner, condition) = (Lock::ranked(1, ()), Lock::ranked(2, ()), Condition::new());
    let wait = |guard| condition.wait_timeout(guard, Duration::ZERO).0;
    drop(wait(outer.lock_blocking()));
    let first = outer.lock_blocking();
    let second = wait(inner.lock_blocking());
    let wrong = catch_unwind(AssertUnwindSafe(|| drop(wait(first))));
    assert_eq!(wrong.is_err(), cfg!(debug_assertions));
    assert!(!outer.is_locked());
    drop(second);
    drop(wait(outer.lock_blocking()));
}

#[test]
#[should_panic(expected = "polled after it was ready")]
fn polling_on_is_a_mistake() {
    let (lock, condition) = (Lock::new(0), Condition::new());
    let (mut wait, count) = waiting(&condition, &lock);
    condition.notify_one();
    assert!(count.poll(wait.as_mut()).is_ready());
    let _ = count.poll(wait.as_mut());
}

/// A buffer of one between two tasks and two threads: nothing is lost, nobody hangs.
#[test]
fn threads_and_tasks_share_it() {
    let (slot, filled, emptied) = (Lock::new(None), Condition::new(), Condition::new());
    let sum = std::sync::atomic::AtomicU32::new(0);
    thread::scope(|scope| {
        for id in 0..2 {
            let (slot, filled, emptied, sum) = (&slot, &filled, &emptied, &sum);
            scope.spawn(move || {
                for item in 0..200 {
                    let full = |slot: &mut Option<u32>| slot.is_some();
                    let mut slot = match id {
                        0 => emptied.wait_while_blocking(slot.lock_blocking(), full),
                        _ => block_on(async { emptied.wait_while(slot.lock().await, full).await }),
                    };
                    *slot = Some(item);
                    filled.notify_one();
                }
            });
            scope.spawn(move || {
                for _ in 0..200 {
                    let empty = |slot: &mut Option<u32>| slot.is_none();
                    let mut slot = match id {
                        0 => filled.wait_while_blocking(slot.lock_blocking(), empty),
                        _ => block_on(async { filled.wait_while(slot.lock().await, empty).await }),
                    };
                    sum.fetch_add(slot.take().unwrap(), std::sync::atomic::Ordering::Relaxed);
                    emptied.notify_one();
                }
            });
        }
    });
    assert_eq!(sum.into_inner(), 2 * (0..200).sum::<u32>());
}

#[test]
fn public_types_cross_threads() {
    fn crosses<T: Send + Sync>() {}
    fn value_crosses<T: Send>(_: &T) {}
    crosses::<Condition>();
    crosses::<ConditionWait<'_, LockGuard<'_, u8>>>();
    crosses::<ConditionWait<'_, OwnedLockGuard<u8>>>();
    let (lock, condition) = (Lock::new(0), Condition::new());
    value_crosses(&condition.wait_while(lock.try_lock().unwrap(), |_| false));
}
