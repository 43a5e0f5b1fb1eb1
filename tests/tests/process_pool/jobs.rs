//! What the tests of process pools have done in other processes, and how they look at processes.
#![allow(dead_code)]

use std::io::Write;
use std::os::fd::RawFd;
use std::path::Path;
use std::time::Duration;

use filch::process::{AnyJob, Job, Pool, Queue, RemoteQueue};
use serde::de::Deserializer;
use serde::{Deserialize, Serialize, Serializer};

pub(crate) static SQUARE: Job<u64, u64> = Job::new("square", |n| n * n);
pub(crate) static POWER: Job<(u64, u32), u64> = Job::new("power", |(base, exponent)| base.pow(exponent));
pub(crate) static PID: Job<(), u32> = Job::new("pid", |()| std::process::id());
/// Raises a signal, if it is given one; its argument.
pub(crate) static RAISE: Job<i32, i32> = Job::new("raise", |signal| {
    if signal != 0 {
        // SAFETY: takes integers. Rust's own handler of faults would take the first one for none.
        unsafe {
            libc::signal(signal, libc::SIG_DFL);
            libc::raise(signal);
        }
    }
    signal
});
/// Forks, and the child ends at once, or comes back as this process does if it is told so.
pub(crate) static FORK: Job<bool, ()> = Job::new("fork", |comes_back| {
    // SAFETY: what the child does next, `_exit` or a `write`, may be done after a fork of a program with threads.
    unsafe {
        let child = libc::fork();
        assert!(child >= 0, "no fork");
        if child == 0 && !comes_back {
            libc::_exit(0);
        }
        if child > 0 && !comes_back {
            libc::waitpid(child, std::ptr::null_mut(), 0);
        }
    }
});
/// Has no more memory than this, and asks for some.
pub(crate) static EXHAUST: Job<u64, usize> = Job::new("exhaust", |limit| {
    let limit = libc::rlimit { rlim_cur: limit, rlim_max: limit };
    // SAFETY: it reads the structure.
    assert_eq!(unsafe { libc::setrlimit(libc::RLIMIT_AS, &limit) }, 0);
    let mut all = Vec::new();
    loop {
        all.push(vec![1_u8; 16 << 20]);
        std::hint::black_box(&all);
    }
});
pub(crate) static EXIT: Job<i32, ()> = Job::new("exit", |code| std::process::exit(code));
pub(crate) static PANIC: Job<String, ()> = Job::new("panic", |text| panic!("{text}"));
pub(crate) static STUCK: Job<(), ()> = Job::new("stuck", |()| park());
/// Says which process it is, and never ends.
pub(crate) static TELL: Job<RemoteQueue<u32>, ()> = Job::new("tell", |queue| {
    queue.put(&std::process::id()).expect("the queue");
    park()
});
/// The same, and starts a program that never ends, whose number it tells, too.
pub(crate) static PARENT: Job<RemoteQueue<u32>, ()> = Job::new("parent", |queue| {
    let mut child = std::process::Command::new("sleep").arg("600").spawn().expect("sleep");
    queue.put(&std::process::id()).expect("the queue");
    queue.put(&child.id()).expect("the queue");
    child.wait().expect("its end");
});
/// Tells its number, and ends when there is something in the second queue.
pub(crate) static WAIT: Job<(u32, RemoteQueue<u32>, RemoteQueue<u32>), u32> =
    Job::new("wait", |(number, began, go)| {
        began.put(&number).expect("the queue");
        go.get().expect("the queue");
        number
    });
pub(crate) static COUNT: Job<Vec<u8>, usize> = Job::new("count", |bytes| bytes.len());
pub(crate) static BYTES: Job<usize, Vec<u8>> = Job::new("bytes", |count| vec![7; count]);
pub(crate) static PRINT: Job<String, ()> = Job::new("print", |text| {
    print!("{text}");
});
/// Sends these bytes to the pool, out of turn, and never ends if it is told so.
pub(crate) static HOSTILE: Job<(Vec<u8>, bool), ()> = Job::new("hostile", |(bytes, stay)| {
    let fd = sockets().into_iter().min().expect("the connection");
    // SAFETY: `bytes` lives to the end of the call.
    let sent = unsafe { libc::write(fd, bytes.as_ptr().cast(), bytes.len()) };
    assert_eq!(sent, bytes.len() as isize);
    if stay {
        park()
    }
    std::process::exit(9)
});
/// How many sockets it has, and what else beyond input and outputs.
pub(crate) static DESCRIPTORS: Job<(), (usize, Vec<String>)> = Job::new("descriptors", |()| {
    let others = open().into_iter().filter(|(fd, link)| *fd > 2 && !link.starts_with("socket:"));
    // The folder that was just read is among them.
    let others = others.filter(|(_, link)| !link.ends_with("/fd")).map(|(_, link)| link);
    (sockets().len(), others.collect())
});
/// A pool in a process of a pool.
pub(crate) static NESTED: Job<u64, u64> = Job::new("nested", |n| {
    filch::run(async move {
        let pool = Pool::new(1).expect("a pool in a worker");
        pool.apply(&SQUARE, n).await.expect("a square")
    })
});
/// What this program prints when it is started by a worker, with this argument.
pub(crate) static RUN_SELF: Job<String, String> = Job::new("run_self", |argument| {
    let program = std::env::current_exe().expect("this program");
    let output = std::process::Command::new(program).args(["--case", &argument]).output().expect("it runs");
    String::from_utf8_lossy(&output.stdout).into_owned()
});
pub(crate) static ODD: Job<Odd, ()> = Job::new("odd", |_| ());
pub(crate) static SECRET: Job<(), Secret> = Job::new("secret", |()| Secret);

pub(crate) static JOBS: [&'static dyn AnyJob; 21] = [
    &SQUARE,
    &POWER,
    &PID,
    &RAISE,
    &FORK,
    &EXHAUST,
    &EXIT,
    &PANIC,
    &STUCK,
    &TELL,
    &PARENT,
    &WAIT,
    &COUNT,
    &BYTES,
    &PRINT,
    &HOSTILE,
    &DESCRIPTORS,
    &NESTED,
    &RUN_SELF,
    &ODD,
    &SECRET,
];

/// Is written as a number, and read as a truth value.
#[derive(Debug)]
pub(crate) struct Odd;

impl Serialize for Odd {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        9_u8.serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Odd {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Odd, D::Error> {
        bool::deserialize(deserializer).map(|_| Odd)
    }
}

/// Cannot be written.
#[derive(Debug, PartialEq)]
pub(crate) struct Secret;

impl Serialize for Secret {
    fn serialize<S: Serializer>(&self, _: S) -> Result<S::Ok, S::Error> {
        Err(serde::ser::Error::custom("a secret"))
    }
}

impl<'de> Deserialize<'de> for Secret {
    fn deserialize<D: Deserializer<'de>>(_: D) -> Result<Secret, D::Error> {
        Ok(Secret)
    }
}

pub(crate) fn park() -> ! {
    loop {
        std::thread::park();
    }
}

/// What is open in this process.
pub(crate) fn open() -> Vec<(RawFd, String)> {
    let entries = std::fs::read_dir("/proc/self/fd").expect("/proc");
    let named = entries.filter_map(|entry| {
        let path = entry.ok()?.path();
        let link = std::fs::read_link(&path).ok()?;
        Some((path.file_name()?.to_str()?.parse().ok()?, link.display().to_string()))
    });
    named.collect()
}

pub(crate) fn sockets() -> Vec<RawFd> {
    open().into_iter().filter(|(fd, link)| *fd > 2 && link.starts_with("socket:")).map(|(fd, _)| fd).collect()
}

/// Whether there is no such process. One that nobody but the system's first process can wait for counts as
/// gone.
pub(crate) fn is_gone(pid: u32) -> bool {
    match std::fs::read_to_string(format!("/proc/{pid}/stat")) {
        Ok(stat) => parent_and_state(&stat).is_some_and(|(parent, state)| state == 'Z' && parent != this()),
        Err(_) => true,
    }
}

fn this() -> u32 {
    std::process::id()
}

fn parent_and_state(stat: &str) -> Option<(u32, char)> {
    let mut words = stat.rsplit_once(')')?.1.split_whitespace();
    let state = words.next()?.chars().next()?;
    Some((words.next()?.parse().ok()?, state))
}

/// The children of this process, zombies too.
pub(crate) fn children() -> Vec<u32> {
    let processes = std::fs::read_dir("/proc").expect("/proc").filter_map(|entry| {
        let path = entry.ok()?.path();
        let pid = path.file_name()?.to_str()?.parse().ok()?;
        let (parent, _) = parent_and_state(&std::fs::read_to_string(Path::new(&path).join("stat")).ok()?)?;
        (parent == this()).then_some(pid)
    });
    processes.collect()
}

/// Long enough for whatever is not stuck.
pub(crate) const LONG: Duration = Duration::from_secs(25);

pub(crate) fn numbers() -> (Queue<u32>, RemoteQueue<u32>) {
    let queue = Queue::new(0).expect("a queue");
    let remote = queue.remote();
    (queue, remote)
}

/// This program again, for a case of its own.
pub(crate) fn case(name: &str) -> std::process::Command {
    let mut command = std::process::Command::new(std::env::current_exe().expect("this program"));
    command.args(["--case", name]);
    command
}

/// The case that this process is for.
pub(crate) fn this_case() -> Option<String> {
    let arguments: Vec<String> = std::env::args().collect();
    let at = arguments.iter().position(|argument| argument == "--case")?;
    arguments.get(at + 1).cloned()
}

/// Says something where a test reads it.
pub(crate) fn say(text: impl std::fmt::Display) {
    println!("{text}");
    std::io::stdout().flush().expect("stdout");
}
