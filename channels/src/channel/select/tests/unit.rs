//! Tests of the select.
#![forbid(unsafe_code)]

use std::collections::BTreeSet;
use std::task::{Context, Waker};

use super::*;
use crate::channel::error::TrySendError;
use crate::channel::{Builder, Overflow, Receiver, Sender, mpsc, spsc, unbounded};
use crate::probe::Wait;
use crate::test_util::FakeTask;
use crate::test_util::Random;
use crate::testing::{Evil, Ledger, Moment, Wakes, poll_with};

#[test]
fn the_one_that_can_be_done_is_done() {
    let (tx, rx) = bounded(1);
    let (words, to_words) = unbounded::<&str>();
    let mut number = Some(7);
    let done = block_on(Select::new().recv(&to_words, |_| "word").send(&tx, &mut number, |sent| {
        sent.unwrap();
        "sent"
    }));
    assert_eq!((done, number), ("sent", None));
    words.try_send("hello").unwrap();
    let mut number = Some(8);
    let done = block_on(Select::new().recv(&to_words, Result::unwrap).send(&tx, &mut number, |_| "sent"));
    assert_eq!((done, number), ("hello", Some(8)));
    // Without a message the send is left out.
    let mut nothing = None;
    assert!(Select::new().send(&tx, &mut nothing, |_| ()).try_select().is_err());
    assert_eq!(rx.try_recv(), Ok(7));
    assert!(Select::new().send(&tx, &mut nothing, |_| ()).try_select().is_err());
    assert_eq!(rx.len(), 0);
}

#[test]
fn each_kind_of_channel_and_every_form() {
    let (mut one, mut from_one) = spsc::bounded::<u8>(1);
    let (many, mut from_many) = mpsc::unbounded::<u16>();
    let (meet, from_meet) = rendezvous::<u32>();
    let mut seen = Vec::new();
    for round in 0..4 {
        let mut sent = Some(9);
        match round {
            0 => one.try_send(1).unwrap(),
            1 => many.try_send(2).unwrap(),
            _ => {}
        }
        let waiter = (round == 2).then(|| {
            let meet = meet.clone();
            thread::spawn(move || meet.send_blocking(3).unwrap())
        });
        let select = Select::new()
            .recv(&mut from_one, |got| u32::from(got.unwrap()))
            .recv(&mut from_many, |got| u32::from(got.unwrap()))
            .recv(&from_meet, Result::unwrap);
        seen.push(match round {
            0 => select.try_select().unwrap(),
            1 => select.select_timeout(Duration::MAX).unwrap(),
            2 => select.select_blocking(),
            _ => select.send(&mut one, &mut sent, |sent| sent.map(|()| 4).unwrap()).select_blocking(),
        });
        assert_eq!(sent.is_none(), round == 3);
        if let Some(waiter) = waiter {
            waiter.join().unwrap();
        }
    }
    assert_eq!(seen, [1, 2, 3, 4]);
}

#[test]
fn when_none_can_be_done_in_time() {
    let (tx, rx) = bounded(1);
    tx.try_send(0).unwrap();
    let (meet, from_meet) = rendezvous::<u8>();
    let (mut first, mut second) = (Some(1), Some(2));
    let select =
        Select::new().send(&tx, &mut first, |_| ()).send(&meet, &mut second, |_| ()).recv(&from_meet, |_| ());
    // It does not meet itself.
    assert_eq!(select.select_timeout(Duration::ZERO), Err(SelectTimeoutError(())));
    assert_eq!((first, second), (Some(1), Some(2)));
    let select = Select::new().send(&tx, &mut first, |_| ());
    assert!(select.select_deadline(Instant::now()).is_err());
    assert!(Select::new().send(&tx, &mut first, |_| ()).try_select().is_err());
    let stats = meet.stats();
    assert_eq!((stats.waiting_send, stats.waiting_recv, rx.len()), (0, 0, 1));
    assert!(Select::<_, ()>::new().try_select().is_err());
    assert!(Select::<_, ()>::new().select_timeout(Duration::ZERO).is_err());
}

#[test]
#[should_panic(expected = "waits for ever")]
fn nothing_to_wait_for() {
    Select::<_, ()>::new().select_blocking();
}

#[test]
#[should_panic(expected = "waits for ever")]
fn nothing_to_wait_for_in_a_task() {
    let _ = poll_once(pin!(Select::<_, ()>::new()));
}

#[test]
fn a_channel_at_its_end_can_be_done() {
    let (tx, rx) = bounded(1);
    let mut message = Some(1);
    drop(rx);
    assert!(block_on(Select::new().send(&tx, &mut message, |sent| sent.is_err())));
    assert_eq!(message, Some(1));
    for (tx, rx) in [bounded::<u8>(1), unbounded(), rendezvous()] {
        let mut select = pin!(Select::new().recv(&rx, |got| got));
        let (wakes, waker) = Wakes::new();
        assert!(poll_with(select.as_mut(), &waker).is_pending());
        drop(tx);
        assert_eq!(wakes.count(), 1);
        assert_eq!(poll_once(select.as_mut()), Poll::Ready(Err(RecvError)));
    }
    let (meet, from_meet) = rendezvous();
    {
        let mut select = pin!(Select::new().send(&meet, &mut message, |sent| sent.is_err()));
        assert!(poll_once(select.as_mut()).is_pending());
        from_meet.close();
        assert_eq!(poll_once(select.as_mut()), Poll::Ready(true));
    }
    assert_eq!(message, Some(1));
}

#[test]
fn a_sender_meets_a_select_that_waits() {
    let (meet, from_meet) = rendezvous();
    let (other, from_other) = rendezvous();
    let (wakes, waker) = Wakes::new();
    let mut select = pin!(Select::new().recv(&from_meet, Result::unwrap).recv(&from_other, Result::unwrap));
    assert!(poll_with(select.as_mut(), &waker).is_pending());
    meet.try_send(1).unwrap();
    // It has been met: nobody else can.
    assert_eq!(other.try_send(2), Err(TrySendError::Full(2)));
    assert_eq!(meet.try_send(2), Err(TrySendError::Full(2)));
    assert_eq!((wakes.count(), poll_once(select.as_mut())), (1, Poll::Ready(1)));
    assert_eq!((from_meet.len(), other.stats().waiting_recv), (0, 0));
}

#[test]
fn a_receiver_meets_a_select_that_waits_to_send() {
    let (meet, from_meet) = rendezvous();
    let (other, from_other) = rendezvous();
    let (mut first, mut second) = (Some(1), Some(2));
    {
        let mut select =
            pin!(Select::new().send(&meet, &mut first, |_| "first").send(&other, &mut second, |_| "second"));
        assert!(poll_once(select.as_mut()).is_pending());
        assert_eq!((meet.stats().waiting_send, other.stats().waiting_send), (1, 1));
        assert_eq!(from_other.try_recv(), Ok(2));
        assert!(from_meet.try_recv().is_err());
        assert_eq!(poll_once(select.as_mut()), Poll::Ready("second"));
    }
    assert_eq!((first, second), (Some(1), None));
}

#[test]
fn a_select_that_was_met_and_is_dropped_passes_on() {
    let (meet, from_meet) = rendezvous();
    let (_quiet, never) = bounded::<u8>(1);
    let mut select = Box::pin(Select::new().recv(&from_meet, |got| got.ok()).recv(&never, |got| got.ok()));
    assert!(poll_once(select.as_mut()).is_pending());
    meet.try_send(1).unwrap();
    drop(select);
    assert_eq!(from_meet.try_recv(), Ok(1));
}

#[test]
fn until_gives_up_and_the_messages_come_back() {
    let ledger = Ledger::new();
    let (meet, from_meet) = rendezvous();
    let mut message = Some(ledger.message(1));
    let late = block_on(Select::new().send(&meet, &mut message, |_| ()).until(async { "late" }));
    assert_eq!((late, message.as_ref().map(|message| message.1)), (Err("late"), Some(1)));
    // When both are ready at once, the case wins.
    let mut receiving = pin!(from_meet.recv());
    assert!(poll_once(receiving.as_mut()).is_pending());
    assert_eq!(block_on(Select::new().send(&meet, &mut message, |_| ()).until(async {})), Ok(()));
    assert!(message.is_none());
    assert!(poll_once(receiving.as_mut()).is_ready());
    assert_eq!(ledger.drops(), 1);
    assert_eq!(block_on(Select::<_, ()>::new().until(async { 5 })), Err(5));
    // Met while the deadline is being polled: it counts.
    let mut message = Some(ledger.message(2));
    let done = Select::new().send(&meet, &mut message, |_| "sent").until(async {
        assert!(from_meet.try_recv().is_ok());
        "late"
    });
    assert_eq!(block_on(done), Ok("sent"));
    assert!(message.is_none());
}

#[test]
fn chance_is_fair_and_bias_is_not() {
    let channels = [unbounded::<usize>(), unbounded(), unbounded()];
    for (tx, _) in &channels {
        (0..6_000).for_each(|number| tx.try_send(number).unwrap());
    }
    let [(_, a), (_, b), (_, c)] = &channels;
    let mut counts = [0; 3];
    let task = FakeTask::new(3);
    for round in 0..3_000 {
        let select = Select::new().recv(a, |_| 0).recv(b, |_| 1).recv(c, |_| 2);
        // With a task that is known, and without.
        let done = if round % 2 == 0 {
            select.try_select().unwrap()
        } else {
            let Poll::Ready(done) = task.poll_one(pin!(select)) else { panic!("all are ready") };
            done
        };
        counts[done] += 1;
    }
    assert!(counts.iter().all(|count| (800..1_200).contains(count)), "{counts:?}");
    for _ in 0..100 {
        assert_eq!(Select::new().recv(a, |_| 0).recv(b, |_| 1).biased().try_select(), Ok(0));
        assert_eq!(Select::new().biased().recv(b, |_| 1).recv(a, |_| 0).try_select(), Ok(1));
    }
}

#[test]
fn the_same_polls_make_the_same_choices() {
    let run = || {
        let channels = [unbounded::<usize>(), unbounded()];
        for (tx, _) in &channels {
            (0..100).for_each(|number| tx.try_send(number).unwrap());
        }
        let [(_, a), (_, b)] = &channels;
        let task = FakeTask::new(11);
        let poll = |_| task.poll_one(pin!(Select::new().recv(a, |_| 0).recv(b, |_| 1)));
        (0..50).map(poll).collect::<Vec<_>>()
    };
    assert_eq!(run(), run());
}

#[test]
fn a_report_says_what_a_task_waits_for() {
    let (_tx, rx) = bounded::<u8>(1);
    let task = FakeTask::new(1);
    assert!(task.poll_one(pin!(Select::new().recv(&rx, |_| ()))).is_pending());
    let (kind, resource, location) = task.header.wait();
    assert_eq!((kind, location.unwrap().file()), (Wait::Select, file!()));
    assert!(task.poll_one(pin!(rx.recv())).is_pending());
    assert_eq!(task.header.wait().1, resource);
}

#[test]
fn a_channel_that_displaces_takes_part() {
    let (tx, rx) = Builder::new().capacity(1).overflow(Overflow::DropOldest).build();
    let mut message = Some(1);
    assert_eq!(Select::new().send(&tx, &mut message, |sent| sent.is_ok()).try_select(), Ok(true));
    message = Some(2);
    assert!(Select::new().send(&tx, &mut message, |sent| sent.is_ok()).select_blocking());
    assert_eq!((rx.try_iter().collect::<Vec<_>>(), rx.stats().dropped), (vec![2], 1));
}

#[test]
fn a_closure_that_panics_leaves_nothing_behind() {
    let (tx, rx) = bounded(1);
    let (meet, from_meet) = rendezvous::<u8>();
    tx.try_send(1).unwrap();
    let select = Select::new().recv(&from_meet, |_| ()).recv(&rx, |_| panic!("a closure of a test panics"));
    let caught = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| select.select_blocking()));
    assert!(caught.is_err());
    assert_eq!((rx.len(), meet.stats().waiting_recv), (0, 0));
    assert!(meet.try_send(1).is_err());
}

#[test]
fn a_select_can_move_to_another_thread() {
    fn is_send<T: Send>(_: &T) {}
    let (tx, rx) = bounded::<std::cell::Cell<u8>>(1);
    let mut message = None;
    let select = Select::new().recv(&rx, |_| ()).send(&tx, &mut message, |_| ());
    is_send(&select);
    assert!(!format!("{select:?}").is_empty());
    is_send(&select.until(async {}));
}

/// Selects of two cases each, on three kinds of channels, in four places at once, with cancels at random.
/// Whatever happens, a message is in exactly one place, and nobody sleeps who could go on.
#[test]
fn no_message_is_lost_or_seen_twice() {
    for seed in 1..30_u64 {
        let mut random = Random(seed * 0x9E37_79B9_7F4A);
        let channels: [(Sender<usize>, Receiver<usize>); 3] = [bounded(1), unbounded(), rendezvous()];
        let mut out = BTreeSet::new();
        let mut made = 0;
        let mut seen = BTreeSet::new();
        for _ in 0..400 {
            // Each round: a handful of selects, polled and dropped in any order.
            let mut slots = [const { None }; 4];
            for slot in &mut slots {
                *slot = Some(made);
                out.insert(made);
                made += 1;
            }
            let received = std::cell::RefCell::new(Vec::new());
            {
                let mut selects: Vec<_> = slots
                    .iter_mut()
                    .map(|slot| {
                        let (from, to) = (random.below(3), random.below(3));
                        let select = Select::new()
                            .recv(&channels[from].1, |got| received.borrow_mut().push(got.unwrap()))
                            .send(&channels[to].0, slot, |sent| sent.unwrap());
                        Some(Box::pin(select))
                    })
                    .collect();
                for _ in 0..12 {
                    let select = &mut selects[random.below(4)];
                    let Some(pinned) = select else { continue };
                    let mut cx = Context::from_waker(std::task::Waker::noop());
                    if random.below(5) == 0 || pinned.as_mut().poll(&mut cx).is_ready() {
                        *select = None;
                    }
                }
            }
            for message in received.into_inner() {
                assert!(out.remove(&message) && seen.insert(message), "{message} was received twice");
            }
            for message in slots.into_iter().flatten() {
                assert!(out.remove(&message), "{message} was received, and is still here");
            }
            // What is out is in the channels.
            let inside: usize = channels.iter().map(|(tx, _)| tx.len()).sum();
            assert_eq!(inside, out.len());
            assert!(channels.iter().all(|(tx, _)| tx.stats().waiting_send + tx.stats().waiting_recv <= 8));
        }
        for (_, rx) in &channels {
            rx.try_iter().for_each(|message| assert!(out.remove(&message)));
        }
        assert!(out.is_empty() && !seen.is_empty());
    }
}

/// Everybody sends and receives at once, by selects alone, on threads.
#[test]
fn threads_that_only_select() {
    const EACH: usize = 1_000;
    let (ping, from_ping) = rendezvous();
    let (pong, from_pong) = bounded(1);
    let threads: Vec<_> = (0..4)
        .map(|number| {
            let (ping, from_ping) = (ping.clone(), from_ping.clone());
            let (pong, from_pong) = (pong.clone(), from_pong.clone());
            thread::spawn(move || {
                let (mut sent, mut received) = (0, Vec::new());
                let mut message = Some(number * EACH);
                while sent < EACH {
                    let select = Select::new()
                        .recv(&from_ping, |got| Some(got.unwrap()))
                        .recv(&from_pong, |got| Some(got.unwrap()));
                    let got = match sent % 2 {
                        0 => select.send(&ping, &mut message, |_| None).select_blocking(),
                        _ => block_on(select.send(&pong, &mut message, |_| None)),
                    };
                    received.extend(got);
                    if message.is_none() {
                        sent += 1;
                        message = (sent < EACH).then_some(number * EACH + sent);
                    }
                }
                (number, received, from_ping, from_pong)
            })
        })
        .collect();
    drop((ping, pong));
    // Those who are done do not receive any more; what the others still send, we do.
    let mut all = Vec::new();
    let next = || Select::new().recv(&from_ping, Result::ok).recv(&from_pong, Result::ok).select_blocking();
    while let Some(message) = next() {
        all.push(message);
    }
    all.extend(from_ping.iter().chain(from_pong.iter()));
    for thread in threads {
        all.extend(thread.join().unwrap().1);
    }
    all.sort_unstable();
    assert_eq!(all, (0..4 * EACH).collect::<Vec<_>>());
}

/// An invitation that comes when another has done our part already is not ours to keep.
#[test]
fn an_invitation_that_comes_too_late_passes_on() {
    let ((tx, one), (to, two)) = (bounded(1), rendezvous());
    let (wakes, waker) = Wakes::new();
    let mut select = pin!(Select::new().recv(&one, Result::unwrap).recv(&two, Result::unwrap).biased());
    let mut behind = pin!(one.recv());
    assert!(poll_with(select.as_mut(), Waker::noop()).is_pending());
    assert!(poll_with(behind.as_mut(), &waker).is_pending());
    // While the select looks at its first case, another does the second, and the first becomes possible.
    let evil = Evil::new([Moment::Clone], 1, move || {
        to.try_send(1).unwrap();
        tx.try_send(2).unwrap();
    });
    assert_eq!(poll_with(select.as_mut(), &evil.waker()), Poll::Ready(1));
    assert_eq!((evil.deeds(), wakes.count()), (1, 1));
    assert_eq!(poll_with(behind.as_mut(), &waker), Poll::Ready(Ok(2)));
}
