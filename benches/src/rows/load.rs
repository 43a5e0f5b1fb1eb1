//! Low load and uneven load: a hello server over hyper, and a client outside the runtime that sends at fixed times,
//! whatever came back by then. filch, tokio, smol.
//!
//! | row | beside the requests |
//! |---|---|
//! | 1,000/s, 10,000/s | nothing |
//! | hot | one in ten of the connections gets nine in ten of the requests |
//! | blocks | a task that blocks its thread for 10 ms, every 50 ms |
//! | neighbour | a task that computes all the time, 100 us between two yields |
//!
//! A request counts from the moment when it was due: one that waits behind another is late, and it is not forgotten
//! that later ones were. (Only a sender that itself slept too long moves the moment.) The CPU time is the process's
//! without the client's two threads.
use std::collections::VecDeque;
use std::convert::Infallible;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::os::fd::AsRawFd;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use http_body_util::Full;
use hyper::body::{Bytes, Incoming};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Request, Response};

use crate::harness::{Metric, Row, Usage, percentile};
use crate::runtimes::{Contestants, Filch, Rt, Smol, Tokio};

const CONNECTIONS: usize = 20;
/// How long a turn lasts.
const TURN: Duration = Duration::from_millis(400);
const ASKS: &[u8] = b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n";

/// What goes on beside the requests.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Beside {
    Nothing,
    /// The requests themselves are uneven.
    Hot,
    Blocks,
    Neighbour,
}

/// The group.
pub fn rows(all: &'static Contestants) -> Vec<Row> {
    vec![
        row(all, "1,000 requests/s", 1_000, Beside::Nothing),
        row(all, "10,000 requests/s", 10_000, Beside::Nothing),
        row(all, "5,000 requests/s, 1 in 10 connections hot", 5_000, Beside::Hot),
        row(all, "1,000 requests/s, a task blocks 10 ms", 1_000, Beside::Blocks),
        row(all, "1,000 requests/s, a neighbour computes", 1_000, Beside::Neighbour),
    ]
}

fn row(all: &'static Contestants, name: &str, rate: u32, beside: Beside) -> Row {
    let metric = |what: &str, unit, must| Metric {
        name: format!("HTTP, {name}: {what}"),
        unit,
        must: Some(must),
        aim: Some(if what == "CPU" { 0.85 } else { must }),
        absolute: false,
        against: None,
    };
    // Under the task that blocks, the tail is the point.
    let tail = if beside == Beside::Blocks { 0.2 } else { 1.0 };
    let metrics = vec![
        metric("p50", "us", 1.0),
        metric("p99", "us", tail),
        metric("p99.9", "us", tail),
        metric("CPU", "%", 1.0),
    ];
    let mut row = Row::of(metrics, (rate as f64 * TURN.as_secs_f64()) as usize, 15, 1);
    row.entry_of("filch", turn::<Filch>(&all.filch, rate, beside));
    if let Some(filch) = &all.filch_reactors {
        row.entry_of("filch, reactor a worker", turn(filch, rate, beside));
    }
    row.entry_of("tokio", turn::<Tokio>(&all.tokio, rate, beside));
    row.entry_of("smol", turn::<Smol>(&all.smol, rate, beside));
    row
}

/// A hello server, which goes on until the process ends.
async fn serve<R: Rt>() -> SocketAddr {
    let (mut listener, addr) = R::listen().await.expect("listen");
    R::detach(async move {
        loop {
            let io = R::io(R::accept(&mut listener).await.expect("accept"));
            R::detach(async move {
                let hello = async |_: Request<Incoming>| {
                    Ok::<_, Infallible>(Response::new(Full::new(Bytes::from_static(b"Hello, world!"))))
                };
                // A client that goes away is no news.
                let _ = http1::Builder::new().serve_connection(io, service_fn(hello)).await;
            });
        }
    });
    addr
}

/// One connection, as the client's two threads see it.
struct Line {
    stream: TcpStream,
    /// When the requests under way were due.
    due: Mutex<VecDeque<Instant>>,
}

fn turn<R: Rt>(rt: &'static R, rate: u32, beside: Beside) -> impl FnMut() -> Vec<f64> {
    let mut lines: Option<(Arc<Vec<Line>>, usize)> = None;
    move || {
        let (lines, answer) = lines.get_or_insert_with(|| {
            let addr = rt.block_on(async { R::spawn(serve::<R>()).await });
            let lines: Vec<Line> = (0..CONNECTIONS).map(|_| connect(addr)).collect();
            let answer = lines.iter().map(learn_answer).next_back().expect("there are connections");
            (Arc::new(lines), answer)
        });
        let stop = Arc::new(AtomicBool::new(false));
        let other = beside_task(rt, beside, &stop);
        let process = Usage::now();
        let begin = Instant::now();
        let requests = (TURN.as_secs_f64() * f64::from(rate)) as usize;
        let reader = {
            let (lines, answer) = (lines.clone(), *answer);
            std::thread::spawn(move || read_answers(&lines, answer, requests))
        };
        let mine = Usage::of_thread();
        send_requests(lines, rate, requests, beside == Beside::Hot);
        let sent = Usage::of_thread().since(mine).cpu;
        let (late, read) = reader.join().expect("the reader");
        let wall = begin.elapsed();
        let used = Usage::now().since(process).cpu.saturating_sub(sent).saturating_sub(read);
        stop.store(true, Relaxed);
        if let Some(other) = other {
            rt.block_on(other);
        }
        vec![
            percentile(&late, 0.5),
            percentile(&late, 0.99),
            percentile(&late, 0.999),
            used.as_secs_f64() * 100.0 / wall.as_secs_f64(),
        ]
    }
}

fn connect(addr: SocketAddr) -> Line {
    let stream = TcpStream::connect(addr).expect("connect");
    stream.set_nodelay(true).expect("nodelay");
    Line { stream, due: Mutex::default() }
}

/// Asks once, to learn how long an answer is; all are of the same length.
fn learn_answer(line: &Line) -> usize {
    (&line.stream).write_all(ASKS).expect("write");
    let mut answer = Vec::new();
    while !answer.ends_with(b"Hello, world!") {
        let mut buf = [0; 512];
        let count = (&line.stream).read(&mut buf).expect("read");
        assert!(count > 0, "the server has hung up");
        answer.extend_from_slice(&buf[..count]);
    }
    line.stream.set_nonblocking(true).expect("non-blocking");
    answer.len()
}

fn beside_task<R: Rt>(rt: &R, beside: Beside, stop: &Arc<AtomicBool>) -> Option<R::Join<()>> {
    let stop = stop.clone();
    match beside {
        Beside::Nothing | Beside::Hot => None,
        Beside::Blocks => Some(rt.spawn_outside(async move {
            while !stop.load(Relaxed) {
                R::sleep(Duration::from_millis(50)).await;
                std::thread::sleep(Duration::from_millis(10));
            }
        })),
        Beside::Neighbour => Some(rt.spawn_outside(async move {
            while !stop.load(Relaxed) {
                let begin = Instant::now();
                while begin.elapsed() < Duration::from_micros(100) {
                    std::hint::spin_loop();
                }
                R::yield_now().await;
            }
        })),
    }
}

fn send_requests(lines: &[Line], rate: u32, requests: usize, hot: bool) {
    let begin = Instant::now();
    for request in 0..requests {
        let planned = begin + Duration::from_secs(request as u64 + 1) / rate;
        std::thread::sleep(planned.saturating_duration_since(Instant::now()));
        // Late by its own sleep; the socket's buffer takes any number of requests, so nothing else can be the reason.
        let due = Instant::now();
        let line = match request {
            _ if hot && request % 10 != 0 => request % (lines.len() / 10),
            _ => request % lines.len(),
        };
        let line = &lines[line];
        line.due.lock().expect("no panic").push_back(due);
        (&line.stream).write_all(ASKS).expect("the socket's buffer has room");
    }
}

/// Reads all answers: how late each was, in microseconds, and the CPU time of this thread.
fn read_answers(lines: &[Line], answer: usize, requests: usize) -> (Vec<f64>, Duration) {
    let mine = Usage::of_thread();
    let mut polled: Vec<libc::pollfd> = lines
        .iter()
        .map(|line| libc::pollfd { fd: line.stream.as_raw_fd(), events: libc::POLLIN, revents: 0 })
        .collect();
    let mut pending = vec![0; lines.len()];
    let mut late = Vec::with_capacity(requests);
    let mut buf = [0; 16 << 10];
    while late.len() < requests {
        // SAFETY: the array is valid and as long as it is said to be.
        let ready = unsafe { libc::poll(polled.as_mut_ptr(), polled.len() as libc::nfds_t, -1) };
        assert!(ready > 0, "poll: {}", std::io::Error::last_os_error());
        let now = Instant::now();
        for (at, polled) in polled.iter().enumerate().filter(|(_, polled)| polled.revents != 0) {
            debug_assert_eq!(polled.fd, lines[at].stream.as_raw_fd());
            let count = match (&lines[at].stream).read(&mut buf) {
                Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => continue,
                result => result.expect("read"),
            };
            assert!(count > 0, "the server has hung up");
            pending[at] += count;
            while pending[at] >= answer {
                pending[at] -= answer;
                let due = lines[at].due.lock().expect("no panic").pop_front().expect("asked for");
                late.push(now.saturating_duration_since(due).as_nanos() as f64 / 1e3);
            }
        }
    }
    (late, Usage::of_thread().since(mine).cpu)
}
