//! Layer 3. Which of several operations is done, when more than one is open to others: a select's.
//!
//! Owns one word behind a lock. An operation that stands in a [`Meet`](super::meet::Meet) can be done by
//! somebody else, while its owner does another one; whoever does one *decides* first, and each decision is
//! made once. Called by `meet` and `select`.
//!
//! *Order of the locks*: that of a line or of a `Meet` comes first, that of a decision last; of two decisions
//! the one at the lower address. Nothing foreign runs under them.
#![forbid(unsafe_code)]

use crate::shim::{Arc, Mutex};

/// Which operation of a group is done: its number.
#[derive(Debug)]
pub struct Decision(Mutex<Option<usize>>);

/// One operation of a group.
#[derive(Clone, Copy, Debug)]
pub struct Party<'a> {
    /// What the group shares.
    pub decision: &'a Arc<Decision>,
    /// The number of the operation in it.
    pub number: usize,
}

impl Party<'_> {
    /// Decides for this operation, which can be done by nobody but its owner. False: it is too late.
    #[must_use]
    pub(super) fn decides(self) -> bool {
        self.decision.claim(self.number, || Some(())).is_some()
    }
}

/// What came of an attempt to do two operations at once, one of each side.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[must_use]
pub(super) enum Pair {
    /// Both are done now.
    Matched,
    /// We did something else before.
    Taken,
    /// The other side did something else before, or is our own group: try another one.
    Gone,
}

impl Decision {
    pub(crate) fn new() -> Decision {
        Decision(Mutex::new(None))
    }

    /// What was decided.
    pub(crate) fn get(&self) -> Option<usize> {
        *self.0.lock()
    }

    /// Decides that nothing will be done any more. `Err`: this was decided before.
    pub(crate) fn withdraw(&self) -> Result<(), usize> {
        let mut decided = self.0.lock();
        match *decided {
            Some(number) => Err(number),
            None => {
                *decided = Some(usize::MAX);
                Ok(())
            }
        }
    }

    /// Does `f`, which is not foreign code, and decides for `number` if it says `Some`; unless something else
    /// was decided.
    pub(super) fn claim<R>(&self, number: usize, f: impl FnOnce() -> Option<R>) -> Option<R> {
        let mut decided = self.0.lock();
        if decided.is_some() {
            return None;
        }
        let done = f()?;
        *decided = Some(number);
        Some(done)
    }
}

/// Decides for both of two operations, or for neither. One that belongs to no group may always be done.
#[inline]
pub(super) fn pair(mine: Option<Party<'_>>, other: Option<Party<'_>>) -> Pair {
    match (mine, other) {
        (None, None) => Pair::Matched,
        (Some(mine), None) => said(mine.decides(), Pair::Taken),
        (None, Some(other)) => said(other.decides(), Pair::Gone),
        (Some(mine), Some(other)) if Arc::ptr_eq(mine.decision, other.decision) => Pair::Gone,
        (Some(mine), Some(other)) => both(mine, other),
    }
}

fn both(mine: Party<'_>, other: Party<'_>) -> Pair {
    let mine_first = Arc::as_ptr(mine.decision) < Arc::as_ptr(other.decision);
    let (first, second) = if mine_first { (mine, other) } else { (other, mine) };
    let mut second_was_free = true;
    let both = first.decision.claim(first.number, || {
        let done = second.decision.claim(second.number, || Some(()));
        second_was_free = done.is_some();
        done
    });
    match (both, second_was_free == mine_first) {
        (Some(()), _) => Pair::Matched,
        // The one that was not free: the second, or, as the second was not asked, the first.
        (None, true) => Pair::Taken,
        (None, false) => Pair::Gone,
    }
}

fn said(done: bool, otherwise: Pair) -> Pair {
    if done { Pair::Matched } else { otherwise }
}
