//! `broadcast`: each receiver sees each message, however often it gave up before.

use std::cell::RefCell;
use std::future::poll_fn;
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::task::{Poll, Waker};

use filch::channel::broadcast::{self, error::RecvError};
use filch::testing::{Ledger, Trial, poll_once, poll_with};
use filch_tests::on_drop;

use crate::turn;

operations! {
    recv: "broadcast::Receiver::recv" => async |trial| {
        let ledger = Ledger::new();
        let (tx, mut rx) = broadcast::channel(4);
        let mut other = tx.subscribe();
        let sends = async {
            for id in 1..=2 {
                turn().await;
                tx.send(ledger.message(id)).ok().unwrap();
            }
        };
        let receives = async {
            for id in 1..=2 {
                assert_eq!(other.recv().await.unwrap().id(), id);
            }
        };
        let got = trial.ahead(receives).beside(sends).run(rx.recv()).await;
        let mut ids: Vec<usize> = got.into_iter().map(|message| message.unwrap().id()).collect();
        ids.extend(std::iter::from_fn(|| rx.try_recv().ok()).map(|message| message.id()));
        assert_eq!(ids, [1, 2]);
        drop((tx, rx, other));
        ledger.assert_settled();
    };
    recv_that_lags: "broadcast::Receiver::recv" => async |trial| {
        let (tx, mut rx) = broadcast::channel(1);
        let sends = async {
            for id in 1..=3 {
                tx.send(id).unwrap();
            }
            turn().await;
        };
        let got = trial.beside(sends).run(rx.recv()).await;
        let next = match got {
            Some(first) => first,
            None => rx.recv().await,
        };
        assert_eq!(next, Err(RecvError::Lagged(2)));
        assert_eq!(rx.recv().await, Ok(3));
    };
    recv_at_the_end: "broadcast::Receiver::recv" => async |trial| {
        let (tx, mut rx) = broadcast::channel::<u8>(1);
        let got = trial.beside(async { drop(tx) }).run(rx.recv()).await;
        assert_eq!(got.unwrap_or(Err(RecvError::Closed)), Err(RecvError::Closed));
        assert_eq!(rx.recv().await, Err(RecvError::Closed));
    };
    recv_of_what_another_one_is_cloning: "broadcast::Receiver::recv" => async |trial| claimed(trial).await;
    closed: "broadcast::Sender::closed" => async |trial| {
        let (tx, rx) = broadcast::channel::<u8>(1);
        let second = tx.subscribe();
        let leave = async {
            drop(rx);
            turn().await;
            drop(second);
        };
        trial.ahead(tx.closed()).beside(leave).run(tx.closed()).await;
        assert_eq!(tx.receiver_count(), 0);
        assert!(poll_once(pin!(tx.closed())).is_ready());
    };
}

thread_local! {
    /// What the next clone of a `Slow` does meanwhile.
    static MEANWHILE: RefCell<Option<Box<dyn FnOnce()>>> = const { RefCell::new(None) };
}

/// A message whose clone takes its time.
#[derive(Debug)]
struct Slow(u8);

impl Clone for Slow {
    fn clone(&self) -> Slow {
        let meanwhile = MEANWHILE.take();
        meanwhile.into_iter().for_each(|meanwhile| meanwhile());
        Slow(self.0)
    }
}

/// While one receiver is cloning the message, the future under test wants it too, and waits for the claim to end.
async fn claimed(trial: Trial) {
    type Shared = Rc<RefCell<Option<Pin<Box<dyn Future<Output = u8>>>>>>;
    let (tx, mut rx) = broadcast::channel(2);
    let (mut other, _third) = (tx.subscribe(), tx.subscribe());
    tx.send(Slow(7)).unwrap();
    let shared: Shared = Rc::new(RefCell::new(Some(Box::pin(async move { rx.recv().await.unwrap().0 }))));
    let waker = Rc::new(RefCell::new(None::<Waker>));
    let clones = {
        let (shared, waker) = (shared.clone(), waker.clone());
        async move {
            MEANWHILE.set(Some(Box::new(move || {
                if let (Some(future), Some(waker)) = (&mut *shared.borrow_mut(), &*waker.borrow()) {
                    assert!(poll_with(future.as_mut(), waker).is_pending(), "the message is claimed");
                }
            })));
            assert_eq!(other.try_recv().unwrap().0, 7);
        }
    };
    let gone = on_drop({
        let shared = shared.clone();
        move || drop(shared.take())
    });
    // Its first poll is the one that the clone does with this waker.
    let subject = async move {
        let _gone = gone;
        turn_with(&waker).await;
        poll_fn(|cx| {
            waker.replace(Some(cx.waker().clone()));
            shared.borrow_mut().as_mut().map_or(Poll::Pending, |future| future.as_mut().poll(cx))
        })
        .await
    };
    let got = trial.beside(clones).run(subject).await;
    assert!(got.is_none_or(|got| got == 7));
    assert_eq!(tx.len(), 1, "the third has still to see it");
}

/// Leaves its waker there, and waits to be woken by it.
async fn turn_with(waker: &RefCell<Option<Waker>>) {
    let mut left = false;
    poll_fn(|cx| {
        waker.replace(Some(cx.waker().clone()));
        if std::mem::replace(&mut left, true) { Poll::Ready(()) } else { Poll::Pending }
    })
    .await;
}
