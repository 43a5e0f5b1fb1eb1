//! TCP, UDP and Unix sockets.
//!
//! | to …                             | use                                                             |
//! |----------------------------------|-----------------------------------------------------------------|
//! | serve, or connect                | [`TcpListener`], [`TcpStream`]                                  |
//! | the same within one machine      | [`UnixListener`], [`UnixStream`]                                |
//! | set options before that          | [`TcpSocket`]                                                   |
//! | send and receive messages        | [`UdpSocket`], [`UnixDatagram`]                                 |
//! | look up a host                   | [`lookup_host`]                                                 |
//! | set an option that is not here   | `socket2::SockRef::from(&socket)`                               |
//! | wait on any other descriptor     | [`AsyncFd`](crate::AsyncFd)                                     |
//!
//! A socket belongs to the runtime it was made on and may be used on any thread. Operations are tried at once and
//! wait only when they would block. Each method with `&self` may be used by several tasks at the same time; the
//! `poll_` functions and the traits [`AsyncRead`](crate::io::AsyncRead) and [`AsyncWrite`](crate::io::AsyncWrite) have
//! place for one task that reads and one that writes. Nagle's algorithm is as the system has it: on, until
//! [`TcpStream::set_nodelay`].
//!
//! # Examples
//! A server that sends back what it gets, and its client:
//! ```
//! use filch::io::{AsyncReadExt, AsyncWriteExt, copy};
//! use filch::net::{TcpListener, TcpStream};
//!
//! # fn main() -> std::io::Result<()> {
//! filch::run(async {
//!     let listener = TcpListener::bind("127.0.0.1:0").await?;
//!     let addr = listener.local_addr()?;
//!     filch::spawn(async move {
//!         loop {
//!             let (stream, _) = listener.accept().await?;
//!             filch::spawn(async move { copy(&stream, &stream).await });
//!         }
//!         #[allow(unreachable_code)]
//!         std::io::Result::Ok(())
//!     });
//!
//!     let mut stream = TcpStream::connect(addr).await?;
//!     stream.write_all(b"hello").await?;
//!     let mut answer = [0; 5];
//!     stream.read_exact(&mut answer).await?;
//!     assert_eq!(&answer, b"hello");
//!     Ok(())
//! })
//! # }
//! ```
#![deny(unsafe_code)] // Not `forbid`: that would reach `ucred`.

// Layer 3. Each file is over `async_fd`; none names an atomic, a task or a worker.
mod addr;
mod socket;
pub(crate) mod stream;
pub mod tcp;
mod tcp_socket;
mod ucred;
mod udp;
pub mod unix;

pub use addr::{ToSocketAddrs, lookup_host};
pub use tcp::{TcpListener, TcpStream};
pub use tcp_socket::TcpSocket;
#[cfg(feature = "process-pool")]
pub(crate) use ucred::peer_cred;
pub use udp::UdpSocket;
pub use unix::{UnixDatagram, UnixListener, UnixStream};
