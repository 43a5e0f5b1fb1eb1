//! Jobs on a pool of threads: filch's `ThreadPool` against rayon's, the crate `threadpool`, tokio's
//! `spawn_blocking`, and a thread for each job; the rounds of all of them interleaved.
//!
//! In a row of *throughput* a thread hands over jobs and waits for all of them; the figure is the time of one. In one
//! of *queue time* so many jobs come every millisecond, about half of what the threads can do, and the figures are how
//! long they wait for a thread. *CPU* jobs compute, *sleeping* ones block (a pool of so many threads as the row says,
//! and a machine of two processors, so that a ratio is about who starts the next one sooner), *mixed* ones do either,
//! for 1 us to 10 ms. All pools have the same number of threads. Outputs come back: through the handle with filch and
//! tokio and `std::thread`, and through one channel for all jobs with rayon and `threadpool`, which have no handles;
//! filch does that, too, in the entries named so.
//!
//! `join` has one peer, rayon, whose queues are made for it: its ratio is shown, and not judged.
use std::sync::Arc;
use std::sync::mpsc::{Sender, channel};
use std::time::{Duration, Instant};

use filch::pool;

use filch_examples::plot::Bars;

use crate::harness::{Metric, Options, Row, Score, measure, median, percentile};

/// Where jobs run.
trait Threads: 'static {
    /// Runs so many jobs, and adds up what they give.
    fn all(&self, jobs: usize, job: fn(usize) -> u64) -> u64;
    /// Submits a job, and forgets it.
    fn one(&self, job: Box<dyn FnOnce() + Send>);
}

fn send(to: &Sender<u64>, output: u64) {
    // Nobody listens to more than there were jobs.
    let _ = to.send(output);
}

fn keep(output: u64) {
    std::hint::black_box(output);
}

struct Filch(pool::ThreadPool);

impl Threads for Filch {
    fn all(&self, jobs: usize, job: fn(usize) -> u64) -> u64 {
        let handles: Vec<_> = (0..jobs).map(|n| self.0.submit(move || job(n))).collect();
        handles.into_iter().map(|handle| handle.join().expect("a job")).sum()
    }

    fn one(&self, job: Box<dyn FnOnce() + Send>) {
        drop(self.0.submit(job));
    }
}

struct FilchByChannel(pool::ThreadPool);

impl Threads for FilchByChannel {
    fn all(&self, jobs: usize, job: fn(usize) -> u64) -> u64 {
        let (sender, outputs) = channel();
        for n in 0..jobs {
            let sender = sender.clone();
            drop(self.0.submit(move || send(&sender, job(n))));
        }
        outputs.iter().take(jobs).sum()
    }

    fn one(&self, job: Box<dyn FnOnce() + Send>) {
        drop(self.0.submit(job));
    }
}

struct Rayon(rayon::ThreadPool);

impl Threads for Rayon {
    fn all(&self, jobs: usize, job: fn(usize) -> u64) -> u64 {
        let (sender, outputs) = channel();
        for n in 0..jobs {
            let sender = sender.clone();
            self.0.spawn(move || send(&sender, job(n)));
        }
        outputs.iter().take(jobs).sum()
    }

    fn one(&self, job: Box<dyn FnOnce() + Send>) {
        self.0.spawn(job);
    }
}

struct Threadpool(threadpool::ThreadPool);

impl Threads for Threadpool {
    fn all(&self, jobs: usize, job: fn(usize) -> u64) -> u64 {
        let (sender, outputs) = channel();
        for n in 0..jobs {
            let sender = sender.clone();
            self.0.execute(move || send(&sender, job(n)));
        }
        outputs.iter().take(jobs).sum()
    }

    fn one(&self, job: Box<dyn FnOnce() + Send>) {
        self.0.execute(job);
    }
}

struct Tokio(tokio::runtime::Runtime);

impl Threads for Tokio {
    fn all(&self, jobs: usize, job: fn(usize) -> u64) -> u64 {
        let handles: Vec<_> = (0..jobs).map(|n| self.0.spawn_blocking(move || job(n))).collect();
        self.0.block_on(async {
            let mut sum = 0;
            for handle in handles {
                sum += handle.await.expect("a job");
            }
            sum
        })
    }

    fn one(&self, job: Box<dyn FnOnce() + Send>) {
        drop(self.0.spawn_blocking(job));
    }
}

/// A thread for each job, so many at a time.
struct Std(usize);

impl Threads for Std {
    fn all(&self, jobs: usize, job: fn(usize) -> u64) -> u64 {
        let (mut sum, mut running) = (0, std::collections::VecDeque::new());
        for n in 0..jobs {
            if running.len() == self.0 {
                let oldest: Option<std::thread::JoinHandle<u64>> = running.pop_front();
                sum += oldest.map_or(0, |thread| thread.join().expect("a job"));
            }
            running.push_back(std::thread::spawn(move || job(n)));
        }
        sum + running.into_iter().map(|thread| thread.join().expect("a job")).sum::<u64>()
    }

    fn one(&self, job: Box<dyn FnOnce() + Send>) {
        drop(std::thread::spawn(job));
    }
}

/// Computes for so long. By the clock, so that a job is as long on every machine.
fn compute(time: Duration) -> u64 {
    let (end, mut value) = (Instant::now() + time, 1_u64);
    loop {
        for _ in 0..32 {
            value = std::hint::black_box(value.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1));
        }
        if Instant::now() >= end {
            return value & 1;
        }
    }
}

fn nothing(n: usize) -> u64 {
    n as u64 & 1
}

fn one_us(_: usize) -> u64 {
    compute(Duration::from_micros(1))
}

fn ten_us(_: usize) -> u64 {
    compute(Duration::from_micros(10))
}

fn hundred_us(_: usize) -> u64 {
    compute(Duration::from_micros(100))
}

fn sleeps(_: usize) -> u64 {
    std::thread::sleep(Duration::from_micros(500));
    1
}

/// 1 us to 10 ms, most of them short; each sixteenth sleeps.
fn mixed(n: usize) -> u64 {
    let time = Duration::from_micros([1, 3, 10, 30, 1, 100, 3, 10, 1, 300, 3, 10, 1, 1_000, 3, 10][n % 16]);
    match n % 256 {
        255 => compute(Duration::from_millis(10)),
        15 | 79 | 143 => {
            std::thread::sleep(Duration::from_millis(10));
            1
        }
        _ => compute(time),
    }
}

/// The contestants, each with so many threads.
fn contestants(threads: usize) -> Vec<(&'static str, Arc<dyn Threads>)> {
    let named = |name: &str| pool::Builder::new().threads(threads).name(name).build().expect("a pool");
    let rayon = rayon::ThreadPoolBuilder::new().num_threads(threads).build().expect("a pool");
    let mut tokio = tokio::runtime::Builder::new_multi_thread();
    let tokio = tokio.worker_threads(1).max_blocking_threads(threads).build().expect("a runtime");
    vec![
        ("filch", Arc::new(Filch(named("filch")))),
        ("filch, by a channel", Arc::new(FilchByChannel(named("filch-channel")))),
        ("rayon", Arc::new(Rayon(rayon))),
        ("threadpool", Arc::new(Threadpool(threadpool::ThreadPool::new(threads)))),
        ("tokio", Arc::new(Tokio(tokio))),
        ("std::thread", Arc::new(Std(threads))),
    ]
}

/// The time of a job when all are handed over at once.
fn throughput(name: &str, threads: usize, jobs: usize, job: fn(usize) -> u64) -> Row {
    let mut row = Row::timed(format!("pool: {name}, {threads} threads"), jobs, Some(1.1), None);
    for (name, pool) in contestants(threads) {
        row.entry(name, move || keep(pool.all(jobs, job)));
    }
    row
}

/// How long a job waits for a thread when so many come every millisecond, which the threads can do.
fn queue_time(name: &str, threads: usize, burst: usize, job: fn(usize) -> u64) -> Row {
    const BURSTS: usize = 60;
    let metric = |what: &str, must| Metric {
        name: format!("pool: {name}, {threads} threads, {burst} each ms: {what} of the time in the queue"),
        unit: "us",
        must,
        aim: None,
        absolute: false,
        against: None,
    };
    let mut row = Row::of(vec![metric("p99", Some(1.1)), metric("p50", None)], BURSTS * burst, usize::MAX, 2);
    for (name, pool) in contestants(threads) {
        if name == "filch, by a channel" {
            continue;
        }
        row.entry_of(name, move || {
            let (done, waits) = channel();
            let began = Instant::now();
            for number in 0..BURSTS {
                let due = began + Duration::from_millis(number as u64);
                std::thread::sleep(due.saturating_duration_since(Instant::now()));
                for n in 0..burst {
                    let (done, submitted) = (done.clone(), Instant::now());
                    pool.one(Box::new(move || {
                        let waited = submitted.elapsed();
                        keep(job(number * burst + n));
                        let _ = done.send(waited.as_nanos() as f64 / 1e3);
                    }));
                }
            }
            drop(done);
            let waits: Vec<f64> = waits.iter().collect();
            vec![percentile(&waits, 0.99), percentile(&waits, 0.5)]
        });
    }
    row
}

/// Sums by halves, down to pieces of so many.
fn sum_filch(pool: &pool::ThreadPool, numbers: &[u64], piece: usize) -> u64 {
    if numbers.len() <= piece {
        return numbers.iter().fold(0, |sum, n| std::hint::black_box(sum ^ n));
    }
    let (left, right) = numbers.split_at(numbers.len() / 2);
    let (left, right) = pool.join(|| sum_filch(pool, left, piece), || sum_filch(pool, right, piece));
    left ^ right
}

fn sum_rayon(numbers: &[u64], piece: usize) -> u64 {
    if numbers.len() <= piece {
        return numbers.iter().fold(0, |sum, n| std::hint::black_box(sum ^ n));
    }
    let (left, right) = numbers.split_at(numbers.len() / 2);
    let (left, right) = rayon::join(|| sum_rayon(left, piece), || sum_rayon(right, piece));
    left ^ right
}

fn join(piece: usize) -> Row {
    let numbers: Arc<Vec<u64>> = Arc::new((0..1 << 20).collect());
    let forks = numbers.len() / piece;
    let mut row = Row::timed(format!("pool: join, pieces of {piece}"), forks, None, None);
    let (pool, ours) = (pool::ThreadPool::new(2).expect("a pool"), numbers.clone());
    row.entry("filch", move || {
        let (inside, ours) = (pool.clone(), ours.clone());
        let sum = pool.submit(move || sum_filch(&inside, &ours, piece)).join();
        keep(sum.expect("a sum"));
    });
    let rayon = rayon::ThreadPoolBuilder::new().num_threads(2).build().expect("a pool");
    row.entry("rayon", move || keep(rayon.install(|| sum_rayon(&numbers, piece))));
    row
}

/// A row, by its name, made when its turn comes: each has pools of its own, whose threads are gone after it.
pub type Maker = (&'static str, fn() -> Row);

/// All rows, in the order of the table.
pub const ROWS: &[Maker] = &[
    ("pool: CPU, nothing", || throughput("CPU, nothing", 2, 20_000, nothing)),
    ("pool: CPU, 1 us", || throughput("CPU, 1 us", 2, 10_000, one_us)),
    ("pool: CPU, 10 us", || throughput("CPU, 10 us", 2, 2_000, ten_us)),
    ("pool: CPU, 100 us", || throughput("CPU, 100 us", 2, 300, hundred_us)),
    ("pool: sleeping, 500 us", || throughput("sleeping, 500 us", 16, 512, sleeps)),
    ("pool: mixed, 1 us to 10 ms, 2 threads", || throughput("mixed, 1 us to 10 ms", 2, 512, mixed)),
    ("pool: mixed, 1 us to 10 ms, 8 threads", || throughput("mixed, 1 us to 10 ms", 8, 512, mixed)),
    ("pool: queue time, CPU, 1 us", || queue_time("CPU, 1 us", 2, 100, one_us)),
    ("pool: queue time, CPU, 10 us", || queue_time("CPU, 10 us", 2, 50, ten_us)),
    ("pool: queue time, CPU, 100 us", || queue_time("CPU, 100 us", 2, 10, hundred_us)),
    ("pool: queue time, sleeping, 500 us", || queue_time("sleeping, 500 us", 16, 16, sleeps)),
    ("pool: queue time, mixed", || queue_time("mixed, 1 us to 10 ms", 8, 4, mixed)),
    ("pool: join, pieces of 64", || join(64)),
    ("pool: join, pieces of 1,024", || join(1_024)),
    ("pool: join, pieces of 16,384", || join(16_384)),
];

/// Takes the rounds of all rows whose name contains the filter, and draws them.
pub fn run(options: &Options, mut each: impl FnMut(&Row, &[Score])) -> Bars {
    let kinds = ["filch", "rayon", "threadpool", "tokio", "std::thread"];
    let title = "Pools of threads: time of a job, and p99 of its time in the queue".to_owned();
    let kinds_named = ["filch", "rayon", "threadpool", "tokio's spawn_blocking", "a thread each"];
    let mut bars = Bars {
        title,
        unit: "us, less is better".to_owned(),
        kinds: kinds_named.map(str::to_owned).into(),
        groups: Vec::new(),
    };
    for (name, make) in ROWS {
        if options.filter.as_deref().is_some_and(|filter| !name.contains(filter)) {
            continue;
        }
        let mut row = make();
        let scores = measure(&mut row, options);
        each(&row, &scores);
        let per_us = if row.metrics[0].unit == "ns" { 1e3 } else { 1.0 };
        let figures = kinds.map(|kind| {
            let score = scores.iter().find(|score| score.name == kind)?;
            Some(median(&score.figures[0]) / per_us)
        });
        bars.groups.push((name.trim_start_matches("pool: ").to_owned(), figures.into()));
    }
    bars
}
