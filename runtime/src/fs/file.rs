//! Layer 3, fs. An open file: one operation at a time in the blocking pool, and what is left of those nobody waited for.
//!
//! Owns the state of the operation under way and the two buffers, which go to the pool with it and come back: in steady
//! state nothing is allocated. Called by user code; `tokio_io` adds tokio's traits.
//!
//! An operation that was begun ends, whoever polls or drops. What it did is kept until the next operation:
//! * bytes that were read are handed out by the next read, or put back (the file is wound back) before anything else;
//! * a write or a seek whose future was dropped is taken for the next one's own if that asks for the same, so that to
//!   drop and retry is to wait on; else its error, if it has one, is the next operation's.
#![forbid(unsafe_code)]

use std::fmt;
use std::fs::{File as StdFile, Metadata, Permissions};
use std::future::poll_fn;
use std::io::{self, IoSlice, Read, Seek, SeekFrom, Write};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, RawFd};
use std::panic::Location;
use std::path::Path;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use filch_channels::sync::Lock;
use futures_io::{AsyncRead, AsyncSeek, AsyncWrite};

use super::job;
use super::options::OpenOptions;
use crate::context;
use crate::shim::Arc;
use crate::task::JoinHandle;

/// How much one operation moves at most, if not said otherwise.
const MOST: usize = 2 << 20;

/// An open file.
///
/// It reads, writes and seeks by [`AsyncReadExt`](crate::io::AsyncReadExt),
/// [`AsyncWriteExt`](crate::io::AsyncWriteExt) and [`AsyncSeekExt`](crate::io::AsyncSeekExt). Each operation is a
/// trip to the blocking pool (some ten microseconds): for small ones put a [`BufReader`](crate::io::BufReader) or
/// [`BufWriter`](crate::io::BufWriter) round it. A write returns when the system has the bytes, not before;
/// [`sync_all`](Self::sync_all) waits for the disk. Dropping the file closes it, after the operation under way.
///
/// # Cancel safety
/// `read`, `write` and `seek` are **strict**: what is retried after a drop goes on where it was. An operation that was
/// begun ends by itself, in a buffer of the file's own. What a dropped read took is there for the next read, and the
/// file is wound back before another operation. A dropped write may have been done: the same bytes written again are
/// taken for the same write, and done once; before another operation it comes to its end, and its error is that
/// operation's.
///
/// # Examples
/// ```
/// use filch::fs::File;
/// use filch::io::{AsyncReadExt, AsyncSeekExt, AsyncWriteExt, SeekFrom};
///
/// # fn main() -> std::io::Result<()> {
/// # let path = std::env::temp_dir().join(format!("filch-doc-file-{}", std::process::id()));
/// filch::run(async {
///     let mut file = File::options().read(true).write(true).create(true).open(&path).await?;
///     file.write_all(b"hello, disk").await?;
///     file.sync_all().await?;
///     file.seek(SeekFrom::Start(7)).await?;
///     let mut text = String::new();
///     file.read_to_string(&mut text).await?;
///     assert_eq!(text, "disk");
///     filch::fs::remove_file(&path).await
/// })
/// # }
/// ```
pub struct File {
    opened: Arc<Opened>,
    /// The methods with `&self` wait for the operation under way, one after the other.
    inner: Lock<Inner>,
    most: usize,
}

/// What an operation needs in the pool.
struct Opened {
    file: StdFile,
    /// As it was given; unknown of a file that comes from elsewhere.
    path: Option<Box<Path>>,
}

struct Inner {
    state: State,
    /// Where the last seek ended.
    position: u64,
    /// A seek of tokio's trait that was asked for, and not begun.
    asked: Option<SeekFrom>,
}

enum State {
    Idle(Buffers),
    Busy(Kind, JoinHandle<(Buffers, io::Result<u64>)>),
}

#[derive(Clone, Copy, PartialEq)]
enum Kind {
    Read,
    Write,
    Seek(SeekFrom),
    /// Winds back over what was read and not handed out.
    Settle,
}

/// Vectors that keep their length, so that they are cleared only when they grow.
#[derive(Default)]
struct Buffers {
    read: Vec<u8>,
    /// `read[start..end]` was read and not handed out.
    start: usize,
    end: usize,
    write: Vec<u8>,
}

impl Buffers {
    fn hand_out(&mut self, into: &mut [u8]) -> usize {
        let count = into.len().min(self.end - self.start);
        into[..count].copy_from_slice(&self.read[self.start..self.start + count]);
        self.start += count;
        count
    }

    fn fill(&mut self, mut file: &StdFile, most: usize) -> io::Result<u64> {
        if self.read.len() < most {
            self.read.resize(most, 0);
        }
        (self.start, self.end) = (0, 0);
        self.end = retry(|| file.read(&mut self.read[..most]))?;
        Ok(self.end as u64)
    }

    /// Takes what `bufs` have, up to `most`.
    fn take_in(&mut self, bufs: &[IoSlice<'_>], most: usize) {
        self.write.clear();
        for buf in bufs {
            let room = most - self.write.len();
            self.write.extend_from_slice(&buf[..buf.len().min(room)]);
        }
    }

    /// Whether `bufs` begin with what the write that is done was given.
    fn is_of(&self, bufs: &[IoSlice<'_>]) -> bool {
        let mut rest = self.write.as_slice();
        for buf in bufs {
            let count = rest.len().min(buf.len());
            if rest[..count] != buf[..count] {
                return false;
            }
            rest = &rest[count..];
        }
        rest.is_empty()
    }

    /// Puts back what was read and not handed out. What cannot be wound back, a pipe or a terminal, has no position
    /// to correct.
    fn wind_back(&mut self, mut file: &StdFile) -> io::Result<()> {
        let left = self.end - self.start;
        if left == 0 {
            return Ok(());
        }
        match file.seek(SeekFrom::Current(-(left as i64))) {
            Ok(_) => (self.start, self.end) = (0, 0),
            Err(error) if error.raw_os_error() == Some(libc::ESPIPE) => {}
            Err(error) => return Err(error),
        }
        Ok(())
    }
}

fn retry<T>(mut operation: impl FnMut() -> io::Result<T>) -> io::Result<T> {
    loop {
        match operation() {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            result => return result,
        }
    }
}

impl Kind {
    fn doing(self) -> &'static str {
        match self {
            Kind::Read => "read",
            Kind::Write => "write",
            Kind::Seek(_) | Kind::Settle => "seek in",
        }
    }

    /// Does it. In the pool.
    fn run(self, opened: &Opened, buffers: &mut Buffers, most: usize) -> io::Result<u64> {
        let mut file = &opened.file;
        let result = match self {
            Kind::Read => buffers.fill(file, most),
            Kind::Settle => buffers.wind_back(file).map(|()| 0),
            Kind::Write => buffers
                .wind_back(file)
                .and_then(|()| retry(|| file.write(&buffers.write)))
                .map(|count| count as u64),
            Kind::Seek(to) => buffers.wind_back(file).and_then(|()| file.seek(to)),
        };
        result.map_err(|error| job::explain(self.doing(), opened.path.as_deref(), error))
    }
}

impl Inner {
    /// Begins an operation. Only while none is under way; what it needs is in the buffers.
    fn begin(
        &mut self,
        opened: &Arc<Opened>,
        kind: Kind,
        most: usize,
        location: &'static Location<'static>,
    ) -> io::Result<()> {
        // Before the buffers go: without a runtime they stay as they are.
        context::with_scheduler(|_| ())?;
        let (opened, mut buffers) = (opened.clone(), std::mem::take(self.buffers()));
        let job = move || {
            let result = kind.run(&opened, &mut buffers, most);
            (buffers, result)
        };
        self.state = State::Busy(kind, job::start(location, job)?);
        Ok(())
    }

    /// Waits for the operation under way, if there is one, and says which it was and what came of it.
    fn poll_done(&mut self, cx: &mut Context<'_>) -> Poll<Option<(Kind, io::Result<u64>)>> {
        let State::Busy(kind, job) = &mut self.state else { return Poll::Ready(None) };
        let kind = *kind;
        let done = ready!(Pin::new(job).poll(cx));
        // Before anything else, since a panic of the job goes on below.
        self.state = State::Idle(Buffers::default());
        let (buffers, result) = match done {
            Ok(done) => done,
            Err(error) => return Poll::Ready(Some((kind, Err(job::not_done(error))))),
        };
        self.state = State::Idle(buffers);
        if let (Kind::Seek(_), Ok(position)) = (kind, &result) {
            self.position = *position;
        }
        Poll::Ready(Some((kind, result)))
    }

    fn buffers(&mut self) -> &mut Buffers {
        match &mut self.state {
            State::Idle(buffers) => buffers,
            State::Busy(..) => unreachable!("waited for before"),
        }
    }
}

impl File {
    /// Opens a file to read from it.
    ///
    /// # Errors
    /// What the system reports, with the path.
    ///
    /// # Cancel safety
    /// **Strict.**
    #[track_caller]
    pub fn open(path: impl AsRef<Path>) -> impl Future<Output = io::Result<File>> {
        OpenOptions::new().read(true).open(path)
    }

    /// Opens a file to write to it. It is made if there is none, and emptied if there is one.
    ///
    /// # Errors
    /// What the system reports, with the path.
    ///
    /// # Cancel safety
    /// **Not cancel safe:** once begun, the file is made or emptied.
    #[track_caller]
    pub fn create(path: impl AsRef<Path>) -> impl Future<Output = io::Result<File>> {
        OpenOptions::new().write(true).create(true).truncate(true).open(path)
    }

    /// Makes a file, to read from it and write to it, and fails if there is one.
    ///
    /// # Errors
    /// What the system reports, with the path.
    ///
    /// # Cancel safety
    /// **Not cancel safe:** once begun, the file is made.
    #[track_caller]
    pub fn create_new(path: impl AsRef<Path>) -> impl Future<Output = io::Result<File>> {
        OpenOptions::new().read(true).write(true).create_new(true).open(path)
    }

    /// Options, for all other ways to open one.
    #[must_use]
    pub fn options() -> OpenOptions {
        OpenOptions::new()
    }

    /// Takes over a file of the standard library. Its errors cannot tell the path.
    pub fn from_std(file: StdFile) -> File {
        File::opened(file, None)
    }

    pub(super) fn opened(file: StdFile, path: Option<Box<Path>>) -> File {
        let inner = Inner { state: State::Idle(Buffers::default()), position: 0, asked: None };
        File { opened: Arc::new(Opened { file, path }), inner: Lock::new(inner), most: MOST }
    }

    /// How many bytes one operation moves at most, and so how large the buffers become: 2 MiB if it was not set.
    pub fn max_buf_size(&self) -> usize {
        self.most
    }

    /// Sets how many bytes one operation moves at most; at least one.
    pub fn set_max_buf_size(&mut self, bytes: usize) {
        self.most = bytes.max(1);
    }

    /// Waits until the bytes and all that the system keeps about the file are on the disk.
    ///
    /// # Errors
    /// What the system reports, with the path; that of a write whose future was dropped, too.
    ///
    /// # Cancel safety
    /// **Strict.**
    #[track_caller]
    pub fn sync_all(&self) -> impl Future<Output = io::Result<()>> {
        self.call("sync", Location::caller(), StdFile::sync_all)
    }

    /// As [`sync_all`](Self::sync_all), without what is not needed to read the bytes again, such as times.
    ///
    /// # Errors
    /// As [`sync_all`](Self::sync_all).
    ///
    /// # Cancel safety
    /// **Strict.**
    #[track_caller]
    pub fn sync_data(&self) -> impl Future<Output = io::Result<()>> {
        self.call("sync", Location::caller(), StdFile::sync_data)
    }

    /// Makes the file so many bytes long: cut off, or filled up with zeros. The position stays.
    ///
    /// # Errors
    /// As [`sync_all`](Self::sync_all).
    ///
    /// # Cancel safety
    /// **Not cancel safe:** once begun, it is done to its end, unseen.
    #[track_caller]
    pub fn set_len(&self, size: u64) -> impl Future<Output = io::Result<()>> {
        self.call("set the length of", Location::caller(), move |file| file.set_len(size))
    }

    /// What the system tells of the file.
    ///
    /// # Errors
    /// As [`sync_all`](Self::sync_all).
    ///
    /// # Cancel safety
    /// **Strict.**
    #[track_caller]
    pub fn metadata(&self) -> impl Future<Output = io::Result<Metadata>> {
        self.call("look at", Location::caller(), StdFile::metadata)
    }

    /// Sets the rights to the file.
    ///
    /// # Errors
    /// As [`sync_all`](Self::sync_all).
    ///
    /// # Cancel safety
    /// **Not cancel safe:** once begun, it is done to its end, unseen.
    #[track_caller]
    pub fn set_permissions(&self, permissions: Permissions) -> impl Future<Output = io::Result<()>> {
        let set = move |file: &StdFile| file.set_permissions(permissions);
        self.call("set the permissions of", Location::caller(), set)
    }

    /// A second handle to the same open file: they share one position.
    ///
    /// # Errors
    /// As [`sync_all`](Self::sync_all).
    ///
    /// # Cancel safety
    /// **Strict.**
    #[track_caller]
    pub fn try_clone(&self) -> impl Future<Output = io::Result<File>> {
        let cloned = self.call("clone", Location::caller(), StdFile::try_clone);
        async move {
            let mut clone = File::opened(cloned.await?, self.opened.path.clone());
            clone.most = self.most;
            Ok(clone)
        }
    }

    /// Gives the file to the standard library, after the operation under way.
    ///
    /// Bytes that a dropped read took are wound back; from a pipe or a terminal, they are lost.
    #[track_caller]
    pub fn into_std(self) -> impl Future<Output = StdFile> {
        let location = Location::caller();
        async move {
            // Its error, if there is one, is for an operation that nobody waits for.
            let _ = self.settle(location).await;
            let mut opened = self.opened;
            loop {
                match Arc::try_unwrap(opened) {
                    Ok(opened) => return opened.file,
                    // The job has answered, and is about to let go.
                    Err(still) => opened = still,
                }
                crate::yield_now().await;
            }
        }
    }

    /// Gives the file to the standard library, if no operation is under way and no bytes are left of a dropped read.
    ///
    /// # Errors
    /// The file itself.
    pub fn try_into_std(mut self) -> Result<StdFile, File> {
        match &self.inner.get_mut().state {
            State::Idle(buffers) if buffers.start == buffers.end => {}
            _ => return Err(self),
        }
        let File { opened, inner, most } = self;
        match Arc::try_unwrap(opened) {
            Ok(opened) => Ok(opened.file),
            Err(opened) => Err(File { opened, inner, most }),
        }
    }

    /// Waits for the operation under way, and winds back. The error is that of an operation that was dropped.
    async fn settle(&self, location: &'static Location<'static>) -> io::Result<()> {
        let mut inner = self.inner.lock().await;
        loop {
            if let Some((_, result)) = poll_fn(|cx| inner.poll_done(cx)).await {
                result?;
            }
            let buffers = inner.buffers();
            let left = buffers.end - buffers.start;
            if left == 0 {
                return Ok(());
            }
            inner.begin(&self.opened, Kind::Settle, 0, location)?;
            if let Some((_, result)) = poll_fn(|cx| inner.poll_done(cx)).await {
                result?;
            }
            let buffers = inner.buffers();
            if buffers.end - buffers.start == left {
                // It cannot be wound back.
                return Ok(());
            }
        }
    }

    /// Does `call` in the pool, after what was under way.
    async fn call<T: Send + 'static>(
        &self,
        doing: &'static str,
        location: &'static Location<'static>,
        call: impl FnOnce(&StdFile) -> io::Result<T> + Send + 'static,
    ) -> io::Result<T> {
        self.settle(location).await?;
        let opened = self.opened.clone();
        let job =
            move || call(&opened.file).map_err(|error| job::explain(doing, opened.path.as_deref(), error));
        job::start(location, job)?.await.map_err(job::not_done)?
    }

    fn poll_write_bufs(&mut self, cx: &mut Context<'_>, bufs: &[IoSlice<'_>]) -> Poll<io::Result<usize>> {
        let inner = self.inner.get_mut();
        match ready!(inner.poll_done(cx)) {
            Some((Kind::Write, result)) if inner.buffers().is_of(bufs) => {
                return Poll::Ready(result.map(|count| count as usize));
            }
            Some((_, Err(error))) => return Poll::Ready(Err(error)),
            _ => {}
        }
        if bufs.iter().all(|buf| buf.is_empty()) {
            return Poll::Ready(Ok(0));
        }
        inner.buffers().take_in(bufs, self.most);
        inner.begin(&self.opened, Kind::Write, 0, Location::caller())?;
        let done = ready!(inner.poll_done(cx));
        Poll::Ready(done.map_or(Ok(0), |(_, result)| result.map(|count| count as usize)))
    }

    fn poll_seek_to(&mut self, cx: &mut Context<'_>, to: SeekFrom) -> Poll<io::Result<u64>> {
        let inner = self.inner.get_mut();
        match ready!(inner.poll_done(cx)) {
            Some((kind, result)) if kind == Kind::Seek(to) => return Poll::Ready(result),
            Some((_, Err(error))) => return Poll::Ready(Err(error)),
            _ => {}
        }
        inner.begin(&self.opened, Kind::Seek(to), 0, Location::caller())?;
        let done = ready!(inner.poll_done(cx));
        Poll::Ready(done.map_or(Ok(0), |(_, result)| result))
    }

    /// Reads by `hand_out`, which is given what is there and says how much it took; it wants at most `want`.
    fn poll_read_into(
        &mut self,
        cx: &mut Context<'_>,
        want: usize,
        mut hand_out: impl FnMut(&mut Buffers) -> usize,
    ) -> Poll<io::Result<usize>> {
        let inner = self.inner.get_mut();
        let mut done = ready!(inner.poll_done(cx));
        loop {
            match done {
                Some((_, Err(error))) => return Poll::Ready(Err(error)),
                Some((Kind::Read, Ok(0))) => return Poll::Ready(Ok(0)),
                _ => {}
            }
            let count = hand_out(inner.buffers());
            if count > 0 || want == 0 {
                return Poll::Ready(Ok(count));
            }
            inner.begin(&self.opened, Kind::Read, want.min(self.most), Location::caller())?;
            done = ready!(inner.poll_done(cx));
        }
    }

    fn poll_idle(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let done = ready!(self.inner.get_mut().poll_done(cx));
        Poll::Ready(done.map_or(Ok(()), |(_, result)| result.map(drop)))
    }
}

/// What `tokio_io` asks for.
#[cfg(feature = "tokio-io")]
impl File {
    /// `put` gets the bytes.
    pub(crate) fn poll_read_to(
        &mut self,
        cx: &mut Context<'_>,
        want: usize,
        mut put: impl FnMut(&[u8]),
    ) -> Poll<io::Result<()>> {
        let read = self.poll_read_into(cx, want, |buffers| {
            let count = want.min(buffers.end - buffers.start);
            put(&buffers.read[buffers.start..buffers.start + count]);
            buffers.start += count;
            count
        });
        read.map(|read| read.map(drop))
    }

    pub(crate) fn ask_seek(&mut self, to: SeekFrom) {
        self.inner.get_mut().asked = Some(to);
    }

    /// Does the seek that was asked for; without one, says where the last ended.
    pub(crate) fn poll_asked_seek(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<u64>> {
        let Some(to) = self.inner.get_mut().asked else {
            ready!(self.poll_idle(cx))?;
            return Poll::Ready(Ok(self.inner.get_mut().position));
        };
        let result = ready!(self.poll_seek_to(cx, to));
        self.inner.get_mut().asked = None;
        Poll::Ready(result)
    }
}

impl AsyncRead for File {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut [u8]) -> Poll<io::Result<usize>> {
        let want = buf.len();
        self.poll_read_into(cx, want, |buffers| buffers.hand_out(buf))
    }
}

impl AsyncWrite for File {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        self.poll_write_bufs(cx, &[IoSlice::new(buf)])
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.poll_write_bufs(cx, bufs)
    }

    /// Waits for the operation under way. To wait for the disk, use [`File::sync_all`].
    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.poll_idle(cx)
    }

    /// As flush: the file is closed when it is dropped.
    fn poll_close(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.poll_idle(cx)
    }
}

impl AsyncSeek for File {
    fn poll_seek(mut self: Pin<&mut Self>, cx: &mut Context<'_>, to: SeekFrom) -> Poll<io::Result<u64>> {
        self.poll_seek_to(cx, to)
    }
}

impl From<StdFile> for File {
    fn from(file: StdFile) -> File {
        File::from_std(file)
    }
}

impl AsFd for File {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.opened.file.as_fd()
    }
}

impl AsRawFd for File {
    fn as_raw_fd(&self) -> RawFd {
        self.opened.file.as_raw_fd()
    }
}

impl fmt::Debug for File {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("File").field("file", &self.opened.file).field("path", &self.opened.path).finish()
    }
}
