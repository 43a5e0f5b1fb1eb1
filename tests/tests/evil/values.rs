//! Evil values in everything that carries values.

use filch::channel::{bounded, broadcast, oneshot, rendezvous, unbounded, watch};
use filch::sync::{LifoQueue, OnceCell, Pool, PriorityQueue, Queue};
use filch::testing::{Evil, EvilValue, Moment, block_on};
use filch_tests::watched;

use crate::tolerating;

/// Plays a scene with values that panic at each moment there is. What is left is dropped in the end, and each value
/// was dropped once.
pub(crate) fn evil_values<T>(least: usize, scene: impl Fn(&Evil) -> T + Send + 'static) {
    watched(move || {
        let deeds = Evil::at_each(
            Moment::OF_VALUES,
            || panic!("{}", Evil::TEXT),
            |evil| {
                let left = scene(evil);
                tolerating(|| drop(left));
                evil.calm();
                evil.ledger().assert_settled();
            },
        );
        assert!(deeds >= least, "only {deeds} occasions for an evil deed");
    });
}

#[test]
fn tk8_in_a_channel() {
    evil_values(6, |evil| {
        let (tx, rx) = bounded(3);
        for id in 0..3 {
            tx.try_send(evil.value(id)).unwrap();
        }
        tolerating(|| drop(tx.force_send(evil.value(3))));
        tolerating(|| drop(rx.try_recv()));
        tolerating(|| drop(block_on(tx.send(evil.value(4)))));
        tolerating(|| drop(tx.try_send(evil.value(5))));
        let mut batch = Vec::new();
        assert_eq!(block_on(rx.recv_many(&mut batch, 2)), 2);
        tolerating(|| drop(batch));
        tx.try_send(evil.value(6)).unwrap();
        // The last receiver takes what is left with it.
        tolerating(|| drop(rx));
        assert!(tx.is_closed());
        tolerating(|| drop(tx.try_send(evil.value(7))));
        tx
    });
}

#[test]
fn tk8_in_an_unbounded_channel() {
    evil_values(5, |evil| {
        let (tx, rx) = unbounded();
        for id in 0..40 {
            tx.try_send(evil.value(id)).unwrap();
        }
        tolerating(|| drop(rx.try_recv()));
        let mut batch = Vec::new();
        assert_eq!(block_on(rx.recv_many(&mut batch, 30)), 30);
        tolerating(|| drop(batch));
        tolerating(|| drop(rx));
        tolerating(|| drop(tx.try_send(evil.value(40))));
        tx
    });
}

#[test]
fn tk8_in_a_rendezvous() {
    evil_values(3, |evil| {
        let (tx, rx) = rendezvous();
        let mut send = Box::pin(tx.send(evil.value(1)));
        assert!(filch::testing::poll_once(send.as_mut()).is_pending());
        tolerating(|| drop(rx.try_recv()));
        tolerating(|| drop(send));
        let mut send = Box::pin(tx.send(evil.value(2)));
        assert!(filch::testing::poll_once(send.as_mut()).is_pending());
        tolerating(|| drop(send));
        tolerating(|| drop(tx.try_send(evil.value(3))));
        assert!(rx.try_recv().is_err());
        (tx, rx)
    });
}

#[test]
fn tk8_in_a_send_that_is_dropped_in_line() {
    evil_values(3, |evil| {
        let (tx, rx) = bounded(1);
        tx.try_send(evil.value(0)).unwrap();
        for id in 1..3 {
            let mut send = Box::pin(tx.send(evil.value(id)));
            assert!(filch::testing::poll_once(send.as_mut()).is_pending());
            tolerating(|| drop(send));
        }
        let first = rx.try_recv().unwrap();
        assert_eq!(first.id(), 0);
        tolerating(|| drop(first));
        assert!(tx.try_send(evil.value(3)).is_ok());
        (tx, rx)
    });
}

#[test]
fn tk8_in_a_oneshot() {
    evil_values(3, |evil| {
        for receiver_first in [false, true] {
            let (tx, rx) = oneshot::channel();
            let mut rx = Some(rx);
            if receiver_first {
                drop(rx.take());
            }
            tolerating(|| drop(tx.send(evil.value(1))));
            tolerating(|| drop(rx));
        }
        let (tx, rx) = oneshot::channel();
        assert!(tx.send(evil.value(1)).is_ok());
        tolerating(|| drop(block_on(rx)));
    });
}

#[test]
fn tk8_in_a_broadcast() {
    evil_values(7, |evil| {
        let (tx, mut one) = broadcast::channel(2);
        let (mut two, mut slow) = (tx.subscribe(), tx.subscribe());
        for id in 0..2 {
            assert!(tx.send(evil.value(id)).is_ok());
        }
        for receiver in [&mut one, &mut two] {
            // Whoever's clone panics has seen the message; it is there for the others.
            if let Some(got) = tolerating(|| receiver.try_recv().unwrap()) {
                assert_eq!(got.id(), 0);
                tolerating(|| drop(got));
            }
        }
        // The oldest goes.
        tolerating(|| drop(tx.send(evil.value(2))));
        assert!(slow.try_recv().is_err());
        tolerating(|| drop(slow));
        tolerating(|| drop(one));
        (tx, two)
    });
}

/// The three kinds have the same methods.
macro_rules! queues {
    ($($name:ident: $queue:ident, $least:literal;)*) => {$(
        #[test]
        fn $name() {
            evil_values($least, |evil| {
                let queue = $queue::new(4);
                for id in [3, 1, 2, 1] {
                    tolerating(|| drop(queue.try_put(evil.value(id))));
                }
                let there = queue.len();
                tolerating(|| drop(queue.try_put(evil.value(9))));
                tolerating(|| drop(queue.try_get()));
                tolerating(|| drop(queue.try_get_item()));
                tolerating(|| drop(block_on(queue.put(evil.value(5)))));
                assert!(queue.len() <= 4 && there <= 4);
                tolerating(|| drop(queue.close_now()));
                assert!(queue.is_closed());
                tolerating(|| drop(queue.try_put(evil.value(6))));
                queue
            });
            // What is left when it is dropped.
            evil_values(2, |evil| {
                let queue = $queue::new(0);
                for id in [3, 1, 2] {
                    tolerating(|| drop(queue.try_put(evil.value(id))));
                }
                queue
            });
        }
    )*};
}

queues! {
    in_a_queue: Queue, 6;
    in_a_lifo_queue: LifoQueue, 6;
    in_a_priority_queue: PriorityQueue, 8;
}

#[test]
fn tk8_in_a_pool() {
    evil_values(2, |evil| {
        let maker = evil.clone();
        let pool = Pool::builder(2).max_idle(1).build(move || maker.value(1));
        let lent = (pool.try_get().unwrap(), pool.try_get().unwrap());
        tolerating(|| drop(lent));
        assert_eq!(pool.stats().out, 0);
        tolerating(|| pool.shrink_to(0));
        let lent = pool.try_get().unwrap();
        tolerating(|| pool.close());
        tolerating(|| drop(lent));
        assert_eq!((pool.stats().out, pool.stats().idle), (0, 0));
        pool
    });
}

#[test]
fn tk8_in_a_watch() {
    evil_values(5, |evil| {
        let (tx, mut rx) = watch::channel(evil.value(0));
        tolerating(|| tx.send(evil.value(1)).unwrap_or_else(drop));
        assert!(rx.has_changed().unwrap());
        assert_eq!(rx.borrow_and_update().id(), 1);
        tolerating(|| tx.send_modify(|value| *value = evil.value(2)));
        tolerating(|| drop(tx.send_replace(evil.value(3))));
        assert_eq!(rx.borrow_and_update().id(), 3);
        // One that was changed half way stays as it is, and others are served.
        tolerating(|| {
            tx.send_if_modified(|value| {
                *value = evil.value(4);
                panic!("{}", Evil::TEXT)
            })
        });
        assert_eq!(rx.borrow_and_update().id(), 4);
        // What is still borrowed is dropped by its last reader.
        let kept = rx.borrow();
        tolerating(|| drop(tx.send(evil.value(5))));
        tolerating(|| drop(kept));
        tolerating(|| drop(rx.borrow().clone()));
        (tx, rx)
    });
}

#[test]
fn tk8_in_a_once_cell() {
    evil_values(2, |evil| {
        let cell = OnceCell::new();
        // One that fails, with a value on its hands.
        tolerating(|| {
            let failed: Result<&EvilValue, EvilValue> =
                block_on(cell.get_or_try_init(async || Err(evil.value(1))));
            drop(failed);
        });
        assert_eq!(cell.get_or_init_blocking(|| evil.value(2)).id(), 2);
        tolerating(|| drop(cell.set(evil.value(3))));
        cell
    });
}
