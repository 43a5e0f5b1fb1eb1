//! A set against wakers from other threads, and against wakers that misbehave. Thread-locals with a
//! destructor keep it from being compiled under loom; the model is a stress test only. What it would explore
//! there is small: `schedule` and the drop meet under the mutex of the queue, and a task is taken off the
//! list by the set's own thread.

use std::cell::Cell;
use std::future::{pending, poll_fn};
use std::rc::Rc;
use std::sync::Arc as StdArc;
use std::task::{Context, Wake};

use super::*;
use crate::shim::thread::{self, ThreadId};
use crate::shim::{Mutex as ShimMutex, model};

/// Remembers on which thread it was dropped.
struct Home(StdArc<ShimMutex<Vec<ThreadId>>>);

impl Drop for Home {
    fn drop(&mut self) {
        self.0.lock().push(thread::current().id());
    }
}

fn poll_once<F: Future>(future: F, waker: &Waker) -> Poll<F::Output> {
    pin!(future).poll(&mut Context::from_waker(waker))
}

#[test]
fn model_wakes_and_aborts_from_other_threads_against_the_drop_of_the_set() {
    model(|| {
        let drops = StdArc::default();
        let set = LocalSet::new();
        let waker = Rc::new(Cell::new(None));
        let (home, slot) = (Home(StdArc::clone(&drops)), waker.clone());
        let handle = set.spawn_local(poll_fn(move |cx| {
            let _ = &home;
            slot.set(Some(cx.waker().clone()));
            Poll::<()>::Pending
        }));
        assert!(poll_once(set.run_until(pending::<()>()), Waker::noop()).is_pending());
        let waker: Waker = waker.take().unwrap();
        let (other, abort) = (waker.clone(), handle.abort_handle());
        let threads = [thread::spawn(move || other.wake()), thread::spawn(move || abort.abort())];
        drop(set);
        assert_eq!(*drops.lock(), [thread::current().id()], "dropped once, at home");
        threads.into_iter().for_each(|thread| thread.join().unwrap());
        // Late: the set is gone, and the task is done.
        waker.wake_by_ref();
        thread::spawn(move || drop(waker)).join().unwrap();
        assert!(handle.is_finished());
    });
}

struct Panics;

impl Wake for Panics {
    fn wake(self: StdArc<Panics>) {
        panic!("in the waker");
    }
}

#[test]
fn a_waker_that_panics_does_not_keep_the_drop_from_ending_all_tasks() {
    let drops = StdArc::default();
    let set = LocalSet::new();
    let handles: Vec<_> = (0..3)
        .map(|_| {
            let home = Home(StdArc::clone(&drops));
            set.spawn_local(async move {
                let _home = home;
                pending::<()>().await;
            })
        })
        .collect();
    assert!(poll_once(set.run_until(pending::<()>()), &Waker::from(StdArc::new(Panics))).is_pending());
    drop(set);
    assert_eq!(drops.lock().len(), 3);
    assert!(handles.iter().all(JoinHandle::is_finished));
}

/// Wakes a task of the set when it is dropped.
struct WakesInDrop(Waker);

impl Wake for WakesInDrop {
    fn wake(self: StdArc<WakesInDrop>) {}
}

impl Drop for WakesInDrop {
    fn drop(&mut self) {
        self.0.wake_by_ref();
    }
}

#[test]
fn a_waker_whose_drop_wakes_a_task_of_the_set_is_dropped_outside_of_the_lock() {
    let set = LocalSet::new();
    let waker = Rc::new(Cell::new(None));
    let slot = waker.clone();
    let _task = set.spawn_local(poll_fn(move |cx| {
        slot.set(Some(cx.waker().clone()));
        Poll::<()>::Pending
    }));
    assert!(poll_once(set.run_until(pending::<()>()), Waker::noop()).is_pending());
    let bad = Waker::from(StdArc::new(WakesInDrop(waker.take().unwrap())));
    assert!(poll_once(set.run_until(pending::<()>()), &bad).is_pending());
    drop(bad);
    // This one takes the place of the bad one.
    assert!(poll_once(set.run_until(pending::<()>()), Waker::noop()).is_pending());
}

#[test]
fn a_set_may_be_dropped_by_a_thread_that_is_torn_down() {
    thread_local! {
        static SET: RefCell<Option<LocalSet>> = const { RefCell::new(None) };
    }
    let ended = StdArc::default();
    let home = Home(StdArc::clone(&ended));
    thread::spawn(move || {
        // Registered before the set's own thread-local, so dropped after it.
        SET.with_borrow_mut(|set| {
            let new = LocalSet::new();
            let _task = new.spawn_local(async move {
                let _home = home;
                pending::<()>().await;
            });
            assert!(poll_once(new.run_until(pending::<()>()), Waker::noop()).is_pending());
            *set = Some(new);
        });
    })
    .join()
    .unwrap();
    assert_eq!(ended.lock().len(), 1);
}
