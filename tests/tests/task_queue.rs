//! The promise: background tasks are all done, or tried as often as was asked and told of; no worker is lost
//! to one that fails or panics; and a wait is for all of them.
#![allow(missing_docs)]

use std::error::Error;
use std::sync::atomic::{AtomicU32, Ordering::SeqCst};
use std::sync::{Arc, Mutex, mpsc};
use std::time::Duration;

use filch::pool::{TaskQueue, TaskQueueClosed};
use filch_tests::{Child, PATIENCE, child_case, on_drop, poll_once, watched};

type Outcome = Result<(), Box<dyn Error + Send + Sync>>;

fn counter() -> (Arc<AtomicU32>, Arc<AtomicU32>) {
    let count = Arc::new(AtomicU32::new(0));
    (count.clone(), count)
}

#[test]
fn all_is_done_when_the_wait_ends() {
    watched(|| {
        let queue = TaskQueue::new(3).unwrap();
        for round in 1..=20 {
            let (count, _) = counter();
            for _ in 0..100 {
                let count = count.clone();
                let task = move || -> Outcome {
                    count.fetch_add(1, SeqCst);
                    Ok(())
                };
                queue.submit(task).unwrap();
            }
            if round % 2 == 0 {
                queue.wait_blocking()
            } else {
                filch::run(queue.wait())
            }
            assert_eq!((count.load(SeqCst), queue.unfinished()), (100, 0));
        }
        let report = queue.shutdown(PATIENCE);
        assert_eq!((report.done, report.failed, report.cancelled), (2_000, 0, 0));
        assert_eq!(queue.submit(|| Outcome::Ok(())), Err(TaskQueueClosed));
        assert_eq!(filch::run(queue.submit_async(|| Outcome::Ok(()))), Err(TaskQueueClosed));
    });
}

#[test]
fn failures_are_told_and_tried_again() {
    watched(|| {
        let (told, heard) = mpsc::channel();
        let told = Mutex::new(told);
        let queue = TaskQueue::builder()
            .retries(2, Duration::from_nanos(100), Duration::from_nanos(150))
            .on_error(move |failure| {
                let pause = failure.retry_in.map(|pause| pause.as_nanos());
                told.lock().unwrap().send((failure.tries, pause, failure.to_string())).unwrap();
                panic!("of the hook");
            })
            .build()
            .unwrap();
        let (count, tries) = counter();
        queue.submit(move || if count.fetch_add(1, SeqCst) == 1 { Ok(()) } else { Err("busy") }).unwrap();
        queue.submit(|| Err::<(), _>("never")).unwrap();
        queue.submit(|| -> Outcome { panic!("a mistake") }).unwrap();
        let bomb = on_drop(|| panic!("dropped"));
        queue
            .submit(move || {
                let _ = &bomb;
                Outcome::Ok(())
            })
            .unwrap();
        queue.wait_blocking();
        assert_eq!(tries.load(SeqCst), 2);
        let heard: Vec<_> = heard.try_iter().collect();
        let tries: Vec<_> = heard.iter().map(|(tries, pause, _)| (*tries, *pause)).collect();
        assert_eq!(tries, [(1, Some(100)), (1, Some(100)), (2, Some(150)), (3, None), (1, None)]);
        assert!(heard[0].2.contains("task_queue.rs") && heard[0].2.contains("failed: busy; try 2 follows"));
        assert!(heard[3].2.ends_with("failed: never; given up after 3 tries"), "{}", heard[3].2);
        assert!(heard[4].2.ends_with("panicked: a mistake"), "{}", heard[4].2);
        let report = queue.shutdown(PATIENCE);
        assert_eq!((report.done, report.failed), (2, 2), "its one worker is there to the end");
    });
}

#[test]
fn without_a_hook_failures_go_to_stderr() {
    if child_case().is_some() {
        let queue = TaskQueue::new(1).unwrap();
        queue.submit(|| Err::<(), _>("no luck")).unwrap();
        queue.wait_blocking();
        return;
    }
    let told = Child::new("without_a_hook_failures_go_to_stderr", "x").succeeds();
    assert!(told.contains("filch: the task submitted at") && told.contains("failed: no luck"), "{told}");
}

#[test]
fn a_full_queue_makes_wait_and_the_end_cancels_what_has_not_begun() {
    watched(|| {
        let queue = TaskQueue::builder().name("bg").queue(1).build().unwrap();
        let ((begun, has_begun), (free, freed)) = (mpsc::channel(), mpsc::channel::<()>());
        let stuck = move || {
            begun.send(()).unwrap();
            let _ = freed.recv();
            Outcome::Ok(())
        };
        queue.submit(stuck).unwrap();
        has_begun.recv().unwrap();
        let (count, run) = counter();
        let task = move || {
            count.fetch_add(1, SeqCst);
            Outcome::Ok(())
        };
        queue.submit(task.clone()).unwrap();
        filch::run(async {
            let mut waits = Box::pin(queue.submit_async(task));
            assert!(poll_once(&mut waits).await.is_none());
        });
        assert!(!queue.wait_timeout(Duration::ZERO));
        let report = queue.shutdown(Duration::from_millis(1));
        assert_eq!((report.cancelled, report.unfinished.len()), (1, 1), "{report:?}");
        let unfinished = report.unfinished[0].to_string();
        assert!(unfinished.starts_with("bg-1 ") && unfinished.contains("task_queue.rs"), "{unfinished}");
        drop(free);
        let report = queue.shutdown(PATIENCE);
        assert_eq!((report.done, report.cancelled, report.unfinished.len()), (1, 1, 0));
        assert_eq!(run.load(SeqCst), 0);
        // All that is left is done with.
        queue.wait_blocking();
    });
}

#[test]
fn the_end_does_not_wait_for_pauses() {
    watched(|| {
        let hour = Duration::from_secs(3_600);
        let (told, heard) = mpsc::channel();
        let told = Mutex::new(told);
        let queue = TaskQueue::builder()
            .retries(3, hour, hour)
            .on_error(move |failure| told.lock().unwrap().send(failure.tries).unwrap())
            .build()
            .unwrap();
        queue.submit(|| Err::<(), _>("busy")).unwrap();
        assert_eq!(heard.recv(), Ok(1));
        let report = queue.shutdown(PATIENCE);
        assert_eq!((report.failed, report.unfinished.len()), (1, 0));
        assert_eq!(heard.try_iter().collect::<Vec<_>>(), [2, 3, 4]);
    });
}

#[test]
fn what_was_submitted_is_done_though_the_queue_is_dropped() {
    watched(|| {
        let queue = TaskQueue::new(1).unwrap();
        let (done, all) = mpsc::channel();
        for n in 0..10 {
            let done = done.clone();
            queue.submit(move || done.send(n)).unwrap();
        }
        drop((queue, done));
        assert_eq!(all.iter().sum::<i32>(), 45);
        assert!(TaskQueue::new(0).unwrap_err().to_string().contains("not 0"));
    });
}
