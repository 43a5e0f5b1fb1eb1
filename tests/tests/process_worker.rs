//! The promise: a worker process is one only if it is meant to be, and ends when nobody needs it; programs
//! that forget `init`, crash at their start, or talk nonsense, get a clear error and no endless row of
//! processes.
//!
//! Starts itself again: as a worker, and, with `--case`, as a host whose pool is in trouble.
#![allow(missing_docs)]

#[path = "process_pool/jobs.rs"]
mod jobs;

use std::io::{BufRead, BufReader, Read, Write};
use std::os::fd::AsRawFd;
use std::os::unix::net::UnixStream;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::process::{Child, Command, ExitCode, ExitStatus, Stdio};
use std::time::Duration;

use filch::process::{self, JobError, Pool};
use filch_tests::{harness, until};
use jobs::*;

/// What a worker of this program does before `init`, if the host was told to make it do so.
const TROUBLE: &str = "FILCH_TEST_TROUBLE";

fn main() -> ExitCode {
    let case = this_case();
    let trouble = std::env::var(TROUBLE).ok().filter(|_| std::env::args().len() == 1);
    match trouble.as_deref() {
        Some("no init") => park(),
        Some("exit") => return ExitCode::from(5),
        Some("crash") => {
            count_start();
            std::process::abort();
        }
        Some("few jobs") => process::init(&[&SQUARE]),
        Some("hello and end") => hello_and_end(),
        _ if case.as_deref() == Some("forgotten") => {}
        _ => process::init(&JOBS),
    }
    match case {
        Some(case) => {
            CASES.iter().find(|(name, _)| *name == case).expect("a case").1();
            ExitCode::SUCCESS
        }
        None => harness(TESTS),
    }
}

const CASES: &[(&str, filch_tests::Test)] = &[
    ("forgotten", || {
        let error = filch::run(async { Pool::new(1).map(drop) }).unwrap_err();
        say(error);
    }),
    ("one job", || {
        filch::run(async {
            let limit = Duration::from_millis(200);
            let pool = Pool::builder().workers(2).start_timeout(limit).build().expect("a pool");
            let squares = pool.map(&SQUARE, 0..10).await;
            assert!(squares.iter().all(|square| *square == squares[0]), "{squares:?}");
            say(squares[0].clone().unwrap_err());
            // It has given up, and starts no more.
            assert_eq!(pool.apply(&SQUARE, 1).await, Err(squares[0].clone().unwrap_err()));
        });
    }),
    ("sigchld ignored", || {
        // SAFETY: no handler is installed, and no other thread is there.
        unsafe { libc::signal(libc::SIGCHLD, libc::SIG_IGN) };
        filch::run(async {
            let pool = Pool::new(2).expect("a pool");
            assert!(pool.map(&SQUARE, 0..20).await.iter().all(Result::is_ok));
            let crashed = pool.apply(&RAISE, libc::SIGKILL).await;
            assert_eq!(crashed, Err(JobError::Crashed { signal: None, code: None }));
            let limit = Duration::from_millis(1);
            assert_eq!(pool.apply(&STUCK, ()).timeout(limit).await, Err(JobError::TimedOut { limit }));
            assert_eq!(pool.apply(&SQUARE, 2).await, Ok(4));
            pool.shutdown(LONG).await;
            until(|| children().is_empty());
        });
    }),
    ("killed host", || {
        filch::run(async {
            let pool = Pool::new(2).expect("a pool");
            let idle = pool.apply(&PID, ()).await.unwrap();
            let (queue, remote) = numbers();
            let _calls = [pool.apply(&PARENT, remote.clone()).start(), pool.apply(&TELL, remote).start()];
            let mut pids = vec![idle];
            for _ in 0..3 {
                pids.push(queue.get().await.unwrap());
            }
            pids.iter().for_each(say);
            park()
        });
    }),
    ("print", || {
        filch::run(async {
            let pool = Pool::new(1).expect("a pool");
            pool.apply(&PRINT, "from the job\n".to_owned()).await.unwrap();
            pool.apply(&PRINT, "no line".to_owned()).await.unwrap();
            say(", from the host");
        });
    }),
    ("hello", || say("hello")),
    ("init twice", || process::init(&JOBS)),
];

filch_tests::tests! {
    a_host_without_init_is_told,
    a_program_whose_workers_do_not_call_init_is_told,
    a_program_that_crashes_at_its_start_is_not_started_for_ever,
    a_host_that_ignores_sigchld_has_its_jobs_done,
    workers_end_with_a_host_that_is_killed,
    what_jobs_print_goes_where_the_host_prints,
    a_program_that_a_worker_starts_is_no_worker,
    a_worker_may_have_a_pool,
    init_is_called_once_with_names_that_differ,
    a_worker_that_talks_nonsense_is_killed,
    a_worker_that_is_killed_while_idle_is_replaced,
    a_worker_exits_when_the_connection_ends,
    a_worker_in_a_job_dies_with_the_connection,
    a_worker_refuses_nonsense,
    what_is_said_to_a_worker_is_checked,
}

/// Greets as a worker does, and takes no job.
fn hello_and_end() -> ! {
    let said = std::env::var("FILCH_POOL_WORKER").expect("a worker");
    let fd: i32 = said.split(' ').nth(1).expect("a descriptor").parse().expect("a number");
    let mut names = vec![JOBS.len() as u8];
    for job in JOBS {
        let text = format!("{job:?}");
        let name = text.split('"').nth(1).expect("a name");
        names.push(name.len() as u8);
        names.extend(name.bytes());
    }
    let hello = frame(1, 1, 0, &names);
    // SAFETY: `hello` lives to the end of the call, and both take a descriptor that this process was given.
    let sent = unsafe {
        libc::shutdown(fd, libc::SHUT_RD);
        libc::write(fd, hello.as_ptr().cast(), hello.len())
    };
    assert_eq!(sent, hello.len() as isize);
    std::process::exit(6)
}

fn output(command: &mut Command) -> (ExitStatus, String, String) {
    let output = command.output().expect("it runs");
    let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
    (output.status, text(output.stdout), text(output.stderr))
}

#[track_caller]
fn succeeds(command: &mut Command) -> String {
    let (status, stdout, stderr) = output(command);
    assert!(status.success(), "{status}\n{stdout}\n{stderr}");
    stdout
}

fn count_start() {
    let path = std::env::var("FILCH_TEST_STARTS").expect("where to count");
    let mut file = std::fs::OpenOptions::new().append(true).create(true).open(path).expect("the count");
    file.write_all(b".").expect("the count");
}

fn a_host_without_init_is_told() {
    let said = succeeds(&mut case("forgotten"));
    assert!(said.contains("call filch::process::init(&[...]) first thing in main"), "{said}");
}

fn a_program_whose_workers_do_not_call_init_is_told() {
    for (trouble, texts) in [
        (
            "no init",
            ["did not announce itself as a worker within 200ms", "filch::process::init(&[...]) first thing"],
        ),
        ("exit", ["ended before it had announced itself", "(exit code 5)"]),
        ("few jobs", ["its jobs are [\"square\"]", "the same list"]),
        ("hello and end", ["ends before it takes a job", "(exit code 6)"]),
    ] {
        let said = succeeds(case("one job").env(TROUBLE, trouble));
        for text in texts {
            assert!(
                said.contains("no worker process can be started") && said.contains(text),
                "{trouble}: {said}"
            );
        }
    }
}

fn a_program_that_crashes_at_its_start_is_not_started_for_ever() {
    let count = std::env::temp_dir().join(format!("filch-starts-{}", std::process::id()));
    let said = succeeds(case("one job").env(TROUBLE, "crash").env("FILCH_TEST_STARTS", &count));
    assert!(said.contains("(signal 6)"), "{said}");
    let starts = std::fs::read(&count).expect("the count").len();
    std::fs::remove_file(&count).expect("the count");
    // Three, and one for each of the two; the other may be at it meanwhile.
    assert!((4..=6).contains(&starts), "{starts} for 11 jobs");
}

fn a_host_that_ignores_sigchld_has_its_jobs_done() {
    succeeds(&mut case("sigchld ignored"));
}

fn workers_end_with_a_host_that_is_killed() {
    let mut host = case("killed host").stdout(Stdio::piped()).spawn().expect("the host");
    let mut lines = BufReader::new(host.stdout.take().expect("piped")).lines();
    let pids: Vec<u32> =
        (0..4).map(|_| lines.next().expect("a line").expect("text").parse().unwrap()).collect();
    host.kill().expect("a kill");
    host.wait().expect("its end");
    until(|| pids.iter().all(|pid| is_gone(*pid)));
}

fn what_jobs_print_goes_where_the_host_prints() {
    assert_eq!(succeeds(&mut case("print")), "from the job\nno line, from the host\n");
}

fn a_program_that_a_worker_starts_is_no_worker() {
    filch::run(async {
        let pool = Pool::new(1).expect("a pool");
        assert_eq!(pool.apply(&RUN_SELF, "hello".to_owned()).await, Ok("hello\n".to_owned()));
    });
}

fn a_worker_may_have_a_pool() {
    filch::run(async {
        let pool = Pool::new(1).expect("a pool");
        assert_eq!(pool.apply(&NESTED, 9).await, Ok(81));
    });
}

fn init_is_called_once_with_names_that_differ() {
    let (status, _, stderr) = output(&mut case("init twice"));
    assert!(!status.success() && stderr.contains("called a second time"), "{stderr}");
    static SAME: filch::process::Job<(), ()> = filch::process::Job::new("same", |()| ());
    static ALSO: filch::process::Job<u8, u8> = filch::process::Job::new("same", |n| n);
    let text = filch_tests::panics(|| process::init(&[&SAME, &ALSO]));
    assert!(text.contains("\"same\""), "{text}");
}

/// A frame with a head as it should be.
fn frame(tag: u8, id: u64, job: u32, body: &[u8]) -> Vec<u8> {
    let mut bytes = (13 + body.len() as u32).to_le_bytes().to_vec();
    bytes.push(tag);
    bytes.extend(id.to_le_bytes());
    bytes.extend(job.to_le_bytes());
    bytes.extend(body);
    bytes
}

fn a_worker_that_talks_nonsense_is_killed() {
    filch::run(async {
        let pool = Pool::builder().workers(1).frame_limit(4096).build().expect("a pool");
        for (bytes, text) in [
            (u32::MAX.to_le_bytes().to_vec(), "4096 are allowed"),
            (5000_u32.to_le_bytes().to_vec(), "4096 are allowed"),
            (7_u32.to_le_bytes().to_vec(), "fewer than its head"),
            (frame(3, 1 << 40, 0, &[]), "an answer to job 1099511627776"),
        ] {
            let pid = pool.apply(&PID, ()).await.unwrap();
            let error = pool.apply(&HOSTILE, (bytes, true)).await.unwrap_err();
            assert!(matches!(&error, JobError::Protocol { reason } if reason.contains(text)), "{error}");
            assert!(is_gone(pid));
        }
        // Ids are given in order: the first job of a new pool has 0.
        for (tag, text) in [(77, "unknown kind (77)"), (4, "Hit the end")] {
            let pool = Pool::new(1).expect("a pool");
            let error = pool.apply(&HOSTILE, (frame(tag, 0, 0, &[]), true)).await.unwrap_err();
            assert!(error.to_string().contains(text), "{error}");
        }
        // An answer of another type, and one that is cut by the end of the process.
        let pool = Pool::new(1).expect("a pool");
        let error = pool.apply(&HOSTILE, (frame(3, 0, 0, &[1, 2]), true)).await.unwrap_err();
        assert!(matches!(&error, JobError::Output { reason } if reason.contains("left over")), "{error}");
        // As far as anybody can tell, that one is ready for another job.
        let pool = Pool::new(1).expect("a pool");
        let cut = frame(3, 0, 0, &[0; 100])[..50].to_vec();
        let error = pool.apply(&HOSTILE, (cut, false)).await;
        assert_eq!(error, Err(JobError::Crashed { signal: None, code: Some(9) }));
        assert_eq!(pool.apply(&SQUARE, 2).await, Ok(4));
    });
}

fn a_worker_that_is_killed_while_idle_is_replaced() {
    filch::run(async {
        let pool = Pool::new(1).expect("a pool");
        let pid = pool.apply(&PID, ()).await.unwrap();
        // SAFETY: takes integers; the process is a child that was not waited for.
        unsafe { libc::kill(pid as i32, libc::SIGKILL) };
        filch_tests::until_yielding(|| pool.stats().processes == 0).await;
        assert!(is_gone(pid), "and no zombie");
        let stats = pool.stats();
        assert_eq!((pool.apply(&SQUARE, 3).await, stats.crashed), (Ok(9), 0));
    });
}

/// A worker whose host is this test, and our end of its connection.
fn raw_worker(protocol: u32, limit: usize) -> (Child, UnixStream) {
    let (ours, theirs) = UnixStream::pair().expect("a pair");
    let (fd, host) = (theirs.as_raw_fd(), std::process::id());
    let mut command = Command::new(std::env::current_exe().expect("this program"));
    command.env("FILCH_POOL_WORKER", format!("{protocol} {fd} {host} {limit}"));
    command.stdin(Stdio::null()).stderr(Stdio::piped()).process_group(0);
    // SAFETY: `fcntl` may be called between fork and exec.
    unsafe {
        command.pre_exec(move || {
            libc::fcntl(fd, libc::F_SETFD, 0);
            Ok(())
        });
    }
    (command.spawn().expect("a worker"), ours)
}

/// Reads the worker's greeting.
fn greeted(ours: &mut UnixStream) {
    let mut length = [0; 4];
    ours.read_exact(&mut length).expect("a greeting");
    let mut hello = vec![0; u32::from_le_bytes(length) as usize];
    ours.read_exact(&mut hello).expect("a greeting");
    assert_eq!(hello[0], 1);
    assert!(hello.windows(6).any(|bytes| bytes == b"square"));
}

fn ended(mut worker: Child) -> (ExitStatus, String) {
    let mut stderr = String::new();
    worker.stderr.take().expect("piped").read_to_string(&mut stderr).expect("text");
    (worker.wait().expect("its end"), stderr)
}

fn a_worker_exits_when_the_connection_ends() {
    let (worker, ours) = raw_worker(1, 4096);
    drop(ours);
    assert!(ended(worker).0.success(), "before it has said anything");
    let (worker, mut ours) = raw_worker(1, 4096);
    greeted(&mut ours);
    drop(ours);
    assert!(ended(worker).0.success());
    let (worker, mut ours) = raw_worker(1, 4096);
    greeted(&mut ours);
    ours.write_all(&frame(2, 0, 0, &[9])[..12]).expect("half a call");
    drop(ours);
    assert!(ended(worker).0.success(), "half a call is none");
}

fn a_worker_in_a_job_dies_with_the_connection() {
    let (worker, mut ours) = raw_worker(1, 4096);
    greeted(&mut ours);
    let stuck = JOBS.iter().position(|job| format!("{job:?}").contains("\"stuck\"")).expect("the job");
    ours.write_all(&frame(2, 0, 0, &[9])).expect("a call");
    let mut answer = [0; 18];
    ours.read_exact(&mut answer).expect("an answer");
    assert_eq!((answer[4], answer[17]), (3, 81));
    ours.write_all(&frame(2, 1, stuck as u32, &[])).expect("a call");
    // Whether it has begun when the connection ends, or not: it does not stay.
    drop(ours);
    let (status, _) = ended(worker);
    assert!(status.signal() == Some(libc::SIGKILL) || status.success(), "{status}");
}

fn a_worker_refuses_nonsense() {
    for (bytes, text) in [
        (u32::MAX.to_le_bytes().to_vec(), "4096 are allowed"),
        (0_u32.to_le_bytes().to_vec(), "fewer than its head"),
        (frame(99, 0, 0, &[9]), "no call (tag 99, job 0)"),
        (frame(2, 0, 1000, &[9]), "no call (tag 2, job 1000)"),
    ] {
        let (worker, mut ours) = raw_worker(1, 4096);
        greeted(&mut ours);
        ours.write_all(&bytes).expect("nonsense");
        let (status, stderr) = ended(worker);
        assert_eq!(status.code(), Some(70), "{stderr}");
        assert!(stderr.starts_with("filch: worker process") && stderr.contains(text), "{stderr}");
    }
}

fn what_is_said_to_a_worker_is_checked() {
    let (worker, _ours) = raw_worker(2, 4096);
    let (status, stderr) = ended(worker);
    assert!(status.code() == Some(70) && stderr.contains("another version"), "{stderr}");
    // Left over from somebody else: no such descriptor, no socket, no number.
    for said in ["1 900 1 4096", "1 1 1 4096", "1 x", "", "1 -1 -1 -1"] {
        let said = succeeds(case("hello").env("FILCH_POOL_WORKER", said));
        assert_eq!(said, "hello\n");
    }
}
