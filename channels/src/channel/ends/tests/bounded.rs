//! Tests of the bounded channel, and of what all channels have in common.
#![forbid(unsafe_code)]

use std::time::Duration;

use std::future::Future;

use futures_core::Stream;

use super::*;
use crate::probe::{BUDGET, Wait};
use crate::test_util::FakeTask;

#[test]
fn every_form_of_each_operation() {
    let (tx, rx) = bounded(4);
    block_on(tx.send(1)).unwrap();
    tx.try_send(2).unwrap();
    tx.send_blocking(3).unwrap();
    tx.send_timeout(4, Duration::ZERO).unwrap();
    assert_eq!(tx.try_send(5), Err(TrySendError::Full(5)));
    assert_eq!(tx.send_timeout(5, Duration::ZERO), Err(SendTimeoutError::Timeout(5)));
    assert_eq!(block_on(rx.recv()), Ok(1));
    assert_eq!(rx.try_recv(), Ok(2));
    assert_eq!(rx.recv_blocking(), Ok(3));
    assert_eq!(rx.recv_timeout(Duration::MAX), Ok(4));
    assert_eq!(rx.try_recv(), Err(TryRecvError::Empty));
    assert_eq!(rx.recv_timeout(Duration::ZERO), Err(RecvTimeoutError::Timeout));
    drop(tx);
    assert_eq!(rx.try_recv(), Err(TryRecvError::Closed));
    assert_eq!(rx.recv_timeout(Duration::MAX), Err(RecvTimeoutError::Closed));
    assert_eq!(rx.recv_blocking(), Err(RecvError));
    assert_eq!(block_on(rx.recv()), Err(RecvError));
}

#[test]
#[should_panic(expected = "rendezvous")]
fn no_room_at_all_is_another_channel() {
    let _ = bounded::<u8>(0);
}

#[test]
#[should_panic(expected = "unbounded")]
fn too_much_room_is_another_channel() {
    let _ = bounded::<u8>(usize::MAX);
}

#[test]
fn the_numbers_are_exact_at_each_boundary() {
    for capacity in [1, 2, 3, 8] {
        let (tx, rx) = bounded(capacity);
        for lap in 0..3 {
            for len in 0..capacity {
                assert_eq!((tx.len(), rx.len(), tx.capacity()), (len, len, capacity - len));
                assert_eq!((tx.is_empty(), rx.is_full()), (len == 0, false));
                tx.try_send(len).unwrap();
            }
            assert!(tx.is_full() && !rx.is_empty());
            let total = ((lap + 1) * capacity) as u64;
            assert_eq!((tx.stats().sent, tx.stats().received), (total, total - capacity as u64));
            for len in (0..capacity).rev() {
                rx.try_recv().unwrap();
                assert_eq!((rx.len(), rx.is_full(), rx.capacity()), (len, false, capacity - len));
            }
        }
        let permit = tx.try_reserve().unwrap();
        assert_eq!((tx.len(), tx.capacity(), tx.stats().reserved), (0, capacity - 1, 1));
        assert_eq!((tx.is_empty(), tx.is_full()), (true, capacity == 1));
        permit.send(1);
        tx.close();
        assert_eq!((rx.len(), rx.is_empty(), rx.stats().state), (1, false, State::Closing));
        rx.try_recv().unwrap();
        assert_eq!((rx.len(), rx.is_empty(), rx.stats().state), (0, true, State::Closed));
    }
}

#[test]
fn a_send_can_be_cancelled_at_every_point() {
    let ledger = Ledger::new();
    let (tx, rx) = bounded(1);
    // Before the first poll.
    drop(tx.send(ledger.message(0)));
    assert_eq!((ledger.drops(), tx.len()), (1, 0));
    tx.try_send(ledger.message(1)).unwrap();
    // While it waits.
    {
        let mut sending = pin!(tx.send(ledger.message(2)));
        assert!(poll_once(sending.as_mut()).is_pending());
        assert_eq!(tx.stats().waiting_send, 1);
    }
    assert_eq!(ledger.drops(), 2);
    // After it was woken: the next one is.
    let (wakes, waker) = Wakes::new();
    let mut next = pin!(tx.send(ledger.message(3)));
    {
        let mut sending = pin!(tx.send(ledger.message(4)));
        assert!(poll_once(sending.as_mut()).is_pending());
        assert!(poll_with(next.as_mut(), &waker).is_pending());
        assert_eq!(rx.try_recv().unwrap().1, 1);
        assert_eq!(wakes.count(), 0);
        assert_eq!(sending.as_mut().into_inner().map(|message| message.1), Some(4));
    }
    assert_eq!(wakes.count(), 1);
    assert!(poll_once(next.as_mut()).is_ready());
    assert_eq!(rx.try_recv().unwrap().1, 3);
    assert_eq!((ledger.drops(), tx.stats().waiting_send), (5, 0));
}

#[test]
fn a_receive_can_be_cancelled_at_every_point() {
    let (tx, rx) = bounded(1);
    drop(rx.recv());
    {
        let mut receiving = pin!(rx.recv());
        assert!(poll_once(receiving.as_mut()).is_pending());
        assert_eq!(rx.stats().waiting_recv, 1);
    }
    let (wakes, waker) = Wakes::new();
    let other = rx.clone();
    let mut next = pin!(other.recv());
    {
        let mut receiving = pin!(rx.recv());
        assert!(poll_once(receiving.as_mut()).is_pending());
        assert!(poll_with(next.as_mut(), &waker).is_pending());
        tx.try_send(7).unwrap();
        assert_eq!(wakes.count(), 0);
    }
    assert_eq!(wakes.count(), 1);
    assert_eq!(poll_once(next.as_mut()), Poll::Ready(Ok(7)));
    assert_eq!(rx.stats().waiting_recv, 0);
}

#[test]
fn a_million_polls_in_vain_leave_nothing_behind() {
    let (_tx, rx) = bounded::<u8>(1);
    let mut receiving = pin!(rx.recv());
    for round in 0..1_000_000 {
        // Two wakers in turn: each poll replaces the one before.
        let (_, waker) =
            if round % 1000 == 0 { Wakes::new() } else { (Wakes::new().0, std::task::Waker::noop().clone()) };
        assert!(poll_with(receiving.as_mut(), &waker).is_pending());
    }
    assert_eq!(rx.stats().waiting_recv, 1);
}

#[test]
fn closing_wakes_all_and_keeps_what_is_there() {
    for by_receiver in [false, true] {
        let (tx, rx) = bounded(1);
        tx.try_send(1).unwrap();
        let (wakes, waker) = Wakes::new();
        let mut first = pin!(tx.send(2));
        let mut second = pin!(tx.reserve());
        let mut end = pin!(tx.closed());
        assert!(poll_with(first.as_mut(), &waker).is_pending());
        assert!(poll_with(second.as_mut(), &waker).is_pending());
        assert!(poll_with(end.as_mut(), &waker).is_pending());
        assert!(if by_receiver { rx.close() } else { tx.close() });
        assert!(!rx.close() && tx.is_closed() && rx.is_closed());
        assert_eq!(wakes.count(), 3);
        assert_eq!(poll_once(first.as_mut()).map_err(|error| error.into_inner()), Poll::Ready(Err(2)));
        assert!(matches!(poll_once(second.as_mut()), Poll::Ready(Err(_))));
        assert!(poll_once(end.as_mut()).is_ready());
        assert_eq!(tx.try_send(3), Err(TrySendError::Closed(3)));
        assert_eq!(tx.force_send(3), Err(TrySendError::Closed(3)));
        assert_eq!(tx.send_timeout(3, Duration::MAX), Err(SendTimeoutError::Closed(3)));
        assert_eq!(tx.send_blocking(3).unwrap_err().into_inner(), 3);
        assert_eq!(block_on(tx.send(3)).unwrap_err().into_inner(), 3);
        assert!(matches!(tx.try_reserve(), Err(TrySendError::Closed(()))));
        assert!(matches!(tx.try_reserve_many(0), Err(TrySendError::Closed(()))));
        assert_eq!(rx.try_recv(), Ok(1));
        assert_eq!(rx.try_recv(), Err(TryRecvError::Closed));
    }
}

#[test]
fn waiting_receivers_learn_of_the_end_once_all_permits_are_gone() {
    for uses in [false, true] {
        let (tx, rx) = bounded(2);
        let (wakes, waker) = Wakes::new();
        let permit = tx.try_reserve().unwrap();
        let mut receiving = pin!(rx.recv());
        let other = rx.clone();
        let mut second = pin!(other.recv());
        assert!(poll_with(receiving.as_mut(), &waker).is_pending());
        assert!(poll_with(second.as_mut(), &waker).is_pending());
        rx.close();
        // Not yet: the permit may still send.
        assert_eq!((wakes.count(), rx.stats().state), (0, State::Closing));
        assert_eq!(rx.try_recv(), Err(TryRecvError::Empty));
        assert!(poll_with(receiving.as_mut(), &waker).is_pending());
        if uses {
            permit.send(1);
            assert_eq!(wakes.count(), 1);
            assert_eq!(poll_once(receiving.as_mut()), Poll::Ready(Ok(1)));
        } else {
            drop(permit);
            assert_eq!(poll_once(receiving.as_mut()), Poll::Ready(Err(RecvError)));
        }
        assert_eq!(wakes.count(), 2);
        assert_eq!(poll_once(second.as_mut()), Poll::Ready(Err(RecvError)));
        assert_eq!(rx.stats().state, State::Closed);
    }
}

#[test]
fn permits_keep_room_and_give_it_back() {
    let (tx, rx) = bounded(3);
    let mut permits = tx.try_reserve_many(2).unwrap();
    assert_eq!(permits.len(), 2);
    tx.try_send(1).unwrap();
    assert_eq!(tx.try_send(0), Err(TrySendError::Full(0)));
    permits.next().unwrap().send(2);
    drop(permits);
    tx.try_send(3).unwrap();
    assert!(matches!(tx.try_reserve(), Err(TrySendError::Full(()))));
    assert_eq!([1, 2, 3].map(|_| rx.try_recv().unwrap()), [1, 2, 3]);

    let mut all = pin!(tx.reserve_many(3));
    tx.try_send(4).unwrap();
    let (wakes, waker) = Wakes::new();
    assert!(poll_with(all.as_mut(), &waker).is_pending());
    rx.try_recv().unwrap();
    assert_eq!(wakes.count(), 1);
    let Poll::Ready(Ok(permits)) = poll_once(all.as_mut()) else { panic!("there is room for three") };
    permits.enumerate().for_each(|(index, permit)| permit.send(index));
    assert_eq!([1, 2, 3].map(|_| rx.try_recv().unwrap()), [0, 1, 2]);
    assert!(block_on(tx.reserve_many(4)).is_err());
    assert_eq!(block_on(tx.reserve_many(0)).unwrap().len(), 0);

    let owned = block_on(tx.clone().reserve_owned()).unwrap();
    assert_eq!(tx.sender_count(), 2);
    let back = owned.send(5);
    let owned = back.try_reserve_owned().unwrap();
    let back = owned.release();
    drop(back.try_reserve_owned().unwrap());
    assert_eq!((tx.sender_count(), tx.capacity(), rx.try_recv()), (1, 2, Ok(5)));
}

#[test]
fn the_last_receiver_takes_the_messages_with_it() {
    let ledger = Ledger::new();
    let (tx, rx) = bounded(2);
    let permit = tx.try_reserve().unwrap();
    tx.try_send(ledger.message(1)).unwrap();
    let mut waiting = pin!(tx.send(ledger.message(2)));
    assert!(poll_once(waiting.as_mut()).is_pending());
    drop(rx.clone());
    assert_eq!(ledger.drops(), 0);
    drop(rx);
    assert_eq!(ledger.drops(), 1);
    let Poll::Ready(Err(error)) = poll_once(waiting.as_mut()) else { panic!("closed") };
    assert_eq!(error.into_inner().1, 2);
    permit.send(ledger.message(3));
    assert_eq!((ledger.drops(), tx.len()), (3, 0));
}

#[test]
fn a_message_that_answers_itself_does_not_deadlock() {
    // Each queued message holds the sender of an answer that somebody waits for.
    let (tx, rx) = bounded(2);
    let (answer, answered) = crate::channel::oneshot::channel::<u8>();
    tx.try_send(answer).unwrap();
    drop(rx);
    assert!(answered.recv_blocking().is_err());
    drop(tx);
}

#[test]
fn weak_ends_do_not_keep_it_open() {
    let (tx, rx) = bounded::<u8>(1);
    let (weak_tx, weak_rx) = (tx.downgrade(), rx.downgrade());
    assert!(tx.same_channel(&weak_tx.upgrade().unwrap()));
    assert!(rx.same_channel(&weak_rx.clone().upgrade().unwrap()));
    assert_eq!((tx.sender_count(), rx.receiver_count()), (1, 1));
    drop(tx);
    assert!(rx.is_closed() && weak_tx.clone().upgrade().is_none());
    drop(rx);
    assert!(weak_rx.upgrade().is_none());
}

#[test]
fn batches_free_their_room() {
    let (tx, rx) = bounded(4);
    let mut batch = Vec::new();
    assert_eq!(block_on(rx.recv_many(&mut batch, 0)), 0);
    for id in 0..4 {
        tx.try_send(id).unwrap();
    }
    let wakes: Vec<_> = (0..4).map(|_| Wakes::new()).collect();
    let mut sends: Vec<_> = (4..8).map(|id| Box::pin(tx.send(id))).collect();
    for (send, (_, waker)) in sends.iter_mut().zip(&wakes) {
        assert!(poll_with(send.as_mut(), waker).is_pending());
    }
    assert_eq!(block_on(rx.recv_many(&mut batch, 3)), 3);
    assert_eq!(wakes.iter().map(|(wakes, _)| wakes.count()).collect::<Vec<_>>(), [1, 1, 1, 0]);
    for send in &mut sends[..3] {
        assert!(poll_once(send.as_mut()).is_ready());
    }
    assert_eq!(block_on(rx.recv_many(&mut batch, 100)), 4);
    assert!(poll_once(sends[3].as_mut()).is_ready());
    drop(sends);
    drop(tx);
    assert_eq!(block_on(rx.recv_many(&mut batch, 100)), 1);
    assert_eq!(block_on(rx.recv_many(&mut batch, 100)), 0);
    assert_eq!(batch, [0, 1, 2, 3, 4, 5, 6, 7]);
}

#[test]
fn a_receiver_is_a_stream() {
    let (tx, mut rx) = bounded(1);
    let (wakes, waker) = Wakes::new();
    let mut cx = Context::from_waker(&waker);
    let mut next = |rx: &mut Receiver<u8>| std::pin::Pin::new(rx).poll_next(&mut cx);
    assert!(next(&mut rx).is_pending());
    tx.try_send(1).unwrap();
    assert_eq!((wakes.count(), next(&mut rx)), (1, Poll::Ready(Some(1))));
    // A stream that is dropped in line passes its invitation on.
    let mut other = rx.clone();
    assert!(next(&mut rx).is_pending());
    assert!(next(&mut other).is_pending());
    tx.try_send(2).unwrap();
    assert_eq!(wakes.count(), 2);
    drop(rx);
    assert_eq!((wakes.count(), next(&mut other)), (3, Poll::Ready(Some(2))));
    drop(tx);
    assert_eq!(next(&mut other), Poll::Ready(None));
}

#[test]
fn a_waker_that_panics_stops_nobody() {
    let (tx, rx) = bounded(1);
    let (wakes, waker) = Wakes::new();
    wakes.set_panic();
    let mut receiving = pin!(rx.recv());
    assert!(poll_with(receiving.as_mut(), &waker).is_pending());
    tx.try_send(1).unwrap();
    assert_eq!((wakes.count(), rx.try_recv()), (1, Ok(1)));
}

#[test]
fn a_busy_task_yields_when_its_budget_is_spent() {
    let (tx, rx) = bounded(1);
    let pair = |cx: &mut Context<'_>| {
        let sent = pin!(tx.send(1)).poll(cx).is_ready();
        sent && pin!(rx.recv()).poll(cx).is_ready()
    };
    let task = FakeTask::new(1);
    let mut done = 0;
    task.poll(|cx| {
        while done < 1000 && pair(cx) {
            done += 1;
        }
    });
    assert_eq!((done, task.wakes.get(), task.header.wait().0), (usize::from(BUDGET) / 2, 1, Wait::Yield));
    // Without a runtime there is no budget.
    let mut cx = Context::from_waker(std::task::Waker::noop());
    assert!((0..1000).all(|_| pair(&mut cx)));
}

#[test]
fn a_report_says_what_a_task_waits_for() {
    let (tx, rx) = bounded(1);
    let task = FakeTask::new(1);
    let mut receiving = pin!(rx.recv());
    assert!(task.poll_one(receiving.as_mut()).is_pending());
    // The others have a turn first.
    assert_eq!((task.header.wait().0, task.wakes.get()), (Wait::Yield, 1));
    assert!(task.poll_one(receiving.as_mut()).is_pending());
    let (kind, resource, location) = task.header.wait();
    assert_eq!((kind, location.unwrap().file()), (Wait::Recv, file!()));
    tx.try_send(1).unwrap();
    assert!(task.poll_one(receiving.as_mut()).is_ready());
    tx.try_send(2).unwrap();
    let mut sending = pin!(tx.send(3));
    assert!(task.poll_one(sending.as_mut()).is_pending());
    assert!(task.poll_one(sending.as_mut()).is_pending());
    assert_eq!((task.header.wait().0, task.header.wait().1), (Wait::Send, resource));
}

/// A task that found nothing is polled again before it gets in line; when that is in vain, the next few times it
/// gets in line at once, and then it tries again.
#[test]
fn a_task_looks_once_more_before_it_waits() {
    let (tx, rx) = bounded(1);
    let task = FakeTask::new(1);
    let in_line = || rx.stats().waiting_recv;
    let turns = |answer: bool| {
        let before = task.wakes.get();
        let mut receiving = pin!(rx.recv());
        assert!(task.poll_one(receiving.as_mut()).is_pending());
        let yielded = task.wakes.get() > before;
        assert_eq!(in_line(), usize::from(!yielded));
        if yielded && !answer {
            assert!(task.poll_one(receiving.as_mut()).is_pending());
            assert_eq!(in_line(), 1);
        }
        let wakes = task.wakes.get();
        tx.try_send(1).unwrap();
        assert_eq!(task.wakes.get() > wakes, !yielded || !answer);
        assert_eq!(task.poll_one(receiving.as_mut()), Poll::Ready(Ok(1)));
        yielded
    };
    // It was not in vain, so it is done again.
    assert!(turns(true) && turns(true));
    assert!(turns(false));
    assert_eq!([turns(false), turns(false), turns(false), turns(true)], [false, false, false, true]);
}

/// Two receives of one task, of which it polls only the second: the invitation of the first does not stay with it.
#[test]
fn an_invitation_that_is_not_taken_up_passes_on() {
    let (tx, rx) = bounded(2);
    let (sleepy, other) = (FakeTask::new(1), FakeTask::new(2));
    let mut first = pin!(rx.recv());
    let mut second = pin!(rx.recv());
    for _ in 0..2 {
        assert!(sleepy.poll_one(first.as_mut()).is_pending());
    }
    for _ in 0..2 {
        assert!(other.poll_one(second.as_mut()).is_pending());
    }
    let wakes = |task: &FakeTask| task.wakes.get();
    let (before, others) = (wakes(&sleepy), wakes(&other));
    tx.try_send(1).unwrap();
    assert_eq!((wakes(&sleepy), wakes(&other)), (before + 1, others));
    sleepy.poll(|_| ());
    assert_eq!(wakes(&other), others + 1);
    assert_eq!(other.poll_one(second.as_mut()), Poll::Ready(Ok(1)));
}

/// Four senders and four receivers, of which every other one is a thread in the blocking forms.
#[test]
fn threads_and_tasks_share_the_ends() {
    const SENDERS: usize = 4;
    const EACH: usize = 2_000;
    for capacity in [1, 2, 64] {
        let (tx, rx) = bounded(capacity);
        let senders: Vec<_> = (0..SENDERS)
            .map(|sender| {
                let tx = tx.clone();
                thread::spawn(move || {
                    for number in 0..EACH {
                        let message = (sender, number);
                        match sender % 4 {
                            0 => tx.send_blocking(message).unwrap(),
                            1 => block_on(tx.send(message)).unwrap(),
                            2 => block_on(tx.reserve()).unwrap().send(message),
                            _ => tx.send_timeout(message, Duration::MAX).unwrap(),
                        }
                    }
                })
            })
            .collect();
        drop(tx);
        let receivers: Vec<_> = (0..4)
            .map(|receiver| {
                let rx = rx.clone();
                thread::spawn(move || {
                    let mut got = Vec::new();
                    loop {
                        let message = match receiver {
                            0 => rx.recv_blocking().ok(),
                            1 => block_on(rx.recv()).ok(),
                            2 => rx.recv_timeout(Duration::MAX).ok(),
                            _ => {
                                let before = got.len();
                                if block_on(rx.recv_many(&mut got, 3)) == 0 {
                                    break;
                                }
                                assert!(got.len() > before);
                                continue;
                            }
                        };
                        let Some(message) = message else { break };
                        got.push(message);
                    }
                    got
                })
            })
            .collect();
        drop(rx);
        for sender in senders {
            sender.join().unwrap();
        }
        let mut sum = 0;
        let mut count = 0;
        for receiver in receivers {
            let mut last = [None; SENDERS];
            for (sender, number) in receiver.join().unwrap() {
                // Whoever receives sees each sender's messages in the order in which they were sent.
                assert!(last[sender] < Some(number));
                last[sender] = Some(number);
                sum += number;
                count += 1;
            }
        }
        assert_eq!((count, sum), (SENDERS * EACH, SENDERS * (EACH * (EACH - 1) / 2)));
    }
}

#[test]
fn bounds() {
    fn send_sync<T: std::marker::Send + Sync>() {}
    fn unpin<T: Unpin>() {}
    type Message = std::cell::Cell<u8>;
    send_sync::<Sender<Message>>();
    send_sync::<Receiver<Message>>();
    send_sync::<WeakSender<Message>>();
    send_sync::<Permit<'_, Message>>();
    send_sync::<OwnedPermit<Message>>();
    send_sync::<Recv<'_, Message>>();
    send_sync::<Reserve<'_, Message>>();
    send_sync::<Send<'_, u8>>();
    unpin::<Receiver<std::marker::PhantomPinned>>();
    let (tx, rx) = bounded::<*const u8>(1);
    assert!(!format!("{tx:?} {rx:?} {:?} {:?}", tx.try_reserve(), tx.stats()).is_empty());
}
