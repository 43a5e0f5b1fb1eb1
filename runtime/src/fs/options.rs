//! Layer 3, fs. How a file is opened.
//!
//! Owns nothing but the standard library's options. Called by user code.
#![forbid(unsafe_code)]

use std::fs::OpenOptions as StdOptions;
use std::io;
use std::os::unix::fs::OpenOptionsExt;
use std::panic::Location;
use std::path::Path;

use super::file::File;
use super::job;

/// How a file is to be opened: the options of [`std::fs::OpenOptions`].
///
/// # Examples
/// ```
/// use filch::io::AsyncWriteExt;
///
/// # fn main() -> std::io::Result<()> {
/// # let path = std::env::temp_dir().join(format!("filch-doc-options-{}", std::process::id()));
/// filch::run(async {
///     let mut log = filch::fs::OpenOptions::new().append(true).create(true).open(&path).await?;
///     log.write_all(b"started\n").await?;
///     log.sync_all().await?;
///     filch::fs::remove_file(&path).await
/// })
/// # }
/// ```
#[derive(Clone, Debug)]
pub struct OpenOptions(StdOptions);

macro_rules! options {
    ($($(#[$meta:meta])* $name:ident($value:ty);)*) => {$(
        $(#[$meta])*
        pub fn $name(&mut self, $name: $value) -> &mut OpenOptions {
            self.0.$name($name);
            self
        }
    )*};
}

impl OpenOptions {
    /// All options off: at least one of `read`, `write` and `append` is needed.
    #[must_use]
    pub fn new() -> OpenOptions {
        OpenOptions(StdOptions::new())
    }

    options! {
        /// To read from it.
        read(bool);
        /// To write to it.
        write(bool);
        /// To write to its end, wherever that is by then.
        append(bool);
        /// To empty it first. Needs `write`.
        truncate(bool);
        /// To make it if there is none. Needs `write` or `append`.
        create(bool);
        /// To make it, and fail if there is one. Needs `write` or `append`.
        create_new(bool);
        /// The rights of a file that is made, before the process's mask: `0o666` if not said.
        mode(u32);
        /// More flags for `open(2)`, those of `libc`.
        custom_flags(i32);
    }

    /// Opens the file. A pipe's other end is waited for, in the pool, as `open(2)` does.
    ///
    /// # Errors
    /// What the system reports, with the path; and when the options contradict each other.
    ///
    /// # Cancel safety
    /// **Strict**, but for a file that is made or emptied: once begun, it is done, and closed again.
    #[track_caller]
    pub fn open<P: AsRef<Path>>(&self, path: P) -> impl Future<Output = io::Result<File>> + use<P> {
        let (options, path, location) = (self.0.clone(), path.as_ref().to_owned(), Location::caller());
        async move {
            let job = move || match options.open(&path) {
                Ok(file) => Ok(File::opened(file, Some(path.into()))),
                Err(error) => Err(job::explain("open", Some(&path), error)),
            };
            job::start(location, job)?.await.map_err(job::not_done)?
        }
    }
}

impl Default for OpenOptions {
    fn default() -> OpenOptions {
        OpenOptions::new()
    }
}

impl From<StdOptions> for OpenOptions {
    fn from(options: StdOptions) -> OpenOptions {
        OpenOptions(options)
    }
}
