//! What does it cost to hand a value over by `oneshot`, to all by `broadcast`, and the latest by `watch`? Beside
//! tokio's, polled by hand on one thread.
use std::hint::black_box;
use std::pin::pin;

use criterion::{Criterion, criterion_group, criterion_main};
use filch_benches::by_hand::{alone, together};

macro_rules! oneshots {
    ($group:expr, $name:expr, $channel:path) => {{
        let group = $group;
        group.bench_function(concat!($name, ", sent before"), |b| {
            b.iter(|| {
                let (tx, rx) = $channel();
                let _ = tx.send(1_u64);
                alone(rx).ok()
            });
        });
        group.bench_function(concat!($name, ", waited for"), |b| {
            b.iter(|| {
                let (tx, rx) = $channel();
                let waits = async {
                    black_box(rx.await.ok());
                };
                let sends = async {
                    let _ = tx.send(1_u64);
                };
                together(&mut [pin!(waits), pin!(sends)]);
            });
        });
    }};
}

fn oneshot(c: &mut Criterion) {
    let mut group = c.benchmark_group("oneshot");
    oneshots!(&mut group, "filch", filch::channel::oneshot::channel);
    oneshots!(&mut group, "tokio", tokio::sync::oneshot::channel);
    group.finish();
}

macro_rules! broadcasts {
    ($make:ident) => {{
        use $make::sync::broadcast;
        let (tx, mut one) = broadcast::channel(16);
        let mut two = tx.subscribe();
        move || {
            let _ = tx.send(1_u64);
            (one.try_recv().ok(), two.try_recv().ok())
        }
    }};
}

mod tokio_like {
    //! filch's channels where tokio has them.
    pub(crate) mod sync {
        pub(crate) use filch::channel::{broadcast, watch};
    }
}

fn broadcast(c: &mut Criterion) {
    let mut group = c.benchmark_group("broadcast: one message, two receivers");
    group.bench_function("filch", |b| b.iter(broadcasts!(tokio_like)));
    group.bench_function("tokio", |b| b.iter(broadcasts!(tokio)));
    group.finish();
}

macro_rules! watches {
    ($make:ident) => {{
        use $make::sync::watch;
        let (tx, mut rx) = watch::channel(0_u64);
        move || {
            tx.send_modify(|value| *value += 1);
            let _ = alone(rx.changed());
            *rx.borrow_and_update()
        }
    }};
}

fn watch(c: &mut Criterion) {
    let mut group = c.benchmark_group("watch: a change, seen");
    group.bench_function("filch", |b| b.iter(watches!(tokio_like)));
    group.bench_function("tokio", |b| b.iter(watches!(tokio)));
    group.finish();
}

criterion_group!(benches, oneshot, broadcast, watch);
criterion_main!(benches);
