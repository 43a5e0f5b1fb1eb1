//! Spawning, of tasks that do nothing: joined in order, from outside, detached, in a chain, as a tree. filch,
//! tokio, smol.
use std::future::Future;
use std::pin::Pin;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::sync::oneshot;

use super::Root;
use crate::harness::Row;
use crate::runtimes::{Contestants, Rt};
use crate::{contest, workload};

const TASKS: usize = 10_000;

/// The group.
pub fn rows(all: &'static Contestants) -> Vec<Row> {
    let mut rows = Vec::new();
    for root in Root::BOTH {
        rows.push(workload!(
            all,
            "spawn 10k in a task, join in order",
            3 * TASKS,
            root,
            Some(0.40),
            Some(0.25),
            join_in_order()
        ));
    }
    let mut outside = Row::timed("spawn 10k from outside, join", 3 * TASKS, Some(0.60), Some(0.40));
    contest!(&mut outside, all, |rt: R| move || {
        for _ in 0..3 {
            let tasks: Vec<_> = (0..TASKS).map(|_| rt.spawn_outside(async {})).collect();
            rt.block_on(async {
                for task in tasks {
                    task.await;
                }
            });
        }
    });
    rows.push(outside);
    for root in Root::BOTH {
        rows.push(workload!(all, "spawn 10k detached", 3 * TASKS, root, Some(0.40), Some(0.25), detached()));
    }
    for root in Root::BOTH {
        rows.push(workload!(all, "chained spawn", 30_000, root, Some(0.50), Some(0.25), chained(30_000)));
    }
    for root in Root::BOTH {
        rows.push(workload!(
            all,
            "tree of tasks, ten children a node",
            2 * 11_111,
            root,
            Some(0.40),
            Some(0.25),
            trees()
        ));
    }
    rows
}

async fn join_in_order<R: Rt>() {
    for _ in 0..3 {
        let tasks: Vec<_> = (0..TASKS).map(|_| R::spawn(async {})).collect();
        for task in tasks {
            task.await;
        }
    }
}

/// Counts tasks down; the last one tells. Never freed while a turn runs, so that tasks hold it without a count.
pub(super) struct Latch {
    left: AtomicUsize,
    last: Mutex<Option<oneshot::Sender<()>>>,
}

impl Latch {
    pub(super) fn new(tasks: usize) -> (&'static Latch, oneshot::Receiver<()>) {
        let (last, receiver) = oneshot::channel();
        let latch = Latch { left: AtomicUsize::new(tasks), last: Mutex::new(Some(last)) };
        (Box::leak(Box::new(latch)), receiver)
    }

    pub(super) fn arrive(&self) {
        if self.left.fetch_sub(1, Ordering::AcqRel) == 1 {
            let last = self.last.lock().expect("nobody panics with it").take();
            let _ = last.expect("the last comes once").send(());
        }
    }
}

async fn detached<R: Rt>() {
    for _ in 0..3 {
        let (latch, last) = Latch::new(TASKS);
        for _ in 0..TASKS {
            R::detach(async { latch.arrive() });
        }
        last.await.expect("all arrive");
    }
}

async fn chained<R: Rt>(links: usize) {
    fn link<R: Rt>(left: usize, last: oneshot::Sender<()>) -> Pin<Box<dyn Future<Output = ()> + Send>> {
        // Boxed by the compiler's demand: a task's type cannot contain itself. The same for all.
        Box::pin(async move {
            match left {
                0 => drop(last.send(())),
                _ => R::detach(link::<R>(left - 1, last)),
            }
        })
    }
    let (last, receiver) = oneshot::channel();
    R::detach(link::<R>(links, last));
    receiver.await.expect("the chain ends");
}

async fn trees<R: Rt>() {
    fn node<R: Rt>(depth: usize) -> Pin<Box<dyn Future<Output = usize> + Send>> {
        Box::pin(async move {
            if depth == 0 {
                return 1;
            }
            let children: Vec<_> = (0..10).map(|_| R::spawn(node::<R>(depth - 1))).collect();
            let mut sum = 1;
            for child in children {
                sum += child.await;
            }
            sum
        })
    }
    for _ in 0..2 {
        assert_eq!(R::spawn(node::<R>(4)).await, 11_111);
    }
}
