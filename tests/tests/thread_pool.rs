//! The promise: a pool of threads runs what it is given, for threads and tasks alike; panics stay with their
//! jobs, cancel says what it did, a full queue makes whoever submits wait, and the end says what became of
//! everything.
#![allow(missing_docs)]

use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::sync::mpsc::{self, Sender};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use filch::pool::{CancelOutcome, Job, JobError, Pool, ThreadPool, as_completed};
use filch_tests::{Child, PATIENCE, child_case, on_drop, panics, poll_once, until, watched};

fn pool(threads: usize) -> ThreadPool {
    ThreadPool::new(threads).unwrap()
}

fn count(count: &AtomicUsize) {
    count.fetch_add(1, SeqCst);
}

/// Keeps one thread of the pool until the sender sends or goes.
fn occupy(pool: &ThreadPool) -> (Job<()>, Sender<()>) {
    let ((begun, has_begun), (free, freed)) = (mpsc::channel(), mpsc::channel());
    let job = pool.submit(move || {
        begun.send(()).unwrap();
        let _ = freed.recv();
    });
    has_begun.recv().unwrap();
    (job, free)
}

#[test]
fn threads_and_tasks_get_the_output() {
    watched(|| {
        let pool = pool(2);
        assert_eq!(pool.submit(|| 1).join().unwrap(), 1);
        assert_eq!(filch::run(pool.submit(|| 2)).unwrap(), 2);
        assert_eq!(filch::run(async { pool.submit_async(|| 3).await.await }).unwrap(), 3);
        let tokio = tokio::runtime::Builder::new_current_thread().build().unwrap();
        assert_eq!(tokio.block_on(pool.submit(|| 4)).unwrap(), 4);

        let (mut job, free) = {
            let (free, freed) = mpsc::channel::<()>();
            (pool.submit(move || freed.recv().is_ok()), free)
        };
        assert!(job.join_timeout(Duration::ZERO).is_none());
        assert!(!job.is_finished());
        free.send(()).unwrap();
        assert!(job.join_timeout(PATIENCE).unwrap().unwrap());
        assert!(panics(move || drop(job.join())).contains("polled again"));
        // Things are kept for the next one, by the pool of the channels.
        let _: Option<Pool<Vec<u8>>> = None;
    });
}

#[test]
fn many_jobs_from_many_sides() {
    watched(|| {
        let (pool, done) = (pool(3), Arc::new(AtomicUsize::new(0)));
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    let jobs: Vec<_> = (0..2_000)
                        .map(|n| {
                            let done = done.clone();
                            pool.submit(move || {
                                done.fetch_add(1, SeqCst);
                                n
                            })
                        })
                        .collect();
                    for (n, job) in jobs.into_iter().enumerate() {
                        assert_eq!(job.join().unwrap(), n);
                    }
                });
            }
        });
        assert_eq!(done.load(SeqCst), 8_000);
        let report = pool.shutdown(PATIENCE);
        assert_eq!((report.finished, report.is_complete()), (8_000, true), "{report}");
    });
}

#[test]
fn panics_stay_with_their_jobs() {
    watched(|| {
        let pool = ThreadPool::builder().threads(1).name("img").build().unwrap();
        let error = pool.submit(|| -> u8 { panic!("no luck") }).join().unwrap_err();
        let text = error.to_string();
        assert!(text.contains("thread_pool.rs") && text.contains("\"img\" panicked: no luck"), "{text}");
        assert!(error.is_panic() && !error.is_cancelled());
        assert!(error.location().file().ends_with("thread_pool.rs"));
        assert_eq!(*error.into_panic().downcast::<&str>().unwrap(), "no luck");
        // What is dropped with a job may panic, too.
        let bomb = on_drop(|| panic!("dropped"));
        drop(pool.submit(move || bomb));
        let bomb = on_drop(|| panic!("dropped"));
        drop(pool.submit(move || std::panic::panic_any(Mutex::new(bomb))));
        assert_eq!(pool.submit(|| 1).join().unwrap(), 1, "its thread is there");
    });
}

#[test]
fn a_panic_that_nobody_waits_for_is_told() {
    if child_case().is_some() {
        let pool = pool(1);
        drop(pool.submit(|| panic!("unheard")));
        pool.submit(|| ()).join().unwrap();
        let late = pool.submit(|| panic!("also unheard"));
        until(|| late.is_finished());
        drop(late);
        return;
    }
    let told = Child::new("a_panic_that_nobody_waits_for_is_told", "x").succeeds();
    for text in ["panicked: unheard", "panicked: also unheard"] {
        assert!(
            told.lines().any(|line| line.starts_with("filch: the job") && line.ends_with(text)),
            "{told}"
        );
    }
}

#[test]
fn cancel_says_what_it_did() {
    watched(|| {
        let pool = pool(1);
        let (running, free) = occupy(&pool);
        let dropped = Arc::new(AtomicUsize::new(0));
        let counted = dropped.clone();
        let guard = on_drop(move || count(&counted));
        let queued = pool.submit(move || drop(guard));
        assert_eq!(running.cancel(), CancelOutcome::Running);
        assert_eq!(queued.cancel(), CancelOutcome::NotStarted);
        assert_eq!(dropped.load(SeqCst), 1, "at once");
        assert_eq!(queued.cancel(), CancelOutcome::Done);
        let error = queued.join().unwrap_err();
        assert!(error.is_cancelled() && error.to_string().contains("was cancelled"), "{error}");
        drop(free);
        until(|| running.is_finished());
        assert_eq!(running.cancel(), CancelOutcome::Done);
        running.join().unwrap();
        // One that waits hears of it.
        let (_running, free) = occupy(&pool);
        let queued = Arc::new(Mutex::new(Some(pool.submit(|| ()))));
        filch::run(async {
            let mut job = queued.lock().unwrap().take().unwrap();
            assert!(poll_once(&mut job).await.is_none());
            assert_eq!(job.cancel(), CancelOutcome::NotStarted);
            assert!(job.await.unwrap_err().is_cancelled());
        });
        drop(free);
    });
}

#[test]
fn callbacks_come_before_the_handle_hears_of_it() {
    watched(|| {
        let pool = pool(1);
        let (running, free) = occupy(&pool);
        let (told, heard) = mpsc::channel();
        let job = pool.submit(|| 7);
        for name in ["first", "second"] {
            let told = told.clone();
            job.on_done(move |result| told.send((name, *result.as_ref().unwrap())).unwrap());
        }
        job.on_done(|_| panic!("of a callback"));
        drop(free);
        running.join().unwrap();
        until(|| job.is_finished());
        assert_eq!(heard.try_iter().collect::<Vec<_>>(), [("first", 7), ("second", 7)]);
        let told_late = told.clone();
        job.on_done(move |result| told_late.send(("late", *result.as_ref().unwrap())).unwrap());
        assert_eq!(heard.try_recv().unwrap(), ("late", 7), "right here");
        assert_eq!(job.join().unwrap(), 7);
        // With cancelled ones, too.
        let (_running, free) = occupy(&pool);
        let job = pool.submit(|| 8);
        job.on_done(move |result| told.send(("cancelled", i32::from(result.is_err()))).unwrap());
        let _ = job.cancel();
        assert_eq!(heard.try_recv().unwrap(), ("cancelled", 1));
        drop(free);
    });
}

#[test]
fn a_full_queue_makes_wait() {
    watched(|| {
        let pool = ThreadPool::builder().threads(1).queue(1).build().unwrap();
        let (_running, free) = occupy(&pool);
        let first = pool.submit(|| 1);
        assert_eq!(pool.queued(), 1);
        let back = pool.try_submit(|| 2).unwrap_err();
        let back = pool.submit_timeout(back, Duration::from_millis(1)).unwrap_err();
        assert_eq!(back(), 2, "it comes back as it was");
        filch::run(async {
            let mut waits = Box::pin(pool.submit_async(|| 3));
            assert!(poll_once(&mut waits).await.is_none());
            // Dropped: not run.
            let run = Arc::new(AtomicUsize::new(0));
            let counted = run.clone();
            let mut dropped = Box::pin(pool.submit_async(move || count(&counted)));
            assert!(poll_once(&mut dropped).await.is_none());
            drop(dropped);
            assert_eq!(Arc::strong_count(&run), 1);
            drop(free);
            assert_eq!(waits.await.await.unwrap(), 3);
        });
        assert_eq!(first.join().unwrap(), 1);
        // A thread waits, until there is room.
        let (_running, free) = occupy(&pool);
        let filler = pool.submit(|| ());
        std::thread::scope(|scope| {
            let waits = scope.spawn(|| pool.submit(|| 4).join().unwrap());
            drop(free);
            assert_eq!(waits.join().unwrap(), 4);
        });
        filler.join().unwrap();
    });
}

#[test]
fn a_job_that_floods_its_own_pool_is_told_or_has_it_all_done() {
    watched(|| {
        let done = Arc::new(AtomicUsize::new(0));
        let (unlimited, counted) = (pool(1), done.clone());
        let inside = unlimited.clone();
        let floods = unlimited.submit(move || {
            for _ in 0..10_000 {
                let counted = counted.clone();
                drop(inside.submit(move || count(&counted)));
            }
        });
        floods.join().unwrap();
        assert!(unlimited.shutdown(PATIENCE).is_complete());
        assert_eq!(done.load(SeqCst), 10_000);
        let limited = ThreadPool::builder().threads(1).queue(4).build().unwrap();
        let inside = limited.clone();
        let taken = limited.submit(move || (0..1_000).filter(|_| inside.try_submit(|| ()).is_ok()).count());
        assert_eq!(taken.join().unwrap(), 4);
        assert_eq!(limited.shutdown(PATIENCE).finished, 5);
    });
}

#[test]
fn map_keeps_the_order_and_is_lazy() {
    watched(|| {
        let pool = pool(2);
        let (made, run) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
        let (count_made, count_run) = (made.clone(), run.clone());
        let items = (0..).inspect(move |_| count(&count_made));
        let mut outputs = pool.map(items, move |n: u64| {
            count_run.fetch_add(1, SeqCst);
            n * 2
        });
        assert_eq!(made.load(SeqCst), 0);
        for n in 0..100 {
            assert_eq!(outputs.next().unwrap().unwrap(), n * 2);
        }
        assert!(made.load(SeqCst) <= 104 && run.load(SeqCst) <= 104);
        drop(outputs);

        let with_panic: Vec<Result<u32, JobError>> =
            pool.map(0..5, |n| if n == 2 { panic!("two") } else { n }).collect();
        assert!(with_panic[2].as_ref().unwrap_err().to_string().contains("panicked: two"));
        assert_eq!(with_panic.iter().flatten().copied().collect::<Vec<_>>(), [0, 1, 3, 4]);
        assert_eq!(pool.map(0..0, |n: u8| n).count(), 0);
        // With a queue that has less room than there are jobs ahead.
        let small = ThreadPool::builder().threads(2).queue(1).build().unwrap();
        assert_eq!(small.map(0..50, |n| n).map(Result::unwrap).sum::<u32>(), 1225);
        assert_eq!(small.map_unordered(0..50, |n| n).map(Result::unwrap).sum::<u32>(), 1225);
    });
}

#[test]
fn maps_that_end_early_cancel_what_has_not_begun() {
    watched(|| {
        let (pool, run) = (pool(1), Arc::new(AtomicUsize::new(0)));
        // Whichever comes after the first is the last that runs, as it waits until there is nothing to wait for.
        let gate = || {
            let ((free, freed), run) = (mpsc::channel::<()>(), run.clone());
            let freed = Mutex::new(freed);
            let job = move |n: usize| {
                run.fetch_add(1, SeqCst);
                if n >= 1 {
                    let _ = freed.lock().unwrap().recv();
                }
                n
            };
            (free, job)
        };
        let (free, job) = gate();
        let mut late = pool.map(0..100, job);
        late.set_ahead(8);
        late.set_deadline(Instant::now());
        // Whether the first is there in time or not: there is one error, and no more.
        let errors: Vec<_> = late.by_ref().filter_map(Result::err).collect();
        assert!(errors.len() == 1 && errors[0].is_timeout(), "{errors:?}");
        assert!(late.next().is_none());
        drop(free);
        pool.submit(|| ()).join().unwrap();
        assert!(run.swap(0, SeqCst) <= 2, "what was queued is cancelled");

        let (free, job) = gate();
        let mut late = pool.map_unordered(1..100, job);
        late.set_deadline(Instant::now());
        assert!(late.next().unwrap().unwrap_err().is_timeout());
        assert!(late.next().is_none());
        drop(free);
        pool.submit(|| ()).join().unwrap();
        assert!(run.swap(0, SeqCst) <= 1);

        let (free, job) = gate();
        let mut dropped = pool.map(0..100, job);
        assert_eq!(dropped.next().unwrap().unwrap(), 0);
        drop(dropped);
        drop(free);
        pool.submit(|| ()).join().unwrap();
        assert!(run.swap(0, SeqCst) <= 2);
    });
}

#[test]
fn unordered_outputs_come_as_they_are_done() {
    watched(|| {
        let pool = pool(2);
        // The first item is done only after the second was given.
        let (free, freed) = mpsc::channel::<()>();
        let freed = Mutex::new(freed);
        let mut outputs = pool.map_unordered(0..3, move |n| {
            if n == 0 {
                freed.lock().unwrap().recv().unwrap();
            }
            assert_ne!(n, 2, "two");
            n
        });
        assert_eq!(outputs.next().unwrap().unwrap(), 1);
        assert!(outputs.next().unwrap().unwrap_err().to_string().contains("two"));
        free.send(()).unwrap();
        assert_eq!(outputs.next().unwrap().unwrap(), 0);
        assert!(outputs.next().is_none());
        // Jobs that are never run are errors, not a wait for ever.
        pool.shutdown(PATIENCE);
        let mut outputs = pool.map_unordered(0..3, |n| n);
        assert!((0..3).all(|_| outputs.next().unwrap().unwrap_err().is_cancelled()));
        assert!(outputs.next().is_none());
        assert!(pool.map(0..3, |n| n).all(|output| output.unwrap_err().is_cancelled()));
    });
}

#[test]
fn as_completed_is_for_threads_and_tasks() {
    watched(|| {
        let pool = pool(2);
        let jobs = |free: &mut Vec<Sender<()>>| {
            let (sender, freed) = mpsc::channel::<()>();
            free.push(sender);
            vec![pool.submit(move || freed.recv().map_or(0, |()| 0)), pool.submit(|| 1)]
        };
        let mut free = Vec::new();
        let mut done = as_completed(jobs(&mut free));
        assert_eq!(done.next().unwrap().unwrap(), 1);
        assert!(done.next_timeout(Duration::ZERO).is_err());
        assert_eq!(done.remaining(), 1);
        free.clear();
        assert_eq!(done.next_timeout(PATIENCE).unwrap().unwrap().unwrap(), 0);
        assert!(done.next().is_none() && done.next_timeout(Duration::ZERO).unwrap().is_none());
        filch::run(async {
            let mut done = as_completed(jobs(&mut free));
            let next = |done: &mut _| futures_lite::future::block_on(futures_lite::StreamExt::next(done));
            assert_eq!(next(&mut done).unwrap().unwrap(), 1);
            free.clear();
            assert_eq!(futures_lite::StreamExt::next(&mut done).await.unwrap().unwrap(), 0);
        });
    });
}

#[test]
fn the_end_says_what_became_of_everything() {
    watched(|| {
        let pool = ThreadPool::builder().threads(2).name("end").build().unwrap();
        let (stuck, free) = occupy(&pool);
        let jobs: Vec<_> = (0..10).map(|n| pool.submit(move || n)).collect();
        // The other thread does what is in the queue.
        for (n, job) in jobs.into_iter().enumerate() {
            assert_eq!(job.join().unwrap(), n);
        }
        let (other, free_other) = occupy(&pool);
        let queued = pool.submit(|| 1);
        let report = pool.shutdown(Duration::from_millis(1));
        assert_eq!((report.finished, report.cancelled, report.unfinished.len()), (10, 1, 2), "{report}");
        assert!(report.to_string().contains("end-1 runs the job submitted at"), "{report}");
        assert!(queued.join().unwrap_err().to_string().contains("shut down"));
        assert!(pool.is_shut_down());
        assert!(pool.submit(|| 1).join().unwrap_err().is_cancelled());
        assert!(filch::run(async { pool.submit_async(|| 1).await.await }).unwrap_err().is_cancelled());
        assert_eq!(pool.try_submit(|| 1).unwrap_err()(), 1);
        drop((free, free_other));
        stuck.join().unwrap();
        other.join().unwrap();
        let report = pool.shutdown(Duration::MAX);
        assert_eq!((report.finished, report.cancelled, report.unfinished.len()), (12, 1, 0), "{report}");
    });
}

#[test]
fn what_was_submitted_is_done_though_the_pool_is_dropped() {
    watched(|| {
        let pool = pool(1);
        let (_running, free) = occupy(&pool);
        let jobs: Vec<_> = (0..10).map(|n| pool.submit(move || n)).collect();
        drop(pool.clone());
        drop(pool);
        drop(free);
        assert_eq!(jobs.into_iter().map(|job| job.join().unwrap()).sum::<i32>(), 45);
    });
}

#[test]
fn mistakes_are_errors_that_say_so() {
    let error = |builder: filch::pool::Builder| builder.build().unwrap_err().to_string();
    assert!(error(ThreadPool::builder().threads(0)).contains("not 0"));
    assert!(error(ThreadPool::builder().threads(usize::MAX)).contains("1 to 32768"));
    assert!(error(ThreadPool::builder().queue(0)).contains("room for a job"));
    assert!(error(ThreadPool::builder().name("a\0b")).contains("NUL"));
    assert!(ThreadPool::builder().build().unwrap().threads() > 0);
}

#[test]
fn both_halves_of_a_fork_may_borrow() {
    watched(|| {
        let pool = pool(2);
        let mut numbers: Vec<u32> = (0..10_000).rev().collect();
        fn sort(pool: &ThreadPool, numbers: &mut [u32]) {
            if numbers.len() <= 32 {
                return numbers.sort_unstable();
            }
            let middle = numbers.len() / 2;
            numbers.select_nth_unstable(middle);
            let (left, right) = numbers.split_at_mut(middle);
            pool.join(|| sort(pool, left), || sort(pool, right));
        }
        sort(&pool, &mut numbers);
        assert!(numbers.is_sorted());
        // In a job of a pool with one thread, and in a pool that is shut down.
        let small = ThreadPool::new(1).unwrap();
        let inside = small.clone();
        let sorted = small.submit(move || {
            let mut numbers: Vec<u32> = (0..1_000).rev().collect();
            sort(&inside, &mut numbers);
            numbers.is_sorted()
        });
        assert!(sorted.join().unwrap());
        small.shutdown(PATIENCE);
        assert_eq!(small.join(|| 1, || 2), (1, 2));
    });
}

#[test]
fn both_halves_run_at_the_same_time_if_a_thread_is_free() {
    watched(|| {
        let pool = pool(1);
        let (sender, receiver) = mpsc::channel();
        let (got, ()) = pool.join(|| receiver.recv().unwrap(), move || sender.send(7).unwrap());
        assert_eq!(got, 7);
    });
}

#[test]
fn a_fork_panics_after_both_halves_are_over() {
    watched(|| {
        let pool = pool(2);
        for _ in 0..100 {
            let over = AtomicUsize::new(0);
            let text = panics(|| {
                pool.join(|| panic!("a"), || count(&over));
            });
            assert_eq!((text.as_str(), over.load(SeqCst)), ("a", 1));
            let text = panics(|| {
                pool.join(|| count(&over), || panic!("b"));
            });
            assert_eq!((text.as_str(), over.load(SeqCst)), ("b", 2));
            let text = panics(|| {
                pool.join(|| panic!("a"), || panic!("b"));
            });
            assert_eq!(text, "a");
        }
    });
}

#[test]
fn pieces_are_mapped_in_order() {
    watched(|| {
        let pool = pool(2);
        let items: Vec<usize> = (0..1_003).collect();
        for size in [1, 7, 1_002, 1_003, 5_000] {
            let sums = pool.map_chunks(&items, size, |piece| piece.iter().sum::<usize>());
            let expected: Vec<usize> = items.chunks(size).map(|piece| piece.iter().sum()).collect();
            assert_eq!(sums, expected, "pieces of {size}");
        }
        assert!(pool.map_chunks(&[0; 0], 3, |_| 0).is_empty());
        assert!(panics(|| drop(pool.map_chunks(&items, 0, |_| ()))).contains("one item at least"));
        let text =
            panics(|| drop(pool.map_chunks(&items, 10, |piece| assert_ne!(piece[0], 500, "five hundred"))));
        assert!(text.contains("five hundred"), "{text}");
    });
}
