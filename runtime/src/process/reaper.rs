//! Layer 3, process. Waits for children that nobody waits for any more, so that they do not stay zombies.
//!
//! Owns them, and one thread that there is while there are any. It sleeps in a selector of its own, on the descriptor
//! of each, and is woken when another comes: so it is bound to no runtime, and costs nothing while they run. Called when
//! a child is dropped before its end, on any thread.
//!
//! The thread ends only under the lock, with the list of newcomers empty; whoever adds to the list under the lock and
//! sees that there is a thread has thus one that will look at it.
#![forbid(unsafe_code)]

use std::collections::HashMap;
use std::io;
use std::os::fd::{AsRawFd, OwnedFd};
use std::process::Child;
use std::time::Duration;

use mio::unix::SourceFd;
use mio::{Events, Interest, Poll, Token, Waker};

use crate::shim::{Arc, Mutex, thread};

/// How often those are looked at that cannot be watched.
const LOOK_EVERY: Duration = Duration::from_millis(100);

/// Says that the list has grown.
const NEWCOMERS: Token = Token(usize::MAX);

struct Orphan {
    child: Child,
    /// Without one it is looked at from time to time.
    pidfd: Option<OwnedFd>,
}

struct Reaper {
    newcomers: Vec<Orphan>,
    /// How to wake the thread, if there is one.
    thread: Option<Arc<Waker>>,
}

static REAPER: Mutex<Reaper> = Mutex::new(Reaper { newcomers: Vec::new(), thread: None });

/// Takes over a child.
pub(super) fn adopt(child: Child, pidfd: Option<OwnedFd>) {
    let mut reaper = REAPER.lock();
    reaper.newcomers.push(Orphan { child, pidfd });
    let woken = match &reaper.thread {
        Some(waker) => waker.wake(),
        None => start(&mut reaper),
    };
    if woken.is_err() {
        // No descriptors, or no thread. Who has ended goes now; the next that is dropped, or spawned, tries again.
        look(&mut reaper.newcomers);
    }
}

/// Tries again what had failed for want of descriptors or threads. Called at each spawn: one look at a lock.
pub(super) fn nudge() {
    let mut reaper = REAPER.lock();
    if reaper.thread.is_none() && !reaper.newcomers.is_empty() && start(&mut reaper).is_err() {
        look(&mut reaper.newcomers);
    }
}

fn start(reaper: &mut Reaper) -> io::Result<()> {
    let poll = Poll::new()?;
    let waker = Arc::new(Waker::new(poll.registry(), NEWCOMERS)?);
    thread::Builder::new().name("filch-reaper".to_owned()).spawn(move || run(poll))?;
    reaper.thread = Some(waker);
    Ok(())
}

/// Keeps those that have not ended. One whose status is lost is gone as well.
fn look(orphans: &mut Vec<Orphan>) {
    orphans.retain_mut(|orphan| matches!(orphan.child.try_wait(), Ok(None)));
}

fn run(mut poll: Poll) {
    let mut events = Events::with_capacity(64);
    let mut watched: HashMap<usize, Orphan> = HashMap::new();
    let mut unwatched = Vec::new();
    loop {
        {
            let mut reaper = REAPER.lock();
            if reaper.newcomers.is_empty() && watched.is_empty() && unwatched.is_empty() {
                reaper.thread = None;
                return;
            }
            for orphan in reaper.newcomers.drain(..) {
                let key = orphan.pidfd.as_ref().map(AsRawFd::as_raw_fd);
                // One that has ended already is reported all the same.
                let registered = key.filter(|fd| {
                    let token = Token(*fd as usize);
                    poll.registry().register(&mut SourceFd(fd), token, Interest::READABLE).is_ok()
                });
                match registered {
                    Some(fd) => drop(watched.insert(fd as usize, orphan)),
                    None => unwatched.push(orphan),
                }
            }
        }
        let timeout = Some(LOOK_EVERY).filter(|_| !unwatched.is_empty());
        // Interrupted by a signal, at most.
        let _ = poll.poll(&mut events, timeout);
        for event in &events {
            let key = event.token().0;
            let Some(orphan) = watched.get_mut(&key) else { continue };
            if !matches!(orphan.child.try_wait(), Ok(None)) {
                // Closing the descriptor deregisters it.
                watched.remove(&key);
            }
        }
        look(&mut unwatched);
    }
}
