//! The promise: a blocking job runs on a thread of the pool, once, and holds up nobody but its own queue.

use std::collections::HashSet;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::sync::{Arc, mpsc};
use std::thread;

use filch::testing::Ledger;
use filch::{Handle, Runtime, spawn_blocking};
use filch_tests::{single, until, watched, workers};

fn pool_of(threads: usize) -> Runtime {
    filch::Builder::new().workers(1).blocking_threads(threads).build().unwrap()
}

/// Keeps a thread of the pool until the sender is used.
fn occupy(runtime: &Runtime) -> (filch::JoinHandle<()>, mpsc::Sender<()>) {
    let (started, is_started) = mpsc::channel();
    let (end, ends) = mpsc::channel();
    let job = runtime.spawn_blocking(move || {
        started.send(()).unwrap();
        ends.recv().unwrap();
    });
    is_started.recv().unwrap();
    (job, end)
}

#[test]
fn bp3_outputs_and_panics_come_back() {
    watched(|| {
        for runtime in [single(), workers(1), workers(2)] {
            runtime.block_on(async {
                assert_eq!(spawn_blocking(|| 6 * 7).await.unwrap(), 42);
                let error = spawn_blocking(|| panic!("in the job")).await.unwrap_err();
                assert!(error.is_panic() && error.to_string().contains("in the job"));
                assert_eq!(error.location().file(), file!());
                let named = filch::task::Builder::new().name("job");
                let error = named.spawn_blocking(|| panic!("named")).await.unwrap_err();
                assert_eq!(error.name(), Some("job"));
            });
            assert_eq!(runtime.spawn_blocking(|| 1).join_blocking().unwrap(), 1);
        }
    });
}

#[test]
fn it_runs_neither_on_a_worker_nor_here() {
    watched(|| {
        let runtime = filch::Builder::new().workers(1).name("who").build().unwrap();
        let name = || thread::current().name().unwrap_or_default().to_owned();
        assert!(runtime.spawn_blocking(name).join_blocking().unwrap().starts_with("who-blocking-"));
        assert_eq!(runtime.spawn(async move { name() }).join_blocking().unwrap(), "who-0");
    });
}

#[test]
fn a_job_that_waits_for_a_task_holds_up_no_worker() {
    watched(|| {
        let runtime = workers(1);
        let (feed, fed) = mpsc::channel();
        let job = runtime.spawn_blocking(move || fed.recv().unwrap());
        drop(runtime.spawn(async move { feed.send(5).unwrap() }));
        assert_eq!(job.join_blocking().unwrap(), 5);
        assert_eq!(runtime.metrics().rescues, 0);
    });
}

#[test]
fn bp3_aborted_before_it_began_it_does_not_run() {
    watched(|| {
        let runtime = pool_of(1);
        let (first, end) = occupy(&runtime);
        let (ran, ledger) = (Arc::new(AtomicUsize::new(0)), Ledger::new());
        let (runs, token) = (ran.clone(), ledger.message(0));
        let aborted = runtime.spawn_blocking(move || {
            let _token = token;
            runs.fetch_add(1, SeqCst);
        });
        let runs = ran.clone();
        let kept = runtime.spawn_blocking(move || runs.fetch_add(10, SeqCst));
        aborted.abort();
        end.send(()).unwrap();
        first.join_blocking().unwrap();
        assert!(aborted.join_blocking().unwrap_err().is_cancelled());
        kept.join_blocking().unwrap();
        assert_eq!((ran.load(SeqCst), ledger.drops()), (10, 1));
    });
}

#[test]
fn bp3_aborted_after_it_began_it_runs_to_its_end() {
    watched(|| {
        let runtime = pool_of(1);
        let (job, end) = occupy(&runtime);
        job.abort();
        assert!(!job.is_finished());
        end.send(()).unwrap();
        job.join_blocking().unwrap();
    });
}

#[test]
fn a_job_whose_handle_is_dropped_runs() {
    watched(|| {
        let runtime = pool_of(1);
        let (first, end) = occupy(&runtime);
        let (tell, told) = mpsc::channel();
        drop(runtime.spawn_blocking(move || tell.send(()).unwrap()));
        end.send(()).unwrap();
        told.recv().unwrap();
        first.join_blocking().unwrap();
    });
}

#[test]
fn bp3_there_are_never_more_threads_than_allowed() {
    watched(|| {
        let runtime = pool_of(3);
        let (now, most) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
        let jobs: Vec<_> = (0..200)
            .map(|_| {
                let (now, most) = (now.clone(), most.clone());
                runtime.spawn_blocking(move || {
                    most.fetch_max(now.fetch_add(1, SeqCst) + 1, SeqCst);
                    thread::yield_now();
                    now.fetch_sub(1, SeqCst);
                })
            })
            .collect();
        assert!(runtime.metrics().blocking_threads <= 3);
        jobs.into_iter().for_each(|job| job.join_blocking().unwrap());
        assert!(most.load(SeqCst) <= 3 && runtime.metrics().blocking_threads <= 3);
    });
}

#[test]
fn jobs_in_excess_wait_and_all_of_the_allowed_threads_are_used() {
    watched(|| {
        let runtime = pool_of(3);
        let (jobs, ends): (Vec<_>, Vec<_>) = (0..3).map(|_| occupy(&runtime)).unzip();
        let waits = runtime.spawn_blocking(|| 4);
        assert_eq!((runtime.metrics().blocking_threads, runtime.metrics().blocking_queue_depth), (3, 1));
        assert!(!waits.is_finished());
        ends.iter().for_each(|end| end.send(()).unwrap());
        assert_eq!(waits.join_blocking().unwrap(), 4);
        jobs.into_iter().for_each(|job| job.join_blocking().unwrap());
        assert_eq!(runtime.metrics().blocking_queue_depth, 0);
    });
}

#[test]
fn ten_thousand_jobs() {
    watched(|| {
        let runtime = pool_of(8);
        let sum = runtime.block_on(async {
            let jobs: Vec<_> = (0..10_000_u64).map(|i| spawn_blocking(move || i)).collect();
            let mut sum = 0;
            for job in jobs {
                sum += job.await.unwrap();
            }
            sum
        });
        assert_eq!(sum, (0..10_000).sum());
        until(|| runtime.metrics().live_tasks == 0);
    });
}

#[test]
fn a_thread_is_used_again() {
    watched(|| {
        let runtime = pool_of(1);
        let ids: HashSet<_> = (0..200)
            .map(|_| runtime.spawn_blocking(|| thread::current().id()).join_blocking().unwrap())
            .collect();
        assert_eq!(ids.len(), 1);
    });
}

#[test]
fn bp3_a_thread_outlives_a_job_that_panics() {
    watched(|| {
        let runtime = pool_of(1);
        let before = runtime.spawn_blocking(|| thread::current().id()).join_blocking().unwrap();
        for _ in 0..10 {
            assert!(runtime.spawn_blocking(|| panic!("again")).join_blocking().is_err());
        }
        assert_eq!(runtime.spawn_blocking(|| thread::current().id()).join_blocking().unwrap(), before);
    });
}

#[test]
fn a_job_is_inside_the_runtime() {
    watched(|| {
        for runtime in [single(), workers(1)] {
            let output = runtime.block_on(async {
                spawn_blocking(|| {
                    let task = filch::spawn(async { 1 });
                    let nested = spawn_blocking(|| 2).join_blocking().unwrap();
                    let root = Handle::current().block_on(async { 3 });
                    (task, nested + root)
                })
                .await
                .unwrap()
            });
            assert_eq!(output.1, 5);
            assert_eq!(runtime.block_on(output.0).unwrap(), 1);
        }
    });
}

#[test]
fn a_job_may_block_on_what_the_runtime_does() {
    watched(|| {
        let runtime = workers(1);
        let job = runtime.spawn_blocking(|| {
            filch::block_on(async {
                filch::time::sleep(std::time::Duration::from_millis(1)).await;
                filch::spawn(async { 8 }).await.unwrap()
            })
        });
        assert_eq!(job.join_blocking().unwrap(), 8);
    });
}

#[test]
fn bp1_many_short_bursts_lose_no_job() {
    watched(|| {
        let runtime = pool_of(4);
        for burst in 0..500 {
            let jobs: Vec<_> = (0..burst % 7 + 1).map(|i| runtime.spawn_blocking(move || i)).collect();
            for (i, job) in jobs.into_iter().enumerate() {
                assert_eq!(job.join_blocking().unwrap(), i);
            }
        }
    });
}

#[test]
fn bp1_from_many_threads_at_once_each_job_runs_once() {
    watched(|| {
        let runtime = pool_of(4);
        let ran = Arc::new(AtomicUsize::new(0));
        let threads: Vec<_> = (0..6)
            .map(|_| {
                let (handle, ran) = (runtime.handle().clone(), ran.clone());
                thread::spawn(move || {
                    for _ in 0..300 {
                        let ran = ran.clone();
                        drop(handle.spawn_blocking(move || ran.fetch_add(1, SeqCst)));
                    }
                })
            })
            .collect();
        threads.into_iter().for_each(|thread| thread.join().unwrap());
        until(|| ran.load(SeqCst) == 1_800);
        until(|| runtime.metrics().live_tasks == 0);
        assert_eq!(ran.load(SeqCst), 1_800);
    });
}

#[test]
fn a_job_is_listed_while_it_runs() {
    watched(|| {
        let runtime = pool_of(1);
        let (job, end) = occupy(&runtime);
        let tasks = runtime.handle().tasks();
        let info = tasks.iter().find(|task| task.id == job.id()).expect("listed");
        assert_eq!((info.state, info.wait), (filch::TaskState::Running, filch::WaitKind::Blocking));
        end.send(()).unwrap();
        job.join_blocking().unwrap();
    });
}
