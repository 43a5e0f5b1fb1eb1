//! The promise: a stuck worker keeps nothing from the others. Each poll here that blocks its thread waits on
//! a std channel that only the task, timer or socket under test can feed: were it kept back, the test would
//! hang.

use std::future::{Future, pending};
use std::pin::pin;
use std::sync::mpsc::{self, Receiver, Sender};
use std::sync::{Arc, Barrier};
use std::task::Context;
use std::thread;
use std::time::Duration;

use filch::Runtime;
use filch::net::UnixDatagram;
use filch::sync::Notify;
use filch::time::sleep;
use filch_tests::{channel_waker, on_drop, single, until, watched, workers};

#[path = "stuck_worker/block_on.rs"]
mod block_on;
#[path = "stuck_worker/limits.rs"]
mod limits;

const MS: Duration = Duration::from_millis(1);

/// Runs `test` with each number of workers.
fn each_count(test: impl Fn(&Runtime) + Send + 'static) {
    watched(move || {
        for count in [1, 2, 4] {
            test(&workers(count));
        }
    });
}

/// Runs a task that gets stuck until `feeder` feeds it, and that must go on well afterwards.
fn stuck_until_fed<F>(runtime: &Runtime, feeder: impl FnOnce(Sender<()>) -> F + Send + 'static)
where
    F: Future<Output = ()> + Send + 'static,
{
    let stuck = runtime.spawn(async move {
        let (feed, fed) = mpsc::channel();
        feeder(feed).await;
        fed.recv().unwrap();
        // It is no worse off than before.
        filch::yield_now().await;
        sleep(MS).await;
        filch::spawn(async { 1 }).await.unwrap()
    });
    assert_eq!(stuck.join_blocking().unwrap(), 1);
}

#[test]
fn ex6_the_task_that_it_just_woke_into_its_slot() {
    each_count(|runtime| {
        for _ in 0..5 {
            stuck_until_fed(runtime, async |feed: Sender<()>| {
                let (notify, waits) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
                let (wakes, tells) = (notify.clone(), waits.clone());
                drop(filch::spawn(async move {
                    let notified = wakes.notified();
                    tells.notify_one();
                    notified.await;
                    feed.send(()).unwrap();
                }));
                waits.notified().await;
                // By now the other one waits, or is about to.
                filch::yield_now().await;
                notify.notify_one();
            });
        }
    });
}

#[test]
fn the_task_that_it_just_spawned() {
    each_count(|runtime| {
        for _ in 0..5 {
            stuck_until_fed(runtime, async |feed: Sender<()>| {
                drop(filch::spawn(async move { feed.send(()).unwrap() }));
            });
        }
    });
}

#[test]
fn ex6_the_task_in_its_slot_and_the_one_that_was_pushed_out_of_it() {
    each_count(|runtime| {
        let stuck = runtime.spawn(async {
            let (feed, fed) = mpsc::channel();
            let notifies: Vec<_> = (0..3).map(|_| Arc::new(Notify::new())).collect();
            for notify in &notifies {
                let (notify, feed) = (notify.clone(), feed.clone());
                drop(filch::spawn(async move {
                    notify.notified().await;
                    feed.send(()).unwrap();
                }));
            }
            filch::yield_now().await;
            notifies.iter().for_each(|notify| notify.notify_one());
            notifies.iter().for_each(|_| fed.recv().unwrap());
        });
        stuck.join_blocking().unwrap();
    });
}

#[test]
fn ex6_the_last_of_many_tasks_in_its_queue() {
    each_count(|runtime| {
        for count in [100, 1_000] {
            let stuck = runtime.spawn(async move {
                let (feed, fed) = mpsc::channel();
                for i in 0..count {
                    let feed = feed.clone();
                    drop(filch::spawn(async move { feed.send(i).unwrap() }));
                }
                let mut all: Vec<u32> = (0..count).map(|_| fed.recv().unwrap()).collect();
                all.sort_unstable();
                assert!(all.into_iter().eq(0..count), "each once");
            });
            stuck.join_blocking().unwrap();
        }
    });
}

#[test]
fn a_task_that_comes_from_outside() {
    each_count(|runtime| {
        let (started, is_started) = mpsc::channel();
        let (feed, fed) = mpsc::channel();
        let stuck = runtime.spawn(async move {
            started.send(()).unwrap();
            fed.recv().unwrap()
        });
        is_started.recv().unwrap();
        drop(runtime.spawn(async move { feed.send(2).unwrap() }));
        assert_eq!(stuck.join_blocking().unwrap(), 2);
    });
}

#[test]
fn its_timers_of_this_very_poll() {
    each_count(|runtime| {
        let stuck = runtime.spawn(async {
            // Of different lengths, so that they lie on different levels of a wheel.
            for late in [Duration::from_micros(50), MS, 5 * MS, 70 * MS] {
                let (waker, woken) = channel_waker();
                let mut timer = pin!(sleep(late));
                assert!(timer.as_mut().poll(&mut Context::from_waker(&waker)).is_pending());
                woken.recv().unwrap();
                assert!(timer.is_elapsed());
            }
        });
        stuck.join_blocking().unwrap();
    });
}

#[test]
fn ex7_the_timers_of_others_that_it_owned() {
    each_count(|runtime| {
        let stuck = runtime.spawn(async {
            let (feed, fed) = mpsc::channel();
            for i in 0..50 {
                let feed = feed.clone();
                drop(filch::spawn(async move {
                    sleep(MS + i * Duration::from_micros(100)).await;
                    feed.send(()).unwrap();
                }));
            }
            // The others have their turn, and their timers lie with whoever ran them.
            filch::yield_now().await;
            (0..50).for_each(|_| fed.recv().unwrap());
        });
        stuck.join_blocking().unwrap();
    });
}

#[test]
fn an_interval_that_ticks_on_and_on() {
    each_count(|runtime| {
        stuck_until_fed(runtime, async |feed: Sender<()>| {
            drop(filch::spawn(async move {
                let mut ticks = filch::time::interval(Duration::from_micros(500));
                for _ in 0..10 {
                    ticks.tick().await;
                }
                feed.send(()).unwrap();
            }));
            filch::yield_now().await;
        });
    });
}

#[test]
fn the_socket_that_it_waited_for_itself() {
    each_count(|runtime| {
        let stuck = runtime.spawn(async {
            let (ours, theirs) = UnixDatagram::pair().unwrap();
            let mut buf = [0; 4];
            let (waker, woken) = channel_waker();
            let mut read = pin!(ours.recv(&mut buf));
            assert!(read.as_mut().poll(&mut Context::from_waker(&waker)).is_pending());
            theirs.try_send(b"ping").unwrap();
            woken.recv().unwrap();
            read.await.unwrap()
        });
        assert_eq!(stuck.join_blocking().unwrap(), 4);
    });
}

#[test]
fn ex7_the_sockets_of_others_whose_data_came_later() {
    each_count(|runtime| {
        let (address, its_address) = mpsc::channel();
        let stuck = runtime.spawn(async move {
            let (feed, fed) = mpsc::channel();
            let server = filch::net::UdpSocket::bind("127.0.0.1:0").await.unwrap();
            let here = server.local_addr().unwrap();
            let echo = filch::spawn(async move {
                let mut buf = [0; 8];
                for _ in 0..20 {
                    let (count, from) = server.recv_from(&mut buf).await.unwrap();
                    server.send_to(&buf[..count], from).await.unwrap();
                }
                feed.send(()).unwrap();
            });
            filch::yield_now().await;
            // From here on only other threads look at the sockets.
            address.send(here).unwrap();
            fed.recv().unwrap();
            echo.await.unwrap();
        });
        let (client, server) =
            (std::net::UdpSocket::bind("127.0.0.1:0").unwrap(), its_address.recv().unwrap());
        for _ in 0..20 {
            client.send_to(b"ping", server).unwrap();
            assert_eq!(client.recv(&mut [0; 8]).unwrap(), 4);
        }
        stuck.join_blocking().unwrap();
    });
}

#[test]
fn a_connection_that_is_made_to_it() {
    each_count(|runtime| {
        stuck_until_fed(runtime, async |feed: Sender<()>| {
            let listener = filch::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
            let address = listener.local_addr().unwrap();
            drop(filch::spawn(async move {
                listener.accept().await.unwrap();
                feed.send(()).unwrap();
            }));
            filch::yield_now().await;
            drop(filch::spawn(async move { filch::net::TcpStream::connect(address).await.unwrap() }));
        });
    });
}

#[test]
fn what_the_blocking_pool_gives_back() {
    each_count(|runtime| {
        stuck_until_fed(runtime, async |feed: Sender<()>| {
            drop(filch::spawn(async move {
                assert_eq!(filch::spawn_blocking(|| 3).await.unwrap(), 3);
                feed.send(()).unwrap();
            }));
        });
    });
}

#[test]
fn stuck_in_the_drop_of_a_future() {
    each_count(|runtime| {
        let (feed, fed) = mpsc::channel();
        let mut fed: Option<Receiver<()>> = Some(fed);
        let aborted = runtime.spawn(async move {
            let _guard = on_drop(move || fed.take().unwrap().recv().unwrap());
            pending::<()>().await;
        });
        until(|| runtime.handle().tasks().iter().any(|task| task.polls == 1));
        let aborter = runtime.spawn(async move {
            aborted.abort();
            // Queued behind the drop that it feeds, or beside it.
            drop(filch::spawn(async move { feed.send(()).unwrap() }));
            assert!(aborted.await.unwrap_err().is_cancelled());
        });
        aborter.join_blocking().unwrap();
    });
}

#[test]
fn stuck_in_the_drop_of_an_output() {
    each_count(|runtime| {
        stuck_until_fed(runtime, async |feed: Sender<()>| {
            let (inner_feed, inner_fed) = mpsc::channel();
            let mut inner_fed: Option<Receiver<()>> = Some(inner_fed);
            drop(filch::spawn(async move { on_drop(move || inner_fed.take().unwrap().recv().unwrap()) }));
            drop(filch::spawn(async move {
                inner_feed.send(()).unwrap();
                feed.send(()).unwrap();
            }));
        });
    });
}

#[test]
fn stuck_in_join_blocking() {
    each_count(|runtime| {
        let task = runtime.spawn(async {
            let inner = filch::spawn(async { filch::spawn(async { 1 }).join_blocking().unwrap() + 1 });
            inner.join_blocking().unwrap() + 1
        });
        assert_eq!(task.join_blocking().unwrap(), 3);
    });
}

#[test]
fn every_worker_at_once_each_waiting_for_a_task_behind_another() {
    watched(|| {
        for count in [1, 2, 3] {
            let runtime = workers(count);
            for _ in 0..3 {
                let (feeds, feds): (Vec<_>, Vec<_>) = (0..count).map(|_| mpsc::channel::<()>()).unzip();
                let all_stuck = Arc::new(Barrier::new(count));
                let tasks = feds.into_iter().enumerate().map(|(i, fed)| {
                    let (feed, all_stuck) = (feeds[(i + 1) % count].clone(), all_stuck.clone());
                    runtime.spawn(async move {
                        all_stuck.wait();
                        drop(filch::spawn(async move { feed.send(()).unwrap() }));
                        fed.recv().unwrap();
                    })
                });
                let tasks: Vec<_> = tasks.collect();
                tasks.into_iter().for_each(|task| task.join_blocking().unwrap());
            }
        }
    });
}

#[test]
fn ex7_every_worker_at_once_and_timers_and_sockets_go_on() {
    each_count(|runtime| {
        let count = runtime.metrics().workers;
        let all_stuck = Arc::new(Barrier::new(count));
        let tasks: Vec<_> = (0..count)
            .map(|_| {
                let all_stuck = all_stuck.clone();
                runtime.spawn(async move {
                    let (ours, theirs) = UnixDatagram::pair().unwrap();
                    let (feed, fed) = mpsc::channel();
                    drop(filch::spawn(async move {
                        ours.recv(&mut [0; 4]).await.unwrap();
                        feed.send(()).unwrap();
                    }));
                    drop(filch::spawn(async move {
                        sleep(MS).await;
                        theirs.send(b"now").await.unwrap();
                    }));
                    all_stuck.wait();
                    fed.recv().unwrap();
                })
            })
            .collect();
        tasks.into_iter().for_each(|task| task.join_blocking().unwrap());
    });
}

#[test]
fn again_and_again_in_the_same_task() {
    each_count(|runtime| {
        let task = runtime.spawn(async {
            for _ in 0..20 {
                let (feed, fed) = mpsc::channel();
                drop(filch::spawn(async move { feed.send(()).unwrap() }));
                fed.recv().unwrap();
                filch::yield_now().await;
            }
        });
        task.join_blocking().unwrap();
    });
}

#[test]
fn a_task_that_is_woken_while_it_is_stuck_runs_once_more() {
    each_count(|runtime| {
        let (feed, fed) = mpsc::channel::<()>();
        let notify = Arc::new(Notify::new());
        let waits = notify.clone();
        let stuck = runtime.spawn(async move {
            let notifies = waits.clone();
            let mut notified = Box::pin(waits.notified());
            assert!(filch_tests::poll_once(&mut notified).await.is_none());
            drop(filch::spawn(async move {
                notifies.notify_one();
                feed.send(()).unwrap();
            }));
            fed.recv().unwrap();
            notified.await;
        });
        drop(notify);
        stuck.join_blocking().unwrap();
    });
}

#[test]
fn what_was_due_together_with_the_waker_that_it_is_stuck_in() {
    // A waker that blocks until another timer, due at the same time, has fired.
    struct Blocks(std::sync::Mutex<Option<Receiver<()>>>);
    impl std::task::Wake for Blocks {
        fn wake(self: Arc<Self>) {
            let fed = self.0.lock().unwrap().take();
            fed.into_iter().for_each(|fed| fed.recv().unwrap());
        }
    }
    each_count(|runtime| {
        let _entered = runtime.handle().enter();
        let due = filch::time::Instant::now() + 20 * MS;
        let sleeps: Vec<_> = (0..2)
            .map(|_| {
                let (feed, fed) = mpsc::channel();
                let mut first = Box::pin(filch::time::sleep_until(due));
                let waker = std::task::Waker::from(Arc::new(Blocks(std::sync::Mutex::new(Some(fed)))));
                assert!(first.as_mut().poll(&mut Context::from_waker(&waker)).is_pending());
                let second = runtime.spawn(async move {
                    filch::time::sleep_until(due).await;
                    feed.send(()).unwrap();
                });
                (first, second)
            })
            .collect();
        sleeps.into_iter().for_each(|(_first, second)| second.join_blocking().unwrap());
    });
}
