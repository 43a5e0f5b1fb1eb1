//! The promise: a `JoinHandle` gives the output once, to whoever waits in whichever way, and dropping it
//! changes nothing for the task.

use std::future::{Future, pending};
use std::panic::Location;
use std::pin::Pin;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::sync::{Arc, Mutex, mpsc};
use std::task::{Context, Poll};
use std::thread;
use std::time::Duration;

use filch::sync::Notify;
use filch_tests::{channel_waker, panics, single, until, watched, workers};

/// A task that ends when the sender is used or dropped, and until then blocks no thread.
fn gated(runtime: &filch::Runtime, output: u32) -> (filch::JoinHandle<u32>, Arc<Notify>) {
    let gate = Arc::new(Notify::new());
    let wait = gate.clone();
    let handle = runtime.spawn(async move {
        wait.notified().await;
        output
    });
    (handle, gate)
}

#[test]
fn a_dropped_handle_detaches() {
    watched(|| {
        let runtime = workers(2);
        let (handle, gate) = gated(&runtime, 1);
        let (tell, told) = mpsc::channel();
        handle.on_done(move |output| tell.send(*output.as_ref().unwrap()).unwrap());
        drop(handle);
        gate.notify_one();
        assert_eq!(told.recv().unwrap(), 1);
    });
}

#[test]
fn is_finished_says_so_only_at_the_end() {
    watched(|| {
        let runtime = workers(1);
        let (handle, gate) = gated(&runtime, 1);
        assert!(!handle.is_finished());
        assert!(format!("{handle:?}").contains("finished: false"));
        gate.notify_one();
        until(|| handle.is_finished());
        assert_eq!(handle.join_blocking().unwrap(), 1);
    });
}

#[test]
fn join_blocking_waits_on_plain_threads_and_in_tasks() {
    watched(|| {
        let runtime = workers(1);
        assert_eq!(runtime.spawn(async { 1 }).join_blocking().unwrap(), 1);
        // The only worker blocks on a task that is queued behind it.
        let outer = runtime.spawn(async { filch::spawn(async { 2 }).join_blocking().unwrap() });
        assert_eq!(outer.join_blocking().unwrap(), 2);
        let error = runtime.spawn(async { panic!("oh") }).join_blocking().unwrap_err();
        assert!(error.is_panic());
    });
}

#[test]
fn join_timeout_leaves_the_handle_as_it_was() {
    watched(|| {
        let runtime = workers(1);
        let (mut handle, gate) = gated(&runtime, 9);
        assert!(handle.join_timeout(Duration::ZERO).is_none());
        assert!(handle.join_timeout(Duration::from_nanos(1)).is_none());
        assert!(!handle.is_finished());
        gate.notify_one();
        assert_eq!(handle.join_timeout(Duration::MAX).unwrap().unwrap(), 9);
    });
}

#[test]
fn a_handle_whose_join_timeout_gave_up_can_be_awaited_by_a_task() {
    watched(|| {
        let runtime = workers(1);
        let (mut handle, gate) = gated(&runtime, 9);
        assert!(handle.join_timeout(Duration::ZERO).is_none());
        let joiner = runtime.spawn(handle);
        gate.notify_one();
        assert_eq!(joiner.join_blocking().unwrap().unwrap(), 9);
    });
}

#[test]
fn callbacks_are_called_in_order_before_the_handle_wakes_anybody() {
    watched(|| {
        let runtime = workers(2);
        for _ in 0..200 {
            let (mut handle, gate) = gated(&runtime, 4);
            let order = Arc::new(Mutex::new(Vec::new()));
            for i in 0..5 {
                let order = order.clone();
                handle.on_done(move |output| order.lock().unwrap().push((i, *output.as_ref().unwrap())));
            }
            let (waker, woken) = channel_waker();
            assert!(Pin::new(&mut handle).poll(&mut Context::from_waker(&waker)).is_pending());
            gate.notify_one();
            woken.recv().unwrap();
            assert_eq!(*order.lock().unwrap(), [(0, 4), (1, 4), (2, 4), (3, 4), (4, 4)]);
        }
    });
}

#[test]
fn a_callback_on_a_finished_task_is_called_at_once_and_on_this_thread() {
    watched(|| {
        let runtime = workers(1);
        let handle = runtime.spawn(async { 3 });
        until(|| handle.is_finished());
        let called = Arc::new(Mutex::new(None));
        let call = called.clone();
        handle.on_done(move |output| {
            *call.lock().unwrap() = Some((thread::current().id(), *output.as_ref().unwrap()));
        });
        assert_eq!(*called.lock().unwrap(), Some((thread::current().id(), 3)));
        assert_eq!(handle.join_blocking().unwrap(), 3);
    });
}

#[test]
fn callbacks_that_come_while_the_task_ends_are_called_once() {
    watched(|| {
        let runtime = workers(2);
        let calls = Arc::new(AtomicUsize::new(0));
        for _ in 0..2_000 {
            let handle = runtime.spawn(async {});
            for _ in 0..3 {
                let calls = calls.clone();
                handle.on_done(move |_| {
                    calls.fetch_add(1, SeqCst);
                });
            }
            handle.join_blocking().unwrap();
        }
        assert_eq!(calls.load(SeqCst), 6_000);
    });
}

#[test]
fn a_panic_in_a_callback_stops_neither_the_others_nor_the_join() {
    watched(|| {
        let runtime = workers(1);
        let (handle, gate) = gated(&runtime, 5);
        let (tell, told) = mpsc::channel();
        handle.on_done(|_| panic!("in a callback"));
        handle.on_done(move |_| tell.send(()).unwrap());
        gate.notify_one();
        told.recv().unwrap();
        assert_eq!(handle.join_blocking().unwrap(), 5);
        assert_eq!(runtime.spawn(async { 6 }).join_blocking().unwrap(), 6);
    });
}

#[test]
fn callbacks_see_why_there_is_no_output() {
    watched(|| {
        let runtime = workers(1);
        let (tell, told) = mpsc::channel();
        let aborted = runtime.spawn(pending::<()>());
        let to_main = tell.clone();
        aborted.on_done(move |output| to_main.send(output.as_ref().unwrap_err().is_cancelled()).unwrap());
        aborted.abort();
        assert!(told.recv().unwrap());
        let panicked = runtime.spawn(async { panic!("seen") });
        panicked.on_done(move |output: &Result<(), _>| {
            tell.send(output.as_ref().unwrap_err().is_panic()).unwrap();
        });
        assert!(told.recv().unwrap());
        assert!(panicked.join_blocking().is_err());
    });
}

#[test]
fn polling_after_the_output_was_given_panics_with_the_reason() {
    watched(|| {
        let runtime = workers(1);
        let mut handle = runtime.spawn(async { 1 });
        assert_eq!(handle.join_timeout(Duration::MAX).unwrap().unwrap(), 1);
        let text = panics(|| drop(handle.join_timeout(Duration::MAX)));
        assert!(text.contains("polled again after it had been ready"), "{text}");
        let text = panics(|| handle.on_done(|_| ()));
        assert!(text.contains("after the output was taken"), "{text}");
        assert!(handle.is_finished());
    });
}

#[test]
fn the_newest_waker_is_the_one_that_is_woken() {
    watched(|| {
        let runtime = workers(2);
        for _ in 0..500 {
            let (mut handle, gate) = gated(&runtime, 2);
            let (first, first_woken) = channel_waker();
            let (second, second_woken) = channel_waker();
            assert!(Pin::new(&mut handle).poll(&mut Context::from_waker(&first)).is_pending());
            let opener = thread::spawn(move || gate.notify_one());
            // Against the completion on another thread.
            let polled = Pin::new(&mut handle).poll(&mut Context::from_waker(&second));
            drop((first, second));
            match polled {
                Poll::Pending => second_woken.recv().unwrap(),
                Poll::Ready(output) => assert_eq!(output.unwrap(), 2),
            }
            drop(first_woken);
            opener.join().unwrap();
        }
    });
}

#[test]
fn a_handle_is_handed_on_to_another_task_half_way() {
    watched(|| {
        let runtime = workers(2);
        let (mut handle, gate) = gated(&runtime, 8);
        let output = runtime.block_on(async move {
            assert!(filch_tests::poll_once(&mut handle).await.is_none());
            let joiner = filch::spawn(handle);
            gate.notify_one();
            joiner.await.unwrap()
        });
        assert_eq!(output.unwrap(), 8);
    });
}

#[test]
fn an_abort_handle_outlives_the_handle_and_its_clones_are_alike() {
    watched(|| {
        let runtime = workers(1);
        let handle = runtime.spawn(pending::<()>());
        let abort = handle.abort_handle();
        let other = abort.clone();
        assert_eq!((abort.id(), other.id()), (handle.id(), handle.id()));
        let (tell, told) = mpsc::channel();
        handle.on_done(move |output| tell.send(output.as_ref().unwrap_err().is_cancelled()).unwrap());
        drop(handle);
        assert!(!abort.is_finished());
        other.abort();
        assert!(told.recv().unwrap());
        until(|| abort.is_finished());
        abort.abort();
        drop(runtime);
        abort.abort();
        assert!(format!("{abort:?}").contains("finished: true"));
    });
}

#[track_caller]
fn here() -> &'static Location<'static> {
    Location::caller()
}

#[test]
fn the_error_of_a_panic_says_which_task_where_and_what() {
    watched(|| {
        let runtime = workers(1);
        let named = filch::task::Builder::new().name("feeder");
        let (handle, line) =
            (named.spawn_on(async { panic!("out of {}", "food") }, runtime.handle()), here());
        let id = handle.id().as_u64();
        let error: filch::JoinError = handle.join_blocking().unwrap_err();
        assert!(error.is_panic() && !error.is_cancelled());
        assert_eq!((error.id(), error.name()), (id, Some("feeder")));
        assert_eq!((error.location().file(), error.location().line()), (line.file(), line.line()));
        let expected =
            format!("task {id} \"feeder\", spawned at {}, panicked: out of food", error.location());
        assert_eq!(error.to_string(), expected);
        assert!(format!("{error:?}").contains(&expected));
        let io: std::io::Error = error.into();
        assert_eq!(io.to_string(), expected);
    });
}

#[test]
fn the_error_of_an_abort_says_which_task_and_where() {
    watched(|| {
        let runtime = workers(1);
        let (handle, line) = (runtime.spawn(pending::<()>()), here().line());
        handle.abort();
        let id = handle.id().as_u64();
        let error = handle.join_blocking().unwrap_err();
        assert!(error.is_cancelled() && !error.is_panic());
        assert_eq!((error.id(), error.name(), error.location().line()), (id, None, line));
        assert_eq!(error.to_string(), format!("task {id}, spawned at {}, was cancelled", error.location()));
    });
}

#[test]
fn what_the_panic_carried_comes_back_whole() {
    watched(|| {
        let runtime = workers(1);
        let carry = |value: u64| {
            runtime.spawn(async move { std::panic::panic_any(value) }).join_blocking().unwrap_err()
        };
        assert_eq!(*carry(77).into_panic().downcast::<u64>().unwrap(), 77);
        assert_eq!(*carry(78).try_into_panic().unwrap().downcast::<u64>().unwrap(), 78);
        assert!(carry(79).to_string().contains("(a payload without text)"));
    });
}

#[test]
fn into_panic_on_an_abort_panics_and_try_into_panic_gives_the_error_back() {
    watched(|| {
        let runtime = workers(1);
        let cancelled = || {
            let handle = runtime.spawn(pending::<()>());
            handle.abort();
            handle.join_blocking().unwrap_err()
        };
        assert!(cancelled().try_into_panic().unwrap_err().is_cancelled());
        let text = panics(|| drop(cancelled().into_panic()));
        assert!(text.contains("no panic") && text.contains("was cancelled"), "{text}");
    });
}

#[test]
fn a_task_joins_itself_to_a_cycle_of_handles_without_harm_to_others() {
    watched(|| {
        let runtime = single();
        let output = runtime.block_on(async {
            let (send, recv) = mpsc::channel::<filch::JoinHandle<()>>();
            let joins_itself = filch::spawn(async move {
                let me = recv.recv().unwrap();
                me.await.unwrap();
            });
            let abort = joins_itself.abort_handle();
            send.send(joins_itself).unwrap();
            let other = filch::spawn(async { 1 }).await.unwrap();
            assert!(!abort.is_finished());
            abort.abort();
            filch::spawn(filch_tests::until_yielding(move || abort.is_finished())).await.unwrap();
            other
        });
        assert_eq!(output, 1);
    });
}

#[test]
fn a_blocking_job_joins_any_number_of_tasks() {
    // More than a task may get done in one poll; a thread has no polls.
    let joined = watched(|| {
        filch::run(async {
            let tasks: Vec<_> = (0..1_000).map(|n| filch::spawn(async move { n })).collect();
            let join =
                move || tasks.into_iter().map(|task| task.join_blocking().expect("no panic")).sum::<u32>();
            filch::spawn_blocking(join).await.expect("no panic")
        })
    });
    assert_eq!(joined, 499_500);
}
