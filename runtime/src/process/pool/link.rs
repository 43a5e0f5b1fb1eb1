//! Layer 3, process. One worker process as the pool sees it: started, talked to, ended.
//!
//! Owns the child and our end of the connection. A link that is dropped kills the process, and what its jobs
//! have started. Called by `crew`, whose tasks have one each.
#![forbid(unsafe_code)]

use std::env;
use std::io;
use std::os::fd::AsRawFd;
use std::os::unix::net;
use std::os::unix::process::ExitStatusExt;
use std::path::PathBuf;
use std::process;
use std::time::Duration;

use futures_lite::AsyncReadExt;

use super::Settings;
use super::error::JobError;
use super::frame::{self, LIMIT_MOST, Malformed, Message, Reader, tag};
use super::worker::{PROTOCOL, VARIABLE};
use super::{inherit, job};
use crate::net::UnixStream;
use crate::process::{Child, Command, Stdio};
use crate::signal::unix::SignalKind;
use crate::time::timeout;

/// How long a process whose connection has ended may take to end, too. Cores are dumped meanwhile.
const PATIENCE: Duration = Duration::from_secs(10);

/// What to do about a program that does not answer as a worker.
const HINT: &str = "call filch::process::init(&[...]) first thing in main, in every run of the program";

#[derive(Debug)]
pub(super) struct Link {
    child: Child,
    pub(super) stream: UnixStream,
    pub(super) reader: Reader,
    /// How many jobs it has answered.
    pub(super) answered: u32,
}

/// Why no more comes from a worker.
#[derive(Debug)]
pub(super) enum Lost {
    /// It has closed the connection, most likely by ending.
    Ended,
    Malformed(String),
}

/// The next frame of `stream`. What has come of it is kept in `reader` if this is dropped.
pub(super) async fn receive(mut stream: &UnixStream, reader: &mut Reader) -> Result<Message, Lost> {
    loop {
        match reader.take() {
            Ok(Some(message)) => return Ok(message),
            Ok(None) => {}
            Err(Malformed(text)) => return Err(Lost::Malformed(text)),
        }
        match stream.read(reader.room()).await {
            // What is left of a frame was cut by its end.
            Ok(0) | Err(_) => return Err(Lost::Ended),
            Ok(count) => reader.filled(count),
        }
    }
}

/// This program: the file it was started from or, if that is there no more, the kernel's name for it.
pub(super) fn program() -> io::Result<PathBuf> {
    let path = env::current_exe()?;
    Ok(if path.exists() { path } else { PathBuf::from("/proc/self/exe") })
}

impl Link {
    /// Starts a process, and waits for it to say that it is a worker.
    pub(super) async fn start(settings: &Settings) -> Result<Link, String> {
        let mut link = Link::spawn(settings).map_err(|error| error.to_string())?;
        match timeout(settings.start_timeout, link.hello()).await {
            Ok(Ok(())) => {
                link.reader.set_limit(settings.frame_limit);
                Ok(link)
            }
            Ok(Err(why)) => {
                link.kill().await;
                Err(why)
            }
            Err(_) => {
                let limit = settings.start_timeout;
                link.kill().await;
                Err(format!("the program did not announce itself as a worker within {limit:?}; {HINT}"))
            }
        }
    }

    fn spawn(settings: &Settings) -> io::Result<Link> {
        let (ours, theirs) = net::UnixStream::pair()?;
        // A copy has a number above those of input and output, whatever the program has done with them.
        let theirs = theirs.try_clone()?;
        let (fd, parent) = (theirs.as_raw_fd(), process::id());
        let mut command = Command::new(&settings.program);
        // A group of its own: Ctrl-C is the parent's to handle, and a kill reaches what the jobs have
        // started.
        command.stdin(Stdio::null()).process_group(0).kill_on_drop(true);
        command.env(VARIABLE, format!("{PROTOCOL} {fd} {parent} {}", settings.frame_limit));
        inherit::pass(&mut command, fd);
        let child = command.spawn()?;
        let (stream, reader) = (UnixStream::from_std(ours)?, Reader::new(LIMIT_MOST));
        Ok(Link { child, stream, reader, answered: 0 })
    }

    async fn hello(&mut self) -> Result<(), String> {
        let message = match receive(&self.stream, &mut self.reader).await {
            Ok(message) => message,
            Err(Lost::Malformed(text)) => return Err(format!("the program is no worker: {text}; {HINT}")),
            Err(Lost::Ended) => {
                let how = self.death().await.how();
                return Err(format!(
                    "the program ended before it had announced itself as a worker ({how}); {HINT}, and look \
                     at what stands before it"
                ));
            }
        };
        if message.tag != tag::HELLO || message.id != u64::from(PROTOCOL) {
            return Err(
                "the program answers as a worker of another version of filch does; was it replaced while it \
                        ran?"
                    .to_owned(),
            );
        }
        let theirs: Vec<String> = frame::value(&message.body)?;
        let ours = job::names();
        if theirs.iter().ne(&ours) {
            return Err(format!(
                "its jobs are {theirs:?}, and ours are {ours:?}: main must give the same list to \
                 filch::process::init in every run; or the program was replaced while it ran"
            ));
        }
        Ok(())
    }

    /// How it ended, after it has closed the connection.
    pub(super) async fn death(&mut self) -> JobError {
        match timeout(PATIENCE, self.child.wait()).await {
            Ok(Ok(status)) => JobError::Crashed { signal: status.signal(), code: status.code() },
            Ok(Err(_)) => JobError::Crashed { signal: None, code: None },
            Err(_) => {
                self.kill().await;
                JobError::Protocol { reason: "it closed its connection, and went on".to_owned() }
            }
        }
    }

    /// Lets it exit, as it does when nothing more can come.
    pub(super) async fn finish(&mut self) {
        let _ = crate::net::stream::close_write(&self.stream);
        if timeout(PATIENCE, self.child.wait()).await.is_err() {
            self.kill().await;
        }
    }

    /// Kills it and what its jobs have started, and waits for its end.
    pub(super) async fn kill(&mut self) {
        self.kill_group();
        // An error: the status is lost, which is nothing to us.
        let _ = self.child.kill().await;
    }

    fn kill_group(&mut self) {
        // An error: it has ended already.
        let _ = self.child.signal_group(SignalKind::from_raw(libc::SIGKILL));
    }
}

impl Drop for Link {
    fn drop(&mut self) {
        self.kill_group();
    }
}
