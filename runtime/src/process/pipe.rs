//! Layer 3, process. Our ends of a child's pipes.
//!
//! Owns nothing but the descriptors. Called by user code; `tokio_io` adds tokio's traits.
#![forbid(unsafe_code)]

use std::fs::File;
use std::io::{self, IoSlice, IoSliceMut, Read, Write};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};
use std::pin::Pin;
use std::process::{self, Stdio};
use std::task::{Context, Poll};

use socket2::SockRef;

use crate::async_fd::AsyncFd;
use crate::io::Interest;

/// Makes a pipe non-blocking and lets the runtime know of it.
fn open(fd: OwnedFd) -> io::Result<AsyncFd<File>> {
    // The flag is the same for every descriptor.
    SockRef::from(&fd).set_nonblocking(true)?;
    AsyncFd::lazy(File::from(fd))
}

/// Gives a pipe back, to be used by others: blocking, as they expect it.
fn close(pipe: AsyncFd<File>) -> io::Result<OwnedFd> {
    let fd = OwnedFd::from(pipe.into_inner());
    SockRef::from(&fd).set_nonblocking(false)?;
    Ok(fd)
}

/// What a child reads.
///
/// Dropping or [closing](crate::io::AsyncWriteExt::close) it is how the child learns that there is no more.
/// Writing to a child that does not read any more is an error of the kind
/// [`BrokenPipe`](io::ErrorKind::BrokenPipe).
///
/// # Cancel safety
/// `write` is **strict**.
#[derive(Debug)]
pub struct ChildStdin {
    /// `None` once it is closed.
    pipe: Option<AsyncFd<File>>,
}

impl ChildStdin {
    /// Takes over a pipe of the standard library.
    ///
    /// # Errors
    /// Outside of a runtime.
    pub fn from_std(pipe: process::ChildStdin) -> io::Result<ChildStdin> {
        Ok(ChildStdin { pipe: Some(open(pipe.into())?) })
    }

    /// The descriptor, blocking again.
    ///
    /// # Errors
    /// When it has been closed.
    pub fn into_owned_fd(self) -> io::Result<OwnedFd> {
        self.pipe.ok_or_else(closed).and_then(close)
    }

    fn poll_with(
        &self,
        cx: &mut Context<'_>,
        most: usize,
        op: impl FnMut(&File) -> io::Result<usize>,
    ) -> Poll<io::Result<usize>> {
        match &self.pipe {
            Some(pipe) => pipe.poll_transfer(Interest::WRITABLE, cx, most, op),
            None => Poll::Ready(Err(closed())),
        }
    }
}

fn closed() -> io::Error {
    io::Error::new(io::ErrorKind::BrokenPipe, "the child's input has been closed")
}

impl futures_io::AsyncWrite for ChildStdin {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        self.poll_with(cx, buf.len(), |mut pipe| pipe.write(buf))
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let most = bufs.iter().map(|buf| buf.len()).sum();
        self.poll_with(cx, most, |mut pipe| pipe.write_vectored(bufs))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_close(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.pipe = None;
        Poll::Ready(Ok(()))
    }
}

impl TryFrom<ChildStdin> for Stdio {
    type Error = io::Error;

    fn try_from(pipe: ChildStdin) -> io::Result<Stdio> {
        pipe.into_owned_fd().map(Stdio::from)
    }
}

macro_rules! readable {
    ($(#[$meta:meta])* $name:ident) => {
        $(#[$meta])*
        ///
        /// It can be given to another child, as its input: `Stdio::try_from(pipe)`.
        ///
        /// # Cancel safety
        /// `read` is **strict**.
        #[derive(Debug)]
        pub struct $name {
            pipe: AsyncFd<File>,
        }

        impl $name {
            /// Takes over a pipe of the standard library.
            ///
            /// # Errors
            /// Outside of a runtime.
            pub fn from_std(pipe: process::$name) -> io::Result<$name> {
                Ok($name { pipe: open(pipe.into())? })
            }

            /// The descriptor, blocking again.
            ///
            /// # Errors
            /// When the system refuses.
            pub fn into_owned_fd(self) -> io::Result<OwnedFd> {
                close(self.pipe)
            }
        }

        impl futures_io::AsyncRead for $name {
            fn poll_read(
                self: Pin<&mut Self>,
                cx: &mut Context<'_>,
                buf: &mut [u8],
            ) -> Poll<io::Result<usize>> {
                self.pipe.poll_transfer(Interest::READABLE, cx, buf.len(), |mut pipe| pipe.read(buf))
            }

            fn poll_read_vectored(
                self: Pin<&mut Self>,
                cx: &mut Context<'_>,
                bufs: &mut [IoSliceMut<'_>],
            ) -> Poll<io::Result<usize>> {
                let most = bufs.iter().map(|buf| buf.len()).sum();
                self.pipe.poll_transfer(Interest::READABLE, cx, most, |mut pipe| pipe.read_vectored(bufs))
            }
        }

        impl AsFd for $name {
            fn as_fd(&self) -> BorrowedFd<'_> {
                self.pipe.as_fd()
            }
        }

        impl AsRawFd for $name {
            fn as_raw_fd(&self) -> RawFd {
                self.pipe.as_raw_fd()
            }
        }

        impl TryFrom<$name> for Stdio {
            type Error = io::Error;

            fn try_from(pipe: $name) -> io::Result<Stdio> {
                pipe.into_owned_fd().map(Stdio::from)
            }
        }
    };
}

readable! {
    /// What a child writes to its standard output.
    ChildStdout
}

readable! {
    /// What a child writes to its standard error.
    ChildStderr
}
