//! The root of `block_on` is stuck: its thread has a worker's duties, too.

use super::*;

/// Runs a root that gets stuck, with each number of workers.
fn stuck_root(root: impl AsyncFn(Sender<u32>, Receiver<u32>) + Send + 'static) {
    each_count(move |runtime| {
        for _ in 0..5 {
            let (feed, fed) = mpsc::channel();
            runtime.block_on(root(feed, fed));
        }
    });
}

#[test]
fn on_its_child() {
    stuck_root(async |feed, fed| {
        drop(filch::spawn(async move { feed.send(1).unwrap() }));
        fed.recv().unwrap();
    });
}

#[test]
fn on_the_last_of_a_thousand_children() {
    stuck_root(async |feed, fed| {
        for i in 0..1_000 {
            let feed = feed.clone();
            drop(filch::spawn(async move { feed.send(i).unwrap() }));
        }
        let sum: u32 = (0..1_000).map(|_| fed.recv().unwrap()).sum();
        assert_eq!(sum, (0..1_000).sum());
    });
}

#[test]
fn on_a_task_that_it_woke() {
    stuck_root(async |feed, fed| {
        let notify = Arc::new(Notify::new());
        let waits = notify.clone();
        let task = filch::spawn(async move {
            waits.notified().await;
            feed.send(1).unwrap();
        });
        filch::yield_now().await;
        notify.notify_one();
        fed.recv().unwrap();
        task.await.unwrap();
    });
}

#[test]
fn on_a_task_that_it_woke_after_a_thousand_exchanges_that_ended_well() {
    // A root that comes back each time may be trusted; here it breaks the trust.
    stuck_root(async |feed, fed| {
        let (question, answer) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
        let (asked, answers) = (question.clone(), answer.clone());
        let task = filch::spawn(async move {
            for _ in 0..1_000 {
                asked.notified().await;
                answers.notify_one();
            }
            asked.notified().await;
            feed.send(1).unwrap();
        });
        for _ in 0..1_000 {
            question.notify_one();
            answer.notified().await;
        }
        question.notify_one();
        fed.recv().unwrap();
        task.await.unwrap();
    });
}

#[test]
fn on_a_timer_of_its_own() {
    stuck_root(async |_feed, _fed| {
        let (waker, woken) = channel_waker();
        let mut timer = pin!(sleep(MS));
        assert!(timer.as_mut().poll(&mut Context::from_waker(&waker)).is_pending());
        woken.recv().unwrap();
    });
}

#[test]
fn on_the_timer_of_a_child() {
    stuck_root(async |feed, fed| {
        let child = filch::spawn(async move {
            sleep(MS).await;
            feed.send(1).unwrap();
        });
        filch::yield_now().await;
        fed.recv().unwrap();
        child.await.unwrap();
    });
}

#[test]
fn on_a_socket() {
    stuck_root(async |feed, fed| {
        let (ours, theirs) = UnixDatagram::pair().unwrap();
        let child = filch::spawn(async move {
            ours.recv(&mut [0; 4]).await.unwrap();
            feed.send(1).unwrap();
        });
        filch::yield_now().await;
        theirs.try_send(b"now").unwrap();
        fed.recv().unwrap();
        child.await.unwrap();
    });
}

#[test]
fn on_a_task_that_comes_from_a_plain_thread() {
    stuck_root(async |feed, fed| {
        let handle = filch::Handle::current();
        let thread = thread::spawn(move || handle.spawn(async move { feed.send(1).unwrap() }));
        fed.recv().unwrap();
        thread.join().unwrap().await.unwrap();
    });
}

#[test]
fn with_every_worker_stuck_too() {
    each_count(|runtime| {
        let count = runtime.metrics().workers;
        let all_stuck = Arc::new(Barrier::new(count + 1));
        let (feed, fed) = mpsc::channel();
        let tasks: Vec<_> = (0..count)
            .map(|_| {
                let (feed, all_stuck) = (feed.clone(), all_stuck.clone());
                runtime.spawn(async move {
                    let (feed_me, fed) = mpsc::channel();
                    all_stuck.wait();
                    drop(filch::spawn(async move {
                        feed_me.send(()).unwrap();
                        feed.send(()).unwrap();
                    }));
                    fed.recv().unwrap();
                })
            })
            .collect();
        runtime.block_on(async move {
            all_stuck.wait();
            (0..count).for_each(|_| fed.recv().unwrap());
        });
        tasks.into_iter().for_each(|task| task.join_blocking().unwrap());
    });
}

#[test]
fn on_what_it_had_taken_over_while_it_waited() {
    // While a root waits, its thread runs tasks. Here one of those gets stuck, and what it waits for is behind it.
    each_count(|runtime| {
        runtime.block_on(async {
            let stuck: Vec<_> = (0..3)
                .map(|_| {
                    filch::spawn(async {
                        let (feed, fed) = mpsc::channel();
                        drop(filch::spawn(async move { feed.send(1).unwrap() }));
                        fed.recv().unwrap()
                    })
                })
                .collect();
            for task in stuck {
                assert_eq!(task.await.unwrap(), 1);
            }
        });
    });
}

#[test]
fn the_single_threaded_flavour_is_fed_by_other_threads_only_and_goes_on() {
    watched(|| {
        let runtime = single();
        let (feed, fed) = mpsc::channel();
        let thread = thread::spawn(move || feed.send(4).unwrap());
        let output = runtime.block_on(async move {
            let task = filch::spawn(async { 1 });
            fed.recv().unwrap() + task.await.unwrap()
        });
        assert_eq!(output, 5);
        thread.join().unwrap();
    });
}
