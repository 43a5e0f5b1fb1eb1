//! Each operation of the runtime, dropped at each of its polls: what it took is given back, what it asked for
//! is not lost.

use filch::io::AsyncReadExt;

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
async fn at_every_await(scenario: impl AsyncFnMut(Trial)) {
    let report = cancel_at_every_await(scenario).await;
    if filch::Handle::current().metrics().workers == 0 {
        report.assert_waited();
    }
}

async fn yields(times: usize) {
    for _ in 0..times {
        filch::yield_now().await;
    }
}

#[test]
fn a_join_that_is_dropped_leaves_the_output() {
    everywhere(async || {
        at_every_await(async |trial| {
            let mut handle = filch::spawn(async {
                yields(3).await;
                6
            });
            let output = match trial.run(&mut handle).await {
                Some(output) => output,
                None => handle.await,
            };
            assert_eq!(output.unwrap(), 6);
        })
        .await;
    });
}

#[test]
fn a_sleep_that_is_dropped_is_gone() {
    everywhere(async || {
        at_every_await(async |trial| {
            trial.run(sleep(Duration::from_micros(300))).await;
            // Its waker is not called any more: this task would not notice, but the next timer must be the right one.
            sleep(Duration::from_micros(300)).await;
        })
        .await;
    });
}

#[test]
fn wf2_a_timeout_that_is_dropped_drops_what_is_in_it() {
    everywhere(async || {
        let (ledger, mut rounds) = (Ledger::new(), 0);
        at_every_await(async |trial| {
            let token = ledger.message(0);
            let inner = async move {
                let _token = token;
                pending::<()>().await;
            };
            rounds += 1;
            let result = trial.run(timeout(Duration::from_micros(300), inner)).await;
            assert_eq!(ledger.drops(), rounds);
            assert!(result.is_none_or(|result| result.is_err()));
        })
        .await;
    });
}

#[test]
fn yields_that_are_dropped_leave_no_trace() {
    everywhere(async || {
        let polls = cancel_at_every_await(async |trial| {
            trial.run(yields(4)).await;
        })
        .await
        .polls();
        assert_eq!(polls, 5);
    });
}

#[test]
fn a_blocking_job_whose_join_is_dropped_runs_and_keeps_its_output() {
    everywhere(async || {
        at_every_await(async |trial| {
            let (open, gate) = mpsc::channel();
            let mut handle = filch::spawn_blocking(move || {
                gate.recv().unwrap();
                7
            });
            let feeder = filch::spawn(async move {
                yields(2).await;
                open.send(()).unwrap();
            });
            let output = trial.run(&mut handle).await;
            feeder.await.unwrap();
            let output = match output {
                Some(output) => output,
                None => handle.await,
            };
            assert_eq!(output.unwrap(), 7);
        })
        .await;
    });
}

#[test]
fn a_lookup_that_is_dropped_leaves_the_pool_usable() {
    everywhere(async || {
        cancel_at_every_await(async |trial| {
            let found = trial.run(filch::net::lookup_host("localhost:80")).await;
            assert!(found.is_none_or(|found| found.is_ok()), "localhost has an address");
        })
        .await;
        assert_eq!(filch::spawn_blocking(|| 1).await.unwrap(), 1);
    });
}

#[test]
fn nt9_an_accept_that_is_dropped_loses_no_connection() {
    everywhere(async || {
        let listener = filch::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        at_every_await(async |trial| {
            let client = filch::spawn(async move {
                yields(2).await;
                filch::net::TcpStream::connect(address).await.unwrap()
            });
            let accepted = trial.run(listener.accept()).await;
            let (_, peer) = match accepted {
                Some(accepted) => accepted.unwrap(),
                None => listener.accept().await.unwrap(),
            };
            assert_eq!(client.await.unwrap().local_addr().unwrap(), peer);
        })
        .await;
    });
}

#[test]
fn a_read_that_is_dropped_loses_no_byte() {
    everywhere(async || {
        let (ours, theirs) = filch::net::UnixDatagram::pair().unwrap();
        let theirs = Arc::new(theirs);
        at_every_await(async |trial| {
            let sends = theirs.clone();
            let sender = filch::spawn(async move {
                yields(2).await;
                sends.send(b"ping").await.unwrap();
            });
            let mut buf = [0; 8];
            let read = trial.run(ours.recv(&mut buf)).await;
            let count = match read {
                Some(count) => count.unwrap(),
                None => ours.recv(&mut buf).await.unwrap(),
            };
            assert_eq!(&buf[..count], b"ping");
            sender.await.unwrap();
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

#[test]
fn a_read_of_a_file_that_is_dropped_loses_no_byte() {
    everywhere(async || {
        // The pool may be done before the first look: whether it waited is not asked.
        let _ = cancel_at_every_await(async |trial: Trial| {
            let mut file = filch::fs::File::open("Cargo.toml").await.unwrap();
            let mut four = [0; 4];
            let read = trial.run(file.read(&mut four)).await;
            let count = match read {
                Some(count) => count.unwrap(),
                None => file.read(&mut four).await.unwrap(),
            };
            assert_eq!((count, &four), (4, b"[pac"));
            assert_eq!(file.read(&mut four).await.unwrap(), 4);
            assert_eq!(&four, b"kage");
        })
        .await;
    });
}

#[test]
fn a_wait_for_a_child_that_is_dropped_leaves_the_status() {
    everywhere(async || {
        at_every_await(async |trial| {
            let mut command = filch::process::Command::new("cat");
            let mut child = command.stdin(filch::process::Stdio::piped()).spawn().unwrap();
            let stdin = child.stdin.take();
            let closer = filch::spawn(async move {
                yields(2).await;
                drop(stdin);
            });
            let status = match trial.run(child.wait()).await {
                Some(status) => status.unwrap(),
                None => child.wait().await.unwrap(),
            };
            assert!(status.success());
            closer.await.unwrap();
        })
        .await;
    });
}

#[test]
fn a_job_that_is_not_awaited_any_more_keeps_its_output() {
    let pool = filch::pool::ThreadPool::new(1).unwrap();
    let pool: &'static filch::pool::ThreadPool = Box::leak(Box::new(pool));
    everywhere(async move || {
        at_every_await(async |trial| {
            let (go, gone) = mpsc::channel::<()>();
            let mut job = pool.submit(move || gone.recv().is_err());
            let sender = filch::spawn(async move {
                yields(2).await;
                drop(go);
            });
            let output = match trial.run(&mut job).await {
                Some(output) => output,
                None => job.await,
            };
            assert!(output.unwrap());
            sender.await.unwrap();
        })
        .await;
    });
}
