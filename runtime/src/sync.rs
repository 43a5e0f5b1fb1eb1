//! Layer 0. The only file of this crate that names `std::sync::atomic`, `std::thread` or loom.
//!
//! Passes on what `filch_channels` chose (the real primitives, or loom's in a model), and adds a pair of
//! fences of unequal cost, for protocols in which one side comes by all the time and the other hardly ever.

pub(crate) use filch_channels::__shim::*;

/// What `std::thread_local!` makes, which user code does with it: never loom's.
pub(crate) use std::thread::LocalKey as ThreadKey;

/// The cheap half of a store-load pair: together with [`heavy_fence`] on the other side it is as good as a
/// full fence on both.
#[cfg(not(filch_loom))]
#[inline(always)]
pub(crate) fn light_fence() {
    if barrier::is_asymmetric() {
        std::sync::atomic::compiler_fence(Ordering::SeqCst);
    } else {
        fence(Ordering::SeqCst);
    }
}

/// The dear half: every running thread of this process passes a full fence before it returns.
#[cfg(not(filch_loom))]
pub(crate) fn heavy_fence() {
    fence(Ordering::SeqCst);
    barrier::everywhere();
}

#[cfg(filch_loom)]
#[track_caller]
pub(crate) fn light_fence() {
    fence(Ordering::SeqCst);
}

#[cfg(filch_loom)]
#[track_caller]
pub(crate) fn heavy_fence() {
    fence(Ordering::SeqCst);
}

/// `membarrier(2)`, Linux 4.14 and later. Where it is missing or forbidden, both fences are full ones.
#[cfg(not(filch_loom))]
pub(crate) mod barrier {
    use std::sync::atomic::{AtomicBool, Ordering::Relaxed};

    static ASYMMETRIC: AtomicBool = AtomicBool::new(false);

    #[inline(always)]
    pub(super) fn is_asymmetric() -> bool {
        // Relaxed: set once, before the first thread of a runtime starts, which orders it.
        ASYMMETRIC.load(Relaxed)
    }

    /// Called by `Builder::build`, before any thread that would use the fences is started.
    #[cfg(target_os = "linux")]
    pub(crate) fn register() {
        if call(libc::MEMBARRIER_CMD_REGISTER_PRIVATE_EXPEDITED) == 0 {
            ASYMMETRIC.store(true, Relaxed);
        }
    }

    #[cfg(not(target_os = "linux"))]
    pub(crate) fn register() {}

    #[cfg(target_os = "linux")]
    pub(super) fn everywhere() {
        if is_asymmetric() {
            let answer = call(libc::MEMBARRIER_CMD_PRIVATE_EXPEDITED);
            assert_eq!(answer, 0, "membarrier failed after it had been registered");
        }
    }

    #[cfg(not(target_os = "linux"))]
    pub(super) fn everywhere() {}

    #[cfg(target_os = "linux")]
    fn call(command: libc::c_int) -> libc::c_long {
        // SAFETY: the system call takes three integers and touches no memory of ours.
        unsafe { libc::syscall(libc::SYS_membarrier, command, 0, 0) }
    }
}
