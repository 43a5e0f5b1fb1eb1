//! Rows 1 to 14: threads, tasks and futures, from start to end.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use filch::channel::oneshot;
use filch::pool::{CancelOutcome, ThreadPool};
use filch::sync::{Barrier, Event};
use filch::time::{Instant, sleep};
use filch::{Builder, Handle, PanicPolicy, gather, try_gather, wait_for};

use super::Half::{Tasks, Threads};
use super::help::{BRIEFLY, LONG, Leaves, Log, ms, paused, raise, raised, two_workers, until};
use super::{Check, row};
use crate::story::{Story, each_thread};

pub(super) const CHECKS: &[Check] = &[
    row(1, Threads, fan_out_on_threads),
    row(1, Tasks, fan_out),
    row(2, Threads, daemon_thread),
    row(2, Tasks, daemon_task),
    row(3, Tasks, lazy),
    row(4, Tasks, run_cleans_up),
    row(5, Threads, one_after_the_other_on_threads),
    row(5, Tasks, one_after_the_other),
    row(6, Threads, start_then_join),
    row(6, Tasks, spawn_then_await),
    row(7, Threads, join_all_on_threads),
    row(7, Tasks, gather_in_order),
    row(8, Threads, settled_on_threads),
    row(8, Tasks, settled),
    row(9, Threads, promise_on_threads),
    row(9, Tasks, promise),
    row(10, Threads, result_with_timeout_on_threads),
    row(10, Tasks, result_with_timeout),
    row(11, Threads, done_on_threads),
    row(11, Tasks, done),
    row(12, Threads, cancel_on_threads),
    row(12, Tasks, cancel),
    row(13, Threads, callback_on_threads),
    row(13, Tasks, callback),
    row(14, Threads, forget_on_threads),
    row(14, Tasks, forget),
];

fn fan_out_on_threads(story: &mut Story) {
    let (log, all_run) = (Log::default(), Barrier::new(5));
    let doubled = each_thread(5, |who| {
        // Nobody gets past this before all five have been started.
        all_run.wait_blocking();
        log.note(who);
        2 * who
    });
    story.equal("five threads run at once, and are joined by number", doubled, vec![0, 2, 4, 6, 8]);
    story.equal("all had come to their end when the joins were over", log.len(), 5);
}

fn fan_out(story: &mut Story) {
    let (order, took) = paused(fan_out_of_sleepers());
    story.equal("each of five sleeps half a second longer: they end", order.as_str(), "0 1 2 3 4");
    story.equal("together they take as long as the longest", took, ms(2_000));
}

async fn fan_out_of_sleepers() -> (String, Duration) {
    let (log, began) = (Log::default(), Instant::now());
    let tasks: Vec<_> = (0..5_u64)
        .map(|who| {
            let log = log.clone();
            filch::spawn(async move {
                sleep(ms(500) * who as u32).await;
                log.note(who);
            })
        })
        .collect();
    for task in tasks {
        task.await.expect("no task panics");
    }
    (log.told(), began.elapsed())
}

fn daemon_thread(story: &mut Story) {
    let (runtime, (begun, has_begun), (release, released)) =
        (two_workers(), mpsc::channel(), mpsc::channel());
    drop(runtime.spawn_blocking(move || {
        let _ = begun.send(());
        // Until the other end is dropped, which is after the runtime has gone.
        let _: Result<(), _> = released.recv();
    }));
    has_begun.recv().expect("the thread begins");
    let report = runtime.shutdown(Duration::ZERO);
    story.equal("threads that the runtime leaves behind when it ends", report.abandoned.len(), 1);
    drop(release);
}

fn daemon_task(story: &mut Story) {
    let (log, begun) = (Log::default(), Arc::new(Event::new()));
    let runtime = two_workers();
    drop(runtime.spawn({
        let (leaves, begun) = (Leaves("dropped", log.clone()), begun.clone());
        async move {
            let _leaves = leaves;
            begun.set();
            std::future::pending::<()>().await;
        }
    }));
    begun.wait_blocking();
    let report = runtime.shutdown(LONG);
    story.equal("tasks that a runtime cancels at its end", report.cancelled, 1);
    story.equal("and what they held is", log.told().as_str(), "dropped");
}

fn lazy(story: &mut Story) {
    async fn coroutine(log: Log) -> u32 {
        log.note("runs");
        7
    }
    let log = Log::default();
    let called = coroutine(log.clone());
    story.equal("the call runs nothing", log.len(), 0);
    story.equal("awaited, it gives", paused(called), 7);
    story.equal("and has run", log.told().as_str(), "runs");
}

fn run_cleans_up(story: &mut Story) {
    let log = Log::default();
    story.is("there is no loop before", Handle::try_current().is_none());
    let result = filch::run(async {
        let (left_over, begun) = (Leaves("cancelled", log.clone()), Arc::new(Event::new()));
        let begins = begun.clone();
        drop(filch::spawn(async move {
            let _left_over = left_over;
            begins.set();
            std::future::pending::<()>().await;
        }));
        begun.wait().await;
        log.note("main");
        Handle::try_current().is_some()
    });
    story.is("main runs in a loop", result);
    story.equal("what is left over is cancelled before `run` returns", log.told().as_str(), "main cancelled");
    story.is("there is no loop after", Handle::try_current().is_none());
}

fn one_after_the_other_on_threads(story: &mut Story) {
    let log = Log::default();
    for name in ["a", "b"] {
        let log = log.clone();
        let fetch = thread::spawn(move || {
            log.note(format_args!("{name}-begins"));
            thread::yield_now();
            log.note(format_args!("{name}-ends"));
        });
        fetch.join().expect("no thread panics");
    }
    let expected = "a-begins a-ends b-begins b-ends";
    story.equal("a thread that is joined before the next one starts", log.told().as_str(), expected);
}

fn one_after_the_other(story: &mut Story) {
    async fn fetch(latency: Duration) -> Duration {
        sleep(latency).await;
        latency
    }
    let (sum, took, together) = paused(async {
        let began = Instant::now();
        let sum = fetch(ms(100)).await + fetch(ms(200)).await;
        let took = began.elapsed();
        let began = Instant::now();
        filch::gather!(fetch(ms(100)), fetch(ms(200)));
        (sum, took, began.elapsed())
    });
    story.equal("one after the other they take the sum of the latencies", took, sum);
    story.equal("together they take the longest", together, ms(200));
}

fn start_then_join(story: &mut Story) {
    let (says, hears) = mpsc::channel();
    let started = thread::spawn(move || says.send("at once").map(|()| 7));
    story.equal("a thread runs before anybody joins it", hears.recv(), Ok("at once"));
    // `join` takes the handle, so there is no second result: the compiler sees to "once".
    story.equal("its result", started.join().expect("it does not panic"), Ok(7));
    let failed = thread::spawn(|| raise::<()>("no such page")).join();
    story.equal("or what it raised", failed.map_err(raised), Err("no such page"));
}

fn spawn_then_await(story: &mut Story) {
    let log = Log::default();
    let (result, failed, took) = paused(async {
        let began = Instant::now();
        let task = |name: &'static str, latency| {
            let log = log.clone();
            filch::spawn(async move {
                log.note(name);
                sleep(latency).await;
                name.len()
            })
        };
        let (first, second) = (task("first", ms(100)), task("second", ms(200)));
        filch::yield_now().await;
        sleep(ms(1)).await;
        log.note("awaited");
        let result = (first.await.expect("no panic"), second.await.expect("no panic"));
        let failed = filch::spawn(async { raise::<()>("no such page") }).await;
        (result, failed.map_err(|error| raised(error.into_panic())), began.elapsed())
    });
    let told = log.told();
    story.holds("both were scheduled before they were awaited", told.ends_with("awaited"), told);
    story.equal("they run side by side", took, ms(200));
    story.equal("their results", result, (5, 6));
    story.equal("or what one raised", failed, Err("no such page"));
}

fn join_all_on_threads(story: &mut Story) {
    // The first is the last to end, and yet its result is the first.
    let (ends, may_end) = mpsc::channel();
    let first = thread::spawn(move || may_end.recv().expect("the second ends"));
    let second = thread::spawn(move || ends.send("first").map(|()| "second"));
    let all = [first.join().expect("no panic"), second.join().expect("no panic").expect("it is heard")];
    story.equal("results in the order of the arguments", all, ["first", "second"]);

    let (goes_on, seen) = mpsc::channel();
    let fails = thread::spawn(|| raise::<()>("boom"));
    let other = thread::spawn(move || seen.recv().is_ok());
    story.equal("a failure is seen at its join", fails.join().map_err(raised), Err("boom"));
    goes_on.send(()).expect("the other still runs");
    story.is("while the other goes on", other.join().expect("no panic"));
}

fn gather_in_order(story: &mut Story) {
    paused(async {
        let latencies = [30, 10, 20].map(|n| async move {
            sleep(ms(n)).await;
            n
        });
        story.equal("results in the order of the arguments", gather(latencies).await, vec![30, 10, 20]);

        let began = Instant::now();
        let other_ended = Arc::new(AtomicBool::new(false));
        let fails = filch::spawn(async {
            sleep(ms(10)).await;
            raise::<()>("boom")
        });
        let other = filch::spawn({
            let ended = other_ended.clone();
            async move {
                sleep(ms(50)).await;
                ended.store(true, Ordering::Relaxed);
            }
        });
        let failed = try_gather([fails, other]).await.map_err(|error| raised(error.into_panic()));
        story.equal("the first failure", failed, Err("boom"));
        story.equal("comes at once", began.elapsed(), ms(10));
        sleep(ms(100)).await;
        story.is("the other, a task, goes on to its end", other_ended.load(Ordering::Relaxed));

        let log = Log::default();
        let children = ["one", "two"].map(|name| {
            let leaves = Leaves(name, log.clone());
            async move {
                let _leaves = leaves;
                sleep(LONG).await;
            }
        });
        let cancelled = wait_for(gather(children), ms(5)).await.is_err();
        story.is("a gather is cancelled", cancelled);
        story.equal("and with it all its children", log.told().as_str(), "one two");
    });
}

fn settled_on_threads(story: &mut Story) {
    let works: [fn() -> u32; 3] = [|| 1, || raise("two"), || 3];
    let threads = works.map(thread::spawn);
    let settled = threads.map(|thread| thread.join().map_err(raised));
    story.equal("each has its value or its failure, in its place", settled, [Ok(1), Err("two"), Ok(3)]);
}

fn settled(story: &mut Story) {
    let settled = paused(async {
        gather((1..=3).map(|n| async move { if n == 2 { raise("two") } else { n } })).settled().await
    });
    let settled: Vec<_> =
        settled.into_iter().map(|one| one.map_err(|error| raised(error.into_panic()))).collect();
    story.equal("each has its value or its failure, in its place", settled, vec![Ok(1), Err("two"), Ok(3)]);
}

/// A promise is a channel for one result: its sender resolves or rejects it, once, for that takes the sender.
type Settled = Result<u32, &'static str>;

fn promise_on_threads(story: &mut Story) {
    let (resolve, mut future) = oneshot::channel::<Settled>();
    story.is("at first it is pending", future.recv_timeout(BRIEFLY).is_err() && future.is_empty());
    thread::spawn(move || resolve.send(Ok(7))).join().expect("no panic").expect("somebody listens");
    story.equal("it is resolved by another thread", future.recv_blocking(), Ok(Ok(7)));
    let (reject, future) = oneshot::channel::<Settled>();
    reject.send(Err("no")).expect("somebody listens");
    story.equal("or rejected", future.recv_blocking(), Ok(Err("no")));
    let (forgotten, future) = oneshot::channel::<Settled>();
    drop(forgotten);
    story.is("one that nobody will settle says so", future.recv_blocking().is_err());
}

fn promise(story: &mut Story) {
    paused(async {
        let (resolve, mut future) = oneshot::channel::<Settled>();
        story.is("at first it is pending", wait_for(&mut future, ms(5)).await.is_err() && future.is_empty());
        filch::spawn(async move { resolve.send(Ok(7)) }).await.expect("no panic").expect("somebody listens");
        story.equal("it is resolved by another task", future.await, Ok(Ok(7)));
        let (reject, future) = oneshot::channel::<Settled>();
        reject.send(Err("no")).expect("somebody listens");
        story.equal("or rejected", future.await, Ok(Err("no")));
        let (forgotten, future) = oneshot::channel::<Settled>();
        drop(forgotten);
        story.is("one that nobody will settle says so", future.await.is_err());
    });
}

fn result_with_timeout_on_threads(story: &mut Story) {
    let runtime = two_workers();
    let (release, released) = oneshot::channel::<u32>();
    let mut handle = runtime.spawn(released);
    story.is("no result in time", handle.join_timeout(BRIEFLY).is_none());
    release.send(7).expect("the task is still there");
    let result = handle.join_timeout(LONG).map(|result| result.expect("no panic"));
    story.equal("the task lived on: its result", result, Some(Ok(7)));
    let mut fails = runtime.spawn(async { raise::<()>("boom") });
    let failed = fails.join_timeout(LONG).map(|result| result.map_err(|error| raised(error.into_panic())));
    story.equal("what a task raises is raised here", failed, Some(Err("boom")));
}

fn result_with_timeout(story: &mut Story) {
    paused(async {
        let mut handle = filch::spawn(async {
            sleep(ms(50)).await;
            7
        });
        story.is("no result in time", wait_for(&mut handle, ms(10)).await.is_err());
        let result = wait_for(&mut handle, LONG).await.expect("it is done by then");
        story.equal("the task lived on: its result", result.expect("no panic"), 7);
        let failed = wait_for(filch::spawn(async { raise::<()>("boom") }), LONG).await.expect("at once");
        let failed = failed.map_err(|error| raised(error.into_panic()));
        story.equal("what a task raises is raised here", failed, Err("boom"));
    });
}

fn done_on_threads(story: &mut Story) {
    let (release, released) = mpsc::channel::<()>();
    let thread = thread::spawn(move || released.recv().is_err());
    story.is("a thread at work is not done", !thread.is_finished());
    drop(release);
    until(|| thread.is_finished());
    story.is("one that has ended is", thread.join().expect("no panic"));
    let pool = ThreadPool::new(1).expect("a thread can be started");
    let (release, released) = mpsc::channel::<()>();
    let busy = pool.submit(move || released.recv().is_err());
    let queued = pool.submit(|| ());
    story.is("a job that waits is not", !busy.is_finished() && !queued.is_finished());
    story.equal("it is cancelled", queued.cancel(), CancelOutcome::NotStarted);
    story.is("then it is done", queued.is_finished() && !busy.is_finished());
    drop(release);
}

fn done(story: &mut Story) {
    paused(async {
        let task = filch::spawn(sleep(ms(10)));
        let cancelled = filch::spawn(sleep(LONG));
        story.equal("at work", [task.is_finished(), cancelled.is_finished()], [false, false]);
        cancelled.abort();
        sleep(ms(20)).await;
        story.is("one that has ended is done", task.is_finished());
        story.is("and so is one that was cancelled", cancelled.is_finished());
    });
}

fn cancel_on_threads(story: &mut Story) {
    let pool = ThreadPool::new(1).expect("a thread can be started");
    let (begun, has_begun) = mpsc::channel();
    let (release, released) = mpsc::channel::<()>();
    let running = pool.submit(move || {
        let _ = begun.send(());
        released.recv().is_err()
    });
    has_begun.recv().expect("it begins");
    let queued = pool.submit(|| unreachable!("it is cancelled before"));
    story.equal("a job that has not begun is cancelled", queued.cancel(), CancelOutcome::NotStarted);
    story.is("and never runs", queued.join().is_err_and(|error| error.is_cancelled()));
    story.equal("one that runs is not", running.cancel(), CancelOutcome::Running);
    drop(release);
    until(|| running.is_finished());
    story.equal("nor one that is done", running.cancel(), CancelOutcome::Done);
    story.equal("which has its result", running.join().ok(), Some(true));
}

fn cancel(story: &mut Story) {
    paused(async {
        let log = Log::default();
        let task = filch::spawn({
            let leaves = Leaves("dropped", log.clone());
            async move {
                let _leaves = leaves;
                sleep(LONG).await;
                unreachable!("it is cancelled before")
            }
        });
        sleep(ms(1)).await;
        task.abort();
        story.is("a task is cancelled where it waits", task.await.is_err_and(|error| error.is_cancelled()));
        story.equal("and what it held is", log.told().as_str(), "dropped");
        let done = filch::spawn(async { 7 });
        sleep(ms(1)).await;
        done.abort();
        story.equal("one that is done keeps its result", done.await.ok(), Some(7));
    });
}

fn callback_on_threads(story: &mut Story) {
    let (runtime, log) = (two_workers(), Log::default());
    let notes = |name: &'static str| {
        let log = log.clone();
        move |result: &Result<u32, _>| log.note(format_args!("{name}:{}", result.as_ref().unwrap_or(&0)))
    };
    let (release, released) = mpsc::channel::<()>();
    let mut job = runtime.spawn_blocking(move || if released.recv().is_err() { 7 } else { 0 });
    job.on_done(notes("later"));
    story.equal("nothing is called while it works", log.len(), 0);
    drop(release);
    until(|| job.is_finished());
    job.on_done(notes("at-once"));
    story.equal("each is called once, with the result", log.told().as_str(), "later:7 at-once:7");
    let result = job.join_timeout(LONG).and_then(Result::ok);
    story.equal("and the result stays for the handle", result, Some(7));
}

fn callback(story: &mut Story) {
    paused(async {
        let log = Log::default();
        let notes = |name: &'static str| {
            let log = log.clone();
            move |result: &Result<u32, _>| log.note(format_args!("{name}:{}", result.as_ref().unwrap_or(&0)))
        };
        let task = filch::spawn(async {
            sleep(ms(10)).await;
            7
        });
        task.on_done(notes("later"));
        sleep(ms(5)).await;
        story.equal("nothing is called while it works", log.len(), 0);
        sleep(ms(10)).await;
        task.on_done(notes("at-once"));
        story.equal("each is called once, with the result", log.told().as_str(), "later:7 at-once:7");
        story.equal("and the result stays for the handle", task.await.ok(), Some(7));
    });
}

fn noted_panics(log: &Log) -> PanicPolicy {
    let log = log.clone();
    PanicPolicy::Call(Box::new(move |panic| {
        log.note(format_args!("{}:{}", panic.name.as_deref().unwrap_or(""), panic.message));
    }))
}

fn forget_on_threads(story: &mut Story) {
    let log = Log::default();
    let runtime = Builder::new().workers(1).on_panic(noted_panics(&log)).build().expect("it starts");
    let (sends, result) = mpsc::channel();
    drop(runtime.spawn_blocking(move || sends.send("done")));
    story.equal("a job that nobody joins is done all the same", result.recv(), Ok("done"));
    let _inside = runtime.handle().enter();
    drop(filch::task::Builder::new().name("mail").spawn_blocking(|| raise::<()>("lost")));
    until(|| log.len() > 0);
    story.equal("what it raises is not lost: the runtime's hook hears it", log.told().as_str(), "mail:lost");
}

fn forget(story: &mut Story) {
    let log = Log::default();
    let runtime = Builder::new().workers(1).on_panic(noted_panics(&log)).build().expect("it starts");
    let (sends, result) = mpsc::channel();
    drop(runtime.spawn(async move { sends.send("done") }));
    story.equal("a task that nobody awaits is done all the same", result.recv(), Ok("done"));
    let _inside = runtime.handle().enter();
    drop(filch::task::Builder::new().name("mail").spawn(async { raise::<()>("lost") }));
    until(|| log.len() > 0);
    story.equal("what it raises is not lost: the runtime's hook hears it", log.told().as_str(), "mail:lost");
}
