//! Scenarios of wakers, primitives, generators and options.

use std::cell::RefCell;
use std::future::{pending, poll_fn};
use std::pin::{Pin, pin};
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::sync::{Arc, Mutex};
use std::task::{Poll, Waker};

use filch::channel::{bounded, broadcast, unbounded};
use filch::stream::StreamExt;
use filch::sync::{Condition, Lock, Notify};
use filch::testing::{Wakes, poll_with};
use filch::time::{Duration, sleep};
use filch::{Builder, generator, wait_for};
use filch_tests::{single, until, watched, workers};

/// The waker of the task that awaits this.
async fn own_waker() -> Waker {
    poll_fn(|cx| Poll::Ready(cx.waker().clone())).await
}

fn wake_in_every_way(waker: &Waker) {
    waker.wake_by_ref();
    Waker::wake(waker.clone());
    drop(waker.clone());
}

#[test]
fn tk9_wakers_that_outlive_task_runtime_and_thread_locals_do_nothing() {
    thread_local! {
        static LAST: RefCell<Option<WakesWhenDropped>> = const { RefCell::new(None) };
    }
    struct WakesWhenDropped(Vec<Waker>);
    impl Drop for WakesWhenDropped {
        fn drop(&mut self) {
            self.0.iter().for_each(wake_in_every_way);
        }
    }
    watched(|| {
        for runtime in [single(), workers(2)] {
            let (ended, cut) = (Arc::new(Mutex::new(None)), Arc::new(Mutex::new(None)));
            let (one, two) = (ended.clone(), cut.clone());
            let first = runtime.spawn(async move { *one.lock().unwrap() = Some(own_waker().await) });
            let second = runtime.spawn(async move {
                *two.lock().unwrap() = Some(own_waker().await);
                pending::<()>().await
            });
            runtime.block_on(async { first.await.unwrap() });
            runtime.block_on(async { filch_tests::until_yielding(|| cut.lock().unwrap().is_some()).await });
            let take = |slot: &Mutex<Option<Waker>>| slot.lock().unwrap().take().unwrap();
            let wakers = vec![take(&ended), take(&cut)];
            wake_in_every_way(&wakers[0]);
            let report = runtime.shutdown(Duration::from_secs(30));
            assert_eq!((report.cancelled, report.abandoned.len()), (1, 0));
            assert!(second.join_blocking().unwrap_err().is_cancelled());
            wakers.iter().for_each(wake_in_every_way);
            // On a thread that never saw the runtime, while its thread-locals go.
            std::thread::spawn(move || LAST.set(Some(WakesWhenDropped(wakers)))).join().unwrap();
        }
    });
}

#[test]
fn cv2_of_eight_that_are_notified_each_that_stays_returns_once() {
    // Each of the eight may go after any number of polls between the notification and its return.
    for seed in 0..200_u64 {
        let runtime = Builder::new().paused_clock(seed).build().unwrap();
        let shared = Arc::new((Lock::new(0_usize), Condition::new()));
        let (waiting, returned) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
        runtime.block_on(async {
            let tasks: Vec<_> = (0..8)
                .map(|_| {
                    let (shared, waiting, returned) = (shared.clone(), waiting.clone(), returned.clone());
                    filch::spawn(async move {
                        let guard = shared.0.lock().await;
                        waiting.fetch_add(1, SeqCst);
                        let mut guard = shared.1.wait(guard).await;
                        *guard += 1;
                        returned.fetch_add(1, SeqCst);
                        // The lock is held over a turn of the others, so that they wait for it, too.
                        filch::yield_now().await;
                    })
                })
                .collect();
            filch_tests::until_yielding(|| waiting.load(SeqCst) == 8).await;
            let guard = shared.0.lock().await;
            assert_eq!(shared.1.notify_all(), 8);
            for _ in 0..seed % 5 {
                filch::yield_now().await;
            }
            drop(guard);
            for (number, task) in tasks.iter().enumerate() {
                if seed >> number & 1 == 1 {
                    task.abort();
                    for _ in 0..seed % 3 {
                        filch::yield_now().await;
                    }
                }
            }
            let (mut stayed, mut went) = (0, 0);
            for task in tasks {
                *(if task.await.is_ok() { &mut stayed } else { &mut went }) += 1;
            }
            assert!(stayed >= 8 - (seed as u8).count_ones() as usize && stayed + went == 8);
            // Those that were aborted after their return have returned, and once only, too.
            let count = returned.load(SeqCst);
            assert!((stayed..=8).contains(&count) && *shared.0.lock().await == count, "{count} of {stayed}");
        });
        assert!(!shared.1.notify_one(), "nobody is left in line");
    }
}

#[test]
fn bc2_a_thousand_receivers_are_woken_once_for_each_message() {
    let (tx, rx) = broadcast::channel(16);
    let mut all: Vec<_> = (0..1_000).map(|_| rx.resubscribe()).collect();
    drop(rx);
    let wakes: Vec<_> = all.iter().map(|_| Wakes::new()).collect();
    for round in 0..100 {
        let mut waits: Vec<_> = all.iter_mut().map(|rx| Box::pin(rx.recv())).collect();
        for (wait, (_, waker)) in waits.iter_mut().zip(&wakes) {
            assert!(poll_with(wait.as_mut(), waker).is_pending());
        }
        assert_eq!(tx.send(round), Ok(1_000));
        for (wait, (counter, waker)) in waits.iter_mut().zip(&wakes) {
            assert_eq!(counter.count(), round + 1);
            assert_eq!(poll_with(wait.as_mut(), waker), Poll::Ready(Ok(round)));
        }
        assert_eq!(tx.len(), 0, "what everybody has is gone");
    }
}

#[test]
fn ch6_a_worker_may_block_in_a_channel_while_its_neighbours_feed_it() {
    watched(|| {
        // One worker: while its task blocks, what feeds it must run elsewhere.
        let runtime = workers(1);
        let (tx, rx) = bounded(1);
        let (answer, answers) = unbounded();
        let asks = runtime.spawn(async move {
            filch::spawn(async move {
                for number in 0..100 {
                    tx.send(number).await.unwrap();
                }
            });
            for _ in 0..100 {
                answer.send_blocking(rx.recv_blocking().unwrap()).unwrap();
            }
            rx.recv_timeout(Duration::MAX).unwrap_err();
        });
        asks.join_blocking().unwrap();
        assert_eq!(answers.iter().collect::<Vec<i32>>(), (0..100).collect::<Vec<_>>());
    });
}

#[test]
fn ge2_an_item_that_is_emitted_under_a_lock_leaves_it_locked_until_the_next() {
    let lock = Lock::new(0);
    let mut numbers = generator(async |mut out| {
        for number in 0..3 {
            let mut guard = lock.lock().await;
            *guard = number;
            out.emit(number).await;
        }
    });
    Builder::new().paused_clock(5).build().unwrap().block_on(async {
        for number in 0..3 {
            assert_eq!(numbers.next().await, Some(number));
            assert!(lock.try_lock().is_err());
            assert!(wait_for(lock.lock(), Duration::from_secs(1)).await.is_err());
        }
        assert_eq!(numbers.next().await, None);
        assert_eq!(*wait_for(lock.lock(), Duration::from_secs(1)).await.unwrap(), 2);
    });
}

#[test]
fn ge2_two_generators_in_turns_keep_their_own_items() {
    let make = |from: u32| {
        generator(async move |mut out| {
            for number in from..from + 100 {
                out.emit(number).await;
                sleep(Duration::from_nanos(u64::from(number % 3))).await;
            }
        })
    };
    Builder::new().paused_clock(6).build().unwrap().block_on(async {
        let (mut one, mut two) = (pin!(make(0)), pin!(make(1_000)));
        for number in 0..100 {
            assert_eq!((one.next().await, two.next().await), (Some(number), Some(1_000 + number)));
        }
        assert_eq!((one.next().await, two.next().await), (None, None));
    });
}

#[test]
fn ov1_a_bounded_channel_holds_no_more_than_it_may_whoever_is_faster() {
    watched(|| {
        let runtime = workers(2);
        let (tx, rx) = bounded(64);
        let sender = runtime.spawn(async move {
            let mut refused = 0_u32;
            for number in 0..50_000_u32 {
                if let Err(error) = tx.try_send(number) {
                    refused += 1;
                    tx.send(error.into_inner()).await.unwrap();
                }
            }
            refused
        });
        let mut expected = 0;
        runtime.block_on(async {
            // Nothing is taken until the sender has been refused, so it was.
            filch_tests::until_yielding(|| rx.is_full()).await;
            while let Ok(number) = rx.recv().await {
                assert!(number == expected && rx.len() <= 64);
                expected += 1;
            }
        });
        assert_eq!(expected, 50_000);
        assert!(sender.join_blocking().unwrap() > 0);
        assert_eq!(rx.stats().peak, 64);
    });
}

#[test]
fn ov2_options_commute() {
    type Option = fn(Builder) -> Builder;
    let options: [Option; 4] = [
        |builder| builder.workers(1),
        |builder| builder.name("same"),
        |builder| builder.blocking_threads(3),
        |builder| builder.paused_clock(9),
    ];
    let wrong: [Option; 3] =
        [|builder| builder.workers(0), |builder| builder.name("a\0b"), |builder| builder.paused_clock(9)];
    for first in 0..24_usize {
        // A permutation by its number.
        let (mut left, mut order) = ((0..4).collect::<Vec<usize>>(), Vec::new());
        [6, 2, 1, 1].iter().fold(first, |rest, each| {
            order.push(left.remove(rest / each));
            rest % each
        });
        let built = |all: &[Option], order: &[usize]| {
            order.iter().filter(|&&n| n < all.len()).fold(Builder::new(), |b, &n| all[n](b)).build()
        };
        let runtime = built(&options, &order).unwrap();
        // Virtual time, whichever came last.
        runtime.block_on(sleep(Duration::from_secs(1 << 30)));
        assert_eq!(built(&wrong, &order).map(drop).unwrap_err().kind(), std::io::ErrorKind::InvalidInput);
    }
}

#[test]
fn tk4_a_handle_that_moves_between_tasks_wakes_the_last_that_polled_it() {
    watched(|| {
        let runtime = workers(2);
        let go = Arc::new(Notify::new());
        let started = go.clone();
        let mut handle = runtime.spawn(async move { started.notified().await });
        let (first, one) = Wakes::new();
        let (second, two) = Wakes::new();
        assert!(poll_with(Pin::new(&mut handle), &one).is_pending());
        assert!(poll_with(Pin::new(&mut handle), &two).is_pending());
        go.notify_one();
        second.wait_for(1);
        until(|| handle.is_finished());
        assert_eq!((first.count(), second.count()), (0, 1));
        assert!(poll_with(Pin::new(&mut handle), &two).is_ready());
    });
}

#[test]
fn wf2_a_permit_is_neither_lost_nor_doubled_whenever_the_deadline_comes() {
    // The deadline comes at every nanosecond between the first poll and the last release.
    for limit in 0..8 {
        Builder::new().paused_clock(limit).build().unwrap().block_on(async {
            let semaphore = Arc::new(filch::sync::Semaphore::new(0));
            let adds = semaphore.clone();
            let gives = filch::spawn(async move {
                for _ in 0..4 {
                    sleep(Duration::from_nanos(1)).await;
                    adds.add_permits(1);
                }
            });
            let got = wait_for(semaphore.acquire_many(3), Duration::from_nanos(limit)).await;
            gives.await.unwrap();
            let held = if let Ok(Ok(permit)) = got {
                permit.forget();
                3
            } else {
                0
            };
            assert_eq!(semaphore.available_permits() + held, 4);
        });
    }
}

#[test]
fn ch5_lengths_are_exact_at_each_boundary_and_polls_in_vain_leave_nothing() {
    watched(|| {
        for room in [1, 2, 3, 31, 32, 33, 64, 100] {
            let (tx, rx) = bounded::<usize>(room);
            for round in 0..3 {
                assert_eq!((rx.len(), rx.is_empty(), tx.is_full()), (0, true, false));
                for sent in 0..room {
                    tx.try_send(round * room + sent).unwrap();
                    assert_eq!((tx.len(), tx.is_full()), (sent + 1, sent + 1 == room));
                }
                assert!(tx.try_send(usize::MAX).is_err());
                for got in 0..room {
                    assert_eq!((rx.len(), rx.try_recv().unwrap()), (room - got, round * room + got));
                }
            }
            assert!(rx.try_recv().is_err());
        }
        let (tx, rx) = unbounded::<usize>();
        for polls in 0..1_000_000 {
            let mut receive = pin!(rx.recv());
            assert!(poll_with(receive.as_mut(), Waker::noop()).is_pending());
            if polls % 100_000 == 0 {
                assert_eq!((rx.len(), rx.stats().waiting_recv), (0, 1));
            }
        }
        assert_eq!((rx.len(), rx.stats().waiting_recv), (0, 0));
        tx.try_send(1).unwrap();
        assert_eq!((rx.len(), rx.try_recv().unwrap()), (1, 1));
    });
}
