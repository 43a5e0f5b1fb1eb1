//! Tests and models of the broadcast channel.
#![forbid(unsafe_code)]

use std::pin::pin;
use std::task::Poll;

use super::*;
use crate::shim::{self, thread};
use crate::testing::{Ledger, Wakes, block_on, poll_once, poll_with};

/// A message that counts its drops, and can be cloned but not shared.
#[derive(Debug)]
struct Solo(crate::testing::Counted, Ledger, std::cell::Cell<usize>);

impl Solo {
    fn new(ledger: &Ledger, id: usize) -> Solo {
        Solo(ledger.message(id), ledger.clone(), std::cell::Cell::new(0))
    }
}

impl Clone for Solo {
    fn clone(&self) -> Solo {
        // Two at once would lose a count.
        self.2.set(self.2.get() + 1);
        Solo(self.1.message(self.0.1), self.1.clone(), self.2.clone())
    }
}

#[cfg(not(filch_loom))]
mod unit {
    use std::panic::{AssertUnwindSafe, catch_unwind};

    use super::*;

    #[test]
    fn everybody_gets_everything_in_order() {
        let (tx, mut first) = channel(4);
        let mut second = tx.subscribe();
        assert_eq!((first.try_recv(), first.is_empty()), (Err(TryRecvError::Empty), true));
        assert_eq!(tx.send(1), Ok(2));
        let mut third = first.resubscribe();
        assert_eq!(tx.send(2), Ok(3));
        assert_eq!((tx.len(), first.len(), third.len()), (2, 2, 1));
        assert_eq!((block_on(first.recv()), first.recv_blocking()), (Ok(1), Ok(2)));
        assert_eq!((second.try_recv(), second.recv_timeout(Duration::ZERO)), (Ok(1), Ok(2)));
        assert_eq!(tx.len(), 1);
        assert_eq!(third.try_recv(), Ok(2));
        assert!(tx.is_empty());
        assert_eq!(third.recv_timeout(Duration::ZERO), Err(RecvTimeoutError::Timeout));
        assert_eq!(third.recv_deadline(std::time::Instant::now()), Err(RecvTimeoutError::Timeout));
        drop(tx.clone());
        assert!(!third.is_closed());
        drop(tx);
        assert!(third.is_closed());
        assert_eq!(third.try_recv(), Err(TryRecvError::Closed));
        assert_eq!(block_on(third.recv()), Err(RecvError::Closed));
        assert_eq!(third.recv_timeout(Duration::MAX), Err(RecvTimeoutError::Closed));
    }

    #[test]
    fn a_slow_receiver_is_told_exactly_how_slow() {
        for capacity in [1, 2, 3, 5] {
            for sent in 1..=3 * capacity {
                let (tx, mut rx) = channel(capacity);
                for number in 0..sent {
                    tx.send(number).unwrap();
                }
                assert_eq!((rx.len(), tx.len()), (sent, sent.min(capacity)));
                let lost = sent.saturating_sub(capacity);
                if lost > 0 {
                    assert_eq!(rx.try_recv(), Err(TryRecvError::Lagged(lost as u64)));
                }
                for number in lost..sent {
                    assert_eq!(rx.try_recv(), Ok(number));
                }
                assert_eq!(rx.try_recv(), Err(TryRecvError::Empty));
            }
        }
    }

    #[test]
    fn what_nobody_needs_is_dropped() {
        let ledger = Ledger::new();
        let (tx, mut first) = channel(4);
        let second = tx.subscribe();
        for id in 0..3 {
            tx.send(Solo::new(&ledger, id)).unwrap();
        }
        assert_eq!(first.try_recv().unwrap().2.get(), 1);
        assert_eq!(ledger.drops(), 1);
        drop(second);
        // The one that both have let go of.
        assert_eq!((ledger.drops(), tx.len()), (2, 2));
        // To the last receiver it is moved, not cloned.
        assert_eq!(first.try_recv().unwrap().2.get(), 0);
        drop(first);
        assert_eq!((ledger.drops(), tx.len(), tx.receiver_count()), (4, 0, 0));
        let SendError(back) = tx.send(Solo::new(&ledger, 3)).unwrap_err();
        assert_eq!((back.0.1, ledger.drops()), (3, 4));
        // A channel that was deserted goes on with the next receiver.
        let mut third = tx.subscribe();
        tx.send(back).unwrap();
        assert_eq!(third.try_recv().unwrap().0.1, 3);
        drop(tx);
        assert_eq!(ledger.drops(), 5);
    }

    #[test]
    fn one_wake_up_each() {
        let (tx, rx) = channel(1);
        let mut all: Vec<_> = (0..50).map(|_| rx.resubscribe()).collect();
        drop(rx);
        for round in 1..=3 {
            let wakes: Vec<_> = (0..50).map(|_| Wakes::new()).collect();
            let mut waits: Vec<_> = all.iter_mut().map(|rx| Box::pin(rx.recv())).collect();
            for (wait, (_, waker)) in waits.iter_mut().zip(&wakes) {
                assert!(poll_with(wait.as_mut(), waker).is_pending());
            }
            assert_eq!(tx.send(round), Ok(50));
            for (wait, (wakes, _)) in waits.iter_mut().zip(&wakes) {
                assert_eq!((wakes.count(), poll_once(wait.as_mut())), (1, Poll::Ready(Ok(round))));
            }
        }
    }

    #[test]
    fn a_receive_can_be_cancelled_at_every_point() {
        let (tx, mut rx) = channel(2);
        drop(rx.recv());
        assert!(poll_once(pin!(rx.recv())).is_pending());
        {
            let (wakes, waker) = Wakes::new();
            let mut receiving = pin!(rx.recv());
            assert!(poll_with(receiving.as_mut(), &waker).is_pending());
            tx.send(1).unwrap();
            assert_eq!(wakes.count(), 1);
        }
        assert_eq!(block_on(rx.recv()), Ok(1));
    }

    #[test]
    fn the_ends_hear_of_each_other() {
        let (tx, rx) = channel::<u8>(1);
        let mut other = rx.resubscribe();
        let (wakes, waker) = Wakes::new();
        {
            let mut deserted = pin!(tx.closed());
            assert!(poll_with(deserted.as_mut(), &waker).is_pending());
            drop(rx);
            assert_eq!(wakes.count(), 0);
        }
        let mut receiving = pin!(other.recv());
        assert!(poll_with(receiving.as_mut(), &waker).is_pending());
        let weak = tx.downgrade();
        assert!(tx.same_channel(&weak.upgrade().unwrap()));
        assert_eq!(tx.strong_count(), 1);
        drop(tx);
        assert_eq!(wakes.count(), 1);
        assert_eq!(poll_once(receiving.as_mut()), Poll::Ready(Err(RecvError::Closed)));
        assert!(weak.upgrade().is_none());

        let (tx, rx) = channel::<u8>(1);
        let mut deserted = pin!(tx.closed());
        assert!(poll_with(deserted.as_mut(), &waker).is_pending());
        drop(rx);
        assert_eq!((wakes.count(), poll_once(deserted.as_mut())), (2, Poll::Ready(())));
    }

    /// Its clone panics, or looks into the channel that it comes from.
    struct Nasty(Option<Arc<Mutex<Option<Receiver<Nasty>>>>>);

    impl Clone for Nasty {
        fn clone(&self) -> Nasty {
            let Some(receiver) = &self.0 else { panic!("a clone of a test panics") };
            let mut receiver = receiver.lock().take().unwrap();
            // It finds the slot claimed: no deadlock, and no second look at what is being cloned.
            assert!(matches!(receiver.try_recv(), Err(TryRecvError::Empty)));
            assert!(poll_once(pin!(receiver.recv())).is_pending());
            Nasty(self.0.clone())
        }
    }

    #[test]
    fn a_clone_may_panic() {
        let (tx, mut first) = channel(2);
        let mut second = tx.subscribe();
        tx.send(Nasty(None)).unwrap();
        assert!(catch_unwind(AssertUnwindSafe(|| first.try_recv().is_ok())).is_err());
        // That message is spent for the one, and still there for the other, who is the last and need not
        // clone.
        assert!(matches!(first.try_recv(), Err(TryRecvError::Empty)));
        assert!(second.try_recv().is_ok());
        assert!(tx.is_empty());
    }

    #[test]
    fn a_clone_may_look_into_its_channel() {
        let (tx, mut first) = channel(1);
        let second = Arc::new(Mutex::new(Some(tx.subscribe())));
        tx.send(Nasty(Some(second))).map_err(drop).unwrap();
        assert!(first.try_recv().is_ok());
    }

    #[test]
    fn a_waker_that_panics_stops_nobody() {
        let (tx, mut first) = channel(1);
        let mut second = tx.subscribe();
        let (bad, bad_waker) = Wakes::new();
        let (good, good_waker) = Wakes::new();
        bad.set_panic();
        let (mut first, mut second) = (pin!(first.recv()), pin!(second.recv()));
        assert!(poll_with(first.as_mut(), &bad_waker).is_pending());
        assert!(poll_with(second.as_mut(), &good_waker).is_pending());
        assert_eq!(tx.send(1), Ok(2));
        assert_eq!((bad.count(), good.count()), (1, 1));
    }

    #[test]
    fn threads_and_tasks_listen_together() {
        const COUNT: u64 = 5_000;
        for capacity in [1, 2, 64] {
            let (tx, rx) = channel(capacity);
            let listeners: Vec<_> = (0..4)
                .map(|listener| {
                    let mut rx = rx.resubscribe();
                    thread::spawn(move || {
                        let mut expected = 0;
                        loop {
                            let got =
                                if listener % 2 == 0 { rx.recv_blocking() } else { block_on(rx.recv()) };
                            match got {
                                Ok(number) => {
                                    assert_eq!(number, expected);
                                    expected += 1;
                                }
                                // Exact: what comes next is what was announced.
                                Err(RecvError::Lagged(lost)) => expected += lost,
                                Err(RecvError::Closed) => return expected,
                            }
                        }
                    })
                })
                .collect();
            drop(rx);
            for number in 0..COUNT {
                tx.send(number).unwrap();
            }
            drop(tx);
            for listener in listeners {
                assert_eq!(listener.join().unwrap(), COUNT);
            }
        }
    }

    #[test]
    fn bounds() {
        fn send_sync<T: Send + Sync + Unpin>() {}
        type Message = std::cell::Cell<u8>;
        send_sync::<Sender<Message>>();
        send_sync::<Receiver<Message>>();
        send_sync::<WeakSender<Message>>();
        let (tx, rx) = channel::<*const u8>(1);
        assert!(!format!("{tx:?} {rx:?} {:?}", tx.downgrade()).is_empty());
    }
}

mod model {
    use super::*;

    #[test]
    fn bc1_a_send_that_wraps_meets_a_slow_receiver() {
        shim::model(|| {
            let ledger = Ledger::new();
            let (tx, mut rx) = channel(1);
            let other = tx.subscribe();
            tx.send(Solo::new(&ledger, 0)).unwrap();
            let second = Solo::new(&ledger, 1);
            let sender = thread::spawn(move || {
                tx.send(second).unwrap();
            });
            let mut expected = 0;
            loop {
                match block_on(rx.recv()) {
                    Ok(message) => {
                        assert_eq!(message.0.1, expected);
                        expected += 1;
                    }
                    Err(RecvError::Lagged(lost)) => expected += lost as usize,
                    Err(RecvError::Closed) => break,
                }
            }
            assert_eq!(expected, 2);
            sender.join().unwrap();
            drop((rx, other));
            // Each message and each clone of it, once: what was made is what was dropped.
            assert_eq!(ledger.drops(), ledger.made());
        });
    }

    #[test]
    fn two_receivers_clone_in_turn() {
        shim::model(|| {
            let ledger = Ledger::new();
            let (tx, mut first) = channel(1);
            let mut second = tx.subscribe();
            let third = tx.subscribe();
            tx.send(Solo::new(&ledger, 7)).unwrap();
            let receiver = thread::spawn(move || block_on(second.recv()).unwrap().2.get());
            let mine = block_on(first.recv()).unwrap().2.get();
            let theirs = receiver.join().unwrap();
            // Each clone counted up alone.
            assert_eq!(mine + theirs, 3);
            drop((tx, first, third));
            assert_eq!(ledger.drops(), ledger.made());
        });
    }

    #[test]
    fn who_subscribes_during_a_send_sees_it_whole_or_not() {
        shim::model(|| {
            let (tx, mut rx) = channel(2);
            let sender = tx.clone();
            let sending = thread::spawn(move || sender.send(1).unwrap());
            let mut late = tx.subscribe();
            let seen = sending.join().unwrap();
            tx.send(2).unwrap();
            assert_eq!((rx.try_recv(), rx.try_recv()), (Ok(1), Ok(2)));
            if seen == 2 {
                assert_eq!(late.try_recv(), Ok(1));
            }
            assert_eq!((late.try_recv(), tx.len()), (Ok(2), 0));
        });
    }

    #[test]
    fn the_last_sender_goes_while_a_receiver_falls_asleep() {
        shim::model(|| {
            let (tx, mut rx) = channel::<u8>(1);
            let sender = thread::spawn(move || {
                tx.send(1).unwrap();
            });
            assert_eq!(block_on(rx.recv()), Ok(1));
            assert_eq!(block_on(rx.recv()), Err(RecvError::Closed));
            sender.join().unwrap();
        });
    }

    #[test]
    fn a_receiver_goes_while_another_clones() {
        shim::model(|| {
            let ledger = Ledger::new();
            let (tx, mut first) = channel(1);
            let second = tx.subscribe();
            tx.send(Solo::new(&ledger, 7)).unwrap();
            let leaver = thread::spawn(move || drop(second));
            assert_eq!(block_on(first.recv()).unwrap().0.1, 7);
            leaver.join().unwrap();
            // The slot is free, though nobody sent again.
            assert_eq!((ledger.drops(), tx.len()), (ledger.made(), 0));
        });
    }
}
