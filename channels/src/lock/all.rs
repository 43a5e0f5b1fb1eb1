//! Layer 2, lock. Several locks at once, without a deadlock.
//!
//! Owns the order in which they are taken: by level, then by address, which is the same for everybody. Called
//! by users.
#![forbid(unsafe_code)]

use std::future::Future;
use std::panic::Location;

use super::rank::Form;
use super::{Lock, LockGuard, Locking};

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
    let location = Location::caller();
    let order = in_order(&locks);
    check_rank(&locks, Form::Blocking, location);
    let mut guards = [const { None }; N];
    for at in order {
        guards[at] = Some(locks[at].lock_in_order(location));
    }
    all(guards)
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
