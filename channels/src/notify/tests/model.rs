//! Models of `Notify`: every interleaving under loom, a stress test elsewhere.

use super::*;
use crate::shim::{model, thread};

/// Listen, look, set: the listener was created before the flag was looked at, so no setting is missed.
#[test]
fn ev1_model_listen_look_set() {
    for all in [false, true] {
        model(move || {
            let shared = Arc::new((AtomicUsize::new(0), Notify::new()));
            let setter = {
                let shared = shared.clone();
                thread::spawn(move || {
                    shared.0.store(1, Relaxed);
                    if all { shared.1.notify_waiters() } else { shared.1.notify_one() }
                })
            };
            let listener = shared.1.notified();
            if shared.0.load(Relaxed) == 0 {
                block_on(listener);
                assert_eq!(shared.0.load(Relaxed), 1, "a notification brings what was done before it");
            }
            setter.join().unwrap();
        });
    }
}

#[test]
fn ev2_model_notify_one_to_a_listener_that_goes() {
    model(|| {
        let notify = Arc::new(Notify::new());
        let mut first = notified(&notify);
        assert!(Count::new().poll(first.as_mut()).is_pending());
        let canceller = thread::spawn(move || drop(first));
        let notifier = {
            let notify = notify.clone();
            thread::spawn(move || notify.notify_one())
        };
        block_on(notify.notified());
        canceller.join().unwrap();
        notifier.join().unwrap();
        assert!(!notify.take_stored());
    });
}

/// Two notifications and two waiters, one of which comes while they are given: none is merged away.
#[test]
fn model_two_notifications_for_two() {
    model(|| {
        let notify = Arc::new(Notify::new());
        let mut first = notified(&notify);
        assert!(Count::new().poll(first.as_mut()).is_pending());
        let notifiers = [(); 2].map(|()| {
            let notify = notify.clone();
            thread::spawn(move || notify.notify_one())
        });
        block_on(notify.notified());
        block_on(first);
        for notifier in notifiers {
            notifier.join().unwrap();
        }
        assert!(!notify.take_stored());
    });
}

/// Whoever is notified passes it on to the other.
#[test]
fn model_blocking_and_async_waiters() {
    model(|| {
        let notify = Arc::new(Notify::new());
        let waiter = {
            let notify = notify.clone();
            thread::spawn(move || {
                notify.notified_blocking();
                notify.notify_one();
            })
        };
        let notifier = {
            let notify = notify.clone();
            thread::spawn(move || notify.notify_one())
        };
        block_on(async {
            notify.notified().await;
            notify.notify_last();
        });
        waiter.join().unwrap();
        notifier.join().unwrap();
        assert!(notify.take_stored());
    });
}
