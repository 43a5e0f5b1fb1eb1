//! Sockets: TCP echo with client and server inside, over 64 connections and over one, and an open loop of
//! 1,000 requests a second from a thread outside. filch, tokio, smol; Nagle's algorithm is off for all.
use std::io::{Read, Write};
use std::time::{Duration, Instant};

use super::Root;
use crate::floor::Floor;
use crate::harness::{Metric, Row, Usage, percentile};
use crate::runtimes::{Contestants, Filch, Rt, Smol, Tokio};

const MESSAGE: usize = 64;

/// The group.
pub fn rows(all: &'static Contestants) -> Vec<Row> {
    vec![
        echo(all, 64, 100, Root::Spawned, Some(1.00), Some(0.95)),
        echo(all, 1_000, 10, Root::Spawned, Some(1.00), Some(0.95)),
        echo(all, 1, 1_000, Root::BlockOn, Some(1.00), Some(0.95)),
        echo(all, 1, 1_000, Root::Spawned, Some(1.00), Some(0.95)),
        open_loop(all),
    ]
}

/// An echo server on `rt`, which goes on until the process ends.
async fn serve<R: Rt>() -> std::net::SocketAddr {
    let (mut listener, addr) = R::listen().await.expect("listen");
    R::detach(async move {
        loop {
            let mut stream = R::accept(&mut listener).await.expect("accept");
            R::detach(async move {
                let mut buf = [0; 1024];
                loop {
                    match R::read(&mut stream, &mut buf).await {
                        Ok(0) | Err(_) => return,
                        Ok(count) => R::write_all(&mut stream, &buf[..count]).await.expect("write"),
                    }
                }
            });
        }
    });
    addr
}

/// `trips` round trips on one stream, which is given back.
async fn trips<R: Rt>(mut stream: R::Stream, trips: usize) -> R::Stream {
    let mut buf = [7; MESSAGE];
    for _ in 0..trips {
        R::write_all(&mut stream, &buf).await.expect("write");
        R::read_exact(&mut stream, &mut buf).await.expect("read");
    }
    stream
}

fn echo(
    all: &'static Contestants,
    connections: usize,
    each: usize,
    root: Root,
    must: Option<f64>,
    aim: Option<f64>,
) -> Row {
    let suffix = if connections == 1 { root.suffix() } else { "" };
    let plural = if connections == 1 { "" } else { "s" };
    let name = format!("TCP echo, {connections} connection{plural}, 64 B{suffix}");
    let floor = if connections == 1 { Floor::Echo } else { Floor::EchoMany };
    let mut row = Row::timed(name, connections * each, must, aim).above(1.0, floor);
    row.entry("filch", echo_turn(&all.filch, connections, each, root));
    if let Some(filch) = &all.filch_reactors {
        row.entry("filch, reactor a worker", echo_turn(filch, connections, each, root));
    }
    row.entry("tokio", echo_turn(&all.tokio, connections, each, root));
    row.entry("smol", echo_turn(&all.smol, connections, each, root));
    if root == Root::BlockOn {
        row.entry("smol-run", echo_turn(&all.smol_run, connections, each, root));
    }
    row
}

fn echo_turn<R: Rt>(rt: &'static R, connections: usize, each: usize, root: Root) -> impl FnMut() {
    // Connected at the first turn, which does not count.
    let mut streams: Vec<R::Stream> = Vec::new();
    move || {
        if streams.is_empty() {
            streams = rt.block_on(async {
                R::spawn(async move {
                    let addr = serve::<R>().await;
                    let mut streams = Vec::new();
                    for _ in 0..connections {
                        streams.push(R::connect(addr).await.expect("connect"));
                    }
                    streams
                })
                .await
            });
        }
        match root {
            Root::BlockOn => {
                let stream = streams.pop().expect("one connection");
                streams.push(rt.block_on(trips::<R>(stream, each)));
            }
            Root::Spawned => {
                let taken = std::mem::take(&mut streams);
                streams = rt.block_on(async {
                    let clients: Vec<_> =
                        taken.into_iter().map(|stream| R::spawn(trips::<R>(stream, each))).collect();
                    let mut streams = Vec::with_capacity(connections);
                    for client in clients {
                        streams.push(client.await);
                    }
                    streams
                });
            }
        }
    }
}

/// How many requests a turn of the open loop sends, one a millisecond.
const REQUESTS: usize = 300;

fn open_loop(all: &'static Contestants) -> Row {
    let metric = |name: &str, unit, must, aim| Metric {
        name: format!("open loop, 1,000 requests/s, echo: {name}"),
        unit,
        must: Some(must),
        aim: Some(aim),
        absolute: false,
        against: None,
    };
    let metrics = vec![
        metric("p50", "us", 1.0, 1.0),
        metric("p99", "us", 1.0, 1.0),
        metric("server's CPU", "%", 1.0, 0.85),
    ];
    let mut row = Row::of(metrics, REQUESTS, 15, 1);
    row.entry_of("filch", open_turn::<Filch>(&all.filch));
    if let Some(filch) = &all.filch_reactors {
        row.entry_of("filch, reactor a worker", open_turn(filch));
    }
    row.entry_of("tokio", open_turn::<Tokio>(&all.tokio));
    row.entry_of("smol", open_turn::<Smol>(&all.smol));
    row
}

/// A plain thread sends at fixed times, whatever came back by then; a request that waits for the one before
/// it counts from when it should have been sent.
fn open_turn<R: Rt>(rt: &'static R) -> impl FnMut() -> Vec<f64> {
    let mut streams: Vec<std::net::TcpStream> = Vec::new();
    move || {
        if streams.is_empty() {
            let addr = rt.block_on(async { R::spawn(serve::<R>()).await });
            for _ in 0..10 {
                let stream = std::net::TcpStream::connect(addr).expect("connect");
                stream.set_nodelay(true).expect("nodelay");
                streams.push(stream);
            }
        }
        let (process, thread) = (Usage::now(), Usage::of_thread());
        let start = Instant::now();
        let mut late = Vec::with_capacity(REQUESTS);
        let mut buf = [7; MESSAGE];
        for request in 0..REQUESTS {
            let due = start + Duration::from_millis(request as u64 + 1);
            std::thread::sleep(due.saturating_duration_since(Instant::now()));
            // The sleep of this thread is not the server's fault: a request that leaves late counts from when it left,
            // unless the one before it was the reason.
            let sent = if request > 0 && Instant::now() > due + Duration::from_millis(1) {
                due
            } else {
                Instant::now()
            };
            let stream = &mut streams[request % 10];
            stream.write_all(&buf).expect("write");
            stream.read_exact(&mut buf).expect("read");
            late.push(sent.elapsed().as_nanos() as f64 / 1e3);
        }
        let wall = start.elapsed();
        let cpu = Usage::now().since(process).cpu.saturating_sub(Usage::of_thread().since(thread).cpu);
        vec![percentile(&late, 0.5), percentile(&late, 0.99), cpu.as_secs_f64() * 100.0 / wall.as_secs_f64()]
    }
}
