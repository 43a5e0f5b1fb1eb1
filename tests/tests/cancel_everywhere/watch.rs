//! `watch`: a version that was not seen is seen by the next look, whoever gave up before.

use filch::channel::watch;
use filch::testing::{Ledger, poll_once};
use futures_lite::StreamExt;

use crate::turn;

operations! {
    changed: "watch::Receiver::changed" => async |trial| {
        let ledger = Ledger::new();
        let (tx, mut rx) = watch::channel(ledger.message(0));
        let mut other = rx.clone();
        let sends = async {
            for id in 1..=2 {
                turn().await;
                tx.send(ledger.message(id)).ok().unwrap();
            }
        };
        let waits = async { while other.borrow_and_update().id() < 2 { other.changed().await.unwrap() } };
        let seen = trial.ahead(waits).beside(sends).run(rx.changed()).await;
        assert!(seen.is_none_or(|seen| seen.is_ok()));
        // It has seen that there was something, but maybe not the last of it.
        assert!(seen.is_some() || rx.has_changed().unwrap());
        assert_eq!(rx.borrow_and_update().id(), 2);
        assert!(poll_once(std::pin::pin!(rx.changed())).is_pending());
        drop((tx, rx, other));
        ledger.assert_settled();
    };
    changed_at_the_end: "watch::Receiver::changed" => async |trial| {
        let (tx, mut rx) = watch::channel(0);
        let mut other = rx.clone();
        let waits = async { assert!(other.changed().await.is_ok() && other.changed().await.is_err()) };
        let ends = async {
            turn().await;
            tx.send(1).unwrap();
            drop(tx);
        };
        let seen = trial.ahead(waits).beside(ends).run(rx.changed()).await;
        // The last value comes before the end.
        let seen = match seen {
            Some(seen) => seen,
            None => rx.changed().await,
        };
        assert!(seen.is_ok());
        assert_eq!(*rx.borrow_and_update(), 1);
        assert!(rx.changed().await.is_err());
    };
    wait_for: "watch::Receiver::wait_for" => async |trial| {
        let (tx, mut rx) = watch::channel(0);
        let mut other = rx.clone();
        let sends = async {
            for value in 1..=3 {
                turn().await;
                tx.send(value).unwrap();
            }
        };
        let waits = async { assert_eq!(*other.wait_for(|value| *value == 3).await.unwrap(), 3) };
        let seen = trial.ahead(waits).beside(sends).run(async { *rx.wait_for(|value| *value >= 2).await.unwrap() });
        assert!(seen.await.is_none_or(|value| value >= 2));
        assert_eq!(*rx.wait_for(|value| *value == 3).await.unwrap(), 3);
    };
    stream: "watch::Receiver as Stream" => async |trial| {
        let (tx, mut rx) = watch::channel(0);
        let sends = async {
            for value in 1..=2 {
                turn().await;
                tx.send(value).unwrap();
            }
            drop(tx);
        };
        let seen = trial.beside(sends).run(rx.next()).await;
        let rest: Vec<i32> = rx.collect().await;
        let last = rest.last().copied().or(seen.flatten());
        assert_eq!(last, Some(2));
    };
    closed: "watch::Sender::closed" => async |trial| {
        let (tx, rx) = watch::channel(0);
        let second = rx.clone();
        let leave = async {
            drop(rx);
            turn().await;
            drop(second);
        };
        trial.ahead(tx.closed()).beside(tx.closed()).beside(leave).run(tx.closed()).await;
        assert!(tx.is_closed());
    };
}
