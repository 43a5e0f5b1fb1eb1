//! Unit tests of `Notify`.

use std::pin::pin;

use super::*;
use crate::probe::BUDGET;
use crate::test_util::FakeTask;

static CONST: Notify = Notify::new();

fn is_ready(future: Pin<&mut (impl Future + ?Sized)>) -> bool {
    Count::new().poll(future).is_ready()
}

#[test]
fn one_notification_is_stored() {
    CONST.notify_one();
    CONST.notify_one();
    assert_eq!(format!("{CONST:?}"), "Notify { stored: true, waiting: 0 }");
    block_on(CONST.notified());
    assert!(!is_ready(pin!(CONST.notified())));
    assert!(!CONST.notified_timeout(Duration::ZERO));
    CONST.notify_last();
    CONST.notified_blocking();
    CONST.notify_one();
    assert!(CONST.notified_timeout(Duration::MAX));
    assert!(!CONST.try_notified());
    assert!(!CONST.notified_deadline(Instant::now()));
    CONST.notify_one();
    assert!(CONST.try_notified());
    CONST.notify_one();
    assert!(CONST.notified_deadline(Instant::now()), "what is there at the deadline wins");
}

#[test]
fn first_come_first_served_or_last() {
    let notify = Arc::new(Notify::default());
    let mut futures = [(); 3].map(|()| notified(&notify));
    let counts = futures.each_mut().map(|future| {
        let count = Count::new();
        assert!(count.poll(future.as_mut()).is_pending());
        count
    });
    notify.notify_one();
    assert_eq!(counts.each_ref().map(|count| count.get()), [1, 0, 0]);
    notify.notify_last();
    assert_eq!(counts.each_ref().map(|count| count.get()), [1, 0, 1]);
    notify.notify_waiters();
    assert_eq!(counts.each_ref().map(|count| count.get()), [1, 1, 1]);
    futures.into_iter().for_each(block_on);
    assert!(!notify.take_stored());
}

#[test]
fn notify_waiters_wakes_those_created_before() {
    let notify = Notify::new();
    let (before, mut polled) = (notify.notified(), pin!(notify.notified()));
    assert!(!is_ready(polled.as_mut()));
    notify.notify_waiters();
    let after = notify.notified();
    assert!(is_ready(pin!(before)));
    assert!(is_ready(polled));
    assert!(!is_ready(pin!(after)));
}

#[test]
fn a_stored_notification_is_not_spent_on_those_whom_all_concerns() {
    let notify = Notify::new();
    let before = notify.notified();
    notify.notify_waiters();
    notify.notify_one();
    block_on(before);
    assert!(is_ready(pin!(notify.notified())));
}

#[test]
fn enabling_is_getting_in_line() {
    let notify = Notify::new();
    let (mut first, mut second) = (pin!(notify.notified()), pin!(notify.notified()));
    assert!(!first.as_mut().enable());
    assert!(!second.as_mut().enable());
    notify.notify_one();
    assert!(first.as_mut().enable());
    assert!(first.as_mut().enable(), "it stays ready");
    block_on(first);
    assert!(!second.as_mut().enable());
    notify.notify_one();
    block_on(second);
}

#[test]
fn dropped_at_each_stage() {
    let notify = Arc::new(Notify::new());
    drop(notified(&notify));
    let (mut first, mut second) = (notified(&notify), notified(&notify));
    assert!(!is_ready(first.as_mut()));
    assert!(!is_ready(second.as_mut()));
    notify.notify_one();
    drop(first);
    assert!(is_ready(second.as_mut()), "passed on to the next");
    let mut third = notified(&notify);
    assert!(!is_ready(third.as_mut()));
    notify.notify_last();
    drop(third);
    assert!(notify.take_stored(), "stored, as nobody waits");
    let mut fourth = notified(&notify);
    assert!(!is_ready(fourth.as_mut()));
    notify.notify_waiters();
    drop(fourth);
    assert!(!notify.take_stored(), "what was for all is not passed on");
    let mut fifth = notified(&notify);
    assert!(!is_ready(fifth.as_mut()));
    drop(fifth);
    assert!(!notify.take_stored());
}

/// Every sequence of six steps, against a model that is a handful of counters.
#[test]
fn all_short_histories_agree_with_the_model() {
    const STEPS: u32 = 6;
    for history in 0..5_u32.pow(STEPS) {
        let notify = Arc::new(Notify::new());
        // What waits, and whether it was told: by nobody, by one, by all.
        let mut waiting: Vec<(_, usize)> = Vec::new();
        let mut stored = false;
        for step in 0..STEPS {
            match history / 5_u32.pow(step) % 5 {
                0 => {
                    let mut future = notified(&notify);
                    assert_eq!(is_ready(future.as_mut()), stored, "history {history}");
                    if !std::mem::take(&mut stored) {
                        waiting.push((future, 0));
                    }
                }
                1 => {
                    notify.notify_one();
                    match waiting.iter_mut().find(|(_, told)| *told == 0) {
                        Some((_, told)) => *told = 1,
                        None => stored = true,
                    }
                }
                2 => {
                    notify.notify_waiters();
                    waiting.iter_mut().filter(|(_, told)| *told == 0).for_each(|(_, told)| *told = 2);
                }
                3 if !waiting.is_empty() => {
                    let (future, told) = waiting.remove(0);
                    drop(future);
                    if told == 1 {
                        match waiting.iter_mut().find(|(_, told)| *told == 0) {
                            Some((_, told)) => *told = 1,
                            None => stored = true,
                        }
                    }
                }
                4 if !waiting.is_empty() => {
                    let (future, told) = waiting.last_mut().unwrap();
                    assert_eq!(is_ready(future.as_mut()), *told != 0, "history {history}");
                    if *told != 0 {
                        waiting.pop();
                    }
                }
                _ => {}
            }
        }
        for (mut future, told) in waiting {
            assert_eq!(is_ready(future.as_mut()), told != 0, "history {history}");
        }
        assert_eq!(notify.take_stored(), stored, "history {history}");
    }
}

#[test]
fn a_task_yields_when_its_budget_is_spent() {
    let (notify, task) = (Notify::new(), FakeTask::new(1));
    let mut received = 0;
    task.poll(|cx| {
        notify.notify_one();
        while pin!(notify.notified()).poll(cx).is_ready() {
            received += 1;
            notify.notify_one();
        }
    });
    assert_eq!((received, task.wakes.get()), (BUDGET, 1));
}

#[test]
fn the_header_says_what_is_waited_for() {
    let (notify, task) = (Notify::new(), FakeTask::new(1));
    let mut future = Box::pin(notify.notified());
    assert!(task.poll_one(future.as_mut()).is_pending());
    let (kind, resource, location) = task.header.wait();
    assert_eq!((kind, resource), (Wait::Notify, &raw const notify as usize));
    assert!(location.unwrap().file().ends_with("unit.rs"));
    assert_eq!(format!("{future:?}"), "Notified { done: false, waiter: Waiter { is_waiting: true, .. } }");
}

#[test]
fn public_types_cross_threads() {
    fn crosses<T: Send + Sync>() {}
    crosses::<Notify>();
    crosses::<Notified<'_>>();
}
