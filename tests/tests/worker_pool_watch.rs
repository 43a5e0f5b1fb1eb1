//! The promise: the supervisor of a worker pool hears of deaths, finds who hangs by the clock and nobody else, and
//! replaces both within its rule; the pool says how it is.
#![allow(missing_docs)]

#[path = "worker_pool/kit.rs"]
mod kit;

use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use filch::pool::{DeathCause, Job, JobContext, WorkerKind, WorkerPool, WorkerState};
use filch::time::{Instant, sleep};
use filch_tests::{Drops, PATIENCE, until, until_yielding, watched, workers};

use kit::{occupy, raise, watched_pool};

const S: Duration = Duration::from_secs(1);

#[test]
fn after_a_panic_there_is_a_fresh_worker_if_that_was_asked_for() {
    watched(|| {
        let (runtime, (builder, deaths)) = (workers(1), watched_pool());
        let builder = builder.threads(1).tasks(1).fresh_after_panic(true).runtime(runtime.handle());
        let pool = builder.build().unwrap();
        let thread = || pool.call(|| thread::current().id()).submit_blocking().unwrap().join().unwrap();
        let before = thread();
        let bad = pool.call(|| raise("half done")).name("bad").submit_blocking().unwrap();
        assert!(bad.join().unwrap_err().is_panic());
        assert_ne!(thread(), before, "another thread");
        assert!(pool.spawn(async { raise("here too") }).submit_blocking().unwrap().join().is_err());
        assert_eq!(pool.spawn(async { 2 }).submit_blocking().unwrap().join().unwrap(), 2);
        let deaths = deaths.lock().unwrap();
        let told: Vec<_> =
            deaths.iter().map(|death| (&*death.worker, death.kind, death.restart_in)).collect();
        let now = Some(Duration::ZERO);
        let expected =
            [("workers-thread-1", WorkerKind::Thread, now), ("workers-task-1", WorkerKind::Task, now)];
        assert_eq!(told, expected);
        assert!(deaths[0].to_string().contains("the job \"bad\", submitted at tests"), "{}", deaths[0]);
        let health = pool.health();
        assert_eq!((health.deaths, health.restarts), (2, 2), "{health}");
        assert!(health.is_well());
    });
}

#[filch::test(paused)]
async fn workers_are_replaced_so_often_and_no_oftener() {
    let (builder, deaths) = watched_pool();
    let builder = builder.threads(1).tasks(1).fresh_after_panic(true).restarts(2, 10 * S);
    let (pool, began) = (builder.build().unwrap(), Instant::now());
    let die = async || {
        let job = pool.spawn(async { raise("dies") }).submit().await.unwrap();
        assert!(job.await.unwrap_err().is_panic());
    };
    die().await;
    sleep(S).await;
    die().await;
    die().await;
    assert_eq!(began.elapsed(), S, "two are replaced at once");
    // Until the first of the two is ten seconds ago there is nobody.
    let waits = pool.spawn(async { 1 }).submit().await.unwrap();
    until_yielding(|| pool.health().deaths == 3).await;
    until_yielding(|| deaths.lock().unwrap().len() == 3).await;
    let down = WorkerState::Down { restart_in: Some(9 * S) };
    assert!(pool.health().workers.iter().any(|worker| worker.state == down), "{}", pool.health());
    assert!(!pool.health().is_well());
    assert_eq!(waits.await.unwrap(), 1);
    assert_eq!(began.elapsed(), 10 * S);
    let told: Vec<_> = deaths.lock().unwrap().iter().map(|death| death.restart_in).collect();
    assert_eq!(told, [Some(Duration::ZERO), Some(Duration::ZERO), Some(9 * S)]);
    // The next may be replaced when the second of them is.
    die().await;
    assert_eq!(pool.spawn(async { 2 }).submit().await.unwrap().await.unwrap(), 2);
    assert_eq!(began.elapsed(), 11 * S);
}

#[filch::test(paused)]
async fn a_future_that_hangs_is_dropped_and_its_worker_replaced() {
    let (builder, deaths) = watched_pool();
    let (pool, began) = (builder.threads(1).tasks(1).heartbeat(5 * S).build().unwrap(), Instant::now());
    let drops = Drops::new();
    let token = drops.token();
    let hangs = async move {
        let _token = token;
        std::future::pending::<()>().await;
    };
    let hangs = pool.spawn(hangs).name("hangs").submit().await.unwrap();
    let next = pool.spawn(async { 1 }).submit().await.unwrap();
    let error = hangs.await.unwrap_err();
    assert_eq!((began.elapsed(), drops.count()), (5 * S, 1));
    assert!(error.is_cancelled() && error.to_string().contains("no sign of life for 5.0s"), "{error}");
    assert_eq!(next.await.unwrap(), 1);
    assert_eq!(began.elapsed(), 5 * S, "there is another at once");
    let deaths = deaths.lock().unwrap().clone();
    let [death] = &deaths[..] else { panic!("{deaths:?}") };
    let DeathCause::Hung(job) = &death.cause else { panic!("{death}") };
    assert_eq!(
        (job.name.as_deref(), job.silent_for, death.restart_in),
        (Some("hangs"), 5 * S, Some(Duration::ZERO))
    );
    assert!(job.location.file().ends_with("worker_pool_watch.rs"));
    assert!(pool.health().hung.is_empty());
}

#[filch::test(paused)]
async fn polls_are_signs_of_life_and_a_job_may_have_another_heartbeat_or_none() {
    let (builder, deaths) = watched_pool();
    let (pool, began) = (builder.threads(1).tasks(3).heartbeat(5 * S).build().unwrap(), Instant::now());
    let lives = async {
        for _ in 0..10 {
            sleep(4 * S).await;
        }
        1
    };
    let lives = pool.spawn(lives).submit().await.unwrap();
    let sleeps = pool.spawn(sleep(3_600 * S)).heartbeat(None).submit().await.unwrap();
    let slow = pool.spawn(sleep(50 * S)).heartbeat(Some(60 * S)).submit().await.unwrap();
    assert_eq!(lives.await.unwrap(), 1);
    slow.await.unwrap();
    sleeps.await.unwrap();
    assert_eq!(began.elapsed(), 3_600 * S);
    assert!(deaths.lock().unwrap().is_empty());
}

/// A call that does what the test says by its context: it is given that, and ends when the sender goes.
async fn puppet(pool: &WorkerPool) -> (Job<bool>, JobContext, mpsc::Sender<()>) {
    let ((tell, told), (free, freed)) = (mpsc::channel(), mpsc::channel::<()>());
    let call = pool.call_with(move |job| {
        tell.send(job.clone()).unwrap();
        let _ = freed.recv();
        job.is_cancelled()
    });
    let job = call.name("puppet").submit().await.unwrap();
    (job, told.recv().unwrap(), free)
}

#[filch::test(paused)]
async fn a_call_lives_as_long_as_it_beats() {
    let (builder, deaths) = watched_pool();
    let pool = builder.threads(1).tasks(1).heartbeat(5 * S).build().unwrap();
    let (job, context, free) = puppet(&pool).await;
    for _ in 0..20 {
        sleep(3 * S).await;
        context.beat();
        assert!(!context.is_cancelled() && deaths.lock().unwrap().is_empty());
    }
    let silent = Instant::now();
    let reason = context.token().cancelled().await;
    assert!(reason.text().contains("no sign of life"), "{reason}");
    assert!(silent.elapsed() > 2 * S && silent.elapsed() <= 10 * S, "{:?}", silent.elapsed());
    // Another thread is there, though the first is still away.
    let health = pool.health();
    assert_eq!((health.hung.len(), health.running()), (1, 1), "{health}");
    let next = pool.call(|| thread::current().id()).heartbeat(None).submit().await.unwrap();
    next.await.unwrap();
    // It comes back, and its result counts.
    drop(free);
    assert!(job.await.unwrap(), "it was told to stop");
    // A thread takes no time by this clock, and a shutdown would not wait for it.
    until_yielding(|| pool.health().running() == 0).await;
    let report = pool.shutdown(PATIENCE).await;
    assert!(report.is_complete() && report.done == 2, "{report}");
}

#[filch::test(paused)]
async fn stand_ins_do_not_pile_up() {
    let (builder, deaths) = watched_pool();
    let pool = builder.threads(1).tasks(1).heartbeat(5 * S).build().unwrap();
    let (first, _, free_first) = puppet(&pool).await;
    sleep(20 * S).await;
    assert_eq!(deaths.lock().unwrap().len(), 1);
    let (second, _, free_second) = puppet(&pool).await;
    sleep(20 * S).await;
    let told: Vec<_> = deaths.lock().unwrap().iter().map(|death| death.restart_in).collect();
    assert_eq!(told, [Some(Duration::ZERO), None], "one pool of one thread has one stand-in");
    let third = pool.call(|| 3).heartbeat(None).submit().await.unwrap();
    sleep(3_600 * S).await;
    assert!(!third.is_finished());
    assert_eq!(pool.health().hung.len(), 2);
    // One comes back: then there is room for another.
    drop(free_first);
    assert_eq!(third.await.unwrap(), 3);
    assert!(first.await.unwrap());
    drop(free_second);
    assert!(second.await.unwrap());
}

#[filch::test(paused)]
async fn nobody_looks_when_there_is_nothing_to_see() {
    let pool = WorkerPool::builder().threads(2).tasks(2).heartbeat(S).build().unwrap();
    assert_eq!(pool.spawn(async { 1 }).submit().await.unwrap().await.unwrap(), 1);
    let polls = || {
        let tasks = filch::Handle::current().tasks();
        tasks.iter().find(|task| task.name.as_deref() == Some("workers-supervisor")).unwrap().polls
    };
    sleep(10 * S).await;
    let before = polls();
    sleep(3_600 * S).await;
    assert_eq!(polls(), before, "in an hour");
}

#[test]
fn health_says_who_does_what() {
    watched(|| {
        let runtime = workers(1);
        let pool =
            WorkerPool::builder().threads(2).tasks(1).name("h").runtime(runtime.handle()).build().unwrap();
        let line = line!() + 1;
        let free = pool.call(|| 1).name("quick").submit_blocking().unwrap();
        free.join().unwrap();
        let (running, free) = occupy(&pool);
        until(|| pool.health().done == 1);
        let health = pool.health();
        let names: Vec<_> = health.workers.iter().map(|worker| &*worker.name).collect();
        assert_eq!(names, ["h-thread-1", "h-thread-2", "h-task-1"]);
        let busy: Vec<_> = health
            .workers
            .iter()
            .filter_map(|worker| match &worker.state {
                WorkerState::Busy(job) => Some((job.location.line(), worker.kind)),
                _ => None,
            })
            .collect();
        assert!(matches!(busy[..], [(at, WorkerKind::Thread)] if at != line), "{health}");
        assert!(
            health.open && health.is_well() && health.to_string().contains("h-task-1 is idle"),
            "{health}"
        );
        assert_eq!(health.workers.iter().map(|worker| worker.done).sum::<u64>(), 1);
        drop(free);
        running.join().unwrap();
    });
}
