//! Layer 3, tests. One trial: a future under test among its neighbours, and what becomes of it.
//!
//! Owns the order of polls. Each participant is like a task of its own: it has a waker of its own, and is
//! polled when that was woken and not otherwise, so that a wake-up that went astray shows as a hang. In each
//! pass the neighbours ahead come first, then the future under test, then the others. Called by scenarios;
//! made by `cancel.rs`.
#![forbid(unsafe_code)]

use std::fmt;
use std::future::{Future, poll_fn};
use std::mem;
use std::panic::Location;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Wake, Waker};

use crate::shim::Mutex;
use crate::shim::Ordering::SeqCst;
use crate::shim::task::AtomicBool;

/// How many passes [`Fate::DroppedQuiet`] waits for neighbours that do not come to rest.
const PASSES_MAX: usize = 200;

/// What becomes of the future under test in one trial.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
#[non_exhaustive]
pub enum Fate {
    /// It is polled when it was woken, to its end.
    Undisturbed,
    /// To its end, with another waker at each poll, as when it is handed from task to task. Only the latest
    /// one counts.
    Moved,
    /// To its end, and it is polled whenever anybody else is, as in a `select!`.
    PolledInVain,
    /// It is dropped before its first poll.
    DroppedUnpolled,
    /// It is dropped right after so many polls.
    DroppedAfter(usize),
    /// It is dropped when it was woken after so many polls, instead of being polled.
    DroppedWoken(usize),
    /// After so many polls it is not polled any more, woken or not, and dropped once its neighbours have come
    /// to rest.
    DroppedQuiet(usize),
}

impl Fate {
    /// Whether it is dropped before its end, unless that comes too early.
    pub fn is_dropped(self) -> bool {
        !matches!(self, Fate::Undisturbed | Fate::Moved | Fate::PolledInVain)
    }
}

impl fmt::Display for Fate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Fate::Undisturbed => f.write_str("polled to its end"),
            Fate::Moved => f.write_str("polled to its end, with another waker at each poll"),
            Fate::PolledInVain => f.write_str("polled to its end, and in vain in between"),
            Fate::DroppedUnpolled => f.write_str("dropped before its first poll"),
            Fate::DroppedAfter(polls) => write!(f, "dropped right after poll {polls}"),
            Fate::DroppedWoken(polls) => write!(f, "dropped when it was woken after poll {polls}"),
            Fate::DroppedQuiet(polls) => write!(f, "dropped when all was quiet after poll {polls}"),
        }
    }
}

/// One run of a scenario: says what becomes of the future under test.
///
/// Add neighbours, if the scenario needs some, then [`run`](Trial::run) the future. See
/// [`cancel_at_every_await`](super::cancel_at_every_await).
#[derive(Debug)]
#[must_use = "the scenario must run its future under test"]
pub struct Trial {
    fate: Fate,
    record: Arc<Record>,
}

impl Trial {
    pub(super) fn new(fate: Fate) -> (Trial, Arc<Record>) {
        let record = Arc::new(Record(Mutex::new(Known::default())));
        (Trial { fate, record: record.clone() }, record)
    }

    /// What is in store for the future under test.
    pub fn fate(&self) -> Fate {
        self.fate
    }

    /// Adds a neighbour that is polled before the future under test: it is ahead in every line.
    #[track_caller]
    pub fn ahead<'w>(self, neighbour: impl Future<Output = ()> + 'w) -> World<'w> {
        World::new(self).ahead(neighbour)
    }

    /// Adds a neighbour that is polled after the future under test.
    #[track_caller]
    pub fn beside<'w>(self, neighbour: impl Future<Output = ()> + 'w) -> World<'w> {
        World::new(self).beside(neighbour)
    }

    /// Runs the future under test up to its fate. `Some`: it was ready before. See [`World::run`].
    pub async fn run<F: Future>(self, future: F) -> Option<F::Output> {
        World::new(self).run(future).await
    }
}

/// A [`Trial`] with neighbours: futures that run beside the one under test, each like a task of its own.
#[must_use = "the scenario must run its future under test"]
pub struct World<'w> {
    trial: Trial,
    outer: Arc<Outer>,
    ahead: Vec<Neighbour<'w>>,
    beside: Vec<Neighbour<'w>>,
}

impl<'w> World<'w> {
    fn new(trial: Trial) -> World<'w> {
        let outer = Arc::new(Outer(Mutex::new(None)));
        World { trial, outer, ahead: Vec::new(), beside: Vec::new() }
    }

    /// Adds a neighbour that is polled before the future under test: it is ahead in every line.
    #[track_caller]
    pub fn ahead(mut self, neighbour: impl Future<Output = ()> + 'w) -> World<'w> {
        self.ahead.push(Neighbour::new(Box::pin(neighbour), &self.outer, Location::caller()));
        self
    }

    /// Adds a neighbour that is polled after the future under test.
    #[track_caller]
    pub fn beside(mut self, neighbour: impl Future<Output = ()> + 'w) -> World<'w> {
        self.beside.push(Neighbour::new(Box::pin(neighbour), &self.outer, Location::caller()));
        self
    }

    /// Runs the future under test up to its fate, and the neighbours to their end. `Some`: it was ready before.
    ///
    /// The output is kept until the neighbours have ended. What they wait for, the future under test gives back
    /// itself: `run(async { drop(lock.lock().await) })`.
    pub async fn run<F: Future>(self, future: F) -> Option<F::Output> {
        let World { trial: Trial { fate, record }, outer, mut ahead, mut beside } = self;
        let mut subject = Subject::new(future, fate, &outer);
        poll_fn(|cx| {
            outer.register(cx.waker());
            let resting = ahead.iter().chain(&beside).all(Neighbour::is_resting);
            ahead.iter_mut().for_each(Neighbour::step);
            subject.step(resting);
            beside.iter_mut().for_each(Neighbour::step);
            let waiting: Vec<_> = ahead.iter().chain(&beside).filter_map(Neighbour::waits).collect();
            let done = subject.is_done() && waiting.is_empty();
            record.note(subject.polls, subject.end, waiting);
            if done {
                return Poll::Ready(());
            }
            if subject.wants_a_pass() {
                cx.waker().wake_by_ref();
            }
            Poll::Pending
        })
        .await;
        subject.output
    }
}

impl fmt::Debug for World<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (ahead, beside) = (self.ahead.len(), self.beside.len());
        let mut shown = f.debug_struct("World");
        shown.field("trial", &self.trial).field("ahead", &ahead).field("beside", &beside).finish()
    }
}

/// What the harness learns of a trial.
#[derive(Debug)]
pub(super) struct Record(Mutex<Known>);

/// See [`Record`].
#[derive(Clone, Debug, Default)]
pub(super) struct Known {
    /// Whether the scenario ran its future under test.
    pub(super) ran: bool,
    pub(super) polls: usize,
    pub(super) end: Option<End>,
    /// Where the neighbours were made that have not ended.
    pub(super) waiting: Vec<&'static Location<'static>>,
}

/// How the future under test ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum End {
    Ready,
    Dropped,
}

impl Record {
    fn note(&self, polls: usize, end: Option<End>, waiting: Vec<&'static Location<'static>>) {
        *self.0.lock() = Known { ran: true, polls, end, waiting };
    }

    pub(super) fn known(&self) -> Known {
        self.0.lock().clone()
    }
}

/// Who drives the trial: the task, or the thread, that all participants wake.
struct Outer(Mutex<Option<Waker>>);

impl Outer {
    fn register(&self, waker: &Waker) {
        let waker = waker.clone();
        let before = self.0.lock().replace(waker);
        // A waker is foreign code: not under the lock.
        drop(before);
    }

    fn wake(&self) {
        let waker = self.0.lock().take();
        // Whoever wakes after this finds none, and need not: the task that is woken now looks at all of them.
        if let Some(waker) = waker {
            waker.wake();
        }
    }
}

/// The waker of one participant.
struct Signal {
    woken: AtomicBool,
    outer: Arc<Outer>,
}

impl Signal {
    /// Woken, so that there is a first poll.
    fn new(outer: &Arc<Outer>) -> Arc<Signal> {
        Arc::new(Signal { woken: AtomicBool::new(true), outer: outer.clone() })
    }

    fn is_woken(&self) -> bool {
        // Ordering: SeqCst, as in `wake_by_ref`.
        self.woken.load(SeqCst)
    }

    /// Polls, if it was woken or `always`.
    fn poll<F: Future + ?Sized>(self: &Arc<Signal>, future: Pin<&mut F>) -> Poll<F::Output> {
        // Ordering: SeqCst, as in `wake_by_ref`. Before the poll, so that a wake-up during it counts.
        self.woken.store(false, SeqCst);
        future.poll(&mut Context::from_waker(&Waker::from(self.clone())))
    }
}

impl Wake for Signal {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        // Ordering: SeqCst, for whoever comes later pays nothing for being sure: what led to this wake-up is
        // visible to the poll that it leads to.
        if !self.woken.swap(true, SeqCst) {
            self.outer.wake();
        }
    }
}

struct Neighbour<'w> {
    future: Option<Pin<Box<dyn Future<Output = ()> + 'w>>>,
    signal: Arc<Signal>,
    made: &'static Location<'static>,
}

impl<'w> Neighbour<'w> {
    fn new(
        future: Pin<Box<dyn Future<Output = ()> + 'w>>,
        outer: &Arc<Outer>,
        made: &'static Location<'static>,
    ) -> Neighbour<'w> {
        Neighbour { future: Some(future), signal: Signal::new(outer), made }
    }

    fn is_resting(&self) -> bool {
        self.future.is_none() || !self.signal.is_woken()
    }

    fn waits(&self) -> Option<&'static Location<'static>> {
        self.future.is_some().then_some(self.made)
    }

    fn step(&mut self) {
        if let Some(future) = &mut self.future {
            if self.signal.is_woken() && self.signal.poll(future.as_mut()).is_ready() {
                self.future = None;
            }
        }
    }
}

/// The future under test.
struct Subject<F: Future> {
    future: Option<Pin<Box<F>>>,
    output: Option<F::Output>,
    end: Option<End>,
    signal: Arc<Signal>,
    fate: Fate,
    polls: usize,
    /// Passes since its last poll, for `DroppedQuiet`.
    passes: usize,
}

impl<F: Future> Subject<F> {
    fn new(future: F, fate: Fate, outer: &Arc<Outer>) -> Subject<F> {
        let (future, signal) = (Some(Box::pin(future)), Signal::new(outer));
        Subject { future, output: None, end: None, signal, fate, polls: 0, passes: 0 }
    }

    fn is_done(&self) -> bool {
        self.future.is_none()
    }

    /// Whether nobody but the trial itself brings it to its end.
    fn wants_a_pass(&self) -> bool {
        !self.is_done() && self.fate == Fate::DroppedQuiet(self.polls)
    }

    fn step(&mut self, resting: bool) {
        if self.is_done() {
            return;
        }
        match self.fate {
            Fate::DroppedUnpolled => self.drop_it(),
            Fate::DroppedWoken(polls) if polls == self.polls && self.signal.is_woken() => self.drop_it(),
            Fate::DroppedQuiet(polls) if polls == self.polls => {
                self.passes += 1;
                if resting || self.passes > PASSES_MAX {
                    self.drop_it();
                }
            }
            Fate::PolledInVain => self.poll(),
            _ if self.signal.is_woken() => self.poll(),
            _ => {}
        }
        if self.fate == Fate::DroppedAfter(self.polls) {
            self.drop_it();
        }
    }

    fn drop_it(&mut self) {
        if let Some(future) = self.future.take() {
            // First: the drop may panic.
            self.end = Some(End::Dropped);
            drop(future);
        }
    }

    fn poll(&mut self) {
        let Some(future) = &mut self.future else { return };
        if self.fate == Fate::Moved {
            let new = Signal::new(&self.signal.outer);
            drop(mem::replace(&mut self.signal, new));
        }
        self.polls += 1;
        if let Poll::Ready(output) = self.signal.poll(future.as_mut()) {
            self.output = Some(output);
            self.end = Some(End::Ready);
            self.future = None;
        }
    }
}
