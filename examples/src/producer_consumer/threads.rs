//! The threads half: every put and get blocks its thread.

use std::thread;
use std::time::Instant;

use filch::sync::Queue;

use super::{Item, Outcome, Plan};

/// The end is an item, as in the guides: one for each consumer, put when all producers are done.
///
/// It counts as an item that is to be done, like any other. A consumer that leaves without saying so, as in many a
/// listing, keeps `join` waiting for ever.
pub(super) fn with_sentinels(plan: &Plan) -> Outcome {
    let (queue, began) = (Queue::<Option<Item>>::new(plan.maxsize), Instant::now());
    let consumed = thread::scope(|scope| {
        let consumers: Vec<_> = (0..plan.consumers)
            .map(|_| {
                scope.spawn(|| {
                    let mut consumed = Vec::new();
                    while let Ok(item) = queue.get_blocking() {
                        if let Some(item) = item {
                            thread::sleep(plan.consume());
                            consumed.push(item);
                        }
                        queue.task_done().expect("once for each item");
                        if item.is_none() {
                            break;
                        }
                    }
                    consumed
                })
            })
            .collect();
        produce(plan, |item| queue.put_blocking(Some(item)).is_ok());
        for _ in 0..plan.consumers {
            queue.put_blocking(None).expect("nobody closes it");
        }
        queue.join_blocking();
        consumers.into_iter().map(|consumer| consumer.join().expect("no consumer panics")).collect()
    });
    Outcome::new(consumed, &queue, began)
}

/// The end is the queue's: consumers take what is left, and stop when nothing will come. No item is special, and
/// nobody needs to know how many consumers there are.
pub(super) fn with_close(plan: &Plan) -> Outcome {
    let (queue, began) = (Queue::<Item>::new(plan.maxsize), Instant::now());
    let consumed = thread::scope(|scope| {
        let consumers: Vec<_> = (0..plan.consumers)
            .map(|_| {
                scope.spawn(|| {
                    let mut consumed = Vec::new();
                    // The guard marks the item done, however the work on it ends.
                    while let Ok(item) = queue.get_item_blocking() {
                        thread::sleep(plan.consume());
                        consumed.push(*item);
                    }
                    consumed
                })
            })
            .collect();
        produce(plan, |item| queue.put_blocking(item).is_ok());
        queue.close();
        queue.join_blocking();
        consumers.into_iter().map(|consumer| consumer.join().expect("no consumer panics")).collect()
    });
    Outcome::new(consumed, &queue, began)
}

/// Runs the producers to their end. False from `put`: nobody takes items any more.
fn produce(plan: &Plan, put: impl Fn(Item) -> bool + Sync) {
    thread::scope(|scope| {
        for who in 0..plan.producers {
            let put = &put;
            scope.spawn(move || {
                for number in 0..plan.items {
                    thread::sleep(plan.produce());
                    if !put((who, number)) {
                        return;
                    }
                }
            });
        }
    });
}
