//! Layer 3, pool. A thread that is talked to by messages: JavaScript's Web Worker.
//!
//! Owns the mailbox and what becomes of a message: answered, failed, or thrown away. What the worker works with is on
//! its thread alone. Called by user code.
#![forbid(unsafe_code)]

use std::error::Error;
use std::fmt;
use std::io;
use std::marker::PhantomData;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Duration;

use filch_channels::channel::error::TrySendError;
use filch_channels::channel::{self, Receiver, Sender, oneshot};
use filch_channels::sync::Event;

use crate::shim::Ordering::{Acquire, Release};
use crate::shim::shared::AtomicBool;
use crate::shim::{Arc, thread};
use crate::util::wake::{drop_payload, guarded, message};

/// What is told of each message that failed.
type ErrorHook = Box<dyn Fn(&WorkerError) + Send + Sync>;

/// A thread that answers messages, and shares nothing: the Web Worker.
///
/// | JavaScript                      | here                                                              |
/// |---------------------------------|-------------------------------------------------------------------|
/// | `new Worker(script)`            | [`Worker::new`], [`WorkerBuilder::start`]                         |
/// | `postMessage(m)`                | [`post`](Self::post), [`send`](Self::send); `m` is moved          |
/// | `onmessage`                     | [`WorkerBuilder::on_message`], or the answer that [`ask`](Self::ask) gives |
/// | `onerror`                       | [`WorkerBuilder::on_error`]                                       |
/// | `close()`                       | [`close`](Self::close): what was sent is answered first           |
/// | `terminate()`                   | [`terminate`](Self::terminate): what waits is thrown away         |
///
/// Messages are answered one after the other, in the order in which they came. A message whose handler panics has an
/// error, and the worker goes on with the next. It needs no runtime.
///
/// When the worker is dropped it is closed: what was sent is answered, and nobody waits for it.
///
/// # Examples
/// ```
/// use filch::pool::Worker;
///
/// # fn main() -> std::io::Result<()> {
/// let (errors, told) = std::sync::mpsc::channel();
/// let mut seen = 0; // Nobody else can see it.
/// let worker = Worker::builder()
///     .on_error(move |error| drop(errors.send(error.to_string())))
///     .start(move |text: String| {
///         seen += 1;
///         assert!(!text.is_empty(), "no text");
///         (seen, text.len())
///     })?;
///
/// assert_eq!(worker.ask_blocking("hello".to_owned()).unwrap(), (1, 5));
/// worker.post(String::new()).unwrap();
/// assert!(told.recv().unwrap().contains("no text"));
/// // It still listens; to tasks, too.
/// assert_eq!(filch::run(worker.ask("again".to_owned())).unwrap(), (3, 5));
/// # Ok(())
/// # }
/// ```
pub struct Worker<Req, Resp> {
    mailbox: Sender<Letter<Req, Resp>>,
    shared: Arc<Shared>,
}

struct Letter<Req, Resp> {
    message: Req,
    /// `None`: the answer goes to the hook.
    reply: Option<oneshot::Sender<Result<Resp, WorkerError>>>,
}

struct Shared {
    name: String,
    terminated: AtomicBool,
    ended: Event,
}

/// Options of a [`Worker`].
#[must_use = "nothing is started before `start`"]
pub struct WorkerBuilder<Req, Resp> {
    name: String,
    queue: usize,
    on_message: Option<Box<dyn FnMut(Resp) + Send>>,
    on_error: ErrorHook,
    /// What it will take.
    messages: PhantomData<fn(Req)>,
}

impl<Req: Send + 'static, Resp: Send + 'static> Worker<Req, Resp> {
    /// Starts a thread that has `handler` called with each message.
    ///
    /// # Errors
    /// As [`WorkerBuilder::start`].
    pub fn new(handler: impl FnMut(Req) -> Resp + Send + 'static) -> io::Result<Worker<Req, Resp>> {
        Worker::builder().start(handler)
    }

    /// Options.
    pub fn builder() -> WorkerBuilder<Req, Resp> {
        let on_error: ErrorHook = Box::new(|error| eprintln!("filch: {error}"));
        WorkerBuilder {
            name: "worker".to_owned(),
            queue: 0,
            on_message: None,
            on_error,
            messages: PhantomData,
        }
    }

    /// Sends a message, and does not wait. Its answer goes to [`on_message`](WorkerBuilder::on_message).
    ///
    /// # Errors
    /// When its queue is full, or it takes no more messages; the message is in it.
    pub fn post(&self, message: Req) -> Result<(), TrySendError<Req>> {
        self.mailbox.try_send(Letter { message, reply: None }).map_err(|error| match error {
            TrySendError::Full(letter) => TrySendError::Full(letter.message),
            TrySendError::Closed(letter) => TrySendError::Closed(letter.message),
        })
    }

    /// As [`post`](Self::post), and waits for room in the queue.
    ///
    /// # Errors
    /// [`WorkerError::Closed`] when it takes no more messages; the message is dropped.
    ///
    /// # Cancel safety
    /// **Loses its place in line.** The message is dropped with the future.
    pub async fn send(&self, message: Req) -> Result<(), WorkerError> {
        self.mailbox.send(Letter { message, reply: None }).await.map_err(|_| WorkerError::Closed)
    }

    /// As [`send`](Self::send), and blocks the thread.
    ///
    /// # Errors
    /// As [`send`](Self::send).
    pub fn send_blocking(&self, message: Req) -> Result<(), WorkerError> {
        self.mailbox.send_blocking(Letter { message, reply: None }).map_err(|_| WorkerError::Closed)
    }

    /// Sends a message, and waits for the answer to it.
    ///
    /// # Errors
    /// When the handler panicked, when it takes no more messages, and when it was terminated before it answered.
    ///
    /// # Cancel safety
    /// **Not cancel safe:** a message that was sent is handled all the same, and its answer is lost.
    pub async fn ask(&self, message: Req) -> Result<Resp, WorkerError> {
        let (reply, answer) = oneshot::channel();
        let sent = self.mailbox.send(Letter { message, reply: Some(reply) }).await;
        sent.map_err(|_| WorkerError::Closed)?;
        answer.await.unwrap_or(Err(WorkerError::Terminated))
    }

    /// As [`ask`](Self::ask), and blocks the thread.
    ///
    /// # Errors
    /// As [`ask`](Self::ask).
    pub fn ask_blocking(&self, message: Req) -> Result<Resp, WorkerError> {
        let (reply, answer) = oneshot::channel();
        let sent = self.mailbox.send_blocking(Letter { message, reply: Some(reply) });
        sent.map_err(|_| WorkerError::Closed)?;
        answer.recv_blocking().unwrap_or(Err(WorkerError::Terminated))
    }

    /// Takes no more messages. What was sent is answered.
    pub fn close(&self) {
        self.mailbox.close();
    }

    /// Takes no more messages, and throws those away that wait. One that is being answered is, as a thread cannot be
    /// stopped.
    pub fn terminate(&self) {
        // Ordering: Release pairs with the Acquire in `Post::work`. A letter that is taken before is answered.
        self.shared.terminated.store(true, Release);
        self.mailbox.close();
    }

    /// How many messages wait.
    pub fn waiting(&self) -> usize {
        self.mailbox.len()
    }

    /// Whether it has ended: it is closed or terminated, and its thread is done with all.
    pub fn is_finished(&self) -> bool {
        self.shared.ended.is_set()
    }

    /// Waits until it has ended.
    ///
    /// # Cancel safety
    /// **Strict.**
    pub async fn ended(&self) {
        self.shared.ended.wait().await;
    }

    /// As [`ended`](Self::ended), and blocks the thread for at most `timeout`. False: it has not ended.
    pub fn ended_timeout(&self, timeout: Duration) -> bool {
        self.shared.ended.wait_timeout(timeout)
    }
}

impl<Req: Send + 'static, Resp: Send + 'static> WorkerBuilder<Req, Resp> {
    /// What its thread and its errors are called: `worker`, if not said otherwise.
    pub fn name(mut self, name: impl Into<String>) -> WorkerBuilder<Req, Resp> {
        self.name = name.into();
        self
    }

    /// How many messages may wait. `0`, as if not said: no limit.
    pub fn queue(mut self, messages: usize) -> WorkerBuilder<Req, Resp> {
        self.queue = messages;
        self
    }

    /// What is given the answers to what was posted and sent, on the worker's thread. Without it they are dropped.
    pub fn on_message(mut self, hook: impl FnMut(Resp) + Send + 'static) -> WorkerBuilder<Req, Resp> {
        self.on_message = Some(Box::new(hook));
        self
    }

    /// What is told of each message whose handler panicked, on the worker's thread. Without it, stderr is.
    pub fn on_error(
        mut self,
        hook: impl Fn(&WorkerError) + Send + Sync + 'static,
    ) -> WorkerBuilder<Req, Resp> {
        self.on_error = Box::new(hook);
        self
    }

    /// Starts the thread, which has `handler` called with each message.
    ///
    /// # Errors
    /// When the name has a NUL byte, and when the system starts no more threads.
    pub fn start(self, handler: impl FnMut(Req) -> Resp + Send + 'static) -> io::Result<Worker<Req, Resp>> {
        self.start_with(move || handler)
    }

    /// As [`start`](Self::start), with a handler that `make` makes on the thread, so that it need not be `Send`.
    ///
    /// # Examples
    /// ```
    /// use std::cell::RefCell;
    /// use std::rc::Rc;
    ///
    /// use filch::pool::Worker;
    ///
    /// # fn main() -> std::io::Result<()> {
    /// let worker = Worker::<u32, u32>::builder().start_with(|| {
    ///     let sum = Rc::new(RefCell::new(0));
    ///     move |n| {
    ///         *sum.borrow_mut() += n;
    ///         *sum.borrow()
    ///     }
    /// })?;
    /// assert_eq!(worker.ask_blocking(2).unwrap(), 2);
    /// assert_eq!(worker.ask_blocking(3).unwrap(), 5);
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// As [`start`](Self::start). If `make` panics, that is told like a message that failed, and the worker ends.
    pub fn start_with<H: FnMut(Req) -> Resp + 'static>(
        self,
        make: impl FnOnce() -> H + Send + 'static,
    ) -> io::Result<Worker<Req, Resp>> {
        if self.name.contains('\0') {
            let text =
                format!("the name of a worker, {:?}, has a NUL byte, which a thread's may not", self.name);
            return Err(io::Error::new(io::ErrorKind::InvalidInput, text));
        }
        let (mailbox, letters) =
            if self.queue == 0 { channel::unbounded() } else { channel::bounded(self.queue) };
        let terminated = AtomicBool::new(false);
        let shared = Arc::new(Shared { name: self.name.clone(), terminated, ended: Event::new() });
        let post = Post { letters, shared: shared.clone() };
        let (mut on_message, on_error) = (self.on_message, self.on_error);
        thread::Builder::new().name(self.name).spawn(move || {
            let on_message = move |answer| match &mut on_message {
                Some(hook) => guarded("the message hook of a worker", || hook(answer)),
                None => guarded("dropping the answer of a worker", || drop(answer)),
            };
            match catch_unwind(AssertUnwindSafe(make)) {
                Ok(handler) => post.work(handler, on_message, &on_error),
                Err(payload) => drop(post.failed(payload, &on_error)),
            }
        })?;
        Ok(Worker { mailbox, shared })
    }
}

/// The worker's side. When it goes, by whatever way, nothing waits for an answer any more, and it has ended.
struct Post<Req, Resp> {
    letters: Receiver<Letter<Req, Resp>>,
    shared: Arc<Shared>,
}

impl<Req, Resp> Post<Req, Resp> {
    fn work(
        &self,
        mut handler: impl FnMut(Req) -> Resp,
        mut on_message: impl FnMut(Resp),
        on_error: &ErrorHook,
    ) {
        while let Ok(Letter { message, reply }) = self.letters.recv_blocking() {
            // Ordering: Acquire pairs with the Release in `terminate`.
            if self.shared.terminated.load(Acquire) {
                guarded("dropping a message", || drop((message, reply)));
                continue;
            }
            let result = catch_unwind(AssertUnwindSafe(|| handler(message)));
            let result = result.map_err(|payload| self.failed(payload, on_error));
            match (result, reply) {
                (Ok(answer), None) => on_message(answer),
                (Err(_), None) => {}
                // Nobody may wait any more.
                (result, Some(reply)) => guarded("the waker of who asked", || drop(reply.send(result))),
            }
        }
        guarded("dropping the handler of a worker", || drop(handler));
    }

    fn failed(&self, payload: Box<dyn std::any::Any + Send>, on_error: &ErrorHook) -> WorkerError {
        let error =
            WorkerError::Panicked { worker: self.shared.name.clone(), text: message(&*payload).to_owned() };
        drop_payload(payload);
        guarded("the error hook of a worker", || on_error(&error));
        error
    }
}

impl<Req, Resp> Drop for Post<Req, Resp> {
    fn drop(&mut self) {
        self.letters.close();
        while let Ok(letter) = self.letters.try_recv() {
            guarded("dropping a message", || drop(letter));
        }
        self.shared.ended.set();
    }
}

impl<Req, Resp> Drop for Worker<Req, Resp> {
    fn drop(&mut self) {
        self.mailbox.close();
    }
}

impl<Req, Resp> fmt::Debug for Worker<Req, Resp> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Worker")
            .field("name", &self.shared.name)
            .field("waiting", &self.mailbox.len())
            .field("finished", &self.shared.ended.is_set())
            .finish()
    }
}

impl<Req, Resp> fmt::Debug for WorkerBuilder<Req, Resp> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("WorkerBuilder")
            .field("name", &self.name)
            .field("queue", &self.queue)
            .finish_non_exhaustive()
    }
}

/// Why a message to a [`Worker`] has no answer.
#[derive(Clone, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum WorkerError {
    /// The handler panicked with it. JavaScript's error event.
    Panicked {
        /// What the worker is called.
        worker: String,
        /// What the panic said.
        text: String,
    },
    /// The worker takes no more messages.
    Closed,
    /// The worker was terminated before it had an answer.
    Terminated,
}

impl fmt::Display for WorkerError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            WorkerError::Panicked { worker, text } => {
                write!(f, "the handler of the worker {worker:?} panicked: {text}")
            }
            WorkerError::Closed => f.write_str("the worker is closed, and takes no more messages"),
            WorkerError::Terminated => f.write_str("the worker was terminated before it had an answer"),
        }
    }
}

impl Error for WorkerError {}
