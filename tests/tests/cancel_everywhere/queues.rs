//! `Queue` and its kin: each item is taken once or still there, what was not put is given back, and whoever waits for
//! the end of all tasks learns of it. The three have the same methods, and the same rows.

use filch::testing::{Evil, Trial};

use crate::turn;

/// The rows of one kind.
macro_rules! rows {
    ($room:ident: $queue:ident) => {
        pub(super) mod $room {
            use super::*;

            operations! {
                put: concat!(stringify!($queue), "::put") => async |trial| {
                    let (maker, queue) = (items(), Queue::new(1));
                    queue.try_put(maker.value(1)).unwrap();
                    let put = async |id| queue.put(maker.value(id)).await.unwrap();
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
                    maker.ledger().assert_settled();
                };
                put_for_the_next: concat!(stringify!($queue), "::put") => async |trial| {
                    let queue = Queue::new(1);
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
                put_to_a_closed_one: concat!(stringify!($queue), "::put") => async |trial| {
                    let (maker, queue) = (items(), Queue::new(1));
                    queue.try_put(maker.value(1)).unwrap();
                    let closes = async {
                        turn().await;
                        queue.close();
                    };
                    let put = async |id| {
                        let error = queue.put(maker.value(id)).await.unwrap_err();
                        assert_eq!(error.into_inner().id(), id);
                    };
                    trial.ahead(put(2)).beside(closes).run(put(3)).await;
                    assert_eq!(queue.try_get().unwrap().id(), 1);
                    maker.ledger().assert_settled();
                };
                get: concat!(stringify!($queue), "::get") => async |trial| {
                    let (maker, queue) = (items(), Queue::new(0));
                    // Two wait, ahead and behind, for one item each, and there are three.
                    let get = async || drop(queue.get().await.unwrap());
                    let puts = async {
                        for id in 0..3 {
                            turn().await;
                            queue.put(maker.value(id)).await.unwrap();
                        }
                    };
                    let got = trial.ahead(get()).beside(get()).beside(puts).run(get()).await;
                    assert_eq!(queue.len(), usize::from(got.is_none()));
                    assert_eq!(queue.stats().waiting_get, 0);
                    drop(queue);
                    maker.ledger().assert_settled();
                };
                get_for_the_next: concat!(stringify!($queue), "::get") => async |trial| {
                    let queue = Queue::new(0);
                    let put = async || queue.put(7).await.unwrap();
                    the_only_one(trial, put, async || queue.get().await.unwrap()).await;
                    assert!(queue.is_empty());
                };
                get_at_the_end: concat!(stringify!($queue), "::get"), concat!(stringify!($queue), "::get_item")
                => async |trial| {
                    let queue = Queue::<u8>::new(0);
                    let other = async { assert!(queue.get_item().await.is_err()) };
                    let closes = async {
                        turn().await;
                        queue.close();
                    };
                    let outcome = trial.ahead(other).beside(closes).run(queue.get()).await;
                    assert!(outcome.is_none_or(|outcome| outcome.is_err()));
                };
                get_item: concat!(stringify!($queue), "::get_item") => async |trial| {
                    let queue = Queue::new(0);
                    let put = async || queue.put(7).await.unwrap();
                    the_only_one(trial, put, async || Item::done(queue.get_item().await.unwrap())).await;
                    assert_eq!(queue.unfinished(), 0);
                };
                join: concat!(stringify!($queue), "::join") => async |trial| {
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

            use filch::sync::{Item, $queue as Queue};
        }
    };
}

rows!(fifo: Queue);
rows!(lifo: LifoQueue);
rows!(priority: PriorityQueue);

/// Makes items that can be compared, and counts their drops.
fn items() -> Evil {
    Evil::new([], 0, || ())
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
