//! What the crate `hyper` asks of a runtime. With the feature `hyper`.
//!
//! | hyper wants              | here                                                                       |
//! |--------------------------|----------------------------------------------------------------------------|
//! | `rt::Read`, `rt::Write`  | [`TcpStream`] and [`UnixStream`] as they are; [`Io`] for any other stream  |
//! | `rt::Executor`           | [`Executor`]                                                               |
//! | `rt::Timer`              | [`Timer`]                                                                  |
//!
//! # Examples
//! ```no_run
//! use filch::net::TcpListener;
//! # async fn serve<S>(service: S) -> std::io::Result<()>
//! # where S: Clone {
//! let listener = TcpListener::bind("127.0.0.1:8080").await?;
//! loop {
//!     let (stream, _) = listener.accept().await?;
//!     // With hyper's features `server` and `http1`:
//!     // let connection = hyper::server::conn::http1::Builder::new()
//!     //     .timer(filch::hyper::Timer)
//!     //     .serve_connection(stream, service.clone());
//!     // filch::spawn(connection);
//!     # drop(stream);
//! }
//! # }
//! ```
#![allow(unsafe_code)]

// Layer 3. Adapters only; the unsafe part is to hand a buffer of hyper's to the system without clearing it first.
use std::future::Future;
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};

use ::hyper::rt::{self, ReadBuf, ReadBufCursor};
use futures_io::{AsyncRead, AsyncWrite};

use crate::net::{TcpStream, UnixStream, stream};
use crate::time;

/// Spawns what hyper wants to run beside a connection. Needs a runtime where it is used.
#[derive(Clone, Copy, Default, Debug)]
pub struct Executor;

impl<F> rt::Executor<F> for Executor
where
    F: Future + Send + 'static,
    F::Output: Send + 'static,
{
    fn execute(&self, future: F) {
        drop(crate::spawn(future));
    }
}

/// Gives hyper its time limits, on the clock of the runtime.
#[derive(Clone, Copy, Default, Debug)]
pub struct Timer;

impl rt::Sleep for time::Sleep {}

impl rt::Timer for Timer {
    fn sleep(&self, duration: Duration) -> Pin<Box<dyn rt::Sleep>> {
        Box::pin(time::sleep(duration))
    }

    fn sleep_until(&self, deadline: Instant) -> Pin<Box<dyn rt::Sleep>> {
        Box::pin(time::sleep_until(time::Instant::from_std(deadline)))
    }

    fn now(&self) -> Instant {
        time::Instant::now().into_std()
    }

    fn reset(&self, sleep: &mut Pin<Box<dyn rt::Sleep>>, new_deadline: Instant) {
        match sleep.as_mut().downcast_mut_pin::<time::Sleep>() {
            Some(ours) => ours.get_mut().reset(time::Instant::from_std(new_deadline)),
            None => *sleep = self.sleep_until(new_deadline),
        }
    }
}

macro_rules! stream {
    ($($name:ty),*) => {$(
        impl rt::Read for $name {
            fn poll_read(
                self: Pin<&mut Self>,
                cx: &mut Context<'_>,
                mut buf: ReadBufCursor<'_>,
            ) -> Poll<io::Result<()>> {
                // SAFETY: `poll_read_uninit` is safe code given `MaybeUninit`, and the system only writes bytes: none
                // that was initialized becomes uninitialized.
                let unfilled = unsafe { buf.as_mut() };
                let count = ready!(stream::poll_read_uninit(&*self, cx, unfilled))?;
                // SAFETY: the system has written this many bytes to the start of `unfilled`.
                unsafe { buf.advance(count) };
                Poll::Ready(Ok(()))
            }
        }

        impl rt::Write for $name {
            fn poll_write(
                self: Pin<&mut Self>,
                cx: &mut Context<'_>,
                buf: &[u8],
            ) -> Poll<io::Result<usize>> {
                stream::poll_write(&*self, cx, buf)
            }

            fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
                Poll::Ready(Ok(()))
            }

            fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
                Poll::Ready(stream::close_write(&*self))
            }

            fn is_write_vectored(&self) -> bool {
                true
            }

            fn poll_write_vectored(
                self: Pin<&mut Self>,
                cx: &mut Context<'_>,
                bufs: &[IoSlice<'_>],
            ) -> Poll<io::Result<usize>> {
                stream::poll_write_vectored(&*self, cx, bufs)
            }
        }
    )*};
}

stream!(TcpStream, UnixStream);

/// How much of hyper's buffer is cleared for one read through [`Io`].
const CLEARED_MOST: usize = 8 << 10;

/// Makes a stream of `futures-io`, such as a TLS one, a stream of hyper's; and the other way round, for
/// what is left of a connection after an upgrade.
#[derive(Clone, Copy, Debug)]
pub struct Io<T> {
    inner: T,
}

impl<T> Io<T> {
    /// Wraps a stream.
    pub fn new(inner: T) -> Io<T> {
        Io { inner }
    }

    /// The stream.
    pub fn get_ref(&self) -> &T {
        &self.inner
    }

    /// The stream, to use it.
    pub fn get_mut(&mut self) -> &mut T {
        &mut self.inner
    }

    /// The stream again.
    pub fn into_inner(self) -> T {
        self.inner
    }
}

impl<T: Unpin> Io<T> {
    fn pin(self: Pin<&mut Self>) -> Pin<&mut T> {
        Pin::new(&mut self.get_mut().inner)
    }
}

impl<T: AsyncRead + Unpin> rt::Read for Io<T> {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        mut buf: ReadBufCursor<'_>,
    ) -> Poll<io::Result<()>> {
        let room = buf.remaining().min(CLEARED_MOST);
        let count = ready!(self.pin().poll_read(cx, buf.initialize_unfilled_to(room)))?;
        assert!(count <= room, "a reader said that it read more than there was room for");
        // SAFETY: `initialize_unfilled_to` has initialized `room` bytes, and `count` is not more.
        unsafe { buf.advance(count) };
        Poll::Ready(Ok(()))
    }
}

impl<T: AsyncWrite + Unpin> rt::Write for Io<T> {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        self.pin().poll_write(cx, buf)
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.pin().poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.pin().poll_close(cx)
    }
}

impl<T: rt::Read + Unpin> AsyncRead for Io<T> {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut [u8]) -> Poll<io::Result<usize>> {
        let mut buf = ReadBuf::new(buf);
        ready!(self.pin().poll_read(cx, buf.unfilled()))?;
        Poll::Ready(Ok(buf.filled().len()))
    }
}

impl<T: rt::Write + Unpin> AsyncWrite for Io<T> {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        self.pin().poll_write(cx, buf)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.pin().poll_write_vectored(cx, bufs)
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.pin().poll_flush(cx)
    }

    fn poll_close(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.pin().poll_shutdown(cx)
    }
}
