//! Tests of the tree from the inside: what it keeps of children that are gone.

use crate::cancel::CancelToken;

#[test]
fn children_that_are_gone_leave_no_trace_in_a_parent_that_lives() {
    let parent = CancelToken::new();
    let kept = parent.child();
    for _ in 0..1_000 {
        let child = parent.child();
        let clone = child.clone();
        drop(child);
        assert_eq!(parent.children(), 2);
        drop(clone);
    }
    assert_eq!(parent.children(), 1);
    parent.cancel("over");
    assert!(kept.is_cancelled());
    assert_eq!(parent.children(), 0, "nobody is kept whom there is nothing to tell");
    assert!(parent.child().is_cancelled());
    assert_eq!(parent.children(), 0);
}

#[test]
fn a_chain_may_be_longer_than_the_stack_is_deep() {
    let top = CancelToken::new();
    let mut last = top.child();
    for _ in 0..200_000 {
        last = last.child();
    }
    top.cancel("from above");
    assert_eq!(last.reason().unwrap().text(), "from above");
    drop(top);
    drop(last);
    // Nor does one that nobody cancels.
    let mut last = CancelToken::new();
    for _ in 0..200_000 {
        last = last.child();
    }
}
