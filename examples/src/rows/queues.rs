//! Rows 57 to 64: queues.

use std::sync::Arc;
use std::thread;

use filch::sync::{
    GetError, GetTimeoutError, LifoQueue, PriorityQueue, PutTimeoutError, Queue, TaskDoneError, TryGetError,
    TryPutError,
};
use filch::time::{Instant, sleep};
use filch::wait_for;

use super::Half::{Tasks, Threads};
use super::help::{BRIEFLY, LONG, Log, ms, on_tasks, paused, until, yield_until};
use super::{Check, row};
use crate::producer_consumer;
use crate::story::Story;

pub(super) const CHECKS: &[Check] = &[
    row(57, Threads, queue_on_threads),
    row(57, Tasks, queue),
    row(58, Threads, in_time_on_threads),
    row(58, Tasks, in_time),
    row(59, Threads, never_wait_on_threads),
    row(59, Tasks, never_wait),
    row(60, Threads, task_done_on_threads),
    row(60, Tasks, task_done),
    row(61, Threads, sentinel_on_threads),
    row(61, Tasks, sentinel),
    row(62, Threads, speeds_on_threads),
    row(62, Tasks, speeds),
    row(63, Tasks, asyncio_queue),
    row(64, Threads, orders_on_threads),
    row(64, Tasks, orders),
];

fn queue_on_threads(story: &mut Story) {
    let queue = Queue::new(2);
    thread::scope(|scope| {
        let got = scope.spawn(|| queue.get_blocking());
        until(|| queue.stats().waiting_get == 1);
        story.is("a get from an empty queue waits", !got.is_finished());
        queue.put_blocking(0).expect("it is open");
        story.equal("for an item", got.join().expect("no panic"), Ok(0));
        queue.put_blocking(1).expect("it is open");
        queue.put_blocking(2).expect("it is open");
        let third = scope.spawn(|| queue.put_blocking(3));
        until(|| queue.stats().waiting_put == 1);
        story.is("a put into a full queue waits", !third.is_finished());
        story.equal("for room: first in, first out", queue.get_blocking(), Ok(1));
        third.join().expect("no panic").expect("it is open");
        story.equal("the rest", [queue.get_blocking(), queue.get_blocking()], [Ok(2), Ok(3)]);
    });
    let endless = Queue::new(0);
    let put = (0..10_000).filter(|n| endless.try_put(*n).is_ok()).count();
    story.equal("with maxsize 0 there is always room", put, 10_000);
}

fn queue(story: &mut Story) {
    on_tasks(async {
        let queue = Arc::new(Queue::new(2));
        let getting = queue.clone();
        let got = filch::spawn(async move { getting.get().await });
        yield_until(|| queue.stats().waiting_get == 1).await;
        story.is("a get from an empty queue waits", !got.is_finished());
        queue.put(0).await.expect("it is open");
        story.equal("for an item", got.await.expect("no panic"), Ok(0));
        queue.put(1).await.expect("it is open");
        queue.put(2).await.expect("it is open");
        let putting = queue.clone();
        let third = filch::spawn(async move { putting.put(3).await });
        yield_until(|| queue.stats().waiting_put == 1).await;
        story.is("a put into a full queue waits", !third.is_finished());
        story.equal("for room: first in, first out", queue.get().await, Ok(1));
        third.await.expect("no panic").expect("it is open");
        story.equal("the rest", [queue.get().await, queue.get().await], [Ok(2), Ok(3)]);
        let endless = Queue::new(0);
        let put = (0..10_000).filter(|n| endless.try_put(*n).is_ok()).count();
        story.equal("with maxsize 0 there is always room", put, 10_000);
    });
}

fn in_time_on_threads(story: &mut Story) {
    let queue = Queue::new(1);
    story.equal("empty when the time is up", queue.get_timeout(BRIEFLY), Err(GetTimeoutError::Timeout));
    story.equal("there is room in time", queue.put_timeout(1, LONG), Ok(()));
    let late = queue.put_timeout(2, BRIEFLY);
    story.equal("full when the time is up: the item comes back", late, Err(PutTimeoutError::Timeout(2)));
    story.equal("there is an item in time", queue.get_timeout(LONG), Ok(1));
    let (len, stats) = (queue.len(), queue.stats());
    story.equal(
        "nothing is left of those who gave up",
        (len, stats.waiting_get, stats.waiting_put),
        (0, 0, 0),
    );
}

fn in_time(story: &mut Story) {
    paused(async {
        let queue = Queue::new(1);
        let began = Instant::now();
        story.is("empty when the time is up", wait_for(queue.get(), ms(5_000)).await.is_err());
        story.equal("which is then", began.elapsed(), ms(5_000));
        story.is("there is room in time", wait_for(queue.put(1), ms(5_000)).await.is_ok());
        let mut put = std::pin::pin!(queue.put(2));
        let late = wait_for(put.as_mut(), ms(5_000)).await.is_err();
        story.equal(
            "full when the time is up: the item comes back",
            (late, put.into_inner()),
            (true, Some(2)),
        );
        story.equal("there is an item in time", wait_for(queue.get(), ms(5_000)).await, Ok(Ok(1)));
        let (len, stats) = (queue.len(), queue.stats());
        story.equal(
            "nothing is left of those who gave up",
            (len, stats.waiting_get, stats.waiting_put),
            (0, 0, 0),
        );
    });
}

/// The same calls on both, for they never wait.
fn tell_never_wait(story: &mut Story, queue: &Queue<u32>) {
    story.equal("nothing to get", queue.try_get(), Err(TryGetError::Empty));
    story.equal("room for one", queue.try_put(1), Ok(()));
    story.equal("full: the item comes back", queue.try_put(2), Err(TryPutError::Full(2)));
    story.equal("one to get", queue.try_get(), Ok(1));
    queue.close();
    story.equal("closed, for a put", queue.try_put(3), Err(TryPutError::Closed(3)));
    story.equal("closed, for a get", queue.try_get(), Err(TryGetError::Closed));
}

fn never_wait_on_threads(story: &mut Story) {
    tell_never_wait(story, &Queue::new(1));
}

fn never_wait(story: &mut Story) {
    // A future that is polled once: a wait in it would be seen, not waited for.
    let done = futures_lite::future::block_on(futures_lite::future::poll_once(async {
        tell_never_wait(story, &Queue::new(1));
    }));
    story.is("all of it in one poll", done.is_some());
}

fn tell_unfinished(story: &mut Story, seen: [u64; 4], waited: bool, once_more: Result<(), TaskDoneError>) {
    story.equal("unfinished: three put, two got, one done, all done", seen, [3, 3, 2, 0]);
    story.is("the join waits until then", waited);
    story.equal("once too often", once_more, Err(TaskDoneError));
}

fn task_done_on_threads(story: &mut Story) {
    let queue = Queue::new(0);
    (1..=3).for_each(|n| queue.put_blocking(n).expect("it is open"));
    let put = queue.unfinished();
    let first = queue.get_blocking().expect("three are there");
    let second = queue.get_item_blocking().expect("two are there");
    let got = queue.unfinished();
    queue.task_done().expect("the first is done");
    let (one_done, waited) = thread::scope(|scope| {
        let joined = scope.spawn(|| queue.join_blocking());
        until(|| queue.stats().waiting_join == 1);
        let (one_done, waits) = (queue.unfinished(), !joined.is_finished());
        // The guard says so by itself, however the work ends.
        drop(second);
        drop(queue.get_item_blocking());
        joined.join().expect("no panic");
        (one_done, waits && first == 1)
    });
    tell_unfinished(story, [put, got, one_done, queue.unfinished()], waited, queue.task_done());
}

fn task_done(story: &mut Story) {
    on_tasks(async {
        let queue = Arc::new(Queue::new(0));
        for n in 1..=3 {
            queue.put(n).await.expect("it is open");
        }
        let put = queue.unfinished();
        let first = queue.get().await.expect("three are there");
        let second = queue.get_item().await.expect("two are there");
        let got = queue.unfinished();
        queue.task_done().expect("the first is done");
        let joining = queue.clone();
        let joined = filch::spawn(async move { joining.join().await });
        yield_until(|| queue.stats().waiting_join == 1).await;
        let (one_done, waited) = (queue.unfinished(), !joined.is_finished() && first == 1);
        drop(second);
        drop(queue.get_item().await);
        joined.await.expect("no panic");
        tell_unfinished(story, [put, got, one_done, queue.unfinished()], waited, queue.task_done());
    });
}

fn sentinel_on_threads(story: &mut Story) {
    let queue = Queue::new(0);
    for item in [Some(1), Some(2), None, Some(3)] {
        queue.put_blocking(item).expect("it is open");
    }
    let sum = thread::scope(|scope| {
        let consumer = scope.spawn(|| {
            let mut sum = 0;
            while let Ok(Some(item)) = queue.get_blocking() {
                sum += item;
            }
            sum
        });
        consumer.join().expect("no panic")
    });
    story.equal("the consumer stops at the sentinel", sum, 1 + 2);
    story.equal("what comes after it stays", queue.try_get(), Ok(Some(3)));
    // Better: the end is the queue's, nobody needs to know how many consumers there are, and no item is special.
    let queue = Queue::new(0);
    queue.put_blocking(4).expect("it is open");
    queue.close();
    story.equal(
        "without one: what is left, then the end",
        [queue.get_blocking(), queue.get_blocking()],
        [Ok(4), Err(GetError)],
    );
}

fn sentinel(story: &mut Story) {
    on_tasks(async {
        let queue = Arc::new(Queue::new(0));
        for item in [Some(1), Some(2), None, Some(3)] {
            queue.put(item).await.expect("it is open");
        }
        let consumed = queue.clone();
        let consumer = filch::spawn(async move {
            let mut sum = 0;
            while let Ok(Some(item)) = consumed.get().await {
                sum += item;
            }
            sum
        });
        story.equal("the consumer stops at the sentinel", consumer.await.ok(), Some(1 + 2));
        story.equal("what comes after it stays", queue.try_get(), Ok(Some(3)));
        let queue = Queue::new(0);
        queue.put(4).await.expect("it is open");
        queue.close();
        story.equal(
            "without one: what is left, then the end",
            [queue.get().await, queue.get().await],
            [Ok(4), Err(GetError)],
        );
    });
}

fn producers_and_consumers(story: &mut Story, of: &str) {
    let plan = producer_consumer::Plan {
        producers: 2,
        consumers: 2,
        items: 20,
        maxsize: 3,
        produce_us: 0,
        consume_us: 100,
    };
    for (name, outcome) in on_tasks(producer_consumer::all(plan)).expect("no task panics") {
        if name.starts_with(of) {
            story.equal(&format!("{name}: each item once, in order"), outcome.check(&plan), Ok(()));
            story.equal(
                "the queue smooths, and then makes the producers wait: its peak",
                outcome.stats.peak,
                3,
            );
        }
    }
}

fn speeds_on_threads(story: &mut Story) {
    producers_and_consumers(story, "threads");
}

fn speeds(story: &mut Story) {
    producers_and_consumers(story, "tasks");
    // The guides' speeds, exactly: 0.1 s to make an item, 0.2 s to use one, room for 2, 6 items.
    let log = Log::default();
    let (made, took) = paused(async {
        let (queue, began) = (Arc::new(Queue::new(2)), Instant::now());
        let (to, puts) = (queue.clone(), log.clone());
        let producer = filch::spawn(async move {
            for item in 0..6 {
                sleep(ms(100)).await;
                to.put(item).await.expect("it is open");
                puts.note(began.elapsed().as_millis());
            }
            to.close();
        });
        while queue.get_item().await.is_ok() {
            sleep(ms(200)).await;
        }
        producer.await.expect("no panic");
        (log.told(), began.elapsed())
    });
    story.equal(
        "puts are done at: the last are kept back by the consumer",
        made.as_str(),
        "100 200 300 400 500 700",
    );
    story.equal("in all, as long as the slower one takes", took, ms(100 + 6 * 200));
}

fn asyncio_queue(story: &mut Story) {
    paused(async {
        let queue = Arc::new(Queue::new(1));
        let from_a_task = queue.clone();
        let producer = filch::spawn(async move {
            for item in 0..5 {
                from_a_task.put(item).await.expect("it is open");
            }
            from_a_task.close();
        });
        let mut got = Vec::new();
        while let Ok(item) = queue.get().await {
            got.push(item);
            sleep(ms(10)).await;
        }
        producer.await.expect("no panic");
        story.equal("one task puts, another gets: first in, first out", got, vec![0, 1, 2, 3, 4]);
        let waiting = filch::spawn(async move { Queue::<u32>::new(1).get().await });
        sleep(ms(1_000)).await;
        story.is("a get from an empty one waits", !waiting.is_finished());
        waiting.abort();
    });
}

const JOBS: [(u32, &str); 4] = [(2, "sweep"), (1, "fire"), (2, "air"), (1, "flood")];

fn by_number(a: &(u32, &'static str), b: &(u32, &'static str)) -> std::cmp::Ordering {
    a.0.cmp(&b.0)
}

fn tell_orders(story: &mut Story, lowest: &[&str], last_in: &[u32], aged: &[u32]) {
    story.equal("the lowest first; of equals, the one put first", lowest, &["fire", "flood", "sweep", "air"]);
    story.equal("last in, first out", last_in, &[3, 2, 1]);
    story.equal("with ageing, 9 is overtaken twice and not for ever", aged, &[1, 2, 9, 3, 4]);
}

fn orders_on_threads(story: &mut Story) {
    let (lowest, last_in) = (PriorityQueue::by(0, by_number), LifoQueue::new(0));
    let aged = PriorityQueue::new(0).with_ageing(2);
    JOBS.iter().for_each(|job| lowest.put_blocking(*job).expect("it is open"));
    (1..=3).for_each(|n| last_in.put_blocking(n).expect("it is open"));
    [9, 1, 2, 3, 4].iter().for_each(|n| aged.put_blocking(*n).expect("it is open"));
    lowest.close();
    last_in.close();
    aged.close();
    let lowest: Vec<_> = std::iter::from_fn(|| lowest.get_blocking().ok()).map(|job| job.1).collect();
    let last_in: Vec<_> = std::iter::from_fn(|| last_in.get_blocking().ok()).collect();
    let aged: Vec<_> = std::iter::from_fn(|| aged.get_blocking().ok()).collect();
    tell_orders(story, &lowest, &last_in, &aged);
}

fn orders(story: &mut Story) {
    on_tasks(async {
        let (lowest, last_in) = (PriorityQueue::by(0, by_number), LifoQueue::new(0));
        let aged = PriorityQueue::new(0).with_ageing(2);
        for job in JOBS {
            lowest.put(job).await.expect("it is open");
        }
        for n in 1..=3 {
            last_in.put(n).await.expect("it is open");
        }
        for n in [9, 1, 2, 3, 4] {
            aged.put(n).await.expect("it is open");
        }
        let (mut first, mut second, mut third) = (Vec::new(), Vec::new(), Vec::new());
        for _ in 0..4 {
            first.push(lowest.get().await.expect("four were put").1);
        }
        for _ in 0..3 {
            second.push(last_in.get().await.expect("three were put"));
        }
        for _ in 0..5 {
            third.push(aged.get().await.expect("five were put"));
        }
        tell_orders(story, &first, &second, &third);
    });
}
