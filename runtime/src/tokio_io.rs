//! Layer 3. tokio's `AsyncRead` and `AsyncWrite` for our streams. With the feature `tokio-io`.
//!
//! Owns no type: libraries that take a stream of tokio's take ours. They must not need tokio's reactor or timers
//! besides. Unsafe is only to hand a buffer of tokio's to the system without clearing it first.
#![allow(unsafe_code)]

use std::io::{self, IoSlice, SeekFrom};
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncSeek, AsyncWrite, ReadBuf};

use crate::fs::File;
use crate::net::{TcpStream, UnixStream, stream, tcp, unix};
use crate::process::{ChildStderr, ChildStdin, ChildStdout};

macro_rules! read {
    ($($name:ty, $stream:expr;)*) => {$(
        impl AsyncRead for $name {
            fn poll_read(
                self: Pin<&mut Self>,
                cx: &mut Context<'_>,
                buf: &mut ReadBuf<'_>,
            ) -> Poll<io::Result<()>> {
                // SAFETY: `poll_read_uninit` is safe code given `MaybeUninit`, and the system only writes bytes: none
                // that was initialized becomes uninitialized.
                let unfilled = unsafe { buf.unfilled_mut() };
                let count = ready!(stream::poll_read_uninit($stream(&*self), cx, unfilled))?;
                // SAFETY: the system has written this many bytes to the start of `unfilled`.
                unsafe { buf.assume_init(count) };
                buf.advance(count);
                Poll::Ready(Ok(()))
            }
        }
    )*};
}

macro_rules! write {
    ($($name:ty, $stream:expr;)*) => {$(
        impl AsyncWrite for $name {
            fn poll_write(
                self: Pin<&mut Self>,
                cx: &mut Context<'_>,
                buf: &[u8],
            ) -> Poll<io::Result<usize>> {
                stream::poll_write($stream(&*self), cx, buf)
            }

            fn poll_write_vectored(
                self: Pin<&mut Self>,
                cx: &mut Context<'_>,
                bufs: &[IoSlice<'_>],
            ) -> Poll<io::Result<usize>> {
                stream::poll_write_vectored($stream(&*self), cx, bufs)
            }

            fn is_write_vectored(&self) -> bool {
                true
            }

            fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
                Poll::Ready(Ok(()))
            }

            fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
                Poll::Ready(stream::close_write($stream(&*self)))
            }
        }
    )*};
}

read! {
    TcpStream, std::convert::identity;
    UnixStream, std::convert::identity;
    tcp::OwnedReadHalf, AsRef::as_ref;
    unix::OwnedReadHalf, AsRef::as_ref;
}

write! {
    TcpStream, std::convert::identity;
    UnixStream, std::convert::identity;
    tcp::OwnedWriteHalf, AsRef::as_ref;
    unix::OwnedWriteHalf, AsRef::as_ref;
}

impl AsyncRead for File {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let want = buf.remaining();
        self.poll_read_to(cx, want, |bytes| buf.put_slice(bytes))
    }
}

impl AsyncSeek for File {
    fn start_seek(mut self: Pin<&mut Self>, position: SeekFrom) -> io::Result<()> {
        self.ask_seek(position);
        Ok(())
    }

    fn poll_complete(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<u64>> {
        self.poll_asked_seek(cx)
    }
}

/// tokio's writing for a type that has futures-io's.
macro_rules! write_as_futures {
    ($($name:ty, $vectored:literal;)*) => {$(
        impl AsyncWrite for $name {
            fn poll_write(
                self: Pin<&mut Self>,
                cx: &mut Context<'_>,
                buf: &[u8],
            ) -> Poll<io::Result<usize>> {
                futures_io::AsyncWrite::poll_write(self, cx, buf)
            }

            fn poll_write_vectored(
                self: Pin<&mut Self>,
                cx: &mut Context<'_>,
                bufs: &[IoSlice<'_>],
            ) -> Poll<io::Result<usize>> {
                futures_io::AsyncWrite::poll_write_vectored(self, cx, bufs)
            }

            fn is_write_vectored(&self) -> bool {
                $vectored
            }

            fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
                futures_io::AsyncWrite::poll_flush(self, cx)
            }

            fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
                futures_io::AsyncWrite::poll_close(self, cx)
            }
        }
    )*};
}

write_as_futures! {
    File, true;
    ChildStdin, true;
}

macro_rules! read_as_futures {
    ($($name:ty;)*) => {$(
        impl AsyncRead for $name {
            fn poll_read(
                self: Pin<&mut Self>,
                cx: &mut Context<'_>,
                buf: &mut ReadBuf<'_>,
            ) -> Poll<io::Result<()>> {
                let count = ready!(futures_io::AsyncRead::poll_read(self, cx, buf.initialize_unfilled()))?;
                buf.advance(count);
                Poll::Ready(Ok(()))
            }
        }
    )*};
}

read_as_futures! {
    ChildStdout;
    ChildStderr;
}
