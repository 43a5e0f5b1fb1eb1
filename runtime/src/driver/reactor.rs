//! Layer 1, driver. The selector of the operating system, the table of what is registered with it, and one
//! batch of events at a time from the one to the other.
//!
//! Owns a mio `Poll` behind the exclusive right to poll it, and a slab of sources. A token is an index into the
//! slab and a generation, never a pointer, so an event for a resource that is gone finds nothing. Names no task:
//! what leaves here is a list of wakers. Polled by whichever worker has the right; [`Registration`]s are used by
//! `net`, `async_fd` and `signal` on any thread.
//!
//! Locks, in the order in which they may be taken: a registration's state, the table, a source's waiters.
#![forbid(unsafe_code)]

use std::io;
use std::os::fd::RawFd;
use std::panic::Location;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use mio::event::Event;
use mio::unix::SourceFd;
use slab::Slab;

use super::source::{Interest, Ready, Seen, Source, Waiter, shut_down};
use super::timerfd::TimerFd;
use crate::shim::Ordering::Relaxed;
use crate::shim::shared::AtomicUsize;
use crate::shim::{Arc, Mutex, MutexGuard};

#[cfg(all(test, not(filch_loom)))]
mod tests;

/// Events taken by one call: their wakes must fit a worker's queue, and the table is locked for as long as they
/// are dispatched.
const EVENTS: usize = 128;

/// Half of a token is the index, the other half the generation. The two highest indexes are not sources.
const INDEX_BITS: u32 = usize::BITS / 2;
const INDEX_MASK: usize = (1 << INDEX_BITS) - 1;
const WAKE: mio::Token = mio::Token(usize::MAX);
const TIMER: mio::Token = mio::Token(usize::MAX - 1);
const SOURCES_MAX: usize = INDEX_MASK - 1;

/// One selector and what is registered with it.
pub(crate) struct Reactor {
    polling: Mutex<Poller>,
    registry: mio::Registry,
    waker: mio::Waker,
    table: Mutex<Table>,
    /// How many entries `table` has.
    sources: AtomicUsize,
}

struct Poller {
    poll: mio::Poll,
    events: mio::Events,
    timer: Option<TimerFd>,
}

#[derive(Default)]
struct Table {
    entries: Slab<Entry>,
    generation: usize,
    shut_down: bool,
}

struct Entry {
    generation: usize,
    source: Arc<Source>,
}

/// The exclusive right to poll a reactor.
pub(crate) struct Polling<'a> {
    reactor: &'a Reactor,
    poller: MutexGuard<'a, Poller>,
}

impl Reactor {
    pub(crate) fn new() -> io::Result<Arc<Reactor>> {
        let poll = mio::Poll::new()?;
        let registry = poll.registry().try_clone()?;
        let waker = mio::Waker::new(&registry, WAKE)?;
        // Without a timer descriptor waits are rounded up to milliseconds, which is late but works.
        let timer = TimerFd::new().ok().filter(|timer| {
            registry.register(&mut SourceFd(&timer.as_raw_fd()), TIMER, mio::Interest::READABLE).is_ok()
        });
        let events = mio::Events::with_capacity(EVENTS);
        Ok(Arc::new(Reactor {
            polling: Mutex::new(Poller { poll, events, timer }),
            registry,
            waker,
            table: Mutex::new(Table::default()),
            sources: AtomicUsize::new(0),
        }))
    }

    /// The exclusive right to poll; `None` while another thread has it.
    pub(crate) fn try_lock(&self) -> Option<Polling<'_>> {
        Some(Polling { reactor: self, poller: self.polling.try_lock()? })
    }

    /// Ends the poll under way, or the next one at once. May be called on any thread.
    pub(crate) fn wake(&self) -> io::Result<()> {
        self.waker.wake()
    }

    /// How many sources are registered. With none, a worker that has other work to do need not look.
    pub(crate) fn sources(&self) -> usize {
        // Ordering: Relaxed: a hint. Who registers just now will be polled for at the next look, or when all park.
        self.sources.load(Relaxed)
    }

    /// Tells every source that there will be no more events, and moves the wakers of all who wait to `out`. Later
    /// operations that would wait fail instead.
    pub(crate) fn shutdown(&self, out: &mut Vec<Waker>) {
        let sources: Vec<Arc<Source>> = {
            let mut table = self.table.lock();
            table.shut_down = true;
            table.entries.iter().map(|(_, entry)| entry.source.clone()).collect()
        };
        for source in sources {
            source.shut_down(out);
        }
    }

    fn insert(&self, source: &Arc<Source>) -> io::Result<mio::Token> {
        let mut table = self.table.lock();
        if table.shut_down {
            return Err(shut_down());
        }
        if table.entries.len() >= SOURCES_MAX {
            return Err(io::Error::other("too many sockets registered with one runtime"));
        }
        table.generation = table.generation.wrapping_add(1) & INDEX_MASK;
        let generation = table.generation;
        let index = table.entries.insert(Entry { generation, source: source.clone() });
        // Ordering: Relaxed, see `sources`.
        self.sources.store(table.entries.len(), Relaxed);
        Ok(mio::Token(generation << INDEX_BITS | index))
    }

    fn remove(&self, token: mio::Token) {
        let mut table = self.table.lock();
        let entry = table.entries.try_remove(token.0 & INDEX_MASK);
        // Ordering: Relaxed, see `sources`.
        self.sources.store(table.entries.len(), Relaxed);
        drop(table);
        drop(entry);
    }
}

impl Table {
    fn get(&self, token: mio::Token) -> Option<&Source> {
        let entry = self.entries.get(token.0 & INDEX_MASK)?;
        (entry.generation == token.0 >> INDEX_BITS).then_some(&entry.source)
    }
}

impl Polling<'_> {
    /// Waits for events, at most for `timeout` (`None`: for ever; zero: looks only), notes them in their sources,
    /// and appends the wakers of those who waited for them to `out`. Returns how many events there were.
    ///
    /// Wakes nobody: the caller does, once it has dropped this `Polling`. May return early, with nothing.
    pub(crate) fn poll(&mut self, timeout: Option<Duration>, out: &mut Vec<Waker>) -> io::Result<usize> {
        let Poller { poll, events, timer } = &mut *self.poller;
        let timeout = match (timeout, &mut *timer) {
            // mio rounds up to milliseconds and clamps by itself, when there is no timer to be had.
            (Some(long), Some(timer)) if !long.is_zero() => timer.arm(long).err().and(timeout),
            _ => timeout,
        };
        match poll.poll(events, timeout) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => return Ok(0),
            result => result?,
        }
        let table = self.reactor.table.lock();
        for event in &*events {
            match event.token() {
                WAKE => {}
                TIMER => timer.iter_mut().for_each(TimerFd::fired),
                token => table.get(token).into_iter().for_each(|source| source.set_ready(ready(event), out)),
            }
        }
        Ok(events.iter().count())
    }
}

/// What an event says. An error concerns both directions, whichever of them finds it.
fn ready(event: &Event) -> Ready {
    let flags = [
        (event.is_readable(), Ready::READABLE),
        (event.is_writable(), Ready::WRITABLE),
        (event.is_read_closed(), Ready::READ_CLOSED),
        (event.is_write_closed(), Ready::WRITE_CLOSED),
        (event.is_error(), Ready::ERROR | Ready::READABLE | Ready::WRITABLE),
    ];
    flags.iter().filter(|(set, _)| *set).fold(Ready::EMPTY, |all, (_, flag)| all | *flag)
}

/// A resource and the reactor that reports on it. Deregisters on drop; must be dropped before the descriptor closes.
pub(crate) struct Registration {
    pub(crate) source: Arc<Source>,
    reactor: Arc<Reactor>,
    fd: RawFd,
    /// Set once the selector has been told; held while it is.
    token: Mutex<Option<mio::Token>>,
}

impl Registration {
    /// A resource that `reactor` will be asked about. The selector hears of it when it is first armed.
    pub(crate) fn new(reactor: Arc<Reactor>, fd: RawFd) -> Registration {
        Registration { source: Arc::new(Source::new()), reactor, fd, token: Mutex::new(None) }
    }

    /// Makes the selector report `interest`. Does nothing when it does so already.
    pub(crate) fn arm(&self, interest: Interest) -> io::Result<()> {
        let mut token = self.token.lock();
        let seen = self.source.seen();
        if seen.is_armed(interest) {
            return Ok(());
        }
        let all = match interest | seen.armed() {
            Interest::READABLE => mio::Interest::READABLE,
            Interest::WRITABLE => mio::Interest::WRITABLE,
            _ => mio::Interest::READABLE | mio::Interest::WRITABLE,
        };
        if let Some(token) = *token {
            self.reactor.registry.reregister(&mut SourceFd(&self.fd), token, all)?;
        } else {
            let fresh = self.reactor.insert(&self.source)?;
            if let Err(error) = self.reactor.registry.register(&mut SourceFd(&self.fd), fresh, all) {
                self.reactor.remove(fresh);
                return Err(error);
            }
            *token = Some(fresh);
        }
        self.source.set_armed(interest);
        Ok(())
    }

    /// Polls `op` in the slot of a single direction: for `poll_` functions.
    pub(crate) fn poll_io<T>(
        &self,
        interest: Interest,
        cx: &mut Context<'_>,
        op: impl FnMut(Seen) -> io::Result<T>,
    ) -> Poll<io::Result<T>> {
        self.source.poll_io(&mut Waiter::slot(interest), cx, |interest| self.arm(interest), op)
    }

    /// One of any number who wait for `interest`: for async functions.
    pub(crate) fn wait(&self, interest: Interest, location: &'static Location<'static>) -> Waiting<'_> {
        Waiting { registration: self, waiter: Waiter::listed(interest, Some(location)) }
    }

    /// Runs `op` once, unless it would surely block.
    pub(crate) fn try_io<T>(
        &self,
        interest: Interest,
        op: impl FnOnce(Seen) -> io::Result<T>,
    ) -> io::Result<T> {
        let seen = self.source.seen();
        if !seen.may_try(interest) {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        let result = op(seen);
        if result.as_ref().is_err_and(|error| error.kind() == io::ErrorKind::WouldBlock) {
            self.source.clear(seen, interest);
        }
        result
    }
}

impl Drop for Registration {
    fn drop(&mut self) {
        // Taken out first: no lock is held while the source's wakers may be dropped.
        let token = self.token.lock().take();
        if let Some(token) = token {
            // Fails only when the descriptor was closed behind our back; then there is nothing to tell.
            let _ = self.reactor.registry.deregister(&mut SourceFd(&self.fd));
            self.reactor.remove(token);
        }
    }
}

/// A place among those who wait on a registration. Drop gives it up.
pub(crate) struct Waiting<'a> {
    registration: &'a Registration,
    waiter: Waiter,
}

impl Waiting<'_> {
    /// Runs `op` until it does not say `WouldBlock`.
    pub(crate) fn poll_io<T>(
        &mut self,
        cx: &mut Context<'_>,
        op: impl FnMut(Seen) -> io::Result<T>,
    ) -> Poll<io::Result<T>> {
        let registration = self.registration;
        registration.source.poll_io(&mut self.waiter, cx, |interest| registration.arm(interest), op)
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.registration.source.forget(&mut self.waiter);
    }
}
