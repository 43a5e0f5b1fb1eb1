//! Unit tests of `OnceCell`.

use std::future::{pending, ready};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::task::{Context, Poll};

use super::*;
use crate::probe::{BUDGET, Wait};
use crate::shim::thread;
use crate::test_util::{Count, FakeTask};
use crate::testing::{Ledger, poll_once};

static CONST: OnceCell<u32> = OnceCell::const_new();

#[test]
fn made_once_and_got_by_all() {
    assert_eq!((CONST.get(), CONST.initialized()), (None, false));
    assert_eq!(CONST.wait_timeout(Duration::ZERO), None);
    assert_eq!(CONST.wait_deadline(Instant::now()), None);
    assert_eq!(*block_on(CONST.get_or_init(async || 1)), 1);
    assert_eq!(*CONST.get_or_init_blocking(|| unreachable!()), 1);
    assert_eq!(CONST.get_or_init_timeout(Duration::ZERO, || unreachable!()), Some(&1));
    assert_eq!(CONST.get_or_init_deadline(Instant::now(), || unreachable!()), Some(&1));
    assert_eq!(block_on(CONST.get_or_try_init(|| ready(Err(())))), Ok(&1));
    assert_eq!((CONST.wait_blocking(), block_on(CONST.wait())), (&1, &1));
    assert_eq!(CONST.wait_timeout(Duration::MAX), Some(&1));
    assert_eq!(CONST.wait_deadline(Instant::now()), Some(&1));
    assert_eq!(CONST.set(2), Err(SetError::AlreadyInitializedError(2)));
}

#[test]
fn what_std_types_have() {
    let mut cell = OnceCell::new_with(Some(1));
    assert!(cell == cell.clone() && cell != OnceCell::default());
    *cell.get_mut().unwrap() += 1;
    assert!(format!("{cell:?}").contains("Some(2)"));
    assert_eq!((cell.take(), cell.take()), (Some(2), None));
    assert_eq!(cell.set(3), Ok(()));
    assert_eq!(cell.into_inner(), Some(3));
    assert_eq!(OnceCell::<u32>::new_with(None).into_inner(), None);
    for error in [SetError::AlreadyInitializedError(4), SetError::InitializingError(4)] {
        assert_ne!(error.is_already_init_err(), error.is_initializing_err());
        assert_eq!(error.to_string().contains("already"), error.is_already_init_err());
        assert_eq!(error.into_inner(), 4);
    }
}

#[test]
fn a_failure_leaves_the_turn_to_the_next() {
    let cell = OnceCell::new();
    assert_eq!(block_on(cell.get_or_try_init(async || Err::<u32, _>("no"))), Err("no"));
    assert_eq!(cell.get_or_try_init_blocking(|| Err("no")), Err("no"));
    assert_eq!(cell.get(), None);
    assert_eq!(cell.get_or_try_init_blocking(|| Ok::<_, ()>(1)), Ok(&1));
}

#[test]
fn a_panic_leaves_the_turn_to_the_next() {
    let cell = OnceCell::new();
    let blocking = AssertUnwindSafe(|| *cell.get_or_init_blocking(|| panic!("on purpose")));
    assert!(catch_unwind(blocking).is_err());
    let at_once = AssertUnwindSafe(|| block_on(cell.get_or_init(|| -> std::future::Ready<u32> { panic!() })));
    assert!(catch_unwind(at_once).is_err());
    let later = AssertUnwindSafe(|| block_on(cell.get_or_init(async || panic!("on purpose"))));
    assert!(catch_unwind(later).is_err());
    assert!(cell.running.lock().is_none());
    assert_eq!(cell.set(1), Ok(()));
}

#[test]
fn dropped_at_each_stage() {
    let (cell, ledger) = (OnceCell::new(), Ledger::new());
    drop(cell.get_or_init(async || unreachable!()));
    let half_made = ledger.message(0);
    let mut first = Box::pin(cell.get_or_init(async || {
        let _half_made = half_made;
        pending::<u32>().await
    }));
    assert!(poll_once(first.as_mut()).is_pending());
    assert_eq!(cell.set(1), Err(SetError::InitializingError(1)));
    assert_eq!(cell.get_or_init_timeout(Duration::ZERO, || 1), None);
    let (mut second, mut third) = (Box::pin(cell.get_or_init(async || 2)), Box::pin(cell.wait()));
    let (two, three) = (Count::new(), Count::new());
    assert!(two.poll(second.as_mut()).is_pending() && three.poll(third.as_mut()).is_pending());
    drop(first);
    assert_eq!((ledger.drops(), two.get(), three.get()), (1, 1, 0));
    drop(second);
    assert_eq!(cell.get_or_init_timeout(Duration::ZERO, || 3), Some(&3));
    assert_eq!((three.get(), poll_once(third.as_mut())), (1, Poll::Ready(&3)));
}

#[test]
fn all_who_wait_get_the_value_whatever_they_came_for() {
    let cell = OnceCell::new();
    thread::scope(|scope| {
        for id in 0..6 {
            let cell = &cell;
            scope.spawn(move || {
                let value = match id % 3 {
                    0 => *cell.get_or_init_blocking(|| id),
                    1 => *block_on(cell.get_or_init(async || id)),
                    _ => *cell.wait_blocking(),
                };
                assert_eq!(Some(&value), cell.get());
            });
        }
    });
}

#[test]
fn a_task_that_makes_the_value_from_within_panics() {
    let (cell, task) = (OnceCell::new(), FakeTask::new(1));
    let inner = async || *cell.get_or_init(async || 1).await;
    let mut outer = Box::pin(cell.get_or_init(inner));
    let poll = AssertUnwindSafe(|| task.poll_one(outer.as_mut()).is_ready());
    let panic = catch_unwind(poll).unwrap_err();
    assert!(panic.downcast_ref::<&str>().unwrap().contains("awaits the same cell"));
    drop(outer);
    assert_eq!(cell.set(2), Ok(()));
}

/// Two futures of one task are no re-entry: the second waits for the first.
#[test]
fn a_task_may_wait_for_its_own_other_half() {
    let (cell, task) = (OnceCell::new(), FakeTask::new(1));
    let gate = Event::new();
    let mut first = Box::pin(cell.get_or_init(async || {
        gate.wait().await;
        1
    }));
    let mut second = Box::pin(cell.get_or_init(async || unreachable!()));
    assert!(task.poll_one(first.as_mut()).is_pending());
    assert!(task.poll_one(second.as_mut()).is_pending());
    gate.set();
    assert_eq!(task.poll_one(first.as_mut()), Poll::Ready(&1));
    assert_eq!(task.poll_one(second.as_mut()), Poll::Ready(&1));
}

/// Another task that happens to be polled inside the poll may wait: it waits for the first.
#[test]
fn another_task_on_the_same_thread_may_wait() {
    let (cell, one, two) = (OnceCell::new(), FakeTask::new(1), FakeTask::new(2));
    let mut inner = Box::pin(cell.get_or_init(async || unreachable!()));
    let mut outer = Box::pin(cell.get_or_init(|| {
        assert!(two.poll_one(inner.as_mut()).is_pending());
        ready(1)
    }));
    assert_eq!(one.poll_one(outer.as_mut()), Poll::Ready(&1));
    drop(outer);
    assert_eq!(two.poll_one(inner.as_mut()), Poll::Ready(&1));
}

/// No runtime says which task this is, but it is polled with the waker of the one that makes the value.
#[test]
fn a_task_without_the_probe_that_waits_for_itself_panics() {
    let cell = OnceCell::new();
    let nested = || {
        block_on(cell.get_or_init(async || {
            // At a later poll, too.
            crate::testing::yield_now().await;
            *cell.get_or_init(async || 1).await
        }))
    };
    let panic = catch_unwind(AssertUnwindSafe(nested)).unwrap_err();
    assert!(panic.downcast_ref::<&str>().unwrap().contains("awaits the same cell"));
    assert_eq!(*block_on(cell.get_or_init(async || 2)), 2);
}

/// Neither a task with another waker, polled within, nor the same task at another time waits for itself.
#[test]
fn without_the_probe_others_may_wait() {
    let (cell, gate) = (OnceCell::new(), Event::new());
    let (one, two) = (Count::new(), Count::new());
    let mut inner = Box::pin(cell.get_or_init(async || unreachable!()));
    let mut outer = Box::pin(cell.get_or_init(async || {
        assert!(two.poll(inner.as_mut()).is_pending());
        gate.wait().await;
        1
    }));
    assert!(one.poll(outer.as_mut()).is_pending());
    let mut beside = Box::pin(cell.get_or_init(async || unreachable!()));
    assert!(one.poll(beside.as_mut()).is_pending());
    gate.set();
    assert_eq!(one.poll(outer.as_mut()), Poll::Ready(&1));
    assert_eq!(one.poll(beside.as_mut()), Poll::Ready(&1));
    drop(outer);
    assert_eq!(two.poll(inner.as_mut()), Poll::Ready(&1));
}

#[test]
fn a_thread_that_makes_the_value_from_within_panics() {
    let cell = OnceCell::new();
    let nested: [&dyn Fn() -> u32; 4] = [
        &|| *cell.get_or_init_blocking(|| *cell.get_or_init_blocking(|| 1)),
        &|| *cell.get_or_init_blocking(|| *cell.get_or_init_timeout(Duration::ZERO, || 1).unwrap()),
        &|| *cell.get_or_init_blocking(|| *cell.get_or_init_deadline(Instant::now(), || 1).unwrap()),
        &|| *block_on(cell.get_or_init(async || *cell.get_or_init_blocking(|| 1))),
    ];
    for nested in nested {
        let panic = catch_unwind(AssertUnwindSafe(nested)).unwrap_err();
        assert!(panic.downcast_ref::<&str>().unwrap().contains("waits for the same cell"));
        assert_eq!(cell.get(), None);
    }
    assert_eq!(*cell.get_or_init_blocking(|| 1), 1);
}

#[test]
fn a_task_yields_when_its_budget_is_spent() {
    let (cell, task) = (OnceCell::from(1), FakeTask::new(1));
    for wait in [false, true] {
        let mut got = 0;
        task.poll(|cx| {
            let get = |cx: &mut Context<'_>| match wait {
                false => pin!(cell.get_or_init(async || 2)).poll(cx).is_ready(),
                true => pin!(cell.wait()).poll(cx).is_ready(),
            };
            while get(cx) {
                got += 1;
            }
        });
        assert_eq!(got, BUDGET);
    }
    assert_eq!(task.wakes.get(), 2);
}

#[test]
fn the_header_says_what_is_waited_for() {
    let (cell, one, two) = (OnceCell::<u32>::new(), FakeTask::new(1), FakeTask::new(2));
    let (mut first, mut second) = (Box::pin(cell.get_or_init(pending)), Box::pin(cell.get_or_init(pending)));
    assert!(one.poll_one(first.as_mut()).is_pending());
    let mut third = Box::pin(cell.wait());
    for (future, kind) in [
        (second.as_mut() as std::pin::Pin<&mut dyn Future<Output = &u32>>, Wait::Semaphore),
        (third.as_mut(), Wait::Notify),
    ] {
        assert!(two.poll_one(future).is_pending());
        let (waits, _, location) = two.header.wait();
        assert_eq!(waits, kind);
        assert!(location.unwrap().file().ends_with("unit.rs"));
    }
}

#[test]
fn public_types_cross_threads() {
    fn crosses<T: Send + Sync>(_: &T) {}
    fn moves<T: Send>(_: T) {}
    let cell = OnceCell::<u32>::new();
    crosses(&cell);
    crosses(&cell.wait());
    moves(cell.get_or_init(async || 1));
}
