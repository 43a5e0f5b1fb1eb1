//! Layer 3, net. What all kinds of sockets have in common, written once.
//!
//! Owns the system calls, the one loop that takes connections from a listener, and four macros, each of which adds
//! a group of methods to a type that has a field `io: AsyncFd<_>`: `socket!` for all, `readiness!` for all but
//! listeners, `datagram!` and `listener!`. (Streams are in `stream`.) Names no protocol: `tcp`, `udp` and `unix` add
//! what only they have.
#![forbid(unsafe_code)]

use std::io::{self, IoSlice, IoSliceMut, Read};
use std::net::Shutdown;
use std::os::fd::AsFd;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use socket2::{SockAddr, SockRef, Socket};

use crate::time::{Sleep, sleep};

/// How long to wait before accepting again when the process or the system has run out of something.
const BACKOFF_FIRST: Duration = Duration::from_millis(5);
const BACKOFF_MOST: Duration = Duration::from_millis(50);

/// Receives into `buf`.
pub(super) fn recv(socket: &impl AsFd, buf: &mut [u8]) -> io::Result<usize> {
    (&*SockRef::from(socket)).read(buf)
}

pub(super) fn recv_vectored(socket: &impl AsFd, bufs: &mut [IoSliceMut<'_>]) -> io::Result<usize> {
    (&*SockRef::from(socket)).read_vectored(bufs)
}

/// Sends from `buf`. A peer that is gone is an error, never a signal that ends the process.
pub(super) fn send(socket: &impl AsFd, buf: &[u8]) -> io::Result<usize> {
    SockRef::from(socket).send_with_flags(buf, libc::MSG_NOSIGNAL)
}

pub(super) fn send_vectored(socket: &impl AsFd, bufs: &[IoSlice<'_>]) -> io::Result<usize> {
    SockRef::from(socket).send_vectored_with_flags(bufs, libc::MSG_NOSIGNAL)
}

/// Takes a connection, already non-blocking.
pub(super) fn accept(listener: &impl AsFd) -> io::Result<(Socket, SockAddr)> {
    SockRef::from(listener).accept4(libc::SOCK_CLOEXEC | libc::SOCK_NONBLOCK)
}

/// Says that no more will be written. A peer that is gone has no need to know.
pub(super) fn close_write(socket: &impl AsFd) -> io::Result<()> {
    match SockRef::from(socket).shutdown(Shutdown::Write) {
        Err(error) if error.kind() == io::ErrorKind::NotConnected => Ok(()),
        result => result,
    }
}

/// Whether the connection that was begun is made: `WouldBlock` while it is not known.
pub(super) fn connected(socket: &impl AsFd) -> io::Result<()> {
    let socket = SockRef::from(socket);
    if let Some(error) = socket.take_error()? {
        return Err(error);
    }
    match socket.peer_addr() {
        Ok(_) => Ok(()),
        Err(error) if error.kind() == io::ErrorKind::NotConnected => Err(io::ErrorKind::WouldBlock.into()),
        Err(error) => Err(error),
    }
}

/// The state of one who accepts: it waits when there are no descriptors left, and tells nobody.
///
/// The pending connection stays in the listener's queue, so the selector would report it no second time, and a loop
/// that tries again at once would spin. A server that ends for it, or stops accepting, is worse than one that is
/// 50 ms late.
#[derive(Default)]
pub(super) struct Accept {
    retry: Option<Sleep>,
    delay: Duration,
}

impl Accept {
    /// Polls `take` until it gives a connection, or an error that waiting does not cure.
    pub(super) fn poll<T>(
        &mut self,
        cx: &mut Context<'_>,
        mut take: impl FnMut(&mut Context<'_>) -> Poll<io::Result<T>>,
    ) -> Poll<io::Result<T>> {
        loop {
            if let Some(retry) = &mut self.retry {
                ready!(Pin::new(retry).poll(cx));
                self.retry = None;
            }
            match ready!(take(cx)) {
                Err(error) if is_exhausted(&error) => {
                    self.delay = (self.delay * 2).clamp(BACKOFF_FIRST, BACKOFF_MOST);
                    self.retry = Some(sleep(self.delay));
                }
                Err(error) if concerns_one_connection(&error) => {}
                result => {
                    self.delay = Duration::ZERO;
                    return Poll::Ready(result);
                }
            }
        }
    }
}

/// No descriptors, or no memory: the process or the system must give something back first.
fn is_exhausted(error: &io::Error) -> bool {
    matches!(error.raw_os_error(), Some(libc::EMFILE | libc::ENFILE | libc::ENOBUFS | libc::ENOMEM))
}

/// The connection at the head of the queue is gone, and so is its error. Linux passes on pending network errors of
/// the new connection from `accept` too.
fn concerns_one_connection(error: &io::Error) -> bool {
    matches!(
        error.raw_os_error(),
        Some(
            libc::ECONNABORTED
                | libc::ECONNRESET
                | libc::EPROTO
                | libc::ENETDOWN
                | libc::ENETUNREACH
                | libc::EHOSTDOWN
                | libc::EHOSTUNREACH
                | libc::ENONET
        )
    )
}

/// Conversions and views that every socket has.
macro_rules! socket {
    ($name:ident, $std:ty $(, $field:ident: $init:expr)?) => {
        impl $name {
            /// Takes over a socket of the standard library and makes it non-blocking.
            ///
            /// # Errors
            /// Outside of a runtime, or when the socket refuses.
            pub fn from_std(socket: $std) -> std::io::Result<$name> {
                socket.set_nonblocking(true)?;
                $name::wrap(socket)
            }

            /// Gives the socket back to the standard library. It stays non-blocking.
            ///
            /// # Errors
            /// None at present.
            pub fn into_std(self) -> std::io::Result<$std> {
                Ok(self.io.into_inner())
            }

            /// Takes the error that is pending on the socket, if any.
            ///
            /// # Errors
            /// When the system cannot tell.
            pub fn take_error(&self) -> std::io::Result<Option<std::io::Error>> {
                self.io.get_ref().take_error()
            }

            /// `socket` is non-blocking already.
            fn wrap(socket: $std) -> std::io::Result<$name> {
                Ok($name { io: $crate::async_fd::AsyncFd::lazy(socket)? $(, $field: $init)? })
            }
        }

        impl std::os::fd::AsFd for $name {
            fn as_fd(&self) -> std::os::fd::BorrowedFd<'_> {
                self.io.as_fd()
            }
        }

        impl std::os::fd::AsRawFd for $name {
            fn as_raw_fd(&self) -> std::os::fd::RawFd {
                self.io.as_raw_fd()
            }
        }

        impl TryFrom<$std> for $name {
            type Error = std::io::Error;

            fn try_from(socket: $std) -> std::io::Result<$name> {
                $name::from_std(socket)
            }
        }

        impl std::fmt::Debug for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                self.io.get_ref().fmt(f)
            }
        }
    };
}

/// Waiting for readiness as such, on streams and datagram sockets.
macro_rules! readiness {
    ($name:ident) => {
        impl $name {
            /// Waits until a read is worth a try. See [`ready`](Self::ready).
            ///
            /// # Errors
            /// When the runtime that the socket belongs to has been shut down.
            ///
            /// # Cancel safety
            /// **Strict.** Readiness stays until an operation finds that it is over.
            #[track_caller]
            pub fn readable(&self) -> impl Future<Output = io::Result<()>> {
                let ready = self.ready(Interest::READABLE);
                async move { ready.await.map(drop) }
            }

            /// Waits until a write is worth a try. See [`ready`](Self::ready).
            ///
            /// # Errors
            /// When the runtime that the socket belongs to has been shut down.
            ///
            /// # Cancel safety
            /// **Strict.** Readiness stays until an operation finds that it is over.
            #[track_caller]
            pub fn writable(&self) -> impl Future<Output = io::Result<()>> {
                let ready = self.ready(Interest::WRITABLE);
                async move { ready.await.map(drop) }
            }

            /// Waits until the socket is ready in one of the ways that `interest` asks for, and says in which.
            ///
            /// Any number of tasks may wait at once; all are woken. It may be ready and the operation still fail with
            /// [`WouldBlock`](io::ErrorKind::WouldBlock): then wait again.
            ///
            /// # Errors
            /// When the runtime that the socket belongs to has been shut down.
            ///
            /// # Cancel safety
            /// **Strict.** Readiness stays until an operation finds that it is over.
            #[track_caller]
            pub fn ready(&self, interest: Interest) -> impl Future<Output = io::Result<Ready>> {
                let seen = self.io.wait_ready(interest, std::panic::Location::caller());
                async move { Ok(seen.await?.ready(interest)) }
            }

            /// Does `op` on the socket once, unless it is known not to be ready.
            ///
            /// # Errors
            /// What `op` returns, and [`WouldBlock`](io::ErrorKind::WouldBlock) when it was not tried.
            pub fn try_io<R>(&self, interest: Interest, op: impl FnOnce() -> io::Result<R>) -> io::Result<R> {
                self.io.try_io(interest, |_| op())
            }

            /// Does `op`, and again each time the socket is ready, until it does not fail with
            /// [`WouldBlock`](io::ErrorKind::WouldBlock).
            ///
            /// # Errors
            /// What `op` returns, and when the runtime that the socket belongs to has been shut down.
            ///
            /// # Cancel safety
            /// **Strict**, if `op` is.
            #[track_caller]
            pub fn async_io<R>(
                &self,
                interest: Interest,
                mut op: impl FnMut() -> io::Result<R>,
            ) -> impl Future<Output = io::Result<R>> {
                self.io.io(interest, std::panic::Location::caller(), move |_| op())
            }
        }
    };
}

/// What a datagram socket does, whatever its addresses are.
macro_rules! datagram {
    ($name:ident, $addr:ty) => {
        impl $name {
            /// Sends a message to the address that the socket is connected to.
            ///
            /// # Errors
            /// What the system reports. An error that came back for an earlier message may be reported here.
            ///
            /// # Cancel safety
            /// **Strict.** A message is sent only by the poll that says so.
            #[track_caller]
            pub fn send(&self, buf: &[u8]) -> impl Future<Output = io::Result<usize>> {
                self.io.io(Interest::WRITABLE, std::panic::Location::caller(), |socket| socket.send(buf))
            }

            /// Sends a message, if there is room for it.
            ///
            /// # Errors
            /// As [`send`](Self::send), and [`WouldBlock`](io::ErrorKind::WouldBlock).
            pub fn try_send(&self, buf: &[u8]) -> io::Result<usize> {
                self.io.try_io(Interest::WRITABLE, |socket| socket.send(buf))
            }

            /// Polls to send a message. There is one place for a task that polls to write.
            ///
            /// # Errors
            /// As [`send`](Self::send).
            pub fn poll_send(&self, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
                self.io.poll_io(Interest::WRITABLE, cx, |socket| socket.send(buf))
            }

            /// Receives a message from the address that the socket is connected to. What does not fit is lost.
            ///
            /// # Errors
            /// What the system reports: also that an earlier message was refused.
            ///
            /// # Cancel safety
            /// **Strict.** A message is taken only by the poll that returns it.
            #[track_caller]
            pub fn recv(&self, buf: &mut [u8]) -> impl Future<Output = io::Result<usize>> {
                self.io.io(Interest::READABLE, std::panic::Location::caller(), |socket| socket.recv(buf))
            }

            /// Receives a message, if one is there.
            ///
            /// # Errors
            /// As [`recv`](Self::recv), and [`WouldBlock`](io::ErrorKind::WouldBlock).
            pub fn try_recv(&self, buf: &mut [u8]) -> io::Result<usize> {
                self.io.try_io(Interest::READABLE, |socket| socket.recv(buf))
            }

            /// Polls to receive a message. There is one place for a task that polls to read.
            ///
            /// # Errors
            /// As [`recv`](Self::recv).
            pub fn poll_recv(&self, cx: &mut Context<'_>, buf: &mut [u8]) -> Poll<io::Result<usize>> {
                self.io.poll_io(Interest::READABLE, cx, |socket| socket.recv(buf))
            }

            /// Receives a message, and says whose. What does not fit is lost.
            ///
            /// # Errors
            /// As [`recv`](Self::recv).
            ///
            /// # Cancel safety
            /// **Strict.** A message is taken only by the poll that returns it.
            #[track_caller]
            pub fn recv_from(&self, buf: &mut [u8]) -> impl Future<Output = io::Result<(usize, $addr)>> {
                self.io.io(Interest::READABLE, std::panic::Location::caller(), |socket| socket.recv_from(buf))
            }

            /// Receives a message, if one is there, and says whose.
            ///
            /// # Errors
            /// As [`recv`](Self::recv), and [`WouldBlock`](io::ErrorKind::WouldBlock).
            pub fn try_recv_from(&self, buf: &mut [u8]) -> io::Result<(usize, $addr)> {
                self.io.try_io(Interest::READABLE, |socket| socket.recv_from(buf))
            }

            /// Polls to receive a message. There is one place for a task that polls to read.
            ///
            /// # Errors
            /// As [`recv`](Self::recv).
            pub fn poll_recv_from(
                &self,
                cx: &mut Context<'_>,
                buf: &mut [u8],
            ) -> Poll<io::Result<(usize, $addr)>> {
                self.io.poll_io(Interest::READABLE, cx, |socket| socket.recv_from(buf))
            }

            /// The address that the socket is bound to.
            ///
            /// # Errors
            /// When the system cannot tell.
            pub fn local_addr(&self) -> io::Result<$addr> {
                self.io.get_ref().local_addr()
            }

            /// The address that the socket is connected to.
            ///
            /// # Errors
            /// When it is not connected.
            pub fn peer_addr(&self) -> io::Result<$addr> {
                self.io.get_ref().peer_addr()
            }
        }
    };
}

/// What a listener does, whatever its addresses are. `$accepted` turns what the system gives into stream and address.
macro_rules! listener {
    ($name:ident, $stream:ident, $addr:ty, $accepted:path) => {
        impl $name {
            /// Takes the next connection.
            ///
            /// Runs out of nothing: when the process has no descriptors left, or the system no memory, this waits
            /// (5 ms, then up to 50 ms) and tries again, and a connection that ended before it was taken is skipped.
            /// So a loop that accepts need neither end nor spin. Several tasks may accept from one listener; each
            /// connection goes to one of them.
            ///
            /// # Errors
            /// What else the system reports, and when the runtime that the listener belongs to has been shut down.
            ///
            /// # Cancel safety
            /// **Strict.** A connection is taken only by the poll that returns it.
            #[track_caller]
            pub fn accept(&self) -> impl Future<Output = io::Result<($stream, $addr)>> {
                let mut waiting = self.io.waiting(Interest::READABLE, std::panic::Location::caller());
                let mut accept = Accept::default();
                poll_fn(move |cx| {
                    let taken = ready!(
                        accept.poll(cx, |cx| { waiting.poll_io(cx, |_| socket::accept(self.io.get_ref())) })
                    );
                    Poll::Ready(taken.and_then($accepted))
                })
            }

            /// Polls to take the next connection. There is one place for a task that polls.
            ///
            /// # Errors
            /// As [`accept`](Self::accept), which also says what happens when there are no descriptors left.
            pub fn poll_accept(&self, cx: &mut Context<'_>) -> Poll<io::Result<($stream, $addr)>> {
                // Taken out, so that no lock is held while a timer takes the task's waker.
                let mut accept = std::mem::take(&mut *self.accept.lock());
                let taken = accept.poll(cx, |cx| self.io.poll_io(Interest::READABLE, cx, socket::accept));
                // Dropped after the lock.
                let _before = std::mem::replace(&mut *self.accept.lock(), accept);
                Poll::Ready(ready!(taken).and_then($accepted))
            }

            /// The connections, one after the other, without end.
            pub fn incoming(&self) -> Incoming<'_> {
                Incoming { listener: self }
            }

            /// The address that it listens on.
            ///
            /// # Errors
            /// When the system cannot tell.
            pub fn local_addr(&self) -> io::Result<$addr> {
                self.io.get_ref().local_addr()
            }
        }

        #[doc = concat!("The stream of connections that [`", stringify!($name), "::incoming`] gives.")]
        #[must_use = "streams do nothing unless they are polled"]
        #[derive(Debug)]
        pub struct Incoming<'a> {
            listener: &'a $name,
        }

        impl futures_core::Stream for Incoming<'_> {
            type Item = io::Result<$stream>;

            fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<io::Result<$stream>>> {
                let taken = ready!(self.listener.poll_accept(cx));
                Poll::Ready(Some(taken.map(|(stream, _)| stream)))
            }
        }
    };
}

pub(super) use {datagram, listener, readiness, socket};
