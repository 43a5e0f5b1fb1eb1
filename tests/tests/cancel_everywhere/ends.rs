//! The ends of bounded, unbounded and rendezvous channels, shared and exclusive: messages are received once, in order,
//! or given back; room that was not used is free again.

use filch::channel::{Builder, Receiver, Sender, bounded, mpsc, rendezvous, spsc, unbounded};
use filch::testing::{Counted, Ledger, Trial};
use futures_lite::StreamExt;

use crate::turn;

operations! {
    send: "ends::Sender::send" => async |trial| {
        into_a_full_one(trial, 1, async |tx, ledger| tx.send(ledger.message(20)).await.unwrap()).await;
    };
    reserve: "ends::Sender::reserve" => async |trial| {
        into_a_full_one(trial, 1, async |tx, ledger| tx.reserve().await.unwrap().send(ledger.message(20))).await;
    };
    reserve_and_change_ones_mind: "ends::Sender::reserve" => async |trial| {
        into_a_full_one(trial, 1, async |tx, _| drop(tx.reserve().await.unwrap())).await;
    };
    reserve_many: "ends::Sender::reserve_many" => async |trial| {
        into_a_full_one(trial, 2, async |tx, ledger| {
            let permits = tx.reserve_many(2).await.unwrap();
            // Uses one, gives back the other.
            permits.take(1).for_each(|permit| permit.send(ledger.message(20)));
        })
        .await;
    };
    reserve_owned: "ends::Sender::reserve_owned" => async |trial| {
        into_a_full_one(trial, 1, async |tx, ledger| {
            drop(tx.clone().reserve_owned().await.unwrap().send(ledger.message(20)));
        })
        .await;
    };
    send_to_nobody: "ends::Sender::send", "ends::Sender::reserve" => async |trial| {
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
    closed: "ends::Sender::closed" => async |trial| {
        let (tx, rx) = bounded::<u8>(1);
        let leaves = async {
            turn().await;
            drop(rx);
        };
        trial.ahead(tx.closed()).beside(tx.closed()).beside(leaves).run(tx.closed()).await;
        assert!(tx.is_closed());
    };
    recv: "ends::Receiver::recv" => async |trial| {
        from_an_empty_one(trial, async |rx, _, got| got.extend(rx.recv().await)).await;
    };
    recv_many: "ends::Receiver::recv_many" => async |trial| {
        from_an_empty_one(trial, async |rx, _, got| assert!(rx.recv_many(got, 3).await > 0)).await;
    };
    stream: "ends::Receiver as Stream" => async |trial| {
        from_an_empty_one(trial, async |_, rx, got| got.extend(rx.next().await)).await;
    };
    recv_the_only_one: "ends::Receiver::recv" => async |trial| {
        the_only_one(trial, async |rx, _| rx.recv().await.unwrap()).await;
    };
    recv_many_the_only_one: "ends::Receiver::recv_many" => async |trial| {
        the_only_one(trial, async |rx, _| {
            let mut got = Vec::new();
            assert_eq!(rx.recv_many(&mut got, 3).await, 1);
            got.remove(0)
        })
        .await;
    };
    stream_the_only_one: "ends::Receiver as Stream" => async |trial| {
        // By value: a stream that is not dropped keeps its place.
        the_only_one(trial, async |_, mut rx| rx.next().await.unwrap()).await;
    };
    recv_of_an_unbounded_one: "ends::Receiver::recv" => async |trial| {
        meets_again(trial, unbounded(), async |rx, _| rx.recv().await.unwrap()).await;
    };
    recv_many_of_an_unbounded_one: "ends::Receiver::recv_many" => async |trial| {
        meets_again(trial, unbounded(), async |rx, _| {
            let mut got = Vec::new();
            assert_eq!(rx.recv_many(&mut got, 3).await, 1);
            got.remove(0)
        })
        .await;
    };
    recv_of_a_rendezvous: "ends::Receiver::recv" => async |trial| {
        meets_again(trial, rendezvous(), async |rx, _| rx.recv().await.unwrap()).await;
    };
    recv_many_of_a_rendezvous: "ends::Receiver::recv_many" => async |trial| {
        meets_again(trial, rendezvous(), async |rx, _| {
            let mut got = Vec::new();
            assert_eq!(rx.recv_many(&mut got, 3).await, 1);
            got.remove(0)
        })
        .await;
    };
    stream_of_a_rendezvous: "ends::Receiver as Stream" => async |trial| {
        meets_again(trial, rendezvous(), async |_, mut rx| rx.next().await.unwrap()).await;
    };
    send_to_a_rendezvous: "ends::Sender::send" => async |trial| {
        let ledger = Ledger::new();
        let (tx, rx) = rendezvous();
        let send = async |tx: Sender<Counted>, id| tx.send(ledger.message(id)).await.unwrap();
        let (ahead, behind) = (send(tx.clone(), 10), send(tx.clone(), 30));
        let mut got = Vec::new();
        let receives = async {
            turn().await;
            while let Ok(message) = rx.recv().await {
                got.push(message.id());
                turn().await;
            }
        };
        let sent = trial.ahead(ahead).beside(behind).beside(receives).run(send(tx, 20)).await;
        // A receiver may have had it before the send was dropped.
        assert!(sent.is_none() || got.contains(&20));
        got.retain(|id| *id != 20);
        assert_eq!(got, [10, 30]);
        drop(rx);
        ledger.assert_settled();
    };
    recv_of_the_only_receiver: "ends::Receiver::recv" => async |trial| {
        let (tx, mut rx) = mpsc::bounded(2);
        let other = tx.clone();
        let sends = async {
            for id in 0..2 {
                turn().await;
                tx.send(id).await.unwrap();
            }
        };
        let got = trial.beside(sends).run(rx.recv()).await;
        let mut ids: Vec<i32> = got.into_iter().map(Result::unwrap).collect();
        ids.extend(std::iter::from_fn(|| rx.try_recv().ok()));
        assert_eq!(ids, [0, 1]);
        drop(other);
    };
    recv_where_both_are_the_only_ones: "ends::Receiver::recv" => async |trial| {
        let (mut tx, mut rx) = spsc::unbounded();
        let sends = async {
            for id in 0..2 {
                turn().await;
                tx.send(id).await.unwrap();
            }
        };
        let got = trial.beside(sends).run(rx.recv()).await;
        let mut ids: Vec<i32> = got.into_iter().map(Result::unwrap).collect();
        ids.extend(std::iter::from_fn(|| rx.try_recv().ok()));
        assert_eq!(ids, [0, 1]);
    };
    send_of_the_only_sender: "ends::Sender::send" => async |trial| {
        let (ledger, (mut tx, mut rx)) = (Ledger::new(), spsc::bounded(1));
        tx.try_send(ledger.message(0)).unwrap();
        let receives = async {
            turn().await;
            assert_eq!(rx.recv().await.unwrap().id(), 0);
        };
        let sent = trial.beside(receives).run(tx.send(ledger.message(1))).await;
        assert_eq!(rx.try_recv().ok().map(|message| message.id()), sent.map(|_| 1));
        drop((tx, rx));
        ledger.assert_settled();
    };
    resumed: "ends::Sender::resumed" => async |trial| {
        let (tx, rx) = Builder::new().watermarks(1..=3).build();
        (0..3).for_each(|id| tx.try_send(id).unwrap());
        assert!(tx.is_paused());
        let receives = async {
            for _ in 0..2 {
                turn().await;
                rx.recv().await.unwrap();
            }
        };
        trial.ahead(tx.resumed()).beside(tx.resumed()).beside(receives).run(tx.resumed()).await;
        assert!(!tx.is_paused());
    };
    recv_at_the_end: "ends::Receiver::recv", "ends::Receiver::recv_many" => async |trial| {
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
    assert_eq!((tx.capacity() + tx.len(), tx.stats().reserved, tx.stats().waiting_send), (capacity, 0, 0));
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
    assert_eq!((got.len(), rx.stats().waiting_recv), (1, 0), "{:?}", rx.stats());
    drop((got, tx, rx));
    ledger.assert_settled();
}

async fn the_only_one(
    trial: Trial,
    recv: impl AsyncFnOnce(&Receiver<Counted>, Receiver<Counted>) -> Counted,
) {
    meets_again(trial, bounded(1), recv).await;
}

/// There is one message, which whoever has received it sends again, for the one who waits behind.
async fn meets_again(
    trial: Trial,
    (tx, rx): (Sender<Counted>, Receiver<Counted>),
    recv: impl AsyncFnOnce(&Receiver<Counted>, Receiver<Counted>) -> Counted,
) {
    let ledger = Ledger::new();
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
