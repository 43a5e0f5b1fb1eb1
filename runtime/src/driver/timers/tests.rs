//! A shard alone, and against its owner, a canceller and a second one who fires.

use std::sync::Arc as StdArc;
use std::task::{Wake, Waker};

use super::*;
use crate::shim::task::AtomicUsize;
use crate::shim::{model, thread};

/// Counts how often it was woken.
struct Count(AtomicUsize);

impl Wake for Count {
    fn wake(self: StdArc<Count>) {
        self.0.fetch_add(1, Relaxed);
    }
}

/// A waker, and what counts its wakes.
fn waker() -> (StdArc<Count>, Waker) {
    let count = StdArc::new(Count(AtomicUsize::new(0)));
    (count.clone(), Waker::from(count))
}

fn shard() -> Arc<TimerShard> {
    told().0
}

/// A shard, and the deadlines for which its owner was to be unparked.
fn told() -> (Arc<TimerShard>, Arc<Mutex<Vec<u64>>>) {
    let told = Arc::new(Mutex::new(Vec::new()));
    let tell = told.clone();
    (TimerShard::new(Clock::virtual_(), Box::new(move |deadline| tell.lock().push(deadline))), told)
}

/// How many timers have yet to fire.
fn armed(shard: &TimerShard) -> usize {
    shard.wheel.lock().armed()
}

/// Fires one batch and wakes it; how many there were.
fn fire(shard: &TimerShard, now: u64) -> usize {
    let mut out = Vec::new();
    let fired = shard.fire(now, &mut out);
    assert_eq!(fired, out.len());
    out.into_iter().for_each(Waker::wake);
    fired
}

#[cfg(not(filch_loom))]
mod unit {
    use std::time::Duration;

    use super::*;

    #[test]
    fn fires_in_order_and_never_early() {
        let shard = shard();
        let deadlines = [30, 10, 20, 10, 1 << 30];
        let wakers = deadlines.map(|_| waker());
        let keys = std::array::from_fn::<_, 5, _>(|i| shard.insert(deadlines[i], wakers[i].1.clone()));
        assert_eq!((armed(&shard), shard.earliest()), (5, 10));
        let mut out = Vec::new();
        assert_eq!(shard.fire(9, &mut out), 0);
        assert_eq!(shard.fire(30, &mut out), 4);
        for (waker, expected) in out.iter().zip([1, 3, 2, 0]) {
            assert!(waker.will_wake(&wakers[expected].1));
        }
        assert!(wakers.iter().all(|(count, _)| count.0.load(Relaxed) == 0), "woken under the lock");
        assert_eq!((armed(&shard), shard.earliest()), (1, 1 << 30));
        assert_eq!(keys.map(|key| shard.cancel(key)), [false, false, false, false, true]);
        assert!(shard.is_empty());
        drop(out);
        for (count, waker) in wakers {
            drop(waker);
            assert_eq!(StdArc::strong_count(&count), 1, "a waker was kept");
        }
    }

    #[test]
    fn fires_a_batch_at_a_time() {
        let shard = shard();
        let (count, waker) = waker();
        for i in 0..2 * BATCH as u64 + 3 {
            let _ = shard.insert(i / 2, waker.clone());
        }
        for expected in [BATCH, BATCH, 3] {
            assert!(shard.earliest() <= 1000);
            assert_eq!(fire(&shard, 1000), expected);
        }
        assert_eq!((shard.earliest(), fire(&shard, 1000)), (NEVER, 0));
        assert_eq!(count.0.load(Relaxed), 2 * BATCH + 3);
    }

    #[test]
    fn cancelled_timers_wake_nobody() {
        let shard = shard();
        let (count, waker) = waker();
        let keys: Vec<_> = (1..=100).map(|i| shard.insert(i * 1_000_000, waker.clone())).collect();
        assert!(keys.into_iter().all(|key| shard.cancel(key)));
        assert_eq!((armed(&shard), fire(&shard, u64::MAX)), (0, 0));
        drop(waker);
        assert_eq!((count.0.load(Relaxed), StdArc::strong_count(&count)), (0, 1));
    }

    #[test]
    fn the_last_waker_is_the_one_that_is_woken() {
        let shard = shard();
        let ((first, old), (second, new)) = (waker(), waker());
        let key = shard.insert(5, old.clone());
        assert!(shard.update_waker(&key, &old));
        assert!(shard.update_waker(&key, &new));
        assert_eq!(StdArc::strong_count(&first), 2, "the old waker was kept");
        assert_eq!(fire(&shard, 5), 1);
        assert_eq!((first.0.load(Relaxed), second.0.load(Relaxed)), (0, 1));
        assert!(!shard.update_waker(&key, &new));
        assert!(!shard.cancel(key));
    }

    #[test]
    fn reset_moves_a_timer_both_ways() {
        let shard = shard();
        let (count, waker) = waker();
        let key = shard.insert(1 << 40, waker);
        assert!(shard.reset(&key, 10));
        assert_eq!(shard.earliest(), 10);
        assert!(shard.reset(&key, 20));
        assert_eq!((fire(&shard, 19), fire(&shard, 20)), (0, 1));
        assert!(!shard.reset(&key, 30));
        assert_eq!((fire(&shard, 30), count.0.load(Relaxed)), (0, 1));
        assert!(!shard.cancel(key));
    }

    #[test]
    fn a_parked_owner_is_woken_for_an_earlier_deadline_only() {
        let (shard, told) = told();
        let insert = |deadline| shard.insert(deadline, waker().1);
        let told = || std::mem::take(&mut *told.lock());
        let _ = insert(100);
        assert_eq!(told(), [0; 0], "the owner is awake");
        assert_eq!(shard.prepare_park(), 100);
        let _ = (insert(100), insert(200));
        assert_eq!(told(), [0; 0]);
        // It is woken for 60 by what came before.
        let (key, _, _) = (insert(50), insert(60), insert(40));
        assert!(shard.reset(&key, 30));
        assert_eq!(told(), [50, 40, 30]);
        shard.unparked();
        let _ = insert(1);
        assert_eq!(told(), [0; 0]);
        assert_eq!(shard.prepare_park(), 1);
        fire(&shard, u64::MAX);
        assert_eq!(shard.prepare_park(), NEVER);
        let _ = insert(1 << 50);
        assert_eq!(told(), [1 << 50]);
    }

    #[test]
    fn what_never_fires_wakes_no_owner() {
        let (shard, told) = told();
        assert_eq!(shard.prepare_park(), NEVER);
        let key = shard.insert(FAR, waker().1);
        assert_eq!(*told.lock(), [0; 0]);
        assert_eq!((shard.prepare_park(), shard.earliest(), armed(&shard)), (NEVER, NEVER, 1));
        assert_eq!(shard.clock().ticks(shard.clock().instant(0) + Duration::from_nanos(FAR)), FAR);
        assert!(shard.cancel(key));
    }
}

/// A timer is inserted while the owner goes to sleep: either it sleeps no longer, or it is told (never both).
#[test]
fn tm2_model_insert_against_park() {
    model(|| {
        let (shard, told) = told();
        let inserter = {
            let shard = shard.clone();
            thread::spawn(move || shard.insert(10, waker().1))
        };
        let until = shard.prepare_park();
        let key = inserter.join().unwrap();
        let must_unpark = *told.lock() == [10];
        assert!(must_unpark || until == 10, "the owner sleeps past the deadline");
        assert_eq!(usize::from(must_unpark) + usize::from(until == 10), 1);
        assert!(shard.cancel(key));
    });
}

/// The owner wakes and parks again between two inserts. For whichever sleep is its last: it is not too long,
/// or there was an insert that told it so during that sleep or before.
#[test]
fn tm2_model_two_inserts_against_two_parks() {
    model(|| {
        let (shard, told) = told();
        let inserters = [20, 10].map(|deadline| {
            let shard = shard.clone();
            thread::spawn(move || drop(shard.insert(deadline, waker().1)))
        });
        let first = shard.prepare_park();
        shard.unparked();
        let second = shard.prepare_park();
        assert!(second <= first);
        inserters.into_iter().for_each(|inserter| inserter.join().unwrap());
        let told = told.lock();
        assert!(second == 10 || told.contains(&10), "the owner sleeps past the first deadline");
        assert!(second <= 20 || !told.is_empty());
        assert_eq!(shard.earliest(), 10);
        assert_eq!(fire(&shard, 20), 2);
    });
}

/// A cancelled timer has either fired or not, and both sides agree.
#[test]
fn tm3_model_cancel_against_fire() {
    model(|| {
        let shard = shard();
        let (count, waker) = waker();
        let key = shard.insert(5, waker);
        let canceller = {
            let shard = shard.clone();
            thread::spawn(move || shard.cancel(key))
        };
        let fired = fire(&shard, 5);
        let cancelled = canceller.join().unwrap();
        assert_eq!(usize::from(cancelled) + fired, 1);
        assert_eq!((count.0.load(Relaxed), StdArc::strong_count(&count)), (fired, 1));
        assert!(shard.is_empty());
    });
}

/// Two workers fire one shard, while the timer is given another waker: one wake, of the waker that was there.
#[test]
fn tm3_model_update_waker_against_two_who_fire() {
    model(|| {
        let shard = shard();
        let ((old_count, old), (new_count, new)) = (waker(), waker());
        let key = shard.insert(5, old);
        let rescuer = {
            let shard = shard.clone();
            thread::spawn(move || fire(&shard, 5))
        };
        let updater = {
            let shard = shard.clone();
            thread::spawn(move || {
                let armed = shard.update_waker(&key, &new);
                (armed, shard.cancel(key))
            })
        };
        let fired = fire(&shard, 5) + rescuer.join().unwrap();
        let (armed, cancelled) = updater.join().unwrap();
        let (old, new) = (old_count.0.load(Relaxed), new_count.0.load(Relaxed));
        assert_eq!(fired + usize::from(cancelled), 1);
        assert_eq!(old + new, fired);
        assert_eq!(old, usize::from(!armed), "the old waker fires exactly if it was not replaced");
        assert_eq!(StdArc::strong_count(&old_count) + StdArc::strong_count(&new_count), 2);
    });
}

/// A timer is moved to later while it fires: it fires once, then or later.
#[test]
fn tm3_model_reset_against_fire() {
    model(|| {
        let shard = shard();
        let (count, waker) = waker();
        let key = shard.insert(5, waker);
        let resetter = {
            let shard = shard.clone();
            thread::spawn(move || (shard.reset(&key, 1 << 30), key))
        };
        let early = fire(&shard, 5);
        let (reset, key) = resetter.join().unwrap();
        assert_eq!(!reset, early == 1);
        assert_eq!(early + fire(&shard, 1 << 30), 1);
        assert_eq!(count.0.load(Relaxed), 1);
        assert!(!shard.cancel(key));
    });
}
