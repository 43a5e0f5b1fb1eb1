//! The promise: what was cancelled or is over leaves no memory behind. In a binary of its own, since its allocator
//! counts for all; one test at a time, for the same reason.
#![allow(missing_docs)]

use std::alloc::{GlobalAlloc, Layout, System};
use std::future::{pending, poll_fn};
use std::pin::pin;
use std::sync::atomic::{AtomicIsize, Ordering::Relaxed};
use std::sync::{Mutex, PoisonError};
use std::task::Poll;

use filch::time::{Duration, sleep};
use filch_tests::{watched, workers};

/// Counts the bytes that are in use.
struct Counting;

static LIVE: AtomicIsize = AtomicIsize::new(0);

// SAFETY: passes everything on to the system's allocator.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        LIVE.fetch_add(layout.size() as isize, Relaxed);
        // SAFETY: the caller's promises are passed on.
        unsafe { System.alloc(layout) }
    }

    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        LIVE.fetch_add(size as isize - layout.size() as isize, Relaxed);
        // SAFETY: the caller's promises are passed on.
        unsafe { System.realloc(pointer, layout, size) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        LIVE.fetch_sub(layout.size() as isize, Relaxed);
        // SAFETY: the caller's promises are passed on.
        unsafe { System.dealloc(pointer, layout) }
    }
}

#[global_allocator]
static COUNTING: Counting = Counting;

/// Runs `body` once to warm up, and then `FILCH_ROUNDS` (or three) times, and holds that memory has not grown by more
/// than `allowed` bytes.
fn is_flat(allowed: isize, mut body: impl FnMut() + Send + 'static) {
    static ALONE: Mutex<()> = Mutex::new(());
    let _alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
    let rounds = std::env::var("FILCH_ROUNDS").ok().and_then(|rounds| rounds.parse().ok()).unwrap_or(3);
    watched(move || {
        body();
        let before = LIVE.load(Relaxed);
        for round in 0..rounds {
            body();
            let grown = LIVE.load(Relaxed) - before;
            assert!(grown <= allowed, "{grown} bytes more after {} rounds", round + 1);
        }
    });
}

#[test]
fn tm5_sleeps_of_a_year_that_lose_a_race_leave_nothing() {
    let runtime = workers(2);
    is_flat(64 << 10, move || {
        let tasks: Vec<_> = (0..4)
            .map(|_| {
                runtime.spawn(async {
                    for round in 0..20_000_u64 {
                        let mut yielded = false;
                        let ready = poll_fn(move |cx| {
                            if std::mem::replace(&mut yielded, true) {
                                return Poll::Ready(());
                            }
                            cx.waker().wake_by_ref();
                            Poll::Pending
                        });
                        filch::select! {
                            biased;
                            () = sleep(Duration::from_secs(365 * 86_400 + round)) => unreachable!("a year"),
                            () = ready => {}
                        }
                    }
                })
            })
            .collect();
        tasks.into_iter().for_each(|task| task.join_blocking().unwrap());
    });
}

#[test]
fn ov1_a_burst_of_tasks_gives_its_memory_back() {
    let runtime = workers(2);
    is_flat(1 << 20, move || {
        let tasks: Vec<_> = (0..50_000).map(|_| runtime.spawn(pending::<()>())).collect();
        tasks.iter().for_each(|task| task.abort());
        for task in tasks {
            assert!(task.join_blocking().unwrap_err().is_cancelled());
        }
    });
}

#[test]
fn tk7_tasks_that_panic_leave_no_memory() {
    std::panic::set_hook(Box::new(|_| ()));
    let runtime = workers(2);
    is_flat(64 << 10, move || {
        for round in 0..2_000_u32 {
            let task = runtime.spawn(async move {
                let _on_the_heap = Box::new([0_u8; 100]);
                assert!(round == u32::MAX, "as planned");
            });
            assert!(task.join_blocking().unwrap_err().is_panic());
        }
    });
}

#[test]
fn sh2_a_hundred_runtimes_leave_no_memory() {
    is_flat(64 << 10, move || {
        for _ in 0..30 {
            let runtime = workers(2);
            let sleeping = runtime.spawn(sleep(Duration::from_secs(1_000)));
            let waiting = runtime.spawn(async { pin!(pending::<()>()).await });
            runtime.block_on(filch::yield_now());
            drop(runtime);
            assert!(sleeping.is_finished() && waiting.is_finished());
        }
    });
}

#[test]
fn ps1_children_leave_no_memory() {
    let runtime = workers(2);
    is_flat(8 << 10, move || {
        runtime.block_on(async {
            for number in 0..200 {
                let mut command = filch::process::Command::new("true");
                command.kill_on_drop(true);
                match number % 3 {
                    0 => assert!(command.status().await.unwrap().success()),
                    1 => assert!(command.output().await.unwrap().status.success()),
                    _ => drop(command.spawn().unwrap()),
                }
            }
        });
        // What was dropped is waited for by a thread, which then ends.
        filch_tests::until(|| filch_tests::threads_named("filch-reaper") == 0);
    });
}

#[test]
fn nt10_connections_leave_no_memory() {
    use filch::io::{AsyncReadExt, AsyncWriteExt};
    use filch::net::{TcpListener, TcpStream};
    let runtime = workers(2);
    let listener = runtime.block_on(TcpListener::bind("127.0.0.1:0")).unwrap();
    is_flat(8 << 10, move || {
        runtime.block_on(async {
            let address = listener.local_addr().unwrap();
            for number in 0..500 {
                let client = filch::spawn(async move {
                    let mut stream = TcpStream::connect(address).await.unwrap();
                    stream.set_linger(Some(Duration::ZERO)).unwrap();
                    stream.write_all(b"x").await.unwrap();
                    if number % 4 != 0 {
                        let mut buf = [0];
                        // Given up while it waits, now and then.
                        let limit = Duration::from_secs(if number % 4 == 1 { 0 } else { 30 });
                        let _ = filch::wait_for(stream.read_exact(&mut buf), limit).await;
                    }
                });
                let (mut server, _) = listener.accept().await.unwrap();
                let mut buf = [0];
                let _ = server.read_exact(&mut buf).await;
                let _ = server.write_all(&buf).await;
                client.await.unwrap();
            }
        });
        filch_tests::until(|| runtime.metrics().live_tasks == 0);
    });
}

#[test]
fn bp3_jobs_and_files_leave_no_memory() {
    std::panic::set_hook(Box::new(|_| ()));
    // Few threads, all of which are there after the first round: each has memory of its own.
    let runtime = filch::Builder::new().workers(2).blocking_threads(4).build().unwrap();
    let path = std::env::temp_dir().join(format!("filch-alloc-{}", std::process::id()));
    let kept = path.clone();
    is_flat(64 << 10, move || {
        runtime.block_on(async {
            for number in 0..500_u32 {
                let job = filch::spawn_blocking(move || assert!(number % 5 != 0, "as planned"));
                match number % 3 {
                    0 => job.abort(),
                    1 => assert_eq!(job.await.is_ok(), number % 5 != 0),
                    _ => drop(job),
                }
                if number % 10 == 0 {
                    filch::fs::write(&path, vec![7; 100]).await.unwrap();
                    assert_eq!(filch::fs::read(&path).await.unwrap().len(), 100);
                }
            }
        });
        filch_tests::until(|| {
            runtime.metrics().live_tasks == 0 && runtime.metrics().blocking_queue_depth == 0
        });
    });
    std::fs::remove_file(kept).unwrap();
}

#[test]
fn tg2_groups_that_are_cancelled_leave_no_memory() {
    let runtime = workers(2);
    is_flat(8 << 10, move || {
        runtime.block_on(async {
            for number in 0..500_u64 {
                let group = filch::TaskGroup::new();
                for child in 0..8 {
                    group.spawn(async move {
                        sleep(Duration::from_micros(10 * child)).await;
                        child
                    });
                }
                match number % 3 {
                    0 => assert_eq!(group.join().await.unwrap().len(), 8),
                    1 => _ = filch::wait_for(group.join(), Duration::from_micros(20)).await,
                    _ => {
                        let token = filch::CancelToken::new();
                        let _guard = token.clone().drop_guard();
                        let _ =
                            filch::wait_for(token.run_until_cancelled(group.join()), Duration::ZERO).await;
                    }
                }
            }
        });
        filch_tests::until(|| runtime.metrics().live_tasks == 0);
    });
}
