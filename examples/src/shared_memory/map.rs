//! Cells in the memory of several processes, and the lock of them.
//!
//! Owns a file, mapped into memory by each. Whoever makes it removes it.
#![allow(unsafe_code)]

use std::fs::{File, TryLockError};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicU64;

use memmap2::MmapRaw;
use tempfile::TempPath;

const CELL: usize = size_of::<AtomicU64>();

/// Cells that other processes have, too.
pub(super) struct Shared {
    file: File,
    map: MmapRaw,
    /// Removes the file.
    made: Option<TempPath>,
}

impl Shared {
    /// So many cells, all zero.
    pub(super) fn create(cells: usize) -> io::Result<Shared> {
        // In memory, where the system has a place for that.
        let folder = Path::new("/dev/shm");
        let builder = |folder: &Path| tempfile::Builder::new().prefix("filch-shared-").tempfile_in(folder);
        let (file, path) = builder(folder).or_else(|_| builder(&std::env::temp_dir()))?.into_parts();
        file.set_len((cells * CELL) as u64)?;
        let map = MmapRaw::map_raw(&file)?;
        Ok(Shared { file, map, made: Some(path) })
    }

    /// Those that another process has made.
    pub(super) fn open(path: &Path) -> io::Result<Shared> {
        let file = File::options().read(true).write(true).open(path)?;
        let map = MmapRaw::map_raw(&file)?;
        Ok(Shared { file, map, made: None })
    }

    /// Where others find it.
    pub(super) fn path(&self) -> PathBuf {
        self.made.as_deref().map(Path::to_owned).unwrap_or_default()
    }

    /// The cells. They are atomic, so others may change them at any time.
    pub(super) fn cells(&self) -> &[AtomicU64] {
        let cells = self.map.len() / CELL;
        // SAFETY: the memory lives as long as `self.map`, is as long as that, and begins at a page, so it is
        // aligned; any bytes are a number. Everybody who has it reaches it through atomics only.
        unsafe { std::slice::from_raw_parts(self.map.as_ptr().cast(), cells) }
    }

    /// Waits until this process has the lock. The system gives it back when the process ends, by whatever.
    pub(super) fn lock(&self) -> io::Result<Locked<'_>> {
        self.file.lock()?;
        Ok(Locked(self))
    }

    pub(super) fn try_lock(&self) -> Result<Locked<'_>, TryLockError> {
        self.file.try_lock()?;
        Ok(Locked(self))
    }
}

/// The lock is this one's until it is dropped.
pub(super) struct Locked<'a>(&'a Shared);

impl Locked<'_> {
    pub(super) fn cells(&self) -> &[AtomicU64] {
        self.0.cells()
    }
}

impl Drop for Locked<'_> {
    fn drop(&mut self) {
        // It is given back by the close at the latest.
        let _ = self.0.file.unlock();
    }
}
