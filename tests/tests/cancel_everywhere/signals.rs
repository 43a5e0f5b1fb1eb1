//! `Event`, `Barrier`, `AtomicWait`: a party that gives up is not counted, and takes no wake-up of another with it.

use std::cell::Cell;

use filch::sync::{AtomicWait, AtomicWait64, Barrier, Event, WaitOutcome};
use filch::testing::Trial;

use crate::turn;

operations! {
    event_wait: "Event::wait" => async |trial| {
        let event = Event::new();
        let sets = async {
            turn().await;
            event.set();
        };
        trial.ahead(event.wait()).beside(event.wait()).beside(sets).run(event.wait()).await;
        assert!(event.is_set());
    };
    event_wait_of_what_is_cleared_at_once: "Event::wait" => async |trial| {
        let event = Event::new();
        let sets = async {
            turn().await;
            event.set();
            event.clear();
        };
        trial.ahead(event.wait()).beside(event.wait()).beside(sets).run(event.wait()).await;
        assert!(!event.is_set());
    };
    barrier_wait: "Barrier::wait" => async |trial| {
        let barrier = Barrier::new(3);
        parties(trial, &barrier, async { assert!(barrier.wait().await.is_leader() || barrier.arrived() == 0) }).await;
    };
    barrier_wait_unless_broken: "Barrier::wait_unless_broken" => async |trial| {
        let barrier = Barrier::new(3);
        parties(trial, &barrier, async { assert!(barrier.wait_unless_broken().await.is_ok()) }).await;
    };
    barrier_broken_meanwhile: "Barrier::wait_unless_broken" => async |trial| {
        let barrier = Barrier::new(3);
        let other = async { assert!(barrier.wait_unless_broken().await.is_err()) };
        let breaks = async {
            turn().await;
            barrier.abort();
        };
        let outcome = trial.ahead(other).beside(breaks).run(barrier.wait_unless_broken()).await;
        assert!(outcome.is_none_or(|outcome| outcome.is_err()));
        assert!(barrier.is_broken());
        barrier.reset();
        assert_eq!((barrier.arrived(), barrier.is_broken()), (0, false));
    };
    atomic_wait: "AtomicWait::wait" => async |trial| {
        let (value, mut rest) = (AtomicWait::new(0), 0);
        // One that gives up when it was woken already leaves its wake-up to one that sleeps still.
        let sleeps = async || assert_ne!(value.wait(0).await, WaitOutcome::TimedOut);
        let wakes = async {
            turn().await;
            for _ in 0..3 {
                rest += 1 - value.wake(1);
                turn().await;
            }
        };
        trial.ahead(sleeps()).beside(sleeps()).beside(wakes).run(sleeps()).await;
        assert!(rest <= 1, "more than the one who gave up was missing");
    };
    atomic_wait_for_a_change: "AtomicWait64::wait" => async |trial| {
        let value = AtomicWait64::new(0);
        let until = async |changed: u64| {
            let mut now = value.load();
            while now != changed {
                let _ = value.wait(now).await;
                now = value.load();
            }
        };
        let changes = async {
            for now in 1..=2 {
                turn().await;
                value.store(now);
                assert!(value.wake_all() <= 3);
            }
        };
        trial.ahead(until(2)).beside(until(2)).beside(changes).run(until(2)).await;
        assert_eq!(value.wake_all(), 0, "nobody is left");
    };
}

/// Three parties with the one under test; when that withdraws, another one comes in its place.
async fn parties(trial: Trial, barrier: &Barrier, subject: impl Future<Output = ()>) {
    let passed = Cell::new(0);
    let party = async || {
        barrier.wait().await;
        passed.set(passed.get() + 1);
    };
    let stands_in = async {
        for _ in 0..5 {
            turn().await;
        }
        if passed.get() == 0 {
            assert_eq!(barrier.arrived(), 2, "the others");
            assert!(barrier.try_wait().unwrap().is_leader());
        }
    };
    trial.ahead(party()).beside(party()).beside(stands_in).run(subject).await;
    assert_eq!((passed.get(), barrier.arrived(), barrier.is_broken()), (2, 0, false));
}
