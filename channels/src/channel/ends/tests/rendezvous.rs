//! Tests of the rendezvous channel.
#![forbid(unsafe_code)]

use std::time::Duration;

use super::*;

#[test]
fn every_form_of_each_operation() {
    let (tx, rx) = rendezvous();
    let stats = tx.stats();
    assert_eq!(
        (stats.capacity, stats.len, tx.capacity(), tx.is_full(), tx.is_empty()),
        (0, 0, 0, true, true)
    );
    assert_eq!(tx.try_send(1), Err(TrySendError::Full(1)));
    assert_eq!(tx.force_send(1), Err(TrySendError::Full(1)));
    assert_eq!(rx.try_recv(), Err(TryRecvError::Empty));
    assert_eq!(tx.send_timeout(1, Duration::ZERO), Err(SendTimeoutError::Timeout(1)));
    assert_eq!(rx.recv_timeout(Duration::ZERO), Err(RecvTimeoutError::Timeout));
    assert!(matches!(tx.try_reserve(), Err(TrySendError::Full(()))));
    assert!(matches!(poll_once(pin!(tx.reserve())), Poll::Ready(Err(_))));
    assert_eq!((tx.stats().waiting_send, tx.stats().waiting_recv), (0, 0));
    {
        let mut sending = pin!(tx.send(2));
        assert!(poll_once(sending.as_mut()).is_pending());
        assert_eq!(tx.stats().waiting_send, 1);
        assert_eq!(rx.recv_timeout(Duration::ZERO), Ok(2));
        assert_eq!(poll_once(sending.as_mut()), Poll::Ready(Ok(())));
    }
    {
        let mut receiving = pin!(rx.recv());
        assert!(poll_once(receiving.as_mut()).is_pending());
        assert_eq!(tx.stats().waiting_recv, 1);
        assert_eq!(tx.send_timeout(3, Duration::ZERO), Ok(()));
        assert_eq!(tx.try_send(4), Err(TrySendError::Full(4)));
        assert_eq!(poll_once(receiving.as_mut()), Poll::Ready(Ok(3)));
    }
    assert_eq!((tx.stats().sent, tx.stats().received, tx.len()), (2, 2, 0));
    drop(tx);
    assert_eq!(rx.try_recv(), Err(TryRecvError::Closed));
    assert_eq!((rx.recv_blocking(), rx.stats().state), (Err(RecvError), State::Closed));
}

#[test]
fn those_who_wait_meet_in_the_order_in_which_they_came() {
    let (tx, rx) = rendezvous();
    let (wakes, waker) = Wakes::new();
    let mut first = pin!(tx.send(1));
    let mut second = pin!(tx.send(2));
    assert!(poll_with(first.as_mut(), &waker).is_pending());
    assert!(poll_once(second.as_mut()).is_pending());
    assert_eq!((rx.try_recv(), wakes.count()), (Ok(1), 1));
    assert!(poll_once(second.as_mut()).is_pending());
    assert_eq!(rx.try_recv(), Ok(2));
    assert_eq!(
        (poll_once(second.as_mut()), poll_once(first.as_mut())),
        (Poll::Ready(Ok(())), Poll::Ready(Ok(())))
    );

    let mut first = pin!(rx.recv());
    let mut second = pin!(rx.recv());
    assert!(poll_once(first.as_mut()).is_pending());
    assert!(poll_with(second.as_mut(), &waker).is_pending());
    tx.try_send(3).unwrap();
    tx.try_send(4).unwrap();
    assert_eq!(wakes.count(), 2);
    assert_eq!(
        (poll_once(second.as_mut()), poll_once(first.as_mut())),
        (Poll::Ready(Ok(4)), Poll::Ready(Ok(3)))
    );
}

#[test]
fn a_send_that_is_cancelled_takes_its_message_back() {
    let ledger = Ledger::new();
    let (tx, rx) = rendezvous();
    {
        let mut sending = pin!(tx.send(ledger.message(1)));
        assert!(poll_once(sending.as_mut()).is_pending());
        assert_eq!(sending.as_mut().into_inner().map(|message| message.1), Some(1));
    }
    assert_eq!((ledger.drops(), tx.stats().waiting_send), (1, 0));
    assert!(rx.try_recv().is_err());
    {
        let mut sending = pin!(tx.send(ledger.message(2)));
        assert!(poll_once(sending.as_mut()).is_pending());
    }
    assert_eq!(ledger.drops(), 2);
    assert!(rx.try_recv().is_err());
    // Too late: it was received.
    let mut sending = pin!(tx.send(ledger.message(3)));
    assert!(poll_once(sending.as_mut()).is_pending());
    assert_eq!(rx.try_recv().unwrap().1, 3);
    assert!(sending.into_inner().is_none());
}

#[test]
fn a_receive_that_is_cancelled_leaves_its_message_to_the_next() {
    let (tx, rx) = rendezvous();
    let (wakes, waker) = Wakes::new();
    let mut next = pin!(rx.recv());
    {
        let mut receiving = pin!(rx.recv());
        assert!(poll_once(receiving.as_mut()).is_pending());
        assert!(poll_with(next.as_mut(), &waker).is_pending());
        tx.try_send(1).unwrap();
        assert_eq!(wakes.count(), 0);
    }
    assert_eq!((wakes.count(), poll_once(next.as_mut())), (1, Poll::Ready(Ok(1))));
    // There is no next yet.
    {
        let mut receiving = pin!(rx.recv());
        assert!(poll_once(receiving.as_mut()).is_pending());
        tx.try_send(2).unwrap();
    }
    assert_eq!((rx.len(), rx.stats().waiting_recv, tx.try_send(3)), (1, 0, Err(TrySendError::Full(3))));
    tx.close();
    assert_eq!(rx.stats().state, State::Closing);
    assert_eq!((rx.try_recv(), rx.try_recv()), (Ok(2), Err(TryRecvError::Closed)));
    assert_eq!((rx.stats().sent, rx.stats().received, rx.stats().state), (2, 2, State::Closed));
}

#[test]
fn a_message_that_strayed_goes_with_the_last_receiver() {
    let ledger = Ledger::new();
    let (tx, rx) = rendezvous();
    {
        let mut receiving = pin!(rx.recv());
        assert!(poll_once(receiving.as_mut()).is_pending());
        tx.try_send(ledger.message(1)).unwrap();
    }
    assert_eq!(ledger.drops(), 0);
    drop(rx);
    assert_eq!((ledger.drops(), tx.is_closed()), (1, true));
}

#[test]
fn closing_wakes_all_and_gives_messages_back() {
    for by_receiver in [false, true] {
        let (tx, rx) = rendezvous();
        let (wakes, waker) = Wakes::new();
        let mut first = pin!(tx.send(1));
        let mut second = pin!(tx.send(2));
        let mut end = pin!(tx.closed());
        assert!(poll_with(first.as_mut(), &waker).is_pending());
        assert!(poll_with(second.as_mut(), &waker).is_pending());
        assert!(poll_with(end.as_mut(), &waker).is_pending());
        assert!(if by_receiver { rx.close() } else { tx.close() });
        assert_eq!((wakes.count(), rx.try_recv()), (3, Err(TryRecvError::Closed)));
        assert_eq!(poll_once(first.as_mut()).map_err(|error| error.into_inner()), Poll::Ready(Err(1)));
        assert_eq!(second.into_inner(), Some(2));
        assert!(poll_once(end.as_mut()).is_ready());
        assert_eq!((tx.try_send(3), rx.recv_blocking()), (Err(TrySendError::Closed(3)), Err(RecvError)));
    }
    // Receivers too; but not the one that was met before.
    let (tx, rx) = rendezvous();
    let mut first = pin!(rx.recv());
    let mut second = pin!(rx.recv());
    assert!(poll_once(first.as_mut()).is_pending());
    assert!(poll_once(second.as_mut()).is_pending());
    tx.try_send(1).unwrap();
    drop(tx);
    assert_eq!(poll_once(second.as_mut()), Poll::Ready(Err(RecvError)));
    assert_eq!(poll_once(first.as_mut()), Poll::Ready(Ok(1)));
}

#[test]
fn a_batch_takes_what_senders_offer() {
    let (tx, rx) = rendezvous();
    let mut sends: Vec<_> = (0..5).map(|number| Box::pin(tx.send(number))).collect();
    for send in &mut sends {
        assert!(poll_once(send.as_mut()).is_pending());
    }
    let mut batch = Vec::new();
    assert_eq!(block_on(rx.recv_many(&mut batch, 0)), 0);
    assert_eq!(block_on(rx.recv_many(&mut batch, 3)), 3);
    assert_eq!(rx.recv_many_blocking(&mut batch, 9), 2);
    assert_eq!(batch, [0, 1, 2, 3, 4]);
    assert!(sends.iter_mut().all(|send| poll_once(send.as_mut()).is_ready()));
    // One that waits gets its first message handed over; cancelled, it leaves that to the next.
    {
        let mut gathering = pin!(rx.recv_many(&mut batch, 2));
        assert!(poll_once(gathering.as_mut()).is_pending());
        tx.try_send(5).unwrap();
    }
    assert_eq!((batch.len(), rx.try_recv()), (5, Ok(5)));
}

#[test]
fn a_stream_that_waits_is_a_receiver_that_waits() {
    let (tx, mut rx) = rendezvous();
    let (wakes, waker) = Wakes::new();
    let mut cx = Context::from_waker(&waker);
    assert!(rx.poll_recv(&mut cx).is_pending());
    tx.try_send(1).unwrap();
    assert_eq!((wakes.count(), rx.poll_recv(&mut cx)), (1, Poll::Ready(Some(1))));
    let other = rx.clone();
    assert!(rx.poll_recv(&mut cx).is_pending());
    tx.try_send(2).unwrap();
    drop(rx);
    assert_eq!(other.try_recv(), Ok(2));
}

#[test]
fn a_waker_that_panics_stops_nobody() {
    let (tx, rx) = rendezvous();
    let (wakes, waker) = Wakes::new();
    wakes.set_panic();
    let mut receiving = pin!(rx.recv());
    assert!(poll_with(receiving.as_mut(), &waker).is_pending());
    tx.try_send(1).unwrap();
    assert_eq!((wakes.count(), poll_once(receiving.as_mut())), (1, Poll::Ready(Ok(1))));
}

#[test]
fn threads_and_tasks_meet() {
    const EACH: usize = 2_000;
    let (tx, rx) = rendezvous();
    let senders: Vec<_> = (0..3)
        .map(|sender| {
            let tx = tx.clone();
            thread::spawn(move || {
                for number in 0..EACH {
                    match sender {
                        0 => tx.send_blocking(number).unwrap(),
                        1 => block_on(tx.send(number)).unwrap(),
                        _ => tx.send_timeout(number, Duration::MAX).unwrap(),
                    }
                }
            })
        })
        .collect();
    drop(tx);
    let receivers: Vec<_> = (0..3)
        .map(|receiver| {
            let rx = rx.clone();
            thread::spawn(move || {
                let mut got = Vec::new();
                loop {
                    let message = match receiver {
                        0 => rx.recv_blocking().ok(),
                        1 => block_on(rx.recv()).ok(),
                        _ => rx.recv_timeout(Duration::MAX).ok(),
                    };
                    let Some(message) = message else { return (got.len(), got.iter().sum::<usize>()) };
                    got.push(message);
                }
            })
        })
        .collect();
    drop(rx);
    senders.into_iter().for_each(|sender| sender.join().unwrap());
    let (mut count, mut sum) = (0, 0);
    for receiver in receivers {
        let got = receiver.join().unwrap();
        (count, sum) = (count + got.0, sum + got.1);
    }
    assert_eq!((count, sum), (3 * EACH, 3 * (EACH * (EACH - 1) / 2)));
}
