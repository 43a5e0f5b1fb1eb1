//! Layer 3, tests. The harness: the same scenario again and again, with another fate for the future under test.
//!
//! Owns the order of the fates, and turns a panic or a hang of a scenario into one that says which fate it was.
//! The trial itself is in `trial.rs`. Called by tests, on a thread or in a task.
#![forbid(unsafe_code)]

use std::future::{Future, poll_fn};
use std::panic::{AssertUnwindSafe, Location, catch_unwind};
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use super::report::Report;
use super::text;
use super::trial::{End, Fate, Known, Record, Trial};
use crate::block::{block_until, deadline_after};

/// Drops a future at each of its polls, and at some points in between, to see what is lost.
///
/// The scenario is called for each [`Fate`] anew: first the future under test is polled to its end in three
/// ways, then it is dropped before its first poll, and then for each poll `k` at which it is not ready yet
/// right after it, when it was woken after it, and when its neighbours have come to rest after it. The
/// scenario sets the scene, calls [`Trial::run`] once, and checks what is left: that permits, messages,
/// places and wake-ups are where they should be. What the future takes part with are its neighbours, other
/// futures given to [`Trial::ahead`] and [`Trial::beside`], or threads and tasks that the scenario starts.
///
/// Runs in the task that awaits it, under any runtime or none; as neighbours need not be `Send`, that is the
/// root of a `block_on`, or a local task. A scenario that hangs hangs it: [`cancel_at_every_await_blocking`]
/// notices that.
///
/// # Examples
/// ```
/// use filch_channels::channel::bounded;
/// use filch_channels::testing::{block_on, cancel_at_every_await};
///
/// let report = block_on(cancel_at_every_await(async |trial| {
///     let (tx, rx) = bounded(1);
///     let got = trial.beside(async { tx.send(7).await.unwrap() }).run(rx.recv()).await;
///     // Either the receive has the message, or the channel has it still.
///     assert_eq!(got.unwrap_or_else(|| rx.try_recv().map_err(|_| unreachable!())), Ok(7));
/// }));
/// assert_eq!((report.polls(), report.drops()), (2, 4));
/// ```
///
/// # Panics
/// When a scenario does, and says in which trial; when the future under test is not ready after 1,000 polls;
/// when a scenario does not run it.
#[track_caller]
pub fn cancel_at_every_await(scenario: impl AsyncFnMut(Trial)) -> impl Future<Output = Report> {
    Harness::new().run(scenario)
}

/// [`cancel_at_every_await`] on this thread, which notices when a scenario hangs.
///
/// # Examples
/// ```
/// use filch_channels::sync::Semaphore;
/// use filch_channels::testing::cancel_at_every_await_blocking;
///
/// let report = cancel_at_every_await_blocking(async |trial| {
///     let semaphore = Semaphore::new(1);
///     let held = semaphore.acquire().await.unwrap();
///     // Whatever becomes of the first in line: the second gets the permit.
///     trial
///         .beside(async { drop(semaphore.acquire().await.unwrap()) })
///         .beside(async { drop(held) })
///         .run(async { drop(semaphore.acquire().await.unwrap()) })
///         .await;
///     assert_eq!(semaphore.available_permits(), 1);
/// });
/// report.assert_waited();
/// ```
///
/// # Panics
/// As `cancel_at_every_await`, and when a trial has not ended after 10 seconds; it names who waits then.
#[track_caller]
pub fn cancel_at_every_await_blocking(scenario: impl AsyncFnMut(Trial)) -> Report {
    Harness::new().run_blocking(scenario)
}

/// [`cancel_at_every_await`], with options.
///
/// # Examples
/// A scenario without threads needs no patience: when nothing is awake, nothing ever will be.
/// ```
/// use std::time::Duration;
/// use filch_channels::sync::Notify;
/// use filch_channels::testing::Harness;
///
/// let report = Harness::new().patience(Duration::ZERO).run_blocking(async |trial| {
///     let notify = Notify::new();
///     let seen = trial.beside(async { notify.notify_one() }).run(notify.notified()).await;
///     // If it was not seen, it is stored.
///     if seen.is_none() {
///         notify.notified().await;
///     }
/// });
/// assert_eq!(report.polls(), 2);
/// ```
#[derive(Clone, Debug)]
pub struct Harness {
    patience: Duration,
    polls_max: usize,
}

impl Harness {
    /// The harness of [`cancel_at_every_await`].
    #[must_use]
    pub fn new() -> Harness {
        Harness { patience: Duration::from_secs(10), polls_max: 1_000 }
    }

    /// How long a trial may take, on a thread, until it counts as hanging. With zero, it hangs as soon as
    /// nothing is awake, which is right if no other thread takes part.
    #[must_use]
    pub fn patience(mut self, patience: Duration) -> Harness {
        self.patience = patience;
        self
    }

    /// After how many polls a future counts as never ready.
    #[must_use]
    pub fn polls_max(mut self, polls: usize) -> Harness {
        self.polls_max = polls;
        self
    }

    /// See [`cancel_at_every_await`].
    ///
    /// # Panics
    /// As there.
    #[track_caller]
    pub fn run(self, scenario: impl AsyncFnMut(Trial)) -> impl Future<Output = Report> {
        let called = Location::caller();
        async move { self.trials(scenario, called).await }
    }

    /// See [`cancel_at_every_await_blocking`].
    ///
    /// # Panics
    /// As there.
    #[track_caller]
    pub fn run_blocking(self, mut scenario: impl AsyncFnMut(Trial)) -> Report {
        let called = Location::caller();
        let mut trials = Trials::new(called, self.polls_max);
        while let Some(fate) = trials.next {
            let (trial, record) = Trial::new(fate);
            let mut running = Guarded::new(Box::pin(scenario(trial)), fate, called);
            let ended = block_until(deadline_after(self.patience), |cx| running.poll(cx));
            if ended.is_none() {
                hangs(fate, &record.known(), called);
            }
            trials.ended(fate, &record);
        }
        trials.report
    }

    async fn trials(
        self,
        mut scenario: impl AsyncFnMut(Trial),
        called: &'static Location<'static>,
    ) -> Report {
        let mut trials = Trials::new(called, self.polls_max);
        while let Some(fate) = trials.next {
            let (trial, record) = Trial::new(fate);
            let mut running = Guarded::new(Box::pin(scenario(trial)), fate, called);
            poll_fn(|cx| running.poll(cx)).await;
            trials.ended(fate, &record);
        }
        trials.report
    }
}

impl Default for Harness {
    fn default() -> Harness {
        Harness::new()
    }
}

/// The fates, one after the other.
struct Trials {
    next: Option<Fate>,
    polls_max: usize,
    report: Report,
    called: &'static Location<'static>,
}

impl Trials {
    fn new(called: &'static Location<'static>, polls_max: usize) -> Trials {
        let report = Report { polls: 0, trials: 0, drops: 0 };
        Trials { next: Some(Fate::Undisturbed), polls_max, report, called }
    }

    fn ended(&mut self, fate: Fate, record: &Record) {
        let Known { ran, polls, end, .. } = record.known();
        let called = self.called;
        assert!(ran, "the scenario at {called} ended without running its future under test");
        self.report.trials += 1;
        self.report.drops += usize::from(end == Some(End::Dropped));
        // Where threads take part, it may be ready sooner or later than the last time.
        self.next = match fate {
            Fate::Undisturbed => {
                self.report.polls = polls;
                Some(Fate::Moved)
            }
            Fate::Moved => Some(Fate::PolledInVain),
            Fate::PolledInVain => Some(Fate::DroppedUnpolled),
            Fate::DroppedUnpolled => Some(Fate::DroppedAfter(1)),
            Fate::DroppedAfter(_) if end == Some(End::Ready) => None,
            Fate::DroppedAfter(polls) => Some(Fate::DroppedWoken(polls)),
            Fate::DroppedWoken(polls) => Some(Fate::DroppedQuiet(polls)),
            Fate::DroppedQuiet(polls) => {
                let max = self.polls_max;
                assert!(polls < max, "the future under test at {called} is not ready after {max} polls");
                Some(Fate::DroppedAfter(polls + 1))
            }
        };
    }
}

/// A scenario, whose panic says which fate it was.
struct Guarded<F> {
    scenario: Option<Pin<Box<F>>>,
    fate: Fate,
    called: &'static Location<'static>,
}

impl<F: Future> Guarded<F> {
    fn new(scenario: Pin<Box<F>>, fate: Fate, called: &'static Location<'static>) -> Guarded<F> {
        Guarded { scenario: Some(scenario), fate, called }
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let Some(scenario) = &mut self.scenario else { return Poll::Ready(()) };
        // It is not polled again after a panic, and dropped.
        match catch_unwind(AssertUnwindSafe(|| scenario.as_mut().poll(cx).is_ready())) {
            Ok(false) => Poll::Pending,
            Ok(true) => {
                self.scenario = None;
                Poll::Ready(())
            }
            Err(payload) => {
                let scenario = self.scenario.take();
                // What it leaves behind may panic too; the first panic is the one to look at.
                let _ = catch_unwind(AssertUnwindSafe(|| drop(scenario)));
                let (fate, called) = (self.fate, self.called);
                panic!("with its future {fate}, the scenario at {called} panics: {}", text(&*payload))
            }
        }
    }
}

fn hangs(fate: Fate, known: &Known, called: &'static Location<'static>) -> ! {
    let mut who = Vec::new();
    if known.ran && known.end.is_none() {
        who.push(format!("the future under test, after poll {}", known.polls));
    }
    who.extend(known.waiting.iter().map(|made| format!("its neighbour of {made}")));
    if who.is_empty() {
        who.push(format!("the scenario itself, {} its trial", if known.ran { "after" } else { "before" }));
    }
    panic!("with its future {fate}, the scenario at {called} hangs: nobody wakes {}", who.join(" and "))
}
