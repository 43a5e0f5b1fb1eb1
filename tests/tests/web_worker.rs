//! The promise: a worker answers messages one after the other on a thread of its own; what panics is the error of its
//! message alone; closed, it answers what was sent, and terminated, it throws that away; nobody waits for ever.
#![allow(missing_docs)]

use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use filch::pool::{Worker, WorkerError};
use filch::testing::cancel_at_every_await;
use filch_tests::{
    Child, Drops, PATIENCE, child_case, on_drop, poll_once, single, threads_named, until, watched,
};

/// A panic that the hook does not print.
fn raise<T>(text: &'static str) -> T {
    std::panic::resume_unwind(Box::new(text))
}

/// A worker that doubles numbers, once the sender has sent or gone; it says when it has begun one.
fn gated(queue: usize) -> (Worker<u32, u32>, mpsc::Receiver<u32>, mpsc::Sender<()>) {
    let ((begun, has_begun), (free, freed)) = (mpsc::channel(), mpsc::channel());
    let handler = move |n: u32| {
        let _ = begun.send(n);
        let _ = freed.recv();
        n * 2
    };
    (Worker::builder().queue(queue).start(handler).unwrap(), has_begun, free)
}

#[test]
fn messages_are_answered_in_order_to_threads_tasks_and_hooks() {
    watched(|| {
        let (answers, heard) = mpsc::channel();
        let mut calls = 0;
        let worker = Worker::builder()
            .name("echo")
            .on_message(move |answer| answers.send(answer).unwrap())
            .start(move |text: &'static str| {
                calls += 1;
                (calls, text.len(), thread::current().name().map(str::to_owned))
            })
            .unwrap();
        worker.post("a").unwrap();
        worker.send_blocking("bb").unwrap();
        let name = Some("echo".to_owned());
        assert_eq!(worker.ask_blocking("ccc").unwrap(), (3, 3, name.clone()));
        assert_eq!(filch::run(worker.ask("dddd")).unwrap(), (4, 4, name.clone()));
        filch::run(worker.send("eeeee")).unwrap();
        let heard: Vec<_> = heard.iter().take(3).map(|(call, len, _)| (call, len)).collect();
        assert_eq!(heard, [(1, 1), (2, 2), (5, 5)], "what was asked was answered elsewhere");
    });
}

#[test]
fn a_panic_is_the_error_of_its_message_alone() {
    watched(|| {
        let (errors, told) = mpsc::channel();
        let worker = Worker::builder()
            .name("fragile")
            .on_error(move |error: &WorkerError| errors.send(error.clone()).unwrap())
            .start(|n: u32| 10_u32.checked_div(n).unwrap_or_else(|| raise("zero")))
            .unwrap();
        let expected = WorkerError::Panicked { worker: "fragile".into(), text: "zero".into() };
        worker.post(0).unwrap();
        assert_eq!(told.recv().unwrap(), expected);
        assert_eq!(worker.ask_blocking(0), Err(expected.clone()));
        assert_eq!(told.recv().unwrap(), expected, "the hook hears of each");
        assert_eq!(worker.ask_blocking(5), Ok(2), "it goes on");
        assert!(expected.to_string().ends_with("\"fragile\" panicked: zero"));
    });
}

#[test]
fn hooks_and_drops_that_panic_do_not_end_it() {
    watched(|| {
        let worker = Worker::builder()
            .on_error(|_| raise("in the error hook"))
            .on_message(|answer| {
                // One panic at a time.
                std::mem::forget(answer);
                raise("in the message hook")
            })
            .start(|n: u32| {
                if n == 0 {
                    raise::<()>("zero");
                }
                on_drop(|| raise("dropped"))
            })
            .unwrap();
        worker.post(0).unwrap();
        worker.post(1).unwrap();
        let answer = worker.ask_blocking(2).unwrap();
        std::mem::forget(answer);
        worker.close();
        assert!(worker.ended_timeout(PATIENCE));
    });
}

#[test]
fn without_a_hook_errors_go_to_stderr() {
    if child_case().is_some() {
        let worker = Worker::<(), ()>::new(|()| panic!("unheard")).unwrap();
        worker.post(()).unwrap();
        worker.close();
        assert!(worker.ended_timeout(PATIENCE));
        return;
    }
    let told = Child::new("without_a_hook_errors_go_to_stderr", "x").succeeds();
    assert!(told.contains("filch: the handler of the worker \"worker\" panicked: unheard"), "{told}");
}

#[test]
fn a_full_queue_makes_wait() {
    watched(|| {
        let (worker, begun, free) = gated(1);
        worker.post(1).unwrap();
        assert_eq!(begun.recv().unwrap(), 1);
        worker.post(2).unwrap();
        let full = worker.post(3).unwrap_err();
        assert_eq!((full.is_closed(), full.into_inner(), worker.waiting()), (false, 3, 1));
        filch::run(async {
            let mut waits = std::pin::pin!(worker.send(4));
            assert!(poll_once(&mut waits).await.is_none());
            free.send(()).unwrap();
            waits.await.unwrap();
        });
        drop(free);
        assert_eq!(worker.ask_blocking(5), Ok(10));
    });
}

#[test]
fn closed_it_answers_what_was_sent_and_terminated_it_does_not() {
    watched(|| {
        for terminate in [false, true] {
            let (worker, begun, free) = gated(0);
            worker.post(1).unwrap();
            begun.recv().unwrap();
            thread::scope(|scope| {
                let asks = scope.spawn(|| worker.ask_blocking(2));
                until(|| worker.waiting() == 1);
                if terminate {
                    worker.terminate()
                } else {
                    worker.close()
                }
                assert!(worker.post(3).unwrap_err().is_closed());
                assert_eq!(worker.ask_blocking(3), Err(WorkerError::Closed));
                assert!(!worker.is_finished() && !worker.ended_timeout(Duration::ZERO));
                drop(free);
                let expected = if terminate { Err(WorkerError::Terminated) } else { Ok(4) };
                assert_eq!(asks.join().unwrap(), expected);
            });
            filch::run(worker.ended());
            assert!(worker.is_finished());
        }
    });
}

#[test]
fn a_worker_that_is_dropped_answers_what_was_sent_and_ends() {
    watched(|| {
        let (answers, heard) = mpsc::channel();
        let drops = Drops::new();
        let token = drops.token();
        let worker = Worker::builder()
            .name("dropped")
            .on_message(move |answer| answers.send(answer).unwrap())
            .start(move |n: u32| {
                let _ = &token;
                n + 1
            })
            .unwrap();
        (0..100).for_each(|n| worker.post(n).unwrap());
        drop(worker);
        assert_eq!(heard.iter().collect::<Vec<_>>(), (1..=100).collect::<Vec<_>>());
        until(|| threads_named("dropped") == 0);
        assert_eq!(drops.count(), 1);
    });
}

#[test]
fn a_worker_that_cannot_begin_says_so() {
    watched(|| {
        let (errors, told) = mpsc::channel();
        let builder =
            Worker::<u32, u32>::builder().on_error(move |error| errors.send(error.to_string()).unwrap());
        let worker = builder.start_with(|| -> fn(u32) -> u32 { raise("no script") }).unwrap();
        assert!(told.recv().unwrap().contains("no script"));
        assert!(worker.ended_timeout(PATIENCE));
        assert!(worker.ask_blocking(1).is_err());
        let error = Worker::<u32, u32>::builder().name("a\0b").start(|n| n).unwrap_err();
        assert!(error.to_string().contains("NUL"), "{error}");
    });
}

/// Runs a scenario at every await, in a task.
fn drive(scenario: impl AsyncFn(filch::testing::Trial) + Copy + Send + 'static) {
    watched(move || single().block_on(cancel_at_every_await(scenario)).assert_waited());
}

#[test]
fn what_waits_for_a_worker_may_be_dropped_anywhere() {
    // A send that waits for room: it is in the queue, or it is not.
    drive(async |trial| {
        let (worker, begun, free) = gated(1);
        worker.post(1).unwrap();
        begun.recv().unwrap();
        worker.post(2).unwrap();
        let frees = async {
            filch::testing::yield_now().await;
            let _ = free.send(());
        };
        let sent = trial.beside(frees).run(worker.send(3)).await.is_some();
        drop(free);
        worker.close();
        worker.ended().await;
        assert_eq!(begun.iter().collect::<Vec<_>>(), if sent { vec![2, 3] } else { vec![2] });
    });
    // A question: the worker is there for the next.
    drive(async |trial| {
        let (worker, _begun, free) = gated(0);
        let frees = async {
            filch::testing::yield_now().await;
            let _ = free.send(());
        };
        let answer = trial.beside(frees).run(worker.ask(3)).await;
        drop(free);
        assert_eq!(answer.unwrap_or(Ok(6)), Ok(6));
        assert_eq!(worker.ask(4).await, Ok(8));
    });
    // A wait for the end.
    drive(async |trial| {
        let (worker, begun, free) = gated(0);
        worker.post(1).unwrap();
        begun.recv().unwrap();
        worker.close();
        let frees = async {
            filch::testing::yield_now().await;
            let _ = free.send(());
        };
        let _ = trial.beside(frees).run(worker.ended()).await;
        drop(free);
        worker.ended().await;
        assert!(worker.is_finished());
    });
}
