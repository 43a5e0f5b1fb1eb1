//! What does it cost to be let in? `Semaphore`, `RwLock`, `RLock`, `OnceCell` and `Pool` beside tokio and async-lock,
//! polled by hand on one thread: free, and with one who has to wait.
use std::hint::black_box;
use std::pin::pin;

use criterion::{Criterion, criterion_group, criterion_main};
use filch::sync::{OnceCell, Pool, RLock, RwLock, Semaphore};
use filch_benches::by_hand::{alone, together};

/// Two want the only one there is, `TURNS` times each; the holder gives way once.
const TURNS: usize = 50;

async fn give_way() {
    let mut given = false;
    std::future::poll_fn(|_| match std::mem::replace(&mut given, true) {
        true => std::task::Poll::Ready(()),
        false => std::task::Poll::Pending,
    })
    .await;
}

macro_rules! contended {
    ($shared:expr, $take:ident) => {{
        let shared = $shared;
        let one = async || {
            for _ in 0..TURNS {
                let held = shared.$take().await;
                give_way().await;
                drop(black_box(held));
            }
        };
        together(&mut [pin!(one()), pin!(one())]);
    }};
}

fn semaphore(c: &mut Criterion) {
    let (ours, tokios, third) =
        (Semaphore::new(1), tokio::sync::Semaphore::new(1), async_lock::Semaphore::new(1));
    let mut group = c.benchmark_group("Semaphore: free");
    group.bench_function("filch", |b| b.iter(|| drop(black_box(alone(ours.acquire())))));
    group.bench_function("tokio", |b| b.iter(|| drop(black_box(alone(tokios.acquire())))));
    group.bench_function("async-lock", |b| b.iter(|| drop(black_box(alone(third.acquire())))));
    group.finish();
    let mut group = c.benchmark_group("Semaphore: 100 turns of two");
    group.bench_function("filch", |b| b.iter(|| contended!(&ours, acquire)));
    group.bench_function("tokio", |b| b.iter(|| contended!(&tokios, acquire)));
    group.bench_function("async-lock", |b| b.iter(|| contended!(&third, acquire)));
    group.finish();
}

fn rwlock(c: &mut Criterion) {
    let (ours, tokios, third) = (RwLock::new(0), tokio::sync::RwLock::new(0), async_lock::RwLock::new(0));
    let mut group = c.benchmark_group("RwLock: read, free");
    group.bench_function("filch", |b| b.iter(|| *alone(ours.read())));
    group.bench_function("tokio", |b| b.iter(|| *alone(tokios.read())));
    group.bench_function("async-lock", |b| b.iter(|| *alone(third.read())));
    group.finish();
    let mut group = c.benchmark_group("RwLock: write, free");
    group.bench_function("filch", |b| b.iter(|| *alone(ours.write()) += 1));
    group.bench_function("tokio", |b| b.iter(|| *alone(tokios.write()) += 1));
    group.bench_function("async-lock", |b| b.iter(|| *alone(third.write()) += 1));
    group.finish();
    let mut group = c.benchmark_group("RwLock: 100 turns of two writers");
    group.bench_function("filch", |b| b.iter(|| contended!(&ours, write)));
    group.bench_function("tokio", |b| b.iter(|| contended!(&tokios, write)));
    group.bench_function("async-lock", |b| b.iter(|| contended!(&third, write)));
    group.finish();
}

fn rlock(c: &mut Criterion) {
    c.bench_function("RLock: taken by its holder", |b| {
        let lock = RLock::new(0);
        b.iter(|| {
            let outer = lock.lock_blocking();
            black_box(*lock.lock_blocking() + *outer)
        });
    });
}

fn once_cell(c: &mut Criterion) {
    let mut group = c.benchmark_group("OnceCell: get_or_init, made before");
    let (ours, tokios, third) = (OnceCell::new(), tokio::sync::OnceCell::new(), async_lock::OnceCell::new());
    group.bench_function("filch", |b| b.iter(|| *alone(ours.get_or_init(async || 1))));
    group.bench_function("tokio", |b| b.iter(|| *alone(tokios.get_or_init(async || 1))));
    group.bench_function("async-lock", |b| b.iter(|| *alone(third.get_or_init(async || 1))));
    group.finish();
}

fn pool(c: &mut Criterion) {
    let mut group = c.benchmark_group("Pool: get and give back");
    let pool = Pool::new(4, || 1);
    group.bench_function("filch", |b| b.iter(|| *alone(pool.get()).expect("it is open")));
    // What one would write by hand.
    let (permits, idle) = (tokio::sync::Semaphore::new(4), std::sync::Mutex::new(vec![1]));
    group.bench_function("tokio's Semaphore and a Vec", |b| {
        b.iter(|| {
            let _permit = alone(permits.acquire()).expect("it is open");
            let item = idle.lock().unwrap().pop().unwrap_or(1);
            idle.lock().unwrap().push(black_box(item));
        });
    });
    group.finish();
}

criterion_group!(benches, semaphore, rwlock, rlock, once_cell, pool);
criterion_main!(benches);
