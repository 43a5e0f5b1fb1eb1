//! Tasks that belong together, by criterion: `filch::TaskGroup` on filch against `JoinSet` on tokio. For each of ten
//! children, or a thousand: spawned, run, and its output collected.
//!
//! *All*: the children are ready at once, and all outputs are collected together, ours in the order of the
//! children. *One by one*: the same, each output as it comes. *Yield*: each child yields once before it is ready.
//! *Keeps none*: outputs are not kept, by `discard_outputs` here, and there by a loop that drops them. Once with two
//! workers and the whole in a task, once on one thread and the whole in `block_on`.
use std::future::{Future, poll_fn};
use std::hint::black_box;
use std::task::Poll;
use std::time::{Duration, Instant};

use criterion::{Bencher, BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use filch::TaskGroup;
use tokio::task::JoinSet;

const COUNTS: [usize; 2] = [10, 1_000];

#[derive(Clone, Copy, PartialEq, Debug)]
enum Shape {
    All,
    OneByOne,
    Yield,
    KeepsNone,
}

async fn child(n: usize, yields: bool) -> usize {
    if yields {
        let mut yielded = false;
        poll_fn(|cx| {
            if std::mem::replace(&mut yielded, true) {
                return Poll::Ready(());
            }
            cx.waker().wake_by_ref();
            Poll::Pending
        })
        .await;
    }
    n
}

async fn ours(n: usize, shape: Shape) {
    let group = TaskGroup::new();
    let group = if shape == Shape::KeepsNone { group.discard_outputs() } else { group };
    for i in 0..n {
        group.spawn(child(i, shape == Shape::Yield));
    }
    match shape {
        Shape::OneByOne => {
            let mut done = group.as_completed();
            while let Some((_, output)) = done.next().await {
                black_box(output.unwrap());
            }
        }
        _ => drop(black_box(group.join().await.unwrap())),
    }
}

async fn peers(n: usize, shape: Shape) {
    let mut set = JoinSet::new();
    for i in 0..n {
        set.spawn(child(i, shape == Shape::Yield));
    }
    match shape {
        Shape::OneByOne | Shape::KeepsNone => {
            while let Some(output) = set.join_next().await {
                black_box(output.unwrap());
            }
        }
        _ => drop(black_box(set.join_all().await)),
    }
}

/// As often as criterion says; `make` makes one whole.
async fn again<F: Future<Output = ()>>(times: u64, make: impl Fn() -> F) -> Duration {
    let start = Instant::now();
    for _ in 0..times {
        make().await;
    }
    start.elapsed()
}

fn measure<'a>(b: &mut Bencher<'_>, run: impl Fn(u64) -> Duration + 'a) {
    b.iter_custom(run);
}

fn rows(c: &mut Criterion) {
    let filch = filch::Builder::new().workers(2).build().expect("filch");
    let filch_alone = filch::Builder::single_thread().build().expect("filch");
    let tokio = tokio::runtime::Builder::new_multi_thread().worker_threads(2).build().expect("tokio");
    let tokio_alone = tokio::runtime::Builder::new_current_thread().build().expect("tokio");
    for shape in [Shape::All, Shape::OneByOne, Shape::Yield, Shape::KeepsNone] {
        for n in COUNTS {
            let mut group = c.benchmark_group(format!("group, {shape:?}/{n}"));
            group.throughput(Throughput::Elements(n as u64));
            group.bench_function(BenchmarkId::from_parameter("filch TaskGroup"), |b| {
                measure(b, |times| {
                    filch.block_on(filch.spawn(again(times, move || ours(n, shape)))).expect("a task")
                });
            });
            group.bench_function(BenchmarkId::from_parameter("tokio JoinSet"), |b| {
                measure(b, |times| {
                    tokio.block_on(tokio.spawn(again(times, move || peers(n, shape)))).expect("a task")
                });
            });
            group.bench_function(BenchmarkId::from_parameter("filch TaskGroup, one thread"), |b| {
                measure(b, |times| filch_alone.block_on(again(times, || ours(n, shape))));
            });
            group.bench_function(BenchmarkId::from_parameter("tokio JoinSet, one thread"), |b| {
                measure(b, |times| tokio_alone.block_on(again(times, || peers(n, shape))));
            });
            group.finish();
        }
    }
}

fn short() -> Criterion {
    Criterion::default().measurement_time(Duration::from_secs(1)).warm_up_time(Duration::from_millis(300))
}

criterion_group! { name = benches; config = short(); targets = rows }
criterion_main!(benches);
