//! The contestants: filch, tokio (multi-thread, all enabled) and smol (its global executor on as many
//! threads, async-io for timers and sockets), behind one trait, so that each workload is written once and is
//! the same for all.
//!
//! The trait has what its users call, and nothing is boxed or wrapped beyond a `Result` that is unwrapped.
use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::OnceLock;
use std::task::{Context, Poll};
use std::time::Duration;

/// A runtime, as its users see it. What takes no `self` is called inside it.
pub trait Rt: Send + Sync + 'static {
    /// The handle of a task.
    type Join<T: Send + 'static>: Future<Output = T> + Send + Unpin + 'static;
    /// A TCP listener.
    type Listener: Send + 'static;
    /// A TCP stream.
    type Stream: Send + 'static;
    /// What hyper takes of a stream.
    type Io: hyper::rt::Read + hyper::rt::Write + Send + Unpin + 'static;
    /// The sending end of the channel that the runtime's users take for many senders and one receiver.
    type Tx<T: Send + 'static>: Clone + Send + Sync + 'static;
    /// Its receiving end.
    type Rx<T: Send + 'static>: Send + 'static;

    /// Runs `root` on the calling thread, in the way that the runtime's users do.
    fn block_on<F: Future>(&self, root: F) -> F::Output;
    /// Spawns from outside.
    fn spawn_outside<F>(&self, task: F) -> Self::Join<F::Output>
    where
        F: Future<Output: Send + 'static> + Send + 'static;
    /// Spawns a task that will be joined.
    fn spawn<F>(task: F) -> Self::Join<F::Output>
    where
        F: Future<Output: Send + 'static> + Send + 'static;
    /// Spawns a task that nobody joins.
    fn detach<F>(task: F)
    where
        F: Future<Output: Send + 'static> + Send + 'static;
    /// Runs `job` on the pool for what blocks.
    fn unblock<T, F>(job: F) -> impl Future<Output = T> + Send
    where
        T: Send + 'static,
        F: FnOnce() -> T + Send + 'static;
    /// Lets others run.
    fn yield_now() -> impl Future<Output = ()> + Send;
    /// Sleeps.
    fn sleep(time: Duration) -> impl Future<Output = ()> + Send;
    /// `None` when `future` did not end in time.
    fn timeout<F: Future<Output: Send> + Send>(
        time: Duration,
        future: F,
    ) -> impl Future<Output = Option<F::Output>> + Send;
    /// A listener on a free port of the loopback device.
    fn listen() -> impl Future<Output = io::Result<(Self::Listener, SocketAddr)>> + Send;
    /// Accepts, with Nagle's algorithm off.
    fn accept(listener: &mut Self::Listener) -> impl Future<Output = io::Result<Self::Stream>> + Send;
    /// Connects, with Nagle's algorithm off.
    fn connect(addr: SocketAddr) -> impl Future<Output = io::Result<Self::Stream>> + Send;
    /// Reads what there is.
    fn read(stream: &mut Self::Stream, buf: &mut [u8]) -> impl Future<Output = io::Result<usize>> + Send;
    /// Fills `buf`.
    fn read_exact(stream: &mut Self::Stream, buf: &mut [u8]) -> impl Future<Output = io::Result<()>> + Send;
    /// Writes all of `buf`.
    fn write_all(stream: &mut Self::Stream, buf: &[u8]) -> impl Future<Output = io::Result<()>> + Send;
    /// The adapter for hyper that the runtime's users take.
    fn io(stream: Self::Stream) -> Self::Io;
    /// Drops the handle of a task, which goes on.
    fn let_go<T: Send + 'static>(task: Self::Join<T>);
    /// A channel with room for `room` messages.
    fn channel<T: Send + 'static>(room: usize) -> (Self::Tx<T>, Self::Rx<T>);
    /// Sends. False: there is no receiver.
    fn send<T: Send + 'static>(tx: &Self::Tx<T>, message: T) -> impl Future<Output = bool> + Send;
    /// The next message; `None` when no sender is left.
    fn recv<T: Send + 'static>(rx: &mut Self::Rx<T>) -> impl Future<Output = Option<T>> + Send;
}

/// A `JoinHandle` whose task is expected to end well.
#[derive(Debug)]
pub struct Ended<J>(J);

impl<T, E: std::fmt::Debug, J: Future<Output = Result<T, E>> + Unpin> Future for Ended<J> {
    type Output = T;

    #[inline]
    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<T> {
        Pin::new(&mut self.0).poll(cx).map(|result| result.expect("a task ended badly"))
    }
}

// ----------------------------------------------------------------------------------------------------------------
// filch

/// filch.
#[derive(Debug)]
pub struct Filch(pub filch::Runtime);

impl Filch {
    /// With `workers` workers; one reactor each if `reactor_per_worker`.
    pub fn new(workers: usize, reactor_per_worker: bool) -> Filch {
        let builder = filch::Builder::new().workers(workers);
        let builder = if reactor_per_worker { builder.reactor_per_worker() } else { builder };
        Filch(builder.build().expect("filch"))
    }
}

impl Rt for Filch {
    type Join<T: Send + 'static> = Ended<filch::JoinHandle<T>>;
    type Listener = filch::net::TcpListener;
    type Stream = filch::net::TcpStream;
    type Io = filch::net::TcpStream;
    type Tx<T: Send + 'static> = filch::channel::mpsc::Sender<T>;
    type Rx<T: Send + 'static> = filch::channel::mpsc::Receiver<T>;

    fn block_on<F: Future>(&self, root: F) -> F::Output {
        self.0.block_on(root)
    }
    #[inline]
    fn spawn_outside<F>(&self, task: F) -> Self::Join<F::Output>
    where
        F: Future<Output: Send + 'static> + Send + 'static,
    {
        Ended(self.0.spawn(task))
    }
    #[inline]
    fn spawn<F>(task: F) -> Self::Join<F::Output>
    where
        F: Future<Output: Send + 'static> + Send + 'static,
    {
        Ended(filch::spawn(task))
    }
    #[inline]
    fn detach<F>(task: F)
    where
        F: Future<Output: Send + 'static> + Send + 'static,
    {
        drop(filch::spawn(task));
    }
    #[inline]
    async fn unblock<T, F>(job: F) -> T
    where
        T: Send + 'static,
        F: FnOnce() -> T + Send + 'static,
    {
        filch::spawn_blocking(job).await.expect("a job ended badly")
    }
    #[inline]
    fn yield_now() -> impl Future<Output = ()> + Send {
        filch::yield_now()
    }
    #[inline]
    fn sleep(time: Duration) -> impl Future<Output = ()> + Send {
        filch::time::sleep(time)
    }
    #[inline]
    async fn timeout<F: Future<Output: Send> + Send>(time: Duration, future: F) -> Option<F::Output> {
        filch::time::timeout(time, future).await.ok()
    }
    async fn listen() -> io::Result<(Self::Listener, SocketAddr)> {
        let listener = filch::net::TcpListener::bind("127.0.0.1:0").await?;
        let addr = listener.local_addr()?;
        Ok((listener, addr))
    }
    async fn accept(listener: &mut Self::Listener) -> io::Result<Self::Stream> {
        let (stream, _) = listener.accept().await?;
        stream.set_nodelay(true)?;
        Ok(stream)
    }
    async fn connect(addr: SocketAddr) -> io::Result<Self::Stream> {
        let stream = filch::net::TcpStream::connect(addr).await?;
        stream.set_nodelay(true)?;
        Ok(stream)
    }
    #[inline]
    async fn read(stream: &mut Self::Stream, buf: &mut [u8]) -> io::Result<usize> {
        filch::io::AsyncReadExt::read(stream, buf).await
    }
    #[inline]
    async fn read_exact(stream: &mut Self::Stream, buf: &mut [u8]) -> io::Result<()> {
        filch::io::AsyncReadExt::read_exact(stream, buf).await
    }
    #[inline]
    async fn write_all(stream: &mut Self::Stream, buf: &[u8]) -> io::Result<()> {
        filch::io::AsyncWriteExt::write_all(stream, buf).await
    }
    fn io(stream: Self::Stream) -> Self::Io {
        stream
    }
    fn let_go<T: Send + 'static>(task: Self::Join<T>) {
        drop(task);
    }
    fn channel<T: Send + 'static>(room: usize) -> (Self::Tx<T>, Self::Rx<T>) {
        filch::channel::mpsc::bounded(room)
    }
    #[inline]
    async fn send<T: Send + 'static>(tx: &Self::Tx<T>, message: T) -> bool {
        tx.send(message).await.is_ok()
    }
    #[inline]
    async fn recv<T: Send + 'static>(rx: &mut Self::Rx<T>) -> Option<T> {
        rx.recv().await.ok()
    }
}

// ----------------------------------------------------------------------------------------------------------------
// tokio

/// tokio's multi-thread runtime.
#[derive(Debug)]
pub struct Tokio(pub tokio::runtime::Runtime);

impl Tokio {
    /// With `workers` workers, as its builder makes it otherwise.
    pub fn new(workers: usize) -> Tokio {
        let mut builder = tokio::runtime::Builder::new_multi_thread();
        Tokio(builder.worker_threads(workers).enable_all().build().expect("tokio"))
    }
}

impl Rt for Tokio {
    type Join<T: Send + 'static> = Ended<tokio::task::JoinHandle<T>>;
    type Listener = tokio::net::TcpListener;
    type Stream = tokio::net::TcpStream;
    type Io = hyper_util::rt::TokioIo<tokio::net::TcpStream>;
    type Tx<T: Send + 'static> = tokio::sync::mpsc::Sender<T>;
    type Rx<T: Send + 'static> = tokio::sync::mpsc::Receiver<T>;

    fn block_on<F: Future>(&self, root: F) -> F::Output {
        self.0.block_on(root)
    }
    #[inline]
    fn spawn_outside<F>(&self, task: F) -> Self::Join<F::Output>
    where
        F: Future<Output: Send + 'static> + Send + 'static,
    {
        Ended(self.0.spawn(task))
    }
    #[inline]
    fn spawn<F>(task: F) -> Self::Join<F::Output>
    where
        F: Future<Output: Send + 'static> + Send + 'static,
    {
        Ended(tokio::spawn(task))
    }
    #[inline]
    fn detach<F>(task: F)
    where
        F: Future<Output: Send + 'static> + Send + 'static,
    {
        drop(tokio::spawn(task));
    }
    #[inline]
    async fn unblock<T, F>(job: F) -> T
    where
        T: Send + 'static,
        F: FnOnce() -> T + Send + 'static,
    {
        tokio::task::spawn_blocking(job).await.expect("a job ended badly")
    }
    #[inline]
    fn yield_now() -> impl Future<Output = ()> + Send {
        tokio::task::yield_now()
    }
    #[inline]
    fn sleep(time: Duration) -> impl Future<Output = ()> + Send {
        tokio::time::sleep(time)
    }
    #[inline]
    async fn timeout<F: Future<Output: Send> + Send>(time: Duration, future: F) -> Option<F::Output> {
        tokio::time::timeout(time, future).await.ok()
    }
    async fn listen() -> io::Result<(Self::Listener, SocketAddr)> {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await?;
        let addr = listener.local_addr()?;
        Ok((listener, addr))
    }
    async fn accept(listener: &mut Self::Listener) -> io::Result<Self::Stream> {
        let (stream, _) = listener.accept().await?;
        stream.set_nodelay(true)?;
        Ok(stream)
    }
    async fn connect(addr: SocketAddr) -> io::Result<Self::Stream> {
        let stream = tokio::net::TcpStream::connect(addr).await?;
        stream.set_nodelay(true)?;
        Ok(stream)
    }
    #[inline]
    async fn read(stream: &mut Self::Stream, buf: &mut [u8]) -> io::Result<usize> {
        tokio::io::AsyncReadExt::read(stream, buf).await
    }
    #[inline]
    async fn read_exact(stream: &mut Self::Stream, buf: &mut [u8]) -> io::Result<()> {
        tokio::io::AsyncReadExt::read_exact(stream, buf).await.map(|_| ())
    }
    #[inline]
    async fn write_all(stream: &mut Self::Stream, buf: &[u8]) -> io::Result<()> {
        tokio::io::AsyncWriteExt::write_all(stream, buf).await
    }
    fn io(stream: Self::Stream) -> Self::Io {
        hyper_util::rt::TokioIo::new(stream)
    }
    fn let_go<T: Send + 'static>(task: Self::Join<T>) {
        drop(task);
    }
    fn channel<T: Send + 'static>(room: usize) -> (Self::Tx<T>, Self::Rx<T>) {
        tokio::sync::mpsc::channel(room)
    }
    #[inline]
    async fn send<T: Send + 'static>(tx: &Self::Tx<T>, message: T) -> bool {
        tx.send(message).await.is_ok()
    }
    #[inline]
    async fn recv<T: Send + 'static>(rx: &mut Self::Rx<T>) -> Option<T> {
        rx.recv().await
    }
}

// -----------------------------------------------------------------------------------------------------------------
// smol

/// smol: its executor on threads that run `block_on(executor.run(..))`, timers and sockets of async-io.
#[derive(Debug)]
pub struct Smol {
    root: SmolRoot,
}

/// How smol's root is run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SmolRoot {
    /// `smol::block_on(root)`: the caller's thread polls the root and nothing else.
    Alone,
    /// `smol::block_on(executor.run(root))`: the caller's thread is one more that runs tasks.
    Run,
}

static SMOL: OnceLock<smol::Executor<'static>> = OnceLock::new();

fn executor() -> &'static smol::Executor<'static> {
    SMOL.get().expect("Smol::new was called")
}

impl Smol {
    /// The executor on `workers` threads; the first call starts them.
    pub fn new(workers: usize, root: SmolRoot) -> Smol {
        if SMOL.set(smol::Executor::new()).is_ok() {
            for worker in 0..workers {
                std::thread::Builder::new()
                    .name(format!("smol-{worker}"))
                    .spawn(|| smol::block_on(executor().run(smol::future::pending::<()>())))
                    .expect("smol");
            }
        }
        Smol { root }
    }
}

impl Rt for Smol {
    type Join<T: Send + 'static> = smol::Task<T>;
    type Listener = smol::net::TcpListener;
    type Stream = smol::net::TcpStream;
    type Io = smol_hyper::rt::FuturesIo<smol::net::TcpStream>;
    type Tx<T: Send + 'static> = async_channel::Sender<T>;
    type Rx<T: Send + 'static> = async_channel::Receiver<T>;

    fn block_on<F: Future>(&self, root: F) -> F::Output {
        match self.root {
            SmolRoot::Alone => smol::block_on(root),
            SmolRoot::Run => smol::block_on(executor().run(root)),
        }
    }
    #[inline]
    fn spawn_outside<F>(&self, task: F) -> Self::Join<F::Output>
    where
        F: Future<Output: Send + 'static> + Send + 'static,
    {
        executor().spawn(task)
    }
    #[inline]
    fn spawn<F>(task: F) -> Self::Join<F::Output>
    where
        F: Future<Output: Send + 'static> + Send + 'static,
    {
        executor().spawn(task)
    }
    #[inline]
    fn detach<F>(task: F)
    where
        F: Future<Output: Send + 'static> + Send + 'static,
    {
        executor().spawn(task).detach();
    }
    #[inline]
    async fn unblock<T, F>(job: F) -> T
    where
        T: Send + 'static,
        F: FnOnce() -> T + Send + 'static,
    {
        smol::unblock(job).await
    }
    #[inline]
    fn yield_now() -> impl Future<Output = ()> + Send {
        smol::future::yield_now()
    }
    #[inline]
    async fn sleep(time: Duration) {
        smol::Timer::after(time).await;
    }
    #[inline]
    async fn timeout<F: Future<Output: Send> + Send>(time: Duration, future: F) -> Option<F::Output> {
        let late = async {
            smol::Timer::after(time).await;
            None
        };
        smol::future::or(async { Some(future.await) }, late).await
    }
    async fn listen() -> io::Result<(Self::Listener, SocketAddr)> {
        let listener = smol::net::TcpListener::bind("127.0.0.1:0").await?;
        let addr = listener.local_addr()?;
        Ok((listener, addr))
    }
    async fn accept(listener: &mut Self::Listener) -> io::Result<Self::Stream> {
        let (stream, _) = listener.accept().await?;
        stream.set_nodelay(true)?;
        Ok(stream)
    }
    async fn connect(addr: SocketAddr) -> io::Result<Self::Stream> {
        let stream = smol::net::TcpStream::connect(addr).await?;
        stream.set_nodelay(true)?;
        Ok(stream)
    }
    #[inline]
    async fn read(stream: &mut Self::Stream, buf: &mut [u8]) -> io::Result<usize> {
        smol::io::AsyncReadExt::read(stream, buf).await
    }
    #[inline]
    async fn read_exact(stream: &mut Self::Stream, buf: &mut [u8]) -> io::Result<()> {
        smol::io::AsyncReadExt::read_exact(stream, buf).await
    }
    #[inline]
    async fn write_all(stream: &mut Self::Stream, buf: &[u8]) -> io::Result<()> {
        smol::io::AsyncWriteExt::write_all(stream, buf).await
    }
    fn io(stream: Self::Stream) -> Self::Io {
        smol_hyper::rt::FuturesIo::new(stream)
    }
    fn let_go<T: Send + 'static>(task: Self::Join<T>) {
        task.detach();
    }
    fn channel<T: Send + 'static>(room: usize) -> (Self::Tx<T>, Self::Rx<T>) {
        async_channel::bounded(room)
    }
    #[inline]
    async fn send<T: Send + 'static>(tx: &Self::Tx<T>, message: T) -> bool {
        tx.send(message).await.is_ok()
    }
    #[inline]
    async fn recv<T: Send + 'static>(rx: &mut Self::Rx<T>) -> Option<T> {
        rx.recv().await.ok()
    }
}

/// All contestants, built once and kept for the whole run.
#[derive(Debug)]
pub struct Contestants {
    /// Workers of each.
    pub workers: usize,
    /// filch.
    pub filch: Filch,
    /// filch with a reactor for each worker; `--variants`.
    pub filch_reactors: Option<Filch>,
    /// tokio.
    pub tokio: Tokio,
    /// smol, the root alone on its thread.
    pub smol: Smol,
    /// smol, the root's thread running tasks too.
    pub smol_run: Smol,
}

impl Contestants {
    /// Builds them; they live until the process ends.
    pub fn leak(workers: usize, variants: bool) -> &'static Contestants {
        Box::leak(Box::new(Contestants {
            workers,
            filch: Filch::new(workers, false),
            filch_reactors: variants.then(|| Filch::new(workers, true)),
            tokio: Tokio::new(workers),
            smol: Smol::new(workers, SmolRoot::Alone),
            smol_run: Smol::new(workers, SmolRoot::Run),
        }))
    }
}
