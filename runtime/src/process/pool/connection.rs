//! Layer 3, process. Values between two processes: `pipe`, and its two ends.
//!
//! Owns a socket, and on each of its ways what is in the middle of a frame when a future is dropped, so that
//! the next one goes on from there. Called by user code.
#![forbid(unsafe_code)]

use std::fmt;
use std::io;
use std::marker::PhantomData;
use std::os::fd::OwnedFd;
use std::os::unix::net;

use filch_channels::sync::Lock;
use futures_lite::AsyncWriteExt;
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::frame::{self, LIMIT, Reader, tag};
use super::link::{Lost, receive};
use crate::net::UnixStream;
use crate::process::Stdio;

/// Two connected ends, on each of which values of type `T` can be sent and received: `multiprocessing.Pipe`.
///
/// The other end may go to another process: as its input, for one that is started by
/// [`Command`](crate::process::Command).
///
/// # Errors
/// When there are no descriptors left, and outside of a runtime.
///
/// # Examples
/// ```
/// use filch::process;
///
/// # fn main() -> std::io::Result<()> {
/// filch::run(async {
///     let (parent, child) = process::pipe::<(u32, String)>()?;
///     parent.send(&(1, "hello".into())).await?;
///     assert_eq!(child.recv().await?, Some((1, "hello".into())));
///     child.send(&(2, "hello yourself".into())).await?;
///     drop(child);
///     assert_eq!(parent.recv().await?, Some((2, "hello yourself".into())));
///     assert_eq!(parent.recv().await?, None);
///     Ok(())
/// })
/// # }
/// ```
///
/// To a program that is started with the other end as its standard input, and takes it from there:
/// ```no_run
/// use std::os::fd::AsFd;
///
/// use filch::process::{self, Command, Connection};
///
/// # async fn parent() -> std::io::Result<()> {
/// let (connection, theirs) = process::pipe::<String>()?;
/// let child = Command::new("./worker").stdin(theirs.into_stdio()?).spawn()?;
/// connection.send(&"hello".to_owned()).await?;
/// # Ok(())
/// # }
///
/// // And in `./worker`:
/// # async fn child() -> std::io::Result<()> {
/// let connection = Connection::<String>::from_fd(std::io::stdin().as_fd().try_clone_to_owned()?)?;
/// while let Some(text) = connection.recv().await? {
///     println!("{text}");
/// }
/// # Ok(())
/// # }
/// ```
pub fn pipe<T: Serialize + DeserializeOwned>() -> io::Result<(Connection<T>, Connection<T>)> {
    let (one, other) = UnixStream::pair()?;
    Ok((Connection::new(one), Connection::new(other)))
}

/// One end of a [`pipe`].
///
/// Sending and receiving can be done by different tasks at once, and each of the two by several: they take
/// turns. Dropping the end closes it. A value may take up to 64 MiB.
pub struct Connection<T> {
    stream: UnixStream,
    reader: Lock<Reader>,
    writer: Lock<Outgoing>,
    values: PhantomData<fn(T) -> T>,
}

/// What has been taken on, and how much of it is written.
#[derive(Debug, Default)]
struct Outgoing {
    bytes: Vec<u8>,
    written: usize,
}

impl<T: Serialize + DeserializeOwned> Connection<T> {
    fn new(stream: UnixStream) -> Connection<T> {
        let (reader, writer) = (Lock::new(Reader::new(LIMIT)), Lock::new(Outgoing::default()));
        Connection { stream, reader, writer, values: PhantomData }
    }

    /// The end whose socket another process has left to this one.
    ///
    /// # Errors
    /// When the descriptor is no socket, and outside of a runtime.
    pub fn from_fd(fd: OwnedFd) -> io::Result<Connection<T>> {
        Ok(Connection::new(UnixStream::from_std(net::UnixStream::from(fd))?))
    }

    /// The socket, to be left to another process. It stays non-blocking.
    ///
    /// # Errors
    /// When part of a value has been sent or received: nobody else could go on from there.
    pub fn into_fd(self) -> io::Result<OwnedFd> {
        let whole = match (self.reader.try_lock(), self.writer.try_lock()) {
            (Ok(reader), Ok(writer)) => !reader.has_more() && writer.written == writer.bytes.len(),
            _ => false,
        };
        if !whole {
            return Err(io::Error::other("this end of the pipe is in the middle of a value"));
        }
        Ok(OwnedFd::from(self.stream.into_std()?))
    }

    /// The socket, as the input or output of a program that is to be started.
    ///
    /// # Errors
    /// As [`into_fd`](Self::into_fd).
    pub fn into_stdio(self) -> io::Result<Stdio> {
        self.into_fd().map(Stdio::from)
    }

    /// Sends a value. Waits while the other side is far behind.
    ///
    /// # Errors
    /// `InvalidInput` when the value cannot be written, and nothing is sent; `BrokenPipe` when the other end
    /// is closed.
    ///
    /// # Cancel safety
    /// **Not cancel safe:** the value may have been taken on, and is then sent by the next call.
    pub async fn send(&self, value: &T) -> io::Result<()> {
        let frame = frame::frame(tag::VALUE, 0, 0, LIMIT, value)
            .map_err(|error| io::Error::new(io::ErrorKind::InvalidInput, format!("the value: {error}")))?;
        let mut out = self.writer.lock().await;
        out.flush(&self.stream).await?;
        *out = Outgoing { bytes: frame, written: 0 };
        out.flush(&self.stream).await
    }

    /// Receives a value; `None` when the other end was closed, and all has been received.
    ///
    /// # Errors
    /// `InvalidData` when what comes is no value of this type (the connection is of no more use then, unless
    /// it was a whole frame); `UnexpectedEof` when the other end was closed in the middle of one.
    ///
    /// # Cancel safety
    /// **Strict.** What has come of a value is kept.
    pub async fn recv(&self) -> io::Result<Option<T>> {
        let invalid = |text: String| io::Error::new(io::ErrorKind::InvalidData, text);
        let mut reader = self.reader.lock().await;
        match receive(&self.stream, &mut reader).await {
            Ok(message) if message.tag == tag::VALUE => {
                frame::value(&message.body).map(Some).map_err(invalid)
            }
            Ok(message) => Err(invalid(format!("a frame that is no value (tag {})", message.tag))),
            Err(Lost::Malformed(text)) => Err(invalid(text)),
            Err(Lost::Ended) if reader.has_more() => {
                let text = "the other end of the pipe was closed in the middle of a value";
                Err(io::Error::new(io::ErrorKind::UnexpectedEof, text))
            }
            Err(Lost::Ended) => Ok(None),
        }
    }
}

impl Outgoing {
    async fn flush(&mut self, mut stream: &UnixStream) -> io::Result<()> {
        while self.written < self.bytes.len() {
            match stream.write(&self.bytes[self.written..]).await? {
                0 => return Err(io::ErrorKind::WriteZero.into()),
                count => self.written += count,
            }
        }
        // Not kept: it may be large.
        *self = Outgoing::default();
        Ok(())
    }
}

impl<T> fmt::Debug for Connection<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Connection").field("stream", &self.stream).finish_non_exhaustive()
    }
}
