//! A task blocks its thread for a second, on a runtime of two workers: how late are a timer of 10 ms, an
//! echo, the task that it woke just before, and the last of 100 tasks that it had spawned. filch, tokio,
//! smol; and filch with one worker, and with all of them stuck.
//!
//! The task that blocks was itself woken by a timer, as one that does so in the field; which worker it blocks
//! is left to the runtime.
use std::io::{Read, Write};
use std::sync::Mutex;
use std::sync::mpsc;
use std::time::{Duration, Instant};

use tokio::sync::oneshot;

use crate::harness::{Metric, Options, Row, measure, median};
use crate::runtimes::{Filch, Rt, Smol, SmolRoot, Tokio};
use crate::table::short;

const BLOCK: Duration = Duration::from_secs(1);
const WARM_UP: Duration = Duration::from_millis(20);
const AFTER: Duration = Duration::from_millis(10);

/// What waits behind the stuck thread.
#[derive(Debug, Clone, Copy)]
enum Victim {
    Timer,
    Echo,
    Slot,
    Queue,
}

/// The rows, printed as a table of their own: median and worst, in ms.
pub fn run(options: &Options, mut each: impl FnMut(&Row, &[crate::harness::Score])) {
    let victims = [
        (Victim::Timer, "a timer of 10 ms"),
        (Victim::Echo, "an echo from outside"),
        (Victim::Slot, "a task woken just before"),
        (Victim::Queue, "the last of 100 queued tasks"),
    ];
    let mut lines = Vec::new();
    for (victim, what) in victims {
        let rounds = options.rounds.min(5);
        for (setting, workers, stuck) in
            [("1 of 2 stuck", 2, 1), ("1 of 1 stuck", 1, 1), ("2 of 2 stuck", 2, 2)]
        {
            let name = format!("stuck: {what}, {setting}");
            if options.filter.as_deref().is_some_and(|filter| filter != "stuck" && !name.contains(filter)) {
                continue;
            }
            let (must, aim) = (Some(20.0), Some(2.0));
            let metrics = vec![Metric { name, unit: "ms", must, aim, absolute: true, against: None }];
            let mut row = Row::of(metrics, 1, rounds, 0);
            row.entry_of("filch", move || vec![late(&Filch::new(workers, false), victim, stuck)]);
            if options.variants {
                row.entry_of("filch, reactor a worker", move || {
                    vec![late(&Filch::new(workers, true), victim, stuck)]
                });
            }
            // The peers make no promise for these two: all that waits is late by the whole second.
            if workers == 2 && stuck == 1 {
                row.entry_of("tokio", move || vec![late(&Tokio::new(workers), victim, stuck)]);
                row.entry_of("smol", move || vec![late(&Smol::new(workers, SmolRoot::Alone), victim, stuck)]);
            }
            let scores = measure(&mut row, options);
            each(&row, &scores);
            for score in &scores {
                let all = &score.figures[0];
                let worst = all.iter().copied().fold(f64::NAN, f64::max);
                let (middle, worst) = (short(median(all)), short(worst));
                lines.push(format!(
                    "{:<60} {:<24} median {middle:>6} ms  worst {worst:>6} ms  of {}",
                    row.metrics[0].name,
                    score.name,
                    all.len()
                ));
            }
        }
    }
    println!("{}", lines.join("\n"));
}

/// How late the victim is, in ms. A runtime of its own for each, except smol's, which is global.
fn late<R: Rt>(rt: &R, victim: Victim, stuck: usize) -> f64 {
    let (at, blocks_at) = mpsc::channel::<Instant>();
    let (report, reported) = mpsc::channel::<Duration>();
    let (wake, woken) = oneshot::channel::<Instant>();
    let slot_report = report.clone();
    let queue_report = report.clone();
    let timer_report = report.clone();
    // The victims come first, so that they wait when the others begin to block.
    let addr = match victim {
        Victim::Echo => Some(rt.block_on(async { R::spawn(serve::<R>()).await })),
        _ => None,
    };
    let mut client = addr.map(|addr| {
        let mut stream = std::net::TcpStream::connect(addr).expect("connect");
        stream.set_nodelay(true).expect("nodelay");
        stream.write_all(&[1]).expect("write");
        stream.read_exact(&mut [0]).expect("read");
        stream
    });
    match victim {
        Victim::Slot => forget(rt.spawn_outside(async move {
            if let Ok(sent) = woken.await {
                let _ = slot_report.send(sent.elapsed());
            }
        })),
        Victim::Timer => forget(rt.spawn_outside(async move {
            let due = Instant::now() + WARM_UP + AFTER;
            R::sleep(WARM_UP + AFTER).await;
            let _ = timer_report.send(due.elapsed());
        })),
        Victim::Echo | Victim::Queue => {}
    }
    let wake = Mutex::new(Some(wake));
    let wake: &'static Mutex<_> = Box::leak(Box::new(wake));
    for blocker in 0..stuck {
        let at = at.clone();
        let queue_report = queue_report.clone();
        forget(rt.spawn_outside(async move {
            // One after another, but each before the other's absence can have been noticed.
            R::sleep(WARM_UP + Duration::from_millis(blocker as u64)).await;
            let now = Instant::now();
            let _ = at.send(now);
            // The last to block has what is late.
            let last = blocker + 1 == stuck;
            match victim {
                Victim::Slot if last => {
                    let wake = wake.lock().expect("nobody panics with it").take();
                    let _ = wake.expect("the last is one").send(Instant::now());
                }
                Victim::Queue if last => {
                    let since = Instant::now();
                    for _ in 0..100 {
                        let report = queue_report.clone();
                        R::detach(async move {
                            let _ = report.send(since.elapsed());
                        });
                    }
                }
                _ => {}
            }
            std::thread::sleep(BLOCK);
        }));
    }
    let mut blocked = blocks_at.recv().expect("a blocker begins");
    for _ in 1..stuck {
        blocked = blocked.max(blocks_at.recv().expect("a blocker begins"));
    }
    let late = match victim {
        Victim::Echo => {
            let client = client.as_mut().expect("connected");
            std::thread::sleep((blocked + AFTER).saturating_duration_since(Instant::now()));
            let sent = Instant::now();
            client.write_all(&[2]).expect("write");
            client.read_exact(&mut [0]).expect("read");
            sent.elapsed()
        }
        Victim::Queue => (0..100).map(|_| reported.recv().expect("all run")).max().expect("100"),
        Victim::Slot | Victim::Timer => reported.recv().expect("it runs"),
    };
    // Until the thread is free again.
    std::thread::sleep(
        (blocked + BLOCK + Duration::from_millis(50)).saturating_duration_since(Instant::now()),
    );
    late.as_secs_f64() * 1e3
}

/// smol cancels a task whose handle is dropped; nobody joins these.
fn forget<J>(join: J) {
    std::mem::forget(join);
}

async fn serve<R: Rt>() -> std::net::SocketAddr {
    let (mut listener, addr) = R::listen().await.expect("listen");
    R::detach(async move {
        let mut stream = R::accept(&mut listener).await.expect("accept");
        let mut buf = [0; 16];
        while let Ok(count @ 1..) = R::read(&mut stream, &mut buf).await {
            R::write_all(&mut stream, &buf[..count]).await.expect("write");
        }
    });
    addr
}
