//! Models of the watch channel: every interleaving under loom, a stress test elsewhere.

use super::error::RecvError;
use super::*;
use crate::shim::{model, thread};
use crate::test_util::Count;

/// WA1: two receivers, one a task and one a thread, and a value sent just before the sender goes.
#[test]
fn wa1_model_the_last_value_is_seen() {
    model(|| {
        let (tx, mut task) = channel(0);
        let mut blocked = task.clone();
        let sender = thread::spawn(move || {
            tx.send(1).unwrap();
        });
        let thread = thread::spawn(move || {
            let mut changes = 0;
            while blocked.changed_blocking().is_ok() {
                changes += 1;
            }
            (changes, *blocked.borrow())
        });
        assert_eq!(block_on(task.wait_for(|value| *value == 1)).map(|value| *value), Ok(1));
        assert_eq!(block_on(task.changed()), Err(RecvError));
        assert_eq!(thread.join().unwrap(), (1, 1));
        sender.join().unwrap();
    });
}

/// One receiver stops to wait while a value is sent: the other hears of it, and both see it.
#[test]
fn wa1_model_send_and_cancel() {
    model(|| {
        let (tx, mut given_up) = channel(0);
        let mut stays = given_up.clone();
        let sender = {
            let tx = tx.clone();
            thread::spawn(move || tx.send(1))
        };
        let canceller = thread::spawn(move || {
            let mut changed = Box::pin(given_up.changed());
            let ready = Count::new().poll(changed.as_mut()).is_ready();
            drop(changed);
            (ready, given_up)
        });
        assert_eq!(block_on(stays.changed()), Ok(()));
        assert_eq!(*stays.borrow(), 1);
        sender.join().unwrap().unwrap();
        let (ready, given_up) = canceller.join().unwrap();
        assert_eq!(given_up.has_changed(), Ok(!ready));
        assert!(tx.shared.changes.lock().is_empty());
    });
}

/// Two change the value in place while a third looks: no change is lost, and each version is told of.
#[test]
fn model_two_change_and_one_looks() {
    model(|| {
        let (tx, rx) = channel((0, 0));
        let changers = [(); 2].map(|()| {
            let tx = tx.clone();
            thread::spawn(move || {
                tx.send_modify(|pair| {
                    pair.0 += 1;
                    pair.1 += 1;
                });
            })
        });
        let seen = *rx.borrow();
        assert!(seen.0 == seen.1 && seen.0 <= 2);
        for changer in changers {
            changer.join().unwrap();
        }
        assert_eq!((*rx.borrow(), tx.shared.now().0 / ONE), ((2, 2), 2));
    });
}

/// A reader keeps the value while it is replaced and changed in place: it sees what it borrowed.
#[test]
fn model_a_reader_keeps_its_value() {
    model(|| {
        let (tx, rx) = channel(1);
        let changer = {
            let tx = tx.clone();
            thread::spawn(move || tx.send_modify(|value| *value += 10))
        };
        let sender = {
            let tx = tx.clone();
            thread::spawn(move || tx.send(5).unwrap())
        };
        let (first, again) = (rx.borrow(), rx.borrow());
        let borrowed = *first;
        assert!([1, 11, 5, 15].contains(&borrowed));
        drop(again);
        assert_eq!(*first, borrowed);
        drop(first);
        changer.join().unwrap();
        sender.join().unwrap();
        assert!([5, 15].contains(&*rx.borrow()));
        assert_eq!(tx.shared.now().0 / ONE, 2);
    });
}

/// The last receivers go while one sender waits for that and another sends.
#[test]
fn model_receivers_go() {
    model(|| {
        let (tx, rx) = channel(0);
        let leavers = [rx.clone(), rx].map(|rx| thread::spawn(move || drop(rx)));
        let sent = tx.send(1).is_ok();
        block_on(tx.closed());
        for leaver in leavers {
            leaver.join().unwrap();
        }
        assert_eq!((tx.send(2).is_err(), *tx.borrow()), (true, i32::from(sent)));
    });
}
