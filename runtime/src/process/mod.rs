//! Programs that are run, waited for, and talked to.
//!
//! [`Command`] and [`Child`] have the names and shapes of those in [`std::process`], and wait without
//! blocking.
//!
//! | to …                            | use |
//! |---------------------------------|-----|
//! | run a program, see how it ended | [`Command::status`] |
//! | have what it writes             | [`Command::output`] |
//! | talk to it while it runs        | [`Command::spawn`] with [`Stdio::piped`], and [`Child::stdin`] and so on |
//! | wait for it                     | [`Child::wait`], [`Child::wait_with_output`] |
//! | end it                          | [`Child::kill`], [`Child::signal`], [`Command::kill_on_drop`] |
//! | end it with all that it started | [`Command::process_group`] and [`Child::signal_group`] |
//!
//! With the feature `process-pool` functions of this program can run in processes of their own ([`init`], `Job`,
//! `Pool`), and values pass between processes (`pipe`, `Queue`). `init` is there without it, too, and does nothing.
//!
//! A [`Child`] that is dropped goes on, unless [`kill_on_drop`](Command::kill_on_drop) was set. Either way it
//! is waited for, by a thread of ours that there is while there are such children, so that none stays a
//! zombie; also when no runtime is left.
//!
//! Each child is watched through a descriptor of its own (`pidfd_open`, Linux 5.3), and where there is none
//! through the signal `SIGCHLD`. Nothing here waits for children that others have started. With descriptors,
//! the signal's action stays what the program made it: if that is to ignore `SIGCHLD`, the system throws the
//! statuses away, and waits give an error that says so.
//!
//! # Examples
//! ```
//! use filch::process::Command;
//!
//! # fn main() -> std::io::Result<()> {
//! filch::run(async {
//!     let output = Command::new("echo").arg("hello").output().await?;
//!     assert!(output.status.success());
//!     assert_eq!(output.stdout, b"hello\n");
//!
//!     let error = Command::new("no-such-command").status().await.unwrap_err();
//!     assert!(error.to_string().contains("no-such-command"));
//!     Ok(())
//! })
//! # }
//! ```
//!
//! Through a pipe in both directions:
//! ```
//! use filch::io::{AsyncReadExt, AsyncWriteExt};
//! use filch::process::{Command, Stdio};
//!
//! # fn main() -> std::io::Result<()> {
//! filch::run(async {
//!     let mut child = Command::new("cat").stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()?;
//!     let mut stdin = child.stdin.take().expect("piped");
//!     stdin.write_all(b"there and back").await?;
//!     drop(stdin);
//!     let output = child.wait_with_output().await?;
//!     assert_eq!(output.stdout, b"there and back");
//!     Ok(())
//! })
//! # }
//! ```
#![deny(unsafe_code)] // Not `forbid`: that would reach `command` and `pidfd`.

// Layer 3. `exit` watches one process to its end, `reaper` those that nobody waits for any more, `pidfd` has
// the system calls, `pipe` the three ends of a child's pipes; `command` and `child` are what users hold.
mod child;
mod command;
mod exit;
#[cfg(not(feature = "process-pool"))]
mod init;
mod pidfd;
mod pipe;
#[cfg(feature = "process-pool")]
mod pool;
mod reaper;

pub use child::Child;
pub use command::Command;
#[cfg(not(feature = "process-pool"))]
pub use init::{AnyJob, init};
pub use pipe::{ChildStderr, ChildStdin, ChildStdout};
#[cfg(feature = "process-pool")]
pub use pool::{
    AnyJob, Apply, Call, Connection, Job, JobError, Map, Outputs, Pool, PoolBuilder, PoolReport, PoolStats,
    Queue, QueueError, RemoteQueue, Unordered, init, pipe,
};
/// How a program ended, what it wrote, and where its input and output go: those of the standard library.
pub use std::process::{ExitStatus, Output, Stdio};
