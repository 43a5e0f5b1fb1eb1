//! Rows 93 to 100: rates, calls that come too often, many pages at a time, pipelines, and trying again.

use std::sync::mpsc;
use std::thread;
use std::time;

use filch::limit::{Debounce, Limiter, RateLimiter, Throttle};
use filch::sync::{Lock, Pool, Semaphore};
use filch::time::{Duration, Instant, sleep};
use filch::{Backoff, retry, wait_for};

use super::Half::{Tasks, Threads};
use super::help::{BRIEFLY, LONG, demo_on_tasks, demo_on_threads, ms, on_tasks, paused, two_workers};
use super::{Check, row};
use crate::crawler::{Failure, Limits, crawl, crawl_with_threads, serve_site};
use crate::story::{Story, each_thread};
use crate::{data_pipeline, web_scraper};

pub(super) const CHECKS: &[Check] = &[
    row(93, Threads, rate_on_threads),
    row(93, Tasks, rate),
    row(94, Threads, concurrency_on_threads),
    row(94, Tasks, concurrency),
    row(95, Tasks, debounce),
    row(96, Tasks, throttle),
    row(97, Threads, many_pages_on_threads),
    row(97, Tasks, many_pages),
    row(98, Threads, scraper_on_threads),
    row(98, Tasks, scraper),
    row(99, Threads, pipeline_on_threads),
    row(99, Tasks, pipeline),
    row(100, Threads, retry_on_threads),
    row(100, Tasks, retry_on_tasks),
];

/// Whether any `count + 1` in a row are further apart than `window`, that is: at most `count` in any window.
fn within(times: &[Duration], count: usize, window: Duration) -> bool {
    times.windows(count + 1).all(|times| times[count] - times[0] >= window)
}

fn rate_on_threads(story: &mut Story) {
    let (limiter, began) = (RateLimiter::new(5, ms(20)), time::Instant::now());
    let passed = each_thread(3, |_| {
        let mut passed = Vec::new();
        for _ in 0..5 {
            limiter.acquire_blocking();
            passed.push(began.elapsed());
        }
        passed
    });
    let mut passed = passed.concat();
    passed.sort_unstable();
    story.equal("all pass in the end", passed.len(), 15);
    // A thread may note its time late, but none passes early: the last of 15 waits for two windows.
    story.holds("not before two windows are over", passed[14] >= ms(40), format_args!("{:.1?}", passed[14]));
    let full = RateLimiter::new(1, LONG);
    full.acquire_blocking();
    story.is(
        "with a time limit it says no at once when it would be too late",
        full.acquire_timeout(BRIEFLY).is_err(),
    );
}

fn rate(story: &mut Story) {
    let passed = paused(async {
        let (limiter, began) = (RateLimiter::new(3, ms(1_000)), Instant::now());
        let mut passed = Vec::new();
        for pause in [0, 400, 400, 0, 0, 0, 0, 2_000, 0, 0, 0] {
            sleep(ms(pause)).await;
            limiter.acquire().await;
            passed.push(began.elapsed());
        }
        passed
    });
    let at: Vec<_> = passed.iter().map(Duration::as_millis).collect();
    let expected = vec![0, 400, 800, 1_000, 1_400, 1_800, 2_000, 4_000, 4_000, 4_000, 5_000];
    story.equal("each waits until the oldest of three has left the window: they pass at", at, expected);
    story.is("at most three in any window of a second", within(&passed, 3, ms(1_000)));
}

fn concurrency_on_threads(story: &mut Story) {
    let connections = Semaphore::new(3);
    let used = each_thread(9, |_| {
        let _connection = connections.acquire_blocking().expect("nobody closes it");
        let others = 3 - connections.available_permits();
        thread::yield_now();
        others
    });
    let most = used.into_iter().max();
    story.holds("nine users, at most three at a time", most <= Some(3), format_args!("{most:?}"));
    let pool = Pool::new(2, || "connection");
    let both = [pool.get_blocking(), pool.get_blocking()];
    story.is("the third connection is waited for", pool.get_timeout(BRIEFLY).is_err());
    drop(both);
    story.is("until one is given back", pool.get_timeout(LONG).is_ok());
}

fn concurrency(story: &mut Story) {
    paused(async {
        let (limiter, began) = (Limiter::new(3), Instant::now());
        let calls = (0..9).map(|_| limiter.run(async { sleep(ms(100)).await }));
        filch::gather(calls).await;
        story.equal("nine calls of 0.1 s, three at a time", began.elapsed(), ms(300));
        let quick = (0..9).map(|_| limiter.run(async {}));
        filch::gather(quick).await;
        story.equal("it is no rate: short calls take no time", began.elapsed(), ms(300));
        let both = Limiter::new(3).rate(RateLimiter::new(2, ms(1_000)));
        filch::gather((0..5).map(|_| both.run(async {}))).await;
        story.equal("with a rate of two a second as well, five take", began.elapsed(), ms(300 + 2_000));
    });
}

fn debounce(story: &mut Story) {
    paused(async {
        let (log, calls) = mpsc::channel();
        let began = Instant::now();
        let search = Debounce::new(ms(300), move |text: &str| {
            let _ = log.send((text.to_string(), began.elapsed().as_millis()));
        });
        for text in ["f", "fi", "fil", "filch"] {
            search.call(text);
            sleep(ms(100)).await;
        }
        story.equal("nothing is called while calls keep coming", calls.try_iter().count(), 0);
        sleep(ms(1_000)).await;
        let expected = vec![("filch".to_string(), 300 + 300)];
        story.equal(
            "after a quiet time: once, with the last arguments",
            calls.try_iter().collect::<Vec<_>>(),
            expected,
        );
    });
}

fn throttle(story: &mut Story) {
    paused(async {
        let (log, calls) = mpsc::channel();
        let draw = Throttle::new(ms(100), move |n: u32| {
            let _ = log.send(n);
        });
        let mut made = Vec::new();
        for n in 0..8 {
            made.push(draw.call(n));
            sleep(ms(40)).await;
        }
        sleep(ms(1_000)).await;
        story.equal(
            "the first is called at once, the next not before 0.1 s is over",
            calls.try_iter().collect::<Vec<_>>(),
            vec![0, 3, 6],
        );
        story.equal("the others are dropped", made.into_iter().filter(|made| *made).count(), 3);
    });
}

const LIMITS: Limits = Limits { at_once: 16, timeout_ms: 1_000, pages: 10_000, bytes: 4 << 20 };

fn many_pages_on_threads(story: &mut Story) {
    let runtime = two_workers();
    let site = runtime.block_on(serve_site(10)).expect("a port of loopback");
    let report = crawl_with_threads(&site.start(), LIMITS, 4, |_| ());
    story.equal("all addresses of a site of 10 are asked for", report.pages(), site.addresses());
    story.equal("and the one page that never ends is given up", report.with_failure(Failure::Timeout), 1);
}

fn many_pages(story: &mut Story) {
    on_tasks(async {
        let site = serve_site(100).await.expect("a port of loopback");
        let report = crawl(site.start(), LIMITS, |_| ()).await;
        let (endless, broken, ..) = site.troubles();
        story.equal("all addresses of a site of 100 are asked for", report.pages(), site.addresses());
        story.equal("those that never end are given up", report.with_failure(Failure::Timeout), endless);
        story.equal("those that break off are told", report.with_failure(Failure::Broken), broken);
        let most = report.most_at_once();
        story.holds("many at a time, and not too many", (2..=16).contains(&most), most);
    });
}

fn scraper_on_threads(story: &mut Story) {
    demo_on_threads(web_scraper::Plan::default(), story);
}

fn scraper(story: &mut Story) {
    demo_on_tasks(web_scraper::Plan::default(), story);
}

fn pipeline_on_threads(story: &mut Story) {
    demo_on_threads(data_pipeline::Plan::default(), story);
}

fn pipeline(story: &mut Story) {
    demo_on_tasks(data_pipeline::Plan::default(), story);
}

fn retry_on_threads(story: &mut Story) {
    let lock = Lock::new(7);
    let held = lock.lock_blocking();
    let mut tries = 0;
    let mut pauses = Backoff::constant(ms(1)).attempts(3).pauses();
    let got = loop {
        tries += 1;
        match (lock.try_lock(), pauses.next()) {
            (Ok(value), _) => break Some(*value),
            (Err(_), Some(pause)) => thread::sleep(pause),
            (Err(_), None) => break None,
        }
    };
    story.equal("a lock that stays taken is tried three times", (got, tries), (None, 3));
    let mut held = Some(held);
    let mut pauses = Backoff::exponential(ms(1)).pauses();
    let got = loop {
        match lock.lock_timeout(BRIEFLY) {
            Ok(value) => break *value,
            Err(_) => drop(held.take()),
        }
        thread::sleep(pauses.next().expect("two tries are enough"));
    };
    story.equal("one that is given back meanwhile is had", got, 7);
}

fn retry_on_tasks(story: &mut Story) {
    paused(async {
        let (began, mut tries) = (Instant::now(), 0);
        let backoff = Backoff::exponential(ms(100)).no_jitter();
        let got = retry(backoff, async || {
            tries += 1;
            if tries < 4 { Err("timed out") } else { Ok("page") }
        });
        story.equal("three fail, the fourth does not", got.await.ok(), Some("page"));
        story.equal("the pauses double: together they take", began.elapsed(), ms(100 + 200 + 400));
        let lock = Lock::new(());
        let held = lock.lock().await;
        let in_vain = retry(Backoff::jittered(ms(1), ms(5)).attempts(3), async || {
            wait_for(lock.lock(), ms(10)).await.map(drop)
        });
        let failed = in_vain.await.map_err(|error| error.attempts());
        story.equal("a lock that stays taken is given up, after so many tries", failed, Err(3));
        drop(held);
    });
}
