//! The promise: a task that is not `Send` lives and dies on the thread that spawned it, whoever wakes or aborts it.

use std::cell::{Cell, RefCell};
use std::future::{pending, poll_fn};
use std::rc::Rc;
use std::sync::mpsc;
use std::task::{Poll, Waker};
use std::thread::{self, ThreadId};

use filch::task::LocalSet;
use filch::{Runtime, spawn_local};
use filch_tests::{OnDrop, on_drop, panics, single, watched, workers};

/// Runs `test` in a set, in each flavour.
fn in_a_set(test: impl AsyncFn() + Copy + Send + 'static) {
    watched(move || {
        for runtime in [single(), workers(1), workers(2)] {
            runtime.block_on(async { LocalSet::new().run_until(test()).await });
        }
        single().block_on(test());
    });
}

/// Tells on which thread it is dropped; `!Send`.
fn guard(told: &Rc<RefCell<Vec<ThreadId>>>) -> OnDrop<impl FnMut() + use<>> {
    let told = told.clone();
    on_drop(move || told.borrow_mut().push(thread::current().id()))
}

#[test]
fn a_local_task_borrows_no_thread() {
    in_a_set(async || {
        let home = thread::current().id();
        let shared = Rc::new(Cell::new(0));
        let tasks: Vec<_> = (0..100)
            .map(|i| {
                let shared = shared.clone();
                spawn_local(async move {
                    filch::yield_now().await;
                    assert_eq!(thread::current().id(), home);
                    shared.set(shared.get() + i);
                    Rc::new(i)
                })
            })
            .collect();
        for (i, task) in tasks.into_iter().enumerate() {
            assert_eq!(*task.await.unwrap(), i as i32);
        }
        assert_eq!(shared.get(), 4_950);
    });
}

#[test]
fn they_run_in_the_order_in_which_they_became_ready() {
    in_a_set(async || {
        let trace = Rc::new(RefCell::new(Vec::new()));
        let tasks: Vec<_> = (0..1_000)
            .map(|i| {
                let trace = trace.clone();
                spawn_local(async move {
                    trace.borrow_mut().push(i);
                    filch::yield_now().await;
                    trace.borrow_mut().push(i);
                })
            })
            .collect();
        for task in tasks {
            task.await.unwrap();
        }
        assert!(trace.borrow().iter().copied().eq((0..1_000).chain(0..1_000)));
    });
}

#[test]
fn a_set_is_filled_before_it_runs_and_run_again_later() {
    watched(|| {
        let runtime = workers(1);
        let set = LocalSet::new();
        let count = Rc::new(Cell::new(0));
        for _ in 0..3 {
            let counts = count.clone();
            drop(set.spawn_local(async move {
                counts.set(counts.get() + 1);
                filch::yield_now().await;
                counts.set(counts.get() + 10);
            }));
        }
        assert_eq!(count.get(), 0);
        runtime.block_on(set.run_until(async {}));
        runtime.block_on(set.run_all());
        assert_eq!(count.get(), 33);
        runtime.block_on(set.run_all());
        assert!(format!("{set:?}").contains("tasks: 0"));
    });
}

#[test]
fn run_until_leaves_what_is_not_done_and_the_drop_of_the_set_cancels_it() {
    watched(|| {
        let runtime = workers(1);
        let dropped = Rc::new(RefCell::new(Vec::new()));
        let set = LocalSet::new();
        let guard = guard(&dropped);
        let (task, ()) = runtime.block_on(set.run_until(async {
            let task = spawn_local(async move {
                let _guard = guard;
                pending::<()>().await;
            });
            filch::spawn(filch::yield_now()).await.unwrap();
            (task, ())
        }));
        assert!(dropped.borrow().is_empty() && !task.is_finished());
        drop(set);
        assert_eq!(*dropped.borrow(), [thread::current().id()]);
        assert!(task.join_blocking().unwrap_err().is_cancelled());
    });
}

#[test]
fn local_tasks_of_a_root_end_with_it_in_the_single_threaded_flavour() {
    watched(|| {
        let dropped = Rc::new(RefCell::new(Vec::new()));
        let guard = guard(&dropped);
        let (task, ()) = single().block_on(async {
            let task = spawn_local(async move {
                let _guard = guard;
                pending::<()>().await;
            });
            (task, ())
        });
        assert_eq!(*dropped.borrow(), [thread::current().id()]);
        assert!(task.join_blocking().unwrap_err().is_cancelled());
    });
}

/// Spawns a local task, lets `elsewhere` at its abort handle and its waker on another thread, and checks that the
/// future is dropped at home, once.
async fn dies_at_home(elsewhere: impl FnOnce(filch::task::AbortHandle, Waker) + Send + 'static) {
    let dropped = Rc::new(RefCell::new(Vec::new()));
    let guard = guard(&dropped);
    let (give, take) = mpsc::channel();
    let task = spawn_local(async move {
        let _guard = guard;
        poll_fn(|cx| {
            give.send(cx.waker().clone()).unwrap();
            Poll::<()>::Pending
        })
        .await;
    });
    let abort = task.abort_handle();
    // Another local task is behind it: now it was polled.
    spawn_local(async {}).await.unwrap();
    let waker = take.recv().unwrap();
    thread::spawn(move || elsewhere(abort, waker)).join().unwrap();
    let abort = task.abort_handle();
    abort.abort();
    assert!(task.await.unwrap_err().is_cancelled());
    assert_eq!(*dropped.borrow(), [thread::current().id()]);
}

#[test]
fn tk6_aborted_from_another_thread() {
    in_a_set(async || dies_at_home(|abort, _| abort.abort()).await);
}

#[test]
fn woken_from_another_thread() {
    in_a_set(async || dies_at_home(|_, waker| waker.wake()).await);
}

#[test]
fn tk6_woken_and_aborted_from_another_thread() {
    in_a_set(async || {
        dies_at_home(|abort, waker| {
            waker.wake_by_ref();
            abort.abort();
            waker.wake();
        })
        .await;
    });
}

#[test]
fn tk6_the_last_waker_dropped_on_another_thread() {
    in_a_set(async || {
        let dropped = Rc::new(RefCell::new(Vec::new()));
        let guard = guard(&dropped);
        let (give, take) = mpsc::channel();
        // Detached, and with nobody else who could wake it: the waker is the last that knows it, but for its set.
        drop(spawn_local(async move {
            let _guard = guard;
            let mut once = Some(give);
            poll_fn(|cx| {
                once.take().into_iter().for_each(|give| give.send(cx.waker().clone()).unwrap());
                Poll::<()>::Pending
            })
            .await;
        }));
        spawn_local(async {}).await.unwrap();
        let waker = take.recv().unwrap();
        thread::spawn(move || drop(waker)).join().unwrap();
        assert!(dropped.borrow().iter().all(|id| *id == thread::current().id()));
    });
}

#[test]
fn tk6_the_set_gone_while_a_waker_is_on_another_thread() {
    watched(|| {
        for runtime in [single(), workers(2)] {
            let (give, take) = mpsc::channel::<Waker>();
            let waking = thread::spawn(move || {
                for waker in take {
                    waker.wake_by_ref();
                    waker.wake();
                }
            });
            for _ in 0..500 {
                let dropped = Rc::new(RefCell::new(Vec::new()));
                let guard = guard(&dropped);
                let set = LocalSet::new();
                let give = give.clone();
                drop(set.spawn_local(async move {
                    let _guard = guard;
                    poll_fn(|cx| {
                        give.send(cx.waker().clone()).unwrap();
                        Poll::<()>::Pending
                    })
                    .await;
                }));
                runtime.block_on(set.run_until(async { spawn_local(async {}).await.unwrap() }));
                drop(set);
                assert_eq!(*dropped.borrow(), [thread::current().id()]);
            }
            drop(give);
            waking.join().unwrap();
        }
    });
}

#[test]
fn an_output_that_is_not_send_is_dropped_at_home_when_nobody_takes_it() {
    in_a_set(async || {
        let dropped = Rc::new(RefCell::new(Vec::new()));
        let guard = guard(&dropped);
        drop(spawn_local(async move { guard }));
        spawn_local(async {}).await.unwrap();
        assert_eq!(*dropped.borrow(), [thread::current().id()]);
    });
}

fn says_where_it_works(runtime: &Runtime) {
    let text = runtime.block_on(async { panics(|| drop(spawn_local(async {}))) });
    assert!(text.contains("outside of a LocalSet") && text.contains("run_until"), "{text}");
}

#[test]
fn outside_of_a_set_it_panics_and_says_where_it_works() {
    watched(|| {
        let runtime = workers(1);
        says_where_it_works(&runtime);
        // A set that has ended is none, and neither is that of another thread.
        runtime.block_on(LocalSet::new().run_until(async {}));
        says_where_it_works(&runtime);
        let text = panics(|| drop(spawn_local(async {})));
        assert!(text.contains("outside of a LocalSet"), "{text}");
    });
}

#[test]
fn a_panic_of_a_local_task_is_its_own() {
    in_a_set(async || {
        let error = spawn_local(async { panic!("local") }).await.unwrap_err();
        assert!(error.is_panic() && error.to_string().contains("local"));
        assert_eq!(spawn_local(async { 1 }).await.unwrap(), 1);
    });
}

#[test]
fn sets_inside_each_other_keep_their_tasks_apart() {
    in_a_set(async || {
        let outer = spawn_local(async { filch::yield_now().await });
        let set = LocalSet::new();
        let inner = set.run_until(async { spawn_local(async { 5 }).await.unwrap() }).await;
        assert_eq!(inner, 5);
        outer.await.unwrap();
    });
}

#[test]
fn many_local_tasks_leave_the_runtimes_tasks_their_turns() {
    watched(|| {
        single().block_on(async {
            let stop = Rc::new(Cell::new(false));
            for _ in 0..200 {
                let stops = stop.clone();
                drop(spawn_local(async move {
                    while !stops.get() {
                        filch::yield_now().await;
                    }
                }));
            }
            assert_eq!(filch::spawn(async { 3 }).await.unwrap(), 3);
            stop.set(true);
        });
    });
}
