//! Unit tests of `Counter`.

use super::*;
use crate::shim::thread_number;

static CONST: Counter = Counter::new();

#[test]
fn it_counts_up_and_down() {
    assert_eq!((CONST.get(), CONST.take()), (0, 0));
    CONST.increment();
    CONST.add(9);
    CONST.sub(12);
    CONST.decrement();
    assert_eq!(format!("{CONST:?}"), "Counter(-3)");
    assert_eq!((CONST.take(), CONST.get()), (-3, 0));
    CONST.add(1);
    CONST.reset();
    assert_eq!(CONST.get(), 0);
}

#[test]
fn the_sum_wraps() {
    let counter = Counter::default();
    counter.add(i64::MAX);
    counter.increment();
    assert_eq!(counter.get(), i64::MIN);
    counter.sub(i64::MIN);
    assert_eq!(counter.get(), 0);
}

#[test]
fn exact_when_nobody_changes_it() {
    let counter = Counter::new();
    let taken = thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                for n in 0..1_000 {
                    counter.add(n);
                    counter.decrement();
                }
            });
        }
        counter.take()
    });
    assert_eq!(taken + counter.get(), 4 * (999 * 500 - 1_000));
}

#[test]
fn a_shard_is_a_thread_s_own_line() {
    let counter = Counter::new();
    counter.increment();
    let shards = counter.shards();
    assert!(shards.len().is_power_of_two() && shards.len() <= SHARDS_MAX);
    assert_eq!((&raw const shards[0] as usize % 128, size_of::<Shard>()), (0, 128));
    let others = [(); 4].map(|()| thread::spawn(thread_number).join().unwrap());
    assert_eq!(thread_number(), thread_number());
    assert!(others.iter().all(|other| *other != thread_number()));
    assert!(others.windows(2).all(|pair| pair[0] < pair[1]), "in the order in which they ask: {others:?}");
}

#[test]
fn public_types_cross_threads() {
    fn crosses<T: Send + Sync>() {}
    crosses::<Counter>();
}
