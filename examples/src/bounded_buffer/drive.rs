//! Runs producers and consumers on a buffer: on threads, on tasks, or on both at once.

use std::sync::Arc;
use std::thread;
use std::time::Instant;

use filch::{JoinError, JoinHandle};

use super::{Blocking, Item, Outcome, Plan, Waiting};

/// There are as many consumers as producers, so each gets as many items as one producer puts.
pub(super) fn on_threads(
    name: &'static str,
    plan: &Plan,
    buffer: &impl Blocking,
    peak: impl Fn() -> usize,
) -> Outcome {
    let began = Instant::now();
    let got = thread::scope(|scope| {
        let get = || (0..plan.items).map(|_| buffer.get_blocking()).collect();
        let consumers: Vec<_> = (0..plan.each).map(|_| scope.spawn(get)).collect();
        for who in 0..plan.each {
            scope.spawn(move || (0..plan.items).for_each(|number| buffer.put_blocking((who, number))));
        }
        consumers.into_iter().map(|consumer| consumer.join().expect("no consumer panics")).collect()
    });
    Outcome { name, got, peak: peak(), took: began.elapsed() }
}

/// The same on tasks.
pub(super) async fn on_tasks(
    name: &'static str,
    plan: Plan,
    buffer: &Arc<impl Waiting>,
    peak: impl Fn() -> usize,
) -> Result<Outcome, JoinError> {
    let began = Instant::now();
    let consumers = consumers(plan, buffer);
    for who in 0..plan.each {
        let buffer = buffer.clone();
        drop(filch::spawn(async move {
            for number in 0..plan.items {
                buffer.put((who, number)).await;
            }
        }));
    }
    Ok(Outcome { name, got: joined(consumers).await?, peak: peak(), took: began.elapsed() })
}

/// The producers are threads, the consumers tasks.
pub(super) async fn on_both(
    name: &'static str,
    plan: Plan,
    buffer: &Arc<impl Waiting + Blocking>,
    peak: impl Fn() -> usize,
) -> Result<Outcome, JoinError> {
    let began = Instant::now();
    let consumers = consumers(plan, buffer);
    let producers: Vec<_> = (0..plan.each)
        .map(|who| {
            let buffer = buffer.clone();
            filch::spawn_blocking(move || {
                (0..plan.items).for_each(|number| buffer.put_blocking((who, number)));
            })
        })
        .collect();
    joined(producers).await?;
    Ok(Outcome { name, got: joined(consumers).await?, peak: peak(), took: began.elapsed() })
}

fn consumers(plan: Plan, buffer: &Arc<impl Waiting>) -> Vec<JoinHandle<Vec<Item>>> {
    (0..plan.each)
        .map(|_| {
            let buffer = buffer.clone();
            filch::spawn(async move {
                let mut got = Vec::new();
                for _ in 0..plan.items {
                    got.push(buffer.get().await);
                }
                got
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
