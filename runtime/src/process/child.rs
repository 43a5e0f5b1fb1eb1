//! Layer 3, process. A program that runs: `Child`.
//!
//! Owns the process and our ends of its pipes. Called by user code.
#![forbid(unsafe_code)]

use std::future::{Future, poll_fn};
use std::io;
use std::panic::Location;
use std::pin::{Pin, pin};
use std::process::{self, ExitStatus, Output};
use std::task::{Context, Poll};

use futures_io::AsyncRead;
use futures_lite::AsyncReadExt;

use super::exit::Process;
use super::pipe::{ChildStderr, ChildStdin, ChildStdout};
use crate::signal::unix::SignalKind;

/// A program that runs, or has run.
///
/// Dropping it does not end it, unless [`kill_on_drop`](super::Command::kill_on_drop) was set; it is waited
/// for all the same, and never stays a zombie. Its pipes are closed by the drop, if they were not taken out.
///
/// # Examples
/// ```
/// use filch::process::Command;
///
/// # fn main() -> std::io::Result<()> {
/// filch::run(async {
///     let mut child = Command::new("sleep").arg("600").spawn()?;
///     assert!(child.try_wait()?.is_none());
///     child.kill().await?;
///     assert!(!child.wait().await?.success());
///     Ok(())
/// })
/// # }
/// ```
#[derive(Debug)]
pub struct Child {
    /// What it reads, if that was [piped](super::Stdio::piped) and not taken out.
    pub stdin: Option<ChildStdin>,
    /// What it writes, likewise.
    pub stdout: Option<ChildStdout>,
    /// What it writes to standard error, likewise.
    pub stderr: Option<ChildStderr>,
    process: Process,
}

impl Child {
    /// Watches a child that was just started. On an error it is killed and waited for.
    pub(super) fn new(mut child: process::Child, kill_on_drop: bool, leads_group: bool) -> io::Result<Child> {
        let (stdin, stdout, stderr) = (child.stdin.take(), child.stdout.take(), child.stderr.take());
        let mut process = Process::watch(child)?;
        let pipes = || {
            let stdin = stdin.map(ChildStdin::from_std).transpose()?;
            let stdout = stdout.map(ChildStdout::from_std).transpose()?;
            io::Result::Ok((stdin, stdout, stderr.map(ChildStderr::from_std).transpose()?))
        };
        match pipes() {
            Ok((stdin, stdout, stderr)) => {
                process.kill_on_drop = kill_on_drop;
                process.leads_group = leads_group;
                Ok(Child { stdin, stdout, stderr, process })
            }
            Err(error) => {
                process.end_now();
                Err(error)
            }
        }
    }

    /// Its number; `None` once it has been waited for, as another process may have it by then.
    pub fn id(&self) -> Option<u32> {
        self.process.id()
    }

    /// Waits for it to end. Again and again: the same status.
    ///
    /// Its input is closed first, so that the two do not wait for each other.
    ///
    /// # Errors
    /// When the status is lost: this process ignores `SIGCHLD`, or somebody else has waited for the child.
    /// When the runtime it was started on is shut down.
    ///
    /// # Cancel safety
    /// **Strict**, but for the input, which is closed by the call.
    #[track_caller]
    pub fn wait(&mut self) -> impl Future<Output = io::Result<ExitStatus>> {
        self.wait_at(Location::caller())
    }

    pub(super) fn wait_at(
        &mut self,
        location: &'static Location<'static>,
    ) -> impl Future<Output = io::Result<ExitStatus>> {
        drop(self.stdin.take());
        self.process.wait(location)
    }

    /// How it ended, if it has.
    ///
    /// # Errors
    /// When the status is lost; see [`wait`](Self::wait).
    pub fn try_wait(&mut self) -> io::Result<Option<ExitStatus>> {
        self.process.try_wait()
    }

    /// Waits for it to end, and collects what it writes to those of its outputs that are piped and not taken
    /// out.
    ///
    /// Both are read at the same time, to their ends: that is when every process that has them has closed
    /// them, the child's own children too.
    ///
    /// # Errors
    /// As [`wait`](Self::wait), and when a pipe cannot be read.
    ///
    /// # Cancel safety
    /// **Not cancel safe:** what was read is lost. The child is dropped.
    #[track_caller]
    pub fn wait_with_output(mut self) -> impl Future<Output = io::Result<Output>> {
        let location = Location::caller();
        async move {
            drop(self.stdin.take());
            let (stdout, stderr) = (self.stdout.take(), self.stderr.take());
            let mut stdout = pin!(collect(stdout));
            let mut stderr = pin!(collect(stderr));
            let mut status = pin!(self.process.wait(location));
            let (mut out, mut err, mut ended) = (None, None, None);
            poll_fn(|cx| {
                let all = [
                    step(stdout.as_mut(), &mut out, cx)?,
                    step(stderr.as_mut(), &mut err, cx)?,
                    step(status.as_mut(), &mut ended, cx)?,
                ];
                if all.iter().all(|done| *done) { Poll::Ready(io::Result::Ok(())) } else { Poll::Pending }
            })
            .await?;
            match (ended, out, err) {
                (Some(status), Some(stdout), Some(stderr)) => Ok(Output { status, stdout, stderr }),
                _ => unreachable!("all three are done"),
            }
        }
    }

    /// Kills it (`SIGKILL`) and waits for its end. Nothing is sent to one that has ended.
    ///
    /// # Errors
    /// When it may not be killed: it has become another user's. And as [`wait`](Self::wait).
    ///
    /// # Cancel safety
    /// **Strict.** It is killed by the call.
    #[track_caller]
    pub fn kill(&mut self) -> impl Future<Output = io::Result<()>> {
        let (killed, location) = (self.start_kill(), Location::caller());
        drop(self.stdin.take());
        async move {
            killed?;
            self.process.wait(location).await.map(drop)
        }
    }

    /// Kills it (`SIGKILL`), and does not wait. Nothing is sent to one that has ended.
    ///
    /// # Errors
    /// When it may not be killed: it has become another user's.
    pub fn start_kill(&mut self) -> io::Result<()> {
        self.process.signal(libc::SIGKILL)
    }

    /// Sends it a signal. Nothing is sent to one that has ended: no stranger who has its number by now gets
    /// it.
    ///
    /// # Errors
    /// When there is no such signal, and when the child has become another user's.
    ///
    /// # Examples
    /// ```
    /// use std::os::unix::process::ExitStatusExt;
    ///
    /// use filch::process::Command;
    /// use filch::signal::unix::SignalKind;
    ///
    /// # fn main() -> std::io::Result<()> {
    /// filch::run(async {
    ///     let mut child = Command::new("sleep").arg("600").spawn()?;
    ///     child.signal(SignalKind::terminate())?;
    ///     assert_eq!(child.wait().await?.signal(), Some(SignalKind::terminate().as_raw_value()));
    ///     Ok(())
    /// })
    /// # }
    /// ```
    pub fn signal(&mut self, kind: SignalKind) -> io::Result<()> {
        self.process.signal(kind.as_raw_value())
    }

    /// Sends a signal to the child and all that it started and that stayed in its group. The command must
    /// have been given [`process_group(0)`](super::Command::process_group), and the child not been waited for
    /// yet.
    ///
    /// # Errors
    /// When one of these two does not hold, and as [`signal`](Self::signal).
    pub fn signal_group(&mut self, kind: SignalKind) -> io::Result<()> {
        self.process.signal_group(kind.as_raw_value())
    }
}

/// Reads to the end.
async fn collect(pipe: Option<impl AsyncRead + Unpin>) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    if let Some(mut pipe) = pipe {
        pipe.read_to_end(&mut bytes).await?;
    }
    Ok(bytes)
}

/// Polls a part that is not done. True: now it is.
fn step<T>(
    part: Pin<&mut impl Future<Output = io::Result<T>>>,
    output: &mut Option<T>,
    cx: &mut Context<'_>,
) -> io::Result<bool> {
    if output.is_none() {
        if let Poll::Ready(done) = part.poll(cx) {
            *output = Some(done?);
        }
    }
    Ok(output.is_some())
}
