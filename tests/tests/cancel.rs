//! The promise: an abort ends a task in whatever state it is, its future is dropped once and where it may be,
//! and whoever joins gets the value or `cancelled`, never both and never neither. Dropping an operation loses
//! nothing.

use std::future::{Future, pending, poll_fn};
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::sync::{Arc, Barrier, mpsc};
use std::task::Poll;
use std::thread::{self, ThreadId};
use std::time::Duration;

use filch::sync::Notify;
use filch::testing::{Ledger, Trial, cancel_at_every_await};
use filch::time::{sleep, timeout};
use filch_tests::{on_drop, single, until, watched, workers};

#[path = "cancel/operations.rs"]
mod operations;

/// A future that is never ready, and sends the thread on which it is dropped.
fn tells_its_drop() -> (impl Future<Output = ()> + Send + 'static, mpsc::Receiver<ThreadId>) {
    let (tell, told) = mpsc::channel();
    let guard = on_drop(move || tell.send(thread::current().id()).unwrap());
    let future = async move {
        let _guard = guard;
        pending::<()>().await;
    };
    (future, told)
}

/// Aborts, and checks that the task ends as cancelled, and that its future was dropped once, not on this thread.
fn aborts(handle: filch::JoinHandle<()>, told: &mpsc::Receiver<ThreadId>) {
    handle.abort();
    handle.abort();
    assert!(handle.join_blocking().unwrap_err().is_cancelled());
    assert_ne!(told.try_recv().expect("dropped before the join"), thread::current().id());
    told.recv().expect_err("dropped once");
}

#[test]
fn tk5_before_the_first_poll() {
    watched(|| {
        let runtime = workers(1);
        let (polls, gate) = (Arc::new(AtomicUsize::new(0)), Arc::new(Barrier::new(2)));
        let opens = gate.clone();
        drop(runtime.spawn(async move { opens.wait() }));
        let (future, told) = tells_its_drop();
        let polled = polls.clone();
        let handle = runtime.spawn(async move {
            polled.fetch_add(1, SeqCst);
            future.await;
        });
        // Whether or not the worker has got to it: the abort comes from here, the poll is behind the gate.
        handle.abort();
        gate.wait();
        aborts(handle, &told);
        assert_eq!(polls.load(SeqCst), 0);
    });
}

#[test]
fn tk5_while_idle() {
    watched(|| {
        let runtime = workers(2);
        let (future, told) = tells_its_drop();
        let (tell, polled) = mpsc::channel();
        let handle = runtime.spawn(async move {
            tell.send(()).unwrap();
            future.await;
        });
        polled.recv().unwrap();
        until(|| runtime.handle().tasks().iter().any(|task| task.state == filch::TaskState::Waiting));
        aborts(handle, &told);
    });
}

#[test]
fn tk5_while_queued_after_a_wake() {
    watched(|| {
        let runtime = workers(1);
        let (notify, polls) = (Arc::new(Notify::new()), Arc::new(AtomicUsize::new(0)));
        let (future, told) = tells_its_drop();
        let (wakes, polled) = (notify.clone(), polls.clone());
        let handle = runtime.spawn(async move {
            wakes.notified().await;
            polled.fetch_add(1, SeqCst);
            future.await;
        });
        let abort = handle.abort_handle();
        // In one poll of the only worker: the task is woken, hence queued, then aborted.
        let aborter = runtime.spawn(async move {
            filch::yield_now().await;
            notify.notify_one();
            abort.abort();
        });
        aborter.join_blocking().unwrap();
        aborts(handle, &told);
        assert_eq!(polls.load(SeqCst), 0);
    });
}

#[test]
fn tk5_while_running_takes_effect_at_the_end_of_the_poll() {
    watched(|| {
        let runtime = workers(2);
        let (started, is_started) = mpsc::channel();
        let (go_on, wait) = mpsc::channel::<()>();
        let (future, told) = tells_its_drop();
        let handle = runtime.spawn(async move {
            started.send(()).unwrap();
            wait.recv().unwrap();
            future.await;
        });
        is_started.recv().unwrap();
        handle.abort();
        assert!(!handle.is_finished());
        assert!(told.try_recv().is_err(), "nothing is dropped under a poll");
        go_on.send(()).unwrap();
        aborts(handle, &told);
    });
}

#[test]
fn while_running_its_last_poll_keeps_the_output() {
    watched(|| {
        let runtime = workers(2);
        let (started, is_started) = mpsc::channel();
        let (go_on, wait) = mpsc::channel::<u32>();
        let handle = runtime.spawn(async move {
            started.send(()).unwrap();
            wait.recv().unwrap()
        });
        is_started.recv().unwrap();
        handle.abort();
        go_on.send(5).unwrap();
        assert_eq!(handle.join_blocking().unwrap(), 5);
    });
}

#[test]
fn by_the_task_itself() {
    watched(|| {
        let runtime = workers(1);
        let (give, take) = mpsc::channel::<filch::task::AbortHandle>();
        let (future, told) = tells_its_drop();
        let handle = runtime.spawn(async move {
            take.recv().unwrap().abort();
            future.await;
        });
        give.send(handle.abort_handle()).unwrap();
        assert!(handle.join_blocking().unwrap_err().is_cancelled());
        told.recv().unwrap();
        told.recv().expect_err("dropped once");
    });
}

#[test]
fn tk5_after_the_end_it_changes_nothing() {
    watched(|| {
        let runtime = workers(1);
        let handle = runtime.spawn(async { 4 });
        until(|| handle.is_finished());
        handle.abort();
        assert_eq!(handle.join_blocking().unwrap(), 4);
    });
}

#[test]
fn after_shutdown_it_changes_nothing() {
    watched(|| {
        let runtime = workers(1);
        let (done, left) = (runtime.spawn(async { 4 }), runtime.spawn(pending::<()>()));
        until(|| done.is_finished());
        drop(runtime);
        done.abort();
        left.abort();
        assert_eq!(done.join_blocking().unwrap(), 4);
        assert!(left.join_blocking().unwrap_err().is_cancelled());
    });
}

#[test]
fn a_drop_that_panics_is_a_panic_of_the_task() {
    watched(|| {
        let runtime = workers(1);
        let handle = runtime.spawn(async {
            let _guard = on_drop(|| panic!("dropped badly"));
            pending::<()>().await;
        });
        until(|| runtime.handle().tasks().iter().any(|task| task.polls == 1));
        handle.abort();
        let error = handle.join_blocking().unwrap_err();
        assert!(error.is_panic() && error.to_string().contains("dropped badly"), "{error}");
        assert_eq!(runtime.spawn(async { 1 }).join_blocking().unwrap(), 1);
    });
}

/// Tasks in any state are aborted from plain threads, while they run, wait and end.
fn races(runtime: &filch::Runtime, rounds: usize) {
    let (ledger, outputs) = (Ledger::new(), Arc::new(AtomicUsize::new(0)));
    let mut values = 0;
    for round in 0..rounds {
        let (token, said) = (ledger.message(0), outputs.clone());
        let handle = runtime.spawn(async move {
            let _token = token;
            for _ in 0..round % 4 {
                filch::yield_now().await;
            }
            said.fetch_add(1, SeqCst);
        });
        let aborters: [_; 2] = std::array::from_fn(|_| handle.abort_handle());
        let aborters = aborters.map(|abort| thread::spawn(move || abort.abort()));
        values += usize::from(handle.join_blocking().is_ok());
        aborters.into_iter().for_each(|thread| thread.join().unwrap());
    }
    assert_eq!(ledger.drops(), rounds);
    assert_eq!(values, outputs.load(SeqCst), "a value came back for each that was made, and for no other");
}

#[test]
fn tk5_from_plain_threads_at_any_moment_there_is_a_value_or_none_and_one_drop() {
    watched(|| [1, 2].into_iter().for_each(|count| races(&workers(count), 1_000)));
}

#[test]
fn a_task_that_others_wake_all_the_time_can_be_aborted() {
    watched(|| {
        let runtime = workers(2);
        let (give, take) = mpsc::channel();
        let ledger = Ledger::new();
        let token = ledger.message(0);
        let mut give = Some(give);
        let handle = runtime.spawn(async move {
            let _token = token;
            poll_fn(|cx| {
                give.take().into_iter().for_each(|give| give.send(cx.waker().clone()).unwrap());
                Poll::<()>::Pending
            })
            .await;
        });
        let waker = take.recv().unwrap();
        let abort = handle.abort_handle();
        let waking = thread::spawn(move || {
            while !abort.is_finished() {
                waker.wake_by_ref();
            }
            // To a task that is done it means nothing.
            waker.wake();
        });
        handle.abort();
        assert!(handle.join_blocking().unwrap_err().is_cancelled());
        waking.join().unwrap();
        assert_eq!(ledger.drops(), 1);
    });
}

#[test]
fn a_task_aborted_from_outside_of_a_single_threaded_runtime_ends_at_the_next_block_on() {
    watched(|| {
        let runtime = single();
        let (future, told) = tells_its_drop();
        let handle = runtime.spawn(future);
        handle.abort();
        assert!(!handle.is_finished());
        assert!(runtime.block_on(handle).unwrap_err().is_cancelled());
        assert_eq!(told.recv().unwrap(), thread::current().id());
    });
}
