//! What does an item cost that goes through a queue? `Queue`, `LifoQueue` and `PriorityQueue` beside async-channel and
//! collections behind a mutex, with 1,000 items in them: one in and one out, on one thread.
use std::cmp::Reverse;
use std::collections::{BinaryHeap, VecDeque};
use std::hint::black_box;
use std::sync::Mutex;

use criterion::{Bencher, Criterion, criterion_group, criterion_main};
use filch::sync::{LifoQueue, PriorityQueue, Queue};
use filch_benches::by_hand::alone;

const ITEMS: usize = 1_000;

/// Fills something, measures one put and one get, and empties it.
fn one_in_one_out(b: &mut Bencher<'_>, put: impl Fn(u64), get: impl Fn() -> u64) {
    let mut rng = fastrand::Rng::with_seed(1);
    (0..ITEMS).for_each(|_| put(rng.u64(..1 << 32)));
    b.iter(|| {
        put(rng.u64(..1 << 32));
        black_box(get())
    });
    for _ in 0..ITEMS {
        black_box(get());
    }
}

fn in_order(c: &mut Criterion) {
    let mut group = c.benchmark_group("Queue: one in, one out");
    let queue = Queue::new(0);
    let put = |item| queue.try_put(item).expect("it is open");
    group.bench_function("filch", |b| one_in_one_out(b, put, || queue.try_get().unwrap()));
    let queue = Queue::new(2 * ITEMS);
    group.bench_function("filch, bounded, awaited", |b| {
        one_in_one_out(b, |item| alone(queue.put(item)).unwrap(), || alone(queue.get()).unwrap());
    });
    let (tx, rx) = async_channel::unbounded();
    group.bench_function("async-channel", |b| {
        one_in_one_out(b, |item| tx.try_send(item).unwrap(), || rx.try_recv().unwrap());
    });
    let deque = Mutex::new(VecDeque::new());
    group.bench_function("Mutex<VecDeque>", |b| {
        let get = || deque.lock().unwrap().pop_front().unwrap();
        one_in_one_out(b, |item| deque.lock().unwrap().push_back(item), get);
    });
    group.finish();
    let mut group = c.benchmark_group("LifoQueue: one in, one out");
    let queue = LifoQueue::new(0);
    let put = |item| queue.try_put(item).expect("it is open");
    group.bench_function("filch", |b| one_in_one_out(b, put, || queue.try_get().unwrap()));
    let stack = Mutex::new(Vec::new());
    group.bench_function("Mutex<Vec>", |b| {
        one_in_one_out(b, |item| stack.lock().unwrap().push(item), || stack.lock().unwrap().pop().unwrap());
    });
    group.finish();
}

fn by_priority(c: &mut Criterion) {
    let mut group = c.benchmark_group("PriorityQueue: one in, one out");
    for (name, queue) in
        [("filch", PriorityQueue::new(0)), ("filch, with ageing", PriorityQueue::new(0).with_ageing(10_000))]
    {
        let put = |item| queue.try_put(item).expect("it is open");
        group.bench_function(name, |b| one_in_one_out(b, put, || queue.try_get().unwrap()));
    }
    let heap = Mutex::new(BinaryHeap::new());
    group.bench_function("Mutex<BinaryHeap>", |b| {
        let get = || heap.lock().unwrap().pop().map(|Reverse(item)| item).unwrap();
        one_in_one_out(b, |item| heap.lock().unwrap().push(Reverse(item)), get);
    });
    // Ties in order, as the queue has them.
    let ticketed = Mutex::new((BinaryHeap::new(), 0_u64));
    group.bench_function("Mutex<BinaryHeap> of (item, ticket)", |b| {
        let put = |item| {
            let (heap, ticket) = &mut *ticketed.lock().unwrap();
            *ticket += 1;
            heap.push(Reverse((item, *ticket)));
        };
        one_in_one_out(b, put, || ticketed.lock().unwrap().0.pop().map(|Reverse((item, _))| item).unwrap());
    });
    group.finish();
}

criterion_group!(benches, in_order, by_priority);
criterion_main!(benches);
