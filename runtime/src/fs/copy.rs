//! Layer 3, fs. Copies of files, in pieces, with word of how far they are.
//!
//! Owns the loop over the pieces, each of which is one job of the blocking pool, so that a copy that is
//! dropped stops, and a large one does not keep a thread for good. Called by user code.
#![forbid(unsafe_code)]

use std::fs::{File, OpenOptions};
use std::io::{self, Read};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt, PermissionsExt};
use std::panic::Location;
use std::path::{Path, PathBuf};

use super::job;

/// How much one job copies. The kernel does it, so this is no buffer.
const PIECE: u64 = 4 << 20;

/// How far a copy is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub struct CopyProgress {
    /// Bytes that are copied.
    pub copied: u64,
    /// Bytes that there were to copy when it began. A file that grows meanwhile is copied to its end all the
    /// same.
    pub total: u64,
}

/// Copies a file with its rights, and says how many bytes it had. A file that is there is overwritten.
///
/// # Errors
/// What the system reports, with both paths; when `from` is no file; and when both are the same one, which
/// would be lost. After an error `to` may have a part.
///
/// # Cancel safety
/// **Not cancel safe:** it stops at the end of the piece under way, of 4 MiB, and what is copied stays.
#[track_caller]
pub fn copy(from: impl AsRef<Path>, to: impl AsRef<Path>) -> impl Future<Output = io::Result<u64>> {
    copying(from.as_ref().to_owned(), to.as_ref().to_owned(), Location::caller(), |_| {})
}

/// As [`copy`], and calls `progress` after each piece of 4 MiB, in the task that waits for the copy.
///
/// # Examples
/// ```
/// # fn main() -> std::io::Result<()> {
/// # let to = std::env::temp_dir().join(format!("filch-doc-copy-{}", std::process::id()));
/// filch::run(async {
///     let copied = filch::fs::copy_with("Cargo.toml", &to, |progress| {
///         println!("{} of {} bytes", progress.copied, progress.total);
///     });
///     assert!(copied.await? > 0);
///     filch::fs::remove_file(&to).await
/// })
/// # }
/// ```
///
/// # Errors
/// As [`copy`].
///
/// # Cancel safety
/// As [`copy`].
#[track_caller]
pub fn copy_with(
    from: impl AsRef<Path>,
    to: impl AsRef<Path>,
    progress: impl FnMut(CopyProgress),
) -> impl Future<Output = io::Result<u64>> {
    copying(from.as_ref().to_owned(), to.as_ref().to_owned(), Location::caller(), progress)
}

/// Both files, and how far the copy is.
struct Copying {
    from: File,
    to: File,
    progress: CopyProgress,
    done: bool,
}

async fn copying(
    from: PathBuf,
    to: PathBuf,
    location: &'static Location<'static>,
    mut progress: impl FnMut(CopyProgress),
) -> io::Result<u64> {
    let mut copying = None;
    loop {
        let (from, to, before) = (from.clone(), to.clone(), copying.take());
        let piece = job::on_two(from, to, "copy", location, move |from, to| match before {
            Some(copying) => piece(copying),
            None => begin(from, to).and_then(piece),
        });
        let now = piece.await?;
        progress(now.progress);
        if now.done {
            return Ok(now.progress.copied);
        }
        copying = Some(now);
    }
}

fn begin(from: &Path, to: &Path) -> io::Result<Copying> {
    let source = File::open(from)?;
    let metadata = source.metadata()?;
    if !metadata.is_file() {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "the source is not a regular file"));
    }
    let mode = metadata.permissions().mode();
    // Emptied only when it is known to be another file.
    let target = OpenOptions::new().write(true).create(true).truncate(false).mode(mode).open(to)?;
    let there = target.metadata()?;
    if (there.dev(), there.ino()) == (metadata.dev(), metadata.ino()) {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "both are the same file"));
    }
    if there.is_file() {
        target.set_len(0)?;
        target.set_permissions(metadata.permissions())?;
    }
    let progress = CopyProgress { copied: 0, total: metadata.len() };
    Ok(Copying { from: source, to: target, progress, done: false })
}

fn piece(mut copying: Copying) -> io::Result<Copying> {
    let copied = io::copy(&mut (&copying.from).take(PIECE), &mut &copying.to)?;
    copying.progress.copied += copied;
    copying.done = copied < PIECE;
    Ok(copying)
}
