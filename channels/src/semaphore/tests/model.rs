//! Models of the semaphore: every interleaving under loom, a stress test elsewhere.

use super::*;
use crate::shim::{model, thread};

#[test]
fn model_acquire_release_cancel() {
    model(|| {
        let semaphore = Arc::new(Semaphore::new(0));
        let mut given_up = Box::pin(semaphore.clone().acquire_owned());
        assert!(Count::new().poll(given_up.as_mut()).is_pending());
        let releaser = {
            let semaphore = semaphore.clone();
            thread::spawn(move || semaphore.add(1))
        };
        let canceller = thread::spawn(move || drop(given_up));
        let permit = block_on(semaphore.acquire()).unwrap();
        releaser.join().unwrap();
        canceller.join().unwrap();
        assert_eq!(semaphore.available_permits(), 0);
        drop(permit);
        assert_eq!(semaphore.available_permits(), 1);
    });
}

/// Many permits are wanted, come one by one, and the request is dropped meanwhile: the small one gets
/// through.
#[test]
fn sm1_model_acquire_many_cancel() {
    model(|| {
        let semaphore = Arc::new(Semaphore::fair(0));
        let mut big = Box::pin(semaphore.clone().acquire_many_owned(2));
        assert!(Count::new().poll(big.as_mut()).is_pending());
        semaphore.add(1);
        let canceller = thread::spawn(move || drop(big));
        let releaser = {
            let semaphore = semaphore.clone();
            thread::spawn(move || semaphore.add(1))
        };
        drop(block_on(semaphore.acquire()).unwrap());
        canceller.join().unwrap();
        releaser.join().unwrap();
        assert_eq!(semaphore.available_permits(), 2);
    });
}

#[test]
fn model_close_acquire_release() {
    model(|| {
        let semaphore = Arc::new(Semaphore::new(0));
        let waiters = [false, true].map(|blocking| {
            let semaphore = semaphore.clone();
            thread::spawn(move || {
                let permit =
                    if blocking { semaphore.acquire_blocking() } else { block_on(semaphore.acquire()) };
                permit.map(SemaphorePermit::forget).is_ok()
            })
        });
        let closer = {
            let semaphore = semaphore.clone();
            thread::spawn(move || semaphore.close())
        };
        semaphore.add(1);
        let served = waiters.map(|waiter| usize::from(waiter.join().unwrap())).iter().sum::<usize>();
        closer.join().unwrap();
        assert!(semaphore.try_acquire().is_err());
        assert_eq!(served + semaphore.available_permits(), 1);
    });
}

/// Two threads take and release the one permit; what the first did is seen by the second.
#[test]
fn model_permits_hand_over_what_was_done() {
    model(|| {
        let shared = Arc::new((Semaphore::new(1), AtomicUsize::new(0)));
        let add = |shared: &(Semaphore, AtomicUsize)| {
            let _permit = block_on(shared.0.acquire()).unwrap();
            // Not a read-modify-write: the permit alone keeps the two apart.
            shared.1.store(shared.1.load(Relaxed) + 1, Relaxed);
        };
        let threads = [(); 2].map(|()| {
            let shared = shared.clone();
            thread::spawn(move || add(&shared))
        });
        for thread in threads {
            thread.join().unwrap();
        }
        assert_eq!((shared.1.load(Relaxed), shared.0.available_permits()), (2, 1));
    });
}
