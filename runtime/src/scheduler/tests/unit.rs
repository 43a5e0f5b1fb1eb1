//! Tests of the whole scheduler, each of something that once went wrong. The limits on waiting are there to
//! end a test that fails; none of them is reached by one that holds.

use crate::shim::Ordering::SeqCst;
use crate::shim::shared::{AtomicBool, AtomicUsize};
use crate::shim::thread;
use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::sync::mpsc;
use std::sync::{Arc, Weak};
use std::task::{Context, Poll};
use std::time::Duration;

use crate::scheduler::shared::Scheduler;
use crate::{Builder, Runtime, yield_now};

const LIMIT: Duration = Duration::from_secs(20);

fn runtime(workers: usize) -> Runtime {
    Builder::new().workers(workers).build().unwrap()
}

fn single() -> Runtime {
    Builder::single_thread().build().unwrap()
}

/// Runs `f` on a thread of its own, and fails when it does not come back.
fn must_end<T: Send + 'static>(f: impl FnOnce() -> T + Send + 'static) -> T {
    let (done, wait) = mpsc::channel();
    thread::spawn(move || done.send(f()));
    wait.recv_timeout(LIMIT).expect("panicked, or hangs")
}

/// All workers sleep, as far as can be seen.
fn wait_for_sleep(runtime: &Runtime) {
    while !runtime.handle().0.idle.all_asleep() {
        thread::yield_now();
    }
}

#[test]
fn block_on_inside_a_worker_gives_back_what_it_borrows() {
    must_end(|| {
        let runtime = runtime(1);
        let handle = runtime.handle().clone();
        let nest = move || {
            for _ in 0..10 {
                handle.block_on(async { crate::spawn(async {}).await.unwrap() });
            }
        };
        runtime.spawn(async move { nest() }).join_blocking().unwrap();
        wait_for_sleep(&runtime);
        assert_eq!(runtime.spawn(async { 1 }).join_blocking().unwrap(), 1);
        assert_eq!(runtime.block_on(async { crate::spawn(async { 2 }).await.unwrap() }), 2);
        assert_eq!(runtime.handle().0.crew.guests(), crate::scheduler::shared::GUESTS);
    });
}

#[test]
fn a_root_that_only_yields_starves_nobody() {
    for runtime in [single(), runtime(1)] {
        must_end(move || {
            let done = Arc::new(AtomicBool::new(false));
            let seen = done.clone();
            runtime.block_on(async move {
                drop(crate::spawn(async move { seen.store(true, SeqCst) }));
                while !done.load(SeqCst) {
                    yield_now().await;
                }
            });
        });
    }
}

#[test]
fn a_root_that_only_yields_leaves_injected_tasks_and_timers_their_turn() {
    for runtime in [single(), runtime(1)] {
        must_end(move || {
            let handle = runtime.handle().clone();
            runtime.block_on(async move {
                let task = thread::spawn(move || {
                    handle.spawn(async { crate::time::sleep(Duration::from_micros(1)).await })
                });
                let task = task.join().unwrap();
                while !task.is_finished() {
                    yield_now().await;
                }
            });
        });
    }
}

#[test]
fn a_push_from_outside_is_run_though_roots_block_their_threads() {
    must_end(|| {
        let runtime = runtime(1);
        wait_for_sleep(&runtime);
        let handle = runtime.handle().clone();
        runtime.block_on(async move {
            let (tell, told) = mpsc::channel();
            thread::spawn(move || drop(handle.spawn(async move { tell.send(()).unwrap() })));
            told.recv_timeout(LIMIT).expect("the task was not run");
        });
    });
}

#[test]
fn a_runtime_that_has_ended_leaves_nothing() {
    for runtime in [single(), runtime(2)] {
        let scheduler: Weak<Scheduler> = Arc::downgrade(&runtime.handle().0);
        runtime.block_on(async { crate::spawn(async {}).await.unwrap() });
        let report = runtime.shutdown(LIMIT);
        assert_eq!(report.abandoned.len(), 0);
        assert!(scheduler.upgrade().is_none(), "{} references", scheduler.strong_count());
    }
}

/// Ready at once; panics when dropped.
struct BadDrop;

impl Future for BadDrop {
    type Output = ();

    fn poll(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<()> {
        Poll::Ready(())
    }
}

impl Drop for BadDrop {
    fn drop(&mut self) {
        panic!("dropped");
    }
}

#[test]
fn a_root_whose_drop_panics_gives_its_core_back() {
    must_end(|| {
        for runtime in [single(), runtime(1)] {
            for _ in 0..6 {
                let panic = std::panic::AssertUnwindSafe(|| runtime.block_on(BadDrop));
                assert_eq!(
                    *std::panic::catch_unwind(panic).unwrap_err().downcast::<&str>().unwrap(),
                    "dropped"
                );
            }
            assert_eq!(runtime.block_on(async { crate::spawn(async { 3 }).await.unwrap() }), 3);
            let guests =
                if runtime.handle().0.is_single_threaded() { 1 } else { crate::scheduler::shared::GUESTS };
            assert_eq!(runtime.handle().0.crew.guests(), guests);
            wait_for_sleep(&runtime);
        }
    });
}

struct CountDrop(Arc<AtomicUsize>);

impl Drop for CountDrop {
    fn drop(&mut self) {
        self.0.fetch_add(1, SeqCst);
    }
}

#[test]
fn a_runtime_that_ends_inside_another_ends_its_tasks() {
    must_end(|| {
        let drops = Arc::new(AtomicUsize::new(0));
        for inner in [single(), runtime(1)] {
            let mark = CountDrop(drops.clone());
            let task = inner.spawn(async move {
                let _mark = mark;
                std::future::pending::<()>().await;
            });
            let report = runtime(1).block_on(async move { inner.shutdown(LIMIT) });
            assert_eq!((report.cancelled, report.abandoned.len()), (1, 0));
            assert!(task.is_finished());
        }
        assert_eq!(drops.load(SeqCst), 2);
    });
}

#[test]
fn two_callers_of_a_single_threaded_runtime_hand_the_core_to_and_fro() {
    must_end(|| {
        let runtime = Arc::new(single());
        let callers: Vec<_> = (0..3)
            .map(|_| {
                let runtime = runtime.clone();
                thread::spawn(move || {
                    for _ in 0..100 {
                        let one = runtime.block_on(async {
                            // Inside, the core may come to the inner call, and must not stay with the outer
                            // one.
                            let inner = crate::block_on(async { crate::spawn(async { 1 }).await.unwrap() });
                            inner + crate::spawn(async { yield_now().await }).await.map_or(1, |()| 0)
                        });
                        assert_eq!(one, 1);
                    }
                })
            })
            .collect();
        callers.into_iter().for_each(|caller| caller.join().unwrap());
    });
}

#[test]
fn a_task_woken_by_the_last_poll_of_a_root_is_run() {
    must_end(|| {
        for runtime in [single(), runtime(2)] {
            let polls = Arc::new(AtomicUsize::new(0));
            let counted = polls.clone();
            let (task,) = runtime.block_on(async move {
                let task = crate::spawn(poll_fn(move |_| {
                    counted.fetch_add(1, SeqCst);
                    Poll::Ready(())
                }));
                (task,)
            });
            runtime.block_on(task).unwrap();
            assert_eq!(polls.load(SeqCst), 1);
        }
    });
}

/// Spawns, aborts and wakes others when it is dropped.
struct BusyDrop {
    handle: crate::Handle,
    others: Arc<std::sync::Mutex<Vec<crate::AbortHandle>>>,
    drops: Arc<AtomicUsize>,
}

impl Drop for BusyDrop {
    fn drop(&mut self) {
        self.drops.fetch_add(1, SeqCst);
        let refused = self.handle.spawn(std::future::pending::<()>());
        assert!(refused.is_finished(), "a runtime that ends takes nothing in");
        let others = self.others.lock().unwrap().clone();
        others.iter().for_each(crate::AbortHandle::abort);
    }
}

#[test]
fn shutdown_drops_each_task_once_whatever_their_drops_do() {
    for runtime in [single(), runtime(1), runtime(2)] {
        must_end(move || {
            const TASKS: usize = 50;
            let (others, drops) = (Arc::default(), Arc::new(AtomicUsize::new(0)));
            let handles: Vec<_> = (0..TASKS)
                .map(|_| {
                    let (handle, others) = (runtime.handle().clone(), Arc::clone(&others));
                    let busy = BusyDrop { handle, others, drops: drops.clone() };
                    runtime.spawn(async move {
                        let _busy = busy;
                        std::future::pending::<()>().await;
                    })
                })
                .collect();
            others.lock().unwrap().extend(handles.iter().map(crate::JoinHandle::abort_handle));
            let report = runtime.shutdown(LIMIT);
            assert_eq!((report.cancelled, report.abandoned.len()), (TASKS, 0));
            assert_eq!(drops.load(SeqCst), TASKS);
            assert!(handles.into_iter().all(|handle| handle.join_blocking().unwrap_err().is_cancelled()));
        });
    }
}

#[test]
fn a_runtime_dropped_inside_itself_ends_by_and_by() {
    for in_root in [true, false] {
        for runtime in [single(), runtime(1)] {
            if !in_root && runtime.handle().0.is_single_threaded() {
                continue;
            }
            must_end(move || {
                let scheduler = Arc::downgrade(&runtime.handle().0);
                let handle = runtime.handle().clone();
                let pending = runtime.spawn(std::future::pending::<()>());
                if in_root {
                    handle.block_on(async move { drop(runtime) });
                } else {
                    handle.spawn(async move { drop(runtime) }).join_blocking().unwrap();
                }
                drop(handle);
                assert!(pending.join_blocking().unwrap_err().is_cancelled());
                while scheduler.strong_count() > 0 {
                    thread::yield_now();
                }
            });
        }
    }
}

#[test]
fn a_task_that_wakes_another_and_then_blocks_does_not_hold_it_back() {
    must_end(|| {
        let runtime = runtime(1);
        let (tell, told) = mpsc::channel();
        let blocks = runtime.spawn(async move {
            // Into the slot, which thieves do not see.
            drop(crate::spawn(async move { tell.send(()).unwrap() }));
            told.recv_timeout(LIMIT).is_ok()
        });
        assert!(blocks.join_blocking().unwrap(), "what it spawned was not run by a substitute");
        // And the thread that came back finds its place again.
        assert_eq!(runtime.spawn(async { 9 }).join_blocking().unwrap(), 9);
        assert_eq!(runtime.shutdown(LIMIT).abandoned.len(), 0);
    });
}

#[test]
fn more_tasks_block_than_there_may_be_substitutes() {
    must_end(|| {
        let runtime = runtime(1);
        let gates: Vec<_> = (0..8)
            .map(|_| {
                let (open, gate) = mpsc::channel::<()>();
                drop(runtime.spawn(async move { gate.recv() }));
                open
            })
            .collect();
        while runtime.handle().0.crew.threads() < 4 {
            thread::yield_now();
        }
        // The core is homeless for as long as all are stuck; then the first that comes back takes it.
        drop(gates);
        assert_eq!(runtime.spawn(async { 9 }).join_blocking().unwrap(), 9);
        wait_for_sleep(&runtime);
        assert_eq!(runtime.shutdown(LIMIT).abandoned.len(), 0);
    });
}
