//! Going from task to task: ping-pong over oneshots, a root that asks a task, yielding. filch, tokio, smol.
//!
//! All use the same channels, tokio's, which depend on no runtime: what is measured is the runtime.
use tokio::sync::{mpsc, oneshot};

use super::Root;
use crate::harness::Row;
use crate::runtimes::{Contestants, Rt};
use crate::workload;

/// The group.
pub fn rows(all: &'static Contestants) -> Vec<Row> {
    let mut rows = Vec::new();
    for root in Root::BOTH {
        rows.push(workload!(
            all,
            "ping-pong, 2,000 at once",
            5 * 2_000,
            root,
            Some(0.60),
            Some(0.40),
            pings_at_once()
        ));
    }
    for root in Root::BOTH {
        rows.push(workload!(
            all,
            "ping-pong, one after another",
            2_000,
            root,
            Some(0.60),
            Some(0.40),
            pings_in_turn()
        ));
    }
    for root in Root::BOTH {
        let (must, aim) = if root == Root::BlockOn { (Some(0.20), Some(0.05)) } else { (None, None) };
        rows.push(workload!(all, "root asks a task", 2_000, root, must, aim, ask()));
    }
    for root in Root::BOTH {
        rows.push(workload!(
            all,
            "yield, 200 tasks x 500",
            2 * 200 * 500,
            root,
            Some(0.40),
            Some(0.15),
            yields()
        ));
    }
    rows
}

async fn ping<R: Rt>() {
    let (there, at_pong) = oneshot::channel();
    let (back, at_ping) = oneshot::channel();
    R::detach(async move {
        let () = at_pong.await.expect("ping");
        back.send(()).expect("ping waits");
    });
    there.send(()).expect("pong waits");
    let () = at_ping.await.expect("pong");
}

async fn pings_at_once<R: Rt>() {
    for _ in 0..5 {
        let pings: Vec<_> = (0..2_000).map(|_| R::spawn(ping::<R>())).collect();
        for ping in pings {
            ping.await;
        }
    }
}

async fn pings_in_turn<R: Rt>() {
    for _ in 0..2_000 {
        R::spawn(ping::<R>()).await;
    }
}

async fn ask<R: Rt>() {
    let (ask, mut asked) = mpsc::channel::<oneshot::Sender<u64>>(16);
    let task = R::spawn(async move {
        let mut count = 0;
        while let Some(answer) = asked.recv().await {
            count += 1;
            let _ = answer.send(count);
        }
    });
    for count in 1..=2_000 {
        let (answer, answered) = oneshot::channel();
        ask.send(answer).await.expect("the task listens");
        assert_eq!(answered.await.expect("the task answers"), count);
    }
    drop(ask);
    task.await;
}

async fn yields<R: Rt>() {
    for _ in 0..2 {
        let tasks: Vec<_> = (0..200)
            .map(|_| {
                R::spawn(async {
                    for _ in 0..500 {
                        R::yield_now().await;
                    }
                })
            })
            .collect();
        for task in tasks {
            task.await;
        }
    }
}
