//! Layer 3, net. UDP: messages to and from IP addresses.
//!
//! Owns what only UDP has; the rest of the type comes from `socket`.
#![forbid(unsafe_code)]

use std::io;
use std::net::{self, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::panic::Location;
use std::task::{Context, Poll};

use super::ToSocketAddrs;
use super::addr::{explain_address, first_of};
use super::socket::{datagram, readiness, socket};
use crate::async_fd::AsyncFd;
use crate::io::{Interest, Ready};

/// A UDP socket.
///
/// # Examples
/// ```
/// use filch::net::UdpSocket;
///
/// # fn main() -> std::io::Result<()> {
/// filch::run(async {
///     let server = UdpSocket::bind("127.0.0.1:0").await?;
///     let client = UdpSocket::bind("127.0.0.1:0").await?;
///     client.send_to(b"ping", server.local_addr()?).await?;
///
///     let mut buf = [0; 16];
///     let (count, from) = server.recv_from(&mut buf).await?;
///     assert_eq!((&buf[..count], from), (&b"ping"[..], client.local_addr()?));
///     Ok(())
/// })
/// # }
/// ```
pub struct UdpSocket {
    io: AsyncFd<net::UdpSocket>,
}

socket!(UdpSocket, net::UdpSocket);
readiness!(UdpSocket);
datagram!(UdpSocket, SocketAddr);

macro_rules! options {
    ($($(#[$meta:meta])* $get:ident, $set:ident: $ty:ty;)*) => {$(
        /// Whether it is set, or to what.
        ///
        /// # Errors
        /// When the system cannot tell.
        pub fn $get(&self) -> io::Result<$ty> {
            self.io.get_ref().$get()
        }

        $(#[$meta])*
        ///
        /// # Errors
        /// When the system refuses.
        pub fn $set(&self, value: $ty) -> io::Result<()> {
            self.io.get_ref().$set(value)
        }
    )*};
}

impl UdpSocket {
    /// Binds a socket to `addr`, to the first of its addresses that can be had. Port 0 takes any that is free.
    ///
    /// # Errors
    /// When the address cannot be read or looked up, and when it is taken or not ours; the error says which.
    ///
    /// # Cancel safety
    /// **Strict.** Nothing is left behind.
    pub async fn bind(addr: impl ToSocketAddrs) -> io::Result<UdpSocket> {
        first_of(addr, async |addr| {
            let bind = || UdpSocket::from_std(net::UdpSocket::bind(addr)?);
            bind().map_err(|error| explain_address("bind to", addr, error))
        })
        .await
    }

    /// Connects the socket: it sends to `addr`, and receives from there only. Nothing is sent by that.
    ///
    /// # Errors
    /// When the address cannot be read or looked up, and when there is no way there.
    ///
    /// # Cancel safety
    /// **Strict.** It is connected or it is not.
    pub async fn connect(&self, addr: impl ToSocketAddrs) -> io::Result<()> {
        first_of(addr, async |addr| {
            self.io.get_ref().connect(addr).map_err(|error| explain_address("connect to", addr, error))
        })
        .await
    }

    /// Sends a message to `target`: to the first of its addresses.
    ///
    /// # Errors
    /// When the address cannot be read or looked up, and what the system reports.
    ///
    /// # Cancel safety
    /// **Strict.** A message is sent only by the poll that says so.
    #[track_caller]
    pub fn send_to(&self, buf: &[u8], target: impl ToSocketAddrs) -> impl Future<Output = io::Result<usize>> {
        let location = Location::caller();
        async move {
            let target = super::addr::resolve(target).await?.next().ok_or(io::ErrorKind::InvalidInput)?;
            self.io.io(Interest::WRITABLE, location, |socket| socket.send_to(buf, target)).await
        }
    }

    /// Sends a message to `target`, if there is room for it.
    ///
    /// # Errors
    /// What the system reports, and [`WouldBlock`](io::ErrorKind::WouldBlock).
    pub fn try_send_to(&self, buf: &[u8], target: SocketAddr) -> io::Result<usize> {
        self.io.try_op(Interest::WRITABLE, |socket| socket.send_to(buf, target))
    }

    /// Polls to send a message. There is one place for a task that polls to write.
    ///
    /// # Errors
    /// What the system reports.
    pub fn poll_send_to(
        &self,
        cx: &mut Context<'_>,
        buf: &[u8],
        target: SocketAddr,
    ) -> Poll<io::Result<usize>> {
        self.io.poll_io(Interest::WRITABLE, cx, |socket| socket.send_to(buf, target))
    }

    /// Receives a message, and leaves it there.
    ///
    /// # Errors
    /// What the system reports.
    ///
    /// # Cancel safety
    /// **Strict.** Nothing is taken.
    #[track_caller]
    pub fn peek(&self, buf: &mut [u8]) -> impl Future<Output = io::Result<usize>> {
        self.io.io(Interest::READABLE, Location::caller(), |socket| socket.peek(buf))
    }

    /// Receives a message and says whose, and leaves it there.
    ///
    /// # Errors
    /// What the system reports.
    ///
    /// # Cancel safety
    /// **Strict.** Nothing is taken.
    #[track_caller]
    pub fn peek_from(&self, buf: &mut [u8]) -> impl Future<Output = io::Result<(usize, SocketAddr)>> {
        self.io.io(Interest::READABLE, Location::caller(), |socket| socket.peek_from(buf))
    }

    /// Polls to receive a message, and leaves it there. There is one place for a task that polls to read.
    ///
    /// # Errors
    /// What the system reports.
    pub fn poll_peek_from(
        &self,
        cx: &mut Context<'_>,
        buf: &mut [u8],
    ) -> Poll<io::Result<(usize, SocketAddr)>> {
        self.io.poll_io(Interest::READABLE, cx, |socket| socket.peek_from(buf))
    }

    options! {
        /// Allows messages to a broadcast address.
        broadcast, set_broadcast: bool;
        /// Sets the time to live of the packets it sends.
        ttl, set_ttl: u32;
        /// Sets whether the multicast messages that it sends over IPv4 come back to this machine.
        multicast_loop_v4, set_multicast_loop_v4: bool;
        /// Sets how far the multicast messages that it sends over IPv4 go; 1 is the local network.
        multicast_ttl_v4, set_multicast_ttl_v4: u32;
        /// Sets whether the multicast messages that it sends over IPv6 come back to this machine.
        multicast_loop_v6, set_multicast_loop_v6: bool;
    }

    /// Joins a multicast group, on the interface that has the address `interface` (unspecified: the system's choice).
    ///
    /// # Errors
    /// When the system refuses.
    pub fn join_multicast_v4(&self, group: Ipv4Addr, interface: Ipv4Addr) -> io::Result<()> {
        self.io.get_ref().join_multicast_v4(&group, &interface)
    }

    /// Leaves a multicast group.
    ///
    /// # Errors
    /// When it is no member.
    pub fn leave_multicast_v4(&self, group: Ipv4Addr, interface: Ipv4Addr) -> io::Result<()> {
        self.io.get_ref().leave_multicast_v4(&group, &interface)
    }

    /// Joins a multicast group, on the interface with the number `interface` (0: the system's choice).
    ///
    /// # Errors
    /// When the system refuses.
    pub fn join_multicast_v6(&self, group: &Ipv6Addr, interface: u32) -> io::Result<()> {
        self.io.get_ref().join_multicast_v6(group, interface)
    }

    /// Leaves a multicast group.
    ///
    /// # Errors
    /// When it is no member.
    pub fn leave_multicast_v6(&self, group: &Ipv6Addr, interface: u32) -> io::Result<()> {
        self.io.get_ref().leave_multicast_v6(group, interface)
    }
}
