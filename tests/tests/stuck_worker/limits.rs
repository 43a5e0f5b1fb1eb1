//! How many substitutes there may be, what becomes of them, and what is told of a stuck poll.

use super::*;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};

/// Starts `count` tasks that are all stuck at the same time when it returns. What comes back feeds them.
fn get_stuck(runtime: &Runtime, count: usize) -> (Vec<filch::JoinHandle<()>>, Vec<Sender<()>>) {
    let (started, are_started) = mpsc::channel();
    let (tasks, feeds) = (0..count)
        .map(|_| {
            let (feed, fed) = mpsc::channel();
            let started = started.clone();
            let task = runtime.spawn(async move {
                started.send(()).unwrap();
                fed.recv().unwrap();
            });
            (task, feed)
        })
        .unzip();
    (0..count).for_each(|_| are_started.recv().unwrap());
    (tasks, feeds)
}

fn feed_all(feeds: Vec<Sender<()>>) {
    feeds.into_iter().for_each(|feed| feed.send(()).unwrap());
}

#[test]
fn up_to_as_many_substitutes_as_workers_and_two_keep_the_rest_going() {
    watched(|| {
        for count in [1, 2] {
            let runtime = workers(count);
            // One thread is left, of all those that there may be.
            let most = 2 * count + 2;
            let (tasks, feeds) = get_stuck(&runtime, most - 1);
            assert_eq!(runtime.spawn(async { sleep(MS).await }).join_blocking().ok(), Some(()));
            assert!(runtime.metrics().threads <= most);
            // The last one is fed by a task.
            runtime.spawn(async move { feed_all(feeds) }).join_blocking().unwrap();
            tasks.into_iter().for_each(|task| task.join_blocking().unwrap());
            assert!(runtime.metrics().rescues >= most as u64 - 1 - count as u64);
        }
    });
}

#[test]
fn beyond_that_it_waits_and_goes_on_when_one_comes_back() {
    watched(|| {
        for count in [1, 2] {
            let runtime = workers(count);
            let most = 2 * count + 2;
            let (tasks, mut feeds) = get_stuck(&runtime, most);
            let waits = runtime.spawn(async { 1 });
            assert!(runtime.metrics().threads <= most);
            assert!(!waits.is_finished());
            feeds.pop().unwrap().send(()).unwrap();
            assert_eq!(waits.join_blocking().unwrap(), 1);
            assert_eq!(runtime.spawn(async { 2 }).join_blocking().unwrap(), 2);
            feed_all(feeds);
            tasks.into_iter().for_each(|task| task.join_blocking().unwrap());
        }
    });
}

#[test]
fn substitutes_retire() {
    watched(|| {
        let runtime = workers(2);
        for _ in 0..3 {
            let (tasks, feeds) = get_stuck(&runtime, 5);
            until(|| runtime.metrics().threads == 6);
            feed_all(feeds);
            tasks.into_iter().for_each(|task| task.join_blocking().unwrap());
            // As many as there are workers are kept for the next time, for a while.
            until(|| runtime.metrics().threads <= 4);
        }
        assert!(runtime.metrics().rescues >= 9);
    });
}

#[test]
fn a_runtime_without_stuck_polls_rescues_nothing() {
    watched(|| {
        let runtime = workers(2);
        runtime.block_on(async {
            for _ in 0..100 {
                filch::spawn(filch::yield_now()).await.unwrap();
            }
        });
        assert_eq!(runtime.metrics().workers, 2);
        assert!(runtime.metrics().threads >= 2);
    });
}

#[test]
fn a_runtime_ends_with_substitutes_about() {
    watched(|| {
        let runtime = filch::Builder::new().workers(2).name("stuckend").build().unwrap();
        let (tasks, feeds) = get_stuck(&runtime, 4);
        feed_all(feeds);
        drop(runtime);
        until(|| filch_tests::threads_named("stuckend") == 0);
        tasks.into_iter().for_each(|task| task.join_blocking().unwrap());
    });
}

/// A runtime that feeds whoever waits, when told of a slow poll, and collects what it was told.
fn told(builder: filch::Builder) -> (Runtime, Arc<Mutex<Vec<filch::SlowPoll>>>, Receiver<()>) {
    let (feed, fed) = mpsc::channel();
    let all = Arc::new(Mutex::new(Vec::new()));
    let seen = all.clone();
    let builder = builder.on_slow_poll(3 * MS, move |slow| {
        seen.lock().unwrap().push(slow.clone());
        let _ = feed.send(());
    });
    (builder.build().unwrap(), all, fed)
}

#[test]
fn on_slow_poll_is_called_while_the_poll_runs_with_name_and_line() {
    watched(|| {
        let (runtime, all, fed) = told(filch::Builder::new().workers(2));
        let name = filch::task::Builder::new().name("slow one");
        let (task, line) = (name.spawn_on(async move { fed.recv().unwrap() }, runtime.handle()), line!());
        let id = task.id().as_u64();
        task.join_blocking().unwrap();
        let all = all.lock().unwrap();
        let slow = all.iter().find(|slow| slow.id == id).expect("it was told of");
        assert_eq!(slow.name.as_deref(), Some("slow one"));
        let location = slow.location.unwrap();
        assert_eq!((location.file(), location.line()), (file!(), line));
        assert!(slow.running_for >= 3 * MS);
        assert_eq!(all.iter().filter(|slow| slow.id == id).count(), 1, "once a poll");
    });
}

#[test]
fn on_slow_poll_is_called_for_roots_and_in_every_flavour() {
    watched(|| {
        for builder in [filch::Builder::new().workers(1), filch::Builder::single_thread()] {
            let (runtime, all, fed) = told(builder);
            let line = line!() + 1;
            runtime.block_on(async { fed.recv().unwrap() });
            let all = all.lock().unwrap();
            assert!(all.iter().any(|slow| slow.location.is_some_and(|at| at.line() == line)), "{all:?}");
        }
    });
}

#[test]
fn a_panic_in_on_slow_poll_is_caught_and_rescue_goes_on() {
    watched(|| {
        let calls = Arc::new(AtomicUsize::new(0));
        let counts = calls.clone();
        let builder = filch::Builder::new().workers(1).on_slow_poll(MS, move |_| {
            counts.fetch_add(1, SeqCst);
            panic!("in the callback");
        });
        let runtime = builder.build().unwrap();
        for _ in 0..3 {
            stuck_until_fed(&runtime, async |feed: Sender<()>| {
                drop(filch::spawn(async move { feed.send(()).unwrap() }));
            });
        }
        let (tasks, feeds) = get_stuck(&runtime, 1);
        let before = calls.load(SeqCst);
        until(|| calls.load(SeqCst) > before);
        feed_all(feeds);
        tasks.into_iter().for_each(|task| task.join_blocking().unwrap());
    });
}
