//! The price of a rate limit, by criterion: filch's beside those of governor and leaky-bucket.
//!
//! *Free*: one passes, as the limit is far away, and the tokens of the burst become fewer. *Full*: the same at 10^9 a
//! second, so that the bucket is full again each time, and it matters what time it is. *Apart*: as *full*, but other
//! work comes in between, so that nothing is left of an earlier look at the clock; each call is timed alone, and the
//! time is with that of `nothing`. *Reached*: one is turned away. *Keyed*: one of a thousand keys, in turn, passes.
//! *Line*: a hundred tasks wait, and pass one after the other as fast as the limit lets them, at one a microsecond; the
//! time is for one of them, on two workers. *Await*: as *free*, in a task. filch's own run on filch, leaky-bucket on
//! tokio, which it needs, and governor on both.
use std::hint::black_box;
use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::{Duration, Instant};

use criterion::{Bencher, Criterion, criterion_group, criterion_main};
use filch::limit::{Keyed, RateLimiter, TokenBucket};
use filch_benches::runtimes::{Contestants, Rt};
use governor::{DefaultDirectRateLimiter, DefaultKeyedRateLimiter, Quota};

const MANY: u32 = u32::MAX;
const KEYS: u64 = 1_000;
const WAITERS: u64 = 100;
const MICROSECOND: Duration = Duration::from_micros(1);

fn many() -> Quota {
    Quota::per_second(NonZeroU32::new(1_000).unwrap()).allow_burst(NonZeroU32::new(MANY).unwrap())
}

fn governor(quota: Quota) -> DefaultDirectRateLimiter {
    DefaultDirectRateLimiter::direct(quota)
}

fn bucket() -> TokenBucket {
    TokenBucket::new(1_000, Duration::from_secs(1)).burst(MANY as usize)
}

fn leaky(initial: usize, interval: Duration) -> leaky_bucket::RateLimiter {
    let max = usize::MAX >> 8;
    leaky_bucket::RateLimiter::builder().max(max).initial(initial).refill(1).interval(interval).build()
}

/// Within the window there are a few thousand at most.
fn window() -> RateLimiter {
    RateLimiter::new(1_000_000, Duration::from_micros(100))
}

fn without_waiting(c: &mut Criterion) {
    let all = Contestants::leak(2, false);
    let mut group = c.benchmark_group("limit, free");
    let (bucket, window, peer) = (bucket(), window(), governor(many()));
    group.bench_function("filch, TokenBucket", |b| b.iter(|| bucket.try_acquire().unwrap()));
    group.bench_function("filch, RateLimiter", |b| b.iter(|| window.try_acquire().unwrap()));
    group.bench_function("governor", |b| b.iter(|| peer.check().unwrap()));
    group.bench_function("leaky-bucket", |b| {
        all.tokio.block_on(async {
            let leaky = leaky(usize::MAX >> 8, Duration::from_millis(1));
            b.iter(|| assert!(leaky.try_acquire(1)));
        });
    });
    group.finish();

    let fast = NonZeroU32::new(1_000_000_000).unwrap();
    let (bucket, peer) =
        (TokenBucket::new(1_000_000_000, Duration::from_secs(1)), governor(Quota::per_second(fast)));
    let mut group = c.benchmark_group("limit, full");
    group.bench_function("filch, TokenBucket", |b| b.iter(|| bucket.try_acquire().unwrap()));
    group.bench_function("governor", |b| b.iter(|| peer.check().unwrap()));
    group.finish();
    let mut group = c.benchmark_group("limit, apart");
    group.bench_function("filch, TokenBucket", |b| apart(b, || bucket.try_acquire().unwrap()));
    group.bench_function("governor", |b| apart(b, || peer.check().unwrap()));
    group.bench_function("nothing", |b| apart(b, || ()));
    group.finish();

    let mut group = c.benchmark_group("limit, reached");
    let hour = Duration::from_secs(3_600);
    let (bucket, window) = (TokenBucket::every(hour), RateLimiter::new(1, hour));
    let peer = governor(Quota::with_period(hour).unwrap());
    bucket.try_acquire().unwrap();
    window.try_acquire().unwrap();
    peer.check().unwrap();
    group.bench_function("filch, TokenBucket", |b| b.iter(|| bucket.try_acquire().unwrap_err()));
    group.bench_function("filch, RateLimiter", |b| b.iter(|| window.try_acquire().unwrap_err()));
    group.bench_function("governor", |b| b.iter(|| peer.check().unwrap_err()));
    group.bench_function("leaky-bucket", |b| {
        all.tokio.block_on(async {
            let leaky = leaky(0, hour);
            b.iter(|| assert!(!leaky.try_acquire(1)));
        });
    });
    group.finish();
}

/// Calls with a few microseconds of other work in between, which is not counted.
fn apart(b: &mut Bencher<'_>, call: impl Fn()) {
    b.iter_custom(|iterations| {
        let mut sum = Duration::ZERO;
        for _ in 0..iterations {
            (0..4_000_u32).for_each(|i| _ = black_box(i));
            let start = Instant::now();
            call();
            sum += start.elapsed();
        }
        sum
    });
}

fn keyed(c: &mut Criterion) {
    let mut group = c.benchmark_group("limit, keyed");
    let ours = Keyed::new(|_: &u64| bucket());
    let mut key = 0;
    let mut next = move || {
        key = (key + 1) % KEYS;
        key
    };
    group.bench_function("filch", |b| b.iter(|| ours.try_acquire(&next()).unwrap()));
    let peer = DefaultKeyedRateLimiter::keyed(many());
    group.bench_function("governor", |b| b.iter(|| peer.check_key(&next()).unwrap()));
    group.finish();
}

/// One task passes again and again.
fn alone<R: Rt>(b: &mut Bencher<'_>, rt: &'static R, pass: impl AsyncPass) {
    b.iter_custom(|iterations| {
        let pass = pass.clone();
        rt.block_on(async move {
            let task = async move {
                let start = Instant::now();
                for _ in 0..iterations {
                    pass.pass().await;
                }
                start.elapsed()
            };
            R::spawn(task).await
        })
    });
}

/// A hundred tasks wait, each for its turn.
fn line<R: Rt, P: AsyncPass>(b: &mut Bencher<'_>, rt: &'static R, make: impl Fn() -> P + Sync + Send) {
    b.iter_custom(|iterations| {
        let turns = iterations.div_ceil(WAITERS);
        let limiter = rt.block_on(async { make() });
        let took = rt.block_on(async move {
            let task = async move {
                let start = Instant::now();
                let tasks: Vec<_> = (0..WAITERS)
                    .map(|_| {
                        let limiter = limiter.clone();
                        R::spawn(async move {
                            for _ in 0..turns {
                                limiter.pass().await;
                            }
                        })
                    })
                    .collect();
                for task in tasks {
                    task.await;
                }
                start.elapsed()
            };
            R::spawn(task).await
        });
        Duration::from_secs_f64(took.as_secs_f64() * iterations as f64 / (turns * WAITERS) as f64)
    });
}

trait AsyncPass: Clone + Send + Sync + 'static {
    fn pass(&self) -> impl Future<Output = ()> + Send;
}

impl AsyncPass for Arc<TokenBucket> {
    async fn pass(&self) {
        self.acquire().await;
    }
}

impl AsyncPass for Arc<RateLimiter> {
    async fn pass(&self) {
        self.acquire().await;
    }
}

impl AsyncPass for Arc<DefaultDirectRateLimiter> {
    async fn pass(&self) {
        self.until_ready().await;
    }
}

impl AsyncPass for Arc<leaky_bucket::RateLimiter> {
    async fn pass(&self) {
        self.acquire_one().await;
    }
}

fn in_tasks(c: &mut Criterion) {
    let all = Contestants::leak(2, false);
    let mut group = c.benchmark_group("limit, await");
    group.bench_function("filch, TokenBucket", |b| alone(b, &all.filch, Arc::new(bucket())));
    group.bench_function("filch, RateLimiter", |b| alone(b, &all.filch, Arc::new(window())));
    group.bench_function("governor", |b| alone(b, &all.tokio, Arc::new(governor(many()))));
    group.bench_function("governor on filch", |b| alone(b, &all.filch, Arc::new(governor(many()))));
    let peer = all.tokio.block_on(async { Arc::new(leaky(usize::MAX >> 8, Duration::from_millis(1))) });
    group.bench_function("leaky-bucket", |b| alone(b, &all.tokio, peer.clone()));
    group.finish();

    let mut group = c.benchmark_group("limit, line");
    group.bench_function("filch, TokenBucket", |b| {
        line(b, &all.filch, || Arc::new(TokenBucket::every(MICROSECOND)));
    });
    group.bench_function("filch, RateLimiter", |b| {
        line(b, &all.filch, || Arc::new(RateLimiter::new(1, MICROSECOND)));
    });
    let quota = || Quota::with_period(MICROSECOND).unwrap();
    group.bench_function("governor", |b| line(b, &all.tokio, || Arc::new(governor(quota()))));
    group.bench_function("governor on filch", |b| line(b, &all.filch, || Arc::new(governor(quota()))));
    group.finish();
}

criterion_group!(benches, without_waiting, keyed, in_tasks);
criterion_main!(benches);
