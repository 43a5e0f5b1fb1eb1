//! `OnceCell` and `Pool`: whoever gives up while it waits, checks or makes something leaves that to the next.

use std::pin::Pin;

use filch::sync::{Notify, OnceCell, Pool};
use filch::testing::{Ledger, Trial};

use crate::turn;

operations! {
    once_cell_wait: "OnceCell::wait" => async |trial| {
        let cell = OnceCell::new();
        let other = async || assert_eq!(*cell.wait().await, 7);
        let sets = async {
            turn().await;
            cell.set(7).unwrap();
        };
        trial.ahead(other()).beside(other()).beside(sets).run(cell.wait()).await;
    };
    once_cell_get_or_init_that_makes_it: "OnceCell::get_or_init" => async |trial| {
        let ledger = Ledger::new();
        let cell = OnceCell::new();
        let make = async || {
            // What is made so far is dropped with whoever makes it.
            let half = ledger.message(1);
            turn().await;
            drop(half);
            ledger.message(2)
        };
        let other = async || assert_eq!(cell.get_or_init(make).await.id(), 2);
        let got = trial.beside(other()).beside(other()).run(cell.get_or_init(make)).await;
        assert!(got.is_none_or(|got| got.id() == 2));
        drop(cell);
        ledger.assert_settled();
    };
    once_cell_get_or_init_that_waits: "OnceCell::get_or_init" => async |trial| {
        let (cell, made) = (OnceCell::new(), Notify::new());
        let makes = async {
            let value = cell.get_or_init(async || {
                made.notified().await;
                7
            });
            assert_eq!(*value.await, 7);
        };
        let waits = async || assert_eq!(*cell.get_or_init(async || unreachable!()).await, 7);
        let goes_on = async {
            turn().await;
            made.notify_one();
        };
        let subject = cell.get_or_init(async || unreachable!("another one makes it"));
        trial.ahead(makes).beside(waits()).beside(goes_on).run(subject).await;
        assert_eq!(cell.get(), Some(&7));
    };
    once_cell_get_or_try_init: "OnceCell::get_or_try_init" => async |trial| {
        let cell = OnceCell::new();
        let fails = async {
            let failed = cell.get_or_try_init(async || {
                turn().await;
                Err("not now")
            });
            assert!(failed.await.is_err_and(|error| error == "not now"));
        };
        let other = async {
            let value = cell.get_or_try_init(async || Ok::<_, &str>(7)).await;
            assert_eq!(value, Ok(&7));
        };
        let got = trial.ahead(fails).beside(other).run(cell.get_or_try_init(async || {
            turn().await;
            Ok::<_, &str>(7)
        }));
        assert!(got.await.is_none_or(|got| got == Ok(&7)));
        assert_eq!(cell.get(), Some(&7));
    };
    pool_get: "Pool::get" => async |trial| lent_in_turn(trial, Pool::new(2, || 7)).await;
    pool_get_fair: "Pool::get" => async |trial| {
        lent_in_turn(trial, Pool::builder(2).fair().build(|| 7)).await;
    };
    pool_get_that_makes: "Pool::get" => async |trial| {
        lent_in_turn(trial, Pool::builder(2).max_idle(0).build_async(async || {
            turn().await;
            Ok::<_, std::convert::Infallible>(7)
        }))
        .await;
    };
    pool_get_that_checks: "Pool::get" => async |trial| {
        lent_in_turn(trial, Pool::builder(2).check_async(is_fresh).build(|| 7)).await;
    };
    pool_get_that_is_closed: "Pool::get" => async |trial| {
        let pool = Pool::new(1, || 7);
        let lent = pool.try_get().unwrap();
        let other = async { assert!(pool.get().await.is_err()) };
        let closes = async {
            turn().await;
            pool.close();
        };
        let got = trial.ahead(other).beside(closes).run(pool.get()).await;
        assert!(got.is_none_or(|got| got.is_err()));
        drop(lent);
        assert_eq!(pool.stats().idle, 0);
    };
}

/// Both things are out, two more want one, and they come back one by one; no thing gets lost.
async fn lent_in_turn<E: std::fmt::Debug>(trial: Trial, pool: Pool<i32, E>) {
    let (one, two) = (pool.get().await.unwrap(), pool.get().await.unwrap());
    let other = async || {
        let mut lent = pool.get().await.unwrap();
        turn().await;
        *lent += 1;
    };
    let gives = async {
        drop(one);
        turn().await;
        drop(two);
    };
    let subject = async { *pool.get().await.unwrap() += 1 };
    trial.ahead(other()).beside(other()).beside(gives).run(subject).await;
    let stats = pool.stats();
    assert_eq!((stats.out, stats.made - stats.dropped), (0, stats.idle as u64), "{stats:?}");
    let all = (pool.get().await.unwrap(), pool.get().await.unwrap());
    assert!(pool.try_get().is_err());
    drop(all);
}

/// Whether it was not used yet, found out in two polls.
fn is_fresh(uses: &mut i32) -> Pin<Box<dyn Future<Output = bool> + Send + '_>> {
    Box::pin(async {
        turn().await;
        *uses == 7
    })
}
