//! Rows 72 to 83: pools of threads, queues of jobs, workers that are watched, and Web Workers.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::thread;
use std::time::{Duration, Instant};

use filch::gather::as_completed_keyed;
use filch::limit::Limiter;
use filch::pool::{CancelOutcome, SubmitError, TaskQueue, ThreadPool, Worker, WorkerError, WorkerPool};
use filch::stream::StreamExt;
use filch::sync::Event;
use filch::time::{self, sleep};
use filch::{as_completed, gather, pool};

use super::Half::{Tasks, Threads};
use super::help::{
    BRIEFLY, LONG, Leaves, Log, demo_on_tasks, demo_on_threads, ms, on_tasks, paused, raise, raised,
    two_workers,
};
use super::{Check, row};
use crate::background_queue;
use crate::story::Story;

pub(super) const CHECKS: &[Check] = &[
    row(72, Threads, submit_on_threads),
    row(72, Tasks, submit),
    row(73, Threads, map_on_threads),
    row(73, Tasks, map),
    row(74, Threads, completed_on_threads),
    row(74, Tasks, completed),
    row(75, Threads, keyed_on_threads),
    row(75, Tasks, keyed),
    row(76, Threads, shutdown_on_threads),
    row(76, Tasks, shutdown),
    row(77, Threads, reuse),
    row(78, Threads, background_on_threads),
    row(78, Tasks, background),
    row(79, Tasks, async_queue),
    row(80, Threads, worker_pool_on_threads),
    row(80, Tasks, worker_pool),
    row(81, Tasks, supervised),
    row(82, Threads, forced_on_threads),
    row(82, Tasks, forced),
    row(83, Threads, web_worker),
];

fn threads(count: usize) -> ThreadPool {
    ThreadPool::new(count).expect("threads can be started")
}

fn submit_on_threads(story: &mut Story) {
    let (pool, log) = (threads(1), Log::default());
    let jobs: Vec<_> = (1..=4_u32)
        .map(|n| {
            let log = log.clone();
            pool.submit(move || {
                log.note(n);
                (n * n, thread::current().id())
            })
        })
        .collect();
    let results: Vec<_> = jobs.into_iter().map(|job| job.join().expect("no job panics")).collect();
    story.equal("a thread takes the jobs first come, first served", log.told().as_str(), "1 2 3 4");
    story.equal(
        "each has its result",
        results.iter().map(|result| result.0).collect::<Vec<_>>(),
        vec![1, 4, 9, 16],
    );
    story.is("all on the one thread", results.iter().all(|result| result.1 == results[0].1));
    let (release, released) = mpsc::channel::<()>();
    let running = pool.submit(move || released.recv().is_err());
    let waiting = pool.submit(|| ());
    story.equal("one that has not begun can be cancelled", waiting.cancel(), CancelOutcome::NotStarted);
    drop(release);
    story.equal("and the other goes on", running.join().ok(), Some(true));
}

fn submit(story: &mut Story) {
    let (pool, peak) = (threads(2), Arc::new((AtomicU32::new(0), AtomicU32::new(0))));
    let results = on_tasks(async {
        let mut jobs = Vec::new();
        for n in 1..=6_u32 {
            let peak = peak.clone();
            let job = pool.submit_async(move || {
                peak.1.fetch_max(peak.0.fetch_add(1, Ordering::Relaxed) + 1, Ordering::Relaxed);
                thread::yield_now();
                peak.0.fetch_sub(1, Ordering::Relaxed);
                n * n
            });
            jobs.push(job.await);
        }
        gather(jobs).await
    });
    let results: Vec<_> = results.into_iter().map(|result| result.expect("no job panics")).collect();
    story.equal("a task awaits each job", results, vec![1, 4, 9, 16, 25, 36]);
    let most = peak.1.load(Ordering::Relaxed);
    story.holds("never more at a time than there are threads", most <= 2, most);
}

fn map_on_threads(story: &mut Story) {
    let (pool, began) = (threads(2), Arc::new(AtomicU32::new(0)));
    let counts = began.clone();
    let mut squares = pool.map(1.., move |n: u64| {
        counts.fetch_add(1, Ordering::Relaxed);
        if n == 3 { raise("three") } else { n * n }
    });
    story.equal("nothing runs before the first is asked for", began.load(Ordering::Relaxed), 0);
    let four: Vec<_> =
        squares.by_ref().take(4).map(|square| square.map_err(|error| raised(error.into_panic()))).collect();
    let expected = vec![Ok(1), Ok(4), Err("three"), Ok(16)];
    story.equal("in the order of the input, a failure in its place", four, expected);
    drop(squares);
    let ahead = began.load(Ordering::Relaxed);
    story.holds("of endless input, only a few more were begun", ahead <= 4 + 4, ahead);
}

fn map(story: &mut Story) {
    let log = Log::default();
    paused(async {
        let begun = |n: u64| {
            let log = log.clone();
            async move {
                log.note(n);
                sleep(ms(50 - 10 * n)).await;
                n * n
            }
        };
        let tasks = (1..=3).map(|n| filch::spawn(begun(n)));
        let mut squares = Vec::new();
        for task in tasks.collect::<Vec<_>>() {
            squares.push(task.await.expect("no panic"));
        }
        story.equal("in the order of the input, though the last is done first", squares, vec![1, 4, 9]);
        let mut lazy = filch::stream::iter(4..).map(begun);
        story.equal("a stream of them is lazy", log.len(), 3);
        let fourth = lazy.next().await.expect("it has no end").await;
        story.equal("and makes one when it is asked", (fourth, log.len()), (16, 4));
    });
}

fn completed_on_threads(story: &mut Story) {
    let pool = threads(2);
    let (release, released) = mpsc::channel();
    // The first can only end when the second has.
    let first = pool.submit(move || released.recv().map(|()| "first"));
    let second = pool.submit(|| Ok("second"));
    let mut order = Vec::new();
    for result in pool::as_completed([first, second]) {
        order.push(result.expect("no job panics").expect("it is released"));
        let _ = release.send(());
    }
    story.equal("in the order in which they are done", order, vec!["second", "first"]);
}

fn completed(story: &mut Story) {
    let order: Vec<_> = paused(async {
        let sleeps = [30, 10, 20].map(|n| async move {
            sleep(ms(n)).await;
            n
        });
        as_completed(sleeps).collect().await
    });
    story.equal("in the order in which they are done", order, vec![10, 20, 30]);
}

/// An address, how long it takes, and what comes of it.
const PAGES: [(&str, u64, Result<u16, &str>); 3] =
    [("/a", 30, Ok(200)), ("/b", 10, Err("refused")), ("/c", 20, Ok(404))];

fn keyed_on_threads(story: &mut Story) {
    let pool = threads(3);
    let jobs = PAGES.map(|(url, _, result)| pool.submit(move || (url, result)));
    let mut results: Vec<_> =
        Iterator::map(pool::as_completed(jobs), |job| job.expect("no job panics")).collect();
    results.sort_unstable_by_key(|(url, _)| *url);
    let expected = vec![("/a", Ok(200)), ("/b", Err("refused")), ("/c", Ok(404))];
    story.equal("whichever is done first, each result has its address", results, expected);
}

fn keyed(story: &mut Story) {
    let results: Vec<_> = paused(async {
        let fetches = PAGES.map(|(url, latency, result)| {
            (url, async move {
                sleep(ms(latency)).await;
                result
            })
        });
        as_completed_keyed(fetches).collect().await
    });
    let expected = vec![("/b", Err("refused")), ("/c", Ok(404)), ("/a", Ok(200))];
    story.equal("as they are done, each result has its address", results, expected);
}

fn shutdown_on_threads(story: &mut Story) {
    let (pool, done) = (threads(2), Arc::new(AtomicU32::new(0)));
    for _ in 0..20 {
        let done = done.clone();
        drop(pool.submit(move || {
            thread::yield_now();
            done.fetch_add(1, Ordering::Relaxed);
        }));
    }
    let report = pool.shutdown(LONG);
    story.equal("it waits for all that was submitted", done.load(Ordering::Relaxed), 20);
    story.equal("and says so", (report.is_complete(), report.finished), (true, 20));
    story.is("after that nothing is taken on", pool.try_submit(|| ()).is_err());
}

fn shutdown(story: &mut Story) {
    let (log, runtime) = (Log::default(), two_workers());
    let waits = Arc::new(Event::new());
    let tasks = [(); 3].map(|()| {
        let (log, waits) = (log.clone(), waits.clone());
        runtime.spawn(async move {
            waits.wait().await;
            log.note("done");
        })
    });
    waits.set();
    runtime.block_on(async { gather(tasks).await });
    story.equal("tasks are waited for by gathering them", log.told().as_str(), "done done done");
    let handle = runtime.handle().clone();
    let report = runtime.shutdown(LONG);
    story.equal("then a shutdown has nothing to cancel", (report.cancelled, report.abandoned.len()), (0, 0));
    let refused = handle.spawn(async {}).join_blocking().is_err_and(|error| error.is_cancelled());
    story.is("after that nothing is taken on", refused);
}

fn reuse(story: &mut Story) {
    const JOBS: u32 = 300;
    let began = Instant::now();
    let mut ids = std::collections::HashSet::new();
    for n in 0..JOBS {
        let (id, result) = thread::spawn(move || (thread::current().id(), n)).join().expect("no panic");
        ids.insert((id, result - n));
    }
    let (a_thread_each, threads_each) = (began.elapsed(), ids.len());
    let (pool, began) = (threads(2), Instant::now());
    let jobs: Vec<_> = (0..JOBS).map(|_| pool.submit(|| thread::current().id())).collect();
    let ids: std::collections::HashSet<_> =
        jobs.into_iter().map(|job| job.join().expect("no panic")).collect();
    let pooled = began.elapsed();
    story.equal("a thread for each job: threads started", threads_each, JOBS as usize);
    story.holds("a pool of two: threads that did them", ids.len() <= 2, ids.len());
    let each = |took: Duration| took / JOBS;
    story.note(format_args!(
        "a job costs {:.1?} with a thread of its own, {:.1?} in the pool",
        each(a_thread_each),
        each(pooled)
    ));
}

/// Two workers and five tasks, of which the third fails and the fourth panics: who failed, by what it said.
fn with_failures() -> (TaskQueue, Log) {
    let log = Log::default();
    let told = log.clone();
    let queue = TaskQueue::builder().workers(2).on_error(move |failure| told.note(failure));
    (queue.build().expect("two threads can be started"), log)
}

fn fails(number: u32, done: &AtomicU32) -> Result<(), &'static str> {
    match number {
        3 => Err("no disk"),
        4 => raise("no memory"),
        _ => {
            done.fetch_add(1, Ordering::Relaxed);
            Ok(())
        }
    }
}

fn tell_failures(story: &mut Story, queue: &TaskQueue, done: &AtomicU32, log: &Log) {
    story.part("`TaskQueue`, as filch has it");
    let (done, told) = (done.load(Ordering::Relaxed), log.told());
    story.equal("done, of five of which two fail; and unfinished", (done, queue.unfinished()), (3, 0));
    let both = log.len() == 2 && told.contains("no disk") && told.contains("no memory");
    story.holds("the hook hears of both", both, told);
}

fn background_on_threads(story: &mut Story) {
    demo_on_threads(background_queue::Plan::default(), story);
    let ((queue, log), done) = (with_failures(), Arc::new(AtomicU32::new(0)));
    for number in 1..=5 {
        let done = done.clone();
        queue.submit(move || fails(number, &done)).expect("it is open");
    }
    queue.wait_blocking();
    tell_failures(story, &queue, &done, &log);
}

fn background(story: &mut Story) {
    demo_on_tasks(background_queue::Plan::default(), story);
    let ((queue, log), done) = (with_failures(), Arc::new(AtomicU32::new(0)));
    on_tasks(async {
        for number in 1..=5 {
            let done = done.clone();
            queue.submit_async(move || fails(number, &done)).await.expect("it is open");
        }
        queue.wait().await;
    });
    tell_failures(story, &queue, &done, &log);
}

fn async_queue(story: &mut Story) {
    paused(async {
        let (queue, log, began) = (Limiter::new(2), Log::default(), time::Instant::now());
        let push = |name: &'static str, latency| {
            let log = log.clone();
            queue.run(async move {
                log.note(name);
                sleep(ms(latency)).await;
                if name == "b" { Err("failed") } else { Ok(name) }
            })
        };
        let results = gather([push("a", 100), push("b", 50), push("c", 50), push("d", 10)]).await;
        story.equal(
            "each push gives the result of its task",
            results,
            vec![Ok("a"), Err("failed"), Ok("c"), Ok("d")],
        );
        story.equal("admitted first in, first out", log.told().as_str(), "a b c d");
        story.equal("two at a time; the slot of the one that failed is used again", began.elapsed(), ms(110));
    });
}

/// A pool for each, of a runtime with two workers.
fn worker_pool_of(runtime: &filch::Runtime) -> WorkerPool {
    let builder = WorkerPool::builder().threads(2).tasks(2).queue(8).runtime(runtime.handle());
    builder.grace(BRIEFLY).build().expect("two threads can be started")
}

fn worker_pool_on_threads(story: &mut Story) {
    let runtime = two_workers();
    let workers = worker_pool_of(&runtime);
    let blocking = workers.call(|| 6 * 7).submit_timeout(LONG).map(|job| job.join().ok());
    story.equal("a function runs on a thread", blocking, Ok(Some(42)));
    let task = workers.spawn(async { 7 }).submit_timeout(LONG).map(|mut job| job.join_timeout(LONG));
    let task = task.map(|result| result.and_then(Result::ok));
    story.equal("a future runs as a task; a thread waits for it, with a time limit", task, Ok(Some(7)));
    let mut never = workers.spawn(std::future::pending::<u32>()).submit_blocking().expect("it is open");
    story.is("which may be over first", never.join_timeout(BRIEFLY).is_none());
    let report = workers.shutdown_blocking(Duration::ZERO);
    story.equal(
        "a shutdown that does not wait drops what is left",
        (report.stopped, report.stuck.len()),
        (1, 0),
    );
    story.equal(
        "when it stops it takes on nothing",
        workers.call(|| 1).submit_blocking().err(),
        Some(SubmitError::Closed),
    );
}

fn worker_pool(story: &mut Story) {
    on_tasks(async {
        let workers =
            WorkerPool::builder().threads(2).tasks(2).queue(8).build().expect("two threads can be started");
        let both = (workers.call(|| 6 * 7).submit().await, workers.spawn(async { 7 }).submit().await);
        let both = (both.0.expect("it is open").await, both.1.expect("it is open").await);
        story.equal(
            "a task awaits a function and a future alike",
            (both.0.ok(), both.1.ok()),
            (Some(42), Some(7)),
        );
        let failed = workers.call(|| raise::<u32>("boom")).submit().await.expect("it is open").await;
        story.equal(
            "one that panics has an error",
            failed.map_err(|error| raised(error.into_panic())),
            Err("boom"),
        );
        let inside = Arc::new((AtomicU32::new(0), AtomicU32::new(0)));
        let mut jobs = Vec::new();
        // Two run and eight wait: whoever submits the last two waits for room.
        for _ in 0..12 {
            let inside = inside.clone();
            let job = async move {
                inside.1.fetch_max(inside.0.fetch_add(1, Ordering::Relaxed) + 1, Ordering::Relaxed);
                filch::yield_now().await;
                inside.0.fetch_sub(1, Ordering::Relaxed);
            };
            jobs.push(workers.spawn(job).submit().await.expect("it is open"));
        }
        let done = gather(jobs).await;
        story.is("all are done", done.iter().all(Result::is_ok));
        let most = inside.1.load(Ordering::Relaxed);
        story.holds("so many tasks at a time as it has async workers", most <= 2, most);
        let report = workers.shutdown(LONG).await;
        story.equal("a shutdown ends, though its workers were waiting for jobs", report.done, 14);
        story.equal(
            "when it stops it takes on nothing",
            workers.spawn(async {}).submit().await.err(),
            Some(SubmitError::Closed),
        );
    });
}

fn supervised(story: &mut Story) {
    let (log, told) = (Log::default(), Log::default());
    let (deaths, health, began) = paused(async {
        let (hook, began) = (told.clone(), time::Instant::now());
        let builder = WorkerPool::builder().threads(1).tasks(1).fresh_after_panic(true).heartbeat(ms(5_000));
        let on_death =
            move |death: &pool::Death| hook.note(format_args!("{}:{:?}", death.worker, began.elapsed()));
        let pool = builder.on_death(on_death).build().expect("a thread can be started");
        // Each job is done by the one worker, or by the next, if that one has died of the job before.
        let mut jobs = Vec::new();
        for job in ["a", "poison", "b", "poison", "c"] {
            let log = log.clone();
            let work = async move {
                if job == "poison" {
                    raise::<()>("poisoned");
                }
                log.note(job);
            };
            jobs.push(pool.spawn(work).submit().await.expect("it is open"));
        }
        let deaths: Vec<_> = gather(jobs).await.into_iter().filter_map(Result::err).collect();
        let health = pool.health();
        // One that gives no sign of life is found by the clock.
        let hung = pool.spawn(std::future::pending::<()>()).submit().await.expect("it is open");
        assert!(hung.await.is_err());
        (deaths, health, began.elapsed())
    });
    story.equal(
        "what does not kill a worker is done, by the next one if need be",
        log.told().as_str(),
        "a b c",
    );
    let why: Vec<_> = deaths.into_iter().map(|death| raised(death.into_panic())).collect();
    story.equal("each death is seen, with its reason", why, vec!["poisoned", "poisoned"]);
    story.equal("deaths, and workers that took the place", (health.deaths, health.restarts), (2, 2));
    let name = "workers-task-1";
    story.equal(
        "at once: no time has passed; and who hangs is found when its heartbeat is over",
        told.told(),
        format!("{name}:0ns {name}:0ns {name}:5s"),
    );
    story.equal("which takes that time", began, ms(5_000));
}

fn forced_on_threads(story: &mut Story) {
    let pool = threads(1);
    let (begun, has_begun) = mpsc::channel();
    let (release, released) = mpsc::channel::<()>();
    let stuck = pool.submit(move || {
        let _ = begun.send(());
        released.recv().is_err()
    });
    has_begun.recv().expect("it begins");
    let queued = pool.submit(|| ());
    let report = pool.shutdown(BRIEFLY);
    story.equal("what waits is cancelled when the time is up", report.cancelled, 1);
    story.equal("what runs is named", report.unfinished.len(), 1);
    story.is(
        "whoever joins what was cancelled is told",
        queued.join().is_err_and(|error| error.is_cancelled()),
    );
    drop(release);
    story.equal("a thread cannot be forced, and goes on to its end", stuck.join().ok(), Some(true));
}

fn forced(story: &mut Story) {
    let log = Log::default();
    let (stuck, report, waiting) = paused(async {
        let pool = WorkerPool::new(1, 1).expect("a thread can be started");
        let leaves = Leaves("dropped", log.clone());
        let stuck = async move {
            let _leaves = leaves;
            std::future::pending::<()>().await;
        };
        let stuck = pool.spawn(stuck).submit().await.expect("it is open");
        let waiting = pool.spawn(async {}).submit().await.expect("it is open");
        let began = time::Instant::now();
        let report = pool.shutdown(ms(2_000)).await;
        story.equal("it drains, and no longer than its time limit", began.elapsed(), ms(2_000));
        (stuck.await, report, waiting.await)
    });
    story.equal(
        "then it is forced: stopped, cancelled, and none left to itself",
        (report.stopped, report.cancelled, report.stuck.len()),
        (1, 1, 0),
    );
    let told =
        stuck.is_err_and(|error| error.is_cancelled()) && waiting.is_err_and(|error| error.is_cancelled());
    story.is("whoever waits for either is told so", told);
    story.equal("what it held is", log.told().as_str(), "dropped");
}

fn web_worker(story: &mut Story) {
    let ((messages, on_message), (errors, on_error)) = (mpsc::channel(), mpsc::channel());
    // Its own state: nobody else can see it.
    let mut calls = 0;
    let worker = Worker::builder()
        .on_message(move |answer| {
            let _ = messages.send(answer);
        })
        .on_error(move |error: &WorkerError| drop(errors.send(error.to_string())))
        .start(move |message: String| {
            calls += 1;
            if message.is_empty() { raise("no message") } else { (calls, message.len()) }
        })
        .expect("a thread can be started");
    let mine = "hello".to_string();
    worker.post(mine.clone()).expect("it listens");
    story.equal("`postMessage` and `onmessage`", on_message.recv_timeout(LONG), Ok((1, 5)));
    story.equal("what was sent was a copy", mine.as_str(), "hello");
    worker.post(String::new()).expect("it listens");
    let error = on_error.recv_timeout(LONG).unwrap_or_default();
    story.holds("`onerror`", error.ends_with("no message"), error);
    worker.post("again".into()).expect("it listens");
    story.equal("after which it still listens", on_message.recv_timeout(LONG), Ok((3, 5)));
    worker.terminate();
    let ended = worker.ended_timeout(LONG) && worker.post("late".into()).is_err();
    story.is("`terminate`: it takes no more messages, and ends", ended);
    story.is("with it its hooks", on_message.recv_timeout(LONG) == Err(RecvTimeoutError::Disconnected));
}
