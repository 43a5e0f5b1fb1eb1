//! Layer 3, process. Waits for children that nobody waits for any more, so that they do not stay zombies.
//!
//! Owns them, and one thread that there is while there are any. It sleeps in a selector of its own, on the
//! descriptor of each, and is woken when another comes: so it is bound to no runtime, and costs nothing while
//! they run. Called when a child is dropped before its end, on any thread.
//!
//! The thread ends only under the lock, with the list of newcomers empty; whoever adds to the list under the
//! lock and sees that there is a thread has thus one that will look at it.
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
    thread: Thread,
}

enum Thread {
    None,
    /// There are no descriptors for a selector: it looks from time to time.
    Looks,
    Sleeps(Arc<Waker>),
}

static REAPER: Mutex<Reaper> = Mutex::new(Reaper { newcomers: Vec::new(), thread: Thread::None });

/// Takes over a child.
pub(super) fn adopt(child: Child, pidfd: Option<OwnedFd>) {
    let mut reaper = REAPER.lock();
    reaper.newcomers.push(Orphan { child, pidfd });
    if let Thread::Sleeps(waker) = &reaper.thread {
        // It fails only when there is a wake-up already.
        let _ = waker.wake();
    }
    start(&mut reaper);
}

/// Tries again what had failed for want of threads. Called at each spawn: one look at a lock.
pub(super) fn nudge() {
    let mut reaper = REAPER.lock();
    if !reaper.newcomers.is_empty() {
        start(&mut reaper);
    }
}

/// Starts the thread, if there is none. If none can be had, those who have ended go now, and the next that is
/// dropped or spawned tries again.
fn start(reaper: &mut Reaper) {
    if !matches!(reaper.thread, Thread::None) {
        return;
    }
    match thread::Builder::new().name("filch-reaper".to_owned()).spawn(run) {
        Ok(_) => reaper.thread = Thread::Looks,
        Err(_) => look(&mut reaper.newcomers),
    }
}

/// Keeps those that have not ended. One whose status is lost is gone as well.
fn look(orphans: &mut Vec<Orphan>) {
    orphans.retain_mut(|orphan| matches!(orphan.child.try_wait(), Ok(None)));
}

/// A selector, and what wakes it.
fn selector() -> io::Result<(Poll, Waker)> {
    let poll = Poll::new()?;
    let waker = Waker::new(poll.registry(), NEWCOMERS)?;
    Ok((poll, waker))
}

fn run() {
    let mut events = Events::with_capacity(64);
    let mut poll = None;
    let mut watched: HashMap<usize, Orphan> = HashMap::new();
    let mut unwatched = Vec::new();
    loop {
        let made = if poll.is_none() { selector().ok() } else { None };
        {
            let mut reaper = REAPER.lock();
            if let Some((made, waker)) = made {
                reaper.thread = Thread::Sleeps(Arc::new(waker));
                poll = Some(made);
            }
            // Those that could not be watched before are tried again.
            let newcomers = reaper.newcomers.drain(..).chain(unwatched.drain(..));
            for orphan in newcomers.collect::<Vec<_>>() {
                match poll.as_ref().and_then(|poll| watch(poll, &orphan)) {
                    Some(key) => drop(watched.insert(key, orphan)),
                    None => unwatched.push(orphan),
                }
            }
            look(&mut unwatched);
            if watched.is_empty() && unwatched.is_empty() {
                // The waker goes with its selector, and no newcomer comes in between.
                reaper.thread = Thread::None;
                return;
            }
        }
        let Some(poll) = &mut poll else {
            thread::sleep(LOOK_EVERY);
            continue;
        };
        // Interrupted by a signal, at most.
        let _ = poll.poll(&mut events, Some(LOOK_EVERY).filter(|_| !unwatched.is_empty()));
        for event in &events {
            let key = event.token().0;
            if watched.get_mut(&key).is_some_and(|orphan| !matches!(orphan.child.try_wait(), Ok(None))) {
                // Closing the descriptor deregisters it.
                watched.remove(&key);
            }
        }
    }
}

/// Registers an orphan. One that has ended already is reported all the same.
fn watch(poll: &Poll, orphan: &Orphan) -> Option<usize> {
    let fd = orphan.pidfd.as_ref()?.as_raw_fd();
    poll.registry().register(&mut SourceFd(&fd), Token(fd as usize), Interest::READABLE).ok()?;
    Some(fd as usize)
}
