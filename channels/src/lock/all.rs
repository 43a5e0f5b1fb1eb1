//! Layer 2, lock. Several locks at once, without a deadlock.
//!
//! Owns the order in which they are taken: by level, then by address, which is the same for everybody. Called
//! by users.
#![forbid(unsafe_code)]

use std::future::Future;
use std::panic::Location;
use std::time::{Duration, Instant};

use super::guard::Granted;
use super::rank::Form;
use super::{Lock, LockGuard, LockTimeoutError, Locking, TryLockError};
use crate::block::deadline_after;

/// Takes several locks and returns their guards, in the order of `locks`.
///
/// It waits for one after the other, in an order that is the same for everybody (their addresses), and holds
/// those it has meanwhile. So two calls never wait for each other, whatever order their locks are written in.
/// They may wait for somebody who takes single locks one inside the other in yet another order: take such
/// locks together, or [rank](Lock::ranked) them.
///
/// # Examples
/// ```
/// use filch_channels::sync::{Lock, lock_all};
///
/// async fn transfer(from: &Lock<u32>, to: &Lock<u32>, amount: u32) {
///     let [mut from, mut to] = lock_all([from, to]).await;
///     *from -= amount;
///     *to += amount;
/// }
///
/// # futures_lite::future::block_on(async {
/// let (mine, yours) = (Lock::new(10), Lock::new(10));
/// transfer(&mine, &yours, 3).await;
/// transfer(&yours, &mine, 5).await;
/// assert_eq!((mine.into_inner(), yours.into_inner()), (12, 8));
/// # });
/// ```
///
/// # Panics
/// When `locks` names a lock twice. When a [ranked](Lock::ranked) lock among them is out of order with one
/// that is held already (at the first poll); among themselves they are taken in the order of their levels,
/// and may have equal ones.
///
/// # Cancel safety
/// **Loses its place in line.** The locks that it had are free again.
#[must_use = "futures do nothing unless they are awaited"]
#[track_caller]
pub fn lock_all<'a, T: ?Sized, const N: usize>(
    locks: [&'a Lock<T>; N],
) -> impl Future<Output = [LockGuard<'a, T>; N]> + use<'a, T, N> {
    let location = Location::caller();
    let order = in_order(&locks);
    async move {
        check_rank(&locks, Form::Async, location);
        let mut guards = [const { None }; N];
        for at in order {
            guards[at] = Some(Locking::unranked(locks[at], location).await);
        }
        all(guards)
    }
}

/// [`lock_all`] for a thread, which it blocks until it has them.
///
/// # Examples
/// ```
/// use filch_channels::sync::{Lock, lock_all_blocking};
///
/// let (one, two) = (Lock::new(1), Lock::new(2));
/// let [mut a, mut b] = lock_all_blocking([&two, &one]);
/// std::mem::swap(&mut *a, &mut *b);
/// assert_eq!((*a, *b), (1, 2));
/// ```
///
/// # Panics
/// As there.
#[track_caller]
pub fn lock_all_blocking<'a, T: ?Sized, const N: usize>(locks: [&'a Lock<T>; N]) -> [LockGuard<'a, T>; N] {
    lock_all_until(locks, None, Location::caller()).unwrap_or_else(|_| unreachable!("there is no deadline"))
}

/// [`lock_all`] without waiting: all of them, or none.
///
/// # Examples
/// ```
/// use filch_channels::sync::{Lock, try_lock_all};
///
/// let (one, two) = (Lock::new(1), Lock::new(2));
/// let held = two.try_lock().unwrap();
/// assert!(try_lock_all([&one, &two]).is_err());
/// assert!(!one.is_locked());
/// drop(held);
/// let [a, b] = try_lock_all([&one, &two]).unwrap();
/// assert_eq!((*a, *b), (1, 2));
/// ```
///
/// # Errors
/// [`TryLockError`] when one of them could not be taken at once. Those that it had are free again.
///
/// # Panics
/// When `locks` names a lock twice. The order of [ranked](Lock::ranked) locks is no concern of it, as it does
/// not wait.
#[track_caller]
pub fn try_lock_all<'a, T: ?Sized, const N: usize>(
    locks: [&'a Lock<T>; N],
) -> Result<[LockGuard<'a, T>; N], TryLockError> {
    let location = Location::caller();
    let mut guards = [const { None }; N];
    for at in in_order(&locks) {
        if !locks[at].raw.try_take(location) {
            return Err(TryLockError(()));
        }
        guards[at] = Some(LockGuard::new(Granted::new(locks[at])));
    }
    Ok(all(guards))
}

/// [`lock_all`] for a thread, which it blocks until it has them, but no longer than `timeout` in all.
///
/// `Duration::MAX` means for ever. A task bounds [`lock_all`] with its runtime's timeout instead: nothing is
/// lost when that drops it.
///
/// # Examples
/// ```
/// use std::time::Duration;
/// use filch_channels::sync::{Lock, lock_all_timeout};
///
/// let (one, two) = (Lock::new(1), Lock::new(2));
/// let held = two.try_lock().unwrap();
/// assert!(lock_all_timeout([&one, &two], Duration::from_millis(1)).is_err());
/// assert!(!one.is_locked());
/// # drop(held);
/// ```
///
/// # Errors
/// [`LockTimeoutError`] when the time was up. Those that it had are free again, and nothing is left in line.
///
/// # Panics
/// As there.
#[track_caller]
pub fn lock_all_timeout<'a, T: ?Sized, const N: usize>(
    locks: [&'a Lock<T>; N],
    timeout: Duration,
) -> Result<[LockGuard<'a, T>; N], LockTimeoutError> {
    lock_all_until(locks, deadline_after(timeout), Location::caller())
}

/// [`lock_all`] for a thread, which it blocks until it has them, but not past `deadline`.
///
/// # Errors
/// [`LockTimeoutError`] when the deadline came first. Those that it had are free again, and nothing is left in
/// line.
///
/// # Panics
/// As there.
#[track_caller]
pub fn lock_all_deadline<'a, T: ?Sized, const N: usize>(
    locks: [&'a Lock<T>; N],
    deadline: Instant,
) -> Result<[LockGuard<'a, T>; N], LockTimeoutError> {
    lock_all_until(locks, Some(deadline), Location::caller())
}

#[track_caller]
fn lock_all_until<'a, T: ?Sized, const N: usize>(
    locks: [&'a Lock<T>; N],
    deadline: Option<Instant>,
    location: &'static Location<'static>,
) -> Result<[LockGuard<'a, T>; N], LockTimeoutError> {
    let order = in_order(&locks);
    check_rank(&locks, Form::Blocking, location);
    let mut guards = [const { None }; N];
    for at in order {
        if !locks[at].raw.take_blocking(deadline, location) {
            return Err(LockTimeoutError(()));
        }
        guards[at] = Some(LockGuard::new(Granted::new(locks[at])));
    }
    Ok(all(guards))
}

/// The places of `locks` in the order in which they are to be taken.
#[track_caller]
fn in_order<T: ?Sized, const N: usize>(locks: &[&Lock<T>; N]) -> [usize; N] {
    let key = |at: usize| (locks[at].raw.level(), std::ptr::from_ref(&locks[at].raw).addr());
    let mut order = std::array::from_fn(|at| at);
    order.sort_unstable_by_key(|&at| key(at));
    for pair in order.windows(2) {
        if key(pair[0]) == key(pair[1]) {
            let (one, two) = (pair[0].min(pair[1]), pair[0].max(pair[1]));
            panic!("the same lock twice, as number {one} and as number {two}: nobody can hold it twice");
        }
    }
    order
}

/// The lowest level is what matters: the others come after it.
fn check_rank<T: ?Sized>(locks: &[&Lock<T>], form: Form, location: &'static Location<'static>) {
    if let Some(lowest) = locks.iter().filter(|lock| lock.raw.level().is_some()).min_by_key(|l| l.raw.level())
    {
        lowest.raw.check_rank(form, location);
    }
}

fn all<T: ?Sized, const N: usize>(guards: [Option<LockGuard<'_, T>>; N]) -> [LockGuard<'_, T>; N] {
    guards.map(|guard| guard.expect("every lock was taken"))
}
