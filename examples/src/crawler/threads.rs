//! The same crawl on threads: each takes an address from a list, fetches it with blocking calls, adds its links.

use std::collections::HashSet;
use std::io::{self, Read, Write};
use std::net::{TcpStream, ToSocketAddrs};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use super::Limits;
use super::page::{Address, Failure, Fetched};
use super::report::{Progress, Report};

/// What the threads share.
struct Shared {
    work: Mutex<Work>,
    changed: Condvar,
}

struct Work {
    seen: HashSet<Address>,
    waiting: Vec<Address>,
    under_way: usize,
    report: Report,
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Work> {
        self.work.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Fetches everything that `start` leads to on so many threads; `live` hears of each page that is done.
pub fn crawl_with_threads(
    start: &Address,
    limits: Limits,
    threads: usize,
    live: impl Fn(Progress) + Sync,
) -> Report {
    let began = Instant::now();
    let shared = Shared {
        work: Mutex::new(Work {
            seen: HashSet::from([start.clone()]),
            waiting: vec![start.clone()],
            under_way: 0,
            report: Report::default(),
        }),
        changed: Condvar::new(),
    };
    thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| worker(&shared, limits, &live));
        }
    });
    let work = shared.work.into_inner().unwrap_or_else(PoisonError::into_inner);
    work.report.finish(began.elapsed())
}

fn worker(shared: &Shared, limits: Limits, live: &impl Fn(Progress)) {
    loop {
        let mut work = shared.lock();
        let address = loop {
            if let Some(address) = work.waiting.pop() {
                break address;
            }
            if work.under_way == 0 {
                return;
            }
            work = shared.changed.wait(work).unwrap_or_else(PoisonError::into_inner);
        };
        work.under_way += 1;
        let under_way = work.under_way;
        work.report.saw_at_once(under_way);
        drop(work);

        let began = Instant::now();
        let fetched = fetch(&address, limits);
        let latency = began.elapsed();

        let mut work = shared.lock();
        work.under_way -= 1;
        work.report.add(&fetched, latency);
        for link in fetched.map(|fetched| fetched.links).unwrap_or_default() {
            if work.seen.len() < limits.pages && work.seen.insert(link.clone()) {
                work.waiting.push(link);
            }
        }
        live(work.report.progress(work.under_way, work.waiting.len()));
        drop(work);
        shared.changed.notify_all();
    }
}

/// Fetches one page. HTTP/1.0, so that no answer comes in chunks.
pub(crate) fn fetch(address: &Address, limits: Limits) -> Result<Fetched, Failure> {
    let deadline = Instant::now() + limits.timeout();
    let left = || match deadline.saturating_duration_since(Instant::now()) {
        Duration::ZERO => Err(Failure::Timeout),
        left => Ok(left),
    };
    let to = address.host_and_port().to_socket_addrs().map_err(|_| Failure::Connect)?.next();
    let mut stream = TcpStream::connect_timeout(&to.ok_or(Failure::Connect)?, left()?).map_err(|error| {
        if error.kind() == io::ErrorKind::TimedOut { Failure::Timeout } else { Failure::Connect }
    })?;
    stream.set_write_timeout(Some(left()?))?;
    write!(
        stream,
        "GET {} HTTP/1.0\r\nHost: {}\r\nConnection: close\r\n\r\n",
        address.path(),
        address.host_and_port()
    )?;
    let mut answer = Vec::new();
    let mut buffer = [0; 16 * 1024];
    let mut head: Option<Head> = None;
    loop {
        if head.is_none() {
            head = Head::parse(&answer)?;
        }
        if let Some(head) = &head {
            let body = &answer[head.length..];
            if body.len() > limits.bytes {
                return Err(Failure::TooLong);
            }
            if head.body.is_some_and(|length| body.len() >= length) {
                return Ok(head.fetched(address, body));
            }
        }
        stream.set_read_timeout(Some(left()?))?;
        match stream.read(&mut buffer) {
            Ok(0) => break,
            Ok(n) => answer.extend_from_slice(&buffer[..n]),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error.into()),
        }
    }
    match head {
        // Without a length, the end of the connection is the end of the page.
        Some(head) if head.body.is_none() => Ok(head.fetched(address, &answer[head.length..])),
        _ => Err(Failure::Broken),
    }
}

/// The head of an answer.
struct Head {
    length: usize,
    status: u16,
    body: Option<usize>,
    is_html: bool,
    location: Option<String>,
}

impl Head {
    /// `None` when more must be read.
    fn parse(answer: &[u8]) -> Result<Option<Head>, Failure> {
        let mut headers = [httparse::EMPTY_HEADER; 64];
        let mut response = httparse::Response::new(&mut headers);
        let length = match response.parse(answer) {
            Ok(httparse::Status::Complete(length)) => length,
            Ok(httparse::Status::Partial) => return Ok(None),
            Err(_) => return Err(Failure::Broken),
        };
        let text = |name: &str| {
            let header = response.headers.iter().find(|header| header.name.eq_ignore_ascii_case(name))?;
            std::str::from_utf8(header.value).ok()
        };
        Ok(Some(Head {
            length,
            status: response.code.ok_or(Failure::Broken)?,
            body: text("content-length").and_then(|length| length.parse().ok()),
            is_html: text("content-type").is_some_and(|kind| kind.starts_with("text/html")),
            location: text("location").map(str::to_owned),
        }))
    }

    fn fetched(&self, address: &Address, body: &[u8]) -> Fetched {
        let body = &body[..self.body.unwrap_or(body.len()).min(body.len())];
        Fetched::new(address, self.status, self.location.as_deref(), self.is_html, body)
    }
}
