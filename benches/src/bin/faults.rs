//! What happens at the limit of descriptors: a plain accept loop on filch and on tokio, side by side.
//!
//! Each contestant serves echo in a child process that may have 256 descriptors. The parent opens 40
//! connections and keeps talking on them, then 300, which is more than the child can take. Measured while the
//! limit is hit: failed accepts a second, the child's use of the processor, and the round trip on a
//! connection that was there before. Then one descriptor comes free: how long until a waiting client is
//! served. Many rounds, interleaved.
//!
//! `cargo run --release -p filch-benches --bin faults -- [--rounds N] [--seconds S]`

use std::env;
use std::error::Error;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::{Duration, Instant};

type Result<T> = std::result::Result<T, Box<dyn Error>>;

const LIMIT: u64 = 256;
const EARLY: usize = 40;
const LATE: usize = 300;
const CONTESTANTS: [&str; 2] = ["filch", "tokio"];

fn main() -> Result<()> {
    use lexopt::prelude::*;
    let (mut rounds, mut seconds) = (5_usize, 2_u64);
    let mut args = lexopt::Parser::from_env();
    while let Some(arg) = args.next()? {
        match arg {
            Long("rounds") => rounds = args.value()?.parse()?,
            Long("seconds") => seconds = args.value()?.parse()?,
            Long("help") | Short('h') => {
                println!("faults [--rounds N] [--seconds S]");
                return Ok(());
            }
            // How the parent starts its children.
            Value(role) if role == "child" => return serve(&args.value()?.string()?),
            _ => return Err(arg.unexpected().into()),
        }
    }
    if rounds == 0 || seconds == 0 {
        return Err("--rounds and --seconds want at least 1".into());
    }
    let mut all: [Vec<Row>; 2] = [Vec::new(), Vec::new()];
    for round in 0..rounds {
        for turn in 0..2 {
            let which = (round + turn) % 2;
            all[which].push(round_of(CONTESTANTS[which], Duration::from_secs(seconds))?);
        }
    }
    println!("{rounds} rounds of {seconds} s at a limit of {LIMIT} descriptors; median (worst)");
    println!("{:<28} {:>22} {:>22}", "", CONTESTANTS[0], CONTESTANTS[1]);
    print_row("failed accepts / s", &all, |row| row.errors);
    print_row("CPU of the server, %", &all, |row| row.cpu);
    print_row("early echo, worst, ms", &all, |row| row.echo);
    print_row("served after release, ms", &all, |row| row.recovered);
    print_row("early connections lost", &all, |row| row.lost);
    Ok(())
}

/// What one round measured.
struct Row {
    errors: f64,
    cpu: f64,
    echo: f64,
    recovered: f64,
    lost: f64,
}

fn print_row(name: &str, all: &[Vec<Row>; 2], figure: impl Fn(&Row) -> f64) {
    let cells: Vec<String> = all
        .iter()
        .map(|rows| {
            let mut values: Vec<f64> = rows.iter().map(&figure).collect();
            values.sort_by(f64::total_cmp);
            format!("{:.2} ({:.2})", values[values.len() / 2], values[values.len() - 1])
        })
        .collect();
    println!("{name:<28} {:>22} {:>22}", cells[0], cells[1]);
}

struct Server {
    child: Child,
    stdin: ChildStdin,
    stdout: BufReader<ChildStdout>,
    address: SocketAddr,
}

impl Server {
    fn start(runtime: &str) -> Result<Server> {
        let mut child = Command::new(env::current_exe()?)
            .args(["child", runtime])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()?;
        let stdin = child.stdin.take().ok_or("no stdin")?;
        let mut stdout = BufReader::new(child.stdout.take().ok_or("no stdout")?);
        let mut line = String::new();
        stdout.read_line(&mut line)?;
        Ok(Server { child, stdin, stdout, address: line.trim().parse()? })
    }

    /// Failed accepts so far.
    fn errors(&mut self) -> Result<f64> {
        self.stdin.write_all(b"?\n")?;
        let mut line = String::new();
        self.stdout.read_line(&mut line)?;
        Ok(line.trim().parse()?)
    }

    /// Seconds of processor time so far.
    fn cpu(&self) -> Result<f64> {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", self.child.id()))?;
        let fields: Vec<&str> = stat.rsplit(')').next().unwrap_or("").split_whitespace().collect();
        let ticks: f64 = fields[11].parse::<f64>()? + fields[12].parse::<f64>()?;
        Ok(ticks / 100.0)
    }
}

fn round_of(runtime: &str, time: Duration) -> Result<Row> {
    let mut server = Server::start(runtime)?;
    let mut early = Vec::new();
    for _ in 0..EARLY {
        let stream = TcpStream::connect(server.address)?;
        stream.set_read_timeout(Some(Duration::from_secs(5)))?;
        stream.set_nodelay(true)?;
        early.push(stream);
    }
    for stream in &mut early {
        round_trip(stream)?;
    }
    // More than the child can take; the kernel keeps those that wait, if they do not come all at once.
    let mut late = Vec::new();
    for n in 1..=LATE {
        late.push(TcpStream::connect(server.address)?);
        if n % 20 == 0 {
            std::thread::sleep(Duration::from_millis(5));
        }
    }
    let (errors, cpu, start) = (server.errors()?, server.cpu()?, Instant::now());
    let (mut echo, mut lost) = (Duration::ZERO, 0);
    while start.elapsed() < time {
        early.retain_mut(|stream| match round_trip(stream) {
            Ok(took) => {
                echo = echo.max(took);
                true
            }
            Err(_) => {
                lost += 1;
                false
            }
        });
        std::thread::sleep(Duration::from_millis(10));
    }
    let took = start.elapsed().as_secs_f64();
    let (errors, cpu) = ((server.errors()? - errors) / took, (server.cpu()? - cpu) / took * 100.0);
    let recovered = recover(&mut early, &mut late).map_err(|error| format!("{runtime}: {error}"))?;
    server.child.kill()?;
    server.child.wait()?;
    Ok(Row { errors, cpu, echo: ms(echo), recovered: ms(recovered), lost: f64::from(lost) })
}

/// Closes one early connection, and waits until one of the late ones is served that was not before.
fn recover(early: &mut Vec<TcpStream>, late: &mut [TcpStream]) -> Result<Duration> {
    for stream in late.iter_mut() {
        stream.set_nonblocking(true)?;
        stream.write_all(b"x")?;
    }
    std::thread::sleep(Duration::from_millis(300));
    let served = |late: &mut [TcpStream]| -> usize {
        late.iter_mut().filter(|stream| stream.peek(&mut [0]).is_ok_and(|n| n == 1)).count()
    };
    let before = served(late);
    drop(early.pop());
    let start = Instant::now();
    while served(late) == before {
        if start.elapsed() > Duration::from_secs(10) {
            let early = early.len();
            return Err(
                format!("no client was served within 10 s of a free descriptor ({before}, {early})").into()
            );
        }
        std::thread::sleep(Duration::from_micros(500));
    }
    Ok(start.elapsed())
}

fn round_trip(stream: &mut TcpStream) -> std::io::Result<Duration> {
    let start = Instant::now();
    stream.write_all(b"x")?;
    stream.read_exact(&mut [0])?;
    Ok(start.elapsed())
}

fn ms(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1e3
}

/// The child: few descriptors, a plain accept loop, and an answer to each line of its input.
fn serve(runtime: &str) -> Result<()> {
    let limit = libc::rlimit { rlim_cur: LIMIT, rlim_max: LIMIT };
    // SAFETY: the structure lives until the call has returned.
    if unsafe { libc::setrlimit(libc::RLIMIT_NOFILE, &limit) } != 0 {
        return Err(std::io::Error::last_os_error().into());
    }
    let errors = Arc::new(AtomicU64::new(0));
    let count = errors.clone();
    std::thread::spawn(move || {
        for _ in std::io::stdin().lines() {
            println!("{}", count.load(Relaxed));
        }
        std::process::exit(0);
    });
    match runtime {
        "filch" => filch::Builder::new().workers(2).build()?.block_on(on_filch(errors))?,
        "tokio" => tokio::runtime::Builder::new_multi_thread()
            .worker_threads(2)
            .enable_all()
            .build()?
            .block_on(on_tokio(errors))?,
        other => return Err(format!("no runtime {other:?}; there are {CONTESTANTS:?}").into()),
    }
    Ok(())
}

async fn on_filch(errors: Arc<AtomicU64>) -> Result<()> {
    use filch::io::{AsyncReadExt, AsyncWriteExt};
    let listener = filch::net::TcpListener::bind("127.0.0.1:0").await?;
    println!("{}", listener.local_addr()?);
    loop {
        let Ok((mut stream, _)) = listener.accept().await else {
            errors.fetch_add(1, Relaxed);
            continue;
        };
        filch::spawn(async move {
            let mut buffer = [0; 64];
            while let Ok(n @ 1..) = stream.read(&mut buffer).await {
                if stream.write_all(&buffer[..n]).await.is_err() {
                    break;
                }
            }
        });
    }
}

async fn on_tokio(errors: Arc<AtomicU64>) -> Result<()> {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await?;
    println!("{}", listener.local_addr()?);
    loop {
        let Ok((mut stream, _)) = listener.accept().await else {
            errors.fetch_add(1, Relaxed);
            continue;
        };
        tokio::spawn(async move {
            let mut buffer = [0; 64];
            while let Ok(n @ 1..) = stream.read(&mut buffer).await {
                if stream.write_all(&buffer[..n]).await.is_err() {
                    break;
                }
            }
        });
    }
}
