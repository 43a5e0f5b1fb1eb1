//! Layer 3, fs. A file that is the old one or the new one, never half of either.
//!
//! Owns the order of the steps: a temporary file in the same folder, its bytes to the disk, the rename, and
//! the folder to the disk. After Pillai et al., "All File Systems Are Not Created Equal" (OSDI 2014). Called
//! by user code.
#![forbid(unsafe_code)]

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::panic::Location;
use std::path::{Path, PathBuf};

use super::job::on_path;
use crate::shim::Ordering::Relaxed;
use crate::shim::shared::AtomicU64;

/// How many names are tried for the temporary file.
const NAMES: usize = 64;

/// Makes a file of these bytes, so that whoever reads it, also after a crash, finds what was there before or
/// all of what is new.
///
/// The bytes go into a temporary file in the same folder and to the disk, the file takes its name, and the
/// folder goes to the disk. The rights of a file that is there are kept; its owner and other names are not. A
/// symbolic link is followed, and stays.
///
/// # Examples
/// ```
/// # fn main() -> std::io::Result<()> {
/// # let path = std::env::temp_dir().join(format!("filch-doc-atomic-{}", std::process::id()));
/// filch::run(async {
///     filch::fs::write_atomic(&path, "first").await?;
///     filch::fs::write_atomic(&path, b"second").await?;
///     assert_eq!(filch::fs::read(&path).await?, b"second");
///     filch::fs::remove_file(&path).await
/// })
/// # }
/// ```
///
/// # Errors
/// What the system reports, with the path: a full disk, no right to write to the *folder*, a folder at that
/// path. The old file is as it was and the temporary one removed, with one exception: when the folder itself
/// cannot be brought to the disk, the new file is there, and may be gone after a crash.
///
/// # Cancel safety
/// **Not cancel safe:** once begun, it is done to its end, unseen. The file is the old one or the new one.
#[track_caller]
pub fn write_atomic(
    path: impl AsRef<Path>,
    contents: impl AsRef<[u8]>,
) -> impl Future<Output = io::Result<()>> {
    let contents = contents.as_ref().to_owned();
    on_path(path.as_ref().to_owned(), "write", Location::caller(), move |path| replace(path, &contents))
}

fn replace(path: &Path, contents: &[u8]) -> io::Result<()> {
    let (path, before) = match fs::symlink_metadata(path) {
        Ok(metadata) if metadata.is_symlink() => {
            let path = fs::canonicalize(path)?;
            let metadata = fs::metadata(&path)?;
            (path, Some(metadata))
        }
        Ok(metadata) => (path.to_owned(), Some(metadata)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => (path.to_owned(), None),
        Err(error) => return Err(error),
    };
    if before.as_ref().is_some_and(|before| !before.is_file()) {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "what is there is not a regular file"));
    }
    let folder = match path.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        Some(_) => Path::new("."),
        None => return Err(io::Error::new(io::ErrorKind::InvalidInput, "the path names no file")),
    };
    // The rights only: not the kind of the file.
    let mode = before.map(|before| before.permissions().mode() & 0o7777);
    let mut temporary = Temporary::create(folder, if mode.is_some() { 0o600 } else { 0o666 })?;
    if let Some(mode) = mode {
        // First, so that nobody reads the bytes who could not read the old ones.
        temporary.file.set_permissions(fs::Permissions::from_mode(mode))?;
    }
    temporary.file.write_all(contents)?;
    temporary.file.sync_all()?;
    temporary.rename(&path)?;
    match File::open(folder)?.sync_all() {
        // Not every file system has this for folders; those that do not, order by themselves.
        Err(error) if error.kind() == io::ErrorKind::InvalidInput => Ok(()),
        result => result,
    }
}

/// A file that is removed when it has not got its name.
struct Temporary {
    file: File,
    path: PathBuf,
    named: bool,
}

impl Temporary {
    fn create(folder: &Path, mode: u32) -> io::Result<Temporary> {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        let mut tries = 0;
        loop {
            // Relaxed: any number will do, if it is another one.
            let number = NEXT.fetch_add(1, Relaxed);
            // Short, so that it fits where the file's own name does.
            let path = folder.join(format!(".filch-{}-{number}.tmp", std::process::id()));
            tries += 1;
            match OpenOptions::new().write(true).create_new(true).mode(mode).open(&path) {
                Ok(file) => return Ok(Temporary { file, path, named: false }),
                // One of a process that had our number, and crashed.
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists && tries < NAMES => {}
                Err(error) => return Err(error),
            }
        }
    }

    fn rename(&mut self, to: &Path) -> io::Result<()> {
        fs::rename(&self.path, to)?;
        self.named = true;
        Ok(())
    }
}

impl Drop for Temporary {
    fn drop(&mut self) {
        if !self.named {
            // The error that led here is the one to report.
            let _ = fs::remove_file(&self.path);
        }
    }
}
