//! TCP: listening, connecting, and the halves of a split connection.
#![forbid(unsafe_code)]

// Layer 3, net. Owns what only TCP has; the rest of these types comes from `socket` and `stream`.
use std::future::poll_fn;
use std::io;
use std::net::{self, SocketAddr};
use std::panic::Location;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use socket2::{SockAddr, SockRef, Socket, TcpKeepalive};

use super::ToSocketAddrs;
use super::addr::{explain_address, first_of};
use super::socket::{self, Accept, listener, readiness, socket};
use super::stream::stream;
use super::tcp_socket::{TcpSocket, address};
use crate::async_fd::AsyncFd;
use crate::io::{Interest, Ready};
use crate::shim::Mutex;

/// How many connections wait to be accepted, unless [`TcpSocket::listen`] says otherwise. The system may allow fewer.
const BACKLOG: u32 = 1024;

/// A TCP socket that takes connections.
///
/// # Examples
/// ```
/// use filch::net::{TcpListener, TcpStream};
///
/// # fn main() -> std::io::Result<()> {
/// filch::run(async {
///     let listener = TcpListener::bind("127.0.0.1:0").await?;
///     let client = TcpStream::connect(listener.local_addr()?).await?;
///     let (server, peer) = listener.accept().await?;
///     assert_eq!(peer, client.local_addr()?);
///     assert_eq!(server.local_addr()?, client.peer_addr()?);
///     Ok(())
/// })
/// # }
/// ```
pub struct TcpListener {
    io: AsyncFd<net::TcpListener>,
    /// For those who poll; `accept` has its own.
    accept: Mutex<Accept>,
}

socket!(TcpListener, net::TcpListener, accept: Mutex::new(Accept::default()));
listener!(TcpListener, TcpStream, SocketAddr, accepted);

impl TcpListener {
    /// Listens on `addr`, on the first of its addresses that can be had. Port 0 takes any that is free.
    ///
    /// The address may be used again at once after a restart (`SO_REUSEADDR`). Other options: [`TcpSocket`].
    ///
    /// # Errors
    /// When the address cannot be read or looked up, and when it is taken or not ours; the error says which.
    ///
    /// # Cancel safety
    /// **Strict.** Nothing is left behind.
    pub async fn bind(addr: impl ToSocketAddrs) -> io::Result<TcpListener> {
        first_of(addr, async |addr| {
            let listen = || {
                let socket = TcpSocket::new(addr)?;
                socket.set_reuseaddr(true)?;
                socket.bind_raw(addr)?;
                socket.listen(BACKLOG)
            };
            listen().map_err(|error| explain_address("listen on", addr, error))
        })
        .await
    }

    /// The time to live of the packets it sends.
    ///
    /// # Errors
    /// When the system cannot tell.
    pub fn ttl(&self) -> io::Result<u32> {
        self.io.get_ref().ttl()
    }

    /// Sets the time to live of the packets it sends.
    ///
    /// # Errors
    /// When the system refuses.
    pub fn set_ttl(&self, ttl: u32) -> io::Result<()> {
        self.io.get_ref().set_ttl(ttl)
    }
}

fn accepted((socket, addr): (Socket, SockAddr)) -> io::Result<(TcpStream, SocketAddr)> {
    Ok((TcpStream::wrap(socket.into())?, address(&addr)?))
}

/// A TCP connection.
///
/// It is read and written through the traits of [`filch::io`](crate::io), which `&TcpStream` has too. Dropping it
/// closes the connection; [`close`](crate::io::AsyncWriteExt::close) says before that no more will be written.
///
/// # Examples
/// ```
/// use filch::io::{AsyncReadExt, AsyncWriteExt};
/// use filch::net::{TcpListener, TcpStream};
///
/// # fn main() -> std::io::Result<()> {
/// filch::run(async {
///     let listener = TcpListener::bind("127.0.0.1:0").await?;
///     let mut client = TcpStream::connect(listener.local_addr()?).await?;
///     let (mut server, _) = listener.accept().await?;
///
///     client.write_all(b"question").await?;
///     client.close().await?;
///     let mut text = String::new();
///     server.read_to_string(&mut text).await?;
///     assert_eq!(text, "question");
///     Ok(())
/// })
/// # }
/// ```
pub struct TcpStream {
    io: AsyncFd<net::TcpStream>,
}

socket!(TcpStream, net::TcpStream);
readiness!(TcpStream);
stream!(TcpStream, net::TcpStream);

impl TcpStream {
    /// Connects to `addr`: its addresses are tried one after the other.
    ///
    /// There is no limit of time but the system's, which is minutes:
    /// `filch::wait_for(TcpStream::connect(addr), limit)`.
    ///
    /// # Errors
    /// When the address cannot be read or looked up, and that of the last address that was tried; it says which.
    ///
    /// # Cancel safety
    /// **Strict.** A connection that was begun is given up.
    #[track_caller]
    pub fn connect(addr: impl ToSocketAddrs) -> impl Future<Output = io::Result<TcpStream>> {
        let location = Location::caller();
        first_of(addr, async move |addr| TcpSocket::new(addr)?.connect_at(addr, location).await)
    }

    /// Waits for the connection that was begun on `socket`.
    pub(super) async fn connecting(
        socket: Socket,
        location: &'static Location<'static>,
    ) -> io::Result<TcpStream> {
        let stream = TcpStream::wrap(socket.into())?;
        // Both at once: whoever connects will read, and one call of the system is less than two.
        stream.io.arm(Interest::READABLE | Interest::WRITABLE)?;
        stream.io.io(Interest::WRITABLE, location, socket::connected).await?;
        Ok(stream)
    }

    /// Receives what is there, and leaves it there.
    ///
    /// # Errors
    /// What the system reports.
    ///
    /// # Cancel safety
    /// **Strict.** Nothing is taken.
    #[track_caller]
    pub fn peek(&self, buf: &mut [u8]) -> impl Future<Output = io::Result<usize>> {
        self.io.io(Interest::READABLE, Location::caller(), |stream| stream.peek(buf))
    }

    /// Polls to receive what is there, and leaves it there.
    ///
    /// # Errors
    /// As [`peek`](TcpStream::peek).
    pub fn poll_peek(&self, cx: &mut Context<'_>, buf: &mut [u8]) -> Poll<io::Result<usize>> {
        self.io.poll_io(Interest::READABLE, cx, |stream| stream.peek(buf))
    }

    /// Our address.
    ///
    /// # Errors
    /// When the system cannot tell.
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        self.io.get_ref().local_addr()
    }

    /// The address of the other side.
    ///
    /// # Errors
    /// When it is not connected any more.
    pub fn peer_addr(&self) -> io::Result<SocketAddr> {
        self.io.get_ref().peer_addr()
    }

    /// Whether small packets are sent at once.
    ///
    /// # Errors
    /// When the system cannot tell.
    pub fn nodelay(&self) -> io::Result<bool> {
        self.io.get_ref().nodelay()
    }

    /// Sets whether small packets are sent at once (`TCP_NODELAY`), which is what question and answer want.
    ///
    /// # Errors
    /// When the system refuses.
    pub fn set_nodelay(&self, nodelay: bool) -> io::Result<()> {
        self.io.get_ref().set_nodelay(nodelay)
    }

    /// The time to live of the packets it sends.
    ///
    /// # Errors
    /// When the system cannot tell.
    pub fn ttl(&self) -> io::Result<u32> {
        self.io.get_ref().ttl()
    }

    /// Sets the time to live of the packets it sends.
    ///
    /// # Errors
    /// When the system refuses.
    pub fn set_ttl(&self, ttl: u32) -> io::Result<()> {
        self.io.get_ref().set_ttl(ttl)
    }

    /// How long closing waits for what was not sent yet.
    ///
    /// # Errors
    /// When the system cannot tell.
    pub fn linger(&self) -> io::Result<Option<Duration>> {
        SockRef::from(self).linger()
    }

    /// Sets how long closing waits for what was not sent yet; zero resets the connection.
    ///
    /// Any other duration blocks the thread that drops the stream.
    ///
    /// # Errors
    /// When the system refuses.
    pub fn set_linger(&self, linger: Option<Duration>) -> io::Result<()> {
        SockRef::from(self).set_linger(linger)
    }

    /// Whether the system checks now and then that the other side is still there.
    ///
    /// # Errors
    /// When the system cannot tell.
    pub fn keepalive(&self) -> io::Result<bool> {
        SockRef::from(self).keepalive()
    }

    /// Has the system check that the other side is still there once nothing came for `idle`; `None` for never.
    ///
    /// # Errors
    /// When the system refuses.
    pub fn set_keepalive(&self, idle: Option<Duration>) -> io::Result<()> {
        let socket = SockRef::from(self);
        match idle {
            Some(idle) => socket.set_tcp_keepalive(&TcpKeepalive::new().with_time(idle)),
            None => socket.set_keepalive(false),
        }
    }
}
