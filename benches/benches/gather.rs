//! Many futures in one task, by criterion: `filch::gather` and `as_completed` against `join_all` and
//! `FuturesUnordered` of futures, and against tokio's `JoinSet`, which makes each a task. All on one
//! executor, tokio's, on one thread.
//!
//! *ready*: each future is ready at once. *once*: each yields once, and wakes itself. *told*: each waits for a message
//! of its own, and another task sends them one after another, so that each wakes the whole. *flood*: the
//! same, but all are sent before the whole is polled again.
//!
//! For 30 futures or fewer `join_all` has no wakers of their own: it polls all whenever one is woken. So it
//! is ahead where all are woken together, and behind where they are woken one by one.
use std::future::{Future, poll_fn};
use std::hint::black_box;
use std::task::Poll;
use std::time::Duration;

use criterion::{BatchSize, Bencher, BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use futures_util::StreamExt;
use futures_util::future::join_all;
use futures_util::stream::FuturesUnordered;
use tokio::sync::oneshot;
use tokio::task::JoinSet;

const COUNTS: [usize; 3] = [10, 1_000, 100_000];

/// How the contestants wait for all of `futures`.
trait Contestant {
    const NAME: &'static str;
    fn wait<F>(futures: Vec<F>) -> impl Future<Output = usize>
    where
        F: Future<Output = usize> + Send + 'static;
}

struct Gather;
impl Contestant for Gather {
    const NAME: &'static str = "filch gather";
    async fn wait<F: Future<Output = usize> + Send + 'static>(futures: Vec<F>) -> usize {
        filch::gather(futures).await.len()
    }
}

struct JoinAll;
impl Contestant for JoinAll {
    const NAME: &'static str = "futures join_all";
    async fn wait<F: Future<Output = usize> + Send + 'static>(futures: Vec<F>) -> usize {
        join_all(futures).await.len()
    }
}

struct AsCompleted;
impl Contestant for AsCompleted {
    const NAME: &'static str = "filch as_completed";
    async fn wait<F: Future<Output = usize> + Send + 'static>(futures: Vec<F>) -> usize {
        let mut outputs = filch::as_completed(futures);
        let mut sum = 0_usize;
        while let Some(output) = outputs.next().await {
            sum = sum.wrapping_add(output);
        }
        sum
    }
}

struct Unordered;
impl Contestant for Unordered {
    const NAME: &'static str = "futures FuturesUnordered";
    async fn wait<F: Future<Output = usize> + Send + 'static>(futures: Vec<F>) -> usize {
        let mut outputs: FuturesUnordered<F> = futures.into_iter().collect();
        let mut sum = 0_usize;
        while let Some(output) = outputs.next().await {
            sum = sum.wrapping_add(output);
        }
        sum
    }
}

struct Tasks;
impl Contestant for Tasks {
    const NAME: &'static str = "tokio JoinSet";
    async fn wait<F: Future<Output = usize> + Send + 'static>(futures: Vec<F>) -> usize {
        futures.into_iter().collect::<JoinSet<usize>>().join_all().await.len()
    }
}

async fn ready(n: usize) -> usize {
    n
}

async fn once(n: usize) -> usize {
    let mut yielded = false;
    poll_fn(|cx| {
        if std::mem::replace(&mut yielded, true) {
            return Poll::Ready(n);
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    })
    .await
}

fn measure<C, F>(b: &mut Bencher<'_>, n: usize, make: fn(usize) -> F)
where
    C: Contestant,
    F: Future<Output = usize> + Send + 'static,
{
    let rt = tokio::runtime::Builder::new_current_thread().build().expect("tokio");
    b.iter_batched(
        || (0..n).map(make).collect::<Vec<F>>(),
        |futures| rt.block_on(async { black_box(C::wait(futures).await) }),
        BatchSize::LargeInput,
    );
}

fn measure_told<C: Contestant>(b: &mut Bencher<'_>, n: usize, at_once: bool) {
    let rt = tokio::runtime::Builder::new_current_thread().build().expect("tokio");
    b.iter_batched(
        || (0..n).map(|_| oneshot::channel::<usize>()).unzip::<_, _, Vec<_>, Vec<_>>(),
        |(senders, receivers)| {
            rt.block_on(async {
                // Takes turns with the whole on this thread.
                let sender = tokio::spawn(async move {
                    for (n, sender) in senders.into_iter().enumerate() {
                        let _ = sender.send(n);
                        if !at_once {
                            tokio::task::yield_now().await;
                        }
                    }
                });
                let told = receivers.into_iter().map(|receiver| async { receiver.await.expect("a message") });
                black_box(C::wait(told.collect()).await);
                sender.await.expect("the sender");
            });
        },
        BatchSize::LargeInput,
    );
}

fn each<C: Contestant>(c: &mut Criterion) {
    for n in COUNTS {
        let mut group = c.benchmark_group(format!("ready/{n}"));
        group.throughput(Throughput::Elements(n as u64));
        group.bench_function(BenchmarkId::from_parameter(C::NAME), |b| measure::<C, _>(b, n, ready));
        group.finish();
        let mut group = c.benchmark_group(format!("once/{n}"));
        group.throughput(Throughput::Elements(n as u64));
        group.bench_function(BenchmarkId::from_parameter(C::NAME), |b| measure::<C, _>(b, n, once));
        group.finish();
    }
    for (n, at_once) in [(10, false), (1_000, false), (10, true), (1_000, true)] {
        let mut group = c.benchmark_group(format!("{}/{n}", if at_once { "flood" } else { "told" }));
        group.throughput(Throughput::Elements(n as u64));
        group.bench_function(BenchmarkId::from_parameter(C::NAME), |b| measure_told::<C>(b, n, at_once));
        group.finish();
    }
}

fn all(c: &mut Criterion) {
    each::<Gather>(c);
    each::<JoinAll>(c);
    each::<AsCompleted>(c);
    each::<Unordered>(c);
    each::<Tasks>(c);
}

fn short() -> Criterion {
    Criterion::default().measurement_time(Duration::from_secs(1)).warm_up_time(Duration::from_millis(300))
}

criterion_group! { name = benches; config = short(); targets = all }
criterion_main!(benches);
