//! System calls that fail, one at a time, under filch and under tokio: which of the two survives how many.
//!
//! Owns the matrix and a small program for each runtime: exchanges by TCP, a blocking job, a file, timers and a child
//! process. `strace -e inject` lets a call fail: once, early or late, or again and again. A run *survives* if there was
//! no panic, no hang and no descriptor left, and if what could not be done was said by an error, after which all goes
//! on; a runtime that cannot start because of the call, and says so, has survived as well.
//!
//! `cargo run --release -p filch-tests --bin inject -- [--only CALL]`. Without `strace` it says that it skips.

use std::collections::BTreeMap;
use std::io;
use std::process::{Command, ExitCode, Stdio};
use std::time::{Duration, Instant};

/// What fails, and how.
const MATRIX: &[(&str, &[&str])] = &[
    ("accept4", &["EINTR", "EAGAIN", "EMFILE", "ENFILE", "ENOMEM", "ENOBUFS", "ECONNABORTED", "EPROTO"]),
    ("epoll_ctl", &["ENOMEM", "ENOSPC"]),
    ("epoll_wait", &["EINTR"]),
    ("epoll_pwait", &["EINTR"]),
    ("eventfd2", &["EMFILE", "ENFILE", "ENOMEM"]),
    ("epoll_create1", &["EMFILE", "ENOMEM"]),
    ("clone3", &["EAGAIN", "ENOMEM"]),
    ("pidfd_open", &["EMFILE", "ENOMEM", "ENOSYS"]),
    ("pipe2", &["EMFILE", "ENFILE"]),
    ("socket", &["EMFILE", "ENFILE", "ENOBUFS", "ENOMEM"]),
    ("read", &["EINTR", "EAGAIN", "EIO"]),
    ("write", &["EINTR", "EAGAIN", "EIO"]),
    ("recvfrom", &["EINTR", "EAGAIN", "ENOMEM", "ECONNRESET"]),
    ("sendto", &["EINTR", "EAGAIN", "ENOMEM", "EPIPE"]),
    // Not EINTR, after which a connection goes on by itself: one that was not begun would not.
    ("connect", &["EAGAIN", "ECONNREFUSED", "EADDRNOTAVAIL"]),
    ("waitid", &["EINTR"]),
    ("wait4", &["EINTR"]),
    ("openat", &["EINTR", "EMFILE"]),
    ("timerfd_create", &["EMFILE", "ENOMEM"]),
    ("mmap", &["ENOMEM"]),
];

const RUNTIMES: [&str; 2] = ["filch", "tokio"];
const ROUNDS: usize = 24;
/// For one run; without a fault it takes a fraction of a second.
const PATIENCE: Duration = Duration::from_secs(15);
/// For one operation. What a fault has cut off may end so, which counts as said.
const STEP: Duration = Duration::from_secs(2);

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match arguments.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        ["--program", "none"] => ExitCode::SUCCESS,
        ["--program", runtime] => program(runtime.to_owned(), None),
        ["--program", runtime, kept] => program(runtime.to_owned(), kept.parse().ok()),
        [] => matrix(""),
        ["--only", call] => matrix(call),
        _ => {
            eprintln!("usage: inject [--only CALL]");
            ExitCode::from(2)
        }
    }
}

/// How a run ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Ended {
    Survived,
    Panicked,
    Hung,
    Leaked,
    Broken,
}

/// How many descriptors a runtime keeps for the process, as a run without faults shows.
fn keeps(runtime: &str) -> usize {
    let program = std::env::current_exe().expect("the path of this program");
    let status =
        Command::new(program).args(["--program", runtime]).stdout(Stdio::null()).status().expect("a run");
    let code = status.code().unwrap_or_default();
    assert!((KEPT..100).contains(&code), "{runtime} without any fault: {status}");
    (code - KEPT) as usize
}

fn strace(runtime: &str, kept: usize, options: &[String]) -> (Ended, bool) {
    let program = std::env::current_exe().expect("the path of this program");
    let mut child = Command::new("strace")
        .args(["-f", "-qq", "-o", "/dev/null", "--seccomp-bpf"])
        .args(options)
        .arg(program)
        .args(["--program", runtime, &kept.to_string()])
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .expect("strace");
    let began = Instant::now();
    loop {
        if let Some(status) = child.try_wait().expect("a status") {
            let ended = match status.code() {
                Some(0 | 4) => Ended::Survived,
                Some(101) | None => Ended::Panicked,
                Some(3) => Ended::Leaked,
                Some(5) => Ended::Hung,
                _ => Ended::Broken,
            };
            return (ended, status.code() == Some(4));
        }
        if began.elapsed() > PATIENCE {
            // With it goes what it traces.
            child.kill().expect("a kill");
            child.wait().expect("a status");
            return (Ended::Hung, false);
        }
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// How often a program that does nothing makes this call, before its own code begins.
fn before_main(call: &str) -> usize {
    let file = std::env::temp_dir().join(format!("filch-inject-{}", std::process::id()));
    let program = std::env::current_exe().expect("the path of this program");
    let traced = Command::new("strace")
        .args(["-qq", "-e", &format!("trace={call}"), "-o"])
        .arg(&file)
        .arg(program)
        .args(["--program", "none"])
        .status()
        .expect("strace");
    assert!(traced.success());
    let text = std::fs::read_to_string(&file).unwrap_or_default();
    let _ = std::fs::remove_file(&file);
    text.lines().filter(|line| line.starts_with(call)).count()
}

fn matrix(only: &str) -> ExitCode {
    if !Command::new("strace").arg("-V").stdout(Stdio::null()).status().is_ok_and(|status| status.success()) {
        println!("SKIPPED: no strace here");
        return ExitCode::SUCCESS;
    }
    let kept = RUNTIMES.map(keeps);
    println!("Descriptors kept for the process: {} {}, {} {}.\n", RUNTIMES[0], kept[0], RUNTIMES[1], kept[1]);
    let mut counts: BTreeMap<&str, BTreeMap<Ended, usize>> = BTreeMap::new();
    println!("| call | error | when | filch | tokio |\n|---|---|---|---|---|");
    for (call, errors) in MATRIX.iter().filter(|(call, _)| call.contains(only)) {
        let first = before_main(call) + 1;
        for error in *errors {
            for when in [format!("{first}"), format!("{}", first + 4), format!("{}+10", first + 1)] {
                let inject = format!("inject={call}:error={error}:when={when}");
                let ended = [0, 1].map(|number| {
                    let runtime = RUNTIMES[number];
                    let (ended, refused) = strace(runtime, kept[number], &["-e".to_owned(), inject.clone()]);
                    *counts.entry(runtime).or_default().entry(ended).or_default() += 1;
                    if refused { "did not start".to_owned() } else { format!("{ended:?}").to_lowercase() }
                });
                println!("| {call} | {error} | {when} | {} | {} |", ended[0], ended[1]);
            }
        }
    }
    println!();
    for (runtime, ended) in &counts {
        let all: usize = ended.values().sum();
        let survived = ended.get(&Ended::Survived).copied().unwrap_or(0);
        println!("{runtime} survived {survived} of {all}: {ended:?}");
    }
    let is_whole = counts["filch"].keys().all(|ended| *ended == Ended::Survived);
    if is_whole { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn descriptors() -> usize {
    // The fault may hit this very call.
    (0..3).find_map(|_| std::fs::read_dir("/proc/self/fd").ok()).map_or(0, Iterator::count)
}

/// What is added to the number of descriptors that are kept, as an exit status.
const KEPT: i32 = 10;

/// The program under test. 0: all went well, or what did not was said. 3: descriptors are left. 4: the runtime did not
/// start, and said so. 5: something did not end.
/// Without a number of descriptors that may be kept, it ends with [`KEPT`] and their number.
fn program(runtime: String, kept: Option<usize>) -> ExitCode {
    let before = descriptors();
    // On a thread of its own, whose calls are counted from here on.
    let run = move || if runtime == "filch" { filch_program() } else { tokio_program() };
    let Ok(thread) = std::thread::Builder::new().spawn(run) else { return ExitCode::from(4) };
    let code = match thread.join() {
        Ok(Ok(true)) => 0,
        Ok(Ok(false)) => 5,
        Ok(Err(_)) => 4,
        Err(_) => 101,
    };
    let more = || descriptors().saturating_sub(before);
    if code == 0 && more() > kept.unwrap_or(0) {
        // Threads of a pool may be on their way out.
        std::thread::sleep(Duration::from_millis(300));
    }
    match kept {
        None if code == 0 => ExitCode::from(KEPT as u8 + more().min(80) as u8),
        Some(kept) if code == 0 && more() > kept => ExitCode::from(3),
        _ => ExitCode::from(code),
    }
}

fn filch_program() -> io::Result<bool> {
    use filch::io::{AsyncReadExt, AsyncWriteExt};
    use filch::net::{TcpListener, TcpStream};
    use filch::time::sleep;
    let runtime = filch::Builder::new().workers(2).build()?;
    let went_well = runtime.block_on(async {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let address = listener.local_addr()?;
        let server = filch::spawn(async move {
            loop {
                let Ok((mut stream, _)) = listener.accept().await else { continue };
                filch::spawn(async move {
                    let mut buf = [0; 64];
                    while let Ok(count @ 1..) = stream.read(&mut buf).await {
                        if stream.write_all(&buf[..count]).await.is_err() {
                            return;
                        }
                    }
                });
            }
        });
        let mut went_well = true;
        for round in 0..ROUNDS {
            let exchange = async {
                let mut stream = TcpStream::connect(address).await?;
                stream.write_all(b"ping").await?;
                stream.read_exact(&mut [0; 4]).await
            };
            let exchanged = filch::wait_for(exchange, STEP).await;
            let blocked = filch::wait_for(filch::spawn_blocking(move || round), STEP).await;
            sleep(Duration::from_micros(300)).await;
            let _ = filch::wait_for(filch::fs::read("/proc/self/stat"), STEP).await;
            if round % 8 == 0 {
                let _ = filch::wait_for(filch::process::Command::new("true").output(), STEP).await;
            }
            // Of what comes last, nothing may be cut off by what was before.
            went_well &= round + 1 < ROUNDS || exchanged.is_ok() && blocked.is_ok();
        }
        server.abort();
        io::Result::Ok(went_well)
    });
    let report = runtime.shutdown(Duration::from_secs(5));
    Ok(went_well.unwrap_or(true) && report.abandoned.is_empty())
}

fn tokio_program() -> io::Result<bool> {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::{TcpListener, TcpStream};
    use tokio::time::{sleep, timeout};
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    let went_well = runtime.block_on(async {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let address = listener.local_addr()?;
        let server = tokio::spawn(async move {
            loop {
                let Ok((mut stream, _)) = listener.accept().await else { continue };
                tokio::spawn(async move {
                    let mut buf = [0; 64];
                    while let Ok(count @ 1..) = stream.read(&mut buf).await {
                        if stream.write_all(&buf[..count]).await.is_err() {
                            return;
                        }
                    }
                });
            }
        });
        let mut went_well = true;
        for round in 0..ROUNDS {
            let exchange = async {
                let mut stream = TcpStream::connect(address).await?;
                stream.write_all(b"ping").await?;
                stream.read_exact(&mut [0; 4]).await
            };
            let exchanged = timeout(STEP, exchange).await;
            let blocked = timeout(STEP, tokio::task::spawn_blocking(move || round)).await;
            sleep(Duration::from_micros(300)).await;
            let _ = timeout(STEP, tokio::fs::read("/proc/self/stat")).await;
            if round % 8 == 0 {
                let _ = timeout(STEP, tokio::process::Command::new("true").output()).await;
            }
            went_well &= round + 1 < ROUNDS || exchanged.is_ok() && blocked.is_ok();
        }
        server.abort();
        let _ = server.await;
        io::Result::Ok(went_well)
    });
    runtime.shutdown_timeout(Duration::from_secs(5));
    Ok(went_well.unwrap_or(true))
}
