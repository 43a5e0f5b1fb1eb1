//! The promise: a group ends as a whole. All children are waited for, the first failure cancels the others, no error is
//! lost, and nothing of it goes on afterwards.
#![allow(missing_docs)]

use std::error::Error;
use std::future::pending;
use std::sync::Arc;

use filch::group::Cause;
use filch::testing::{Ledger, cancel_at_every_await};
use filch::time::{Duration, Instant, sleep, sleep_until};
use filch::{CancelToken, GroupError, Handle, TaskGroup, wait_for};
use filch_tests::{on_drop, panic_text, watched, workers};

const MS: Duration = Duration::from_millis(1);

const TICK: Duration = Duration::from_nanos(1);

/// Until all tasks wait: time stands still before.
async fn rest() {
    sleep(TICK).await;
}

/// Sleeps, then gives `result`.
async fn after<T, E>(delay: Duration, result: Result<T, E>) -> Result<T, E> {
    sleep(delay).await;
    result
}

#[filch::test(paused)]
async fn all_outputs_come_in_the_order_of_the_spawns_when_the_last_is_there() {
    let start = Instant::now();
    let group = TaskGroup::new();
    for n in [30, 10, 20] {
        group.spawn(after(n * MS, Ok::<_, ()>(n)));
    }
    assert_eq!(group.len(), 3);
    assert_eq!(group.join().await.unwrap(), [30, 10, 20]);
    assert_eq!(start.elapsed(), 30 * MS);
    assert!(group.is_empty() && !group.token().is_cancelled());
    drop(group);
}

#[filch::test(paused)]
async fn an_empty_group_is_done_at_once() {
    assert_eq!(TaskGroup::<u8>::new().join().await.unwrap(), []);
    assert!(TaskGroup::<u8>::new().join_next().await.is_none());
    assert!(TaskGroup::<u8>::new().as_completed().next().await.is_none());
}

#[filch::test(paused)]
async fn tg1_the_first_error_cancels_the_others_and_nobody_need_wait_for_that() {
    let (start, ledger) = (Instant::now(), Ledger::new());
    let group = TaskGroup::new();
    let line = line!() + 1;
    group.spawn_named("bad", after(10 * MS, Err::<(), _>("broken")));
    for _ in 0..3 {
        let token = ledger.message(0);
        group.spawn(async move {
            let _token = token;
            pending().await
        });
    }
    sleep(10 * MS).await;
    rest().await;
    // Nobody has joined, and they are gone.
    assert_eq!((group.len(), ledger.drops()), (0, 3));
    let reason = group.token().reason().unwrap();
    assert_eq!((reason.text(), reason.location().line()), ("a child of the group failed", line));
    assert_eq!(reason.task_name(), Some("bad"));

    let error = group.join().await.unwrap_err();
    assert_eq!(start.elapsed(), 10 * MS + TICK);
    assert_eq!((error.errors().len(), error.cancelled()), (1, 3));
    let first = error.first().unwrap();
    assert_eq!((first.index(), first.name(), first.error()), (0, Some("bad"), Some(&"broken")));
    assert_eq!((first.location().line(), first.is_panic(), first.is_cancelled()), (line, false, false));
    let said = format!("child 0 \"bad\", spawned at {}:{line}:", file!());
    assert!(error.to_string().starts_with(&said), "{error}");
    assert!(error.to_string().ends_with(", failed: broken; 3 children were cancelled"), "{error}");
    assert!(error.source().unwrap().to_string().starts_with(&said));
}

#[filch::test(paused)]
async fn tg1_a_panic_is_a_failure_that_keeps_name_place_and_payload() {
    let group = TaskGroup::<()>::new();
    group.spawn(pending());
    let line = line!() + 1;
    group.spawn_named("mad", async { panic!("a screw is loose") });
    let error = group.join().await.unwrap_err();
    let said = error.to_string();
    assert!(said.contains("\"mad\"") && said.contains("panicked: a screw is loose"), "{said}");
    assert!(
        said.contains(&format!("{}:{line}:", file!())) && said.ends_with("; 1 child was cancelled"),
        "{said}"
    );
    let Cause::Panic(panic) = error.into_errors().remove(0).into_cause() else { panic!("it panicked") };
    assert_eq!(panic.name(), Some("mad"));
    assert_eq!(panic_text(&*panic.into_panic()), "a screw is loose");
    // So is one in a destructor, after the output.
    let group = TaskGroup::<()>::new();
    group.spawn(async {
        let _bad = on_drop(|| panic!("at the end"));
    });
    group.spawn(pending());
    let error = group.join().await.unwrap_err();
    assert!(error.first().unwrap().is_panic() && error.cancelled() == 1, "{error}");
}

#[filch::test(paused)]
async fn tg1_all_errors_are_kept_the_source_first() {
    let start = Instant::now();
    // In the grace period, others may fail as well.
    let group = TaskGroup::new().grace(10 * MS);
    group.spawn(async {
        let reason = CancelToken::current().unwrap().cancelled().await;
        after(3 * MS, Err::<u8, _>(format!("also: {}", reason.text()))).await
    });
    group.spawn(after(5 * MS, Err("source".to_owned())));
    group.spawn(async {
        CancelToken::current().unwrap().cancelled().await;
        sleep(2 * MS).await;
        panic!("and this")
    });
    group.spawn(async {
        CancelToken::current().unwrap().cancelled().await;
        Ok(1)
    });
    group.spawn(pending());
    let error = group.join().await.unwrap_err();
    // Five to the failure, ten of grace.
    assert_eq!(start.elapsed(), 15 * MS);
    let kinds: Vec<_> = error.errors().iter().map(|child| (child.index(), child.is_panic())).collect();
    assert_eq!((kinds, error.cancelled()), (vec![(1, false), (2, true), (0, false)], 1));
    assert_eq!(error.errors()[2].error().unwrap(), "also: a child of the group failed");
    assert!(error.to_string().starts_with("3 children failed: child 1, spawned at "), "{error}");
}

#[filch::test(paused)]
async fn grace_is_over_when_the_last_child_has_ended() {
    let start = Instant::now();
    let group = TaskGroup::new().grace(Duration::from_secs(3_600));
    for n in 1..=3 {
        group.spawn(async move {
            CancelToken::current().unwrap().cancelled().await;
            after(n * MS, Ok::<_, ()>(n)).await
        });
    }
    sleep(MS).await;
    assert!(group.cancel("closing"));
    assert!(!group.cancel("again"));
    // All came to a good end, though they were asked to.
    assert_eq!(group.join().await.unwrap(), [1, 2, 3]);
    assert_eq!(start.elapsed(), 4 * MS);
    rest().await;
    assert_eq!(Handle::current().tasks().len(), 1, "the grace period's task is gone too");
}

#[filch::test(paused)]
async fn a_group_that_is_cancelled_says_so_and_takes_nobody_in() {
    let (group, ledger) = (TaskGroup::<Result<(), ()>>::new(), Ledger::new());
    group.spawn(pending());
    let line = line!() + 1;
    group.cancel("the user left");
    let token = ledger.message(0);
    let late = group.spawn(async move {
        drop(token);
        unreachable!("it is not polled")
    });
    assert_eq!(ledger.drops(), 1);
    let error = group.join().await.unwrap_err();
    rest().await;
    assert!(late.is_finished());
    assert_eq!((error.errors().len(), error.cancelled()), (0, 1));
    let reason = error.reason().unwrap();
    assert_eq!((reason.text(), reason.location().line()), ("the user left", line));
    assert!(reason.task_id().is_some());
    let said = format!("{:?}", error.errors());
    assert_eq!(said, "[]");
}

#[filch::test(paused)]
async fn a_child_that_is_aborted_alone_leaves_the_others_be() {
    let group = TaskGroup::new();
    let abort = group.spawn(pending());
    group.spawn(after(5 * MS, Ok::<_, ()>(1)));
    abort.abort();
    assert!(!group.token().is_cancelled());
    let mut results = group.settled().await;
    assert_eq!(*results[1].as_ref().unwrap(), 1);
    let error = results.remove(0).unwrap_err();
    assert!(error.is_cancelled() && matches!(error.cause(), Cause::Cancelled(_)));

    // There is no output of it, so a join has none either.
    let group = TaskGroup::new();
    group.spawn(pending::<u8>()).abort();
    group.spawn(async { 1 });
    let error = group.join().await.unwrap_err();
    assert!(error.first().unwrap().is_cancelled() && error.reason().is_none(), "{error:?}");
}

#[filch::test(paused)]
async fn a_group_that_collects_all_lets_the_others_go_on() {
    let start = Instant::now();
    let group = TaskGroup::new().collect_all();
    group.spawn(after(1 * MS, Err("one")));
    group.spawn(after(9 * MS, Ok(2)));
    group.spawn(after(5 * MS, Err("three")));
    let results: Vec<_> = group.settled().await.into_iter().map(|result| result.ok()).collect();
    assert_eq!((results, start.elapsed()), (vec![None, Some(2), None], 9 * MS));

    let group = TaskGroup::new().collect_all();
    for n in 0..4 {
        group.spawn(async move { if n % 2 == 0 { Ok(n) } else { Err(n) } });
    }
    let error: GroupError<_> = group.join().await.unwrap_err();
    let errors: Vec<_> = error.errors().iter().map(|child| *child.error().unwrap()).collect();
    assert_eq!((errors.len(), errors.iter().sum::<i32>(), error.cancelled()), (2, 4, 0));
}

#[filch::test(paused)]
async fn children_come_as_they_are_done_each_with_its_id() {
    let start = Instant::now();
    let group = TaskGroup::new();
    let ids: Vec<_> = [20, 5, 10].map(|n| (group.spawn(after(n * MS, Ok::<_, ()>(n))).id(), n)).into();
    let mut done = group.as_completed();
    for n in [5, 10] {
        let (id, value) = done.next().await.unwrap();
        assert_eq!(
            (id, value.unwrap(), start.elapsed()),
            (ids.iter().find(|pair| pair.1 == n).unwrap().0, n, n * MS)
        );
    }
    // More may come meanwhile, and a stream that is dropped leaves the rest to others.
    drop(done);
    group.spawn(async { Ok(0) });
    assert_eq!(group.join_next().await.unwrap().1.unwrap(), 0);
    assert_eq!(group.join().await.unwrap(), [20]);

    let group = TaskGroup::new();
    group.spawn(async { Err::<(), _>("bad") });
    group.spawn(pending());
    let mut done = group.as_completed();
    assert_eq!(done.next().await.unwrap().1.unwrap_err().error(), Some(&"bad"));
    assert!(done.next().await.unwrap().1.unwrap_err().is_cancelled());
    assert!(done.next().await.is_none());
}

#[filch::test(paused)]
async fn several_may_wait_and_all_learn_of_the_end() {
    let group = Arc::new(TaskGroup::new());
    let waiters: Vec<_> = (0..3)
        .map(|_| {
            let group = group.clone();
            group.spawn(after(MS, Ok::<_, ()>(())));
            let group = group.clone();
            filch::spawn(async move {
                std::iter::repeat_n((), usize::from(group.join_next().await.is_some())).count()
            })
        })
        .collect();
    // One more than there are children.
    let waiter = filch::spawn({
        let group = group.clone();
        async move {
            let mut count = 0;
            while group.join_next().await.is_some() {
                count += 1;
            }
            count
        }
    });
    let mut count = waiter.await.unwrap();
    for waiter in waiters {
        count += waiter.await.unwrap();
    }
    assert_eq!(count, 3);
}

#[filch::test(paused)]
async fn tg2_children_spawn_children_until_the_group_is_joined() {
    let (group, start) = (TaskGroup::new(), Instant::now());
    let handle = group.handle();
    let again = handle.clone();
    group.spawn(async move {
        sleep(MS).await;
        for n in 1..=3 {
            handle.spawn_named("inner", after(n * MS, Ok::<_, ()>(n)));
        }
        Ok(0)
    });
    assert_eq!(group.join().await.unwrap(), [0, 1, 2, 3]);
    assert_eq!(start.elapsed(), 4 * MS);
    // Joined is shut.
    let late = again.spawn(async { unreachable!("it is not polled") });
    rest().await;
    assert!(late.is_finished() && group.is_empty());
    assert_eq!(group.join().await.unwrap(), []);
}

#[filch::test(paused)]
async fn tg2_a_group_that_is_dropped_aborts_its_children() {
    let ledger = Ledger::new();
    let group = TaskGroup::<()>::new().grace(Duration::from_secs(1));
    let token = group.token();
    for _ in 0..10 {
        let message = ledger.message(0);
        group.spawn(async move {
            let _message = message;
            pending().await
        });
    }
    rest().await;
    drop(group);
    assert_eq!(token.reason().unwrap().text(), "the group was dropped");
    rest().await;
    assert_eq!(ledger.drops(), 10);
    assert_eq!(Handle::current().tasks().len(), 1);
}

#[filch::test(paused)]
async fn a_join_that_is_given_up_loses_nothing() {
    let (group, start) = (TaskGroup::new(), Instant::now());
    for n in [1, 5, 9] {
        group.spawn(after(n * MS, Ok::<_, ()>(n)));
    }
    assert!(wait_for(group.join(), 3 * MS).await.is_err());
    assert!(wait_for(group.join(), 3 * MS).await.is_err());
    assert_eq!(group.join().await.unwrap(), [1, 5, 9]);
    assert_eq!(start.elapsed(), 9 * MS);
    // A group that is too slow is cancelled and waited for.
    let group = TaskGroup::new();
    group.spawn(after(3 * MS, Ok::<_, ()>(())));
    assert!(wait_for(group.join(), 3 * MS + TICK).await.unwrap().is_ok());
    let group = TaskGroup::new();
    group.spawn(after(30 * MS, Ok::<_, ()>(())));
    assert!(wait_for(group.join(), 3 * MS).await.is_err());
    group.cancel("too slow");
    assert_eq!(group.join().await.unwrap_err().reason().unwrap().text(), "too slow");
}

#[test]
fn at_whatever_await_a_join_is_dropped_each_output_comes_once() {
    watched(|| {
        let runtime = filch::Builder::new().paused_clock(1).build().unwrap();
        let drive = cancel_at_every_await(async |trial| {
            let group = TaskGroup::new();
            for n in 0..3 {
                group.spawn(async move {
                    filch::yield_now().await;
                    n
                });
            }
            let joined = trial.run(group.join()).await;
            let outputs = match joined {
                Some(outputs) => outputs.unwrap(),
                None => group.join().await.unwrap(),
            };
            assert_eq!(outputs, [0, 1, 2]);
        });
        runtime.block_on(drive).assert_waited();
        let drive = cancel_at_every_await(async |trial| {
            let group = TaskGroup::new();
            group.spawn(async {
                filch::yield_now().await;
                7
            });
            let next = trial.run(group.join_next()).await.flatten();
            let value = next.map(|(_, value)| value.unwrap());
            let rest = group.join().await.unwrap();
            assert_eq!(value.into_iter().chain(rest).collect::<Vec<_>>(), [7]);
        });
        runtime.block_on(drive).assert_waited();
        let drive = cancel_at_every_await(async |trial| {
            let group = TaskGroup::new();
            (0..2).for_each(|n| drop(group.spawn(async move { n })));
            let mut done = group.as_completed();
            let next = trial.run(done.next()).await.flatten();
            let mut values: Vec<_> = next.into_iter().map(|(_, value)| value.unwrap()).collect();
            while let Some((_, value)) = done.next().await {
                values.push(value.unwrap());
            }
            values.sort_unstable();
            assert_eq!(values, [0, 1]);
        });
        runtime.block_on(drive).assert_waited();
    });
}

#[test]
fn a_group_that_lives_long_keeps_nothing_of_children_that_ended_well() {
    watched(|| {
        let runtime = workers(2);
        runtime.block_on(async {
            let group = TaskGroup::new().discard_outputs();
            for n in 0..10_000_u32 {
                group.spawn(async move { if n == 9_999 { Err(n) } else { Ok(vec![0_u8; 1_000]) } });
                while group.len() > 50 {
                    filch::yield_now().await;
                }
            }
            let error = group.join().await.unwrap_err();
            assert_eq!(error.first().unwrap().error(), Some(&9_999));
        });
        // One by one, what was taken is gone.
        runtime.block_on(async {
            let ledger = Ledger::new();
            let group = TaskGroup::<Result<filch::testing::Counted, ()>>::new();
            for n in 0..1_000 {
                let output = ledger.message(n);
                group.spawn(async move { Ok(output) });
                drop(group.join_next().await.unwrap());
                assert_eq!(ledger.drops(), n + 1);
            }
            assert!(group.join().await.unwrap().is_empty());
        });
    });
}

#[test]
fn calls_that_block_are_children_too() {
    watched(|| {
        let runtime = workers(1);
        runtime.block_on(async {
            let group = TaskGroup::new();
            group.spawn_blocking(|| Ok::<_, ()>(1));
            group.spawn(async { Ok(2) });
            assert_eq!(group.join().await.unwrap(), [1, 2]);
            let group = TaskGroup::new();
            group.spawn_blocking(|| -> Result<(), ()> { panic!("blocked") });
            group.spawn(pending());
            assert!(group.join().await.unwrap_err().first().unwrap().is_panic());
        });
        // From outside, with a handle.
        let group = TaskGroup::new().on(runtime.handle());
        group.spawn(async { 3 });
        assert_eq!(futures_lite::future::block_on(group.join()).unwrap(), [3]);
    });
}

#[test]
fn tg3_a_cancellation_and_a_good_end_race_and_each_child_is_seen_once() {
    watched(|| {
        let runtime = workers(2);
        for round in 0..500 {
            runtime.block_on(async {
                let group = Arc::new(TaskGroup::new());
                for n in 0..8_u32 {
                    group.spawn(async move {
                        for _ in 0..n {
                            filch::yield_now().await;
                        }
                        n
                    });
                }
                let canceller = group.clone();
                let cancel = filch::spawn(async move {
                    for _ in 0..round % 8 {
                        filch::yield_now().await;
                    }
                    canceller.cancel("race");
                });
                let results = group.settled().await;
                assert_eq!(results.len(), 8);
                for (n, result) in results.into_iter().enumerate() {
                    assert!(result.is_ok_and(|value| value == n as u32) || group.token().is_cancelled());
                }
                cancel.await.unwrap();
            });
        }
    });
}

#[filch::test(paused)]
async fn a_body_beside_its_children_ends_with_them_by_the_token() {
    let group = TaskGroup::new();
    group.spawn(after(3 * MS, Err::<(), _>("bad")));
    let (token, start) = (group.token(), Instant::now());
    let body = token.run_until_cancelled(sleep_until(start + Duration::from_secs(1))).await;
    assert_eq!((body.is_err(), start.elapsed()), (true, 3 * MS));
    group.join().await.unwrap_err();
}

#[test]
fn the_end_of_the_runtime_ends_the_group() {
    watched(|| {
        let runtime = workers(2);
        let group = TaskGroup::<()>::new().on(runtime.handle());
        (0..3).for_each(|_| drop(group.spawn(pending())));
        runtime.shutdown(Duration::from_secs(3_600));
        let error = futures_lite::future::block_on(group.join()).unwrap_err();
        assert_eq!(error.errors().len(), 3);
        assert!(error.errors().iter().all(|child| child.is_cancelled()));
    });
}
