//! The promises of `FutureExt`: which step runs after which, and when what came before is gone.
#![allow(missing_docs)]

use std::cell::{Cell, RefCell};
use std::future::{Future, pending, ready};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::{Pin, pin};
use std::task::{Context, Poll, Waker};

use filch::FutureExt;
use filch_tests::on_drop;
use futures_lite::future::{block_on, yield_now};

fn poll_once<F: Future>(future: Pin<&mut F>) -> Poll<F::Output> {
    future.poll(&mut Context::from_waker(Waker::noop()))
}

#[test]
fn map_inspect_and_then_follow_each_other() {
    let seen = Cell::new(0);
    let output = block_on(
        async {
            yield_now().await;
            2
        }
        .inspect(|&n| seen.set(n))
        .map(|n| n + 1)
        .then(|n| async move {
            yield_now().await;
            n * 10
        }),
    );
    assert_eq!((seen.get(), output), (2, 30));
}

#[test]
fn errors_pass_by_and_then_and_values_pass_by_or_else() {
    block_on(async {
        let ok = || ready(Ok::<u32, &str>(1));
        let bad = || ready(Err::<u32, &str>("no"));
        let next = |n: u32| async move { Ok::<u64, &str>(u64::from(n) + 1) };
        assert_eq!(ok().and_then(next).await, Ok(2));
        assert_eq!(bad().and_then(next).await, Err("no"));
        assert_eq!(ok().and_then(|_| ready(Err::<(), _>("later"))).await, Err("later"));

        let rescue =
            |error: &'static str| async move { if error == "no" { Ok(0) } else { Err(error.len()) } };
        assert_eq!(ok().or_else(rescue).await, Ok(1));
        assert_eq!(bad().or_else(rescue).await, Ok(0));
        assert_eq!(ready(Err::<u32, _>("really no")).or_else(rescue).await, Err(9));
    });
}

#[test]
fn the_first_future_is_gone_before_the_second_is_made() {
    let log = RefCell::new(Vec::new());
    let gone = on_drop(|| log.borrow_mut().push("first gone"));
    let first = async move {
        let _gone = gone;
        yield_now().await;
    };
    block_on(first.then(|()| {
        log.borrow_mut().push("second made");
        async { log.borrow_mut().push("second") }
    }));
    assert_eq!(log.borrow()[..], ["first gone", "second made", "second"]);
}

#[test]
fn finally_runs_once_after_the_future_is_gone() {
    let log = RefCell::new(Vec::new());
    let chain = |polls: usize, panics: bool| {
        let gone = on_drop(|| log.borrow_mut().push("gone"));
        let future = async move {
            let _gone = gone;
            for _ in 0..polls {
                yield_now().await;
            }
            assert!(!panics, "as asked");
        };
        future.finally(|| log.borrow_mut().push("finally"))
    };

    block_on(chain(2, false));
    assert_eq!(log.take(), ["gone", "finally"], "ready");

    drop(chain(0, false));
    assert_eq!(log.take(), ["gone", "finally"], "never polled");

    {
        let mut chain = pin!(chain(9, false));
        assert!(poll_once(chain.as_mut()).is_pending());
        assert_eq!(log.borrow().len(), 0);
    }
    assert_eq!(log.take(), ["gone", "finally"], "dropped half way");

    assert!(catch_unwind(AssertUnwindSafe(|| block_on(chain(1, true)))).is_err());
    assert_eq!(log.take(), ["gone", "finally"], "panicked");
}

#[test]
fn finally_runs_though_the_drop_of_the_future_panics() {
    for polls in [0, 1] {
        let ran = Cell::new(0);
        let bomb = on_drop(|| assert!(ran.get() > 0, "the bomb went off"));
        let mut future = Box::pin(
            async move {
                let _bomb = bomb;
                yield_now().await;
                pending::<()>().await;
            }
            .finally(|| ran.set(ran.get() + 1)),
        );
        for _ in 0..polls {
            assert!(poll_once(future.as_mut()).is_pending());
        }
        assert!(catch_unwind(AssertUnwindSafe(|| drop(future))).is_err());
        assert_eq!(ran.get(), 1);
    }
}

#[test]
fn chains_may_be_sent_if_their_parts_may() {
    fn send<T: Send>(_: &T) {}
    send(&ready(1).map(|n| n + 1).inspect(|_| {}).then(ready).finally(|| {}));
    send(&ready(Ok::<_, ()>(1)).and_then(|n| ready(Ok::<_, ()>(n))).or_else(|()| ready(Ok::<_, ()>(1))));
}

#[test]
fn polled_again_after_it_was_ready_it_panics() {
    fn check<F: Future>(future: F) {
        let mut future = pin!(future);
        assert!(poll_once(future.as_mut()).is_ready());
        let again = catch_unwind(AssertUnwindSafe(|| poll_once(future.as_mut()).is_ready()));
        let text = again.unwrap_err().downcast_ref::<String>().cloned().unwrap_or_default();
        assert!(text.contains("again after it had been ready"), "{text}");
    }
    let ok = || async { Ok::<_, ()>(1) };
    check(async {}.then(ready));
    check(ok().and_then(|n| async move { Ok(n) }));
    check(ok().or_else(|()| async { Ok::<_, ()>(2) }));
    check(async {}.finally(|| {}));
}
