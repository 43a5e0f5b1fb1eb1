//! The price of a lock, by criterion: filch's beside those of futures, async-lock and tokio, all on tokio with
//! two workers, and filch's again on filch.
//!
//! *Uncontended*: one task takes and gives back a free lock. *8 tasks*: eight tasks do so as fast as they can,
//! the time is for one of all their turns. *8 tasks that yield*: the same, but each holder yields once, so that
//! every turn is waited for.
use std::sync::Arc;
use std::time::{Duration, Instant};

use criterion::{Bencher, Criterion, criterion_group, criterion_main};
use filch::sync::Lock;
use filch_benches::runtimes::{Contestants, Rt};

/// One make of lock, as all of them are used.
trait Make: Send + Sync + 'static {
    fn make() -> Self;
    fn turn<R: Rt>(&self, yields: bool) -> impl Future<Output = ()> + Send;
}

macro_rules! make {
    ($name:ident, $lock:ty, $new:expr) => {
        struct $name($lock);

        impl Make for $name {
            fn make() -> Self {
                Self($new)
            }

            async fn turn<R: Rt>(&self, yields: bool) {
                let mut value = self.0.lock().await;
                *value += 1;
                if yields {
                    R::yield_now().await;
                }
            }
        }
    };
}

make!(Filch, Lock<u64>, Lock::new(0));
make!(FilchFair, Lock<u64>, Lock::fair(0));
make!(Futures, futures_util::lock::Mutex<u64>, futures_util::lock::Mutex::new(0));
make!(AsyncLock, async_lock::Mutex<u64>, async_lock::Mutex::new(0));
make!(Tokio, tokio::sync::Mutex<u64>, tokio::sync::Mutex::new(0));

const TASKS: u64 = 8;

fn alone<M: Make, R: Rt>(b: &mut Bencher<'_>, rt: &'static R) {
    b.iter_custom(|iterations| {
        let task = async move {
            let lock = M::make();
            let start = Instant::now();
            for _ in 0..iterations {
                lock.turn::<R>(false).await;
            }
            start.elapsed()
        };
        rt.block_on(async move { R::spawn(task).await })
    });
}

fn together<M: Make, R: Rt>(b: &mut Bencher<'_>, rt: &'static R, yields: bool) {
    b.iter_custom(|iterations| {
        let turns = iterations.div_ceil(TASKS);
        let task = async move {
            let lock = Arc::new(M::make());
            let start = Instant::now();
            let tasks: Vec<_> = (0..TASKS)
                .map(|_| {
                    let lock = lock.clone();
                    R::spawn(async move {
                        for _ in 0..turns {
                            lock.turn::<R>(yields).await;
                        }
                    })
                })
                .collect();
            for task in tasks {
                task.await;
            }
            start.elapsed()
        };
        let took = rt.block_on(async move { R::spawn(task).await });
        Duration::from_secs_f64(took.as_secs_f64() * iterations as f64 / (turns * TASKS) as f64)
    });
}

fn locks(c: &mut Criterion) {
    let all = Contestants::leak(2, false);
    let mut group = c.benchmark_group("lock, uncontended");
    group.bench_function("filch", |b| alone::<Filch, _>(b, &all.tokio));
    group.bench_function("futures", |b| alone::<Futures, _>(b, &all.tokio));
    group.bench_function("async-lock", |b| alone::<AsyncLock, _>(b, &all.tokio));
    group.bench_function("tokio", |b| alone::<Tokio, _>(b, &all.tokio));
    group.bench_function("filch on filch", |b| alone::<Filch, _>(b, &all.filch));
    group.finish();
    for (name, yields) in [("lock, 8 tasks", false), ("lock, 8 tasks that yield", true)] {
        let mut group = c.benchmark_group(name);
        group.bench_function("filch", |b| together::<Filch, _>(b, &all.tokio, yields));
        group.bench_function("filch, fair", |b| together::<FilchFair, _>(b, &all.tokio, yields));
        group.bench_function("futures", |b| together::<Futures, _>(b, &all.tokio, yields));
        group.bench_function("async-lock", |b| together::<AsyncLock, _>(b, &all.tokio, yields));
        group.bench_function("tokio", |b| together::<Tokio, _>(b, &all.tokio, yields));
        group.bench_function("filch on filch", |b| together::<Filch, _>(b, &all.filch, yields));
        group.finish();
    }
}

criterion_group!(benches, locks);
criterion_main!(benches);
