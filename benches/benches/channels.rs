//! Messages through bounded channels, by criterion, polled by hand on one thread: the sender until it has to wait, the
//! receiver until it has to, and so on. What is left is the channel itself; `compare bounded` has the whole.
use std::future::Future;
use std::pin::pin;
use std::task::{Context, Waker};

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use filch_benches::rows::channels::{Rx, Tx};

const MESSAGES: u64 = 10_000;

fn one_to_one(c: &mut Criterion) {
    let mut group = c.benchmark_group("bounded(128), one to one");
    group.throughput(Throughput::Elements(MESSAGES));
    group.bench_function("filch", |b| b.iter(|| by_hand(filch::channel::bounded(128))));
    group.bench_function("filch spsc", |b| b.iter(|| by_hand(filch::channel::spsc::bounded(128))));
    group.bench_function("filch mpsc", |b| b.iter(|| by_hand(filch::channel::mpsc::bounded(128))));
    group.bench_function("kanal", |b| b.iter(|| by_hand(kanal::bounded_async(128))));
    group.bench_function("crossfire spsc", |b| b.iter(|| by_hand(crossfire::spsc::bounded_async(128))));
    group.bench_function("crossfire mpmc", |b| b.iter(|| by_hand(crossfire::mpmc::bounded_async(128))));
    group.bench_function("flume", |b| b.iter(|| by_hand(flume::bounded(128))));
    group.bench_function("async-channel", |b| b.iter(|| by_hand(async_channel::bounded(128))));
    group.bench_function("tokio mpsc", |b| b.iter(|| by_hand(tokio::sync::mpsc::channel(128))));
    group.finish();
}

fn by_hand<T: Tx, V: Rx>((mut tx, mut rx): (T, V)) {
    let mut sender = pin!(async move {
        for message in 0..MESSAGES {
            tx.put(message).await;
        }
    });
    let mut receiver = pin!(async move {
        let mut sum = 0;
        for _ in 0..MESSAGES {
            sum += rx.get().await.expect("the sender is not through");
        }
        sum
    });
    let mut cx = Context::from_waker(Waker::noop());
    let mut is_sending = true;
    loop {
        is_sending = is_sending && sender.as_mut().poll(&mut cx).is_pending();
        if let std::task::Poll::Ready(sum) = receiver.as_mut().poll(&mut cx) {
            assert_eq!(sum, MESSAGES * (MESSAGES - 1) / 2);
            return;
        }
    }
}

criterion_group!(benches, one_to_one);
criterion_main!(benches);
