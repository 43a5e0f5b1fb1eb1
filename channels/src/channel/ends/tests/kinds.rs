//! Tests of the unbounded channel, of the typed ends, and of what one can loop over.
#![forbid(unsafe_code)]

use std::time::{Duration, Instant};

use futures_core::Stream;

use super::*;

#[test]
fn an_unbounded_channel_always_has_room() {
    let (tx, rx) = unbounded();
    for number in 0..10_000 {
        assert_eq!(poll_once(pin!(tx.send(number))), Poll::Ready(Ok(())));
    }
    let stats = tx.stats();
    assert_eq!(
        (stats.len, stats.capacity, stats.sent, stats.state),
        (10_000, usize::MAX, 10_000, State::Open)
    );
    assert!(!tx.is_full() && tx.capacity() == usize::MAX - 10_000);
    assert_eq!(tx.force_send(10_000), Ok(None));
    assert_eq!((tx.send_blocking(10_001), tx.send_timeout(10_002, Duration::ZERO)), (Ok(()), Ok(())));
    tx.close();
    assert_eq!(tx.try_send(0), Err(TrySendError::Closed(0)));
    assert_eq!(tx.force_send(0), Err(TrySendError::Closed(0)));
    assert_eq!(rx.try_iter().collect::<Vec<_>>(), (0..10_003).collect::<Vec<_>>());
    assert_eq!((rx.try_recv(), rx.stats().state), (Err(TryRecvError::Closed), State::Closed));
}

#[test]
fn permits_of_an_unbounded_channel_outlive_its_end() {
    let (tx, rx) = unbounded();
    let mut permits = tx.try_reserve_many(2).unwrap();
    let (wakes, waker) = Wakes::new();
    let mut receiving = pin!(rx.recv());
    assert!(poll_with(receiving.as_mut(), &waker).is_pending());
    rx.close();
    assert_eq!((wakes.count(), rx.stats().reserved, rx.stats().state), (0, 2, State::Closing));
    assert_eq!((permits.send(1), permits.remaining()), (Ok(()), 1));
    assert_eq!((wakes.count(), poll_once(receiving.as_mut())), (1, Poll::Ready(Ok(1))));
    let mut receiving = pin!(rx.recv());
    assert!(poll_with(receiving.as_mut(), &waker).is_pending());
    drop(permits);
    assert_eq!((wakes.count(), poll_once(receiving.as_mut())), (2, Poll::Ready(Err(RecvError))));
}

#[test]
fn more_permits_than_can_be_counted_are_refused() {
    let (tx, _rx) = unbounded::<u8>();
    assert!(matches!(poll_once(pin!(tx.reserve_many(usize::MAX))), Poll::Ready(Err(_))));
    assert!(matches!(tx.try_reserve_many(usize::MAX), Err(TrySendError::Full(()))));
    let most = tx.try_reserve_many(crate::chain::Chain::<u8>::new().reserved_max()).unwrap();
    let (wakes, waker) = Wakes::new();
    let mut more = pin!(tx.reserve());
    assert!(poll_with(more.as_mut(), &waker).is_pending());
    drop(most);
    assert_eq!(wakes.count(), 1);
    assert!(poll_once(more.as_mut()).is_ready());
}

#[test]
fn the_last_receiver_of_an_unbounded_channel_takes_the_messages_with_it() {
    let ledger = Ledger::new();
    let (tx, rx) = unbounded();
    let permit = tx.try_reserve().unwrap();
    for number in 0..100 {
        tx.try_send(ledger.message(number)).unwrap();
    }
    drop(rx);
    assert_eq!((ledger.drops(), tx.len()), (100, 0));
    permit.send(ledger.message(100));
    assert_eq!((ledger.drops(), tx.len()), (101, 0));
}

#[test]
fn typed_ends_have_every_form() {
    let (mut tx, mut rx) = spsc::bounded(2);
    block_on(tx.send(1)).unwrap();
    tx.try_send(2).unwrap();
    assert_eq!(tx.try_send(3), Err(TrySendError::Full(3)));
    assert_eq!(tx.send_timeout(3, Duration::ZERO), Err(SendTimeoutError::Timeout(3)));
    assert_eq!(tx.send_deadline(3, Instant::now()), Err(SendTimeoutError::Timeout(3)));
    assert!(matches!(tx.reserve_timeout(Duration::ZERO), Err(SendTimeoutError::Timeout(()))));
    assert_eq!((block_on(rx.recv()), rx.try_recv()), (Ok(1), Ok(2)));
    assert_eq!(rx.recv_timeout(Duration::ZERO), Err(RecvTimeoutError::Timeout));
    assert_eq!(rx.recv_deadline(Instant::now()), Err(RecvTimeoutError::Timeout));
    let mut permits = tx.try_reserve_many(2).unwrap();
    permits.send(4).unwrap();
    permits.send(5).unwrap();
    assert_eq!(permits.send(6), Err(6));
    drop(permits);
    let mut batch = Vec::new();
    assert_eq!((rx.recv_many_blocking(&mut batch, 9), &batch[..]), (2, &[4, 5][..]));
    tx.reserve_blocking().unwrap().send(7);
    let owned = block_on(tx.reserve_owned()).unwrap();
    assert_eq!(rx.recv_blocking(), Ok(7));
    let mut tx = owned.send(8);
    tx.send_blocking(9).unwrap();
    assert_eq!(rx.drain().collect::<Vec<_>>(), [8, 9]);
    assert_eq!((tx.stats().senders, rx.stats().receivers), (1, 1));
    drop(tx);
    assert_eq!((rx.try_recv(), rx.recv_blocking()), (Err(TryRecvError::Closed), Err(RecvError)));

    let (tx, mut rx) = mpsc::unbounded();
    let weak = tx.downgrade();
    assert!(tx.same_channel(&weak.upgrade().unwrap()));
    let other = tx.clone();
    other.try_send(1).unwrap();
    tx.try_reserve().unwrap().send(2);
    drop((tx, other));
    assert!(weak.upgrade().is_none());
    assert_eq!((&mut rx).into_iter().collect::<Vec<_>>(), [1, 2]);
    drop(rx);
}

#[test]
fn the_most_there_was_is_kept() {
    let count = |peak: usize, stats: Stats| assert_eq!((stats.peak, stats.len), (peak, 0));
    for (tx, rx) in [bounded(8), unbounded()] {
        for most in [3, 1, 5, 4] {
            (0..most).for_each(|number| tx.try_send(number).unwrap());
            assert_eq!(rx.drain().count(), most);
        }
        count(5, rx.stats());
    }
    let (mut tx, mut rx) = spsc::bounded(8);
    for most in [3, 1, 5, 4] {
        (0..most).for_each(|number| tx.try_send(number).unwrap());
        assert_eq!(rx.drain().count(), most);
    }
    count(5, rx.stats());
    let (tx, rx) = rendezvous();
    let mut receiving = pin!(rx.recv());
    assert!(poll_once(receiving.as_mut()).is_pending());
    tx.try_send(1).unwrap();
    assert!(poll_once(receiving.as_mut()).is_ready());
    count(1, rx.stats());
}

#[test]
fn typed_ends_wake_each_other() {
    let (mut tx, mut rx) = spsc::bounded(1);
    let (wakes, waker) = Wakes::new();
    {
        let mut receiving = pin!(rx.recv());
        assert!(poll_with(receiving.as_mut(), &waker).is_pending());
        tx.try_send(1).unwrap();
        assert_eq!((wakes.count(), poll_once(receiving.as_mut())), (1, Poll::Ready(Ok(1))));
    }
    tx.try_send(2).unwrap();
    {
        let mut sending = pin!(tx.send(3));
        assert!(poll_with(sending.as_mut(), &waker).is_pending());
        assert_eq!(rx.try_recv(), Ok(2));
        assert_eq!((wakes.count(), poll_once(sending.as_mut())), (2, Poll::Ready(Ok(()))));
    }
    {
        let mut sending = pin!(tx.send(4));
        assert!(poll_with(sending.as_mut(), &waker).is_pending());
        drop(rx);
        assert_eq!(wakes.count(), 3);
        assert!(matches!(poll_once(sending.as_mut()), Poll::Ready(Err(_))));
    }
    assert!(tx.is_closed());
}

#[test]
fn iterators_of_each_kind() {
    let (tx, mut rx) = bounded(8);
    for number in 0..8 {
        tx.try_send(number).unwrap();
    }
    assert_eq!(rx.try_iter().take(2).collect::<Vec<_>>(), [0, 1]);
    let mut drain = rx.drain();
    tx.try_send(8).unwrap();
    assert_eq!(drain.next(), Some(2));
    drop(drain);
    // What it was not asked for is still there, and what came later is not its business.
    let drained: Vec<_> = rx.drain().collect();
    assert_eq!(drained, [3, 4, 5, 6, 7, 8]);
    tx.try_send(9).unwrap();
    let mut cx = Context::from_waker(std::task::Waker::noop());
    assert_eq!(std::pin::Pin::new(&mut rx).poll_next(&mut cx), Poll::Ready(Some(9)));
    tx.try_send(10).unwrap();
    tx.try_send(11).unwrap();
    drop(tx);
    assert_eq!((&rx).into_iter().next(), Some(10));
    let mut rest = rx.into_iter();
    assert_eq!([rest.next(), rest.next(), rest.next()], [Some(11), None, None]);
}

#[test]
fn bounds_of_the_typed_ends() {
    fn is_send<T: std::marker::Send>(_: &T) {}
    type Message = std::cell::Cell<u8>;
    let (mut tx, mut rx) = spsc::bounded::<Message>(1);
    is_send(&tx);
    is_send(&rx);
    is_send(&tx.send(Message::new(1)));
    is_send(&rx.recv());
    is_send(&tx.reserve());
    is_send(&rx.iter());
    let (tx, rx) = rendezvous::<Message>();
    is_send(&tx.send(Message::new(1)));
    is_send(&rx.recv());
    assert!(
        !format!("{tx:?} {rx:?} {:?} {:?} {:?}", tx.send(Message::new(1)), rx.recv(), rx.iter()).is_empty()
    );
}
