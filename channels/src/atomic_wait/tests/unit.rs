//! Unit tests of `AtomicWait`.

use super::*;
use crate::probe::BUDGET;
use crate::shim::thread;
use crate::test_util::FakeTask;
use crate::testing::Wakes;

static CONST: AtomicWait = AtomicWait::new(5);

#[test]
fn arithmetic() {
    assert_eq!(format!("{CONST:?}"), "AtomicWait { value: 5, waiting: 0 }");
    assert_eq!((CONST.fetch_add(u32::MAX), CONST.fetch_sub(1), CONST.load()), (5, 4, 3));
    assert_eq!((CONST.fetch_and(6), CONST.fetch_or(9), CONST.fetch_xor(3), CONST.load()), (3, 2, 11, 8));
    assert_eq!(
        (CONST.swap(1), CONST.compare_exchange(1, 2), CONST.compare_exchange(1, 3)),
        (8, Ok(1), Err(2))
    );
    assert_eq!(CONST.fetch_update(|value| value.checked_sub(2)), Ok(2));
    assert_eq!(CONST.fetch_update(|value| value.checked_sub(2)), Err(0));
    CONST.store(5);
    let wide = AtomicWait64::from(u64::MAX);
    assert_eq!((wide.fetch_add(1), wide.load(), AtomicWait64::default().load()), (u64::MAX, 0, 0));
    assert_eq!(AtomicWait::from(2).load() + AtomicWait::default().load(), 2);
}

#[test]
fn it_says_why_it_came_back() {
    let word = AtomicWait::new(1);
    assert_eq!(block_on(word.wait(0)), WaitOutcome::NotEqual);
    assert_eq!(word.wait_blocking(0), WaitOutcome::NotEqual);
    assert_eq!(word.wait_timeout(0, Duration::MAX), WaitOutcome::NotEqual);
    assert_eq!(word.wait_timeout(1, Duration::ZERO), WaitOutcome::TimedOut);
    assert_eq!(word.wait_deadline(1, Instant::now()), WaitOutcome::TimedOut);
    assert_eq!((word.wake(0), word.wake(1), word.wake_all()), (0, 0, 0));
    let wide = AtomicWait64::new(1 << 32);
    assert_eq!(wide.wait_blocking(0), WaitOutcome::NotEqual, "all bits are compared");
    let mut wait = pin!(wide.wait(1 << 32));
    assert!(Count::new().poll(wait.as_mut()).is_pending());
    assert_eq!(wide.wake_all(), 1);
    assert_eq!(block_on(wait), WaitOutcome::Woken);
}

#[test]
fn as_many_are_woken_as_asked_for_the_oldest_first() {
    let word = AtomicWait::new(0);
    let mut waits = [(); 24].map(|()| Box::pin(word.wait(0)));
    let counts = waits.each_mut().map(|wait| {
        let count = Count::new();
        assert!(count.poll(wait.as_mut()).is_pending());
        count
    });
    let woken = || counts.iter().take_while(|count| count.get() == 1).count();
    assert_eq!((word.wake(1), woken()), (1, 1));
    assert_eq!((word.wake(10), woken()), (10, 11));
    assert_eq!((word.wake_all(), woken()), (13, 24));
    waits.into_iter().for_each(|wait| assert_eq!(block_on(wait), WaitOutcome::Woken));
}

#[test]
fn a_change_alone_ends_no_sleep() {
    let word = AtomicWait::new(0);
    let mut wait = pin!(word.wait(0));
    let count = Count::new();
    assert!(count.poll(wait.as_mut()).is_pending());
    word.store(1);
    assert!(count.poll(wait.as_mut()).is_pending());
    word.store(0);
    assert_eq!(word.wake(1), 1);
    assert_eq!(block_on(wait), WaitOutcome::Woken);
}

#[test]
fn dropped_at_each_stage() {
    let word = Arc::new(AtomicWait::new(0));
    drop(wait(&word, 0));
    let (mut first, mut second, mut third) = (wait(&word, 0), wait(&word, 0), wait(&word, 0));
    let count = Count::new();
    assert!(count.poll(first.as_mut()).is_pending() && count.poll(second.as_mut()).is_pending());
    assert_eq!(word.wake(1), 1);
    assert!(count.poll(third.as_mut()).is_pending());
    drop(first);
    assert_eq!(count.poll(second.as_mut()), Poll::Ready(WaitOutcome::Woken), "it was in line");
    let mut fourth = wait(&word, 0);
    assert!(count.poll(fourth.as_mut()).is_pending());
    assert_eq!(word.wake(1), 1);
    drop(third);
    assert_eq!(count.poll(fourth.as_mut()), Poll::Ready(WaitOutcome::Woken), "it was in line too");
    let (mut fifth, mut sixth) = (wait(&word, 0), wait(&word, 0));
    assert!(count.poll(fifth.as_mut()).is_pending());
    assert_eq!(word.wake(1), 1);
    assert!(count.poll(sixth.as_mut()).is_pending());
    drop(fifth);
    assert!(count.poll(sixth.as_mut()).is_pending(), "it came later");
    drop(sixth);
    assert!(word.line.queue.lock().is_empty());
}

#[test]
fn counts_that_wrap_keep_their_order() {
    assert!(was_before(0, 0) && was_before(usize::MAX, 0) && !was_before(0, usize::MAX));
    let word = AtomicWait::new(0);
    word.line.wakes.store(usize::MAX, Relaxed);
    let mut wait = pin!(word.wait(0));
    assert!(Count::new().poll(wait.as_mut()).is_pending());
    assert_eq!((word.wake(1), word.line.wakes.load(Relaxed)), (1, 0));
    assert_eq!(block_on(wait), WaitOutcome::Woken);
}

#[test]
#[should_panic(expected = "polled after it was ready")]
fn polling_on_is_a_mistake() {
    let word = AtomicWait::new(0);
    let mut wait = pin!(word.wait(1));
    let _ = block_on(wait.as_mut());
    let _ = block_on(wait);
}

#[test]
fn a_waker_that_panics_does_not_keep_the_others_asleep() {
    let word = AtomicWait::new(0);
    let ((bad, bad_waker), (good, good_waker)) = (Wakes::new(), Wakes::new());
    bad.set_panic();
    let waits = [&bad_waker, &good_waker].map(|waker| {
        let mut wait = Box::pin(word.wait(0));
        assert!(wait.as_mut().poll(&mut Context::from_waker(waker)).is_pending());
        wait
    });
    assert_eq!((word.wake_all(), bad.count(), good.count()), (2, 1, 1));
    waits.into_iter().for_each(|wait| assert_eq!(block_on(wait), WaitOutcome::Woken));
}

/// Tokens go round by the value alone: each waits for its own number.
#[test]
fn threads_and_tasks_take_turns() {
    let turn = AtomicWait::new(0);
    thread::scope(|scope| {
        for id in 0..3 {
            let turn = &turn;
            scope.spawn(move || {
                for round in 0..100 {
                    let mine = round * 3 + id;
                    loop {
                        let now = turn.load();
                        if now == mine {
                            break;
                        }
                        let _ = if id == 0 { block_on(turn.wait(now)) } else { turn.wait_blocking(now) };
                    }
                    assert_eq!(turn.fetch_add(1), mine);
                    turn.wake_all();
                }
            });
        }
    });
    assert_eq!(turn.load(), 300);
}

#[test]
fn a_task_yields_when_its_budget_is_spent() {
    let (word, task) = (AtomicWait::new(0), FakeTask::new(1));
    let mut compared = 0;
    task.poll(|cx| {
        while pin!(word.wait(1)).poll(cx).is_ready() {
            compared += 1;
        }
    });
    assert_eq!((compared, task.wakes.get()), (BUDGET, 1));
}

#[test]
fn the_header_says_what_is_waited_for() {
    let (word, task) = (AtomicWait::new(0), FakeTask::new(1));
    let mut wait = Box::pin(word.wait(0));
    assert!(task.poll_one(wait.as_mut()).is_pending());
    let (kind, resource, location) = task.header.wait();
    assert_eq!((kind, resource), (Wait::Notify, &raw const word as usize));
    assert!(location.unwrap().file().ends_with("unit.rs"));
    assert!(format!("{wait:?}").contains("expected: 0"));
}

#[test]
fn public_types_cross_threads() {
    fn crosses<T: Send + Sync>() {}
    crosses::<AtomicWait>();
    crosses::<AtomicWait64>();
    crosses::<AtomicWaiting<'_>>();
}
