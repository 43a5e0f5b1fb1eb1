//! Reading and writing.
//!
//! The traits are those of [`futures-io`](futures_io) and their extensions those of [`futures-lite`](futures_lite),
//! so everything written for them works with the sockets of [`filch::net`](crate::net):
//!
//! | to …                              | use                                                                   |
//! |-----------------------------------|-----------------------------------------------------------------------|
//! | read and write                    | [`AsyncReadExt`], [`AsyncWriteExt`]                                   |
//! | read line by line                 | [`BufReader`] and [`AsyncBufReadExt::lines`]                          |
//! | write in larger pieces            | [`BufWriter`]; flush it before you wait for an answer                 |
//! | pass on all that comes            | [`copy`]                                                              |
//! | read in one task, write in another | [`into_split`](crate::net::TcpStream::into_split); [`split`] for the rest |
//!
//! # Cancel safety
//! `read` and `write` are **strict**: a dropped one has moved nothing. Those that take several steps are
//! **not cancel safe:** `read_exact`, `read_to_end`, `read_line`, `write_all` and [`copy`] lose the count of
//! what they have moved.
//!
//! # Examples
//! ```
//! use filch::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
//! use filch::net::UnixStream;
//!
//! # fn main() -> std::io::Result<()> {
//! filch::run(async {
//!     let (mut ours, theirs) = UnixStream::pair()?;
//!     ours.write_all(b"first\nsecond\n").await?;
//!     let mut line = String::new();
//!     BufReader::new(theirs).read_line(&mut line).await?;
//!     assert_eq!(line, "first\n");
//!     Ok(())
//! })
//! # }
//! ```
#![forbid(unsafe_code)]

// Layer 3. Names only.
pub use futures_io::{AsyncBufRead, AsyncRead, AsyncSeek, AsyncWrite};
pub use futures_lite::io::{
    AsyncBufReadExt, AsyncReadExt, AsyncSeekExt, AsyncWriteExt, BlockOn, BoxedReader, BoxedWriter, BufReader,
    BufWriter, Bytes, Chain, Cursor, Empty, Lines, ReadHalf, Repeat, Sink, Split, Take, WriteHalf, copy,
    empty, repeat, sink, split,
};
pub use std::io::{Error, ErrorKind, IoSlice, IoSliceMut, Result, SeekFrom};

pub use crate::driver::source::{Interest, Ready};
