//! Layer 3, tests. Wakers and values that do something unexpected at a moment that can be chosen.
//!
//! Owns the plan: which moment, the how-manieth of them, and what is done then. The waker's table of functions
//! is in `evil_waker.rs`. Called by tests.
#![forbid(unsafe_code)]

use std::cmp::Ordering as Order;
use std::fmt;
use std::hash::{Hash, Hasher};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::task::Waker;

use super::ledger::{Counted, Ledger};
use super::{evil_waker, text};
use crate::shim::Ordering::SeqCst;
use crate::shim::task::{AtomicBool, AtomicUsize};
use crate::shim::thread;

/// When foreign code runs.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Moment {
    /// A waker or a value is cloned.
    Clone,
    /// A waker is woken, by value or by reference.
    Wake,
    /// A waker or a value is dropped. Not: when a waker is woken by value, which ends it too.
    Drop,
    /// A value is compared, for equality or for order.
    Compare,
    /// A value is hashed.
    Hash,
}

impl Moment {
    /// The moments in the life of a waker.
    pub const OF_WAKERS: [Moment; 3] = [Moment::Clone, Moment::Wake, Moment::Drop];
    /// The moments in the life of a value.
    pub const OF_VALUES: [Moment; 4] = [Moment::Clone, Moment::Drop, Moment::Compare, Moment::Hash];
}

/// Makes wakers and values that panic, or do anything else, at the n-th of some [`Moment`]s.
///
/// Whatever runs foreign code must survive that: a primitive that is woken, a container whose values are
/// dropped. Hence: do with these what is done with others, [`calm`](Evil::calm) them, and check that all is
/// as it should be. While a panic is under way they do nothing, since another one would end the process; and
/// while one of them is at it, the others of the same `Evil` do nothing.
///
/// # Examples
/// A waker that panics when it is woken must not cost the next one its wake-up.
/// ```
/// use std::pin::pin;
/// use filch_channels::sync::Notify;
/// use filch_channels::testing::{Evil, Moment, Wakes, poll_with};
///
/// let notify = Notify::new();
/// let (mut first, mut second) = (pin!(notify.notified()), pin!(notify.notified()));
/// let evil = Evil::panics([Moment::Wake], 1);
/// let (wakes, waker) = Wakes::new();
/// assert!(poll_with(first.as_mut(), &evil.waker()).is_pending());
/// assert!(poll_with(second.as_mut(), &waker).is_pending());
/// notify.notify_waiters();
/// assert_eq!((evil.deeds(), wakes.count()), (1, 1));
/// ```
///
/// One that re-enters finds no lock held.
/// ```
/// # use std::pin::pin;
/// # use std::sync::Arc;
/// # use filch_channels::sync::Semaphore;
/// # use filch_channels::testing::{Evil, Moment, poll_with};
/// let semaphore = Arc::new(Semaphore::new(0));
/// let mut waiting = pin!(semaphore.acquire());
/// let evil = Evil::new([Moment::Wake], 1, {
///     let semaphore = semaphore.clone();
///     move || semaphore.try_acquire().unwrap().forget()
/// });
/// assert!(poll_with(waiting.as_mut(), &evil.waker()).is_pending());
/// semaphore.add_permits(1);
/// assert_eq!((evil.deeds(), semaphore.available_permits()), (1, 0));
/// ```
#[derive(Clone, Debug)]
pub struct Evil {
    pub(super) plan: Arc<Plan>,
}

/// What all wakers and values of one `Evil` share.
pub(super) struct Plan {
    moments: Vec<Moment>,
    nth: usize,
    deed: Box<dyn Fn() + Send + Sync>,
    calm: AtomicBool,
    busy: AtomicBool,
    seen: AtomicUsize,
    deeds: AtomicUsize,
    wakes: AtomicUsize,
    ledger: Ledger,
}

impl Evil {
    /// Calls `deed` at the `nth` of these moments, counted from 1 over all its wakers and values; with 0 at each.
    pub fn new(
        moments: impl IntoIterator<Item = Moment>,
        nth: usize,
        deed: impl Fn() + Send + Sync + 'static,
    ) -> Evil {
        let zero = || AtomicUsize::new(0);
        let no = || AtomicBool::new(false);
        let (seen, deeds, wakes) = (zero(), zero(), zero());
        let (moments, deed, ledger) = (moments.into_iter().collect(), Box::new(deed), Ledger::new());
        let plan = Plan { moments, nth, deed, calm: no(), busy: no(), seen, deeds, wakes, ledger };
        Evil { plan: Arc::new(plan) }
    }

    /// Panics at the `nth` of these moments. See [`new`](Evil::new).
    pub fn panics(moments: impl IntoIterator<Item = Moment>, nth: usize) -> Evil {
        Evil::new(moments, nth, || panic!("{}", Evil::TEXT))
    }

    /// What [`panics`](Evil::panics) panics with.
    pub const TEXT: &'static str = "an evil one panics";

    /// Calls `round` with one that does `deed` at the first of these moments, then with one that does so at the
    /// second, and so on, until one had no occasion to. Returns how many had.
    ///
    /// A round sets the scene anew, does what is to be tested, catches what it panics with, and checks what is
    /// left.
    ///
    /// # Examples
    /// ```
    /// use std::panic::{AssertUnwindSafe, catch_unwind};
    /// use filch_channels::testing::{Evil, Moment};
    ///
    /// let deeds = Evil::at_each(Moment::OF_VALUES, || panic!("evil"), |evil| {
    ///     let mut values: Vec<_> = (0..4).map(|id| evil.value(id)).collect();
    ///     let sorted = catch_unwind(AssertUnwindSafe(|| values.sort()));
    ///     assert_eq!(sorted.is_err(), evil.deeds() == 1);
    ///     evil.calm();
    ///     drop(values);
    ///     evil.ledger().assert_settled();
    /// });
    /// assert!(deeds >= 3, "at least three comparisons");
    /// ```
    ///
    /// # Panics
    /// When a round does, in a way that says which one it was, or after 10,000 rounds.
    pub fn at_each(
        moments: impl IntoIterator<Item = Moment>,
        deed: impl Fn() + Clone + Send + Sync + 'static,
        mut round: impl FnMut(&Evil),
    ) -> usize {
        let moments: Vec<Moment> = moments.into_iter().collect();
        for nth in 1..=10_000 {
            let evil = Evil::new(moments.iter().copied(), nth, deed.clone());
            if let Err(payload) = catch_unwind(AssertUnwindSafe(|| round(&evil))) {
                evil.calm();
                panic!("with an evil deed at moment {nth} of {moments:?}: {}", text(&*payload));
            }
            if evil.deeds() == 0 {
                return nth - 1;
            }
        }
        panic!("after 10,000 rounds there is still occasion for an evil deed at {moments:?}")
    }

    /// A waker.
    #[must_use]
    pub fn waker(&self) -> Waker {
        evil_waker::waker(self.plan.clone())
    }

    /// A value that is known by `id`, by which it is compared and hashed.
    #[must_use]
    pub fn value(&self, id: usize) -> EvilValue {
        EvilValue { evil: self.clone(), counted: self.plan.ledger.message(id) }
    }

    /// From now on nothing unexpected happens.
    pub fn calm(&self) {
        // Ordering: SeqCst, here and below: a test may reason from these, and pays nothing for being sure.
        self.plan.calm.store(true, SeqCst);
    }

    /// How many of its moments there were.
    pub fn seen(&self) -> usize {
        // Ordering: SeqCst, as in `calm`.
        self.plan.seen.load(SeqCst)
    }

    /// How often it did its deed.
    pub fn deeds(&self) -> usize {
        // Ordering: SeqCst, as in `calm`.
        self.plan.deeds.load(SeqCst)
    }

    /// How often its wakers were woken.
    pub fn wakes(&self) -> usize {
        // Ordering: SeqCst, as in `calm`.
        self.plan.wakes.load(SeqCst)
    }

    /// The ledger of its values.
    pub fn ledger(&self) -> &Ledger {
        &self.plan.ledger
    }
}

impl Plan {
    pub(super) fn woken(&self) {
        // Ordering: SeqCst, as in `calm`.
        self.wakes.fetch_add(1, SeqCst);
        self.at(Moment::Wake);
    }

    pub(super) fn at(&self, moment: Moment) {
        /// Ends the deed, also when it panics.
        struct Done<'a>(&'a AtomicBool);
        impl Drop for Done<'_> {
            fn drop(&mut self) {
                // Ordering: SeqCst, as in `calm`.
                self.0.store(false, SeqCst);
            }
        }
        // Ordering: SeqCst, all of these, as in `calm`.
        if !self.moments.contains(&moment) || self.calm.load(SeqCst) {
            return;
        }
        let number = self.seen.fetch_add(1, SeqCst) + 1;
        let now = self.nth == 0 || self.nth == number;
        if !now || thread::panicking() || self.busy.swap(true, SeqCst) {
            return;
        }
        let _done = Done(&self.busy);
        // Ordering: SeqCst, as in `calm`.
        self.deeds.fetch_add(1, SeqCst);
        (self.deed)();
    }
}

impl fmt::Debug for Plan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Plan { moments, nth, seen, deeds, .. } = self;
        let mut shown = f.debug_struct("Plan");
        shown.field("moments", moments).field("nth", nth).field("seen", seen).field("deeds", deeds);
        shown.finish_non_exhaustive()
    }
}

/// A value made by an [`Evil`].
#[derive(Debug)]
pub struct EvilValue {
    evil: Evil,
    counted: Counted,
}

impl EvilValue {
    /// What it is known by.
    pub fn id(&self) -> usize {
        self.counted.id()
    }
}

impl Clone for EvilValue {
    fn clone(&self) -> EvilValue {
        self.evil.plan.at(Moment::Clone);
        EvilValue { evil: self.evil.clone(), counted: self.counted.clone() }
    }
}

impl Drop for EvilValue {
    fn drop(&mut self) {
        // Should this panic: the fields are dropped all the same, and with them the entry in the ledger.
        self.evil.plan.at(Moment::Drop);
    }
}

impl PartialEq for EvilValue {
    fn eq(&self, other: &EvilValue) -> bool {
        self.cmp(other) == Order::Equal
    }
}

impl Eq for EvilValue {}

impl PartialOrd for EvilValue {
    fn partial_cmp(&self, other: &EvilValue) -> Option<Order> {
        Some(self.cmp(other))
    }
}

impl Ord for EvilValue {
    fn cmp(&self, other: &EvilValue) -> Order {
        self.evil.plan.at(Moment::Compare);
        self.id().cmp(&other.id())
    }
}

impl Hash for EvilValue {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.evil.plan.at(Moment::Hash);
        self.id().hash(state);
    }
}
