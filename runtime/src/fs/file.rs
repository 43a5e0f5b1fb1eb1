//! Layer 3, fs. An open file: its methods, and the traits it reads, writes and seeks by.
//!
//! Owns the handle; what is under way, and what is left of it, is in `operation`. Called by user code;
//! `tokio_io` adds tokio's traits.
#![forbid(unsafe_code)]

use std::fmt;
use std::fs::{File as StdFile, Metadata, Permissions};
use std::future::poll_fn;
use std::io::{self, IoSlice, SeekFrom};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, RawFd};
use std::panic::Location;
use std::path::Path;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use filch_channels::sync::Lock;
use futures_io::{AsyncRead, AsyncSeek, AsyncWrite};

use super::job;
use super::operation::{Buffers, Inner, Kind, Opened, State};
use super::options::OpenOptions;
use crate::shim::Arc;

/// How much one operation moves at most, if not said otherwise.
const MOST: usize = 2 << 20;

/// An open file.
///
/// It reads, writes and seeks by [`AsyncReadExt`](crate::io::AsyncReadExt),
/// [`AsyncWriteExt`](crate::io::AsyncWriteExt) and [`AsyncSeekExt`](crate::io::AsyncSeekExt). Each operation
/// is a trip to the blocking pool (some ten microseconds): for small ones put a
/// [`BufReader`](crate::io::BufReader) or [`BufWriter`](crate::io::BufWriter) round it. A write returns when
/// the system has the bytes, not before; [`sync_all`](Self::sync_all) waits for the disk. Dropping the file
/// closes it, after the operation under way.
///
/// # Cancel safety
/// `read`, `write` and `seek` are **strict**: what is retried after a drop goes on where it was. An operation
/// that was begun ends by itself, in a buffer of the file's own. What a dropped read took is there for the
/// next read, and the file is wound back before another operation. A dropped write may have been done: the
/// same bytes written again are taken for the same write, and done once; before another operation it comes to
/// its end, and its error is that operation's.
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

    /// How many bytes one operation moves at most, and so how large the buffers become: 2 MiB if it was not
    /// set.
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

    /// Gives the file to the standard library, if no operation is under way and no bytes are left of a
    /// dropped read.
    ///
    /// # Errors
    /// The file itself.
    #[allow(clippy::result_large_err, reason = "as tokio's")]
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
