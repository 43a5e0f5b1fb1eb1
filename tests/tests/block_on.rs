//! The promise: `block_on` runs any future to its end on the calling thread, wherever that is: beside others,
//! inside a task, inside another root, inside another runtime.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::sync::{Arc, Barrier, mpsc};
use std::thread;
use std::time::Duration;

use filch::sync::Notify;
use filch::time::sleep;
use filch::{Runtime, TaskState};
use filch_tests::{panics, single, until, until_yielding, watched, workers};

const MS: Duration = Duration::from_millis(1);

fn each_runtime(test: impl Fn(Runtime) + Send + 'static) {
    watched(move || {
        for runtime in [single(), workers(1), workers(2)] {
            test(runtime);
        }
    });
}

#[test]
fn the_root_borrows_and_need_not_be_send() {
    each_runtime(|runtime| {
        let text = String::from("borrowed");
        let log = RefCell::new(Vec::new());
        let shared = Rc::new(Cell::new(0));
        let thread = thread::current().id();
        let length = runtime.block_on(async {
            for i in 0..10 {
                log.borrow_mut().push(i);
                shared.set(shared.get() + filch::spawn(async move { i }).await.unwrap());
                assert_eq!(thread::current().id(), thread);
            }
            text.len()
        });
        assert_eq!((length, shared.get(), log.borrow().len()), (8, 45, 10));
    });
}

#[test]
fn a_root_that_never_waits_is_done_at_once() {
    each_runtime(|runtime| {
        for i in 0..1_000 {
            assert_eq!(runtime.block_on(async { i }), i);
        }
    });
}

#[test]
fn ex9_in_a_task_of_the_same_runtime() {
    each_runtime(|runtime| {
        let handle = runtime.handle().clone();
        let output = runtime.block_on(async move {
            let task = filch::spawn(async move {
                let inner = handle.block_on(async {
                    let not_send = Rc::new(1);
                    sleep(MS).await;
                    filch::spawn(async { sleep(MS).await }).await.unwrap();
                    *not_send + filch::spawn(async { 1 }).await.unwrap()
                });
                // The task is as it was.
                filch::yield_now().await;
                inner + filch::spawn(async { 1 }).await.unwrap()
            });
            task.await.unwrap()
        });
        assert_eq!(output, 3);
    });
}

#[test]
fn in_every_task_at_once() {
    each_runtime(|runtime| {
        let sum = runtime.block_on(async {
            let tasks: Vec<_> = (0..20)
                .map(|i| {
                    filch::spawn(async move {
                        filch::block_on(async { filch::spawn(async move { i }).await.unwrap() })
                    })
                })
                .collect();
            let mut sum = 0;
            for task in tasks {
                sum += task.await.unwrap();
            }
            sum
        });
        assert_eq!(sum, (0..20).sum());
    });
}

#[test]
fn in_a_root_in_a_root_in_a_root() {
    fn nested(depth: u32) -> u32 {
        filch::block_on(async {
            let here = filch::spawn(async { 1 }).await.unwrap();
            let deeper = if depth == 0 { 0 } else { nested(depth - 1) };
            sleep(MS / 10).await;
            here + deeper
        })
    }
    each_runtime(|runtime| {
        let _entered = runtime.handle().enter();
        assert_eq!(nested(9), 10);
    });
}

#[test]
fn many_callers_at_once() {
    watched(|| {
        for count in [1, 2] {
            let runtime = Arc::new(workers(count));
            // All of them are inside before any gets out.
            let all_in = Arc::new(Barrier::new(12));
            let threads: Vec<_> = (0..12_u32)
                .map(|i| {
                    let (runtime, all_in) = (runtime.clone(), all_in.clone());
                    thread::spawn(move || {
                        runtime.block_on(async move {
                            all_in.wait();
                            let mut sum = 0;
                            for _ in 0..50 {
                                sum += filch::spawn(async move { i }).await.unwrap();
                                sleep(MS / 20).await;
                            }
                            sum
                        })
                    })
                })
                .collect();
            let sum: u32 = threads.into_iter().map(|thread| thread.join().unwrap()).sum();
            assert_eq!(sum, 50 * 66);
        }
    });
}

#[test]
fn two_threads_in_the_single_threaded_flavour_both_end() {
    watched(|| {
        for _ in 0..20 {
            let runtime = Arc::new(single());
            let (first, second) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
            let threads = [(first.clone(), second.clone()), (second, first)].map(|(mine, other)| {
                let runtime = runtime.clone();
                thread::spawn(move || {
                    runtime.block_on(async move {
                        other.notify_one();
                        mine.notified().await;
                        let task = filch::spawn(async { sleep(MS / 10).await });
                        task.await.unwrap();
                        1
                    })
                })
            });
            assert_eq!(threads.map(|thread| thread.join().unwrap()), [1, 1]);
        }
    });
}

#[test]
fn the_second_caller_takes_over_when_the_first_has_ended() {
    watched(|| {
        let runtime = Arc::new(single());
        let (first_in, is_in) = mpsc::channel();
        let (end, ends) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
        let (runs, ended) = (runtime.clone(), end.clone());
        let first = thread::spawn(move || {
            runs.block_on(async move {
                first_in.send(()).unwrap();
                ended.notified().await;
            });
        });
        is_in.recv().unwrap();
        let (runs, waits) = (runtime.clone(), ends.clone());
        let second = thread::spawn(move || {
            runs.block_on(async move {
                waits.notified().await;
                // Alone now: timers and tasks are this thread's to serve.
                filch::spawn(async { sleep(MS).await }).await.unwrap();
                3
            })
        });
        until(|| runtime.handle().tasks().len() == 2);
        end.notify_one();
        first.join().unwrap();
        ends.notify_one();
        assert_eq!(second.join().unwrap(), 3);
    });
}

#[test]
fn ex9_two_runtimes_inside_each_other() {
    for inner_is_single in [false, true] {
        watched(move || {
            let named = |name: &str| filch::Builder::new().workers(1).name(name).build().unwrap();
            let outer = named("outer");
            let inner = if inner_is_single { single() } else { named("inner") };
            let (to_outer, to_inner) = (outer.handle().clone(), inner.handle().clone());
            let output = outer.block_on(async {
                let from_inner = to_inner.block_on(async {
                    let there = to_outer.spawn(async { sleep(MS).await });
                    filch::spawn(async { sleep(MS).await }).await.unwrap();
                    there.await.unwrap();
                    // And back into the outer one, which is inside itself then.
                    to_outer.block_on(async { filch::spawn(async { 4 }).await.unwrap() })
                });
                let here = filch::spawn(async { thread::current().name().map(str::to_owned) });
                (from_inner, here.await.unwrap())
            });
            assert_eq!(output.0, 4);
            assert_ne!(output.1.as_deref(), Some("inner-0"));
        });
    }
}

#[test]
fn a_panic_of_the_root_passes_through_and_nothing_is_left_behind() {
    each_runtime(|runtime| {
        for _ in 0..10 {
            let text = panics(|| {
                runtime.block_on(async {
                    filch::spawn(async {}).await.unwrap();
                    panic!("of the root")
                });
            });
            assert_eq!(text, "of the root");
            assert_eq!(runtime.block_on(async { filch::spawn(async { 1 }).await.unwrap() }), 1);
        }
        assert_eq!(runtime.handle().tasks().len(), 0);
        assert!(filch::Handle::try_current().is_none());
    });
}

#[test]
fn a_panic_of_a_nested_root_is_the_tasks() {
    each_runtime(|runtime| {
        let error = runtime.block_on(async {
            let task = filch::spawn(async { filch::block_on(async { panic!("nested") }) });
            task.await.unwrap_err()
        });
        assert!(error.is_panic() && error.to_string().contains("nested"));
        assert_eq!(runtime.block_on(async { filch::spawn(async { 1 }).await.unwrap() }), 1);
    });
}

#[test]
fn a_panic_passes_through_nested_roots_and_is_caught_on_the_way() {
    each_runtime(|runtime| {
        let output = runtime.block_on(async {
            let text = panics(|| filch::block_on(async { filch::block_on(async { panic!("deep") }) }));
            sleep(MS).await;
            (text, filch::spawn(async { 2 }).await.unwrap())
        });
        assert_eq!(output, ("deep".to_owned(), 2));
    });
}

#[test]
fn a_root_is_listed_with_an_id_and_the_line_that_called() {
    each_runtime(|runtime| {
        let line = line!() + 1;
        runtime.block_on(async {
            let child = filch::spawn(async { until_yielding(|| false).await });
            let tasks = filch::Handle::current().tasks();
            let root = tasks.iter().find(|task| task.location.line() == line).expect("the root");
            assert_eq!((root.location.file(), root.state), (file!(), TaskState::Running));
            assert_eq!(root.parent, None);
            let child = tasks.iter().find(|task| task.id == child.id()).expect("the child");
            assert_eq!(child.parent, Some(root.id));
        });
    });
}

#[test]
fn a_root_is_woken_from_foreign_threads() {
    each_runtime(|runtime| {
        for _ in 0..200 {
            let notify = Arc::new(Notify::new());
            let wakes = notify.clone();
            let thread = thread::spawn(move || wakes.notify_one());
            runtime.block_on(notify.notified());
            thread.join().unwrap();
        }
    });
}

#[test]
fn a_root_exchanges_with_a_task_many_times() {
    each_runtime(|runtime| {
        runtime.block_on(async {
            let (question, answer) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
            let (asked, answers) = (question.clone(), answer.clone());
            let task = filch::spawn(async move {
                for _ in 0..10_000 {
                    asked.notified().await;
                    answers.notify_one();
                }
            });
            for _ in 0..10_000 {
                question.notify_one();
                answer.notified().await;
            }
            task.await.unwrap();
        });
    });
}

#[test]
fn tasks_that_one_root_left_waiting_go_on_in_the_next() {
    watched(|| {
        let runtime = single();
        let notify = Arc::new(Notify::new());
        let waits = notify.clone();
        let task = runtime.spawn(async move { waits.notified().await });
        runtime.block_on(async { filch::spawn(async {}).await.unwrap() });
        assert!(!task.is_finished());
        notify.notify_one();
        runtime.block_on(task).unwrap();
    });
}

#[test]
fn local_tasks_go_on_while_a_nested_root_waits() {
    watched(|| {
        let count = single().block_on(async {
            let count = Rc::new(Cell::new(0));
            let (counts, stop) = (count.clone(), Rc::new(Cell::new(false)));
            let stops = stop.clone();
            let local = filch::spawn_local(async move {
                while !stops.get() {
                    counts.set(counts.get() + 1);
                    filch::yield_now().await;
                }
            });
            filch::yield_now().await;
            let before = count.get();
            let during = filch::block_on(async {
                sleep(MS).await;
                count.get() - before
            });
            stop.set(true);
            local.await.unwrap();
            during
        });
        assert!(count > 0, "they had no turn in all of the nested root's wait");
    });
}
