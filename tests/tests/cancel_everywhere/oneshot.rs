//! `oneshot`: the message is received or still there, and the end is noticed.

use filch::channel::oneshot;
use filch::testing::Ledger;

use crate::turn;

operations! {
    receiver: "oneshot::Receiver" => async |trial| {
        let ledger = Ledger::new();
        let (tx, mut rx) = oneshot::channel();
        let sends = async {
            turn().await;
            tx.send(ledger.message(1)).unwrap();
        };
        let got = trial.beside(sends).run(&mut rx).await;
        let message = got.map_or_else(|| rx.try_recv().unwrap(), Result::unwrap);
        assert_eq!(message.id(), 1);
        drop((message, rx));
        ledger.assert_settled();
    };
    receiver_itself: "oneshot::Receiver" => async |trial| {
        let ledger = Ledger::new();
        let (tx, rx) = oneshot::channel();
        let mut sent = false;
        let sends = async {
            turn().await;
            sent = tx.send(ledger.message(1)).is_ok();
        };
        let got = trial.beside(sends).run(rx).await;
        // It may have been sent to a receiver that was there still.
        assert!(sent || got.is_none());
        drop(got);
        ledger.assert_settled();
    };
    receiver_of_nothing: "oneshot::Receiver" => async |trial| {
        let (tx, mut rx) = oneshot::channel::<u8>();
        let got = trial.beside(async { drop(tx) }).run(&mut rx).await;
        assert!(got.is_none_or(|got| got.is_err()) && rx.try_recv().is_err());
    };
    closed: "oneshot::Sender::closed" => async |trial| {
        let (mut tx, rx) = oneshot::channel();
        let leaves = async {
            turn().await;
            drop(rx);
        };
        trial.beside(leaves).run(tx.closed()).await;
        assert!(tx.is_closed());
        assert_eq!(tx.send(1), Err(1));
    };
}
