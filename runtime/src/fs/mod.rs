//! Files and folders.
//!
//! The names and shapes are those of [`std::fs`], and each operation is done by the blocking pool, as systems
//! have no other way to wait for a disk.
//!
//! | to …                                     | use                                                      |
//! |------------------------------------------|----------------------------------------------------------|
//! | read or write a whole file               | [`read`], [`read_to_string`], [`write()`]                |
//! | write one that is old or new, never half | [`write_atomic`]                                         |
//! | read and write piece by piece            | [`File`], [`OpenOptions`]                                |
//! | copy, and say how far it is              | [`copy`], [`copy_with`]                                  |
//! | look at a folder                         | [`read_dir`]                                             |
//! | do several steps in one trip             | [`std::fs`] in [`spawn_blocking`](crate::spawn_blocking) |
//!
//! # Errors
//! Each says what was tried, and with which path. The kind is the system's; its own error, with the number,
//! is the [`source`](std::error::Error::source) of the one inside. All give an error outside of a runtime,
//! and when the runtime has been shut down.
//!
//! # Cancel safety
//! **Not cancel safe:** a call of this module that was begun goes on in the pool when its future is dropped,
//! and nobody hears what became of it. [`copy_with`] stops between two pieces. What a [`File`] does is said
//! there.
//!
//! # Examples
//! ```
//! # fn main() -> std::io::Result<()> {
//! # let folder = std::env::temp_dir().join(format!("filch-doc-fs-{}", std::process::id()));
//! filch::run(async {
//!     filch::fs::create_dir_all(&folder).await?;
//!     filch::fs::write_atomic(folder.join("settings"), "colour = blue").await?;
//!     assert_eq!(filch::fs::read_to_string(folder.join("settings")).await?, "colour = blue");
//!
//!     let error = filch::fs::read(folder.join("none")).await.unwrap_err();
//!     assert!(error.to_string().contains("cannot read") && error.to_string().contains("none"));
//!     filch::fs::remove_dir_all(&folder).await
//! })
//! # }
//! ```
#![forbid(unsafe_code)]

// Layer 3. Owns the calls that need a path and no open file; each is one job of the blocking pool. `file` has
// what is open, `job` the way to the pool and the errors.
mod atomic;
mod copy;
mod dir;
mod file;
mod job;
mod operation;
mod options;

use std::fs as sync_fs;
use std::io;
use std::panic::Location;
use std::path::{Path, PathBuf};

pub use atomic::write_atomic;
pub use copy::{CopyProgress, copy, copy_with};
pub use dir::{DirBuilder, DirEntry, ReadDir, read_dir};
pub use file::File;
pub use options::OpenOptions;
/// What the system tells of a file, and kinds and rights: those of the standard library.
pub use std::fs::{FileType, Metadata, Permissions};

use job::{on_path, on_two};

/// A call with a path: its documentation, its name in errors, its function in `std::fs`.
macro_rules! with_path {
    ($($(#[$meta:meta])* $name:ident -> $output:ty, $doing:literal, $call:expr;)*) => {$(
        $(#[$meta])*
        ///
        /// # Errors
        /// As the [module](self) says.
        ///
        /// # Cancel safety
        /// **Not cancel safe:** once begun, it is done to its end, unseen.
        #[track_caller]
        pub fn $name(path: impl AsRef<Path>) -> impl Future<Output = io::Result<$output>> {
            on_path(path.as_ref().to_owned(), $doing, Location::caller(), $call)
        }
    )*};
}

with_path! {
    /// Reads a whole file.
    read -> Vec<u8>, "read", |path| sync_fs::read(path);
    /// Reads a whole file, which must be UTF-8: if it is not, the error is of the kind
    /// [`InvalidData`](io::ErrorKind::InvalidData).
    read_to_string -> String, "read", |path| sync_fs::read_to_string(path);
    /// What the system tells of a file or folder. Symbolic links are followed.
    metadata -> Metadata, "look at", |path| sync_fs::metadata(path);
    /// As [`metadata`], of a symbolic link itself.
    symlink_metadata -> Metadata, "look at", |path| sync_fs::symlink_metadata(path);
    /// The path from the root, without symbolic links, of something that exists.
    canonicalize -> PathBuf, "resolve", |path| sync_fs::canonicalize(path);
    /// Where a symbolic link leads to.
    read_link -> PathBuf, "read the link", |path| sync_fs::read_link(path);
    /// Whether there is something, links followed. An error when that cannot be told.
    try_exists -> bool, "look for", |path| path.try_exists();
    /// Makes a folder, whose parent must exist.
    create_dir -> (), "create the folder", |path| sync_fs::create_dir(path);
    /// Makes a folder and those it is in, as far as they are missing.
    create_dir_all -> (), "create the folder", |path| sync_fs::create_dir_all(path);
    /// Removes an empty folder.
    remove_dir -> (), "remove the folder", |path| sync_fs::remove_dir(path);
    /// Removes a folder with all that is in it. Symbolic links are removed, not followed.
    remove_dir_all -> (), "remove the folder", |path| sync_fs::remove_dir_all(path);
    /// Removes a file, or a symbolic link.
    remove_file -> (), "remove", |path| sync_fs::remove_file(path);
}

/// A call with two paths.
macro_rules! with_two {
    ($($(#[$meta:meta])* $name:ident($from:ident, $to:ident), $doing:literal, $call:expr;)*) => {$(
        $(#[$meta])*
        ///
        /// # Errors
        /// As the [module](self) says.
        ///
        /// # Cancel safety
        /// **Not cancel safe:** once begun, it is done to its end, unseen.
        #[track_caller]
        pub fn $name(
            $from: impl AsRef<Path>,
            $to: impl AsRef<Path>,
        ) -> impl Future<Output = io::Result<()>> {
            on_two($from.as_ref().to_owned(), $to.as_ref().to_owned(), $doing, Location::caller(), $call)
        }
    )*};
}

with_two! {
    /// Gives a file or folder another name, within one file system. A file of that name is replaced, at once.
    rename(from, to), "rename", |from, to| sync_fs::rename(from, to);
    /// Gives a file one more name, within one file system.
    hard_link(original, link), "link", |original, link| sync_fs::hard_link(original, link);
    /// Makes a symbolic link, at the second path, that leads to the first.
    symlink(original, link), "make a symbolic link to", |original, link| {
        std::os::unix::fs::symlink(original, link)
    };
}

/// Makes a file of these bytes. One that is there is overwritten; see [`write_atomic`] for what that is not.
///
/// The bytes are copied once, for the pool.
///
/// # Errors
/// As the [module](self) says. The file may then have a part of them.
///
/// # Cancel safety
/// **Not cancel safe:** once begun, it is done to its end, unseen.
#[track_caller]
pub fn write(path: impl AsRef<Path>, contents: impl AsRef<[u8]>) -> impl Future<Output = io::Result<()>> {
    let contents = contents.as_ref().to_owned();
    on_path(path.as_ref().to_owned(), "write", Location::caller(), move |path| sync_fs::write(path, contents))
}

/// Sets the rights to a file or folder. Symbolic links are followed.
///
/// # Errors
/// As the [module](self) says.
///
/// # Cancel safety
/// **Not cancel safe:** once begun, it is done to its end, unseen.
#[track_caller]
pub fn set_permissions(
    path: impl AsRef<Path>,
    permissions: Permissions,
) -> impl Future<Output = io::Result<()>> {
    let set = move |path: &Path| sync_fs::set_permissions(path, permissions);
    on_path(path.as_ref().to_owned(), "set the permissions of", Location::caller(), set)
}
