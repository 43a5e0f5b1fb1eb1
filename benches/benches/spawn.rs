//! Spawning and joining one task, by criterion: filch, tokio and smol, one after the other. `compare` is the
//! judge; this is for those who want a curve.
use criterion::{Criterion, criterion_group, criterion_main};
use filch_benches::runtimes::{Contestants, Rt};

fn spawn_and_join(c: &mut Criterion) {
    let all = Contestants::leak(2, false);
    let mut group = c.benchmark_group("spawn and join");
    group.bench_function("filch", |b| one(b, &all.filch));
    group.bench_function("tokio", |b| one(b, &all.tokio));
    group.bench_function("smol", |b| one(b, &all.smol));
    group.finish();
}

fn one<R: Rt>(b: &mut criterion::Bencher<'_>, rt: &'static R) {
    b.iter_custom(|iterations| {
        rt.block_on(async move {
            R::spawn(async move {
                let start = std::time::Instant::now();
                for _ in 0..iterations {
                    R::spawn(async {}).await;
                }
                start.elapsed()
            })
            .await
        })
    });
}

criterion_group!(benches, spawn_and_join);
criterion_main!(benches);
