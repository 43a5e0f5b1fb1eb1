//! Programs of actors: a ring of tasks with one token, the prime sieve, skynet, pinball and funnel (after nexosim's
//! tachyobench), and a storm of wakes. filch, tokio, smol, each with the channel that its users take: `filch::channel`,
//! `tokio::sync::mpsc`, `async-channel`.
use std::sync::Arc;

use super::Root;
use crate::harness::Row;
use crate::runtimes::{Contestants, Rt};
use crate::workload;

const RING: usize = 503;
const PASSES: usize = 50_000;
const PRIMES: usize = 400;
const GRAPHS: usize = 16;
const NODES: usize = 13;
const PATH: u64 = 50_000;
const FUNNEL: usize = 65_000;
const STORM: usize = 1_000;
const STORMS: usize = 20;

/// The group.
pub fn rows(all: &'static Contestants) -> Vec<Row> {
    let root = Root::Spawned;
    let mut rows = vec![
        workload!(all, "actors: thread ring of 503", PASSES, root, None, None, ring()),
        workload!(all, "actors: sieve of 400 primes", sieve_messages(PRIMES), root, None, None, sieve()),
        workload!(all, "actors: skynet, 100,000 leaves", 111_111, root, None, None, skynet()),
    ];
    for balls in [1, 7, 41] {
        let name = format!("actors: pinball, {GRAPHS} graphs of {NODES}, {balls} balls each");
        rows.push(workload!(all, name, PATH as usize, root, None, None, pinball(balls)));
    }
    for room in [1, 10, 1_000] {
        let name = format!("actors: funnel, 5 of {NODES} senders each, room for {room}");
        rows.push(workload!(all, name, FUNNEL, root, None, None, funnel(room)));
    }
    rows.push(workload!(all, "actors: a storm wakes 1,000 tasks", STORM * STORMS, root, None, None, storm()));
    rows
}

/// One token goes round a ring of tasks.
async fn ring<R: Rt>() {
    let (first, mut inlet) = R::channel::<usize>(1);
    let (end, mut ended) = R::channel::<()>(1);
    for at in 0..RING {
        let (outlet, next) = if at + 1 < RING { R::channel(1) } else { (first.clone(), R::channel(1).1) };
        let (end, mut mine) = (end.clone(), std::mem::replace(&mut inlet, next));
        R::detach(async move {
            while let Some(token) = R::recv(&mut mine).await {
                if token == 0 {
                    R::send(&end, ()).await;
                    return;
                }
                R::send(&outlet, token - 1).await;
            }
        });
    }
    R::send(&first, PASSES).await;
    // Then the ring ends by itself: from the task that has the token, round to the one before it.
    drop((first, end));
    assert!(R::recv(&mut ended).await.is_some(), "the token comes to its end");
}

/// A chain of tasks, one a prime, each of which drops what its prime divides.
async fn sieve<R: Rt>() {
    let (numbers, mut inlet) = R::channel::<u64>(16);
    R::detach(async move {
        for number in 2.. {
            if !R::send(&numbers, number).await {
                return;
            }
        }
    });
    let mut last = 0;
    for _ in 0..PRIMES {
        let prime = R::recv(&mut inlet).await.expect("there is another prime");
        let (outlet, next) = R::channel(16);
        let mut mine = std::mem::replace(&mut inlet, next);
        R::detach(async move {
            while let Some(number) = R::recv(&mut mine).await {
                if number % prime != 0 && !R::send(&outlet, number).await {
                    return;
                }
            }
        });
        last = prime;
    }
    assert_eq!(last, nth_prime(PRIMES));
}

fn nth_prime(n: usize) -> u64 {
    (2..)
        .filter(|n| (2..).take_while(|d| d * d <= *n).all(|d| n % d != 0))
        .nth(n - 1)
        .expect("there are enough")
}

/// How many messages it takes at the least to find so many primes.
fn sieve_messages(primes: usize) -> usize {
    let found: Vec<u64> = (2..=nth_prime(primes)).filter(|n| (2..*n).all(|d| n % d != 0)).collect();
    // A number is received by each of the primes up to the one that divides it.
    (2..=nth_prime(primes)).map(|n| found.iter().take_while(|prime| n % **prime != 0).count() + 1).sum()
}

/// Each node has ten children, which tell it by a channel; 100,000 leaves give their number.
async fn skynet<R: Rt>() {
    fn node<R: Rt>(parent: R::Tx<u64>, number: u64, size: u64) {
        R::detach(async move {
            let sum = if size == 1 {
                number
            } else {
                let (tx, mut rx) = R::channel(10);
                for child in 0..10 {
                    node::<R>(tx.clone(), number + child * (size / 10), size / 10);
                }
                let mut sum = 0;
                for _ in 0..10 {
                    sum += R::recv(&mut rx).await.expect("ten children");
                }
                sum
            };
            R::send(&parent, sum).await;
        });
    }
    let (tx, mut rx) = R::channel(1);
    node::<R>(tx, 0, 100_000);
    assert_eq!(R::recv(&mut rx).await, Some((0..100_000_u64).sum()));
}

/// What goes round in a graph.
enum Ball {
    /// How often it is passed on yet, and what decides where to.
    Rolls(u64, u64),
    Stop,
}

/// Balls go from one node of a graph to one of its neighbours, which the ball's number decides. All graphs together
/// pass `PATH` balls on.
async fn pinball<R: Rt>(balls: u64) {
    let path = PATH / GRAPHS as u64 / balls;
    let (end, mut ended) = R::channel::<()>(GRAPHS * balls as usize);
    let mut graphs = Vec::with_capacity(GRAPHS);
    for _ in 0..GRAPHS {
        let (inlets, outlets): (Vec<_>, Vec<_>) =
            (0..NODES).map(|_| R::channel::<Ball>(balls as usize)).unzip();
        let inlets = Arc::new(inlets);
        for (at, mut outlet) in outlets.into_iter().enumerate() {
            let (end, inlets) = (end.clone(), inlets.clone());
            R::detach(async move {
                while let Some(Ball::Rolls(left, seed)) = R::recv(&mut outlet).await {
                    if left == 0 {
                        R::send(&end, ()).await;
                        continue;
                    }
                    let seed = seed.wrapping_mul(0x5851_f42d_4c95_7f2d).wrapping_add(0x1405_7b7e_f767_814f);
                    let next = (at + 1 + (seed >> 33) as usize % (NODES - 1)) % NODES;
                    R::send(&inlets[next], Ball::Rolls(left - 1, seed)).await;
                }
            });
        }
        graphs.push(inlets);
    }
    for inlets in &graphs {
        for ball in 0..balls {
            R::send(&inlets[ball as usize % NODES], Ball::Rolls(path, ball)).await;
        }
    }
    for _ in 0..GRAPHS as u64 * balls {
        R::recv(&mut ended).await.expect("every ball ends");
    }
    // The nodes of a graph hold each other's channels, and would wait for ever.
    for inlet in graphs.iter().flat_map(|inlets| inlets.iter()) {
        R::send(inlet, Ball::Stop).await;
    }
}

/// Five receivers, each with thirteen senders.
async fn funnel<R: Rt>(room: usize) {
    let each = FUNNEL / 5 / NODES;
    let receivers: Vec<_> = (0..5)
        .map(|_| {
            let (tx, mut rx) = R::channel::<usize>(room);
            for _ in 0..NODES {
                let tx = tx.clone();
                R::detach(async move {
                    for message in 0..each {
                        R::send(&tx, message).await;
                    }
                });
            }
            R::spawn(async move {
                let mut count = 0;
                while R::recv(&mut rx).await.is_some() {
                    count += 1;
                }
                count
            })
        })
        .collect();
    let mut count = 0;
    for receiver in receivers {
        count += receiver.await;
    }
    assert_eq!(count, each * 5 * NODES);
}

/// One event wakes all who wait for it; the same event for all, of tokio.
async fn storm<R: Rt>() {
    let events: Vec<_> = (0..STORMS).map(|_| Arc::new(tokio::sync::Notify::new())).collect();
    let (ready, mut are_ready) = R::channel::<()>(STORM);
    let events = Arc::new(events);
    let tasks: Vec<_> = (0..STORM)
        .map(|_| {
            let (events, ready) = (events.clone(), ready.clone());
            R::spawn(async move {
                for event in &*events {
                    let mut woken = std::pin::pin!(event.notified());
                    woken.as_mut().enable();
                    R::send(&ready, ()).await;
                    woken.await;
                }
            })
        })
        .collect();
    for event in &*events {
        for _ in 0..STORM {
            R::recv(&mut are_ready).await.expect("all tasks are there");
        }
        event.notify_waiters();
    }
    for task in tasks {
        task.await;
    }
}
