//! The tasks half: every put and get waits in a task, and the workers go on with others meanwhile.

use std::sync::Arc;
use std::time::Instant;

use filch::sync::Queue;
use filch::time::sleep;
use filch::{JoinError, JoinHandle};

use super::{Item, Outcome, Plan};

/// The end is an item, as in the guides: one for each consumer, put when all producers are done.
pub(super) async fn with_sentinels(plan: Plan) -> Result<Outcome, JoinError> {
    let (queue, began) = (Arc::new(Queue::<Option<Item>>::new(plan.maxsize)), Instant::now());
    let consumers = (0..plan.consumers)
        .map(|_| {
            let queue = queue.clone();
            filch::spawn(async move {
                let mut consumed = Vec::new();
                while let Ok(item) = queue.get().await {
                    if let Some(item) = item {
                        sleep(plan.consume()).await;
                        consumed.push(item);
                    }
                    // For the sentinel too, else `join` would wait for it.
                    queue.task_done().expect("once for each item");
                    if item.is_none() {
                        break;
                    }
                }
                consumed
            })
        })
        .collect();
    let producers = produce(plan, &queue, Some);
    joined(producers).await?;
    for _ in 0..plan.consumers {
        queue.put(None).await.expect("nobody closes it");
    }
    queue.join().await;
    Ok(Outcome::new(joined(consumers).await?, &queue, began))
}

/// The end is the queue's: consumers take what is left, and stop when nothing will come.
pub(super) async fn with_close(plan: Plan) -> Result<Outcome, JoinError> {
    let (queue, began) = (Arc::new(Queue::<Item>::new(plan.maxsize)), Instant::now());
    let consumers = (0..plan.consumers)
        .map(|_| {
            let queue = queue.clone();
            filch::spawn(async move {
                let mut consumed = Vec::new();
                while let Ok(item) = queue.get_item().await {
                    sleep(plan.consume()).await;
                    consumed.push(*item);
                }
                consumed
            })
        })
        .collect();
    joined(produce(plan, &queue, |item| item)).await?;
    queue.close();
    queue.join().await;
    Ok(Outcome::new(joined(consumers).await?, &queue, began))
}

/// Starts the producers.
fn produce<T: Send + 'static>(plan: Plan, queue: &Arc<Queue<T>>, wrap: fn(Item) -> T) -> Vec<JoinHandle<()>> {
    (0..plan.producers)
        .map(|who| {
            let queue = queue.clone();
            filch::spawn(async move {
                for number in 0..plan.items {
                    sleep(plan.produce()).await;
                    if queue.put(wrap((who, number))).await.is_err() {
                        return;
                    }
                }
            })
        })
        .collect()
}

async fn joined<T>(handles: Vec<JoinHandle<T>>) -> Result<Vec<T>, JoinError> {
    let mut all = Vec::new();
    for handle in handles {
        all.push(handle.await?);
    }
    Ok(all)
}
