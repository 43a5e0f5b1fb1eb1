//! Layer 3, fs. What is in a folder, and how one is made.
//!
//! Owns the batch of entries that was read ahead. Called by user code.
#![forbid(unsafe_code)]

use std::collections::VecDeque;
use std::ffi::OsString;
use std::fs::{self, FileType, Metadata};
use std::io;
use std::os::unix::fs::{DirBuilderExt, DirEntryExt};
use std::panic::Location;
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use super::job::{self, on_path};
use crate::shim::Arc;
use crate::task::JoinHandle;

/// How many entries are read by one job.
const BATCH: usize = 32;

/// Reads what is in a folder, in no order.
///
/// # Examples
/// ```
/// # fn main() -> std::io::Result<()> {
/// filch::run(async {
///     let mut entries = filch::fs::read_dir(".").await?;
///     let mut names = Vec::new();
///     while let Some(entry) = entries.next_entry().await? {
///         names.push(entry.file_name());
///     }
///     assert!(names.contains(&"Cargo.toml".into()));
///     Ok(())
/// })
/// # }
/// ```
///
/// # Errors
/// What the system reports, with the path.
///
/// # Cancel safety
/// **Strict.** What was begun is finished and thrown away.
#[track_caller]
pub fn read_dir(path: impl AsRef<Path>) -> impl Future<Output = io::Result<ReadDir>> {
    let (path, location) = (path.as_ref().to_owned(), Location::caller());
    async move {
        let kept: Arc<Path> = path.as_path().into();
        let entries = on_path(path, "read the folder", location, |path| {
            let mut reading =
                Reading { ahead: VecDeque::with_capacity(BATCH), entries: Some(fs::read_dir(path)?) };
            reading.fill();
            Ok(reading)
        });
        Ok(ReadDir { state: State::Idle(entries.await?), path: kept })
    }
}

/// The entries of a folder; see [`read_dir`]. A stream, too.
#[derive(Debug)]
pub struct ReadDir {
    state: State,
    path: Arc<Path>,
}

#[derive(Debug)]
enum State {
    Idle(Reading),
    Busy(JoinHandle<Reading>),
    /// A job was not run, so that the folder is closed.
    Lost,
}

#[derive(Debug)]
struct Reading {
    ahead: VecDeque<io::Result<DirEntry>>,
    /// `None`: there are no more.
    entries: Option<fs::ReadDir>,
}

impl Reading {
    /// Reads the next entries. After an error the system has nothing more to say.
    fn fill(&mut self) {
        while let Some(entries) = self.entries.as_mut().filter(|_| self.ahead.len() < BATCH) {
            let entry = entries.next();
            if !matches!(entry, Some(Ok(_))) {
                self.entries = None;
            }
            // Asked here, in the pool, where it costs a trip to the disk if the file system did not say.
            let known =
                |entry: fs::DirEntry| DirEntry { kind: entry.file_type().ok(), entry: Arc::new(entry) };
            self.ahead.extend(entry.map(|entry| entry.map(known)));
        }
    }
}

impl ReadDir {
    /// The next entry; `None` when there are no more.
    ///
    /// # Errors
    /// What the system reports, with the path; there are no entries after that.
    ///
    /// # Cancel safety
    /// **Strict.** An entry is taken only by the poll that returns it.
    #[track_caller]
    pub fn next_entry(&mut self) -> impl Future<Output = io::Result<Option<DirEntry>>> {
        let location = Location::caller();
        std::future::poll_fn(move |cx| self.poll(cx, location))
    }

    /// Polls for the next entry.
    ///
    /// # Errors
    /// As [`next_entry`](Self::next_entry).
    #[track_caller]
    pub fn poll_next_entry(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<Option<DirEntry>>> {
        self.poll(cx, Location::caller())
    }

    fn poll(
        &mut self,
        cx: &mut Context<'_>,
        location: &'static Location<'static>,
    ) -> Poll<io::Result<Option<DirEntry>>> {
        loop {
            match &mut self.state {
                State::Lost => return Poll::Ready(Ok(None)),
                State::Idle(reading) => {
                    if let Some(entry) = reading.ahead.pop_front() {
                        return Poll::Ready(entry.map(Some).map_err(|error| self.explain(error)));
                    }
                    if reading.entries.is_none() {
                        return Poll::Ready(Ok(None));
                    }
                    let State::Idle(mut reading) = std::mem::replace(&mut self.state, State::Lost) else {
                        unreachable!("just seen to be idle");
                    };
                    let fill = move || {
                        reading.fill();
                        reading
                    };
                    self.state = State::Busy(job::start(location, fill)?);
                }
                State::Busy(job) => {
                    self.state = match ready!(Pin::new(job).poll(cx)) {
                        Ok(reading) => State::Idle(reading),
                        Err(error) => {
                            self.state = State::Lost;
                            return Poll::Ready(Err(self.explain(job::not_done(error))));
                        }
                    };
                }
            }
        }
    }

    fn explain(&self, error: io::Error) -> io::Error {
        job::explain("read the folder", Some(&self.path), error)
    }
}

impl futures_core::Stream for ReadDir {
    type Item = io::Result<DirEntry>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<io::Result<DirEntry>>> {
        self.poll(cx, Location::caller()).map(Result::transpose)
    }
}

/// An entry of a folder.
#[derive(Debug)]
pub struct DirEntry {
    entry: Arc<fs::DirEntry>,
    /// `None`: it could not be told when the folder was read.
    kind: Option<FileType>,
}

impl DirEntry {
    /// Its path: that of the folder, as it was given, with the entry's name.
    pub fn path(&self) -> PathBuf {
        self.entry.path()
    }

    /// Its name.
    pub fn file_name(&self) -> OsString {
        self.entry.file_name()
    }

    /// Its inode.
    pub fn ino(&self) -> u64 {
        self.entry.ino()
    }

    /// What the system tells of it. Symbolic links are not followed.
    ///
    /// # Errors
    /// What the system reports, with the path.
    ///
    /// # Cancel safety
    /// **Strict.**
    #[track_caller]
    pub fn metadata(&self) -> impl Future<Output = io::Result<Metadata>> + use<> {
        let entry = self.entry.clone();
        on_path(self.path(), "look at", Location::caller(), move |_| entry.metadata())
    }

    /// Its kind, as it was when the folder was read. Symbolic links are not followed.
    ///
    /// # Errors
    /// What the system reports, with the path.
    ///
    /// # Cancel safety
    /// **Strict.**
    #[track_caller]
    pub fn file_type(&self) -> impl Future<Output = io::Result<FileType>> + use<> {
        let (kind, metadata) = (self.kind, self.metadata());
        async move {
            match kind {
                Some(kind) => Ok(kind),
                None => Ok(metadata.await?.file_type()),
            }
        }
    }
}

/// How a folder is made.
///
/// # Examples
/// ```
/// # fn main() -> std::io::Result<()> {
/// # let path = std::env::temp_dir().join(format!("filch-doc-dir-{}", std::process::id()));
/// filch::run(async {
///     filch::fs::DirBuilder::new().recursive(true).mode(0o700).create(path.join("a/b")).await?;
///     filch::fs::remove_dir_all(&path).await
/// })
/// # }
/// ```
#[derive(Debug, Default)]
pub struct DirBuilder {
    recursive: bool,
    mode: Option<u32>,
}

impl DirBuilder {
    /// One folder, whose parent exists, with all rights that the process's mask lets through.
    #[must_use]
    pub fn new() -> DirBuilder {
        DirBuilder::default()
    }

    /// Makes the folders that it is in, too, and is content if it is there.
    pub fn recursive(&mut self, recursive: bool) -> &mut DirBuilder {
        self.recursive = recursive;
        self
    }

    /// The rights of what is made, before the process's mask.
    pub fn mode(&mut self, mode: u32) -> &mut DirBuilder {
        self.mode = Some(mode);
        self
    }

    /// Makes the folder.
    ///
    /// # Errors
    /// What the system reports, with the path.
    ///
    /// # Cancel safety
    /// **Not cancel safe:** once begun, it is done to its end, unseen.
    #[track_caller]
    pub fn create<P: AsRef<Path>>(&self, path: P) -> impl Future<Output = io::Result<()>> + use<P> {
        let mut builder = fs::DirBuilder::new();
        builder.recursive(self.recursive);
        if let Some(mode) = self.mode {
            builder.mode(mode);
        }
        let create = move |path: &Path| builder.create(path);
        on_path(path.as_ref().to_owned(), "create the folder", Location::caller(), create)
    }
}
