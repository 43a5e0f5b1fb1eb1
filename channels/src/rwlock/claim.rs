//! Layer 3, rwlock. The futures that wait for access.
//!
//! Owns the one that waits for access of any kind, the one that waits to upgrade, and their eight public
//! faces. Called by `RwLock` and its guards.
#![forbid(unsafe_code)]

use std::fmt;
use std::future::Future;
use std::marker::{PhantomData, PhantomPinned};
use std::panic::Location;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use pin_project_lite::pin_project;

use super::guard::{Granted, Holds, Kind, Read, Upgradable, Write};
use super::raw::Access;
use super::{
    OwnedRwLockReadGuard, OwnedRwLockUpgradableReadGuard, OwnedRwLockWriteGuard, RwLock, RwLockReadGuard,
    RwLockUpgradableReadGuard, RwLockWriteGuard,
};
use crate::wait_queue::Waiter;

pin_project! {
    /// Waits for access of kind `K` to a lock that `P` keeps at hand.
    struct Claim<P, K> {
        #[pin]
        waiter: Waiter,
        // None once access was taken: the grant has it now.
        lock: Option<P>,
        kind: PhantomData<fn() -> K>,
        location: &'static Location<'static>,
        #[pin]
        _pinned: PhantomPinned,
    }
}

impl<P: Holds, K: Kind> Claim<P, K> {
    #[inline]
    fn new(lock: P, location: &'static Location<'static>) -> Claim<P, K> {
        Claim { lock: Some(lock), kind: PhantomData, location, waiter: Waiter::new(), _pinned: PhantomPinned }
    }

    #[inline]
    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Granted<P, K>> {
        let this = self.project();
        let raw = this.lock.as_ref().expect("polled after it was ready").raw();
        ready!(raw.poll_take(K::ACCESS, this.waiter, this.location, cx));
        Poll::Ready(Granted::new(this.lock.take().expect("looked at above")))
    }
}

pin_project! {
    /// Waits for what upgradable access lacks of access to write.
    struct Upgrade<P: Holds> {
        // Before the grant, so that it has left the line when that is given back.
        #[pin]
        waiter: Waiter,
        // None once it was upgraded.
        grant: Option<Granted<P, Upgradable>>,
        location: &'static Location<'static>,
        #[pin]
        _pinned: PhantomPinned,
    }
}

impl<P: Holds> Upgrade<P> {
    fn new(grant: Granted<P, Upgradable>, location: &'static Location<'static>) -> Upgrade<P> {
        Upgrade { grant: Some(grant), location, waiter: Waiter::new(), _pinned: PhantomPinned }
    }

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Granted<P, Write>> {
        let this = self.project();
        let raw = this.grant.as_ref().expect("polled after it was ready").lock().raw();
        ready!(raw.poll_take(Access::Upgrade, this.waiter, this.location, cx));
        Poll::Ready(this.grant.take().expect("looked at above").upgraded())
    }
}

impl<P, K> fmt::Debug for Claim<P, K> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Claim").field("location", &self.location).field("waiter", &self.waiter).finish()
    }
}

impl<P: Holds> fmt::Debug for Upgrade<P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Upgrade").field("location", &self.location).field("waiter", &self.waiter).finish()
    }
}

/// A public future over one of the two above: what it is called, what it is made from, and its guard.
macro_rules! future {
    (
        $(#[$doc:meta])*
        $name:ident [$($life:lifetime)?] $inner:ident[$($arg:ty),*] from $from:ty => $guard:ident
    ) => {
        pin_project! {
            $(#[$doc])*
            ///
            /// # Panics
            /// When it is polled after it was ready.
            #[must_use = "futures do nothing unless they are awaited"]
            pub struct $name<$($life,)? T: ?Sized> {
                #[pin]
                inner: $inner<$($arg),*>,
            }
        }

        impl<$($life,)? T: ?Sized> $name<$($life,)? T> {
            #[inline]
            pub(super) fn new(from: $from, location: &'static Location<'static>) -> Self {
                $name { inner: $inner::new(from, location) }
            }
        }

        impl<$($life,)? T: ?Sized> Future for $name<$($life,)? T> {
            type Output = $guard<$($life,)? T>;

            #[inline]
            fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
                self.project().inner.poll(cx).map($guard::new)
            }
        }

        impl<$($life,)? T: ?Sized> fmt::Debug for $name<$($life,)? T> {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.debug_tuple(stringify!($name)).field(&self.inner).finish()
            }
        }
    };
}

future! {
    /// The future of [`RwLock::read`].
    ///
    /// # Cancel safety
    /// **Loses its place in line.** What was offered to it goes to the next one.
    Reading ['a] Claim[&'a RwLock<T>, Read] from &'a RwLock<T> => RwLockReadGuard
}
future! {
    /// The future of [`RwLock::read_owned`].
    ///
    /// # Cancel safety
    /// **Loses its place in line.** What was offered to it goes to the next one.
    ReadingOwned [] Claim[Arc<RwLock<T>>, Read] from Arc<RwLock<T>> => OwnedRwLockReadGuard
}
future! {
    /// The future of [`RwLock::upgradable_read`].
    ///
    /// # Cancel safety
    /// **Loses its place in line.** What was offered to it goes to the next one.
    ReadingUpgradable ['a] Claim[&'a RwLock<T>, Upgradable] from &'a RwLock<T> => RwLockUpgradableReadGuard
}
future! {
    /// The future of [`RwLock::upgradable_read_owned`].
    ///
    /// # Cancel safety
    /// **Loses its place in line.** What was offered to it goes to the next one.
    ReadingUpgradableOwned [] Claim[Arc<RwLock<T>>, Upgradable]
        from Arc<RwLock<T>> => OwnedRwLockUpgradableReadGuard
}
future! {
    /// The future of [`RwLock::write`].
    ///
    /// # Cancel safety
    /// **Loses its place in line.** What was offered to it goes to the next one.
    Writing ['a] Claim[&'a RwLock<T>, Write] from &'a RwLock<T> => RwLockWriteGuard
}
future! {
    /// The future of [`RwLock::write_owned`].
    ///
    /// # Cancel safety
    /// **Loses its place in line.** What was offered to it goes to the next one.
    WritingOwned [] Claim[Arc<RwLock<T>>, Write] from Arc<RwLock<T>> => OwnedRwLockWriteGuard
}
future! {
    /// The future of [`RwLockUpgradableReadGuard::upgrade`].
    ///
    /// # Cancel safety
    /// **Loses its place in line.** And the upgradable access, which it has taken over, is given back.
    Upgrading ['a] Upgrade[&'a RwLock<T>] from Granted<&'a RwLock<T>, Upgradable> => RwLockWriteGuard
}
future! {
    /// The future of [`OwnedRwLockUpgradableReadGuard::upgrade`].
    ///
    /// # Cancel safety
    /// **Loses its place in line.** And the upgradable access, which it has taken over, is given back.
    UpgradingOwned [] Upgrade[Arc<RwLock<T>>]
        from Granted<Arc<RwLock<T>>, Upgradable> => OwnedRwLockWriteGuard
}
