//! Unit tests of the watch channel.

use std::cell::Cell;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::pin;
use std::time::{Duration, Instant};

use futures_core::Stream;

use super::error::{RecvError, RecvTimeoutError};
use super::*;
use crate::probe::BUDGET;
use crate::shim::thread;
use crate::test_util::{Count, FakeTask};
use crate::testing::{Ledger, Wakes};

/// Runs `f`, which must panic, and returns the text.
fn panics(f: impl FnOnce()) -> String {
    let payload = catch_unwind(AssertUnwindSafe(f)).unwrap_err();
    let text = payload.downcast_ref::<&str>().map(|text| (*text).to_owned());
    text.or_else(|| payload.downcast_ref::<String>().cloned()).unwrap()
}

fn is_ready(future: Pin<&mut (impl Future + ?Sized)>) -> bool {
    Count::new().poll(future).is_ready()
}

fn next<T: Clone>(rx: &mut Receiver<T>) -> Poll<Option<T>> {
    Pin::new(rx).poll_next(&mut Context::from_waker(std::task::Waker::noop()))
}

#[test]
fn each_receiver_sees_the_newest_once() {
    let (tx, mut rx) = channel("one");
    let mut other = rx.clone();
    assert_eq!((rx.has_changed(), *rx.borrow()), (Ok(false), "one"));
    tx.send("two").unwrap();
    tx.send("three").unwrap();
    assert!(rx.borrow().has_changed() && rx.borrow().has_changed());
    let value = rx.borrow_and_update();
    assert_eq!((value.has_changed(), *value), (true, "three"));
    drop(value);
    assert!(!rx.borrow_and_update().has_changed() && !tx.borrow().has_changed());
    assert_eq!((rx.has_changed(), other.has_changed()), (Ok(false), Ok(true)));
    assert_eq!((block_on(other.changed()), other.has_changed()), (Ok(()), Ok(false)));
    assert_eq!(tx.subscribe().has_changed(), Ok(false));
    rx.mark_changed();
    assert_eq!((rx.has_changed(), rx.changed_blocking()), (Ok(true), Ok(())));
    tx.send("four").unwrap();
    rx.mark_unchanged();
    assert_eq!(rx.changed_timeout(Duration::ZERO), Err(RecvTimeoutError::Timeout));
    assert_eq!(rx.changed_deadline(Instant::now()), Err(RecvTimeoutError::Timeout));
    assert_eq!(other.changed_timeout(Duration::MAX), Ok(()));
    assert!(format!("{rx:?} {tx:?} {:?}", tx.borrow()).contains("four"));
}

#[test]
fn the_end_comes_after_the_last_value() {
    let (tx, mut rx) = channel(0);
    let mut late = rx.clone();
    let clone = tx.clone();
    assert_eq!((tx.sender_count(), tx.receiver_count()), (2, 2));
    assert!(tx.same_channel(&clone) && !tx.same_channel(&Sender::default()));
    assert!(rx.same_channel(&late) && !rx.same_channel(&channel(0).1));
    drop(tx);
    clone.send(1).unwrap();
    assert!(!rx.is_closed());
    drop(clone);
    assert!(rx.is_closed());
    assert_eq!((rx.has_changed(), *rx.borrow()), (Err(RecvError), 1));
    assert!(rx.borrow().has_changed());
    assert_eq!((block_on(rx.changed()), block_on(rx.changed())), (Ok(()), Err(RecvError)));
    assert_eq!(rx.changed_blocking(), Err(RecvError));
    assert_eq!(rx.changed_timeout(Duration::MAX), Err(RecvTimeoutError::Closed));
    rx.mark_changed();
    assert_eq!(rx.changed_deadline(Instant::now()), Ok(()));
    assert_eq!(block_on(late.wait_for(|value| *value == 1)).map(|value| *value), Ok(1));
    assert!(block_on(late.wait_for(|value| *value == 2)).is_err());
    assert_eq!(late.wait_for_timeout(Duration::MAX, |_| false).unwrap_err(), RecvTimeoutError::Closed);
}

#[test]
fn sending_without_a_receiver() {
    let tx = Sender::new(0);
    assert!(tx.is_closed());
    block_on(tx.closed());
    assert_eq!(tx.send(1).unwrap_err().into_inner(), 1);
    assert_eq!((tx.send_replace(2), *tx.borrow()), (0, 2));
    tx.send_modify(|value| *value += 1);
    let rx = tx.subscribe();
    assert_eq!((rx.has_changed(), *rx.borrow(), tx.is_closed()), (Ok(false), 3, false));
    let mut closed = pin!(tx.closed());
    assert!(!is_ready(closed.as_mut()));
    drop(rx);
    assert!(is_ready(closed));
}

#[test]
fn a_change_that_was_none_tells_nobody() {
    let (tx, mut rx) = channel(1);
    let count = Count::new();
    let mut changed = Box::pin(rx.changed());
    assert!(count.poll(changed.as_mut()).is_pending());
    assert!(!tx.send_if_modified(|value| *value > 1));
    assert_eq!(count.get(), 0);
    assert!(tx.send_if_modified(|value| {
        *value += 1;
        true
    }));
    assert_eq!(count.get(), 1);
    assert!(is_ready(changed.as_mut()));
    drop(changed);
    let text = panics(|| {
        tx.send_modify(|value| {
            *value += 1;
            panic!("on purpose");
        });
    });
    assert_eq!(text, "on purpose");
    assert_eq!((rx.has_changed(), *rx.borrow()), (Ok(false), 3));
}

#[test]
fn waiting_for_a_value() {
    let (tx, mut rx) = channel(1);
    assert_eq!(*block_on(rx.wait_for(|value| *value == 1)).unwrap(), 1);
    tx.send(2).unwrap();
    let calls = Cell::new(0);
    let odd = |value: &i32| {
        calls.set(calls.get() + 1);
        value % 2 == 1
    };
    assert_eq!(rx.wait_for_timeout(Duration::ZERO, odd).unwrap_err(), RecvTimeoutError::Timeout);
    assert_eq!((calls.get(), rx.has_changed()), (1, Ok(false)), "what was declined was seen");
    assert_eq!(rx.wait_for_deadline(Instant::now(), odd).unwrap_err(), RecvTimeoutError::Timeout);
    let mut wait = Box::pin(rx.wait_for(odd));
    assert!(!is_ready(wait.as_mut()));
    tx.send(4).unwrap();
    assert!(!is_ready(wait.as_mut()));
    tx.send(5).unwrap();
    let found = block_on(wait).unwrap();
    assert_eq!((*found, found.has_changed(), calls.get()), (5, true, 5));
    drop(found);
    assert!(!rx.wait_for_blocking(|_| true).unwrap().has_changed());
    assert_eq!(panics(|| drop(block_on(rx.wait_for(|_| panic!("on purpose"))))), "on purpose");
    tx.send_modify(|value| *value = 7);
    assert_eq!(*rx.borrow(), 7, "the panic has left no borrow behind");
}

#[test]
fn a_stream_of_the_newest() {
    let (tx, mut rx) = channel(0);
    assert_eq!(next(&mut rx), Poll::Pending);
    tx.send(1).unwrap();
    tx.send(2).unwrap();
    assert_eq!((next(&mut rx), next(&mut rx)), (Poll::Ready(Some(2)), Poll::Pending));
    tx.send(3).unwrap();
    assert_eq!(block_on(rx.changed()), Ok(()));
    assert_eq!(next(&mut rx), Poll::Pending);
    rx.mark_changed();
    tx.send(4).unwrap();
    drop(tx);
    assert_eq!((next(&mut rx), next(&mut rx)), (Poll::Ready(Some(4)), Poll::Ready(None)));
}

/// WA2, first half: a value can be sent by a thread that has borrowed the one before.
#[test]
fn wa2_sending_under_a_borrow() {
    let ledger = Ledger::new();
    let (tx, mut rx) = channel(ledger.message(0));
    let (old, again) = (rx.borrow(), tx.borrow());
    tx.send(ledger.message(1)).unwrap();
    assert_eq!((old.1, again.1, rx.borrow().1), (0, 0, 1));
    tx.send_modify(|value| value.1 = 2);
    drop(old);
    assert_eq!(ledger.drops(), 0);
    drop(again);
    assert_eq!(ledger.drops(), 1, "with the last borrow");
    tx.send(ledger.message(3)).unwrap();
    assert_eq!(ledger.drops(), 2, "nobody had borrowed it");
    let seen = rx.wait_for_blocking(|value| {
        if value.1 == 3 {
            tx.send(ledger.message(4)).unwrap();
        }
        value.1 == 4
    });
    assert_eq!(seen.unwrap().1, 4);
    drop((rx, tx));
    assert_eq!(ledger.drops(), ledger.made());
}

/// WA2, second half: who would wait for itself is told so.
#[test]
fn a_thread_that_would_wait_for_itself_panics() {
    let (tx, rx) = channel(0);
    let borrowed = rx.borrow();
    assert!(panics(|| tx.send_modify(|_| ())).contains("drop the `Ref` first"));
    assert!(panics(|| assert_eq!(tx.send_replace(1), 0)).contains("drop the `Ref` first"));
    drop(borrowed);
    let nested: [&dyn Fn(); 5] = [
        &|| tx.send_modify(|_| ()),
        &|| tx.send(1).unwrap(),
        &|| assert_eq!(tx.send_replace(1), 0),
        &|| drop(tx.borrow()),
        &|| drop(rx.clone().borrow_and_update()),
    ];
    for nested in nested {
        assert!(panics(|| tx.send_modify(|_| nested())).contains("uses the same channel"));
    }
    // What asks for nothing but the version is allowed.
    tx.send_modify(|value| {
        *value += 1;
        assert_eq!((rx.has_changed(), tx.receiver_count(), rx.is_closed()), (Ok(false), 1, false));
    });
    assert_eq!((rx.has_changed(), *rx.borrow()), (Ok(true), 1));
}

#[test]
fn a_change_waits_for_borrows_of_other_threads() {
    let (tx, rx) = channel(0);
    let (borrowed, looked) = (crate::event::Event::new(), crate::event::Event::new());
    thread::scope(|scope| {
        scope.spawn(|| {
            let value = rx.borrow();
            borrowed.set();
            // Others may borrow meanwhile, and so may this thread again.
            looked.wait_blocking();
            assert_eq!((*value, *rx.borrow()), (0, 0));
        });
        borrowed.wait_blocking();
        let changer = scope.spawn(|| tx.send_modify(|value| *value = 1));
        while !tx.shared.value.is_wanted() {
            thread::yield_now();
        }
        assert_eq!(*rx.borrow(), 0);
        looked.set();
        changer.join().unwrap();
        assert_eq!(*rx.borrow(), 1);
    });
}

#[test]
fn a_value_that_panics_when_dropped_is_told_of_all_the_same() {
    struct Bad(bool);
    impl Drop for Bad {
        fn drop(&mut self) {
            assert!(!self.0, "on purpose");
        }
    }
    let (tx, mut rx) = channel(Bad(true));
    let count = Count::new();
    let mut changed = Box::pin(rx.changed());
    assert!(count.poll(changed.as_mut()).is_pending());
    assert_eq!(panics(|| drop(tx.send(Bad(false)))), "on purpose");
    assert!(count.get() == 1 && is_ready(changed.as_mut()));
    drop(changed);
    // With the last borrow, too.
    tx.send_modify(|value| value.0 = true);
    let borrowed = rx.borrow();
    tx.send(Bad(false)).ok().unwrap();
    assert_eq!(panics(|| drop(borrowed)), "on purpose");
    tx.send_modify(|value| assert!(!value.0));
}

#[test]
fn dropped_at_each_stage() {
    let (tx, mut rx) = channel(0);
    drop(rx.changed());
    let mut changed = Box::pin(rx.changed());
    assert!(!is_ready(changed.as_mut()));
    drop(changed);
    assert!(tx.shared.changes.lock().is_empty());
    let mut changed = Box::pin(rx.changed());
    assert!(!is_ready(changed.as_mut()));
    tx.send(1).unwrap();
    drop(changed);
    assert_eq!((rx.has_changed(), block_on(rx.changed())), (Ok(true), Ok(())), "it was not seen");
    drop(rx.wait_for(|_| true));
    let mut wait = Box::pin(rx.wait_for(|value| *value == 2));
    assert!(!is_ready(wait.as_mut()));
    tx.send(2).unwrap();
    drop(wait);
    assert_eq!(rx.has_changed(), Ok(true));
}

#[test]
fn a_waker_that_panics_does_not_keep_the_others_asleep() {
    let (tx, rx) = channel(0);
    let ((bad, bad_waker), (good, good_waker)) = (Wakes::new(), Wakes::new());
    bad.set_panic();
    let mut receivers = [rx.clone(), rx];
    let waits = receivers.iter_mut().zip([&bad_waker, &good_waker]).map(|(rx, waker)| {
        let mut changed = Box::pin(rx.changed());
        assert!(changed.as_mut().poll(&mut Context::from_waker(waker)).is_pending());
        changed
    });
    let waits: Vec<_> = waits.collect();
    tx.send(1).unwrap();
    assert_eq!((bad.count(), good.count()), (1, 1));
    waits.into_iter().for_each(|changed| assert_eq!(block_on(changed), Ok(())));
}

#[test]
fn wa2_versions_wrap() {
    let (tx, mut rx) = channel(0);
    tx.shared.word.store(0_usize.wrapping_sub(ONE), Relaxed);
    rx.mark_unchanged();
    let mut changed = Box::pin(rx.changed());
    assert!(!is_ready(changed.as_mut()));
    tx.send(1).unwrap();
    assert_eq!(tx.shared.now(), (0, false));
    assert_eq!(block_on(changed), Ok(()));
    rx.mark_changed();
    assert_eq!((rx.has_changed(), block_on(rx.changed()), rx.has_changed()), (Ok(true), Ok(()), Ok(false)));
}

/// Values of two halves, replaced and changed by threads, borrowed by others: no half is seen alone.
#[test]
fn many_senders_and_receivers() {
    let (tx, rx) = channel((0_u64, 0_u64));
    thread::scope(|scope| {
        for id in 0..2 {
            let tx = tx.clone();
            scope.spawn(move || {
                for n in 0..500 {
                    if id == 0 {
                        tx.send_modify(|pair| *pair = (pair.0 + 1, pair.1 + 1));
                    } else {
                        tx.send((n, n)).unwrap();
                    }
                }
            });
        }
        for id in 0..3 {
            let mut rx = rx.clone();
            scope.spawn(move || {
                loop {
                    let changed = if id == 0 { rx.changed_blocking() } else { block_on(rx.changed()) };
                    let pair = rx.borrow_and_update();
                    assert_eq!(pair.0, pair.1);
                    if changed.is_err() {
                        break;
                    }
                }
            });
        }
        assert_eq!(tx.receiver_count(), 4);
        drop(tx);
    });
    assert!(rx.is_closed() && format!("{rx:?}").contains("version: 1000"));
}

#[test]
fn a_task_yields_when_its_budget_is_spent() {
    let (tx, mut rx) = channel(0);
    let task = FakeTask::new(1);
    for kind in 0..3 {
        let mut seen = 0;
        task.poll(|cx| {
            loop {
                tx.send(1).unwrap();
                let ready = match kind {
                    0 => pin!(rx.changed()).poll(cx).is_ready(),
                    1 => pin!(rx.wait_for(|_| true)).poll(cx).is_ready(),
                    _ => Pin::new(&mut rx).poll_next(cx).is_ready(),
                };
                if !ready {
                    break;
                }
                seen += 1;
            }
        });
        assert_eq!(seen, BUDGET);
    }
    assert_eq!(task.wakes.get(), 3);
}

#[test]
fn the_header_says_what_is_waited_for() {
    let (tx, mut rx) = channel(0);
    let (task, mut other) = (FakeTask::new(1), rx.clone());
    type Boxed<'a> = Pin<Box<dyn Future<Output = ()> + 'a>>;
    let mut waits: [(Boxed<'_>, Wait); 3] = [
        (Box::pin(tx.closed()), Wait::Notify),
        (Box::pin(async { rx.changed().await.unwrap() }), Wait::Recv),
        (Box::pin(async { drop(other.wait_for(|_| false).await) }), Wait::Recv),
    ];
    for (wait, expected) in &mut waits {
        assert!(task.poll_one(wait.as_mut()).is_pending());
        let (kind, resource, location) = task.header.wait();
        assert_eq!((kind, resource), (*expected, tx.shared.address() as usize));
        assert!(location.unwrap().file().ends_with("unit.rs"));
    }
}

#[test]
fn public_types_cross_threads() {
    fn crosses<T: Send + Sync>() {}
    fn shared<T: Sync>() {}
    fn moves<T: Send>(_: T) {}
    crosses::<Sender<u32>>();
    crosses::<Receiver<u32>>();
    crosses::<Changed<'_, u32>>();
    crosses::<Closed<'_, u32>>();
    shared::<Ref<'_, u32>>();
    moves(channel(1).1.wait_for(|_| true));
}
