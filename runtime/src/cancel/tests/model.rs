//! Models of the tree, on the code that ships: a cancellation against a birth, a death, another cancellation.

use std::future::poll_fn;
use std::pin::pin;

use crate::cancel::tree::{Node, Owner};
use crate::shim::{Arc, model, thread};
use crate::util::block;

/// A tree of tokens whose reasons are numbers.
fn root() -> Arc<Owner<u32>> {
    Arc::new(Owner::root())
}

fn child(parent: &Arc<Owner<u32>>) -> Arc<Owner<u32>> {
    Arc::new(Owner::child(parent))
}

#[test]
fn a_child_that_is_born_meanwhile_is_cancelled_too() {
    model(|| {
        let parent = root();
        let canceller = {
            let parent = parent.clone();
            thread::spawn(move || assert!(Node::cancel(&parent.node, &7)))
        };
        let born = child(&parent);
        let grandchild = child(&born);
        canceller.join().unwrap();
        assert_eq!((born.node.reason(), grandchild.node.reason()), (Some(&7), Some(&7)));
        assert_eq!(child(&parent).node.reason(), Some(&7));
    });
}

#[test]
fn who_returns_from_a_cancellation_finds_all_below_cancelled() {
    model(|| {
        let top = root();
        let middle = child(&top);
        let bottom = child(&middle);
        let other = {
            let middle = middle.clone();
            thread::spawn(move || Node::cancel(&middle.node, &1))
        };
        Node::cancel(&top.node, &2);
        // Also if the other one is still on its way down.
        let seen = (*middle.node.reason().unwrap(), *bottom.node.reason().unwrap());
        let was_first = other.join().unwrap();
        assert_eq!(seen.0, if was_first { 1 } else { 2 });
        assert_eq!((middle.node.reason(), bottom.node.reason()), (Some(&seen.0), Some(&seen.1)));
    });
}

#[test]
fn who_waits_for_a_child_is_woken_whoever_drops_what() {
    model(|| {
        let parent = root();
        let kept = child(&parent);
        let gone = child(&parent);
        let node = kept.node.clone();
        let waiter = thread::spawn(move || {
            let mut wait = pin!(node.event.wait());
            block::on(&mut poll_fn(|cx| wait.as_mut().poll(cx)), None).expect("no limit");
            assert_eq!(node.reason(), Some(&3));
        });
        let dropper = thread::spawn(move || drop(gone));
        Node::cancel(&parent.node, &3);
        dropper.join().unwrap();
        waiter.join().unwrap();
        assert_eq!(parent.children(), 0);
    });
}
