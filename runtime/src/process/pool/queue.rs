//! Layer 3, process. A queue for many processes, where it lives: `Queue`.
//!
//! Owns the items, as the bytes of their frames, and a socket with an abstract name to which the others
//! connect; only processes of the same user are served. Each request is answered before the next on the same
//! connection. An item that was sent is *lent* until the other side says that it has it; if it says nothing
//! before it ends, the item goes back to the front: so none is lost with a process that is killed. Called by
//! user code.
#![forbid(unsafe_code)]

use std::collections::VecDeque;
use std::error::Error;
use std::fmt;
use std::future::Future;
use std::hash::{BuildHasher, Hasher, RandomState};
use std::io;
use std::marker::PhantomData;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{self, SocketAddr};
use std::pin::pin;
use std::process;
use std::time::Duration;

use filch_channels::sync::{Event, Notify};
use futures_lite::{AsyncWriteExt, FutureExt};
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::frame::{self, LIMIT, Message, Reader, tag};
use super::link::receive;
use super::remote::RemoteQueue;
use crate::net::{UnixListener, UnixStream};
use crate::shim::{Arc, Mutex};
use crate::task::AbortHandle;
use crate::time::{sleep, timeout};

/// What stands for "no limit" in a request.
pub(super) const FOR_EVER: u64 = u64::MAX;

/// Why a [`Queue`] has taken or given nothing.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum QueueError {
    /// It was closed; and, when something was to be taken, is empty.
    Closed,
    /// The time was up: it was full, or empty, for as long.
    TimedOut,
    /// The item cannot be written, or what was taken is no item of this type.
    Item {
        /// Why.
        reason: String,
    },
    /// The process that it lives in cannot be reached.
    Lost {
        /// Why.
        reason: String,
    },
}

impl fmt::Display for QueueError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            QueueError::Closed => f.write_str("the queue is closed"),
            QueueError::TimedOut => f.write_str("the time was up"),
            QueueError::Item { reason } => write!(f, "the item: {reason}"),
            QueueError::Lost { reason } => {
                write!(f, "the process that the queue lives in cannot be reached: {reason}")
            }
        }
    }
}

impl Error for QueueError {}

pub(super) fn encode<T: Serialize>(tag: u8, wait: u64, item: &T) -> Result<Vec<u8>, QueueError> {
    frame::frame(tag, wait, 0, LIMIT, item).map_err(|error| QueueError::Item { reason: error.to_string() })
}

pub(super) fn decode<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, QueueError> {
    frame::value(bytes).map_err(|reason| QueueError::Item { reason })
}

/// The items, and who waits.
#[derive(Debug)]
struct Store {
    state: Mutex<State>,
    /// Told of items, and of the end.
    items: Notify,
    /// Told of room, and of the end.
    places: Notify,
    /// `usize::MAX`: no limit.
    most: usize,
    /// Set when the queue is dropped.
    gone: Event,
}

#[derive(Debug, Default)]
struct State {
    items: VecDeque<Vec<u8>>,
    /// Taken by somebody who has not said that it has arrived. Each may come back, and so keeps its place.
    lent: usize,
    closed: bool,
}

impl Store {
    /// Tries until there is an answer. Whoever changes something after a try tells `notify`, which listens
    /// before it.
    async fn until<R>(notify: &Notify, mut attempt: impl FnMut() -> Option<R>) -> R {
        loop {
            let mut notified = pin!(notify.notified());
            notified.as_mut().enable();
            if let Some(answer) = attempt() {
                return answer;
            }
            notified.await;
        }
    }

    /// `None`: full.
    fn try_put(&self, item: &mut Option<Vec<u8>>) -> Option<Result<(), QueueError>> {
        {
            let mut state = self.state.lock();
            if state.closed {
                return Some(Err(QueueError::Closed));
            }
            if state.items.len() + state.lent >= self.most {
                return None;
            }
            state.items.extend(item.take());
        }
        self.items.notify_one();
        Some(Ok(()))
    }

    async fn put(&self, item: Vec<u8>) -> Result<(), QueueError> {
        let mut item = Some(item);
        Store::until(&self.places, || self.try_put(&mut item)).await
    }

    /// `None`: empty.
    fn try_get(self: &Arc<Self>) -> Option<Result<Lent, QueueError>> {
        let mut state = self.state.lock();
        match state.items.pop_front() {
            Some(item) => {
                state.lent += 1;
                Some(Ok(Lent { store: self.clone(), item: Some(item) }))
            }
            // One that is lent may come back.
            None if state.closed && state.lent == 0 => Some(Err(QueueError::Closed)),
            None => None,
        }
    }

    async fn get(self: &Arc<Self>) -> Result<Lent, QueueError> {
        Store::until(&self.items, || self.try_get()).await
    }

    fn close(&self) {
        self.state.lock().closed = true;
        self.items.notify_waiters();
        self.places.notify_waiters();
    }
}

/// An item on its way. Dropped, it goes back to the front.
struct Lent {
    store: Arc<Store>,
    item: Option<Vec<u8>>,
}

impl Lent {
    fn bytes(&self) -> &[u8] {
        self.item.as_deref().unwrap_or_default()
    }

    /// It has arrived.
    fn keep(mut self) -> Vec<u8> {
        self.item.take().unwrap_or_default()
    }
}

impl Drop for Lent {
    fn drop(&mut self) {
        let store = &self.store;
        let back = self.item.take();
        let returned = back.is_some();
        let closed = {
            let mut state = store.state.lock();
            state.lent -= 1;
            if let Some(item) = back {
                state.items.push_front(item);
            }
            state.closed
        };
        if closed {
            // Whoever waits for the last ones looks again.
            store.items.notify_waiters();
        } else if returned {
            store.items.notify_one();
        } else {
            store.places.notify_one();
        }
    }
}

/// A queue that other processes can use, too: `multiprocessing.Queue`.
///
/// It lives in the process that makes it, on its runtime. The others, be they workers of a
/// [`Pool`](super::Pool) or programs of the same user, have a [`RemoteQueue`], which can be an argument of a
/// job. Items are copied, and come in the order in which they were put. One that was sent to a process which
/// is killed before it has it is not lost.
///
/// Copies are the same queue. When the last is dropped, the others find it gone.
///
/// # Examples
/// ```standalone_crate
/// use filch::process::{self, Job, Pool, Queue, QueueError, RemoteQueue};
///
/// static DOUBLE: Job<(RemoteQueue<u32>, RemoteQueue<u32>), ()> = Job::new("double", |(numbers, doubles)| {
///     while let Ok(number) = numbers.get() {
///         doubles.put(&(2 * number)).unwrap();
///     }
/// });
///
/// fn main() {
///     process::init(&[&DOUBLE]);
///     filch::run(async {
///         let (numbers, doubles) = (Queue::<u32>::new(4).unwrap(), Queue::<u32>::new(0).unwrap());
///         let pool = Pool::new(1).unwrap();
///         let doubling = pool.apply(&DOUBLE, (numbers.remote(), doubles.remote())).start();
///         for number in 0..10 {
///             numbers.put(&number).await.unwrap();
///         }
///         numbers.close();
///         doubling.await.unwrap();
///         assert_eq!(doubles.get().await, Ok(0));
///         assert_eq!(doubles.get().await, Ok(2));
///         assert_eq!(doubles.len(), 8);
///     });
/// }
/// ```
pub struct Queue<T> {
    owner: Arc<Owner>,
    items: PhantomData<fn(T) -> T>,
}

#[derive(Debug)]
struct Owner {
    store: Arc<Store>,
    name: String,
    accepting: AbortHandle,
}

impl Drop for Owner {
    fn drop(&mut self) {
        self.accepting.abort();
        self.store.close();
        self.store.gone.set();
    }
}

impl<T: Serialize + DeserializeOwned> Queue<T> {
    /// A queue for so many items; `0`: no limit.
    ///
    /// # Errors
    /// When there are no descriptors left, and outside of a runtime.
    pub fn new(maxsize: usize) -> io::Result<Queue<T>> {
        // Two names that nobody has guessed: the state is seeded by the system.
        let random = [(); 2].map(|()| RandomState::new().build_hasher().finish());
        let name = format!("filch-queue-{}-{:016x}{:016x}", process::id(), random[0], random[1]);
        let addr = SocketAddr::from_abstract_name(&name)?;
        let listener = UnixListener::from_std(net::UnixListener::bind_addr(&addr)?)?;
        // We are at both ends of this one, so it says who we are.
        let us = UnixStream::pair()?.0.peer_cred()?.uid();
        let store = Arc::new(Store {
            state: Mutex::new(State::default()),
            items: Notify::new(),
            places: Notify::new(),
            most: if maxsize == 0 { usize::MAX } else { maxsize },
            gone: Event::new(),
        });
        let accepting = crate::spawn(accept(listener, store.clone(), us)).abort_handle();
        Ok(Queue { owner: Arc::new(Owner { store, name, accepting }), items: PhantomData })
    }

    /// The same queue, for another process.
    #[must_use]
    pub fn remote(&self) -> RemoteQueue<T> {
        RemoteQueue::to(self.owner.name.clone())
    }

    /// Puts an item in. Waits while the queue is full.
    ///
    /// # Errors
    /// [`QueueError::Closed`], and [`QueueError::Item`] when the item cannot be written.
    ///
    /// # Cancel safety
    /// **Strict.** The item is put in only by the poll that says so.
    pub async fn put(&self, item: &T) -> Result<(), QueueError> {
        let frame = encode(tag::ITEM, 0, item)?;
        self.owner.store.put(frame).await
    }

    /// Puts an item in, if there is room.
    ///
    /// # Errors
    /// As [`put`](Self::put), and [`QueueError::TimedOut`] when the queue is full.
    pub fn try_put(&self, item: &T) -> Result<(), QueueError> {
        let mut frame = Some(encode(tag::ITEM, 0, item)?);
        self.owner.store.try_put(&mut frame).unwrap_or(Err(QueueError::TimedOut))
    }

    /// Takes an item out. Waits while there is none.
    ///
    /// # Errors
    /// [`QueueError::Closed`] once the queue is closed and empty, and [`QueueError::Item`] when a process has
    /// put in what is none.
    ///
    /// # Cancel safety
    /// **Strict.** An item is taken only by the poll that returns it.
    pub async fn get(&self) -> Result<T, QueueError> {
        let item = self.owner.store.get().await?.keep();
        decode(frame::body(&item))
    }

    /// Takes an item out, if there is one.
    ///
    /// # Errors
    /// As [`get`](Self::get), and [`QueueError::TimedOut`] when there is none.
    pub fn try_get(&self) -> Result<T, QueueError> {
        let item = self.owner.store.try_get().unwrap_or(Err(QueueError::TimedOut))?.keep();
        decode(frame::body(&item))
    }

    /// How many items are in it.
    #[must_use]
    pub fn len(&self) -> usize {
        self.owner.store.state.lock().items.len()
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Takes no more items. What is there can still be taken; then everybody is told of the end.
    pub fn close(&self) {
        self.owner.store.close();
    }
}

impl<T> Clone for Queue<T> {
    fn clone(&self) -> Queue<T> {
        Queue { owner: self.owner.clone(), items: PhantomData }
    }
}

impl<T> fmt::Debug for Queue<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Queue").field("name", &self.owner.name).finish_non_exhaustive()
    }
}

async fn accept(listener: UnixListener, store: Arc<Store>, us: u32) {
    loop {
        match listener.accept().await {
            Ok((stream, _)) if stream.peer_cred().is_ok_and(|peer| peer.uid() == us) => {
                let store = store.clone();
                drop(crate::spawn(async move {
                    let gone = async {
                        store.gone.wait().await;
                        None
                    };
                    serve(&store, &stream).or(gone).await
                }));
            }
            // A stranger.
            Ok(_) => {}
            Err(_) => sleep(Duration::from_millis(10)).await,
        }
    }
}

/// Answers one request after the other, until there is none, or one that makes no sense.
async fn serve(store: &Arc<Store>, stream: &UnixStream) -> Option<()> {
    let mut reader = Reader::new(LIMIT);
    loop {
        let Message { tag, id: wait, body, .. } = receive(stream, &mut reader).await.ok()?;
        let answer = match tag {
            tag::PUT => {
                let item = frame::frame_of_bytes(tag::ITEM, &body);
                answer(limited(wait, store.put(item), stream, &mut reader).await?)
            }
            tag::GET => match limited(wait, store.get(), stream, &mut reader).await? {
                Ok(lent) => {
                    say(stream, lent.bytes()).await?;
                    if receive(stream, &mut reader).await.ok()?.tag != tag::TAKEN {
                        return None;
                    }
                    lent.keep();
                    continue;
                }
                Err(error) => answer(Err(error)),
            },
            tag::LENGTH => {
                let length = store.state.lock().items.len() as u64;
                frame::frame(tag::LENGTH, 0, 0, LIMIT, &length).ok()?
            }
            tag::CLOSE => {
                store.close();
                answer(Ok(()))
            }
            _ => return None,
        };
        say(stream, &answer).await?;
    }
}

async fn say(mut stream: &UnixStream, frame: &[u8]) -> Option<()> {
    stream.write_all(frame).await.ok()
}

fn answer(result: Result<(), QueueError>) -> Vec<u8> {
    let tag = match result {
        Ok(()) => tag::DONE,
        Err(QueueError::TimedOut) => tag::LATE,
        Err(_) => tag::CLOSED,
    };
    frame::frame_of_bytes(tag, &[])
}

/// `None`: whoever has asked is gone, or talks out of turn.
async fn limited<R>(
    wait: u64,
    work: impl Future<Output = Result<R, QueueError>>,
    stream: &UnixStream,
    reader: &mut Reader,
) -> Option<Result<R, QueueError>> {
    let gone = async {
        let _ = receive(stream, reader).await;
        None
    };
    let work = async {
        let mut work = pin!(work);
        // Without a look at the clock, if there is no need to wait.
        let at_once = futures_lite::future::poll_once(work.as_mut()).await;
        Some(match (at_once, wait) {
            (Some(result), _) => result,
            (None, FOR_EVER) => work.await,
            (None, wait) => {
                timeout(Duration::from_micros(wait), work).await.unwrap_or(Err(QueueError::TimedOut))
            }
        })
    };
    work.or(gone).await
}
