//! Layer 3. Any descriptor that the selector takes, as something a task can wait on.
//!
//! Owns the pairing of a resource with its registration, and the order of their ends: deregistered, then closed.
//! Every type of `net`, and `signal`, is built on it. Called by tasks on any thread.
#![forbid(unsafe_code)]

use std::fmt;
use std::future::{Future, poll_fn};
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, RawFd};
use std::panic::Location;
use std::task::{Context, Poll, ready};

use crate::context;
use crate::driver::reactor::{Registration, Waiting};
use crate::driver::source::Seen;
use crate::io::{Interest, Ready};

/// A descriptor whose readiness tasks can wait for.
///
/// For sockets use [`filch::net`](crate::net); this is for what it does not cover: pipes, event and timer
/// descriptors, devices, sockets of a C library. The descriptor must be non-blocking, and one that the selector
/// takes (regular files are not). It belongs to the runtime that it was made on.
///
/// Readiness is kept until an operation shows that it is over: whoever gets a [guard](AsyncFdReadyGuard) does the
/// operation in its [`try_io`](AsyncFdReadyGuard::try_io), which notices when it would block, or calls
/// [`clear_ready`](AsyncFdReadyGuard::clear_ready). [`async_io`](AsyncFd::async_io) has that loop built in.
///
/// # Examples
/// ```
/// use std::io::{Read, Write};
/// use std::os::unix::net::UnixStream;
///
/// use filch::AsyncFd;
/// use filch::io::Interest;
///
/// # fn main() -> std::io::Result<()> {
/// filch::run(async {
///     let (ours, mut theirs) = UnixStream::pair()?;
///     ours.set_nonblocking(true)?;
///     let ours = AsyncFd::new(ours)?;
///     theirs.write_all(b"ping")?;
///
///     let mut buf = [0; 4];
///     let count = ours.async_io(Interest::READABLE, |mut socket| socket.read(&mut buf)).await?;
///     assert_eq!(&buf[..count], b"ping");
///     Ok(())
/// })
/// # }
/// ```
pub struct AsyncFd<T: AsRawFd> {
    // The order matters: fields are dropped from top to bottom, and the selector must hear of it first.
    registration: Registration,
    inner: T,
}

impl<T: AsRawFd> AsyncFd<T> {
    /// Registers `inner` for reading and writing.
    ///
    /// # Errors
    /// When there is no runtime on this thread, and when the selector refuses the descriptor.
    pub fn new(inner: T) -> io::Result<AsyncFd<T>> {
        AsyncFd::with_interest(inner, Interest::READABLE | Interest::WRITABLE)
    }

    /// Registers `inner` for what it will be waited for. Another interest is added when it is first waited for.
    ///
    /// # Errors
    /// As [`AsyncFd::new`].
    pub fn with_interest(inner: T, interest: Interest) -> io::Result<AsyncFd<T>> {
        let fd = AsyncFd::lazy(inner)?;
        fd.arm(interest)?;
        Ok(fd)
    }

    /// As `with_interest`, but the selector hears of it when an operation first would block: often it never need.
    pub(crate) fn lazy(inner: T) -> io::Result<AsyncFd<T>> {
        let registration = Registration::new(context::reactor()?, inner.as_raw_fd());
        Ok(AsyncFd { registration, inner })
    }

    pub(crate) fn arm(&self, interest: Interest) -> io::Result<()> {
        self.registration.arm(interest)
    }

    /// The resource.
    pub fn get_ref(&self) -> &T {
        &self.inner
    }

    /// The resource, to change it. Its descriptor must stay the same.
    pub fn get_mut(&mut self) -> &mut T {
        &mut self.inner
    }

    /// Deregisters the descriptor and gives the resource back.
    pub fn into_inner(self) -> T {
        let AsyncFd { registration, inner } = self;
        drop(registration);
        inner
    }

    /// Waits until the descriptor is readable.
    ///
    /// Any number of tasks may wait at once; all are woken.
    ///
    /// # Errors
    /// When the runtime that the descriptor belongs to has been shut down.
    ///
    /// # Cancel safety
    /// **Strict.** Readiness stays until an operation shows that it is over.
    #[track_caller]
    pub fn readable(&self) -> impl Future<Output = io::Result<AsyncFdReadyGuard<'_, T>>> {
        self.guard(Interest::READABLE)
    }

    /// Waits until the descriptor is writable.
    ///
    /// # Errors
    /// As [`AsyncFd::readable`].
    ///
    /// # Cancel safety
    /// **Strict.** Readiness stays until an operation shows that it is over.
    #[track_caller]
    pub fn writable(&self) -> impl Future<Output = io::Result<AsyncFdReadyGuard<'_, T>>> {
        self.guard(Interest::WRITABLE)
    }

    /// Waits until the descriptor is ready in one of the ways that `interest` asks for.
    ///
    /// # Errors
    /// As [`AsyncFd::readable`].
    ///
    /// # Cancel safety
    /// **Strict.** Readiness stays until an operation shows that it is over.
    #[track_caller]
    pub fn ready(&self, interest: Interest) -> impl Future<Output = io::Result<AsyncFdReadyGuard<'_, T>>> {
        self.guard(interest)
    }

    #[track_caller]
    fn guard(&self, interest: Interest) -> impl Future<Output = io::Result<AsyncFdReadyGuard<'_, T>>> {
        let seen = self.wait_ready(interest, Location::caller());
        async move { Ok(AsyncFdReadyGuard { fd: self, seen: seen.await?, interest }) }
    }

    /// As [`AsyncFd::readable`], and the guard gives `&mut T`.
    ///
    /// # Errors
    /// As [`AsyncFd::readable`].
    ///
    /// # Cancel safety
    /// **Strict.** Readiness stays until an operation shows that it is over.
    #[track_caller]
    pub fn readable_mut(&mut self) -> impl Future<Output = io::Result<AsyncFdReadyMutGuard<'_, T>>> {
        self.ready_mut(Interest::READABLE)
    }

    /// As [`AsyncFd::writable`], and the guard gives `&mut T`.
    ///
    /// # Errors
    /// As [`AsyncFd::readable`].
    ///
    /// # Cancel safety
    /// **Strict.** Readiness stays until an operation shows that it is over.
    #[track_caller]
    pub fn writable_mut(&mut self) -> impl Future<Output = io::Result<AsyncFdReadyMutGuard<'_, T>>> {
        self.ready_mut(Interest::WRITABLE)
    }

    /// As [`AsyncFd::ready`], and the guard gives `&mut T`.
    ///
    /// # Errors
    /// As [`AsyncFd::readable`].
    ///
    /// # Cancel safety
    /// **Strict.** Readiness stays until an operation shows that it is over.
    #[track_caller]
    pub fn ready_mut(
        &mut self,
        interest: Interest,
    ) -> impl Future<Output = io::Result<AsyncFdReadyMutGuard<'_, T>>> {
        let location = Location::caller();
        async move {
            let seen = self.wait_ready(interest, location).await?;
            Ok(AsyncFdReadyMutGuard { fd: self, seen, interest })
        }
    }

    /// Polls for the descriptor to become readable.
    ///
    /// There is one place for a task that polls: another that polls for reading too takes it, and the one before is
    /// woken to find that out. Several tasks use [`AsyncFd::readable`] instead.
    ///
    /// # Errors
    /// As [`AsyncFd::readable`].
    pub fn poll_read_ready(&self, cx: &mut Context<'_>) -> Poll<io::Result<AsyncFdReadyGuard<'_, T>>> {
        self.poll_guard(Interest::READABLE, cx)
    }

    /// Polls for the descriptor to become writable. See [`AsyncFd::poll_read_ready`].
    ///
    /// # Errors
    /// As [`AsyncFd::readable`].
    pub fn poll_write_ready(&self, cx: &mut Context<'_>) -> Poll<io::Result<AsyncFdReadyGuard<'_, T>>> {
        self.poll_guard(Interest::WRITABLE, cx)
    }

    fn poll_guard(
        &self,
        interest: Interest,
        cx: &mut Context<'_>,
    ) -> Poll<io::Result<AsyncFdReadyGuard<'_, T>>> {
        let seen = ready!(self.registration.poll_io(interest, cx, |seen| is_ready(seen, interest)))?;
        Poll::Ready(Ok(AsyncFdReadyGuard { fd: self, seen, interest }))
    }

    /// Does `op`, and again each time the descriptor is ready, until it does not fail with
    /// [`WouldBlock`](io::ErrorKind::WouldBlock).
    ///
    /// `op` is tried at once: the wait comes only when it would block.
    ///
    /// # Errors
    /// What `op` returns, and as [`AsyncFd::readable`].
    ///
    /// # Cancel safety
    /// **Strict**, if `op` is: nothing happens between an `op` that succeeds and the return of its result.
    #[track_caller]
    pub fn async_io<R>(
        &self,
        interest: Interest,
        op: impl FnMut(&T) -> io::Result<R>,
    ) -> impl Future<Output = io::Result<R>> {
        self.io(interest, Location::caller(), op)
    }

    /// As [`AsyncFd::async_io`], and `op` gets `&mut T`.
    ///
    /// # Errors
    /// As [`AsyncFd::async_io`].
    ///
    /// # Cancel safety
    /// As [`AsyncFd::async_io`].
    #[track_caller]
    pub fn async_io_mut<R>(
        &mut self,
        interest: Interest,
        mut op: impl FnMut(&mut T) -> io::Result<R>,
    ) -> impl Future<Output = io::Result<R>> {
        let mut waiting = self.registration.wait(interest, Location::caller());
        let inner = &mut self.inner;
        poll_fn(move |cx| waiting.poll_io(cx, |_| op(inner)))
    }

    /// Does `op` once, unless the descriptor is known not to be ready.
    ///
    /// # Errors
    /// What `op` returns, and [`WouldBlock`](io::ErrorKind::WouldBlock) when it was not tried.
    pub fn try_io<R>(&self, interest: Interest, op: impl FnOnce(&T) -> io::Result<R>) -> io::Result<R> {
        self.registration.try_io(interest, |_| op(&self.inner))
    }

    /// `async_io` for a caller who knows the line that waits.
    pub(crate) fn io<R>(
        &self,
        interest: Interest,
        location: &'static Location<'static>,
        mut op: impl FnMut(&T) -> io::Result<R>,
    ) -> impl Future<Output = io::Result<R>> {
        let mut waiting = self.waiting(interest, location);
        poll_fn(move |cx| waiting.poll_io(cx, |_| op(&self.inner)))
    }

    /// A place among those who wait, for futures that are written out.
    pub(crate) fn waiting(&self, interest: Interest, location: &'static Location<'static>) -> Waiting<'_> {
        self.registration.wait(interest, location)
    }

    /// Waits for readiness as such; nothing is assumed to be ready before the selector has said so.
    pub(crate) fn wait_ready(
        &self,
        interest: Interest,
        location: &'static Location<'static>,
    ) -> impl Future<Output = io::Result<Seen>> {
        let mut waiting = self.waiting(interest, location);
        poll_fn(move |cx| waiting.poll_io(cx, |seen| is_ready(seen, interest)))
    }

    /// Polls `op` in the slot of a direction.
    pub(crate) fn poll_io<R>(
        &self,
        interest: Interest,
        cx: &mut Context<'_>,
        mut op: impl FnMut(&T) -> io::Result<R>,
    ) -> Poll<io::Result<R>> {
        self.registration.poll_io(interest, cx, |_| op(&self.inner))
    }

    /// `poll_io` for an `op` that moves at most `most` bytes of a stream and says how many.
    pub(crate) fn poll_transfer(
        &self,
        interest: Interest,
        cx: &mut Context<'_>,
        most: usize,
        mut op: impl FnMut(&T) -> io::Result<usize>,
    ) -> Poll<io::Result<usize>> {
        self.registration.poll_io(interest, cx, |seen| self.transfer(interest, seen, most, &mut op))
    }

    /// `try_io` for an `op` of ours: one call of the system, which is made again when a signal interrupts it.
    pub(crate) fn try_op<R>(
        &self,
        interest: Interest,
        mut op: impl FnMut(&T) -> io::Result<R>,
    ) -> io::Result<R> {
        self.registration.try_io(interest, |_| uninterrupted(|| op(&self.inner)))
    }

    /// `try_op` for an `op` that moves at most `most` bytes of a stream and says how many.
    pub(crate) fn try_transfer(
        &self,
        interest: Interest,
        most: usize,
        mut op: impl FnMut(&T) -> io::Result<usize>,
    ) -> io::Result<usize> {
        self.registration
            .try_io(interest, |seen| uninterrupted(|| self.transfer(interest, seen, most, &mut op)))
    }

    /// Fewer bytes than there was room for: the next operation would block, and need not be tried to know it.
    fn transfer(
        &self,
        interest: Interest,
        seen: Seen,
        most: usize,
        op: impl FnOnce(&T) -> io::Result<usize>,
    ) -> io::Result<usize> {
        let count = op(&self.inner)?;
        if 0 < count && count < most {
            self.registration.source.clear_short(seen, interest);
        }
        Ok(count)
    }
}

fn uninterrupted<R>(mut op: impl FnMut() -> io::Result<R>) -> io::Result<R> {
    loop {
        match op() {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            result => return result,
        }
    }
}

fn is_ready(seen: Seen, interest: Interest) -> io::Result<Seen> {
    let ready = seen.ready(interest);
    if ready.is_readable() || ready.is_writable() { Ok(seen) } else { Err(io::ErrorKind::WouldBlock.into()) }
}

impl<T: AsRawFd> AsRawFd for AsyncFd<T> {
    fn as_raw_fd(&self) -> RawFd {
        self.inner.as_raw_fd()
    }
}

impl<T: AsRawFd + AsFd> AsFd for AsyncFd<T> {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.inner.as_fd()
    }
}

impl<T: AsRawFd + fmt::Debug> fmt::Debug for AsyncFd<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AsyncFd").field("inner", &self.inner).finish_non_exhaustive()
    }
}

/// The operation would have blocked: wait for readiness again.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct TryIoError(());

impl fmt::Display for TryIoError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the operation would block: wait for readiness again")
    }
}

impl std::error::Error for TryIoError {}

macro_rules! guard {
    ($(#[$meta:meta])* $name:ident, &$($mutable:ident)?) => {
        $(#[$meta])*
        #[must_use = "readiness stays until an operation in `try_io` would block, or `clear_ready` is called"]
        pub struct $name<'a, T: AsRawFd> {
            fd: &'a $($mutable)? AsyncFd<T>,
            seen: Seen,
            interest: Interest,
        }

        impl<'a, T: AsRawFd> $name<'a, T> {
            /// Forgets the readiness that this guard was given, so that the next wait is for something new.
            ///
            /// Call it only after an operation said that it would block. What came after the guard was given stays,
            /// and so does the knowledge that the other side has closed.
            pub fn clear_ready(&mut self) {
                self.fd.registration.source.clear_open(self.seen, self.interest);
            }

            /// Does nothing: readiness is kept unless it is cleared.
            pub fn retain_ready(&mut self) {}

            /// In which ways the descriptor is ready.
            pub fn ready(&self) -> Ready {
                self.seen.ready(self.interest)
            }

            /// Does `op`, and forgets the readiness of this guard if it would block.
            ///
            /// # Errors
            /// [`TryIoError`] if it would block; what `op` returns is in the `Ok`.
            pub fn try_io<R>(
                &mut self,
                op: impl FnOnce(&$($mutable)? AsyncFd<T>) -> io::Result<R>,
            ) -> Result<io::Result<R>, TryIoError> {
                match op(self.fd) {
                    Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                        self.fd.registration.source.clear(self.seen, self.interest);
                        Err(TryIoError(()))
                    }
                    result => Ok(result),
                }
            }

            /// The descriptor.
            pub fn get_ref(&self) -> &AsyncFd<T> {
                self.fd
            }

            /// The resource.
            pub fn get_inner(&self) -> &T {
                &self.fd.inner
            }
        }

        impl<T: AsRawFd + fmt::Debug> fmt::Debug for $name<'_, T> {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.debug_struct(stringify!($name)).field("fd", &self.fd).field("ready", &self.ready()).finish()
            }
        }
    };
}

guard! {
    /// Says that an [`AsyncFd`] was ready, and takes note when it is not any more.
    AsyncFdReadyGuard, &
}

guard! {
    /// As [`AsyncFdReadyGuard`], with the right to change the resource.
    AsyncFdReadyMutGuard, &mut
}

impl<T: AsRawFd> AsyncFdReadyMutGuard<'_, T> {
    /// The descriptor, to change it.
    pub fn get_mut(&mut self) -> &mut AsyncFd<T> {
        self.fd
    }

    /// The resource, to change it.
    pub fn get_inner_mut(&mut self) -> &mut T {
        &mut self.fd.inner
    }
}
