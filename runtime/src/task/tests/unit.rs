//! Tests of a task, state by state: polls, schedules and drops are counted after every step.
// That a waker is woken by value, and another by reference, is what these are about.
#![allow(clippy::waker_clone_wake)]

use crate::shim::thread;
use std::any::Any;
use std::cell::Cell;
use std::future::{pending, poll_fn, ready};
use std::panic::{AssertUnwindSafe, catch_unwind, panic_any};
use std::pin::Pin;
use std::rc::Rc;
use std::task::{RawWaker, RawWakerVTable};

use super::*;
use crate::task::cell::allocated;
use crate::task::raw::{Root, RootPolled};

/// What a task did so far.
#[derive(Default, Clone)]
struct Ledger(Rc<(Cell<usize>, Cell<usize>, Cell<usize>)>);

impl Ledger {
    /// Polls, drops of the future, drops of the output.
    #[track_caller]
    fn is(&self, polls: usize, futures: usize, outputs: usize) {
        assert_eq!((self.0.0.get(), self.0.1.get(), self.0.2.get()), (polls, futures, outputs));
    }
}

fn count(cell: &Cell<usize>) {
    cell.set(cell.get() + 1);
}

/// What a poll does.
#[derive(Clone, Copy, PartialEq)]
enum Act {
    Pend,
    WakeSelf,
    WakeSelfByValue,
    Finish,
    Panic,
}

/// A future that follows a plan, one act a poll.
struct Plan {
    ledger: Ledger,
    acts: std::vec::IntoIter<Act>,
    waker: Rc<Cell<Option<Waker>>>,
    drop_panics: bool,
    output_panics: bool,
}

struct Output(Ledger, bool);

impl Drop for Output {
    fn drop(&mut self) {
        count(&self.0.0.2);
        assert!(!self.1, "in the drop of the output");
    }
}

impl std::fmt::Debug for Output {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Output")
    }
}

impl Future for Plan {
    type Output = Output;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Output> {
        count(&self.ledger.0.0);
        self.waker.set(Some(cx.waker().clone()));
        match self.acts.next().expect("it is not polled more often than planned") {
            Act::Pend => {}
            Act::WakeSelf => cx.waker().wake_by_ref(),
            Act::WakeSelfByValue => cx.waker().clone().wake(),
            Act::Finish => return Poll::Ready(Output(self.ledger.clone(), self.output_panics)),
            Act::Panic => panic!("in the poll"),
        }
        Poll::Pending
    }
}

impl Drop for Plan {
    fn drop(&mut self) {
        count(&self.ledger.0.1);
        assert!(!self.drop_panics, "in the drop of the future");
    }
}

/// A planned task on a bench of its own.
struct Case {
    bench: Arc<Bench>,
    ledger: Ledger,
    waker: Rc<Cell<Option<Waker>>>,
    handle: Option<JoinHandle<Output>>,
}

impl Case {
    fn new(acts: &[Act]) -> Case {
        Case::bad(acts, false, false)
    }

    fn bad(acts: &[Act], drop_panics: bool, output_panics: bool) -> Case {
        let (bench, ledger, waker) = (Bench::new(), Ledger::default(), Rc::default());
        let plan = Plan {
            ledger: ledger.clone(),
            acts: Vec::from(acts).into_iter(),
            waker: Rc::clone(&waker),
            drop_panics,
            output_panics,
        };
        let handle = Some(bench.spawn(plan));
        Case { bench, ledger, waker, handle }
    }

    fn waker(&self) -> Waker {
        self.waker.take().expect("it was polled")
    }

    fn handle(&mut self) -> JoinHandle<Output> {
        self.handle.take().expect("taken once")
    }

    /// Wakes by a reference so far, and tasks in the queue.
    #[track_caller]
    fn queue_is(&self, schedules: usize, queued: usize) {
        assert_eq!((self.bench.schedules(), self.bench.queued()), (schedules, queued));
    }

    fn unseen(&self) -> Vec<String> {
        self.bench.unseen.lock().clone()
    }
}

#[test]
fn a_task_of_no_size_fits_a_small_chunk() {
    let header = size_of::<super::super::raw::Header>();
    let task = allocated::<std::future::Pending<()>, Bench>();
    println!("header {header}, task of pending::<()>() {task} bytes");
    // glibc's chunk of 144 bytes takes 136.
    assert!(task <= 136, "{task} bytes");
}

#[test]
fn a_wake_before_the_poll_asks_for_nothing_more() {
    let mut case = Case::new(&[Act::Pend, Act::Pend, Act::Finish]);
    case.bench.step();
    case.ledger.is(1, 0, 0);
    case.queue_is(0, 0);
    let waker = case.waker();
    waker.wake_by_ref();
    waker.wake_by_ref();
    waker.clone().wake();
    case.queue_is(1, 1);
    assert_eq!(case.bench.run(), 1);
    case.ledger.is(2, 0, 0);
    waker.wake();
    case.queue_is(2, 1);
    assert_eq!(case.bench.run(), 1);
    case.ledger.is(3, 1, 0);
    result(case.handle()).unwrap();
    case.ledger.is(3, 1, 1);
}

#[test]
fn a_wake_after_the_end_does_nothing() {
    let mut case = Case::new(&[Act::Finish]);
    case.bench.step();
    let waker = case.waker();
    waker.wake_by_ref();
    waker.clone().wake();
    case.queue_is(0, 0);
    drop(case.handle());
    case.ledger.is(1, 1, 1);
    // This one is the last reference.
    waker.wake();
    case.queue_is(0, 0);
}

#[test]
fn a_task_that_wakes_itself_is_polled_again_and_once_more_only() {
    for act in [Act::WakeSelf, Act::WakeSelfByValue] {
        let mut case = Case::new(&[act, act, Act::Pend, Act::Finish]);
        assert_eq!(case.bench.run(), 3);
        case.ledger.is(3, 0, 0);
        case.queue_is(0, 0);
        case.waker().wake();
        assert_eq!(case.bench.run(), 1);
        case.ledger.is(4, 1, 0);
        drop(case.handle());
        case.ledger.is(4, 1, 1);
    }
}

#[test]
fn a_task_woken_during_its_poll_by_another_thread_is_polled_again() {
    let bench = Bench::new();
    let mut polls = 0;
    let handle = bench.spawn(poll_fn(move |cx| {
        polls += 1;
        let waker = cx.waker().clone();
        thread::spawn(move || waker.wake()).join().unwrap();
        if polls == 2 { Poll::Ready(polls) } else { Poll::Pending }
    }));
    assert_eq!((bench.run(), bench.schedules()), (2, 0));
    assert_eq!(result(handle).unwrap(), 2);
}

#[test]
fn abort_in_each_state() {
    // Never polled.
    let mut case = Case::new(&[]);
    let handle = case.handle();
    handle.abort();
    handle.abort();
    case.queue_is(0, 1);
    case.bench.run();
    case.ledger.is(0, 1, 0);
    assert!(result(handle).unwrap_err().is_cancelled());
    // Idle.
    let mut case = Case::new(&[Act::Pend]);
    case.bench.step();
    let handle = case.handle();
    handle.abort();
    handle.abort_handle().abort();
    case.queue_is(1, 1);
    case.bench.run();
    case.ledger.is(1, 1, 0);
    assert!(handle.is_finished());
    assert!(result(handle).unwrap_err().is_cancelled());
    // Done: the output stays.
    let mut case = Case::new(&[Act::Finish]);
    case.bench.step();
    let handle = case.handle();
    handle.abort();
    case.queue_is(0, 0);
    result(handle).unwrap();
    case.ledger.is(1, 1, 1);
    // Running, by itself: the poll comes to its end, the next one never.
    let bench = Bench::new();
    let mine = Rc::new(Cell::new(None::<super::super::AbortHandle>));
    let abort = mine.clone();
    let handle = bench.spawn(async move {
        abort.take().unwrap().abort();
        pending::<()>().await;
    });
    mine.set(Some(handle.abort_handle()));
    assert_eq!(bench.run(), 2);
    assert!(result(handle).unwrap_err().is_cancelled());
}

#[test]
fn a_panic_in_the_poll_is_an_error_that_says_where() {
    let mut case = Case::new(&[Act::Panic]);
    case.bench.run();
    case.ledger.is(1, 1, 0);
    let error = result(case.handle()).unwrap_err();
    assert!(error.is_panic() && !error.is_cancelled());
    assert_eq!((error.id(), error.name()), (7, Some("seven")));
    assert!(error.to_string().ends_with("panicked: in the poll"), "{error}");
    assert_eq!(*error.into_panic().downcast::<&str>().unwrap(), "in the poll");
    assert!(case.unseen().is_empty());
}

#[test]
fn a_panic_that_nobody_looks_at_goes_to_the_policy_once() {
    let mut before = Case::new(&[Act::Panic]);
    drop(before.handle());
    before.bench.run();
    let mut after = Case::new(&[Act::Panic]);
    after.bench.run();
    drop(after.handle());
    for case in [before, after] {
        case.ledger.is(1, 1, 0);
        assert_eq!(case.unseen(), ["in the poll"]);
    }
}

#[test]
fn a_panic_in_the_drop_of_the_future_is_an_error() {
    let mut finished = Case::bad(&[Act::Finish], true, false);
    finished.bench.run();
    finished.ledger.is(1, 1, 1);
    assert!(result(finished.handle()).unwrap_err().is_panic());
    let mut both = Case::bad(&[Act::Panic], true, false);
    both.bench.run();
    assert!(result(both.handle()).unwrap_err().to_string().contains("in the poll"));
    let mut aborted = Case::bad(&[], true, false);
    let handle = aborted.handle();
    handle.abort();
    aborted.bench.run();
    aborted.ledger.is(0, 1, 0);
    assert!(result(handle).unwrap_err().is_panic());
}

#[test]
fn a_panic_in_the_drop_of_the_output_ends_there() {
    let mut before = Case::bad(&[Act::Finish], false, true);
    drop(before.handle());
    before.bench.run();
    before.ledger.is(1, 1, 1);
    let mut after = Case::bad(&[Act::Finish], false, true);
    after.bench.run();
    after.ledger.is(1, 1, 0);
    drop(after.handle());
    after.ledger.is(1, 1, 1);
}

/// Panics with another of its kind when it is dropped, `0` times more.
struct Bomb(u32);

impl Drop for Bomb {
    fn drop(&mut self) {
        if self.0 > 0 {
            panic_any(Bomb(self.0 - 1));
        }
    }
}

#[test]
fn a_payload_whose_drop_panics_is_dropped_with_care() {
    let bench = Bench::new();
    drop(bench.spawn(async { panic_any(Bomb(2)) }));
    assert_eq!(bench.run(), 1);
    let handle = bench.spawn(async { panic_any(Bomb(1)) });
    assert_eq!(bench.run(), 1);
    drop(handle);
    assert_eq!(bench.unseen.lock().len(), 2);
    // Somebody who takes the error drops it as he likes.
    let handle = bench.spawn(async { panic_any(Bomb(1)) });
    bench.run();
    let error = result(handle).unwrap_err();
    assert!(catch_unwind(AssertUnwindSafe(|| drop(error))).is_err());
}

/// A waker that panics in what it is told to panic in.
fn bad_waker(when: &'static str) -> Waker {
    fn check(data: *const (), what: &str) {
        // SAFETY: the data is a `&'static &'static str`.
        let when = unsafe { *data.cast::<&'static str>() };
        assert!(when != what, "in the waker's {what}");
    }
    static TABLE: RawWakerVTable = RawWakerVTable::new(
        |data| {
            check(data, "clone");
            RawWaker::new(data, &TABLE)
        },
        |data| check(data, "wake"),
        |data| check(data, "wake"),
        |data| check(data, "drop"),
    );
    let when: &'static &'static str = Box::leak(Box::new(when));
    // SAFETY: the table's functions own nothing and may be called on any thread.
    unsafe { Waker::from_raw(RawWaker::new(std::ptr::from_ref(when).cast(), &TABLE)) }
}

#[test]
fn a_join_waker_that_panics_spoils_nothing() {
    // In wake: the task is done all the same, and whoever ran it goes on.
    let mut case = Case::new(&[Act::Finish]);
    let mut handle = case.handle();
    assert!(poll(&mut handle, &bad_waker("wake")).is_pending());
    case.bench.run();
    case.ledger.is(1, 1, 0);
    result(handle).unwrap();
    // In clone: the handle can be polled again.
    let mut case = Case::new(&[Act::Finish]);
    let mut handle = case.handle();
    let bad = bad_waker("clone");
    assert!(catch_unwind(AssertUnwindSafe(|| poll(&mut handle, &bad).is_pending())).is_err());
    let (count, good) = Count::waker();
    assert!(poll(&mut handle, &good).is_pending());
    case.bench.run();
    assert_eq!(count.get(), 1);
    result(handle).unwrap();
    // In drop, when it is replaced: the new one is in its place.
    let mut case = Case::new(&[Act::Finish]);
    let mut handle = case.handle();
    let bad = std::mem::ManuallyDrop::new(bad_waker("drop"));
    assert!(poll(&mut handle, &bad).is_pending());
    let (count, good) = Count::waker();
    assert!(catch_unwind(AssertUnwindSafe(|| poll(&mut handle, &good).is_pending())).is_err());
    assert!(poll(&mut handle, &good).is_pending());
    case.bench.run();
    assert_eq!(count.get(), 1);
    // And when the handle goes with it.
    let mut case = Case::new(&[Act::Finish]);
    let mut handle = case.handle();
    assert!(poll(&mut handle, &bad).is_pending());
    drop(handle);
    case.bench.run();
    case.ledger.is(1, 1, 1);
}

#[test]
fn the_same_waker_is_not_cloned_again() {
    let mut case = Case::new(&[Act::Finish]);
    let mut handle = case.handle();
    let (count, waker) = Count::waker();
    assert!(poll(&mut handle, &waker).is_pending());
    assert!(poll(&mut handle, &waker).is_pending());
    assert_eq!(StdArc::strong_count(&count), 3);
    case.bench.run();
    assert_eq!((count.get(), StdArc::strong_count(&count)), (1, 2));
    result(handle).unwrap();
}

#[test]
fn a_handle_polled_after_its_end_panics_and_still_lets_go() {
    let mut case = Case::new(&[Act::Finish]);
    case.bench.run();
    let mut handle = case.handle();
    assert!(poll(&mut handle, Waker::noop()).is_ready());
    case.ledger.is(1, 1, 1);
    assert!(catch_unwind(AssertUnwindSafe(|| poll(&mut handle, Waker::noop()).is_ready())).is_err());
    assert!(handle.is_finished());
    drop(handle);
    case.ledger.is(1, 1, 1);
}

#[test]
fn on_done_before_and_after_the_end() {
    let bench = Bench::new();
    let calls = StdArc::new(Mutex::new(Vec::new()));
    let call = |name: &'static str| {
        let calls = calls.clone();
        move |output: &Result<i32, _>| {
            calls.lock().push((name, *output.as_ref().unwrap()));
            assert_ne!(name, "bad", "in a callback");
        }
    };
    let handle = bench.spawn(ready(4));
    handle.on_done(call("first"));
    handle.on_done(call("bad"));
    handle.on_done(call("last"));
    bench.run();
    assert_eq!(*calls.lock(), [("first", 4), ("bad", 4), ("last", 4)]);
    handle.on_done(call("late"));
    assert_eq!(calls.lock().len(), 4);
    assert_eq!(result(handle).unwrap(), 4);
    // Of a task whose handle is gone.
    let handle = bench.spawn(ready(5));
    handle.on_done(call("gone"));
    drop(handle);
    bench.run();
    assert_eq!(calls.lock().last(), Some(&("gone", 5)));
}

#[test]
fn on_done_sees_a_task_that_is_not_yet_finished() {
    let bench = Bench::new();
    let handle = bench.spawn(ready(4));
    let abort = handle.abort_handle();
    let seen = StdArc::new(Mutex::new(None));
    let told = seen.clone();
    handle.on_done(move |_| *told.lock() = Some(abort.is_finished()));
    bench.run();
    assert_eq!(*seen.lock(), Some(false), "the handle could take the output while the callbacks look at it");
    assert!(handle.is_finished());
}

#[test]
fn a_root_answers_all_wakes_in_one_poll_after_an_abort_too() {
    let bench = Bench::new();
    // SAFETY: the bench outlives the root.
    let (root, runnable) = unsafe { Root::new(&raw const *bench, Bench::birth()) };
    let mut list = crate::task::TaskList::default();
    assert!(list.push(&runnable));
    let task = list.tasks().remove(0);
    let _ = runnable;
    let mut waker = None;
    let pend = |waker: &mut Option<Waker>| {
        matches!(
            root.poll(|cx| {
                *waker = Some(cx.waker().clone());
                Poll::<()>::Pending
            }),
            RootPolled::Idle
        )
    };
    assert!(pend(&mut waker));
    task.abort();
    (0..5).for_each(|_| waker.as_ref().unwrap().wake_by_ref());
    assert_eq!((bench.schedules(), bench.queued()), (1, 1));
    let _ = bench.pop();
    assert!(pend(&mut waker), "one poll answers them all");
    waker.as_ref().unwrap().wake_by_ref();
    let _ = bench.pop();
    assert!(matches!(root.poll(|_| Poll::Ready(8)), RootPolled::Done(Ok(8))));
    let done = root.complete();
    list.remove(&done);
    done.release();
    drop(root);
    drop(task);
    waker.unwrap().wake();
    assert_eq!(bench.queued(), 0);
}

#[test]
fn a_payload_is_what_was_thrown() {
    let bench = Bench::new();
    let handle = bench.spawn(async { panic_any(42_u64) });
    bench.run();
    let payload: Box<dyn Any + Send> = result(handle).unwrap_err().into_panic();
    assert_eq!(*payload.downcast::<u64>().unwrap(), 42);
}
