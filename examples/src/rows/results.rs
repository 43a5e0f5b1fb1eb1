//! Rows 15 to 21: how results and failures come back, from other threads and other loops; and what a task inherits.

use std::sync::mpsc;
use std::thread;

use filch::channel;
use filch::pool::ThreadPool;
use filch::task_local;
use filch::time::sleep;

use super::Half::{Tasks, Threads};
use super::help::{ms, on_tasks, paused, raise, raised, two_workers};
use super::{Check, row};
use crate::story::Story;

pub(super) const CHECKS: &[Check] = &[
    row(15, Threads, submit_order_on_threads),
    row(15, Tasks, submit_order),
    row(16, Threads, result_queue_on_threads),
    row(16, Tasks, result_queue),
    row(17, Threads, silent_thread),
    row(17, Tasks, silent_task),
    row(18, Threads, question_mark_at_join),
    row(18, Tasks, question_mark_at_await),
    row(19, Threads, threadsafe_from_a_thread),
    row(19, Tasks, threadsafe_from_another_loop),
    row(20, Tasks, executor),
    row(21, Threads, context_on_threads),
    row(21, Tasks, context),
];

fn submit_order_on_threads(story: &mut Story) {
    let pool = ThreadPool::new(3).expect("three threads can be started");
    let jobs: Vec<_> = (1..=5_u64).map(|n| pool.submit(move || n * n)).collect();
    let squares: Vec<_> = jobs.into_iter().map(|job| job.join().expect("no job panics")).collect();
    story.equal("results in the order in which they were submitted", squares, vec![1, 4, 9, 16, 25]);
}

fn submit_order(story: &mut Story) {
    let squares = on_tasks(async {
        let jobs: Vec<_> = (1..=5_u64).map(|n| filch::spawn_blocking(move || n * n)).collect();
        let mut squares = Vec::new();
        for job in jobs {
            squares.push(job.await.expect("no job panics"));
        }
        squares
    });
    story.equal("results in the order in which they were submitted", squares, vec![1, 4, 9, 16, 25]);
}

const URLS: [&str; 3] = ["/a", "/broken", "/c"];

/// What the guides' workers put into the queue: the address, and a status or an error.
fn fetch(url: &'static str) -> (&'static str, Result<u16, &'static str>) {
    (url, if url == "/broken" { Err("timed out") } else { Ok(200) })
}

fn tell_queue(
    story: &mut Story,
    mut results: Vec<(&'static str, Result<u16, &'static str>)>,
    then_empty: bool,
) {
    results.sort_unstable();
    let expected = vec![("/a", Ok(200)), ("/broken", Err("timed out")), ("/c", Ok(200))];
    story.equal("each worker has put its result or its error", results, expected);
    story.is("after the joins the queue is drained without a wait", then_empty);
}

fn result_queue_on_threads(story: &mut Story) {
    let (puts, gets) = channel::unbounded();
    let workers = URLS.map(|url| {
        let puts = puts.clone();
        thread::spawn(move || puts.send_blocking(fetch(url)))
    });
    for worker in workers {
        worker.join().expect("no worker panics").expect("the queue is open");
    }
    tell_queue(story, gets.try_iter().collect(), gets.is_empty());
}

fn result_queue(story: &mut Story) {
    on_tasks(async {
        let (puts, gets) = channel::unbounded();
        let workers = URLS.map(|url| {
            let puts = puts.clone();
            filch::spawn(async move { puts.send(fetch(url)).await })
        });
        for worker in workers {
            worker.await.expect("no worker panics").expect("the queue is open");
        }
        tell_queue(story, gets.try_iter().collect(), gets.is_empty());
    });
}

fn silent_thread(story: &mut Story) {
    let joined = thread::spawn(|| raise::<()>("division by zero")).join();
    story.is("the join returns, and this thread goes on", joined.is_err());
    story.equal("the handle has what was raised", joined.map_err(raised), Err("division by zero"));
}

fn silent_task(story: &mut Story) {
    let error = on_tasks(async {
        let task =
            filch::task::Builder::new().name("divider").spawn(async { raise::<()>("division by zero") });
        task.await.expect_err("it panics")
    });
    story.equal("the handle knows the name of the task", error.name(), Some("divider"));
    let here = error.location().file() == file!();
    story.holds("and the line that spawned it", here, error.location());
    let text = error.to_string();
    story.holds("and says so", text.contains("division by zero"), &text);
    story.equal("and has what was raised", raised(error.into_panic()), "division by zero");
}

/// Fails as a function does that returns an error; `raise` is the panic.
fn parse(text: &str) -> Result<u32, std::num::ParseIntError> {
    text.parse()
}

fn question_mark_at_join(story: &mut Story) {
    let sum = |texts: [&'static str; 2]| {
        let threads = texts.map(|text| thread::spawn(move || parse(text)));
        let mut sum = 0;
        for thread in threads {
            sum +=
                thread.join().map_err(|payload| raised(payload).to_string())?.map_err(|e| e.to_string())?;
        }
        Ok::<u32, String>(sum)
    };
    story.equal("without an error", sum(["40", "2"]), Ok(42));
    story.equal(
        "an error comes out at the join",
        sum(["40", "x"]),
        Err("invalid digit found in string".into()),
    );
}

fn question_mark_at_await(story: &mut Story) {
    async fn sum(texts: [&'static str; 2]) -> Result<u32, std::num::ParseIntError> {
        let mut sum = 0;
        for text in texts {
            let read = async {
                sleep(ms(1)).await;
                parse(text)
            };
            sum += read.await?;
        }
        Ok(sum)
    }
    let (good, bad, panicked) = paused(async {
        let panicked =
            filch::spawn(async { raise::<u32>("boom") }).await.map_err(|error| raised(error.into_panic()));
        (sum(["40", "2"]).await, sum(["40", "x"]).await.map_err(|error| error.to_string()), panicked)
    });
    story.equal("without an error", good, Ok(42));
    story.equal("an error comes out at the await", bad, Err("invalid digit found in string".into()));
    story.equal("and a panic where the task is awaited", panicked, Err("boom"));
}

/// Runs for a moment, and says on which thread.
async fn where_it_runs() -> thread::ThreadId {
    sleep(ms(1)).await;
    thread::current().id()
}

fn threadsafe_from_a_thread(story: &mut Story) {
    let runtime = two_workers();
    let handle = runtime.handle().clone();
    let outside = thread::spawn(move || {
        // `join_blocking` waits on this thread, as `future.result()` does.
        (thread::current().id(), handle.spawn(where_it_runs()).join_blocking().expect("no panic"))
    });
    let (outside, inside) = outside.join().expect("no panic");
    story.is("the coroutine runs in the loop, and the thread gets its result", outside != inside);
}

fn threadsafe_from_another_loop(story: &mut Story) {
    let (one, other) = (two_workers(), two_workers());
    let to_other = other.handle().clone();
    let threads = one.block_on(async move {
        let here = filch::spawn(where_it_runs()).await.expect("no panic");
        (here, to_other.spawn(where_it_runs()).await.expect("no panic"))
    });
    story.is("a task awaits what runs in another loop", threads.0 != threads.1);
}

fn executor(story: &mut Story) {
    // A loop of one thread: if the blocking call were made on it, nobody could release the call.
    let runtime = filch::Builder::single_thread().build().expect("it starts no thread");
    let result = runtime.block_on(async {
        let (release, released) = mpsc::channel();
        let blocking = filch::spawn_blocking(move || released.recv());
        let on_the_loop = filch::spawn(async move { release.send(7) });
        let result = blocking.await.expect("no panic");
        on_the_loop.await.expect("no panic").expect("the call still waits");
        result
    });
    story.equal("the loop goes on while the call blocks, and gets its result", result, Ok(7));
}

task_local! {
    #[inherit]
    static REQUEST: u32;
}

fn context_on_threads(story: &mut Story) {
    REQUEST.sync_scope(7, || {
        story.equal("set for what is called from here", REQUEST.try_get(), Ok(7));
        let unset = thread::spawn(|| REQUEST.try_get().is_err()).join().expect("no panic");
        story.is("a new thread begins without it", unset);
        let context = REQUEST.get();
        let handed =
            thread::spawn(move || REQUEST.sync_scope(context, || REQUEST.get())).join().expect("no panic");
        story.equal("unless it is handed over", handed, 7);
    });
    story.is("afterwards it is gone", REQUEST.try_get().is_err());
}

fn context(story: &mut Story) {
    on_tasks(async {
        let (child, after) = REQUEST
            .scope(7, async {
                let child = filch::spawn(async {
                    let inherited = REQUEST.get();
                    let own = REQUEST.scope(8, async { REQUEST.get() }).await;
                    (inherited, own, REQUEST.get())
                });
                (child.await.expect("no panic"), REQUEST.get())
            })
            .await;
        story.equal("a new task has it, may set its own, and has the first again", child, (7, 8, 7));
        story.equal("which the one that spawned it does not see", after, 7);
        let outside = filch::spawn(async { REQUEST.try_get().is_err() }).await.expect("no panic");
        story.is("a task spawned outside has none", outside);
    });
}
