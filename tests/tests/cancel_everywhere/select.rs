//! `Select`: exactly one case is done, or none; the messages of the others are where they were, and nobody behind in a
//! line is forgotten.

use std::future::pending;

use filch::channel::{Receiver, Select, bounded, rendezvous, unbounded};
use filch::sync::Event;
use filch::testing::{Counted, Ledger, Trial};

use crate::turn;

operations! {
    one_of_a_receive_and_a_send: "select::Select" => async |trial| {
        let ledger = Ledger::new();
        let ((tx, rx), (to, from)) = (bounded(1), rendezvous());
        let mut message = Some(ledger.message(2));
        let sends = async {
            turn().await;
            tx.send(ledger.message(1)).await.unwrap();
        };
        let mut met = None;
        let receives = async {
            turn().await;
            met = from.recv().await.ok().map(|message: Counted| message.id());
        };
        let subject = async {
            // Dropped in the end, so that the one who waits there learns of it.
            let to = to;
            let received = Select::new()
                .recv(&rx, |message| Some(message.unwrap().id()))
                .send(&to, &mut message, |sent| sent.map(|()| None).unwrap());
            received.await
        };
        let done = trial.beside(sends).beside(receives).run(subject).await;
        let left = rx.try_recv().ok().map(|message| message.id());
        match done {
            Some(received @ Some(_)) => assert_eq!((received, left, met), (Some(1), None, None)),
            Some(None) => assert_eq!((left, met), (Some(1), Some(2))),
            // The other side of the rendezvous may have done its part before it was dropped.
            None => assert!(left == Some(1) && met.is_none_or(|id| id == 2)),
        }
        assert_eq!(message.is_some(), met.is_none());
        drop((message, tx, rx));
        ledger.assert_settled();
    };
    among_others_who_receive: "select::Select" => async |trial| {
        one_for_all(trial, async |one, two| {
            let (one, two) = (one.clone(), two.clone());
            Select::new().recv(&one, Result::unwrap).recv(&two, Result::unwrap).await
        })
        .await;
    };
    among_others_in_order: "select::Select" => async |trial| {
        one_for_all(trial, async |one, two| {
            Select::new().recv(two, Result::unwrap).recv(one, Result::unwrap).biased().await
        })
        .await;
    };
    two_that_face_each_other: "select::Select" => async |trial| {
        let ledger = Ledger::new();
        let ((tx, rx), (to, from)) = (rendezvous(), rendezvous());
        let (mut mine, mut yours) = (Some(ledger.message(1)), Some(ledger.message(2)));
        let (mut got, mut heard) = (None, None);
        let (ours, theirs) = (tx.clone(), to.clone());
        let other = async {
            // What it offers is wanted by the one under test, and the other way round.
            let (theirs, rx) = (theirs, rx);
            heard = Select::new()
                .recv(&rx, |message| message.ok())
                .send(&theirs, &mut yours, |_| None)
                .await
                .map(|message: Counted| message.id());
        };
        let subject = async {
            let (ours, from) = (ours, from);
            Select::new()
                .recv(&from, |message| message.ok())
                .send(&ours, &mut mine, |_| None)
                .await
                .map(|message: Counted| message.id())
        };
        // Once one has gone the other one learns that nobody is there.
        drop((tx, to));
        if let Some(done) = trial.beside(other).run(subject).await {
            got = done;
        }
        assert!(got.is_none_or(|id| id == 2) && heard.is_none_or(|id| id == 1));
        assert!(got.is_none() || yours.is_none());
        assert!(heard.is_none() || mine.is_none());
        drop((mine, yours));
        ledger.assert_settled();
    };
    until_something_else: "select::Select::until" => async |trial| {
        one_for_all(trial, async |one, two| {
            let select = Select::new().recv(one, Result::unwrap).recv(two, Result::unwrap);
            select.until(pending::<()>()).await.unwrap()
        })
        .await;
    };
    until_it_is_over: "select::Select::until" => async |trial| {
        let ((_tx, rx), event) = (unbounded::<u8>(), Event::new());
        let sets = async {
            turn().await;
            event.set();
        };
        let select = Select::new().recv(&rx, |_| unreachable!("nothing comes"));
        let done = trial.beside(sets).run(select.until(event.wait())).await;
        assert!(done.is_none_or(|done: Result<(), ()>| done.is_err()));
        assert_eq!(rx.stats().waiting_recv, 0);
    };
}

/// There is one message, first in one channel, then in the other; two more wait for it, one in each.
async fn one_for_all(
    trial: Trial,
    select: impl AsyncFnOnce(&Receiver<Counted>, &Receiver<Counted>) -> Counted,
) {
    let ledger = Ledger::new();
    let ((tx, one), (to, two)) = (bounded::<Counted>(1), unbounded::<Counted>());
    let receives = async {
        let message = one.recv().await.unwrap();
        to.send(message).await.unwrap();
    };
    let last = async { assert_eq!(two.recv().await.unwrap().id(), 7) };
    let sends = async {
        turn().await;
        tx.send(ledger.message(7)).await.unwrap();
    };
    let subject = async {
        let message = select(&one, &two).await;
        // Back to where it begins.
        tx.send(message).await.unwrap();
    };
    trial.beside(receives).beside(last).beside(sends).run(subject).await;
    assert!(one.is_empty() && two.is_empty());
    ledger.assert_settled();
}
