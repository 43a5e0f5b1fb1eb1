//! The promise: asyncio's queues, for tasks and threads at once. What is put comes out once, in the order of the
//! queue; `join` ends when all of it is done; a queue ends in good order; and nothing is lost by a cancel.

use std::pin::pin;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use filch::sync::{GetError, Item, LifoQueue, PriorityQueue, Put, PutError, Queue, QueueState, TryGetError};
use filch::testing::cancel_at_every_await;
use filch::{Builder, WaitKind, wait_for};
use filch_tests::{poll_once, single, until, until_yielding, watched, workers};

const HOUR: Duration = Duration::from_secs(3_600);

/// The example of asyncio's documentation: three workers, twenty jobs, wait for the jobs, cancel the workers.
#[test]
fn workers_are_cancelled_when_the_jobs_are_done() {
    watched(|| {
        for runtime in [single(), workers(2)] {
            let done = runtime.block_on(async {
                let (queue, done) = (Arc::new(Queue::new(0)), Arc::new(Queue::new(0)));
                for job in 0..20 {
                    queue.try_put(job).unwrap();
                }
                let crew: Vec<_> = (0..3)
                    .map(|_| {
                        let (queue, done) = (queue.clone(), done.clone());
                        filch::spawn(async move {
                            while let Ok(job) = queue.get().await {
                                filch::yield_now().await;
                                done.put(job).await.unwrap();
                                queue.task_done().unwrap();
                            }
                        })
                    })
                    .collect();
                queue.join().await;
                for worker in crew {
                    worker.abort();
                    assert!(worker.await.is_err_and(|error| error.is_cancelled()));
                }
                assert!(queue.task_done().is_err());
                done.close_now()
            });
            let mut sorted = done.clone();
            sorted.sort_unstable();
            assert_eq!(sorted, (0..20).collect::<Vec<_>>());
        }
    });
}

/// Two threads and two tasks put, two threads and two tasks get, with little room: what one of them put comes in
/// its order to each of those who get, and each item to one.
#[test]
fn threads_and_tasks_on_both_sides() {
    const EACH: usize = 500;
    for maxsize in [1, 2, 64, 0] {
        let all = watched(move || {
            let runtime = workers(2);
            let queue = Arc::new(Queue::new(maxsize));
            let mut putters = Vec::new();
            let mut getters = Vec::new();
            for who in 0..2 {
                let (first, second) = (queue.clone(), queue.clone());
                putters.push(thread::spawn(move || {
                    (0..EACH).for_each(|number| first.put_blocking((who, number)).unwrap());
                }));
                drop(runtime.spawn(async move {
                    for number in 0..EACH {
                        second.put((who + 2, number)).await.unwrap();
                    }
                }));
                let (first, second) = (queue.clone(), queue.clone());
                getters.push(thread::spawn(move || {
                    std::iter::from_fn(|| first.get_item_blocking().ok().map(Item::done)).collect::<Vec<_>>()
                }));
                let (got, seen) = std::sync::mpsc::channel();
                drop(runtime.spawn(async move {
                    while let Ok(item) = second.get_item().await {
                        got.send(*item).unwrap();
                    }
                }));
                getters.push(thread::spawn(move || seen.iter().collect()));
            }
            until(|| queue.stats().put == 4 * EACH as u64);
            queue.join_blocking();
            assert!(queue.close());
            for putter in putters {
                putter.join().unwrap();
            }
            let all: Vec<_> = getters.into_iter().map(|getter| getter.join().unwrap()).collect();
            let stats = queue.stats();
            assert_eq!(
                (stats.taken, stats.unfinished, stats.state),
                (4 * EACH as u64, 0, QueueState::Closed)
            );
            assert!(maxsize == 0 || stats.peak <= maxsize);
            all
        });
        for got in &all {
            for who in 0..4 {
                assert!(got.iter().filter(|item| item.0 == who).is_sorted());
            }
        }
        let mut all = all.concat();
        all.sort_unstable();
        let expected = (0..4).flat_map(|who| (0..EACH).map(move |number| (who, number)));
        assert!(all.into_iter().eq(expected), "maxsize {maxsize}");
    }
}

/// Dropped at each of its polls, in a task of the runtime: no item is lost and none is doubled.
#[test]
fn a_cancel_at_every_await_loses_nothing() {
    watched(|| {
        for (runtime, alone) in [(single(), true), (workers(2), false)] {
            runtime.block_on(async {
                let report = cancel_at_every_await(async |trial| {
                    let queue = Arc::new(Queue::new(0));
                    let putter = filch::spawn(put_later(queue.clone()));
                    let got = trial.run(queue.get()).await;
                    putter.await.unwrap();
                    assert_eq!(queue.len(), usize::from(got.is_none()));
                    assert_eq!(got.unwrap_or_else(|| Ok(queue.try_get().unwrap())), Ok(7));
                    assert_eq!(queue.try_get(), Err(TryGetError::Empty));
                })
                .await;
                assert!(report.polls() > 1 || !alone, "it was ready at once, so nothing was cancelled");
                let report = cancel_at_every_await(async |trial| {
                    let queue = Arc::new(Queue::new(1));
                    queue.try_put(0).unwrap();
                    let getter = filch::spawn(get_later(queue.clone()));
                    let put = trial.run(queue.put(1)).await;
                    assert_eq!(getter.await.unwrap(), Ok(0));
                    assert_eq!(
                        (queue.len(), queue.stats().put),
                        match put {
                            Some(_) => (1, 2),
                            None => (0, 1),
                        }
                    );
                    // The room is there, whoever had been woken for it.
                    while queue.try_get().is_ok() {}
                    queue.try_put(2).unwrap();
                })
                .await;
                assert!(report.polls() > 1 || !alone, "it was ready at once, so nothing was cancelled");
                let report = cancel_at_every_await(async |trial| {
                    let queue = Arc::new(Queue::new(0));
                    queue.try_put(7).unwrap();
                    let worker = queue.clone();
                    let worker = filch::spawn(async move {
                        filch::yield_now().await;
                        drop(worker.get_item().await.unwrap());
                    });
                    trial.run(queue.join()).await;
                    queue.join().await;
                    worker.await.unwrap();
                    assert_eq!(queue.unfinished(), 0);
                })
                .await;
                assert!(report.polls() > 1 || !alone, "it was ready at once, so nothing was cancelled");
            });
        }
    });
}

async fn put_later(queue: Arc<Queue<u32>>) {
    filch::yield_now().await;
    queue.put(7).await.unwrap();
}

async fn get_later(queue: Arc<Queue<u32>>) -> Result<u32, GetError> {
    filch::yield_now().await;
    queue.get().await
}

/// A timeout round a get or a put leaves everything where it was, and a put gives its item back.
#[test]
fn a_timeout_leaves_everything_in_place() {
    watched(|| {
        Builder::new().paused_clock(1).build().unwrap().block_on(async {
            let queue = Queue::new(1);
            assert!(wait_for(queue.get(), HOUR).await.is_err());
            queue.put(String::from("first")).await.unwrap();
            let mut putting = pin!(queue.put(String::from("second")));
            assert!(wait_for(putting.as_mut(), HOUR).await.is_err());
            assert_eq!(Put::into_inner(putting.as_mut()).as_deref(), Some("second"));
            assert!(wait_for(queue.join(), HOUR).await.is_err());
            assert_eq!(queue.get().await.as_deref(), Ok("first"));
            assert_eq!((queue.stats().put, queue.stats().taken), (1, 1));
        });
    });
}

/// A worker that is aborted in the middle of an item, or panics over it, does not keep `join` waiting.
#[test]
fn a_guard_ends_the_work_however_it_ends() {
    watched(|| {
        for runtime in [single(), workers(2)] {
            runtime.block_on(async {
                let queue = Arc::new(Queue::new(0));
                queue.try_put("aborted").unwrap();
                queue.try_put("panics").unwrap();
                let worker = |queue: Arc<Queue<&'static str>>| async move {
                    let item = queue.get_item().await.unwrap();
                    assert_ne!(*item, "panics", "the worker of a test panics");
                    std::future::pending::<()>().await;
                };
                let (stuck, panics) =
                    (filch::spawn(worker(queue.clone())), filch::spawn(worker(queue.clone())));
                until_yielding(|| queue.is_empty() && queue.unfinished() == 1).await;
                assert!(poll_once(&mut Box::pin(queue.join())).await.is_none());
                stuck.abort();
                panics.abort();
                queue.join().await;
                let ends = [stuck.await.unwrap_err(), panics.await.unwrap_err()];
                assert_eq!(ends.iter().filter(|end| end.is_panic()).count(), 1);
            });
        }
    });
}

/// `close` lets what is there be worked off; who waits to put gets its item back; who waits to get, an end.
#[test]
fn close_drains() {
    watched(|| {
        for runtime in [workers(1), workers(2)] {
            let queue = Arc::new(LifoQueue::new(2));
            queue.try_put(1).unwrap();
            queue.try_put(2).unwrap();
            let (task, blocked) = (queue.clone(), queue.clone());
            let task = runtime.spawn(async move { task.put(3).await });
            let blocked = thread::spawn(move || blocked.put_blocking(4));
            until(|| queue.stats().waiting_put == 2);
            assert!(queue.close());
            assert_eq!(task.join_blocking().unwrap(), Err(PutError(3)));
            assert_eq!(blocked.join().unwrap(), Err(PutError(4)));
            let mut rest = Vec::new();
            runtime.block_on(async {
                while let Ok(item) = queue.get_item().await {
                    rest.push(*item);
                }
                queue.join().await;
            });
            assert_eq!(rest, [2, 1]);
        }
    });
}

#[test]
fn close_now_ends_all_at_once() {
    watched(|| {
        let runtime = workers(2);
        let queue = Arc::new(PriorityQueue::<u32>::new(0));
        let (task, blocked) = (queue.clone(), queue.clone());
        let task = runtime.spawn(async move { task.get().await });
        let blocked = thread::spawn(move || blocked.get_blocking());
        until(|| queue.stats().waiting_get == 2);
        assert_eq!(queue.close_now(), []);
        assert_eq!((task.join_blocking().unwrap(), blocked.join().unwrap()), (Err(GetError), Err(GetError)));

        let queue = PriorityQueue::new(0);
        for number in [3, 1, 2] {
            queue.put_blocking(number).unwrap();
        }
        let item = queue.get_item_blocking().unwrap();
        assert_eq!(*item, 1);
        runtime.block_on(async {
            let mut join = Box::pin(queue.join());
            assert!(poll_once(&mut join).await.is_none());
            assert_eq!(queue.close_now(), [3, 2]);
            // Only what is in our hands is left to be done.
            assert!(poll_once(&mut join).await.is_none());
            drop(item);
            join.await;
        });
    });
}

/// Urgent jobs come without end: without ageing the other one is never reached, with it after so many.
#[test]
fn ageing_keeps_an_item_from_starving() {
    fn urgent_ones_before(queue: &PriorityQueue<(u8, u32)>) -> u32 {
        queue.try_put((9, 0)).unwrap();
        queue.try_put((1, 0)).unwrap();
        (1..1_000)
            .find(|&round| {
                queue.try_put((1, round)).unwrap();
                queue.try_get().unwrap().0 == 9
            })
            .map_or(u32::MAX, |round| round - 1)
    }
    assert_eq!(urgent_ones_before(&PriorityQueue::new(0)), u32::MAX);
    for limit in [0, 1, 7, 100] {
        assert_eq!(urgent_ones_before(&PriorityQueue::new(0).with_ageing(limit)), limit as u32);
    }
}

/// A task that always finds something to get, or room to put, lets others have their turn.
#[test]
fn busy_queues_starve_nobody() {
    watched(|| {
        single().block_on(async {
            let queue = Arc::new(Queue::new(8));
            let busy = queue.clone();
            let greedy = filch::spawn(async move {
                while busy.put(1).await.is_ok() {
                    busy.get().await.unwrap();
                }
            });
            // Each turn of this task shows that the other one has yielded.
            until_yielding(|| queue.stats().put > 1_000).await;
            greedy.abort();
            assert!(greedy.await.is_err_and(|error| error.is_cancelled()));
        });
    });
}

/// A report says that a task waits at a queue, and in which line of the program.
#[test]
fn a_report_says_where_a_task_waits() {
    watched(|| {
        let runtime = workers(1);
        let queue = Arc::new(Queue::<u32>::new(1));
        let line = line!() + 2;
        let get = queue.clone();
        let task = runtime.spawn(async move { get.get().await });
        until(|| queue.stats().waiting_get == 1);
        let waits = || {
            let tasks = runtime.handle().tasks();
            let info = tasks.into_iter().find(|info| info.id == task.id()).expect("it is listed");
            (info.wait, info.wait_location.map(std::panic::Location::line))
        };
        until(|| waits() == (WaitKind::Recv, Some(line)));
        queue.close();
        assert_eq!(task.join_blocking().unwrap(), Err(GetError));
    });
}
