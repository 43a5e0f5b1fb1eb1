//! A parker against those who unpark it. A wake-up that is lost is a deadlock, which loom reports.

use super::*;
use crate::shim::task::AtomicUsize;
use crate::shim::{Arc, model};

#[test]
fn model_parker_two_unparks_against_park() {
    model(|| {
        let shared = Arc::new((Parker::new(), AtomicUsize::new(0)));
        let others: Vec<_> = (0..2)
            .map(|_| {
                let shared = shared.clone();
                thread::spawn(move || {
                    shared.1.fetch_add(1, Relaxed);
                    assert_eq!(shared.0.unpark(), Unpark::Done);
                })
            })
            .collect();
        let (parker, seen) = &*shared;
        while seen.load(Relaxed) < 2 {
            assert!(parker.park(None));
        }
        others.into_iter().for_each(|other| other.join().unwrap());
    });
}

#[test]
fn model_parker_token_before_park_makes_written_data_visible() {
    model(|| {
        let shared = Arc::new((Parker::new(), AtomicUsize::new(0)));
        let other = {
            let shared = shared.clone();
            thread::spawn(move || {
                shared.1.store(1, Relaxed);
                let _ = shared.0.unpark();
            })
        };
        let (parker, data) = &*shared;
        assert!(parker.park(None));
        assert_eq!(data.load(Relaxed), 1);
        other.join().unwrap();
        // The token was used up, and one that comes before the wait is not slept over.
        let _ = parker.unpark();
        assert!(parker.park(None));
        assert!(parker.start_polling());
        assert!(!parker.end_polling());
    });
}

#[test]
fn model_parker_unpark_against_polling() {
    model(|| {
        let shared = Arc::new((Parker::new(), AtomicUsize::new(0), AtomicUsize::new(0)));
        let others: Vec<_> = (0..2)
            .map(|_| {
                let shared = shared.clone();
                thread::spawn(move || {
                    shared.1.fetch_add(1, Relaxed);
                    let unpark = shared.0.unpark();
                    if unpark == Unpark::WakeReactor {
                        shared.2.fetch_add(1, Relaxed);
                    }
                    unpark == Unpark::WakeReactor
                })
            })
            .collect();
        let (parker, seen, _) = &*shared;
        let mut unparked = false;
        if parker.start_polling() {
            // A reactor that is not waited for: what matters is who says what to whom.
            unparked = parker.end_polling();
        } else {
            assert!(seen.load(Relaxed) >= 1);
        }
        if unparked {
            assert!(seen.load(Relaxed) >= 1);
        }
        let to_reactor = others.into_iter().filter_map(|other| other.join().unwrap().then_some(())).count();
        assert!(to_reactor <= 1, "one of two wakes the reactor");
        assert!(to_reactor == 0 || unparked, "who wakes the reactor is seen");
        // Whatever came after the wait is still there: both were seen, by it or by the next one.
        if parker.start_polling() {
            assert!(!parker.end_polling());
        }
        assert_eq!(seen.load(Relaxed), 2);
    });
}
