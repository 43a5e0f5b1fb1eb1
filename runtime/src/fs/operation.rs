//! Layer 3, fs. One operation of an open file at a time, in the blocking pool, and what is left of those
//! nobody waited for.
//!
//! Owns the state of the operation under way and the two buffers, which go to the pool with it and come back:
//! in steady state nothing is allocated. Called by `file`.
//!
//! An operation that was begun ends, whoever polls or drops. What it did is kept until the next operation:
//! * bytes that were read are handed out by the next read, or put back (the file is wound back) before
//!   anything else;
//! * a write or a seek whose future was dropped is taken for the next one's own if that asks for the same, so
//!   that to drop and retry is to wait on; else its error, if it has one, is the next operation's.
#![forbid(unsafe_code)]

use std::fs::File as StdFile;
use std::io::{self, IoSlice, Read, Seek, SeekFrom, Write};
use std::panic::Location;
use std::path::Path;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use super::job;
use crate::context;
use crate::shim::Arc;
use crate::task::JoinHandle;

/// What an operation needs in the pool.
pub(super) struct Opened {
    pub(super) file: StdFile,
    /// As it was given; unknown of a file that comes from elsewhere.
    pub(super) path: Option<Box<Path>>,
}

pub(super) struct Inner {
    pub(super) state: State,
    /// Where the last seek ended. This and the next are for tokio's trait.
    pub(super) position: u64,
    /// A seek that was asked for, and not begun.
    #[cfg_attr(not(feature = "tokio-io"), allow(dead_code))]
    pub(super) asked: Option<SeekFrom>,
}

pub(super) enum State {
    Idle(Buffers),
    Busy(Kind, JoinHandle<(Buffers, io::Result<u64>)>),
}

#[derive(Clone, Copy, PartialEq)]
pub(super) enum Kind {
    Read,
    Write,
    Seek(SeekFrom),
    /// Winds back over what was read and not handed out.
    Settle,
}

/// Vectors that keep their length, so that they are cleared only when they grow.
#[derive(Default)]
pub(super) struct Buffers {
    pub(super) read: Vec<u8>,
    /// `read[start..end]` was read and not handed out.
    pub(super) start: usize,
    pub(super) end: usize,
    pub(super) write: Vec<u8>,
}

impl Buffers {
    pub(super) fn hand_out(&mut self, into: &mut [u8]) -> usize {
        let count = into.len().min(self.end - self.start);
        into[..count].copy_from_slice(&self.read[self.start..self.start + count]);
        self.start += count;
        count
    }

    fn fill(&mut self, mut file: &StdFile, most: usize) -> io::Result<u64> {
        if self.read.len() < most {
            self.read.resize(most, 0);
        }
        (self.start, self.end) = (0, 0);
        self.end = retry(|| file.read(&mut self.read[..most]))?;
        Ok(self.end as u64)
    }

    /// Takes what `bufs` have, up to `most`.
    pub(super) fn take_in(&mut self, bufs: &[IoSlice<'_>], most: usize) {
        self.write.clear();
        for buf in bufs {
            let room = most - self.write.len();
            self.write.extend_from_slice(&buf[..buf.len().min(room)]);
        }
    }

    /// Whether `bufs` begin with what the write that is done was given.
    pub(super) fn is_of(&self, bufs: &[IoSlice<'_>]) -> bool {
        let mut rest = self.write.as_slice();
        for buf in bufs {
            let count = rest.len().min(buf.len());
            if rest[..count] != buf[..count] {
                return false;
            }
            rest = &rest[count..];
        }
        rest.is_empty()
    }

    /// Puts back what was read and not handed out. What cannot be wound back, a pipe or a terminal, has no
    /// position to correct.
    fn wind_back(&mut self, mut file: &StdFile) -> io::Result<()> {
        let left = self.end - self.start;
        if left == 0 {
            return Ok(());
        }
        match file.seek(SeekFrom::Current(-(left as i64))) {
            Ok(_) => (self.start, self.end) = (0, 0),
            Err(error) if error.raw_os_error() == Some(libc::ESPIPE) => {}
            Err(error) => return Err(error),
        }
        Ok(())
    }
}

fn retry<T>(mut operation: impl FnMut() -> io::Result<T>) -> io::Result<T> {
    loop {
        match operation() {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            result => return result,
        }
    }
}

impl Kind {
    fn doing(self) -> &'static str {
        match self {
            Kind::Read => "read",
            Kind::Write => "write",
            Kind::Seek(_) | Kind::Settle => "seek in",
        }
    }

    /// Does it. In the pool.
    fn run(self, opened: &Opened, buffers: &mut Buffers, most: usize) -> io::Result<u64> {
        let mut file = &opened.file;
        let result = match self {
            Kind::Read => buffers.fill(file, most),
            Kind::Settle => buffers.wind_back(file).map(|()| 0),
            Kind::Write => buffers
                .wind_back(file)
                .and_then(|()| retry(|| file.write(&buffers.write)))
                .map(|count| count as u64),
            Kind::Seek(to) => buffers.wind_back(file).and_then(|()| file.seek(to)),
        };
        result.map_err(|error| job::explain(self.doing(), opened.path.as_deref(), error))
    }
}

impl Inner {
    /// Begins an operation. Only while none is under way; what it needs is in the buffers.
    pub(super) fn begin(
        &mut self,
        opened: &Arc<Opened>,
        kind: Kind,
        most: usize,
        location: &'static Location<'static>,
    ) -> io::Result<()> {
        // Before the buffers go: without a runtime they stay as they are.
        context::with_scheduler(|_| ())?;
        let (opened, mut buffers) = (opened.clone(), std::mem::take(self.buffers()));
        let job = move || {
            let result = kind.run(&opened, &mut buffers, most);
            (buffers, result)
        };
        self.state = State::Busy(kind, job::start(location, job)?);
        Ok(())
    }

    /// Waits for the operation under way, if there is one, and says which it was and what came of it.
    pub(super) fn poll_done(&mut self, cx: &mut Context<'_>) -> Poll<Option<(Kind, io::Result<u64>)>> {
        let State::Busy(kind, job) = &mut self.state else { return Poll::Ready(None) };
        let kind = *kind;
        let done = ready!(Pin::new(job).poll(cx));
        // Before anything else, since a panic of the job goes on below.
        self.state = State::Idle(Buffers::default());
        let (buffers, result) = match done {
            Ok(done) => done,
            Err(error) => return Poll::Ready(Some((kind, Err(job::not_done(error))))),
        };
        self.state = State::Idle(buffers);
        if let (Kind::Seek(_), Ok(position)) = (kind, &result) {
            self.position = *position;
        }
        Poll::Ready(Some((kind, result)))
    }

    pub(super) fn buffers(&mut self) -> &mut Buffers {
        match &mut self.state {
            State::Idle(buffers) => buffers,
            State::Busy(..) => unreachable!("waited for before"),
        }
    }
}
