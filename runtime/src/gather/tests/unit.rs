//! Tests of `ready` on one thread: who is found and in what order, wakers of both kinds, the parent's waker.

use std::sync::Arc;
use std::task::{Wake, Waker};

use crate::gather::ready::{CHILDREN_MAX, Ready};

fn kept(ready: &mut Ready, index: usize) -> Waker {
    ready.lend(index, |cx| cx.waker().clone())
}

/// All that were woken since the last call.
fn woken(ready: &mut Ready) -> Vec<usize> {
    ready.take();
    std::iter::from_fn(|| ready.find().then(|| ready.lend_next(|index, _| index))).collect()
}

/// From one word to a tree of four levels, with the sizes at which a level more is needed.
#[test]
fn each_that_was_woken_is_found_once_in_order() {
    for children in [1, 2, 63, 64, 65, 4_032, 4_033, 258_048, 258_049, 300_000] {
        let mut ready = Ready::new(children);
        let mut picked = vec![0, 1, 62, 63, 64, 65, 127, 4_031, 4_032, 8_063, 258_047, 258_048, children - 1];
        picked.retain(|&index| index < children);
        picked.sort_unstable();
        picked.dedup();
        let wakers: Vec<_> = picked.iter().map(|&index| kept(&mut ready, index)).collect();
        for _ in 0..2 {
            for waker in wakers.iter().rev() {
                waker.wake_by_ref();
                waker.wake_by_ref();
            }
            assert_eq!(woken(&mut ready), picked, "of {children}");
            assert_eq!(woken(&mut ready), [0; 0]);
        }
    }
}

#[test]
fn who_is_woken_while_others_are_looked_at_is_found_at_the_next_take() {
    let mut ready = Ready::new(200);
    let wakers = [0, 1, 150].map(|index| kept(&mut ready, index));
    wakers.iter().for_each(Waker::wake_by_ref);
    ready.take();
    assert!(ready.find());
    assert_eq!(ready.lend_next(|index, _| index), 0);
    wakers[0].wake_by_ref();
    assert!(ready.find());
    assert_eq!(ready.lend_next(|index, _| index), 1);
    assert!(ready.find());
    assert_eq!(ready.lend_next(|index, _| index), 150);
    assert!(!ready.find());
    assert_eq!(woken(&mut ready), [0]);
}

#[test]
fn a_waker_that_is_only_lent_wakes_with_and_without_a_block() {
    let mut ready = Ready::new(100);
    assert_eq!(woken(&mut ready), [0; 0]);
    let parent = Waker::noop();
    ready.lend(1, |cx| cx.waker().wake_by_ref());
    assert!(!ready.park(parent), "one was woken");
    ready.lend(0, |cx| cx.waker().wake_by_ref());
    assert_eq!(woken(&mut ready), [0, 1]);
    assert!(ready.park(parent));

    // Beyond the first word, and beside others that have a block by then.
    ready.lend(0, |cx| {
        cx.waker().wake_by_ref();
        drop(cx.waker().clone());
        cx.waker().wake_by_ref();
    });
    ready.lend(99, |cx| cx.waker().wake_by_ref());
    assert!(!ready.park(parent));
    assert_eq!(woken(&mut ready), [0, 99]);
}

#[test]
fn a_child_of_a_later_group_that_wakes_itself_makes_the_block() {
    let mut ready = Ready::new(100);
    ready.lend(99, |cx| cx.waker().wake_by_ref());
    ready.lend(1, |cx| cx.waker().wake_by_ref());
    assert_eq!(woken(&mut ready), [1, 99]);
}

#[test]
fn a_kept_waker_would_wake_the_same_as_the_next_one_lent() {
    let mut ready = Ready::new(100);
    for (index, other) in [(1, 0), (70, 6)] {
        let first = kept(&mut ready, index);
        assert!(first.will_wake(&first.clone()));
        ready.lend(index, |cx| assert!(first.will_wake(cx.waker())));
        ready.lend(other, |cx| assert!(!first.will_wake(cx.waker())));
    }
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
    let child = kept(&mut ready, 0);
    for _ in 0..3 {
        ready.take();
        assert!(ready.park(&parent));
        assert_eq!(Arc::strong_count(&count), 3);
    }
    child.wake_by_ref();
    assert_eq!(Arc::strong_count(&count), 2, "taken by the wake");
    assert!(!ready.park(&parent), "a child was woken since");
    assert_eq!(woken(&mut ready), [0]);
    assert!(ready.park(&parent));
    drop(ready);
    assert_eq!(Arc::strong_count(&count), 2, "gone with the set, though a child's waker lives on");
    child.wake();
}

#[test]
fn a_parent_with_another_waker_takes_the_place_of_the_old_one() {
    let counts = [(); 2].map(|()| Arc::new(Nothing));
    let [old, new] = counts.clone().map(Waker::from);
    let mut ready = Ready::new(1);
    let _child = kept(&mut ready, 0);
    assert!(ready.park(&old));
    ready.take();
    assert!(ready.park(&new));
    assert_eq!(counts.each_ref().map(Arc::strong_count), [2, 3]);
    drop((ready, old, new));
    assert_eq!(counts.each_ref().map(Arc::strong_count), [1, 1]);
}

#[test]
#[should_panic = "futures in one set"]
fn more_children_than_there_are_numbers_for_are_refused() {
    Ready::new(CHILDREN_MAX + 1);
}
