//! Models of the wait queue: every interleaving under loom, a stress test elsewhere. A lost wake-up is a
//! deadlock.

use super::*;
use crate::shim::Ordering::Release;
use crate::shim::{UnsafeCell, model, thread};

#[test]
fn model_wait_and_release() {
    model(|| {
        let pool = Arc::new(Pool::new(0));
        let waiter = {
            let pool = pool.clone();
            thread::spawn(move || block_on(pool.claim(1)))
        };
        pool.put(1);
        waiter.join().unwrap();
        assert_eq!(pool.free(), 0);
    });
}

#[test]
fn model_two_waiters_two_releasers() {
    model(|| {
        let pool = Arc::new(Pool::new(0));
        let spawn = |f: fn(&Pool)| {
            let pool = pool.clone();
            thread::spawn(move || f(&pool))
        };
        let threads =
            [spawn(|pool| block_on(pool.claim(1))), spawn(|pool| assert!(pool.claim_blocking(1, None)))];
        let releaser = spawn(|pool| pool.put(1));
        pool.put(1);
        for thread in threads {
            thread.join().unwrap();
        }
        releaser.join().unwrap();
        assert_eq!((pool.free(), pool.queue.lock().list.len()), (0, 0));
    });
}

/// A lock: one unit, `release_one`, and a cell that loom watches.
#[test]
fn model_lock_excludes_and_wakes() {
    struct Guarded(Pool, UnsafeCell<usize>);
    // SAFETY: the cell is touched only by whoever has the one unit of the pool.
    unsafe impl Sync for Guarded {}

    model(|| {
        let lock = Arc::new(Guarded(Pool::new(1), UnsafeCell::new(0)));
        let add = |lock: &Guarded| {
            block_on(lock.0.claim(1));
            // SAFETY: as above.
            lock.1.with_mut(|count| unsafe { *count += 1 });
            lock.0.put_one();
        };
        let threads: Vec<_> = (0..2)
            .map(|_| {
                let lock = lock.clone();
                thread::spawn(move || add(&lock))
            })
            .collect();
        add(&lock);
        for thread in threads {
            thread.join().unwrap();
        }
        block_on(lock.0.claim(1));
        // SAFETY: as above.
        assert_eq!(lock.1.with(|count| unsafe { *count }), 3);
    });
}

/// The first waiter goes away while it is being invited, and the second must get the unit.
#[test]
fn model_cancel_passes_the_invitation_on() {
    model(|| {
        let pool = Arc::new(Pool::new(0));
        let mut first = claim(&pool, 1);
        assert!(Count::new().poll(first.as_mut()).is_pending());
        let releaser = {
            let pool = pool.clone();
            thread::spawn(move || pool.put(1))
        };
        let canceller = thread::spawn(move || drop(first));
        block_on(pool.claim(1));
        releaser.join().unwrap();
        canceller.join().unwrap();
        assert_eq!((pool.free(), pool.queue.lock().list.len()), (0, 0));
    });
}

/// The first waiter wants more than there is; when it goes, the smaller one behind it fits.
#[test]
fn sm1_model_cancel_of_a_big_request_lets_the_small_one_in() {
    model(|| {
        let pool = Arc::new(Pool::fair(1));
        let mut big = claim(&pool, 3);
        assert!(Count::new().poll(big.as_mut()).is_pending());
        let canceller = thread::spawn(move || drop(big));
        let releaser = {
            let pool = pool.clone();
            thread::spawn(move || pool.put(1))
        };
        block_on(pool.claim(1));
        canceller.join().unwrap();
        releaser.join().unwrap();
        assert_eq!(pool.free(), 1);
    });
}

/// A task that was invited runs, but does not come, and another is behind it.
#[test]
fn model_settle_and_release() {
    model(|| {
        let pool = Arc::new(Pool::new(0));
        let runtime = {
            let pool = pool.clone();
            thread::spawn(move || {
                let task = FakeTask::new(1);
                let mut left_alone = claim(&pool, 1);
                if task.poll_one(left_alone.as_mut()).is_ready() {
                    pool.put(1);
                } else {
                    task.wakes.wait_for(1);
                    task.poll(|_| ());
                }
                left_alone
            })
        };
        let releaser = {
            let pool = pool.clone();
            thread::spawn(move || pool.put(1))
        };
        // Before the other task, or else instead of it; then the unit is free for it once more.
        block_on(pool.claim(1));
        pool.put(1);
        releaser.join().unwrap();
        drop(runtime.join().unwrap());
        assert_eq!((pool.free(), pool.queue.lock().list.len()), (1, 0));
    });
}

/// The future is polled by another task, and claims, while the first task settles.
#[test]
fn model_settle_and_claim() {
    model(|| {
        let pool = Arc::new(Pool::new(0));
        let task = FakeTask::new(1);
        let mut moved = claim(&pool, 1);
        assert!(task.poll_one(moved.as_mut()).is_pending());
        pool.put(1);
        let runtime = thread::spawn(move || task.poll(|_| ()));
        let claimer = {
            let pool = pool.clone();
            thread::spawn(move || {
                block_on(moved);
                pool.put(1);
            })
        };
        block_on(pool.claim(1));
        pool.put(1);
        runtime.join().unwrap();
        claimer.join().unwrap();
        assert_eq!((pool.free(), pool.queue.lock().list.len()), (1, 0));
    });
}

/// The future, and the pool with it, goes away on another thread while the task settles.
#[test]
fn model_settle_and_drop() {
    model(|| {
        let pool = Arc::new(Pool::new(0));
        let task = FakeTask::new(1);
        let mut moved = claim(&pool, 1);
        assert!(task.poll_one(moved.as_mut()).is_pending());
        pool.put(1);
        drop(pool);
        let header = task.header.clone();
        let runtime = thread::spawn(move || task.poll(|_| ()));
        drop(moved);
        runtime.join().unwrap();
        assert!(header.grant.load(SeqCst).is_null());
    });
}

/// Two queues invite the task at once: one finds the word taken.
#[test]
fn model_two_queues_invite_one_task() {
    model(|| {
        let pools = [Arc::new(Pool::new(0)), Arc::new(Pool::new(0))];
        let task = FakeTask::new(1);
        let mut futures = pools.each_ref().map(|pool| claim(pool, 1));
        for future in &mut futures {
            assert!(task.poll_one(future.as_mut()).is_pending());
        }
        let threads = pools.each_ref().map(|pool| {
            let pool = pool.clone();
            thread::spawn(move || pool.put(1))
        });
        for future in &mut futures {
            while task.poll_one(future.as_mut()).is_pending() {
                thread::yield_now();
            }
        }
        for thread in threads {
            thread.join().unwrap();
        }
        drop(task);
        assert_eq!(pools.map(|pool| pool.free()), [0, 0]);
    });
}

#[test]
fn model_two_notifiers_reach_two_waiters() {
    model(|| {
        let queue = Arc::new(WaitQueue::new());
        let (count, mut futures) = (Count::new(), [told(&queue, 1), told(&queue, 2)]);
        for future in &mut futures {
            assert!(count.poll(future.as_mut()).is_pending());
        }
        let other = {
            let queue = queue.clone();
            thread::spawn(move || assert!(queue.notify_one(7)))
        };
        assert!(queue.notify_where(7, |_| true));
        other.join().unwrap();
        assert!(!queue.notify_last(7));
        assert_eq!(count.get(), 2);
        for future in futures {
            assert_eq!(block_on(future), 7);
        }
    });
}

#[test]
fn model_close_reaches_all() {
    model(|| {
        let queue = Arc::new(WaitQueue::new());
        let threads = [1, 2].map(|word| {
            let queue = queue.clone();
            thread::spawn(move || block_on(told(&queue, word)))
        });
        queue.close(9);
        for thread in threads {
            assert_eq!(thread.join().unwrap(), 9);
        }
        assert!(queue.is_empty());
    });
}

/// A flag that is set by a plain store, and told of afterwards: the notifier's fence alone makes the
/// handshake.
#[test]
fn model_plain_store_then_notify() {
    model(|| {
        let shared = Arc::new((AtomicUsize::new(0), WaitQueue::new()));
        let waiter = {
            let shared = shared.clone();
            thread::spawn(move || {
                let ready = || (shared.0.load(Relaxed) != 0).then_some(());
                Waiter::told_blocking(&shared.1, 0, ready, None).unwrap()
            })
        };
        shared.0.store(1, Relaxed);
        let told = shared.1.notify_all(3);
        let outcome = waiter.join().unwrap();
        assert!(outcome == Outcome::Taken(()) || (outcome, told) == (Outcome::Told(3), 1));
    });
}

/// The same with units.
#[test]
fn model_plain_store_then_release() {
    model(|| {
        let pool = Arc::new(Pool::new(0));
        let waiter = {
            let pool = pool.clone();
            thread::spawn(move || block_on(pool.claim(1)))
        };
        pool.free.store(1, Release);
        pool.queue.release_after_store(|| pool.free());
        waiter.join().unwrap();
        assert_eq!(pool.free(), 0);
    });
}
