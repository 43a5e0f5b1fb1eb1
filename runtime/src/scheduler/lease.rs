//! Layer 2, scheduler. Who may touch a worker's core: its own thread, at the cost of plain stores, until it
//! is taken away.
//!
//! Owns the place where a core lies while user code runs. A worker's loop holds its core in its hands; around
//! each poll it puts it down here, and what the poll wakes or spawns goes into it through [`Lease::enter`].
//! When the poll does not come back, the monitor takes the core away ([`Lease::revoke`]) for other threads: queue,
//! slot and timers are all in it, so a stuck worker keeps nothing. Generic over the
//! core; called by `worker` (own thread) and `monitor`.
//!
//! It is a lock biased to its owner. The owner writes `inside`, then reads `revoked`; the monitor writes
//! `revoked`, then reads `inside`. With a full fence between the two on both sides (Dekker), at least one
//! sees the other:
//!
//! * the owner sees `revoked`: it leaves again, and asks under the mutex whether the core is still there;
//! * the monitor sees `inside`: it takes back `revoked`, and nothing has happened.
//!
//! The owner's fence is a light one (nothing but an order to the compiler, where the kernel has
//! `membarrier`); the monitor's is heavy, and makes every running thread of the process pass a full fence.
//! Revoking happens hardly ever, entering all the time.
//!
//! | `inside` | `revoked` | core lies here | who may touch the place                                   |
//! |----------|-----------|----------------|-----------------------------------------------------------|
//! | true     | false     | no, or yes     | the owner                                                 |
//! | true     | true      | no, or yes     | the owner if it entered first; else it is about to leave  |
//! | false    | false     | yes            | nobody: user code runs                                    |
//! | false    | true      | yes, then no   | the monitor, which holds the mutex                        |
//! | false    | true      | no             | nobody, until the owner learns of its loss under the mutex |

use std::ops::{Deref, DerefMut};

use crate::shim::Ordering::{Acquire, Relaxed, Release};
use crate::shim::owner::AtomicBool;
use crate::shim::{Mutex, UnsafeCell, heavy_fence, light_fence};

pub(crate) struct Lease<C> {
    /// Written by the owner: it uses the place, or holds the core in its hands.
    inside: AtomicBool,
    /// Written by the monitor under the mutex, and cleared by the owner under it.
    revoked: AtomicBool,
    /// See the table.
    place: UnsafeCell<Option<Box<C>>>,
    revoking: Mutex<()>,
}

// SAFETY: the place is handed from thread to thread by the protocol above, and what lies in it is `Send`.
unsafe impl<C: Send> Sync for Lease<C> {}

/// The owner's use of a core that lies in its place.
pub(crate) struct Entered<'a, C> {
    lease: &'a Lease<C>,
    core: *mut C,
}

impl<C> Lease<C> {
    pub(crate) fn new() -> Lease<C> {
        Lease {
            inside: AtomicBool::new(true),
            revoked: AtomicBool::new(false),
            place: UnsafeCell::new(None),
            revoking: Mutex::new(()),
        }
    }

    /// Puts the core down, before user code runs. Owner only.
    #[inline]
    pub(crate) fn put(&self, core: Box<C>) {
        debug_assert!(self.inside.load(Relaxed));
        // SAFETY: `inside` is set and `revoke` leaves the place alone while it is.
        self.place.with_mut(|place| unsafe { *place = Some(core) });
        // Ordering: Release pairs with the Acquire in `revoke`: the monitor sees the core as we leave it.
        self.inside.store(false, Release);
    }

    /// Takes the core up again, after user code ran. `None`: it was taken away. Owner only.
    #[inline]
    pub(crate) fn take(&self) -> Option<Box<C>> {
        if !self.go_in() {
            return None;
        }
        // SAFETY: `go_in` said that we are inside and not revoked.
        self.place.with_mut(|place| unsafe { (*place).take() })
    }

    /// Uses the core in its place, from inside user code. `None`: there is none here (any more), or the owner
    /// holds it in its hands. Owner only. No user code may run before the result is dropped.
    #[inline]
    pub(crate) fn enter(&self) -> Option<Entered<'_, C>> {
        if self.inside.load(Relaxed) || !self.go_in() {
            return None;
        }
        // SAFETY: as in `take`. The pointer is used while `inside` is set, which the guard's drop ends.
        let core = self.place.with_mut(|place| unsafe { (*place).as_deref_mut().map(|core| &raw mut *core) });
        // Without a core `inside` stays set, as after `new`.
        core.map(|core| Entered { lease: self, core })
    }

    /// Whether user code runs on the owner's thread, with its core here or lost; a guess, for the monitor.
    pub(crate) fn is_out(&self) -> bool {
        !self.inside.load(Relaxed)
    }

    /// Sets `inside`. False: the core is gone, and `inside` is as `put` would leave it.
    #[inline]
    fn go_in(&self) -> bool {
        loop {
            // Ordering: Relaxed: the fence orders it before the load below; see the top of the file.
            self.inside.store(true, Relaxed);
            light_fence();
            if !self.revoked.load(Relaxed) {
                return true;
            }
            if !self.learn() {
                return false;
            }
        }
    }

    /// The monitor is or was at work: leaves, and asks under the mutex. True: the core is still here.
    #[cold]
    fn learn(&self) -> bool {
        // Ordering: Release, as in `put`.
        self.inside.store(false, Release);
        let _revoking = self.revoking.lock();
        // SAFETY: nobody else uses the place: `inside` is clear, so the owner is only here, and the monitor
        // has the mutex when it does.
        let there = self.place.with(|place| unsafe { (*place).is_some() });
        // Either the monitor took `revoked` back, or it took the core, and we know it now.
        self.revoked.store(false, Relaxed);
        if !there {
            // As after `new`: the owner may `put` another core.
            self.inside.store(true, Relaxed);
        }
        there
    }

    /// Takes the core away from an owner that runs user code. `None`: the owner is inside, or has none. Any
    /// thread.
    pub(crate) fn revoke(&self) -> Option<Box<C>> {
        let _revoking = self.revoking.lock();
        if self.revoked.load(Relaxed) {
            // It was taken before, and the owner does not know yet. It must learn it under the mutex: the flag stays.
            return None;
        }
        // Ordering: Relaxed: the fence orders it before the load below; see the top of the file.
        self.revoked.store(true, Relaxed);
        heavy_fence();
        // Ordering: Acquire pairs with the Release in `put`, `learn` and the drop of `Entered`.
        if self.inside.load(Acquire) {
            self.revoked.store(false, Relaxed);
            return None;
        }
        // SAFETY: the owner is not inside, and cannot go in: it would see `revoked`, and then wait for the
        // mutex. From here on the owner finds `revoked`, until it has learned of its loss: only the mutex
        // shows it that the place is empty. There was a core: an owner that is outside without one is one
        // that does not know it yet.
        let core = self.place.with_mut(|place| unsafe { (*place).take() });
        debug_assert!(core.is_some());
        core
    }
}

impl<C> Deref for Entered<'_, C> {
    type Target = C;

    #[inline]
    fn deref(&self) -> &C {
        // SAFETY: `inside` is set: the place, and the core in it, are the owner's, and this guard is its only
        // use.
        unsafe { &*self.core }
    }
}

impl<C> DerefMut for Entered<'_, C> {
    #[inline]
    fn deref_mut(&mut self) -> &mut C {
        // SAFETY: as above.
        unsafe { &mut *self.core }
    }
}

impl<C> Drop for Entered<'_, C> {
    #[inline]
    fn drop(&mut self) {
        // Ordering: Release, as in `put`.
        self.lease.inside.store(false, Release);
    }
}
