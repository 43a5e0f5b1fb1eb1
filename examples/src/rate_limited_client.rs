//! The demo `rate_limited_client`: a client that keeps to what a server allows, and a server that counts.
//!
//! Owns the command line, both halves, and the servers. Over TCP the clock is that on the wall, so that is counted
//! which no delay can change; how many come in each window is counted to the tick on the clock of the tasks.
#![forbid(unsafe_code)]

use std::collections::VecDeque;
use std::ffi::OsString;
use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, SocketAddr};
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering::Relaxed};
use std::thread;

use filch::channel::{Receiver, Sender, oneshot, unbounded};
use filch::io::{AsyncReadExt, AsyncWriteExt};
use filch::limit::{Limiter, RateLimiter, TokenBucket};
use filch::net::{TcpListener, TcpStream};
use filch::time::{Duration, Instant};

use crate::story::{self, Halves, Story, Threads, each_thread};

pub(crate) const ABOUT: &str =
    "a client that keeps to a rate, and to so many requests at once; the server counts, and refuses nothing";

/// Sends requests no faster than a server allows, and no more of them at once.
///
/// The server counts how many there are at once, and how many come in any window of time. A client that keeps to its
/// rate is never refused; one that does not is. A bucket of tokens lets some through at once after a rest.
#[derive(Debug, clap::Parser)]
#[command(name = "rate_limited_client")]
struct Args {
    #[command(flatten)]
    plan: Plan,
    /// How many worker threads the runtime has; 0 for one a CPU
    #[arg(long, default_value_t = 0)]
    workers: usize,
}

/// What the server allows, and what is asked of it.
#[derive(Clone, Copy, Debug, clap::Args)]
pub struct Plan {
    /// How many requests
    #[arg(long, default_value_t = 30, value_parser = clap::value_parser!(u32).range(1..=1_000))]
    pub requests: u32,
    /// How many may come in a period
    #[arg(long, default_value_t = 10, value_parser = clap::value_parser!(u32).range(1..=1_000))]
    pub max: u32,
    /// The period, in milliseconds
    #[arg(long, default_value_t = 50, value_parser = clap::value_parser!(u64).range(1..=10_000))]
    pub period_ms: u64,
    /// How many may be under way at once
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..=100))]
    pub at_once: u32,
}

/// Runs the demo.
pub fn run(arguments: Vec<OsString>) -> ExitCode {
    match crate::parse::<Args>(arguments) {
        Ok(Args { plan, workers }) => story::run(plan, workers),
        Err(code) => code,
    }
}

/// What the server over TCP has counted.
#[derive(Default)]
struct Counts {
    requests: AtomicU32,
    now: AtomicU32,
    most: AtomicU32,
}

impl Counts {
    fn begin(&self) {
        self.requests.fetch_add(1, Relaxed);
        self.most.fetch_max(self.now.fetch_add(1, Relaxed) + 1, Relaxed);
    }

    fn end(&self) {
        self.now.fetch_sub(1, Relaxed);
    }
}

/// A request is one byte, and so is its answer.
const REQUEST: u8 = b'?';
const ANSWER: u8 = b'!';

impl Plan {
    fn period(self) -> Duration {
        Duration::from_millis(self.period_ms)
    }

    fn limiter(self) -> Limiter {
        Limiter::new(self.at_once as usize).rate(RateLimiter::new(self.max as usize, self.period()))
    }

    /// How long the requests take at least: the last ones have to wait for so many periods.
    fn least(self) -> Duration {
        self.period() * ((self.requests - 1) / self.max)
    }

    fn tell(self, story: &mut Story, counts: &Counts, answered: usize, took: Duration) {
        story.part("A server over TCP, which counts");
        story.equal("requests that were answered", answered, self.requests as usize);
        story.equal("requests that it saw", counts.requests.load(Relaxed), self.requests);
        let most = counts.most.load(Relaxed);
        story.holds("never more at once than it allows", most <= self.at_once, most);
        story.holds("no faster than it allows", took >= self.least(), format_args!("{took:?}"));
    }
}

impl Halves for Plan {
    const THREADS: Threads = Threads::Some;

    fn about(&self) -> String {
        let Plan { requests, max, at_once, .. } = self;
        format!(
            "{requests} requests; {max} may come in {:?}, and {at_once} be under way at once.",
            self.period()
        )
    }

    fn threads(&self, story: &mut Story) {
        let counts = Counts::default();
        let listener = std::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port of this machine");
        let address = listener.local_addr().expect("it is bound");
        let limiter = self.limiter();
        let (answered, took) = thread::scope(|scope| {
            scope.spawn(|| {
                for _ in 0..self.requests {
                    let (stream, _) = listener.accept().expect("a client comes");
                    let counts = &counts;
                    scope.spawn(move || serve_blocking(stream, counts));
                }
            });
            let start = std::time::Instant::now();
            let asked = each_thread(self.requests, |_| limiter.run_blocking(|| ask_blocking(address)));
            (asked.iter().filter(|answer| answer.is_ok()).count(), start.elapsed())
        });
        self.tell(story, &counts, answered, took);
    }

    async fn tasks(self, story: &mut Story) {
        let counts = Arc::new(Counts::default());
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.expect("a port of this machine");
        let address = listener.local_addr().expect("it is bound");
        let server = filch::spawn(serve(listener, counts.clone()));
        let (limiter, start) = (self.limiter(), Instant::now());
        let asked = filch::gather((0..self.requests).map(|_| limiter.run(ask(address)))).await;
        let took = start.elapsed();
        server.abort();
        let answered = asked.iter().filter(|answer| answer.is_ok()).count();
        self.tell(story, &counts, answered, took);

        story.part(
            "A server that counts who comes in each window, and refuses the others; a clock that jumps",
        );
        let [greedy, window, bucket] = story::with_virtual_clock(async move {
            [
                self.visit(None::<TokenBucket>).await,
                self.visit(Some(RateLimiter::new(self.max as usize, self.period()))).await,
                self.visit(Some(TokenBucket::new(self.max as usize, self.period()).burst(1))).await,
            ]
        })
        .await;
        let too_many = self.requests.saturating_sub(self.max);
        story.equal("of those who come at once it refuses", greedy.refused, too_many);
        story.equal("of those who keep to the rate it refuses", window.refused, 0);
        story.equal("and the last of them comes", window.last, self.least());
        story.equal("first come, first served", window.order, (0..self.requests).collect());
        story.holds("from a bucket of one token they come one by one", bucket.refused == 0, bucket.refused);
        let last = self.period() * (self.requests - 1) / self.max;
        story.holds(
            "evenly",
            bucket.last.abs_diff(last) <= Duration::from_millis(2),
            format_args!("{:?}", bucket.last),
        );
    }
}

fn serve_blocking(mut stream: std::net::TcpStream, counts: &Counts) {
    let mut byte = [0];
    if stream.read_exact(&mut byte).is_ok() && byte == [REQUEST] {
        counts.begin();
        thread::yield_now();
        // Before the answer, with which the client may go and let another one begin.
        counts.end();
        let _ = stream.write_all(&[ANSWER]);
    }
}

fn ask_blocking(address: SocketAddr) -> io::Result<()> {
    let mut stream = std::net::TcpStream::connect(address)?;
    stream.write_all(&[REQUEST])?;
    stream.read_exact(&mut [0])
}

/// Serves until it is aborted.
async fn serve(listener: TcpListener, counts: Arc<Counts>) {
    while let Ok((mut stream, _)) = listener.accept().await {
        let counts = counts.clone();
        filch::spawn(async move {
            let mut byte = [0];
            if stream.read_exact(&mut byte).await.is_ok() && byte == [REQUEST] {
                counts.begin();
                filch::yield_now().await;
                // Before the answer, with which the client may go and let another one begin.
                counts.end();
                let _ = stream.write_all(&[ANSWER]).await;
            }
        });
    }
}

async fn ask(address: SocketAddr) -> io::Result<()> {
    let mut stream = TcpStream::connect(address).await?;
    stream.write_all(&[REQUEST]).await?;
    stream.read_exact(&mut [0]).await
}

/// A request on its way, with who sent it, and where the answer goes: whether it was served.
type Request = (u32, oneshot::Sender<bool>);

/// What came of a visit of the server that counts windows.
#[derive(Debug)]
struct Visit {
    refused: u32,
    /// When the last one came.
    last: Duration,
    order: Vec<u32>,
}

impl Plan {
    /// Sends all requests to a server, each as soon as the limiter lets it.
    async fn visit<P: filch::limit::Pace>(self, limiter: Option<filch::limit::Paced<P>>) -> Visit {
        let (door, requests) = unbounded();
        let server = filch::spawn(self.count(requests));
        let asked = filch::gather((0..self.requests).map(async |client| {
            if let Some(limiter) = &limiter {
                limiter.acquire().await;
            }
            send(&door, client).await
        }));
        let served = asked.await;
        drop(door);
        let (last, order) = server.await.expect("the server does not panic");
        Visit { refused: served.iter().filter(|served| !**served).count() as u32, last, order }
    }

    /// Serves no more than so many in any window of a period.
    async fn count(self, requests: Receiver<Request>) -> (Duration, Vec<u32>) {
        let (start, mut window, mut order) = (Instant::now(), VecDeque::new(), Vec::new());
        let mut last = start;
        while let Ok((client, answer)) = requests.recv().await {
            last = Instant::now();
            while window.front().is_some_and(|came| last - *came >= self.period()) {
                window.pop_front();
            }
            let serves = window.len() < self.max as usize;
            if serves {
                window.push_back(last);
            }
            order.push(client);
            let _ = answer.send(serves);
        }
        (last - start, order)
    }
}

async fn send(door: &Sender<Request>, client: u32) -> bool {
    let (answer, served) = oneshot::channel();
    door.send((client, answer)).await.expect("the server is there");
    served.await.expect("the server answers")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_server_sees_no_more_than_it_allows() {
        for (requests, max, at_once) in [(30, 10, 3), (1, 1, 1), (25, 100, 2), (7, 2, 5)] {
            story::assert_holds(Plan { requests, max, period_ms: 10, at_once });
        }
    }
}
