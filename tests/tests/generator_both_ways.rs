//! The promises of generators that are answered, and of those that fail: `emit` returns what was sent in, each
//! answer once; the items come before the error, and the error before the end.
#![allow(missing_docs)]

use std::future::pending;
use std::mem;
use std::pin::{Pin, pin};
use std::task::{Context, Poll, Waker};

use filch::generator::Closed;
use filch::stream::{Stream, StreamExt};
use filch::sync::Semaphore;
use filch::{generator_with, try_generator};
use filch_tests::{Drops, panics, poll_once};
use futures_core::stream::FusedStream;
use futures_lite::future::{block_on, yield_now};

fn is_send<T: Send>(value: T) -> T {
    value
}

fn poll_next<S: Stream + Unpin>(stream: &mut S) -> Poll<Option<S::Item>> {
    Pin::new(stream).poll_next(&mut Context::from_waker(Waker::noop()))
}

#[test]
fn answers_come_back_from_emit() {
    block_on(async {
        let mut seen = Vec::new();
        let mut items = is_send(generator_with::<String, _, _>(async |mut y| {
            seen.push(y.first());
            seen.push(y.first());
            for n in 0..3 {
                seen.push(Some(y.emit(n).await));
            }
        }));
        for (n, word) in ["zero", "one", "two", "three", "four"].into_iter().enumerate() {
            assert_eq!(items.resume_with(word.to_owned()).await, (n < 3).then_some(n));
        }
        assert_eq!(items.item().await, None);
        drop(items);
        let seen: Vec<_> = seen.iter().map(Option::as_deref).collect();
        assert_eq!(seen, [Some("zero"), None, Some("one"), Some("two"), Some("three")]);
    });
}

#[test]
fn each_answer_is_dropped_once_whoever_has_it() {
    type Answer = filch_tests::OnDrop<Box<dyn FnMut()>>;
    let drops = Drops::new();
    let answer = || -> Answer {
        let mut token = Some(drops.token());
        filch_tests::on_drop(Box::new(move || drop(token.take())))
    };
    block_on(async {
        let mut items = generator_with::<Answer, _, _>(async |mut y| {
            // The first is not taken, and dropped by the first emit.
            drop(y.emit(1).await);
            assert_eq!(drops.count(), 2);
            let mut two = y.emit(2);
            assert!(poll_once(&mut two).await.is_none());
            yield_now().await;
            drop(two);
            assert_eq!(drops.count(), 3);
            let mut three = y.emit(3);
            assert!(poll_once(&mut three).await.is_none());
            mem::forget(three);
            yield_now().await;
            pending::<()>().await;
        });
        for n in 1..4 {
            assert_eq!(items.resume_with(answer()).await, Some(n));
        }
        assert!(poll_once(&mut pin!(items.resume_with(answer()))).await.is_none());
        assert_eq!(drops.count(), 3);
        // With the answer to a leaked `emit` still in the slot.
        drop(items);
        assert_eq!(drops.count(), 4);
    });
}

#[test]
fn a_resume_that_is_dropped_is_gone_on_with_by_item() {
    block_on(async {
        let gate = Semaphore::new(0);
        let mut items = generator_with::<u32, _, _>(async |mut y| {
            let mut last = 0;
            loop {
                last = y.emit(last * 10).await;
                gate.acquire().await.unwrap().forget();
            }
        });
        assert_eq!(items.item().await, Some(0));
        assert!(poll_once(&mut pin!(items.resume_with(1))).await.is_none());
        let twice = panics(|| assert_eq!(block_on(items.resume_with(2)), None));
        assert!(twice.contains("works on an earlier answer"), "{twice}");
        gate.add(1);
        assert_eq!(items.item().await, Some(10));
        let waits = panics(|| assert_eq!(block_on(items.item()), None));
        assert!(waits.contains("waits for an answer"), "{waits}");
    });
}

#[test]
fn a_try_generator_ends_on_the_error() {
    let numbers = |text: &'static str| {
        is_send(try_generator::<u32, std::num::ParseIntError, _>(async move |mut y| {
            for word in text.split(' ') {
                y.emit(word.parse()?).await;
            }
            Ok(())
        }))
    };
    block_on(async {
        let all: Vec<_> = numbers("1 2").collect().await;
        assert_eq!(all, [Ok(1), Ok(2)]);
        let mut some = numbers("1 x 2");
        assert_eq!(some.next().await, Some(Ok(1)));
        assert_eq!(some.size_hint(), (0, None));
        assert!(some.next().await.unwrap().is_err());
        assert!(some.is_terminated());
        assert_eq!((some.next().await, some.next().await), (None, None));
        assert_eq!(some.size_hint(), (0, Some(0)));
        let sum: Result<u32, _> = numbers("1 2 3").try_fold(0, |sum, n| Ok(sum + n)).await;
        assert_eq!(sum, Ok(6));
    });
}

#[test]
fn a_try_generator_gives_the_leaked_item_before_the_error() {
    let mut items = try_generator(async |mut y| {
        let mut one = y.emit(1);
        assert!(poll_once(&mut one).await.is_none());
        mem::forget(one);
        Err("failed")
    });
    assert_eq!(poll_next(&mut items), Poll::Ready(Some(Ok(1))));
    assert!(!items.is_terminated());
    assert_eq!(items.size_hint(), (1, Some(1)));
    assert_eq!(poll_next(&mut items), Poll::Ready(Some(Err("failed"))));
    assert_eq!(poll_next(&mut items), Poll::Ready(None));
}

#[test]
fn the_close_of_a_try_generator_tells_of_a_failed_clean_up() {
    block_on(async {
        let make = || {
            try_generator(async |mut y| {
                y.emit(1).await;
                match y.emit_or_closed(2).await {
                    Ok(()) => Ok(()),
                    Err(Closed) => Err("could not clean up"),
                }
            })
        };
        let mut items = make();
        assert_eq!(items.next().await, Some(Ok(1)));
        assert_eq!(items.close().await, Ok(()));
        assert_eq!(items.next().await, None);
        let mut items = make();
        assert_eq!((items.next().await, items.next().await), (Some(Ok(1)), Some(Ok(2))));
        assert_eq!(items.close().await, Err("could not clean up"));
        assert_eq!((items.next().await, items.close().await), (None, Ok(())));
    });
}
