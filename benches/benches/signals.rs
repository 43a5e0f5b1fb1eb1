//! What does it cost to tell somebody? `Notify`, `Event`, `Condition`, `Barrier` and `AtomicWait` beside tokio,
//! event-listener and async-lock, and `Counter` beside an atomic, polled by hand on one thread.
use std::hint::black_box;
use std::pin::pin;
use std::sync::atomic::{AtomicI64, Ordering};

use criterion::{Criterion, criterion_group, criterion_main};
use filch::sync::{AtomicWait, Barrier, Condition, Counter, Event, Lock, Notify};
use filch_benches::by_hand::{alone, together};

/// Turns that two futures take.
const TURNS: usize = 100;

macro_rules! take_turns {
    ($notify:ty) => {{
        let (ping, pong) = (<$notify>::new(), <$notify>::new());
        together(&mut [
            pin!(async {
                for _ in 0..TURNS {
                    ping.notify_one();
                    pong.notified().await;
                }
            }),
            pin!(async {
                for _ in 0..TURNS {
                    ping.notified().await;
                    pong.notify_one();
                }
            }),
        ]);
    }};
}

fn notify(c: &mut Criterion) {
    let mut group = c.benchmark_group("Notify: 100 turns of two");
    group.bench_function("filch", |b| b.iter(|| take_turns!(Notify)));
    group.bench_function("tokio", |b| b.iter(|| take_turns!(tokio::sync::Notify)));
    group.finish();
    let mut group = c.benchmark_group("Notify: one that is stored");
    let (ours, theirs) = (Notify::new(), tokio::sync::Notify::new());
    group.bench_function("filch", |b| {
        b.iter(|| {
            ours.notify_one();
            alone(ours.notified());
        });
    });
    group.bench_function("tokio", |b| {
        b.iter(|| {
            theirs.notify_one();
            alone(theirs.notified());
        });
    });
    group.finish();
}

fn event(c: &mut Criterion) {
    let mut group = c.benchmark_group("Event: set, and one waits for it");
    group.bench_function("filch", |b| {
        let event = Event::new();
        b.iter(|| {
            together(&mut [pin!(event.wait()), pin!(async { event.set() })]);
            event.clear();
        });
    });
    group.bench_function("event-listener", |b| {
        let event = event_listener::Event::new();
        b.iter(|| {
            let listener = event.listen();
            together(&mut [
                pin!(listener),
                pin!(async {
                    event.notify(1);
                }),
            ]);
        });
    });
    group.bench_function("AtomicWait", |b| {
        let word = AtomicWait::new(0);
        b.iter(|| {
            let change = async {
                word.store(1);
                word.wake_all();
            };
            let waits = async {
                let _ = word.wait(0).await;
            };
            together(&mut [pin!(waits), pin!(change)]);
            word.store(0);
        });
    });
    group.finish();
}

fn condition(c: &mut Criterion) {
    c.bench_function("Condition: wait_while, one notifies", |b| {
        let (lock, changed) = (Lock::new(false), Condition::new());
        b.iter(|| {
            let waits = async {
                let guard = lock.lock().await;
                *changed.wait_while(guard, |is| !*is).await = false;
            };
            let tells = async {
                *lock.lock().await = true;
                changed.notify_one();
            };
            together(&mut [pin!(waits), pin!(tells)]);
        });
    });
}

macro_rules! meet {
    ($barrier:expr) => {{
        let barrier = $barrier;
        let party = async || {
            black_box(barrier.wait().await);
        };
        together(&mut [pin!(party()), pin!(party()), pin!(party()), pin!(party())]);
    }};
}

fn barrier(c: &mut Criterion) {
    let mut group = c.benchmark_group("Barrier: four meet");
    group.bench_function("filch", |b| {
        let barrier = Barrier::new(4);
        b.iter(|| meet!(&barrier));
    });
    group.bench_function("tokio", |b| {
        let barrier = tokio::sync::Barrier::new(4);
        b.iter(|| meet!(&barrier));
    });
    group.bench_function("async-lock", |b| {
        let barrier = async_lock::Barrier::new(4);
        b.iter(|| meet!(&barrier));
    });
    group.finish();
}

fn counter(c: &mut Criterion) {
    let mut group = c.benchmark_group("Counter: add one");
    let (counter, atomic) = (Counter::new(), AtomicI64::new(0));
    group.bench_function("filch", |b| b.iter(|| counter.increment()));
    group.bench_function("AtomicI64", |b| b.iter(|| atomic.fetch_add(1, Ordering::Relaxed)));
    group.finish();
}

criterion_group!(benches, notify, event, condition, barrier, counter);
criterion_main!(benches);
