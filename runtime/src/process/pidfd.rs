//! Layer 3, process. A process as a descriptor, which is readable once the process has ended. Linux only.
//!
//! Owns the system calls: a signal sent through the descriptor reaches this process or none, whoever has its
//! number by then. Called by `exit`.
#![allow(unsafe_code)]

use std::io;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};

use libc::{c_int, c_long, pid_t};

/// A descriptor for the child `pid`. `None`: this system has none, or does not let us.
pub(super) fn open(pid: u32) -> io::Result<Option<OwnedFd>> {
    // SAFETY: takes two integers.
    let fd = unsafe { libc::syscall(libc::SYS_pidfd_open, c_long::from(pid), 0) };
    if fd >= 0 {
        // SAFETY: the kernel has just made this descriptor, and nobody else knows of it.
        return Ok(Some(unsafe { OwnedFd::from_raw_fd(fd as c_int) }));
    }
    let error = io::Error::last_os_error();
    match error.raw_os_error() {
        // Older than 5.3; a sandbox that forbids what it does not know.
        Some(libc::ENOSYS | libc::EPERM | libc::EINVAL) => Ok(None),
        _ => Err(error),
    }
}

/// Sends a signal to the process of a descriptor.
pub(super) fn signal(pidfd: &OwnedFd, signal: c_int) -> io::Result<()> {
    // SAFETY: null stands for a siginfo as `kill` makes it; the rest is integers.
    let answer = unsafe {
        libc::syscall(libc::SYS_pidfd_send_signal, pidfd.as_raw_fd(), signal, std::ptr::null::<()>(), 0)
    };
    if answer == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// Sends a signal by number: to a process, or, if that is negative, to a group.
pub(super) fn kill(pid: pid_t, signal: c_int) -> io::Result<()> {
    // SAFETY: takes two integers.
    let answer = unsafe { libc::kill(pid, signal) };
    if answer == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}
