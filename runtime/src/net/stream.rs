//! Layer 3, net. What TCP and Unix connections have in common: reading, writing, and the two ways to split them.
//!
//! Owns the trait [`Stream`], the halves, and the macro `stream!` that gives a type of connection its methods and
//! its `futures-io` traits. Used by `tcp` and `unix`.
#![forbid(unsafe_code)]

use std::fmt;
use std::io::{self, IoSlice, IoSliceMut};
use std::os::fd::{AsFd, AsRawFd};
use std::pin::Pin;
use std::task::{Context, Poll};

use super::socket;
use crate::async_fd::AsyncFd;
use crate::io::{Interest, Ready};
use crate::shim::Arc;

/// A connection: [`TcpStream`](super::TcpStream) or [`UnixStream`](super::UnixStream). Implemented here only.
pub trait Stream: sealed::HasIo {}

impl<S: sealed::HasIo> Stream for S {}

pub(crate) mod sealed {
    use super::{AsFd, AsRawFd, AsyncFd};

    pub trait HasIo: Sized {
        type Std: AsFd + AsRawFd;
        fn io(&self) -> &AsyncFd<Self::Std>;
    }
}

pub(crate) fn poll_read<S: Stream>(
    stream: &S,
    cx: &mut Context<'_>,
    buf: &mut [u8],
) -> Poll<io::Result<usize>> {
    stream.io().poll_transfer(Interest::READABLE, cx, buf.len(), |socket| socket::recv(socket, buf))
}

/// `poll_read` into bytes that nobody has cleared. As many as it says have been written when it returns.
#[cfg(any(feature = "hyper", feature = "tokio-io"))]
pub(crate) fn poll_read_uninit<S: Stream>(
    stream: &S,
    cx: &mut Context<'_>,
    buf: &mut [std::mem::MaybeUninit<u8>],
) -> Poll<io::Result<usize>> {
    stream
        .io()
        .poll_transfer(Interest::READABLE, cx, buf.len(), |socket| socket2::SockRef::from(socket).recv(buf))
}

pub(crate) fn poll_read_vectored<S: Stream>(
    stream: &S,
    cx: &mut Context<'_>,
    bufs: &mut [IoSliceMut<'_>],
) -> Poll<io::Result<usize>> {
    let most = bufs.iter().map(|buf| buf.len()).sum();
    stream.io().poll_transfer(Interest::READABLE, cx, most, |socket| socket::recv_vectored(socket, bufs))
}

pub(crate) fn poll_write<S: Stream>(stream: &S, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
    stream.io().poll_transfer(Interest::WRITABLE, cx, buf.len(), |socket| socket::send(socket, buf))
}

pub(crate) fn poll_write_vectored<S: Stream>(
    stream: &S,
    cx: &mut Context<'_>,
    bufs: &[IoSlice<'_>],
) -> Poll<io::Result<usize>> {
    let most = bufs.iter().map(|buf| buf.len()).sum();
    stream.io().poll_transfer(Interest::WRITABLE, cx, most, |socket| socket::send_vectored(socket, bufs))
}

pub(crate) fn close_write<S: Stream>(stream: &S) -> io::Result<()> {
    socket::close_write(stream.io().get_ref())
}

pub(super) fn try_read<S: Stream>(stream: &S, buf: &mut [u8]) -> io::Result<usize> {
    stream.io().try_transfer(Interest::READABLE, buf.len(), |socket| socket::recv(socket, buf))
}

pub(super) fn try_read_vectored<S: Stream>(stream: &S, bufs: &mut [IoSliceMut<'_>]) -> io::Result<usize> {
    let most = bufs.iter().map(|buf| buf.len()).sum();
    stream.io().try_transfer(Interest::READABLE, most, |socket| socket::recv_vectored(socket, bufs))
}

pub(super) fn try_write<S: Stream>(stream: &S, buf: &[u8]) -> io::Result<usize> {
    stream.io().try_transfer(Interest::WRITABLE, buf.len(), |socket| socket::send(socket, buf))
}

pub(super) fn try_write_vectored<S: Stream>(stream: &S, bufs: &[IoSlice<'_>]) -> io::Result<usize> {
    let most = bufs.iter().map(|buf| buf.len()).sum();
    stream.io().try_transfer(Interest::WRITABLE, most, |socket| socket::send_vectored(socket, bufs))
}

/// `futures-io`'s reading for `$ty`, where `$stream` gives the connection behind a `&$ty`.
macro_rules! async_read {
    ([$($generics:tt)*] $ty:ty, $stream:expr) => {
        impl<$($generics)*> futures_io::AsyncRead for $ty {
            fn poll_read(
                self: Pin<&mut Self>,
                cx: &mut Context<'_>,
                buf: &mut [u8],
            ) -> Poll<io::Result<usize>> {
                $crate::net::stream::poll_read($stream(&*self), cx, buf)
            }

            fn poll_read_vectored(
                self: Pin<&mut Self>,
                cx: &mut Context<'_>,
                bufs: &mut [io::IoSliceMut<'_>],
            ) -> Poll<io::Result<usize>> {
                $crate::net::stream::poll_read_vectored($stream(&*self), cx, bufs)
            }
        }
    };
}

/// `futures-io`'s writing, in the same way. Nothing is buffered; to close is to say that no more will be written.
macro_rules! async_write {
    ([$($generics:tt)*] $ty:ty, $stream:expr) => {
        impl<$($generics)*> futures_io::AsyncWrite for $ty {
            fn poll_write(
                self: Pin<&mut Self>,
                cx: &mut Context<'_>,
                buf: &[u8],
            ) -> Poll<io::Result<usize>> {
                $crate::net::stream::poll_write($stream(&*self), cx, buf)
            }

            fn poll_write_vectored(
                self: Pin<&mut Self>,
                cx: &mut Context<'_>,
                bufs: &[io::IoSlice<'_>],
            ) -> Poll<io::Result<usize>> {
                $crate::net::stream::poll_write_vectored($stream(&*self), cx, bufs)
            }

            fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
                Poll::Ready(Ok(()))
            }

            fn poll_close(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
                Poll::Ready($crate::net::stream::close_write($stream(&*self)))
            }
        }
    };
}

/// What every connection has beyond `socket!` and `readiness!`.
macro_rules! stream {
    ($name:ident, $std:ty) => {
        impl $crate::net::stream::sealed::HasIo for $name {
            type Std = $std;

            fn io(&self) -> &AsyncFd<$std> {
                &self.io
            }
        }

        impl $name {
            /// Reads what is there, if anything is. Zero bytes are the end of the stream.
            ///
            /// # Errors
            /// What the system reports, and [`WouldBlock`](io::ErrorKind::WouldBlock).
            pub fn try_read(&self, buf: &mut [u8]) -> io::Result<usize> {
                $crate::net::stream::try_read(self, buf)
            }

            /// Reads what is there into several buffers, one after the other.
            ///
            /// # Errors
            /// As [`try_read`](Self::try_read).
            pub fn try_read_vectored(&self, bufs: &mut [io::IoSliceMut<'_>]) -> io::Result<usize> {
                $crate::net::stream::try_read_vectored(self, bufs)
            }

            /// Writes what there is room for, if there is any.
            ///
            /// # Errors
            /// What the system reports, and [`WouldBlock`](io::ErrorKind::WouldBlock).
            pub fn try_write(&self, buf: &[u8]) -> io::Result<usize> {
                $crate::net::stream::try_write(self, buf)
            }

            /// Writes from several buffers, one after the other, what there is room for.
            ///
            /// # Errors
            /// As [`try_write`](Self::try_write).
            pub fn try_write_vectored(&self, bufs: &[io::IoSlice<'_>]) -> io::Result<usize> {
                $crate::net::stream::try_write_vectored(self, bufs)
            }

            /// Says that no more will be written: the peer reads what was sent, and then the end.
            ///
            /// The same as [`close`](crate::io::AsyncWriteExt::close). To stop reading, use
            /// `socket2::SockRef::from(&stream).shutdown(Shutdown::Read)`.
            ///
            /// # Errors
            /// What the system reports; a peer that is gone is none.
            ///
            /// # Cancel safety
            /// **Strict.** It is done by the first poll.
            pub async fn shutdown(&self) -> io::Result<()> {
                $crate::net::stream::close_write(self)
            }

            /// Two halves that borrow the stream, to read in one branch of a task and write in another.
            pub fn split(&mut self) -> (ReadHalf<'_>, WriteHalf<'_>) {
                $crate::net::stream::split(self)
            }

            /// Two halves of their own, for two tasks. When the writing half is dropped, the peer sees the end.
            pub fn into_split(self) -> (OwnedReadHalf, OwnedWriteHalf) {
                $crate::net::stream::into_split(self)
            }
        }

        $crate::net::stream::async_read!([] $name, std::convert::identity);
        $crate::net::stream::async_write!([] $name, std::convert::identity);
        $crate::net::stream::async_read!(['a] &'a $name, $crate::net::stream::of_ref);
        $crate::net::stream::async_write!(['a] &'a $name, $crate::net::stream::of_ref);

        #[doc = concat!("The reading half that [`", stringify!($name), "::split`] borrows.")]
        pub type ReadHalf<'a> = $crate::net::stream::ReadHalf<'a, $name>;
        #[doc = concat!("The writing half that [`", stringify!($name), "::split`] borrows.")]
        pub type WriteHalf<'a> = $crate::net::stream::WriteHalf<'a, $name>;
        #[doc = concat!("The reading half that [`", stringify!($name), "::into_split`] makes.")]
        pub type OwnedReadHalf = $crate::net::stream::OwnedReadHalf<$name>;
        #[doc = concat!("The writing half that [`", stringify!($name), "::into_split`] makes.")]
        pub type OwnedWriteHalf = $crate::net::stream::OwnedWriteHalf<$name>;
        #[doc = concat!("The halves of two different [`", stringify!($name), "`]s cannot be joined.")]
        pub type ReuniteError = $crate::net::stream::ReuniteError<$name>;
    };
}

pub(super) use {async_read, async_write, stream};

/// The reading half of a connection, borrowed.
#[derive(Debug)]
pub struct ReadHalf<'a, S>(&'a S);

/// The writing half of a connection, borrowed. Dropping it does nothing to the connection.
#[derive(Debug)]
pub struct WriteHalf<'a, S>(&'a S);

/// The reading half of a connection. The connection closes when both halves are gone.
#[derive(Debug)]
pub struct OwnedReadHalf<S: Stream>(Arc<S>);

/// The writing half of a connection. When it is dropped, the peer sees the end of the stream.
#[derive(Debug)]
pub struct OwnedWriteHalf<S: Stream> {
    stream: Arc<S>,
    close_on_drop: bool,
}

/// The two halves are not of the same connection; here they are again.
#[derive(Debug)]
pub struct ReuniteError<S: Stream>(pub OwnedReadHalf<S>, pub OwnedWriteHalf<S>);

impl<S: Stream> fmt::Display for ReuniteError<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the two halves are not of the same connection")
    }
}

impl<S: Stream + fmt::Debug> std::error::Error for ReuniteError<S> {}

pub(super) fn split<S: Stream>(stream: &mut S) -> (ReadHalf<'_, S>, WriteHalf<'_, S>) {
    (ReadHalf(stream), WriteHalf(stream))
}

pub(super) fn into_split<S: Stream>(stream: S) -> (OwnedReadHalf<S>, OwnedWriteHalf<S>) {
    let stream = Arc::new(stream);
    (OwnedReadHalf(stream.clone()), OwnedWriteHalf { stream, close_on_drop: true })
}

/// The part of a half's methods that is the same for borrowed and owned ones.
macro_rules! half {
    ([$($generics:tt)*] $ty:ty, $stream:expr, $ready:ident, $interest:expr) => {
        impl<$($generics)*> AsRef<S> for $ty {
            /// The whole connection: its addresses and options.
            fn as_ref(&self) -> &S {
                $stream(self)
            }
        }

        impl<$($generics)*> $ty {
            /// Waits until this half is worth a try.
            ///
            /// # Errors
            /// When the runtime that the socket belongs to has been shut down.
            ///
            /// # Cancel safety
            /// **Strict.** Readiness stays until an operation finds that it is over.
            #[track_caller]
            pub fn $ready(&self) -> impl Future<Output = io::Result<()>> {
                let seen = $stream(self).io().wait_ready($interest, std::panic::Location::caller());
                async move { seen.await.map(drop) }
            }

            /// Waits until the connection is ready in one of the ways that `interest` asks for.
            ///
            /// # Errors
            /// When the runtime that the socket belongs to has been shut down.
            ///
            /// # Cancel safety
            /// **Strict.** Readiness stays until an operation finds that it is over.
            #[track_caller]
            pub fn ready(&self, interest: Interest) -> impl Future<Output = io::Result<Ready>> {
                let seen = $stream(self).io().wait_ready(interest, std::panic::Location::caller());
                async move { Ok(seen.await?.ready(interest)) }
            }
        }
    };
}

macro_rules! read_half {
    ([$($generics:tt)*] $ty:ty, $stream:expr) => {
        half!([$($generics)*] $ty, $stream, readable, Interest::READABLE);
        async_read!([$($generics)*] $ty, $stream);

        impl<$($generics)*> $ty {
            /// Reads what is there, if anything is. Zero bytes are the end of the stream.
            ///
            /// # Errors
            /// What the system reports, and [`WouldBlock`](io::ErrorKind::WouldBlock).
            pub fn try_read(&self, buf: &mut [u8]) -> io::Result<usize> {
                try_read($stream(self), buf)
            }

            /// Reads what is there into several buffers, one after the other.
            ///
            /// # Errors
            /// As [`try_read`](Self::try_read).
            pub fn try_read_vectored(&self, bufs: &mut [IoSliceMut<'_>]) -> io::Result<usize> {
                try_read_vectored($stream(self), bufs)
            }
        }
    };
}

macro_rules! write_half {
    ([$($generics:tt)*] $ty:ty, $stream:expr) => {
        half!([$($generics)*] $ty, $stream, writable, Interest::WRITABLE);
        async_write!([$($generics)*] $ty, $stream);

        impl<$($generics)*> $ty {
            /// Writes what there is room for, if there is any.
            ///
            /// # Errors
            /// What the system reports, and [`WouldBlock`](io::ErrorKind::WouldBlock).
            pub fn try_write(&self, buf: &[u8]) -> io::Result<usize> {
                try_write($stream(self), buf)
            }

            /// Writes from several buffers, one after the other, what there is room for.
            ///
            /// # Errors
            /// As [`try_write`](Self::try_write).
            pub fn try_write_vectored(&self, bufs: &[IoSlice<'_>]) -> io::Result<usize> {
                try_write_vectored($stream(self), bufs)
            }

            /// Says that no more will be written: the peer reads what was sent, and then the end.
            ///
            /// # Errors
            /// What the system reports; a peer that is gone is none.
            ///
            /// # Cancel safety
            /// **Strict.** It is done by the first poll.
            pub async fn shutdown(&self) -> io::Result<()> {
                close_write($stream(self))
            }
        }
    };
}

pub(super) fn of_ref<'a, S>(stream: &&'a S) -> &'a S {
    stream
}

fn of_read<'a, S>(half: &ReadHalf<'a, S>) -> &'a S {
    half.0
}

fn of_write<'a, S>(half: &WriteHalf<'a, S>) -> &'a S {
    half.0
}

fn of_owned_read<S: Stream>(half: &OwnedReadHalf<S>) -> &S {
    &half.0
}

fn of_owned_write<S: Stream>(half: &OwnedWriteHalf<S>) -> &S {
    &half.stream
}

read_half!(['a, S: Stream] ReadHalf<'a, S>, of_read);
write_half!(['a, S: Stream] WriteHalf<'a, S>, of_write);
read_half!([S: Stream] OwnedReadHalf<S>, of_owned_read);
write_half!([S: Stream] OwnedWriteHalf<S>, of_owned_write);

impl<S: Stream> OwnedReadHalf<S> {
    /// Makes one connection of its two halves again.
    ///
    /// # Errors
    /// Both halves back, when they are not of the same connection.
    pub fn reunite(self, write: OwnedWriteHalf<S>) -> Result<S, ReuniteError<S>> {
        if !Arc::ptr_eq(&self.0, &write.stream) {
            return Err(ReuniteError(self, write));
        }
        write.forget();
        match Arc::try_unwrap(self.0) {
            Ok(stream) => Ok(stream),
            Err(_) => unreachable!("a connection has two halves, and both were here"),
        }
    }
}

impl<S: Stream> OwnedWriteHalf<S> {
    /// Makes one connection of its two halves again.
    ///
    /// # Errors
    /// Both halves back, when they are not of the same connection.
    pub fn reunite(self, read: OwnedReadHalf<S>) -> Result<S, ReuniteError<S>> {
        read.reunite(self)
    }

    /// Drops this half without telling the peer that no more will be written.
    pub fn forget(mut self) {
        self.close_on_drop = false;
    }
}

impl<S: Stream> Drop for OwnedWriteHalf<S> {
    fn drop(&mut self) {
        if self.close_on_drop {
            // Fails only when the connection is gone, and then the peer has seen its end.
            let _ = close_write(&*self.stream);
        }
    }
}
