//! An evil waker among good ones, where tasks wait for a limit, for the children of a group, or for those of a scope.

use std::sync::Arc;
use std::time::Duration;

use filch::limit::{Limiter, RateLimiter};
use filch::sync::Semaphore;
use filch::{Runtime, TaskGroup};

use super::wakers::{Waiting, hostile};

const SECOND: Duration = Duration::from_secs(1);

fn paused() -> Runtime {
    filch::Builder::single_thread().paused_clock(1).build().unwrap()
}

#[test]
fn rate() {
    hostile(|stage| {
        let runtime = paused();
        let handle = runtime.handle();
        let _inside = handle.enter();
        let limiter = Arc::new(RateLimiter::new(1, SECOND));
        limiter.try_acquire().unwrap();
        let one = limiter.clone();
        stage.meddle(move || {
            let _ = one.try_acquire();
            one.penalize(Duration::ZERO);
            assert!(one.waiting() < 9 && one.available() <= 1);
        });
        let passes = || -> Waiting<'_> { Box::pin(async { limiter.acquire().await }) };
        // The clock stands when nobody sleeps, and jumps to the next who does.
        stage.play(vec![passes(), passes(), passes()], || runtime.block_on(filch::time::sleep(SECOND)));
        assert_eq!(limiter.waiting(), 0);
        runtime.block_on(limiter.acquire());
    });
}

#[test]
fn limiter() {
    hostile(|stage| {
        let limiter = Arc::new(Limiter::new(1));
        let mut held = Some(limiter.try_acquire().unwrap());
        let one = limiter.clone();
        stage.meddle(move || {
            drop(one.try_acquire());
            assert!(one.stats().running <= 1);
        });
        let runs = || -> Waiting<'_> { Box::pin(limiter.run(async {})) };
        stage.play(vec![runs(), runs(), runs()], || drop(held.take()));
        let stats = limiter.stats();
        assert_eq!((stats.running, stats.waiting), (0, 0));
    });
}

#[test]
fn group() {
    hostile(|stage| {
        let runtime = paused();
        let ends = Arc::new(Semaphore::new(0));
        let group = Arc::new(TaskGroup::new().on(runtime.handle()));
        for n in 0..3 {
            let ends = ends.clone();
            group.spawn(async move {
                ends.acquire().await.unwrap().forget();
                n
            });
        }
        let one = Arc::downgrade(&group);
        stage.meddle(move || {
            let Some(group) = one.upgrade() else { return };
            assert!(group.len() <= 3 && !group.token().is_cancelled());
            drop(group.handle());
        });
        let joins = || -> Waiting<'_> { Box::pin(async { drop(group.join_next().await) }) };
        stage.play(vec![joins(), joins(), joins()], || {
            ends.add_permits(1);
            runtime.block_on(async {
                for _ in 0..9 {
                    filch::yield_now().await;
                }
            });
        });
        ends.add_permits(9);
        runtime.block_on(async { group.join().await.unwrap() });
    });
}

#[test]
fn scope() {
    hostile(|stage| {
        let ends = Arc::new(Semaphore::new(0));
        let one = ends.clone();
        stage.meddle(move || assert!(one.available_permits() <= 9));
        let scopes = || -> Waiting<'_> {
            let ends = &*ends;
            Box::pin(filch::scope(move |s| async move {
                s.spawn(async move { ends.acquire().await.unwrap().forget() });
            }))
        };
        stage.play(vec![scopes(), scopes(), scopes()], || ends.add_permits(1));
    });
}
