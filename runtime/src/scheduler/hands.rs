//! Layer 2, scheduler. The blocking pool's accounts: who waits for a job, who was called for one.
//!
//! Owns three counts, which change under the pool's mutex only. A thread that waits is *idle*, or *called*
//! when a job was queued for it; a call is answered by any thread that waits, be it the one that was notified
//! or not: so `idle + called` is the number of those that wait, and no call is lost to a thread that gives up
//! waiting (tokio #8056).
#![forbid(unsafe_code)]

#[derive(Debug, Default)]
pub(crate) struct Hands {
    pub(crate) threads: usize,
    idle: usize,
    called: usize,
}

/// What must be done for a job that was queued.
#[must_use]
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Call {
    /// Notify one of those that wait.
    Notify,
    /// Start a thread, and count it with `started`.
    Start,
    /// Nothing: all are at work, and each looks at the queue before it waits.
    Nothing,
}

impl Hands {
    /// A job was queued.
    pub(crate) fn call(&mut self, threads_max: usize) -> Call {
        if self.idle > 0 {
            self.idle -= 1;
            self.called += 1;
            Call::Notify
        } else if self.threads < threads_max {
            Call::Start
        } else {
            Call::Nothing
        }
    }

    pub(crate) fn started(&mut self) {
        self.threads += 1;
    }

    /// A thread that found no job begins to wait.
    pub(crate) fn wait(&mut self) {
        self.idle += 1;
    }

    /// A thread that waits looks round. True: there may be a job, and its wait is over.
    #[must_use]
    pub(crate) fn answer(&mut self) -> bool {
        let called = self.called > 0;
        self.called -= usize::from(called);
        called
    }

    /// A thread that waits, and was not called, gives up and ends.
    pub(crate) fn give_up(&mut self) {
        self.idle -= 1;
        self.threads -= 1;
    }
}
