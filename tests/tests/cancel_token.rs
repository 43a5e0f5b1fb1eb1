//! The promise: a token tells all who have it, or a child of it, that they are cancelled, and why; at once, and on any
//! runtime.
#![allow(missing_docs)]

use std::future::{pending, poll_fn, ready};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::task::Poll;
use std::thread;

use filch::CancelToken;
use filch::testing::{Evil, Moment, cancel_at_every_await, poll_with};
use filch::time::{Duration, Instant, sleep};
use filch_tests::{watched, workers};

const MS: Duration = Duration::from_millis(1);

#[test]
fn a_reason_says_who_where_and_why() {
    filch::run(async {
        let token = CancelToken::new();
        assert!(token.reason().is_none() && token.checkpoint().is_ok());
        let of_task = token.clone();
        let line = line!() + 2;
        let task = filch::task::Builder::new().name("grim").spawn(async move {
            assert!(of_task.cancel(format!("too {}", "late")));
        });
        let id = task.id();
        task.await.unwrap();
        let reason = token.reason().unwrap();
        assert_eq!(
            (reason.text(), reason.task_name(), reason.task_id()),
            ("too late", Some("grim"), Some(id))
        );
        assert_eq!((reason.location().file(), reason.location().line()), (file!(), line));
        let said = format!("too late (task {id} \"grim\", {}:{line}:", file!());
        assert!(reason.to_string().starts_with(&said), "{reason}");

        assert!(!token.cancel("again"), "the first reason stays");
        assert_eq!(token.reason().unwrap().text(), "too late");
        let error = token.checkpoint().unwrap_err();
        assert!(error.to_string().starts_with("cancelled: too late ("), "{error}");
        assert_eq!(std::io::Error::from(error).kind(), std::io::ErrorKind::Other);
    });
}

#[test]
fn a_token_cancels_those_below_it_and_none_above() {
    let top = CancelToken::new();
    let [left, right] = [top.child(), top.child()];
    let leaf = left.child();
    left.cancel("left");
    assert!(leaf.is_cancelled() && left.child().is_cancelled());
    assert!(!top.is_cancelled() && !right.is_cancelled());
    top.cancel("top");
    let texts = [&top, &right, &left, &leaf].map(|token| token.reason().unwrap().text().to_owned());
    assert_eq!(texts, ["top", "top", "left", "left"]);
    // A branch whose tokens are gone passes it on.
    let top = CancelToken::new();
    let leaf = top.child().child();
    top.cancel("top");
    assert!(leaf.is_cancelled());
}

/// The same test on filch, on tokio and on a plain thread.
fn everywhere<F: Future<Output = ()>>(test: impl Fn() -> F + Send + 'static) {
    watched(move || {
        filch::run(test());
        tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(test());
        futures_lite::future::block_on(test());
    });
}

#[test]
fn who_waits_is_told_the_reason_wherever_it_runs() {
    everywhere(|| async {
        let token = CancelToken::new();
        let threads = [0, 1].map(|_| {
            let child = token.child();
            thread::spawn(move || {
                futures_lite::future::block_on(async { child.cancelled().await.text().to_owned() })
            })
        });
        let (here, ()) =
            futures_lite::future::zip(token.cancelled(), async { _ = token.cancel("now") }).await;
        assert_eq!(here.text(), "now");
        for thread in threads {
            assert_eq!(thread.join().unwrap(), "now");
        }
        assert_eq!(token.cancelled().await.text(), "now");
    });
}

#[test]
fn a_future_runs_until_the_token_is_cancelled_and_its_output_wins_a_tie() {
    everywhere(|| async {
        let token = CancelToken::new();
        assert_eq!(token.run_until_cancelled(ready(5)).await.unwrap(), 5);
        let both = token.run_until_cancelled(async {
            token.cancel("meanwhile");
            6
        });
        assert_eq!(both.await.unwrap(), 6);
        let mut polled = false;
        let late = token.run_until_cancelled(poll_fn(|_| {
            polled = true;
            Poll::Ready(7)
        }));
        assert_eq!(late.await.unwrap_err().reason().text(), "meanwhile");
        assert!(!polled, "a token that is cancelled lets nothing begin");

        let token = CancelToken::new();
        let dropped = Arc::new(());
        let held = dropped.clone();
        let waiting = token.run_until_cancelled(async move {
            let _held = held;
            pending::<()>().await
        });
        let (result, _) = futures_lite::future::zip(waiting, async { token.cancel("enough") }).await;
        assert_eq!(result.unwrap_err().into_reason().text(), "enough");
        assert_eq!(Arc::strong_count(&dropped), 1);
    });
}

#[filch::test(paused)]
async fn a_future_that_spends_the_whole_budget_is_cancelled_all_the_same() {
    let token = CancelToken::new();
    let glutton = poll_fn(|cx| {
        while std::pin::Pin::new(&mut sleep(Duration::ZERO)).poll(cx).is_ready() {}
        Poll::<()>::Pending
    });
    let of_task = token.clone();
    let task = filch::spawn(async move { of_task.run_until_cancelled(glutton).await });
    filch::yield_now().await;
    token.cancel("stop it");
    assert_eq!(task.await.unwrap().unwrap_err().reason().text(), "stop it");
}

#[filch::test(paused)]
async fn it_is_told_at_once() {
    let token = CancelToken::new();
    let start = Instant::now();
    let waiters: Vec<_> = (0..3).map(|_| token.child()).collect();
    let waiters = waiters.into_iter().map(|child| {
        filch::spawn(async move {
            child.cancelled().await;
            start.elapsed()
        })
    });
    let waiters: Vec<_> = waiters.collect();
    sleep(7 * MS).await;
    token.cancel("it is time");
    for waiter in waiters {
        assert_eq!(waiter.await.unwrap(), 7 * MS);
    }
}

#[test]
fn a_guard_cancels_on_every_way_out() {
    let token = CancelToken::new();
    let guard = token.clone().drop_guard();
    assert!(!guard.disarm().is_cancelled());
    let line = line!() + 1;
    drop(token.clone().drop_guard());
    let reason = token.reason().unwrap();
    assert_eq!((reason.text(), reason.location().line()), ("its guard was dropped", line));
}

#[test]
fn a_wait_that_is_dropped_at_any_point_loses_nothing() {
    watched(|| {
        let report = filch::testing::cancel_at_every_await_blocking(async |trial| {
            let token = CancelToken::new();
            let child = token.child();
            let beside = async { assert_eq!(child.cancelled().await.text(), "all") };
            trial.beside(beside).beside(async { _ = token.cancel("all") }).run(child.cancelled()).await;
            assert!(child.is_cancelled());
        });
        report.assert_waited();
        let runtime = filch_tests::single();
        let report = runtime.block_on(cancel_at_every_await(async |trial| {
            let token = CancelToken::new();
            let until = token.run_until_cancelled(pending::<()>());
            let end = trial.beside(async { _ = token.cancel("all") }).run(until).await;
            assert!(end.is_none_or(|end| end.unwrap_err().reason().text() == "all"));
        }));
        report.assert_waited();
    });
}

/// A waker that panics keeps no other from being woken, and one that comes back in finds no lock.
#[test]
fn hostile_wakers_do_no_harm() {
    let token = CancelToken::new();
    let inside = token.clone();
    let panics = Evil::panics([Moment::Wake], 0);
    let again = Evil::new([Moment::Wake], 0, move || {
        assert!(inside.is_cancelled() && inside.child().is_cancelled());
        inside.cancel("from a waker");
    });
    let mut first = Box::pin(token.cancelled());
    let mut second = Box::pin(token.cancelled());
    assert!(poll_with(first.as_mut(), &panics.waker()).is_pending());
    assert!(poll_with(second.as_mut(), &again.waker()).is_pending());
    let _ = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| token.cancel("the first")));
    assert_eq!((panics.deeds(), again.deeds()), (1, 1));
    assert_eq!(token.reason().unwrap().text(), "the first");
}

#[test]
fn from_many_threads_at_any_moment_each_token_has_one_reason() {
    watched(|| {
        let runtime = workers(2);
        let told = Arc::new(AtomicUsize::new(0));
        for _ in 0..200 {
            let top = CancelToken::new();
            let tasks: Vec<_> = (0..8)
                .map(|_| {
                    let (child, told) = (top.child().child(), told.clone());
                    runtime.spawn(async move {
                        child.cancelled().await;
                        told.fetch_add(1, SeqCst);
                    })
                })
                .collect();
            let firsts = thread::scope(|scope| {
                let cancels = [0, 1].map(|_| scope.spawn(|| usize::from(top.cancel("race"))));
                cancels.map(|thread| thread.join().unwrap()).iter().sum::<usize>()
            });
            assert_eq!(firsts, 1);
            tasks.into_iter().for_each(|task| task.join_blocking().unwrap());
        }
        assert_eq!(told.load(SeqCst), 1_600);
    });
}
