//! Layer 3, process. How a worker inherits its end of the connection, and no other descriptor.
//!
//! Owns the two moments at which a descriptor is only a number: between `fork` and `exec`, and after it.
//! Called by `link` in the parent and by `worker` in the child.
#![allow(unsafe_code)]

use std::io;
use std::os::fd::{FromRawFd, OwnedFd, RawFd};
use std::os::unix::net::UnixStream;

use crate::net::peer_cred;
use crate::process::Command;

/// The child of `command` keeps `fd` open. In this process it stays closed on `exec`, so no other child gets
/// it.
pub(super) fn pass(command: &mut Command, fd: RawFd) {
    // SAFETY: `keep` calls `fcntl` and reads `errno`, which a signal handler may do.
    unsafe { command.pre_exec(move || keep(fd)) };
}

fn keep(fd: RawFd) -> io::Result<()> {
    // SAFETY: takes integers.
    let answer = unsafe { libc::fcntl(fd, libc::F_SETFD, 0) };
    if answer == -1 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

/// The connection at `fd`, if it is one to the process `parent`. `None`: what said so was not meant for this
/// process; the descriptor is left alone.
pub(super) fn claim(fd: RawFd, parent: i32) -> Option<UnixStream> {
    // SAFETY: takes integers. A number that is no open descriptor is an error.
    let copy = unsafe { libc::fcntl(fd, libc::F_DUPFD_CLOEXEC, 3) };
    if copy == -1 {
        return None;
    }
    // SAFETY: the kernel has just made this descriptor, and nobody else knows of it.
    let copy = unsafe { OwnedFd::from_raw_fd(copy) };
    if peer_cred(&copy).ok()?.pid() != Some(parent) {
        return None;
    }
    // SAFETY: it is the one that `pass` kept for us: no code in this process owns it, or knows its number.
    // Our children must not inherit it, so it is closed and the copy used.
    drop(unsafe { OwnedFd::from_raw_fd(fd) });
    Some(UnixStream::from(copy))
}
