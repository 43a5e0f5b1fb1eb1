//! Endurance: everything at once, with random cancels and panics, for half an hour; and whether anything grows.
//!
//! Owns the load and the verdict. Once every so often it notes memory, descriptors, threads, live tasks, and the 99th
//! percentile of the time of an exchange by TCP; at the end it prints the slope of each over the second half of the
//! run, and fails if one of them goes up by more than is left to chance.
//!
//! `cargo run --release -p filch-tests --bin soak -- --minutes 2`

use std::process::ExitCode;
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};

use filch::channel::{bounded, broadcast, oneshot, unbounded};
use filch::io::{AsyncReadExt, AsyncWriteExt};
use filch::net::{TcpListener, TcpStream};
use filch::process::Command;
use filch::sync::{Condition, Lock, Notify, Queue, RwLock, Semaphore};
use filch::time::{Duration, Instant, sleep};
use filch::{CancelToken, TaskGroup, wait_for, yield_now};

/// What all of it shares.
struct Load {
    end: AtomicBool,
    done: [AtomicU64; KINDS.len()],
    cancelled: AtomicU64,
    panicked: AtomicU64,
    /// How long exchanges took since the last note, in nanoseconds.
    exchanges: Mutex<Vec<u64>>,
    lock: Lock<u64>,
    condition: Condition,
    rw_lock: RwLock<u64>,
    semaphore: Arc<Semaphore>,
    notify: Notify,
    queue: Queue<u64>,
}

const KINDS: [&str; 10] = [
    "locks",
    "channels",
    "timers",
    "blocking",
    "groups",
    "panics",
    "connections",
    "children",
    "files",
    "primitives",
];

/// splitmix64, after Steele, Lea and Flood (2014).
struct Random(u64);

impl Random {
    fn below(&mut self, limit: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ (z >> 31)) % limit
    }
}

/// One job of this kind. It may be dropped at any await.
async fn job(kind: usize, load: Arc<Load>, mut random: Random, address: std::net::SocketAddr) {
    match KINDS[kind] {
        "locks" => {
            for _ in 0..10 {
                let mut guard = load.lock.lock().await;
                *guard += 1;
                if random.below(4) == 0 {
                    yield_now().await;
                }
                drop(guard);
                if random.below(3) == 0 {
                    *load.rw_lock.write().await += 1
                } else {
                    drop(load.rw_lock.read().await)
                }
                let _permits = load.semaphore.acquire_many(1 + random.below(3) as u32).await;
            }
        }
        "channels" => channels(&mut random).await,
        "timers" => {
            let limit = Duration::from_micros(random.below(3_000));
            let _ = wait_for(sleep(Duration::from_micros(random.below(3_000))), limit).await;
            filch::select! {
                () = sleep(Duration::from_secs(365 * 86_400)) => {},
                () = yield_now() => {}
            }
        }
        "blocking" => {
            let number = random.below(1_000);
            assert_eq!(filch::spawn_blocking(move || number + 1).await.ok(), Some(number + 1));
        }
        "groups" => {
            let group: TaskGroup<u64> = TaskGroup::new();
            let fails = random.below(8);
            for number in 0..8 {
                group.spawn(async move {
                    sleep(Duration::from_micros(number * 50)).await;
                    if number == fails && number % 2 == 0 {
                        std::panic::panic_any("planned")
                    }
                    number
                });
            }
            let _ = group.join().await;
        }
        "panics" => {
            let task = filch::spawn(async move {
                yield_now().await;
                std::panic::panic_any("planned");
            });
            assert!(task.await.is_err());
            load.panicked.fetch_add(1, Relaxed);
        }
        "connections" => exchange(&load, address).await,
        "children" => {
            let limit = Duration::from_micros(random.below(20_000));
            let mut command = Command::new("true");
            command.kill_on_drop(true);
            let _ = wait_for(command.status(), limit).await;
        }
        "files" => {
            let path =
                std::env::temp_dir().join(format!("filch-soak-{}-{}", std::process::id(), random.below(8)));
            let _ = filch::fs::write(&path, vec![7; 10_000]).await;
            let _ = filch::fs::read(&path).await;
        }
        _ => primitives(&load, &mut random).await,
    }
    load.done[kind].fetch_add(1, Relaxed);
}

async fn channels(random: &mut Random) {
    let (tx, rx) = bounded(1 + random.below(8) as usize);
    let (all, everything) = unbounded();
    let sender = filch::spawn(async move {
        for number in 0..50_u64 {
            if tx.send(number).await.is_err() {
                return;
            }
        }
    });
    for _ in 0..random.below(60) {
        match rx.recv().await {
            Ok(number) => _ = all.try_send(number),
            Err(_) => break,
        }
    }
    drop((rx, everything));
    let _ = sender.await;
    let (one, answer) = oneshot::channel();
    let (news, mut heard) = broadcast::channel(4);
    drop(filch::spawn(async move {
        let _ = news.send(1);
        let _ = one.send(2);
    }));
    let _ = (answer.await, heard.recv().await);
}

async fn primitives(load: &Load, random: &mut Random) {
    match random.below(4) {
        0 => {
            let guard = load.lock.lock().await;
            let _ = wait_for(load.condition.wait(guard), Duration::from_micros(random.below(500))).await;
        }
        1 => _ = load.condition.notify_all(),
        2 => {
            load.notify.notify_one();
            load.notify.notified().await;
        }
        _ => {
            let _ = load.queue.put(random.below(9)).await;
            let _ = wait_for(load.queue.get(), Duration::from_micros(500)).await;
        }
    }
}

async fn exchange(load: &Load, address: std::net::SocketAddr) {
    let began = Instant::now();
    let Ok(mut stream) = TcpStream::connect(address).await else { return };
    // So that no port stays behind in TIME_WAIT.
    let _ = stream.set_linger(Some(Duration::ZERO));
    let mut buf = [0; 64];
    for _ in 0..4 {
        if stream.write_all(&[1; 64]).await.is_err() || stream.read_exact(&mut buf).await.is_err() {
            return;
        }
    }
    load.exchanges.lock().expect("no panic under it").push(began.elapsed().as_nanos() as u64);
}

async fn serve(listener: TcpListener) {
    loop {
        let Ok((mut stream, _)) = listener.accept().await else { return };
        filch::spawn(async move {
            let mut buf = [0; 1_024];
            while let Ok(count @ 1..) = stream.read(&mut buf).await {
                if stream.write_all(&buf[..count]).await.is_err() {
                    return;
                }
            }
        });
    }
}

/// Starts jobs one after another, and cancels some of them in one of three ways.
async fn drive(number: u64, load: Arc<Load>, address: std::net::SocketAddr) {
    let mut random = Random(number);
    while !load.end.load(Relaxed) {
        let kind = match random.below(200) {
            0 => 7,
            n @ 1..=9 => [3, 8, 5][n as usize % 3],
            n => [0, 1, 2, 4, 6, 9][n as usize % 6],
        };
        let work = job(kind, load.clone(), Random(random.0), address);
        let after = Duration::from_micros(random.below(2_000));
        match random.below(8) {
            0 => {
                let task = filch::spawn(work);
                sleep(after).await;
                task.abort();
                let _ = task.await;
                load.cancelled.fetch_add(1, Relaxed);
            }
            1 => {
                let _ = wait_for(work, after).await;
                load.cancelled.fetch_add(1, Relaxed);
            }
            2 => {
                let token = CancelToken::new();
                let cancels = token.clone();
                let task = filch::spawn(async move { token.run_until_cancelled(work).await.is_ok() });
                sleep(after).await;
                cancels.cancel("soak");
                let _ = task.await;
                load.cancelled.fetch_add(1, Relaxed);
            }
            3 => _ = filch::spawn(work).await,
            _ => work.await,
        }
    }
}

/// One line of the record.
#[derive(Clone, Copy)]
struct Note {
    seconds: f64,
    kilobytes: f64,
    descriptors: f64,
    threads: f64,
    tasks: f64,
    p99: f64,
}

/// A line of `/proc/self/status`, as a number.
fn status(name: &str) -> f64 {
    let text = std::fs::read_to_string("/proc/self/status").expect("/proc");
    let line = text.lines().find(|line| line.starts_with(name)).expect("such a line");
    line.split_whitespace().nth(1).and_then(|word| word.parse().ok()).expect("a number")
}

fn note(began: std::time::Instant, load: &Load, runtime: &filch::Runtime) -> Note {
    let mut exchanges = std::mem::take(&mut *load.exchanges.lock().expect("no panic under it"));
    exchanges.sort_unstable();
    let p99 = exchanges.get(exchanges.len() * 99 / 100).copied().unwrap_or(0);
    Note {
        seconds: began.elapsed().as_secs_f64(),
        kilobytes: status("VmRSS"),
        descriptors: std::fs::read_dir("/proc/self/fd").expect("/proc").count() as f64,
        threads: status("Threads"),
        tasks: runtime.metrics().live_tasks as f64,
        p99: p99 as f64 / 1_000.0,
    }
}

/// By least squares, in units a minute.
fn slope(notes: &[Note], of: impl Fn(&Note) -> f64) -> f64 {
    let count = notes.len() as f64;
    let mean = |of: &dyn Fn(&Note) -> f64| notes.iter().map(of).sum::<f64>() / count;
    let (x, y) = (mean(&|note| note.seconds), mean(&|note| of(note)));
    let up: f64 = notes.iter().map(|note| (note.seconds - x) * (of(note) - y)).sum();
    let down: f64 = notes.iter().map(|note| (note.seconds - x).powi(2)).sum();
    60.0 * up / down.max(1e-9)
}

/// What is measured: its name and unit, how to read it, and by how much of its mean it may go up in the second half.
type Measure = (&'static str, fn(&Note) -> f64, f64);

const MEASURES: [Measure; 5] = [
    ("memory (kB)", |note| note.kilobytes, 0.05),
    ("descriptors", |note| note.descriptors, 0.25),
    ("threads", |note| note.threads, 0.25),
    ("live tasks", |note| note.tasks, 0.25),
    ("p99 of an exchange (us)", |note| note.p99, 1.0),
];

fn verdict(notes: &[Note]) -> bool {
    let half = &notes[notes.len() / 2..];
    let minutes = (half[half.len() - 1].seconds - half[0].seconds) / 60.0;
    let mut is_flat = true;
    println!("\n| second half of the run | mean | slope a minute | allowed |\n|---|---|---|---|");
    for (name, of, share) in MEASURES {
        let mean = half.iter().map(of).sum::<f64>() / half.len() as f64;
        let slope = slope(half, of);
        // What the allocator still takes for itself in the first minutes is less than a byte for each task.
        let rise = if name.starts_with("memory") { (share * mean).max(2_048.0) } else { share * mean };
        let allowed = rise / minutes.max(0.1);
        is_flat &= slope <= allowed;
        println!("| {name} | {mean:.0} | {slope:+.1} | {allowed:.1} |");
    }
    is_flat
}

fn minutes() -> Option<f64> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match arguments.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        [] => Some(30.0),
        ["--minutes", text] => text.parse().ok().filter(|minutes| (0.1..100_000.0).contains(minutes)),
        _ => None,
    }
}

fn main() -> ExitCode {
    let Some(minutes) = minutes() else {
        eprintln!("usage: soak [--minutes N]    (30)");
        return ExitCode::from(2);
    };
    std::panic::set_hook(Box::new(|info| {
        if info.payload().downcast_ref::<&str>() != Some(&"planned") {
            eprintln!("{info}");
            std::process::exit(101);
        }
    }));
    // Few threads for blocking jobs: bursts would start up to 512, each with memory of its own, and hide a leak.
    let runtime = filch::Builder::new().workers(2).blocking_threads(16).build().expect("a runtime");
    let load = Arc::new(Load {
        end: AtomicBool::new(false),
        done: Default::default(),
        cancelled: AtomicU64::new(0),
        panicked: AtomicU64::new(0),
        exchanges: Mutex::new(Vec::new()),
        lock: Lock::new(0),
        condition: Condition::new(),
        rw_lock: RwLock::new(0),
        semaphore: Arc::new(Semaphore::new(4)),
        notify: Notify::new(),
        queue: Queue::new(4),
    });
    let listener = runtime.block_on(TcpListener::bind("127.0.0.1:0")).expect("a port");
    let address = listener.local_addr().expect("an address");
    drop(runtime.spawn(serve(listener)));
    let drivers: Vec<_> = (0..64).map(|number| runtime.spawn(drive(number, load.clone(), address))).collect();
    let (began, mut notes) = (std::time::Instant::now(), Vec::new());
    let pause = std::time::Duration::from_secs_f64((minutes * 60.0 / 60.0).clamp(0.5, 10.0));
    println!(
        "{:>8} {:>10} {:>6} {:>8} {:>6} {:>12}",
        "seconds", "memory kB", "fds", "threads", "tasks", "p99 us"
    );
    while began.elapsed().as_secs_f64() < minutes * 60.0 {
        std::thread::sleep(pause);
        let now = note(began, &load, &runtime);
        println!(
            "{:8.0} {:10.0} {:6.0} {:8.0} {:6.0} {:12.0}",
            now.seconds, now.kilobytes, now.descriptors, now.threads, now.tasks, now.p99
        );
        notes.push(now);
    }
    load.end.store(true, Relaxed);
    let mut broken = 0;
    runtime.block_on(async {
        for driver in drivers {
            broken += u32::from(driver.await.is_err());
        }
    });
    let report = runtime.shutdown(Duration::from_secs(30));
    for (kind, done) in KINDS.iter().zip(&load.done) {
        print!("{kind} {}, ", done.load(Relaxed));
    }
    println!("cancelled {}, panicked {}.", load.cancelled.load(Relaxed), load.panicked.load(Relaxed));
    println!(
        "Shutdown: {} cancelled, {} abandoned; {broken} drivers broke.",
        report.cancelled,
        report.abandoned.len()
    );
    let is_flat = verdict(&notes);
    println!("{}", if is_flat { "Nothing grows." } else { "SOMETHING GROWS." });
    let is_well = is_flat && broken == 0 && report.abandoned.is_empty();
    if is_well { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
