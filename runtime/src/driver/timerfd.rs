//! Layer 1, driver. Linux only: a timer that the selector waits for together with the sockets.
//!
//! Owns one timerfd. mio hands whole milliseconds to `epoll_wait`, rounded up, so a wait of 100 us would take
//! ten times as long; a timer descriptor is as exact as the kernel's clock. It is registered edge-triggered and
//! never read: arming it again resets its count. Called by `reactor` alone, by the thread that polls.

use std::io;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};
use std::time::{Duration, Instant};

/// An armed expiry this much too late, or this much too early, is left as it is.
///
/// The caller names a distance, not a point in time, so even the same deadline moves a little from call to call.
/// Too early costs one poll that returns with nothing; too late is less than any thread takes to wake up.
const LATE: Duration = Duration::from_micros(2);
const EARLY: Duration = Duration::from_micros(50);

/// Longer waits end early, with nothing: no sum of clock and timeout can overflow.
const LONGEST: Duration = Duration::from_secs(24 * 60 * 60);

pub(super) struct TimerFd {
    fd: OwnedFd,
    /// When the timer will fire, unless it has.
    due: Option<Instant>,
}

impl TimerFd {
    pub(super) fn new() -> io::Result<TimerFd> {
        // SAFETY: takes no pointers; the result is checked below.
        let fd =
            unsafe { libc::timerfd_create(libc::CLOCK_MONOTONIC, libc::TFD_NONBLOCK | libc::TFD_CLOEXEC) };
        if fd < 0 {
            return Err(io::Error::last_os_error());
        }
        // SAFETY: the kernel has just made this descriptor, and nobody else knows of it.
        let fd = unsafe { OwnedFd::from_raw_fd(fd) };
        Ok(TimerFd { fd, due: None })
    }

    /// Makes the timer fire `timeout` from now, or sooner. `timeout` is not zero.
    pub(super) fn arm(&mut self, timeout: Duration) -> io::Result<()> {
        let timeout = timeout.min(LONGEST);
        let want = Instant::now() + timeout;
        if self.due.is_some_and(|due| due <= want + LATE && want <= due + EARLY) {
            return Ok(());
        }
        // At most a day and less than a second: both fit every `time_t` and `c_long`. All zero would disarm.
        let it_value =
            libc::timespec { tv_sec: timeout.as_secs() as _, tv_nsec: timeout.subsec_nanos() as _ };
        let it_interval = libc::timespec { tv_sec: 0, tv_nsec: 0 };
        let spec = libc::itimerspec { it_interval, it_value };
        self.due = None;
        // SAFETY: the descriptor is a timerfd that `self` owns, `spec` outlives the call, and null asks for nothing.
        let failed = unsafe { libc::timerfd_settime(self.fd.as_raw_fd(), 0, &spec, std::ptr::null_mut()) };
        if failed != 0 {
            return Err(io::Error::last_os_error());
        }
        self.due = Some(want);
        Ok(())
    }

    /// Notes that the selector has reported the timer.
    pub(super) fn fired(&mut self) {
        self.due = None;
    }

    pub(super) fn as_raw_fd(&self) -> RawFd {
        self.fd.as_raw_fd()
    }
}
