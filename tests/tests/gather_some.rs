//! The promises of `race`, `any`, `as_completed`, `wait` and `shield`: who wins, what becomes of the others,
//! and limits of time to the tick.
#![allow(missing_docs)]

#[path = "gather/gate.rs"]
mod gate;

use std::cell::Cell;
use std::convert::Infallible;
use std::future::{Future, pending, poll_fn, ready};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::task::{Poll, Waker};
use std::time::Duration;

use filch::gather::as_completed_keyed;
use filch::testing::cancel_at_every_await;
use filch::time::{Instant, sleep, wait_for};
use filch::{AllFailed, Wait};
use filch_tests::Drops;
use futures_core::{FusedStream, Stream};
use futures_lite::StreamExt;

use gate::{Wakes, drops, everywhere, on_tokio, poll, polls, posts, turn};

const SECOND: Duration = Duration::from_secs(1);

/// Sleeps so many seconds, and tells of its end by a token.
fn seconds(n: u32, drops: &Drops) -> impl Future<Output = u32> + 'static {
    let token = drops.token();
    async move {
        let _token = token;
        sleep(SECOND * n).await;
        n
    }
}

#[filch::test(paused)]
async fn race_ends_with_the_first_and_drops_the_others() {
    let (start, drops) = (Instant::now(), Drops::new());
    assert_eq!(filch::race([3, 1, 2].map(|n| seconds(n, &drops))).await, 1);
    assert_eq!((start.elapsed(), drops.count()), (SECOND, 3));
}

#[test]
fn race_on_tokio() {
    on_tokio(async {
        let start = tokio::time::Instant::now();
        let winner = filch::race([3, 1, 2].map(|n| async move {
            tokio::time::sleep(SECOND * n).await;
            n
        }));
        assert_eq!((winner.await, start.elapsed()), (1, SECOND));
    });
}

#[test]
fn of_several_that_are_ready_the_first_argument_wins() {
    assert_eq!(poll(&mut filch::race([ready(1), ready(2)]), Waker::noop()), Poll::Ready(1));

    let posts = posts::<3>();
    let mut race = filch::race((0..3).map(|n| posts[n].gate(n)));
    assert!(poll(&mut race, Waker::noop()).is_pending());
    posts[2].open();
    posts[1].open();
    assert_eq!(poll(&mut race, Waker::noop()), Poll::Ready(1));
    assert_eq!((polls(&posts), drops(&posts)), (vec![1, 2, 1], vec![1, 1, 1]), "gone before it is ready");
}

#[test]
#[should_panic = "race: no futures"]
fn a_race_of_nobody_is_refused_at_once() {
    drop(filch::race(Vec::<std::future::Ready<()>>::new()));
}

#[filch::test(paused)]
async fn any_ends_with_the_first_that_ends_well() {
    let (start, drops) = (Instant::now(), Drops::new());
    let child = |n| {
        let child = seconds(n, &drops);
        async move { if child.await % 2 == 0 { Ok(n) } else { Err(n) } }
    };
    assert_eq!(filch::any([1, 3, 4, 2].map(child)).await, Ok(2));
    assert_eq!((start.elapsed(), drops.count()), (2 * SECOND, 4));
}

#[test]
fn any_tells_of_all_errors_in_the_order_of_the_arguments() {
    everywhere(|| async {
        let errors = filch::any([2, 0, 1].map(|n| async move {
            for _ in 0..n {
                turn().await;
            }
            Err::<(), _>(n)
        }));
        let failed = errors.await.unwrap_err();
        assert_eq!(failed, AllFailed { errors: vec![2, 0, 1] });
        assert_eq!(failed.to_string(), "all 3 futures failed: 2; 0; 1");

        let none = filch::any(None::<std::future::Ready<Result<(), u8>>>).await.unwrap_err();
        assert_eq!((none.errors.len(), &*none.to_string()), (0, "there were no futures, so none ended well"));
        let one: Box<dyn std::error::Error> =
            filch::any([ready(Err::<(), _>("x"))]).await.unwrap_err().into();
        assert_eq!(one.to_string(), "the only future failed: x");
    });
}

#[filch::test(paused)]
async fn as_completed_gives_each_when_it_is_done() {
    let (start, drops) = (Instant::now(), Drops::new());
    let mut outputs = filch::as_completed([3, 1, 2].map(|n| seconds(n, &drops)));
    for n in 1..=3 {
        assert_eq!(
            (outputs.remaining(), outputs.size_hint()),
            (4 - n as usize, (4 - n as usize, Some(4 - n as usize)))
        );
        assert_eq!(outputs.next().await, Some(n));
        assert_eq!((start.elapsed(), drops.count()), (SECOND * n, n as usize));
    }
    assert!(outputs.is_terminated());
    assert_eq!(outputs.next().await, None);
    assert_eq!(outputs.next().await, None);
}

#[test]
fn as_completed_on_tokio_and_as_a_stream() {
    on_tokio(async {
        let outputs = filch::as_completed([3, 1, 2].map(|n| async move {
            tokio::time::sleep(SECOND * n).await;
            n
        }));
        assert_eq!(StreamExt::map(outputs, |n| n * 10).collect::<Vec<_>>().await, [10, 20, 30]);
    });
}

#[test]
fn as_completed_polls_who_was_woken_and_nobody_else() {
    let (wakes, waker) = Wakes::new();
    let posts = posts::<4>();
    let mut outputs = filch::as_completed((0..4).map(|n| posts[n].gate(n)));
    let mut next = |waker: &Waker| poll(&mut pin!(outputs.next()), waker);
    assert!(next(&waker).is_pending());
    [3, 0, 2].iter().for_each(|&n: &usize| posts[n].open());
    assert_eq!(wakes.take(), 1);
    for n in [0, 2, 3] {
        assert_eq!(next(&waker), Poll::Ready(Some(n)));
    }
    assert!(next(&waker).is_pending());
    assert_eq!((polls(&posts), drops(&posts)), (vec![2, 1, 2, 2], vec![1, 0, 1, 1]));
    posts[1].open();
    assert_eq!((wakes.take(), next(&waker)), (1, Poll::Ready(Some(1))));
    assert_eq!(next(&waker), Poll::Ready(None));
}

/// What is woken between two outputs, when nobody waits, is there at the next wait.
#[test]
fn as_completed_misses_nothing_while_nobody_waits() {
    let (wakes, waker) = Wakes::new();
    let posts = posts::<3>();
    let mut outputs = filch::as_completed((0..3).map(|n| posts[n].gate(n)));
    let mut next = |waker: &Waker| poll(&mut pin!(outputs.next()), waker);
    assert!(next(&waker).is_pending());
    posts[0].open();
    posts[1].wake();
    assert_eq!((next(&waker), wakes.take()), (Poll::Ready(Some(0)), 1));
    posts[2].open();
    assert_eq!(wakes.take(), 0, "nobody waits");
    // Number 1 was woken in vain, and is polled first.
    assert_eq!((next(&waker), wakes.take()), (Poll::Pending, 1));
    assert_eq!(next(&waker), Poll::Ready(Some(2)));
}

#[test]
fn as_completed_loses_nothing_to_a_next_that_is_dropped() {
    everywhere(|| async {
        cancel_at_every_await(async |trial| {
            let mut outputs = filch::as_completed([2, 0, 1].map(|n| async move {
                for _ in 0..n {
                    turn().await;
                }
                n
            }));
            let all = async {
                let mut seen = Vec::new();
                while let Some(n) = outputs.next().await {
                    seen.push(n);
                }
                seen
            };
            let (seen, ready) = match trial.run(all).await {
                Some(seen) => (seen, true),
                None => (Vec::new(), false),
            };
            let missing = outputs.remaining();
            let mut late = Vec::new();
            while let Some(n) = outputs.next().await {
                late.push(n);
            }
            assert_eq!(late.len(), missing);
            assert!(!ready || seen.len() == 3);
        })
        .await;
    });
}

#[test]
fn as_completed_drops_what_is_left_with_itself() {
    let posts = posts::<2>();
    let mut outputs = filch::as_completed((0..2).map(|n| posts[n].gate(n)));
    assert!(poll(&mut pin!(outputs.next()), Waker::noop()).is_pending());
    posts[0].open();
    assert!(poll(&mut pin!(outputs.next()), Waker::noop()).is_ready());
    drop(outputs);
    assert_eq!(drops(&posts), [1, 1]);
}

#[filch::test(paused)]
async fn keys_come_with_the_outputs_and_both_may_be_borrowed() {
    let drops = Drops::new();
    let names = [(String::from("slow"), 2), (String::from("fast"), 1)];
    let mut outputs = as_completed_keyed(names.iter().map(|(name, n)| (name, seconds(*n, &drops))));
    assert_eq!(outputs.next().await, Some((&names[1].0, 1)));
    assert_eq!(outputs.next().await, Some((&names[0].0, 2)));
    assert_eq!(outputs.next().await, None);
}

#[filch::test(paused)]
async fn the_deadline_ends_the_stream_with_one_error_and_what_is_ready_by_then_wins() {
    let (start, drops) = (Instant::now(), Drops::new());
    let mut outputs = filch::as_completed([3, 1, 2].map(|n| seconds(n, &drops))).timeout(2 * SECOND);
    assert_eq!(outputs.next().await, Some(Ok(1)));
    assert_eq!(outputs.next().await, Some(Ok(2)), "ready at the deadline");
    assert!(outputs.next().await.unwrap().is_err());
    assert_eq!(start.elapsed(), 2 * SECOND);
    assert_eq!((outputs.next().await, outputs.size_hint()), (None, (0, Some(0))));
    assert_eq!(drops.count(), 2, "the last one is still there");
    assert_eq!(outputs.into_inner().next().await, Some(3));
    assert_eq!(start.elapsed(), 3 * SECOND);

    let mut outputs = filch::as_completed([seconds(1, &drops)]).deadline(Instant::now() + Duration::MAX);
    assert_eq!(StreamExt::next(&mut outputs).await, Some(Ok(1)));
    assert_eq!(outputs.next().await, None);
}

/// Spends the whole budget at each poll, and is never done: the limit holds all the same.
#[filch::test(paused)]
async fn the_deadline_holds_though_the_budget_is_eaten() {
    let (polls, end) = (&Cell::new(0_u32), Arc::new(AtomicBool::new(false)));
    let clock = filch::spawn({
        let end = end.clone();
        async move {
            // Nobody is idle, so the clock stands still unless it is moved.
            while !end.load(SeqCst) {
                filch::time::advance(SECOND / 10).await;
                filch::yield_now().await;
            }
        }
    });
    let (sender, receiver) = filch::channel::bounded(1);
    let mut eater = Box::pin(async {
        loop {
            sender.send(()).await.unwrap();
            receiver.recv().await.unwrap();
        }
    });
    let start = Instant::now();
    let eater = poll_fn(move |cx| {
        polls.set(polls.get() + 1);
        eater.as_mut().poll(cx).map(|never: Infallible| never)
    });
    let mut outputs = filch::as_completed([eater]).timeout(SECOND);
    assert!(outputs.next().await.unwrap().is_err());
    assert!(start.elapsed() >= SECOND && polls.get() > 1);
    end.store(true, SeqCst);
    clock.await.unwrap();
}

#[filch::test(paused)]
async fn wait_for_the_first_gives_back_the_others_as_they_are() {
    let (start, drops) = (Instant::now(), Drops::new());
    let sleeps = [3, 1, 2].map(|n| Box::pin(seconds(n, &drops)));
    let (done, pending) = filch::wait(sleeps, Wait::FirstCompleted).await;
    assert_eq!((done, start.elapsed(), drops.count()), (vec![(1, 1)], SECOND, 1));
    let places: Vec<_> = pending.iter().map(|(place, _)| *place).collect();
    assert_eq!(places, [0, 2]);
    let (done, pending) = filch::wait(pending.into_iter().map(|(_, sleep)| sleep), Wait::All).await;
    assert_eq!((done, pending.len()), (vec![(0, 3), (1, 2)], 0));
    assert_eq!(start.elapsed(), 3 * SECOND, "they went on from where they were");
}

#[filch::test(paused)]
async fn wait_for_the_first_error_or_for_all() {
    let drops = Drops::new();
    let child = |n, bad: u32| {
        let child = seconds(n, &drops);
        Box::pin(async move { if child.await == bad { Err(n) } else { Ok(n) } })
    };
    let start = Instant::now();
    let (done, pending) = filch::wait([1, 2, 3].map(|n| child(n, 2)), Wait::FirstError).await;
    assert_eq!((done, pending.len()), (vec![(0, Ok(1)), (1, Err(2))], 1));
    assert_eq!(start.elapsed(), 2 * SECOND);
    drop(pending);
    assert_eq!(drops.count(), 3);

    let start = Instant::now();
    let (done, pending) = filch::wait([1, 2, 3].map(|n| child(n, 0)), Wait::FirstError).await;
    assert_eq!((done, pending.len()), (vec![(0, Ok(1)), (1, Ok(2)), (2, Ok(3))], 0));
    assert_eq!(start.elapsed(), 3 * SECOND);
}

#[filch::test(paused)]
async fn wait_with_a_limit_gives_what_there_is() {
    let (start, drops) = (Instant::now(), Drops::new());
    let sleeps = [3, 1, 2].map(|n| Box::pin(seconds(n, &drops)));
    let (done, pending) = filch::wait(sleeps, Wait::All).timeout(2 * SECOND).await;
    assert_eq!((done, start.elapsed()), (vec![(1, 1), (2, 2)], 2 * SECOND));
    assert_eq!((pending.len(), pending[0].0), (1, 0));

    let waiting = filch::wait(pending.into_iter().map(|(_, sleep)| sleep), Wait::FirstCompleted);
    let (done, pending) = waiting.deadline(Instant::now() + Duration::MAX).await;
    assert_eq!((done, pending.len(), start.elapsed()), (vec![(0, 3)], 0, 3 * SECOND));
}

#[test]
fn wait_gives_all_that_are_ready_at_once_and_ends_at_once_without_futures() {
    everywhere(|| async {
        let (done, pending) = filch::wait([1, 2].map(ready), Wait::FirstCompleted).await;
        assert_eq!((done, pending.len()), (vec![(0, 1), (1, 2)], 0));
        let (done, pending) = filch::wait(None::<std::future::Ready<()>>, Wait::FirstCompleted).await;
        assert_eq!((done.len(), pending.len()), (0, 0));
    });
}

#[test]
fn wait_may_borrow_and_when_it_is_dropped_the_futures_stay() {
    everywhere(|| async {
        let mut slow = pin!(async {
            turn().await;
            turn().await;
            1
        });
        {
            let mut waiting = pin!(filch::wait([slow.as_mut()], Wait::All));
            assert!(poll(&mut waiting, Waker::noop()).is_pending());
        }
        let (done, _) = filch::wait([slow], Wait::All).await;
        assert_eq!(done, [(0, 1)]);
    });
}

#[test]
fn wait_takes_handles_of_tasks() {
    filch::run(async {
        let tasks = [true, false].map(|panics| {
            filch::spawn(async move {
                if panics {
                    panic!("as asked");
                }
                pending::<()>().await;
            })
        });
        let (done, pending) = filch::wait(tasks, Wait::FirstError).await;
        assert!(done[0].0 == 0 && done[0].1.as_ref().unwrap_err().is_panic());
        pending[0].1.abort();
        let (_, task) = pending.into_iter().next().unwrap();
        assert!(task.await.unwrap_err().is_cancelled());
    });
}

#[filch::test(paused)]
async fn what_is_shielded_goes_on_when_nobody_waits() {
    let (start, drops) = (Instant::now(), Drops::new());
    assert!(wait_for(filch::shield(seconds(3, &drops)), SECOND).await.is_err());
    assert_eq!((start.elapsed(), drops.count()), (SECOND, 0));
    sleep(2 * SECOND).await;
    filch::yield_now().await;
    assert_eq!(drops.count(), 1);

    assert_eq!(filch::shield(seconds(1, &drops)).await.unwrap(), 1);
    drop(filch::shield(seconds(1, &drops)));
    sleep(2 * SECOND).await;
    assert_eq!(drops.count(), 3, "it runs though it was never polled");
}

#[test]
fn a_panic_under_the_shield_is_an_error_and_names_the_line() {
    filch::run(async {
        let line = line!() + 1;
        let error = filch::shield(async { panic!("inside") }).await.unwrap_err();
        assert!(error.is_panic());
        assert_eq!((error.location().file(), error.location().line()), (file!(), line));
    });
    let outside = catch_unwind(AssertUnwindSafe(|| drop(filch::shield(async {}))));
    assert!(outside.is_err(), "it needs a runtime");
}
