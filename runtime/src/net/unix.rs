//! Unix sockets: connections and messages within one machine, by the path of a file.
#![forbid(unsafe_code)]

// Layer 3, net. Owns what only Unix sockets have; the rest of these types comes from `socket` and `stream`.
use std::future::poll_fn;
use std::io;
use std::os::unix::net;
use std::panic::Location;
use std::path::Path;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use socket2::{Domain, SockAddr, Socket, Type};

use super::addr::explain_path;
use super::socket::{self, Accept, datagram, listener, readiness, socket};
use super::stream::stream;
use crate::async_fd::AsyncFd;
use crate::io::{Interest, Ready};
use crate::shim::Mutex;

pub use super::ucred::UCred;
pub use std::os::unix::net::SocketAddr;

/// A Unix socket that takes connections.
///
/// The file stays when the listener is dropped; whoever makes it removes it.
///
/// # Examples
/// ```
/// use filch::net::{UnixListener, UnixStream};
///
/// # fn main() -> std::io::Result<()> {
/// let path = std::env::temp_dir().join(format!("filch-doc-{}.sock", std::process::id()));
/// filch::run(async {
///     let listener = UnixListener::bind(&path)?;
///     let client = UnixStream::connect(&path).await?;
///     let (server, _) = listener.accept().await?;
///     assert_eq!(server.local_addr()?.as_pathname(), Some(path.as_path()));
///     # drop(client);
///     std::fs::remove_file(&path)
/// })
/// # }
/// ```
pub struct UnixListener {
    io: AsyncFd<net::UnixListener>,
    /// For those who poll; `accept` has its own.
    accept: Mutex<Accept>,
}

socket!(UnixListener, net::UnixListener, accept: Mutex::new(Accept::default()));
listener!(UnixListener, UnixStream, SocketAddr, accepted);

impl UnixListener {
    /// Listens on the socket file `path`, and makes it.
    ///
    /// # Errors
    /// When the file is there already, may not be made, and outside of a runtime.
    pub fn bind(path: impl AsRef<Path>) -> io::Result<UnixListener> {
        let path = path.as_ref();
        let listen = || UnixListener::from_std(net::UnixListener::bind(path)?);
        listen().map_err(|error| explain_path("listen on", path, error))
    }
}

fn accepted((socket, addr): (Socket, SockAddr)) -> io::Result<(UnixStream, SocketAddr)> {
    // Most peers have no name, which socket2 does not tell as an address; the empty path is std's word for it.
    let addr = addr.as_unix().map_or_else(|| SocketAddr::from_pathname(""), Ok)?;
    Ok((UnixStream::wrap(socket.into())?, addr))
}

/// A connection within one machine.
///
/// It is read and written through the traits of [`filch::io`](crate::io), which `&UnixStream` has too.
///
/// # Examples
/// ```
/// use filch::io::{AsyncReadExt, AsyncWriteExt};
/// use filch::net::UnixStream;
///
/// # fn main() -> std::io::Result<()> {
/// filch::run(async {
///     let (mut one, mut other) = UnixStream::pair()?;
///     one.write_all(b"hello").await?;
///     let mut buf = [0; 5];
///     other.read_exact(&mut buf).await?;
///     assert_eq!(&buf, b"hello");
///     Ok(())
/// })
/// # }
/// ```
pub struct UnixStream {
    io: AsyncFd<net::UnixStream>,
}

socket!(UnixStream, net::UnixStream);
readiness!(UnixStream);
stream!(UnixStream, net::UnixStream);

/// How long to wait for a place in the queue of a listener. The system reports none.
const QUEUE_FULL_FIRST: Duration = Duration::from_millis(1);
const QUEUE_FULL_MOST: Duration = Duration::from_millis(50);

impl UnixStream {
    /// Connects to the socket file `path`. A path that begins with a zero byte is an abstract address.
    ///
    /// While the listener's queue is full it waits, and tries again every 50 ms at least.
    ///
    /// # Errors
    /// When there is no such file or nobody listens, and outside of a runtime.
    ///
    /// # Cancel safety
    /// **Strict.** A connection that was begun is given up.
    pub async fn connect(path: impl AsRef<Path>) -> io::Result<UnixStream> {
        let path = path.as_ref();
        connect(path).await.map_err(|error| explain_path("connect to", path, error))
    }

    /// Two connected streams.
    ///
    /// # Errors
    /// When there are no descriptors left, and outside of a runtime.
    pub fn pair() -> io::Result<(UnixStream, UnixStream)> {
        let (one, other) = net::UnixStream::pair()?;
        Ok((UnixStream::from_std(one)?, UnixStream::from_std(other)?))
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
    /// When the system cannot tell.
    pub fn peer_addr(&self) -> io::Result<SocketAddr> {
        self.io.get_ref().peer_addr()
    }

    /// Who the other side was when it connected: process, user and group.
    ///
    /// # Errors
    /// When the system cannot tell.
    pub fn peer_cred(&self) -> io::Result<UCred> {
        super::ucred::peer_cred(self)
    }
}

async fn connect(path: &Path) -> io::Result<UnixStream> {
    let addr = SockAddr::unix(path)?;
    let mut delay = QUEUE_FULL_FIRST;
    loop {
        let socket = Socket::new(Domain::UNIX, Type::STREAM.nonblocking(), None)?;
        match socket.connect(&addr) {
            Ok(()) => return UnixStream::wrap(socket.into()),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                crate::time::sleep(delay).await;
                delay = (delay * 2).min(QUEUE_FULL_MOST);
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
}

/// A socket for messages within one machine.
///
/// # Examples
/// ```
/// use filch::net::UnixDatagram;
///
/// # fn main() -> std::io::Result<()> {
/// filch::run(async {
///     let (one, other) = UnixDatagram::pair()?;
///     one.send(b"first").await?;
///     one.send(b"second").await?;
///     let mut buf = [0; 16];
///     let count = other.recv(&mut buf).await?;
///     assert_eq!(&buf[..count], b"first");
///     Ok(())
/// })
/// # }
/// ```
pub struct UnixDatagram {
    io: AsyncFd<net::UnixDatagram>,
}

socket!(UnixDatagram, net::UnixDatagram);
readiness!(UnixDatagram);
datagram!(UnixDatagram, SocketAddr);

impl UnixDatagram {
    /// A socket at the file `path`, which is made.
    ///
    /// # Errors
    /// When the file is there already, may not be made, and outside of a runtime.
    pub fn bind(path: impl AsRef<Path>) -> io::Result<UnixDatagram> {
        let path = path.as_ref();
        let bind = || UnixDatagram::from_std(net::UnixDatagram::bind(path)?);
        bind().map_err(|error| explain_path("bind to", path, error))
    }

    /// A socket without an address: it can send, but nobody can answer.
    ///
    /// # Errors
    /// When there are no descriptors left, and outside of a runtime.
    pub fn unbound() -> io::Result<UnixDatagram> {
        UnixDatagram::from_std(net::UnixDatagram::unbound()?)
    }

    /// Two sockets, each connected to the other.
    ///
    /// # Errors
    /// When there are no descriptors left, and outside of a runtime.
    pub fn pair() -> io::Result<(UnixDatagram, UnixDatagram)> {
        let (one, other) = net::UnixDatagram::pair()?;
        Ok((UnixDatagram::from_std(one)?, UnixDatagram::from_std(other)?))
    }

    /// Connects the socket: it sends to `path`.
    ///
    /// # Errors
    /// When there is no such socket.
    pub fn connect(&self, path: impl AsRef<Path>) -> io::Result<()> {
        let path = path.as_ref();
        self.io.get_ref().connect(path).map_err(|error| explain_path("connect to", path, error))
    }

    /// Sends a message to the socket at `target`.
    ///
    /// # Errors
    /// What the system reports.
    ///
    /// # Cancel safety
    /// **Strict.** A message is sent only by the poll that says so.
    #[track_caller]
    pub fn send_to(&self, buf: &[u8], target: impl AsRef<Path>) -> impl Future<Output = io::Result<usize>> {
        self.io.io(Interest::WRITABLE, Location::caller(), move |socket| socket.send_to(buf, &target))
    }

    /// Sends a message to the socket at `target`, if there is room for it.
    ///
    /// # Errors
    /// What the system reports, and [`WouldBlock`](io::ErrorKind::WouldBlock).
    pub fn try_send_to(&self, buf: &[u8], target: impl AsRef<Path>) -> io::Result<usize> {
        self.io.try_io(Interest::WRITABLE, |socket| socket.send_to(buf, &target))
    }

    /// Shuts down reading, writing or both.
    ///
    /// # Errors
    /// When it is not connected.
    pub fn shutdown(&self, how: std::net::Shutdown) -> io::Result<()> {
        self.io.get_ref().shutdown(how)
    }
}
