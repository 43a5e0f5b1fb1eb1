//! The promise: nothing that is always ready keeps others from their turn. A task is made to yield after at
//! most 128 operations that were ready at once, whichever leaf they are of, and no queue is served at the
//! cost of another.

use std::io::Write;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering::SeqCst};
use std::sync::{Arc, Mutex, mpsc};
use std::time::Duration;

use filch::sync::{Notify, Semaphore};
use filch::time::{Instant, MissedTick, interval, sleep, sleep_until, timeout};
use filch_tests::{single, until, until_yielding, watched, workers};
use futures_lite::AsyncReadExt;

/// The number that the docs name.
const BUDGET: u32 = 128;
const ROUNDS: u32 = 1_000;

/// Runs `greedy`, which does `ROUNDS` operations and counts them, beside a task that only yields, on one
/// thread. The latter sees the count move by at most the budget between two of its turns.
fn sibling_runs_within_the_budget<F: Future<Output = ()> + Send + 'static>(
    greedy: impl FnOnce(Arc<AtomicU32>) -> F + Send + 'static,
) {
    watched(move || {
        let steps = single().block_on(async {
            let count = Arc::new(AtomicU32::new(0));
            let greedy = filch::spawn(greedy(count.clone()));
            let sibling = filch::spawn(async move {
                let (mut before, mut steps) = (0, Vec::new());
                while before < ROUNDS {
                    let now = count.load(SeqCst);
                    steps.push(now - before);
                    before = now;
                    filch::yield_now().await;
                }
                steps
            });
            greedy.await.unwrap();
            sibling.await.unwrap()
        });
        assert!(steps.iter().all(|step| *step <= BUDGET), "operations between two turns: {steps:?}");
        assert!(steps.iter().any(|step| *step > 1), "it does not yield at each one, either: {steps:?}");
    });
}

/// As above, for an operation that is made anew each time.
fn each_is_counted<F: Future + Send>(mut operation: impl FnMut() -> F + Send + 'static) {
    sibling_runs_within_the_budget(move |count| async move {
        for _ in 0..ROUNDS {
            operation().await;
            count.fetch_add(1, SeqCst);
        }
    });
}

#[test]
fn ex8_a_semaphore_with_permits() {
    let semaphore = Arc::new(Semaphore::new(3));
    each_is_counted(move || semaphore.clone().acquire_owned());
    let fair = Arc::new(Semaphore::fair(3));
    each_is_counted(move || fair.clone().acquire_many_owned(2));
}

#[test]
fn ex8_a_notification_that_is_there() {
    let notify = Arc::new(Notify::new());
    each_is_counted(move || {
        let notify = notify.clone();
        async move {
            notify.notify_one();
            notify.notified().await;
        }
    });
}

#[test]
fn ex8_timers_in_the_past() {
    each_is_counted(|| sleep(Duration::ZERO));
    let past = std::sync::OnceLock::new();
    each_is_counted(move || sleep_until(*past.get_or_init(Instant::now)));
}

#[test]
fn a_timeout_that_is_over_does_not_lift_the_budget() {
    each_is_counted(|| timeout(Duration::ZERO, std::future::pending::<()>()));
    let semaphore = Arc::new(Semaphore::new(1));
    each_is_counted(move || timeout(Duration::MAX, semaphore.clone().acquire_owned()));
}

#[test]
fn ex8_an_interval_that_missed_many_ticks() {
    sibling_runs_within_the_budget(|count| async move {
        let mut ticks = interval(Duration::from_nanos(1));
        ticks.set_missed_tick_behavior(MissedTick::Burst);
        // From here on each tick is late already.
        ticks.tick().await;
        for _ in 0..ROUNDS {
            ticks.tick().await;
            count.fetch_add(1, SeqCst);
        }
    });
}

#[test]
fn ex8_handles_of_tasks_that_are_done() {
    sibling_runs_within_the_budget(|count| async move {
        let done: Vec<_> = (0..ROUNDS).map(|_| filch::spawn(async {})).collect();
        until_yielding(|| done.iter().all(filch::JoinHandle::is_finished)).await;
        for handle in done {
            handle.await.unwrap();
            count.fetch_add(1, SeqCst);
        }
    });
}

#[test]
fn ex8_a_socket_with_data_that_is_read_byte_by_byte() {
    sibling_runs_within_the_budget(|count| async move {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let mut stream = filch::net::TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        let (mut peer, _) = listener.accept().unwrap();
        peer.write_all(&[7; ROUNDS as usize]).unwrap();
        for _ in 0..ROUNDS {
            let mut byte = [0];
            stream.read_exact(&mut byte).await.unwrap();
            count.fetch_add(1, SeqCst);
        }
    });
}

#[test]
fn ex8_a_socket_that_takes_all_that_is_written() {
    sibling_runs_within_the_budget(|count| async move {
        let socket = filch::net::UdpSocket::bind("127.0.0.1:0").await.unwrap();
        let nobody = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
        for _ in 0..ROUNDS {
            socket.send_to(b"x", nobody.local_addr().unwrap()).await.unwrap();
            count.fetch_add(1, SeqCst);
        }
    });
}

#[test]
fn ex8_many_futures_in_one_task_share_one_budget() {
    sibling_runs_within_the_budget(|count| async move {
        let semaphore = Semaphore::new(10);
        let operation = async || {
            for _ in 0..ROUNDS / 4 {
                drop(semaphore.acquire().await.unwrap());
                count.fetch_add(1, SeqCst);
            }
        };
        let pair = || futures_lite::future::zip(operation(), operation());
        futures_lite::future::zip(pair(), pair()).await;
    });
}

#[test]
fn tasks_that_yield_have_their_turns_in_a_circle() {
    watched(|| {
        let trace = Arc::new(Mutex::new(Vec::new()));
        let log = trace.clone();
        single().block_on(async move {
            let tasks: Vec<_> = (0..4)
                .map(|id| {
                    let log = log.clone();
                    filch::spawn(async move {
                        for _ in 0..6 {
                            log.lock().unwrap().push(id);
                            filch::yield_now().await;
                        }
                    })
                })
                .collect();
            for task in tasks {
                task.await.unwrap();
            }
        });
        let expected: Vec<i32> = (0..6).flat_map(|_| 0..4).collect();
        assert_eq!(*trace.lock().unwrap(), expected);
    });
}

fn order_of(tasks: usize) -> Vec<usize> {
    let trace = Arc::new(Mutex::new(Vec::new()));
    single().block_on(async {
        let spawn = |id| {
            let trace = trace.clone();
            filch::spawn(async move { trace.lock().unwrap().push(id) })
        };
        let tasks: Vec<_> = (0..tasks).map(spawn).collect();
        for task in tasks {
            task.await.unwrap();
        }
    });
    Arc::into_inner(trace).unwrap().into_inner().unwrap()
}

#[test]
fn one_thread_runs_tasks_in_the_order_in_which_they_became_ready() {
    watched(|| assert_eq!(order_of(200), (0..200).collect::<Vec<_>>()));
}

/// Two tasks that wake each other for ever, each time counting, until told to stop.
fn ping_pong(stop: &Arc<AtomicBool>) -> (Arc<AtomicU32>, impl Future<Output = ()> + Send + use<>) {
    let count = Arc::new(AtomicU32::new(0));
    let (counts, stop) = (count.clone(), stop.clone());
    let pair = async move {
        let (left, right) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
        let player = |mine: Arc<Notify>, other: Arc<Notify>| {
            let (counts, stop) = (counts.clone(), stop.clone());
            filch::spawn(async move {
                while !stop.load(SeqCst) {
                    mine.notified().await;
                    counts.fetch_add(1, SeqCst);
                    other.notify_one();
                }
                other.notify_one();
            })
        };
        let players = [player(left.clone(), right.clone()), player(right, left.clone())];
        left.notify_one();
        for player in players {
            player.await.unwrap();
        }
    };
    (count, pair)
}

#[test]
fn ex4_a_pair_that_wakes_each_other_does_not_starve_a_third() {
    watched(|| {
        let runtime = workers(1);
        let stop = Arc::new(AtomicBool::new(false));
        let (count, pair) = ping_pong(&stop);
        let pair = runtime.spawn(pair);
        until(|| count.load(SeqCst) > 100);
        let counts = count.clone();
        let victim = runtime.spawn(async move {
            let mut steps = Vec::new();
            let rescues = || filch::Handle::current().metrics().rescues;
            // Neither starves the other.
            while steps.iter().filter(|step| **step > 0).count() < 100 {
                let (before, rescued) = (counts.load(SeqCst), rescues());
                filch::yield_now().await;
                let step = counts.load(SeqCst) - before;
                // A machine that takes the processor away in a poll makes it a stuck one, beside which the
                // pair plays on.
                if rescues() == rescued {
                    steps.push(step);
                }
            }
            steps
        });
        let steps = victim.join_blocking().unwrap();
        stop.store(true, SeqCst);
        pair.join_blocking().unwrap();
        assert!(
            steps.iter().all(|step| *step <= 16),
            "polls of the pair between two of the third: {steps:?}"
        );
    });
}

/// Runs `other` while the only worker is kept busy by tasks that are always ready.
fn beside_spinning_tasks(other: impl FnOnce(&filch::Runtime)) {
    let runtime = workers(1);
    let stop = Arc::new(AtomicBool::new(false));
    let (count, pair) = ping_pong(&stop);
    let pair = runtime.spawn(pair);
    let spinning: Vec<_> = (0..4)
        .map(|_| {
            let stop = stop.clone();
            runtime.spawn(until_yielding(move || stop.load(SeqCst)))
        })
        .collect();
    until(|| count.load(SeqCst) > 10);
    other(&runtime);
    assert!(spinning.iter().all(|task| !task.is_finished()));
    stop.store(true, SeqCst);
    pair.join_blocking().unwrap();
    for task in spinning {
        task.join_blocking().unwrap();
    }
}

#[test]
fn ex5_tasks_from_outside_are_served_while_those_inside_spin() {
    watched(|| {
        beside_spinning_tasks(|runtime| {
            for i in 0..100 {
                assert_eq!(runtime.spawn(async move { i }).join_blocking().unwrap(), i);
            }
            let many: Vec<_> = (0..1_000).map(|i| runtime.spawn(async move { i })).collect();
            let sum: u32 = many.into_iter().map(|task| task.join_blocking().unwrap()).sum();
            assert_eq!(sum, (0..1_000).sum());
        });
    });
}

#[test]
fn ex5_timers_are_served_while_tasks_spin() {
    watched(|| {
        beside_spinning_tasks(|runtime| {
            runtime.spawn(async { sleep(Duration::from_millis(3)).await }).join_blocking().unwrap();
        });
    });
}

#[test]
fn ex5_sockets_are_served_while_tasks_spin() {
    watched(|| {
        beside_spinning_tasks(|runtime| {
            let (ready, is_ready) = mpsc::channel();
            let reader = runtime.spawn(async move {
                let socket = filch::net::UdpSocket::bind("127.0.0.1:0").await.unwrap();
                ready.send(socket.local_addr().unwrap()).unwrap();
                socket.recv(&mut [0; 8]).await.unwrap()
            });
            let sender = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
            sender.send_to(b"hello", is_ready.recv().unwrap()).unwrap();
            assert_eq!(reader.join_blocking().unwrap(), 5);
        });
    });
}

#[test]
fn a_root_that_always_yields_leaves_workers_their_tasks() {
    watched(|| {
        for count in [1, 2] {
            let runtime = workers(count);
            runtime.block_on(async {
                let task = filch::spawn(async { sleep(Duration::from_millis(1)).await });
                until_yielding(|| task.is_finished()).await;
            });
        }
    });
}

#[test]
fn one_thread_keeps_the_order_of_more_tasks_than_its_queue_holds() {
    watched(|| assert_eq!(order_of(2_000), (0..2_000).collect::<Vec<_>>()));
}

#[test]
fn a_root_that_always_yields_lets_tasks_run_in_the_flavours_of_one_thread() {
    watched(|| {
        single().block_on(async {
            let task = filch::spawn(async { sleep(Duration::from_millis(1)).await });
            until_yielding(|| task.is_finished()).await;
        });
        // The paused clock stands still as long as the root can run.
        filch::Builder::new().paused_clock(1).build().unwrap().block_on(async {
            let task = filch::spawn(async { filch::yield_now().await });
            until_yielding(|| task.is_finished()).await;
        });
    });
}
