//! Layer 3. What a channel does when it is full, and the two marks between which it asks senders to pause.
//!
//! Owns the builder of channels with such options, and what they need at run time: one count, one flag, one
//! line of senders that wait for the flag to fall. A channel without options has none of this. Called by
//! user code, and by `shared` after each message that went in or out.
//!
//! *The flag follows the length.* Whoever has put a message in or taken one out looks at the flag and at the
//! length after a `SeqCst` fence, changes the flag if it has to, and looks again. So of two who change the
//! length at once, the one whose fence is later sees both changes, and what the other made of the flag; or
//! that one will look again itself, as it has yet to change the flag.
#![forbid(unsafe_code)]

use std::ops::RangeInclusive;

use super::kind::{Many, Mpmc};
use super::recv::Receiver;
use super::send::Sender;
use super::shared::Shared;
use crate::shim;
use crate::shim::Ordering::{Relaxed, SeqCst};
use crate::shim::task::{AtomicBool, AtomicU64};
use crate::wait_queue::WaitQueue;

/// What the sends of a bounded channel do when it is full.
///
/// All of [`send`](Sender::send) and its kin follow it. [`reserve`](Sender::reserve) always waits for room,
/// and [`force_send`](Sender::force_send) always displaces.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
#[non_exhaustive]
pub enum Overflow {
    /// They wait for room; `try_send` fails with `Full`. What [`bounded`](crate::channel::bounded) does.
    #[default]
    Block,
    /// They drop the message they were to send, and succeed; `try_send` fails with `Full`, as it can give the
    /// message back. Those who are late lose: samples, log lines.
    DropNewest,
    /// They displace the oldest message, which is dropped, and succeed, `try_send` too. They fail or wait as
    /// under `Block` only while permits keep all the room. What counts is the latest: prices, positions.
    DropOldest,
    /// They fail at once, with the message: [`SendError`](crate::channel::error::SendError), `Full` from
    /// `try_send`, `Timeout` from the timed forms. Somebody upstream is to be told: load shedding.
    Error,
}

/// Makes channels with options.
///
/// # Examples
/// The three latest samples are kept.
/// ```
/// use filch_channels::channel::{self, Overflow};
///
/// let (tx, rx) = channel::Builder::new().capacity(3).overflow(Overflow::DropOldest).build();
/// for sample in 1..=5 {
///     tx.send_blocking(sample).unwrap();
/// }
/// assert_eq!(rx.try_iter().collect::<Vec<_>>(), [3, 4, 5]);
/// assert_eq!(rx.stats().dropped, 2);
/// ```
/// A producer that never waits, but listens to those who ask it to slow down.
/// ```
/// # use filch_channels::channel;
/// # futures_lite::future::block_on(async {
/// let (tx, rx) = channel::Builder::new().watermarks(1..=3).build();
/// for line in ["a", "b", "c", "d"] {
///     tx.try_send(line).unwrap();
/// }
/// assert!(tx.is_paused());
/// while rx.len() > 1 {
///     rx.recv().await.unwrap();
/// }
/// tx.resumed().await;
/// # });
/// ```
#[derive(Clone, Debug, Default)]
#[must_use = "a builder does nothing before `build`"]
pub struct Builder {
    capacity: Option<usize>,
    overflow: Overflow,
    marks: Option<(usize, usize)>,
}

impl Builder {
    /// A builder of unbounded channels without options.
    pub fn new() -> Builder {
        Builder::default()
    }

    /// There is room for `capacity` messages, as in a [`bounded`](crate::channel::bounded) channel.
    pub fn capacity(mut self, capacity: usize) -> Builder {
        self.capacity = Some(capacity);
        self
    }

    /// What the sends do when it is full.
    pub fn overflow(mut self, overflow: Overflow) -> Builder {
        self.overflow = overflow;
        self
    }

    /// Senders are asked to pause once as many messages as the upper mark are in the channel, until there are
    /// only as many as the lower mark left.
    ///
    /// That is what asyncio's transports do (`pause_writing`, `resume_writing`), and Node's streams (`write`
    /// answering `false`, and the event `drain`). A send heeds it of its own accord no more than there: see
    /// [`Sender::is_paused`] and [`Sender::resumed`].
    pub fn watermarks(mut self, marks: RangeInclusive<usize>) -> Builder {
        self.marks = Some(marks.into_inner());
        self
    }

    /// Makes the channel.
    ///
    /// # Panics
    /// If the capacity is 0 or more than 2^28; if there is a policy for a full channel that is never full; if
    /// the upper mark is not above the lower one, or cannot be reached.
    #[track_caller]
    pub fn build<T>(&self) -> (Sender<T>, Receiver<T>) {
        assert!(
            self.capacity.is_some() || self.overflow == Overflow::Block,
            "an unbounded channel is never full: give it a `capacity`, or leave out `overflow`"
        );
        if let Some((low, high)) = self.marks {
            assert!(low < high, "the upper mark ({high}) must be above the lower one ({low})");
            let capacity = self.capacity.unwrap_or(usize::MAX);
            assert!(high <= capacity, "the upper mark ({high}) is above the capacity ({capacity})");
        }
        let store = self.capacity.map_or_else(Many::chain, Many::ring);
        let plain = self.overflow == Overflow::Block && self.marks.is_none();
        let shared = Shared::<T, Mpmc>::new(store, (!plain).then(|| Flow::new(self.overflow, self.marks)));
        (Sender::new(shared.clone(), ()), Receiver::new(shared, ()))
    }
}

/// What a channel with options has beside the others.
#[derive(Debug)]
pub(super) struct Flow {
    pub(super) overflow: Overflow,
    /// The lower and the upper mark.
    marks: Option<(usize, usize)>,
    paused: AtomicBool,
    /// Senders wait here to be asked no longer to pause.
    pub(super) resumed: WaitQueue,
    dropped: AtomicU64,
}

impl Flow {
    fn new(overflow: Overflow, marks: Option<(usize, usize)>) -> Flow {
        Flow {
            overflow,
            marks,
            paused: AtomicBool::new(false),
            resumed: WaitQueue::new(),
            dropped: AtomicU64::new(0),
        }
    }

    pub(super) fn is_paused(&self) -> bool {
        // Ordering: Acquire would do no more: the flag guards nothing. Who waits for it to fall is told after
        // that, through the line.
        self.paused.load(Relaxed)
    }

    /// To be called after the length has changed.
    pub(super) fn moved(&self, len: impl Fn() -> usize) {
        let Some((low, high)) = self.marks else { return };
        loop {
            // Ordering: SeqCst orders the change of the length, ours or that of the flag below, before both
            // looks: see the head of this file.
            shim::fence(SeqCst);
            let (paused, len) = (self.is_paused(), len());
            if !paused && len >= high {
                self.paused.swap(true, SeqCst);
            } else if paused && len <= low {
                if self.paused.swap(false, SeqCst) {
                    self.resumed.notify_all(0);
                }
            } else {
                return;
            }
        }
    }

    /// To be called after the channel was closed.
    pub(super) fn close(&self) {
        self.resumed.notify_all(0);
    }

    /// Counts a message that was dropped.
    pub(super) fn drops(&self) {
        // Ordering: Relaxed: for reports.
        self.dropped.fetch_add(1, Relaxed);
    }

    pub(super) fn dropped(&self) -> u64 {
        self.dropped.load(Relaxed)
    }
}
