//! The promise: `Handle::tasks` tells of each live task what it is, what it does and what it waits for, at
//! any time, without polling one.

use std::collections::HashMap;
use std::future::{pending, poll_fn};
use std::sync::{Arc, Mutex, mpsc};
use std::task::Poll;
use std::time::Duration;

use filch::sync::{Notify, Semaphore};
use filch::time::sleep;
use filch::{Handle, Runtime, TaskInfo, TaskState, WaitKind};
use filch_tests::{single, until, watched, workers};

const LONG: Duration = Duration::from_secs(3_600);

/// The task `id`, which must be listed.
#[track_caller]
fn of(handle: &Handle, id: filch::task::Id) -> TaskInfo {
    handle.tasks().into_iter().find(|task| task.id == id).expect("it is listed")
}

/// Spawns `future` and returns what is listed of it once it waits.
fn waiting<F>(runtime: &Runtime, future: F) -> (TaskInfo, filch::JoinHandle<F::Output>)
where
    F: Future + Send + 'static,
    F::Output: Send + 'static,
{
    let task = runtime.spawn(future);
    until(|| {
        let info = of(runtime.handle(), task.id());
        info.state == TaskState::Waiting && info.polls > 0
    });
    (of(runtime.handle(), task.id()), task)
}

#[test]
fn who_it_is_and_where_it_was_spawned() {
    watched(|| {
        for runtime in [single(), workers(1)] {
            let named = filch::task::Builder::new().name("fetcher");
            let (task, line) = (named.spawn_on(pending::<()>(), runtime.handle()), line!());
            let info = of(runtime.handle(), task.id());
            assert_eq!((info.id, info.name.as_deref(), info.parent), (task.id(), Some("fetcher"), None));
            assert_eq!((info.location.file(), info.location.line()), (file!(), line));
            let (task, line) = (runtime.spawn(pending::<()>()), line!());
            let info = of(runtime.handle(), task.id());
            assert_eq!((info.name, info.location.line()), (None, line));
        }
    });
}

#[test]
fn the_ways_of_spawning_all_note_the_line_of_the_caller() {
    watched(|| {
        let runtime = single();
        runtime.block_on(async {
            let handle = Handle::current();
            let line = |id| of(&handle, id).location.line();
            let (task, here) = (filch::spawn(pending::<()>()), line!());
            assert_eq!(line(task.id()), here);
            let (task, here) = (handle.spawn(pending::<()>()), line!());
            assert_eq!(line(task.id()), here);
            let (task, here) = (runtime.spawn(pending::<()>()), line!());
            assert_eq!(line(task.id()), here);
            let (task, here) = (filch::task::Builder::new().spawn(pending::<()>()), line!());
            assert_eq!(line(task.id()), here);
        });
    });
}

#[test]
fn whose_child_it_is() {
    watched(|| {
        for runtime in [single(), workers(2)] {
            runtime.block_on(async {
                let handle = Handle::current();
                let (give, take) = mpsc::channel();
                let parent = filch::spawn(async move {
                    let child = filch::spawn(async move {
                        let grandchild = filch::spawn(pending::<()>());
                        give.send(grandchild.id()).unwrap();
                        pending::<()>().await;
                    });
                    let id = child.id();
                    filch_tests::until_yielding(move || {
                        !matches!(take.try_recv(), Err(mpsc::TryRecvError::Empty))
                    })
                    .await;
                    id
                });
                let id = parent.id();
                let child = parent.await.unwrap();
                assert_eq!(of(&handle, child).parent, Some(id));
                let tasks = handle.tasks();
                assert!(tasks.iter().any(|task| task.parent == Some(child)), "the grandchild");
                assert!(tasks.iter().all(|task| task.id != id), "what is done is not listed");
            });
        }
    });
}

#[test]
fn what_a_timer_a_semaphore_a_notification_and_a_join_look_like() {
    watched(|| {
        let runtime = workers(2);
        let (info, _sleeps) = waiting(&runtime, async { sleep(LONG).await });
        assert_eq!((info.wait, info.wait_location.map(|at| at.file())), (WaitKind::Timer, Some(file!())));

        let semaphore = Arc::new(Semaphore::new(0));
        let acquires = semaphore.clone();
        let (info, _acquires) = waiting(&runtime, async move { drop(acquires.acquire().await) });
        assert_eq!(info.wait, WaitKind::Semaphore);
        assert_ne!(info.wait_resource, 0);
        let acquires = semaphore.clone();
        let (other, _acquires) = waiting(&runtime, async move { drop(acquires.acquire_many(2).await) });
        assert_eq!(other.wait_resource, info.wait_resource, "the same semaphore");

        let notify = Arc::new(Notify::new());
        let (info, _waits) = waiting(&runtime, async move { notify.notified().await });
        assert_eq!((info.wait, info.wait_location.map(|at| at.file())), (WaitKind::Notify, Some(file!())));

        let joined = runtime.spawn(pending::<()>());
        let id = joined.id();
        let (info, _joins) = waiting(&runtime, async move { drop(joined.await) });
        assert_eq!((info.wait, info.wait_resource as u64), (WaitKind::Join, id.as_u64()));

        let (info, _foreign) = waiting(&runtime, poll_fn(|_| Poll::<()>::Pending));
        assert_eq!(info.wait, WaitKind::Unknown);
    });
}

#[test]
fn what_sockets_look_like() {
    watched(|| {
        let runtime = workers(1);
        let (info, _reads) = waiting(&runtime, async {
            let (ours, _theirs) = filch::net::UnixDatagram::pair().unwrap();
            ours.recv(&mut [0; 4]).await.unwrap();
        });
        assert_eq!(info.wait, WaitKind::Readable);
        let (info, _writes) = waiting(&runtime, async {
            let (ours, _theirs) = filch::net::UnixDatagram::pair().unwrap();
            loop {
                ours.send(&[0; 1_000]).await.unwrap();
            }
        });
        assert_eq!(info.wait, WaitKind::Writable);
        let (info, _accepts) = waiting(&runtime, async {
            let listener = filch::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
            listener.accept().await.unwrap();
        });
        assert_eq!(info.wait, WaitKind::Readable);
    });
}

#[test]
fn what_it_waited_for_is_forgotten_when_it_goes_on() {
    watched(|| {
        let runtime = workers(2);
        let notify = Arc::new(Notify::new());
        let waits = notify.clone();
        let (end, ends) = mpsc::channel::<()>();
        let (info, task) = waiting(&runtime, async move {
            waits.notified().await;
            ends.recv().unwrap();
        });
        assert_eq!(info.wait, WaitKind::Notify);
        notify.notify_one();
        until(|| of(runtime.handle(), task.id()).state == TaskState::Running);
        assert_eq!(of(runtime.handle(), task.id()).wait, WaitKind::Unknown);
        end.send(()).unwrap();
        task.join_blocking().unwrap();
    });
}

#[test]
fn running_waiting_scheduled_and_cancelled() {
    watched(|| {
        single().block_on(async {
            let handle = Handle::current();
            let waits = filch::spawn(pending::<()>());
            assert_eq!(
                (of(&handle, waits.id()).state, of(&handle, waits.id()).polls),
                (TaskState::Scheduled, 0)
            );
            let (give, take) = mpsc::channel();
            let looks = filch::spawn(async move {
                let id: filch::task::Id = take.recv().unwrap();
                of(&Handle::current(), id).state
            });
            give.send(looks.id()).unwrap();
            assert_eq!(looks.await.unwrap(), TaskState::Running);
            assert_eq!(
                (of(&handle, waits.id()).state, of(&handle, waits.id()).polls),
                (TaskState::Waiting, 1)
            );
            waits.abort();
            assert_eq!(of(&handle, waits.id()).state, TaskState::Cancelled);
            assert!(waits.await.unwrap_err().is_cancelled());
        });
    });
}

#[test]
fn polls_are_counted() {
    watched(|| {
        let runtime = single();
        runtime.block_on(async {
            let handle = Handle::current();
            let task = filch::spawn(async {
                for _ in 0..9 {
                    filch::yield_now().await;
                }
                pending::<()>().await;
            });
            for turn in 0..15 {
                assert_eq!(of(&handle, task.id()).polls, turn.min(10));
                // Behind the task, which has one turn before this.
                filch::spawn(async {}).await.unwrap();
            }
        });
    });
}

#[test]
fn it_works_while_all_workers_are_stuck_and_polls_nothing() {
    watched(|| {
        for count in [1, 2] {
            let runtime = workers(count);
            let (info, waits) = waiting(&runtime, async { sleep(LONG).await });
            let (started, are_started) = mpsc::channel();
            // One more than there may be threads, so that the last is not begun.
            let most = 2 * count + 2;
            let stuck: Vec<_> = (0..most)
                .map(|_| {
                    let (feed, fed) = mpsc::channel::<()>();
                    let started = started.clone();
                    let task = runtime.spawn(async move {
                        started.send(()).unwrap();
                        fed.recv().unwrap();
                    });
                    (task, feed)
                })
                .collect();
            (0..most).for_each(|_| are_started.recv().unwrap());
            let queued = runtime.spawn(async {});
            let polls = runtime.metrics().polls;
            for _ in 0..100 {
                let tasks: HashMap<_, _> =
                    runtime.handle().tasks().into_iter().map(|task| (task.id, task)).collect();
                assert!(stuck.iter().all(|(task, _)| tasks[&task.id()].state == TaskState::Running));
                assert_eq!((tasks[&queued.id()].state, tasks[&queued.id()].polls), (TaskState::Scheduled, 0));
                assert_eq!(
                    (tasks[&waits.id()].polls, tasks[&waits.id()].wait),
                    (info.polls, WaitKind::Timer)
                );
            }
            assert_eq!(runtime.metrics().polls, polls);
            for (task, feed) in stuck {
                feed.send(()).unwrap();
                task.join_blocking().unwrap();
            }
            queued.join_blocking().unwrap();
        }
    });
}

#[test]
fn lists_are_made_while_tasks_come_and_go() {
    watched(|| {
        let runtime = workers(2);
        let handle = runtime.handle().clone();
        let kept = runtime.spawn(pending::<()>());
        let names = Arc::new(Mutex::new(0));
        let counts = names.clone();
        let churn = runtime.spawn(async move {
            for i in 0..5_000 {
                let name = filch::task::Builder::new().name(format!("task {i}"));
                name.spawn(async {}).await.unwrap();
                *counts.lock().unwrap() += 1;
            }
        });
        while !churn.is_finished() {
            let tasks = handle.tasks();
            assert!(tasks.windows(2).all(|pair| pair[0].id < pair[1].id), "in order, and each once");
            assert!(tasks.iter().any(|task| task.id == kept.id()));
        }
        churn.join_blocking().unwrap();
        assert_eq!((*names.lock().unwrap(), handle.tasks().len()), (5_000, 1));
    });
}

#[test]
fn each_runtime_lists_its_own() {
    watched(|| {
        let (first, second) = (workers(1), workers(1));
        let (a, b) = (first.spawn(pending::<()>()), second.spawn(pending::<()>()));
        let ids = |runtime: &Runtime| runtime.handle().tasks().iter().map(|task| task.id).collect::<Vec<_>>();
        assert_eq!((ids(&first), ids(&second)), (vec![a.id()], vec![b.id()]));
        assert_eq!((first.metrics().live_tasks, second.metrics().live_tasks), (1, 1));
    });
}

#[test]
fn every_task_counts_as_spawned_from_wherever_it_was() {
    watched(|| {
        let runtime = workers(1);
        runtime.spawn(async {}).join_blocking().unwrap();
        assert_eq!(runtime.metrics().spawned, 1, "from a plain thread");
        runtime.spawn(async { drop(filch::spawn(async {})) }).join_blocking().unwrap();
        assert_eq!(runtime.metrics().spawned, 3);
    });
}
