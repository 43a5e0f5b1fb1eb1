//! Models of the state word, on real tasks: what wakes, aborts, joins and drops can do to each other.
// That a waker is woken by value, and another by reference, is what these are about.
#![allow(clippy::waker_clone_wake)]

use std::future::{pending, poll_fn};
use std::task::{Poll, Waker};

use super::*;
use crate::shim::{model, thread};
use crate::task::TaskList;

/// A future that leaves its waker where the model can get it, and is ready once it sees `goal` in `seen`.
struct Gate {
    seen: AtomicUsize,
    goal: usize,
    polls: AtomicUsize,
    waker: Mutex<Option<Waker>>,
}

impl Gate {
    fn new(goal: usize) -> Arc<Gate> {
        Arc::new(Gate {
            seen: AtomicUsize::new(0),
            goal,
            polls: AtomicUsize::new(0),
            waker: Mutex::new(None),
        })
    }

    fn future(gate: &Arc<Gate>) -> impl Future<Output = usize> + use<> {
        let gate = gate.clone();
        poll_fn(move |cx| {
            let polls = gate.polls.fetch_add(1, Relaxed) + 1;
            if polls == 1 {
                *gate.waker.lock() = Some(cx.waker().clone());
            }
            // Relaxed: that the wake makes it visible is what the models show.
            if gate.seen.load(Relaxed) == gate.goal { Poll::Ready(polls) } else { Poll::Pending }
        })
    }

    fn waker(&self) -> Waker {
        self.waker.lock().take().expect("polled once")
    }
}

#[test]
fn tk1_model_wake_against_end_of_poll() {
    model(|| {
        let (bench, gate) = (Bench::new(), Gate::new(1));
        let handle = bench.spawn(Gate::future(&gate));
        bench.step();
        let waker = gate.waker();
        waker.wake_by_ref();
        let other = {
            let gate = gate.clone();
            thread::spawn(move || {
                gate.seen.store(1, Relaxed);
                waker.wake();
            })
        };
        bench.run();
        other.join().unwrap();
        bench.run();
        let polls = result(handle).unwrap();
        assert!((2..=3).contains(&polls), "{polls} polls: one that was due, and at most one for the wake");
        assert_eq!(polls, gate.polls.load(Relaxed));
    });
}

#[test]
fn tk2_model_wakes_by_reference_of_a_scheduled_task() {
    model(|| {
        let (bench, gate) = (Bench::new(), Gate::new(2));
        let handle = bench.spawn(Gate::future(&gate));
        bench.step();
        let waker = gate.waker();
        // It is scheduled, and no poll has begun.
        waker.wake_by_ref();
        let threads: Vec<_> = (0..2)
            .map(|_| {
                let (gate, waker) = (gate.clone(), waker.clone());
                thread::spawn(move || {
                    gate.seen.fetch_add(1, Relaxed);
                    waker.wake_by_ref();
                    drop(waker);
                })
            })
            .collect();
        bench.run();
        threads.into_iter().for_each(|thread| thread.join().unwrap());
        bench.run();
        drop(waker);
        // The poll after the last wake saw what was written before it.
        assert!(result(handle).unwrap() <= 4);
    });
}

#[test]
fn model_wakes_beyond_saturation() {
    model(|| {
        let (bench, gate) = (Bench::new(), Gate::new(1));
        let handle = bench.spawn(Gate::future(&gate));
        bench.step();
        let waker = gate.waker();
        // Four is where wakes are taken back, in a model; a run takes off two at most.
        for _ in 0..4 {
            waker.wake_by_ref();
        }
        let other = {
            let (gate, waker) = (gate.clone(), waker.clone());
            thread::spawn(move || {
                waker.wake_by_ref();
                gate.seen.store(1, Relaxed);
                waker.wake();
            })
        };
        waker.wake();
        bench.run();
        other.join().unwrap();
        bench.run();
        result(handle).unwrap();
        // One of the first poll; the rest was wakes that all came while one was pending, or made a new
        // `Runnable`.
        assert!(bench.schedules() >= 1);
    });
}

#[test]
fn model_wakes_by_value_beyond_saturation_are_no_use_after_free() {
    model(|| {
        let (bench, gate) = (Bench::new(), Gate::new(0));
        let handle = bench.spawn(Gate::future(&gate));
        bench.step();
        let waker = gate.waker();
        for _ in 0..5 {
            waker.clone().wake();
        }
        let other = {
            let waker = waker.clone();
            thread::spawn(move || waker.wake())
        };
        let third = thread::spawn(move || drop(handle));
        waker.wake();
        other.join().unwrap();
        third.join().unwrap();
        assert_eq!((bench.schedules(), bench.queued()), (0, 0), "a task that is done is not scheduled again");
    });
}

#[test]
fn tk3_model_wakers_dropped_against_completion_and_handle() {
    model(|| {
        let (bench, gate) = (Bench::new(), Gate::new(1));
        let (in_future, in_output) = (Arc::new(()), Arc::new(()));
        let held = (in_future.clone(), in_output.clone(), Gate::future(&gate));
        let handle = bench.spawn(async move {
            let (_in_future, in_output, gate) = held;
            gate.await;
            in_output
        });
        bench.step();
        let waker = gate.waker();
        gate.seen.store(1, Relaxed);
        let other = {
            let waker = waker.clone();
            thread::spawn(move || drop(waker))
        };
        let third = thread::spawn(move || drop(handle));
        waker.wake();
        assert_eq!(bench.run(), 1);
        other.join().unwrap();
        third.join().unwrap();
        // Dropped once each, and not more often. That the task was freed, the end of the model shows.
        assert_eq!((Arc::strong_count(&in_future), Arc::strong_count(&in_output)), (1, 1));
    });
}

#[test]
fn model_handle_with_a_new_waker_against_completion() {
    model(|| {
        let bench = Bench::new();
        let mut handle = bench.spawn(async { 5 });
        let other = {
            thread::spawn(move || {
                let (old, new) = (Count::waker(), Count::waker());
                let first = poll(&mut handle, &old.1);
                let second = if first.is_pending() { poll(&mut handle, &new.1) } else { Poll::Pending };
                (handle, old.0, new.0, first, second)
            })
        };
        assert_eq!(bench.run(), 1);
        let (mut handle, old, new, first, second) = other.join().unwrap();
        match (first, second) {
            (Poll::Ready(output), _) | (_, Poll::Ready(output)) => assert_eq!(output.unwrap(), 5),
            (Poll::Pending, Poll::Pending) => {
                assert_eq!((old.get(), new.get()), (0, 1), "the newest is woken, once, and no other");
                assert_eq!(poll(&mut handle, Waker::noop()).map(Result::unwrap), Poll::Ready(5));
            }
        }
    });
}

#[test]
fn model_handle_dropped_against_completion() {
    model(|| {
        let bench = Bench::new();
        let ledger = Arc::new(());
        let mark = ledger.clone();
        let mut handle = bench.spawn(async move { mark });
        let other = thread::spawn(move || {
            let (count, waker) = Count::waker();
            if let Poll::Ready(output) = poll(&mut handle, &waker) {
                output.unwrap();
            }
            drop(handle);
            count
        });
        assert_eq!(bench.run(), 1);
        assert!(other.join().unwrap().get() <= 1);
        assert_eq!(Arc::strong_count(&ledger), 1);
    });
}

#[test]
fn model_two_aborts_against_a_run() {
    model(|| {
        let bench = Bench::new();
        let ledger = Arc::new(());
        let mark = ledger.clone();
        let handle = bench.spawn(async move {
            let _mark = mark;
            pending::<()>().await;
        });
        let aborts: Vec<_> = (0..2)
            .map(|_| {
                let abort = handle.abort_handle();
                thread::spawn(move || abort.abort())
            })
            .collect();
        let before = bench.run();
        aborts.into_iter().for_each(|abort| abort.join().unwrap());
        let polls = before + bench.run();
        assert!(result(handle).unwrap_err().is_cancelled());
        // At most: the first, one between the aborts' flag and their wake, and the last.
        assert!((1..=3).contains(&polls), "{polls} runs");
        assert_eq!(Arc::strong_count(&ledger), 1);
    });
}

#[test]
fn model_abort_against_completion() {
    model(|| {
        let (bench, gate) = (Bench::new(), Gate::new(1));
        let handle = bench.spawn(Gate::future(&gate));
        bench.step();
        let waker = gate.waker();
        let abort = handle.abort_handle();
        let other = thread::spawn(move || abort.abort());
        gate.seen.store(1, Relaxed);
        waker.wake();
        bench.run();
        other.join().unwrap();
        bench.run();
        match result(handle) {
            Ok(polls) => assert_eq!(polls, 2),
            Err(error) => assert!(error.is_cancelled() && gate.polls.load(Relaxed) == 1),
        }
        assert_eq!(Arc::strong_count(&gate), 1, "the future was dropped");
    });
}

#[test]
fn model_on_done_against_completion() {
    model(|| {
        let bench = Bench::new();
        let calls = Arc::new(AtomicUsize::new(0));
        let handle = bench.spawn(async { 6 });
        let other = {
            let calls = calls.clone();
            thread::spawn(move || {
                handle.on_done(move |output| {
                    calls.fetch_add(*output.as_ref().unwrap(), Relaxed);
                });
                handle
            })
        };
        assert_eq!(bench.run(), 1);
        let handle = other.join().unwrap();
        assert_eq!(calls.load(Relaxed), 6, "called exactly once");
        assert_eq!(result(handle).unwrap(), 6);
    });
}

#[test]
fn model_output_taken_against_on_done() {
    model(|| {
        let bench = Bench::new();
        let calls = Arc::new(AtomicUsize::new(0));
        let mut handle = bench.spawn(async { Box::new(6) });
        let counted = calls.clone();
        handle.on_done(move |output| {
            counted.fetch_add(**output.as_ref().unwrap(), Relaxed);
        });
        // The callback looks at the output on the thread that completes the task; another must not take it
        // meanwhile.
        let other = thread::spawn(move || {
            if let Poll::Ready(output) = poll(&mut handle, Waker::noop()) {
                assert_eq!(*output.unwrap(), 6);
            }
            drop(handle);
        });
        assert_eq!(bench.run(), 1);
        other.join().unwrap();
        assert_eq!(calls.load(Relaxed), 6, "called exactly once");
    });
}

#[test]
fn model_spawn_against_shutdown() {
    model(|| {
        let bench = Bench::new();
        let list = Arc::new(Mutex::new(TaskList::default()));
        let ledger = Arc::new(());
        let end = |list: &Mutex<TaskList>, ran| match ran {
            Ran::Done(done) => {
                list.lock().remove(&done);
                done.release();
            }
            ran => panic!("{ran:?}: an aborted task ends when it is run"),
        };
        let spawner = {
            let (bench, list, mark) = (bench.clone(), list.clone(), ledger.clone());
            thread::spawn(move || {
                let (runnable, handle) = bench.task(async move {
                    let _mark = mark;
                    pending::<()>().await;
                });
                if list.lock().push(&runnable) {
                    bench.queue.lock().push_back(runnable);
                } else {
                    runnable.cancel(None).release();
                }
                handle
            })
        };
        let tasks = {
            let mut list = list.lock();
            list.close();
            list.tasks()
        };
        tasks.iter().for_each(crate::task::Task::abort);
        let handle = spawner.join().unwrap();
        while let Some(runnable) = bench.pop() {
            end(&list, runnable.run());
        }
        drop(tasks);
        assert_eq!((list.lock().len(), Arc::strong_count(&ledger)), (0, 1));
        assert!(result(handle).unwrap_err().is_cancelled());
    });
}
