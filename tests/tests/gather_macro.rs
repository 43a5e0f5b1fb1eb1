//! The promises of `gather!` and `try_gather!`: types, order, whose turn it is, drops.
#![allow(missing_docs)]

#[path = "gather/gate.rs"]
mod gate;

use std::cell::{Cell, RefCell};
use std::future::{poll_fn, ready};
use std::pin::pin;
use std::task::{Poll, Waker};

use gate::{Post, Wakes, drops, everywhere, poll, polls, posts, turn};

#[test]
fn the_macro_gives_a_tuple_of_different_types() {
    everywhere(|| async {
        let text = String::from("abc");
        let (a, b, c) = filch::gather!(async { text.len() }, ready(&text), async { turn().await });
        assert_eq!((a, b.as_str(), c), (3, "abc", ()));
        let (single,) = filch::gather!(ready(1));
        assert_eq!(single, 1);
        let () = filch::gather!();
        let nested = filch::gather!(async { filch::gather!(ready(1), ready(2)) }, ready(3),);
        assert_eq!(nested, ((1, 2), 3));
        // What was made for the expression lives as long as the future.
        async fn length(text: &str) -> usize {
            turn().await;
            text.len()
        }
        assert_eq!(filch::gather!(length(&String::from("ab")), length(&text)), (2, 3));
    });
}

#[test]
fn the_macro_polls_those_that_are_not_done_in_turns() {
    let order = RefCell::new(Vec::new());
    let child = |name: &'static str, polls: u32| {
        let mut left = polls;
        let order = &order;
        poll_fn(move |_| {
            order.borrow_mut().push(name);
            left -= 1;
            if left == 0 { Poll::Ready(name) } else { Poll::Pending }
        })
    };
    let mut all = pin!(async { filch::gather!(child("a", 3), child("b", 1), child("c", 3)) });
    let mut seen = Vec::new();
    let output = loop {
        let polled = poll(&mut all, Waker::noop());
        seen.push(order.take().concat());
        if let Poll::Ready(output) = polled {
            break output;
        }
    };
    assert_eq!(output, ("a", "b", "c"));
    assert_eq!(seen, ["abc", "ca", "ca"]);
}

#[test]
fn the_macro_lets_none_eat_the_others_budget() {
    filch::Builder::new().paused_clock(1).build().unwrap().block_on(async {
        let (sender, receiver) = filch::channel::bounded(1);
        let end = Cell::new(false);
        let eater = || async {
            while !end.get() {
                let _ = filch::channel::bounded::<()>(1).0.try_send(());
                sender.send(()).await.unwrap();
                receiver.recv().await.unwrap();
            }
        };
        let (other, other_end) = filch::channel::bounded(1);
        let modest = async {
            for _ in 0..10 {
                other.send(()).await.unwrap();
                other_end.recv().await.unwrap();
            }
            end.set(true);
        };
        filch::gather!(eater(), eater(), modest);
    });
}

#[test]
fn the_macro_drops_each_future_as_soon_as_it_is_done_and_the_rest_with_itself() {
    let (wakes, waker) = Wakes::new();
    let posts = posts::<2>();
    let mut all = Box::pin(async { filch::gather!(posts[0].gate(1), posts[1].gate(2)) });
    assert!(poll(&mut all, &waker).is_pending());
    posts[0].open();
    assert_eq!(wakes.take(), 1);
    assert!(poll(&mut all, &waker).is_pending());
    assert_eq!((drops(&posts), polls(&posts)), (vec![1, 0], vec![2, 2]));
    drop(all);
    assert_eq!(drops(&posts), [1, 1]);
}

#[test]
fn the_macro_for_results_ends_with_the_first_error() {
    everywhere(|| async {
        let post = Post::new();
        let output = filch::try_gather!(post.gate(Ok::<u8, String>(1)), async {
            turn().await;
            Err::<(), _>(String::from("no"))
        });
        assert_eq!((output, post.drops.get()), (Err(String::from("no")), 1));
        let output: Result<_, ()> = filch::try_gather!(ready(Ok(1)), async { Ok("two") });
        assert_eq!(output, Ok((1, "two")));
        let none: Result<(), ()> = filch::try_gather!();
        assert_eq!(none, Ok(()));
    });
}
