//! The channel of many senders and many receivers: messages are received once, in order, or given back; room that was
//! not used is free again.

use filch::channel::{Receiver, Sender, bounded};
use filch::testing::{Counted, Ledger, Trial};
use futures_lite::StreamExt;

use crate::turn;

operations! {
    send: "bounded::Sender::send" => async |trial| {
        into_a_full_one(trial, 1, async |tx, ledger| tx.send(ledger.message(20)).await.unwrap()).await;
    };
    reserve: "bounded::Sender::reserve" => async |trial| {
        into_a_full_one(trial, 1, async |tx, ledger| tx.reserve().await.unwrap().send(ledger.message(20))).await;
    };
    reserve_and_change_ones_mind: "bounded::Sender::reserve" => async |trial| {
        into_a_full_one(trial, 1, async |tx, _| drop(tx.reserve().await.unwrap())).await;
    };
    reserve_many: "bounded::Sender::reserve_many" => async |trial| {
        into_a_full_one(trial, 2, async |tx, ledger| {
            let permits = tx.reserve_many(2).await.unwrap();
            // Uses one, gives back the other.
            permits.take(1).for_each(|permit| permit.send(ledger.message(20)));
        })
        .await;
    };
    reserve_owned: "bounded::Sender::reserve_owned" => async |trial| {
        into_a_full_one(trial, 1, async |tx, ledger| {
            drop(tx.clone().reserve_owned().await.unwrap().send(ledger.message(20)));
        })
        .await;
    };
    send_to_nobody: "bounded::Sender::send", "bounded::Sender::reserve" => async |trial| {
        let ledger = Ledger::new();
        let (tx, rx) = bounded(1);
        tx.try_send(ledger.message(1)).unwrap();
        let leaves = async {
            turn().await;
            drop(rx);
        };
        let other = async { assert!(tx.reserve().await.is_err()) };
        let outcome = trial.ahead(other).beside(leaves).run(tx.send(ledger.message(2))).await;
        assert!(outcome.is_none_or(|outcome| outcome.unwrap_err().into_inner().id() == 2));
        drop(tx);
        ledger.assert_settled();
    };
    closed: "bounded::Sender::closed" => async |trial| {
        let (tx, rx) = bounded::<u8>(1);
        let leaves = async {
            turn().await;
            drop(rx);
        };
        trial.ahead(tx.closed()).beside(tx.closed()).beside(leaves).run(tx.closed()).await;
        assert!(tx.is_closed());
    };
    recv: "bounded::Receiver::recv" => async |trial| {
        from_an_empty_one(trial, async |rx, _, got| got.extend(rx.recv().await)).await;
    };
    recv_many: "bounded::Receiver::recv_many" => async |trial| {
        from_an_empty_one(trial, async |rx, _, got| assert!(rx.recv_many(got, 3).await > 0)).await;
    };
    stream: "bounded::Receiver as Stream" => async |trial| {
        from_an_empty_one(trial, async |_, rx, got| got.extend(rx.next().await)).await;
    };
    recv_the_only_one: "bounded::Receiver::recv" => async |trial| {
        the_only_one(trial, async |rx, _| rx.recv().await.unwrap()).await;
    };
    recv_many_the_only_one: "bounded::Receiver::recv_many" => async |trial| {
        the_only_one(trial, async |rx, _| {
            let mut got = Vec::new();
            assert_eq!(rx.recv_many(&mut got, 3).await, 1);
            got.remove(0)
        })
        .await;
    };
    stream_the_only_one: "bounded::Receiver as Stream" => async |trial| {
        // By value: a stream that is not dropped keeps its place.
        the_only_one(trial, async |_, mut rx| rx.next().await.unwrap()).await;
    };
    recv_at_the_end: "bounded::Receiver::recv", "bounded::Receiver::recv_many" => async |trial| {
        let (tx, rx) = bounded::<u8>(1);
        let mut batch = Vec::new();
        let end = async {
            turn().await;
            drop(tx);
        };
        let other = rx.clone();
        let many = async { assert_eq!(other.recv_many(&mut batch, 2).await, 0) };
        let outcome = trial.ahead(many).beside(end).run(rx.recv()).await;
        assert!(outcome.is_none_or(|outcome| outcome.is_err()));
    };
}

/// Messages fill the channel; a sender waits ahead and one behind; a receiver takes all there are.
async fn into_a_full_one(trial: Trial, capacity: usize, send: impl AsyncFnOnce(&Sender<Counted>, &Ledger)) {
    let ledger = Ledger::new();
    let (tx, rx) = bounded(capacity);
    for id in 0..capacity {
        tx.try_send(ledger.message(id)).unwrap();
    }
    let (one, two, subject) = (tx.clone(), tx.clone(), tx.clone());
    let ahead = async { one.send(ledger.message(10)).await.unwrap() };
    let behind = async { two.send(ledger.message(30)).await.unwrap() };
    let mut got = Vec::new();
    let receives = async {
        // All but what the subject sends: it may have gone.
        for _ in 0..capacity + 2 {
            turn().await;
            got.push(rx.recv().await.unwrap().id());
        }
    };
    trial.ahead(ahead).beside(behind).beside(receives).run(send(&subject, &ledger)).await;
    assert_eq!((tx.capacity() + tx.len(), tx.stats().reserved), (capacity, 0));
    got.extend(std::iter::from_fn(|| rx.try_recv().ok()).map(|message| message.id()));
    assert_eq!(got[..capacity], [0, 1][..capacity]);
    got.sort_unstable();
    got.dedup();
    got.retain(|id| *id != 20);
    assert_eq!(got[capacity..], [10, 30]);
    drop((one, two, subject, tx, rx));
    ledger.assert_settled();
}

/// Two receivers wait, ahead and behind, for one message each, and there are three.
async fn from_an_empty_one(
    trial: Trial,
    recv: impl AsyncFnOnce(&Receiver<Counted>, &mut Receiver<Counted>, &mut Vec<Counted>),
) {
    let ledger = Ledger::new();
    let (tx, rx) = bounded(2);
    let (one, two, mut three) = (rx.clone(), rx.clone(), rx.clone());
    let sends = async {
        for id in 0..3 {
            turn().await;
            tx.send(ledger.message(id)).await.unwrap();
        }
    };
    let takes = |rx: Receiver<Counted>| async move { drop(rx.recv().await.unwrap()) };
    let mut got = Vec::new();
    trial.ahead(takes(one)).beside(takes(two)).beside(sends).run(recv(&rx, &mut three, &mut got)).await;
    // A stream keeps its place in line until then.
    drop(three);
    got.extend(std::iter::from_fn(|| rx.try_recv().ok()));
    assert_eq!(got.len(), 1, "{:?}", rx.stats());
    drop((got, tx, rx));
    ledger.assert_settled();
}

/// There is one message, which whoever has received it sends again, for the one who waits behind.
async fn the_only_one(
    trial: Trial,
    recv: impl AsyncFnOnce(&Receiver<Counted>, Receiver<Counted>) -> Counted,
) {
    let ledger = Ledger::new();
    let (tx, rx) = bounded::<Counted>(1);
    let (behind, subject, again) = (rx.clone(), rx.clone(), tx.clone());
    let takes = async { assert_eq!(behind.recv().await.unwrap().id(), 7) };
    let sends = async {
        turn().await;
        tx.send(ledger.message(7)).await.unwrap();
    };
    let subject = async {
        let message = recv(&rx, subject).await;
        again.send(message).await.unwrap();
    };
    trial.beside(takes).beside(sends).run(subject).await;
    assert!(rx.is_empty());
    ledger.assert_settled();
}
