//! Signals of the operating system, as something a task can wait for.
//!
//! [`ctrl_c`] is all that most programs need; [`unix`] has the rest.
//!
//! The handler is one for the process, and is installed when a signal is first listened for. From then on the
//! signal's default action (Ctrl-C ends the program) does not happen any more, also when nobody listens. A handler
//! that the program had installed before goes on being called, before any listener hears of the signal.
//!
//! Signals coalesce: a listener that was busy while several came hears once of them. It always hears of one that
//! came after it last heard. Any number of listeners, on any number of runtimes, hear each.
#![deny(unsafe_code)] // Not `forbid`: that would reach `registry`.

// Layer 3. `registry` has the handler and all that is unsafe; `unix` is an `AsyncFd` over what it signals.
mod registry;
pub mod unix;

use std::io;

/// Waits for Ctrl-C, or an interrupt sent by other means.
///
/// It is listened for from the call on, not from the first poll. To wait for it more than once, use
/// [`unix::signal`] with [`SignalKind::interrupt`](unix::SignalKind::interrupt): one that comes between two calls
/// of this function goes unheard.
///
/// # Examples
/// ```no_run
/// filch::run(async {
///     println!("press Ctrl-C to end");
///     filch::signal::ctrl_c().await?;
///     println!("goodbye");
///     std::io::Result::Ok(())
/// })
/// # .unwrap();
/// ```
///
/// # Errors
/// Outside of a runtime, or when that is shut down; and when there are no descriptors left.
///
/// # Cancel safety
/// **Strict.**
#[track_caller]
pub fn ctrl_c() -> impl Future<Output = io::Result<()>> {
    let signal = unix::signal(unix::SignalKind::interrupt());
    let location = std::panic::Location::caller();
    async move { signal?.recv_at(location).await.ok_or_else(crate::driver::source::shut_down) }
}
