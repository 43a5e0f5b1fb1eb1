//! Layer 2, scheduler. How many workers are awake, how many of them search, who sleeps, and whom to wake.
//!
//! Owns one atomic word and the list of sleeping cores. Names no task and no queue: callers say "there is
//! work", this file decides who hears it. Called by `schedule` on any thread and by `worker` on its own.
//! After tokio's idle set, itself after Go's; the difference is who pays: see "pushes by a worker".
//!
//! The word: guests awake (16 bits), who take no part in what follows, but can get stuck; workers awake (16
//! bits); of those searching (32 bits). A worker *searches* when its own
//! queue is empty and it looks at the others'. At most one searcher is woken at a time: it wakes the next
//! when it finds something, so a burst wakes as many workers as there is work for, one after another, and a
//! single task wakes one.
//!
//! # The promise
//! A task that was pushed is not left in a queue while all workers sleep.
//!
//! *To push* (`notify`): the task is in the queue; full fence; read the word; if nobody searches and not all
//! are awake, wake a sleeper. *To sleep* (`sleep`): leave the word, by a read-modify-write; full fence; look
//! at all queues once more; sleep only when they are empty, else wake up again.
//!
//! Proof sketch. Let the pusher read the word at time t. (1) It finds a sleeper and no searcher: the sleeper
//! is woken, as a searcher. (2) It finds a searcher S. S leaves the word after t (else it would not have been
//! in it), and looks at all queues after that; by the two fences it sees the task, or an earlier look of
//! someone else took it. (3) It finds everybody awake: each of them will leave the word, hence look, before
//! it sleeps, as in (2).
//!
//! *Pushes by a worker to its own queue* go without the fence. Then a worker that goes to sleep may miss the
//! task, and the pusher may miss that it sleeps. But the pusher is awake, and the task is in its own queue:
//! it will run it, or find it there when it wants to sleep; should the poll under way not come back, the
//! monitor takes the queue away. What is lost is the help of another worker, until the next push.
#![forbid(unsafe_code)]

use crate::shim::Mutex;
use crate::shim::Ordering::{Relaxed, SeqCst};
use crate::shim::fence;
use crate::shim::shared::{AtomicBool, AtomicU64};
use crate::util::pad::Padded;

const AWAKE: u64 = 1 << 32;
const GUEST: u64 = 1 << 48;
const SEARCHING: u64 = 1;

fn awake(word: u64) -> u64 {
    (word & (GUEST - 1)) >> 32
}

fn searching(word: u64) -> u64 {
    word & (AWAKE - 1)
}

/// Whether the monitor sleeps, as it does while all cores do.
///
/// *That it does not sleep while a worker is awake*: it says that it sleeps, fence, looks whether all cores
/// sleep; a worker that wakes is counted as awake, fence, looks whether the monitor sleeps. At least one sees
/// the other.
pub(crate) struct Doze(AtomicBool);

impl Doze {
    pub(crate) fn new() -> Doze {
        Doze(AtomicBool::new(false))
    }

    /// The monitor is about to sleep. False: it must not.
    pub(crate) fn begin(&self, idle: &Idle) -> bool {
        self.0.store(true, Relaxed);
        // Ordering: pairs with the fence in `must_rouse`.
        fence(SeqCst);
        idle.all_asleep()
    }

    /// The monitor is awake.
    pub(crate) fn end(&self) {
        self.0.store(false, Relaxed);
    }

    /// A worker is awake, and counted. True: the caller must wake the monitor.
    #[inline]
    pub(crate) fn must_rouse(&self) -> bool {
        // Ordering: pairs with the fence in `begin`.
        fence(SeqCst);
        self.0.load(Relaxed) && self.0.swap(false, Relaxed)
    }
}

pub(crate) struct Idle {
    word: Padded<AtomicU64>,
    /// Cores whose thread sleeps, the latest last.
    sleeping: Padded<Mutex<Vec<usize>>>,
    /// How many may be awake before `notify` wakes no more.
    active_max: u64,
}

impl Idle {
    /// For `active_max` cores, none of them awake yet. Guests' cores take no part.
    pub(crate) fn new(active_max: usize) -> Idle {
        Idle {
            word: Padded(AtomicU64::new(0)),
            sleeping: Padded(Mutex::default()),
            active_max: active_max.max(1) as u64,
        }
    }

    /// A core that nobody attended is attended from now on, by a thread that is awake.
    /// A guest's also when its thread wakes.
    pub(crate) fn join(&self, guest: bool) {
        // Ordering: Relaxed, here and in `leave`: the count is a guide to `notify`; a core joins before it is
        // first used, and leaves after its queue was emptied into the injector, which is followed by a
        // `notify` of its own.
        self.word.fetch_add(if guest { GUEST } else { AWAKE }, Relaxed);
    }

    /// A core is no longer attended. Its thread was awake and did not search. The caller then looks at all
    /// queues, as before a sleep: a push that found this core awake woke nobody. A guest's also when its thread
    /// goes to sleep.
    pub(crate) fn leave(&self, guest: bool) {
        self.word.fetch_sub(if guest { GUEST } else { AWAKE }, Relaxed);
        // Ordering: pairs with the fence in `notify`.
        fence(SeqCst);
    }

    /// There is work in a queue that the caller does not run itself. Returns the core whose thread must be
    /// unparked.
    #[inline]
    #[must_use]
    pub(crate) fn notify(&self) -> Option<usize> {
        // Ordering: the SeqCst fence pairs with the one in `sleep`; see "the promise".
        fence(SeqCst);
        self.notify_local()
    }

    /// As `notify`, by a worker that has the work in its own queue: without the fence.
    #[inline]
    #[must_use]
    pub(crate) fn notify_local(&self) -> Option<usize> {
        // Ordering: Relaxed: the fence of `notify`, or the argument on pushes by a worker.
        if !self.wants_one(self.word.load(Relaxed)) {
            return None;
        }
        self.wake_one()
    }

    fn wants_one(&self, word: u64) -> bool {
        searching(word) == 0 && awake(word) < self.active_max
    }

    #[cold]
    fn wake_one(&self) -> Option<usize> {
        let mut sleeping = self.sleeping.lock();
        // Ordering: Relaxed: sleepers change under the lock. Asked again, for another may have woken one
        // meanwhile.
        let word = self.word.load(Relaxed);
        if !self.wants_one(word) {
            return None;
        }
        let core = sleeping.pop()?;
        // It is woken as a searcher, and counted as one from here on: so that only one is woken.
        self.word.fetch_add(AWAKE + SEARCHING, Relaxed);
        Some(core)
    }

    /// A worker with nothing to do goes to sleep. The caller then looks at all queues once more, before it
    /// sleeps.
    pub(crate) fn sleep(&self, core: usize, searched: bool) {
        {
            let mut sleeping = self.sleeping.lock();
            // Ordering: Relaxed, for the fence below follows; see "the promise".
            self.word.fetch_sub(AWAKE + if searched { SEARCHING } else { 0 }, Relaxed);
            sleeping.push(core);
        }
        // Ordering: pairs with the fence in `notify`.
        fence(SeqCst);
    }

    /// A worker wakes: as a searcher if `search`, or if it was someone else who woke it. Returns whether it
    /// is one.
    pub(crate) fn wake(&self, core: usize, search: bool) -> bool {
        let mut sleeping = self.sleeping.lock();
        match sleeping.iter().rposition(|&sleeper| sleeper == core) {
            Some(at) => {
                sleeping.remove(at);
                self.word.fetch_add(AWAKE + if search { SEARCHING } else { 0 }, Relaxed);
                search
            }
            None => true,
        }
    }

    /// A worker wants to search. False: enough of them do already.
    pub(crate) fn start_search(&self) -> bool {
        let word = self.word.load(Relaxed);
        if 2 * searching(word) >= awake(word) {
            return false;
        }
        // Ordering: Relaxed: the limit is a guide. That a searcher looks at all queues before it sleeps is
        // what counts.
        self.word.fetch_add(SEARCHING, Relaxed);
        true
    }

    /// A searcher found work. True: it was the last one, and the caller must `notify`, for there may be more.
    #[must_use]
    pub(crate) fn end_search(&self) -> bool {
        // Ordering: Relaxed: the `notify` that follows has the fence.
        let before = self.word.fetch_sub(SEARCHING, Relaxed);
        searching(before) == 1
    }

    /// Whether every core sleeps: nothing can be stuck.
    pub(crate) fn all_asleep(&self) -> bool {
        // Ordering: SeqCst, for the monitor's own promise; see there.
        self.word.load(SeqCst) < AWAKE
    }
}
