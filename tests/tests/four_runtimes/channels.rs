//! Channels, in each world.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};

use filch::channel::{
    Receiver, Select, bounded, broadcast, mpsc, oneshot, rendezvous, spsc, unbounded, watch,
};

use crate::worlds::{Crew, at_most, everywhere};

const EACH: usize = 400;

#[test]
fn messages_arrive_once_and_in_order() {
    everywhere(|crew| {
        let kinds = [
            (bounded(1), Giving::Up),
            (bounded(16), Giving::Up),
            (unbounded(), Giving::Up),
            (rendezvous(), Giving::Nothing),
            (rendezvous(), Giving::UpAndOrderToo),
        ];
        for ((tx, rx), giving) in kinds {
            for sender in 0..3 {
                let tx = tx.clone();
                crew.task(async move {
                    for number in 0..EACH {
                        tx.send((sender, number)).await.unwrap();
                    }
                });
            }
            crew.thread(move || (0..EACH).for_each(|number| tx.send_blocking((3, number)).unwrap()));
            receive(crew, rx, 4, giving);
        }
    });
}

/// What one of the receivers does now and then.
#[derive(Clone, Copy, PartialEq)]
enum Giving {
    Nothing,
    Up,
    /// Where a message was handed to a receive that is dropped, the next one gets it, who may have had a later one of
    /// the same sender before.
    UpAndOrderToo,
}

/// Three tasks and a thread take it all. One of them gives up now and then, which loses nothing.
fn receive(crew: &Crew<'_>, rx: Receiver<(usize, usize)>, senders: usize, giving: Giving) {
    let (count, sum) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    let seen = move |count: &AtomicUsize, sum: &AtomicUsize, last: &mut [Option<usize>], message| {
        let (sender, number): (usize, usize) = message;
        let in_order = last[sender] < Some(number) || giving == Giving::UpAndOrderToo;
        assert!(in_order, "{sender} sent {number} before {:?}", last[sender]);
        last[sender] = Some(number);
        count.fetch_add(1, SeqCst);
        sum.fetch_add(number, SeqCst);
    };
    for receiver in 0..3 {
        let (rx, count, sum) = (rx.clone(), count.clone(), sum.clone());
        crew.task(async move {
            let (mut last, mut round, mut batch) = (vec![None; senders], 0, Vec::new());
            loop {
                round += 1;
                let ended = match receiver {
                    0 if giving != Giving::Nothing => match at_most(round % 3, rx.recv()).await {
                        Some(Ok(message)) => {
                            batch.push(message);
                            false
                        }
                        Some(Err(_)) => true,
                        None => false,
                    },
                    1 => rx.recv_many(&mut batch, 4).await == 0,
                    _ => rx.recv().await.map(|message| batch.push(message)).is_err(),
                };
                batch.drain(..).for_each(|message| seen(&count, &sum, &mut last, message));
                if ended {
                    break;
                }
            }
        });
    }
    let (counts, sums) = (count.clone(), sum.clone());
    crew.thread(move || {
        let mut last = vec![None; senders];
        while let Ok(message) = rx.recv_blocking() {
            seen(&counts, &sums, &mut last, message);
        }
    });
    crew.join();
    assert_eq!(count.load(SeqCst), senders * EACH);
    assert_eq!(sum.load(SeqCst), senders * (EACH * (EACH - 1) / 2));
}

/// Ends that are not shared: the one receiver, a task, sees each sender's messages in order.
#[test]
fn the_only_receiver_sees_all_in_order() {
    everywhere(|crew| {
        for (tx, mut rx) in [mpsc::bounded(4), mpsc::unbounded()] {
            for sender in 0..2 {
                let tx = tx.clone();
                crew.task(async move {
                    for number in 0..EACH {
                        tx.send((sender, number)).await.unwrap();
                    }
                });
            }
            crew.thread(move || (0..EACH).for_each(|number| tx.send_blocking((2, number)).unwrap()));
            crew.task(async move {
                let (mut next, mut round) = ([0; 3], 0);
                loop {
                    round += 1;
                    match at_most(round % 3, rx.recv()).await {
                        Some(Ok((sender, number))) => {
                            let next: &mut usize = &mut next[sender];
                            assert_eq!(number, *next);
                            *next += 1;
                        }
                        Some(Err(_)) => break,
                        None => {}
                    }
                }
                assert_eq!(next, [EACH; 3]);
            });
        }
        // A task sends, a thread receives.
        for (mut tx, mut rx) in [spsc::bounded(2), spsc::unbounded()] {
            crew.task(async move {
                for number in 0..EACH {
                    tx.send(number).await.unwrap();
                }
            });
            crew.thread(move || {
                (0..EACH).for_each(|number| assert_eq!(rx.recv_blocking(), Ok(number)));
                assert!(rx.recv_blocking().is_err());
            });
        }
    });
}

#[test]
fn one_of_two_channels_is_selected() {
    everywhere(|crew| {
        let ((tx, one), (to, two)) = (bounded(2), rendezvous());
        let (blocks, other) = (tx.clone(), to.clone());
        crew.task(async move {
            for number in 0..EACH {
                tx.send(number).await.unwrap()
            }
        });
        crew.task(async move {
            for number in 0..EACH {
                to.send(number).await.unwrap()
            }
        });
        // One who offers to both.
        crew.task(async move {
            for number in 0..EACH {
                let (mut first, mut second) = (Some(number), Some(number));
                Select::new()
                    .send(&blocks, &mut first, |sent| sent.unwrap())
                    .send(&other, &mut second, |sent| sent.unwrap())
                    .await;
                assert!(first.is_none() != second.is_none(), "one was sent");
            }
        });
        let sum = Arc::new(AtomicUsize::new(0));
        for receiver in 0..2 {
            let (one, two, sum) = (one.clone(), two.clone(), sum.clone());
            crew.task(async move {
                let mut round = receiver;
                loop {
                    round += 1;
                    let select = Select::new().recv(&one, Result::ok).recv(&two, Result::ok);
                    match at_most(round % 3, select).await {
                        Some(Some(number)) => drop(sum.fetch_add(number, SeqCst)),
                        Some(None) => break,
                        None => {}
                    }
                }
                // One of them has ended.
                while let Ok(number) = one.recv().await {
                    sum.fetch_add(number, SeqCst);
                }
                while let Ok(number) = two.recv().await {
                    sum.fetch_add(number, SeqCst);
                }
            });
        }
        let counts = sum.clone();
        crew.thread(move || {
            while let Some(number) =
                Select::new().recv(&one, Result::ok).recv(&two, Result::ok).select_blocking()
            {
                counts.fetch_add(number, SeqCst);
            }
        });
        crew.join();
        assert_eq!(sum.load(SeqCst), 3 * (EACH * (EACH - 1) / 2));
    });
}

#[test]
fn what_is_reserved_is_sent_or_given_back() {
    everywhere(|crew| {
        let (tx, rx) = bounded(2);
        for sender in 0..3 {
            let tx = tx.clone();
            crew.task(async move {
                let mut sent = 0;
                while sent < EACH {
                    // Every other permit is dropped, and some are not waited for.
                    if let Some(permit) = at_most(sent % 3, tx.reserve()).await {
                        permit.unwrap().send((sender, sent));
                        sent += 1;
                    }
                    drop(tx.reserve().await.unwrap());
                }
            });
        }
        crew.thread(move || (0..EACH).for_each(|number| tx.send_blocking((3, number)).unwrap()));
        receive(crew, rx, 4, Giving::Up);
    });
}

#[test]
fn questions_are_answered() {
    everywhere(|crew| {
        let (ask, asked) = bounded::<(usize, oneshot::Sender<usize>)>(2);
        let blocks = ask.clone();
        for _ in 0..3 {
            let ask = ask.clone();
            crew.task(async move {
                for number in 0..EACH {
                    let (tx, mut rx) = oneshot::channel();
                    ask.send((number, tx)).await.unwrap();
                    // Whoever looks away for a moment finds the answer later.
                    let answer = match at_most(number % 2, &mut rx).await {
                        Some(answer) => answer,
                        None => rx.await,
                    };
                    assert_eq!(answer, Ok(2 * number));
                }
            });
        }
        drop(ask);
        crew.thread(move || {
            for number in 0..EACH {
                let (tx, rx) = oneshot::channel();
                blocks.send_blocking((number, tx)).unwrap();
                assert_eq!(rx.recv_blocking(), Ok(2 * number));
            }
        });
        crew.task(async move {
            while let Ok((number, tx)) = asked.recv().await {
                tx.send(2 * number).unwrap();
            }
        });
    });
}

#[test]
fn everybody_sees_the_last_value() {
    everywhere(|crew| {
        let (tx, rx) = watch::channel(0);
        for watcher in 0..3 {
            let mut rx = rx.clone();
            crew.task(async move {
                let (mut last, mut round) = (0, watcher);
                while last < EACH {
                    round += 1;
                    if let Some(Err(_)) = at_most(round % 3, rx.changed()).await {
                        assert_eq!(*rx.borrow(), EACH, "the end comes after the last value");
                    }
                    let now = *rx.borrow_and_update();
                    assert!(now >= last);
                    last = now;
                }
            });
        }
        let mut blocks = rx;
        crew.thread(move || assert_eq!(*blocks.wait_for_blocking(|value| *value == EACH).unwrap(), EACH));
        crew.task(async move { (1..=EACH).for_each(|value| tx.send(value).unwrap()) });
    });
}

#[test]
fn everybody_hears_what_is_broadcast() {
    everywhere(|crew| {
        let (tx, _) = broadcast::channel(EACH);
        for listener in 0..3 {
            let mut rx = tx.subscribe();
            crew.task(async move {
                for number in 0..EACH {
                    let heard = match at_most((listener + number) % 2, rx.recv()).await {
                        Some(heard) => heard,
                        None => rx.recv().await,
                    };
                    assert_eq!(heard, Ok(number));
                }
            });
        }
        let mut rx = tx.subscribe();
        crew.thread(move || (0..EACH).for_each(|number| assert_eq!(rx.recv_blocking(), Ok(number))));
        crew.task(async move {
            for number in 0..EACH {
                tx.send(number).unwrap();
            }
            // They leave when they have heard all.
            tx.closed().await;
        });
    });
}
