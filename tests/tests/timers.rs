//! The promise: timers fire in the order of their deadlines, never early, at every duration that can be
//! written; and under a paused clock at exactly the nanosecond that was asked for.
//!
//! Nothing here sleeps or reads the real clock, but for one line that only has to end.

use std::future::{Future, pending, poll_fn, ready};
use std::pin::{Pin, pin};
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::{Arc, Mutex};
use std::task::Poll;

use filch::time::{
    Duration, Elapsed, Instant, MissedTick, advance, interval, interval_at, sleep, sleep_until, timeout,
    timeout_at, wait_for,
};

const MS: Duration = Duration::from_millis(1);

/// Runs `future` in a runtime whose time is virtual.
fn paused<F: Future>(future: F) -> F::Output {
    filch::Builder::new().paused_clock(7).build().unwrap().block_on(future)
}

/// Polls once, with the task's waker.
async fn poll_once<F: Future + Unpin>(future: &mut F) -> Option<F::Output> {
    poll_fn(|cx| match Pin::new(&mut *future).poll(cx) {
        Poll::Ready(value) => Poll::Ready(Some(value)),
        Poll::Pending => Poll::Ready(None),
    })
    .await
}

/// Awaits `future` and says how much time that took.
async fn timed<F: Future>(future: F) -> (F::Output, Duration) {
    let start = Instant::now();
    let value = future.await;
    (value, start.elapsed())
}

#[test]
fn a_sleep_takes_exactly_as_long_as_asked() {
    paused(async {
        for nanos in [1, 2, 999, 65_535, 65_536, 65_537, 10_000_000, 4_194_304, 1 << 40, 1 << 62] {
            let duration = Duration::from_nanos(nanos);
            assert_eq!(timed(sleep(duration)).await.1, duration);
        }
        let deadline = Instant::now() + 3 * MS;
        sleep_until(deadline).await;
        assert_eq!(Instant::now(), deadline);
    });
}

#[test]
fn each_of_many_tasks_wakes_at_its_own_nanosecond_and_in_order() {
    let woken = Arc::new(Mutex::new(Vec::new()));
    let mut expected: Vec<u64> =
        (0..5_000_u64).map(|i| i.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 30).collect();
    paused(async {
        let start = Instant::now();
        let mut tasks = Vec::new();
        for nanos in expected.clone() {
            let woken = woken.clone();
            tasks.push(filch::spawn(async move {
                sleep_until(start + Duration::from_nanos(nanos)).await;
                assert_eq!(start.elapsed(), Duration::from_nanos(nanos));
                woken.lock().unwrap().push(nanos);
            }));
        }
        for task in tasks {
            task.await.unwrap();
        }
    });
    expected.sort_unstable();
    assert_eq!(*woken.lock().unwrap(), expected);
}

#[test]
fn tm1_zero_and_the_past_are_over_at_the_first_poll() {
    paused(async {
        sleep(MS).await;
        let past = Instant::now() - MS;
        let long_past = Instant::now() - Duration::MAX;
        for mut sleep in [sleep(Duration::ZERO), sleep_until(past), sleep_until(long_past)] {
            assert!(sleep.is_elapsed());
            assert_eq!(poll_once(&mut sleep).await, Some(()));
        }
        let (result, took) = timed(timeout(Duration::ZERO, pending::<()>())).await;
        assert!(result.is_err());
        assert_eq!(took, Duration::ZERO);
        assert_eq!(timeout_at(past, ready(5)).await, Ok(5));
        assert!(timeout_at(long_past, pending::<()>()).await.is_err());
    });
}

#[test]
fn tm1_the_longest_durations_never_end_and_never_panic() {
    const TEN_YEARS: Duration = Duration::from_secs(86_400 * 3650);
    paused(async {
        let far = Instant::now() + Duration::MAX;
        let start = Instant::now();
        for limit in [Duration::from_nanos(1), 10 * MS, TEN_YEARS] {
            for never in [sleep(Duration::MAX), sleep(Duration::from_secs(u64::MAX)), sleep_until(far)] {
                let (result, took) = timed(timeout(limit, never)).await;
                assert_eq!((result.is_err(), took), (true, limit));
            }
        }
        assert_eq!(start.elapsed(), 3 * (Duration::from_nanos(1) + 10 * MS + TEN_YEARS));
        assert_eq!(timeout(Duration::MAX, sleep(MS)).await, Ok(()));
        assert_eq!(timeout_at(far, sleep(MS)).await, Ok(()));
        assert_eq!(wait_for(sleep(MS), Duration::MAX).await, Ok(()));
        let mut interval = interval(Duration::MAX);
        interval.tick().await;
        assert!(timeout(MS, interval.tick()).await.is_err());
        interval.reset();
        assert!(timeout(MS, interval.tick()).await.is_err());
        interval.reset_immediately();
        interval.tick().await;
        assert!(timeout(MS, interval_at(far, MS).tick()).await.is_err());
    });
}

#[test]
fn reset_moves_the_deadline_of_a_task_that_waits() {
    paused(async {
        let start = Instant::now();
        let mut moved = sleep(10 * MS);
        assert_eq!(poll_once(&mut moved).await, None);
        // From here on it is not polled until it is over.
        for (to, other) in [(30 * MS, 20 * MS), (Duration::MAX, 40 * MS), (50 * MS, 45 * MS)] {
            moved.reset(start + to);
            sleep_until(start + other).await;
            assert!(!moved.is_elapsed());
        }
        let mut polls = 0;
        poll_fn(|_| {
            polls += 1;
            if start.elapsed() < 50 * MS { Poll::Pending } else { Poll::Ready(()) }
        })
        .await;
        assert_eq!((start.elapsed(), moved.is_elapsed(), polls), (50 * MS, true, 2));
        moved.await;
        assert_eq!(start.elapsed(), 50 * MS);
    });
}

#[test]
fn tm1_reset_to_the_past_wakes() {
    paused(async {
        let start = Instant::now();
        let mut moved = sleep(10 * MS);
        for to in [start, start - Duration::MAX] {
            moved.reset(start + 10 * MS);
            assert_eq!(poll_once(&mut moved).await, None);
            moved.reset(to);
            let mut is_first = true;
            poll_fn(|_| if std::mem::take(&mut is_first) { Poll::Pending } else { Poll::Ready(()) }).await;
            assert_eq!(start.elapsed(), Duration::ZERO);
            assert_eq!(poll_once(&mut moved).await, Some(()));
        }
        moved.reset(start + 3 * MS);
        (&mut moved).await;
        assert_eq!(start.elapsed(), 3 * MS);
    });
}

#[test]
fn tm7_a_sleep_wakes_the_task_that_polled_it_last() {
    paused(async {
        let start = Instant::now();
        let mut moved = sleep(10 * MS);
        assert_eq!(poll_once(&mut moved).await, None);
        let second = filch::spawn(async move {
            moved.await;
            start.elapsed()
        });
        let mut polls = 0;
        let first = poll_fn(|_| {
            polls += 1;
            Poll::<()>::Pending
        });
        assert!(timeout(50 * MS, first).await.is_err());
        assert_eq!(second.await.unwrap(), 10 * MS);
        assert_eq!(polls, 2, "once at first and once at the limit");
    });
}

#[test]
fn tm5_a_dropped_sleep_is_gone() {
    paused(async {
        for _ in 0..1_000 {
            let mut dropped = sleep(MS);
            assert_eq!(poll_once(&mut dropped).await, None);
        }
        let start = Instant::now();
        let mut polls = 0;
        let mut kept = sleep(10 * MS);
        poll_fn(|cx| {
            polls += 1;
            Pin::new(&mut kept).poll(cx)
        })
        .await;
        assert_eq!((start.elapsed(), polls), (10 * MS, 2));
    });
}

#[test]
fn a_timeout_ends_at_its_limit_or_with_its_value() {
    paused(async {
        assert_eq!(timed(timeout(10 * MS, pending::<()>())).await.1, 10 * MS);
        assert_eq!(timed(timeout(10 * MS, sleep(4 * MS))).await, (Ok(()), 4 * MS));
        let (result, took) = timed(wait_for(sleep(20 * MS), 10 * MS)).await;
        assert_eq!((result.is_err(), took), (true, 10 * MS));
    });
}

#[test]
fn wf1_a_value_that_is_ready_at_the_deadline_wins() {
    paused(async {
        for _ in 0..10 {
            let deadline = Instant::now() + 10 * MS;
            assert_eq!(timeout_at(deadline, sleep_until(deadline)).await, Ok(()));
            // Also if both deadlines passed long before the poll.
            let mut late = timeout(10 * MS, sleep(10 * MS));
            assert!(poll_once(&mut late).await.is_none());
            advance(50 * MS).await;
            assert_eq!(late.await, Ok(()));
        }
    });
}

#[test]
fn a_timeout_gives_its_future_back() {
    paused(async {
        let start = Instant::now();
        let mut limited = timeout(MS, sleep(10 * MS));
        assert_eq!(limited.deadline(), start + MS);
        assert!(poll_once(&mut limited).await.is_none());
        assert_eq!(limited.get_ref().deadline(), start + 10 * MS);
        limited.get_mut().reset(start + 5 * MS);
        limited.into_inner().await;
        assert_eq!(start.elapsed(), 5 * MS);
    });
}

#[test]
fn the_error_of_a_timeout_becomes_an_io_error() {
    let elapsed: Elapsed = paused(timeout(MS, pending::<()>())).unwrap_err();
    assert!(elapsed.to_string().contains("time limit"));
    assert_eq!(std::io::Error::from(elapsed).kind(), std::io::ErrorKind::TimedOut);
}

/// Spends the whole budget at each poll, and is never ready.
fn glutton() -> impl Future<Output = ()> {
    poll_fn(|cx| {
        while Pin::new(&mut sleep(Duration::ZERO)).poll(cx).is_ready() {}
        Poll::Pending
    })
}

#[test]
fn wf1_a_future_that_spends_the_whole_budget_still_times_out() {
    paused(async {
        let is_polled = Arc::new(AtomicBool::new(false));
        let glutton = filch::spawn({
            let is_polled = is_polled.clone();
            async move {
                let glutton = timeout(10 * MS, glutton());
                is_polled.store(true, Relaxed);
                timed(glutton).await
            }
        });
        // Time stands still while the glutton runs.
        while !is_polled.load(Relaxed) {
            filch::yield_now().await;
        }
        advance(9 * MS).await;
        assert!(!glutton.is_finished());
        advance(MS).await;
        let (result, took) = glutton.await.unwrap();
        assert_eq!((result.is_err(), took), (true, 10 * MS));
    });
    assert!(filch::run(timeout(MS, glutton())).is_err());
}

#[test]
fn ticks_come_at_every_multiple_of_the_period() {
    paused(async {
        let start = Instant::now();
        let mut interval = interval(10 * MS);
        assert_eq!(interval.period(), 10 * MS);
        for i in 0..100 {
            assert_eq!(interval.tick().await, start + i * 10 * MS);
            assert_eq!(start.elapsed(), i * 10 * MS);
            sleep(9 * MS).await;
        }
        let mut later = interval_at(Instant::now() + 7 * MS, MS);
        assert_eq!(timed(later.tick()).await.1, 7 * MS);
        assert_eq!(timed(later.tick()).await.1, MS);
    });
}

#[test]
fn tm6_missed_ticks_are_treated_as_the_table_says() {
    let cases: [(MissedTick, &[u32]); 3] = [
        (MissedTick::Burst, &[0, 35, 35, 35, 40, 50, 60]),
        (MissedTick::Delay, &[0, 35, 45, 55, 65]),
        (MissedTick::Skip, &[0, 35, 40, 50, 60]),
    ];
    for (missed, expected) in cases {
        for by_advance in [false, true] {
            let taken = paused(async {
                let start = Instant::now();
                let mut interval = interval(10 * MS);
                assert_eq!(interval.missed_tick_behavior(), MissedTick::Delay, "the default");
                interval.set_missed_tick_behavior(missed);
                let mut taken = Vec::new();
                for i in 0..expected.len() {
                    interval.tick().await;
                    taken.push(start.elapsed());
                    if i == 0 && by_advance {
                        advance(35 * MS).await;
                    } else if i == 0 {
                        sleep(35 * MS).await;
                    }
                }
                taken
            });
            assert_eq!(taken, expected.iter().map(|ms| *ms * MS).collect::<Vec<_>>(), "{missed:?}");
        }
    }
}

#[test]
fn tm6_ticks_of_a_task_that_stalls_for_ten_periods() {
    let count = |missed| {
        paused(async move {
            let mut interval = interval(10 * MS);
            interval.set_missed_tick_behavior(missed);
            interval.tick().await;
            advance(100 * MS).await;
            let mut at_once = 0;
            while poll_fn(|cx| Poll::Ready(interval.poll_tick(cx))).await.is_ready() {
                at_once += 1;
            }
            at_once
        })
    };
    assert_eq!([MissedTick::Burst, MissedTick::Delay, MissedTick::Skip].map(count), [10, 1, 1]);
}

#[test]
fn a_tick_that_was_not_waited_for_is_not_lost() {
    paused(async {
        let start = Instant::now();
        let mut interval = interval_at(start + 10 * MS, 10 * MS);
        for _ in 0..3 {
            assert!(timeout(2 * MS, interval.tick()).await.is_err());
        }
        assert_eq!(interval.tick().await, start + 10 * MS);
        assert_eq!(start.elapsed(), 10 * MS);
    });
}

#[test]
fn an_interval_can_be_reset() {
    paused(async {
        let mut interval = interval(10 * MS);
        interval.tick().await;
        sleep(7 * MS).await;
        interval.reset();
        assert_eq!(timed(interval.tick()).await.1, 10 * MS);
        interval.reset_immediately();
        assert_eq!(timed(interval.tick()).await.1, Duration::ZERO);
        assert_eq!(timed(interval.tick()).await.1, 10 * MS);
        interval.reset_after(3 * MS);
        assert_eq!(timed(interval.tick()).await.1, 3 * MS);
        assert_eq!(timed(interval.tick()).await.1, 10 * MS);
        interval.reset_at(Instant::now() + 25 * MS);
        assert_eq!(timed(interval.tick()).await.1, 25 * MS);
    });
}

#[test]
fn a_period_of_zero_does_not_panic() {
    paused(async {
        for missed in [MissedTick::Burst, MissedTick::Delay, MissedTick::Skip] {
            let mut interval = interval(Duration::ZERO);
            interval.set_missed_tick_behavior(missed);
            for _ in 0..1_000 {
                interval.tick().await;
            }
            advance(MS).await;
            for _ in 0..1_000 {
                interval.tick().await;
            }
        }
    });
}

#[test]
fn advance_moves_the_clock_in_one_step_and_lets_the_woken_run() {
    paused(async {
        let start = Instant::now();
        let tasks = [3, 1, 2, 50].map(|ms| {
            filch::spawn(async move {
                sleep_until(start + ms * MS).await;
                start.elapsed()
            })
        });
        advance(10 * MS).await;
        assert_eq!(start.elapsed(), 10 * MS);
        // Who is next is up to the seed, but time stands still while this task and those are awake.
        while !tasks[..3].iter().all(|task| task.is_finished()) {
            filch::yield_now().await;
        }
        assert_eq!((start.elapsed(), tasks[3].is_finished()), (10 * MS, false));
        let mut seen = Vec::new();
        for task in tasks {
            seen.push(task.await.unwrap());
        }
        assert_eq!(seen, [10 * MS, 10 * MS, 10 * MS, 50 * MS]);
        advance(Duration::ZERO).await;
        assert_eq!(start.elapsed(), 50 * MS);
    });
}

#[test]
fn tm1_advance_to_the_end_of_time_fires_what_ends_and_nothing_else() {
    paused(async {
        let mut long = sleep(Duration::from_secs(1 << 32));
        let mut never = sleep(Duration::MAX);
        assert!(poll_once(&mut long).await.is_none() && poll_once(&mut never).await.is_none());
        advance(Duration::MAX).await;
        assert_eq!(poll_once(&mut long).await, Some(()));
        assert_eq!(poll_once(&mut never).await, None);
    });
}

#[test]
#[should_panic(expected = "the clock of this runtime is real")]
fn advance_needs_a_virtual_clock() {
    filch::run(advance(MS));
}

#[test]
#[should_panic(expected = "no filch runtime on this thread")]
fn a_sleep_outside_of_a_runtime_says_what_to_do() {
    let mut sleep = pin!(sleep(MS));
    let _ = sleep.as_mut().poll(&mut std::task::Context::from_waker(std::task::Waker::noop()));
}

#[test]
fn a_sleep_that_is_reset_on_a_thread_without_a_runtime_wakes_its_task() {
    filch_tests::watched(|| {
        let runtime = filch_tests::workers(1);
        let sleep = Arc::new(Mutex::new(sleep(Duration::from_secs(3_600))));
        let shared = sleep.clone();
        let task = runtime.spawn(poll_fn(move |cx| Pin::new(&mut *shared.lock().unwrap()).poll(cx)));
        // From then on the worker that owns the timer is on its way to sleep for an hour.
        filch_tests::until(|| {
            runtime.handle().tasks().iter().all(|task| task.wait == filch::WaitKind::Timer)
        });
        sleep.lock().unwrap().reset(Instant::now());
        task.join_blocking().unwrap();
    });
}
