//! The promise: `Debounce` calls when it has been quiet, with the last arguments; `Throttle` calls at once and
//! not again for a while; the adaptors of streams do the same to items. All of it to the tick.

use std::sync::{Arc, Mutex};
use std::thread;

use filch::limit::{Debounce, LimitExt, RateLimiter, Throttle};
use filch::stream::{Stream, StreamExt, iter};
use filch::testing::cancel_at_every_await;
use filch::time::{Duration, Instant, sleep, sleep_until};

const MS: Duration = Duration::from_millis(1);

/// What was called, and when.
#[derive(Clone)]
struct Log<T> {
    start: Instant,
    calls: Arc<Mutex<Vec<(u128, T)>>>,
}

impl<T: Send + 'static> Log<T> {
    fn new() -> Log<T> {
        Log { start: Instant::now(), calls: Arc::default() }
    }

    fn note(&self) -> impl FnMut(T) + Send + 'static {
        let (start, calls) = (self.start, self.calls.clone());
        move |value| calls.lock().unwrap().push((start.elapsed().as_millis(), value))
    }

    fn take(&self) -> Vec<(u128, T)> {
        std::mem::take(&mut *self.calls.lock().unwrap())
    }

    /// Waits until so many milliseconds after the start.
    async fn at(&self, ms: u32) {
        sleep_until(self.start + ms * MS).await;
    }
}

#[filch::test(paused)]
async fn a_debounced_call_is_made_after_the_quiet_with_the_last_arguments() {
    let log = Log::new();
    let debounce = Debounce::new(300 * MS, log.note());
    for (at, query) in [(0, "a"), (100, "ab"), (399, "abc"), (1_000, "x"), (1_300, "y")] {
        log.at(at).await;
        debounce.call(query);
    }
    // The fourth: 300 ms later there is a call at the very instant, and either may come first.
    log.at(2_000).await;
    let calls = log.take();
    assert_eq!((calls[0], *calls.last().unwrap()), ((699, "abc"), (1_600, "y")));
    assert!(calls.len() == 2 || calls[1] == (1_300, "x"));
    assert!(!debounce.is_pending());
}

#[filch::test(paused)]
async fn no_call_waits_longer_than_it_may() {
    let log = Log::new();
    let debounce = Debounce::new(30 * MS, log.note()).max_wait(100 * MS);
    for n in 0..25 {
        debounce.call(n);
        sleep(9 * MS).await;
    }
    log.at(1_000).await;
    assert_eq!(log.take(), [(100, 11), (208, 23), (246, 24)]);
}

#[filch::test(paused)]
async fn what_is_due_can_be_made_at_once_or_taken_back() {
    let log = Log::new();
    let debounce = Debounce::new(100 * MS, log.note());
    assert!(!debounce.flush().await);
    assert_eq!(debounce.cancel(), None);
    debounce.call("first");
    log.at(10).await;
    assert!(debounce.is_pending());
    assert!(debounce.flush().await);
    assert!(!debounce.flush().await);
    assert_eq!(log.take(), [(10, "first")]);
    debounce.call("second");
    log.at(50).await;
    assert_eq!(debounce.cancel(), Some("second"));
    log.at(60).await;
    debounce.call("third");
    log.at(500).await;
    assert_eq!(log.take(), [(160, "third")]);
}

#[filch::test(paused)]
async fn a_call_that_is_due_outlives_its_handles_and_needs_one_task() {
    let log = Log::new();
    let debounce = Debounce::new(100 * MS, log.note());
    let tasks = || filch::Handle::current().tasks().len();
    let before = tasks();
    for n in 0..1_000 {
        debounce.clone().call(n);
    }
    assert_eq!(tasks(), before + 1);
    drop(debounce);
    log.at(200).await;
    assert_eq!((log.take(), tasks()), (vec![(100, 999)], before));
}

#[filch::test(paused)]
async fn a_panic_in_the_function_is_not_its_end() {
    let log = Log::new();
    let mut note = log.note();
    let debounce = Debounce::new(10 * MS, move |n| {
        assert_ne!(n, 1, "on purpose");
        note(n);
    });
    debounce.call(0);
    log.at(20).await;
    debounce.call(1);
    log.at(40).await;
    debounce.call(2);
    log.at(60).await;
    assert_eq!(log.take(), [(10, 0), (50, 2)]);
}

#[test]
fn a_call_outside_of_a_runtime_is_a_panic_that_says_so_and_breaks_nothing() {
    let runtime = filch::Builder::new().paused_clock(1).build().unwrap();
    let log = runtime.block_on(async { Log::new() });
    let debounce = Debounce::new(10 * MS, log.note());
    let text = filch_tests::panics(std::panic::AssertUnwindSafe(|| debounce.call(1)));
    assert!(text.contains("no filch runtime on this thread"), "{text}");
    let entered = thread::scope(|scope| {
        scope
            .spawn(|| {
                let _entered = runtime.handle().enter();
                debounce.call(2);
            })
            .join()
    });
    entered.unwrap();
    runtime.block_on(log.at(50));
    assert_eq!(log.take(), [(10, 2)]);
}

#[filch::test(paused)]
async fn a_function_may_use_its_own_handle() {
    let slot = Arc::new(Mutex::new(None::<Debounce<u32>>));
    let log = Log::new();
    let (mut note, own) = (log.note(), slot.clone());
    let debounce = Debounce::new(10 * MS, move |n: u32| {
        note(n);
        if n < 3 {
            own.lock().unwrap().as_ref().unwrap().call(n + 1);
        }
    });
    *slot.lock().unwrap() = Some(debounce.clone());
    debounce.call(1);
    log.at(100).await;
    assert_eq!(log.take(), [(10, 1), (20, 2), (30, 3)]);
    *slot.lock().unwrap() = None;

    let slot = Arc::new(Mutex::new(None::<Throttle<u32>>));
    let own = slot.clone();
    let throttle = Throttle::new(Duration::ZERO, move |n: u32| {
        let throttle = own.lock().unwrap().clone().unwrap();
        assert!(!throttle.call(n), "it runs already");
    });
    *slot.lock().unwrap() = Some(throttle.clone());
    assert!(throttle.call(1));
    assert!(throttle.call(2));
    *slot.lock().unwrap() = None;
}

#[filch::test(paused)]
async fn a_flush_that_is_dropped_leaves_the_call_due() {
    let report = cancel_at_every_await(async |trial| {
        let log = Log::new();
        let debounce = Debounce::new(10 * MS, log.note());
        debounce.call(1);
        let flushed = trial.run(debounce.flush()).await;
        log.at(20).await;
        assert_eq!(log.take(), [(if flushed.is_some() { 0 } else { 10 }, 1)]);
    });
    assert!(report.await.drops() > 0);
}

#[filch::test(paused)]
async fn a_throttled_call_is_made_at_once_and_others_are_dropped() {
    let log = Log::new();
    let throttle = Throttle::new(100 * MS, log.note());
    let mut made = Vec::new();
    for at in [0, 1, 99, 100, 150, 199, 350, 449, 450] {
        log.at(at).await;
        made.push(throttle.call(at));
    }
    assert_eq!(made, [true, false, false, true, false, false, true, false, true]);
    log.at(1_000).await;
    assert_eq!(log.take(), [(0, 0), (100, 100), (350, 350), (450, 450)]);
}

#[filch::test(paused)]
async fn a_trailing_call_is_the_last_that_was_too_early() {
    let log = Log::new();
    let throttle = Throttle::new(100 * MS, log.note()).trailing();
    for at in [0, 10, 20, 130, 170, 500, 510] {
        log.at(at).await;
        throttle.call(at);
    }
    assert_eq!((throttle.cancel(), throttle.is_pending()), (Some(510), false));
    log.at(1_000).await;
    assert_eq!(log.take(), [(0, 0), (100, 20), (200, 170), (500, 500)]);
}

/// A stream of numbers that come at these times.
fn timed(start: Instant, times: &[u32]) -> impl Stream<Item = u32> + use<> {
    let times = times.to_vec();
    filch::generator(async move |mut y: filch::Yielder<'_, u32>| {
        for at in times {
            sleep_until(start + at * MS).await;
            y.emit(at).await;
        }
    })
}

async fn read(start: Instant, stream: impl Stream<Item = u32>) -> Vec<(u128, u32)> {
    stream.map(|item| (start.elapsed().as_millis(), item)).collect().await
}

#[filch::test(paused)]
async fn streams_are_debounced_to_the_tick() {
    let start = Instant::now();
    let stream = timed(start, &[0, 50, 100, 400, 600, 650]).debounce(100 * MS);
    assert_eq!(read(start, stream).await, [(200, 100), (500, 400), (650, 650)]);
    assert_eq!(iter([1, 2, 3]).debounce(Duration::MAX).collect::<Vec<_>>().await, [3]);
    assert_eq!(iter([0; 0]).debounce(MS).collect::<Vec<_>>().await, [0; 0]);
}

#[filch::test(paused)]
async fn streams_are_throttled_to_the_tick() {
    let times = [0, 1, 99, 100, 150, 260, 270];
    let start = Instant::now();
    let stream = timed(start, &times).throttle(100 * MS);
    assert_eq!(read(start, stream).await, [(0, 0), (100, 100), (260, 260)]);
    let start = Instant::now();
    let stream = timed(start, &[0, 10, 20, 130, 250, 260]).throttle(100 * MS).trailing();
    assert_eq!(read(start, stream).await, [(0, 0), (100, 20), (200, 130), (260, 260)]);
}

#[filch::test(paused)]
async fn streams_are_slowed_down_without_loss() {
    let limiter = RateLimiter::new(2, 100 * MS);
    let start = Instant::now();
    let stream = timed(start, &[0, 1, 2, 3, 250]).paced(&limiter);
    assert_eq!(read(start, stream).await, [(0, 0), (1, 1), (100, 2), (101, 3), (250, 250)]);
    assert_eq!(iter(0..7).paced(&limiter).size_hint(), (7, Some(7)));
}

#[filch::test(paused)]
async fn an_item_that_is_held_is_not_lost_with_the_wait_for_it() {
    let report = cancel_at_every_await(async |trial| {
        let start = Instant::now();
        let mut stream = Box::pin(timed(start, &[0, 50, 60]).debounce(20 * MS));
        let first = trial.run(stream.next()).await.flatten();
        let mut items = Vec::from_iter(first);
        items.extend(stream.collect::<Vec<_>>().await);
        assert_eq!(items, [0, 60]);
    });
    report.await.assert_waited();
    let report = cancel_at_every_await(async |trial| {
        let limiter = RateLimiter::new(1, 100 * MS);
        limiter.acquire().await;
        let mut stream = Box::pin(iter([1, 2]).paced(&limiter));
        let start = Instant::now();
        let first = trial.run(stream.next()).await.flatten();
        let mut items = Vec::from_iter(first);
        items.extend(stream.collect::<Vec<_>>().await);
        assert_eq!((items, start.elapsed()), (vec![1, 2], 200 * MS));
    });
    report.await.assert_waited();
}
