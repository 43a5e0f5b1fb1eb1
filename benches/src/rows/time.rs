//! Timers: a timeout that does not fire, and 20,000 sleeps that do. filch, tokio, smol.
//!
//! The sleeps last up to 6 ms by their nature: 300 ns of each figure is waiting, and CPU time is what tells.
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

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
            "10 tasks: timeout round a future pending once",
            10 * 2_000,
            root,
            Some(0.30),
            Some(0.10),
            timeouts()
        ));
    }
    for root in Root::BOTH {
        rows.push(workload!(
            all,
            "20k sleeps of 1-6 ms",
            20_000,
            root,
            Some(0.60),
            Some(0.40),
            sleeps(20_000)
        ));
    }
    rows
}

/// Pending once, woken at once.
struct Once(bool);

impl Future for Once {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        if std::mem::replace(&mut self.0, true) {
            return Poll::Ready(());
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    }
}

async fn timeouts<R: Rt>() {
    let tasks: Vec<_> = (0..10)
        .map(|_| {
            R::spawn(async {
                for _ in 0..2_000 {
                    R::timeout(Duration::from_secs(30), Once(false)).await.expect("in time");
                }
            })
        })
        .collect();
    for task in tasks {
        task.await;
    }
}

async fn sleeps<R: Rt>(count: u64) {
    let tasks: Vec<_> = (0..count)
        .map(|at| R::spawn(async move { R::sleep(Duration::from_micros(1_000 + at * 7_919 % 5_000)).await }))
        .collect();
    for task in tasks {
        task.await;
    }
}
