//! Models of the bounded channel.
#![forbid(unsafe_code)]

use super::*;

#[test]
fn ch1_the_last_message_comes_before_the_end() {
    shim::model(|| {
        let (tx, rx) = bounded(1);
        let sender = thread::spawn(move || block_on(tx.send(1)).unwrap());
        assert_eq!(block_on(rx.recv()), Ok(1));
        assert_eq!(block_on(rx.recv()), Err(RecvError));
        sender.join().unwrap();
    });
}

#[test]
fn ch2_a_receive_that_is_cancelled_passes_its_wake_up_on() {
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
fn ch3_the_last_receiver_meets_the_first_message() {
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

#[test]
fn the_first_message_without_bound_comes_before_the_end() {
    shim::model(|| {
        let (tx, rx) = unbounded();
        let sender = thread::spawn(move || tx.try_send(1).unwrap());
        assert_eq!((block_on(rx.recv()), block_on(rx.recv())), (Ok(1), Err(RecvError)));
        sender.join().unwrap();
    });
}

#[test]
fn the_last_receiver_meets_a_message_without_bound() {
    shim::model(|| {
        let ledger = Ledger::new();
        let (tx, rx) = unbounded();
        let receiver = thread::spawn(move || drop(rx));
        let _ = tx.try_send(ledger.message(1));
        receiver.join().unwrap();
        assert_eq!((ledger.drops(), tx.len(), tx.is_closed()), (1, 0, true));
    });
}

#[test]
fn a_cancelled_receive_passes_on_what_has_no_bound() {
    shim::model(|| {
        let (tx, rx) = unbounded();
        let other = rx.clone();
        let second = thread::spawn(move || block_on(other.recv()));
        let mut first = Box::pin(rx.recv());
        let mine = poll_once(first.as_mut());
        tx.try_send(1).unwrap();
        assert!(mine.is_pending());
        drop(first);
        assert_eq!(second.join().unwrap(), Ok(1));
    });
}

#[test]
fn a_send_meets_a_receive() {
    shim::model(|| {
        let (tx, rx) = rendezvous();
        let sender = thread::spawn(move || block_on(tx.send(1)));
        assert_eq!(block_on(rx.recv()), Ok(1));
        assert_eq!((sender.join().unwrap(), block_on(rx.recv())), (Ok(()), Err(RecvError)));
    });
}

#[test]
fn two_sends_meet_two_receives() {
    shim::model(|| {
        let (tx, rx) = rendezvous();
        let other = tx.clone();
        let first = thread::spawn(move || block_on(tx.send(1)).unwrap());
        let second = thread::spawn(move || other.send_blocking(2).unwrap());
        assert_eq!(rx.recv_blocking().unwrap() + block_on(rx.recv()).unwrap(), 3);
        first.join().unwrap();
        second.join().unwrap();
        assert_eq!((rx.try_recv(), rx.len()), (Err(TryRecvError::Closed), 0));
    });
}

#[test]
fn a_send_that_is_cancelled_meets_a_receive() {
    shim::model(|| {
        let (tx, rx) = rendezvous();
        let sender = thread::spawn(move || {
            let mut sending = Box::pin(tx.send(1));
            let sent = poll_once(sending.as_mut()).is_ready();
            sent || sending.as_mut().into_inner().is_none()
        });
        let received = rx.try_recv().is_ok();
        let sent = sender.join().unwrap();
        // Received exactly if it did not come back.
        assert_eq!((sent, rx.len()), (received, 0));
    });
}

#[test]
fn a_receive_that_is_cancelled_meets_a_send() {
    shim::model(|| {
        let (tx, rx) = rendezvous();
        let other = rx.clone();
        let receiver = thread::spawn(move || {
            let mut receiving = Box::pin(other.recv());
            matches!(poll_once(receiving.as_mut()), Poll::Ready(Ok(1)))
        });
        let sent = tx.try_send(1).is_ok();
        let received = receiver.join().unwrap();
        // What was sent was received, or waits for the next.
        assert_eq!(rx.try_recv().is_ok(), sent && !received);
    });
}

#[test]
fn a_receive_that_is_cancelled_leaves_its_message_to_one_that_waits() {
    shim::model(|| {
        let (tx, rx) = rendezvous();
        let mut receiving = Box::pin(rx.recv());
        assert!(poll_once(receiving.as_mut()).is_pending());
        tx.try_send(1).unwrap();
        let other = rx.clone();
        let second = thread::spawn(move || block_on(other.recv()));
        drop(receiving);
        assert_eq!(second.join().unwrap(), Ok(1));
    });
}

#[test]
fn a_send_meets_the_end() {
    shim::model(|| {
        let ledger = Ledger::new();
        let (tx, rx) = rendezvous();
        let message = ledger.message(1);
        let sender = thread::spawn(move || block_on(tx.send(message)).map_err(|error| error.into_inner().1));
        drop(rx);
        assert_eq!(sender.join().unwrap(), Err(1));
        assert_eq!(ledger.drops(), 1);
    });
}

#[test]
fn a_receive_meets_the_end() {
    shim::model(|| {
        let (tx, rx) = rendezvous();
        let receiver = thread::spawn(move || (block_on(rx.recv()), rx.recv_blocking()));
        let sent = tx.try_send(1).is_ok();
        drop(tx);
        let first = if sent { Ok(1) } else { Err(RecvError) };
        assert_eq!(receiver.join().unwrap(), (first, Err(RecvError)));
    });
}

#[test]
fn one_sender_and_one_receiver() {
    shim::model(|| {
        let (mut tx, mut rx) = spsc::bounded(1);
        let sender = thread::spawn(move || {
            block_on(tx.send(1)).unwrap();
            block_on(tx.send(2)).unwrap();
        });
        assert_eq!((block_on(rx.recv()), block_on(rx.recv())), (Ok(1), Ok(2)));
        assert_eq!(block_on(rx.recv()), Err(RecvError));
        sender.join().unwrap();
    });
}

#[test]
fn two_senders_and_one_receiver() {
    shim::model(|| {
        let (tx, mut rx) = mpsc::unbounded();
        let other = tx.clone();
        let sender = thread::spawn(move || other.try_send(1).unwrap());
        tx.try_send(2).unwrap();
        drop(tx);
        assert_eq!(block_on(rx.recv()).unwrap() + block_on(rx.recv()).unwrap(), 3);
        assert_eq!(block_on(rx.recv()), Err(RecvError));
        sender.join().unwrap();
    });
}

#[test]
fn the_only_receiver_meets_a_permit() {
    shim::model(|| {
        let ledger = Ledger::new();
        let (mut tx, rx) = spsc::bounded(1);
        let message = ledger.message(1);
        let receiver = thread::spawn(move || drop(rx));
        if let Ok(permit) = tx.try_reserve() {
            permit.send(message);
        } else {
            drop(message);
        }
        receiver.join().unwrap();
        assert_eq!((ledger.drops(), tx.len()), (1, 0));
    });
}

#[test]
fn a_pause_ends_when_the_channel_is_empty_enough() {
    shim::model(|| {
        let (tx, rx) = Builder::new().watermarks(0..=1).build();
        tx.try_send(1).unwrap();
        let receiver = thread::spawn(move || {
            rx.try_recv().unwrap();
            rx
        });
        block_on(tx.resumed());
        assert!(!tx.is_paused());
        drop(receiver.join().unwrap());
    });
}

#[test]
fn the_only_receiver_meets_a_message() {
    shim::model(|| {
        let (tx, mut rx) = mpsc::unbounded();
        let other = tx.clone();
        let sender = thread::spawn(move || other.try_send(1).unwrap());
        tx.try_send(2).unwrap();
        assert_eq!(block_on(rx.recv()).unwrap() + block_on(rx.recv()).unwrap(), 3);
        sender.join().unwrap();
    });
}

#[test]
fn the_only_receiver_meets_the_end() {
    shim::model(|| {
        let (tx, mut rx) = spsc::bounded::<u8>(1);
        let sender = thread::spawn(move || drop(tx));
        assert_eq!(block_on(rx.recv()), Err(RecvError));
        sender.join().unwrap();
    });
}

#[test]
fn the_only_receiver_gives_up_while_a_message_comes() {
    shim::model(|| {
        let (tx, mut rx) = mpsc::bounded(1);
        let (_, waker) = Wakes::new();
        let mut first = Box::pin(rx.recv());
        let polled = poll_with(first.as_mut(), &waker);
        let sender = thread::spawn(move || tx.try_send(1).unwrap());
        assert!(polled.is_pending());
        drop(first);
        assert_eq!(block_on(rx.recv()), Ok(1));
        sender.join().unwrap();
    });
}

/// The waker of a stream that was polled gives way to that of a receive, is called for that, and is not forgotten
/// when the receive is given up.
#[test]
fn the_only_receiver_waits_in_two_ways() {
    shim::model(|| {
        let (tx, mut rx) = mpsc::bounded(1);
        let (wakes, waker) = Wakes::new();
        let mut stream = || rx.poll_recv(&mut Context::from_waker(&waker));
        assert!(stream().is_pending());
        let sender = thread::spawn(move || tx.try_send(1).unwrap());
        let (_, other) = Wakes::new();
        let received = poll_with(Box::pin(rx.recv()).as_mut(), &other);
        let mut woken = 0;
        let mut done = received.is_ready();
        while !done {
            woken += 1;
            wakes.wait_for(woken);
            done = rx.poll_recv(&mut Context::from_waker(&waker)).is_ready();
        }
        sender.join().unwrap();
    });
}
