//! The demo `when_to_use`: thread, pool, process or task? The guides' table, measured.
//!
//! Owns the command line, the two kinds of work, the five ways to do them, and the table. The claims are about results
//! alone; what takes how long is measured and told, in text and as a plot. The program's `main` must begin with
//! [`crate::init`].

use std::ffi::OsString;
use std::fmt;
use std::io::{Read, Write};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;
use std::thread;
use std::time::{Duration, Instant};

use comfy_table::Table;
use filch::io::{AsyncReadExt, AsyncWriteExt};
use filch::net::{TcpListener, TcpStream};
use filch::pool::ThreadPool;
use filch::process::{Job, Pool};
use filch::time::sleep;
use filch::{Runtime, gather};

use crate::plot::Bars;

pub(crate) const ABOUT: &str =
    "thread, pool, process or task, for work that computes and work that waits: measured";

/// The same work done one after another, with a thread each, by a pool of threads, by processes, and as tasks.
///
/// Work that computes counts primes. Work that waits asks a server, which takes its time to answer. Printed is how long
/// all jobs took, so many rounds of each way taken in turn, and what to use when.
#[derive(Debug, clap::Parser)]
#[command(name = "when_to_use")]
struct Args {
    /// How many jobs of each kind there are
    #[arg(long, default_value_t = 64, value_parser = clap::value_parser!(u32).range(1..=500))]
    jobs: u32,
    /// How many rounds are taken; the figures are their medians
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..=1_000))]
    rounds: u32,
    /// Up to which number each job counts primes
    #[arg(long, default_value_t = 30_000, value_parser = clap::value_parser!(u32).range(2..=10_000_000))]
    size: u32,
    /// How long the server takes to answer, in milliseconds
    #[arg(long, default_value_t = 10, value_parser = clap::value_parser!(u64).range(..=10_000))]
    latency: u64,
    /// How many threads the pool has, and how many processes the other; 0 for one a CPU
    #[arg(long, default_value_t = 0, value_parser = clap::value_parser!(u32).range(..=64))]
    pool: u32,
    /// Write a plot to this file
    #[arg(long)]
    svg: Option<PathBuf>,
}

/// Work that computes.
pub(crate) static COUNT_PRIMES: Job<u32, u32> = Job::new("when_to_use::count_primes", count_primes);
/// Work that waits.
pub(crate) static ASK: Job<SocketAddr, u32> = Job::new("when_to_use::ask", ask);

fn count_primes(below: u32) -> u32 {
    let is_prime = |n: u32| (2..).take_while(|d| d * d <= n).all(|d| !n.is_multiple_of(d));
    (2..below).filter(|n| is_prime(*n)).count() as u32
}

/// Asks the server, and blocks until it has answered.
fn ask(server: SocketAddr) -> u32 {
    let mut answer = [0];
    let mut stream = std::net::TcpStream::connect(server).expect("the server listens");
    stream.write_all(b"?").and_then(|()| stream.read_exact(&mut answer)).expect("it answers");
    u32::from(answer[0])
}

/// Asks the server, and waits without a thread.
async fn ask_async(server: SocketAddr) -> u32 {
    let mut answer = [0];
    let mut stream = TcpStream::connect(server).await.expect("the server listens");
    stream.write_all(b"?").await.expect("it listens");
    stream.read_exact(&mut answer).await.expect("it answers");
    u32::from(answer[0])
}

/// Answers each question after a while.
async fn serve(listener: TcpListener, latency: Duration) {
    while let Ok((mut stream, _)) = listener.accept().await {
        drop(filch::spawn(async move {
            let mut question = [0];
            if stream.read_exact(&mut question).await.is_ok() {
                sleep(latency).await;
                // Nobody may listen any more.
                let _ = stream.write_all(&[42]).await;
            }
        }));
    }
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Work {
    Computes(u32),
    Waits(SocketAddr),
}

impl fmt::Display for Work {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Work::Computes(_) => "computes",
            Work::Waits(_) => "waits",
        })
    }
}

impl Work {
    fn on_a_thread(self) -> u32 {
        match self {
            Work::Computes(below) => count_primes(below),
            Work::Waits(server) => ask(server),
        }
    }

    async fn in_a_task(self) -> u32 {
        match self {
            Work::Computes(below) => count_primes(below),
            Work::Waits(server) => ask_async(server).await,
        }
    }
}

/// The ways, in the order of the table.
const WAYS: [&str; 5] = ["one after another", "a thread each", "ThreadPool", "process::Pool", "tasks"];

/// What there is to do it with.
struct Means {
    runtime: Runtime,
    pool: ThreadPool,
    processes: Pool,
    size: usize,
}

impl Means {
    fn new(size: usize) -> std::io::Result<Means> {
        let runtime = filch::Builder::new().workers(size).build()?;
        let processes = {
            let _inside = runtime.handle().enter();
            Pool::new(size)?
        };
        Ok(Means { runtime, pool: ThreadPool::new(size)?, processes, size })
    }

    /// Does so many jobs in that way, and gives the sum of their results.
    fn all(&self, way: usize, work: Work, jobs: u32) -> u64 {
        let each = |results: Vec<u32>| results.into_iter().map(u64::from).sum();
        let many = 0..jobs;
        match way {
            0 => each(many.map(|_| work.on_a_thread()).collect()),
            1 => {
                let threads: Vec<_> = many.map(|_| thread::spawn(move || work.on_a_thread())).collect();
                each(threads.into_iter().map(|thread| thread.join().expect("no panic")).collect())
            }
            2 => each(
                self.pool.map(many, move |_| work.on_a_thread()).map(|job| job.expect("no panic")).collect(),
            ),
            3 => {
                let results = match work {
                    Work::Computes(below) => self.processes.map(&COUNT_PRIMES, many.map(|_| below)).join(),
                    Work::Waits(server) => self.processes.map(&ASK, many.map(|_| server)).join(),
                };
                each(results.into_iter().map(|result| result.expect("no crash")).collect())
            }
            _ => self.runtime.block_on(async {
                let tasks: Vec<_> = many.map(|_| filch::spawn(work.in_a_task())).collect();
                each(gather(tasks).await.into_iter().map(|task| task.expect("no panic")).collect())
            }),
        }
    }

    /// How many jobs are under way at the same time.
    fn at_once(&self, way: usize, jobs: u32) -> String {
        match way {
            0 => "1".to_owned(),
            2 => format!("{}, on as many threads", self.size),
            3 => format!("{}, in as many processes", self.size),
            1 => format!("{jobs}, on as many threads"),
            _ => format!("{jobs}, on {} threads", self.size),
        }
    }
}

/// The medians of each way for a kind of work, in milliseconds for all jobs.
struct Measured {
    work: Work,
    took: Vec<f64>,
    agree: bool,
}

fn measure(means: &Means, work: Work, args: &Args) -> Measured {
    let mut took = vec![Vec::new(); WAYS.len()];
    let expected = means.all(0, work, 1) * u64::from(args.jobs);
    let mut agree = true;
    // Once before it counts: threads and processes start with their first job.
    (1..WAYS.len()).for_each(|way| agree &= means.all(way, work, args.jobs) == expected);
    for _ in 0..args.rounds {
        for (way, took) in took.iter_mut().enumerate() {
            let began = Instant::now();
            agree &= means.all(way, work, args.jobs) == expected;
            took.push(began.elapsed().as_secs_f64() * 1e3);
        }
    }
    let median = |mut all: Vec<f64>| {
        all.sort_by(f64::total_cmp);
        all[all.len() / 2]
    };
    Measured { work, took: took.into_iter().map(median).collect(), agree }
}

fn print(means: &Means, all: &[Measured; 2], args: &Args) {
    let mut table = Table::new();
    table.load_style(comfy_table::presets::ASCII_MARKDOWN).set_header([
        "work",
        "way",
        "at the same time",
        "ms for all",
        "times as fast",
    ]);
    for Measured { work, took, .. } in all {
        for (way, ms) in took.iter().enumerate() {
            table.add_row([
                work.to_string(),
                WAYS[way].to_owned(),
                means.at_once(way, args.jobs),
                format!("{ms:.1}"),
                format!("{:.1}", took[0] / ms),
            ]);
        }
    }
    println!("{table}");
    println!(
        "
When to use what:
  it computes            `ThreadPool`, with as many threads as there are processors. More threads take no less time.
  it waits, by a future  tasks: as many at the same time as there are, on a few threads.
  it waits, by a call    `spawn_blocking`, or a `ThreadPool` with many threads: each call that blocks keeps one.
  it may crash or hang   `process::Pool`: it can be killed. For speed there is no need: Rust has no GIL.
  both, watched          `WorkerPool`: threads for what computes or blocks, tasks for what waits."
    );
}

fn plot(all: &[Measured; 2], args: &Args, size: usize) -> Bars {
    let name = |work: Work| match work {
        Work::Computes(below) => format!("computes: primes < {below}"),
        Work::Waits(_) => format!("waits: {} ms on a server", args.latency),
    };
    let groups = all.iter().map(|one| (name(one.work), one.took.iter().map(|ms| Some(*ms)).collect()));
    Bars {
        title: format!("{} jobs in five ways; pools and runtime of {size}", args.jobs),
        unit: "ms for all, less is better".to_owned(),
        kinds: WAYS.map(str::to_owned).into(),
        groups: groups.collect(),
    }
}

/// Runs the demo.
pub fn run(arguments: Vec<OsString>) -> ExitCode {
    let args = match crate::parse::<Args>(arguments) {
        Ok(args) => args,
        Err(code) => return code,
    };
    let cpus = thread::available_parallelism().map_or(1, usize::from);
    let size = if args.pool == 0 { cpus } else { args.pool as usize };
    let ready = Means::new(size).and_then(|means| {
        // On a runtime of its own, so that the server keeps no worker of the other from its tasks.
        let others = filch::Builder::new().workers(1).build()?;
        let listener = others.block_on(TcpListener::bind("127.0.0.1:0"))?;
        let server = listener.local_addr()?;
        drop(others.spawn(serve(listener, Duration::from_millis(args.latency))));
        Ok((server, others, means))
    });
    let (server, _others, means) = match ready {
        Ok(ready) => ready,
        Err(error) => {
            eprintln!("There is nothing to do it with: {error}");
            return ExitCode::FAILURE;
        }
    };
    println!(
        "{} jobs that compute (primes below {}) and {} that wait ({} ms), {} rounds, {cpus} processors\n",
        args.jobs, args.size, args.jobs, args.latency, args.rounds
    );
    let all = [Work::Computes(args.size), Work::Waits(server)].map(|work| measure(&means, work, &args));
    print(&means, &all, &args);
    if let Some(path) = &args.svg
        && let Err(error) = std::fs::write(path, plot(&all, &args, size).svg())
    {
        eprintln!("The plot cannot be written to {}: {error}", path.display());
        return ExitCode::FAILURE;
    }
    if let Some(wrong) = all.iter().find(|one| !one.agree) {
        println!("\nThe ways do NOT agree about what {}.", wrong.work);
        return ExitCode::FAILURE;
    }
    println!("\nAll {} ways agree about the results.", WAYS.len());
    ExitCode::SUCCESS
}
