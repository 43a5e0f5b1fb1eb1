//! How often `gather` and its kin allocate: the same for two futures and for a hundred thousand. In a binary
//! of its own, since its allocator counts for all.
#![allow(missing_docs)]

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::future::{Future, poll_fn, ready};
use std::task::Poll;

struct Counting;

thread_local! {
    static ALLOCATIONS: Cell<usize> = const { Cell::new(0) };
}

fn count() {
    // Gone while a thread ends.
    let _ = ALLOCATIONS.try_with(|allocations| allocations.set(allocations.get() + 1));
}

// SAFETY: passes everything on to the system's allocator.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count();
        // SAFETY: the caller's promises are passed on.
        unsafe { System.alloc(layout) }
    }

    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        count();
        // SAFETY: the caller's promises are passed on.
        unsafe { System.realloc(pointer, layout, size) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        // SAFETY: the caller's promises are passed on.
        unsafe { System.dealloc(pointer, layout) }
    }
}

#[global_allocator]
static COUNTING: Counting = Counting;

/// How many allocations this thread makes in `f`.
fn allocations<T>(f: impl FnOnce() -> T) -> usize {
    let before = ALLOCATIONS.get();
    drop(f());
    ALLOCATIONS.get() - before
}

/// On this thread, without an executor's allocations among those counted.
fn drive<F: Future>(future: F) -> F::Output {
    let mut future = std::pin::pin!(future);
    let mut cx = std::task::Context::from_waker(std::task::Waker::noop());
    loop {
        if let Poll::Ready(output) = future.as_mut().poll(&mut cx) {
            return output;
        }
    }
}

/// Ready at its second poll; keeps its waker until then, and wakes itself.
fn once(n: usize) -> impl Future<Output = usize> {
    let mut kept = None;
    poll_fn(move |cx| {
        if kept.is_some() {
            return Poll::Ready(n);
        }
        kept = Some(cx.waker().clone());
        cx.waker().wake_by_ref();
        Poll::Pending
    })
}

const COUNTS: [usize; 6] = [1, 2, 64, 65, 1_000, 100_000];

/// For the block of the wakers, if a future waits.
fn block(count: usize) -> usize {
    if count > 64 { 2 } else { 1 }
}

#[test]
fn the_counter_counts() {
    assert_eq!(allocations(|| Box::new(1)), 1);
}

#[test]
fn gather_allocates_twice_and_four_times_at_most_if_a_future_waits() {
    for count in COUNTS {
        assert_eq!(allocations(|| drive(filch::gather((0..count).map(ready)))), 2, "{count} ready");
        let waiting = 2 + block(count);
        assert_eq!(allocations(|| drive(filch::gather((0..count).map(once)))), waiting, "{count} that wait");
        let settled = || drive(filch::gather((0..count).map(once)).settled());
        assert_eq!(allocations(settled), waiting, "{count} settled");
    }
}

#[test]
fn its_kin_allocate_no_more() {
    for count in COUNTS {
        let ok = |n| async move { Ok::<_, ()>(once(n).await) };
        let bad = |n| async move { Err::<(), _>(once(n).await) };
        let block = block(count);
        assert_eq!(allocations(|| drive(filch::try_gather((0..count).map(ok)))), 2 + block);
        assert_eq!(allocations(|| drive(filch::any((0..count).map(bad)))), 2 + block);
        assert_eq!(allocations(|| drive(filch::any((0..count).map(ok)))), 1 + block);
        assert_eq!(allocations(|| drive(filch::race((0..count).map(once)))), 1 + block);
        let stream = || async {
            let mut outputs = filch::as_completed((0..count).map(once));
            while outputs.next().await.is_some() {}
        };
        assert_eq!(allocations(|| drive(stream())), 1 + block);
    }
}

#[test]
fn those_that_only_yield_need_no_block() {
    let yields = || (0..64).map(|_| futures_lite::future::yield_now());
    // Nor do outputs without a size.
    assert_eq!(allocations(|| drive(filch::gather(yields()))), 1);
}

#[test]
fn the_macros_allocate_nothing() {
    assert_eq!(allocations(|| drive(async { filch::gather!(once(1), once(2), ready(3)) })), 0);
    let all = async { filch::try_gather!(ready(Ok::<_, ()>(1)), async { Ok(once(2).await) }) };
    assert_eq!(allocations(|| drive(all)), 0);
}
