//! The demo `manager`: a dictionary, a list, a value and a lock that live in one process and are used by
//! others.
//!
//! Owns the command line, the jobs and both halves. `server` is the process in which they live, `client` what
//! the others have of them.

mod client;
mod server;

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::PathBuf;
use std::process::{self, ExitCode};

use filch::process::{Job, JobError, Pool};
use serde::{Deserialize, Serialize};

use crate::story::{self, Halves, Story};
use client::Client;
use server::Manager;

pub(crate) const ABOUT: &str =
    "a dictionary, a list, a value and a lock that processes reach through a Unix socket";

/// Several processes work on a dictionary, a list and a value that live in another one.
///
/// A task owns them, and does one request after the other; each process has a connection to it. The lock of a
/// process that crashes goes to the next in line.
#[derive(Debug, clap::Parser)]
#[command(name = "manager")]
struct Args {
    #[command(flatten)]
    plan: Plan,
    /// How many worker threads the runtime has; 0 for one a CPU
    #[arg(long, default_value_t = 0)]
    workers: usize,
}

/// Who does how much.
#[derive(Clone, Copy, Debug, clap::Args)]
pub struct Plan {
    /// How many processes there are
    #[arg(long, default_value_t = 4, value_parser = clap::value_parser!(u32).range(1..=64))]
    pub processes: u32,
    /// How far each of them counts
    #[arg(long, default_value_t = 250, value_parser = clap::value_parser!(u32).range(1..=100_000))]
    pub times: u32,
}

/// Runs the demo.
pub fn run(arguments: Vec<OsString>) -> ExitCode {
    match crate::parse::<Args>(arguments) {
        Ok(Args { plan, workers }) => story::run(plan, workers),
        Err(code) => code,
    }
}

/// What passes between a process and the manager.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
enum Message {
    Request(Request),
    Answer(Answer),
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
enum Request {
    Get,
    Set(i64),
    Insert(String, i64),
    Dict,
    Append(String),
    List,
    Lock,
    Unlock,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
enum Answer {
    Done,
    Value(i64),
    Dict(BTreeMap<String, i64>),
    List(Vec<String>),
    /// The request makes no sense, and why.
    Refused(String),
}

/// Counts under the manager's lock: it reads the value, and writes one more.
pub(crate) static COUNT: Job<(PathBuf, u32), ()> = Job::new("manager::count", |(path, times)| {
    filch::run(async {
        let client = Client::connect(&path).await.expect("the manager");
        for _ in 0..times {
            client.lock().await.expect("the lock");
            let seen = client.get().await.expect("the value");
            client.set(seen + 1).await.expect("the value");
            client.unlock().await.expect("the lock");
        }
    });
});
/// Says in the dictionary and the list that it was there.
pub(crate) static SIGN: Job<(PathBuf, u32), ()> = Job::new("manager::sign", |(path, me)| {
    filch::run(async {
        let client = Client::connect(&path).await.expect("the manager");
        client.insert(&format!("process {me}"), i64::from(me * me)).await.expect("the dictionary");
        client.append(&format!("process {me}")).await.expect("the list");
    });
});
/// Crashes with the lock in its hands.
pub(crate) static CRASH: Job<PathBuf, ()> = Job::new("manager::crash", |path| {
    filch::run(async {
        let client = Client::connect(&path).await.expect("the manager");
        client.lock().await.expect("the lock");
        process::abort()
    })
});

/// What one half works with.
struct Work {
    pool: Pool,
    manager: Manager,
}

impl Work {
    fn new(plan: &Plan) -> Work {
        let pool = Pool::new(plan.processes as usize).expect("a pool, if `main` begins with `init`");
        Work { pool, manager: Manager::start().expect("a manager") }
    }

    fn each<T>(&self, plan: &Plan, what: impl Fn(u32) -> T) -> Vec<(PathBuf, T)> {
        (0..plan.processes).map(|me| (self.manager.path(), what(me))).collect()
    }
}

impl Halves for Plan {
    fn about(&self) -> String {
        let Plan { processes, times } = self;
        format!(
            "{processes} processes count to {times} each in a manager's value, and sign its dictionary and list."
        )
    }

    fn threads(&self, story: &mut Story) {
        let work = Work::new(self);
        let counted = work.pool.map(&COUNT, work.each(self, |_| self.times)).join();
        let signed = work.pool.map(&SIGN, work.each(self, |me| me)).join();
        let crashed = work.pool.apply(&CRASH, work.manager.path()).join();
        let found = filch::block_on(look(&work.manager));
        tell(story, self, &[counted, signed].concat(), &crashed, &found);
    }

    async fn tasks(self, story: &mut Story) {
        let work = Work::new(&self);
        let counted = work.pool.map(&COUNT, work.each(&self, |_| self.times)).await;
        let signed = work.pool.map(&SIGN, work.each(&self, |me| me)).await;
        let crashed = work.pool.apply(&CRASH, work.manager.path()).await;
        let found = look(&work.manager).await;
        tell(story, &self, &[counted, signed].concat(), &crashed, &found);
    }
}

/// What there is, at the end.
struct Found {
    value: i64,
    dict: BTreeMap<String, i64>,
    list: Vec<String>,
    refused: String,
    rescued: u32,
}

async fn look(manager: &Manager) -> Found {
    let client = Client::connect(&manager.path()).await.expect("the manager");
    let refused = client.unlock().await.expect_err("it is not ours");
    // The one who crashed had it.
    client.lock().await.expect("the lock");
    let value = client.get().await.expect("the value");
    let dict = client.dict().await.expect("the dictionary");
    let list = client.list().await.expect("the list");
    client.unlock().await.expect("the lock");
    Found { value, dict, list, refused: refused.to_string(), rescued: manager.rescued() }
}

fn tell(
    story: &mut Story,
    plan: &Plan,
    jobs: &[Result<(), JobError>],
    crashed: &Result<(), JobError>,
    found: &Found,
) {
    story.part("A value, counted up under the manager's lock in two steps");
    let failed: Vec<_> = jobs.iter().filter_map(|job| job.as_ref().err()).collect();
    story.equal("jobs that failed", failed, Vec::new());
    story.equal("the value", found.value, i64::from(plan.processes) * i64::from(plan.times));
    story.part("A dictionary and a list");
    let signed = (0..plan.processes).map(|me| (format!("process {me}"), i64::from(me * me)));
    story.is("each process is in the dictionary", found.dict == signed.collect());
    let mut list = found.list.clone();
    list.sort();
    story.is("and in the list, once", list.iter().eq(found.dict.keys()));
    story.part("A process that crashes with the lock in its hands");
    let signal = JobError::Crashed { signal: Some(libc::SIGABRT), code: None };
    story.equal("how it ended", crashed.clone(), Err(signal));
    story.equal("how often the lock was taken from somebody who had ended", found.rescued, 1);
    story.equal(
        "what who gives back a lock of somebody else is told",
        &*found.refused,
        "the lock is not yours",
    );
}
