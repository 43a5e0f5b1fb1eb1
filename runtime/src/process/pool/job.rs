//! Layer 3, process. A function that other processes can be asked to run: `Job`, and the table of all.
//!
//! Owns the table, which is the same in parent and children because it is made by the same lines of `main`. A
//! job is named there by its place. Called by `pool` to find it, by `worker` to run it.
#![forbid(unsafe_code)]

use std::any::TypeId;
use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};

use serde::Serialize;
use serde::de::DeserializeOwned;

use super::error::JobError;
use super::frame::{self, tag};
use crate::shim::OnceLock;
use crate::util::wake;

/// A function that a [`Pool`](super::Pool) can run in another process, with the name it goes by there.
///
/// Make it a `static`, and give it to [`init`](super::init). Several arguments are a tuple.
///
/// # Examples
/// ```
/// use filch::process::Job;
///
/// static SQUARE: Job<u64, u64> = Job::new("square", |n| n * n);
/// static POWER: Job<(u64, u32), u64> = Job::new("power", |(base, exponent)| base.pow(exponent));
///
/// assert_eq!(SQUARE.call(7), 49); // Here, in this process.
/// assert_eq!(POWER.call((2, 10)), 1024);
/// ```
pub struct Job<A, R> {
    name: &'static str,
    run: fn(A) -> R,
}

impl<A, R> Job<A, R> {
    /// A job of that name, which must be the only one.
    #[must_use]
    pub const fn new(name: &'static str, run: fn(A) -> R) -> Job<A, R> {
        Job { name, run }
    }

    /// Its name.
    #[must_use]
    pub const fn name(&self) -> &'static str {
        self.name
    }

    /// Calls the function, in this process.
    pub fn call(&self, argument: A) -> R {
        (self.run)(argument)
    }
}

impl<A, R> fmt::Debug for Job<A, R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Job").field("name", &self.name).finish_non_exhaustive()
    }
}

/// A [`Job`] of any type. Implemented here only.
pub trait AnyJob: sealed::Run + Sync {}

impl<J: sealed::Run + Sync> AnyJob for J {}

impl fmt::Debug for dyn AnyJob {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Job({:?})", self.name())
    }
}

pub(super) mod sealed {
    use std::any::TypeId;

    pub trait Run {
        fn name(&self) -> &'static str;
        fn types(&self) -> [TypeId; 2];
        /// From an argument to the frame of the answer.
        fn run(&self, id: u64, limit: usize, argument: &[u8]) -> Vec<u8>;
    }
}

impl<A: DeserializeOwned + 'static, R: Serialize + 'static> sealed::Run for Job<A, R> {
    fn name(&self) -> &'static str {
        self.name
    }

    fn types(&self) -> [TypeId; 2] {
        [TypeId::of::<A>(), TypeId::of::<R>()]
    }

    fn run(&self, id: u64, limit: usize, argument: &[u8]) -> Vec<u8> {
        let panicked = |payload: Box<dyn std::any::Any + Send>| {
            let answer = frame::text(tag::PANICKED, id, wake::message(&*payload));
            wake::drop_payload(payload);
            answer
        };
        let run = || {
            let argument = match frame::value(argument) {
                Ok(argument) => argument,
                Err(reason) => return frame::text(tag::UNREADABLE, id, &reason),
            };
            let output = (self.run)(argument);
            frame::frame(tag::RETURNED, id, 0, limit, &output)
                .unwrap_or_else(|error| frame::text(tag::UNWRITABLE, id, &error.to_string()))
        };
        catch_unwind(AssertUnwindSafe(run)).unwrap_or_else(panicked)
    }
}

static TABLE: OnceLock<Vec<&'static dyn AnyJob>> = OnceLock::new();

/// Fills the table, once.
pub(super) fn register(jobs: &[&'static dyn AnyJob]) {
    for (at, job) in jobs.iter().enumerate() {
        let name = job.name();
        assert!(
            jobs[..at].iter().all(|other| other.name() != name),
            "two jobs that were given to filch::process::init are called {name:?}; names must differ"
        );
    }
    assert!(TABLE.set(jobs.to_vec()).is_ok(), "filch::process::init was called a second time; once is right");
}

/// The table; `None` before `init`.
pub(super) fn table() -> Option<&'static [&'static dyn AnyJob]> {
    TABLE.get().map(Vec::as_slice)
}

/// The names in the table, in order.
pub(super) fn names() -> Vec<&'static str> {
    table().unwrap_or_default().iter().map(|job| job.name()).collect()
}

/// A job's place in the table.
pub(super) fn place<A, R>(job: &Job<A, R>) -> Result<u32, JobError>
where
    Job<A, R>: sealed::Run,
{
    let name = job.name;
    let table = table().unwrap_or_default();
    let Some(at) = table.iter().position(|other| other.name() == name) else {
        let reason = format!(
            "the job {name:?} is not registered: add it to the list that `main` gives to filch::process::init"
        );
        return Err(JobError::Unregistered { reason });
    };
    if table[at].types() != sealed::Run::types(job) {
        let reason =
            format!("the job {name:?} that was given to filch::process::init has other types than this one");
        return Err(JobError::Unregistered { reason });
    }
    Ok(u32::try_from(at).expect("fewer jobs than that"))
}
