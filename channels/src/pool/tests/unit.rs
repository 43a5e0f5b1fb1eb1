//! Unit tests of `Pool`.

use std::future::pending;
use std::io;

use super::*;
use crate::probe::{BUDGET, Wait};
use crate::shim::thread;
use crate::test_util::FakeTask;

/// What counts, of the stats: out, idle, made, reused, dropped.
fn numbers<T, E>(pool: &Pool<T, E>) -> (usize, usize, u64, u64, u64) {
    let stats = pool.stats();
    (stats.out, stats.idle, stats.made, stats.reused, stats.dropped)
}

fn panics(f: impl FnOnce()) {
    assert!(catch_unwind(AssertUnwindSafe(f)).is_err());
}

#[test]
fn lent_given_back_and_lent_again() {
    let (make, alive) = maker(2);
    let pool = Pool::new(2, make);
    let (one, two) = (block_on(pool.get()).unwrap(), pool.get_blocking().unwrap());
    assert_eq!((one.1, two.1), (0, 1));
    assert_eq!(pool.try_get().unwrap_err(), PoolError::Empty);
    assert_eq!(pool.get_timeout(Duration::ZERO).unwrap_err(), PoolError::Timeout);
    assert_eq!(pool.get_deadline(Instant::now()).unwrap_err(), PoolError::Timeout);
    assert_eq!(numbers(&pool), (2, 0, 2, 0, 0));
    drop((one, two));
    assert_eq!(numbers(&pool), (0, 2, 2, 0, 0));
    assert_eq!(pool.get_timeout(Duration::MAX).unwrap().1, 1, "given back last, lent first");
    assert_eq!(pool.try_get().unwrap().1, 1);
    assert_eq!(numbers(&pool), (0, 2, 2, 2, 0));
    assert_eq!((pool.shrink_to(1), alive.load(SeqCst)), (1, 1));
    assert_eq!(pool.get_deadline(Instant::now()).unwrap().1, 1, "the one idle for longer is gone");
}

#[test]
fn a_panic_gives_it_back() {
    let pool = Pool::new(1, || 0);
    panics(|| {
        let mut thing = pool.try_get().unwrap();
        *thing += 1;
        panic!("on purpose");
    });
    assert_eq!(*pool.try_get().unwrap(), 1);
}

#[test]
fn taken_out_or_discarded_another_may_be_made() {
    let (make, alive) = maker(2);
    let pool = Pool::new(1, make);
    let kept = Pooled::take(pool.try_get().unwrap());
    assert_eq!(numbers(&pool), (0, 0, 1, 0, 0));
    Pooled::discard(pool.try_get().unwrap());
    assert_eq!((numbers(&pool), alive.load(SeqCst)), ((0, 0, 2, 0, 1), 1));
    assert_eq!((kept.1, pool.try_get().unwrap().1), (0, 2));
}

#[test]
fn only_so_many_are_kept_idle() {
    let pool = Pool::builder(3).max_idle(1).build(|| ());
    let all = [(); 3].map(|()| pool.try_get().unwrap());
    drop(all);
    assert_eq!(numbers(&pool), (0, 1, 3, 0, 2));
    let none = Pool::builder(1).max_idle(0).build(|| ());
    drop(none.try_get());
    assert_eq!(numbers(&none), (0, 0, 1, 0, 1));
}

#[test]
fn what_fails_the_check_is_replaced() {
    let (make, alive) = maker(3);
    let pool = Pool::builder(3).check(|thing: &mut Thing| thing.1 % 2 == 0).build(make);
    let all = [(); 3].map(|()| pool.try_get().unwrap());
    drop(all);
    let all = [(); 3].map(|()| pool.try_get().unwrap());
    assert_eq!(all.each_ref().map(|thing| thing.1), [2, 0, 3]);
    assert_eq!(numbers(&pool), (3, 0, 4, 2, 1));
    drop((all, pool));
    assert_eq!(alive.load(SeqCst), 0);
}

#[test]
fn a_check_that_waits() {
    let pool = Pool::builder(1)
        .check_async(|ready: &mut bool| {
            Box::pin(async {
                if !*ready {
                    *ready = true;
                    futures_lite::future::yield_now().await;
                    pending::<()>().await;
                }
                true
            })
        })
        .build(|| false);
    drop(pool.try_get().unwrap());
    // The check is not ready at once: the thing goes back, and its next check finds what the first has done.
    assert_eq!(pool.try_get().unwrap_err(), PoolError::Empty);
    assert_eq!(numbers(&pool), (0, 1, 1, 0, 0));
    assert!(*pool.get_timeout(Duration::ZERO).unwrap());
}

#[test]
fn a_check_that_panics_costs_the_thing() {
    let now = Pool::builder(1).check(|thing: &mut u32| panic!("{thing}")).build(|| 1);
    let later = Pool::builder(1)
        .check_async(|thing: &mut u32| Box::pin(async move { panic!("{thing}") }))
        .build(|| 1);
    for pool in [now, later] {
        drop(pool.try_get().unwrap());
        panics(|| drop(block_on(pool.get())));
        assert_eq!(numbers(&pool), (0, 0, 1, 0, 1));
        assert_eq!(*pool.get_blocking().unwrap(), 1);
    }
}

#[test]
fn what_cannot_be_made_is_an_error_and_the_next_one_tries() {
    let left = AtomicUsize::new(0);
    let pool = Pool::builder(1).build_try(move || match left.fetch_add(1, SeqCst) {
        0 => Err(io::Error::other("on purpose")),
        1 => panic!("on purpose"),
        _ => Ok(1),
    });
    let error = block_on(pool.get()).unwrap_err();
    let source = std::error::Error::source(&error).unwrap();
    assert_eq!(source.to_string(), "on purpose");
    panics(|| drop(pool.get_blocking()));
    assert_eq!((pool.stats().failed, pool.stats().out), (1, 0));
    assert_eq!(*pool.get_blocking().unwrap(), 1);
}

#[test]
fn things_that_take_time_to_make() {
    let ready = Arc::new(crate::event::Event::new());
    let opened = ready.clone();
    let pool = Pool::builder(1).build_async(move || {
        let ready = ready.clone();
        async move {
            ready.wait().await;
            Ok::<u32, ()>(7)
        }
    });
    assert_eq!(pool.try_get().unwrap_err(), PoolError::Empty, "it makes none where it may not wait");
    assert_eq!(pool.get_timeout(Duration::ZERO).unwrap_err(), PoolError::Timeout);
    let mut first = Box::pin(pool.get());
    assert!(Count::new().poll(first.as_mut()).is_pending());
    assert_eq!(pool.stats().out, 1);
    let mut second = Box::pin(pool.get());
    assert!(Count::new().poll(second.as_mut()).is_pending());
    assert_eq!(pool.stats().waiting, 1);
    opened.set();
    // The first goes with its thing half made; the turn passes on.
    drop(first);
    assert_eq!(*block_on(second).unwrap(), 7);
    assert_eq!(*pool.try_get().unwrap(), 7);
    assert_eq!(numbers(&pool), (0, 1, 1, 1, 0));
}

#[test]
fn closing_ends_every_wait_and_drops_what_is_idle() {
    let (make, alive) = maker(2);
    let pool = Pool::new(2, make);
    let (one, two) = (pool.try_get().unwrap(), pool.try_get().unwrap());
    let mut waiting = pin!(pool.get());
    let count = Count::new();
    assert!(count.poll(waiting.as_mut()).is_pending());
    drop(one);
    assert_eq!(count.get(), 1);
    assert!(!pool.is_closed());
    pool.close();
    pool.close();
    assert!(pool.is_closed());
    assert_eq!(alive.load(SeqCst), 1);
    assert_eq!(block_on(waiting).unwrap_err(), PoolError::Closed);
    assert_eq!(pool.try_get().unwrap_err(), PoolError::Closed);
    assert_eq!(pool.get_blocking().unwrap_err(), PoolError::Closed);
    assert_eq!(pool.get_timeout(Duration::MAX).unwrap_err(), PoolError::Closed);
    assert_eq!(two.1, 1);
    drop(two);
    assert_eq!((alive.load(SeqCst), numbers(&pool)), (0, (0, 0, 2, 0, 2)));
    let texts = [PoolError::<()>::Closed, PoolError::Empty, PoolError::Timeout, PoolError::Make(())]
        .map(|error| error.to_string());
    assert!((1..4).all(|n| texts[..n].iter().all(|text| *text != texts[n])));
}

#[test]
fn the_last_handle_closes_the_pool() {
    let (make, alive) = maker(2);
    let pool = Pool::new(2, make);
    let out = pool.clone().try_get().unwrap();
    drop(pool.try_get().unwrap());
    assert!(format!("{pool:?}").contains("idle: 1"), "it is the same pool");
    drop(pool);
    assert_eq!((alive.load(SeqCst), out.1), (1, 0));
    drop(out);
    assert_eq!(alive.load(SeqCst), 0);
}

#[test]
fn a_thing_that_panics_when_dropped_does_not_cost_its_turn() {
    struct Bad;
    impl Drop for Bad {
        fn drop(&mut self) {
            panic!("on purpose");
        }
    }
    let pool = Pool::builder(1).max_idle(0).build(|| Bad);
    panics(|| drop(pool.try_get().unwrap()));
    panics(|| Pooled::discard(pool.try_get().unwrap()));
    assert_eq!(numbers(&pool), (0, 0, 2, 0, 2));
}

#[test]
fn what_is_made_from_within_may_use_the_pool() {
    let pool = Pool::new(2, || 0);
    let reentrant = {
        let pool = pool.clone();
        Pool::builder(1).check(move |_| pool.try_get().is_ok()).build(|| 0)
    };
    drop(reentrant.try_get().unwrap());
    assert!(reentrant.try_get().is_ok());
    assert_eq!(numbers(&pool), (0, 1, 1, 0, 0));
}

#[test]
fn threads_and_tasks_share_things() {
    let (make, alive) = maker(2);
    let pool = Pool::builder(2).fair().check(|thing: &mut Thing| thing.1 % 3 != 0).build(make);
    thread::scope(|scope| {
        for id in 0..4 {
            let pool = &pool;
            scope.spawn(move || {
                for round in 0..200 {
                    let thing = if id % 2 == 0 { pool.get_blocking() } else { block_on(pool.get()) };
                    match thing {
                        Ok(thing) if round % 7 == 0 => Pooled::discard(thing),
                        thing => drop(thing.unwrap()),
                    }
                }
            });
        }
    });
    let stats = pool.stats();
    assert_eq!((stats.out, stats.made + stats.reused), (0, 800));
    assert_eq!(stats.made - stats.dropped, stats.idle as u64);
    assert_eq!(alive.load(SeqCst), stats.idle);
}

#[test]
#[should_panic(expected = "would never lend one")]
fn a_pool_of_nothing() {
    let _ = Pool::new(0, || ());
}

#[test]
fn a_task_yields_when_its_budget_is_spent() {
    let (pool, task) = (Pool::new(1, || ()), FakeTask::new(1));
    let mut lent = 0;
    task.poll(|cx| {
        while pin!(pool.get()).poll(cx).is_ready() {
            lent += 1;
        }
    });
    assert_eq!((lent, task.wakes.get()), (BUDGET, 1));
}

#[test]
fn the_header_says_what_is_waited_for() {
    let (pool, task) = (Pool::new(1, || ()), FakeTask::new(1));
    let _out = pool.try_get().unwrap();
    let mut get = Box::pin(pool.get());
    assert!(task.poll_one(get.as_mut()).is_pending());
    let (kind, _, location) = task.header.wait();
    assert_eq!(kind, Wait::Semaphore);
    assert!(location.unwrap().file().ends_with("unit.rs"));
    assert!(format!("{:?}", Pool::builder(1).max_idle(3).build(|| 1).try_get()).contains("Pooled(1)"));
}

#[test]
fn public_types_cross_threads() {
    fn crosses<T: Send + Sync>(_: &T) {}
    fn moves<T: Send>(_: T) {}
    // Things that only one thread at a time may touch.
    let pool = Pool::new(1, || std::cell::Cell::new(1));
    crosses(&pool);
    moves(pool.get());
    moves(pool.try_get());
}
