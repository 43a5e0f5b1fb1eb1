//! One signal to many tasks that it is time to end, and the news that they all have.

use std::sync::Arc;

use filch::channel::{Receiver, Sender, bounded};
use filch::sync::Semaphore;

/// Tells tasks to stop. It stays told: who asks later hears it at once.
#[derive(Clone, Debug)]
pub struct Stop {
    /// Never has a permit; closing it wakes everybody who waits for one.
    closed: Arc<Semaphore>,
    /// Dropped with the last clone of it that a task holds.
    _alive: Sender<()>,
}

/// Knows when every task that holds a [`Stop`] has ended.
#[derive(Debug)]
pub struct Ended {
    closed: Arc<Semaphore>,
    ended: Receiver<()>,
}

/// A signal, and the end of it that its owner keeps.
pub fn stop() -> (Stop, Ended) {
    let closed = Arc::new(Semaphore::new(0));
    let (alive, ended) = bounded(1);
    (Stop { closed: closed.clone(), _alive: alive }, Ended { closed, ended })
}

impl Stop {
    /// Waits for the signal.
    ///
    /// # Cancel safety
    /// **Strict.**
    pub async fn told(&self) {
        // The permit never comes: only the error of a closed semaphore ends this.
        let _ = self.closed.acquire().await;
    }

    /// Whether the signal was given.
    pub fn is_told(&self) -> bool {
        self.closed.is_closed()
    }
}

impl Ended {
    /// Gives the signal.
    pub fn tell(&self) {
        self.closed.close();
    }

    /// Waits until every [`Stop`] is dropped.
    ///
    /// # Cancel safety
    /// **Strict.**
    pub async fn wait(&self) {
        // Nothing is ever sent.
        let _ = self.ended.recv().await;
    }
}
