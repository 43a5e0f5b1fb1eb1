//! Layer 5, cleanup. Where a clean-up goes that nobody waits for any more: the runtime's reaper.
//!
//! Owns the hand-over. The reaper is no thread and no list of its own: what is handed over becomes a task of the
//! runtime, of the late kind, which a shutdown lets come to its end. Called by destructors, so nothing here
//! waits or panics.
#![forbid(unsafe_code)]

use std::future::Future;
use std::panic::Location;
use std::pin::Pin;
use std::task::{Context, Poll};

use crate::Handle;

/// A clean-up: of any type, and able to outlive whoever made it.
pub(crate) type Work = Pin<Box<dyn Future<Output = ()> + Send>>;

/// The name of the tasks.
const NAME: &str = "clean-up";

/// Has `work` run by `home`, or by the runtime of this thread.
pub(crate) fn hand_over(home: Option<&Handle>, location: &'static Location<'static>, work: Work) {
    let home = home.cloned().or_else(Handle::try_current);
    let late = Late { work, location, is_refused: true };
    if let Some(home) = home {
        home.0.spawn_late(late, NAME, location);
    }
}

/// Says so if it is dropped before its first poll: there was no runtime to run it.
struct Late {
    work: Work,
    location: &'static Location<'static>,
    is_refused: bool,
}

impl Future for Late {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        self.is_refused = false;
        self.work.as_mut().poll(cx)
    }
}

impl Drop for Late {
    fn drop(&mut self) {
        if self.is_refused {
            eprintln!(
                "filch: the clean-up made at {} was not run: what it belonged to was dropped, and there is no \
                 runtime to run it; drop it inside of one, or wait for it",
                self.location
            );
        }
    }
}
