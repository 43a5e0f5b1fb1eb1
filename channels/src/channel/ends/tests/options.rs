//! Tests of what a channel does when it is full, and of its marks.
#![forbid(unsafe_code)]

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Duration;

use super::*;

fn make<T>(overflow: Overflow) -> (Sender<T>, Receiver<T>) {
    Builder::new().capacity(2).overflow(overflow).build()
}

/// What each way to send answers when the channel is full: `try_send`, `send`, blocking, in no time.
fn answers(tx: &Sender<u8>) -> [Option<Result<(), u8>>; 4] {
    let sent = match poll_once(pin!(tx.send(11))) {
        Poll::Ready(sent) => Some(sent.map_err(|error| error.into_inner())),
        Poll::Pending => None,
    };
    let timed = |sent: Result<(), SendTimeoutError<u8>>| match sent {
        Ok(()) => Some(Ok(())),
        Err(SendTimeoutError::Timeout(back)) => Some(Err(back)),
        Err(SendTimeoutError::Closed(_)) => None,
    };
    [
        Some(tx.try_send(10).map_err(|error| error.into_inner())),
        sent,
        timed(tx.send_timeout(12, Duration::ZERO)),
        timed(tx.send_deadline(13, std::time::Instant::now())),
    ]
}

#[test]
fn each_policy_when_full() {
    let ok = Some(Ok(()));
    let full = |message| Some(Err(message));
    for (overflow, expected, left, dropped) in [
        (Overflow::Block, [full(10), None, full(12), full(13)], [1, 2], 0),
        (Overflow::DropNewest, [full(10), ok, ok, ok], [1, 2], 3),
        (Overflow::DropOldest, [ok, ok, ok, ok], [12, 13], 4),
        (Overflow::Error, [full(10), full(11), full(12), full(13)], [1, 2], 0),
    ] {
        let (tx, rx) = make(overflow);
        tx.try_send(1).unwrap();
        tx.try_send(2).unwrap();
        assert_eq!(answers(&tx), expected, "{overflow:?}");
        assert_eq!(tx.stats().dropped, dropped, "{overflow:?}");
        assert_eq!(rx.try_iter().collect::<Vec<_>>(), left, "{overflow:?}");
        rx.close();
        assert_eq!(tx.try_send(3), Err(TrySendError::Closed(3)));
        assert_eq!(tx.send_blocking(3).map_err(|error| error.into_inner()), Err(3));
        assert_eq!(tx.send_timeout(3, Duration::ZERO), Err(SendTimeoutError::Closed(3)));
        assert_eq!(tx.stats().dropped, dropped);
    }
}

#[test]
fn nothing_is_displaced_where_permits_keep_the_room() {
    let (tx, rx) = make(Overflow::DropOldest);
    let permits = tx.try_reserve_many(2).unwrap();
    assert_eq!(tx.try_send(1), Err(TrySendError::Full(1)));
    let (wakes, waker) = Wakes::new();
    let mut sending = pin!(tx.send(2));
    assert!(poll_with(sending.as_mut(), &waker).is_pending());
    drop(permits);
    assert_eq!((wakes.count(), poll_once(sending.as_mut())), (1, Poll::Ready(Ok(()))));
    assert_eq!(rx.try_recv(), Ok(2));
}

#[test]
fn a_message_that_is_displaced_may_own_the_other_end() {
    let (tx, rx) = make(Overflow::DropOldest);
    let (answer, answered) = crate::channel::oneshot::channel::<u8>();
    tx.try_send(Some(answer)).unwrap();
    block_on(tx.send(None)).unwrap();
    block_on(tx.send(None)).unwrap();
    assert!(answered.recv_blocking().is_err());
    assert_eq!(rx.len(), 2);
}

#[test]
fn senders_are_asked_to_pause_between_the_marks() {
    let (tx, rx) = Builder::new().watermarks(1..=3).build();
    let (wakes, waker) = Wakes::new();
    for round in 0..3 {
        tx.try_send(1).unwrap();
        tx.try_send(2).unwrap();
        assert!(!tx.is_paused() && poll_once(pin!(tx.resumed())).is_ready());
        tx.try_send(3).unwrap();
        assert!(tx.is_paused());
        let mut resumed = pin!(tx.resumed());
        assert!(poll_with(resumed.as_mut(), &waker).is_pending());
        rx.try_recv().unwrap();
        assert!(tx.is_paused() && wakes.count() == round);
        rx.try_recv().unwrap();
        assert!(!tx.is_paused() && wakes.count() == round + 1);
        assert!(poll_once(resumed.as_mut()).is_ready());
        assert_eq!(rx.drain().count(), 1);
    }
    // A batch counts too, and so does the end.
    tx.try_send(1).unwrap();
    tx.try_send(2).unwrap();
    tx.try_send(3).unwrap();
    let mut batch = Vec::new();
    assert_eq!(block_on(rx.recv_many(&mut batch, 9)), 3);
    assert!(!tx.is_paused());
    batch.into_iter().for_each(|number| tx.try_send(number).unwrap());
    let mut resumed = pin!(tx.resumed());
    assert!(poll_with(resumed.as_mut(), &waker).is_pending());
    rx.close();
    assert_eq!((wakes.count(), poll_once(resumed.as_mut())), (4, Poll::Ready(())));
    tx.resumed_blocking();
}

#[test]
fn a_channel_without_marks_never_asks() {
    let (tx, _rx) = bounded(1);
    tx.try_send(1).unwrap();
    assert!(!tx.is_paused() && poll_once(pin!(tx.resumed())).is_ready());
}

#[test]
fn options_that_make_no_sense_are_refused() {
    let refused = |builder: Builder, why: &str| {
        let panic = catch_unwind(AssertUnwindSafe(|| builder.build::<u8>())).expect_err("it was built");
        let text = panic.downcast_ref::<String>().cloned();
        let text = text.or_else(|| panic.downcast_ref::<&str>().map(ToString::to_string)).unwrap();
        assert!(text.contains(why), "{text}");
    };
    refused(Builder::new().overflow(Overflow::Error), "never full");
    refused(Builder::new().watermarks(3..=3), "must be above");
    refused(Builder::new().capacity(2).watermarks(1..=3), "above the capacity");
    refused(Builder::new().capacity(0), "rendezvous");
}

#[test]
fn the_flag_follows_the_length_whatever_threads_do() {
    let (tx, rx) = Builder::new().watermarks(2..=8).build();
    let producers: Vec<_> = (0..3)
        .map(|_| {
            let tx = tx.clone();
            thread::spawn(move || {
                for number in 0..5_000 {
                    tx.resumed_blocking();
                    tx.try_send(number).unwrap();
                }
            })
        })
        .collect();
    let mut count = 0;
    while count < 15_000 {
        rx.recv_blocking().unwrap();
        count += 1;
    }
    producers.into_iter().for_each(|producer| producer.join().unwrap());
    assert!(!tx.is_paused() && rx.is_empty());
}
