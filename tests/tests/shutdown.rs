//! The promise: a runtime ends in order and in time. Nothing is left running but what is in the report, no
//! thread and no descriptor stays, and handles that outlive it answer instead of hanging.

use std::future::pending;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::sync::{Arc, mpsc};
use std::thread;
use std::time::Duration;

use filch::sync::Semaphore;
use filch::testing::Ledger;
use filch::time::sleep;
use filch::{Builder, Runtime};
use filch_tests::{child_case, on_drop, single, threads_named, until, watched, workers};

const MS: Duration = Duration::from_millis(1);
/// Longer than a test may take: who waits for it hangs.
const LONG: Duration = Duration::from_secs(3_600);

/// A task of `runtime` that is in a poll when this returns, and stays there until the sender is used.
fn stuck(runtime: &Runtime, name: &str) -> (filch::JoinHandle<()>, mpsc::Sender<()>) {
    let (started, is_started) = mpsc::channel();
    let (end, ends) = mpsc::channel();
    let task = filch::task::Builder::new().name(name).spawn_on(
        async move {
            started.send(()).unwrap();
            ends.recv().unwrap();
        },
        runtime.handle(),
    );
    is_started.recv().unwrap();
    (task, end)
}

#[test]
fn the_report_counts_what_was_cancelled() {
    watched(|| {
        for runtime in [single(), workers(1), workers(2)] {
            let ledger = Ledger::new();
            let tasks: Vec<_> = (0..100)
                .map(|_| {
                    let token = ledger.message(0);
                    runtime.spawn(async move {
                        let _token = token;
                        pending::<()>().await;
                    })
                })
                .collect();
            runtime.block_on(async { filch::spawn(async {}).await.unwrap() });
            let report = runtime.shutdown(LONG);
            assert_eq!((report.finished, report.cancelled, report.abandoned.len()), (0, 100, 0), "{report}");
            assert_eq!(ledger.drops(), 100);
            assert!(tasks.into_iter().all(|task| task.join_blocking().unwrap_err().is_cancelled()));
        }
    });
}

#[test]
fn the_report_of_a_runtime_that_had_nothing_to_do_is_empty() {
    watched(|| {
        for runtime in [single(), workers(2)] {
            let report = runtime.shutdown(Duration::ZERO);
            assert_eq!((report.finished, report.cancelled, report.abandoned.len()), (0, 0, 0));
            assert_eq!(report.to_string(), "0 finished, 0 cancelled, 0 abandoned");
        }
    });
}

#[test]
fn what_ends_by_itself_meanwhile_is_finished() {
    watched(|| {
        let runtime = workers(2);
        let (task, end) = stuck(&runtime, "ends");
        let waits = runtime.spawn(pending::<()>());
        // It ends once the other one is cancelled, hence during the shutdown.
        waits.on_done(move |_| end.send(()).unwrap());
        let report = runtime.shutdown(LONG);
        assert_eq!((report.finished, report.cancelled, report.abandoned.len()), (1, 1, 0), "{report}");
        task.join_blocking().unwrap();
    });
}

#[test]
fn from_inside_it_waits_for_the_others_only() {
    watched(|| {
        for in_root in [true, false] {
            let runtime = workers(2);
            let handle = runtime.handle().clone();
            (0..10).for_each(|_| drop(runtime.spawn(pending::<()>())));
            let ends = async move { runtime.shutdown(Duration::MAX) };
            let report =
                if in_root { handle.block_on(ends) } else { handle.spawn(ends).join_blocking().unwrap() };
            // The caller itself is what is left.
            assert_eq!((report.finished, report.cancelled, report.abandoned.len()), (0, 10, 1), "{report}");
        }
    });
}

#[test]
fn what_is_stuck_at_the_deadline_is_abandoned_by_name_and_line() {
    watched(|| {
        let runtime = workers(2);
        let (task, end) = stuck(&runtime, "lost");
        let waits = runtime.spawn(pending::<()>());
        let report = runtime.shutdown(20 * MS);
        // The shutdown came back though nobody has fed the task.
        assert!(!task.is_finished());
        assert_eq!((report.finished, report.cancelled, report.abandoned.len()), (0, 1, 1), "{report}");
        let lost = &report.abandoned[0];
        assert_eq!((lost.id, lost.name.as_deref()), (task.id().as_u64(), Some("lost")));
        assert_eq!(lost.location.file(), file!());
        assert!(report.to_string().contains("\"lost\", spawned at "), "{report}");
        assert!(waits.join_blocking().unwrap_err().is_cancelled());
        // It may still come back, and finds all that it needs.
        end.send(()).unwrap();
        task.join_blocking().unwrap();
    });
}

#[test]
fn a_deadline_of_zero_abandons_what_is_stuck_at_once() {
    watched(|| {
        let runtime = workers(1);
        let (task, end) = stuck(&runtime, "lost");
        assert_eq!(runtime.shutdown(Duration::ZERO).abandoned.len(), 1);
        end.send(()).unwrap();
        task.join_blocking().unwrap();
    });
}

#[test]
fn bp4_a_blocking_job_that_never_ends_is_abandoned_and_one_that_did_not_begin_is_cancelled() {
    watched(|| {
        let runtime = Builder::new().workers(1).blocking_threads(1).build().unwrap();
        let (started, is_started) = mpsc::channel();
        let (end, ends) = mpsc::channel();
        let job = runtime.spawn_blocking(move || {
            started.send(()).unwrap();
            ends.recv().unwrap()
        });
        is_started.recv().unwrap();
        let waits = runtime.spawn_blocking(|| ());
        let report = runtime.shutdown(20 * MS);
        assert_eq!((report.cancelled, report.abandoned.len()), (1, 1), "{report}");
        assert_eq!(report.abandoned[0].id, job.id().as_u64());
        assert!(waits.join_blocking().unwrap_err().is_cancelled());
        end.send(7).unwrap();
        assert_eq!(job.join_blocking().unwrap(), 7);
    });
}

#[test]
fn a_blocking_job_that_ends_is_waited_for() {
    watched(|| {
        let runtime = workers(1);
        let (job_started, is_started) = mpsc::channel();
        let (end, ends) = mpsc::channel::<()>();
        let job = runtime.spawn_blocking(move || {
            job_started.send(()).unwrap();
            ends.recv().unwrap();
            7
        });
        is_started.recv().unwrap();
        let waits = runtime.spawn(pending::<()>());
        waits.on_done(move |_| end.send(()).unwrap());
        let report = runtime.shutdown(LONG);
        assert_eq!((report.finished, report.cancelled, report.abandoned.len()), (1, 1, 0), "{report}");
        assert_eq!(job.join_blocking().unwrap(), 7);
    });
}

#[test]
fn sh2_tasks_whose_drop_wakes_spawns_and_aborts_others() {
    watched(|| {
        for runtime in [single(), workers(2)] {
            let (ledger, count) = (Ledger::new(), 1_000);
            let semaphore = Arc::new(Semaphore::new(0));
            let aborts = Arc::new(std::sync::Mutex::new(Vec::new()));
            for _ in 0..count {
                let (token, semaphore, handle) =
                    (ledger.message(0), semaphore.clone(), runtime.handle().clone());
                let all = aborts.clone();
                let adds = semaphore.clone();
                let guard = on_drop(move || {
                    adds.add_permits(1);
                    assert!(handle.spawn(async {}).join_blocking().unwrap_err().is_cancelled());
                    if let Some(other) = all.lock().unwrap().pop() {
                        let other: filch::task::AbortHandle = other;
                        other.abort();
                    }
                });
                let task = runtime.spawn(async move {
                    let _all = (token, guard);
                    let _permit = semaphore.acquire_many_owned(u32::MAX >> 8).await;
                });
                aborts.lock().unwrap().push(task.abort_handle());
            }
            let report = runtime.shutdown(LONG);
            assert_eq!((report.finished, report.cancelled, report.abandoned.len()), (0, count, 0));
            assert_eq!(ledger.drops(), count);
        }
    });
}

#[test]
fn sh2_ten_thousand_tasks_that_wait_for_timers_and_semaphores() {
    watched(|| {
        let runtime = workers(2);
        let (ledger, semaphore) = (Ledger::new(), Arc::new(Semaphore::new(0)));
        for i in 0..10_000_u64 {
            let (token, semaphore) = (ledger.message(0), semaphore.clone());
            drop(runtime.spawn(async move {
                let _token = token;
                if i % 2 == 0 {
                    sleep(LONG + Duration::from_nanos(i)).await;
                } else {
                    let _permit = semaphore.acquire().await;
                }
            }));
        }
        let report = runtime.shutdown(LONG);
        assert_eq!((report.cancelled, report.abandoned.len(), ledger.drops()), (10_000, 0, 10_000));
        assert_eq!(semaphore.available_permits(), 0);
        semaphore.add_permits(1);
        assert_eq!(semaphore.available_permits(), 1);
    });
}

#[test]
fn sh1_spawning_and_ending_race_and_every_handle_answers() {
    watched(|| {
        for _ in 0..50 {
            let runtime = workers(2);
            let ledger = Ledger::new();
            let spawners: Vec<_> = (0..2)
                .map(|_| {
                    let (handle, ledger) = (runtime.handle().clone(), ledger.clone());
                    thread::spawn(move || {
                        let spawn = |_| {
                            let token = ledger.message(0);
                            handle.spawn(async move {
                                let _token = token;
                                filch::yield_now().await;
                            })
                        };
                        (0..200).map(spawn).collect::<Vec<_>>()
                    })
                })
                .collect();
            assert!(runtime.shutdown(LONG).abandoned.is_empty());
            for task in spawners.into_iter().flat_map(|thread| thread.join().unwrap()) {
                let result = task.join_blocking();
                assert!(result.is_ok() || result.unwrap_err().is_cancelled());
            }
            assert_eq!(ledger.drops(), 400);
        }
    });
}

#[test]
fn sh3_handles_that_outlive_the_runtime_answer() {
    watched(|| {
        for runtime in [single(), workers(1), workers(2)] {
            let handle = runtime.handle().clone();
            drop(runtime);
            for _ in 0..3 {
                assert!(handle.spawn(async {}).join_blocking().unwrap_err().is_cancelled());
                assert!(handle.spawn_blocking(|| ()).join_blocking().unwrap_err().is_cancelled());
            }
            assert!(handle.tasks().is_empty());
            assert_eq!(handle.metrics().live_tasks, 0);
            let _entered = handle.enter();
            assert!(filch::spawn(async {}).join_blocking().unwrap_err().is_cancelled());
        }
    });
}

#[test]
fn sh3_block_on_of_a_handle_that_outlived_the_runtime_runs_its_root() {
    watched(|| {
        for runtime in [workers(1), workers(2), single()] {
            let handle = runtime.handle().clone();
            drop(runtime);
            let output = handle.block_on(async {
                filch::yield_now().await;
                filch::spawn(async {}).await.unwrap_err().is_cancelled()
            });
            assert!(output);
        }
    });
}

#[test]
fn sh3_a_runtime_dropped_in_its_own_task_ends_in_the_background() {
    watched(|| {
        for _ in 0..20 {
            let runtime = Builder::new().workers(2).name("selfdrop").build().unwrap();
            let handle = runtime.handle().clone();
            let waits = runtime.spawn(pending::<()>());
            let (give, take) = mpsc::channel::<Runtime>();
            let (tell, told) = mpsc::channel();
            let dropper = runtime.spawn(async move {
                drop(take.recv().unwrap());
                tell.send(()).unwrap();
            });
            give.send(runtime).unwrap();
            told.recv().unwrap();
            dropper.join_blocking().unwrap();
            assert!(waits.join_blocking().unwrap_err().is_cancelled());
            assert!(handle.spawn(async {}).join_blocking().unwrap_err().is_cancelled());
        }
        until(|| threads_named("selfdrop") == 0);
    });
}

#[test]
fn sh3_a_runtime_dropped_in_a_root_of_its_own_ends() {
    watched(|| {
        for runtime in [workers(1), workers(2)] {
            let handle = runtime.handle().clone();
            let waits = runtime.spawn(pending::<()>());
            handle.block_on(async move { drop(runtime) });
            assert!(waits.join_blocking().unwrap_err().is_cancelled());
        }
    });
}

#[test]
fn sh3_a_runtime_dropped_in_another_ends_there() {
    watched(|| {
        let outer = workers(1);
        let inner = workers(2);
        let waits = inner.spawn(pending::<()>());
        outer.block_on(async move { drop(inner) });
        assert!(waits.join_blocking().unwrap_err().is_cancelled());
        for inner in [workers(1), single(), Builder::new().paused_clock(1).build().unwrap()] {
            let waits = inner.spawn(pending::<()>());
            outer.spawn(async move { drop(inner) }).join_blocking().unwrap();
            assert!(waits.join_blocking().unwrap_err().is_cancelled());
        }
    });
}

#[test]
fn a_runtime_dropped_in_a_blocking_job_of_its_own_ends() {
    watched(|| {
        let runtime = Builder::new().workers(1).name("jobdrop").build().unwrap();
        let handle = runtime.handle().clone();
        let (give, take) = mpsc::channel::<Runtime>();
        drop(handle.spawn_blocking(move || drop(take.recv().unwrap())));
        give.send(runtime).unwrap();
        until(|| threads_named("jobdrop") == 0);
    });
}

#[test]
fn an_operation_of_a_runtime_that_ended_is_told_elsewhere() {
    watched(|| {
        let (here, gone) = (workers(1), workers(1));
        let (ours, theirs) = {
            let _entered = gone.handle().enter();
            filch::net::UnixDatagram::pair().unwrap()
        };
        let (started, is_started) = mpsc::channel();
        let reader = here.spawn(async move {
            started.send(()).unwrap();
            ours.recv(&mut [0; 4]).await
        });
        is_started.recv().unwrap();
        until(|| here.handle().tasks().iter().all(|task| task.state == filch::TaskState::Waiting));
        drop(gone);
        assert!(reader.join_blocking().unwrap().is_err());
        drop(theirs);
    });
}

#[test]
fn sh2_all_threads_are_gone_when_shutdown_returns_with_nothing_abandoned() {
    watched(|| {
        for _ in 0..20 {
            let runtime = Builder::new().workers(3).name("goneafter").build().unwrap();
            let jobs: Vec<_> = (0..4).map(|_| runtime.spawn_blocking(|| ())).collect();
            jobs.into_iter().for_each(|job| job.join_blocking().unwrap());
            assert!(threads_named("goneafter") > 0);
            assert!(runtime.shutdown(LONG).abandoned.is_empty());
            until(|| threads_named("goneafter") == 0);
        }
    });
}

#[test]
fn sh2_fifty_runtimes_leave_no_descriptor() {
    const NAME: &str = "sh2_fifty_runtimes_leave_no_descriptor";
    if child_case().is_none() {
        // Alone in a process: other tests open descriptors, too.
        return watched(|| drop(filch_tests::Child::new(NAME, "count").succeeds()));
    }
    let open = || std::fs::read_dir("/proc/self/fd").unwrap().count();
    let use_one = |builder: Builder| {
        let runtime = builder.build().unwrap();
        runtime.block_on(async {
            let (ours, theirs) = filch::net::UnixDatagram::pair().unwrap();
            filch::spawn(async move { theirs.send(b"x").await.unwrap() }).await.unwrap();
            ours.recv(&mut [0; 4]).await.unwrap();
            // One that is cancelled while it waits.
            drop(filch::spawn(async move { ours.recv(&mut [0; 4]).await }));
            sleep(MS / 10).await;
        });
        assert!(runtime.shutdown(LONG).abandoned.is_empty());
    };
    let before = open();
    for _ in 0..50 {
        use_one(Builder::new().workers(2));
        use_one(Builder::single_thread());
        use_one(Builder::new().paused_clock(1));
    }
    // A thread that has said that it ends may hold the last of them for a moment.
    until(|| open() == before);
}

#[test]
fn what_a_dropped_runtime_abandons_is_printed() {
    const NAME: &str = "what_a_dropped_runtime_abandons_is_printed";
    if child_case().is_some() {
        let runtime = Builder::new().workers(1).name("printer").build().unwrap();
        let (_task, end) = stuck(&runtime, "never back");
        drop(runtime);
        return end.send(()).unwrap();
    }
    watched(|| {
        let said = filch_tests::Child::new(NAME, "print").succeeds();
        let line = said.lines().find(|line| line.contains("never back")).expect("a line about it");
        assert!(line.contains("the runtime \"printer\" ended without task"), "{line}");
        assert!(line.contains("tests/tests/shutdown.rs:"), "{line}");
    });
}

#[test]
fn a_root_that_is_running_when_the_runtime_ends_goes_on_to_its_end() {
    watched(|| {
        for count in [1, 2] {
            let runtime = workers(count);
            let handle = runtime.handle().clone();
            let (inside, is_inside) = mpsc::channel();
            let steps = Arc::new(AtomicUsize::new(0));
            let counts = steps.clone();
            let root = thread::spawn(move || {
                handle.block_on(async move {
                    inside.send(()).unwrap();
                    // Cancelled by the shutdown.
                    assert!(filch::spawn(pending::<()>()).await.unwrap_err().is_cancelled());
                    counts.fetch_add(1, SeqCst);
                });
            });
            is_inside.recv().unwrap();
            drop(runtime.shutdown(100 * MS));
            root.join().unwrap();
            assert_eq!(steps.load(SeqCst), 1);
        }
    });
}

#[test]
fn a_runtime_of_one_thread_dropped_in_a_root_that_goes_on_ends_its_tasks() {
    watched(|| {
        let runtime = Builder::single_thread().name("rd").build().unwrap();
        let handle = runtime.handle().clone();
        let waits = runtime.spawn(pending::<()>());
        let looks = handle.clone();
        handle.block_on(async move {
            drop(runtime);
            // The thread that ends the runtime has asked the task to end, then looked for a core, which we have.
            until(|| looks.tasks().iter().any(|task| task.state == filch::TaskState::Cancelled));
            until(|| threads_named("rd-shutdown") == 0);
        });
        assert!(waits.join_blocking().unwrap_err().is_cancelled());
    });
}

#[test]
fn block_on_of_a_handle_that_outlived_the_runtime_sleeps_or_panics_but_does_not_hang() {
    watched(|| {
        for runtime in [workers(1), single()] {
            let handle = runtime.handle().clone();
            let waits = runtime.spawn(pending::<()>());
            drop(runtime);
            assert!(waits.join_blocking().unwrap_err().is_cancelled());
            let _ = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
                handle.block_on(async { sleep(MS).await })
            }));
        }
    });
}
