//! Layer 3, tests. Values that enter their birth and their drop in a ledger.
//!
//! Owns the counts. A sum of serial numbers stands beside each count, so that one value leaked and another
//! dropped twice do not make up for each other. Called by tests.
#![forbid(unsafe_code)]

use std::sync::Arc;

use crate::shim::Ordering::SeqCst;
use crate::shim::task::AtomicUsize;

/// Counts the values that it made, and how many of them were dropped.
///
/// # Examples
/// ```
/// use filch_channels::channel::bounded;
/// use filch_channels::testing::Ledger;
///
/// let ledger = Ledger::new();
/// let (tx, rx) = bounded(2);
/// tx.try_send(ledger.message(1)).unwrap();
/// tx.try_send(ledger.message(2)).unwrap();
/// assert_eq!(rx.try_recv().unwrap().id(), 1);
/// assert_eq!((ledger.made(), ledger.drops()), (2, 1));
/// drop(rx); // What is in the channel goes with its last receiver.
/// ledger.assert_settled();
/// ```
#[derive(Clone, Debug)]
pub struct Ledger(Arc<Counts>);

#[derive(Debug)]
struct Counts {
    made: AtomicUsize,
    drops: AtomicUsize,
    /// The sum of the serial numbers of those that were dropped.
    dropped: AtomicUsize,
}

/// A value that was made by a [`Ledger`]. A clone is one more value.
#[derive(Debug)]
pub struct Counted(pub(super) Ledger, pub(crate) usize, pub(super) usize);

impl Ledger {
    /// An empty ledger.
    #[must_use]
    pub fn new() -> Ledger {
        let zero = || AtomicUsize::new(0);
        Ledger(Arc::new(Counts { made: zero(), drops: zero(), dropped: zero() }))
    }

    /// A value that is known by `id`, which is all that it is compared by.
    #[must_use]
    pub fn message(&self, id: usize) -> Counted {
        // Ordering: SeqCst, here and below: a test may reason from the counts, and pays nothing for being sure.
        let serial = self.0.made.fetch_add(1, SeqCst) + 1;
        Counted(self.clone(), id, serial)
    }

    /// How many values it made.
    pub fn made(&self) -> usize {
        // Ordering: SeqCst, as in `message`.
        self.0.made.load(SeqCst)
    }

    /// How many of them were dropped.
    pub fn drops(&self) -> usize {
        // Ordering: SeqCst, as in `message`.
        self.0.drops.load(SeqCst)
    }

    /// Checks that each value was dropped once.
    ///
    /// # Panics
    /// When one was not dropped yet, or more than once.
    #[track_caller]
    pub fn assert_settled(&self) {
        let (made, drops) = (self.made(), self.drops());
        assert!(drops >= made, "{} of {made} values were not dropped", made - drops);
        // Ordering: SeqCst, as in `message`.
        let dropped = self.0.dropped.load(SeqCst);
        let sum = (1..=made).fold(0, usize::wrapping_add);
        assert!(drops == made && dropped == sum, "{made} values, {drops} drops: one was dropped twice");
    }
}

impl Default for Ledger {
    fn default() -> Ledger {
        Ledger::new()
    }
}

impl Counted {
    /// What it is known by.
    pub fn id(&self) -> usize {
        self.1
    }
}

impl Clone for Counted {
    fn clone(&self) -> Counted {
        self.0.message(self.1)
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        let Counted(Ledger(counts), _, serial) = self;
        // Ordering: SeqCst, as in `message`.
        counts.dropped.fetch_add(*serial, SeqCst);
        counts.drops.fetch_add(1, SeqCst);
    }
}

impl PartialEq for Counted {
    fn eq(&self, other: &Counted) -> bool {
        self.1 == other.1
    }
}
