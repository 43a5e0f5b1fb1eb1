//! Layer 3, fs. The way to the blocking pool and back, and errors that name what was tried, and where.
//!
//! Called by everything in `fs`.
#![forbid(unsafe_code)]

use std::error::Error;
use std::fmt;
use std::io;
use std::panic::{Location, resume_unwind};
use std::path::{Path, PathBuf};

use crate::context;
use crate::task::{JoinError, JoinHandle};

/// Starts `job` on the blocking pool of this thread's runtime.
pub(super) fn start<T: Send + 'static>(
    location: &'static Location<'static>,
    job: impl FnOnce() -> T + Send + 'static,
) -> io::Result<JoinHandle<T>> {
    Ok(context::with_scheduler(|scheduler| scheduler.spawn_blocking(job, None, location))?)
}

/// What became of a job that has no result: its panic goes on here, and that it was not run is an error.
pub(super) fn not_done(error: JoinError) -> io::Error {
    match error.try_into_panic() {
        Ok(payload) => resume_unwind(payload),
        Err(error) => error.into(),
    }
}

/// Does `call` with the path. Begun at the first poll.
pub(super) async fn on_path<T: Send + 'static>(
    path: PathBuf,
    doing: &'static str,
    location: &'static Location<'static>,
    call: impl FnOnce(&Path) -> io::Result<T> + Send + 'static,
) -> io::Result<T> {
    let job = move || call(&path).map_err(|error| explain(doing, Some(&path), error));
    start(location, job)?.await.map_err(not_done)?
}

/// Does `call` with both paths. Begun at the first poll.
pub(super) async fn on_two<T: Send + 'static>(
    from: PathBuf,
    to: PathBuf,
    doing: &'static str,
    location: &'static Location<'static>,
    call: impl FnOnce(&Path, &Path) -> io::Result<T> + Send + 'static,
) -> io::Result<T> {
    let job = move || call(&from, &to).map_err(|error| explain_two(doing, &from, &to, error));
    start(location, job)?.await.map_err(not_done)?
}

/// `error`, with what was tried and where. No path: a file that was made from a descriptor.
pub(super) fn explain(doing: &'static str, path: Option<&Path>, error: io::Error) -> io::Error {
    let what = path.map_or_else(|| format!("{doing} the file"), |path| format!("{doing} {}", path.display()));
    io::Error::new(error.kind(), Explained { what, source: error })
}

pub(super) fn explain_two(doing: &'static str, from: &Path, to: &Path, error: io::Error) -> io::Error {
    let what = format!("{doing} {} to {}", from.display(), to.display());
    io::Error::new(error.kind(), Explained { what, source: error })
}

/// An error of the system, with what was tried.
#[derive(Debug)]
struct Explained {
    what: String,
    source: io::Error,
}

impl fmt::Display for Explained {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "cannot {}: {}", self.what, self.source)
    }
}

impl Error for Explained {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        Some(&self.source)
    }
}
