//! Layer 3, net. A TCP socket before it listens or connects, to set options on.
#![forbid(unsafe_code)]

use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, RawFd};
use std::panic::Location;
use std::time::Duration;

use socket2::{Domain, Protocol, SockAddr, Socket, Type};

use super::addr::explain_address;
use super::tcp::{TcpListener, TcpStream};

/// A TCP socket that does nothing yet. Set its options, then [`listen`](TcpSocket::listen) or
/// [`connect`](TcpSocket::connect).
///
/// # Examples
/// Two listeners that share one port, so that each worker may have its own:
/// ```
/// use filch::net::TcpSocket;
///
/// # fn main() -> std::io::Result<()> {
/// filch::run(async {
///     let listen = |addr| {
///         let socket = TcpSocket::new_v4()?;
///         socket.set_reuseport(true)?;
///         socket.bind(addr)?;
///         socket.listen(1024)
///     };
///     let one = listen("127.0.0.1:0".parse().unwrap())?;
///     let two = listen(one.local_addr()?)?;
///     assert_eq!(one.local_addr()?, two.local_addr()?);
///     Ok(())
/// })
/// # }
/// ```
pub struct TcpSocket {
    socket: Socket,
}

macro_rules! options {
    ($($(#[$meta:meta])* $get:ident, $set:ident: $ty:ty = $raw_get:ident, $raw_set:ident;)*) => {$(
        /// Whether it is set, or to what.
        ///
        /// # Errors
        /// When the system cannot tell.
        pub fn $get(&self) -> io::Result<$ty> {
            Ok(self.socket.$raw_get()?.try_into().unwrap_or_default())
        }

        $(#[$meta])*
        ///
        /// # Errors
        /// When the system refuses.
        pub fn $set(&self, value: $ty) -> io::Result<()> {
            self.socket.$raw_set(value as _)
        }
    )*};
}

impl TcpSocket {
    /// A socket for IPv4 addresses.
    ///
    /// # Errors
    /// When there are no descriptors left.
    pub fn new_v4() -> io::Result<TcpSocket> {
        TcpSocket::of(Domain::IPV4)
    }

    /// A socket for IPv6 addresses.
    ///
    /// # Errors
    /// When there are no descriptors left, or the system has no IPv6.
    pub fn new_v6() -> io::Result<TcpSocket> {
        TcpSocket::of(Domain::IPV6)
    }

    /// A socket of the same kind as `addr`.
    pub(super) fn new(addr: SocketAddr) -> io::Result<TcpSocket> {
        TcpSocket::of(Domain::for_address(addr))
    }

    fn of(domain: Domain) -> io::Result<TcpSocket> {
        let socket = Socket::new(domain, Type::STREAM.nonblocking(), Some(Protocol::TCP))?;
        Ok(TcpSocket { socket })
    }

    options! {
        /// Lets an address be used again while old connections of it linger.
        reuseaddr, set_reuseaddr: bool = reuse_address, set_reuse_address;
        /// Lets several sockets listen on one address; the system spreads the connections.
        reuseport, set_reuseport: bool = reuse_port, set_reuse_port;
        /// Sends small packets at once.
        nodelay, set_nodelay: bool = tcp_nodelay, set_tcp_nodelay;
        /// Has the system check now and then that the other side is still there.
        keepalive, set_keepalive: bool = keepalive, set_keepalive;
        /// Sets the size of the buffer for what was not sent yet, in bytes. Linux doubles it.
        send_buffer_size, set_send_buffer_size: u32 = send_buffer_size, set_send_buffer_size;
        /// Sets the size of the buffer for what was not received yet, in bytes. Linux doubles it.
        recv_buffer_size, set_recv_buffer_size: u32 = recv_buffer_size, set_recv_buffer_size;
    }

    /// How long closing waits for what was not sent yet.
    ///
    /// # Errors
    /// When the system cannot tell.
    pub fn linger(&self) -> io::Result<Option<Duration>> {
        self.socket.linger()
    }

    /// Sets how long closing waits for what was not sent yet. See [`TcpStream::set_linger`].
    ///
    /// # Errors
    /// When the system refuses.
    pub fn set_linger(&self, linger: Option<Duration>) -> io::Result<()> {
        self.socket.set_linger(linger)
    }

    /// Takes the error that is pending on the socket, if any.
    ///
    /// # Errors
    /// When the system cannot tell.
    pub fn take_error(&self) -> io::Result<Option<io::Error>> {
        self.socket.take_error()
    }

    /// The address that it is bound to.
    ///
    /// # Errors
    /// When the system cannot tell.
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        address(&self.socket.local_addr()?)
    }

    /// Binds it to `addr`: to listen there, or to connect from there.
    ///
    /// # Errors
    /// When the address is taken or not ours.
    pub fn bind(&self, addr: SocketAddr) -> io::Result<()> {
        self.bind_raw(addr).map_err(|error| explain_address("bind to", addr, error))
    }

    pub(super) fn bind_raw(&self, addr: SocketAddr) -> io::Result<()> {
        self.socket.bind(&addr.into())
    }

    /// Takes connections, of which at most `backlog` wait to be accepted.
    ///
    /// # Errors
    /// Outside of a runtime, and when the address is taken.
    pub fn listen(self, backlog: u32) -> io::Result<TcpListener> {
        self.socket.listen(i32::try_from(backlog).unwrap_or(i32::MAX))?;
        TcpListener::from_std(self.socket.into())
    }

    /// Connects to `addr`.
    ///
    /// # Errors
    /// When nobody listens there, and so on; and outside of a runtime.
    ///
    /// # Cancel safety
    /// **Strict.** A connection that was begun is given up.
    #[track_caller]
    pub fn connect(self, addr: SocketAddr) -> impl Future<Output = io::Result<TcpStream>> {
        self.connect_at(addr, Location::caller())
    }

    pub(super) async fn connect_at(
        self,
        addr: SocketAddr,
        location: &'static Location<'static>,
    ) -> io::Result<TcpStream> {
        let begun = match self.socket.connect(&addr.into()) {
            // Interrupted: it goes on by itself.
            Err(error) if is_under_way(&error) => Ok(()),
            result => result,
        };
        match begun {
            Ok(()) => TcpStream::connecting(self.socket, location).await,
            Err(error) => Err(error),
        }
        .map_err(|error| explain_address("connect to", addr, error))
    }
}

fn is_under_way(error: &io::Error) -> bool {
    matches!(error.raw_os_error(), Some(libc::EINPROGRESS | libc::EINTR))
}

/// The IP address that the system gave.
pub(super) fn address(addr: &SockAddr) -> io::Result<SocketAddr> {
    addr.as_socket().ok_or_else(|| io::Error::other("the socket has no IP address"))
}

impl AsFd for TcpSocket {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

impl AsRawFd for TcpSocket {
    fn as_raw_fd(&self) -> RawFd {
        self.socket.as_raw_fd()
    }
}

impl fmt::Debug for TcpSocket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.socket.fmt(f)
    }
}
