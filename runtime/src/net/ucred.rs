//! Layer 3, net. Linux only: who is at the other end of a Unix socket.
//!
//! Owns one call that neither std nor socket2 has. Called by `unix`.
#![allow(unsafe_code)]

use std::io;
use std::mem::size_of;
use std::os::fd::{AsFd, AsRawFd};

/// Who the other side of a Unix socket was when it connected.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct UCred {
    pid: libc::pid_t,
    uid: libc::uid_t,
    gid: libc::gid_t,
}

impl UCred {
    /// Its process, if the system knows it in our namespace.
    #[must_use]
    pub fn pid(&self) -> Option<libc::pid_t> {
        (self.pid != 0).then_some(self.pid)
    }

    /// Its effective user.
    #[must_use]
    pub fn uid(&self) -> libc::uid_t {
        self.uid
    }

    /// Its effective group.
    #[must_use]
    pub fn gid(&self) -> libc::gid_t {
        self.gid
    }
}

pub(crate) fn peer_cred(socket: &impl AsFd) -> io::Result<UCred> {
    let mut cred = libc::ucred { pid: 0, uid: 0, gid: 0 };
    let mut len = size_of::<libc::ucred>() as libc::socklen_t;
    let fd = socket.as_fd().as_raw_fd();
    // SAFETY: `cred` and `len` live to the end of the call, and `len` says how much of `cred` may be written.
    let failed = unsafe {
        libc::getsockopt(fd, libc::SOL_SOCKET, libc::SO_PEERCRED, (&raw mut cred).cast(), &raw mut len)
    };
    if failed != 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(UCred { pid: cred.pid, uid: cred.uid, gid: cred.gid })
}
