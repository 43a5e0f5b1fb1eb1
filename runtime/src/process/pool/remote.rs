//! Layer 3, process. A `Queue` as the other processes have it: `RemoteQueue`.
//!
//! Owns connections to the socket of the queue, as many as there were threads that used it at once; each is in the
//! hands of one thread from a request to the end of its answer, and dropped when something is amiss. Called by user
//! code.
#![forbid(unsafe_code)]

use std::fmt;
use std::io::{self, Read, Write};
use std::marker::PhantomData;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{self, SocketAddr};
use std::time::Duration;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::frame::{self, LIMIT, Malformed, Message, Reader, tag};
use super::queue::{FOR_EVER, QueueError, decode, encode};
use crate::shim::Mutex;

fn lost(error: impl fmt::Display) -> QueueError {
    QueueError::Lost { reason: error.to_string() }
}

/// A [`Queue`](super::Queue) that lives in another process.
///
/// It is connected when it is first used, and its methods block: a job, or a thread, may do so, and a task
/// moves them to
/// [`spawn_blocking`](crate::spawn_blocking). Several threads may use one at once.
///
/// It can be sent to other processes: it is serialised as its name.
pub struct RemoteQueue<T> {
    name: String,
    /// Connections that nobody uses just now.
    idle: Mutex<Vec<Line>>,
    items: PhantomData<fn(T) -> T>,
}

#[derive(Debug)]
struct Line {
    stream: net::UnixStream,
    reader: Reader,
}

impl Line {
    fn ask(&mut self, request: &[u8]) -> Result<Message, QueueError> {
        self.stream.write_all(request).map_err(lost)?;
        loop {
            match self.reader.take() {
                Ok(Some(message)) => return Ok(message),
                Ok(None) => {}
                Err(Malformed(text)) => return Err(lost(text)),
            }
            match self.stream.read(self.reader.room()) {
                Ok(0) => return Err(lost("it has closed the connection")),
                Ok(count) => self.reader.filled(count),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(lost(error)),
            }
        }
    }
}

fn micros(limit: Duration) -> u64 {
    // Rounded up: never early.
    u64::try_from(limit.as_nanos().div_ceil(1_000)).unwrap_or(FOR_EVER)
}

impl<T: Serialize + DeserializeOwned> RemoteQueue<T> {
    /// Puts an item in. Blocks while the queue is full.
    ///
    /// # Errors
    /// [`QueueError::Closed`], [`QueueError::Item`] when the item cannot be written, [`QueueError::Lost`].
    pub fn put(&self, item: &T) -> Result<(), QueueError> {
        self.put_within(item, FOR_EVER)
    }

    /// Puts an item in. Blocks while the queue is full, but no longer than `limit`; with zero, not at all.
    ///
    /// # Errors
    /// As [`put`](Self::put), and [`QueueError::TimedOut`]: the item was not put in.
    pub fn put_timeout(&self, item: &T, limit: Duration) -> Result<(), QueueError> {
        self.put_within(item, micros(limit))
    }

    fn put_within(&self, item: &T, wait: u64) -> Result<(), QueueError> {
        self.plain(&encode(tag::PUT, wait, item)?)
    }

    /// Takes an item out. Blocks while there is none.
    ///
    /// # Errors
    /// [`QueueError::Closed`] once the queue is closed and empty, [`QueueError::Item`] when what was taken is
    /// no item of this type, [`QueueError::Lost`].
    pub fn get(&self) -> Result<T, QueueError> {
        self.get_within(FOR_EVER)
    }

    /// Takes an item out. Blocks while there is none, but no longer than `limit`; with zero, not at all.
    ///
    /// # Errors
    /// As [`get`](Self::get), and [`QueueError::TimedOut`]: nothing was taken.
    pub fn get_timeout(&self, limit: Duration) -> Result<T, QueueError> {
        self.get_within(micros(limit))
    }

    fn get_within(&self, wait: u64) -> Result<T, QueueError> {
        let mut line = self.line()?;
        let message = line.ask(&encode(tag::GET, wait, &())?)?;
        if message.tag != tag::ITEM {
            self.keep(line);
            return Err(plain_answer(&message).err().unwrap_or_else(|| lost("an answer without an item")));
        }
        line.stream.write_all(&frame::frame_of_bytes(tag::TAKEN, &[])).map_err(lost)?;
        self.keep(line);
        decode(&message.body)
    }

    /// How many items are in it.
    ///
    /// # Errors
    /// [`QueueError::Lost`].
    pub fn len(&self) -> Result<usize, QueueError> {
        let mut line = self.line()?;
        let message = line.ask(&frame::frame_of_bytes(tag::LENGTH, &[]))?;
        self.keep(line);
        decode::<u64>(&message.body).map(|length| length as usize)
    }

    /// Whether there are none.
    ///
    /// # Errors
    /// [`QueueError::Lost`].
    pub fn is_empty(&self) -> Result<bool, QueueError> {
        self.len().map(|length| length == 0)
    }

    /// Closes the queue, for all; see [`Queue::close`](super::Queue::close).
    ///
    /// # Errors
    /// [`QueueError::Lost`].
    pub fn close(&self) -> Result<(), QueueError> {
        self.plain(&frame::frame_of_bytes(tag::CLOSE, &[]))
    }

    /// A request whose answer says no more than how it went.
    fn plain(&self, request: &[u8]) -> Result<(), QueueError> {
        let mut line = self.line()?;
        let message = line.ask(request)?;
        self.keep(line);
        plain_answer(&message)
    }

    fn line(&self) -> Result<Line, QueueError> {
        if let Some(line) = self.idle.lock().pop() {
            return Ok(line);
        }
        let addr = SocketAddr::from_abstract_name(&self.name).map_err(lost)?;
        let stream = net::UnixStream::connect_addr(&addr).map_err(lost)?;
        Ok(Line { stream, reader: Reader::new(LIMIT) })
    }

    fn keep(&self, line: Line) {
        self.idle.lock().push(line);
    }
}

fn plain_answer(message: &Message) -> Result<(), QueueError> {
    match message.tag {
        tag::DONE => Ok(()),
        tag::LATE => Err(QueueError::TimedOut),
        tag::CLOSED => Err(QueueError::Closed),
        tag => Err(lost(format!("an answer of an unknown kind ({tag})"))),
    }
}

impl<T> RemoteQueue<T> {
    pub(super) fn to(name: String) -> RemoteQueue<T> {
        RemoteQueue { name, idle: Mutex::new(Vec::new()), items: PhantomData }
    }
}

impl<T> Clone for RemoteQueue<T> {
    fn clone(&self) -> RemoteQueue<T> {
        RemoteQueue::to(self.name.clone())
    }
}

impl<T> Serialize for RemoteQueue<T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.name.serialize(serializer)
    }
}

impl<'de, T> Deserialize<'de> for RemoteQueue<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<RemoteQueue<T>, D::Error> {
        String::deserialize(deserializer).map(RemoteQueue::to)
    }
}

impl<T> fmt::Debug for RemoteQueue<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RemoteQueue").field("name", &self.name).finish_non_exhaustive()
    }
}
