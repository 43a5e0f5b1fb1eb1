//! Signals by kind.
#![forbid(unsafe_code)]

// Layer 3, signal. A listener is a count that it has heard of, and a descriptor that becomes readable again with each
// signal of any kind.
use std::io;
use std::os::fd::OwnedFd;
use std::panic::Location;
use std::pin::Pin;
use std::task::{Context, Poll};

use super::registry;
use crate::async_fd::AsyncFd;
use crate::io::Interest;

/// A kind of signal, by its number.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct SignalKind(i32);

macro_rules! kinds {
    ($($(#[$meta:meta])* $name:ident = $number:ident;)*) => {
        impl SignalKind {
            $(
                $(#[$meta])*
                #[must_use]
                pub const fn $name() -> SignalKind {
                    SignalKind(libc::$number)
                }
            )*
        }
    };
}

kinds! {
    /// `SIGALRM`: a timer of the process ran out.
    alarm = SIGALRM;
    /// `SIGCHLD`: a child process ended, stopped or went on.
    child = SIGCHLD;
    /// `SIGHUP`: the terminal is gone; to many servers it means "read your configuration again".
    hangup = SIGHUP;
    /// `SIGINT`: Ctrl-C.
    interrupt = SIGINT;
    /// `SIGIO`: a descriptor can be read or written.
    io = SIGIO;
    /// `SIGPIPE`: written to a pipe that nobody reads. Programs in Rust ignore it from the start.
    pipe = SIGPIPE;
    /// `SIGQUIT`: Ctrl-\.
    quit = SIGQUIT;
    /// `SIGTERM`: the polite request to end.
    terminate = SIGTERM;
    /// `SIGUSR1`: whatever the program likes.
    user_defined1 = SIGUSR1;
    /// `SIGUSR2`: whatever the program likes.
    user_defined2 = SIGUSR2;
    /// `SIGWINCH`: the terminal has another size.
    window_change = SIGWINCH;
}

impl SignalKind {
    /// The kind with this number; [`signal`] says whether it can be listened for.
    #[must_use]
    pub const fn from_raw(number: i32) -> SignalKind {
        SignalKind(number)
    }

    /// The number.
    #[must_use]
    pub const fn as_raw_value(self) -> i32 {
        self.0
    }
}

/// Listens for signals of one kind, from now on.
///
/// See the [module](super) for what that changes in the process, and what is promised.
///
/// # Examples
/// ```
/// use filch::signal::unix::{SignalKind, signal};
///
/// # fn main() -> std::io::Result<()> {
/// filch::run(async {
///     let mut reload = signal(SignalKind::hangup())?;
///     # std::process::Command::new("sh").args(["-c", "kill -HUP $PPID"]).status()?;
///     reload.recv().await;
///     println!("reading the configuration again");
///     Ok(())
/// })
/// # }
/// ```
///
/// # Errors
/// When the signal cannot be listened for (`SIGKILL` and `SIGSTOP` never reach a program; `SIGSEGV`, `SIGBUS`,
/// `SIGFPE` and `SIGILL` come from the very instruction that would run again), outside of a runtime, and when there
/// are no descriptors left.
pub fn signal(kind: SignalKind) -> io::Result<Signal> {
    let event = registry::listen(kind.0)?;
    let seen = registry::count(kind.0);
    Ok(Signal { kind, seen, event: AsyncFd::with_interest(event, Interest::READABLE)? })
}

/// A listener for one kind of signal. It is a stream, too, whose items say "at least one more".
#[derive(Debug)]
pub struct Signal {
    kind: SignalKind,
    /// How many of its kind had come when it last heard of any.
    seen: usize,
    /// Not ours alone, so never read: an edge-triggered selector reports each signal all the same.
    event: AsyncFd<OwnedFd>,
}

impl Signal {
    /// Waits for a signal that came since the last one was heard of. `None` once the runtime is shut down.
    ///
    /// # Cancel safety
    /// **Strict.** A signal is heard of only by the poll that returns.
    #[track_caller]
    pub fn recv(&mut self) -> impl Future<Output = Option<()>> {
        self.recv_at(Location::caller())
    }

    pub(crate) async fn recv_at(&mut self, location: &'static Location<'static>) -> Option<()> {
        let (kind, seen) = (self.kind, self.seen);
        self.seen = self.event.io(Interest::READABLE, location, |_| newer(kind, seen)).await.ok()?;
        Some(())
    }

    /// Polls for a signal that came since the last one was heard of.
    pub fn poll_recv(&mut self, cx: &mut Context<'_>) -> Poll<Option<()>> {
        let (kind, seen) = (self.kind, self.seen);
        self.event.poll_io(Interest::READABLE, cx, |_| newer(kind, seen)).map(|count| {
            self.seen = count.ok()?;
            Some(())
        })
    }
}

/// How many have come, if that is more than were seen. The handler counts first and reports then, so a count that
/// was read too early is followed by an event.
fn newer(kind: SignalKind, seen: usize) -> io::Result<usize> {
    let count = registry::count(kind.0);
    if count == seen { Err(io::ErrorKind::WouldBlock.into()) } else { Ok(count) }
}

impl futures_core::Stream for Signal {
    type Item = ();

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<()>> {
        self.poll_recv(cx)
    }
}
