//! Tests and models of the oneshot channel.
#![forbid(unsafe_code)]

use super::*;
use crate::shim::{self, thread};
use crate::testing::{Ledger, Wakes, block_on, poll_once, poll_with};

#[cfg(not(filch_loom))]
mod unit {
    use std::panic::{AssertUnwindSafe, catch_unwind};
    use std::pin::pin;

    use super::*;
    use crate::testing::Counted;

    #[test]
    fn a_message_arrives_however_one_looks() {
        let (tx, mut rx) = channel();
        assert!(rx.is_empty());
        assert_eq!(rx.try_recv(), Err(TryRecvError::Empty));
        tx.send(1).unwrap();
        assert!(!rx.is_empty());
        assert_eq!(rx.try_recv(), Ok(1));
        assert!(rx.is_terminated() && rx.is_empty());

        let (tx, rx) = channel();
        tx.send(2).unwrap();
        assert_eq!(block_on(rx), Ok(2));

        let (tx, rx) = channel();
        tx.send(3).unwrap();
        assert_eq!(rx.recv_blocking(), Ok(3));

        let (tx, mut rx) = channel();
        tx.send(4).unwrap();
        assert_eq!(rx.recv_timeout(Duration::ZERO), Ok(4));
        assert_eq!(rx.recv_timeout(Duration::MAX), Err(RecvTimeoutError::Closed));
    }

    #[test]
    fn os2_every_end_has_its_error() {
        let (tx, mut rx) = channel::<u8>();
        assert_eq!(rx.recv_timeout(Duration::ZERO), Err(RecvTimeoutError::Timeout));
        assert_eq!(rx.recv_deadline(std::time::Instant::now()), Err(RecvTimeoutError::Timeout));
        drop(tx);
        assert_eq!(rx.try_recv(), Err(TryRecvError::Closed));
        assert_eq!(rx.try_recv(), Err(TryRecvError::Closed));
        assert_eq!(poll_once(Pin::new(&mut rx)), Poll::Ready(Err(RecvError)));
        assert_eq!(rx.recv_blocking(), Err(RecvError));

        let (tx, rx) = channel();
        drop(rx);
        assert!(tx.is_closed());
        assert_eq!(tx.send(1), Err(1));

        let (tx, mut rx) = channel();
        rx.close();
        rx.close();
        assert_eq!(rx.try_recv(), Err(TryRecvError::Closed));
        assert_eq!(poll_once(Pin::new(&mut rx)), Poll::Ready(Err(RecvError)));
        assert_eq!(tx.send(1), Err(1));

        let (tx, mut rx) = channel();
        tx.send(1).unwrap();
        rx.close();
        assert_eq!(poll_once(Pin::new(&mut rx)), Poll::Ready(Ok(1)));
        assert_eq!(poll_once(Pin::new(&mut rx)), Poll::Ready(Err(RecvError)));
    }

    #[test]
    fn the_last_waker_is_woken_once_and_the_others_are_let_go() {
        let (tx, mut rx) = channel();
        let all: Vec<_> = (0..4).map(|_| Wakes::new()).collect();
        for (_, waker) in &all {
            assert!(poll_with(Pin::new(&mut rx), waker).is_pending());
            assert!(poll_with(Pin::new(&mut rx), waker).is_pending());
        }
        let held = |index: usize| std::sync::Arc::strong_count(&all[index].0) - 2;
        assert_eq!([0, 1, 2, 3].map(held), [0, 0, 0, 1]);
        tx.send(7).unwrap();
        assert_eq!([0, 1, 2, 3].map(held), [0, 0, 0, 0]);
        assert_eq!([0, 1, 2, 3].map(|index| all[index].0.count()), [0, 0, 0, 1]);
        assert_eq!(poll_once(Pin::new(&mut rx)), Poll::Ready(Ok(7)));
    }

    #[test]
    fn an_end_that_goes_lets_go_of_its_waker() {
        for polls in 1..=2 {
            let (tx, mut rx) = channel::<u8>();
            let (wakes, waker) = Wakes::new();
            for _ in 1..polls {
                assert!(poll_once(Pin::new(&mut rx)).is_pending());
            }
            assert!(poll_with(Pin::new(&mut rx), &waker).is_pending());
            assert_eq!(std::sync::Arc::strong_count(&wakes), 3);
            drop(rx);
            assert_eq!(std::sync::Arc::strong_count(&wakes), 2);
            drop(tx);
            assert_eq!(wakes.count(), 0);
        }
        let (mut tx, rx) = channel::<u8>();
        let (wakes, waker) = Wakes::new();
        assert!(tx.poll_closed(&mut Context::from_waker(&waker)).is_pending());
        assert_eq!(std::sync::Arc::strong_count(&wakes), 3);
        drop(tx);
        assert_eq!(std::sync::Arc::strong_count(&wakes), 2);
        drop(rx);
        assert_eq!(wakes.count(), 0);
    }

    #[test]
    fn closed_is_woken_by_close_and_by_drop() {
        for drops in [false, true] {
            let (mut tx, mut rx) = channel::<u8>();
            let (first, waker) = Wakes::new();
            assert!(poll_with(pin!(tx.closed()), &waker).is_pending());
            let (second, waker) = Wakes::new();
            assert!(poll_with(pin!(tx.closed()), &waker).is_pending());
            assert!(!tx.is_closed());
            if drops {
                drop(rx);
            } else {
                rx.close();
                rx.close();
            }
            assert_eq!((first.count(), second.count()), (0, 1));
            assert!(tx.is_closed());
            assert!(poll_once(pin!(tx.closed())).is_ready());
        }
    }

    #[test]
    fn a_waker_that_panics_loses_no_message() {
        let (tx, mut rx) = channel();
        let (wakes, waker) = Wakes::new();
        assert!(poll_with(Pin::new(&mut rx), &waker).is_pending());
        wakes.set_panic();
        assert!(catch_unwind(AssertUnwindSafe(|| tx.send(5))).is_err());
        assert_eq!(rx.try_recv(), Ok(5));

        let (tx, mut rx) = channel::<u8>();
        assert!(poll_once(Pin::new(&mut rx)).is_pending());
        assert!(poll_with(Pin::new(&mut rx), &waker).is_pending());
        assert!(catch_unwind(AssertUnwindSafe(|| drop(tx))).is_err());
        assert_eq!(rx.try_recv(), Err(TryRecvError::Closed));

        let (mut tx, rx) = channel::<u8>();
        assert!(poll_with(pin!(tx.closed()), &waker).is_pending());
        assert!(catch_unwind(AssertUnwindSafe(|| drop(rx))).is_err());
        assert_eq!(tx.send(1), Err(1));
        assert_eq!(std::sync::Arc::strong_count(&wakes), 2);
    }

    #[test]
    fn os2_each_message_is_dropped_once_in_every_order() {
        let ledger = Ledger::new();
        let (tx, rx) = channel();
        tx.send(ledger.message(0)).unwrap();
        drop(rx);
        assert_eq!(ledger.drops(), 1);
        let (tx, rx) = channel();
        drop(rx);
        drop(tx.send(ledger.message(1)));
        assert_eq!(ledger.drops(), 2);
        let (tx, rx) = channel();
        tx.send(ledger.message(2)).unwrap();
        drop(block_on(rx));
        assert_eq!(ledger.drops(), 3);
        drop(channel::<Counted>());
    }

    #[test]
    fn a_message_may_own_the_other_ends() {
        // Dropping it re-enters the channel code from a drop of that same code.
        let (tx, rx) = channel::<Box<dyn Send>>();
        let (tx2, rx2) = channel::<Box<dyn Send>>();
        tx2.send(Box::new(rx)).map_err(drop).unwrap();
        tx.send(Box::new(rx2)).map_err(drop).unwrap();
    }

    #[test]
    fn a_thread_serves_a_task_and_a_task_a_thread() {
        for _ in 0..100 {
            let (ask, asked) = channel::<(u32, Sender<u32>)>();
            let server = thread::spawn(move || {
                let (number, answer) = asked.recv_blocking().unwrap();
                answer.send(number + 1).unwrap();
            });
            let (answer, answered) = channel();
            ask.send((1, answer)).map_err(drop).unwrap();
            assert_eq!(block_on(answered), Ok(2));
            server.join().unwrap();
        }
    }

    #[test]
    fn bounds() {
        fn send_sync<T: Send + Sync + Unpin>() {}
        send_sync::<Sender<std::cell::Cell<u8>>>();
        send_sync::<Receiver<std::cell::Cell<u8>>>();
        send_sync::<Sender<(u8, String)>>();
        assert!(!format!("{:?}", channel::<*const u8>()).is_empty());
    }
}

mod model {
    use super::*;

    #[test]
    fn os1_send_meets_recv() {
        shim::model(|| {
            let ledger = Ledger::new();
            let (tx, rx) = channel();
            let message = ledger.message(1);
            let sender = thread::spawn(move || tx.send(message).unwrap());
            assert_eq!(block_on(rx).unwrap().1, 1);
            sender.join().unwrap();
            assert_eq!(ledger.drops(), 1);
        });
    }

    #[test]
    fn os1_send_meets_close_and_a_last_look() {
        shim::model(|| {
            let ledger = Ledger::new();
            let (tx, mut rx) = channel();
            let message = ledger.message(1);
            let sender = thread::spawn(move || tx.send(message).is_ok());
            rx.close();
            let received = rx.try_recv().is_ok();
            assert_eq!(sender.join().unwrap(), received);
            assert_eq!(ledger.drops(), 1);
        });
    }

    #[test]
    fn os1_send_meets_drop_after_a_poll() {
        for changes in 0..2 {
            shim::model(move || {
                let ledger = Ledger::new();
                let (tx, mut rx) = channel();
                let (wakes, waker) = Wakes::new();
                for _ in 0..changes {
                    assert!(poll_once(Pin::new(&mut rx)).is_pending());
                }
                assert!(poll_with(Pin::new(&mut rx), &waker).is_pending());
                drop(waker);
                let message = ledger.message(1);
                let sender = thread::spawn(move || tx.send(message).is_ok());
                drop(rx);
                let sent = sender.join().unwrap();
                assert!(wakes.count() <= usize::from(sent));
                assert_eq!(ledger.drops(), 1);
                assert_eq!(std::sync::Arc::strong_count(&wakes), 1);
            });
        }
    }

    #[test]
    fn os1_send_meets_a_change_of_waker() {
        for changes in 1..=3 {
            shim::model(move || {
                let (tx, mut rx) = channel();
                let all: [_; 4] = std::array::from_fn(|_| Wakes::new());
                assert!(poll_with(Pin::new(&mut rx), &all[0].1).is_pending());
                let sender = thread::spawn(move || tx.send(7).unwrap());
                let mut last = 0;
                let mut got = None;
                for (index, (_, waker)) in all.iter().enumerate().skip(1).take(changes) {
                    match poll_with(Pin::new(&mut rx), waker) {
                        Poll::Pending => last = index,
                        Poll::Ready(message) => {
                            got = Some(message);
                            break;
                        }
                    }
                }
                sender.join().unwrap();
                let wakes: usize = all.iter().map(|(wakes, _)| wakes.count()).sum();
                match got {
                    // It was there when the receiver looked: at most the waker before was told as well.
                    Some(message) => {
                        assert_eq!(message, Ok(7));
                        assert!(wakes <= 1);
                    }
                    None => {
                        assert_eq!((wakes, all[last].0.count()), (1, 1));
                        assert_eq!(rx.try_recv(), Ok(7));
                    }
                }
                drop(rx);
                for (wakes, _) in &all {
                    assert_eq!(std::sync::Arc::strong_count(wakes), 2);
                }
            });
        }
    }

    #[test]
    fn the_sender_goes_and_the_receiver_learns() {
        shim::model(|| {
            let (tx, mut rx) = channel::<u8>();
            assert!(poll_once(Pin::new(&mut rx)).is_pending());
            let sender = thread::spawn(move || drop(tx));
            assert_eq!(block_on(rx), Err(RecvError));
            sender.join().unwrap();
        });
    }

    #[test]
    fn the_receiver_goes_and_closed_learns() {
        for drops in [false, true] {
            shim::model(move || {
                let (mut tx, mut rx) = channel::<u8>();
                let receiver = thread::spawn(move || {
                    if drops {
                        drop(rx);
                    } else {
                        rx.close();
                        assert_eq!(rx.try_recv(), Err(TryRecvError::Closed));
                    }
                });
                block_on(tx.closed());
                assert_eq!(tx.send(1), Err(1));
                receiver.join().unwrap();
            });
        }
    }

    #[test]
    fn a_watching_sender_goes_while_the_receiver_closes() {
        for sends in [false, true] {
            shim::model(move || {
                let (mut tx, rx) = channel::<u8>();
                let (wakes, waker) = Wakes::new();
                assert!(poll_with(std::pin::pin!(tx.closed()), &waker).is_pending());
                drop(waker);
                let receiver = thread::spawn(move || drop(rx));
                if sends {
                    let _ = tx.send(1);
                } else {
                    let (_, other) = Wakes::new();
                    let _ = poll_with(std::pin::pin!(tx.closed()), &other);
                    drop(tx);
                }
                receiver.join().unwrap();
                assert!(wakes.count() <= 1);
                assert_eq!(std::sync::Arc::strong_count(&wakes), 1);
            });
        }
    }
}
