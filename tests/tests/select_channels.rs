//! The promise: a select does exactly one of its operations, whatever the channels, in tasks and on threads; what it
//! did not do has not happened.

use std::time::Duration;

use filch::channel::{self, Receiver, Select, Sender, mpsc, spsc};
use filch::time::{sleep, timeout};
use filch_tests::{single, watched, workers};

#[test]
fn a_mix_of_channels_in_a_task() {
    watched(|| {
        workers(2).block_on(async {
            let (numbers, from_numbers) = channel::bounded(2);
            let (words, from_words) = channel::rendezvous::<String>();
            let (done, mut is_done) = spsc::bounded::<()>(1);
            let (sums, mut from_sums) = mpsc::unbounded();
            let worker = filch::spawn(async move {
                let (mut sum, mut text, mut out) = (0, String::new(), None);
                loop {
                    let stop = Select::new()
                        .recv(&from_numbers, |got| {
                            sum += got.unwrap_or(0);
                            false
                        })
                        .recv(&from_words, |got| {
                            text.push_str(&got.unwrap_or_default());
                            false
                        })
                        .send(&sums, &mut out, |sent| sent.is_err())
                        .recv(&mut is_done, |_| true)
                        .await;
                    if stop {
                        return (sum, text);
                    }
                    if sum == 6 {
                        sum += 100;
                        out = Some(sum);
                    }
                }
            });
            for number in 1..=3 {
                numbers.send(number).await.unwrap();
            }
            assert_eq!(from_sums.recv().await, Ok(106));
            for word in ["a", "b"] {
                words.send(word.to_owned()).await.unwrap();
            }
            let mut done = done;
            done.send(()).await.unwrap();
            assert_eq!(worker.await.unwrap(), (106, "ab".to_owned()));
        });
    });
}

#[test]
fn until_any_future() {
    watched(|| {
        filch::Builder::new().paused_clock(1).build().unwrap().block_on(async {
            let (tx, rx) = channel::rendezvous::<u8>();
            let start = filch::time::Instant::now();
            let late = Select::new().recv(&rx, |got| got).until(sleep(Duration::from_secs(5))).await;
            assert_eq!((late, start.elapsed()), (Err(()), Duration::from_secs(5)));
            let mut message = Some(1);
            let late = timeout(Duration::from_secs(1), Select::new().send(&tx, &mut message, |_| ())).await;
            assert!(late.is_err());
            assert_eq!((message, tx.stats().waiting_send, rx.stats().waiting_recv), (Some(1), 0, 0));
            let sender = filch::spawn(async move { tx.send(2).await });
            let got = Select::new().recv(&rx, |got| got.ok()).until(sleep(Duration::MAX)).await;
            assert_eq!((got, sender.await.unwrap()), (Ok(Some(2)), Ok(())));
        });
    });
}

#[test]
fn threads_with_a_deadline() {
    watched(|| {
        let (tx, rx) = channel::bounded::<u8>(1);
        assert!(Select::new().recv(&rx, |_| ()).try_select().is_err());
        assert!(Select::new().recv(&rx, |_| ()).select_timeout(Duration::from_millis(1)).is_err());
        let sender = std::thread::spawn(move || tx.send_blocking(1));
        assert_eq!(Select::new().recv(&rx, |got| got.unwrap()).select_timeout(Duration::MAX), Ok(1));
        sender.join().unwrap().unwrap();
        assert!(Select::new().recv(&rx, |got| got.is_err()).select_blocking());
    });
}

/// A ring of players, each of whom passes on what it gets to the next, and takes from the one before, by selects on
/// rendezvous channels alone; half of them are threads.
#[test]
fn selects_face_each_other_round_a_ring() {
    const PLAYERS: usize = 4;
    const ROUNDS: usize = 300;
    watched(|| {
        workers(2).block_on(async {
            let (mut to, mut from): (Vec<_>, Vec<_>) = (0..PLAYERS).map(|_| channel::rendezvous()).unzip();
            to.rotate_left(1);
            let mut tasks = Vec::new();
            let mut threads = Vec::new();
            for player in 0..PLAYERS {
                let (to, from): (Sender<usize>, Receiver<usize>) = (to.remove(0), from.remove(0));
                if player % 2 == 0 {
                    tasks.push(filch::spawn(async move { play(player, &to, &from, false).await }));
                } else {
                    threads.push(std::thread::spawn(move || {
                        futures_lite::future::block_on(play(player, &to, &from, true))
                    }));
                }
            }
            let mut sum = 0;
            for task in tasks {
                sum += task.await.unwrap();
            }
            for thread in threads {
                sum += thread.join().unwrap();
            }
            assert_eq!(sum, PLAYERS * ROUNDS);
        });
    });

    /// Sends and receives until it has done each `ROUNDS` times; counts what it received.
    async fn play(player: usize, to: &Sender<usize>, from: &Receiver<usize>, blocks: bool) -> usize {
        let (mut sent, mut received) = (0, 0);
        while sent < ROUNDS || received < ROUNDS {
            let mut message = (sent < ROUNDS).then_some(player);
            let select = Select::new().send(to, &mut message, |sent| {
                sent.unwrap();
                true
            });
            let did_send = if received == ROUNDS {
                if blocks { select.select_blocking() } else { select.await }
            } else {
                let select = select.recv(from, |got| {
                    got.unwrap();
                    false
                });
                if blocks { select.select_blocking() } else { select.await }
            };
            sent += usize::from(did_send);
            received += usize::from(!did_send);
        }
        received
    }
}

#[test]
fn no_case_starves() {
    watched(|| {
        single().block_on(async {
            let channels = [channel::unbounded::<usize>(), channel::unbounded()];
            for (tx, _) in &channels {
                (0..2_000).for_each(|number| tx.try_send(number).unwrap());
            }
            let [(_, a), (_, b)] = &channels;
            let mut counts = [0, 0];
            for _ in 0..1_000 {
                counts[Select::new().recv(a, |_| 0).recv(b, |_| 1).await] += 1;
            }
            assert!(counts.iter().all(|count| *count > 300), "{counts:?}");
        });
    });
}
