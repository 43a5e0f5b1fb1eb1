//! The promise: a worker pool runs calls and futures from tasks and threads, by rank and with backpressure; a job that
//! panics harms no other, and the end is in order, whatever waits, runs, or is stuck.
#![allow(missing_docs)]

#[path = "worker_pool/kit.rs"]
mod kit;

use std::sync::mpsc;
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use filch::pool::{CancelOutcome, Priority, SubmitError, WorkerPool, WorkerPoolBuilder, WorkerState};
use filch::sync::Event;
use filch::testing::cancel_at_every_await;
use filch::time::{Instant, sleep};
use filch_tests::{
    Drops, PATIENCE, on_drop, panics, poll_once, single, threads_named, until, until_yielding, watched,
    workers,
};

use kit::{occupy, raise, watched_pool};

const S: Duration = Duration::from_secs(1);

/// Notes, in order, by whomever.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<String>>>);

impl Log {
    fn note(&self, text: impl ToString) {
        self.0.lock().unwrap().push(text.to_string());
    }

    fn told(&self) -> String {
        self.0.lock().unwrap().join(" ")
    }
}

#[test]
fn calls_and_futures_come_from_tasks_and_threads() {
    watched(|| {
        let runtime = workers(2);
        let pool = WorkerPool::builder().threads(2).tasks(2).runtime(runtime.handle()).build().unwrap();
        // From a thread ...
        assert_eq!(pool.call(|| 1).submit_blocking().unwrap().join().unwrap(), 1);
        assert_eq!(pool.spawn(async { 2 }).submit_timeout(PATIENCE).unwrap().join().unwrap(), 2);
        assert_eq!(pool.call(|| 3).try_submit().unwrap().join().unwrap(), 3);
        // ... a task ...
        let inside = pool.clone();
        let both = runtime.block_on(async move {
            let call = inside.call(|| 4).submit().await.unwrap();
            let future = inside.spawn(async { 5 }).submit().await.unwrap();
            (call.await.unwrap(), future.await.unwrap())
        });
        assert_eq!(both, (4, 5));
        // ... and another runtime's.
        let tokio = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let six = tokio.block_on(async { pool.spawn(async { 6 }).submit().await.unwrap().await });
        assert_eq!(six.unwrap(), 6);
        // A call may spawn, and a future is driven by a task of the runtime, with a name.
        let nested = pool.call(|| filch::spawn(async { 7 }).join_blocking().unwrap());
        assert_eq!(nested.submit_blocking().unwrap().join().unwrap(), 7);
        let names = pool.call(|| thread::current().name().map(str::to_owned));
        assert!(names.submit_blocking().unwrap().join().unwrap().unwrap().starts_with("workers-thread-"));
        let report = pool.shutdown_blocking(PATIENCE);
        assert!(report.is_complete() && report.done == 8, "{report}");
    });
}

#[test]
fn a_thousand_jobs_of_both_kinds_are_each_done_once() {
    watched(|| {
        let runtime = workers(2);
        let builder = WorkerPool::builder().threads(3).tasks(5).queue(16).name("many");
        let pool = builder.runtime(runtime.handle()).build().unwrap();
        let sum: u64 = thread::scope(|scope| {
            let threads = [0, 1, 2].map(|part| {
                let pool = &pool;
                scope.spawn(move || {
                    let jobs = (0..400_u64).map(|n| {
                        let n = part * 1_000 + n;
                        if n % 2 == 0 {
                            pool.call(move || n).submit_blocking().unwrap()
                        } else {
                            let waits = async move {
                                filch::yield_now().await;
                                n
                            };
                            pool.spawn(waits).submit_blocking().unwrap()
                        }
                    });
                    jobs.collect::<Vec<_>>().into_iter().map(|job| job.join().unwrap()).sum::<u64>()
                })
            });
            threads.into_iter().map(|thread| thread.join().unwrap()).sum()
        });
        assert_eq!(sum, (0..3).map(|part| (0..400).map(|n| part * 1_000 + n).sum::<u64>()).sum());
        let report = pool.shutdown_blocking(PATIENCE);
        assert!(report.is_complete() && report.done == 1_200, "{report}");
        until(|| threads_named("many-thread") == 0);
    });
}

#[test]
fn higher_ranks_go_first_but_nobody_is_overtaken_for_ever() {
    watched(|| {
        let runtime = workers(1);
        let order = |ageing| {
            let builder = WorkerPool::builder().threads(1).tasks(1).ageing(ageing).runtime(runtime.handle());
            let (pool, log) = (builder.build().unwrap(), Log::default());
            let (running, free) = occupy(&pool);
            let ranks = [Priority::Low, Priority::Normal, Priority::High, Priority::High, Priority::Normal];
            let jobs: Vec<_> = (1..)
                .zip(ranks)
                .map(|(n, rank)| {
                    let log = log.clone();
                    pool.call(move || log.note(n)).priority(rank).submit_blocking().unwrap()
                })
                .collect();
            drop(free);
            running.join().unwrap();
            jobs.into_iter().for_each(|job| job.join().unwrap());
            log.told()
        };
        assert_eq!(order(64), "3 4 2 5 1");
        assert_eq!(order(1), "3 1 2 4 5", "after one that came later");
        assert_eq!(order(0), "1 2 3 4 5");
    });
}

#[test]
fn a_full_queue_makes_wait() {
    watched(|| {
        let runtime = workers(1);
        let pool =
            WorkerPool::builder().threads(1).tasks(1).queue(1).runtime(runtime.handle()).build().unwrap();
        let (running, free) = occupy(&pool);
        let queued = pool.call(|| 1).try_submit().unwrap();
        let drops = Drops::new();
        for refused in [SubmitError::Full, SubmitError::TimedOut] {
            let token = drops.token();
            let job = pool.call(move || drop(token));
            let result = if refused == SubmitError::Full {
                job.try_submit()
            } else {
                job.submit_timeout(Duration::ZERO)
            };
            assert_eq!(result.err(), Some(refused));
        }
        assert_eq!(drops.count(), 2, "what is refused is dropped");
        // Futures have a queue of their own.
        assert_eq!(pool.spawn(async { 2 }).try_submit().unwrap().join().unwrap(), 2);
        until(|| pool.health().running() == 1);
        let health = pool.health();
        assert_eq!((health.waiting_calls, health.waiting_tasks), (1, 0), "{health}");
        runtime.block_on(async {
            let submission = pool.call(|| 3).submit();
            let mut waits = std::pin::pin!(submission);
            assert!(poll_once(&mut waits).await.is_none());
            let (other, (tell, told)) = (pool.clone(), mpsc::channel());
            let thread = thread::spawn(move || {
                let job = other.call(|| 4).submit_blocking().unwrap();
                tell.send(()).unwrap();
                job.join().unwrap()
            });
            assert!(told.try_recv().is_err());
            drop(free);
            // Whoever is first in line for room is asked first, so it must be polled.
            assert_eq!(waits.await.unwrap().await.unwrap(), 3);
            assert_eq!(thread.join().unwrap(), 4);
        });
        assert_eq!(queued.join().unwrap(), 1);
        running.join().unwrap();
    });
}

#[test]
fn a_job_that_panics_harms_nobody_else() {
    watched(|| {
        let (runtime, (builder, deaths)) = (workers(1), watched_pool());
        let pool = builder.threads(1).tasks(1).name("img").runtime(runtime.handle()).build().unwrap();
        let thread = || pool.call(|| thread::current().id()).submit_blocking().unwrap().join().unwrap();
        let before = thread();
        let call = pool.call(|| raise("no luck")).submit_blocking().unwrap().join().unwrap_err();
        let future =
            pool.spawn(async { raise("none either") }).submit_blocking().unwrap().join().unwrap_err();
        for (error, text) in [(call, "no luck"), (future, "none either")] {
            assert!(error.is_panic() && !error.is_cancelled(), "{error}");
            let told = error.to_string();
            assert!(
                told.contains("worker_pool.rs") && told.ends_with(&format!("\"img\" panicked: {text}")),
                "{told}"
            );
        }
        // Nor does what is dropped with a job.
        let bomb = on_drop(|| raise("dropped"));
        drop(pool.call(move || bomb).submit_blocking().unwrap());
        let (bomb, (begun, has_begun)) = (on_drop(|| raise("dropped")), mpsc::channel());
        let waits = async move {
            let _bomb = bomb;
            begun.send(()).unwrap();
            std::future::pending::<()>().await;
        };
        let job = pool.spawn(waits).submit_blocking().unwrap();
        has_begun.recv().unwrap();
        assert_eq!(job.cancel(), CancelOutcome::Requested);
        assert!(job.join().unwrap_err().is_cancelled());
        assert_eq!(pool.spawn(async { 1 }).submit_blocking().unwrap().join().unwrap(), 1);
        assert_eq!(thread(), before, "its thread is there");
        let health = pool.health();
        assert_eq!((health.panicked, health.stopped, health.deaths), (2, 1, 0), "{health}");
        assert!(deaths.lock().unwrap().is_empty());
    });
}

#[filch::test(paused)]
async fn a_shutdown_drains() {
    let (pool, began) = (WorkerPool::new(1, 2).unwrap(), Instant::now());
    let jobs: Vec<_> = (0..6).map(|_| pool.spawn(async { sleep(S).await }).try_submit().unwrap()).collect();
    let report = pool.shutdown(60 * S).await;
    assert!(report.is_complete() && report.done == 6, "{report}");
    assert_eq!(began.elapsed(), 3 * S, "two at a time");
    for job in jobs {
        job.await.unwrap();
    }
    assert!(pool.is_shut_down());
    assert_eq!(pool.call(|| ()).submit().await.err(), Some(SubmitError::Closed));
    assert_eq!(pool.spawn(async {}).try_submit().err(), Some(SubmitError::Closed));
    // A second call says the same.
    assert_eq!(pool.shutdown(Duration::ZERO).await, report);
    assert!(pool.health().workers.iter().all(|worker| worker.state == WorkerState::Left));
}

#[filch::test(paused)]
async fn at_the_deadline_of_a_shutdown_all_is_cancelled_and_what_is_stuck_is_named() {
    let (pool, began) =
        (WorkerPool::builder().threads(2).tasks(1).grace(2 * S).build().unwrap(), Instant::now());
    let ((begun, has_begun), (free, freed)) = (mpsc::channel(), mpsc::channel::<()>());
    // It does not hear that it should stop.
    let stuck = pool.call(move || {
        begun.send(()).unwrap();
        freed.recv().is_err()
    });
    let line = line!() - 4;
    let stuck = stuck.name("deaf").submit().await.unwrap();
    has_begun.recv().unwrap();
    let drops = Drops::new();
    let token = drops.token();
    let future = async move {
        let _token = token;
        sleep(3_600 * S).await;
    };
    let future = pool.spawn(future).submit().await.unwrap();
    let queued = pool.spawn(async {}).submit().await.unwrap();
    let report = pool.shutdown(10 * S).await;
    assert_eq!(began.elapsed(), 12 * S, "the deadline, and the grace");
    assert_eq!((report.stopped, report.cancelled), (1, 1), "{report}");
    let [deaf] = &report.stuck[..] else { panic!("{report}") };
    assert_eq!((deaf.name.as_deref(), deaf.location.line(), deaf.running_for), (Some("deaf"), line, 12 * S));
    assert!(deaf.worker.starts_with("workers-thread-"));
    let text = report.to_string();
    assert!(text.contains("has the job \"deaf\", submitted at tests/tests/worker_pool.rs:"), "{text}");
    assert!(text.ends_with("since 12.0s"), "{text}");
    assert_eq!(drops.count(), 1);
    let error = future.await.unwrap_err();
    assert!(error.is_cancelled() && error.to_string().contains("the pool was shut down"), "{error}");
    assert!(queued.await.unwrap_err().is_cancelled());
    drop(free);
    assert!(stuck.await.unwrap(), "it goes on to its end");
}

#[test]
fn calls_hear_of_the_deadline_by_their_contexts() {
    watched(|| {
        let runtime = workers(1);
        let builder = WorkerPool::builder().threads(1).tasks(1).grace(PATIENCE).runtime(runtime.handle());
        let pool = builder.build().unwrap();
        let polite = pool.call_with(|job| {
            until(|| job.is_cancelled());
            job.token().reason().unwrap().text().to_owned()
        });
        let polite = polite.submit_blocking().unwrap();
        until(|| pool.health().running() == 1);
        let queued = pool.call(|| ()).submit_blocking().unwrap();
        let report = pool.shutdown_blocking(Duration::ZERO);
        assert_eq!((report.done, report.cancelled, report.stuck.len()), (1, 1, 0), "{report}");
        assert!(polite.join().unwrap().contains("the pool was shut down"));
        assert!(queued.join().unwrap_err().is_cancelled());
    });
}

#[test]
fn who_waits_for_room_hears_of_the_end() {
    watched(|| {
        let runtime = workers(1);
        let builder = WorkerPool::builder().threads(1).tasks(1).queue(1).grace(Duration::ZERO);
        let pool = builder.runtime(runtime.handle()).build().unwrap();
        let (running, free) = occupy(&pool);
        let queued = pool.call(|| ()).try_submit().unwrap();
        thread::scope(|scope| {
            let waits = scope.spawn(|| pool.call(|| ()).submit_blocking().err());
            let report = pool.shutdown_blocking(Duration::ZERO);
            assert_eq!(waits.join().unwrap(), Some(SubmitError::Closed));
            assert_eq!((report.cancelled, report.stuck.len()), (1, 1), "{report}");
        });
        assert!(queued.join().unwrap_err().is_cancelled());
        drop(free);
        running.join().unwrap();
    });
}

#[test]
fn with_its_runtime_the_pool_ends() {
    watched(|| {
        let runtime = workers(1);
        let pool =
            WorkerPool::builder().threads(1).tasks(1).name("ends").runtime(runtime.handle()).build().unwrap();
        let (running, free) = occupy(&pool);
        let call = pool.call(|| ()).try_submit().unwrap();
        let drops = Drops::new();
        let token = drops.token();
        let future = async move {
            let _token = token;
            std::future::pending::<()>().await;
        };
        let future = pool.spawn(future).try_submit().unwrap();
        let unbegun = pool.spawn(async {}).try_submit().unwrap();
        until(|| pool.health().running() == 2);
        drop(runtime);
        assert_eq!(drops.count(), 1);
        assert!(future.join().unwrap_err().is_cancelled());
        assert!(unbegun.join().unwrap_err().is_cancelled());
        assert!(call.join().unwrap_err().is_cancelled());
        assert!(pool.is_shut_down());
        assert_eq!(pool.call(|| ()).try_submit().err(), Some(SubmitError::Closed));
        drop(free);
        running.join().unwrap();
        let report = pool.shutdown_blocking(PATIENCE);
        assert!(report.stuck.is_empty(), "{report}");
        until(|| threads_named("ends-thread") == 0);
    });
}

#[test]
fn what_was_submitted_is_done_though_the_pool_is_dropped() {
    watched(|| {
        let runtime = workers(1);
        let pool =
            WorkerPool::builder().threads(1).tasks(1).name("last").runtime(runtime.handle()).build().unwrap();
        let (running, free) = occupy(&pool);
        let jobs = [pool.call(|| 1).try_submit().unwrap(), pool.spawn(async { 2 }).try_submit().unwrap()];
        drop(pool.clone());
        assert_eq!(
            pool.spawn(async { 3 }).try_submit().unwrap().join().unwrap(),
            3,
            "one of two clones is enough"
        );
        drop(pool);
        drop(free);
        running.join().unwrap();
        assert_eq!(jobs.map(|job| job.join().unwrap()), [1, 2]);
        until(|| threads_named("last-thread") == 0);
        until(|| runtime.handle().tasks().is_empty());
    });
}

#[test]
fn cancel_says_what_it_did() {
    watched(|| {
        let runtime = workers(1);
        let pool = WorkerPool::builder().threads(1).tasks(1).runtime(runtime.handle()).build().unwrap();
        let (running, free) = occupy(&pool);
        let queued = pool.call(|| ()).try_submit().unwrap();
        assert_eq!((running.cancel(), queued.cancel()), (CancelOutcome::Running, CancelOutcome::NotStarted));
        drop(free);
        until(|| running.is_finished());
        assert_eq!(running.cancel(), CancelOutcome::Done);
        let (gate, told) = (Arc::new(Event::new()), Arc::new(Event::new()));
        let (opens, begins) = (gate.clone(), told.clone());
        let future = async move {
            begins.set();
            opens.wait().await;
        };
        let future = pool.spawn(future).try_submit().unwrap();
        told.wait_blocking();
        let unbegun = pool.spawn(async {}).try_submit().unwrap();
        assert_eq!(
            (unbegun.cancel(), future.cancel()),
            (CancelOutcome::NotStarted, CancelOutcome::Requested)
        );
        let error = future.join().unwrap_err();
        assert!(error.is_cancelled() && error.to_string().contains("its handle cancelled it"), "{error}");
        assert!(unbegun.join().unwrap_err().is_cancelled());
        // A callback hears of it, as of all ends.
        let (tell, heard) = mpsc::channel();
        let future = pool.spawn(std::future::pending::<()>()).try_submit().unwrap();
        future.on_done(move |result| tell.send(result.is_err()).unwrap());
        assert!(matches!(future.cancel(), CancelOutcome::NotStarted | CancelOutcome::Requested));
        assert!(heard.recv().unwrap());
    });
}

#[test]
fn mistakes_are_errors_that_say_so() {
    watched(|| {
        let error = WorkerPool::new(1, 1).unwrap_err().to_string();
        assert!(error.contains("belongs to a filch runtime"), "{error}");
        let runtime = workers(1);
        let _inside = runtime.handle().enter();
        let says = |builder: WorkerPoolBuilder, word: &str| {
            let error = builder.build().unwrap_err();
            assert_eq!(error.kind(), std::io::ErrorKind::InvalidInput);
            assert!(error.to_string().contains(word), "{error}");
        };
        says(WorkerPool::builder().threads(0), "threads, not 0");
        says(WorkerPool::builder().tasks(1 << 20), "tasks, not 1048576");
        says(WorkerPool::builder().name("a\0b"), "NUL");
        says(WorkerPool::builder().heartbeat(Duration::ZERO), "heartbeat of zero");
        says(WorkerPool::builder().restarts(0, S), "one restart at least");
        let pool = WorkerPool::new(1, 1).unwrap();
        let tokio = tokio::runtime::Builder::new_current_thread().build().unwrap();
        drop(_inside);
        let (running, free) = occupy(&pool);
        assert!(panics(|| drop(tokio.block_on(pool.shutdown(S)))).contains("no filch runtime"));
        drop(free);
        running.join().unwrap();
        pool.shutdown_blocking(PATIENCE);
    });
}

/// Runs a scenario at every await, in a task that shares its thread with the pool's.
fn drive(scenario: impl AsyncFn(filch::testing::Trial) + Copy + Send + 'static) {
    watched(move || single().block_on(cancel_at_every_await(scenario)).assert_waited());
}

#[test]
fn a_submission_that_is_dropped_leaves_nothing() {
    drive(async |trial| {
        let (gate, drops) = (Arc::new(Event::new()), Drops::new());
        let pool = WorkerPool::builder().threads(1).tasks(1).queue(1).build().unwrap();
        let opens = gate.clone();
        let running = pool.spawn(async move { opens.wait().await }).submit().await.unwrap();
        until_yielding(|| pool.health().running() == 1).await;
        let queued = pool.spawn(async {}).try_submit().unwrap();
        let token = drops.token();
        let submits = pool.spawn(async move { drop(token) }).submit();
        let opens = async {
            filch::testing::yield_now().await;
            gate.set();
        };
        let submitted = trial.beside(opens).run(submits).await;
        gate.set();
        let was_submitted = submitted.is_some();
        if let Some(job) = submitted {
            job.unwrap().await.unwrap();
        }
        running.await.unwrap();
        queued.await.unwrap();
        let report = pool.shutdown(PATIENCE).await;
        assert!(report.is_complete() && report.done == 2 + u64::from(was_submitted), "{report}");
        assert_eq!(drops.count(), 1);
    });
}

#[test]
fn a_wait_for_a_job_may_be_dropped_and_repeated() {
    drive(async |trial| {
        let gate = Arc::new(Event::new());
        let pool = WorkerPool::new(1, 1).unwrap();
        let opens = gate.clone();
        let waits = async move {
            opens.wait().await;
            7
        };
        let mut job = pool.spawn(waits).submit().await.unwrap();
        let opens = async {
            filch::testing::yield_now().await;
            gate.set();
        };
        let output = trial.beside(opens).run(&mut job).await;
        gate.set();
        let output = match output {
            Some(output) => output,
            None => job.await,
        };
        assert_eq!(output.unwrap(), 7);
        assert!(pool.shutdown(PATIENCE).await.is_complete());
    });
}

#[test]
fn a_shutdown_that_is_dropped_leaves_the_pool_closed() {
    drive(async |trial| {
        let gate = Arc::new(Event::new());
        let pool = WorkerPool::new(1, 1).unwrap();
        let opens = gate.clone();
        let job = pool.spawn(async move { opens.wait().await }).submit().await.unwrap();
        let opens = async {
            filch::testing::yield_now().await;
            gate.set();
        };
        let polled = trial.fate() != filch::testing::Fate::DroppedUnpolled;
        drop(trial.beside(opens).run(pool.shutdown(PATIENCE)).await);
        gate.set();
        assert_eq!(pool.is_shut_down(), polled);
        let report = pool.shutdown(PATIENCE).await;
        assert!(report.is_complete() && report.done == 1, "{report}");
        job.await.unwrap();
    });
}
