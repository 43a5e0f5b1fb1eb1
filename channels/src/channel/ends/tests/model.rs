//! Models of the bounded channel.
#![forbid(unsafe_code)]

use super::*;

#[test]
fn the_last_message_comes_before_the_end() {
    shim::model(|| {
        let (tx, rx) = bounded(1);
        let sender = thread::spawn(move || block_on(tx.send(1)).unwrap());
        assert_eq!(block_on(rx.recv()), Ok(1));
        assert_eq!(block_on(rx.recv()), Err(RecvError));
        sender.join().unwrap();
    });
}

#[test]
fn a_receive_that_is_cancelled_passes_its_wake_up_on() {
    shim::model(|| {
        let (tx, rx) = bounded(1);
        let other = rx.clone();
        let second = thread::spawn(move || block_on(other.recv()));
        let (_, waker) = Wakes::new();
        let mut first = Box::pin(rx.recv());
        let mine = poll_with(first.as_mut(), &waker);
        tx.try_send(1).unwrap();
        assert!(mine.is_pending());
        drop(first);
        assert_eq!(second.join().unwrap(), Ok(1));
    });
}

#[test]
fn the_last_receiver_meets_the_first_message() {
    shim::model(|| {
        let ledger = Ledger::new();
        let (tx, rx) = bounded(1);
        let receiver = thread::spawn(move || drop(rx));
        let sent = tx.try_send(ledger.message(1)).is_ok();
        receiver.join().unwrap();
        // Dropped with the receiver, or by us: not left to the channel's own end.
        assert_eq!((ledger.drops(), tx.len()), (1, 0));
        assert!(tx.is_closed());
        drop(tx);
        let _ = sent;
        assert_eq!(ledger.drops(), 1);
    });
}

#[test]
fn the_last_receiver_meets_a_sender_that_waits() {
    shim::model(|| {
        let ledger = Ledger::new();
        let (tx, rx) = bounded(1);
        tx.try_send(ledger.message(1)).unwrap();
        let message = ledger.message(2);
        let sender = thread::spawn(move || {
            let back = block_on(tx.send(message)).unwrap_err().into_inner();
            assert_eq!(back.1, 2);
        });
        drop(rx);
        sender.join().unwrap();
        assert_eq!(ledger.drops(), 2);
    });
}

#[test]
fn the_last_receiver_meets_a_permit() {
    shim::model(|| {
        let ledger = Ledger::new();
        let (tx, rx) = bounded(1);
        let message = ledger.message(1);
        let sender = thread::spawn(move || {
            let permit = tx.try_reserve().unwrap_or_else(|_| unreachable!("there is room"));
            permit.send(message);
            tx
        });
        // Only the send is to race with the drop.
        while rx.stats().reserved == 0 && rx.is_empty() {
            thread::yield_now();
        }
        drop(rx);
        let tx = sender.join().unwrap();
        assert_eq!((ledger.drops(), tx.len()), (1, 0));
    });
}

#[test]
fn reserve_meets_close() {
    shim::model(|| {
        let (tx, rx) = bounded::<u8>(1);
        tx.try_send(1).unwrap();
        let sender = thread::spawn(move || match block_on(tx.reserve()) {
            Ok(permit) => {
                permit.send(2);
                true
            }
            Err(_) => false,
        });
        assert_eq!(block_on(rx.recv()), Ok(1));
        rx.close();
        let second = block_on(rx.recv()).is_ok();
        assert_eq!(sender.join().unwrap(), second);
    });
}

#[test]
fn a_permit_that_is_dropped_wakes_who_waits_for_the_end() {
    shim::model(|| {
        let (tx, rx) = bounded::<u8>(1);
        let (permits, end) = (tx.clone(), tx);
        let closer = thread::spawn(move || {
            let permit = permits.try_reserve();
            end.close();
            drop(permit);
        });
        assert_eq!(block_on(rx.recv()), Err(RecvError));
        closer.join().unwrap();
    });
}

#[test]
fn two_senders_share_one_place() {
    shim::model(|| {
        let (tx, rx) = bounded(1);
        let senders = [1, 2].map(|number| {
            let tx = tx.clone();
            thread::spawn(move || block_on(tx.send(number)).unwrap())
        });
        // No waiting here, so that the model stays small: one sender may still be asleep after the first
        // two looks.
        let mut sum = 0;
        while sum < 3 {
            match rx.try_recv() {
                Ok(number) => sum += number,
                Err(_) => thread::yield_now(),
            }
        }
        for sender in senders {
            sender.join().unwrap();
        }
        assert!(rx.is_empty());
    });
}

#[test]
fn two_receivers_learn_of_the_end() {
    shim::model(|| {
        let (tx, rx) = bounded(2);
        let other = rx.clone();
        let receiver = thread::spawn(move || {
            let mut sum = 0;
            while let Ok(number) = block_on(other.recv()) {
                sum += number;
            }
            sum
        });
        tx.try_send(1).unwrap();
        drop(tx);
        let mut sum = 0;
        while let Ok(number) = block_on(rx.recv()) {
            sum += number;
        }
        assert_eq!(sum + receiver.join().unwrap(), 1);
    });
}

#[test]
fn closed_meets_the_last_receiver() {
    shim::model(|| {
        let (tx, rx) = bounded::<u8>(1);
        let receiver = thread::spawn(move || drop(rx));
        block_on(tx.closed());
        assert!(tx.is_closed());
        receiver.join().unwrap();
    });
}

#[test]
fn a_blocked_thread_is_woken_too() {
    shim::model(|| {
        let (tx, rx) = bounded(1);
        let sender = thread::spawn(move || {
            tx.send_blocking(1).unwrap();
            tx.send_blocking(2).unwrap();
        });
        assert_eq!((rx.recv_blocking(), rx.recv_blocking()), (Ok(1), Ok(2)));
        assert_eq!(rx.recv_blocking(), Err(RecvError));
        sender.join().unwrap();
    });
}
