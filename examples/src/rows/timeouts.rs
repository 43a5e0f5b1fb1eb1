//! Rows 29 to 34: timeouts, context managers and generators.

use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use filch::channel::{self, error::RecvTimeoutError};
use filch::pool::ThreadPool;
use filch::stream::StreamExt;
use filch::time::{self, sleep};
use filch::{as_completed, generator, wait_for};

use super::Half::{Tasks, Threads};
use super::help::{BRIEFLY, LONG, Leaves, Log, demo_on_tasks, ms, paused};
use super::{Check, row};
use crate::context_manager;
use crate::story::Story;

pub(super) const CHECKS: &[Check] = &[
    row(29, Tasks, wait_for_cancels),
    row(30, Threads, deadline_on_threads),
    row(30, Tasks, deadline),
    row(31, Tasks, async_with),
    row(32, Threads, with_pool_on_threads),
    row(32, Tasks, with_scope),
    row(33, Tasks, async_generator),
    row(34, Threads, exhausted_on_threads),
    row(34, Tasks, exhausted),
];

fn wait_for_cancels(story: &mut Story) {
    paused(async {
        let (log, began) = (Log::default(), time::Instant::now());
        let inner = |name| {
            let leaves = Leaves(name, log.clone());
            async move {
                let _leaves = leaves;
                sleep(LONG).await;
            }
        };
        let late = wait_for(inner("cancelled"), ms(10)).await.is_err();
        log.note("raised");
        story.equal("the time is up", (late, began.elapsed()), (true, ms(10)));
        story.equal("what was waited for has gone by then", log.told().as_str(), "cancelled raised");

        let value = wait_for(async { sleep(ms(10)).await }, ms(10)).await;
        story.is("a value that is ready at the deadline wins", value.is_ok());

        let inner = inner("inner");
        let outer = filch::spawn(async move { wait_for(inner, LONG).await.is_ok() });
        sleep(ms(1)).await;
        outer.abort();
        story.is("a cancel from outside is no timeout", outer.await.is_err_and(|error| error.is_cancelled()));
        story.equal("and goes through to what is waited for", log.told().as_str(), "cancelled raised inner");
    });
}

fn deadline_on_threads(story: &mut Story) {
    let pool = ThreadPool::new(2).expect("two threads can be started");
    let (release, released) = mpsc::channel::<()>();
    let released = std::sync::Mutex::new(released);
    let mut results = pool.map([1, 2, 3], move |n| {
        if n == 3 {
            let _ = released.lock().map(|released| released.recv());
        }
        n
    });
    // One deadline for all of them, not a timeout for each.
    results.set_deadline(Instant::now() + ms(50));
    let got: Vec<_> = results.map(|result| result.map_err(|error| error.is_timeout())).collect();
    story.equal("two come, then the time of the whole iteration is up", got, vec![Ok(1), Ok(2), Err(true)]);
    drop(release);

    let (_sender, receiver) = channel::bounded::<u32>(1);
    let deadline = Instant::now() + BRIEFLY;
    let late = [(); 3].map(|()| receiver.recv_deadline(deadline));
    story.equal("`get` with a deadline", late, [Err(RecvTimeoutError::Timeout); 3]);
}

fn deadline(story: &mut Story) {
    paused(async {
        let began = time::Instant::now();
        let fetches = [30, 10, 20, 60].map(|n| async move {
            sleep(ms(n)).await;
            n
        });
        let results = as_completed(fetches).timeout(ms(50));
        let got: Vec<_> = results.map(|result| result.map_err(|_| "timed out")).collect().await;
        story.equal("three come, then the time is up", got, vec![Ok(10), Ok(20), Ok(30), Err("timed out")]);
        story.equal("which is that of the whole iteration", began.elapsed(), ms(50));
    });
}

fn async_with(story: &mut Story) {
    demo_on_tasks(context_manager::Plan { open_ms: 100, use_ms: 1_000 }, story);
}

fn with_scope(story: &mut Story) {
    paused(async {
        let (log, began) = (Log::default(), time::Instant::now());
        // Borrowed by the children: they cannot be there any more when the scope has ended.
        let notes = &log;
        let scope = filch::scope(|scope| async move {
            for n in [30, 10, 20] {
                drop(scope.spawn(async move {
                    sleep(ms(n)).await;
                    notes.note("done");
                }));
            }
            notes.note("body-ends");
        });
        scope.await;
        log.note("left");
        let expected = "body-ends done done done left";
        story.equal("the end of a scope waits for its tasks", log.told().as_str(), expected);
        story.equal("for the longest of them", began.elapsed(), ms(30));
    });
}

fn with_pool_on_threads(story: &mut Story) {
    let log = Log::default();
    thread::scope(|scope| {
        for _ in 0..3 {
            scope.spawn(|| {
                thread::yield_now();
                log.note("done");
            });
        }
    });
    log.note("left");
    story.equal("the end of a scope waits for its threads", log.told().as_str(), "done done done left");

    let (pool, log) = (ThreadPool::new(2).expect("two threads can be started"), Log::default());
    for _ in 0..3 {
        let log = log.clone();
        drop(pool.submit(move || log.note("done")));
    }
    let report = pool.shutdown(LONG);
    log.note("left");
    story.is("and `shutdown` of a pool for its jobs", report.is_complete());
    story.equal("all of them", log.told().as_str(), "done done done left");
}

fn async_generator(story: &mut Story) {
    paused(async {
        let log = Log::default();
        let body = log.clone();
        let mut countdown = generator(async move |mut y| {
            body.note("begins");
            for n in [3, 2, 1] {
                sleep(ms(10)).await;
                body.note(format_args!("yields-{n}"));
                if y.emit_or_closed(n).await.is_err() {
                    body.note("cleans-up");
                    return;
                }
            }
        });
        story.equal("the call runs nothing", log.len(), 0);
        story.equal("the first item", countdown.next().await, Some(3));
        sleep(Duration::from_secs(1)).await;
        story.equal("it is suspended at the yield", log.told().as_str(), "begins yields-3");
        story.equal("the next", countdown.next().await, Some(2));
        countdown.close().await;
        let expected = "begins yields-3 yields-2 cleans-up";
        story.equal("an early exit closes it, and waits for its clean-up", log.told().as_str(), expected);
        story.equal("then there is no more", countdown.next().await, None);
    });
}

fn exhausted_on_threads(story: &mut Story) {
    let (sends, receives) = channel::bounded(3);
    thread::spawn(move || (1..=3).try_for_each(|n| sends.send_blocking(n)));
    let mut items = receives.iter();
    let got: Vec<_> = items.by_ref().collect();
    story.equal("iterated until there is no more", got, vec![1, 2, 3]);
    story.equal("and asked again", [items.next(), items.next()], [None, None]);
}

fn exhausted(story: &mut Story) {
    paused(async {
        let mut items = generator(async |mut y| {
            for n in 1..=3 {
                sleep(ms(1)).await;
                y.emit(n).await;
            }
        });
        let mut got = Vec::new();
        while let Some(item) = items.next().await {
            got.push(item);
        }
        story.equal("iterated until there is no more", got, vec![1, 2, 3]);
        story.equal("and asked again", [items.next().await, items.next().await], [None, None]);
    });
}
