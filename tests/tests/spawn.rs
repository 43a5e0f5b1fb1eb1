//! The promise: whatever is spawned runs, from wherever it was spawned, and its output comes back through the handle.

use std::cell::RefCell;
use std::collections::HashSet;
use std::future::pending;
use std::sync::mpsc;
use std::thread;

use filch::Handle;
use filch_tests::{child_case, on_drop, panics, single, until, until_yielding, watched, workers};

/// Each flavour and number of workers that there is to try.
fn each_runtime(test: impl Fn(filch::Runtime) + Send + 'static) {
    watched(move || {
        for runtime in [single(), workers(1), workers(2), workers(4)] {
            test(runtime);
        }
    });
}

#[test]
fn outputs_come_back_in_whatever_order_they_are_joined() {
    each_runtime(|runtime| {
        runtime.block_on(async {
            let spawn_all = || (0..100_u32).map(|i| filch::spawn(async move { i })).collect::<Vec<_>>();
            for (i, handle) in spawn_all().into_iter().enumerate() {
                assert_eq!(handle.await.unwrap() as usize, i);
            }
            for (i, handle) in spawn_all().into_iter().enumerate().rev() {
                assert_eq!(handle.await.unwrap() as usize, i);
            }
        });
    });
}

#[test]
fn a_task_spawns_the_next_a_thousand_deep() {
    fn next(depth: u32) -> filch::JoinHandle<u32> {
        filch::spawn(async move { if depth == 0 { 0 } else { next(depth - 1).await.unwrap() + 1 } })
    }
    each_runtime(|runtime| assert_eq!(runtime.block_on(async { next(1_000).await.unwrap() }), 1_000));
}

#[test]
fn foreign_threads_spawn_through_a_handle() {
    watched(|| {
        let runtime = workers(2);
        let threads: Vec<_> = (0..8_u64)
            .map(|thread| {
                let handle = runtime.handle().clone();
                thread::spawn(move || {
                    let handles: Vec<_> =
                        (0..500).map(|i| handle.spawn(async move { thread * 500 + i })).collect();
                    handles.into_iter().map(|handle| handle.join_blocking().unwrap()).sum::<u64>()
                })
            })
            .collect();
        let sum: u64 = threads.into_iter().map(|thread| thread.join().unwrap()).sum();
        assert_eq!(sum, (0..4_000).sum());
    });
}

#[test]
fn a_thread_that_entered_is_in_the_runtime_until_the_guard_is_dropped() {
    watched(|| {
        let named = |name: &str| filch::Builder::new().workers(1).name(name).build().unwrap();
        let (outer, inner) = (named("outer"), named("inner"));
        let where_it_runs = || {
            let task = filch::spawn(async { thread::current().name().unwrap_or_default().to_owned() });
            task.join_blocking().unwrap()
        };
        let first = outer.handle().enter();
        assert_eq!(where_it_runs(), "outer-0");
        let second = inner.handle().enter();
        assert_eq!(where_it_runs(), "inner-0");
        drop(second);
        assert_eq!(where_it_runs(), "outer-0");
        drop(first);
        assert!(Handle::try_current().is_none());
    });
}

#[test]
fn guards_may_be_dropped_in_any_order() {
    watched(|| {
        let named = |name: &str| filch::Builder::new().workers(1).name(name).build().unwrap();
        let (a, b) = (named("early"), named("late"));
        let first = a.handle().enter();
        let second = b.handle().enter();
        drop(first);
        let name = filch::spawn(async { thread::current().name().map(str::to_owned) });
        assert_eq!(name.join_blocking().unwrap().as_deref(), Some("late-0"));
        assert!(Handle::try_current().is_some());
        drop(second);
        assert!(Handle::try_current().is_none());
    });
}

#[test]
fn no_two_tasks_share_an_id_in_two_runtimes() {
    watched(|| {
        let mut ids = HashSet::new();
        for runtime in [workers(2), single()] {
            let handles: Vec<_> = (0..2_000).map(|_| runtime.spawn(async {})).collect();
            assert!(handles.iter().all(|handle| ids.insert(handle.id())));
            let inside =
                runtime.block_on(async { (0..2_000).map(|_| filch::spawn(async {})).collect::<Vec<_>>() });
            assert!(inside.iter().all(|handle| ids.insert(handle.id())));
        }
        assert_eq!(ids.len(), 8_000);
    });
}

#[test]
fn ov1_a_hundred_thousand_tasks_at_once() {
    watched(|| {
        let runtime = workers(2);
        let sum = runtime.block_on(async {
            let handles: Vec<_> = (0..100_000_u64).map(|i| filch::spawn(async move { i })).collect();
            let mut sum = 0;
            for handle in handles {
                sum += handle.await.unwrap();
            }
            sum
        });
        assert_eq!(sum, (0..100_000).sum());
        until(|| runtime.metrics().live_tasks == 0);
    });
}

/// A future of a megabyte that waits once.
async fn huge() -> usize {
    let mut bytes = [1_u8; 1 << 20];
    filch::yield_now().await;
    bytes[7] = 2;
    bytes.iter().map(|byte| usize::from(*byte)).sum()
}

#[test]
fn a_huge_future_runs_on_workers_with_ordinary_stacks() {
    watched(|| {
        let runtime = workers(2);
        // Its maker needs room for it; the thread that polls it does not.
        let maker = thread::Builder::new().stack_size(64 << 20).spawn(move || {
            let handle = runtime.spawn(huge());
            handle.join_blocking().unwrap()
        });
        assert_eq!(maker.unwrap().join().unwrap(), (1 << 20) + 1);
    });
}

#[test]
fn ex9_a_huge_future_in_a_box_is_spawned_from_a_small_stack() {
    watched(|| {
        let runtime = workers(1);
        let handle = runtime.handle().clone();
        let (boxed, make) = mpsc::channel();
        let maker = thread::Builder::new().stack_size(64 << 20).spawn(move || boxed.send(Box::pin(huge())));
        maker.unwrap().join().unwrap().unwrap();
        let small = thread::Builder::new()
            .stack_size(128 << 10)
            .spawn(move || handle.spawn(make.recv().unwrap()).join_blocking().unwrap());
        assert_eq!(small.unwrap().join().unwrap(), (1 << 20) + 1);
    });
}

#[test]
fn ex9_a_runtime_is_built_used_and_dropped_on_a_small_stack() {
    watched(|| {
        let small = thread::Builder::new().stack_size(128 << 10).spawn(|| {
            let runtime = workers(2);
            runtime.block_on(async { filch::spawn(async { 5 }).await.unwrap() })
        });
        assert_eq!(small.unwrap().join().unwrap(), 5);
    });
}

thread_local! {
    static AT_THE_END: RefCell<Option<Box<dyn FnOnce()>>> = const { RefCell::new(None) };
    static LAST: RefCell<Option<RunAtEnd>> = const { RefCell::new(None) };
}

struct RunAtEnd(Box<dyn FnOnce()>, mpsc::Sender<()>);

impl Drop for RunAtEnd {
    fn drop(&mut self) {
        std::mem::replace(&mut self.0, Box::new(|| ()))();
        let _ = self.1.send(());
    }
}

/// Runs `f` in the destructor of a thread local of this thread, and says when.
fn at_thread_end(f: impl FnOnce() + 'static) -> mpsc::Receiver<()> {
    let (done, ended) = mpsc::channel();
    AT_THE_END.with(|_| ());
    LAST.set(Some(RunAtEnd(Box::new(f), done)));
    ended
}

#[test]
fn ex9_spawning_from_the_destructor_of_a_thread_local_panics_or_works_but_aborts_nothing() {
    // A panic that leaves such a destructor aborts the process, so it is caught inside.
    watched(|| {
        let runtime = workers(1);
        let handle = runtime.handle().clone();
        let (tell, told) = mpsc::channel();
        let thread = thread::spawn(move || {
            let _entered = handle.enter();
            let handle = handle.clone();
            at_thread_end(move || {
                let text = panics(|| drop(filch::spawn(async {})));
                tell.send((text, handle.spawn(async { 3 }).join_blocking().unwrap())).unwrap();
            })
        });
        thread.join().unwrap().recv().unwrap();
        let (text, output) = told.recv().unwrap();
        assert!(text.contains("no filch runtime on this thread"), "{text}");
        assert_eq!(output, 3);
    });
}

#[test]
fn a_worker_that_ends_spawns_from_the_destructor_of_a_thread_local() {
    watched(|| {
        let runtime = workers(1);
        let handle = runtime.handle().clone();
        let (tell, told) = mpsc::channel();
        let ended = runtime.spawn(async move {
            at_thread_end(move || {
                let error = handle.spawn(async {}).join_blocking().unwrap_err();
                tell.send((error.is_cancelled(), Handle::try_current().is_none())).unwrap();
            })
        });
        let ended = ended.join_blocking().unwrap();
        drop(runtime);
        ended.recv().unwrap();
        assert_eq!(told.recv().unwrap(), (true, true));
    });
}

#[test]
fn a_future_spawns_from_its_drop() {
    each_runtime(|runtime| {
        let (tell, told) = mpsc::channel();
        runtime.block_on(async {
            let guard = on_drop(move || {
                let tell = tell.clone();
                drop(filch::spawn(async move { tell.send(()).unwrap() }));
            });
            let task = filch::spawn(async move {
                let _guard = guard;
                pending::<()>().await;
            });
            filch::yield_now().await;
            task.abort();
            assert!(task.await.unwrap_err().is_cancelled());
            filch::spawn(until_yielding(move || told.try_recv().is_ok())).await.unwrap();
        });
    });
}

#[test]
fn an_output_that_nobody_takes_spawns_from_its_drop() {
    each_runtime(|runtime| {
        let (tell, told) = mpsc::channel();
        runtime.block_on(async {
            let output = on_drop(move || {
                let tell = tell.clone();
                drop(filch::spawn(async move { tell.send(()).unwrap() }));
            });
            drop(filch::spawn(async move { output }));
            filch::spawn(until_yielding(move || told.try_recv().is_ok())).await.unwrap();
        });
    });
}

#[test]
fn a_task_is_spawned_on_another_runtime_and_joined_here() {
    watched(|| {
        let named = |name: &str| filch::Builder::new().workers(1).name(name).build().unwrap();
        let (here, there) = (named("here"), named("there"));
        let handle = there.handle().clone();
        let name = here.block_on(async move {
            let task = filch::spawn(async move {
                let there = handle.spawn(async { thread::current().name().map(str::to_owned) });
                there.await.unwrap()
            });
            task.await.unwrap()
        });
        assert_eq!(name.as_deref(), Some("there-0"));
    });
}

#[test]
fn the_default_runtime_of_run_gives_the_output_back_and_ends_what_is_left() {
    watched(|| {
        assert!(child_case().is_none());
        let (tell, told) = mpsc::channel();
        let output = filch::run(async move {
            let guard = on_drop(move || tell.send(()).unwrap());
            drop(filch::spawn(async move {
                let _guard = guard;
                pending::<()>().await;
            }));
            7
        });
        assert_eq!(output, 7);
        told.try_recv().expect("dropped before run returned");
    });
}

#[test]
fn a_large_future_is_spawned_from_inside_a_task() {
    // In a child: a stack that overflows ends the process.
    const NAME: &str = "a_large_future_is_spawned_from_inside_a_task";
    if child_case().is_some() {
        let runtime = workers(1);
        let task = runtime.spawn(async {
            let large = || async {
                let bytes = [1_u8; 128 << 10];
                filch::yield_now().await;
                bytes.len()
            };
            filch::spawn(large()).await.unwrap()
        });
        return assert_eq!(task.join_blocking().unwrap(), 128 << 10);
    }
    watched(|| drop(filch_tests::Child::new(NAME, "large").succeeds()));
}
