//! Measures the bytes that a contestant asks of the allocator; the memory rows count with it, against tokio
//! and smol.
//!
//! It is the allocator of `compare` for all contestants alike. Outside of the memory rows it does not count:
//! a counter that all threads share would cost those most that allocate most.
use std::alloc::{GlobalAlloc, Layout};
use std::sync::atomic::{AtomicBool, AtomicIsize, Ordering::Relaxed};

/// The system's own, or mimalloc with the feature of that name.
#[cfg(not(feature = "mimalloc"))]
static BENEATH: std::alloc::System = std::alloc::System;
#[cfg(feature = "mimalloc")]
static BENEATH: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Its name, for the head of a table.
pub const NAME: &str = if cfg!(feature = "mimalloc") { "mimalloc" } else { "the system's allocator" };

static COUNTING: AtomicBool = AtomicBool::new(false);
static LIVE: AtomicIsize = AtomicIsize::new(0);

/// The allocator beneath, which counts while it is told to.
#[derive(Debug)]
pub struct Counting;

// SAFETY: every call is passed on to `BENEATH` as it came.
unsafe impl GlobalAlloc for Counting {
    #[inline]
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count(layout.size() as isize);
        // SAFETY: the caller's promise is passed on.
        unsafe { BENEATH.alloc(layout) }
    }

    #[inline]
    unsafe fn dealloc(&self, ptr: *mut u8, layout: Layout) {
        count(-(layout.size() as isize));
        // SAFETY: the caller's promise is passed on.
        unsafe { BENEATH.dealloc(ptr, layout) }
    }

    #[inline]
    unsafe fn realloc(&self, ptr: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        count(size as isize - layout.size() as isize);
        // SAFETY: the caller's promise is passed on.
        unsafe { BENEATH.realloc(ptr, layout, size) }
    }
}

#[inline]
fn count(bytes: isize) {
    if COUNTING.load(Relaxed) {
        LIVE.fetch_add(bytes, Relaxed);
    }
}

/// Starts to count from zero.
pub fn start() {
    LIVE.store(0, Relaxed);
    COUNTING.store(true, Relaxed);
}

/// How many bytes more live now than when counting started.
pub fn live() -> isize {
    LIVE.load(Relaxed)
}
