//! The promise: tasks and threads share every kind of channel, each message reaches one receiver, and dropping a
//! send or a receive, at whatever point, loses none.

use std::time::Duration;

use filch::channel::error::{RecvTimeoutError, TryRecvError, TrySendError};
use filch::channel::{self, Builder, Overflow, Receiver, Sender, State, mpsc, spsc};
use filch::testing::cancel_at_every_await;
use filch_tests::{Drops, single, until, watched, workers};

const EACH: usize = 500;

/// Each kind of channel with many ends.
fn kinds() -> [(Sender<usize>, Receiver<usize>); 4] {
    [channel::bounded(1), channel::bounded(16), channel::unbounded(), channel::rendezvous()]
}

#[test]
fn ch4_tasks_and_threads_share_the_ends() {
    watched(|| {
        for (tx, rx) in kinds() {
            workers(2).block_on(async {
                let mut tasks = Vec::new();
                let mut threads = Vec::new();
                for sender in 0..2 {
                    let (in_task, on_thread) = (tx.clone(), tx.clone());
                    tasks.push(filch::spawn(async move {
                        for number in 0..EACH {
                            in_task.send(sender * EACH + number).await.unwrap();
                        }
                        Vec::new()
                    }));
                    threads.push(std::thread::spawn(move || {
                        for number in 0..EACH {
                            on_thread.send_blocking((sender + 2) * EACH + number).unwrap();
                        }
                        Vec::new()
                    }));
                    let (in_task, on_thread) = (rx.clone(), rx.clone());
                    tasks.push(filch::spawn(async move {
                        let mut got = Vec::new();
                        while let Ok(number) = in_task.recv().await {
                            got.push(number);
                        }
                        got
                    }));
                    threads.push(std::thread::spawn(move || on_thread.iter().collect()));
                }
                drop((tx, rx));
                let mut all = Vec::new();
                for task in tasks {
                    all.extend(task.await.unwrap());
                }
                for thread in threads {
                    all.extend(thread.join().unwrap());
                }
                all.sort_unstable();
                assert_eq!(all, (0..4 * EACH).collect::<Vec<_>>());
            });
        }
    });
}

#[test]
fn ch4_messages_of_one_sender_stay_in_order() {
    watched(|| {
        for (tx, rx) in kinds() {
            workers(2).block_on(async {
                let sender = filch::spawn(async move {
                    for number in 0..EACH {
                        tx.send(number).await.unwrap();
                    }
                });
                for number in 0..EACH {
                    assert_eq!(rx.recv().await, Ok(number));
                }
                sender.await.unwrap();
                assert_eq!((rx.try_recv(), rx.stats().state), (Err(TryRecvError::Closed), State::Closed));
            });
        }
    });
}

#[test]
fn typed_ends_cross_threads() {
    watched(|| {
        for (mut tx, mut rx) in [spsc::bounded(4), spsc::unbounded()] {
            let sender = std::thread::spawn(move || (0..EACH).for_each(|n| tx.send_blocking(n).unwrap()));
            workers(1).block_on(async {
                for number in 0..EACH {
                    assert_eq!(rx.recv().await, Ok(number));
                }
                assert!(rx.recv().await.is_err());
            });
            sender.join().unwrap();
        }
        for (tx, mut rx) in [mpsc::bounded(4), mpsc::unbounded()] {
            workers(2).block_on(async {
                for _ in 0..4 {
                    let tx = tx.clone();
                    filch::spawn(async move {
                        for number in 0..EACH {
                            tx.send(number).await.unwrap();
                        }
                    });
                }
                drop(tx);
                let mut sum = 0;
                while let Ok(number) = rx.recv().await {
                    sum += number;
                }
                assert_eq!(sum, 4 * (EACH * (EACH - 1) / 2));
            });
        }
    });
}

#[test]
fn a_receive_dropped_anywhere_loses_nothing() {
    watched(|| {
        single().block_on(async {
            for (tx, rx) in kinds() {
                let report = cancel_at_every_await(async |trial| {
                    let before = rx.stats().received;
                    let from = tx.clone();
                    let sender = filch::spawn(async move { from.send(7).await });
                    let got = trial.run(rx.recv()).await;
                    // Whoever comes next finds it, unless we did.
                    let got = match got {
                        Some(got) => got,
                        None => rx.recv().await,
                    };
                    assert_eq!(got, Ok(7));
                    sender.await.unwrap().unwrap();
                    assert_eq!((rx.len(), rx.stats().received), (0, before + 1));
                })
                .await;
                assert!(report.polls() <= 2);
            }
        });
    });
}

#[test]
fn a_send_dropped_anywhere_arrives_or_is_dropped() {
    watched(|| {
        single().block_on(async {
            for kind in 0..3 {
                cancel_at_every_await(async |trial| {
                    let drops = Drops::new();
                    let (tx, rx) = match kind {
                        0 => channel::bounded(1),
                        1 => channel::unbounded(),
                        _ => channel::rendezvous(),
                    };
                    // So that it has to wait.
                    let filled = kind == 0 && tx.try_send(drops.token()).is_ok();
                    let receiver = filch::spawn(async move {
                        let mut received = 0;
                        while rx.recv().await.is_ok() {
                            received += 1;
                        }
                        received
                    });
                    let sent = trial.run(tx.send(drops.token())).await.is_some();
                    drop(tx);
                    let received = receiver.await.unwrap() - usize::from(filled);
                    // A rendezvous may have taken place before the cut.
                    assert!(received == usize::from(sent) || (kind == 2 && received == 1));
                    assert_eq!(drops.count(), 1 + usize::from(filled));
                })
                .await;
            }
        });
    });
}

#[test]
fn nobody_receives_nobody_sends() {
    watched(|| {
        for (tx, rx) in kinds() {
            let room = tx.max_capacity().min(16);
            let sending = std::thread::spawn(move || (0..).find_map(|number| tx.send_blocking(number).err()));
            until(|| rx.len() >= room);
            drop(rx);
            let refused = sending.join().unwrap().expect("it goes on until it is refused");
            assert!(refused.into_inner() >= room);
        }
        for (tx, rx) in kinds() {
            let waiting = std::thread::spawn(move || rx.recv_blocking());
            until(|| tx.stats().waiting_recv > 0);
            drop(tx);
            assert!(waiting.join().unwrap().is_err());
        }
    });
}

#[test]
fn ch6_blocking_forms_end_in_time() {
    watched(|| {
        for (tx, rx) in kinds() {
            let room = tx.capacity().min(16);
            (0..room).for_each(|number| tx.try_send(number).unwrap());
            match tx.try_send(99) {
                Err(TrySendError::Full(99)) => {
                    assert!(tx.send_timeout(99, Duration::from_millis(1)).is_err());
                }
                sent => assert!(sent.is_ok() && tx.max_capacity() == usize::MAX),
            }
            while rx.try_recv().is_ok() {}
            assert_eq!(rx.recv_timeout(Duration::from_millis(1)), Err(RecvTimeoutError::Timeout));
        }
    });
}

#[test]
fn options() {
    watched(|| {
        workers(2).block_on(async {
            let (tx, rx) = Builder::new().capacity(2).overflow(Overflow::DropOldest).build();
            for number in 0..10 {
                tx.send(number).await.unwrap();
            }
            assert_eq!(rx.drain().collect::<Vec<_>>(), [8, 9]);
            assert_eq!(rx.stats().dropped, 8);
            // A producer that heeds the marks is never far ahead.
            let (tx, rx) = Builder::new().watermarks(2..=8).build();
            let producer = filch::spawn(async move {
                for number in 0..EACH {
                    tx.resumed().await;
                    tx.try_send(number).unwrap();
                    assert!(tx.len() <= 8);
                }
            });
            for number in 0..EACH {
                assert_eq!(rx.recv().await, Ok(number));
            }
            producer.await.unwrap();
        });
    });
}
