//! Unit tests of the re-entrant lock.

use std::cell::Cell;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::pin;
use std::task::Poll;

use super::*;
use crate::probe::{BUDGET, Wait, holder_of, set_budget};
use crate::shim::thread;
use crate::test_util::FakeTask;

static CONST: RLock<u32> = RLock::new(7);

fn later() -> Instant {
    Instant::now() + Duration::from_secs(3_600)
}

#[test]
fn a_thread_takes_it_again_in_every_form() {
    let guards = [
        CONST.lock_blocking(),
        CONST.try_lock().unwrap(),
        CONST.lock_timeout(Duration::ZERO).unwrap(),
        CONST.lock_deadline(later()).unwrap(),
    ];
    assert_eq!((CONST.depth(), *guards[3]), (4, 7));
    thread::scope(|scope| {
        let other = scope.spawn(|| {
            assert!(CONST.try_lock().is_err());
            assert!(CONST.lock_timeout(Duration::ZERO).is_err());
            assert!(CONST.lock_deadline(Instant::now()).is_err());
        });
        other.join().unwrap();
    });
    for (left, guard) in (0..4).rev().zip(guards) {
        drop(guard);
        assert_eq!(CONST.depth(), left);
    }
    assert!(!CONST.is_locked());
}

#[test]
fn owned_guards() {
    let lock = Arc::new(RLock::new(7));
    let guards = [
        lock.clone().try_lock_owned().unwrap(),
        lock.clone().lock_owned_blocking(),
        lock.clone().lock_owned_timeout(Duration::ZERO).unwrap(),
        lock.clone().lock_owned_deadline(Instant::now()).unwrap(),
    ];
    assert!(Arc::ptr_eq(OwnedRLockGuard::lock(&guards[0]), &lock));
    thread::scope(|scope| {
        scope.spawn(|| {
            assert!(lock.clone().try_lock_owned().is_err());
            assert!(lock.clone().lock_owned_timeout(Duration::ZERO).is_err());
            assert!(lock.clone().lock_owned_deadline(Instant::now()).is_err());
        });
    });
    let weak = Arc::downgrade(&lock);
    drop(lock);
    assert_eq!(*guards[2], 7);
    drop(guards);
    assert!(weak.upgrade().is_none());
    assert_eq!(*block_on(Arc::new(RLock::new(7)).lock_owned()).unwrap(), 7);
}

#[test]
fn a_task_takes_it_again_in_every_form_and_on_any_thread() {
    let lock = Arc::new(RLock::new(7));
    let task = FakeTask::new(41);
    let Poll::Ready(first) = task.poll_one(pin!(lock.lock())) else { panic!("it is free") };
    let first = first.unwrap();
    thread::scope(|scope| {
        let other_thread = scope.spawn(|| {
            let second = task.poll(|_| lock.clone().try_lock_owned().unwrap());
            let Poll::Ready(third) = task.poll_one(pin!(lock.clone().lock_owned())) else {
                panic!("it has it")
            };
            let fourth = task.poll(|_| lock.clone().lock_owned_blocking());
            (second, third.unwrap(), fourth)
        });
        let rest = other_thread.join().unwrap();
        assert_eq!(lock.depth(), 4);
        // This thread does not own it, nor does another task on it.
        assert!(lock.try_lock().is_err());
        assert!(FakeTask::new(42).poll(|_| lock.try_lock().is_err()));
        drop(first);
        assert_eq!((lock.depth(), *rest.0), (3, 7));
        drop(rest);
    });
    assert!(lock.try_lock().is_ok());
}

#[test]
fn other_runtimes_are_refused_rather_than_hung() {
    let lock = RLock::new(7);
    let (one, two) = (Count::new(), Count::new());
    let Poll::Ready(Ok(guard)) = one.poll(pin!(lock.lock())) else { panic!("it is free") };
    assert_eq!(one.poll(pin!(lock.lock())).map(Result::err), Poll::Ready(Some(ReentryError(()))));
    // Whoever has another waker waits.
    let mut other = Box::pin(lock.lock());
    assert!(two.poll(other.as_mut()).is_pending());
    assert!(lock.try_lock().is_err(), "a thread is somebody else");
    drop(guard);
    assert_eq!(two.get(), 1);
    let Poll::Ready(Ok(guard)) = two.poll(other.as_mut()) else { panic!("it was offered") };
    // The first one does not have it any more.
    let mut first = Box::pin(lock.lock());
    assert!(one.poll(first.as_mut()).is_pending());
    assert!(two.poll(pin!(lock.lock())).is_ready());
    drop(guard);
    assert!(one.poll(first.as_mut()).is_ready());
    assert!(ReentryError(()).to_string().contains("already"));
}

#[test]
fn guards_of_an_unsync_one_stay_on_their_thread() {
    let lock = Arc::new(RLock::unsync(Cell::new(0)));
    let task = FakeTask::new(43);
    let outer = task.poll(|_| lock.try_lock().unwrap());
    let inner = task.poll(|_| lock.lock_blocking());
    inner.set(5);
    assert_eq!(outer.get(), 5);
    // The task is somewhere else, and has left guards here.
    let elsewhere = |f: &(dyn Fn() + Sync)| thread::scope(|scope| scope.spawn(f).join().unwrap());
    elsewhere(&|| {
        assert!(task.poll(|_| lock.try_lock().is_err()));
        assert!(matches!(task.poll_one(pin!(lock.lock())), Poll::Ready(Err(ReentryError(())))));
        let blocks = || task.poll(|_| catch_unwind(AssertUnwindSafe(|| drop(lock.lock_blocking()))).is_err());
        assert!(blocks());
    });
    assert_eq!(lock.depth(), 2);
    drop((outer, inner));
    elsewhere(&|| {
        let outer = task.poll(|_| lock.try_lock().unwrap());
        let inner = task.poll(|_| lock.lock_blocking());
        assert_eq!((outer.get(), inner.get()), (5, 5));
    });
    assert!(!lock.is_locked());
}

#[test]
fn without_locking() {
    let mut lock = RLock::<u32>::default();
    *lock.get_mut() = 5;
    assert_eq!(lock.into_inner(), 5);
    assert_eq!(RLock::from("x").into_inner(), "x");
    let unsized_lock: &RLock<[u8]> = &RLock::new([1, 2]);
    assert_eq!(*unsized_lock.lock_blocking(), [1, 2]);
}

#[test]
fn a_panic_unlocks() {
    let lock = RLock::new(1);
    let call = || {
        let _outer = lock.lock_blocking();
        let _inner = lock.lock_blocking();
        panic!("with the lock held twice");
    };
    assert!(catch_unwind(AssertUnwindSafe(call)).is_err());
    assert_eq!(lock.depth(), 0);
}

#[test]
fn too_many_guards() {
    let lock = RLock::new(());
    let mut guards: Vec<_> = (0..65_535).map(|_| lock.lock_blocking()).collect();
    assert!(catch_unwind(AssertUnwindSafe(|| drop(lock.lock_blocking()))).is_err());
    assert_eq!(lock.depth(), 65_535);
    guards.pop();
    drop(lock.try_lock().unwrap());
    drop(guards);
    assert!(!lock.is_locked());
}

#[test]
fn debug_never_waits() {
    let lock = RLock::new(1);
    assert_eq!(format!("{lock:?}"), "RLock { depth: 0, holder: None, .. }");
    let guard = lock.lock_blocking();
    assert!(format!("{lock:?}").starts_with("RLock { depth: 1, holder: Some("));
    assert_eq!(format!("{guard:?} {guard}"), "1 1");
    assert!(std::ptr::eq(RLockGuard::lock(&guard), &lock));
    assert!(format!("{:?}", lock.lock()).contains("unit.rs"));
}

#[test]
fn cancelled_at_each_stage() {
    let lock = RLock::new(());
    drop(lock.lock());
    let held = lock.lock_blocking();
    let (mut first, mut second) = (Box::pin(lock.lock()), Box::pin(lock.lock()));
    let (one, two) = (Count::new(), Count::new());
    assert!(one.poll(first.as_mut()).is_pending());
    assert!(two.poll(second.as_mut()).is_pending());
    let again = lock.lock_blocking();
    drop(held);
    assert_eq!((one.get(), two.get()), (0, 0), "one guard is left");
    drop(again);
    assert_eq!((one.get(), two.get()), (1, 0));
    drop(first);
    assert_eq!(two.get(), 1);
    drop(second);
    assert!(lock.try_lock().is_ok());
}

/// A future that waits in line gets the lock with its task, when another future of it has taken it.
#[test]
fn a_future_in_line_shares_what_its_task_has() {
    let lock = RLock::new(());
    let held = lock.lock_blocking();
    let (task, other) = (FakeTask::new(44), FakeTask::new(45));
    let (mut first, mut second) = (Box::pin(lock.lock()), Box::pin(lock.lock()));
    let mut third = Box::pin(lock.lock());
    assert!(task.poll_one(first.as_mut()).is_pending());
    assert!(other.poll_one(third.as_mut()).is_pending());
    assert!(task.poll_one(second.as_mut()).is_pending());
    drop(held);
    let Poll::Ready(Ok(one)) = task.poll_one(second.as_mut()) else { panic!("it was offered to the task") };
    let Poll::Ready(Ok(two)) = task.poll_one(first.as_mut()) else { panic!("the task has it") };
    assert_eq!(lock.depth(), 2);
    assert!(other.poll_one(third.as_mut()).is_pending());
    drop((one, two));
    assert_eq!(other.wakes.get(), 2, "once in vain, when the offer to the first was not taken up");
    assert!(other.poll_one(third.as_mut()).is_ready());
}

#[test]
fn a_task_yields_when_its_budget_is_spent() {
    let lock = RLock::new(());
    let task = FakeTask::new(46);
    let guards = task.poll(|cx| {
        let mut guards = Vec::new();
        while let Poll::Ready(guard) = pin!(lock.lock()).poll(cx) {
            guards.push(guard.unwrap());
        }
        guards
    });
    assert_eq!((guards.len(), task.wakes.get()), (usize::from(BUDGET), 1));
    assert_eq!(task.header.wait().0, Wait::Yield);
    // One that waits comes in whatever the budget.
    let other = FakeTask::new(47);
    let mut waiting = Box::pin(lock.lock());
    assert!(other.poll_one(waiting.as_mut()).is_pending());
    drop(guards);
    let taken = other.poll(|cx| {
        set_budget(0);
        waiting.as_mut().poll(cx)
    });
    assert!(taken.is_ready());
}

#[test]
fn a_report_finds_the_holder() {
    let lock = RLock::new(());
    let (holder, waiter) = (FakeTask::new(48), FakeTask::new(49));
    let (held, line) = (holder.poll(|_| lock.try_lock().unwrap()), line!());
    let mut waiting = Box::pin(lock.lock());
    assert!(waiter.poll_one(waiting.as_mut()).is_pending());
    let (kind, resource, _) = waiter.header.wait();
    let seen = holder_of(resource).unwrap();
    assert_eq!((kind, seen.task, seen.location.unwrap().line()), (Wait::Lock, Some(48), line));
    assert_eq!(lock.holder(), Some(seen));
    drop(held);
    assert_eq!(lock.holder(), None);
}

#[test]
#[should_panic(expected = "polled after it was ready")]
fn polling_on_is_a_mistake() {
    let lock = RLock::new(());
    let mut locking = pin!(lock.lock());
    let _guard = block_on(locking.as_mut());
    let _ = block_on(locking);
}

/// Two threads and two tasks that nest: nobody sees another's half-done work.
#[test]
fn threads_and_tasks_share_it() {
    let lock = RLock::unsync((Cell::new(0_u32), Cell::new(0_u32)));
    thread::scope(|scope| {
        for id in 0..4 {
            let lock = &lock;
            scope.spawn(move || {
                let task = FakeTask::new(50 + id);
                for _ in 0..300 {
                    let nested = || {
                        let outer = lock.lock_blocking();
                        outer.0.set(outer.0.get() + 1);
                        let inner = lock.lock_blocking();
                        inner.1.set(inner.1.get() + 1);
                        assert_eq!(outer.0.get(), inner.1.get());
                    };
                    if id % 2 == 0 { nested() } else { task.poll(|_| nested()) }
                }
            });
        }
    });
    let (one, two) = lock.into_inner();
    assert_eq!((one.get(), two.get()), (1_200, 1_200));
}

#[test]
fn public_types_cross_threads() {
    fn crosses<T: Send + Sync>() {}
    crosses::<RLock<u8>>();
    crosses::<RLock<Cell<u8>>>();
    crosses::<RLocking<'_, u8>>();
    crosses::<RLockingOwned<u8>>();
    crosses::<RLockGuard<'_, u8>>();
    crosses::<OwnedRLockGuard<u8>>();
}
