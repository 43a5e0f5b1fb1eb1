//! Unit tests of the lock, its guards and what it writes down.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::task::Poll;

use super::*;
use crate::probe::{self, BUDGET, Wait, holder_of};
use crate::shim::thread;
use crate::test_util::FakeTask;

static CONST: Lock<u32> = Lock::const_new(0);

#[test]
fn every_form_takes_it() {
    *CONST.try_lock().unwrap() += 1;
    *block_on(CONST.lock()) += 1;
    *CONST.lock_blocking() += 1;
    *CONST.blocking_lock() += 1;
    *CONST.lock_timeout(Duration::MAX).unwrap() += 1;
    let long = Instant::now() + Duration::from_secs(3_600);
    let mut held = CONST.lock_deadline(long).unwrap();
    *held += 1;
    assert!(CONST.is_locked());
    assert_eq!(CONST.try_lock().unwrap_err(), TryLockError(()));
    assert_eq!(CONST.lock_timeout(Duration::ZERO).unwrap_err(), LockTimeoutError(()));
    assert_eq!(CONST.lock_deadline(Instant::now()).unwrap_err(), LockTimeoutError(()));
    drop(held);
    assert_eq!(*CONST.try_lock().unwrap(), 6);
    assert!(!CONST.is_locked());
    assert_ne!(TryLockError(()).to_string(), LockTimeoutError(()).to_string());
}

#[test]
fn every_owned_form_takes_it() {
    let lock = Arc::new(Lock::new(0));
    *lock.clone().try_lock_owned().unwrap() += 1;
    *block_on(lock.clone().lock_owned()) += 1;
    *lock.clone().lock_owned_blocking() += 1;
    *lock.clone().blocking_lock_owned() += 1;
    *lock.clone().lock_owned_timeout(Duration::MAX).unwrap() += 1;
    let long = Instant::now() + Duration::from_secs(3_600);
    let mut held = lock.clone().lock_owned_deadline(long).unwrap();
    *held += 1;
    assert!(lock.clone().try_lock_owned().is_err());
    assert!(lock.clone().lock_owned_timeout(Duration::ZERO).is_err());
    assert!(lock.clone().lock_owned_deadline(Instant::now()).is_err());
    assert!(Arc::ptr_eq(OwnedLockGuard::lock(&held), &lock));
    assert!(Arc::ptr_eq(OwnedLockGuard::mutex(&held), &lock));
    let weak = Arc::downgrade(&lock);
    drop(lock);
    assert_eq!(*held, 6);
    drop(held);
    assert!(weak.upgrade().is_none());
}

#[test]
fn without_locking() {
    let mut lock = Lock::<u32>::default();
    *lock.get_mut() = 5;
    assert_eq!(lock.into_inner(), 5);
    assert_eq!(Lock::from("x").into_inner(), "x");
    let unsized_lock: &Lock<[u8]> = &Lock::new([1, 2]);
    unsized_lock.try_lock().unwrap()[0] = 3;
    assert_eq!(*unsized_lock.lock_blocking(), [3, 2]);
    let owned: Arc<Lock<dyn Fn() -> u8 + Send>> = Arc::new(Lock::new(|| 7));
    assert_eq!((owned.lock_owned_blocking())(), 7);
}

#[test]
fn a_part_of_the_value() {
    let lock = Arc::new(Lock::new((1, Some(2))));
    let guard = lock.try_lock().unwrap();
    assert!(std::ptr::eq(LockGuard::lock(&guard), LockGuard::mutex(&guard)));
    let part = LockGuard::try_map(guard, |pair| pair.1.as_mut()).unwrap();
    let mut part = MappedLockGuard::map(part, |part| part);
    *part += 1;
    assert!(lock.is_locked());
    let part = MappedLockGuard::try_map(part, |_| None::<&mut u8>).unwrap_err();
    assert_eq!((*part, format!("{part} {part:?}")), (3, "3 3".to_owned()));
    let mut part = MappedLockGuard::try_map(part, |part| Some(part)).unwrap();
    *part += 1;
    drop(part);
    assert!(!lock.is_locked());
    let guard = lock.try_lock().unwrap();
    let guard = LockGuard::try_map(guard, |_| None::<&mut u8>).unwrap_err();
    *LockGuard::map(guard, |pair| &mut pair.0) += 1;

    let guard = lock.clone().try_lock_owned().unwrap();
    let guard = OwnedLockGuard::try_map(guard, |_| None::<&mut u8>).unwrap_err();
    let part = OwnedLockGuard::try_map(guard, |pair| pair.1.as_mut()).unwrap();
    let part = OwnedMappedLockGuard::try_map(part, |_| None::<&mut u8>).unwrap_err();
    let mut part = OwnedMappedLockGuard::try_map(part, |part| Some(part)).unwrap();
    *part += 1;
    assert!(lock.is_locked());
    drop(OwnedMappedLockGuard::map(part, |part| part));
    *OwnedLockGuard::map(lock.clone().try_lock_owned().unwrap(), |pair| &mut pair.0) += 1;
    assert_eq!(Arc::into_inner(lock).unwrap().into_inner(), (3, Some(5)));
}

#[test]
fn a_panic_unlocks() {
    let lock = Lock::new(1);
    let panics = catch_unwind(AssertUnwindSafe(|| {
        let mut guard = lock.lock_blocking();
        *guard = 2;
        panic!("with the lock held");
    }));
    assert!(panics.is_err());
    let panics = catch_unwind(AssertUnwindSafe(|| {
        let _ = LockGuard::map(lock.lock_blocking(), |_| -> &mut u8 { panic!("in the closure") });
    }));
    assert!(panics.is_err());
    assert_eq!(*lock.try_lock().unwrap(), 2);
}

#[test]
fn debug_never_waits_and_leaves_no_trace() {
    let lock = Lock::new(1);
    assert_eq!(format!("{lock:?}"), "Lock { value: 1, .. }");
    assert_eq!(lock.stats(), LockStats::default());
    let guard = lock.try_lock().unwrap();
    assert_eq!(format!("{lock:?} {guard:?} {guard}"), "Lock { value: <locked>, .. } 1 1");
    drop(guard);
    let arc = Arc::new(Lock::new(1));
    assert!(format!("{:?} {:?}", arc.lock(), arc.clone().lock_owned()).contains("unit.rs"));
}

#[test]
fn cancelled_at_each_stage() {
    let lock = Lock::new(());
    drop(lock.lock());
    let held = lock.try_lock().unwrap();
    let (mut first, mut second) = (Box::pin(lock.lock()), Box::pin(lock.lock()));
    let (one, two) = (Count::new(), Count::new());
    assert!(one.poll(first.as_mut()).is_pending());
    assert!(two.poll(second.as_mut()).is_pending());
    assert_eq!(lock.stats().waiting, 2);
    drop(held);
    assert_eq!((one.get(), two.get()), (1, 0));
    drop(first);
    assert_eq!(two.get(), 1);
    drop(second);
    assert!(lock.try_lock().is_ok());
    assert_eq!(lock.stats().waiting, 0);
}

#[test]
fn a_newcomer_may_be_quicker_but_not_for_ever() {
    let lock = Lock::new(());
    let mut held = lock.try_lock().unwrap();
    let mut waiting = Box::pin(lock.lock());
    let count = Count::new();
    for times in 0.. {
        assert!(count.poll(waiting.as_mut()).is_pending());
        drop(held);
        match lock.try_lock() {
            Ok(guard) => held = guard,
            Err(_) => {
                assert_eq!(times, 16);
                break;
            }
        }
    }
    assert!(count.poll(waiting.as_mut()).is_ready());
}

#[test]
fn fair_is_first_in_first_out() {
    let lock = Lock::fair(());
    let held = lock.try_lock().unwrap();
    let mut waiting: Vec<_> = (0..4).map(|_| Box::pin(lock.lock())).collect();
    let counts: Vec<_> = waiting.iter().map(|_| Count::new()).collect();
    for (waiting, count) in waiting.iter_mut().zip(&counts) {
        assert!(count.poll(waiting.as_mut()).is_pending());
    }
    drop(held);
    for (nth, count) in counts.iter().enumerate() {
        assert!(lock.try_lock().is_err());
        assert!(counts[nth + 1..].iter().all(|count| count.get() == 0));
        assert_eq!(count.get(), 1);
        assert!(count.poll(waiting[nth].as_mut()).is_ready());
    }
    assert!(lock.try_lock().is_ok());
}

/// The heart of RFD 609: a task has a future in line that it does not poll, and locks once more.
#[test]
fn a_task_takes_what_its_other_future_was_offered() {
    for lock in [Lock::new(()), Lock::fair(())] {
        let held = lock.try_lock().unwrap();
        let (task, count) = (FakeTask::new(1), Count::new());
        let (mut first, mut second) = (Box::pin(lock.lock()), Box::pin(lock.lock()));
        assert!(task.poll_one(first.as_mut()).is_pending());
        assert!(task.poll_one(second.as_mut()).is_pending());
        drop(held);
        assert_eq!(task.wakes.get(), 1);
        assert!(task.poll_one(second.as_mut()).is_ready());
        // The same where the task is known by its waker only.
        let held = lock.try_lock().unwrap();
        let mut second = Box::pin(lock.lock());
        drop(first);
        let mut first = Box::pin(lock.lock());
        assert!(count.poll(first.as_mut()).is_pending());
        assert!(count.poll(second.as_mut()).is_pending());
        drop(held);
        assert!(count.poll(second.as_mut()).is_ready());
    }
}

/// Under the probe, an offer that the task did not take up moves on when its poll ends.
#[test]
fn an_offer_moves_on_at_the_end_of_a_poll() {
    let lock = Lock::fair(());
    let held = lock.try_lock().unwrap();
    let (sleeper, other) = (FakeTask::new(1), FakeTask::new(2));
    let (mut first, mut second) = (Box::pin(lock.lock()), Box::pin(lock.lock()));
    assert!(sleeper.poll_one(first.as_mut()).is_pending());
    assert!(other.poll_one(second.as_mut()).is_pending());
    drop(held);
    assert_eq!((sleeper.wakes.get(), other.wakes.get()), (1, 0));
    sleeper.poll(|_| ());
    assert_eq!(other.wakes.get(), 1);
    assert!(other.poll_one(second.as_mut()).is_ready());
    assert!(sleeper.poll_one(first.as_mut()).is_ready());
}

#[test]
fn a_task_yields_when_its_budget_is_spent() {
    let lock = Lock::new(());
    let task = FakeTask::new(1);
    let rounds = task.poll(|cx| {
        let mut rounds = 0;
        while let Poll::Ready(guard) = pin!(lock.lock()).poll(cx) {
            rounds += 1;
            drop(guard);
        }
        rounds
    });
    assert_eq!((rounds, task.wakes.get()), (usize::from(BUDGET), 1));
    assert_eq!(task.header.wait().0, Wait::Yield);
}

#[test]
fn a_report_finds_the_holder() {
    let lock = Lock::new(());
    let [holder, one, two] = [11, 12, 13].map(FakeTask::new);
    let (mut lock_one, mut lock_two) = (Box::pin(lock.lock()), Box::pin(lock.lock()));
    let waits_for = |task: &FakeTask| {
        let (kind, resource, _) = task.header.wait();
        assert_eq!(kind, Wait::Lock);
        holder_of(resource)
    };
    let (held, line) = (holder.poll(|_| lock.try_lock().unwrap()), line!());
    assert!(one.poll_one(lock_one.as_mut()).is_pending());
    assert!(two.poll_one(lock_two.as_mut()).is_pending());
    let seen = waits_for(&one).unwrap();
    assert_eq!((seen.task, seen.location.unwrap().line()), (Some(11), line));
    assert_eq!(lock.holder(), Some(seen));
    drop(held);
    let Poll::Ready(guard) = one.poll_one(lock_one.as_mut()) else { panic!("it is free") };
    // The second has not been polled since, and still leads to who has it now.
    assert_eq!(waits_for(&two).unwrap().task, Some(12));
    drop(guard);
    // A newcomer is quicker.
    let thief = FakeTask::new(14);
    let guard = thief.poll(|_| lock.try_lock().unwrap());
    assert_eq!(waits_for(&two).unwrap().task, Some(14));
    drop(guard);
    let guard = lock.lock_blocking();
    assert_eq!(waits_for(&two).unwrap().task, None, "a thread");
    assert_eq!(lock.holder().unwrap().task, None);
    drop(guard);
    let resource = two.header.wait().1;
    drop((lock_one, lock_two));
    drop(lock);
    assert_eq!(holder_of(resource), None);
}

#[test]
fn statistics() {
    let lock = Lock::new(());
    let held = lock.try_lock().unwrap();
    assert!(lock.try_lock().is_err());
    let count = Count::new();
    let mut waiting: Vec<_> = (0..3).map(|_| Box::pin(lock.lock())).collect();
    for waiting in &mut waiting {
        assert!(count.poll(waiting.as_mut()).is_pending());
    }
    assert_eq!(lock.stats(), LockStats { taken: 1, waited: 0, waiting: 3, waiting_max: 3 });
    drop(held);
    for waiting in &mut waiting {
        assert!(count.poll(waiting.as_mut()).is_ready());
    }
    drop(lock.try_lock().unwrap());
    assert_eq!(lock.stats(), LockStats { taken: 5, waited: 3, waiting: 0, waiting_max: 3 });
    assert!(lock.lock_timeout(Duration::ZERO).is_ok());
    let held = lock.try_lock().unwrap();
    assert!(lock.lock_timeout(Duration::ZERO).is_err());
    drop(held);
    assert_eq!(lock.stats(), LockStats { taken: 7, waited: 3, waiting: 0, waiting_max: 3 });
}

#[test]
fn all_of_them_in_the_order_of_the_arguments() {
    let locks = [Lock::new(0), Lock::new(1), Lock::new(2)];
    let guards = block_on(lock_all([&locks[2], &locks[0], &locks[1]]));
    assert_eq!(guards.each_ref().map(|guard| **guard), [2, 0, 1]);
    drop(guards);
    let guards = lock_all_blocking([&locks[1], &locks[2], &locks[0]]);
    assert_eq!(guards.each_ref().map(|guard| **guard), [1, 2, 0]);
    drop(guards);
    assert!(block_on(lock_all::<u8, 0>([])).is_empty());
}

#[test]
fn all_of_them_or_none() {
    let locks = [Lock::new(0), Lock::new(1), Lock::new(2)];
    let held = locks[1].try_lock().unwrap();
    let mut all = Box::pin(lock_all([&locks[2], &locks[0], &locks[1]]));
    let count = Count::new();
    assert!(count.poll(all.as_mut()).is_pending());
    assert!(locks[0].is_locked() && !locks[2].is_locked(), "in the order of the addresses");
    drop(all);
    assert!(!locks[0].is_locked());
    let mut all = Box::pin(lock_all([&locks[2], &locks[0], &locks[1]]));
    assert!(count.poll(all.as_mut()).is_pending());
    drop(held);
    assert!(count.poll(all.as_mut()).is_ready());
    assert!(locks.iter().all(|lock| !lock.is_locked()));
}

#[test]
fn all_of_them_at_once_or_in_time() {
    let locks = [Lock::new(0), Lock::new(1), Lock::new(2)];
    let all = || [&locks[2], &locks[0], &locks[1]];
    let free = || locks.iter().all(|lock| !lock.is_locked());
    let values = |guards: [LockGuard<'_, u8>; 3]| guards.map(|guard| *guard);
    assert_eq!(try_lock_all(all()).map(values), Ok([2, 0, 1]));
    assert_eq!(lock_all_timeout(all(), Duration::MAX).map(values), Ok([2, 0, 1]));
    assert_eq!(lock_all_deadline(all(), Instant::now()).map(values), Ok([2, 0, 1]));
    assert!(free());
    for lock in &locks {
        let held = lock.try_lock().unwrap();
        assert_eq!(try_lock_all(all()).map(values), Err(TryLockError(())));
        assert_eq!(lock_all_timeout(all(), Duration::ZERO).map(values), Err(LockTimeoutError(())));
        assert_eq!(lock_all_deadline(all(), Instant::now()).map(values), Err(LockTimeoutError(())));
        drop(held);
        assert!(free());
    }
}

#[test]
fn the_same_lock_twice_is_refused() {
    let (one, two) = (Lock::new(0), Lock::new(1));
    let text = |call: &dyn Fn()| {
        let payload = catch_unwind(AssertUnwindSafe(call)).unwrap_err();
        payload.downcast_ref::<String>().cloned().unwrap()
    };
    let expected = "the same lock twice, as number 0 and as number 2: nobody can hold it twice";
    assert_eq!(text(&|| drop(lock_all([&one, &two, &one]))), expected);
    assert_eq!(text(&|| drop(lock_all_blocking([&one, &two, &one]))), expected);
    assert_eq!(text(&|| drop(try_lock_all([&one, &two, &one]))), expected);
    assert_eq!(text(&|| drop(lock_all_timeout([&one, &two, &one], Duration::MAX))), expected);
    assert!(!one.is_locked() && !two.is_locked());
}

#[test]
fn threads_and_tasks_share_it() {
    let (lock, other) = (Lock::new(0), Lock::fair(0));
    thread::scope(|scope| {
        for id in 0..4 {
            let (lock, other) = (&lock, &other);
            scope.spawn(move || {
                for _ in 0..500 {
                    match id {
                        0 => *lock.lock_blocking() += 1,
                        1 => *block_on(lock.lock()) += 1,
                        2 => lock_all_blocking([lock, other]).into_iter().for_each(|mut n| *n += 1),
                        _ => block_on(lock_all([other, lock])).into_iter().for_each(|mut n| *n += 1),
                    }
                }
            });
        }
    });
    assert_eq!((lock.stats().taken, other.stats().taken), (2_000, 1_000));
    assert_eq!((lock.into_inner(), other.into_inner()), (2_000, 1_000));
}

#[test]
fn an_invited_task_takes_it_whatever_its_budget() {
    let lock = Lock::fair(());
    let held = lock.try_lock().unwrap();
    let task = FakeTask::new(1);
    let mut waiting = Box::pin(lock.lock());
    assert!(task.poll_one(waiting.as_mut()).is_pending());
    drop(held);
    let taken = task.poll(|cx| {
        probe::set_budget(0);
        waiting.as_mut().poll(cx)
    });
    assert!(taken.is_ready());
}

#[test]
#[should_panic(expected = "polled after it was ready")]
fn polling_on_is_a_mistake() {
    let lock = Lock::new(());
    let mut locking = pin!(lock.lock());
    let _guard = block_on(locking.as_mut());
    let _ = block_on(locking);
}

#[test]
fn public_types_cross_threads() {
    fn sends<T: Send>() {}
    fn crosses<T: Send + Sync>() {}
    crosses::<Lock<std::cell::Cell<u8>>>();
    crosses::<Locking<'_, u8>>();
    crosses::<LockingOwned<u8>>();
    sends::<LockGuard<'_, std::cell::Cell<u8>>>();
    sends::<OwnedLockGuard<std::cell::Cell<u8>>>();
    sends::<MappedLockGuard<'_, std::cell::Cell<u8>>>();
    sends::<OwnedMappedLockGuard<u8, std::cell::Cell<u8>>>();
    crosses::<LockGuard<'_, u8>>();
    crosses::<OwnedLockGuard<u8>>();
    crosses::<MappedLockGuard<'_, u8>>();
    crosses::<OwnedMappedLockGuard<u8>>();
}
