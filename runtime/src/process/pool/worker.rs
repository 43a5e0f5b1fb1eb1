//! Layer 3, process. The child's side: `init`, and the loop of a worker process.
//!
//! Owns two threads. The main one runs jobs, one after another. The other reads the connection, and so learns
//! at once that the parent is gone, or has no more use for this process: in the middle of a job it then kills
//! the process and what the job has started, as nobody is left to do so; between two it lets the main thread
//! exit. (The system's own way, `PR_SET_PDEATHSIG`, fires when the *thread* that forked ends, and a runtime's
//! threads come and go.)
#![forbid(unsafe_code)]

use std::env;
use std::io::{self, Read, Write};
use std::os::unix::net::UnixStream;
use std::process;

use filch_channels::channel::{Receiver, Sender, unbounded};

use super::frame::{self, LIMIT_MOST, Message, Reader, tag};
use super::inherit;
use super::job::{self, AnyJob};
use crate::process::pidfd;
use crate::shim::{Arc, Mutex, thread};

/// Which version of the protocol a program speaks.
pub(super) const PROTOCOL: u32 = 1;
/// Protocol, descriptor, process of the parent, limit of a frame.
pub(super) const VARIABLE: &str = "FILCH_POOL_WORKER";

/// Says what other processes of this program can be asked to run. Call it first thing in `main`.
///
/// A [`Pool`](super::Pool) starts the program again, as its workers. In such a process this function does not
/// return: it runs jobs until the pool has no more for it. In all others it returns at once. What stands
/// before it in `main` runs in workers too. A worker is given no arguments and no input, and inherits the
/// rest.
///
/// # Panics
/// When it is called a second time, and when two jobs have the same name.
///
/// # Examples
/// ```standalone_crate
/// use filch::process::{self, Job, Pool};
///
/// static SQUARE: Job<u64, u64> = Job::new("square", |n| n * n);
///
/// fn main() {
///     process::init(&[&SQUARE]);
///     let squared = filch::run(async {
///         let pool = Pool::new(2).expect("a pool");
///         pool.apply(&SQUARE, 12).await
///     });
///     assert_eq!(squared, Ok(144));
/// }
/// ```
pub fn init(jobs: &[&'static dyn AnyJob]) {
    job::register(jobs);
    if let Some((connection, limit)) = inherited() {
        serve(connection, limit);
    }
}

/// What the parent has left for us; `None`: this is no worker. The variable may also be inherited from a
/// worker that has started this program as any other, so what it says is checked.
fn inherited() -> Option<(UnixStream, usize)> {
    let said = env::var(VARIABLE).ok()?;
    let numbers: Vec<u64> = said.split(' ').map(str::parse).collect::<Result<_, _>>().ok()?;
    let &[protocol, fd, parent, limit] = &numbers[..] else { return None };
    let connection = inherit::claim(i32::try_from(fd).ok()?, i32::try_from(parent).ok()?)?;
    if protocol != u64::from(PROTOCOL) {
        give_up(&format!("it was started by another version of filch (protocol {protocol}, not {PROTOCOL})"));
    }
    Some((connection, usize::try_from(limit).ok()?.min(LIMIT_MOST)))
}

fn give_up(why: &str) -> ! {
    eprintln!("filch: worker process {} ends: {why}", process::id());
    process::exit(70)
}

#[derive(Default)]
struct Phase {
    in_job: bool,
    /// The parent has closed the connection.
    over: bool,
}

fn serve(mut connection: UnixStream, limit: usize) -> ! {
    let hello = frame::frame(tag::HELLO, u64::from(PROTOCOL), 0, LIMIT_MOST, &job::names());
    let hello =
        hello.unwrap_or_else(|error| give_up(&format!("the names of its jobs cannot be sent: {error}")));
    if connection.write_all(&hello).is_err() {
        process::exit(0);
    }
    let phase = Arc::new(Mutex::new(Phase::default()));
    // The parent bounds how many calls are under way.
    let (sender, calls) = unbounded();
    let reading = connection.try_clone().and_then(|connection| {
        let phase = phase.clone();
        let read = move || read(connection, limit, &sender, &phase);
        thread::Builder::new().name("filch-worker".to_owned()).spawn(read)
    });
    if let Err(error) = reading {
        give_up(&format!("it cannot start its second thread: {error}"));
    }
    run(connection, limit, &calls, &phase);
    // With its handlers and its buffers, as a program that has come to its end.
    process::exit(0)
}

fn run(mut connection: UnixStream, limit: usize, calls: &Receiver<Message>, phase: &Mutex<Phase>) {
    while let Ok(call) = calls.recv_blocking() {
        {
            let mut phase = phase.lock();
            if phase.over {
                return;
            }
            phase.in_job = true;
        }
        let answer = answer(&call, limit);
        // What the job has printed is out before its result.
        let _ = io::stdout().flush();
        // Before the answer: once the parent has it, it may close the connection, and that is no reason to
        // kill then.
        phase.lock().in_job = false;
        if connection.write_all(&answer).is_err() {
            return;
        }
    }
}

fn answer(call: &Message, limit: usize) -> Vec<u8> {
    match job::table().unwrap_or_default().get(call.job as usize) {
        Some(job) if call.tag == tag::CALL => job.run(call.id, limit, &call.body),
        _ => give_up(&format!("it was sent a frame that is no call (tag {}, job {})", call.tag, call.job)),
    }
}

/// Reads until there is no more.
fn read(mut connection: UnixStream, limit: usize, calls: &Sender<Message>, phase: &Mutex<Phase>) {
    let mut reader = Reader::new(limit);
    loop {
        match reader.take() {
            Ok(Some(call)) => {
                // The main thread is the receiver, and exits the process when it ends.
                let _ = calls.try_send(call);
                continue;
            }
            Ok(None) => {}
            Err(malformed) => give_up(&malformed.0),
        }
        match connection.read(reader.room()) {
            Ok(0) => break,
            Ok(count) => reader.filled(count),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(_) => break,
        }
    }
    let mut phase = phase.lock();
    if phase.in_job {
        // We lead our group. Nothing here returns.
        let _ = pidfd::kill(-(process::id() as i32), libc::SIGKILL);
        let _ = pidfd::kill(process::id() as i32, libc::SIGKILL);
    }
    phase.over = true;
    // `calls` is dropped, and so the main thread told, when this returns.
}
