//! The promise: a scope's children may borrow, run inside their parent, and none of them outlives the scope,
//! whichever way it ends; on any runtime.
#![allow(missing_docs)]

use std::cell::{Cell, RefCell};
use std::future::{Future, pending, poll_fn};
use std::panic::AssertUnwindSafe;
use std::pin::pin;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Waker};

use filch::group::Cause;
use filch::testing::{Ledger, Wakes, cancel_at_every_await, poll_with};
use filch::time::{Duration, Instant, sleep};
use filch::{CancelToken, FutureExt, Handle, TaskGroup, scope, scope_local, try_scope, wait_for};
use filch_tests::{on_drop, panic_text, watched, workers};

const MS: Duration = Duration::from_millis(1);

async fn turn() {
    futures_lite::future::yield_now().await;
}

/// The same test on filch, on tokio and on a plain thread.
fn everywhere<F: Future<Output = ()>>(test: impl Fn() -> F + Send + 'static) {
    watched(move || {
        filch::Builder::new().paused_clock(1).build().unwrap().block_on(test());
        tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(test());
        futures_lite::future::block_on(test());
    });
}

fn is_send<T: Send>(it: T) -> T {
    it
}

#[test]
fn children_borrow_and_the_scope_ends_when_all_have() {
    everywhere(|| async {
        let (words, seen) = (vec!["a".to_owned(), "b".to_owned(), "c".to_owned()], Mutex::new(Vec::new()));
        let (of_words, of_seen) = (&words, &seen);
        let output = is_send(scope(|s| async move {
            for (n, word) in of_words.iter().enumerate() {
                s.spawn(async move {
                    for _ in 0..(3 - n) {
                        turn().await;
                    }
                    of_seen.lock().unwrap().push(word.as_str());
                });
            }
            "body"
        }));
        assert_eq!(output.await, "body");
        assert_eq!(*seen.lock().unwrap(), ["c", "b", "a"]);
        drop(words);
    });
}

#[test]
fn outputs_come_by_the_handles() {
    everywhere(|| async {
        let numbers = [1, 2, 3];
        let numbers = &numbers;
        let sum = scope(|s| async move {
            let children: Vec<_> = numbers
                .iter()
                .map(|n| s.spawn(async move { turn().then(|()| async { n * 2 }).await }))
                .collect();
            let mut sum = 0;
            for child in children {
                sum += child.await.unwrap();
            }
            sum
        });
        assert_eq!(sum.await, 12);
    });
}

#[test]
fn children_spawn_children_also_from_other_threads() {
    everywhere(|| async {
        let count = AtomicUsize::new(0);
        let of_children = &count;
        scope(|s| async move {
            let inner = s.clone();
            s.spawn(async move {
                turn().await;
                let innermost = inner.clone();
                inner.spawn(async move {
                    turn().await;
                    innermost.spawn(async { of_children.fetch_add(1, SeqCst) });
                    of_children.fetch_add(1, SeqCst);
                });
            });
        })
        .await;
        assert_eq!(count.load(SeqCst), 2);
    });
    watched(|| {
        let (give, take) = std::sync::mpsc::channel::<filch::Scope<'static>>();
        let (gave, got) = filch::channel::oneshot::channel();
        let thread = std::thread::spawn(move || {
            let scope = take.recv().unwrap();
            scope.spawn(async move { gave.send(7).unwrap() });
        });
        // The body only waits for what a child does that comes from outside of all polls.
        let seen = futures_lite::future::block_on(scope(|s| async move {
            give.send(s).unwrap();
            got.await.unwrap()
        }));
        thread.join().unwrap();
        assert_eq!(seen, 7);
    });
}

#[test]
fn each_child_is_polled_when_it_was_woken_and_a_place_is_used_again() {
    everywhere(|| async {
        let (polls, waker) = (Cell::new(0), RefCell::new(None::<Waker>));
        let (of_polls, of_waker) = (&polls, &waker);
        scope_local(|s| async move {
            let idle = s.spawn(async move {
                poll_fn(|cx| {
                    of_polls.set(of_polls.get() + 1);
                    *of_waker.borrow_mut() = Some(cx.waker().clone());
                    if of_polls.get() == 3 { Poll::Ready(()) } else { Poll::Pending }
                })
                .await;
            });
            for _ in 0..1_000 {
                s.spawn(turn()).await.unwrap();
            }
            assert_eq!(of_polls.get(), 1);
            for _ in 0..2 {
                of_waker.borrow().as_ref().unwrap().wake_by_ref();
                // The body goes first: in the first turn the child has not been polled yet.
                turn().await;
                turn().await;
            }
            idle.await.unwrap();
        })
        .await;
        assert_eq!(polls.get(), 3);
    });
}

#[test]
fn many_children_end_in_few_polls_each() {
    everywhere(|| async {
        let polls = Cell::new(0_usize);
        let of_polls = &polls;
        scope_local(|s| async move {
            for _ in 0..10_000 {
                s.spawn(async move {
                    of_polls.set(of_polls.get() + 1);
                    turn().await;
                    of_polls.set(of_polls.get() + 1);
                });
            }
        })
        .await;
        assert_eq!(polls.get(), 20_000);
    });
}

#[test]
fn a_scope_that_is_dropped_or_forgotten_drops_or_leaks_all_and_polls_nothing() {
    let (ledger, polled) = (Ledger::new(), Cell::new(0));
    let (of_ledger, of_polled) = (&ledger, &polled);
    let make = || {
        Box::pin(scope_local(move |s| async move {
            for n in 0..3 {
                let message = of_ledger.message(n);
                let clone = s.clone();
                s.spawn(async move {
                    let (_message, _clone) = (message, clone);
                    of_polled.set(of_polled.get() + 1);
                    pending::<()>().await;
                });
            }
            pending::<()>().await;
        }))
    };
    let (wakes, waker) = Wakes::new();
    let mut dropped = make();
    assert!(poll_with(dropped.as_mut(), &waker).is_pending());
    assert_eq!((polled.get(), ledger.drops(), wakes.count()), (3, 0, 0));
    drop(dropped);
    assert_eq!(ledger.drops(), 3);
    let mut forgotten = make();
    assert!(poll_with(forgotten.as_mut(), &waker).is_pending());
    std::mem::forget(forgotten);
    assert_eq!((polled.get(), ledger.drops()), (6, 3));
    // One that was never polled does nothing.
    drop(make());
    assert_eq!((polled.get(), ledger.made()), (6, 6));
}

#[test]
fn a_panic_of_a_child_or_the_body_goes_on_when_all_else_is_gone() {
    everywhere(|| async {
        for of_child in [true, false] {
            let (ledger, log) = (Ledger::new(), Arc::new(Mutex::new(Vec::new())));
            let (of_ledger, of_log) = (&ledger, log.clone());
            let panics = scope(|s| async move {
                s.defer(async move {
                    turn().await;
                    of_log.lock().unwrap().push("cleaned up");
                });
                for n in 0..3 {
                    let message = of_ledger.message(n);
                    s.spawn(async move {
                        let _message = message;
                        pending::<()>().await;
                    });
                }
                s.spawn(async move {
                    turn().await;
                    assert!(!of_child, "of a child");
                });
                turn().await;
                turn().await;
                assert!(of_child, "of the body");
                pending::<()>().await;
            });
            let mut panics = pin!(panics);
            let caught =
                poll_fn(|cx| match std::panic::catch_unwind(AssertUnwindSafe(|| panics.as_mut().poll(cx))) {
                    Ok(poll) => poll.map(|()| None),
                    Err(payload) => Poll::Ready(Some(payload)),
                });
            let payload = caught.await.expect("it panics");
            assert_eq!(panic_text(&*payload), if of_child { "of a child" } else { "of the body" });
            assert_eq!((ledger.drops(), &log.lock().unwrap()[..]), (3, &["cleaned up"][..]));
        }
    });
}

#[test]
fn a_scope_that_is_cancelled_drops_its_children_and_lets_the_body_go_on() {
    everywhere(|| async {
        let (above, ledger) = (CancelToken::new(), Ledger::new());
        let (canceller, of_ledger) = (&above, &ledger);
        let output = scope(|s| async move {
            let message = of_ledger.message(0);
            let child = s.spawn(async move {
                let _message = message;
                pending::<()>().await;
            });
            turn().await;
            canceller.cancel("from above");
            assert_eq!(s.token().reason().unwrap().text(), "from above");
            assert_eq!(child.await.unwrap_err().reason().text(), "from above");
            // Nobody comes in any more.
            let late = s.spawn(async { unreachable!("it is not polled") });
            assert_eq!(late.await.unwrap_err().reason().text(), "from above");
            of_ledger.drops()
        });
        assert_eq!(output.within(&above).await, 1);
    });
}

#[filch::test(paused)]
async fn children_may_end_by_themselves_in_the_grace_period() {
    let start = Instant::now();
    let ends = scope(|s| async move {
        let quick = s.spawn(async move {
            CancelToken::current().unwrap().cancelled().await;
            sleep(2 * MS).await;
            start.elapsed()
        });
        let slow = s.spawn(async { sleep(Duration::MAX).await });
        sleep(MS).await;
        s.cancel("enough");
        (quick.await.unwrap(), slow.await.is_err(), start.elapsed())
    });
    assert_eq!(ends.grace(5 * MS).await, (3 * MS, true, 6 * MS));
}

#[filch::test(paused)]
async fn a_timeout_round_a_scope_is_a_deadline_for_all_of_it() {
    let (start, ledger) = (Instant::now(), Ledger::new());
    let of_ledger = &ledger;
    let limited = scope(|s| async move {
        for n in [1, 5, 9] {
            let message = of_ledger.message(0);
            s.spawn(async move {
                let _message = message;
                sleep(n * MS).await;
                if n == 9 {
                    unreachable!("it is dropped before");
                }
            });
        }
    });
    assert!(wait_for(limited, 6 * MS).await.is_err());
    assert_eq!((start.elapsed(), ledger.drops()), (6 * MS, 3));
    // What is ready at the deadline wins.
    let limited = scope(|s| async move { drop(s.spawn(sleep(6 * MS))) });
    assert!(wait_for(limited, 6 * MS).await.is_ok());
}

#[filch::test(paused)]
async fn the_first_failure_ends_a_try_scope_with_all_errors() {
    let (start, ledger) = (Instant::now(), Ledger::new());
    let of_ledger = &ledger;
    let line = line!() + 7;
    let error = try_scope(|s| async move {
        let message = of_ledger.message(0);
        s.spawn(async move {
            let _message = message;
            pending::<Result<(), String>>().await
        });
        s.spawn(async move {
            sleep(3 * MS).await;
            Err::<(), _>("broken".to_owned())
        });
        sleep(Duration::MAX).await;
        Ok(())
    })
    .await
    .unwrap_err();
    assert_eq!((start.elapsed(), ledger.drops()), (3 * MS, 1));
    let first = error.first().unwrap();
    assert_eq!(
        (first.index(), first.error().unwrap().as_str(), first.location().line()),
        (1, "broken", line)
    );
    assert_eq!((error.errors().len(), error.cancelled()), (1, 1));
    assert_eq!(error.reason().unwrap().text(), "a child of the scope failed");
    assert!(error.to_string().ends_with(", failed: broken; 1 child was cancelled"), "{error}");
}

#[filch::test(paused)]
async fn panics_and_late_errors_of_a_try_scope_are_kept_too() {
    let start = Instant::now();
    let error = try_scope(|s| async move {
        let line = line!() + 1;
        s.spawn(async { if true { panic!("a screw is loose") } else { Ok(()) } });
        s.spawn(async {
            CancelToken::current().unwrap().cancelled().await;
            sleep(2 * MS).await;
            Err::<(), _>("late")
        });
        CancelToken::current().unwrap().cancelled().await;
        assert!(line > 0);
        Err::<(), _>("the body's")
    })
    .grace(10 * MS)
    .await
    .unwrap_err();
    assert_eq!((start.elapsed(), error.cancelled()), (2 * MS, 0));
    let [panic, body, late] = error.errors() else { panic!("{error}") };
    assert_eq!((body.index(), body.error(), late.error()), (usize::MAX, Some(&"the body's"), Some(&"late")));
    assert!(
        body.to_string().starts_with("the body, spawned at ")
            && body.to_string().ends_with("failed: the body's")
    );
    let Cause::Panic(panic) = panic.cause() else { panic!("{error}") };
    assert!(
        panic.to_string().contains("\"future 0\"")
            && panic.to_string().ends_with("panicked: a screw is loose")
    );
    assert_eq!(panic.location().file(), file!());
}

#[filch::test(paused)]
async fn a_try_scope_that_collects_all_gives_all_errors_in_the_end() {
    let start = Instant::now();
    let error = try_scope(|s| async move {
        for n in [5, 1, 3] {
            s.spawn(async move {
                sleep(n * MS).await;
                if n == 3 { Ok(()) } else { Err(n) }
            });
        }
        Ok(())
    })
    .collect_all()
    .await
    .unwrap_err();
    let errors: Vec<_> = error.errors().iter().map(|child| *child.error().unwrap()).collect();
    assert_eq!((errors, error.cancelled(), start.elapsed()), (vec![1, 5], 0, 5 * MS));
}

#[filch::test(paused)]
async fn a_try_scope_has_a_deadline_of_its_own_that_tells_why() {
    let start = Instant::now();
    let error = try_scope(|s| async move {
        s.spawn(async {
            let reason = CancelToken::current().unwrap().cancelled().await;
            sleep(MS).await;
            Err::<(), _>(reason.text().to_owned())
        });
        pending::<Result<(), _>>().await
    })
    .timeout(10 * MS)
    .grace(5 * MS)
    .await
    .unwrap_err();
    assert_eq!(start.elapsed(), 15 * MS);
    assert_eq!(error.first().unwrap().error().unwrap(), "the deadline of the scope has passed");
    // What is ready by then counts.
    let start = Instant::now();
    let ok = try_scope(|s| async move {
        s.spawn(async {
            sleep(10 * MS).await;
            Ok::<_, ()>(())
        });
        Ok(5)
    });
    assert_eq!((ok.timeout(10 * MS).await.unwrap(), start.elapsed()), (5, 10 * MS));
    // The earlier of two holds.
    for (outer, inner) in [(3, 8), (8, 3)] {
        let start = Instant::now();
        let nested = try_scope(|s| async move {
            let nested = try_scope(|_| pending::<Result<(), ()>>()).timeout(inner * MS);
            s.spawn(async { nested.await.map_err(|error| error.reason().unwrap().text().to_owned()) });
            Ok(())
        });
        assert!(nested.timeout(outer * MS).await.is_err());
        assert_eq!(start.elapsed(), 3 * MS);
    }
}

#[filch::test(paused)]
async fn children_that_spend_the_budget_meet_their_deadline() {
    let start = Instant::now();
    let busy = try_scope(|s| async move {
        for _ in 0..3 {
            s.spawn(async {
                loop {
                    filch::yield_now().await;
                }
                #[allow(unreachable_code)]
                Ok::<(), ()>(())
            });
        }
        Ok(())
    });
    let advance = filch::spawn(async { filch::time::advance(10 * MS).await });
    assert_eq!(busy.timeout(10 * MS).await.unwrap_err().cancelled(), 3);
    advance.await.unwrap();
    assert_eq!(start.elapsed(), 10 * MS);
}

#[filch::test(paused)]
async fn a_scope_waits_for_what_its_children_have_shielded_and_for_groups_made_in_it() {
    let (start, done) = (Instant::now(), Arc::new(AtomicUsize::new(0)));
    let (of_shield, ledger) = (done.clone(), Ledger::new());
    let message = ledger.message(0);
    let error = try_scope(|s| async move {
        s.spawn(async move {
            let shielded = async move {
                sleep(10 * MS).await;
                of_shield.fetch_add(1, SeqCst);
            };
            filch::shield(shielded).await.map_err(|_| ())
        });
        s.spawn(async move {
            let group = TaskGroup::<()>::new();
            group.spawn(async move {
                let _message = message;
                pending().await
            });
            group.join().await.map_err(|_| ())
        });
        sleep(MS).await;
        Err::<(), _>(())
    });
    error.await.unwrap_err();
    assert_eq!((start.elapsed(), done.load(SeqCst), ledger.drops()), (10 * MS, 1, 1));
    assert_eq!(Handle::current().tasks().len(), 1);
}

#[test]
fn a_scope_runs_as_a_task_and_moves_between_threads() {
    watched(|| {
        let runtime = workers(2);
        let tasks: Vec<_> = (0..50)
            .map(|_| {
                runtime.spawn(async {
                    let total = AtomicUsize::new(0);
                    let of_children = &total;
                    scope(|s| async move {
                        for n in 0..20 {
                            s.spawn(async move {
                                filch::spawn(async {}).await.unwrap();
                                of_children.fetch_add(n, SeqCst);
                            });
                        }
                    })
                    .await;
                    total.into_inner()
                })
            })
            .collect();
        assert!(tasks.into_iter().all(|task| task.join_blocking().unwrap() == 190));
    });
}

#[test]
fn at_whatever_await_a_scope_is_dropped_its_children_are() {
    watched(|| {
        let runtime = filch::Builder::new().paused_clock(1).build().unwrap();
        let drive = cancel_at_every_await(async |trial| {
            let ledger = Ledger::new();
            let of_ledger = &ledger;
            let all = try_scope(|s| async move {
                for n in 0..3 {
                    let message = of_ledger.message(n);
                    s.spawn(async move {
                        let _message = message;
                        sleep(MS).await;
                        turn().await;
                        Ok::<_, ()>(())
                    });
                    turn().await;
                }
                Ok(())
            });
            let ended = trial.run(all).await;
            assert!(ended.is_none_or(|ended| ended.is_ok()));
            ledger.assert_settled();
        });
        runtime.block_on(drive).assert_waited();
        filch::testing::cancel_at_every_await_blocking(async |trial| {
            let ledger = Ledger::new();
            let of_ledger = &ledger;
            let all = scope(|s| async move {
                let message = of_ledger.message(1);
                let child = s.spawn(async move {
                    turn().await;
                    message
                });
                drop(child.await.unwrap());
            });
            trial.run(all).await;
            ledger.assert_settled();
        })
        .assert_waited();
    });
}

#[test]
fn a_handle_of_a_scope_that_has_ended_says_so() {
    everywhere(|| async {
        let (s, child) = scope(|s| async move { (s.clone(), s.spawn(async { 5 })) }).await;
        assert_eq!(child.await.unwrap(), 5);
        let late = s.spawn(async { unreachable!("it is not polled") });
        let error = late.await.unwrap_err();
        assert_eq!(error.reason().text(), "the child is gone, and its scope has ended");
    });
}

#[test]
fn a_scope_is_not_polled_again_after_its_end() {
    let mut done = Box::pin(scope(|_| async {}));
    let cx = &mut Context::from_waker(Waker::noop());
    assert!(done.as_mut().poll(cx).is_ready());
    let text = filch_tests::panics(|| _ = done.as_mut().poll(cx));
    assert_eq!(text, "a scope was polled again after it had ended");
    // A destructor that panics does not keep the others from running.
    let ledger = Ledger::new();
    let of_ledger = &ledger;
    let mut bad = Box::pin(scope(|s| async move {
        let message = of_ledger.message(0);
        s.spawn(async move {
            let _bad = on_drop(|| panic!("a bad one"));
            pending::<()>().await;
        });
        s.spawn(async move {
            let _message = message;
            pending::<()>().await;
        });
        pending::<()>().await;
    }));
    assert!(bad.as_mut().poll(cx).is_pending());
    drop(bad);
    assert_eq!(ledger.drops(), 1);
}
