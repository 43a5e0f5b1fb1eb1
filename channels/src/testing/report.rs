//! Layer 3, tests. What the harness did.
#![forbid(unsafe_code)]

use std::fmt;

/// What [`cancel_at_every_await`](super::cancel_at_every_await) did.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Report {
    pub(super) polls: usize,
    pub(super) trials: usize,
    pub(super) drops: usize,
}

impl Report {
    /// In which poll the future under test was ready, when nothing disturbed it.
    pub fn polls(&self) -> usize {
        self.polls
    }

    /// How many trials there were.
    pub fn trials(&self) -> usize {
        self.trials
    }

    /// In how many trials the future under test was dropped before it was ready.
    pub fn drops(&self) -> usize {
        self.drops
    }

    /// Checks that the future under test had to wait, without which there is little to be seen.
    ///
    /// # Panics
    /// When it was ready in its first poll.
    #[track_caller]
    pub fn assert_waited(self) -> Report {
        assert!(
            self.polls > 1,
            "the future under test was ready at once, so that it was never dropped while it waits"
        );
        self
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Report { polls, trials, drops } = self;
        write!(f, "ready in poll {polls}; dropped in {drops} of {trials} trials")
    }
}
