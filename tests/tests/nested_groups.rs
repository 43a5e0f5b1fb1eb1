//! The promise: what is made inside of a group ends with it, and the group waits for that: groups in groups, what is
//! shielded, what was put off.
#![allow(missing_docs)]

use std::future::pending;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::sync::{Arc, Mutex};

use filch::testing::Ledger;
use filch::time::{Duration, Instant, sleep};
use filch::{CancelToken, Handle, TaskGroup};
use filch_tests::{on_drop, watched, workers};

const MS: Duration = Duration::from_millis(1);

/// Sleeps, then gives `result`.
async fn after<T, E>(delay: Duration, result: Result<T, E>) -> Result<T, E> {
    sleep(delay).await;
    result
}

#[filch::test(paused)]
async fn a_group_under_a_token_is_cancelled_with_it() {
    let (server, start) = (CancelToken::new(), Instant::now());
    let group = TaskGroup::<()>::new().within(&server).grace(5 * MS);
    group.spawn(async { sleep(Duration::MAX).await });
    group.spawn(async {
        CancelToken::current().unwrap().cancelled().await;
    });
    sleep(MS).await;
    server.cancel("going down");
    let error = group.join().await.unwrap_err();
    assert_eq!((error.reason().unwrap().text(), error.cancelled()), ("going down", 1));
    assert_eq!(start.elapsed(), 6 * MS);
    let late = TaskGroup::<()>::new().within(&server);
    late.spawn(async { unreachable!("it is not polled") });
    assert!(late.join().await.is_ok(), "nobody came in, and nobody was lost");
}

#[filch::test(paused)]
async fn tg2_nested_groups_end_with_the_outermost_which_waits_for_all_of_them() {
    let (ledger, outer) = (Ledger::new(), TaskGroup::<()>::new());
    let (first, second, third) = (ledger.message(1), ledger.message(2), ledger.message(3));
    outer.spawn(async move {
        let _first = first;
        let middle = TaskGroup::<()>::new();
        middle.spawn(async move {
            let _second = second;
            let inner = TaskGroup::<()>::new();
            inner.spawn(async move {
                let _third = third;
                pending().await
            });
            inner.join().await.unwrap();
        });
        middle.join().await.unwrap();
    });
    sleep(MS).await;
    assert_eq!(Handle::current().tasks().len(), 4);
    outer.cancel("all of it");
    assert!(outer.join().await.is_err());
    assert_eq!((ledger.drops(), Handle::current().tasks().len()), (3, 1));
}

#[test]
fn tg2_nested_groups_are_waited_for_on_several_threads_too() {
    watched(|| {
        let runtime = workers(2);
        for round in 0..200 {
            let running = Arc::new(AtomicUsize::new(0));
            let of_tasks = running.clone();
            runtime.block_on(async move {
                let outer = TaskGroup::<Result<(), ()>>::new();
                for _ in 0..4 {
                    let running = of_tasks.clone();
                    outer.spawn(async move {
                        let inner = TaskGroup::<()>::new();
                        for _ in 0..4 {
                            running.fetch_add(1, SeqCst);
                            let running = running.clone();
                            inner.spawn(async move {
                                let _ends = on_drop(move || _ = running.fetch_sub(1, SeqCst));
                                loop {
                                    filch::yield_now().await;
                                }
                            });
                        }
                        inner.join().await.unwrap();
                        Ok(())
                    });
                }
                outer.spawn(async move {
                    for _ in 0..round % 7 {
                        filch::yield_now().await;
                    }
                    Err(())
                });
                outer.join().await.unwrap_err();
            });
            // A child that was aborted before its first poll was counted by its parent, and dropped with its future.
            assert!(running.load(SeqCst) <= 16);
        }
        runtime.block_on(filch_tests::until_yielding(|| Handle::current().tasks().len() == 1));
    });
}

#[filch::test(paused)]
async fn what_a_child_has_shielded_is_not_cancelled_and_is_waited_for() {
    let (start, log) = (Instant::now(), Arc::new(Mutex::new(Vec::new())));
    let group = TaskGroup::new();
    let written = log.clone();
    group.spawn(async move {
        let write = async move {
            sleep(10 * MS).await;
            written.lock().unwrap().push("written");
        };
        filch::shield(write).await.unwrap();
        Ok(())
    });
    group.spawn(after(MS, Err("bad")));
    assert_eq!(group.join().await.unwrap_err().cancelled(), 1);
    assert_eq!((&log.lock().unwrap()[..], start.elapsed()), (&["written"][..], 10 * MS));
}

#[filch::test(paused)]
async fn what_was_put_off_is_done_after_the_children() {
    let log = Arc::new(Mutex::new(Vec::new()));
    let say = |what: &'static str| {
        let log = log.clone();
        async move {
            sleep(MS).await;
            log.lock().unwrap().push(what);
        }
    };
    let group = TaskGroup::new();
    group.defer(say("first in"));
    group.defer(say("last in"));
    let child = say("child");
    group.spawn(async move {
        sleep(5 * MS).await;
        child.await;
        Err::<(), _>(())
    });
    group.join().await.unwrap_err();
    assert_eq!(*log.lock().unwrap(), ["child", "last in", "first in"]);
    // By the runtime, if nobody joins.
    let group = TaskGroup::<()>::new();
    group.defer(say("left behind"));
    drop(group);
    sleep(2 * MS).await;
    assert_eq!(log.lock().unwrap().last(), Some(&"left behind"));
}
