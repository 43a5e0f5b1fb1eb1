//! Tests of the order of ranked locks. What is to panic does so in builds with debug assertions only.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::task::Poll;

use super::*;
use crate::shim::thread;
use crate::test_util::FakeTask;

/// Whether `f` panics because of the order of locks.
fn refuses<R>(f: impl FnOnce() -> R) -> bool {
    match catch_unwind(AssertUnwindSafe(f)) {
        Ok(_) => false,
        Err(payload) => {
            let text = payload.downcast_ref::<String>().expect("a text");
            assert!(text.starts_with("locks out of order"), "{text}");
            true
        }
    }
}

/// Whether the first poll of a future by `task` does.
fn refused<F: Future>(task: &FakeTask, make: &mut dyn FnMut() -> F) -> bool {
    task.poll(|cx| refuses(|| pin!(make()).poll(cx).map(drop)))
}

const CHECKS: bool = cfg!(debug_assertions);

#[test]
fn levels_must_rise_on_a_thread() {
    let (low, high, same) = (Lock::ranked(1, ()), Lock::ranked(2, ()), Lock::ranked(2, ()));
    let first = low.lock_blocking();
    let second = high.lock_timeout(Duration::MAX).unwrap();
    drop(first);
    assert_eq!(refuses(|| low.lock_blocking()), CHECKS);
    assert_eq!(refuses(|| same.lock_deadline(Instant::now())), CHECKS);
    assert_eq!(refuses(|| Arc::new(Lock::ranked(0, ())).lock_owned_blocking()), CHECKS);
    // Neither a lock without a level nor one that does not wait is anybody's business.
    drop(Lock::new(()).lock_blocking());
    drop(low.try_lock().unwrap());
    // Another thread holds nothing.
    thread::scope(|scope| scope.spawn(|| drop(low.lock_blocking())).join().unwrap());
    drop(second);
    drop(low.lock_blocking());
    drop(same.lock_blocking());
}

#[test]
fn levels_must_rise_in_a_task() {
    let (low, high) = (Lock::ranked(1, ()), Lock::ranked(2, ()));
    let (task, other) = (FakeTask::new(21), FakeTask::new(22));
    let Poll::Ready(held) = task.poll_one(pin!(high.lock())) else { panic!("it is free") };
    // In a later poll of the same task, whichever form it takes.
    let lock_low = |task: &FakeTask| task.poll_one(pin!(low.lock())).map(drop);
    assert_eq!(refused(&task, &mut || low.lock()), CHECKS);
    assert_eq!(task.poll(|_| refuses(|| low.lock_blocking())), CHECKS);
    assert!(lock_low(&other).is_ready(), "another task");
    drop(low.lock_blocking());
    task.poll(|_| drop(low.try_lock().unwrap()));
    drop(held);
    assert!(lock_low(&task).is_ready());
    // What `try_lock` took counts.
    let held = task.poll(|_| high.try_lock().unwrap());
    assert_eq!(refused(&task, &mut || low.lock()), CHECKS);
    drop(held);
}

#[test]
fn the_message_names_both_lines() {
    let (low, high) = (Lock::ranked(3, ()), Lock::ranked(7, ()));
    let (held, first) = (high.lock_blocking(), line!());
    let (wrong, second) = (catch_unwind(AssertUnwindSafe(|| drop(low.lock_blocking()))), line!());
    drop(held);
    assert_eq!(wrong.is_err(), CHECKS);
    if let Err(payload) = wrong {
        let text = payload.downcast_ref::<String>().unwrap();
        let [first, second] = [first, second].map(|line| format!("{}:{line}:", file!()));
        assert!(text.contains(&first) && text.contains(&second), "{text}");
        assert!(text.contains("level 3") && text.contains("level 7"), "{text}");
    }
}

/// Nobody says which task of another runtime this is: no word is better than a wrong one.
#[test]
fn tasks_of_other_runtimes_are_left_alone() {
    let (low, high) = (Lock::ranked(1, ()), Lock::ranked(2, ()));
    let held = block_on(high.lock());
    drop(block_on(low.lock()));
    drop(low.lock_blocking());
    drop(held);
    let held = high.try_lock().unwrap();
    drop(low.lock_blocking());
    drop(held);
}

#[test]
fn a_leaked_guard_is_forgotten_with_its_lock() {
    let low = Lock::ranked(1, ());
    let high = Lock::ranked(2, ());
    std::mem::forget(high.lock_blocking());
    // It is the lock that counts, wherever it has been moved.
    let high = Box::new(high);
    assert_eq!(refuses(|| low.lock_blocking()), CHECKS);
    drop(high);
    drop(low.lock_blocking());
}

#[test]
fn several_at_once_are_taken_by_level() {
    let locks = [Lock::ranked(2, 2), Lock::ranked(1, 1), Lock::ranked(2, 3), Lock::new(0)];
    let all = || [&locks[0], &locks[1], &locks[2], &locks[3]];
    let guards = lock_all_blocking(all());
    assert_eq!(guards.each_ref().map(|guard| **guard), [2, 1, 3, 0]);
    assert_eq!(refuses(|| Lock::ranked(2, 0).lock_blocking().to_owned()), CHECKS);
    drop(guards);
    let task = FakeTask::new(31);
    let low = Lock::ranked(1, 0);
    let Poll::Ready(held) = task.poll_one(pin!(low.lock())) else { panic!("it is free") };
    assert_eq!(refused(&task, &mut || lock_all(all())), CHECKS);
    assert_eq!(task.poll(|_| refuses(|| lock_all_timeout(all(), Duration::MAX))), CHECKS);
    assert!(task.poll(|_| try_lock_all(all()).is_ok()), "it does not wait");
    drop(held);
    assert!(task.poll_one(pin!(lock_all(all()))).is_ready());
    // The lowest that is not there yet is waited for first.
    let held = locks[1].try_lock().unwrap();
    let mut waiting = Box::pin(lock_all(all()));
    assert!(task.poll_one(waiting.as_mut()).is_pending());
    assert!(!locks[0].is_locked() && !locks[2].is_locked());
    drop(held);
    assert!(task.poll_one(waiting.as_mut()).is_ready());
}
