//! The promises of generators: lazy, in order, fused; `Send` as the body is; nothing lost or doubled by a cancel, a
//! leak or a panic; an early end runs the body's clean-up. `generator_both_ways.rs` has what goes back in, and errors.
#![allow(missing_docs)]

use std::cell::RefCell;
use std::future::{Future, pending, poll_fn};
use std::mem;
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::task::{Context, Poll, Wake, Waker};
use std::time::Duration;

use filch::generator::Closed;
use filch::stream::{Stream, StreamExt};
use filch::testing::cancel_at_every_await;
use filch::time::{Instant, sleep};
use filch::{Yielder, generator, wait_for};
use filch_tests::{Drops, panics, poll_once, workers};
use futures_core::stream::FusedStream;
use futures_lite::future::{block_on, yield_now};

fn is_send<T: Send>(value: T) -> T {
    value
}

fn poll_next<S: Stream + Unpin>(stream: &mut S) -> Poll<Option<S::Item>> {
    Pin::new(stream).poll_next(&mut Context::from_waker(Waker::noop()))
}

#[test]
fn nothing_runs_until_an_item_is_asked_for_and_no_more_than_that() {
    let log = RefCell::new(Vec::new());
    let mut two = generator(async |mut y| {
        log.borrow_mut().push("begin");
        y.emit(1).await;
        log.borrow_mut().push("between");
        y.emit(2).await;
        log.borrow_mut().push("end");
    });
    assert!(log.borrow().is_empty());
    assert_eq!(poll_next(&mut two), Poll::Ready(Some(1)));
    assert_eq!(log.take(), ["begin"]);
    assert_eq!(poll_next(&mut two), Poll::Ready(Some(2)));
    assert_eq!(log.take(), ["between"]);
    assert_eq!(two.size_hint(), (0, None));
    for _ in 0..3 {
        assert_eq!(poll_next(&mut two), Poll::Ready(None));
        assert!(two.is_terminated());
        assert_eq!(two.size_hint(), (0, Some(0)));
    }
    assert_eq!(log.take(), ["end"]);
}

#[test]
fn the_body_is_dropped_at_its_end_and_not_only_with_the_generator() {
    let drops = Drops::new();
    let token = drops.token();
    let mut none = generator::<u32, _>(async move |_y| {
        let _held = &token;
    });
    assert_eq!(poll_next(&mut none), Poll::Ready(None));
    assert_eq!(drops.count(), 1);
}

#[test]
fn ge1_it_borrows_is_send_and_crosses_threads_between_polls() {
    let words = ["a".to_owned(), "b".to_owned(), "c".to_owned()];
    let mut borrowed = is_send(generator(async |mut y| {
        for word in &words {
            let held = word.clone();
            y.emit(word.as_str()).await;
            async { y.emit("-").await }.await;
            assert_eq!(held, *word);
        }
    }));
    let mut seen = Vec::new();
    for _ in 0..6 {
        // Each item is taken by a thread of its own.
        let item = std::thread::scope(|scope| scope.spawn(|| poll_next(&mut borrowed)).join().unwrap());
        let Poll::Ready(Some(item)) = item else { panic!("{item:?}") };
        seen.push(item);
    }
    assert_eq!(seen, ["a", "-", "b", "-", "c", "-"]);
    assert_eq!(poll_next(&mut borrowed), Poll::Ready(None));
}

/// What takes time between items.
async fn sum_with_naps(nap: impl AsyncFn(), count: u64) -> u64 {
    let mut squares = pin!(generator(async |mut y| {
        for n in 0..count {
            nap().await;
            y.emit(n * n).await;
        }
    }));
    let mut sum = 0;
    while let Some(square) = squares.next().await {
        sum += square;
    }
    sum
}

#[filch::test(paused)]
async fn the_body_waits_on_the_clock() {
    let start = Instant::now();
    assert_eq!(sum_with_naps(async || sleep(Duration::from_secs(1)).await, 10).await, 285);
    assert_eq!(start.elapsed(), Duration::from_secs(10));
}

#[test]
fn it_runs_in_spawned_tasks_of_filch_and_of_tokio() {
    const NAP: Duration = Duration::from_micros(10);
    let filch = workers(2).block_on(async {
        filch::spawn(async { sum_with_naps(async || sleep(NAP).await, 10).await }).await.unwrap()
    });
    let tokio = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_time().build().unwrap();
    let tokio = tokio.block_on(async {
        tokio::spawn(async { sum_with_naps(async || tokio::time::sleep(NAP).await, 10).await }).await.unwrap()
    });
    assert_eq!((filch, tokio), (285, 285));
}

#[test]
fn items_of_any_size_and_alignment() {
    #[repr(align(128))]
    #[derive(Clone, Copy, Debug, PartialEq)]
    struct Wide([u8; 300]);
    let wide = generator(async |mut y| {
        y.emit(Wide([1; 300])).await;
        y.emit(Wide([2; 300])).await;
    });
    assert_eq!(block_on(wide.collect::<Vec<_>>()), [Wide([1; 300]), Wide([2; 300])]);
    let units = generator(async |mut y| {
        y.emit(()).await;
        y.emit(()).await;
    });
    assert_eq!(block_on(units.count()), 2);
}

#[test]
fn ge2_one_in_another_and_each_keeps_its_own_items() {
    let outer = generator(async |mut out: Yielder<'_, u32>| {
        out.emit(0).await;
        let mut inner = generator(async |mut y| {
            y.emit('a').await;
            // An inner body emits into the outer generator: the outer's consumer gets it, in its place.
            out.emit(1).await;
            y.emit('b').await;
            out.emit(2).await;
        });
        let mut seen = String::new();
        while let Some(letter) = inner.next().await {
            seen.push(letter);
        }
        drop(inner);
        assert_eq!(seen, "ab");
        out.emit(3).await;
    });
    assert_eq!(block_on(outer.collect::<Vec<_>>()), [0, 1, 2, 3]);
}

#[test]
fn recursion() {
    fn walk<'b>(y: &'b mut Yielder<'_, u32>, depth: u32) -> Pin<Box<dyn Future<Output = ()> + Send + 'b>> {
        Box::pin(async move {
            if depth > 0 {
                walk(y, depth - 1).await;
                y.emit(depth).await;
                walk(y, depth - 1).await;
            }
        })
    }
    let tree = is_send(generator(async |mut y| walk(&mut y, 3).await));
    assert_eq!(block_on(tree.collect::<Vec<_>>()), [1, 2, 1, 3, 1, 2, 1]);
}

/// Polls `future` only when its own waker was called, as sets of futures do.
async fn only_when_woken<F: Future>(future: F) -> F::Output {
    struct Flag {
        woken: AtomicUsize,
        outer: Waker,
    }
    impl Wake for Flag {
        fn wake(self: Arc<Self>) {
            self.woken.store(1, SeqCst);
            self.outer.wake_by_ref();
        }
    }
    let mut future = pin!(future);
    let mut flag: Option<Arc<Flag>> = None;
    poll_fn(|cx| {
        let flag = flag
            .get_or_insert_with(|| Arc::new(Flag { woken: AtomicUsize::new(1), outer: cx.waker().clone() }));
        match flag.woken.swap(0, SeqCst) {
            0 => Poll::Pending,
            _ => future.as_mut().poll(&mut Context::from_waker(&Waker::from(flag.clone()))),
        }
    })
    .await
}

#[test]
fn an_emit_below_something_that_polls_only_what_was_woken() {
    let numbers = generator(async |mut y| {
        only_when_woken(async {
            for n in 0..5 {
                y.emit(n).await;
            }
            let _ = y.emit_or_closed(5).await;
        })
        .await;
        y.emit(6).await;
    });
    assert_eq!(block_on(numbers.collect::<Vec<_>>()), [0, 1, 2, 3, 4, 5, 6]);
    // And `close` gets through to it.
    block_on(async {
        let mut told = None;
        let mut one = generator(async |mut y| told = Some(only_when_woken(y.emit_or_closed(1)).await));
        assert_eq!(one.next().await, Some(1));
        one.close().await;
        drop(one);
        assert_eq!(told, Some(Err(Closed)));
    });
}

#[test]
fn a_next_that_is_dropped_at_any_await_loses_nothing() {
    let report = block_on(cancel_at_every_await(async |trial| {
        let mut numbers = generator(async |mut y| {
            for n in 0..4 {
                yield_now().await;
                y.emit(n).await;
                yield_now().await;
            }
        });
        let mut seen = Vec::new();
        let _ = trial
            .run(async {
                while let Some(n) = numbers.next().await {
                    seen.push(n);
                }
            })
            .await;
        while let Some(n) = numbers.next().await {
            seen.push(n);
        }
        assert_eq!(seen, [0, 1, 2, 3]);
    }));
    assert_eq!(report.polls(), 9);
}

#[test]
fn an_emit_that_is_dropped_emits_once_or_not_at_all() {
    let drops = Drops::new();
    let mut items = generator(async |mut y| {
        // Before its first poll.
        drop(y.emit((1, drops.token())));
        // With the item in the slot, in the same poll of the body.
        let mut two = y.emit((2, drops.token()));
        assert!(poll_once(&mut two).await.is_none());
        drop(two);
        assert_eq!(drops.count(), 2);
        y.emit((3, drops.token())).await;
        // After the consumer took it, and before that was noticed here.
        let mut four = y.emit((4, drops.token()));
        assert!(poll_once(&mut four).await.is_none());
        yield_now().await;
        drop(four);
        y.emit((5, drops.token())).await;
    });
    let mut seen = Vec::new();
    block_on(async {
        while let Some((n, _token)) = items.next().await {
            seen.push(n);
        }
    });
    assert_eq!(seen, [3, 4, 5]);
    drop(items);
    assert_eq!(drops.count(), 5);
}

#[test]
fn an_emit_that_is_leaked_keeps_its_item_in_order() {
    let mut items = generator(async |mut y| {
        let mut one = y.emit(1);
        assert!(poll_once(&mut one).await.is_none());
        mem::forget(one);
        yield_now().await;
        y.emit(2).await;
        let mut three = y.emit(3);
        assert!(poll_once(&mut three).await.is_none());
        mem::forget(three);
    });
    let seen: Vec<i32> = block_on(async {
        let mut seen = Vec::new();
        while let Some(n) = items.next().await {
            seen.push(n);
        }
        seen
    });
    assert_eq!(seen, [1, 2, 3]);
    assert_eq!(poll_next(&mut items), Poll::Ready(None));
}

#[test]
fn two_emits_at_once_panic() {
    let mut items = generator(async |mut y| {
        let mut one = y.emit(1);
        assert!(poll_once(&mut one).await.is_none());
        mem::forget(one);
        y.emit(2).await;
    });
    assert!(panics(|| assert!(poll_next(&mut items).is_pending())).contains("two emits at once"));
    assert_eq!(poll_next(&mut items), Poll::Ready(None));
}

#[test]
fn an_emit_outside_of_the_body_panics() {
    /// Emits as it is dropped.
    struct Late<'y, 'a>(&'y mut Yielder<'a, u32>);
    impl Drop for Late<'_, '_> {
        fn drop(&mut self) {
            block_on(self.0.emit(1));
        }
    }
    let stuck = |started: bool| {
        let mut items = generator(async |mut y| {
            let _late = Late(&mut y);
            pending::<()>().await;
        });
        if started {
            assert_eq!(poll_next(&mut items), Poll::Pending);
        }
        items
    };
    assert!(panics(|| drop(stuck(true))).contains("outside of its generator's body"));
    drop(stuck(false));
    /// Emits before it is polled.
    fn early(mut y: Yielder<'_, u32>) -> impl Future<Output = ()> {
        drop(y.emit(1));
        pending()
    }
    assert!(panics(|| drop(generator(early))).contains("before its generator was asked"));
}

#[test]
fn a_future_is_not_polled_after_it_was_ready() {
    let mut items = generator(async |mut y| {
        let mut one = y.emit(1);
        (&mut one).await;
        one.await;
    });
    assert_eq!(poll_next(&mut items), Poll::Ready(Some(1)));
    assert!(panics(|| assert!(poll_next(&mut items).is_pending())).contains("after it was ready"));
}

#[test]
fn ge1_a_panic_of_the_body_ends_it_and_drops_each_thing_once() {
    let drops = Drops::new();
    let (upvar, count) = (drops.token(), &drops);
    let mut items = generator(async move |mut y| {
        let _upvar = upvar;
        y.emit(count.token()).await;
        let mut second = y.emit(count.token());
        assert!(poll_once(&mut second).await.is_none());
        panic!("on the way");
    });
    let Poll::Ready(Some(first)) = poll_next(&mut items) else { panic!("an item") };
    assert_eq!(panics(|| assert!(poll_next(&mut items).is_pending())), "on the way");
    assert_eq!(drops.count(), 2);
    assert!(items.is_terminated() && poll_next(&mut items).is_ready());
    drop((first, items));
    assert_eq!(drops.count(), 3);
}

#[test]
fn a_panic_of_a_destructor_frees_the_rest() {
    struct Bomb;
    impl Drop for Bomb {
        fn drop(&mut self) {
            panic!("boom");
        }
    }
    let drops = Drops::new();
    let mut items = generator(async |mut y| {
        let _token = drops.token();
        let _bomb = Bomb;
        y.emit(1).await;
    });
    assert_eq!(poll_next(&mut items), Poll::Ready(Some(1)));
    assert_eq!(panics(|| drop(items)), "boom");
    assert_eq!(drops.count(), 1);
}

#[test]
fn ge1_an_early_drop_drops_the_body_where_it_stands() {
    let drops = Drops::new();
    for polls in 0..3 {
        let token = drops.token();
        let mut items = generator(async move |mut y| {
            let _token = token;
            y.emit(()).await;
            pending::<()>().await;
        });
        for _ in 0..polls {
            let _ = poll_next(&mut items);
        }
        assert_eq!(drops.count(), polls);
        drop(items);
        assert_eq!(drops.count(), polls + 1);
    }
}

#[filch::test(paused)]
async fn close_waits_for_the_clean_up_of_a_body_that_listens() {
    let said = RefCell::new(Vec::new());
    let mut items = generator(async |mut y| {
        while y.emit_or_closed(1).await.is_ok() {}
        said.borrow_mut().push("closing");
        sleep(Duration::from_secs(3)).await;
        said.borrow_mut().push("closed");
    });
    assert_eq!(items.next().await, Some(1));
    let start = Instant::now();
    // A cancelled close goes on when it is called again, or when the stream is polled.
    assert!(wait_for(items.close(), Duration::from_secs(1)).await.is_err());
    assert!(wait_for(items.next(), Duration::from_secs(1)).await.is_err());
    assert_eq!(*said.borrow(), ["closing"]);
    items.close().await;
    assert_eq!(start.elapsed(), Duration::from_secs(3));
    assert_eq!(*said.borrow(), ["closing", "closed"]);
    items.close().await;
    assert_eq!(items.next().await, None);
}

#[test]
fn close_drops_a_body_that_does_not_listen() {
    let drops = Drops::new();
    let make = |polls: usize, emit_again: bool| {
        let token = drops.token();
        let mut items = generator(async move |mut y| {
            let _token = token;
            y.emit(1).await;
            yield_now().await;
            if y.emit_or_closed(2).await.is_err() && emit_again {
                y.emit(3).await;
                unreachable!("an emit while closing ends the body");
            }
        });
        for _ in 0..polls {
            let _ = poll_next(&mut items);
        }
        items
    };
    block_on(async {
        // Not begun; in `emit`; in another await; in `emit_or_closed`, which ends, or emits again.
        let cases = [(0, false), (1, false), (2, false), (3, false), (3, true)];
        for (n, (polls, emit_again)) in cases.into_iter().enumerate() {
            let mut items = make(polls, emit_again);
            assert_eq!(drops.count(), n);
            assert_eq!(poll_once(&mut pin!(items.close())).await, Some(()), "{polls} polls");
            assert_eq!(drops.count(), n + 1);
            assert_eq!(items.next().await, None);
        }
    });
}

#[test]
fn close_can_be_dropped_at_any_await() {
    let report = block_on(cancel_at_every_await(async |trial| {
        let cleaned = RefCell::new(0);
        let mut items = generator(async |mut y| {
            let _ = y.emit_or_closed(1).await;
            for _ in 0..3 {
                yield_now().await;
                *cleaned.borrow_mut() += 1;
            }
        });
        assert_eq!(items.next().await, Some(1));
        let _ = trial.run(items.close()).await;
        items.close().await;
        assert_eq!(*cleaned.borrow(), 3);
    }));
    assert_eq!(report.polls(), 4);
}

#[test]
fn it_is_not_send_when_the_body_is_not_and_works_all_the_same() {
    let shared = Rc::new(RefCell::new(0));
    let theirs = shared.clone();
    let items = generator(async move |mut y| {
        for _ in 0..3 {
            *theirs.borrow_mut() += 1;
            let now = *theirs.borrow();
            y.emit(now).await;
        }
    });
    assert_eq!(block_on(items.map(|n| n * 2).collect::<Vec<_>>()), [2, 4, 6]);
    assert_eq!(*shared.borrow(), 3);
}

#[test]
fn an_emit_that_is_not_polled_keeps_its_item_until_it_is_dropped_or_followed() {
    let drops = Drops::new();
    let mut items = generator(async |mut y| {
        // Never awaited, kept across a wait, and then dropped.
        let unused = y.emit(drops.token());
        yield_now().await;
        drop(unused);
        yield_now().await;
        // Never awaited, and leaked: the next one takes its place.
        mem::forget(y.emit(drops.token()));
        y.emit(drops.token()).await;
        mem::forget(y.emit(drops.token()));
    });
    assert!(poll_next(&mut items).is_pending());
    assert_eq!(drops.count(), 0);
    assert!(poll_next(&mut items).is_pending());
    assert_eq!(drops.count(), 1);
    let Poll::Ready(Some(third)) = poll_next(&mut items) else { panic!("an item") };
    assert_eq!(drops.count(), 2);
    // The one that was leaked goes with the body.
    assert!(matches!(poll_next(&mut items), Poll::Ready(None)));
    assert_eq!(drops.count(), 3);
    drop(third);
    assert_eq!(drops.count(), 4);
}

#[test]
fn an_emit_in_a_clean_up_ends_it_only_if_it_is_polled() {
    let drops = Drops::new();
    let log = RefCell::new(Vec::new());
    let mut items = generator(async |mut y| {
        let answer = y.emit_or_closed(drops.token()).await;
        assert_eq!(answer, Err(Closed));
        drop(y.emit(drops.token()));
        log.borrow_mut().push("goes on");
        yield_now().await;
        log.borrow_mut().push("emits");
        y.emit(drops.token()).await;
        unreachable!("it ends there");
    });
    let Poll::Ready(Some(first)) = poll_next(&mut items) else { panic!("an item") };
    block_on(items.close());
    assert_eq!(log.take(), ["goes on", "emits"]);
    assert_eq!(drops.count(), 2);
    assert!(items.is_terminated());
    drop(first);
    assert_eq!(drops.count(), 3);
}

#[test]
fn next_resume_with_and_item_take_turns_where_there_is_nothing_to_say() {
    let mut items = generator(async |mut y| {
        for n in 0..6 {
            y.emit(n).await;
        }
    });
    block_on(async {
        assert_eq!(items.next().await, Some(0));
        assert_eq!(items.resume_with(()).await, Some(1));
        assert_eq!(items.next().await, Some(2));
        assert_eq!(items.item().await, Some(3));
        // An answer is owed now, as `item` came by its item without one.
        assert_eq!(items.resume_with(()).await, Some(4));
        assert_eq!(items.next().await, Some(5));
        assert_eq!(items.next().await, None);
    });
}
