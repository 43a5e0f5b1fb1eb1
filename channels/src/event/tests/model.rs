//! Models of `Event`: every interleaving under loom, a stress test elsewhere.

use super::*;
use crate::shim::{model, thread};

/// A task and a thread wait; both see what was done before the event was set.
#[test]
fn model_set_wakes_task_and_thread() {
    model(|| {
        let shared = Arc::new((AtomicUsize::new(0), Event::new()));
        let blocked = {
            let shared = shared.clone();
            thread::spawn(move || {
                shared.1.wait_blocking();
                shared.0.load(Relaxed)
            })
        };
        let setter = {
            let shared = shared.clone();
            thread::spawn(move || {
                shared.0.store(1, Relaxed);
                shared.1.set();
            })
        };
        block_on(shared.1.wait());
        assert_eq!(shared.0.load(Relaxed), 1);
        assert_eq!(blocked.join().unwrap(), 1);
        setter.join().unwrap();
    });
}

/// Two waits that began before are ended by a `set` that is taken back at once.
#[test]
fn model_set_and_clear_wake_those_who_wait() {
    model(|| {
        let event = Arc::new(Event::new());
        let (mut first, second) = (wait(&event), wait(&event));
        assert!(Count::new().poll(first.as_mut()).is_pending());
        let setter = {
            let event = event.clone();
            thread::spawn(move || {
                event.set();
                event.clear();
            })
        };
        let waiter = thread::spawn(move || block_on(second));
        block_on(first);
        setter.join().unwrap();
        waiter.join().unwrap();
        assert!(!event.is_set());
        assert!(event.queue.lock().is_empty());
    });
}

/// Two set the event while one clears it: the wait ends, and neither `set` is taken for the other.
#[test]
fn model_two_set_and_one_clears() {
    model(|| {
        let event = Arc::new(Event::new());
        let setters = [(); 2].map(|()| {
            let event = event.clone();
            thread::spawn(move || event.set())
        });
        block_on(event.wait());
        event.clear();
        for setter in setters {
            setter.join().unwrap();
        }
        // One `set` and the `clear`, or the second `set` came after it.
        assert_eq!(event.now(), if event.is_set() { 3 } else { 2 });
    });
}

/// One waiter goes while the event is set: the other is woken all the same.
#[test]
fn model_set_and_cancel() {
    model(|| {
        let event = Arc::new(Event::new());
        let mut first = wait(&event);
        assert!(Count::new().poll(first.as_mut()).is_pending());
        let canceller = thread::spawn(move || drop(first));
        let setter = {
            let event = event.clone();
            thread::spawn(move || event.set())
        };
        event.wait_blocking();
        canceller.join().unwrap();
        setter.join().unwrap();
        assert!(event.queue.lock().is_empty());
    });
}

/// A `set` that is slow to tell the waiters leaves alone one that came after the `clear`.
#[test]
fn model_set_does_not_wake_those_who_come_after_the_clear() {
    model(|| {
        let event = Arc::new(Event::new());
        let setter = {
            let event = event.clone();
            thread::spawn(move || event.set())
        };
        let clearer = {
            let event = event.clone();
            thread::spawn(move || {
                event.wait_blocking();
                event.clear();
                let mut late = wait(&event);
                assert!(Count::new().poll(late.as_mut()).is_pending());
                late
            })
        };
        let mut late = clearer.join().unwrap();
        setter.join().unwrap();
        assert!(Count::new().poll(late.as_mut()).is_pending());
    });
}
