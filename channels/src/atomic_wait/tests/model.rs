//! Models of `AtomicWait`: every interleaving under loom, a stress test elsewhere.

use super::*;
use crate::shim::{model, thread};

/// A task and a thread wait for a change: neither sleeps on the old value for ever.
#[test]
fn model_no_wake_up_between_comparison_and_sleep_is_lost() {
    model(|| {
        let word = Arc::new(AtomicWait::new(0));
        let changer = {
            let word = word.clone();
            thread::spawn(move || {
                word.store(1);
                word.wake_all()
            })
        };
        let blocked = {
            let word = word.clone();
            thread::spawn(move || (word.wait_blocking(0), word.load()))
        };
        let mine = block_on(word.wait(0));
        assert_eq!(word.load(), 1);
        let (theirs, seen) = blocked.join().unwrap();
        assert_eq!(seen, 1);
        let slept = [mine, theirs].iter().filter(|outcome| **outcome == WaitOutcome::Woken).count();
        assert_eq!(changer.join().unwrap(), slept);
    });
}

/// One is to be woken, and that one goes: the other, which was in line too, is woken instead.
#[test]
fn model_a_wake_up_passes_on() {
    model(|| {
        let word = Arc::new(AtomicWait::new(0));
        let (mut first, mut second) = (wait(&word, 0), wait(&word, 0));
        let count = Count::new();
        assert!(count.poll(first.as_mut()).is_pending() && count.poll(second.as_mut()).is_pending());
        let canceller = thread::spawn(move || drop(first));
        let waker = {
            let word = word.clone();
            thread::spawn(move || word.wake(1))
        };
        assert_eq!(block_on(second), WaitOutcome::Woken);
        canceller.join().unwrap();
        assert_eq!(waker.join().unwrap(), 1);
        assert!(word.line.queue.lock().is_empty());
    });
}

/// A wake-up that passes on leaves alone one that compared after it.
#[test]
fn model_a_wake_up_does_not_pass_to_one_that_came_later() {
    model(|| {
        let word = Arc::new(AtomicWait::new(0));
        let mut first = wait(&word, 0);
        let count = Count::new();
        assert!(count.poll(first.as_mut()).is_pending());
        assert_eq!(word.wake(1), 1);
        let canceller = thread::spawn(move || drop(first));
        let later = {
            let word = word.clone();
            thread::spawn(move || word.wait_timeout(0, Duration::ZERO))
        };
        canceller.join().unwrap();
        assert_eq!(later.join().unwrap(), WaitOutcome::TimedOut);
    });
}

/// A lock of two states, with the one word: nobody is left asleep, and the two are kept apart.
#[test]
fn model_a_lock_made_of_it() {
    model(|| {
        let shared = Arc::new((AtomicWait::new(0), AtomicUsize::new(0)));
        let add = |shared: &(AtomicWait, AtomicUsize)| {
            while shared.0.swap(1) == 1 {
                let _ = block_on(shared.0.wait(1));
            }
            // Not a read-modify-write: the lock alone keeps the two apart.
            shared.1.store(shared.1.load(Relaxed) + 1, Relaxed);
            // Not a store, whose place among the exchanges loom leaves open.
            shared.0.swap(0);
            shared.0.wake(1);
        };
        let other = {
            let shared = shared.clone();
            thread::spawn(move || add(&shared))
        };
        add(&shared);
        other.join().unwrap();
        assert_eq!((shared.1.load(Relaxed), shared.0.load()), (2, 0));
    });
}
