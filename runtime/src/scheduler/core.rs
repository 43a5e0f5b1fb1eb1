//! Layer 2, scheduler. What a thread needs to work: queue, slot, timers' index, ticks. It can lose it; see
//! `lease`.
//!
//! Owns the owner's end of one run queue and the rules of order: which task is next, and where a woken or
//! spawned one goes. Called by `worker` on the thread that has the core, and through the lease from inside
//! polls.
#![forbid(unsafe_code)]

use std::collections::VecDeque;
use std::task::Waker;
use std::time::{Duration, Instant};

use super::injector::Injector;
use super::queue::LocalQueue;
use super::shared::next_ids;
use crate::task::Runnable;
use crate::util::rng::Rng;

/// How many tasks in a row may come from the slot before the queue has its turn.
const SLOT_POLLS_MAX: u8 = 3;
/// How many polls at most between two looks at the injector, the timers and the reactor.
const LOOK_INTERVAL_MAX: u32 = 61;
/// How much time there should be between two such looks: with long polls, there are fewer polls between them.
const LOOK_EVERY: Duration = Duration::from_micros(150);
/// Polls that take less than this on average are short; and so many of them a guest keeps to itself.
const SHORT_POLL: Duration = Duration::from_micros(1);
const KEEPS_SHORT: u8 = 4;
/// How many ids a core takes at a time.
const ID_BLOCK: u64 = 256;

/// What the caller of a push must do about other workers.
#[must_use]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Tell {
    /// Nothing: this thread will run it next, or soon.
    Nobody,
    /// Wake one if none searches and not all are awake.
    One,
    /// The same, and with the fence: the caller may never come back to its queue.
    OneForSure,
}

pub(crate) struct Core {
    pub(crate) index: usize,
    pub(super) queue: LocalQueue<Runnable>,
    /// The task woken last, to be run next. Not seen by thieves: it goes with the core when that is taken
    /// away.
    slot: Option<Runnable>,
    slot_polls: u8,
    /// First in, first out, without the slot and without a bound: the single-threaded flavour, whose order
    /// people count on; with a seed, any of them.
    fifo: Option<VecDeque<Runnable>>,
    seeded: bool,
    /// For a caller of `block_on`: beside its root, it runs what the root woke and what comes of that.
    pub(super) guest: bool,
    /// A guest's root does not block its thread, nor do the tasks here, as far as was seen; see `guest`.
    pub(super) trusted: bool,
    /// Wakes of a whole batch are under way: see `Worker::wake`.
    pub(super) in_batch: bool,
    /// The root of a `block_on` is being polled: what it wakes must not wait for it.
    pub(super) in_root: bool,
    pub(super) searching: bool,
    tick: u32,
    look_interval: u32,
    looked: Instant,
    /// The polls before the last look were short.
    short_polls: bool,
    pub(super) rng: Rng,
    ids: std::ops::Range<u64>,
    /// What the driver collected, to be woken; while that is under way, the last of them first.
    pub(super) wakers: Vec<Waker>,
}

impl Core {
    pub(super) fn new(
        index: usize,
        queue: LocalQueue<Runnable>,
        fifo: bool,
        guest: bool,
        seed: Option<u64>,
    ) -> Core {
        Core {
            index,
            queue,
            slot: None,
            slot_polls: 0,
            fifo: fifo.then(VecDeque::new),
            seeded: seed.is_some(),
            guest,
            trusted: false,
            in_batch: false,
            in_root: false,
            searching: false,
            tick: 0,
            look_interval: LOOK_INTERVAL_MAX,
            looked: Instant::now(),
            short_polls: false,
            rng: seed.map_or_else(Rng::from_entropy, Rng::new),
            ids: 0..0,
            wakers: Vec::new(),
        }
    }

    /// An id for a new task.
    #[inline]
    pub(super) fn next_id(&mut self) -> u64 {
        self.ids.next().unwrap_or_else(|| {
            let start = next_ids(ID_BLOCK);
            self.ids = start + 1..start + ID_BLOCK;
            start
        })
    }

    /// Takes in a task that was woken on this thread.
    #[inline]
    pub(crate) fn push_woken(&mut self, runnable: Runnable, injector: &Injector<Runnable>) -> Tell {
        if self.in_batch {
            self.push_back(runnable, injector);
            return Tell::Nobody;
        }
        if self.in_root {
            return self.push_by_root(runnable, injector);
        }
        if self.fifo.is_some() {
            self.push_back(runnable, injector);
            return Tell::Nobody;
        }
        match self.slot.replace(runnable) {
            Some(before) => {
                self.push_back(before, injector);
                Tell::One
            }
            None => Tell::Nobody,
        }
    }

    /// What the root wakes or spawns lies where others can steal it, for the root may block its thread; and
    /// they are told, until it has shown that it does not.
    fn push_by_root(&mut self, runnable: Runnable, injector: &Injector<Runnable>) -> Tell {
        self.push_back(runnable, injector);
        match self.queue.len() {
            len if len <= usize::from(self.keeps()) => Tell::Nobody,
            1 => Tell::OneForSure,
            _ => Tell::One,
        }
    }

    /// The root's poll is over. What a guest may not run itself goes to the workers. True: the caller must tell
    /// them.
    pub(super) fn end_root_poll(&mut self, injector: &Injector<Runnable>) -> bool {
        self.in_root = false;
        if !self.guest || self.trusted || self.queue.is_empty() {
            return false;
        }
        injector.push_batch(self.drain());
        true
    }

    /// How many tasks in its queue this core runs itself, without telling others: a guest whose root is
    /// trusted one, and a few while polls here are short, for to wake another thread takes longer than to run
    /// them.
    pub(super) fn keeps(&self) -> u8 {
        match (self.trusted, self.short_polls) {
            (true, true) => KEEPS_SHORT,
            (trusted, _) => u8::from(trusted),
        }
    }

    /// Takes in a task that was spawned on this thread.
    #[inline]
    pub(crate) fn push_spawned(&mut self, runnable: Runnable, injector: &Injector<Runnable>) -> Tell {
        if self.in_root {
            return self.push_by_root(runnable, injector);
        }
        self.push_back(runnable, injector);
        // A single task is left to this thread, which runs it right after the poll under way.
        if self.queue.len() > 1 || self.slot.is_some() { Tell::One } else { Tell::Nobody }
    }

    /// Appends to the queue. One that is full gives its older half to the injector.
    #[inline]
    pub(crate) fn push_back(&mut self, runnable: Runnable, injector: &Injector<Runnable>) {
        if let Some(fifo) = &mut self.fifo {
            return fifo.push_back(runnable);
        }
        if let Err(runnable) = self.queue.push(runnable) {
            injector.push_batch(self.queue.split().into_iter().chain([runnable]));
        }
    }

    /// The next task of this core's own.
    #[inline]
    pub(super) fn next(&mut self, injector: &Injector<Runnable>) -> Option<Runnable> {
        if let Some(fifo) = &mut self.fifo {
            fifo.extend(std::iter::from_fn(|| self.queue.pop()));
            return if self.seeded { self.pick(injector) } else { fifo.pop_front() };
        }
        if let Some(runnable) = self.slot.take() {
            if self.slot_polls < SLOT_POLLS_MAX {
                self.slot_polls += 1;
                return Some(runnable);
            }
            // It had its turns: it goes behind the others.
            self.push_back(runnable, injector);
        }
        self.slot_polls = 0;
        self.queue.pop()
    }

    /// With a seed: any of those that are ready, as the seed says.
    #[cold]
    fn pick(&mut self, injector: &Injector<Runnable>) -> Option<Runnable> {
        let ready = self.fifo.as_mut()?;
        let first = injector.pop_batch(usize::MAX, |runnable| ready.push_back(runnable));
        ready.extend(first);
        if ready.is_empty() {
            return None;
        }
        ready.swap_remove_back(self.rng.below(ready.len() as u32) as usize)
    }

    /// Whether it is time to look at the injector, the timers and the reactor, though there is work.
    #[inline]
    pub(super) fn is_look_due(&mut self) -> bool {
        self.tick += 1;
        self.tick >= self.look_interval
    }

    /// Takes note of a look, and decides how many polls there are to the next.
    pub(super) fn looked(&mut self) {
        let now = Instant::now();
        let took = now.saturating_duration_since(self.looked);
        self.looked = now;
        let polls = std::mem::take(&mut self.tick).max(1);
        self.short_polls = took < SHORT_POLL * polls;
        if took > LOOK_EVERY {
            let each = took.as_nanos() as u64 / u64::from(polls);
            self.look_interval =
                (LOOK_EVERY.as_nanos() as u64 / each.max(1)).clamp(1, u64::from(LOOK_INTERVAL_MAX)) as u32;
        } else {
            self.look_interval = (self.look_interval * 2).min(LOOK_INTERVAL_MAX);
        }
    }

    /// The thread slept: what passed meanwhile says nothing about the length of polls.
    pub(super) fn slept(&mut self) {
        self.tick = 0;
        self.looked = Instant::now();
    }

    /// How many tasks wait here.
    pub(super) fn len(&self) -> usize {
        let unbounded = self.fifo.as_ref().map_or(0, VecDeque::len);
        self.queue.len() + usize::from(self.slot.is_some()) + unbounded
    }

    /// Takes everything out, for a core that nobody attends.
    pub(super) fn drain(&mut self) -> Vec<Runnable> {
        let mut all: Vec<Runnable> = self.slot.take().into_iter().collect();
        all.extend(std::iter::from_fn(|| self.queue.pop()));
        all.extend(self.fifo.iter_mut().flat_map(std::mem::take));
        all
    }
}
