//! What an item costs that a stream makes from a loop, by criterion: `filch::generator` against `stream!` of
//! async-stream, and against a `Stream` written by hand, which is the floor.
//!
//! *inlined*: the consumer knows the type. *boxed*: it calls through a `dyn Stream`. Each run consumes a whole stream,
//! on one thread; the time is that of an item.
use std::hint::black_box;
use std::pin::{Pin, pin};
use std::task::{Context, Poll};

use criterion::{
    BenchmarkGroup, Criterion, Throughput, criterion_group, criterion_main, measurement::WallTime,
};
use filch::stream::{Stream, StreamExt};
use futures_lite::future::block_on;

const ITEMS: u64 = 10_000;

struct ByHand {
    next: u64,
    end: u64,
}

impl Stream for ByHand {
    type Item = u64;

    fn poll_next(mut self: Pin<&mut Self>, _cx: &mut Context<'_>) -> Poll<Option<u64>> {
        if self.next == self.end {
            return Poll::Ready(None);
        }
        self.next += 1;
        Poll::Ready(Some(self.next - 1))
    }
}

fn by_hand(end: u64) -> impl Stream<Item = u64> + Send {
    ByHand { next: 0, end }
}

fn filch(end: u64) -> impl Stream<Item = u64> + Send {
    filch::generator(async move |mut y| {
        for n in 0..end {
            y.emit(n).await;
        }
    })
}

fn async_stream(end: u64) -> impl Stream<Item = u64> + Send {
    async_stream::stream! {
        for n in 0..end {
            yield n;
        }
    }
}

async fn consume(items: impl Stream<Item = u64>) -> u64 {
    let mut items = pin!(items);
    let mut sum = 0u64;
    while let Some(n) = items.next().await {
        sum = sum.wrapping_add(black_box(n));
    }
    sum
}

fn contest<S: Stream<Item = u64> + Send>(
    group: &mut BenchmarkGroup<'_, WallTime>,
    name: &str,
    make: fn(u64) -> S,
) {
    group.bench_function(format!("inlined/{name}"), |b| b.iter(|| block_on(consume(make(black_box(ITEMS))))));
    group.bench_function(format!("boxed/{name}"), |b| {
        b.iter(|| {
            block_on(consume(Box::pin(make(black_box(ITEMS))) as Pin<Box<dyn Stream<Item = u64> + Send>>))
        });
    });
}

fn an_item(c: &mut Criterion) {
    let mut group = c.benchmark_group("an item of a stream");
    group.throughput(Throughput::Elements(ITEMS));
    contest(&mut group, "by hand", by_hand);
    contest(&mut group, "filch", filch);
    contest(&mut group, "async-stream", async_stream);
    group.finish();
}

criterion_group!(benches, an_item);
criterion_main!(benches);
