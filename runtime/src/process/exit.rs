//! Layer 3, process. One process, watched to its end.
//!
//! Owns the system's child until it is waited for, what became of it after that, and the descriptor or signal
//! that says when to look. Looking is always asking the system for the status: what woke us proves nothing (a
//! traced child makes its descriptor readable without an end, tokio #7144). Called by `child`; what is
//! dropped goes to `reaper`.
#![forbid(unsafe_code)]

use std::io;
use std::os::fd::OwnedFd;
use std::panic::Location;
use std::process::{Child, ExitStatus};

use super::{pidfd, reaper};
use crate::async_fd::AsyncFd;
use crate::driver::source::shut_down;
use crate::io::Interest;
use crate::signal::unix::{Signal, SignalKind, signal};

#[derive(Debug)]
pub(super) struct Process {
    /// `None` once it is the reaper's.
    child: Option<Child>,
    /// `None` once the end is known.
    watch: Option<Watch>,
    end: Option<End>,
    pub(super) kill_on_drop: bool,
    /// It was made the leader of a group that has its number.
    pub(super) leads_group: bool,
}

#[derive(Debug)]
enum Watch {
    Pidfd(AsyncFd<OwnedFd>),
    Signal(Signal),
}

#[derive(Clone, Copy, Debug)]
enum End {
    Exited(ExitStatus),
    /// Somebody else has taken the status, or it was thrown away.
    Lost,
}

impl Process {
    /// Watches `child`. If that cannot be done, it is killed and waited for, so that nothing is left of it.
    pub(super) fn watch(mut child: Child) -> io::Result<Process> {
        let (watch, end) = match watch(child.id()) {
            Ok(watch) => (Some(watch), None),
            // It has ended and is gone already: nobody but the system can have waited for it.
            Err(error) if error.raw_os_error() == Some(libc::ESRCH) => (None, Some(End::Lost)),
            Err(error) => {
                end_now(&mut child);
                return Err(error);
            }
        };
        Ok(Process { child: Some(child), watch, end, kill_on_drop: false, leads_group: false })
    }

    /// Kills it and waits for it, as it cannot be set up.
    pub(super) fn end_now(&mut self) {
        if let (Some(child), None) = (&mut self.child, self.end) {
            end_now(child);
        }
    }

    /// Its number, until its end has been seen: after that another process may have it.
    pub(super) fn id(&self) -> Option<u32> {
        self.child.as_ref().filter(|_| self.end.is_none()).map(Child::id)
    }

    pub(super) fn try_wait(&mut self) -> io::Result<Option<ExitStatus>> {
        if self.end.is_none() {
            let Some(child) = &mut self.child else { return Ok(None) };
            match status(child) {
                Ok(None) => return Ok(None),
                Ok(Some(end)) => self.ended(end),
                Err(error) => return Err(error),
            }
        }
        self.result().transpose()
    }

    fn ended(&mut self, end: End) {
        self.end = Some(end);
        self.watch = None;
    }

    fn result(&self) -> Option<io::Result<ExitStatus>> {
        let id = self.child.as_ref().map_or(0, Child::id);
        self.end.map(|end| match end {
            End::Exited(status) => Ok(status),
            End::Lost => Err(lost(id)),
        })
    }

    pub(super) async fn wait(&mut self, location: &'static Location<'static>) -> io::Result<ExitStatus> {
        if let Some(result) = self.result() {
            return result;
        }
        let (Some(child), Some(watch)) = (&mut self.child, &mut self.watch) else { return Err(shut_down()) };
        let end = match watch {
            Watch::Pidfd(pidfd) => {
                let look = |_: &OwnedFd| status(child)?.ok_or_else(|| io::ErrorKind::WouldBlock.into());
                pidfd.io(Interest::READABLE, location, look).await?
            }
            Watch::Signal(signal) => loop {
                // It listened before the first look, so an end after a look is heard of.
                if let Some(end) = status(child)? {
                    break end;
                }
                signal.recv_at(location).await.ok_or_else(shut_down)?;
            },
        };
        self.ended(end);
        match end {
            End::Exited(status) => Ok(status),
            End::Lost => Err(lost(self.child.as_ref().map_or(0, Child::id))),
        }
    }

    /// Sends a signal, if it has not ended.
    pub(super) fn signal(&mut self, number: i32) -> io::Result<()> {
        if self.try_wait().map_or(true, |ended| ended.is_some()) {
            return Ok(());
        }
        let result = match (&self.watch, self.id()) {
            (Some(Watch::Pidfd(fd)), _) => pidfd::signal(fd.get_ref(), number),
            // Not waited for yet, so the number is still its own.
            (_, Some(id)) => pidfd::kill(id as libc::pid_t, number),
            (_, None) => Ok(()),
        };
        match result {
            // It ended between the look and the signal.
            Err(error) if error.raw_os_error() == Some(libc::ESRCH) => Ok(()),
            result => result,
        }
    }

    /// Sends a signal to all that are in its group.
    pub(super) fn signal_group(&mut self, number: i32) -> io::Result<()> {
        if !self.leads_group {
            let message = "the child leads no group: call `process_group(0)` on its command";
            return Err(io::Error::new(io::ErrorKind::InvalidInput, message));
        }
        // While its end has not been seen, nobody else can have the group's number.
        let Some(id) = self.id() else {
            let message = "the child has been waited for, so that its group can no longer be told from others; send \
                           the signal before the wait";
            return Err(io::Error::new(io::ErrorKind::InvalidInput, message));
        };
        pidfd::kill(-(id as libc::pid_t), number)
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        if self.kill_on_drop {
            // If it cannot be killed it goes on, as without the option.
            let _ = self.signal(libc::SIGKILL);
        }
        if matches!(self.try_wait(), Ok(None)) {
            let pidfd = match self.watch.take() {
                Some(Watch::Pidfd(pidfd)) => Some(pidfd.into_inner()),
                _ => None,
            };
            if let Some(child) = self.child.take() {
                reaper::adopt(child, pidfd);
            }
        }
    }
}

fn watch(pid: u32) -> io::Result<Watch> {
    match pidfd::open(pid)? {
        Some(pidfd) => Ok(Watch::Pidfd(AsyncFd::lazy(pidfd)?)),
        None => Ok(Watch::Signal(signal(SignalKind::child())?)),
    }
}

/// Blocks, but not for long: it is being killed. There may be no descriptors and no threads to wait
/// otherwise.
fn end_now(child: &mut Child) {
    let _ = child.kill();
    let _ = child.wait();
}

/// Asks the system, without waiting.
fn status(child: &mut Child) -> io::Result<Option<End>> {
    match child.try_wait() {
        Ok(status) => Ok(status.map(End::Exited)),
        Err(error) if error.raw_os_error() == Some(libc::ECHILD) => Ok(Some(End::Lost)),
        Err(error) => Err(error),
    }
}

fn lost(id: u32) -> io::Error {
    io::Error::other(format!(
        "child {id} has ended, and how is not known: either this process ignores SIGCHLD (give it a handler, or its \
         default action), or something else in it waited for all children"
    ))
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;
    use std::io::Write;
    use std::os::unix::net::UnixStream;
    use std::pin::pin;
    use std::process::{Command, Stdio};
    use std::task::Poll;

    use super::*;

    /// A child that lives until its input ends, watched through a descriptor that is readable when the test says so.
    fn watched_by_hand() -> (Process, UnixStream) {
        let child = Command::new("cat").stdin(Stdio::piped()).stdout(Stdio::null()).spawn().unwrap();
        let (watched, ready) = UnixStream::pair().unwrap();
        watched.set_nonblocking(true).unwrap();
        let mut process = Process::watch(child).unwrap();
        process.watch = Some(Watch::Pidfd(AsyncFd::lazy(watched.into()).unwrap()));
        (process, ready)
    }

    #[test]
    fn a_descriptor_that_is_ready_proves_nothing() {
        crate::run(async {
            let (mut process, mut ready) = watched_by_hand();
            let input = process.child.as_mut().unwrap().stdin.take();
            let location = Location::caller();
            {
                let mut wait = pin!(process.wait(location));
                // Ready again and again, and the child lives.
                for _ in 0..20 {
                    ready.write_all(b"!").unwrap();
                    for _ in 0..20 {
                        let polled = poll_fn(|cx| Poll::Ready(wait.as_mut().poll(cx))).await;
                        assert!(polled.is_pending(), "{polled:?}");
                        crate::yield_now().await;
                    }
                }
                drop(input);
                // It ends some time; the descriptor says so once more, as often as it takes.
                let mut ring = pin!(async {
                    loop {
                        ready.write_all(b"!").unwrap();
                        crate::time::sleep(std::time::Duration::from_millis(1)).await;
                    }
                });
                let status = poll_fn(|cx| {
                    let _: Poll<()> = ring.as_mut().poll(cx);
                    wait.as_mut().poll(cx)
                });
                assert!(status.await.unwrap().success());
            }
            assert!(process.id().is_none(), "its end was seen");
        });
    }
}
