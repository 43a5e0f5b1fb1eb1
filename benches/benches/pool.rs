//! Jobs on a pool of threads: filch's `ThreadPool` against rayon's, the crate `threadpool`, tokio's
//! `spawn_blocking`, and a thread for each job; the rounds of all of them interleaved.
//!
//! `cargo bench -p filch-benches --bench pool -- [FILTER]`. In each row a thread hands over jobs and waits
//! for all of them; the figure is the time of one. *CPU* jobs compute, *sleeping* ones block (a pool of so
//! many threads as the row says, and a machine of two processors, so that a ratio is about who starts the
//! next one sooner), *mixed* ones do either, for 1 us to 10 ms. All pools have the same number of threads.
//! Outputs come back: through the handle with filch and tokio and `std::thread`, and through one channel for
//! all jobs with rayon and `threadpool`, which have no handles; filch does that, too, in the entries named
//! so.
//!
//! `join` has one peer, rayon, whose queues are made for it: its ratio is shown, and not judged.
use std::sync::Arc;
use std::sync::mpsc::{Sender, channel};
use std::time::{Duration, Instant};

use filch::pool;
use filch_benches::harness::{Options, Row, measure};
use filch_benches::table::Report;

/// Where jobs run.
trait Threads: 'static {
    /// Runs so many jobs, and adds up what they give.
    fn all(&self, jobs: usize, job: fn(usize) -> u64) -> u64;
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

fn row(name: &str, threads: usize, jobs: usize, job: fn(usize) -> u64) -> Row {
    let mut row = Row::timed(format!("{name}, {threads} threads"), jobs, Some(1.1), None);
    let mut add = |name, pool: Arc<dyn Threads>| {
        row.entry(name, move || keep(pool.all(jobs, job)));
    };
    let named = |name: &str| pool::Builder::new().threads(threads).name(name).build().expect("a pool");
    add("filch", Arc::new(Filch(named("filch"))));
    add("filch, by a channel", Arc::new(FilchByChannel(named("filch-channel"))));
    let rayon = rayon::ThreadPoolBuilder::new().num_threads(threads).build().expect("a pool");
    add("rayon", Arc::new(Rayon(rayon)));
    add("threadpool", Arc::new(Threadpool(threadpool::ThreadPool::new(threads))));
    let mut tokio = tokio::runtime::Builder::new_multi_thread();
    let tokio = tokio.worker_threads(1).max_blocking_threads(threads).build().expect("a runtime");
    add("tokio", Arc::new(Tokio(tokio)));
    add("std::thread", Arc::new(Std(threads)));
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
    let mut row = Row::timed(format!("join, pieces of {piece}"), forks, None, None);
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

fn main() {
    let filter = std::env::args().skip(1).find(|arg| !arg.starts_with('-'));
    if std::env::args().any(|arg| arg == "--test") {
        return;
    }
    let options = Options { filter, rounds: 15, workers: 2, variants: false };
    let mut report = Report::new(None);
    let rows = [
        row("CPU, nothing", 2, 20_000, nothing),
        row("CPU, 1 us", 2, 10_000, one_us),
        row("CPU, 10 us", 2, 2_000, ten_us),
        row("CPU, 100 us", 2, 300, hundred_us),
        row("sleeping, 500 us", 16, 512, sleeps),
        row("mixed, 1 us to 10 ms", 2, 512, mixed),
        row("mixed, 1 us to 10 ms", 8, 512, mixed),
        join(64),
        join(1_024),
        join(16_384),
    ];
    for mut row in rows {
        if options.filter.as_ref().is_some_and(|filter| !row.metrics[0].name.contains(filter.as_str())) {
            continue;
        }
        let scores = measure(&mut row, &options);
        report.add(&row, &scores);
    }
    report.print();
}
