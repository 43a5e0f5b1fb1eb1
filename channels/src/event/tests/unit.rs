//! Unit tests of `Event`.

use std::pin::pin;

use super::*;
use crate::probe::BUDGET;
use crate::test_util::FakeTask;
use crate::testing::Wakes;

static CONST: Event = Event::new();

fn is_ready(future: Pin<&mut (impl Future + ?Sized)>) -> bool {
    Count::new().poll(future).is_ready()
}

#[test]
fn it_stays_set_until_it_is_cleared() {
    assert_eq!(format!("{CONST:?}"), "Event { set: false, waiting: 0 }");
    assert!(!CONST.wait_timeout(Duration::ZERO));
    assert!(!CONST.wait_deadline(Instant::now()));
    CONST.set();
    CONST.set();
    assert!(CONST.is_set());
    block_on(CONST.wait());
    CONST.wait_blocking();
    assert!(CONST.wait_timeout(Duration::ZERO));
    assert!(CONST.wait_timeout(Duration::MAX));
    assert!(CONST.wait_deadline(Instant::now()));
    CONST.clear();
    CONST.clear();
    assert!(!CONST.is_set());
    assert!(!is_ready(pin!(CONST.wait())));
}

#[test]
fn set_wakes_all_and_only_those_who_began_before() {
    let event = Event::default();
    let mut waits = [(); 20].map(|()| Box::pin(event.wait()));
    let counts = waits.each_mut().map(|wait| {
        let count = Count::new();
        assert!(count.poll(wait.as_mut()).is_pending());
        count
    });
    let unpolled = event.wait();
    event.set();
    event.clear();
    let mut late = pin!(event.wait());
    assert!(!is_ready(late.as_mut()));
    assert!(counts.iter().all(|count| count.get() == 1));
    waits.iter_mut().for_each(|wait| assert!(is_ready(wait.as_mut())));
    assert!(is_ready(pin!(unpolled)));
    assert!(!is_ready(late.as_mut()));
    event.set();
    assert!(is_ready(late.as_mut()));
    assert!(is_ready(late), "it stays ready");
}

#[test]
fn a_wait_begun_while_it_was_set_is_ready_whatever_comes_after() {
    let event = Event::new();
    event.set();
    let wait = event.wait();
    event.clear();
    assert!(is_ready(pin!(wait)));
}

/// A `set` that has not told the waiters yet leaves alone those who came after the `clear`.
#[test]
fn counts_that_wrap_keep_their_order() {
    assert!(is_newer(2, 0) && !is_newer(0, 2) && !is_newer(2, 2));
    assert!(is_newer(1, usize::MAX) && !is_newer(usize::MAX, 1));
    let event = Event { word: AtomicUsize::new(usize::MAX - 1), queue: WaitQueue::new() };
    let mut wait = pin!(event.wait());
    assert!(!is_ready(wait.as_mut()));
    event.set();
    event.clear();
    assert_eq!(event.now(), 0);
    assert!(is_ready(wait));
}

#[test]
fn dropped_at_each_stage() {
    let event = Event::new();
    drop(event.wait());
    let (mut first, mut second) = (Box::pin(event.wait()), Box::pin(event.wait()));
    assert!(!is_ready(first.as_mut()) && !is_ready(second.as_mut()));
    drop(first);
    assert!(!event.queue.lock().is_empty());
    event.set();
    assert!(event.queue.lock().is_empty());
    drop(second);
    assert!(event.is_set());
}

#[test]
fn a_waker_that_panics_does_not_keep_the_others_asleep() {
    let event = Event::new();
    let ((bad, bad_waker), (good, good_waker)) = (Wakes::new(), Wakes::new());
    bad.set_panic();
    let mut waits = [&bad_waker, &good_waker].map(|waker| {
        let mut wait = Box::pin(event.wait());
        assert!(wait.as_mut().poll(&mut Context::from_waker(waker)).is_pending());
        wait
    });
    event.set();
    assert_eq!((bad.count(), good.count()), (1, 1));
    waits.iter_mut().for_each(|wait| assert!(is_ready(wait.as_mut())));
}

#[test]
fn a_task_yields_when_its_budget_is_spent() {
    let (event, task) = (Event::new(), FakeTask::new(1));
    event.set();
    let mut waits = 0;
    task.poll(|cx| {
        while pin!(event.wait()).poll(cx).is_ready() {
            waits += 1;
        }
    });
    assert_eq!((waits, task.wakes.get()), (BUDGET, 1));
}

#[test]
fn the_header_says_what_is_waited_for() {
    let (event, task) = (Event::new(), FakeTask::new(1));
    let mut wait = Box::pin(event.wait());
    assert!(task.poll_one(wait.as_mut()).is_pending());
    let (kind, resource, location) = task.header.wait();
    assert_eq!((kind, resource), (Wait::Notify, &raw const event as usize));
    assert!(location.unwrap().file().ends_with("unit.rs"));
    assert!(format!("{wait:?}").contains("is_waiting: true"));
}

#[test]
fn public_types_cross_threads() {
    fn crosses<T: Send + Sync>() {}
    crosses::<Event>();
    crosses::<EventWait<'_>>();
}
