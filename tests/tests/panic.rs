//! The promise: a panic of user code, wherever it happens, ends at most the task that it happens in; and one
//! that nobody looks at is reported as the runtime's policy says, once.

use std::future::{Future, pending};
use std::os::unix::process::ExitStatusExt;
use std::panic::{AssertUnwindSafe, Location, catch_unwind, panic_any};
use std::pin::{Pin, pin};
use std::sync::{Arc, mpsc};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use filch::sync::{Notify, Semaphore};
use filch::testing::{Evil, Moment};
use filch::{PanicPolicy, Runtime};
use filch_tests::{Child, OnDrop, child_case, on_drop, single, until, watched, workers};

/// When an evil waker panics: each time it is woken, each time it is dropped, and both.
const EVILS: [&[Moment]; 3] = [&[Moment::Wake], &[Moment::Drop], &[Moment::Wake, Moment::Drop]];

fn evil_waker(moments: &[Moment]) -> Waker {
    Evil::panics(moments.iter().copied(), 0).waker()
}

/// Two workers that still run tasks. (A poll that took long, for a backtrace, may have called for a spare thread.)
fn is_well(runtime: &Runtime) {
    let tasks: Vec<_> = (0..100).map(|i| runtime.spawn(async move { i })).collect();
    let sum: i32 = tasks.into_iter().map(|task| task.join_blocking().unwrap()).sum();
    assert_eq!(sum, 4_950);
    assert!((2..=4).contains(&runtime.metrics().threads));
}

/// A task that goes on through all of `during`.
fn beside_a_sibling(during: impl FnOnce(&Runtime)) {
    let runtime = workers(2);
    let notify = Arc::new(Notify::new());
    let waits = notify.clone();
    let sibling = runtime.spawn(async move { waits.notified().await });
    during(&runtime);
    is_well(&runtime);
    assert!(!sibling.is_finished());
    notify.notify_one();
    sibling.join_blocking().unwrap();
}

/// Something whose drop panics.
fn bomb() -> OnDrop<impl FnMut() + Send + Sync + 'static> {
    on_drop(|| panic!("a bomb was dropped"))
}

#[test]
fn tk7_of_a_future() {
    watched(|| {
        beside_a_sibling(|runtime| {
            for _ in 0..50 {
                let error = runtime.spawn(async { panic!("here") }).join_blocking().unwrap_err();
                assert!(error.is_panic());
            }
        });
    });
}

#[test]
fn tk7_of_the_drop_of_a_future_at_its_end() {
    watched(|| {
        beside_a_sibling(|runtime| {
            struct ReadyBomb(OnDrop<Box<dyn FnMut() + Send>>);
            impl Future for ReadyBomb {
                type Output = u32;
                fn poll(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<u32> {
                    let _ = &self.0;
                    Poll::Ready(3)
                }
            }
            let error = runtime
                .spawn(ReadyBomb(on_drop(Box::new(|| panic!("a bomb was dropped")))))
                .join_blocking()
                .unwrap_err();
            assert!(error.to_string().contains("a bomb was dropped"), "{error}");
        });
    });
}

#[test]
fn of_the_future_and_then_of_its_drop() {
    watched(|| {
        beside_a_sibling(|runtime| {
            struct Both(OnDrop<Box<dyn FnMut() + Send>>);
            impl Future for Both {
                type Output = ();
                fn poll(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<()> {
                    let _ = &self.0;
                    panic!("the first");
                }
            }
            let both = Both(on_drop(Box::new(|| panic!("the second"))));
            let error = runtime.spawn(both).join_blocking().unwrap_err();
            assert!(error.to_string().contains("the first"), "{error}");
        });
    });
}

#[test]
fn tk7_of_the_drop_of_an_aborted_future() {
    watched(|| {
        beside_a_sibling(|runtime| {
            let task = runtime.spawn(async {
                let _bomb = bomb();
                pending::<()>().await;
            });
            until(|| runtime.handle().tasks().iter().filter(|task| task.polls == 1).count() == 2);
            task.abort();
            assert!(task.join_blocking().unwrap_err().to_string().contains("a bomb was dropped"));
        });
    });
}

#[test]
fn tk7_of_the_drop_of_an_output_with_the_handle_dropped_before_and_after() {
    watched(|| {
        beside_a_sibling(|runtime| {
            let notify = Arc::new(Notify::new());
            let waits = notify.clone();
            let before = runtime.spawn(async move {
                waits.notified().await;
                bomb()
            });
            let abort = before.abort_handle();
            drop(before);
            notify.notify_one();
            until(|| abort.is_finished());
            let after = runtime.spawn(async { bomb() });
            until(|| after.is_finished());
            drop(after);
        });
    });
}

#[test]
fn tk7_of_the_drop_of_what_a_panic_carried() {
    watched(|| {
        beside_a_sibling(|runtime| {
            let task = runtime.spawn(async { panic_any(bomb()) });
            let abort = task.abort_handle();
            drop(task);
            until(|| abort.is_finished());
            let task = runtime.spawn(async { panic_any(bomb()) });
            until(|| task.is_finished());
            drop(task);
            let aborted = runtime.spawn(async {
                let _bomb = on_drop(|| panic_any(bomb()));
                pending::<()>().await;
            });
            until(|| runtime.handle().tasks().iter().filter(|task| task.polls == 1).count() == 2);
            aborted.abort();
            let abort = aborted.abort_handle();
            drop(aborted);
            until(|| abort.is_finished());
        });
    });
}

#[test]
fn bp3_of_the_drop_of_what_the_panic_of_a_blocking_job_carried() {
    watched(|| {
        beside_a_sibling(|runtime| {
            for _ in 0..10 {
                let job = runtime.spawn_blocking(|| panic_any(bomb()));
                let abort = job.abort_handle();
                drop(job);
                until(|| abort.is_finished());
            }
            assert_eq!(runtime.spawn_blocking(|| 1).join_blocking().unwrap(), 1);
        });
    });
}

/// Drops `value`; a panic of it is for us, when nobody else was the last to have it.
fn drop_caught<T>(value: T) {
    let _ = catch_unwind(AssertUnwindSafe(|| drop(value)));
}

#[test]
fn tk8_of_the_waker_of_who_joins() {
    watched(|| {
        beside_a_sibling(|runtime| {
            for evil in EVILS {
                let notify = Arc::new(Notify::new());
                let waits = notify.clone();
                let mut task = runtime.spawn(async move { waits.notified().await });
                let waker = evil_waker(evil);
                assert!(Pin::new(&mut task).poll(&mut Context::from_waker(&waker)).is_pending());
                drop_caught(waker);
                notify.notify_one();
                until(|| task.is_finished());
                task.join_blocking().unwrap();
            }
        });
    });
}

#[test]
fn of_the_waker_of_a_handle_that_is_dropped() {
    watched(|| {
        beside_a_sibling(|runtime| {
            let mut task = runtime.spawn(pending::<()>());
            let waker = evil_waker(EVILS[1]);
            assert!(Pin::new(&mut task).poll(&mut Context::from_waker(&waker)).is_pending());
            drop_caught(waker);
            let abort = task.abort_handle();
            drop(task);
            abort.abort();
            until(|| abort.is_finished());
        });
    });
}

#[test]
fn tk8_of_the_waker_of_a_timer() {
    watched(|| {
        beside_a_sibling(|runtime| {
            let _entered = runtime.handle().enter();
            for evil in EVILS {
                let mut sleeps: Vec<_> =
                    (0..5).map(|_| Box::pin(filch::time::sleep(Duration::from_millis(5)))).collect();
                for sleep in &mut sleeps {
                    let waker = evil_waker(evil);
                    // On a slow machine it may be over already.
                    let _ = sleep.as_mut().poll(&mut Context::from_waker(&waker));
                    drop_caught(waker);
                }
                // One that is due later, with a good waker: the worker that fired the others lives.
                runtime.block_on(async { filch::time::sleep(Duration::from_millis(6)).await });
                sleeps.into_iter().for_each(drop_caught);
            }
        });
    });
}

#[test]
fn tk8_of_the_wakers_of_a_socket() {
    watched(|| {
        beside_a_sibling(|runtime| {
            let _entered = runtime.handle().enter();
            for evil in EVILS {
                let (ours, theirs) = filch::net::UnixDatagram::pair().unwrap();
                let mut buf = [0; 8];
                let mut read = Box::pin(ours.recv(&mut buf));
                let waker = evil_waker(evil);
                assert!(read.as_mut().poll(&mut Context::from_waker(&waker)).is_pending());
                drop_caught(waker);
                runtime.block_on(theirs.send(b"now")).unwrap();
                // Here the waker may be dropped, if no worker did so before: the panic is then for us.
                drop_caught(read);
                assert_eq!(runtime.block_on(ours.recv(&mut buf)).unwrap(), 3);
            }
        });
    });
}

#[test]
fn of_a_waker_that_wakes_inside_a_task_is_that_tasks_and_others_are_woken() {
    watched(|| {
        beside_a_sibling(|runtime| {
            for evil in [EVILS[0], EVILS[2]] {
                let notify = Arc::new(Notify::new());
                let mut evil_one = pin!(notify.notified());
                let waker = evil_waker(evil);
                assert!(evil_one.as_mut().poll(&mut Context::from_waker(&waker)).is_pending());
                drop_caught(waker);
                let (waits, started) = (notify.clone(), mpsc::channel());
                let other = runtime.spawn(async move {
                    let notified = waits.notified();
                    started.0.send(()).unwrap();
                    notified.await;
                });
                started.1.recv().unwrap();
                let notifies = notify.clone();
                // Whether the panic is let through is the primitive's affair; that the other one is woken is not.
                let _ = runtime.spawn(async move { notifies.notify_waiters() }).join_blocking();
                other.join_blocking().unwrap();
            }
        });
    });
}

#[test]
fn of_a_waker_leaves_a_semaphore_usable() {
    watched(|| {
        beside_a_sibling(|runtime| {
            for evil in [EVILS[0], EVILS[2]] {
                let semaphore = Arc::new(Semaphore::fair(0));
                {
                    let mut first = Box::pin(semaphore.acquire());
                    let waker = evil_waker(evil);
                    assert!(first.as_mut().poll(&mut Context::from_waker(&waker)).is_pending());
                    drop_caught(waker);
                    let adds = semaphore.clone();
                    let _ = runtime.spawn(async move { adds.add_permits(1) }).join_blocking();
                    let mut cx = Context::from_waker(Waker::noop());
                    assert!(first.as_mut().poll(&mut cx).is_ready());
                }
                let acquires = semaphore.clone();
                let next = runtime.spawn(async move { acquires.acquire().await.map(drop) });
                next.join_blocking().unwrap().unwrap();
            }
        });
    });
}

#[test]
fn of_the_root_goes_through_block_on_and_leaves_the_runtime_whole() {
    watched(|| {
        let runtime = workers(2);
        for _ in 0..10 {
            let text = filch_tests::panics(|| runtime.block_on(async { panic!("the root") }));
            assert_eq!(text, "the root");
        }
        is_well(&runtime);
    });
}

#[test]
fn of_a_task_in_the_single_threaded_flavour_leaves_block_on_alone() {
    watched(|| {
        let runtime = single();
        let output = runtime.block_on(async {
            let detached = filch::spawn(async { panic!("nobody looks") });
            drop(detached);
            assert!(filch::spawn(async { panic!("seen") }).await.unwrap_err().is_panic());
            filch::spawn(async { 2 }).await.unwrap()
        });
        assert_eq!(output, 2);
    });
}

/// `(id, name, line, message)`
type Report = (u64, Option<String>, u32, String);

/// What a runtime with `PanicPolicy::Call` reports.
fn reporting() -> (Runtime, mpsc::Receiver<Report>) {
    let (tell, told) = mpsc::channel();
    let policy = PanicPolicy::Call(Box::new(move |panic| {
        let _ = tell.send((panic.id, panic.name.clone(), panic.location.line(), panic.message.clone()));
    }));
    (filch::Builder::new().workers(2).on_panic(policy).build().unwrap(), told)
}

#[track_caller]
fn line() -> u32 {
    Location::caller().line()
}

#[test]
fn that_nobody_looks_at_is_reported_once_with_all_that_is_known() {
    watched(|| {
        let (runtime, told) = reporting();
        let handle = runtime.handle();
        // The handle is dropped first.
        let gate = Arc::new(Notify::new());
        let wait = gate.clone();
        let future = async move {
            wait.notified().await;
            panic!("number {}", 1)
        };
        let (task, at) = (filch::task::Builder::new().name("early").spawn_on(future, handle), line());
        let id = task.id().as_u64();
        drop::<filch::JoinHandle<()>>(task);
        gate.notify_one();
        assert_eq!(told.recv().unwrap(), (id, Some("early".to_owned()), at, "number 1".to_owned()));
        // The handle is dropped afterwards.
        let (task, at) = (runtime.spawn(async { panic!("number 2") }), line());
        let id = task.id().as_u64();
        until(|| task.is_finished());
        assert!(told.try_recv().is_err(), "not before the handle is gone");
        drop::<filch::JoinHandle<()>>(task);
        assert_eq!(told.recv().unwrap(), (id, None, at, "number 2".to_owned()));
        drop(runtime);
        assert!(told.try_recv().is_err(), "once each");
    });
}

#[test]
fn of_a_blocking_job_that_nobody_looks_at_is_reported() {
    watched(|| {
        let (runtime, told) = reporting();
        drop(runtime.spawn_blocking(|| panic!("in a job")));
        assert_eq!(told.recv().unwrap().3, "in a job");
    });
}

#[test]
fn that_somebody_looks_at_is_not_reported() {
    watched(|| {
        let (runtime, told) = reporting();
        let task = || runtime.spawn(async { panic!("seen") });
        assert!(task().join_blocking().is_err());
        assert!(runtime.block_on(task()).is_err());
        assert!(task().join_timeout(Duration::MAX).unwrap().is_err());
        runtime.spawn(pending::<()>()).abort();
        is_well(&runtime);
        drop(runtime);
        assert!(told.try_recv().is_err());
    });
}

#[test]
fn in_the_policys_own_function_is_caught() {
    watched(|| {
        let (tell, told) = mpsc::channel();
        let policy = PanicPolicy::Call(Box::new(move |_| {
            tell.send(()).unwrap();
            panic!("in the policy");
        }));
        let runtime = filch::Builder::new().workers(2).on_panic(policy).build().unwrap();
        for _ in 0..5 {
            drop(runtime.spawn(async { panic!("once more") }));
            told.recv().unwrap();
        }
        is_well(&runtime);
    });
}

#[test]
fn with_the_policy_shutdown_cancels_all_and_what_comes_later() {
    watched(|| {
        let runtime = filch::Builder::new().workers(2).on_panic(PanicPolicy::Shutdown).build().unwrap();
        let waits = runtime.spawn(pending::<()>());
        drop(runtime.spawn(async { panic!("the end") }));
        assert!(waits.join_blocking().unwrap_err().is_cancelled());
        until(|| runtime.spawn(async {}).join_blocking().is_err_and(|error| error.is_cancelled()));
    });
}

#[test]
fn with_the_policy_store_is_printed() {
    if child_case().is_some() {
        let runtime = workers(1);
        let task = filch::task::Builder::new().name("loud");
        let task = task.spawn_on(async { panic!("heard") }, runtime.handle());
        until(|| task.is_finished());
        return drop::<filch::JoinHandle<()>>(task);
    }
    watched(|| {
        let said = Child::new("with_the_policy_store_is_printed", "store").succeeds();
        let line = said.lines().find(|line| line.starts_with("filch: task ")).expect("a line of ours");
        assert!(line.contains("\"loud\", spawned at tests/tests/panic.rs:"), "{line}");
        assert!(line.ends_with("panicked: heard (nobody joined it)"), "{line}");
        assert_eq!(said.matches("nobody joined it").count(), 1, "{said}");
    });
}

#[test]
fn with_the_policy_abort_ends_the_process() {
    if child_case().is_some() {
        let runtime = filch::Builder::new().workers(1).on_panic(PanicPolicy::Abort).build().unwrap();
        let seen = runtime.spawn(async { panic!("seen") }).join_blocking();
        assert!(seen.is_err());
        eprintln!("one that is seen is no reason");
        drop(runtime.spawn(async { panic!("unseen") }));
        return runtime.block_on(pending());
    }
    watched(|| {
        let output = Child::new("with_the_policy_abort_ends_the_process", "abort").run();
        let said = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.signal(), Some(6), "SIGABRT, and not {}: {said}", output.status);
        assert!(said.contains("one that is seen is no reason"), "{said}");
        assert!(said.contains("unseen (nobody joined it): aborting, as the panic policy says"), "{said}");
    });
}
