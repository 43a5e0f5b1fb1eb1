//! The promise: under a paused clock the order of polls is the seed's, time stands still while a task can run
//! and jumps when none can, and everything else works as it does outside.

use std::collections::HashSet;
use std::sync::{Arc, Mutex, mpsc};
use std::task::Poll;
use std::thread;
use std::time::Duration;

use filch::sync::{Notify, Semaphore};
use filch::time::{Instant, interval, sleep, timeout};
use filch::{Builder, Runtime};
use filch_tests::watched;

const MS: Duration = Duration::from_millis(1);
const YEAR: Duration = Duration::from_secs(365 * 24 * 3_600);

fn paused(seed: u64) -> Runtime {
    Builder::new().paused_clock(seed).build().unwrap()
}

/// A program with tasks that spawn, yield, sleep, queue at a semaphore and notify: the order of all its
/// polls, with the time of each, under `seed`.
fn trace(seed: u64) -> Vec<(usize, Duration)> {
    let runtime = paused(seed);
    let trace = Arc::new(Mutex::new(Vec::new()));
    let log = trace.clone();
    runtime.block_on(async move {
        let start = Instant::now();
        let (semaphore, notify) = (Arc::new(Semaphore::new(2)), Arc::new(Notify::new()));
        let tasks: Vec<_> = (0..12_usize)
            .map(|id| {
                let (log, semaphore, notify) = (log.clone(), semaphore.clone(), notify.clone());
                let step = move || log.lock().unwrap().push((id, start.elapsed()));
                filch::spawn(async move {
                    step();
                    filch::yield_now().await;
                    step();
                    let permit = semaphore.acquire_owned().await.unwrap();
                    step();
                    sleep(MS * (id as u32 % 3)).await;
                    step();
                    drop(permit);
                    notify.notify_one();
                    notify.notified().await;
                    let step_again = step.clone();
                    filch::spawn(async move { step_again() }).await.unwrap();
                    step();
                    notify.notify_one();
                })
            })
            .collect();
        for task in tasks {
            task.await.unwrap();
        }
    });
    drop(runtime);
    Arc::into_inner(trace).unwrap().into_inner().unwrap()
}

#[test]
fn the_same_seed_gives_the_same_order() {
    watched(|| {
        for seed in 0..60 {
            let first = trace(seed);
            assert_eq!(first.len(), 12 * 6);
            for _ in 0..4 {
                assert_eq!(trace(seed), first, "seed {seed}");
            }
        }
    });
}

#[test]
fn the_same_seed_gives_the_same_order_on_busy_machines() {
    watched(|| {
        let first = trace(5);
        let threads: Vec<_> =
            (0..4).map(|_| thread::spawn(|| (0..10).map(|_| trace(5)).collect::<Vec<_>>())).collect();
        for other in threads.into_iter().flat_map(|thread| thread.join().unwrap()) {
            assert_eq!(other, first);
        }
    });
}

#[test]
fn different_seeds_give_different_orders() {
    watched(|| {
        let orders: HashSet<_> = (0..100).map(trace).collect();
        assert!(orders.len() > 95, "{} orders out of 100 seeds", orders.len());
    });
}

#[test]
fn any_of_those_that_are_ready_may_be_first() {
    watched(|| {
        let first = |seed| {
            let (tell, told) = mpsc::channel();
            paused(seed).block_on(async {
                let tasks: Vec<_> = (0..5)
                    .map(|i| {
                        let tell = tell.clone();
                        filch::spawn(async move { tell.send(i).unwrap() })
                    })
                    .collect();
                for task in tasks {
                    task.await.unwrap();
                }
            });
            told.recv().unwrap()
        };
        let firsts: HashSet<i32> = (0..200).map(first).collect();
        assert_eq!(firsts.len(), 5);
    });
}

#[test]
fn a_sleep_of_a_year_takes_a_year_and_no_time() {
    watched(|| {
        paused(1).block_on(async {
            let start = Instant::now();
            for years in 1..=100 {
                sleep(YEAR).await;
                assert_eq!(start.elapsed(), YEAR * years);
            }
        });
    });
}

#[test]
fn tm7_time_stands_still_while_a_task_can_run() {
    watched(|| {
        paused(2).block_on(async {
            let start = Instant::now();
            let sleeper = filch::spawn(sleep(MS));
            let busy = filch::spawn(async move {
                for _ in 0..10_000 {
                    filch::yield_now().await;
                    assert_eq!(start.elapsed(), Duration::ZERO);
                }
            });
            busy.await.unwrap();
            assert!(!sleeper.is_finished());
            sleeper.await.unwrap();
            assert_eq!(start.elapsed(), MS);
        });
    });
}

#[test]
fn it_jumps_to_the_next_deadline_and_not_beyond() {
    watched(|| {
        paused(3).block_on(async {
            let start = Instant::now();
            let tasks: Vec<_> = [5_u32, 1, 3, 1, 4]
                .into_iter()
                .map(|late| {
                    filch::spawn(async move {
                        sleep(MS * late).await;
                        // Those of the same deadline run before the clock moves on.
                        filch::yield_now().await;
                        assert_eq!(start.elapsed(), MS * late);
                    })
                })
                .collect();
            for task in tasks {
                task.await.unwrap();
            }
            assert_eq!(start.elapsed(), MS * 5);
        });
    });
}

#[test]
fn timeouts_fire_in_the_order_of_their_deadlines() {
    watched(|| {
        for seed in 0..20 {
            let order = Arc::new(Mutex::new(Vec::new()));
            let log = order.clone();
            paused(seed).block_on(async move {
                let tasks: Vec<_> = [30_u32, 10, 20, 40]
                    .into_iter()
                    .map(|late| {
                        let log = log.clone();
                        filch::spawn(async move {
                            let never = std::future::pending::<()>();
                            timeout(MS * late, never).await.unwrap_err();
                            log.lock().unwrap().push(late);
                        })
                    })
                    .collect();
                for task in tasks {
                    task.await.unwrap();
                }
            });
            assert_eq!(*order.lock().unwrap(), [10, 20, 30, 40]);
        }
    });
}

#[test]
fn an_interval_ticks_on_the_dot() {
    watched(|| {
        paused(4).block_on(async {
            let start = Instant::now();
            let mut ticks = interval(MS * 7);
            for i in 0..1_000 {
                assert_eq!(ticks.tick().await, start + MS * 7 * i);
                assert_eq!(start.elapsed(), MS * 7 * i);
            }
        });
    });
}

#[test]
fn blocking_jobs_run_where_they_are_spawned_and_time_waits() {
    watched(|| {
        let runtime = paused(5);
        runtime.block_on(async {
            let (here, start) = (thread::current().id(), Instant::now());
            let sleeper = filch::spawn(sleep(MS));
            let mut job = filch::spawn_blocking(|| thread::current().id());
            assert!(job.is_finished());
            assert_eq!(filch_tests::poll_once(&mut job).await.unwrap().unwrap(), here);
            assert_eq!(start.elapsed(), Duration::ZERO);
            sleeper.await.unwrap();
            let error = filch::spawn_blocking(|| panic!("inline")).await.unwrap_err();
            assert!(error.is_panic());
        });
        assert_eq!(runtime.metrics().blocking_threads, 0);
    });
}

#[test]
fn more_than_one_worker_is_refused() {
    let error = Builder::new().workers(2).paused_clock(1).build().map(drop).unwrap_err();
    assert!(error.to_string().contains("its order is that of one thread"), "{error}");
}

#[test]
fn another_thread_wakes_a_task_while_no_timer_is_set() {
    watched(|| {
        paused(6).block_on(async {
            let start = Instant::now();
            for _ in 0..200 {
                let notify = Arc::new(Notify::new());
                let wakes = notify.clone();
                let thread = thread::spawn(move || wakes.notify_one());
                filch::spawn(async move { notify.notified().await }).await.unwrap();
                thread.join().unwrap();
            }
            assert_eq!(start.elapsed(), Duration::ZERO);
        });
    });
}

#[test]
fn another_thread_spawns_into_it() {
    watched(|| {
        let runtime = paused(7);
        let handle = runtime.handle().clone();
        let (give, take) = mpsc::channel();
        let thread = thread::spawn(move || give.send(handle.spawn(async { sleep(YEAR).await })).unwrap());
        thread.join().unwrap();
        runtime.block_on(async move { take.recv().unwrap().await.unwrap() });
    });
}

#[test]
fn sockets_on_loopback_work() {
    watched(|| {
        paused(8).block_on(async {
            let server = filch::net::UdpSocket::bind("127.0.0.1:0").await.unwrap();
            let address = server.local_addr().unwrap();
            let echo = filch::spawn(async move {
                let mut buf = [0; 8];
                for _ in 0..50 {
                    let (count, from) = server.recv_from(&mut buf).await.unwrap();
                    server.send_to(&buf[..count], from).await.unwrap();
                }
            });
            let client = filch::net::UdpSocket::bind("127.0.0.1:0").await.unwrap();
            for _ in 0..50 {
                client.send_to(b"ping", address).await.unwrap();
                // What a socket has is seen before the clock jumps to the timeout.
                let reply = timeout(YEAR, client.recv(&mut [0; 8])).await.expect("in time");
                assert_eq!(reply.unwrap(), 4);
            }
            echo.await.unwrap();
        });
    });
}

#[test]
fn a_socket_without_data_does_not_hold_the_clock() {
    watched(|| {
        paused(9).block_on(async {
            let socket = filch::net::UdpSocket::bind("127.0.0.1:0").await.unwrap();
            let start = Instant::now();
            assert!(timeout(YEAR, socket.recv(&mut [0; 8])).await.is_err());
            assert_eq!(start.elapsed(), YEAR);
        });
    });
}

#[test]
fn each_runtime_has_a_clock_of_its_own() {
    watched(|| {
        let (first, second) = (paused(1), paused(1));
        let start = first.block_on(async { Instant::now() });
        let other = second.block_on(async { Instant::now() });
        first.block_on(async { sleep(YEAR).await });
        assert_eq!(first.block_on(async move { start.elapsed() }), YEAR);
        assert_eq!(second.block_on(async move { other.elapsed() }), Duration::ZERO);
    });
}

#[test]
fn nested_roots_and_local_tasks_work() {
    watched(|| {
        paused(10).block_on(async {
            let start = Instant::now();
            filch::block_on(async { filch::spawn(sleep(MS * 2)).await.unwrap() });
            filch::spawn_local(async { sleep(MS).await }).await.unwrap();
            assert_eq!(start.elapsed(), MS * 3);
        });
    });
}

#[test]
fn a_future_that_nobody_wakes_lets_the_clock_go_on() {
    watched(|| {
        paused(11).block_on(async {
            let never = filch::spawn(std::future::poll_fn(|_| Poll::<()>::Pending));
            sleep(YEAR).await;
            assert!(!never.is_finished());
            never.abort();
            assert!(never.await.unwrap_err().is_cancelled());
        });
    });
}

#[test]
fn a_local_tasks_timer_fires_while_a_nested_root_waits() {
    watched(|| {
        paused(10).block_on(async {
            let start = Instant::now();
            let local = filch::spawn_local(async { sleep(MS).await });
            filch::block_on(async { filch::spawn(sleep(MS * 2)).await.unwrap() });
            local.await.unwrap();
            assert_eq!(start.elapsed(), MS * 2);
        });
    });
}
