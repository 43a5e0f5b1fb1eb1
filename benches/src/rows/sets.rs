//! What the benches of tokio and of async-executor measure, at the sizes that they have there, or that fit in a
//! round: spawns in batches, from other threads, beside tasks that yield all the time; yields by many. filch, tokio,
//! smol.
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use tokio::sync::oneshot;

use super::Root;
use crate::harness::Row;
use crate::runtimes::{Contestants, Rt};
use crate::{contest, workload};

/// How many threads spawn at once.
const OUTSIDE: [usize; 3] = [1, 4, 16];
/// How many tasks they spawn, in all; as many as tokio's `remote_spawn`.
const REMOTE: usize = 12_800;

/// The group.
pub fn rows(all: &'static Contestants) -> Vec<Row> {
    let mut rows = Vec::new();
    let mut one = Row::timed("set: spawn one from outside and wait", 500, None, None);
    contest!(&mut one, all, |rt: R| move || {
        for _ in 0..500 {
            let task = rt.spawn_outside(async {});
            rt.block_on(task);
        }
    });
    rows.push(one);
    for root in Root::BOTH {
        rows.push(workload!(
            all,
            "set: spawn 250 and join, again and again",
            40 * 250,
            root,
            None,
            None,
            batches(40)
        ));
    }
    let root = Root::Spawned;
    rows.push(workload!(
        all,
        "set: spawn recursively, 300 x 300",
        300 * 300,
        root,
        None,
        None,
        recursively(300)
    ));
    rows.push(workload!(all, "set: yield, 300 x 300", 300 * 300, root, None, None, yields(300)));
    rows.extend(OUTSIDE.map(|threads| remote_row(all, threads)));
    rows.push(busy_row(all));
    rows
}

async fn batches<R: Rt>(times: usize) {
    for _ in 0..times {
        let tasks: Vec<_> = (0..250).map(|_| R::spawn(async {})).collect();
        for task in tasks {
            task.await;
        }
    }
}

/// So many tasks, each of which spawns another, to a depth of as many.
async fn recursively<R: Rt>(many: usize) {
    fn deeper<R: Rt>(left: usize, end: oneshot::Sender<()>) {
        R::detach(async move {
            if left == 0 {
                let _ = end.send(());
            } else {
                R::yield_now().await;
                deeper::<R>(left - 1, end);
            }
        });
    }
    let ends: Vec<_> = (0..many)
        .map(|_| {
            let (end, ended) = oneshot::channel();
            deeper::<R>(many - 1, end);
            ended
        })
        .collect();
    for end in ends {
        end.await.expect("each ends");
    }
}

async fn yields<R: Rt>(many: usize) {
    let tasks: Vec<_> = (0..many)
        .map(|_| {
            R::spawn(async move {
                for _ in 0..many {
                    R::yield_now().await;
                }
            })
        })
        .collect();
    for task in tasks {
        task.await;
    }
}

/// Spawns by threads that are not the runtime's: no task of theirs is joined, the last one tells.
fn remote_row(all: &'static Contestants, threads: usize) -> Row {
    let plural = if threads == 1 { "" } else { "s" };
    let name = format!("set: spawn {REMOTE} from {threads} thread{plural} outside");
    let mut row = Row::timed(name, REMOTE, None, None);
    contest!(&mut row, all, |rt: R| move || {
        let (latch, last) = super::spawn::Latch::new(REMOTE);
        std::thread::scope(|scope| {
            for _ in 0..threads {
                scope.spawn(|| {
                    for _ in 0..REMOTE / threads {
                        R::let_go(rt.spawn_outside(async { latch.arrive() }));
                    }
                });
            }
        });
        rt.block_on(last).expect("all arrive");
    });
    row
}

/// tokio's `spawn_many_remote_busy1`: one task on each worker yields all the time, and stalls for 10 us each time.
fn busy_row(all: &'static Contestants) -> Row {
    const TASKS: usize = 2_000;
    let workers = all.workers;
    let mut row = Row::timed("set: spawn 2,000 from outside, all workers busy", TASKS, None, None);
    contest!(&mut row, all, |rt: R| move || {
        let stop = Arc::new(AtomicBool::new(false));
        let busy: Vec<_> = (0..workers)
            .map(|_| {
                let stop = stop.clone();
                rt.spawn_outside(async move {
                    while !stop.load(Relaxed) {
                        R::yield_now().await;
                        stall(Duration::from_micros(10));
                    }
                })
            })
            .collect();
        let (latch, last) = super::spawn::Latch::new(TASKS);
        for _ in 0..TASKS {
            R::let_go(rt.spawn_outside(async { latch.arrive() }));
        }
        // Its thread must not take part in the work.
        let ended = Mutex::new(last);
        while ended.lock().expect("no panic").try_recv().is_err() {
            std::thread::sleep(Duration::from_micros(50));
        }
        stop.store(true, Relaxed);
        rt.block_on(async {
            for task in busy {
                task.await;
            }
        });
    });
    row
}

fn stall(time: Duration) {
    let begin = Instant::now();
    while begin.elapsed() < time {
        std::hint::spin_loop();
    }
}
