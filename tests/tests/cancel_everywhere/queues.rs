//! `Queue` and its kin: each item is taken once or still there, what was not put is given back, and whoever waits for
//! the end of all tasks learns of it.

use filch::sync::{Item, LifoQueue, PriorityQueue, Queue};
use filch::testing::{Ledger, Trial};

use crate::turn;

operations! {
    queue_put: "queue::put" => async |trial| {
        let (ledger, queue) = (Ledger::new(), Queue::new(1));
        queue.try_put(ledger.message(1)).unwrap();
        let put = async |id| queue.put(ledger.message(id)).await.unwrap();
        let gets = async {
            for _ in 0..3 {
                turn().await;
                drop(queue.get().await.unwrap());
            }
        };
        trial.ahead(put(2)).beside(put(3)).beside(gets).run(put(4)).await;
        let left = queue.close_now();
        assert!(left.len() <= 1);
        drop((left, queue));
        ledger.assert_settled();
    };
    queue_put_for_the_next: "queue::put" => async |trial| {
        let queue = LifoQueue::new(1);
        queue.try_put(1).unwrap();
        // One place comes free, and whoever gets it leaves it again.
        let uses = async || {
            queue.put(2).await.unwrap();
            assert_eq!(queue.try_get(), Ok(2));
        };
        let gets = async {
            turn().await;
            assert_eq!(queue.try_get(), Ok(1));
        };
        trial.beside(uses()).beside(gets).run(uses()).await;
        assert!(queue.is_empty());
    };
    queue_put_to_a_closed_one: "queue::put" => async |trial| {
        let (ledger, queue) = (Ledger::new(), Queue::new(1));
        queue.try_put(ledger.message(1)).unwrap();
        let closes = async {
            turn().await;
            queue.close();
        };
        let put = async |id| {
            let error = queue.put(ledger.message(id)).await.unwrap_err();
            assert_eq!(error.into_inner().id(), id);
        };
        trial.ahead(put(2)).beside(closes).run(put(3)).await;
        assert_eq!(queue.try_get().unwrap().id(), 1);
        ledger.assert_settled();
    };
    queue_get: "queue::get" => async |trial| {
        let (ledger, queue) = (Ledger::new(), Queue::new(0));
        let got = in_line(trial, &queue, async |id| queue.try_put(ledger.message(id)).unwrap(), async || {
            queue.get().await.unwrap().id()
        });
        assert!(got.await.is_none_or(|id| id < 3));
        drop(queue);
        ledger.assert_settled();
    };
    lifo_get_for_the_next: "queue::get" => async |trial| {
        let queue = LifoQueue::new(0);
        the_only_one(trial, async || queue.put(7).await.unwrap(), async || queue.get().await.unwrap()).await;
        assert!(queue.is_empty());
    };
    priority_get_for_the_next: "queue::get" => async |trial| {
        let queue = PriorityQueue::new(0);
        the_only_one(trial, async || queue.put(7).await.unwrap(), async || queue.get().await.unwrap()).await;
        assert!(queue.is_empty());
    };
    get_at_the_end: "queue::get" "queue::get_item" => async |trial| {
        let queue = Queue::<u8>::new(0);
        let other = async { assert!(queue.get_item().await.is_err()) };
        let closes = async {
            turn().await;
            queue.close();
        };
        let outcome = trial.ahead(other).beside(closes).run(queue.get()).await;
        assert!(outcome.is_none_or(|outcome| outcome.is_err()));
    };
    get_item: "queue::get_item" => async |trial| {
        let queue = Queue::new(0);
        the_only_one(trial, async || queue.put(7).await.unwrap(), async || {
            Item::done(queue.get_item().await.unwrap())
        })
        .await;
        assert_eq!(queue.unfinished(), 0);
    };
    join: "queue::join" => async |trial| {
        let queue = Queue::new(0);
        (1..=2).for_each(|id| queue.try_put(id).unwrap());
        let works = async {
            for _ in 0..2 {
                turn().await;
                drop(queue.get_item().await.unwrap());
            }
        };
        trial.ahead(queue.join()).beside(queue.join()).beside(works).run(queue.join()).await;
        assert_eq!(queue.unfinished(), 0);
    };
}

/// Two wait, ahead and behind, for one item each, and there are three.
async fn in_line<T>(
    trial: Trial,
    queue: &Queue<T>,
    put: impl AsyncFn(usize),
    get: impl AsyncFn() -> usize,
) -> Option<usize> {
    let other = async || drop(queue.get().await.unwrap());
    let puts = async {
        for id in 0..3 {
            turn().await;
            put(id).await;
        }
    };
    let got = trial.ahead(other()).beside(other()).beside(puts).run(get()).await;
    assert_eq!(queue.len(), usize::from(got.is_none()));
    got
}

/// There is one item, which whoever got it puts back, for the one behind.
async fn the_only_one(trial: Trial, put: impl AsyncFn(), get: impl AsyncFn() -> i32) {
    let puts = async {
        turn().await;
        put().await;
    };
    let behind = async { assert_eq!(get().await, 7) };
    let subject = async {
        assert_eq!(get().await, 7);
        put().await;
    };
    trial.beside(behind).beside(puts).run(subject).await;
}
