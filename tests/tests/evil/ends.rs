//! Evil wakers and values at the ends that are not shared, in room that is kept, and in a select.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use filch::channel::{Builder, Select, bounded, mpsc, spsc};
use filch::testing::block_on;

use crate::tolerating;
use crate::values::evil_values;
use crate::wakers::{Waiting, hostile, ignore};

#[test]
fn senders_to_one_receiver() {
    hostile(|stage| {
        let (tx, rx) = mpsc::bounded(1);
        tx.try_send(1).unwrap();
        let one = tx.clone();
        stage.meddle(move || {
            let _ = one.try_send(2);
            drop(one.try_reserve());
            let _ = one.send_timeout(3, Duration::ZERO);
        });
        let rx = Mutex::new(rx);
        let sends = || -> Waiting<'_> { Box::pin(async { tx.send(4).await.unwrap() }) };
        let reserves = Box::pin(async { drop(tx.reserve().await.unwrap()) });
        stage.play(vec![sends(), reserves, sends()], || while rx.lock().unwrap().try_recv().is_ok() {});
        let mut rx = rx.into_inner().unwrap_or_else(|poisoned| poisoned.into_inner());
        while rx.try_recv().is_ok() {}
        tx.try_send(5).unwrap();
        assert_eq!(rx.try_recv(), Ok(5));
    });
}

#[test]
fn the_only_receiver() {
    hostile(|stage| {
        let (tx, mut rx) = mpsc::bounded(4);
        let (one, sends) = (tx.clone(), tx.clone());
        stage.meddle(move || ignore(one.try_send(1)));
        let takes: Waiting<'_> = Box::pin(async { assert_eq!(rx.recv().await, Ok(1)) });
        // Another line in between, so that the evil one is the second.
        let (gate, opens) = bounded(1);
        let first: Waiting<'_> = Box::pin(async { assert_eq!(opens.recv().await, Ok(())) });
        stage.play(vec![first, takes], || {
            let _ = gate.try_send(());
            let _ = sends.try_send(1);
        });
        while rx.try_recv().is_ok() {}
        tx.try_send(2).unwrap();
        assert_eq!(rx.try_recv(), Ok(2));
    });
}

#[test]
fn room_for_many_and_the_low_mark() {
    hostile(|stage| {
        let (tx, rx) = Builder::new().capacity(3).watermarks(0..=2).build();
        for _ in 0..3 {
            tx.try_send(1).unwrap();
        }
        let one = tx.clone();
        stage.meddle(move || {
            drop(one.try_reserve_many(2));
            assert!(one.len() <= 3);
        });
        let reserves = || -> Waiting<'_> { Box::pin(async { drop(tx.reserve_many(2).await.unwrap()) }) };
        let resumes = || -> Waiting<'_> { Box::pin(tx.resumed()) };
        stage.play(vec![resumes(), reserves(), reserves(), resumes()], || while rx.try_recv().is_ok() {});
        assert!(!tx.is_paused());
        tx.try_send(5).unwrap();
    });
}

/// The same methods, at ends of two kinds.
macro_rules! typed {
    ($($name:ident: $module:ident;)*) => {$(
        #[test]
        fn $name() {
            evil_values(8, |evil| {
                let (mut tx, mut rx) = $module::bounded(2);
                tolerating(|| drop(tx.try_send(evil.value(0))));
                tolerating(|| drop(tx.try_send(evil.value(1))));
                tolerating(|| drop(tx.try_send(evil.value(2))));
                tolerating(|| drop(rx.try_recv()));
                if let Ok(permit) = tx.try_reserve() {
                    tolerating(|| permit.send(evil.value(3)));
                }
                let mut batch = Vec::new();
                assert_eq!(block_on(rx.recv_many(&mut batch, 2)), 2);
                tolerating(|| drop(batch));
                assert!(tx.try_send(evil.value(4)).is_ok());
                tolerating(|| drop(rx));
                tolerating(|| drop(tx.try_send(evil.value(5))));
                let (mut to, mut from) = $module::unbounded();
                for id in 6..46 {
                    assert!(to.try_send(evil.value(id)).is_ok());
                }
                tolerating(|| drop(from.try_recv()));
                tolerating(|| drop(from));
                // Where the kind of the ends does not ask for it.
                let _ = (&mut tx, &mut to);
                (tx, to)
            });
        }
    )*};
}

typed! {
    values_for_one_receiver: mpsc;
    values_between_two: spsc;
}

#[test]
fn values_in_a_select() {
    evil_values(4, |evil| {
        let ((tx, rx), (to, from)) = (bounded(1), bounded(1));
        assert!(tx.try_send(evil.value(0)).is_ok());
        for id in 1..5 {
            let mut message = Some(evil.value(id));
            tolerating(|| {
                block_on(
                    Select::new()
                        .recv(&rx, drop)
                        .send(&to, &mut message, |sent| sent.unwrap())
                        .until(std::future::ready(())),
                )
            });
            tolerating(|| drop(message));
            tolerating(|| drop(from.try_recv()));
        }
        let evil = Arc::new((tx, rx));
        (evil, to, from)
    });
}
