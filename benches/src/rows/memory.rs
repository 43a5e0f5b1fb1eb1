//! Memory of a task that waits, and of one that sleeps: the bytes asked of the allocator, and what the
//! process grows by (Pss), over 200,000 tasks with their handles kept. filch, tokio, smol, each in a process
//! of its own.
//!
//! The vector of handles is not counted.
use std::time::Duration;

use crate::alloc;
use crate::harness::{Metric, Row};
use crate::runtimes::{Filch, Rt, Smol, SmolRoot, Tokio};

const TASKS: usize = 200_000;

/// The group.
pub fn rows() -> Vec<Row> {
    [("pending", "an idle task", 160.0, 144.0), ("sleep", "a task that sleeps", 248.0, 216.0)]
        .into_iter()
        .map(|(kind, what, must, aim)| {
            let metric = |name: &str, goals: bool| Metric {
                name: format!("memory of {what}, {name}"),
                unit: "B",
                must: goals.then_some(must),
                aim: goals.then_some(aim),
                absolute: true,
                against: None,
            };
            let metrics = vec![metric("allocated", true), metric("Pss", false)];
            let mut row = Row::of(metrics, TASKS, 3, 0);
            for name in ["filch", "tokio", "smol"] {
                row.entry_of(name, move || in_child(name, kind));
            }
            row
        })
        .collect()
}

fn in_child(name: &str, kind: &str) -> Vec<f64> {
    let this = std::env::current_exe().expect("this program");
    let output =
        std::process::Command::new(this).args(["--memory-of", name, kind]).output().expect("this program");
    let text = String::from_utf8(output.stdout).expect("numbers");
    text.split_whitespace().map(|number| number.parse().expect("a number")).collect()
}

/// The child: prints the bytes a task.
pub fn child(name: &str, kind: &str) {
    match name {
        "filch" => measure(&Filch::new(2, false), kind),
        "tokio" => measure(&Tokio::new(2), kind),
        _ => measure(&Smol::new(2, SmolRoot::Alone), kind),
    }
    // Ending 200,000 tasks in order is not what is measured.
    std::process::exit(0);
}

fn measure<R: Rt>(rt: &R, kind: &str) {
    match kind {
        "pending" => grow(rt, std::future::pending::<()>),
        _ => grow(rt, || R::sleep(Duration::from_secs(3_600))),
    }
}

fn grow<R: Rt, F: Future<Output = ()> + Send + 'static>(rt: &R, task: impl Fn() -> F + Send + 'static) {
    let tasks = rt.block_on(async {
        R::spawn(async move {
            let mut tasks = Vec::with_capacity(TASKS);
            // The vector's own pages, before the count begins.
            tasks.resize_with(TASKS, || None);
            let before = pss();
            alloc::start();
            for place in &mut tasks {
                *place = Some(R::spawn(task()));
            }
            // All have been polled once.
            for _ in 0..100 {
                R::yield_now().await;
            }
            R::sleep(Duration::from_millis(300)).await;
            println!("{} {}", alloc::live() as f64 / TASKS as f64, (pss() - before) / TASKS as f64);
            tasks
        })
        .await
    });
    std::mem::forget(tasks);
}

fn pss() -> f64 {
    let rollup = std::fs::read_to_string("/proc/self/smaps_rollup").expect("/proc");
    let line = rollup.lines().find(|line| line.starts_with("Pss:")).expect("Pss");
    let kilobytes: f64 = line.split_whitespace().nth(1).expect("a number").parse().expect("a number");
    kilobytes * 1024.0
}
