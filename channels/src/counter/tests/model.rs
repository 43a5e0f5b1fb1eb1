//! Models of `Counter`: every interleaving under loom, a stress test elsewhere.

use super::*;
use crate::shim::Ordering::Relaxed;
use crate::shim::model;

/// Two threads count while a third takes what there is: each change is taken once.
#[test]
fn model_each_change_is_taken_once() {
    model(|| {
        let counter = Arc::new(Counter::new());
        let threads = [5, -2].map(|n| {
            let counter = counter.clone();
            thread::spawn(move || counter.add(n))
        });
        let taken = counter.take();
        assert!([0, 5, -2, 3].contains(&taken));
        for thread in threads {
            thread.join().unwrap();
        }
        assert_eq!(taken + counter.take(), 3);
        assert_eq!(counter.get(), 0);
    });
}

/// Who counts a change sees what was done before it.
#[test]
fn model_a_count_brings_what_was_done() {
    model(|| {
        let shared = Arc::new((Counter::new(), AtomicU64::new(0)));
        let adders = [1, 16].map(|n| {
            let shared = shared.clone();
            thread::spawn(move || {
                shared.1.fetch_add(n, Relaxed);
                shared.0.add(n as i64);
            })
        });
        let counted = shared.0.get() as u64;
        assert_eq!(shared.1.load(Relaxed) & counted, counted);
        for adder in adders {
            adder.join().unwrap();
        }
        assert_eq!(shared.0.get(), 17);
    });
}
