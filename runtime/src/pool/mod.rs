//! Threads for work: Python's `concurrent.futures`, for threads and tasks.
//!
//! | to …                                  | use                                                       |
//! |---------------------------------------|-----------------------------------------------------------|
//! | run a closure on another thread       | [`ThreadPool::submit`]: a [`Job`], to join or to `.await` |
//! | run one for each item, in order       | [`ThreadPool::map`]                                       |
//! | … in the order in which they are done | [`ThreadPool::map_unordered`], [`as_completed`]           |
//! | split a computation in two            | [`ThreadPool::join`]                                      |
//! | … a slice in many                     | [`ThreadPool::map_chunks`]                                |
//! | have work done in the background      | [`TaskQueue`]                                             |
//! | run closures and futures, watched     | [`WorkerPool`]                                            |
//! | have a thread that answers messages   | [`Worker`]                                                |
//! | keep things that are dear to make     | [`Pool`]                                                  |
//!
//! A [`ThreadPool`] needs no runtime: it works in plain threads, in tasks of ours, and in those of other
//! runtimes. For calls that block, in a task of ours, there is [`spawn_blocking`](crate::spawn_blocking) as
//! well, which starts as many threads as it needs; a pool has so many threads and no more, which is what work
//! for the processor wants.
//!
//! # Examples
//! ```
//! use std::time::Duration;
//!
//! use filch::pool::ThreadPool;
//!
//! # fn main() -> std::io::Result<()> {
//! let pool = ThreadPool::new(4)?;
//!
//! // On a thread ...
//! let job = pool.submit(|| (1..=20).product::<u64>());
//! assert_eq!(job.join().unwrap(), 2_432_902_008_176_640_000);
//! // ... and in a task.
//! let answer = filch::run(async { pool.submit(|| 6 * 7).await });
//! assert_eq!(answer.unwrap(), 42);
//!
//! let squares: Result<Vec<_>, _> = pool.map(1..=4, |n| n * n).collect();
//! assert_eq!(squares.unwrap(), [1, 4, 9, 16]);
//!
//! // A panic stays with its job.
//! let error = pool.submit(|| -> u8 { panic!("no luck") }).join().unwrap_err();
//! assert!(error.to_string().contains("no luck"));
//!
//! assert!(pool.shutdown(Duration::from_secs(10)).is_complete());
//! # Ok(())
//! # }
//! ```
#![deny(unsafe_code)] // Not `forbid`: that would reach `fork`.

// Layer 3. `job` is one job from submit to result, `crew` the threads and their end, `thread_pool` hands the
// one to the other; `map`, `fork` and `task_queue` are made of these. The queue between them is a channel of
// `filch-channels`. `workers` has the same jobs, and futures, under a supervisor; `worker` is a thread of its own.
#[cfg(not(filch_loom))]
mod crew;
#[cfg(not(filch_loom))]
mod fork;
mod job;
#[cfg(not(filch_loom))]
mod map;
#[cfg(not(filch_loom))]
mod task_queue;
#[cfg(not(filch_loom))]
mod thread_pool;
#[cfg(not(filch_loom))]
mod worker;
#[cfg(not(filch_loom))]
mod workers;

#[cfg(not(filch_loom))]
pub use crew::{PoolReport, Unfinished};
#[cfg(not(filch_loom))]
pub use filch_channels::sync::Pool;
pub use job::{CancelOutcome, Job, JobError};
#[cfg(not(filch_loom))]
pub use map::{Completed, Map, MapUnordered, as_completed};
#[cfg(not(filch_loom))]
pub use task_queue::{TaskFailure, TaskQueue, TaskQueueBuilder, TaskQueueClosed, TaskQueueReport};
#[cfg(not(filch_loom))]
pub use thread_pool::{Builder, ThreadPool};
#[cfg(not(filch_loom))]
pub use worker::{Worker, WorkerBuilder, WorkerError};
#[cfg(not(filch_loom))]
pub use workers::{
    Death, DeathCause, Health, JobContext, Priority, RunningJob, Submission, SubmitError, WorkerHealth,
    WorkerKind, WorkerPool, WorkerPoolBuilder, WorkerPoolReport, WorkerState,
};
