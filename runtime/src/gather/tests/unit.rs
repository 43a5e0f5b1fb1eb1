//! Tests of `ready` on one thread: order, and wakers of both kinds.

use std::sync::Arc;
use std::task::{Wake, Waker};

use crate::gather::ready::{CHILDREN_MAX, Ready};

fn kept(ready: &Ready, index: usize) -> Waker {
    ready.lend(index, |cx| cx.waker().clone())
}

fn woken(ready: &mut Ready) -> Vec<usize> {
    ready.take();
    std::iter::from_fn(|| ready.next()).collect()
}

#[test]
fn first_woken_first_polled_and_each_once() {
    let mut ready = Ready::new(4);
    let wakers = [0, 1, 2, 3].map(|index| kept(&ready, index));
    for index in [2, 0, 2, 3, 0] {
        wakers[index].wake_by_ref();
    }
    assert_eq!(woken(&mut ready), [2, 0, 3]);
    assert_eq!(woken(&mut ready), [0; 0]);
    wakers[0].wake_by_ref();
    assert_eq!(woken(&mut ready), [0]);
}

#[test]
fn a_waker_that_is_lent_wakes_with_and_without_a_block() {
    let mut ready = Ready::new(2);
    assert_eq!(woken(&mut ready), [0; 0], "no block yet");
    ready.lend(1, |cx| cx.waker().wake_by_ref());
    ready.lend(0, |cx| cx.waker().wake_by_ref());
    assert_eq!(woken(&mut ready), [1, 0]);
}

#[test]
fn a_kept_waker_would_wake_the_same_as_the_next_one_lent() {
    let ready = Ready::new(2);
    let first = kept(&ready, 1);
    ready.lend(1, |cx| assert!(first.will_wake(cx.waker())));
    ready.lend(0, |cx| assert!(!first.will_wake(cx.waker())));
}

struct Nothing;

impl Wake for Nothing {
    fn wake(self: Arc<Self>) {}
}

#[test]
fn the_parents_waker_is_kept_once_and_given_back() {
    let count = Arc::new(Nothing);
    let parent = Waker::from(count.clone());
    let mut ready = Ready::new(1);
    assert!(ready.park(&parent), "no child can be woken");
    assert_eq!(Arc::strong_count(&count), 2, "so the waker is not needed");
    let child = kept(&ready, 0);
    for _ in 0..3 {
        ready.take();
        assert!(ready.park(&parent));
        assert_eq!(Arc::strong_count(&count), 3);
    }
    child.wake_by_ref();
    assert_eq!(Arc::strong_count(&count), 2, "taken by the wake");
    assert!(!ready.park(&parent), "a child was woken since");
    ready.take();
    assert_eq!(ready.next(), Some(0));
    assert!(ready.park(&parent));
    drop(ready);
    assert_eq!(Arc::strong_count(&count), 2, "gone with the set, though a child's waker lives on");
    child.wake();
}

#[test]
#[should_panic = "futures in one set"]
fn more_children_than_there_are_numbers_for_are_refused() {
    Ready::new(CHILDREN_MAX + 1);
}
