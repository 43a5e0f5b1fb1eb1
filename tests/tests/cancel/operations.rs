//! Each operation of the runtime, dropped at each of its polls: what it took is given back, what it asked for
//! is not lost.

use super::*;

/// Runs `test` in each flavour.
fn everywhere(test: impl AsyncFn() + Copy + Send + 'static) {
    watched(move || {
        for runtime in [single(), workers(1), workers(2)] {
            runtime.block_on(test());
        }
    });
}

/// As the harness; where only this thread runs tasks, the operation must have waited at least once.
async fn at_every_await(round: impl AsyncFnMut(Cut) -> bool) {
    let polls = cancel_at_every_await(round).await;
    let alone = filch::Handle::current().metrics().workers == 0;
    assert!(polls > 1 || !alone, "it was ready at once, so nothing was cancelled");
}

async fn yields(times: usize) {
    for _ in 0..times {
        filch::yield_now().await;
    }
}

#[test]
fn a_join_that_is_dropped_leaves_the_output() {
    everywhere(async || {
        at_every_await(async |cut| {
            let mut handle = filch::spawn(async {
                yields(3).await;
                6
            });
            match cut.run(&mut handle).await {
                Some(output) => {
                    assert_eq!(output.unwrap(), 6);
                    true
                }
                None => {
                    assert_eq!(handle.await.unwrap(), 6);
                    false
                }
            }
        })
        .await;
    });
}

#[test]
fn a_sleep_that_is_dropped_is_gone() {
    everywhere(async || {
        at_every_await(async |cut| {
            let ready = cut.run(sleep(Duration::from_micros(300))).await.is_some();
            // Its waker is not called any more: this task would not notice, but the next timer must be the right one.
            sleep(Duration::from_micros(300)).await;
            ready
        })
        .await;
    });
}

#[test]
fn a_timeout_that_is_dropped_drops_what_is_in_it() {
    everywhere(async || {
        let (drops, mut rounds) = (Drops::new(), 0);
        at_every_await(async |cut| {
            let token = drops.token();
            let inner = async move {
                let _token = token;
                pending::<()>().await;
            };
            rounds += 1;
            let ready = cut.run(timeout(Duration::from_micros(300), inner)).await;
            assert_eq!(drops.count(), rounds);
            ready.inspect(|result| assert!(result.is_err())).is_some()
        })
        .await;
    });
}

#[test]
fn yields_that_are_dropped_leave_no_trace() {
    everywhere(async || at_every_await(async |cut| cut.run(yields(4)).await.is_some()).await);
}

#[test]
fn a_blocking_job_whose_join_is_dropped_runs_and_keeps_its_output() {
    everywhere(async || {
        at_every_await(async |cut| {
            let (open, gate) = mpsc::channel();
            let mut handle = filch::spawn_blocking(move || {
                gate.recv().unwrap();
                7
            });
            let feeder = filch::spawn(async move {
                yields(2).await;
                open.send(()).unwrap();
            });
            let output = cut.run(&mut handle).await;
            feeder.await.unwrap();
            let ready = output.is_some();
            let output = match output {
                Some(output) => output,
                None => handle.await,
            };
            assert_eq!(output.unwrap(), 7);
            ready
        })
        .await;
    });
}

#[test]
fn an_acquire_that_is_dropped_takes_no_permit() {
    everywhere(async || {
        for fair in [false, true] {
            let semaphore = Arc::new(if fair { Semaphore::fair(3) } else { Semaphore::new(3) });
            at_every_await(async |cut| {
                let taken = semaphore.clone().acquire_many_owned(2).await.unwrap();
                let giver = filch::spawn(async move {
                    yields(2).await;
                    drop(taken);
                });
                let ready = cut.run(semaphore.acquire_many(3)).await.map(Result::unwrap).is_some();
                giver.await.unwrap();
                assert_eq!(semaphore.available_permits(), 3);
                ready
            })
            .await;
        }
    });
}

#[test]
fn a_granted_acquire_that_is_dropped_passes_the_grant_on() {
    everywhere(async || {
        let semaphore = Arc::new(Semaphore::fair(1));
        at_every_await(async |cut| {
            let taken = semaphore.clone().acquire_owned().await.unwrap();
            let waiting = semaphore.clone();
            let next = filch::spawn(async move {
                yields(1).await;
                let _permit = waiting.acquire().await.unwrap();
            });
            let giver = filch::spawn(async move {
                yields(3).await;
                drop(taken);
            });
            let ready = cut.run(semaphore.acquire()).await.map(Result::unwrap).is_some();
            next.await.unwrap();
            giver.await.unwrap();
            assert_eq!(semaphore.available_permits(), 1);
            ready
        })
        .await;
    });
}

#[test]
fn a_notification_of_a_dropped_waiter_goes_to_the_next_or_is_stored() {
    everywhere(async || {
        at_every_await(async |cut| {
            let notify = Arc::new(Notify::new());
            let notifies = notify.clone();
            let notifier = filch::spawn(async move {
                yields(2).await;
                notifies.notify_one();
            });
            let ready = cut.run(notify.notified()).await.is_some();
            notifier.await.unwrap();
            let mut again = std::pin::pin!(notify.notified());
            let stored = filch_tests::poll_once(&mut again).await.is_some();
            assert!(ready != stored, "one notification is seen once: ready {ready}, stored {stored}");
            ready
        })
        .await;
    });
}

#[test]
fn a_lookup_that_is_dropped_leaves_the_pool_usable() {
    everywhere(async || {
        cancel_at_every_await(async |cut| {
            let found = cut.run(filch::net::lookup_host("localhost:80")).await;
            found.inspect(|found| assert!(found.is_ok(), "localhost has an address")).is_some()
        })
        .await;
        assert_eq!(filch::spawn_blocking(|| 1).await.unwrap(), 1);
    });
}

#[test]
fn an_accept_that_is_dropped_loses_no_connection() {
    everywhere(async || {
        let listener = filch::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        at_every_await(async |cut| {
            let client = filch::spawn(async move {
                yields(2).await;
                filch::net::TcpStream::connect(address).await.unwrap()
            });
            let accepted = cut.run(listener.accept()).await;
            let ready = accepted.is_some();
            let (_, peer) = match accepted {
                Some(accepted) => accepted.unwrap(),
                None => listener.accept().await.unwrap(),
            };
            assert_eq!(client.await.unwrap().local_addr().unwrap(), peer);
            ready
        })
        .await;
    });
}

#[test]
fn a_read_that_is_dropped_loses_no_byte() {
    everywhere(async || {
        let (ours, theirs) = filch::net::UnixDatagram::pair().unwrap();
        let theirs = Arc::new(theirs);
        at_every_await(async |cut| {
            let sends = theirs.clone();
            let sender = filch::spawn(async move {
                yields(2).await;
                sends.send(b"ping").await.unwrap();
            });
            let mut buf = [0; 8];
            let read = cut.run(ours.recv(&mut buf)).await;
            let ready = read.is_some();
            let count = match read {
                Some(count) => count.unwrap(),
                None => ours.recv(&mut buf).await.unwrap(),
            };
            assert_eq!(&buf[..count], b"ping");
            sender.await.unwrap();
            ready
        })
        .await;
    });
}

#[test]
fn a_wake_between_polls_of_a_task_is_not_lost_when_its_operation_changes() {
    everywhere(async || {
        let notify = Arc::new(Notify::new());
        let notifies = notify.clone();
        let notifier = filch::spawn(async move {
            for _ in 0..200 {
                notifies.notify_one();
                filch::yield_now().await;
            }
        });
        let mut seen = 0;
        while !notifier.is_finished() {
            seen += usize::from(timeout(Duration::ZERO, notify.notified()).await.is_ok());
            filch::spawn(yields(1)).await.unwrap();
        }
        seen += usize::from(timeout(Duration::ZERO, notify.notified()).await.is_ok());
        assert!((1..=200).contains(&seen), "{seen}");
        notifier.await.unwrap();
    });
}
