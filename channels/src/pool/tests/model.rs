//! Models of `Pool`: every interleaving under loom, a stress test elsewhere.

use super::*;
use crate::shim::{model, thread};

/// Three want the one thing there can be: it is made once, and goes round.
#[test]
fn model_one_thing_goes_round() {
    model(|| {
        let (make, alive) = maker(1);
        let pool = Pool::new(1, make);
        let threads = [false, true].map(|blocking| {
            let pool = pool.clone();
            thread::spawn(move || {
                let thing = if blocking { pool.get_blocking() } else { block_on(pool.get()) };
                thing.unwrap().1
            })
        });
        assert_eq!(block_on(pool.get()).unwrap().1, 0);
        for thread in threads {
            assert_eq!(thread.join().unwrap(), 0);
        }
        let stats = pool.stats();
        assert_eq!((stats.made, stats.reused, stats.idle, stats.out), (1, 2, 1, 0));
        drop(pool);
        assert_eq!(alive.load(SeqCst), 0);
    });
}

/// One that waits goes while the thing comes back: the other gets it.
#[test]
fn model_cancel_while_it_comes_back() {
    model(|| {
        let pool = Pool::new(1, || ());
        let out = pool.try_get().unwrap();
        let mut given_up = {
            let pool = pool.clone();
            Box::pin(async move { pool.get().await.is_ok() })
        };
        assert!(Count::new().poll(given_up.as_mut()).is_pending());
        let canceller = thread::spawn(move || drop(given_up));
        let returner = thread::spawn(move || drop(out));
        drop(block_on(pool.get()).unwrap());
        canceller.join().unwrap();
        returner.join().unwrap();
        let stats = pool.stats();
        assert_eq!((stats.made, stats.reused, stats.idle, stats.out), (1, 1, 1, 0));
    });
}

/// The pool closes while a thing comes back and another wants it: all there was is dropped, and nobody waits on.
#[test]
fn model_close_while_it_comes_back() {
    model(|| {
        let (make, alive) = maker(1);
        let pool = Pool::new(1, make);
        let out = pool.try_get().unwrap();
        let returner = thread::spawn(move || drop(out));
        let waiter = {
            let pool = pool.clone();
            thread::spawn(move || block_on(pool.get()).map(|thing| thing.1))
        };
        pool.close();
        // If it got its turn before the end, it may still have to make a thing of its own.
        assert!(matches!(waiter.join().unwrap(), Ok(0 | 1) | Err(PoolError::Closed)));
        returner.join().unwrap();
        assert_eq!((alive.load(SeqCst), pool.stats().idle, pool.stats().out), (0, 0, 0));
    });
}
