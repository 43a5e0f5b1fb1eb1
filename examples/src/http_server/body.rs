//! The body of a response: bytes that are there, or a part of a file, read in pieces on the blocking pool.

use std::fs::File;
use std::future::Future;
use std::io;
use std::os::unix::fs::FileExt;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use filch::JoinHandle;
use hyper::body::{Body, Frame, SizeHint};

/// How much is read at a time, and so how much memory a download takes.
const PIECE: u64 = 64 * 1024;

/// The body of a response.
#[derive(Debug)]
pub enum FileBody {
    /// Bytes that are there; `None` once they are sent.
    Whole(Option<Bytes>),
    /// A part of a file, read in pieces by filch's blocking pool.
    Part(Part),
}

/// Bytes `at..end` of a file.
#[derive(Debug)]
pub struct Part {
    at: u64,
    end: u64,
    state: State,
}

#[derive(Debug)]
enum State {
    Idle(File),
    Reading(JoinHandle<(File, io::Result<Bytes>)>),
    Done,
}

impl FileBody {
    pub(super) fn empty() -> FileBody {
        FileBody::Whole(None)
    }

    pub(super) fn bytes(bytes: impl Into<Bytes>) -> FileBody {
        FileBody::Whole(Some(bytes.into()))
    }

    /// Bytes `start..end` of `file`.
    pub(super) fn part(file: File, start: u64, end: u64) -> FileBody {
        FileBody::Part(Part { at: start, end, state: State::Idle(file) })
    }
}

impl Part {
    fn poll_piece(&mut self, cx: &mut Context<'_>) -> Poll<Option<io::Result<Bytes>>> {
        loop {
            match std::mem::replace(&mut self.state, State::Done) {
                State::Done => return Poll::Ready(None),
                State::Idle(_) if self.at >= self.end => {}
                State::Idle(file) => {
                    let (at, length) = (self.at, (self.end - self.at).min(PIECE));
                    self.state = State::Reading(filch::spawn_blocking(move || {
                        let piece = read_piece(&file, at, length);
                        (file, piece)
                    }));
                }
                State::Reading(mut reading) => {
                    let Poll::Ready(read) = Pin::new(&mut reading).poll(cx) else {
                        self.state = State::Reading(reading);
                        return Poll::Pending;
                    };
                    let (file, piece) = match read {
                        Ok(read) => read,
                        Err(error) => return Poll::Ready(Some(Err(io::Error::other(error)))),
                    };
                    if let Ok(piece) = &piece {
                        self.at += piece.len() as u64;
                        self.state = State::Idle(file);
                    }
                    return Poll::Ready(Some(piece));
                }
            }
        }
    }
}

/// Reads at most `length` bytes, and at least one: a file that became shorter meanwhile is an error, so that the
/// client learns of it.
pub(super) fn read_piece(file: &File, at: u64, length: u64) -> io::Result<Bytes> {
    let mut buffer = vec![0; usize::try_from(length).unwrap_or(usize::MAX)];
    loop {
        match file.read_at(&mut buffer, at) {
            Ok(0) => {
                return Err(io::Error::new(
                    io::ErrorKind::UnexpectedEof,
                    "the file became shorter meanwhile",
                ));
            }
            Ok(n) => {
                buffer.truncate(n);
                return Ok(buffer.into());
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
}

impl Body for FileBody {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, io::Error>>> {
        let piece = match &mut *self {
            FileBody::Whole(bytes) => bytes.take().map(Ok),
            FileBody::Part(part) => ready!(part.poll_piece(cx)),
        };
        Poll::Ready(piece.map(|piece| piece.map(Frame::data)))
    }

    fn is_end_stream(&self) -> bool {
        match self {
            FileBody::Whole(bytes) => bytes.is_none(),
            FileBody::Part(part) => part.at >= part.end,
        }
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(match self {
            FileBody::Whole(bytes) => bytes.as_ref().map_or(0, |bytes| bytes.len() as u64),
            FileBody::Part(part) => part.end.saturating_sub(part.at),
        })
    }
}
